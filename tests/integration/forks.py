"""Runs modules in processes of their own, many and at once: each is a fork of one that has loaded everything.

`Forks` is the caller's side; the file run as a program is the process that forks. Its input and output are lines of
JSON: arguments in, the child's process id and then its result out.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Forks:
    """A process that runs `clickhouse_<name>` as often as one likes, one run after the other; a context manager.

    For runs at once take several.
    """

    def __init__(self, name: str = "access", **environment: str) -> None:
        """`environment` comes on top of ours."""
        paths = os.pathsep.join((str(ROOT), str(ROOT / ".build/collections")))
        self._process = subprocess.Popen(
            [sys.executable, __file__, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, **environment},
        )

    def run(self, options: Mapping[str, Any], started: Callable[[int], None] | None = None) -> dict[str, Any]:
        """Run it and return its result, with `rc`; `started` is told the process id. Killed: only `rc`, -9."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(options) + "\n")
        self._process.stdin.flush()
        child = int(self._process.stdout.readline())
        if started is not None:
            started(child)
        result: dict[str, Any] = json.loads(self._process.stdout.readline())
        return result

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()


def _child(main: Callable[[], None], options: dict[str, Any], to: int) -> None:
    """Run the module on these options; write what it printed and how it ended."""
    from ansible.module_utils.testing import patch_module_args

    printed, code = io.StringIO(), 1
    with patch_module_args(options), contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            printed = io.StringIO(json.dumps({"msg": traceback.format_exc(), "traceback": True}))
    with os.fdopen(to, "w") as file:
        file.write(json.dumps({**json.loads(printed.getvalue() or "{}"), "rc": code}))


def serve(name: str) -> None:
    """Fork a child for each line of the input."""
    main = importlib.import_module(f"ansible_collections.hardened.clickstack.plugins.modules.clickhouse_{name}").main
    for line in sys.stdin:
        come, to = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(come)
            _child(main, json.loads(line), to)
            os._exit(0)
        os.close(to)
        print(child, flush=True)
        with os.fdopen(come) as file:
            said = file.read()
        status = os.waitpid(child, 0)[1]
        print(said or json.dumps({"rc": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
