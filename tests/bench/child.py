"""One measured run of a module in a process of its own, or the replay of what such a run sent.

`child.py module NAME ARGUMENTS RECORD` runs the module as Ansible does, from a file of arguments, and records every
HTTP request. `child.py replay RECORD PORT CA` sends the same bytes again over one kept connection: the floor.
Prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
import json
import pickle
import resource
import ssl
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / ".build" / "installed")]
MODULES = "ansible_collections.hardened.clickstack.plugins.modules"


def peak() -> float:
    """The most memory this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Recorder:
    """Writes every HTTP request of this process to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self.requests = 0
        self._file = file
        self._send = http.client.HTTPConnection.request

    def install(self) -> None:
        """Begin."""
        recorder = self

        def request(self: Any, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> None:
            recorder.requests += 1
            text = body.encode() if isinstance(body, str) else body
            pickle.dump((method, url, text, dict(headers or {})), recorder._file)
            recorder._send(self, method, url, body=body, headers=headers or {}, **more)

        # urllib3's connections have a request() of their own, which does not call this one
        from urllib3.connection import HTTPConnection

        self._send = HTTPConnection.request
        HTTPConnection.request = request  # type: ignore[method-assign]


def run_module(name: str, arguments: Path, record: Path) -> dict[str, Any]:
    """Run a module; what it took."""
    from ansible.module_utils import basic

    main = importlib.import_module(f"{MODULES}.clickhouse_{name}").main
    importlib.import_module("clickhouse_connect")
    imported = peak()
    basic._ANSIBLE_ARGS = arguments.read_bytes()
    basic._ANSIBLE_PROFILE = "legacy"
    output = io.StringIO()
    with record.open("wb") as file:
        recorder = Recorder(file)
        recorder.install()
        begin = time.perf_counter()
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main()
        seconds = time.perf_counter() - begin
    most = peak()
    result = json.loads(output.getvalue())
    if result.get("failed"):
        raise SystemExit(result["msg"][:2000])
    return {
        "seconds": seconds,
        "memory": most,
        "imported": imported,
        "requests": recorder.requests,
        "statements": len(result["statements"]),
        "changed": result["changed"],
    }


def replay(record: Path, port: int, ca: str) -> dict[str, Any]:
    """Send what was recorded; what that took."""
    requests = []
    with record.open("rb") as file, contextlib.suppress(EOFError):
        while True:
            requests.append(pickle.load(file))
    connection = http.client.HTTPSConnection("localhost", port, context=ssl.create_default_context(cafile=ca))
    connection.connect()
    begin = time.perf_counter()
    for method, url, body, headers in requests:
        connection.request(method, url, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"the floor was refused: {answer.status}")
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "requests": len(requests)}


def main() -> None:
    """Do what the command line says."""
    what, *given = sys.argv[1:]
    if what == "module":
        print(json.dumps(run_module(given[0], Path(given[1]), Path(given[2]))))
    else:
        print(json.dumps(replay(Path(given[0]), int(given[1]), given[2])))


if __name__ == "__main__":
    main()
