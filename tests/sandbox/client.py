"""A small ClickHouse HTTP client of the standard library, so that tests of the server depend on no driver's view of
it.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass


class ServerSaid(Exception):
    """An exception of the server: code (int), name and text (whole, as received), and the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        match = re.match(r"Code: (\d+)\. DB::Exception: (.*)\(([A-Z0-9_]+)\) \(version", text, re.DOTALL)
        self.status, self.text = status, text
        self.code = int(match[1]) if match else 0
        self.name = match[3] if match else ""
        self.message = match[2].strip() if match else text


@dataclass(frozen=True)
class Response:
    """Status, headers (names in lower case) and body of an answer, whatever it says."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Requests to one server as one user. Thread-safe in the sense that each request has its own connection."""

    def __init__(
        self,
        url: str,
        user: str | None = None,
        password: str = "",
        *,
        ca: str | None = None,
        certificate: tuple[str, str] | None = None,
        source: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`user` None sends no credentials; `ca` verifies https; `certificate`: files of a client's certificate and
        key;

        `source`: the local address to come from, such as 127.0.0.7; `headers` go with every request.
        """
        self.url = urllib.parse.urlsplit(url)
        self._headers = dict(headers or {})
        if user is not None:
            self._headers |= {"X-ClickHouse-User": user}
            if certificate is None:
                self._headers |= {"X-ClickHouse-Key": password}
            else:
                self._headers |= {"X-ClickHouse-SSL-Certificate-Auth": "on"}
        self._source = (source, 0) if source else None
        self._tls: ssl.SSLContext | None = None
        if self.url.scheme == "https":
            self._tls = ssl.create_default_context(cafile=ca)
            if certificate is not None:
                self._tls.load_cert_chain(*certificate)

    def request(
        self,
        sql: str | bytes = b"",
        *,
        method: str = "POST",
        path: str = "/",
        headers: dict[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request with these URL parameters; nothing is raised for what the server answers."""
        host, port = self.url.hostname or "", self.url.port
        if self._tls is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, port, timeout=60, source_address=self._source, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=60, source_address=self._source)
        try:
            query = urllib.parse.urlencode(parameters or {})
            body = sql.encode("utf-8", "surrogateescape") if isinstance(sql, str) else sql
            all_headers = {
                name: value.encode().decode("latin-1") for name, value in {**self._headers, **(headers or {})}.items()
            }
            connection.request(
                method, path + ("?" + query if query else ""), body if method != "GET" else None, all_headers
            )
            answer = connection.getresponse()
            return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def query(self, sql: str | bytes, **parameters: str) -> str:
        """The result of a statement as TabSeparated text (or `default_format`). Raises ServerSaid."""
        answer = self.request(sql, parameters=parameters)
        text = answer.body.decode("utf-8", "surrogateescape")
        if answer.status != 200 or "x-clickhouse-exception-code" in answer.headers:
            raise ServerSaid(answer.status, text)
        return text

    def lines(self, sql: str, **parameters: str) -> list[str]:
        """The result's lines."""
        return self.query(sql, **parameters).splitlines()

    def rows(self, sql: str, **parameters: str) -> list[list[str]]:
        """The result's fields, in TabSeparated's escaping."""
        return [line.split("\t") for line in self.lines(sql, **parameters)]
