# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A login that a probe tries: user, password (given, or in a file on the host), and where it is tried from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import processes
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import Json

ARGUMENTS: Json = {
    "user": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "password_file": {"type": "path"},
    "pid": {"type": "int", "default": 0},
}
NOT_SENT = (
    "No password is sent, because the connection is not encrypted, or the certificate not trusted (validate_certs)."
)


@dataclass(frozen=True)
class Login:
    """Who logs in, from the network namespace of the process `pid` (0: this host's). `missing` says why nobody can."""

    user: str
    password: str
    pid: int = 0
    missing: str = ""

    @property
    def place(self) -> str:
        """From where, in a text."""
        return "from its container" if self.pid else "from this host"


def login(options: Json | None, option: str) -> Login:
    """Return a login of the module's arguments, or of the environment of the processes that log in.

    :param options: user, password, password_file and pid; what is not given is looked for in the processes of `pid`
    :param option: its name, `reader`, `ingest` or `admin`, for the text that says what to give
    """
    values = options or {}
    user, pid, file = values.get("user") or "", values.get("pid") or 0, values.get("password_file")
    if values.get("password"):
        return Login(user, values["password"], pid) if user else Login("", "", missing=f"No user was given ({option}).")
    problem = f"No login was given ({option})."
    if user and file:
        try:
            return Login(user, Path(file).read_text(encoding="utf-8").rstrip("\r\n"), pid)
        except OSError as error:
            problem = f"{file} with the password of {user} cannot be read: {error.strerror} ({option})."
        except UnicodeDecodeError:
            problem = f"{file} with the password of {user} is not text in UTF-8 ({option})."
    found = of_environment(processes.environment_of_all(pid), option) if pid else None
    return Login(*found, pid) if found else Login("", "", missing=problem)


def of_environment(environment: Mapping[str, str], option: str) -> tuple[str, str] | None:
    """Return user and password of ClickHouse that a container was given; None if it was given none.

    The collector writes as `default` without a password where nothing else is said
    (packages/otel-collector/cmd/migrate). HyperDX reads by the first of its DEFAULT_CONNECTIONS, until somebody
    changes that in its interface.

    :param environment: of its processes
    :param option: `ingest` for the collector, `reader` for HyperDX
    """
    if option == "ingest" and environment.get("CLICKHOUSE_ENDPOINT"):
        return environment.get("CLICKHOUSE_USER") or "default", environment.get("CLICKHOUSE_PASSWORD", "")
    if option == "reader":
        try:
            first = json.loads(environment.get("DEFAULT_CONNECTIONS", ""))[0]
            return str(first["username"]), str(first.get("password", ""))
        except (ValueError, LookupError, TypeError):
            return None
    return None


def secrets(logins: Sequence[Login]) -> list[str]:
    """Return the passwords of logins."""
    return [one.password for one in logins if one.password]
