"""One ClickHouse engine in one process: reads requests on stdin, answers on stdout, ends when stdin ends.

Runs in the virtual environment that holds the chDB of the wanted version (24.8 to 26.9), started by engine.py; only
the standard library and chDB's extension module are there. Each frame, both ways, is `header length, body length`
(two big-endian 32-bit numbers), a JSON header and the body's bytes.

Requests: `{"open": connection string}` starts the engine; `{"sql": true, ...}` runs the body as one query, in a fresh
connection (ClickHouse: a session) unless `session` names one to keep.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import signal
import struct
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any, BinaryIO

FRAME = struct.Struct(">II")


def load_engine() -> types.ModuleType:
    """Import chDB's extension alone: its package would import more, and open an engine of its own at once."""
    (package,) = Path(sys.prefix).glob("lib/python3*/site-packages/chdb")
    (library,) = package.glob("_chdb*.so")
    # chDB finds its helper libraries beside itself; it is imported under its bare name, as its init function is called
    loader = importlib.machinery.ExtensionFileLoader("_chdb", str(library))
    spec = importlib.util.spec_from_loader("_chdb", loader)
    assert spec is not None
    before = os.getcwd()
    os.chdir(package)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    os.chdir(before)
    return module


class BeforeQueryError(RuntimeError):
    """The session, not the query, met an error: its database, a setting."""


class Worker:
    """The engine, once it is open, and its sessions."""

    def __init__(self, chdb: Any) -> None:
        self.chdb = chdb
        self.address = ":memory:"
        self.sessions: dict[str, Any] = {}
        self.first: Any = None

    def open(self, address: str) -> None:
        """Start the engine on `address` (a path or `:memory:`, then `?option=value`); it lives while one connection
        is open.
        """
        self.address = address
        if hasattr(self.chdb, "connect"):
            self.first = self.chdb.connect(address)

    def connect(self, database: str | None) -> Any:
        separator = "&" if "?" in self.address else "?"
        return self.chdb.connect(self.address + (f"{separator}database={database}" if database else ""))

    def run(self, request: dict[str, Any], sql: bytes) -> tuple[dict[str, Any], bytes]:
        """Run `before` (statements whose result nobody wants, such as SET), then the query; the last result is the
        answer.
        """
        if not hasattr(self.chdb, "connect"):  # chDB 2.1 (24.8) has no sessions
            return outcome(self.chdb.query(sql.decode(), request["format"], path="", udf_path=""))
        if request.get("plain"):  # a question of the sandbox itself: the standing session does, and saves making one
            return outcome(self.first.query(sql, request["format"]))
        name = request.get("session")
        session = self.sessions.get(name) if name else None
        if session is None:
            try:
                session = self.connect(request.get("database"))
            except RuntimeError as error:
                raise BeforeQueryError(str(error)) from error
            if name:
                self.sessions[name] = session
        try:
            try:
                for statement in request.get("before", []):
                    session.query(statement, "Null")
            except RuntimeError as error:
                raise BeforeQueryError(str(error)) from error
            if "insert" in request:
                return self.insert(session, sql, request["insert"], request["format"])
            if request.get("blocks"):
                return {}, b"".join(self.blocks(session, sql, request["format"]))
            return outcome(session.query(sql, request["format"]))
        finally:
            if not name:
                session.close()

    def insert(self, session: Any, sql: bytes, at: int, data_format: str) -> tuple[dict[str, Any], bytes]:
        """Run the INSERT before byte `at` with the data behind it: within the query's text, an empty line would end
        the data.
        """
        handle = session.send_insert(sql[:at].decode("utf-8", "surrogateescape"), data_format)
        if len(sql) > at:
            session.insert_append(handle, sql[at:])
        return outcome(session.insert_done(handle))

    def blocks(self, session: Any, sql: bytes, output_format: str) -> list[bytes]:
        """The result block by block, each behind the BlockInfo that Native has from protocol revision 51903 on."""
        # field 1: is_overflows = 0; field 2: bucket_num = -1; 0 ends the fields
        info = b"\x01\x00\x02\xff\xff\xff\xff\x00"
        try:
            stream = session.send_query(sql, output_format)
        except RuntimeError as error:
            if "Streaming query is not supported" not in str(error):
                raise
            # DESCRIBE, SHOW and the like give one block
            data = outcome(session.query(sql, output_format))[1]
            return [info + data] if data else []
        if stream.has_error():
            raise RuntimeError(stream.error_message())
        chunks = []
        while (part := session.streaming_fetch_result(stream)) is not None:
            if part.has_error():
                raise RuntimeError(part.error_message())
            if not (data := part.bytes()):
                break
            chunks.append(info + data)
        return chunks

    def close(self, name: str) -> None:
        """End a kept session."""
        session = self.sessions.pop(name, None)
        if session is not None:
            session.close()

    def shutdown(self) -> None:
        """Close every connection: the engine writes out what it holds and gives its path free."""
        for name in list(self.sessions):
            self.close(name)
        if self.first is not None:
            self.first.close()
            self.first = None


def outcome(result: Any) -> tuple[dict[str, Any], bytes]:
    """What chDB returned, as an answer's header and body."""
    if result is None:
        return {}, b""
    if result.has_error():
        raise RuntimeError(result.error_message())
    memory = result.bytes() if hasattr(result, "bytes") else b""
    return {
        "rows_read": result.rows_read(),
        "bytes_read": result.bytes_read(),
        "rows_written": result.rows_written() if hasattr(result, "rows_written") else 0,
        "bytes_written": result.bytes_written() if hasattr(result, "bytes_written") else 0,
    }, memory


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next frame, or None where the other side has gone."""
    lengths = stream.read(FRAME.size)
    if len(lengths) < FRAME.size:
        return None
    header, body = FRAME.unpack(lengths)
    return json.loads(stream.read(header)), stream.read(body)


def write_frame(stream: BinaryIO, header: dict[str, Any], body: bytes) -> None:
    """Send one frame."""
    text = json.dumps(header).encode()
    stream.write(FRAME.pack(len(text), len(body)) + text + body)
    stream.flush()


def die_with_parent(parent: int) -> None:
    """End this process when its parent is gone, even in the middle of a long query (the end of stdin is seen only
    after it).
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Serve until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, args=(os.getppid(),), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the engine prints must not get between the frames
    worker = Worker(load_engine())
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        request, body = frame
        header: dict[str, Any] = {}
        result = b""
        try:
            if "open" in request:
                worker.open(request["open"])
            elif "close" in request:
                worker.close(request["close"])
            elif "stop" in request:
                break
            else:
                header, result = worker.run(request, body)
        except RuntimeError as error:
            header = {"error": str(error), "early": isinstance(error, BeforeQueryError)}
        write_frame(answers, header, result)
    worker.shutdown()
    answers.close()
    os._exit(0)  # the engine's own threads and static objects need no goodbye


main()
