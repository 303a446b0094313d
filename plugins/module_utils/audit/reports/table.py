# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit as text for a terminal, worst first, and one line at the end that sums it up."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.findings import Finding, Report, summary

WIDTH = 120
_STATUS = {"fail": "FAIL", "error": "ERROR", "waived": "waived", "pass": "pass", "not_applicable": "n/a"}
_COLOR = {"critical": "1;31", "high": "31", "medium": "33", "low": "36"}
_HEADINGS = ("CONTROL", "STATUS", "SEVERITY")


def render(report: Report, is_colored: bool = False) -> str:
    """Return the table, with the evidence of all that does not pass.

    :param is_colored: with the terminal's colours (ANSI) for what fails and for errors
    """
    rows = [(one.control.id, _STATUS[one.group], one.control.severity) for one in report.findings]
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(3)]
    indent = " " * (sum(widths) + 6)
    lines = [f"ClickStack audit of {report.target}, {report.day.isoformat()}", ""]
    lines.append(f"{_cells(_HEADINGS, widths)}  FINDING")
    for finding, row in zip(report.findings, rows, strict=True):
        title = textwrap.wrap(finding.control.title, WIDTH - len(indent))
        code = _COLOR[finding.control.severity] if finding.group == "fail" else "35" if finding.group == "error" else ""
        start = _cells(row, widths)
        lines.append((f"\x1b[{code}m{start}\x1b[0m" if is_colored and code else start) + f"  {title[0]}")
        lines += [indent + text for text in [*title[1:], *_details(finding, WIDTH - len(indent))]]
    lines += ["", summary(report.findings)]
    for note in report.notes:
        lines += textwrap.wrap(f"Note: {note}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _cells(row: tuple[str, str, str], widths: list[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))


def _details(finding: Finding, width: int) -> Iterator[str]:
    """The evidence of a finding that does not pass, and why it is waived."""
    if finding.group == "pass":
        return
    for one in finding.open:
        text = f"{one.subject}: {one.text}" if one.subject else one.text
        for line in text.split("\n"):
            yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    for waiver in finding.waivers:
        subject = f" {waiver.subject}" if waiver.subject else ""
        text = f"waived{subject} until {waiver.expires.isoformat()}: {waiver.reason}"
        yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
