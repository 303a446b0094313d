"""Faults on demand: a way to a ClickHouse HTTP server, sandbox or real, on which the k-th statement meets a mishap.

A proxy in the test's own process, so the server has no control port that could differ from ClickHouse's.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .http_status import status_of

_CHANGE = re.compile(rb"\s*(CREATE|ALTER|DROP|GRANT|REVOKE|MOVE|SET\s+DEFAULT\s+ROLE)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """What happens to statement number `at` (1 is the first; with `changes`, only those that change something count).

    `kind`: `drop_before` (the connection ends, nothing ran), `drop_after` (it ran, the answer is lost), `delay` (it
    ran, and the answer comes `seconds` later, whether or not somebody still waits), `refuse` (answered with the
    exception `code` instead of being run; `name` and `message` are needed for other codes than 241, 497 and 516),
    `kill` (the server is killed; nothing ran), `kill_after` (it ran, then the server is killed, the answer is lost).
    """

    at: int
    kind: str
    changes: bool = True
    seconds: float = 1.0
    code: int = 241
    name: str = ""
    message: str = ""

    def exception(self) -> tuple[str, str]:
        """Name and message of the exception to refuse with."""
        name, message = _EXCEPTIONS.get(self.code, ("", ""))
        return self.name or name, self.message or message


# as ClickHouse words them
_EXCEPTIONS = {
    241: ("MEMORY_LIMIT_EXCEEDED", "(total) memory limit exceeded: would use 7.21 GiB, maximum: 7.20 GiB."),
    497: (
        "ACCESS_DENIED",
        "default: Not enough privileges. To execute this query, it's necessary to have the grant CREATE USER ON *.",
    ),
    516: (
        "AUTHENTICATION_FAILED",
        "default: Authentication failed: password is incorrect, or there is no user with such name.",
    ),
}


class FaultProxy:
    """The proxy, while its `with` block runs: `url` and `port` are where to send requests, `statements` what came
    through. It counts: `requests` of any kind, and of the statements `changes` and `reads` (all others).
    """

    def __init__(
        self, target: str, faults: Sequence[Fault], kill: Callable[[], None], version: str = "26.9.2.1"
    ) -> None:
        """`target`: the server's http URL; `kill` ends it; `version` is the one that refusals name."""
        self.version = version
        self.requests = 0
        self.faults = list(faults)
        self.kill = kill
        self.target = urllib.parse.urlsplit(target)
        self.statements: list[bytes] = []
        """Every statement in order, with those that met a fault."""
        self.lock = threading.Lock()
        self.counts = {True: 0, False: 0}
        self._server = _Server(self)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def changes(self) -> int:
        """How many statements change access entities or databases."""
        return self.counts[True]

    @property
    def reads(self) -> int:
        """How many statements do not."""
        return self.counts[False] - self.counts[True]

    def next_fault(self, statement: bytes) -> Fault | None:
        """Count a statement; the fault it meets, if any."""
        with self.lock:
            self.statements.append(statement)
            self.counts[False] += 1
            change = _CHANGE.match(statement) is not None
            self.counts[True] += change
            for fault in self.faults:
                if fault.at == self.counts[fault.changes] and (change or not fault.changes):
                    self.faults.remove(fault)
                    return fault
        return None

    def __enter__(self) -> FaultProxy:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection cut on purpose is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """Forward the request, unless its turn for a fault has come."""
        body = self._body()
        with self.server.proxy.lock:
            self.server.proxy.requests += 1
        path, _other, query = self.path.partition("?")
        statement = dict(urllib.parse.parse_qsl(query)).get("query", "").encode() + body
        fault = self.server.proxy.next_fault(statement) if path == "/" and statement else None
        if fault is not None and fault.kind == "kill":
            self.server.proxy.kill()
        if fault is not None and fault.kind in ("kill", "drop_before"):
            self._cut()
            return
        if fault is not None and fault.kind == "refuse":
            name, message = fault.exception()
            text = f"Code: {fault.code}. DB::Exception: {message} ({name}) (version {self.server.proxy.version})\n"
            headers = [("Content-Type", "text/plain; charset=UTF-8"), ("X-ClickHouse-Exception-Code", str(fault.code))]
            self._answer(status_of(fault.code), headers, text.encode())
            return
        target = self.server.proxy.target
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=120)
        try:
            forwarded = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("host", "transfer-encoding", "content-length")
            }
            connection.request(self.command, self.path, body or None, forwarded)
            answer = connection.getresponse()
            content = answer.read()
        except OSError:
            self._cut()
            return
        finally:
            connection.close()
        if fault is not None and fault.kind == "kill_after":
            self.server.proxy.kill()
        if fault is not None and fault.kind in ("drop_after", "kill_after"):
            self._cut()
            return
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)
        dropped = ("transfer-encoding", "content-length", "connection", "keep-alive")
        self._answer(
            answer.status,
            [(name, value) for name, value in answer.getheaders() if name.lower() not in dropped],
            content,
        )

    do_POST = do_GET
    do_HEAD = do_GET

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            parts = []
            while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _cut(self) -> None:
        """End the connection without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
