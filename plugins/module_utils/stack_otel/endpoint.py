# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: whether CLICKHOUSE_ENDPOINT means the same, and TLS, to both of its readers.

HyperDX's migration (packages/otel-collector/cmd/migrate) makes the tables; the collector's ClickHouse exporter hands
the text to clickhouse-go (fromDSN in clickhouse_options.go). They differ: the migration knows `tcps` and `tls`, which
clickhouse-go takes for its native protocol in plain text; only the migration adds a port; only clickhouse-go takes
several hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

NATIVE = ("tcp", "clickhouse")
_FORMS = "tcp://<host>:9440?secure=true or https://<host>:8443"
_TRUE = ("1", "t", "T", "TRUE", "true", "True", "")
"""What clickhouse-go takes for true: strconv.ParseBool's words, and nothing at all."""


def problems(endpoint: str, is_tls: bool) -> list[str]:
    """Return what is wrong with an endpoint, each with what to do; empty if both readers reach the same server.

    :param endpoint: the value of CLICKHOUSE_ENDPOINT
    :param is_tls: whether the connection must be encrypted, and the server's certificate verified
    """
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:
        return [f"{endpoint}: this is no address of a ClickHouse ({error}). Write {_FORMS}."]
    if parts.password is not None or parts.username is not None:
        # the text is not repeated
        return [
            "The endpoint holds a user or a password, which everybody would see in compose.yml and `docker inspect`."
            " Give them by CLICKHOUSE_USER and CLICKHOUSE_PASSWORD."
        ]
    if parts.scheme not in (*NATIVE, "http", "https") or not parts.hostname:
        return [f"{endpoint}: the migration and the exporter do not both understand this address. Write {_FORMS}."]
    return list(_differences(endpoint, port, is_tls))


def _differences(endpoint: str, port: int | None, is_tls: bool) -> Iterator[str]:
    parts = urlsplit(endpoint)
    parameters = parse_qs(parts.query, keep_blank_values=True)
    if "," in parts.netloc:
        yield f"{endpoint}: the migration takes one host. Name a load balancer's."
    elif port is None:
        yield f"{endpoint}: there is no port, and only the migration would add one. Write {_FORMS}."
    for name, variable in (("username", "CLICKHOUSE_USER"), ("password", "CLICKHOUSE_PASSWORD")):
        if name in parameters:
            yield f"The endpoint has the parameter {name}, which everybody would see. Give it by {variable}."
    if not is_tls:
        return
    is_secure = parameters.get("secure", ["false"])[0] in _TRUE
    if parts.scheme == "http":
        yield f"{endpoint}: this is plain text. Write https://, and the port of HTTPS (8443)."
    elif parts.scheme in NATIVE and not is_secure:
        yield f"{endpoint}: this is plain text. Add ?secure=true, and the port of the native protocol over TLS (9440)."
    if parameters.get("skip_verify", ["false"])[0] in _TRUE:
        yield f"{endpoint}: skip_verify trusts every certificate. Leave it out, and name the authority instead."
