# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what stands in the way of a Compose project on a host. `host` reads the host, this file decides."""

from __future__ import annotations

import ipaddress
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

MINIMUM_ENGINE = (20, 10)
MINIMUM_COMPOSE = (2, 18)
"""community.docker.docker_compose_v2 needs Compose 2.18.0 (its documentation says so)."""


@dataclass(frozen=True)
class File:
    """A path on the host, as lstat and stat give it.

    `kind` is `file`, `directory` or `other`; `outside` is what a symbolic link inside a mounted directory points to if
    that lies outside of it, where the container cannot follow.
    """

    kind: str
    uid: int
    gid: int
    mode: int
    size: int
    outside: str = ""


@dataclass(frozen=True)
class DockerNetwork:
    """A network that Docker has: its name, the bridge on the host, its subnets, and whether it is an internal one."""

    name: str
    bridge: str
    subnets: tuple[Network, ...]
    is_internal: bool = False


@dataclass(frozen=True)
class Port:
    """A port that somebody listens on, or shall: address of the host, number, protocol, and who."""

    address: Address
    number: int
    protocol: str
    owner: str


@dataclass(frozen=True)
class Host:
    """What `host.read` saw. `routes` are (destination, device); `taken` has the ports that programs and containers of
    other projects have; `cpus` is None where Docker did not say; `files` has every path below what is mounted;
    `remapped` says that container users are not host users (userns-remap, rootless), `isolates_ipv6` that Docker keeps
    networks apart over IPv6 as it does over IPv4.
    """

    addresses: frozenset[Address] = frozenset()
    routes: tuple[tuple[Network, str], ...] = ()
    networks: tuple[DockerNetwork, ...] = ()
    taken: tuple[Port, ...] = ()
    cpus: float | None = None
    files: Mapping[str, File] = field(default_factory=dict)
    remapped: bool = False
    isolates_ipv6: bool = True


@dataclass(frozen=True)
class Mount:
    """A path of the host that a service sees: as a secret, or as a bind mount that it may write to or not."""

    service: str
    user: str
    path: str
    is_secret: bool
    is_writable: bool


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: `v2.26.1-4` is (2, 26, 1); () if it begins with none.

    :param text: what a program says of itself
    """
    found = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def too_old(engine: str, compose: str) -> list[str]:
    """Return what is wrong with the versions of Docker.

    :param engine: version of the Docker Engine, as the daemon says it
    :param compose: version of the Compose plugin, as `docker compose version --short` says it
    """
    wanted = (("Docker Engine", engine, MINIMUM_ENGINE), ("Docker Compose", compose, MINIMUM_COMPOSE))
    return [
        f"{name} {version} is too old: {'.'.join(map(str, least))} or newer is needed."
        for name, version, least in wanted
        if version_of(version) < least
    ]


def wrong_overrides(services: Iterable[str], overrides: Mapping[str, Any]) -> list[str]:
    """Return what may not stand in a Compose file that is merged over the role's own.

    Ports are refused because Compose appends them (compose-spec, 13-merge.md): what is published is said by the role's
    variables alone. So is `network_mode`, which would take a service out of its networks.

    :param services: the services that the role's own file defines
    :param overrides: the content of the other file
    """
    known = sorted(services)
    problems = []
    for name, part in (overrides.get("services") or {}).items():
        if name not in known:
            problems.append(
                f"stack_compose_overrides: there is no service {name}; the services are {', '.join(known)}."
            )
        elif not isinstance(part, Mapping):
            problems.append(f"stack_compose_overrides: services.{name} must be a dictionary.")
        else:
            problems += [
                f"stack_compose_overrides: services.{name}.{key} is refused, because the role alone says what is"
                " published; use stack_compose_bind_addresses and the stack_compose_*_port variables."
                for key in ("ports", "network_mode")
                if key in part
            ]
    return problems


def mounts(project: Mapping[str, Any]) -> list[Mount]:
    """Return the paths of the host that services see.

    :param project: a project as `docker compose config --format json` prints it
    """
    found = []
    for name, service in project.get("services", {}).items():
        user = str(service.get("user", ""))
        for volume in service.get("volumes") or ():
            if volume["type"] == "bind":
                found.append(Mount(name, user, volume["source"], False, not volume.get("read_only", False)))
        for kind in ("secrets", "configs"):
            for used in service.get(kind) or ():
                path = project[kind][used["source"]].get("file")
                if path:
                    found.append(Mount(name, user, path, kind == "secrets", False))
    return found


def problems(
    project: Mapping[str, Any], host: Host, ours: Iterable[str], required: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return everything that would keep the project from working on the host, each with what to do.

    :param project: a project as `docker compose config --format json` prints it
    :param host: what the host has
    :param ours: paths that the role itself will write, so that they need not be there yet
    :param required: by service, files that must be there in what is mounted
    """
    return [
        *_networks(project, host),
        *_addresses(project),
        *_ports(project, host),
        *_cpus(project, host),
        *_files(project, host, frozenset(ours), required),
    ]


