# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a certificate does its work, found out by doing it: a TLS handshake in memory, without a network."""

from __future__ import annotations

import ssl
from collections.abc import Sequence


def wrong_certificate(pem: str, authority: str, names: Sequence[str], is_client: bool) -> list[str]:
    """Return what keeps mongod and its clients from working with a certificate.

    The certificate is shown to a client that trusts the authority and asks for each of the names, and with `is_client`
    to a server too, as a member of a replica set shows it to others.

    :param pem: file with the key, the certificate and its chain
    :param authority: file with the authority's certificate
    :param names: names and addresses that clients use
    :param is_client: whether the server shows its certificate to other servers
    :raises OSError: if a file cannot be read
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # without a password OpenSSL would ask for one where the key has one
        server.load_cert_chain(pem, password="-")
    except ssl.SSLError as error:
        return [f"{pem}: this file must hold a key without a password and its certificate, in PEM: {_reason(error)}."]
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        client.load_verify_locations(authority)
    except ssl.SSLError as error:
        return [f"{authority}: this is not an authority's certificate in PEM: {_reason(error)}."]
    found = []
    for name in names:
        problem = _shake(server, client, name)
        if problem:
            found.append(f"{pem}: a client that trusts {authority} refuses this certificate for {name}: {problem}.")
            if "hostname" not in problem and "IP address" not in problem:
                return found  # the same for every name
    if is_client and not found:
        server.load_verify_locations(authority)
        server.verify_mode = ssl.CERT_REQUIRED
        client.load_cert_chain(pem, password="-")
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        problem = _shake(server, client, None)
        if problem:
            found.append(
                f"{pem}: members of a replica set show this certificate to each other, and that is refused: {problem}."
                " If it has an extended key usage, it needs clientAuth beside serverAuth."
            )
    return found


def _shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> str:
    """Let both sides talk until the handshake is done; return what went wrong, empty if nothing did."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    pending = list(sides)
    for _round in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            except ssl.SSLError as error:
                return _reason(error)
        if not pending:
            break
    return "" if not pending else "the handshake does not end"


def _reason(error: ssl.SSLError) -> str:
    """What OpenSSL says, in a few words."""
    return (error.reason or str(error)).replace("_", " ").lower()
