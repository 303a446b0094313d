"""Runs one host of the lab: boots it, boots it again when it reboots, and ends when it is switched off.

Usage: supervisor.py GROUP NAME NUMBER STATE LOWER (what boot.sh takes, after the control group of the host)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.sandbox.lab import cgroups
from tests.sandbox.lab.keeper import child_of

UNSHARE = [
    "unshare", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child",
    "--propagation", "private",
]  # fmt: skip


def main(group: str, *boot: str) -> None:
    """Boot until the host halts; each boot has fresh namespaces, so that nothing but the disk lives through it."""
    while True:
        # The control group that a process is in when it unshares is the root of what the host sees.
        host = subprocess.Popen(
            [*UNSHARE, Path(__file__).with_name("boot.sh"), *boot],
            stdin=subprocess.DEVNULL,
            preexec_fn=lambda: cgroups.enter(group, os.getpid()),
        )
        # unshare waits for the host, and must not do so in there: systemd wants no process in the root of its groups.
        while host.poll() is None:
            with contextlib.suppress(ValueError):
                child_of(host.pid)
                cgroups.enter(f"{Path(group).parent}/.waiting", host.pid)
                break
            time.sleep(0.001)
        # reboot(2) in a pid namespace ends its process 1 with a signal, which unshare hands on: SIGHUP to boot again,
        # SIGINT to stay off. SIGKILL is a plug that was pulled.
        status = host.wait()
        if status != -signal.SIGHUP:
            sys.exit(0 if status in (-signal.SIGINT, -signal.SIGKILL) else f"{boot[0]} ended with {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