# -- networks ---------------------------------------------------------------------------------------------------------


def _subnets(project: Mapping[str, Any]) -> Iterator[tuple[str, str, Network]]:
    """The networks with their names in Docker and their subnets."""
    for key, network in project.get("networks", {}).items():
        for entry in (network.get("ipam") or {}).get("config") or ():
            yield key, network["name"], ipaddress.ip_network(entry["subnet"])


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _networks(project: Mapping[str, Any], host: Host) -> Iterator[str]:
    own_names = {network["name"] for network in project.get("networks", {}).values()}
    bridges = {network.bridge for network in host.networks}
    subnets = list(_subnets(project))
    if not host.isolates_ipv6 and any(subnet.version == 6 for _key, _name, subnet in subnets):
        yield (
            "This Docker does not keep networks apart over IPv6: the internal one would be open to the others. Use"
            " Docker Engine 27 or newer, or leave stack_compose_edge_subnet_ipv6 and stack_compose_data_subnet_ipv6"
            " empty."
        )
    for place, (key, name, subnet) in enumerate(subnets):
        advice = f"Choose another subnet for {key} (stack_compose_{key}_subnet)."
        for other_key, _other_name, other in subnets[place + 1 :]:
            if _overlap(subnet, other):
                yield f"The subnets of the networks {key} and {other_key} overlap: {subnet} and {other}. {advice}"
        for network in host.networks:
            # one of ours is replaced by Compose
            for other in () if network.name in own_names else network.subnets:
                if _overlap(subnet, other):
                    yield f"The subnet {subnet} of {name} overlaps Docker's network {network.name} ({other}). {advice}"
        for other, device in host.routes:
            if device not in bridges and other.prefixlen > 0 and _overlap(subnet, other):
                yield f"The subnet {subnet} of {name} overlaps the host's route to {other} over {device}. {advice}"


def outdated(project: Mapping[str, Any], host: Host) -> list[str]:
    """Return the project's networks that Docker has with other subnets, or internal where they shall not be, or not
    where they shall. Compose replaces those only from 2.3x on; older ones fail after they have begun (2.26 measured).

    :param project: a project as `docker compose config --format json` prints it
    :param host: what the host has
    """
    wanted = {
        network["name"]: (
            {subnet for _key, name, subnet in _subnets(project) if name == network["name"]},
            bool(network.get("internal")),
        )
        for network in project.get("networks", {}).values()
    }
    return sorted(
        network.name
        for network in host.networks
        if network.name in wanted and (set(network.subnets), network.is_internal) != wanted[network.name]
    )


def _addresses(project: Mapping[str, Any]) -> Iterator[str]:
    subnets: dict[str, list[Network]] = {}
    for key, _name, subnet in _subnets(project):
        subnets.setdefault(key, []).append(subnet)
    taken: dict[tuple[str, Address], str] = {}
    for service, definition in project.get("services", {}).items():
        for key, attached in (definition.get("networks") or {}).items():
            for text in filter(None, ((attached or {}).get("ipv4_address"), (attached or {}).get("ipv6_address"))):
                try:
                    address = ipaddress.ip_address(text)
                except ValueError:
                    yield f"Service {service}: {text!r} is not an address (stack_compose_addresses)."
                    continue
                where = f"Service {service}: the address {address} in the network {key}"
                inside = [subnet for subnet in subnets.get(key, ()) if address in subnet]
                if not inside:
                    said = " and ".join(map(str, subnets.get(key, ())))
                    yield f"{where} lies outside of its subnet {said}. Correct stack_compose_addresses or the subnet."
                elif address in _reserved(inside[0]):
                    yield f"{where} is the network's own, its gateway's or its broadcast address. Choose another one."
                elif (key, address) in taken:
                    yield f"{where} is the one of service {taken[key, address]} as well. Choose another one."
                else:
                    taken[key, address] = service


def _reserved(subnet: Network) -> set[Address]:
    """The network's address, its gateway (the role makes that the first host) and the broadcast address."""
    return {subnet[0], subnet[1], subnet[-1]}


# -- ports ------------------------------------------------------------------------------------------------------------


def published(project: Mapping[str, Any]) -> list[Port]:
    """Return the ports that a project publishes on the host.

    :param project: a project as `docker compose config --format json` prints it
    """
    return [
        Port(
            ipaddress.ip_address(port.get("host_ip") or "0.0.0.0"),
            int(port["published"]),
            port.get("protocol", "tcp"),
            f"service {name}",
        )
        for name, service in project.get("services", {}).items()
        for port in service.get("ports") or ()
        if port.get("published")
    ]


