"""Run ansible-playbook on this machine as a user does, on the installed collection, and say what came of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]


class Run:
    """One run of ansible-playbook."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.output = process.stdout + process.stderr

    @property
    def recap(self) -> dict[str, int]:
        """The counts of the last line: ok, changed, failed, skipped."""
        last = re.findall(r"^\S+\s+: (ok=.*)$", self.output, re.MULTILINE)[-1]
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", last)}


def run_playbook(
    plays: list[dict[str, Any]] | str, *arguments: str, folder: Path, inventory: str = "localhost,", **environment: str
) -> Run:
    """Run a list of plays, or a playbook by its name, on localhost, or on hosts that all stand for this machine.

    :param folder: where the playbook and Ansible's temporary files lie
    :param inventory: names with commas between them, or a file
    :param environment: variables for it, over those of this process
    """
    name = plays if isinstance(plays, str) else str(folder / "playbook.yml")
    if not isinstance(plays, str):
        Path(name).write_text(yaml.safe_dump(plays, sort_keys=False))
    installed = f"{ROOT / '.build/installed'}:{ROOT / '.build/companions'}"
    process = subprocess.run(
        ["ansible-playbook", "-i", inventory, "-c", "local", name, *arguments],
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", installed),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Run(process)


_KILLER = '''
"""Kills the run, as the kernel does, at the task that KILL_BEFORE names, or at its task number KILL_AT."""
import os, signal
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = "name: killer\\ntype: aggregate\\nshort_description: kill\\ndescription: [kill]"

class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "killer"
    tasks = 0

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.tasks += 1
        if task.name == os.environ.get("KILL_BEFORE") or str(self.tasks) == os.environ.get("KILL_AT"):
            os.kill(os.getpid(), signal.SIGKILL)
'''


def killer(folder: Path) -> dict[str, str]:
    """Write a callback plugin that kills runs at KILL_BEFORE or KILL_AT; return the environment that loads it.

    :param folder: where the plugin's own folder is made
    """
    plugins = folder / "callbacks"
    plugins.mkdir()
    (plugins / "killer.py").write_text(_KILLER)
    return {"ANSIBLE_CALLBACK_PLUGINS": str(plugins), "ANSIBLE_CALLBACKS_ENABLED": "killer"}
