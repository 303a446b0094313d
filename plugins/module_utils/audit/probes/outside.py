# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what answers from outside mean, of open ports, HyperDX and the collector.

HyperDX' routes are those of packages/api/src/routers/api/root.ts and packages/app/pages/api/config.ts; the collector's
answers are those of OpenTelemetry's OTLP receiver with the bearer token extension.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.connections import OPEN, SILENT, Answer
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    Json,
    judged,
    listed,
    observe,
)

PORTS: dict[str, tuple[int, ...]] = {
    "ports_databases": (8123, 9000, 9004, 9005, 9009, 9010, 9100, 9363, 8443, 9440, 27017),
    "port_opamp": (4320,),
    "ports_hyperdx_plain": (8000, 8080),
    "ports_collector": (13133, 8888, 24225, 8126, 14318),
    "port_docker_api": (2375, 2376),
}
"""Ports that nobody outside shall reach, by the probe that asks for them."""

NAMES = {
    22: "SSH",
    2375: "Docker",
    2376: "Docker over TLS",
    4317: "OTLP/gRPC",
    4318: "OTLP/HTTP",
    4320: "OpAMP",
    8000: "HyperDX API",
    8080: "HyperDX",
    8123: "ClickHouse HTTP",
    8126: "Datadog receiver",
    8443: "ClickHouse HTTPS",
    8888: "collector metrics",
    9000: "ClickHouse native",
    9004: "ClickHouse MySQL",
    9005: "ClickHouse PostgreSQL",
    9009: "ClickHouse interserver",
    9010: "ClickHouse interserver over TLS",
    9100: "ClickHouse gRPC",
    9363: "ClickHouse metrics",
    9440: "ClickHouse native over TLS",
    13133: "collector health",
    14318: "collector",
    24225: "fluentforward",
    27017: "MongoDB",
}
REFUSED_STATUSES = (401, 403)


# -- ports ------------------------------------------------------------------------------------------------------------


def wanted_ports(ports: Sequence[str], declared: Iterable[int]) -> list[int]:
    """Return the ports to try: all of them for `all`, those that are given, or the known and the declared ones.

    :param ports: of an option: numbers, or `all`
    """
    if "all" in ports:
        return list(range(1, 65536))
    named = {int(port) for port in ports} or {*NAMES, 80, 443}
    return sorted(named | set(declared) | {port for known in PORTS.values() for port in known})


def judge_ports(address: str, states: Mapping[int, str], declared: Iterable[int]) -> list[Json]:
    """Return what open ports at one address mean.

    :param states: by port, what came of a connection
    :param declared: ports that shall be open, which no probe holds against the host
    """
    known = set(declared)
    if all(state != OPEN and state != "refused" for state in states.values()):
        silent = sum(state == SILENT for state in states.values())
        evidence = (
            f"None of {len(states)} ports answered ({silent} silent, the others unreachable): this may be no address of"
            " the host, or there is no way to it from here."
        )
        return [observe(probe, address, ERROR, evidence) for probe in ("ports_undeclared", *PORTS)]
    opened = sorted(port for port, state in states.items() if state == OPEN)
    extra = [port for port in opened if port not in known]
    tried = f"of {len(states)} ports tried, open: {listed(opened) or 'none'}"
    found = [
        judged(
            "ports_undeclared",
            address,
            not extra,
            f"No port is open that is not declared ({tried}).",
            f"Open and not declared: {_named(extra)} ({tried}).",
        )
    ]
    for probe, ports in PORTS.items():
        mine = [port for port in ports if port in extra]
        found.append(
            judged(
                probe,
                address,
                not mine,
                f"Not open: {listed(ports, 12)}."
                if not set(ports) & set(opened)
                else f"Open are only declared ones of {listed(ports, 12)}.",
                f"Open: {_named(mine)}.",
            )
        )
    return found


def _named(ports: Iterable[int]) -> str:
    return listed(f"{port} ({NAMES[port]})" if port in NAMES else str(port) for port in ports)


# -- HyperDX ----------------------------------------------------------------------------------------------------------


def judge_hsts(subject: str, answer: Answer) -> Json:
    """Return whether an answer over HTTPS tells browsers to come back over HTTPS only (RFC 6797)."""
    if not answer.status:
        return observe("hyperdx_hsts", subject, ERROR, f"GET / got no answer: {answer.body}.")
    value = answer.headers.get("strict-transport-security", "")
    age = next((part.partition("=")[2].strip('" ') for part in value.split(";") if "max-age" in part.lower()), "")
    return judged(
        "hyperdx_hsts",
        subject,
        age.isdecimal() and int(age) > 0,
        f"Strict-Transport-Security: {value}.",
        f"GET / answers without Strict-Transport-Security (it is {value or 'absent'}).",
    )


def judge_anonymous(subject: str, answers: Mapping[str, Answer]) -> Json:
    """Return whether HyperDX' API wants a login.

    :param answers: by path, what came back without one
    """
    said = "; ".join(f"GET {path}: {answer.status or answer.body}" for path, answer in answers.items())
    opened = [path for path, answer in answers.items() if answer.status == 200 and document(answer) is not None]
    if opened:
        return observe("hyperdx_anonymous", subject, FAIL, f"The API answers without a login ({said}).")
    if any(answer.status in REFUSED_STATUSES for answer in answers.values()):
        return observe("hyperdx_anonymous", subject, PASS, f"Without a login the API refuses ({said}).")
    return observe("hyperdx_anonymous", subject, ERROR, f"This is not how HyperDX' API answers ({said}).")


