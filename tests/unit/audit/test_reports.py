"""The audit's reports: each says all findings in the words of its format, whatever a stranger's server answered."""

from __future__ import annotations

import json as json_module
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.audit import findings
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.reports import html, json, junit, sarif, table
from tests.unit.audit.support import HOSTILE, controls, judged, mixed, seen, waiver

Render = Callable[[findings.Report], str]
ALL: list[Render] = [table.render, json.render, sarif.render, junit.render, html.render]
VOID = {"meta", "input", "br", "hr", "img", "link"}


@pytest.fixture(scope="module")
def report() -> findings.Report:
    return mixed()


@pytest.mark.parametrize("render", ALL, ids=lambda render: render.__module__.rpartition(".")[2])
def test_every_report_names_every_control_with_its_evidence_and_waivers(
    render: Render, report: findings.Report
) -> None:
    text = render(report)
    is_missing = [control.id for control in controls() if control.id not in text]
    assert not is_missing
    for said in ("system.session_log does not exist", "The SIEM reads the server", "2027-01-31", "no answer in 5 s"):
        assert said in text
    assert "expired on 2026-11-28" in text and "of_another_version" in text
    assert "stack.example.org" in text and "2026-11-29" in text
    assert text == render(mixed()), "the same findings of the same day must make the same file"
    assert text.endswith("\n") and "\x1b" not in text and "\x00" not in text and text.encode()


# -- Table ------------------------------------------------------------------------------------------------------------


def test_the_table_is_aligned_and_ends_with_a_summary(report: findings.Report) -> None:
    lines = table.render(report).splitlines()
    head = lines[2]
    assert head.split() == ["CONTROL", "STATUS", "SEVERITY", "FINDING"]
    rows = [line for line in lines[3:] if line and not line.startswith((" ", "Note:")) and "controls:" not in line]
    assert len(rows) == len(controls())
    starts = [head.index(word) for word in ("STATUS", "SEVERITY", "FINDING")]
    assert all(row[start - 1] == " " and row[start] != " " for row in rows for start in starts)
    assert rows[0].split()[:3] == ["CH-USER-01", "FAIL", "critical"]
    assert findings.summary(report.findings) in lines
    assert max(map(len, lines)) <= table.WIDTH


def test_the_table_shows_evidence_of_all_that_does_not_pass() -> None:
    observations = [
        seen("clickhouse_plaintext", "fail", "a", "x" * 20),
        seen("clickhouse_default_user", "pass", "b", "fine"),
    ]
    text = table.render(judged(observations, None, "CH-TLS-01", "CH-USER-01"))
    assert f"  a: {'x' * 20}\n" in text and "fine" not in text


def test_the_table_has_colours_only_if_asked(report: findings.Report) -> None:
    colored = table.render(report, is_colored=True)
    assert "\x1b[1;31mCH-USER-01" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == table.render(report)


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_has_everything(report: findings.Report) -> None:
    content = json_module.loads(json.render(report))
    assert (content["target"], content["date"]) == ("stack.example.org", "2026-11-29")
    assert content["counts"] == findings.counts(report.findings) and content["notes"] == list(report.notes)
    assert content["findings"] == [findings.as_dict(finding) for finding in report.findings]
    (one,) = [finding for finding in content["findings"] if finding["id"] == "NET-PORT-02"]
    assert (one["status"], one["waived"], one["area"], one["severity"]) == ("fail", False, "exposure", "critical")
    assert [(seen["subject"], seen["waiver"]) for seen in one["evidence"]] == [
        ("203.0.113.7:8443", {"reason": "Analysts, by VPN", "expires": "2027-01-31"}),
        ("[2001:db8::7]:27017", None),
    ]
    assert one["benchmarks"][0] == {"name": "CIS Docker 1.6.0", "id": "5.9"} and one["remedy"]["by_hand"]


# -- SARIF ------------------------------------------------------------------------------------------------------------


def run_of(report: findings.Report) -> Any:
    content = json_module.loads(sarif.render(report))
    assert content["version"] == "2.1.0" and len(content["runs"]) == 1
    return content["runs"][0]


