"""Python packages for hosts that reach no index: what site wants to install, fetched once on this machine."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from .lab import Host
from .packages import BUILD, made_once

FOLDER = "/srv/wheels"
"""Where they lie on the host: PIP_FIND_LINKS."""


def fetched() -> Path:
    """Return the folder with clickhouse-connect, at this environment's version, and what it needs on Debian 12 and 13.

    Raises CalledProcessError where pip cannot fetch them.
    """
    version = metadata.version("clickhouse-connect")
    folder = BUILD / f"wheels-2-{version}"
    with made_once(folder) as fresh:
        if fresh:
            for python in ("3.11", "3.13"):
                pip = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
                pip += [f"--python-version={python}", f"--dest={fresh}"]
                subprocess.run([*pip, f"clickhouse-connect=={version}"], check=True)
    return folder


def give(host: Host) -> None:
    """Put them on a host."""
    packed = subprocess.run(["tar", "-C", fetched(), "-cf", "-", "."], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(host.command(["mkdir", FOLDER]), check=True)
    subprocess.run(host.command(["tar", "-C", FOLDER, "-xf", "-"]), input=packed, check=True)
