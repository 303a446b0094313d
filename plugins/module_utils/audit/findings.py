# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: from what the probes observed to findings, one for each control, with waivers and the threshold of the run.

A control's finding has the worst status of its probe's observations. A control whose probe said nothing was not
measured, which is an error and never a pass. A waiver covers what fails, or could not be measured, until it expires;
what it covers stays visible.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.catalogue import SEVERITIES, Control

STATUSES = ("fail", "error", "pass", "not_applicable")
"""What a probe says, worst first."""
GROUPS = ("fail", "error", "waived", "pass", "not_applicable")
"""What a finding counts as, in the order in which reports show it."""
THRESHOLDS = ("none", *reversed(SEVERITIES))
"""The values of `fail_on`."""

_LONGEST = 2000
_OBSERVATION = ("probe", "subject", "status", "evidence")
_WAIVER = ("control", "subject", "reason", "expires")


class Refused(Exception):
    """Observations or waivers cannot be used; the arguments are the problems."""


@dataclass(frozen=True)
class Observation:
    """What a probe saw of one subject: `evidence` is one or two lines that say what was tried and what came back."""

    probe: str
    subject: str
    status: str
    evidence: str


@dataclass(frozen=True)
class Waiver:
    """That somebody accepts a control's findings, of the subjects that `subject` names (empty for all of them), up to
    and including the day `expires`.
    """

    control: str
    reason: str
    expires: date
    subject: str = ""

    def covers(self, subject: str) -> bool:
        """Return whether it is for this subject; `*` in its own stands for any characters."""
        pattern = re.escape(self.subject).replace(r"\*", ".*")
        return not self.subject or re.fullmatch(pattern, subject, re.DOTALL) is not None


@dataclass(frozen=True)
class Evidence:
    """An observation as a finding shows it, with the waiver that covers it."""

    subject: str
    status: str
    text: str
    waiver: Waiver | None = None


@dataclass(frozen=True)
class Finding:
    """What the audit says of one control. A waived finding keeps its status and counts as waived."""

    control: Control
    status: str
    is_waived: bool
    evidence: tuple[Evidence, ...]

    @property
    def group(self) -> str:
        """What it counts as: one of GROUPS."""
        return "waived" if self.is_waived else self.status

    @property
    def open(self) -> tuple[Evidence, ...]:
        """The evidence that made its status, the waived evidence only if all is waived."""
        return tuple(one for one in self.evidence if one.status == self.status and bool(one.waiver) is self.is_waived)

    @property
    def waivers(self) -> tuple[Waiver, ...]:
        """The waivers that cover something here, each once."""
        return tuple(dict.fromkeys(one.waiver for one in self.evidence if one.waiver))


@dataclass(frozen=True)
class Report:
    """All that a report says: whose audit, of which day, the findings (worst first), and what else is to be said."""

    target: str
    day: date
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()


def read_observations(items: Sequence[Mapping[str, Any]]) -> tuple[Observation, ...]:
    """Return the observations, with control characters in their texts made visible.

    :param items: mappings with probe, subject, status and evidence
    :raises Refused: with all that is wrong
    """
    problems = []
    for number, item in enumerate(items, 1):
        place = f"observations, entry {number} ({item.get('probe') or 'no probe'})"
        problems += [f"{place}: {name} is not known." for name in sorted(item.keys() - set(_OBSERVATION))]
        problems += [f"{place}: {name} is missing." for name in _OBSERVATION if not isinstance(item.get(name), str)]
        if isinstance(item.get("status"), str) and item["status"] not in STATUSES:
            problems.append(f"{place}: status {item['status']} is not one of {', '.join(STATUSES)}.")
    if problems:
        raise Refused(*problems)
    return tuple(Observation(**{name: plain(item[name]) for name in _OBSERVATION}) for item in items)


def read_waivers(items: Sequence[Mapping[str, Any]], controls: Iterable[Control]) -> tuple[Waiver, ...]:
    """Return the waivers.

    :param items: mappings with control, reason, expires (YYYY-MM-DD) and, if it is not for all subjects, subject
    :param controls: the controls that there are
    :raises Refused: with all that is wrong
    """
    known = {control.id for control in controls}
    waivers = []
    problems: list[str] = []
    for number, item in enumerate(items, 1):
        control, reason = (str(item.get(name) or "").strip() for name in ("control", "reason"))
        expires = _day(item.get("expires"))
        place = f"waivers, entry {number} ({control or 'no control'})"
        problems += [f"{place}: {name} is not known." for name in sorted(item.keys() - set(_WAIVER))]
        if control not in known:
            problems.append(f"{place}: the catalogue has no such control; the first column of the table has their ids.")
        if not reason:
            problems.append(f"{place}: there is no reason. Say why this is accepted, for whoever reads the report.")
        if expires is None:
            problems.append(
                f"{place}: expires {item.get('expires') or '(empty)'} is no day like 2027-01-31."
                " It is the last day on which the waiver counts."
            )
        else:
            waivers.append(Waiver(control, plain(reason), expires, plain(str(item.get("subject") or "").strip())))
    if problems:
        raise Refused(*problems)
    return tuple(waivers)