def clash(one: Port, other: Port) -> bool:
    """Return whether two cannot both have it. A wildcard takes the port on every address of its family; Docker binds
    those of IPv6 as IPv6 alone.

    :param one: a port
    :param other: another one
    """
    if (one.number, one.protocol, one.address.version) != (other.number, other.protocol, other.address.version):
        return False
    return one.address == other.address or one.address.is_unspecified or other.address.is_unspecified


def _ports(project: Mapping[str, Any], host: Host) -> Iterator[str]:
    ports = published(project)
    for address in sorted({port.address for port in ports}, key=str):
        if not address.is_unspecified and address not in host.addresses:
            has = ", ".join(sorted(map(str, host.addresses)))
            yield f"The address {address} of stack_compose_bind_addresses is not on this host, which has {has}."
    for place, port in enumerate(ports):
        for other in ports[place + 1 :]:
            if clash(port, other):
                yield (
                    f"Port {port.number}/{port.protocol} of {port.address} is published twice: by {port.owner} and by"
                    f" {other.owner}. Give one another stack_compose_*_port."
                )
        # one line for a port, however many sockets take it
        taken = sorted({other.owner for other in host.taken if clash(port, other)})
        if taken:
            yield (
                f"Port {port.number}/{port.protocol} of {port.address}, for {port.owner}, is taken already by"
                f" {', '.join(taken)}. Stop that, or choose another stack_compose_*_port."
            )


def _cpus(project: Mapping[str, Any], host: Host) -> Iterator[str]:
    """Docker refuses to start a container with more CPUs than there are."""
    for name, service in project.get("services", {}).items():
        wanted = float(service.get("cpus") or 0)
        if host.cpus is not None and wanted > host.cpus:
            yield (
                f"Service {name} may use {wanted:g} CPUs, but the host has {host.cpus:g}, and Docker refuses that."
                " Lower its stack_compose_*_cpus."
            )


# -- files ------------------------------------------------------------------------------------------------------------


def _files(
    project: Mapping[str, Any], host: Host, ours: frozenset[str], required: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    for mount in mounts(project):
        if mount.path in ours:
            continue
        what = "secret" if mount.is_secret else "path"
        where = f"Service {mount.service}: the {what} {mount.path}"
        root = host.files.get(mount.path)
        if root is None:
            yield f"{where} does not exist."
        elif mount.is_writable:
            if not host.remapped and not _allows(root, mount.user, 0o2):
                yield f"{where} must be writable for {_who(mount.user)}, but is {_mode(root)}."
        else:
            if mount.is_secret:
                yield from _bad_secret(where, root)
            if not host.remapped:
                yield from _unreadable(mount, where, host)
    for service, paths in required.items():
        for path in paths:
            found = host.files.get(path)
            if found is None:
                yield f"Service {service}: the file {path} does not exist."
            elif found.kind != "file" or not found.size:
                yield f"Service {service}: {path} must be a file that is not empty."


def _bad_secret(where: str, file: File) -> Iterator[str]:
    if file.kind != "file":
        yield f"{where} must be a file."
    elif not file.size:
        yield f"{where} is empty."
    if file.mode & 0o007:
        mode = f"{stat.S_IMODE(file.mode):04o}"
        yield f"{where} is open to every user of the host (mode {mode}). Take that away: chmod o-rwx."


def _unreadable(mount: Mount, where: str, host: Host) -> Iterator[str]:
    """A container without capabilities reads what its user may read; the directories above are not looked at by the
    kernel, because the mount begins at the path.
    """
    for path, file in host.files.items():
        if path != mount.path and not path.startswith(mount.path.rstrip("/") + "/"):
            continue
        here = where if path == mount.path else f"Service {mount.service}: {path}"
        if file.outside:
            yield (
                f"{here} is a symbolic link to {file.outside}, outside of the mounted directory, where the container"
                " cannot follow it. Put a copy there."
            )
        elif not _allows(file, mount.user, 0o5 if file.kind == "directory" else 0o4):
            yield (
                f"{here} must be readable for {_who(mount.user)}, but is {_mode(file)}."
                f" For example: chown {mount.user or '0'} and chmod {'0500' if file.kind == 'directory' else '0400'}."
            )


def _allows(file: File, user: str, wanted: int) -> bool:
    """Whether the user may do this, by owner, group or others, as the kernel decides it."""
    uid, _colon, gid = user.partition(":")
    if not uid.isdigit():
        return True  # a name, which only the image knows
    if int(uid) == file.uid:
        return file.mode >> 6 & wanted == wanted
    if gid.isdigit() and int(gid) == file.gid:
        return file.mode >> 3 & wanted == wanted
    return file.mode & wanted == wanted


def _who(user: str) -> str:
    return f"the container's user {user or '0'}"


def _mode(file: File) -> str:
    return f"owned by {file.uid}:{file.gid} with mode {stat.S_IMODE(file.mode):04o}"
