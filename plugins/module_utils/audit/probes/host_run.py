# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe audit_host: what Docker says of the containers, what their processes run with, and modes of files."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import host, processes
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.host import Container, Process
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    NOT_APPLICABLE,
    Json,
    observe,
    unmeasured,
    without,
)

CONTAINER_PROBES = (
    "container_privileged", "container_namespaces", "container_capabilities", "container_no_new_privileges",
    "container_read_only", "container_user", "container_memory", "container_cpus", "container_pids",
    "container_docker_socket", "container_seccomp", "container_healthcheck", "container_log_rotation",
    "container_image_tag", "container_restart", "container_database_network", "docker_published", "environment_secrets",
)  # fmt: skip
APP_PROBES = ("session_secret", "frontend_url", "hyperdx_log_level", "usage_statistics")
COLLECTOR_PROBES = ("collector_clickhouse_tls", "collector_clickhouse_user")
FILE_PROBES = ("file_modes", "compose_secrets")
_KEY = re.compile(r"(\.key|\.pem|keyfile|^\.env(\..*)?)$")
_LARGEST = 1 << 20
"""Bytes of the largest Compose file that is read."""
_FILES = 2000
"""Files that are looked at, at most, so that a directory with data in it does not hold the audit up."""


def run(module: AnsibleModule) -> None:
    """Run the module audit_host.

    :param module: the module, with its arguments
    """
    options = module.params
    observations: list[Json] = []
    containers: list[Container] = []
    problem = ""
    if not options["docker_socket"]:
        evidence = "Nobody wants the containers of this host to be looked at."
        observations = unmeasured((*CONTAINER_PROBES, *APP_PROBES, *COLLECTOR_PROBES), "host", evidence)
        observations += _files([], [Path(path) for path in options["directories"]])
        module.exit_json(changed=False, observations=observations, containers={})
    try:
        docker = _Docker(options["docker_socket"], options["timeout"])
        running = docker.get("/containers/json")
        chosen = host.clickstack(running, options["project"])
        children = processes.children()
        containers = [
            Container(host.components(one["Image"]), inspected, _processes(inspected, children))
            for one in chosen
            for inspected in [docker.get(f"/containers/{one['Id']}/json")]
        ]
        networks = {one["Name"]: one for one in docker.get("/networks")} if containers else {}
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        problem = f"Docker does not answer at {options['docker_socket']}: {error}."
        networks = {}
    if containers:
        for one in containers:
            observations += host.judge_container(one, networks)
            observations.append(host.judge_published(one, options["declared_ports"]))
            observations.append(host.judge_environment_secrets(one))
        apps = [one for one in containers if host.APP in one.components]
        collectors = [one for one in containers if host.COLLECTOR in one.components]
        for one in apps:
            observations += host.judge_app(one)
        for one in collectors:
            observations += host.judge_collector(one)
        if not apps:
            observations += unmeasured(APP_PROBES, "app", "HyperDX does not run on this host.")
        if not collectors:
            observations += unmeasured(COLLECTOR_PROBES, "otel-collector", "No collector runs on this host.")
        if not any(set(one.components) & set(host.DATABASES) for one in containers):
            observations.append(
                observe("container_database_network", "databases", NOT_APPLICABLE, "No database runs on this host.")
            )
    else:
        where = f"the project {options['project']}" if options["project"] else "ClickStack's images"
        evidence = problem or f"No container of {where} runs on this host."
        status = ERROR if problem or options["project"] else NOT_APPLICABLE
        observations += unmeasured((*CONTAINER_PROBES, *APP_PROBES, *COLLECTOR_PROBES), "host", evidence, status)
    observations += _files(containers, [Path(path) for path in options["directories"]])
    secrets = [
        value
        for one in containers
        for name, value in one.environment.items()
        if host.is_secret(name, value) and len(value) > 3
    ]
    module.exit_json(changed=False, observations=without(secrets, observations), containers=host.facts(containers))


