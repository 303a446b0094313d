# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: names in certificates (subject alternative names), in the form `DNS:db` and `IP:127.0.0.1` that OpenSSL and
community.crypto write.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


class WrongName(ValueError):
    """A text that is no name of a host and no address; the argument says why."""


def name_of(text: str) -> str:
    """Return a name as a certificate has it: `DNS:` with small letters, or `IP:` in its shortest form.

    Raises WrongName.

    :param text: a host's name, also `*.example.com`, or an IPv4 or IPv6 address
    """
    try:
        return f"IP:{ipaddress.ip_address(text).compressed}"
    except ValueError:
        pass
    if not text.isascii():
        raise WrongName(f"{text!r} has other letters than ASCII: write it in its xn-- form")
    labels = text.rstrip(".").split(".")
    if labels[0] == "*" and len(labels) > 2:
        labels = labels[1:]
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise WrongName(f"{text!r} is neither a host's name nor an address")
    if labels[-1].isdigit():
        raise WrongName(f"{text!r} is no address")
    return f"DNS:{text.rstrip('.').lower()}"


def covers(present: Iterable[str], wanted: str) -> bool:
    """Return whether one of the names of a certificate stands for the wanted one. A `*` stands for one label, the first
    (RFC 6125, 6.4.3).

    :param present: names in a certificate
    :param wanted: a name
    """
    kind, _colon, text = wanted.partition(":")
    any_first = f"DNS:*.{text.partition('.')[2]}" if kind == "DNS" and "." in text else wanted
    return any(name.lower() in (wanted.lower(), any_first.lower()) for name in present)


def outside(permitted: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the names that an authority with name constraints must not sign (RFC 5280, 4.2.1.10): those of a kind that
    is constrained, and that no constraint of the kind takes in.

    :param permitted: constraints: `DNS:example.com` (with all below it), `IP:10.0.0.0/8`
    :param names: names of a certificate
    """
    found = []
    for name in names:
        kind, _colon, text = name.partition(":")
        limits = [limit.partition(":")[2] for limit in permitted if limit.startswith(f"{kind}:")]
        if limits and not any(_takes_in(kind, limit, text) for limit in limits):
            found.append(name)
    return found


def _takes_in(kind: str, limit: str, text: str) -> bool:
    if kind == "IP":
        return ipaddress.ip_address(text) in ipaddress.ip_network(limit, strict=False)
    limit = limit.lower().lstrip(".")
    return text == limit or text.endswith(f".{limit}")
