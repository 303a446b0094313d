"""The lab from a shell.

Usage: python -m tests.sandbox.lab setup | run [--engine ENGINE]... [--compose VERSION] -- COMMAND...

``setup`` makes what the lab is built of and says what cannot be had. ``run`` makes a lab with one host for each
``--engine`` (host1, host2, ...), runs COMMAND on the trusted neighbour with LAB_INVENTORY in its environment (an
Ansible inventory of the hosts), and ends the lab with it: ``... run -- bash`` is a lab to look around in.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from . import ENGINES, Lab, Unavailable
from .engines import TRIXIE, layers


def setup() -> int:
    """Make the layers of every engine; only what every host needs has to be there.

    Two at a time, the longest first: each spends some of its time waiting.
    """

    def make(engine: str) -> None:
        try:
            layers(engine)
        except Unavailable as reason:
            print(f"  without Docker Engine {engine}: {reason}", file=sys.stderr)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(make, [*reversed(ENGINES), TRIXIE]))
    return 0


def run(engines: Sequence[str], compose: str, command: Sequence[str]) -> int:
    """Run a command in a lab and return its exit status."""
    with Lab() as lab:
        for number, engine in enumerate(engines, 1):
            lab.host(f"host{number}", engine, compose)
        inside = ["env", f"LAB_INVENTORY={lab.inventory}", *command]
        return subprocess.run(lab.trusted.command(inside, os.getcwd()), check=False).returncode


def main() -> int:
    """Do what the command line says and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup")
    runner = commands.add_parser("run")
    runner.add_argument("--engine", action="append", choices=(*ENGINES, TRIXIE))
    runner.add_argument("--compose", default="2.40")
    runner.add_argument("program", nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "setup":
        return setup()
    return run(arguments.engine or ENGINES[:1], arguments.compose, arguments.program)


if __name__ == "__main__":
    sys.exit(main())
