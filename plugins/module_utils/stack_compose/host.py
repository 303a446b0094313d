# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""I/O: what a host has that a Compose project must get along with. Reads only."""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_compose.preflight import (
    Address,
    DockerNetwork,
    File,
    Host,
    Port,
    clash,
    version_of,
)

IPV6_ISOLATION = (27,)
"""From this Docker Engine on networks are kept apart over IPv6 too. 20.10 measured: containers of other networks reach
an internal one; with its experimental `ip6tables`, those of the internal network do not reach each other.
"""


class Run(Protocol):
    """Runs a program, as AnsibleModule.run_command does: exit code, standard output, standard error."""

    def __call__(self, args: Sequence[str]) -> tuple[int, str, str]:
        """Run the program with its arguments."""


class HostError(Exception):
    """The host cannot be read; the text says what is missing and what to do."""


class Docker:
    """The docker command of the host."""

    def __init__(self, run: Run, docker: str) -> None:
        """Ask through this command.

        :param run: runs a program
        :param docker: path of the docker command
        """
        self._run, self._docker = run, docker

    def _ask(self, *arguments: str, advice: str) -> str:
        code, output, error = self._run([self._docker, *arguments])
        if code:
            said = (error or output).strip().splitlines()
            raise HostError(f"{advice} (docker {arguments[0]}: {said[-1] if said else f'exit code {code}'})")
        return output

    def versions(self) -> tuple[str, str]:
        """Return the versions of the engine and of Compose.

        :raises HostError: if the daemon does not answer or Compose is not there
        """
        engine = self._ask(
            "version",
            "--format",
            "{{.Server.Version}}",
            advice="The Docker daemon does not answer. Start it: systemctl start docker.",
        )
        compose = self._ask(
            "compose",
            "version",
            "--short",
            advice="Docker Compose v2 is not installed. Install docker-compose-plugin (of Docker) or"
            " docker-compose-v2 (of Ubuntu).",
        )
        return engine.strip(), compose.strip()

    def merged(self, texts: Sequence[str], name: str, directory: str) -> dict[str, Any]:
        """Return a project as Compose itself understands it: merged, with variables and short forms spelled out.

        :param texts: contents of Compose files; each is merged over those before it
        :param name: name of the project
        :param directory: its directory, from which relative paths begin
        :raises HostError: if Compose refuses the files
        """
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["--project-name", name, "--project-directory", directory]
            for number, text in enumerate(texts):
                file = Path(folder) / f"{number}.yml"
                file.write_text(text, encoding="utf-8")
                arguments += ["--file", str(file)]
            output = self._ask(
                "compose", *arguments, "config", "--format", "json", advice="Compose refuses the project."
            )
        merged: dict[str, Any] = json.loads(output)
        return merged

    def info(self) -> dict[str, Any]:
        """Return what `docker info` says.

        :raises HostError: if the daemon does not answer
        """
        text = self._ask("info", "--format", "{{json .}}", advice="The Docker daemon does not answer.")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _inspect(self, kind: str, *listing: str) -> list[dict[str, Any]]:
        names = self._ask(kind, "ls", "--quiet", *listing, advice=f"The {kind}s of Docker cannot be listed.").split()
        if not names:
            return []
        # One that has gone in the meantime makes the exit code 1; the others are printed all the same.
        _code, output, _error = self._run([self._docker, kind, "inspect", *names])
        answer: list[dict[str, Any]] = json.loads(output)
        return answer

    def networks(self) -> tuple[DockerNetwork, ...]:
        """Return Docker's bridge networks.

        :raises HostError: if the daemon does not answer
        """
        return tuple(
            DockerNetwork(
                network["Name"],
                (network.get("Options") or {}).get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}",
                tuple(
                    ipaddress.ip_network(entry["Subnet"], strict=False)
                    for entry in (network.get("IPAM") or {}).get("Config") or ()
                    if entry.get("Subnet")
                ),
                bool(network.get("Internal")),
            )
            for network in self._inspect("network")
        )

    def published(self) -> list[tuple[Port, str]]:
        """Return the ports that running containers publish, each with the container's Compose project (empty if none).

        :raises HostError: if the daemon does not answer
        """
        return [
            (
                Port(
                    ipaddress.ip_address(binding["HostIp"] or "0.0.0.0"),
                    int(binding["HostPort"]),
                    target.rpartition("/")[2],
                    f"container {container['Name'].lstrip('/')}",
                ),
                ((container.get("Config") or {}).get("Labels") or {}).get("com.docker.compose.project", ""),
            )
            for container in self._inspect("container")
            for target, bindings in ((container.get("NetworkSettings") or {}).get("Ports") or {}).items()
            for binding in bindings or ()
        ]


