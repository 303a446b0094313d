# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS as a stranger sees it: protocols that a server accepts, whether its certificate is trusted, and until when.

Protocols up to TLS 1.1 are offered by a ClientHello of our own, because the OpenSSL of today refuses to speak them: a
server that accepts one answers with a ServerHello, any other with an alert or by hanging up (RFC 5246, 7.4.1).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.connections import said, unverified
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    Json,
    observe,
)

ACCEPTED, REFUSED, SILENT = "accepted", "refused", "no answer"
OLD = {"SSL 3.0": (3, 0), "TLS 1.0": (3, 1), "TLS 1.1": (3, 2)}
NEW = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2
_PROTOCOL_ALERTS = {
    40: "handshake_failure",
    47: "illegal_parameter",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    112: "unrecognized_name",
}
_CIPHERS = (
    *(0xC009, 0xC00A, 0xC013, 0xC014, 0x0033, 0x0039, 0x002F, 0x0035),  # AES-CBC-SHA with ECDHE, DHE and RSA
    *(0xC008, 0xC012, 0x0016, 0x000A, 0xC007, 0xC011, 0x0005, 0x0004),  # 3DES and RC4
)


@dataclass(frozen=True)
class Endpoint:
    """A port that may speak TLS: `name` is what its certificate must be valid for (empty: no name is asked for)."""

    address: str
    port: int
    name: str = ""
    timeout: float = 3.0

    @property
    def where(self) -> str:
        """Its address in a text."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Measured:
    """What a port said: by protocol `accepted`, `refused` or `no answer`; what verifying the certificate came to (empty
    if it is trusted); until when it is valid."""

    protocols: Mapping[str, str]
    untrusted: str = ""
    not_after: datetime.datetime | None = None

    @property
    def is_tls(self) -> bool:
        """Whether it speaks TLS at all."""
        return ACCEPTED in self.protocols.values()


# -- pure -------------------------------------------------------------------------------------------------------------


def client_hello(version: tuple[int, int], name: str, random: bytes) -> bytes:
    """Return the record with which a client of this version begins (RFC 5246, 7.4.1.2; RFC 6066; RFC 8422).

    :param version: as on the wire, (3, 1) is TLS 1.0
    :param name: what server_name says; nothing for addresses, and nothing if empty
    :param random: 32 bytes
    """
    ciphers = b"".join(struct.pack("!H", cipher) for cipher in _CIPHERS)
    extensions = b""
    if version > (3, 0):
        if name and not _is_address(name):
            host = name.encode("idna")
            entry = b"\0" + struct.pack("!H", len(host)) + host
            extensions += _extension(0, struct.pack("!H", len(entry)) + entry)
        extensions += _extension(10, struct.pack("!HHHH", 6, 23, 24, 25))  # P-256, P-384, P-521
        extensions += _extension(11, b"\1\0")  # uncompressed points
    body = bytes(version) + random + b"\0" + struct.pack("!H", len(ciphers)) + ciphers + b"\1\0"
    if extensions:
        body += struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return bytes((_HANDSHAKE, 3, min(version[1], 1))) + struct.pack("!H", len(message)) + message


def _extension(number: int, body: bytes) -> bytes:
    return struct.pack("!HH", number, len(body)) + body


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def verdict(version: tuple[int, int], answer: bytes) -> str:
    """Return what a server's first bytes mean: it accepted this version, it refused it, or it does not speak TLS.

    :param answer: at least the first 11 bytes of what it sent; empty if it closed the connection
    """
    if len(answer) >= 11 and answer[0] == _HANDSHAKE and answer[5] == _SERVER_HELLO:
        return ACCEPTED if tuple(answer[9:11]) == version else REFUSED
    if len(answer) >= 7 and answer[0] == _ALERT and answer[1] == 3:
        return f"{REFUSED} ({_PROTOCOL_ALERTS.get(answer[6], f'alert {answer[6]}')})"
    return f"{REFUSED} (closed)" if not answer else f"{REFUSED} (no TLS)"


def end_of(certificate: bytes) -> datetime.datetime:
    """Return until when a certificate is valid: notAfter of its validity (RFC 5280, 4.1).

    :param certificate: in DER
    :raises ValueError: if this is no certificate
    """
    try:
        _tag, outer, _rest = _take(certificate)
        _tag, fields, _rest = _take(outer)
        tag, _value, rest = _take(fields)
        if tag == 0xA0:  # the version, which certificates of version 1 have not
            _tag, _value, rest = _take(rest)
        for _field in ("signature", "issuer"):
            _tag, _value, rest = _take(rest)
        _tag, validity, _rest = _take(rest)
        _tag, _value, rest = _take(validity)
        tag, value, _rest = _take(rest)
        text = value.decode("ascii")
        # UTCTime has two digits for the year, of which 50 to 99 are of the last century
        text = text if tag == 0x18 else ("19" if int(text[:2]) >= 50 else "20") + text
        return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("this is no certificate in DER") from error


def _take(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element of DER: its tag, its content, and what follows it."""
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise IndexError
    return data[0], data[start : start + length], data[start + length :]