def test_sarif_has_a_rule_for_each_control_and_a_result_for_each_subject_that_fails(report: findings.Report) -> None:
    run = run_of(report)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted(control.id for control in controls())
    assert len({rule["name"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["kind"], result["level"]) in {
            ("fail", "error"),
            ("fail", "warning"),
            ("fail", "note"),
            ("open", "none"),
        }
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "stack.example.org"
    failed = [result for result in run["results"] if result["kind"] == "fail"]
    expected = [one for finding in report.findings for one in finding.evidence if one.status == "fail"]
    assert len(failed) == len(expected) == 6
    by_rule = {result["ruleId"]: result["level"] for result in failed}
    assert by_rule["CH-USER-01"] == by_rule["CH-TLS-01"] == "error"
    assert (by_rule["CH-LOG-02"], by_rule["HDX-USE-01"]) == ("warning", "note")
    prints = [result["partialFingerprints"]["targetControlSubject/v1"] for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_has_waivers_as_suppressions_and_errors_as_notifications(report: findings.Report) -> None:
    run = run_of(report)
    suppressed = {
        (result["ruleId"], suppression["justification"])
        for result in run["results"]
        for suppression in result["suppressions"]
        if (suppression["kind"], suppression["status"]) == ("external", "accepted")
    }
    assert suppressed == {
        ("CH-LOG-02", "The SIEM reads the server's log (until 2027-01-31)"),
        ("NET-PORT-02", "Analysts, by VPN (until 2027-01-31)"),
    }
    (invocation,) = run["invocations"]
    said = [notification["message"]["text"] for notification in invocation["toolExecutionNotifications"]]
    errors = sum(finding.group == "error" for finding in report.findings)
    assert len(said) == errors and any("no answer in 5 s" in text for text in said)
    assert sum(result["kind"] == "open" for result in run["results"]) == errors


def test_a_waived_error_is_no_notification() -> None:
    run = run_of(judged([], [waiver("CH-TLS-01")], "CH-TLS-01"))
    assert run["invocations"][0]["toolExecutionNotifications"] == [] and len(run["results"][0]["suppressions"]) == 1


# -- JUnit ------------------------------------------------------------------------------------------------------------


def test_junit_counts_are_those_of_its_tests(report: findings.Report) -> None:
    root = ET.fromstring(junit.render(report).encode())
    suites = root.findall("testsuite")
    assert [suite.get("name") for suite in suites] == sorted({control.area for control in controls()})
    number = findings.counts(report.findings)
    skipped = number["waived"] + number["not_applicable"]
    wanted = {"tests": number["total"], "failures": number["fail"], "errors": number["error"], "skipped": skipped}
    assert {name: int(root.get(name, "")) for name in wanted} == wanted
    for suite in suites:
        for name, tag in (
            ("tests", "testcase"),
            ("failures", ".//failure"),
            ("errors", ".//error"),
            ("skipped", ".//skipped"),
        ):
            assert int(suite.get(name, "")) == len(suite.findall(tag))


def test_junit_says_why_a_test_failed_or_was_skipped(report: findings.Report) -> None:
    root = ET.fromstring(junit.render(report).encode())
    cases = {str(case.get("name")).split()[0]: case for case in root.iter("testcase")}
    failure = cases["NET-PORT-02"].find("failure")
    assert failure is not None and failure.get("type") == "critical"
    assert failure.get("message") == "[2001:db8::7]:27017: open"
    assert failure.text and "By hand: Remove the ports of ch-server and db" in failure.text
    skipped = cases["CH-LOG-02"].find("skipped")
    assert (
        skipped is not None and skipped.get("message") == "waived: The SIEM reads the server's log (until 2027-01-31)"
    )
    inapplicable = cases["CH-READ-01"].find("skipped")
    assert inapplicable is not None and inapplicable.text == "ch-server: no login of the reader was given"
    assert cases["HDX-TLS-03"].find("error") is not None and len(cases["DKR-PRIV-01"].findall("system-out")) == 1


# -- HTML -------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What is in a page: tags with attributes, the texts of each kind of element, and whether it is well-formed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return "".join(text for tag, text in self.texts if tag != "style")


@pytest.fixture(scope="module")
def page(report: findings.Report) -> Page:
    return Page(html.render(report))


def test_the_page_asks_the_network_for_nothing_and_runs_nothing(page: Page) -> None:
    tags = {tag for tag, _attributes in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "video", "audio", "svg"}
    names = {name for _tag, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in names) and "src" not in names
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    (style,) = [text for tag, text in page.texts if tag == "style"]
    assert "url(" not in style and "@import" not in style
    assert any("default-src 'none'" in str(meta.get("content")) for meta in page.all("meta"))


def test_what_a_stranger_answered_is_text_on_the_page(page: Page, report: findings.Report) -> None:
    assert findings.plain(HOSTILE) in page.text
    assert "<script" not in html.render(report)
    hostile = findings.Report(HOSTILE, report.day, report.findings, (HOSTILE,))
    waived = judged(
        [seen("clickhouse_plaintext", "fail", "<b>s", "e")], [waiver("CH-TLS-01", reason="<i>r")], "CH-TLS-01"
    )
    assert "<script" not in html.render(hostile) and "<i>r" in Page(html.render(waived)).text
    assert "<b>s" in Page(html.render(waived)).text


def test_the_page_has_each_finding_once_with_all_that_is_known_of_it(page: Page, report: findings.Report) -> None:
    details = page.all("details")
    assert [one["id"] for one in details] == [finding.control.id for finding in report.findings]
    is_open = {str(one["id"]): "open" in one for one in details}
    assert is_open["CH-TLS-01"] and is_open["CH-LOG-02"] and is_open["HDX-TLS-03"] and not is_open["DKR-PRIV-01"]
    for finding in report.findings:
        control = finding.control
        for text in (control.title, control.reason, control.remedy.by_hand, control.remedy.collection):
            assert text in page.text
        assert f"{control.recommendation.page} ({control.recommendation.point})" in page.text
        assert all(one.text in page.text and one.subject in page.text for one in finding.evidence)
    assert "Waived until 2027-01-31: The SIEM reads the server's log" in page.text
    assert "CIS MongoDB 5 2.2" in page.text


def test_the_page_sums_up(page: Page, report: findings.Report) -> None:
    number = findings.counts(report.findings)
    errors = number["error"]
    assert f"4 of {number['total']} controls failed, 2 of them critical. {errors} could not be measured." in page.text
    tiles = [text for tag, text in page.texts if tag == "b"][:8]
    assert tiles == [
        "2",
        "1",
        "0",
        "1",
        str(errors),
        str(number["waived"]),
        str(number["pass"]),
        str(number["not_applicable"]),
    ]
    assert [str(link["href"])[1:] for link in page.all("a")] == [
        finding.control.id for finding in report.findings if finding.group == "fail"
    ]


def test_the_page_of_a_clean_stack_says_so() -> None:
    clean = judged([seen(control.probe, "pass") for control in controls()])
    text = Page(html.render(clean)).text
    assert f"None of {len(controls())} controls failed." in text and "worst first" not in text
    waived = judged([seen("clickhouse_plaintext", "fail")], [waiver("CH-TLS-01")], "CH-TLS-01")
    assert "None of 1 controls failed. 1 is waived." in Page(html.render(waived)).text


def test_the_filter_has_a_rule_for_each_of_its_boxes(page: Page) -> None:
    (style,) = [text for tag, text in page.texts if tag == "style"]
    boxes = [str(box["id"]) for box in page.all("input")]
    assert len(boxes) == 5 + 4 and all("checked" in box for box in page.all("input"))
    for box in boxes:
        ((what),) = re.findall(rf"body:has\(#{box}:not\(:checked\)\) (\S+) {{ display: none; }}", style)
        name = box.removeprefix("show-")
        assert what in (f".group-{name}", f"details[data-severity={name}]")
        attributes = [str(value) for _tag, each in page.tags for value in each.values()]
        assert f"group-{name}" in attributes or name in attributes
    assert "prefers-color-scheme: dark" in style and "@media print" in style
