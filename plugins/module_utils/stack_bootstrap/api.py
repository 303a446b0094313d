# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HyperDX's API over HTTP: requests, and who is signed in. Only the standard library, because this runs on the host.

The routes are those of packages/api of hyperdxio/hyperdx 2.36. Redirects are not followed: they lead browsers to
FRONTEND_URL, which need not be reachable from here, and say in their address why a login failed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import urllib.parse
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
_COOKIE = "connect.sid"
# ClickHouse's ErrorCodes: UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED
_NO_LOGIN = ("192", "193", "194", "516")


class ApiError(Exception):
    """HyperDX said something else than it should have; the text says what, and never holds a secret."""


class Unreachable(ApiError):
    """HyperDX did not answer."""


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its headers by their names in small letters, its cookies, and its body."""

    status: int
    headers: dict[str, str]
    cookies: list[str]
    body: bytes

    def data(self) -> Any:
        """The body as JSON. Raises ApiError."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise ApiError("it does not answer with JSON, so this is not HyperDX's API") from None

    def text(self) -> str:
        """The beginning of the body, for errors."""
        return self.body.decode("utf-8", "replace").strip()[:500]


class Api:
    """One HyperDX, and the session of whoever signed in."""

    def __init__(self, url: str, ca_cert: str | None, timeout: float) -> None:
        """Make no connection yet.

        :param url: where its API is, http or https, with a path if there is one
        :param ca_cert: file with the authority of an https address, in PEM; None for those of the operating system
        :param timeout: seconds to wait for an answer
        :raises ApiError: for a URL that is none
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ApiError(f"{url}: this is no address of HyperDX's API. Say http://host:port.")
        self.url, self._parts, self._timeout = url, parts, timeout
        self._context = ssl.create_default_context(cafile=ca_cert) if parts.scheme == "https" else None
        self._cookie = ""

    def ask(self, method: str, path: str, data: object = None, body: bytes = b"", **headers: str) -> Answer:
        """Ask, and return what it says, whatever that is.

        :param method: of HTTP
        :param path: of the API, such as `/me`
        :param data: what is sent as JSON; None for nothing
        :param body: what is sent instead; its Content-Type is in the headers
        :param headers: further headers
        :raises Unreachable: where there is no answer
        """
        body = body if data is None else json.dumps(data).encode()
        sent = {
            # without it HyperDX makes no session where its FRONTEND_URL is https (express-session, cookie.secure)
            "X-Forwarded-Proto": "https",
            "Content-Type": "application/json",
            **headers,
        }
        if self._cookie:
            sent["Cookie"] = f"{_COOKIE}={self._cookie}"
        host, port = self._parts.hostname or "", self._parts.port
        connection: http.client.HTTPConnection
        if self._context:
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, sent)
            said = connection.getresponse()
            cookies = said.headers.get_all("Set-Cookie") or []
            answer = Answer(
                said.status, {key.lower(): value for key, value in said.headers.items()}, cookies, said.read()
            )
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.url}: HyperDX does not answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        for cookie in answer.cookies:
            name, _equals, value = cookie.split(";")[0].partition("=")
            if name.strip() == _COOKIE:
                self._cookie = value
        return answer

    def get(self, path: str) -> Any:
        """Return what a route says, as JSON. Raises ApiError."""
        return self._expected("GET", path, self.ask("GET", path)).data()

    def send(self, method: str, path: str, data: object = None) -> Answer:
        """Change something. Raises ApiError where HyperDX does not take it."""
        return self._expected(method, path, self.ask(method, path, data))

    def _expected(self, method: str, path: str, answer: Answer) -> Answer:
        if answer.status != 200:
            raise ApiError(f"{self.url}: {method} {path} answers {answer.status}: {answer.text()}")
        return answer

    def is_ready(self) -> bool:
        """Whether it works and has its MongoDB. Raises Unreachable."""
        answer = self.ask("GET", "/ready")
        # versions before /ready
        return answer.status == 200 or (answer.status == 404 and self.ask("GET", "/health").status == 200)

    def is_team_there(self) -> bool:
        """Whether somebody has registered. Raises ApiError."""
        said = self.get("/installation")
        if not isinstance(said, dict) or not isinstance(said.get("isTeamExisting"), bool):
            raise ApiError(f"{self.url}: GET /installation does not say isTeamExisting, so this is not HyperDX's API.")
        return bool(said["isTeamExisting"])

    def register(self, email: str, password: str) -> bool:
        """Register the owner; False if somebody was faster. Raises ApiError."""
        data = {"email": email, "password": password, "confirmPassword": password}
        answer = self.ask("POST", "/register/password", data)
        if answer.status == 409:
            return False
        if answer.status == 400 and b'"invalid"' in answer.body:
            raise ApiError(
                f"{self.url}: HyperDX does not register {email}. If it was ended in the middle of an earlier"
                " registration, there is a user without a team: remove it from the collection users in HyperDX's"
                " MongoDB and run this again. HyperDX's log says more."
            )
        if answer.status >= 300:
            raise ApiError(f"{self.url}: HyperDX does not register {email}: {answer.status} {_told(answer)}")
        return True

    def log_in(self, email: str, password: str) -> str:
        """Sign in. Returns why that failed, in HyperDX's word (authFail, passwordAuthNotAllowed, unknown); empty if it
        did not. Raises ApiError.
        """
        # a registration signs in too
        self.log_out()
        answer = self.ask("POST", "/login/password", {"email": email, "password": password})
        query = urllib.parse.urlsplit(answer.headers.get("location", "")).query
        problem = urllib.parse.parse_qs(query).get("err", [""])[0]
        if problem or answer.status in (400, 401, 403):
            return problem or "authFail"
        if answer.status >= 400:
            raise ApiError(f"{self.url}: POST /login/password answers {answer.status}: {answer.text()}")
        if not self._cookie:
            raise ApiError(
                f"{self.url}: HyperDX takes the login and gives no session cookie. A proxy before it that sets"
                " X-Forwarded-Proto to http does that where FRONTEND_URL is https."
            )
        return ""

    def log_out(self) -> None:
        """End the session, so that none is left behind."""
        if self._cookie:
            with contextlib.suppress(Unreachable):
                self.ask("GET", "/logout")
            self._cookie = ""

    def probe(self, connection: str) -> tuple[str, str]:
        """Let HyperDX ask ClickHouse something by a connection that it knows.

        :param connection: its id
        :returns: `works`, `refused` where ClickHouse does not take user and password, or `fails`; and what was said
        """
        headers = {"X-HyperDX-Connection-Id": connection, "Content-Type": "text/plain"}
        answer = self.ask("POST", "/clickhouse-proxy/?default_format=TabSeparated", body=b"SELECT 1", **headers)
        if answer.status == 200 and answer.body.strip() == b"1":
            return "works", ""
        code = answer.headers.get("x-clickhouse-exception-code", "")
        is_refused = code in _NO_LOGIN or any(answer.body.startswith(f"Code: {one}.".encode()) for one in _NO_LOGIN)
        return "refused" if is_refused else "fails", f"{answer.status} {_told(answer)}"


def _told(answer: Answer) -> str:
    """What an error says, without its JSON where that is known."""
    try:
        data = json.loads(answer.body)
        if isinstance(data, dict):
            return str(data.get("error") or data.get("message") or data)[:500]
        issues = [issue for part in data for issue in part["errors"]["issues"]]
        return "; ".join(f"{'.'.join(map(str, issue['path']))}: {issue['message']}" for issue in issues)
    except (ValueError, KeyError, TypeError):
        return answer.text()
