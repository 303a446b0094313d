# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Compose itself as a witness: does it take the files, and does it publish what we think it does?"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import address

_PASSED_ON: Final = ("PATH", "HOME", "LANG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG")
"""What Docker's CLI itself needs; everything else in the environment could change the project."""
_TIMEOUT: Final = 120
_SHORTEST_SECRET: Final = 4


@dataclass(frozen=True)
class Program:
    """Docker Compose on this machine.

    :param command: how it is called
    :param version: what it says of itself, for example 2.40.3-3
    """

    command: Sequence[str]
    version: str

    def is_at_least(self, wanted: tuple[int, int, int]) -> bool:
        """Whether its version is this one or newer; what is added behind the three numbers does not count."""
        numbers = [int(number) for number in re.findall(r"\d+", self.version)[:3]]
        return (*numbers, 0, 0)[:3] >= wanted


def find() -> Program | None:
    """Return Docker Compose v2 on this machine: the CLI's plugin, or the program of its own.

    :raises ComposeError: if it hangs
    """
    for command in (["docker", "compose"], ["docker-compose"]):
        if not shutil.which(command[0]):
            continue
        answer = _answer([*command, "version", "--short"], os.environ)
        version = re.match(r"v?(\d+)\.", answer.stdout)
        if answer.returncode == 0 and version and int(version[1]) >= 2:
            return Program(command, answer.stdout.strip())
    return None


def _answer(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        # run_command adds to the module's environment, which could change the project; here it is replaced.
        return subprocess.run(  # pylint: disable=ansible-bad-function
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ComposeError(f"{' '.join(command)} gave no answer within {_TIMEOUT} seconds") from None


@dataclass(frozen=True)
class Compose:
    """Docker Compose for one project.

    :param command: how it is called
    :param directory: the project directory
    :param paths: the Compose files, the base first
    :param environment: the variables that count, and no others do
    """

    command: Sequence[str]
    directory: str
    paths: Sequence[str]
    environment: Mapping[str, str]

    def published(self) -> set[tuple[Any, ...]]:
        """Return what Docker Compose publishes, as `ours` puts it.

        :raises ComposeError: if it does not take the files; what it says is given without the values of variables
        """
        files = [argument for path in self.paths for argument in ("--file", path)]
        # the variables of .env files are in the environment already
        options = ["--project-directory", self.directory, "--env-file", os.devnull, "--profile", "*", *files]
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        answer = _answer([*self.command, *options, "config", "--format", "json"], {**self.environment, **passed_on})
        if answer.returncode != 0:
            said = " ".join(line.strip() for line in answer.stderr.splitlines() if "level=warning" not in line)
            raise ComposeError(f"Docker Compose does not take the project: {self._masked(said)}")
        services = json.loads(answer.stdout).get("services") or {}
        return {
            (
                name,
                port["target"],
                port.get("published") or "",
                _canonical(port.get("host_ip")),
                port["protocol"].lower(),
            )
            for name, service in services.items()
            if service.get("network_mode") != "host"
            for port in service.get("ports") or ()
        }

    def check(self, exposed: Iterable[Mapping[str, Any]]) -> None:
        """See that Docker Compose publishes exactly this.

        :param exposed: as `exposure.exposed` gives it
        :raises ComposeError: if it does not, or does not take the files
        """
        theirs, own = self.published(), ours(exposed)
        if theirs != own:
            told = [f"only Docker Compose: {_told(port)}" for port in sorted(theirs - own)]
            told += [f"only this module: {_told(port)}" for port in sorted(own - theirs)]
            raise ComposeError(
                f"Docker Compose reads other ports from these files than this module ({'; '.join(told)}); "
                "please report it"
            )

    def _masked(self, text: str) -> str:
        """A message of Docker Compose with the names of variables for their values."""
        values = {value: name for name, value in self.environment.items() if len(value) >= _SHORTEST_SECRET}
        for value in sorted(values, key=len, reverse=True):
            text = text.replace(value, f"${values[value]}")
        return text


def _canonical(host_ip: str | None) -> str:
    return address(host_ip) if host_ip else ""


def ours(exposed: Iterable[Mapping[str, Any]]) -> set[tuple[Any, ...]]:
    """Return what is exposed as tuples of service, target, published, address and protocol."""
    return {
        (one["service"], one["target"], one["published"] or "", one["host_ip"] or "", one["protocol"])
        for one in exposed
        if one["target"] is not None
    }


def _told(port: Sequence[Any]) -> str:
    service, target, published, host_ip, protocol = port
    return f"{service} {host_ip}:{published}:{target}/{protocol}"
