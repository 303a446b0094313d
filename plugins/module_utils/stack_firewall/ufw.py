# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: which rules ufw has, which of them are ours, and which have to be added and deleted.

ufw keeps its rules in /etc/ufw/user.rules and user6.rules, each as a comment line that it reads back itself
(UFWBackendIptables._read_rules and _write_rules in its source):
`### tuple ### ACTION PROTOCOL DPORT DST SPORT SRC [DAPP SAPP] DIRECTION[_INTERFACE] [comment=HEX]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .declarations import Network, Opening, plain_network

COMMENT = "hardened.clickstack stack_firewall"
"""By this comment a rule of ufw is known to be ours."""
_TUPLE = "### tuple ### "
_ANY = {"0.0.0.0/0": "any", "::/0": "any"}


@dataclass(frozen=True)
class Rule:
    """A rule of ufw in ufw's own words."""

    action: str
    protocol: str
    port: str
    to: str
    source_port: str
    source: str
    direction: str
    """`in`, or `in_` with the interface; those of a route have `in_`, `out_` or both with `!` between."""
    comment: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the role made it."""
        return self.comment == COMMENT

    @property
    def bare(self) -> Rule:
        """The same without its comment, which ufw does not tell rules apart by."""
        return replace(self, comment="")

    @property
    def text(self) -> str:
        """The rule as `ufw status` would say it, for messages."""
        where = self.direction.replace("in_", "in on ").replace("!", " ").replace("out_", "out on ")
        port = f" port {self.port}" if self.port != "any" else ""
        protocol = f" proto {self.protocol}" if self.protocol != "any" else ""
        return f"{self.action.replace('route:', 'route ')} {where} from {self.source} to {self.to}{port}{protocol}"

    @property
    def parameters(self) -> dict[str, Any]:
        """The rule as the options of community.general.ufw."""
        route = self.action.startswith("route:")
        options = {
            "rule": self.action.removeprefix("route:"),
            "proto": self.protocol,
            "to_port": self.port if self.port != "any" else None,
            "to_ip": self.to,
            "from_ip": self.source,
            "route": route,
            "comment": COMMENT,
        }
        # ufw takes a rule without a direction for one that comes in
        for part in self.direction.split("!"):
            way, sign, interface = part.partition("_")
            if sign:
                options[f"interface_{way}"] = interface
        return {name: value for name, value in options.items() if value is not None}


def parse(text: str) -> list[Rule]:
    """Return the rules in the content of user.rules and user6.rules, each once.

    A rule for any address is in both files, once for each IP version; here it is the same one.
    """
    found = []
    for line in text.splitlines():
        if not line.startswith(_TUPLE):
            continue
        words, _sign, comment = line[len(_TUPLE) :].partition(" comment=")
        fields = words.split()
        if len(fields) not in (7, 9):
            continue
        action, protocol, port, to, source_port, source = fields[:6]
        found.append(
            Rule(
                action,
                protocol,
                port,
                _ANY.get(to, to),
                source_port,
                _ANY.get(source, source),
                fields[-1],
                _decoded(comment.strip()),
            )
        )
    return list(dict.fromkeys(found))


def policies(text: str, version: str) -> list[dict[str, str]]:
    """Return what happens at the end of the filter table's built-in chains, as options of ansible.builtin.iptables.

    :param text: what iptables-save or ip6tables-save says: ``*filter``, and below it ``:FORWARD DROP [0:0]``
    :param version: `ipv4` or `ipv6`
    """
    found = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":") and table == "filter":
            chain, policy = line[1:].split()[:2]
            # a chain that somebody has made has none
            if policy != "-":
                found.append({"ip_version": version, "chain": chain, "policy": policy})
    return found


def _decoded(comment: str) -> str:
    try:
        return bytes.fromhex(comment).decode(errors="replace")
    except ValueError:
        return comment


def wanted(
    declared: Iterable[Opening], trusted: Iterable[Network], bridges: Iterable[str], ipv6: bool = True
) -> list[Rule]:
    """Return the rules that let in what is declared, and nothing else.

    :param trusted: networks that every port is open to
    :param bridges: the patterns of bridges whose traffic ufw must let pass, because Docker's own rules cannot (those of
        its nftables backend: a drop of ufw's at the forward hook is final, whatever Docker accepts); empty otherwise
    :param ipv6: whether ufw takes rules for IPv6 (IPV6 in /etc/default/ufw); without, it drops all of that
    """
    rules = [
        Rule("allow", one.protocol, _ports(one), to, "any", source, f"in_{one.interface}" if one.interface else "in")
        for one in declared
        for version in one.families
        for source in _texts([plain_network(each) for each in one.sources if each.version == version])
        for to in _texts([str(each) for each in one.addresses if each.version == version])
    ]
    rules += [Rule("allow", "any", "any", "any", "any", plain_network(network), "in") for network in trusted]
    for bridge in bridges:
        # iptables' sign for "all that begin with this"
        name = f"{bridge[:-1]}+" if bridge.endswith("*") else bridge
        rules += [Rule("route:allow", "any", "any", "any", "any", "any", f"{way}_{name}") for way in ("in", "out")]
    return [rule for rule in dict.fromkeys(rules) if ipv6 or ":" not in rule.to + rule.source]


def _ports(one: Opening) -> str:
    return str(one.first) if one.first == one.last else f"{one.first}:{one.last}"


def _texts(given: list[str]) -> list[str]:
    return given or ["any"]


@dataclass(frozen=True)
class Plan:
    """What has to be done to ufw's rules."""

    add: list[Rule]
    delete: list[Rule]


def plan(have: Sequence[Rule], want: Sequence[Rule]) -> Plan:
    """Return what has to be added and deleted. Rules of others stay, and serve where they say the same as ours."""
    there = {rule.bare for rule in have}
    return Plan(
        add=[rule for rule in want if rule not in there],
        delete=[rule for rule in have if rule.is_ours and rule.bare not in want],
    )


def undeclared(have: Iterable[Rule], declared: Sequence[Opening], trusted: Sequence[Network]) -> list[str]:
    """Return which rules of others let in what is not declared: the guard would shut it, whatever ufw says.

    :param have: the rules of ufw
    """
    return [
        f"ufw's rule `{rule.text}` lets in what is not declared, and the guard would shut it. Declare it in"
        " stack_firewall_host_ports, delete the rule, or set stack_firewall_guard_input_enabled to false."
        for rule in have
        if not rule.is_ours
        and rule.action.split("_")[0] in ("allow", "limit")
        and rule.direction.split("_")[0] == "in"
        and rule.protocol in ("tcp", "udp", "any")
        and not _is_covered(rule, declared, trusted)
    ]


def _is_covered(rule: Rule, declared: Sequence[Opening], trusted: Sequence[Network]) -> bool:
    """Whether each of the rule's ports is declared with at least one of its protocols for somebody."""
    if rule.source in {plain_network(network) for network in trusted}:
        return True
    if rule.port == "any":
        return False
    ranges = [part.partition(":") for part in rule.port.split(",")]
    return all(
        any(
            one.first <= int(first) and int(last or first) <= one.last and rule.protocol in (one.protocol, "any")
            for one in declared
        )
        for first, _sign, last in ranges
    )
