# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: rules say which published ports are kept, bound to an address, or removed; one rule at most names a port."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import (
    Port,
    PortError,
    address,
    port_range,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import Entry, Project, Service

ALL_ADDRESSES: Final = ("0.0.0.0", "::")
LOOPBACK: Final = "127.0.0.1"
REASON: Final = "not needed outside of the project's networks"


class RulesError(Exception):
    """Rules that cannot be followed.

    :param problems: each of them, with its option or with file and line
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Decision:
    """What happens to a port.

    :param action: keep, bind or remove
    :param address: for bind, in canonical form
    :param reason: for remove, one line
    :param named: whether a rule names the port; the default does not
    """

    action: str
    address: str = ""
    reason: str = ""
    named: bool = True

    @property
    def outcome(self) -> tuple[str, str]:
        """What decisions on one line must agree in."""
        return (self.action, self.address)


@dataclass(frozen=True)
class Rule:
    """Ports, and what happens to them.

    :param option: the rule's place, for messages
    :param service: a name, or a pattern with * ? []
    :param targets: container ports as first and last; empty for all
    :param protocol: empty for all
    :param host_ip: the address that the port is published on now, in canonical form; empty for any
    """

    option: str
    service: str
    targets: tuple[tuple[int, int], ...]
    protocol: str
    host_ip: str
    decision: Decision

    @classmethod
    def of(cls, option: str, given: Mapping[str, Any]) -> Rule:
        """Return the rule that the options of the module say.

        :raises RulesError: for a value that is none
        """
        try:
            targets = tuple(port_range(str(target)) for target in given.get("target") or ())
            host_ip = address(given["host_ip"]) if given.get("host_ip") else ""
        except PortError as error:
            raise RulesError([f"{option}: {error}"]) from None
        if given.get("target") == []:
            raise RulesError([f"{option}.target: an empty list names no port; leave it out for all ports"])
        service = "*" if given.get("service") is None else given["service"]
        return cls(option, service, targets, given.get("protocol") or "", host_ip, decision(option, given))

    def names(self, service: Service, port: Port) -> bool:
        """Whether the rule is about this port."""
        return (
            fnmatch.fnmatchcase(service.name, self.service)
            and (not self.targets or any(first <= port.target <= last for first, last in self.targets))
            and self.protocol in ("", port.protocol)
            and self._on_its_address(port)
        )

    def _on_its_address(self, port: Port) -> bool:
        """A port that the rule has bound is still its port: else a second run would find nothing to do it to."""
        if not self.host_ip or (self.decision.action == "bind" and port.host_ip == self.decision.address):
            return True
        return port.host_ip == self.host_ip or (not port.host_ip and self.host_ip in ALL_ADDRESSES)


def decision(option: str, given: Mapping[str, Any], named: bool = True) -> Decision:
    """Return what the options of a rule, or of the default, say shall happen.

    :raises RulesError: for an address or a reason where it means nothing, and for one that is none
    """
    action = given["action"]
    if given.get("address") and action != "bind":
        raise RulesError([f"{option}.address: only bind takes an address, not {action}"])
    if given.get("reason") is not None and action != "remove":
        raise RulesError([f"{option}.reason: only remove takes a reason, not {action}"])
    reason = REASON if given.get("reason") is None else given["reason"]
    if not reason.strip() or not reason.isprintable():
        raise RulesError([f"{option}.reason: a reason is one line of text"])
    try:
        host_ip = address(given.get("address") or LOOPBACK) if action == "bind" else ""
    except PortError as error:
        raise RulesError([f"{option}.address: {error}"]) from None
    return Decision(action, host_ip, reason.strip() if action == "remove" else "", named)


def decide(project: Project, rules: Sequence[Rule], default: Decision, deletes: bool = False) -> dict[Entry, Decision]:
    """Return what happens to each entry of the project.

    An entry that compose_ports made a comment of before stays one, unless a rule to keep or bind it names its target:
    a rule for whole services, or the default, must not publish again what was closed on purpose.

    :param default: for what no rule names
    :param deletes: whether remove deletes lines: a rule to remove a port is then content that there is none
    :raises RulesError: for a service that is not there, a rule that names no port, a port that two rules name, an
        entry of which a rule names a part, a line that several services share and that is to become two things
    """
    problems: list[str] = []
    used: set[str] = set()
    decisions: dict[Entry, Decision] = {}
    for service in project.services.values():
        for entry in service.entries:
            found = [_rule_for(service, entry, port, rules, used, problems) for port in entry.ports]
            outcomes = {_decision(entry, rule, default).outcome for rule in found}
            if len(outcomes) > 1:
                problems.append(
                    f"{entry.where}: {service.name} publishes a range here, and the rules treat its ports differently "
                    f"({_told(entry, found)}); write the ports one by one"
                )
            decisions[entry] = _decision(entry, found[0], default)
    problems += _unused(project, rules, used, deletes)
    problems += _disputes(project, decisions)
    if problems:
        raise RulesError(problems)
    return decisions


def _rule_for(
    service: Service, entry: Entry, port: Port, rules: Sequence[Rule], used: set[str], problems: list[str]
) -> Rule | None:
    found = [rule for rule in rules if rule.names(service, port)]
    used.update(rule.option for rule in found)
    if len(found) > 1:
        options = " and ".join(rule.option for rule in found)
        problems.append(f"{entry.where}: {options} both name the port {port.container} of {service.name}; one may")
    return found[0] if found else None


def _decision(entry: Entry, rule: Rule | None, default: Decision) -> Decision:
    """What happens to an entry; a rule that does not name ports one by one leaves comments what they are."""
    removed = entry.removed
    if removed and (not rule or (rule.decision.action != "remove" and not rule.targets)):
        return Decision("remove", "", removed.reason, False)
    return rule.decision if rule else default


def _told(entry: Entry, found: Sequence[Rule | None]) -> str:
    return ", ".join(
        f"{port.container}: {rule.option if rule else 'default'}" for port, rule in zip(entry.ports, found, strict=True)
    )


def _unused(project: Project, rules: Sequence[Rule], used: set[str], deletes: bool) -> list[str]:
    problems = []
    for rule in rules:
        services = [one for one in project.services.values() if fnmatch.fnmatchcase(one.name, rule.service)]
        if not services:
            known = ", ".join(project.services) or "none"
            problems.append(f"{rule.option}.service: no service is called {rule.service}; there are: {known}")
        elif rule.option not in used and not (deletes and rule.decision.action == "remove"):
            problems.append(f"{rule.option} names no port: " + "; ".join(map(_published, services)))
    return problems


def _published(service: Service) -> str:
    """What a service publishes, for whom misses a port there."""
    if service.network_mode == "host":
        return (
            f"{service.name} ({service.where}) has network_mode host and publishes none, all its ports are the host's"
        )
    ports = ", ".join(
        dict.fromkeys(f"{port.container} ({entry.where})" for entry in service.entries for port in entry.ports)
    )
    return f"{service.name} ({service.where}) publishes {ports or 'none'}"


def _disputes(project: Project, decisions: Mapping[Entry, Decision]) -> list[str]:
    """Lines that several services use, by an anchor, a merge key or extends, and that cannot become two things."""
    owners: dict[Entry, str] = {
        entry: service.name for service in project.services.values() for entry in service.entries
    }
    places: dict[int, list[Entry]] = {}
    for entry, what in decisions.items():
        # removing takes the item out of the list; binding changes what an alias of it may show elsewhere as well
        places.setdefault(id(entry.use), []).append(entry)
        if what.action != "remove":
            places.setdefault(id(entry.use.node), []).append(entry)
    problems = []
    for entries in places.values():
        outcomes = {decisions[entry].outcome for entry in entries}
        if len(outcomes) > 1:
            told = ", ".join(f"{owners[entry]} ({_says(decisions[entry])})" for entry in entries)
            problems.append(
                f"{entries[0].where}: several services share this line by an anchor, a merge key or extends, and the "
                f"rules treat them differently: {told}; give one of them a list of its own"
            )
    return list(dict.fromkeys(problems))


def _says(what: Decision) -> str:
    return f"{what.action} {what.address}".strip()
