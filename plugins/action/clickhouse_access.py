# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows how far clickhouse_access has come while it runs: a module itself can only speak when it ends."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_SECONDS = 5.0
"""How often there is a line."""


class ActionModule(ActionBase):
    """Runs the module, and tells what it writes into its progress file."""

    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module; see the base class."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # only where the module runs on this machine and as this user can its file be read here
        here = self._connection.transport == "local" and not self._connection.become and not self._task.async_val
        if not here or arguments.get("progress_file"):
            result.update(self._run_module(arguments, task_vars))
            return result
        with _progress_file() as path, _told(path, self._task.get_name()):
            result.update(self._run_module({**arguments, "progress_file": str(path)}, task_vars))
        return result

    def _run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(
            module_name="hardened.clickstack.clickhouse_access",
            module_args=arguments,
            task_vars=task_vars,
            wrap_async=self._task.async_val and not self._connection.has_native_async,
        )
        return done


@contextmanager
def _progress_file() -> Iterator[Path]:
    """A file of our own that is gone afterwards."""
    handle, name = tempfile.mkstemp(prefix="clickhouse_access-", dir=constants.DEFAULT_LOCAL_TMP)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _told(path: Path, task: str) -> Iterator[None]:
    """Show what the file says, as long as the block runs."""
    ended = threading.Event()

    def watch() -> None:
        last = ""
        while not ended.wait(_SECONDS):
            text = path.read_text(encoding="ascii")
            # the module may be writing at this very moment
            if text != last and text.endswith("\n"):
                last = text
                done, of = map(int, text.split())
                Display().display(f"{task}: {done} of {of} statements ({100 * done // of} %)")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
