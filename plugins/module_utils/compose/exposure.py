# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: which ports of a project can be reached from where."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import Port
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import Entry, Project, Service


def reach(host_ip: str) -> str:
    """Return who reaches a port published on this address: "all" (any address of the host), "address" (this one), or
    "loopback" (the host itself; before Docker 28, also neighbours that route to 127.0.0.1 through it).
    """
    if not host_ip or ipaddress.ip_address(host_ip).is_unspecified:
        return "all"
    return "loopback" if ipaddress.ip_address(host_ip).is_loopback else "address"


def published(service: Service, there: Callable[[Entry], bool]) -> list[tuple[Port, Entry]]:
    """Return the ports that Compose would publish; of two with the same key the later one counts.

    :param there: whether an entry counts
    """
    found: dict[tuple[str, str, int, str], tuple[Port, Entry]] = {}
    for entry in filter(there, service.entries):
        for port in entry.ports:
            found[port.key] = (port, entry)
    return list(found.values())


def exposed(project: Project, there: Callable[[Entry], bool] | None = None) -> list[dict[str, Any]]:
    """Return what is exposed to whom, one item for each port, and one for each service on the host's own network.

    :param there: whether an entry counts; by default, all that are not comments
    """
    out: list[dict[str, Any]] = []
    for service in project.services.values():
        out += _of(service, _sharing(service, project.services.values()), there or (lambda entry: not entry.removed))
    return out


def _sharing(service: Service, services: Iterable[Service]) -> list[str]:
    """The services in the network of this one: what it publishes may be theirs."""
    return [one.name for one in services if one.network_mode == f"service:{service.name}"]


def _of(service: Service, sharing: list[str], there: Callable[[Entry], bool]) -> list[dict[str, Any]]:
    common = {"service": service.name, "network_mode": service.network_mode or None, "shared_with": sharing}
    if service.network_mode == "host":
        # Docker discards the ports of such a service: whatever listens, listens on the host.
        nothing = dict.fromkeys(("target", "published", "protocol", "host_ip", "mode"))
        return [{**common, **nothing, "reach": "all", "where": service.where}]
    return [
        {
            **common,
            "target": port.target,
            "published": port.published or None,
            "protocol": port.protocol,
            "host_ip": port.host_ip or None,
            "mode": port.mode,
            "reach": reach(port.host_ip),
            "where": entry.where,
        }
        for port, entry in published(service, there)
    ]


def notes(project: Project) -> list[str]:
    """Return what trimming cannot help with."""
    return [
        f"The service {service.name} ({service.where}) has network_mode host: all ports it listens on are the host's, "
        "whatever is published. Only a firewall, or another network_mode, closes them."
        for service in project.services.values()
        if service.network_mode == "host"
    ]
