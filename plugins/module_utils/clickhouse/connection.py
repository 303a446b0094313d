# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only network I/O: a session with one ClickHouse server over HTTP(S), by clickhouse-connect."""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    HIDDEN,
    Secret,
    Statement,
    WishError,
    literal,
)

try:
    import clickhouse_connect
    from clickhouse_connect import common as clickhouse_common
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from urllib3.exceptions import HTTPError  # clickhouse-connect speaks HTTP by it

    CLICKHOUSE_CONNECT_ERROR: str | None = None
except ImportError:
    CLICKHOUSE_CONNECT_ERROR = traceback.format_exc()

ACCESS_DENIED = 497
MEMORY_LIMIT_EXCEEDED = 241
_QUERY_SIZE = 200_000
"""Bytes of a query that every server takes: ClickHouse's default ``max_query_size`` is 262,144."""
LOGIN_REFUSED = (516, 194)
"""AUTHENTICATION_FAILED, and REQUIRED_PASSWORD, which `default` may get instead."""
_ALREADY_THERE = (82, 493, 670)
"""DATABASE_ALREADY_EXISTS, ACCESS_ENTITY_ALREADY_EXISTS, NAMED_COLLECTION_ALREADY_EXISTS."""
_NOT_THERE = (81, 180, 192, 199, 492, 511, 512, 523, 669)
"""UNKNOWN_DATABASE, THERE_IS_NO_PROFILE, UNKNOWN_USER, UNKNOWN_QUOTA, ACCESS_ENTITY_NOT_FOUND, UNKNOWN_ROLE,
SET_NON_GRANTED_ROLE, UNKNOWN_ROW_POLICY, NAMED_COLLECTION_DOESNT_EXIST."""
_UNDECIDED = (159, 209, 210, 999)
"""TIMEOUT_EXCEEDED, SOCKET_TIMEOUT, NETWORK_ERROR, KEEPER_EXCEPTION: what a server says when replicas or Keeper did not
answer it in time. The replicas run the statement all the same when they come to it (ClickHouse's documentation of
``distributed_ddl_task_timeout``)."""
_READABLE = 1000
"""Characters of one statement or one error in a message; results have the statements whole."""
_TELLING = 6
"""How many characters in a row of a secret are too many to show."""


