"""ClickHouse's HTTP and HTTPS interface over the sandbox's server: requests in, status, headers and compressed
bodies out.

The forms were measured on ClickHouse 25.8 (see real_server.py) and are held against it in tests/sandbox_tests/server.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import email.parser
import email.policy
import json
import random
import socket
import ssl
import string
import threading
import time
import traceback
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import compression
from .engine import EngineError
from .http_status import status_of
from .server import Answer, Credentials, Query, SandboxServer

_NO_HANDLER = """There is no handle {path}

Use / or /ping for health checks.
Or /replicas_status for more sophisticated health checks.

Send queries from your program with POST method or GET /?query=...

Use clickhouse-client:

For interactive data analysis:
    clickhouse-client

For batch query processing:
    clickhouse-client --query='SELECT 1' > result
    clickhouse-client < query > result
"""
_EXPOSED = (
    "X-ClickHouse-Query-Id,X-ClickHouse-Summary,X-ClickHouse-Server-Display-Name,X-ClickHouse-Format,X-ClickHouse-Timezone,"
    "X-ClickHouse-Exception-Code,X-ClickHouse-Exception-Tag"
)
_COUNTS = (
    "read_rows",
    "read_bytes",
    "written_rows",
    "written_bytes",
    "total_rows_to_read",
    "result_rows",
    "result_bytes",
)
# URL parameters that are no settings
_RESERVED = frozenset(
    (
        "query",
        "user",
        "password",
        "quota_key",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "role",
        "client_protocol_version",
    )
)


_WIRES = ("MySQLWire", "ODBCDriver2", "PostgreSQLWire", "Protobuf")


def content_type(name: str | None) -> str:
    """The Content-Type ClickHouse gives a result in this format (measured on every output format of 25.8)."""
    if name is None or name == "Null":
        return "text/plain; charset=UTF-8"
    if name.startswith(("TabSeparated", "TSV", "TSKV", "Raw", "LineAsString")) and name != "RawBLOB":
        return "text/tab-separated-values; charset=UTF-8"
    if name.startswith("CSV"):
        return "text/csv; charset=UTF-8; header=" + ("present" if "WithNames" in name else "absent")
    if name in (
        "JSONEachRow",
        "JSONLines",
        "NDJSON",
        "JSONStringsEachRow",
        "PrettyJSONEachRow",
        "PrettyJSONLines",
        "PrettyNDJSON",
    ):
        return "application/x-ndjson; charset=UTF-8"
    if name.startswith("JSON") and (
        ("CompactEachRow" not in name and "CompactStringsEachRow" not in name) or name.endswith("Progress")
    ):
        return "application/json; charset=UTF-8"
    if name == "XML":
        return "application/xml; charset=UTF-8"
    if name.startswith(("Arrow", "Avro", "BSON", "MsgPack", "Native", "Npy", "ORC", "Parquet", "RowBinary", *_WIRES)):
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"


class Handler(BaseHTTPRequestHandler):
    """One connection; each request is answered whole."""

    protocol_version = "HTTP/1.1"
    server: Front

    def setup(self) -> None:
        """Finish the TLS handshake here, in the connection's own thread."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request.settimeout(60)
        super().setup()
        if isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()

    def do_GET(self) -> None:
        """Answer a request that may only read."""
        path, _other, text = self.path.partition("?")
        self.started = time.monotonic_ns()
        self.encoding: str | None = None
        self.blocks = False
        if path not in ("/", "/query"):
            self.answer_plain(path)
            return
        self.fields = dict(urllib.parse.parse_qsl(text, keep_blank_values=True, encoding="latin-1"))
        self.query_id: str | None = None
        if self.command != "POST" and not self.fields and not self.headers.get("Content-Length"):
            self.answer_ok()
            return
        try:
            self.answer_query()
        except EngineError as error:
            self.send_error_text(error)
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            self.send_error_text(EngineError(49, "LOGICAL_ERROR", "The sandbox failed: " + traceback.format_exc()))

    def answer_query(self) -> None:
        """Log in, run the query, send its result. Raises EngineError."""
        body = self.read_body()
        user = self.server.clickhouse.authenticate(self.credentials(), self.peer())
        query = self.read_query(user, body)
        answer = self.server.clickhouse.run(query)
        headers = {"Content-Type": content_type(answer.format), "X-ClickHouse-Query-Id": query.query_id}
        if answer.format is not None:
            headers["X-ClickHouse-Format"] = answer.format
        headers["X-ClickHouse-Timezone"] = self.server.clickhouse.timezone
        self.send_body(200, answer.body, headers, answer)

    def peer(self) -> str:
        """The client's address."""
        said = self.headers.get("X-Sandbox-Peer") if self.server.clickhouse.options.trust_peer_header else None
        return said or str(self.client_address[0])

    do_POST = do_GET
    do_HEAD = do_GET

    def answer_plain(self, path: str) -> None:
        """Answer the paths that hold no query."""
        if path == "/ping":
            self.answer_ok()
        elif path == "/replicas_status":
            self.respond(200, b"Ok.\n", {"Content-Length": "4"})
        else:
            self.close_connection = True
            self.respond(404, _NO_HANDLER.format(path=path).encode(), {})

    def answer_ok(self) -> None:
        """Say that the server is there."""
        headers = {"X-ClickHouse-Summary": self.summary({}), "Content-Type": "text/html; charset=UTF-8"}
        self.respond(200, chunked(b"Ok.\n"), {**headers, "Transfer-Encoding": "chunked"})

    def credentials(self) -> Credentials:
        """What the request brings to log in: X-ClickHouse headers, Authorization, or URL parameters; never two of
        them.
        """
        headers = self.headers
        user, key = headers.get("X-ClickHouse-User"), headers.get("X-ClickHouse-Key")
        certificate = headers.get("X-ClickHouse-SSL-Certificate-Auth") == "on"
        authorization = headers.get("Authorization", "")
        by_headers = user is not None or key is not None or certificate
        by_fields = "user" in self.fields or "password" in self.fields

        def forbid(first: str, second: str) -> EngineError:
            text = f"Invalid authentication: it is not allowed to use {first} and {second} simultaneously."
            return EngineError(516, "AUTHENTICATION_FAILED", text)

        if by_headers and authorization:
            raise forbid("X-ClickHouse HTTP headers", "Authorization HTTP header")
        if by_headers and by_fields:
            raise forbid("X-ClickHouse HTTP headers", "authentication via parameters")
        if authorization and by_fields:
            raise forbid("Authorization HTTP header", "authentication via parameters")
        if certificate:
            if key:
                raise forbid("SSL certificate authentication", "authentication via password")
            names = self.certificate_names()
            if not names:
                text = "requires nonempty certificate's Common Name or Subject Alternative Name."
                raise EngineError(
                    516, "AUTHENTICATION_FAILED", f"Invalid authentication: SSL certificate authentication {text}"
                )
            return Credentials(as_text(user or "default"), None, names)
        if authorization:
            scheme, _other, value = authorization.partition(" ")
            if scheme.lower() != "basic":
                text = f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported."
                raise EngineError(516, "AUTHENTICATION_FAILED", text)
            try:
                name, _other, password = base64.b64decode(value).decode("utf-8", "surrogateescape").partition(":")
            except binascii.Error:
                name = password = ""
            return Credentials(name or "default", password, basic=True)
        if by_headers:
            return Credentials(as_text(user or "default"), as_text(key or ""))
        return Credentials(as_text(self.fields.get("user") or "default"), as_text(self.fields.get("password", "")))

    def certificate_names(self) -> frozenset[tuple[str, str]]:
        """The client certificate's verified names: ("CN", "x") and ("SAN", "DNS:x") or ("SAN", "URI:x")."""
        if not isinstance(self.connection, ssl.SSLSocket):
            return frozenset()
        found: dict[str, Any] = dict(self.connection.getpeercert() or {})
        names = {("CN", value) for part in found.get("subject", ()) for name, value in part if name == "commonName"}
        names |= {
            ("SAN", f"{kind}:{value}") for kind, value in found.get("subjectAltName", ()) if kind in ("DNS", "URI")
        }
        return frozenset(names)

    def read_body(self) -> bytes:
        """The request's body, decompressed."""
        parts = []
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            while (size := int(self.rfile.readline().split(b";")[0], 16)) > 0:
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        elif length := int(self.headers.get("Content-Length") or 0):
            parts.append(self.rfile.read(length))
        body = b"".join(parts)
        if self.headers.get("Content-Type", "").startswith("multipart/form-data"):
            return self.read_form(body)
        try:
            body = compression.decode(self.headers.get("Content-Encoding", ""), body)
            if self.fields.get("decompress", "0") not in ("0", "false"):
                body = compression.decode_blocks(body)
        except compression.UnknownCompression as error:
            text = (
                f"Unknown compression method '{error}'. Only 'auto', 'none', 'gzip', 'deflate', 'br', 'xz', 'zstd', "
                "'lz4', 'bz2', 'snappy' are supported as compression methods"
            )
            raise EngineError(48, "NOT_IMPLEMENTED", text + ".") from error
        except compression.BrokenCompression as error:
            raise EngineError(33, "CANNOT_READ_ALL_DATA", str(error)) from error
        return body

    def read_form(self, body: bytes) -> bytes:
        """A form: its fields count as URL parameters. (External tables are not supported.)"""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        for part in email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body).iter_parts():
            name = part.get_param("name", header="content-disposition")
            if part.get_filename() is not None:
                raise EngineError(48, "NOT_IMPLEMENTED", "The sandbox takes no external tables.")
            content = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(content, bytes):
                self.fields[name] = content.decode("latin-1")
        return b""

    def read_query(self, user: str, body: bytes) -> Query:
        """The query with all that goes with it; also notes how the answer is to be compressed."""
        fields = self.fields
        enable = fields.get("enable_http_compression", "1" if self.server.clickhouse.version >= "26" else "0")
        if enable not in ("0", "false"):
            self.encoding = compression.choose(self.headers.get("Accept-Encoding", ""))
        self.blocks = fields.get("compress", "0") not in ("0", "false")
        self.query_id = fields.get("query_id") or str(uuid.uuid4())
        text = fields.get("query", "").encode("latin-1")
        timeout = fields.get("session_timeout", "60")
        if "session_id" in fields and not timeout.isdigit():
            raise EngineError(374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{timeout}'.", early=True)
        return Query(
            user=user,
            sql=text + b"\n" + body if text and body else text or body,
            settings=[
                (name, as_text(value))
                for name, value in fields.items()
                if name not in _RESERVED and not name.startswith("param_")
            ],
            parameters={name[6:]: as_text(value) for name, value in fields.items() if name.startswith("param_")},
            database=as_text(fields.get("database") or self.headers.get("X-ClickHouse-Database") or ""),
            default_format=as_text(
                fields.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
            ),
            query_id=as_text(self.query_id),
            session_id=as_text(fields.get("session_id", "")),
            session_timeout=float(timeout) if timeout.isdigit() else 60.0,
            session_check=fields.get("session_check") == "1",
            close_session=fields.get("close_session") == "1",
            roles=[
                as_text(value)
                for name, value in urllib.parse.parse_qsl(self.path.partition("?")[2], encoding="latin-1")
                if name == "role"
            ],
            read_only=self.command != "POST",
            protocol=int(fields.get("client_protocol_version", "0") or 0),
            peer=self.peer(),
            started=time.time(),
        )

    def send_error_text(self, error: EngineError) -> None:
        """Answer with an exception, in the status its code asks for."""
        version = f"(version {self.server.clickhouse.full_version} (official build))"
        if error.code == 1000:  # what a library threw has a form of its own
            frame = "Poco::Exception. Code: 1000, e.code() = 0, "
            body = f"{frame}{error.message.removeprefix(frame).removesuffix('.')} {version}\n"
        else:
            body = f"Code: {error.code}. DB::Exception: {error.message} ({error.name}) {version}\n"
        text = body.encode("utf-8", "surrogateescape")
        headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(error.code)}
        if error.code == 194:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if self.query_id and not error.early:
            headers |= {
                "X-ClickHouse-Query-Id": as_bytes_text(self.query_id),
                "X-ClickHouse-Timezone": self.server.clickhouse.timezone,
            }
        self.send_body(status_of(error.code), text, headers, Answer(b"", None))

    def send_body(self, status: int, body: bytes, headers: dict[str, str], answer: Answer) -> None:
        """Send the answer of the query interface: summary, display name, compression, chunks."""
        if self.command != "HEAD":
            headers = {"X-ClickHouse-Summary": self.summary(answer.summary), **headers}
        headers["Access-Control-Expose-Headers"] = _EXPOSED
        headers["X-ClickHouse-Server-Display-Name"] = self.server.clickhouse.display_name
        headers["X-ClickHouse-Exception-Tag"] = "".join(random.choices(string.ascii_lowercase, k=16))
        if self.blocks and body:
            body = compression.encode_blocks(body)
        elif self.encoding and body:
            headers["Content-Encoding"] = self.encoding
            body = compression.encode(self.encoding, body)
        headers["Transfer-Encoding"] = "chunked"
        self.respond(status, chunked(body), headers)

    def summary(self, counts: dict[str, int]) -> str:
        """X-ClickHouse-Summary: what the request has read, written and taken so far."""
        values = {name: str(counts.get(name, 0)) for name in _COUNTS}
        values["elapsed_ns"] = str(time.monotonic_ns() - self.started)
        return json.dumps(values, separators=(",", ":"))

    def respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Write status line, headers and body (no body to HEAD)."""
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Connection", "Close" if self.close_connection else "Keep-Alive")
        for name, value in headers.items():
            self.send_header(name, value)
        if not self.close_connection:
            self.send_header("Keep-Alive", "timeout=30, max=9999")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        """Serve the connection; a client that goes away is no error."""
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
            super().handle()

    def finish(self) -> None:
        """End the connection; a client that went away is no error."""
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError, ValueError):
            super().finish()


def chunked(body: bytes) -> bytes:
    """A body in Transfer-Encoding's chunks."""
    return b"".join((f"{len(body):X}\r\n".encode(), body, b"\r\n0\r\n\r\n")) if body else b"0\r\n\r\n"


def as_text(latin: str) -> str:
    """Text that was read byte by byte, as the UTF-8 it is."""
    return latin.encode("latin-1", "surrogateescape").decode("utf-8", "surrogateescape")


def as_bytes_text(latin: str) -> str:
    """A header value without what would end the line."""
    return latin.replace("\r", "").replace("\n", "")


class Front(ThreadingHTTPServer):
    """A listening port."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], clickhouse: SandboxServer, tls: ssl.SSLContext | None = None) -> None:
        """Listen on `address` (port 0: a free one), with TLS where a context is given."""
        self.clickhouse = clickhouse
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server_address[1])

    def start(self) -> None:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that failed concerns nobody else."""


def tls_context(certificate: str, key: str, client_ca: str | None) -> ssl.SSLContext:
    """A server's TLS context; with a client CA, certificates of clients are asked for and verified, not required."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
