# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what one entry of a Compose service's `ports` publishes, in the short and the long syntax.

The syntax is that of the Compose specification (compose-spec, 05-services.md, "ports"); where it is silent, what
Docker Compose v2 does counts (tests hold the two side by side).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

PROTOCOLS: Final = ("tcp", "udp", "sctp")
MODES: Final = ("ingress", "host")
LONG_KEYS: Final = ("target", "published", "host_ip", "protocol", "mode", "name", "app_protocol")
HIGHEST_PORT: Final = 65535

# Plain scalars that YAML readers take for numbers, each for another one: 0x50, 081, 8_080, 80.0, 8e1.
_ODD_NUMBER: Final = re.compile(
    r"[-+]?(0[0-9_]+|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*_[0-9_]*"
    r"|[0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)|[-+][0-9]+"
)
# What YAML 1.1 and 1.2 readers take for null or a truth value.
NO_TEXT: Final = re.compile(r"|~|null|true|false|yes|no|on|off|y|n", re.IGNORECASE)


class PortError(ValueError):
    """An entry that publishes nothing that Docker could do; the text says why."""


@dataclass(frozen=True)
class Port:
    """One published container port.

    :param target: the container's port
    :param published: the host's port or range of ports ("8000-8005": Docker takes a free one); empty for any free port
    :param host_ip: the host's address in canonical form; empty for all addresses, IPv4 and IPv6
    :param protocol: tcp, udp or sctp
    :param mode: "ingress" or "host"; without Swarm, Docker Compose makes no difference
    """

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"
    mode: str = "ingress"

    @property
    def container(self) -> str:
        """The port as Docker writes it, for example 8080/tcp."""
        return f"{self.target}/{self.protocol}"

    @property
    def key(self) -> tuple[str, str, int, str]:
        """What Compose tells ports apart by when it merges files: of two with the same key, the later one counts
        (compose-go, override/uncity.go)."""
        return (self.host_ip or "0.0.0.0", self.published, self.target, self.protocol)


def address(text: str) -> str:
    """Return the canonical form of an IPv4 or IPv6 address, which may stand in brackets.

    :raises PortError: for anything else; Docker takes neither names nor addresses with a zone
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        raise PortError(f"{text!r} is not an IP address") from None
    if "%" in bare:
        raise PortError(f"{text!r} has a zone, and Docker publishes on plain addresses only")
    return str(found)


def _range(text: str, what: str, lowest: int) -> tuple[int, int]:
    """Return the first and the last port of "80" or "80-90"."""
    match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", text)
    if not match:
        raise PortError(f"{text!r} is not a {what} port, nor a range of them")
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if first > last:
        raise PortError(f"the range {text} ends before it begins")
    if first < lowest or last > HIGHEST_PORT:
        raise PortError(f"{text} is not between {lowest} and {HIGHEST_PORT}")
    return first, last


def port_range(text: str) -> tuple[int, int]:
    """Return the first and the last of a container port or a range of them, "8080" or "4317-4318".

    :raises PortError: for anything else
    """
    return _range(text, "container", 1)


def fields(text: str) -> list[str]:
    """Return the parts of a short entry, split at the colons that stand neither in brackets nor in ${...}."""
    parts, depth, current = [], 0, ""
    for character in text:
        if character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        if character == ":" and depth <= 0:
            parts.append(current)
            current = ""
        else:
            current += character
    return [*parts, current]


def short(text: str) -> tuple[Port, ...]:
    """Return the ports of a short entry, [[host_ip:][published]:]target[/protocol], after interpolation.

    A range on both sides publishes port by port; a range before a single container port lets Docker choose.

    :raises PortError: for what Docker Compose refuses, and for what the engine would
    """
    *before, container = fields(text)
    if len(before) > 2:
        raise PortError(f"{text!r} has too many colons; an IPv6 address needs brackets: '[::1]:8080:80'")
    container, _slash, protocol = container.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise PortError(f"{protocol!r} is none of the protocols {', '.join(PROTOCOLS)}")
    if not container:
        raise PortError(f"{text!r} names no container port")
    first, last = _range(container, "container", 1)
    host_ip = address(before[0]) if len(before) == 2 and before[0] else ""
    published = before[-1] if before else ""
    if not published:
        return tuple(Port(target, "", host_ip, protocol) for target in range(first, last + 1))
    if len(before) == 1 and _looks_like_address(published):
        raise PortError(f"{text!r} has an address but only one port; say {published}::{container} for any host port")
    low, high = _range(published, "host", 0)
    if first == last:
        return (Port(first, str(low) if low == high else f"{low}-{high}", host_ip, protocol),)
    if high - low != last - first:
        raise PortError(f"the ranges {published} and {container} are not of the same length")
    return tuple(Port(target, str(low + target - first), host_ip, protocol) for target in range(first, last + 1))


def _looks_like_address(text: str) -> bool:
    try:
        address(text)
    except PortError:
        return False
    return not text.isdigit()


def plain(text: str) -> str:
    """Return an unquoted scalar of `ports` if every YAML reader takes it for the same port.

    `22:22` is a text for Docker Compose v2, which reads YAML 1.2; only YAML 1.1 takes it for a number of base 60.

    :raises PortError: for null, truth values and numbers that are not plainly decimal
    """
    if NO_TEXT.fullmatch(text):
        raise PortError(f"{text or 'an empty entry'} is not a port")
    if _ODD_NUMBER.fullmatch(text):
        raise PortError(f"{text} is not a plain decimal number: write the port so, or in quotes")
    return text


def long(entry: Mapping[str, str]) -> tuple[Port, ...]:
    """Return the one port of a long entry, after interpolation.

    :param entry: the keys of the long syntax with their values as text
    :raises PortError: for what Docker Compose refuses, and for what the engine would
    """
    unknown = [key for key in entry if key not in LONG_KEYS and not key.startswith("x-")]
    if unknown:
        raise PortError(f"{unknown[0]!r} is none of the keys {', '.join(LONG_KEYS)}")
    if not entry.get("target"):
        raise PortError("the target is missing: the container's port")
    first, last = _range(entry["target"], "container", 1)
    if first != last:
        raise PortError("target takes no range in the long syntax")
    published = entry.get("published", "")
    if published:
        low, high = _range(published, "host", 0)
        published = str(low) if low == high else f"{low}-{high}"
    protocol = entry.get("protocol", "tcp")
    if protocol.lower() not in PROTOCOLS:
        raise PortError(f"{protocol!r} is none of the protocols {', '.join(PROTOCOLS)}")
    mode = entry.get("mode", "ingress")
    if mode not in MODES:
        raise PortError(f"{mode!r} is none of the modes {', '.join(MODES)}")
    host_ip = address(entry["host_ip"]) if "host_ip" in entry else ""
    return (Port(first, published, host_ip, protocol.lower(), mode),)


def rebound(text: str, host_ip: str) -> str:
    """Return a short entry, before interpolation, published on this address; everything else stays as it is written.

    :param host_ip: an address in canonical form
    """
    parts = fields(text)
    host = f"[{host_ip}]" if ":" in host_ip else host_ip
    return ":".join([host, parts[-2] if len(parts) > 1 else "", parts[-1]])
