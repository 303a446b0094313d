"""The audit's findings: how observations add up, what waivers do, and what fails a run."""

from __future__ import annotations

import unicodedata
import xml.etree.ElementTree as ET
from datetime import date
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.audit import findings
from tests.unit.audit.support import HOSTILE, controls, judged, mixed, seen, waiver

ONE = "CH-TLS-01"
PROBE = "clickhouse_plaintext"


def only(statuses: dict[str, str], *waivers: dict[str, Any]) -> findings.Finding:
    """The finding of one control whose probe saw these subjects."""
    (finding,) = judged(
        [seen(PROBE, status, subject) for subject, status in statuses.items()], list(waivers), ONE
    ).findings
    return finding


@given(st.lists(st.sampled_from(findings.STATUSES), min_size=1))
def test_a_finding_has_the_worst_status_and_all_evidence(statuses: list[str]) -> None:
    finding = only({f"host {number}": status for number, status in enumerate(statuses)})
    order = ["fail", "error", "pass", "not_applicable"]
    assert finding.status == min(statuses, key=order.index) and not finding.is_waived
    assert [one.status for one in finding.evidence] == sorted(statuses, key=order.index)


def test_what_no_probe_measured_is_an_error_and_not_a_pass() -> None:
    report = judged([])
    assert {finding.status for finding in report.findings} == {"error"} and len(report.findings) == len(controls())
    assert report.findings[0].evidence[0].text.startswith("Was not measured: the probe ")
    assert len(findings.failing(report.findings, "none", True)) == len(controls())
    assert findings.failing(report.findings, "low", False) == ()


def test_a_waiver_covers_what_fails_and_leaves_it_visible() -> None:
    finding = only({"a": "fail", "b": "error", "c": "pass"}, waiver(ONE))
    assert (finding.status, finding.group, finding.is_waived) == ("fail", "waived", True)
    assert [(one.subject, bool(one.waiver)) for one in finding.evidence] == [("a", True), ("b", True), ("c", False)]
    assert findings.failing([finding], "low", True) == ()


def test_a_waiver_of_one_subject_leaves_the_others() -> None:
    waived = waiver(ONE, subject="[2001:db8::1]:*")
    finding = only({"[2001:db8::1]:8123": "fail", "192.0.2.1:8123": "fail"}, waived)
    assert (finding.group, [one.subject for one in finding.open]) == ("fail", ["192.0.2.1:8123"])
    assert only({"[2001:db8::1]:8123": "fail", "192.0.2.1:8123": "error"}, waived).group == "error"
    assert only({"[2001:db8::1]:8123": "fail", "192.0.2.1:8123": "pass"}, waived).group == "waived"
    # nothing but * is special in a subject
    assert only({"2": "fail"}, waived).group == "fail"


def test_a_waiver_covers_what_could_not_be_measured() -> None:
    (finding,) = judged([], [waiver(ONE)], ONE).findings
    assert (finding.status, finding.group) == ("error", "waived")


@pytest.mark.parametrize("status", ["pass", "not_applicable"])
def test_a_waiver_of_what_does_not_fail_changes_nothing_and_is_named(status: str) -> None:
    report = judged([seen(PROBE, status)], [waiver(ONE)], ONE)
    assert report.findings[0].group == status
    assert report.notes == (
        "The waiver for CH-TLS-01 (Accepted) covers nothing that fails: it can go, or its subject is not spelled so.",
    )


def test_a_waiver_counts_through_its_last_day() -> None:
    assert only({"a": "fail"}, waiver(ONE, "2026-11-29")).group == "waived"
    report = judged([seen(PROBE, "fail")], [waiver(ONE, "2026-11-28", "Until the move")], ONE)
    assert report.findings[0].group == "fail"
    assert report.notes == ("The waiver for CH-TLS-01 (Until the move) expired on 2026-11-28 and no longer counts.",)


