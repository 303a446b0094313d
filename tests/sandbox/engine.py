"""The real ClickHouse engine (chDB) in processes of its own, one version per virtual environment.

`Engine` is one such process. It parses statements, answers questions about grammar, settings and privileges, and,
opened
on a path with a users.xml, runs queries with the rights that this users.xml gives to its user `default`. `EnginePool`
keeps
one data path and gives it to the engine whose users.xml is wanted now: chDB holds a path in one process at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import threading
from pathlib import Path
from typing import Any, NoReturn

FRAME = struct.Struct(">II")
WORKER = Path(__file__).with_name("engine_worker.py")
ENVIRONMENTS = Path(__file__).parents[2] / ".build" / "venv"
VERSIONS = ("26.9", "25.8", "24.8")


class EngineError(Exception):
    """What the engine answered instead of a result: ClickHouse's code (int), name and message, without the version."""

    def __init__(self, code: int, name: str, message: str, early: bool = False) -> None:
        """`early`: it came before the query began, when the server has given it no id yet."""
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")
        self.code, self.name, self.message, self.early = code, name, message, early


def python_of(version: str) -> Path:
    """The interpreter of the virtual environment with this version's chDB; `SANDBOX_ENGINES` names another folder of
    them.
    """
    return Path(os.environ.get("SANDBOX_ENGINES", ENVIRONMENTS)) / f"chdb-{version}" / "bin" / "python"


_TEXT = re.compile(
    r"\A(?:Code: (?P<code>\d+)\. DB::Exception: )(?P<message>.*?)(?: \((?P<name>[A-Z0-9_]+)\))?\s*\Z", re.DOTALL
)
_AGAIN = re.compile(r"\ACode: \d+\. DB::Exception: | \([A-Z0-9_]+\) \(version [^()]*\)\.?\Z")


def raise_error(text: str, early: bool = False) -> NoReturn:
    """Raise the engine's error text, `Code: N. DB::Exception: message (NAME)`, as an EngineError."""
    match = _TEXT.match(text)
    if not match:
        raise EngineError(1001, "STD_EXCEPTION", text, early)
    message = match["message"]
    while (
        shorter := _AGAIN.sub("", message)
    ) != message:  # an exception told within an exception carries its frame along
        message = shorter
    raise EngineError(int(match["code"]), match["name"] or "", message, early)


def string_literal(text: str) -> str:
    """`text` as a ClickHouse string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0") + "'"


class Engine:
    """One engine process. Usable alone: `Engine("26.9").parse("create user u")`; `close()` ends it, as does this
    process's end."""

    def __init__(self, version: str = "26.9", address: str | None = ":memory:") -> None:
        """Start a process for `version` (`26.9`, `25.8`, `24.8`) and open `address`, chDB's connection string; None
        opens later.
        """
        self.version = version
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [str(python_of(version)), "-I", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("SANDBOX_DEBUG") else None,
        )
        if address is not None:
            self.open(address)

    def open(self, address: str) -> None:
        """Open chDB on `address`. Raises EngineError where it does not start, as with a users.xml it refuses."""
        self.call({"open": address})
        if address == ":memory:" and self.version >= "25":
            # the engine's first exception would otherwise look up symbols for up to half a second
            # a statement to be parsed comes as a literal, which escapes may have made longer than a statement may be
            self.query("SET calculate_text_stack_trace = 0, implicit_select = 0, max_query_size = 0")

    def call(self, header: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Send one request to the process (see engine_worker.py) and return the answer. Raises EngineError."""
        assert self._process.stdin and self._process.stdout
        text = json.dumps(header).encode()
        with self._lock:
            try:
                self._process.stdin.write(FRAME.pack(len(text), len(body)) + text + body)
                self._process.stdin.flush()
                lengths = self._process.stdout.read(FRAME.size)
                if len(lengths) < FRAME.size:
                    raise BrokenPipeError
                header_size, body_size = FRAME.unpack(lengths)
                answer = json.loads(self._process.stdout.read(header_size))
                result = self._process.stdout.read(body_size)
            except (BrokenPipeError, ValueError) as error:
                raise EngineError(
                    210, "NETWORK_ERROR", f"The engine process has ended (exit {self._process.poll()})."
                ) from error
        if "error" in answer:
            raise_error(answer["error"], answer["early"])
        return answer, result

    def query(self, sql: str | bytes, output_format: str = "TabSeparated") -> bytes:
        """Run `sql` in the engine's standing session; the result in `output_format`. Raises EngineError."""
        body = sql if isinstance(sql, bytes) else sql.encode("utf-8", "surrogateescape")
        return self.call({"plain": True, "format": output_format}, body)[1]

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The result's rows by column name, values as JSON gives them (64-bit numbers as int). Raises EngineError."""
        text = self.query(sql, "JSONEachRow").decode("utf-8", "surrogateescape")
        return [json.loads(line) for line in text.split("\n") if line]

    def parse(self, sql: str) -> str:
        """`sql` as this version's parser understands it, in canonical form on one line, with secrets.

        Raises EngineError: 62 for what is not one statement of the grammar.
        """
        try:
            text = self.query(f"SELECT formatQuerySingleLine({string_literal(sql)})", "RawBLOB")
        except EngineError as error:  # the question itself, with the whole statement in it, is not part of the answer
            message = error.message.split(": In scope SELECT formatQuerySingleLine(", 1)[0].removesuffix(".")
            raise EngineError(error.code, error.name, message + ".") from None
        return text.decode("utf-8", "surrogateescape")

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process; its path is free afterwards."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EnginePool:
    """One data path, opened by whichever engine has the wanted configuration; a spare process waits to be the next."""

    def __init__(self, version: str, path: Path) -> None:
        """`path`: the folder of the engine's data."""
        self.version = version
        self._path = path
        self._config: Path | None = None
        self._engine: Engine | None = None
        self._spare = Engine(version, None)

    def use(self, config: Path) -> Engine:
        """The engine that runs with this configuration file (a file never changes once it was used). Raises
        EngineError.
        """
        if self._engine is not None and self._engine.alive and self._config == config:
            return self._engine
        if self._engine is not None:
            self._engine.close()
        self._engine, self._spare = self._spare, Engine(self.version, None)
        self._config = config
        try:
            self._engine.open(f"{self._path}?config-file={config}")
        except EngineError:
            self._config = None
            raise
        return self._engine

    def end_session(self, name: str) -> None:
        """Close a kept session, if the engine that has it still runs."""
        if self._engine is not None and self._engine.alive:
            self._engine.call({"close": name})

    def close(self) -> None:
        """End the processes."""
        self._spare.close()
        if self._engine is not None:
            self._engine.close()