class AccessError(Exception):
    """The server refused a request, or could not be reached.

    :param message: the server's words, or the transport's; never the text of a statement with secrets
    :param code: ClickHouse's error code; ``None`` when no server answered
    :param name: its name, ``ACCESS_DENIED``
    :param answered: whether the server decided: if not, a statement may have run, or may run yet
    :param partly: whether the refused statement may be done for some of the entities or replicas it was about
    """

    def __init__(
        self,
        message: str,
        code: int | None = None,
        name: str | None = None,
        answered: bool = True,
        partly: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.name = name
        self.answered = answered
        self.partly = partly


@dataclass(frozen=True)
class Login:
    """How to reach a server and who to be there; the ``login_*`` options of every module.

    :param host: name or address
    :param port: ``None`` for 8443 with TLS and 8123 without
    :param secure: whether to speak TLS
    :param validate_certs: whether the server's certificate must be valid
    :param ca_cert: file with the authorities to trust instead of the system's
    :param client_cert: file with a client certificate, and its key in ``client_key``
    :param server_host_name: the name to expect in the certificate if it is not ``host``
    :param connect_timeout: seconds to wait for a connection
    :param timeout: seconds to wait for an answer
    """

    host: str = "localhost"
    port: int | None = None
    user: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = True
    validate_certs: bool = True
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    server_host_name: str | None = None
    connect_timeout: int = 10
    timeout: int = 60

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Login:
        """Take the ``login_*`` options of a module.

        :raises WishError: for files that cannot be read, and TLS options without TLS
        """
        login = cls(
            **{
                key[len("login_") :]: value
                for key, value in options.items()
                if key.startswith("login_") and value not in (None, "")  # empty: as if it was not given
            }
        )
        for name in ("ca_cert", "client_cert", "client_key", "server_host_name"):
            value = getattr(login, name)
            if value is None:
                continue
            if not login.secure:
                raise WishError(f"login_{name}", "needs login_secure: true")
            if name != "server_host_name" and not os.access(value, os.R_OK):
                raise WishError(f"login_{name}", f"cannot read file {value}")
        if (login.client_key is not None) and login.client_cert is None:
            raise WishError("login_client_key", "needs login_client_cert")
        return login

    @property
    def where(self) -> str:
        """The address as people write it."""
        port = self.port or (8443 if self.secure else 8123)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{port}"


class Session:
    """A connection of one user. Opening it asks the server for its version, so a wrong password is found here.

    :raises AccessError: if the server cannot be reached, is not trusted, or refuses the login
    """

    def __init__(self, login: Login) -> None:
        self.login = login
        logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())  # what it logs, the errors say
        clickhouse_common.set_setting("autogenerate_session_id", False)
        clickhouse_common.set_setting("use_protocol_version", False)  # asks the server once more, for nothing we read
        clickhouse_common.set_setting("invalid_setting_action", "send")  # what may not be set is the server's to say
        try:
            self._client = clickhouse_connect.get_client(
                host=login.host,
                port=login.port or (8443 if login.secure else 8123),
                username=login.user,
                password=login.password,
                interface="https" if login.secure else "http",
                verify=login.validate_certs,
                ca_cert=login.ca_cert,
                client_cert=login.client_cert,
                client_cert_key=login.client_key,
                # with a certificate *and* a password the password decides who we are; the certificate only opens TLS
                tls_mode="strict" if login.client_cert and login.password else None,
                server_host_name=login.server_host_name,
                connect_timeout=login.connect_timeout,
                send_receive_timeout=login.timeout,
                query_retries=0,  # a statement is never sent twice behind our back
                client_name="hardened.clickstack",
            )
        except Exception as error:
            raise self._translate(error, f"cannot log in to {login.where} as {login.user!r}") from None

    @property
    def version(self) -> str:
        """The server's version, ``26.9.2.1``."""
        return str(self._client.server_version)

    def query(self, sql: str, settings: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run a query and return its rows, values as JSON has them.

        :raises AccessError: if the server refuses or does not answer
        """
        try:
            answer = self._client.raw_query(sql, settings=dict(settings or {}), fmt="JSONEachRow")
        except Exception as error:
            raise self._translate(error, f"reading from {self.login.where} as {self.login.user!r}") from None
        return [json.loads(line) for line in answer.split(b"\n") if line]

    def rows(self, sql: str, settings: Mapping[str, Any] | None = None) -> list[list[Any]]:
        """Run a query whose columns are a text each, the last of them JSON; for what is read at once from many tables.

        :return: the columns of each row, the last one as what its JSON means
        :raises AccessError: if the server refuses or does not answer
        """
        # the form of dates in the JSON depends on this one, which a profile of ours may have changed
        chosen: dict[str, Any] = {"date_time_output_format": "simple", **(settings or {})}
        try:
            size = len(sql.encode())
            if size > _QUERY_SIZE:  # it carries what thousands of entities say
                chosen["max_query_size"] = 2 * size
            answer = self._client.raw_query(sql, settings=chosen, fmt="TabSeparatedRaw")
        except Exception as error:
            raise self._translate(error, f"reading from {self.login.where} as {self.login.user!r}") from None
        return read_rows(answer)

    def execute(self, statement: Statement) -> None:
        """Run a statement that changes something.

        :raises AccessError: if the server refuses or does not answer; the message shows the statement without secrets
        """
        try:
            # a profile of ours may let ON CLUSTER answer errors as rows, which would read as done
            settings = {"distributed_ddl_output_mode": "throw"} if " ON CLUSTER " in statement.sql else None
            self._client.command(statement.sql, settings=settings)
        except Exception as error:
            raise self._translate(
                error, f"{self.login.where} as {self.login.user!r}: {_shortened(statement.shown)}", statement
            ) from None

    def admits(self, user: str, password: str) -> bool | None:
        """Try one login as another user, from here: one request over the connections that are open already.

        :return: ``True`` if it is let in, ``False`` if authentication failed, ``None`` if the attempt told nothing
        """
        if ":" in user:
            return None  # HTTP Basic cannot carry such a name
        headers = {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
        if self.login.server_host_name:
            headers["Host"] = self.login.server_host_name  # as the driver does
        client: Any = self._client  # an HttpClient, whose pool of connections is public; get_client says only Client
        try:
            # GET, because what only reads may be sent again where a connection that was kept has gone meanwhile
            answer = client.http.request(
                "GET",
                f"{client.url}/?query=SELECT+1",
                headers=headers,
                timeout=client.timeout,
                retries=1,
                redirect=False,
            )
        except HTTPError:
            return None
        code = answer.headers.get("X-ClickHouse-Exception-Code", "")
        if not code.isdigit():
            return True if answer.status == 200 else None
        if int(code) in LOGIN_REFUSED:
            return False
        # any other refusal by the server comes after the password was accepted; 201 (too many attempts) does not
        return None if int(code) == 201 else True

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()

    def _translate(self, error: Exception, doing: str, statement: Statement | None = None) -> AccessError:
        text = _without_secrets(str(error), self.login, statement)
        code = getattr(error, "code", None)
        name = getattr(error, "name", None)
        if not isinstance(code, int):
            match = re.search(r"\bCode:\s*(\d+)", text)
            code = int(match[1]) if match else None
        if code is None and isinstance(error, (ClickHouseError, OSError, socket.timeout)):
            return AccessError(
                f"{doing}: no answer from the server: {_shortened(text)}. {_advice(text, code, statement)}",
                answered=False,
            )
        said = _SERVER_SAYS.search(text)
        reason = _shortened(f"Code: {code}. {said[1]}." if said else text)
        return AccessError(
            f"{doing}: {reason} {_advice(text, code, statement)}".rstrip(),
            code,
            name,
            answered=code not in _UNDECIDED,
            partly=statement is not None and _partly(text),
        )


def read_rows(answer: bytes) -> list[list[Any]]:
    """Read an answer of :meth:`Session.rows`."""
    found: list[list[Any]] = []
    for line in answer.split(b"\n"):
        if line:
            *texts, document = line.split(b"\t")
            found.append([*(text.decode() for text in texts), json.loads(document)])
    return found


_SERVER_SAYS = re.compile(r"DB::Exception: (.*?\([A-Z][A-Z0-9_]+\))(?=[ .]|$)", re.DOTALL)
"""What the server itself said, out of what the driver and the interface put round it."""


def _partly(text: str) -> bool:
    """Whether a refused statement may have changed something.

    ClickHouse goes through the entities of a statement one by one, keeps what it did before the error, and says so
    (``: After successfully inserting 1/3: user `a`.``). ``ON CLUSTER`` it reports the first replica that refused.
    """
    return "After successfully" in text or "There was an error on [" in text


def _shortened(text: str) -> str:
    """A text short enough to read: a shared statement may be 100,000 characters long."""
    return text if len(text) <= _READABLE else f"{text[: _READABLE - 200]} [...] {text[-200:]}"


def _advice(text: str, code: int | None, statement: Statement | None = None) -> str:
    """What to do about the errors that are the operator's to mend.

    :param statement: the one that failed; ``None`` while reading
    """
    if code in LOGIN_REFUSED:
        return "Check login_user, login_password, and whether the user's HOST admits this machine."
    if code == ACCESS_DENIED:
        return "Grant what is missing to login_user, or use one that has it."
    if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        return "Name the authority that signed the server's certificate in login_ca_cert, and its name in login_host."
    if code == MEMORY_LIMIT_EXCEEDED:
        return "The server is short of memory, or max_memory_usage of login_user is too small."
    if statement is not None and code in _ALREADY_THERE:
        return "Somebody else has made it meanwhile: run this again, and it is compared with what is there now."
    if code in _NOT_THERE or "does not exist in collection" in text:
        return "Somebody else has taken it away meanwhile: run this again, and it is compared with what is there now."
    if code is not None:
        return ""
    if "read timeout" in text:
        return "See what keeps the server busy, or give it more time with login_timeout."
    if statement is not None:
        return "See that the server is up and can be reached."
    return "Check login_host, login_port and login_secure."


def _without_secrets(text: str, login: Login, statement: Statement | None) -> str:
    """Drop the password and a statement's secrets from an error: servers and libraries quote what they were sent."""
    if statement is not None:
        text = text.replace(statement.sql, statement.shown)
        for part in statement.parts:
            if isinstance(part, Secret) and part.value:
                text = _masked(_masked(text, literal(part.value)[1:-1]), part.value)
    return text.replace(login.password, HIDDEN) if len(login.password) > 3 else text


def _masked(text: str, secret: str) -> str:
    """Hide a secret in a text, and every part of it that gives something away: a parser quotes what is left to read."""
    text = text.replace(secret, HIDDEN)
    start = 0
    while start + _TELLING <= len(secret):
        end = start + _TELLING
        if secret[start:end] in text:
            while end < len(secret) and secret[start : end + 1] in text:
                end += 1
            text = text.replace(secret[start:end], HIDDEN)
        start = end if end > start + _TELLING else start + 1
    return text