def judge(
    controls: Sequence[Control], observations: Sequence[Observation], waivers: Sequence[Waiver], today: date
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Return one finding for each control, worst first, and what has to be said beside them.

    :param controls: the catalogue
    :param observations: what the probes said, in any order
    :param waivers: of controls in the catalogue
    :param today: the day of the audit; a waiver that expires on it still counts
    """
    seen: dict[str, list[Observation]] = {}
    for observation in observations:
        seen.setdefault(observation.probe, []).append(observation)
    valid = [waiver for waiver in waivers if waiver.expires >= today]
    findings = [_finding(control, seen.get(control.probe, []), valid) for control in controls]
    findings.sort(key=lambda one: (GROUPS.index(one.group), SEVERITIES.index(one.control.severity)))
    strangers = sorted(seen.keys() - {control.probe for control in controls})
    notes = [f"No control asks for the probe {probe}: what it observed is not in this report." for probe in strangers]
    return tuple(findings), (*_said_of_waivers(waivers, findings, today), *notes)


def _finding(control: Control, seen: Sequence[Observation], waivers: Sequence[Waiver]) -> Finding:
    """The finding of one control, by what its probe saw and the waivers that have not expired."""
    if not seen:
        seen = [Observation(control.probe, "", "error", f"Was not measured: the probe {control.probe} said nothing.")]
    mine = [waiver for waiver in waivers if waiver.control == control.id]
    evidence = tuple(
        Evidence(
            one.subject,
            one.status,
            one.evidence,
            next((waiver for waiver in mine if one.status in ("fail", "error") and waiver.covers(one.subject)), None),
        )
        for one in sorted(seen, key=lambda one: STATUSES.index(one.status))
    )
    worst = _worst(one.status for one in evidence)
    counted = _worst(one.status for one in evidence if not one.waiver)
    if worst in ("fail", "error") and counted not in ("fail", "error"):
        return Finding(control, worst, True, evidence)
    return Finding(control, counted, False, evidence)


def _worst(statuses: Iterable[str]) -> str:
    return min(statuses, key=STATUSES.index, default="not_applicable")


def _said_of_waivers(waivers: Sequence[Waiver], findings: Sequence[Finding], today: date) -> Iterator[str]:
    """Waivers that have expired, or that cover nothing."""
    used = {waiver for finding in findings for waiver in finding.waivers}
    for waiver in dict.fromkeys(waivers):
        name = f"{waiver.control}{f' of {waiver.subject}' if waiver.subject else ''} ({waiver.reason})"
        if waiver.expires < today:
            yield f"The waiver for {name} expired on {waiver.expires.isoformat()} and no longer counts."
        elif waiver not in used:
            yield f"The waiver for {name} covers nothing that fails: it can go, or its subject is not spelled so."


def counts(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return how many findings there are: `total`, one number for each of GROUPS, and under `severity` those that fail
    (and are not waived) by their severity.
    """
    result: dict[str, Any] = {"total": 0, **dict.fromkeys(GROUPS, 0), "severity": dict.fromkeys(SEVERITIES, 0)}
    for finding in findings:
        result["total"] += 1
        result[finding.group] += 1
        if finding.group == "fail":
            result["severity"][finding.control.severity] += 1
    return result


def failing(findings: Iterable[Finding], fail_on: str, fail_on_error: bool) -> tuple[Finding, ...]:
    """Return the findings that fail the run.

    :param fail_on: the least severity of a failed control that does; `none` if no failed control does
    :param fail_on_error: whether a control that could not be measured does, whatever its severity
    """
    severities = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != "none" else ()
    return tuple(
        finding
        for finding in findings
        if (finding.group == "fail" and finding.control.severity in severities)
        or (finding.group == "error" and fail_on_error)
    )


def summary(findings: Sequence[Finding]) -> str:
    """Return the counts in one line."""
    number = counts(findings)
    severities = ", ".join(f"{count} {name}" for name, count in number["severity"].items() if count)
    parts = [
        f"{number['fail']} failed{f' ({severities})' if severities else ''}",
        f"{number['error']} not measured",
        f"{number['waived']} waived",
        f"{number['pass']} passed",
        f"{number['not_applicable']} not applicable",
    ]
    return f"{number['total']} controls: {', '.join(parts)}"


def as_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as the module and the JSON report have it."""
    control = asdict(finding.control)
    control["benchmarks"] = list(control["benchmarks"])
    return {
        **control,
        "status": finding.status,
        "waived": finding.is_waived,
        "evidence": [
            {
                "subject": one.subject,
                "status": one.status,
                "text": one.text,
                "waiver": {"reason": one.waiver.reason, "expires": one.waiver.expires.isoformat()}
                if one.waiver
                else None,
            }
            for one in finding.evidence
        ],
    }


def plain(text: str) -> str:
    """Return a text that is safe on a terminal and allowed in XML, for what a stranger's server answers ends up here.

    Line feeds stay. Other control characters, marks that change the direction of writing and lone surrogates are
    spelled out.

    :param text: more than 2000 characters are cut
    """
    shown = []
    for character in text.replace("\r\n", "\n").strip()[:_LONGEST]:
        if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            shown.append(character)
        else:
            code = ord(character)
            shown.append(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    more = len(text.strip()) - _LONGEST
    return "".join(shown) + (f" … ({more} more characters)" if more > 0 else "")


def _day(value: Any) -> date | None:
    """The day of an ISO date (YYYY-MM-DD, as text or as YAML reads it), or nothing."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = str(value or "").strip()
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text) else None
    except ValueError:
        return None


def day(text: str) -> date:
    """Return the day of an ISO date. Raises ValueError that says what is wrong.

    :param text: such as `2026-11-29`
    """
    found = _day(text)
    if found is None:
        raise ValueError(f"{text or '(empty)'} is no day like 2027-01-31.")
    return found