def read(
    run: Run,
    docker: Docker,
    ip: str,
    engine: str,
    project: str,
    wanted: Iterable[Port],
    trees: Iterable[str],
    single: Iterable[str],
) -> Host:
    """Return what the host has.

    :param run: runs a program
    :param docker: the host's docker command
    :param ip: path of the ip command
    :param engine: the version of the Docker Engine
    :param project: name of the Compose project, whose own ports are not in its way
    :param wanted: the ports that the project publishes
    :param trees: files and directories to look at, with everything in them
    :param single: paths to look at without what is in them, because that may be a database
    :raises HostError: if something cannot be read
    """
    info = docker.info()
    containers = docker.published()
    # what our own containers have is ours, and comes free when they are replaced
    own = [port for port, of_project in containers if of_project == project]
    others = [port for port, of_project in containers if of_project != project]
    bound = [
        replace(port, owner="a program of the host")
        for port in wanted
        if not any(clash(port, other) for other in own) and _is_bound(port)
    ]
    return Host(
        addresses=frozenset(_addresses(run, ip)),
        routes=tuple(_routes(run, ip)),
        networks=docker.networks(),
        taken=(*others, *bound),
        cpus=info.get("NCPU"),
        files=dict([*_files(single, is_deep=False), *_files(trees, is_deep=True)]),
        remapped=any("userns" in option or "rootless" in option for option in info.get("SecurityOptions") or ()),
        isolates_ipv6=version_of(engine) >= IPV6_ISOLATION,
    )


def _ip(run: Run, ip: str, *arguments: str) -> list[dict[str, Any]]:
    code, output, error = run([ip, "-json", *arguments])
    if code:
        raise HostError(f"ip {' '.join(arguments)}: {error.strip()}")
    answer: list[dict[str, Any]] = json.loads(output or "[]")
    return answer


def _addresses(run: Run, ip: str) -> Iterator[Address]:
    for interface in _ip(run, ip, "address", "show"):
        for address in interface.get("addr_info", ()):
            if "local" in address:
                yield ipaddress.ip_address(address["local"])


def _routes(run: Run, ip: str) -> Iterator[tuple[Any, str]]:
    """Destinations of the main table and of policy routing; those of loopback and of a link are nobody's."""
    for family, default in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        for route in _ip(run, ip, family, "route", "show", "table", "all"):
            if route.get("table") == "local" or route.get("type", "unicast") not in (
                "unicast",
                "blackhole",
                "unreachable",
            ):
                continue
            text = default if route["dst"] == "default" else route["dst"]
            destination = ipaddress.ip_network(text, strict=False)
            if not destination.is_link_local and not destination.is_loopback and not destination.is_multicast:
                yield destination, route.get("dev", "no device")


def _is_bound(port: Port) -> bool:
    """Whether a program has the port: the kernel says it best, because an IPv6 socket may take IPv4's port as well."""
    is_ipv6 = port.address.version == 6
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind) as one:
        if is_ipv6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that have ended take nothing
        try:
            one.bind((str(port.address), port.number))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
        return False


def _files(paths: Iterable[str], is_deep: bool) -> Iterator[tuple[str, File]]:
    for path in dict.fromkeys(paths):
        found = _file(path, path)
        if found is None:
            continue
        yield path, found
        if is_deep and found.kind == "directory":
            for folder, folders, names in os.walk(path):
                for name in [*folders, *names]:
                    below = os.path.join(folder, name)
                    entry = _file(below, path)
                    if entry is not None:
                        yield below, entry


def _file(path: str, root: str) -> File | None:
    """What the container sees there; None if there is nothing, and for a dangling link its target."""
    try:
        seen = os.stat(path)
    except OSError:
        if not os.path.islink(path):
            return None
        seen = os.lstat(path)
    outside = ""
    if path != root and os.path.islink(path):
        target = os.path.realpath(path)
        if not target.startswith(os.path.realpath(root) + "/"):
            outside = target
    kind = "directory" if stat.S_ISDIR(seen.st_mode) else "file" if stat.S_ISREG(seen.st_mode) else "other"
    return File(kind, seen.st_uid, seen.st_gid, seen.st_mode, seen.st_size, outside)
