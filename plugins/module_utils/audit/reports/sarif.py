# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit as SARIF 2.1.0 (OASIS), which code scanning services read.

Each observation that fails is a result, so that its place can be told apart; waivers are suppressions. What could not
be measured is a result of kind `open` and, unless it is waived, a notification. What passes has its rule and no result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.catalogue import Control
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.findings import (
    Evidence,
    Finding,
    Report,
    counts,
    summary,
)

Json = dict[str, Any]
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVEL = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
# Services that sort by CVSS scores read this property; the numbers are the middle of CVSS 3.1's qualitative ranges.
_SCORE = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.0"}


def render(report: Report) -> str:
    """Return the report: one run of the tool hardened.clickstack.audit, with a rule for each control."""
    controls = sorted((finding.control for finding in report.findings), key=lambda control: control.id)
    index = {control.id: number for number, control in enumerate(controls)}
    run = {
        "tool": {"driver": {"name": "hardened.clickstack.audit", "rules": [_rule(control) for control in controls]}},
        "automationDetails": {"id": f"clickstack-audit/{report.target}/"},
        "invocations": [
            {"executionSuccessful": True, "toolExecutionNotifications": list(_notifications(report.findings, index))}
        ],
        "results": list(_results(report, index)),
        "columnKind": "unicodeCodePoints",
        "properties": {
            "target": report.target,
            "date": report.day.isoformat(),
            "counts": counts(report.findings),
            "summary": summary(report.findings),
            "notes": list(report.notes),
        },
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(control: Control) -> Json:
    """The reportingDescriptor of a control (SARIF 3.49)."""
    point = f"{control.recommendation.page} ({control.recommendation.point})"
    benchmarks = [f"{benchmark.name} {benchmark.id}" for benchmark in control.benchmarks]
    remedies = [control.remedy.by_hand]
    if control.remedy.collection:
        remedies.insert(0, f"With hardened.clickstack: {control.remedy.collection}")
        remedies[1] = f"By hand: {remedies[1]}"
    return {
        "id": control.id,
        "name": "".join(word.capitalize() for word in control.probe.split("_")),
        "shortDescription": {"text": control.title},
        "fullDescription": {"text": control.reason},
        "help": {"text": "\n".join([*remedies, f"Answers: {', '.join([point, *benchmarks])}"])},
        "defaultConfiguration": {"level": _LEVEL[control.severity]},
        "properties": {
            "severity": control.severity,
            "security-severity": _SCORE[control.severity],
            "probe": control.probe,
            "benchmarks": benchmarks,
            "tags": ["security", control.area],
        },
    }


def _results(report: Report, index: dict[str, int]) -> Iterator[Json]:
    """The results (SARIF 3.27). Where one has suppressions all must have, so those of the others are empty."""
    for finding in report.findings:
        control = finding.control
        for one in finding.evidence:
            if one.status not in ("fail", "error"):
                continue
            is_failed = one.status == "fail"
            place = {"fullyQualifiedName": one.subject or report.target, "kind": "resource"}
            identity = hashlib.sha256(f"{report.target}\0{control.id}\0{one.subject}".encode()).hexdigest()
            yield {
                "ruleId": control.id,
                "ruleIndex": index[control.id],
                # what was not decided has no level (SARIF 3.27.9)
                "kind": "fail" if is_failed else "open",
                "level": _LEVEL[control.severity] if is_failed else "none",
                "message": {"text": _message(control, one)},
                "locations": [
                    {
                        # there is no file, and readers insist on one: it is named by the target
                        "physicalLocation": {
                            "artifactLocation": {"uri": quote(report.target, safe="")},
                            "region": {"startLine": 1},
                        },
                        "logicalLocations": [place],
                    }
                ],
                "partialFingerprints": {"targetControlSubject/v1": identity},
                "suppressions": list(_suppressions(one)),
            }


def _message(control: Control, one: Evidence) -> str:
    subject = f"{one.subject}: " if one.subject else ""
    return f"{control.title}. {subject}{one.text}"


def _suppressions(one: Evidence) -> Iterator[Json]:
    """The waiver as a suppression (SARIF 3.35)."""
    if one.waiver:
        text = f"{one.waiver.reason} (until {one.waiver.expires.isoformat()})"
        yield {"kind": "external", "status": "accepted", "justification": text}


def _notifications(findings: Sequence[Finding], index: dict[str, int]) -> Iterator[Json]:
    """What could not be measured, as notifications (SARIF 3.58)."""
    for finding in findings:
        control = finding.control
        for one in finding.evidence:
            if one.status == "error" and not one.waiver:
                yield {
                    "level": "error",
                    "message": {"text": _message(control, one)},
                    "associatedRule": {"id": control.id, "index": index[control.id]},
                }