class _Docker:
    """Docker's API over its socket. A version is agreed on, since old engines and new ones share none."""

    def __init__(self, path: str, timeout: float) -> None:
        self._path, self._timeout = path, timeout
        status, _body, headers = self._ask("/_ping")
        self._version = headers.get("Api-Version", "")
        if status != 200:
            raise ValueError(f"its ping says {status}")

    def get(self, path: str) -> Any:
        """What is at a path. Raises OSError, ValueError."""
        status, body, _headers = self._ask((f"/v{self._version}" if self._version else "") + path)
        if status != 200:
            raise ValueError(f"{path} says {status}")
        return json.loads(body)

    def _ask(self, path: str) -> tuple[int, bytes, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=self._timeout)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(self._timeout)
        try:
            connection.sock.connect(self._path)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()


def _processes(inspected: Json, children: dict[int, list[int]]) -> list[Process]:
    """The processes of a container, its first one first; empty if they cannot be read."""
    found = []
    for pid in processes.descendants(int(inspected["State"].get("Pid") or 0), children):
        try:
            variables = processes.environment(pid)
            status = dict(re.findall(r"^(\w+):\s+(\S+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
        except OSError:
            continue  # it has ended, or is not ours to read
        found.append(Process(pid, variables, int(status.get("Uid", -1)), int(status.get("Seccomp", -1))))
    return found


# -- files ------------------------------------------------------------------------------------------------------------


def _files(containers: Sequence[Container], directories: Sequence[Path]) -> list[Json]:
    """What is to say of files: modes of secrets and Compose files, and what is written out in the latter."""
    compose: set[Path] = set()
    watched: set[Path] = set()
    for one in containers:
        labels = one.inspected["Config"].get("Labels") or {}
        folder = labels.get("com.docker.compose.project.working_dir", "")
        names = [name for name in labels.get("com.docker.compose.project.config_files", "").split(",") if name]
        compose.update(Path(folder, name) for name in names)
        if folder:
            compose.add(Path(folder, ".env"))
        for mount in one.inspected.get("Mounts") or ():
            source = Path(str(mount.get("Source") or ""))
            if mount.get("Type") == "bind" and (
                _KEY.search(source.name) or "/run/secrets/" in str(mount["Destination"])
            ):
                watched.add(source)
    for directory in directories:
        if directory.is_dir():
            watched.update(_watched(directory))
            compose.update(path for path in (directory / "compose.yml", directory / ".env") if path.is_file())
    modes: dict[str, int] = {}
    texts: dict[str, Sequence[str]] = {}
    problems = []
    for path in sorted(watched | compose):
        try:
            found = os.stat(path)
            if not stat.S_ISREG(found.st_mode):
                continue
            if path.suffix == ".pem" and path not in compose and not _is_key(path):
                continue  # certificates are for everybody
            modes[str(path)] = stat.S_IMODE(found.st_mode)
            if path in compose and found.st_size <= _LARGEST:
                texts[str(path)] = host.secrets_in_text(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(observe("file_modes", str(path), ERROR, f"It cannot be looked at: {error.strerror}."))
    return [*problems, *host.judge_modes(modes), *host.judge_compose_files(texts)]


def _is_key(path: Path) -> bool:
    """Whether there is a private key in a file. Raises OSError."""
    with path.open("rb") as file:
        return b"PRIVATE KEY" in file.read(_LARGEST)


def _watched(directory: Path) -> Iterator[Path]:
    """Files below a directory that hold secrets: keys, and all in a directory `secrets`."""
    seen = 0
    for folder, folders, names in os.walk(directory):
        if "pyvenv.cfg" in names:
            folders.clear()  # a Python environment: thousands of files, and no secrets
            continue
        for name in names:
            seen += 1
            if seen > _FILES:
                return
            path = Path(folder, name)
            if _KEY.search(name) or "secrets" in path.relative_to(directory).parts[:-1] or directory.name == "secrets":
                yield path
