# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HyperDX tells its collectors by OpAMP: whether senders need a key. No I/O.

The messages are AgentToServer and ServerToAgent of opamp-spec's opamp.proto, in the encoding of Protocol Buffers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

PATH, CONTENT_TYPE = "/v1/opamp", "application/x-protobuf"
# one name for all our questions, so that HyperDX remembers one agent
_INSTANCE = b"hardened.clicks."
_REPORTS_STATUS, _ACCEPTS_REMOTE_CONFIG = 1, 2


def question() -> bytes:
    """Return the message of an agent that asks for its configuration: instance_uid, sequence_num, capabilities."""
    return (
        bytes([1 << 3 | 2, len(_INSTANCE)])
        + _INSTANCE
        + bytes([2 << 3, 1, 4 << 3, _REPORTS_STATUS | _ACCEPTS_REMOTE_CONFIG])
    )


def is_enforced(answer: bytes) -> bool | None:
    """Return whether a collector with this answer refuses senders without a key; None where it says nothing of OTLP.

    :param answer: a ServerToAgent message
    :raises ValueError: if it is none
    """
    try:
        config = _config(answer)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from None
    receiver = (config.get("receivers") or {}).get("otlp/hyperdx")
    if not receiver:
        return None
    extensions = config.get("extensions") or {}
    protocols = receiver["protocols"].values()
    return all((protocol.get("auth") or {}).get("authenticator") in extensions for protocol in protocols)


def _config(answer: bytes) -> dict[str, Any]:
    """The remote configuration: remote_config.config.config_map, of each entry value.body."""
    config: dict[str, Any] = {}
    for entry in _values(answer, 3, 1, 1):
        for body in _values(entry, 2, 1):
            found = json.loads(body.decode())
            if isinstance(found, dict):
                config.update(found)
    return config


def _values(data: bytes, *path: int) -> list[bytes]:
    """The values of a field of a field of a message."""
    found = [data]
    for number in path:
        found = [value for one in found for key, value in _fields(one) if key == number]
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that have a length; numbers are passed over. Raises IndexError, ValueError."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        if kind == 0:
            number()
        elif kind == 2:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
