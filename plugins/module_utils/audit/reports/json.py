# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit as JSON, for programs. It holds everything that the other reports show."""

from __future__ import annotations

import json

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.findings import Report, as_dict, counts


def render(report: Report) -> str:
    """Return the report: an object with `target`, `date`, `counts`, `notes` and `findings`."""
    content = {
        "target": report.target,
        "date": report.day.isoformat(),
        "counts": counts(report.findings),
        "notes": list(report.notes),
        "findings": [as_dict(finding) for finding in report.findings],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