def test_a_renewed_waiver_stands_beside_the_expired_one() -> None:
    report = judged([seen(PROBE, "fail")], [waiver(ONE, "2026-01-01"), waiver(ONE, date(2027, 1, 1))], ONE)
    assert report.findings[0].group == "waived" and len(report.notes) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "  "}, "there is no reason"),
        ({"reason": None}, "there is no reason"),
        ({"expires": "next year"}, "expires next year is no day like 2027-01-31"),
        ({"expires": "2027-02-30"}, "expires 2027-02-30 is no day"),
        ({"expires": "2027-01-31 12:00"}, "expires 2027-01-31 12:00 is no day"),
        ({"expires": "20270131"}, "expires 20270131 is no day"),
        ({"expires": None}, "expires (empty) is no day"),
        ({"control": "CH-TLS-99"}, "the catalogue has no such control"),
        ({"until": "2027-01-31"}, "until is not known"),
    ],
)
def test_a_waiver_that_says_too_little_is_refused(change: dict[str, Any], said: str) -> None:
    item = {**waiver(ONE), **change}
    with pytest.raises(findings.Refused) as caught:
        findings.read_waivers([item, waiver(ONE)], controls())
    (problem,) = caught.value.args
    assert problem.startswith(f"waivers, entry 1 ({item['control']}): {said}")


def test_all_that_is_wrong_with_observations_is_said_at_once() -> None:
    wrong = [seen(PROBE, "ok"), {"probe": PROBE, "subject": "a", "status": "pass"}, {**seen("", "pass"), "time": 1}]
    with pytest.raises(findings.Refused) as caught:
        findings.read_observations([*wrong, seen(PROBE, "pass")])
    assert caught.value.args == (
        "observations, entry 1 (clickhouse_plaintext): status ok is not one of fail, error, pass, not_applicable.",
        "observations, entry 2 (clickhouse_plaintext): evidence is missing.",
        "observations, entry 3 (no probe): time is not known.",
    )


def test_the_worst_comes_first() -> None:
    shown = [(one.group, one.control.severity) for one in mixed().findings]
    groups = [group for group, _severity in shown]
    assert groups == sorted(groups, key=findings.GROUPS.index) and set(groups) == set(findings.GROUPS)
    failed = [severity for group, severity in shown if group == "fail"]
    assert failed == ["critical", "critical", "high", "low"]


def test_the_counts_add_up() -> None:
    report = mixed()
    number = findings.counts(report.findings)
    assert number["total"] == len(controls()) == sum(number[group] for group in findings.GROUPS)
    assert number["severity"] == {"critical": 2, "high": 1, "medium": 0, "low": 1} and number["fail"] == 4
    assert findings.summary(report.findings).startswith(
        f"{len(controls())} controls: 4 failed (2 critical, 1 high, 1 low), "
    )


@pytest.mark.parametrize(
    ("fail_on", "ids"),
    [
        ("none", []),
        ("critical", ["CH-USER-01", "NET-PORT-02"]),
        ("high", ["CH-USER-01", "NET-PORT-02", "CH-TLS-01"]),
        ("medium", ["CH-USER-01", "NET-PORT-02", "CH-TLS-01"]),
        ("low", ["CH-USER-01", "NET-PORT-02", "CH-TLS-01", "HDX-USE-01"]),
    ],
)
def test_the_threshold(fail_on: str, ids: list[str]) -> None:
    report = mixed()
    assert [one.control.id for one in findings.failing(report.findings, fail_on, False)] == ids
    errors = sum(one.group == "error" for one in report.findings)
    assert errors and len(findings.failing(report.findings, fail_on, True)) == len(ids) + errors


def test_what_no_control_asks_for_is_said() -> None:
    assert any("the probe of_another_version" in note for note in mixed().notes)


def test_texts_from_strangers_are_made_visible() -> None:
    text = findings.plain(HOSTILE)
    assert (
        "\x1b" not in text
        and r"\x1b[31mred" in text
        and r"\u202eright" in text
        and r"\u2029\x00" in text
        and r"\x00" in text
    )
    assert r"\udc80" in text and text.encode() and "<script>" in text
    assert findings.plain("one\r\ntwo\n") == "one\ntwo"
    assert findings.plain("x" * 2005).endswith("x … (5 more characters)")


@given(st.text())
def test_no_text_keeps_what_a_terminal_or_xml_would_act_on(text: str) -> None:
    shown = findings.plain(text)
    assert all(one == "\n" or one.isprintable() or unicodedata.category(one) == "Zs" for one in shown)
    assert ET.fromstring(f"<text>{escape(shown)}</text>".encode()).text or not shown
