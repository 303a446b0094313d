# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the audit as one HTML page for a person to read, print and send on.

The page holds all it needs and asks the network for nothing: its own content security policy forbids it. There is no
script in it; the filter is a rule of the style sheet. The page is built as a tree, and not of text, so that nothing
which a probe brought home can become markup. (A template would need its file beside the module, which Ansible does not
ship.)
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.catalogue import SEVERITIES
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.findings import (
    GROUPS,
    Evidence,
    Finding,
    Report,
    counts,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.reports.html_style import STYLE, hide

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_HEADING = {
    "fail": "Failed",
    "error": "Could not be measured",
    "waived": "Waived",
    "pass": "Passed",
    "not_applicable": "Not applicable",
}
_SHORT = {**_HEADING, "error": "Not measured"}
_WORD = {"fail": "failed", "error": "not measured", "pass": "passed", "not_applicable": "not applicable"}

Node: TypeAlias = "ET.Element | str"


def render(report: Report) -> str:
    """Return the page."""
    groups = {group: [one for one in report.findings if one.group == group] for group in GROUPS}
    shown = [group for group in GROUPS if groups[group]]
    rules = [hide(f"show-{group}", f".group-{group}") for group in shown]
    rules += [hide(f"show-{severity}", f"details[data-severity={severity}]") for severity in SEVERITIES]
    title = f"ClickStack audit of {report.target}, {report.day.isoformat()}"
    head = _node(
        "head",
        {},
        _node("meta", {"charset": "utf-8"}),
        _node("meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY}),
        _node("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        _node("title", {}, title),
        _node("style", {}, STYLE + "".join(rules)),
    )
    body = _node("body", {}, *_header(report), *_notes(report.notes), *_first(groups["fail"]), *_filter(shown))
    body.extend(_section(group, groups[group]) for group in shown)
    body.append(_footer())
    page = _node("html", {"lang": "en"}, head, body)
    return f"<!doctype html>\n{ET.tostring(page, encoding='unicode', method='html')}\n"


def _node(tag: str, attributes: Mapping[str, str], *children: Node) -> ET.Element:
    """An element with its children; texts among them are escaped where the tree becomes text."""
    element = ET.Element(tag, dict(attributes))
    for child in children:
        if isinstance(child, ET.Element):
            element.append(child)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + child
        else:
            element.text = (element.text or "") + child
    return element


def _header(report: Report) -> Iterator[ET.Element]:
    """Whose audit, of which day, how it went, and the counts."""
    number = counts(report.findings)
    day = _node("time", {"datetime": report.day.isoformat()}, report.day.isoformat())
    yield _node("p", {"class": "kind"}, "ClickStack security audit, ", day)
    yield _node("h1", {}, report.target)
    yield _node("p", {"class": "verdict"}, _verdict(report.findings))
    tiles = [(name, name.capitalize(), number["severity"][name]) for name in SEVERITIES]
    tiles += [(group, _SHORT[group], number[group]) for group in GROUPS if group != "fail"]
    yield _node(
        "ul",
        {"class": "tiles"},
        *(
            _node("li", {"class": name if count else "none"}, _node("b", {}, str(count)), _node("span", {}, label))
            for name, label, count in tiles
        ),
    )
    parts = [
        _node("span", {"class": name, "style": f"flex: {count}", "title": f"{count} {label.lower()}"})
        for name, label, count in tiles
        if count
    ]
    said = ", ".join(f"{count} {label.lower()}" for _name, label, count in tiles if count)
    yield _node("div", {"class": "bar", "role": "img", "aria-label": said}, *parts)


def _verdict(findings: Sequence[Finding]) -> str:
    number = counts(findings)
    total = number["total"]
    missing = f" {number['error']} could not be measured." if number["error"] else ""
    if not number["fail"]:
        waived = f" {number['waived']} {'is' if number['waived'] == 1 else 'are'} waived." if number["waived"] else ""
        return f"None of {total} controls failed.{missing}{waived}"
    worst = next(name for name in SEVERITIES if number["severity"][name])
    return f"{number['fail']} of {total} controls failed, {number['severity'][worst]} of them {worst}.{missing}"


def _notes(notes: Sequence[str]) -> Iterator[ET.Element]:
    if notes:
        yield _node("div", {"class": "notes"}, *(_node("p", {}, note) for note in notes))


def _first(failed: Sequence[Finding]) -> Iterator[ET.Element]:
    """The failed controls as a list of links, worst first."""
    if failed:
        yield _node("h2", {}, "Controls that are not met, worst first")
        yield _node(
            "ol",
            {"class": "first"},
            *(_node("li", {"class": finding.control.severity}, *_name(finding, is_link=True)) for finding in failed),
        )


def _name(finding: Finding, is_link: bool) -> Iterator[ET.Element]:
    """Severity, id and title, as a line of the list or of a finding."""
    control = finding.control
    yield _node("span", {"class": "word"}, control.severity)
    yield _node("code", {}, control.id)
    yield _node("a", {"href": f"#{control.id}"}, control.title) if is_link else _node("strong", {}, control.title)


def _filter(shown: Sequence[str]) -> Iterator[ET.Element]:
    """Checkboxes that hide findings, for browsers that know `:has()`; the others show all of them and no checkbox."""
    boxes = [(f"show-{group}", _SHORT[group]) for group in shown]
    severities = [(f"show-{severity}", severity.capitalize()) for severity in SEVERITIES]
    yield _node(
        "fieldset",
        {"class": "filter"},
        _node("legend", {}, "Show"),
        *(_box(*box) for box in boxes),
        _node("i", {"aria-hidden": "true"}),
        *(_box(*box) for box in severities),
    )


def _box(name: str, label: str) -> ET.Element:
    return _node("label", {}, _node("input", {"type": "checkbox", "id": name, "checked": "checked"}), label)


def _section(group: str, findings: Sequence[Finding]) -> ET.Element:
    """All findings of one group. Those that somebody has to read are open."""
    heading = _node("h2", {}, _HEADING[group], _node("span", {}, str(len(findings))))
    return _node(
        "section",
        {"class": f"group-{group}"},
        heading,
        *(_finding(finding, is_open=group in ("fail", "error", "waived")) for finding in findings),
    )


def _finding(finding: Finding, is_open: bool) -> ET.Element:
    """One finding: evidence, reason, remedy, and where it comes from."""
    control = finding.control
    tone = control.severity if finding.group == "fail" else finding.group
    attributes = {"class": tone, "id": control.id, "data-severity": control.severity}
    if is_open:
        attributes["open"] = "open"
    body = [_node("h3", {}, "Evidence"), _node("ul", {"class": "evidence"}, *map(_evidence, finding.evidence))]
    body += [_node("h3", {}, "Why it matters"), _node("p", {}, control.reason)]
    if control.remedy.collection:
        body += [
            _node("h3", {}, "Remedy with hardened.clickstack"),
            _node("p", {}, *_marked(control.remedy.collection)),
        ]
    body += [_node("h3", {}, "Remedy by hand"), _node("p", {}, control.remedy.by_hand)]
    sources = [f"{control.recommendation.page} ({control.recommendation.point})"]
    sources += [f"{benchmark.name} {benchmark.id}" for benchmark in control.benchmarks]
    body.append(_node("p", {"class": "answers"}, f"Answers {', '.join(sources)}"))
    return _node(
        "details",
        attributes,
        _node("summary", {}, *_name(finding, is_link=False)),
        _node("div", {"class": "body"}, *body),
    )


def _marked(text: str) -> Iterator[Node]:
    """A remedy with the collection's own names in the type of code."""
    for number, part in enumerate(re.split(r"\b((?:stack|compose|clickhouse)_[a-z0-9_]+)", text)):
        yield _node("code", {}, part) if number % 2 else part


def _evidence(one: Evidence) -> ET.Element:
    """What was seen of one subject, and the waiver that covers it."""
    word = _node("span", {"class": f"word {one.status}"}, _WORD[one.status])
    line = [_node("b", {}, one.subject), " ", word] if one.subject else [word]
    item = _node("li", {}, *line, _node("span", {"class": "text"}, one.text))
    if one.waiver:
        text = f"Waived until {one.waiver.expires.isoformat()}: {one.waiver.reason}"
        item.append(_node("span", {"class": "waiver"}, text))
    return item


def _footer() -> ET.Element:
    return _node(
        "footer",
        {},
        _node(
            "p",
            {},
            "Measured by ",
            _node("code", {}, "hardened.clickstack.audit"),
            ", which changes nothing. A control has the worst result of all that was looked at for it. What could"
            " not be measured does not count as passed. A waiver accepts a finding until a day, and it stays in here.",
        ),
    )