def judge_protocols(probe: str, subject: str, measured: Measured) -> Json:
    """Return whether a port accepts TLS 1.2 or 1.3, and nothing older.

    :param probe: the name to say it under
    """
    said_of = "; ".join(f"{name} {what}" for name, what in measured.protocols.items())
    old = [name for name in OLD if measured.protocols.get(name) == ACCEPTED]
    silent = [name for name, what in measured.protocols.items() if what.startswith(SILENT)]
    if old:
        return observe(probe, subject, FAIL, f"The server accepts {' and '.join(old)}. {said_of}.")
    if not measured.is_tls:
        return observe(probe, subject, NOT_APPLICABLE, f"Nobody speaks TLS here. {said_of}.")
    if silent:
        return observe(probe, subject, ERROR, f"No answer on {' and '.join(silent)}, so nothing is known. {said_of}.")
    return observe(probe, subject, PASS, f"{said_of}.")


def judge_certificate(
    probe: str, subject: str, measured: Measured, name: str, days: int, today: datetime.datetime
) -> Json:
    """Return whether a certificate is trusted, valid for its name, and not about to expire.

    :param name: what it must be valid for, for the evidence
    :param days: how many it must still be valid for
    :param today: the time that these days are counted from
    """
    if not measured.is_tls:
        return observe(probe, subject, NOT_APPLICABLE, "Nobody speaks TLS here, so there is no certificate.")
    left = (measured.not_after - today).days if measured.not_after else None
    until = f"It is valid until {measured.not_after:%Y-%m-%d}, {left} days." if measured.not_after else ""
    if measured.untrusted:
        return observe(
            probe,
            subject,
            FAIL,
            f"A client that asks for {name or 'no name'} refuses the certificate: {measured.untrusted}. {until}",
        )
    if left is None:
        return observe(probe, subject, ERROR, "The certificate could not be read.")
    if left < days:
        return observe(probe, subject, FAIL, f"The certificate expires in fewer than {days} days. {until}")
    return observe(probe, subject, PASS, f"The certificate is trusted and valid for {name or 'its server'}. {until}")


# -- I/O --------------------------------------------------------------------------------------------------------------


def examine(endpoint: Endpoint, authority: str = "") -> Measured:
    """Return what a port says when TLS is spoken to it. Takes one timeout where nobody answers.

    :param endpoint: the port
    :param authority: file with the authority that its certificate must come from, in PEM; empty for the system's
    """
    with ThreadPoolExecutor(len(OLD) + len(NEW) + 2) as pool:
        work = {name: pool.submit(_offer_old, endpoint, version) for name, version in OLD.items()}
        work.update({name: pool.submit(_offer_new, endpoint, version) for name, version in NEW.items()})
        verification, end = pool.submit(_untrusted, endpoint, authority), pool.submit(_end, endpoint)
        protocols = {name: task.result() for name, task in work.items()}
        return Measured(protocols, verification.result(), end.result())


def verified(authority: str, name: str) -> ssl.SSLContext:
    """Return a context that verifies certificates. Raises OSError where the file is no authority's.

    :param authority: file with it, in PEM; the system's count if it is empty or not there
    :param name: what the certificate must be valid for; empty for any
    """
    context = ssl.create_default_context(cafile=authority if os.path.exists(authority) else None)
    context.check_hostname = bool(name)
    return context


def _connect(endpoint: Endpoint) -> socket.socket:
    return socket.create_connection((endpoint.address, endpoint.port), endpoint.timeout)


def _offer_old(endpoint: Endpoint, version: tuple[int, int]) -> str:
    try:
        with _connect(endpoint) as raw:
            raw.sendall(client_hello(version, endpoint.name, os.urandom(32)))
            answer = b""
            while len(answer) < 11:
                more = raw.recv(4096)
                if not more:
                    break
                answer += more
            return verdict(version, answer)
    except ConnectionError:
        return f"{REFUSED} (closed)"
    except OSError as error:
        return f"{SILENT} ({said(error)})"


def _offer_new(endpoint: Endpoint, version: ssl.TLSVersion) -> str:
    context = unverified()
    context.minimum_version = context.maximum_version = version
    try:
        with _connect(endpoint) as raw, context.wrap_socket(raw, server_hostname=endpoint.name or None):
            return ACCEPTED
    except (ssl.SSLError, ConnectionError) as error:
        return f"{REFUSED} ({said(error).removeprefix('TLS: ')})"
    except OSError as error:
        return f"{SILENT} ({said(error)})"


def _untrusted(endpoint: Endpoint, authority: str) -> str:
    """Why a client does not trust the certificate; empty if it does."""
    try:
        context = verified(authority, endpoint.name)
        with _connect(endpoint) as raw, context.wrap_socket(raw, server_hostname=endpoint.name or None):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError) as error:
        return said(error)


def _end(endpoint: Endpoint) -> datetime.datetime | None:
    """Until when the certificate is valid, whether it is trusted or not; None without one."""
    try:
        with _connect(endpoint) as raw, unverified().wrap_socket(raw, server_hostname=endpoint.name or None) as secure:
            return end_of(secure.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None