def judge_registration(subject: str, path: str, answer: Answer) -> Json:
    """Return whether the first owner is registered already: HyperDX says so to everybody, and takes one only.

    :param path: what was asked for
    """
    found = document(answer)
    is_there = found.get("isTeamExisting") if isinstance(found, dict) else None
    if is_there is True:
        return observe(
            "hyperdx_registration", subject, PASS, f"GET {path}: isTeamExisting is true, so /register is closed."
        )
    if is_there is False:
        return observe(
            "hyperdx_registration",
            subject,
            FAIL,
            f"GET {path}: isTeamExisting is false, so the first visitor can register and owns this HyperDX.",
        )
    return observe(
        "hyperdx_registration",
        subject,
        ERROR,
        f"GET {path}: {answer.status or answer.body}, which does not say whether a team exists.",
    )


def judge_config_key(subject: str, answer: Answer) -> Json:
    """Return whether /api/config hands an API key to everybody. The key is not repeated."""
    found = document(answer)
    if not answer.status:
        return observe("hyperdx_config_key", subject, ERROR, f"GET /api/config got no answer: {answer.body}.")
    key = found.get("apiKey") if isinstance(found, dict) else None
    return judged(
        "hyperdx_config_key",
        subject,
        not key,
        f"GET /api/config ({answer.status}) holds no key.",
        "GET /api/config gives a key to everybody; if it is the team's, anybody can send telemetry.",
    )


def document(answer: Answer) -> Any:
    """Return what is in an answer in JSON; None if it is not JSON."""
    try:
        return json.loads(answer.body)
    except ValueError:
        return None


# -- OTLP -------------------------------------------------------------------------------------------------------------


def judge_otlp(subject: str, answer: Answer, is_team: bool | None) -> Json:
    """Return whether an OTLP request without a key is refused.

    :param answer: its answer; for gRPC, with the status that HTTP has for the same
    :param is_team: whether HyperDX has a team, before which its collector does not listen; None if unknown
    """
    if answer.status in REFUSED_STATUSES:
        return observe(
            "otlp_unauthenticated", subject, PASS, f"An empty request without a key is refused ({answer.status})."
        )
    if not answer.status:
        if is_team is False:
            return observe(
                "otlp_unauthenticated",
                subject,
                NOT_APPLICABLE,
                f"Nobody answers ({answer.body}): the collector listens when HyperDX' first user is registered.",
            )
        return observe(
            "otlp_unauthenticated",
            subject,
            ERROR,
            f"The port is open, but nobody answers ({answer.body}): either the collector is not up, or HyperDX has"
            " no team yet.",
        )
    if answer.status >= 500 or answer.status == 404:
        return observe("otlp_unauthenticated", subject, ERROR, f"This is not how a collector answers: {answer.status}.")
    return observe(
        "otlp_unauthenticated",
        subject,
        FAIL,
        f"An empty request without a key gets {answer.status} instead of 401: anybody can send telemetry.",
    )


_GRPC_STATUS = (b"\x0bgrpc-status", bytes.fromhex("889acac8b21234da8f"))
"""The field's name in HPACK, as it is and in Huffman's code (RFC 7541, 5.2 and Appendix B)."""
GRPC_PATH = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def grpc_request(authority: str, is_tls: bool) -> bytes:
    """Return an empty Export request of gRPC: HTTP/2's preface and settings, the fields, and a message of no bytes.

    :param authority: host and port, for :authority
    """
    fields = b"\x83" + (b"\x87" if is_tls else b"\x86")  # :method POST; :scheme https or http (RFC 7541, Appendix A)
    fields += b"\x04" + _text(GRPC_PATH) + b"\x01" + _text(authority)
    for name, value in (("content-type", "application/grpc"), ("te", "trailers")):
        fields += b"\x00" + _text(name) + _text(value)
    message = b"\0" * 5
    return (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 4, 1, fields) + _frame(0, 1, 1, message)
    )


def _text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("ascii")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def grpc_answer(data: bytes) -> Answer:
    """Return what HTTP/2 frames say: 401 for UNAUTHENTICATED, 403 for PERMISSION_DENIED, 200 for OK, 400 for others.

    :param data: all that came back
    """
    place = 0
    while place + 9 <= len(data):
        size, kind = int.from_bytes(data[place : place + 3], "big"), data[place + 3]
        payload = data[place + 9 : place + 9 + size]
        place += 9 + size
        if kind != 1:
            continue
        for name in _GRPC_STATUS:
            _before, found, after = payload.partition(name)
            if found:
                return Answer(_http_status(after), "grpc-status")
    return Answer(0, "no answer in gRPC" if data else "the connection was closed without an answer")


_HUFFMAN = {"0": b"\x81\x07", "7": b"\x81\x77", "16": b"\x82\x0b\x9f"}
_GRPC = {"0": 200, "7": 403, "16": 401}


def _http_status(value: bytes) -> int:
    """By the field's value in HPACK: gRPC's status as HTTP says the same."""
    for text, status in _GRPC.items():
        if value.startswith((_text(text), _HUFFMAN[text])):
            return status
    return 400
