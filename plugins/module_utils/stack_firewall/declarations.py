# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: the ports that are declared to be open, what is wrong with them, and what they let in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]  # noqa: UP007
Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]  # noqa: UP007

PROTOCOLS = ("tcp", "udp")
# dev_valid_name() and IFNAMSIZ of Linux say what a name is; of those, the ones that neither nft nor ufw has to quote.
INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,14}\Z")
# Docker calls its bridges docker0, docker_gwbridge, and br- with the first twelve digits of the network's id.
DOCKER_BRIDGE = re.compile(r"(docker0|docker_gwbridge|br-[0-9a-f]{12})\Z")


class DeclarationError(Exception):
    """Declarations that mean nothing, or that contradict each other; one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        """``problems``: what is wrong, each with the place and what to do."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)


@dataclass(frozen=True)
class Opening:
    """Ports that are open to somebody."""

    where: str
    """The place it was declared at, for messages."""
    first: int
    last: int
    protocol: str
    sources: tuple[Network, ...]
    """Whom it is open to; empty for everybody."""
    addresses: tuple[Address, ...]
    """The addresses of the host at which it is open; empty for all."""
    interface: str
    """The interface it is open on; empty for all."""

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions it is for: those that both its sources and its addresses have."""
        return tuple(
            version for version in (4, 6) if all(_has(version, given) for given in (self.sources, self.addresses))
        )

    def overlaps(self, other: Opening) -> bool:
        """Whether a packet could be for both."""
        return (
            self.protocol == other.protocol
            and self.first <= other.last
            and other.first <= self.last
            and _share(self.addresses, other.addresses)
            and (not self.interface or not other.interface or self.interface == other.interface)
        )


def _has(version: int, given: Sequence[Network | Address]) -> bool:
    return not given or any(one.version == version for one in given)


def _share(some: Sequence[Address], others: Sequence[Address]) -> bool:
    return not some or not others or bool(set(some) & set(others))


def networks(texts: Any, where: str, problems: list[str]) -> tuple[Network, ...]:
    """Return networks, the largest that they make up together; add to ``problems`` what is none.

    :param texts: a list of texts such as 192.0.2.0/24, 2001:db8::/64 or 192.0.2.1
    :param where: the place, for messages
    """
    found: list[Network] = []
    for text in _list(texts, where, problems):
        try:
            network = ipaddress.ip_network(str(text))
        except ValueError as error:
            problems.append(f"{where}: {text!r} is not a network such as 192.0.2.0/24 or 2001:db8::/64: {error}.")
            continue
        if network.is_loopback:
            problems.append(f"{where}: {text} is the host itself, which is never shut out; remove it.")
        found.append(network)
    # nft refuses sets whose elements overlap
    return tuple(
        network
        for version in (4, 6)
        for network in ipaddress.collapse_addresses(one for one in found if one.version == version)  # type: ignore[type-var]
    )


def openings(entries: Any, variable: str) -> list[Opening]:
    """Return what a list of declarations opens.

    :param entries: a list of dictionaries with `port` (a number, or a range such as 6000-6010), `protocol` (tcp or udp;
        tcp if omitted), `sources` (networks; omitted or empty for everybody), `addresses` (of the host; omitted or
        empty for all) and `interface` (omitted or empty for all)
    :param variable: what the list is called, for messages
    :raises DeclarationError: with all that is wrong with it
    """
    problems: list[str] = []
    found: list[Opening] = []
    for number, entry in enumerate(_list(entries, variable, problems)):
        where = f"{variable}[{number}]"
        if not isinstance(entry, Mapping):
            problems.append(f"{where}: {entry!r} is not a dictionary such as {{port: 443, protocol: tcp}}.")
            continue
        ports = _ports(entry.get("port"), where, problems)
        protocol = entry.get("protocol") or "tcp"
        if protocol not in PROTOCOLS:
            problems.append(f"{where}: protocol must be one of {', '.join(PROTOCOLS)}, not {protocol!r}.")
        interface = entry.get("interface") or ""
        if interface and not INTERFACE.match(str(interface)):
            problems.append(f"{where}: {interface!r} cannot be the name of an interface.")
        opening = Opening(
            where=f"{where} (port {entry.get('port')}/{protocol})",
            first=ports[0],
            last=ports[1],
            protocol=str(protocol),
            sources=networks(entry.get("sources"), f"{where}.sources", problems),
            addresses=_addresses(entry.get("addresses"), f"{where}.addresses", problems),
            interface=str(interface),
        )
        if not opening.families:
            problems.append(
                f"{where}: its sources and its addresses are of different IP versions, so that nothing could come in."
            )
        problems += [
            f"{opening.where} and {other.where} are for the same port; make them one, with all of their sources."
            for other in found
            if ports[0] and opening.overlaps(other)
        ]
        found.append(opening)
    if problems:
        raise DeclarationError(problems)
    return found


def contradictions(published: Iterable[Opening], host_ports: Iterable[Opening]) -> list[str]:
    """Return what is wrong with the ports of containers and those of the host taken together."""
    return [
        f"{one.where} and {other.where}: a port is either a container's or the host's own; remove one of them."
        for one in published
        for other in host_ports
        if one.overlaps(other)
    ]


def missing(declared: Iterable[Opening], interfaces: Mapping[str, Sequence[str]]) -> list[str]:
    """Return which interfaces and addresses are declared and not there.

    :param interfaces: the addresses of each interface of the host
    """
    there = {ipaddress.ip_address(address) for addresses in interfaces.values() for address in addresses}
    problems = []
    for one in declared:
        if one.interface and one.interface not in interfaces:
            problems.append(
                f"{one.where}: the host has no interface {one.interface}, but {', '.join(sorted(interfaces))}."
            )
        problems += [
            f"{one.where}: the host has no address {address}, but {', '.join(map(str, sorted(there, key=str)))}."
            for address in one.addresses
            if address not in there
        ]
    return problems


def pretenders(patterns: Iterable[str], interfaces: Iterable[str]) -> list[str]:
    """Return which interfaces a pattern takes for a bridge of containers, though Docker does not name its own so.

    :param patterns: names; one that ends with * is for all that begin with it
    :param interfaces: the names of the host's interfaces
    """
    return [
        f"The interface {name} matches {pattern!r} in stack_firewall_internal_interfaces, but Docker does not name its"
        f" bridges so: what comes in there would not be held up. Put the names of Docker's bridges there one by one."
        for name in sorted(interfaces)
        for pattern in patterns
        if pattern.endswith("*") and name.startswith(pattern[:-1]) and not DOCKER_BRIDGE.match(name)
    ]


def wrong_patterns(patterns: Any) -> list[str]:
    """Return which of the names or patterns of interfaces are none."""
    problems: list[str] = []
    for pattern in _list(patterns, "stack_firewall_internal_interfaces", problems):
        name = str(pattern)[:-1] if str(pattern).endswith("*") else str(pattern)
        if not INTERFACE.match(name):
            problems.append(
                f"stack_firewall_internal_interfaces: {pattern!r} is not the name of an interface,"
                " nor the beginning of one with a *."
            )
        elif name == "lo":
            problems.append("stack_firewall_internal_interfaces: lo is never shut out; remove it.")
    return problems


def admits(
    declared: Iterable[Opening],
    trusted: Iterable[Network],
    source: str,
    address: str,
    port: int,
    interfaces: Mapping[str, Sequence[str]],
) -> bool:
    """Return whether a TCP connection would be let in.

    :param source: the address it comes from
    :param address: the address of the host that it goes to
    :param port: the port it goes to
    :param interfaces: the addresses of each interface of the host; it is taken to come in where ``address`` is
    """
    comes_from, goes_to = _plain(source), _plain(address)
    if any(comes_from in network for network in trusted):
        return True
    came_in = {name for name, own in interfaces.items() if goes_to in map(ipaddress.ip_address, own)}
    return any(
        one.protocol == "tcp"
        and one.first <= port <= one.last
        and (not one.sources or any(comes_from in network for network in one.sources))
        and (not one.addresses or goes_to in one.addresses)
        and (not one.interface or one.interface in came_in)
        for one in declared
    )


def printed(declared: Iterable[Opening]) -> list[dict[str, Any]]:
    """Return what the template of the guard prints: an entry for each opening and IP version.

    Each has `ip` (nft's name of the version), `nfproto`, `protocol`, `port` (a range as 6000-6010), `sources`,
    `addresses` (each as texts; empty for any), `interface` (empty for any) and `where`.
    """
    return [
        {
            "ip": "ip" if version == 4 else "ip6",
            "nfproto": f"ipv{version}",
            "protocol": one.protocol,
            "port": str(one.first) if one.first == one.last else f"{one.first}-{one.last}",
            "sources": [plain_network(source) for source in one.sources if source.version == version],
            "addresses": [str(address) for address in one.addresses if address.version == version],
            "interface": one.interface,
            "where": one.where,
        }
        for one in declared
        for version in one.families
    ]


def plain_network(network: Network) -> str:
    """Return a network as nft and ufw write it: an address alone without its length."""
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _plain(address: str) -> Address:
    """Return the address that sshd names: it may be an IPv4 one mapped into IPv6, or have a scope (fe80::1%eth0)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _list(value: Any, where: str, problems: list[str]) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        problems.append(f"{where}: {value!r} is not a list.")
        return []
    return list(value)


def _ports(value: Any, where: str, problems: list[str]) -> tuple[int, int]:
    match = re.match(r"([0-9]{1,5})(?:-([0-9]{1,5}))?\Z", str(value))
    if match and not isinstance(value, bool):
        first, last = int(match[1]), int(match[2] or match[1])
        if 1 <= first <= last <= 65535:
            return first, last
    problems.append(f"{where}: port must be a number from 1 to 65535 or a range such as 6000-6010, not {value!r}.")
    return 0, 0


def _addresses(texts: Any, where: str, problems: list[str]) -> tuple[Address, ...]:
    found: list[Address] = []
    for text in _list(texts, where, problems):
        try:
            address = ipaddress.ip_address(str(text))
        except ValueError:
            problems.append(f"{where}: {text!r} is not an address such as 192.0.2.1 or 2001:db8::1.")
            continue
        if address.is_unspecified:
            problems.append(f"{where}: {text} means all addresses; leave `addresses` out instead.")
        elif address.is_loopback:
            problems.append(f"{where}: {text} is reached from the host alone, which needs no declaration; remove it.")
        found.append(address)
    return tuple(dict.fromkeys(found))
