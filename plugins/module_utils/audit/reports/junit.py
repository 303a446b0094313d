# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit as JUnit XML, which CI servers show as tests: a suite for each area, a test for each control."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.findings import Finding, Report


def render(report: Report) -> str:
    """Return the report. A failed control is a failure, one that could not be measured an error; a control that is
    waived or does not apply is skipped, with the reason.
    """
    areas: dict[str, list[Finding]] = {}
    for finding in sorted(report.findings, key=lambda one: one.control.id):
        areas.setdefault(finding.control.area, []).append(finding)
    root = ET.Element("testsuites", {"name": f"ClickStack audit of {report.target}", **_totals(list(report.findings))})
    for area in sorted(areas):
        attributes = {"name": area, "timestamp": f"{report.day.isoformat()}T00:00:00", "hostname": report.target}
        suite = ET.SubElement(root, "testsuite", {**attributes, **_totals(areas[area])})
        for finding in areas[area]:
            suite.append(_case(finding))
    if report.notes:
        ET.SubElement(root[-1], "system-out").text = "\n".join(report.notes)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _totals(findings: list[Finding]) -> dict[str, str]:
    groups = [finding.group for finding in findings]
    return {
        "tests": str(len(groups)),
        "failures": str(groups.count("fail")),
        "errors": str(groups.count("error")),
        "skipped": str(groups.count("waived") + groups.count("not_applicable")),
        "time": "0",
    }


def _case(finding: Finding) -> ET.Element:
    """The test case of one control."""
    control = finding.control
    name = f"{control.id} {control.title}"
    case = ET.Element("testcase", {"classname": f"clickstack.{control.area}", "name": name, "time": "0"})
    evidence = "\n".join(f"{one.subject}: {one.text}" if one.subject else one.text for one in finding.open)
    if finding.group == "pass":
        ET.SubElement(case, "system-out").text = evidence
    elif finding.group == "waived":
        reasons = "; ".join(f"{waiver.reason} (until {waiver.expires.isoformat()})" for waiver in finding.waivers)
        ET.SubElement(case, "skipped", {"message": f"waived: {reasons}"}).text = evidence
    elif finding.group == "not_applicable":
        ET.SubElement(case, "skipped", {"message": "not applicable"}).text = evidence
    else:
        kind = "failure" if finding.group == "fail" else "error"
        remedy = [f"With hardened.clickstack: {control.remedy.collection}"] if control.remedy.collection else []
        text = "\n".join([evidence, "", f"Why: {control.reason}", *remedy, f"By hand: {control.remedy.by_hand}"])
        first = evidence.partition("\n")[0]
        ET.SubElement(case, kind, {"type": control.severity, "message": first}).text = text
    return case
