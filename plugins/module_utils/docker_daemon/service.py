# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How systemd starts the engine: which program, and with which flags. Pure: what `systemctl show` printed goes in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "ExecStart",
    "Environment",
    "EnvironmentFiles",
    "ExecMainStartTimestampMonotonic",
)
"""What read has to be given of `systemctl show`."""
DEFAULT_FILE = "/etc/docker/daemon.json"
"""The configuration file of dockerd if no flag names another (docs.docker.com/reference/cli/dockerd)."""


class ServiceError(Exception):
    """The unit is not one that starts an engine; the message says what to do."""


@dataclass(frozen=True)
class Service:
    """A unit that starts an engine.

    :param program: the path of dockerd
    :param flags: what it gets on its command line
    :param started: when the engine that runs now was started, in microseconds of CLOCK_MONOTONIC; None if none runs
    """

    program: str
    flags: list[str]
    started: int | None

    @property
    def config_file(self) -> str:
        """The configuration file that the engine reads."""
        for index, flag in enumerate(self.flags):
            name, given, value = flag.partition("=")
            if name == "--config-file":
                return value if given else self.flags[index + 1]
        return DEFAULT_FILE

    @property
    def flags_without_file(self) -> list[str]:
        """The flags without the one that names the configuration file."""
        result: list[str] = []
        flags = iter(self.flags)
        for flag in flags:
            if flag == "--config-file":
                next(flags, None)
            elif not flag.startswith("--config-file="):
                result.append(flag)
        return result


def read(unit: str, shown: str, read_file: Callable[[str], str | None]) -> Service:
    """Return what a unit starts.

    :param unit: its name, for messages
    :param shown: what `systemctl show` printed of it, with PROPERTIES
    :param read_file: returns the content of an environment file, or None if it is not there
    :raises ServiceError: if there is no such unit, or it starts something else
    """
    properties = dict(line.partition("=")[::2] for line in shown.splitlines())
    if properties.get("LoadState") != "loaded":
        raise ServiceError(
            f"there is no {unit} on this host that systemd could load: install the Docker Engine first, "
            "or name the unit that starts it with `service`"
        )
    command = re.search(r"argv\[\]=(.*?) ; ignore_errors=", properties.get("ExecStart", ""))
    if not command:
        raise ServiceError(f"{unit} starts no program: name the unit that starts the Docker Engine with `service`")
    environment = _environment(properties.get("Environment", ""))
    for line in shown.splitlines():
        # one line for each file: EnvironmentFiles=/etc/default/docker (ignore_errors=yes)
        file = re.match(r"EnvironmentFiles=(.+?)(?: \(ignore_errors=\w+\))?$", line)
        if file:
            environment.update(_environment(_without_comments(read_file(file[1]) or "")))
    program, *flags = _expanded(command[1], environment)
    running = properties.get("ActiveState") in ("active", "reloading", "activating")
    started = int(properties.get("ExecMainStartTimestampMonotonic") or 0)
    return Service(program, flags, started if running and started else None)


def _without_comments(text: str) -> str:
    """Return the content of an environment file without the lines that systemd does not read (systemd.exec(5))."""
    return "\n".join(line for line in text.splitlines() if line.lstrip()[:1] not in ("#", ";"))


def _environment(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:  # systemd reads what it can of such a file, and so do we: nothing
        return {}
    return {name: value for name, given, value in (word.partition("=") for word in words) if given}


def _expanded(command: str, environment: Mapping[str, str]) -> list[str]:
    """Return the words of a command line as systemd makes them (systemd.service(5), COMMAND LINES).

    `$NAME` as a word of its own becomes as many words as are in it; `${NAME}` anywhere becomes a part of its word.
    """
    words: list[str] = []
    for word in shlex.split(command):
        whole = re.fullmatch(r"\$(\w+)", word)
        if whole:
            words += environment.get(whole[1], "").split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), word))
    return words
