# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: which certificates a host shall have: ClickStack's services and clients, as the variables ask for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_tls.names import WrongName, name_of

SERVER, CLIENT = "serverAuth", "clientAuth"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Where the health checks of the images connect to."""


@dataclass(frozen=True)
class Service:
    """What is known of a service of ClickStack: its user in the container (uid:gid), its names in the Compose file,
    what
    its certificate is for, and the file with key and chain together, if it wants one.
    """

    user_id: str
    names: tuple[str, ...]
    usages: tuple[str, ...] = (SERVER,)
    pem: str = ""


SERVICES: Mapping[str, Service] = {
    "proxy": Service("1000:1000", ("proxy",)),
    # HyperDX speaks no TLS as a server; as a client it can show the certificate.
    "app": Service("1000:1000", ("app",), (SERVER, CLIENT)),
    "otel": Service("10001:10001", ("otel-collector",)),
    "clickhouse": Service("101:101", ("ch-server", "clickhouse")),
    # Members of a replica set show it to each other, so it must be good for both (MongoDB manual, configure-ssl).
    "mongodb": Service("999:999", ("db", "mongodb"), (SERVER, CLIENT), "mongodb.pem"),
}


@dataclass(frozen=True)
class Wanted:
    """A certificate that shall be on the host.

    `path` is its directory below the role's, `ca`, `provided` or `acme` its source; `names` are `DNS:` and `IP:`; of
    the subject, the unit tells MongoDB's members from its clients: O, OU and DC of a client must not be a member's.
    """

    name: str
    path: str
    source: str
    uid: int
    gid: int
    common_name: str
    unit: str
    names: tuple[str, ...]
    usages: tuple[str, ...]
    pem: str
    reload: tuple[str, ...]

    @property
    def is_public_face(self) -> bool:
        """Whether only browsers connect to it, so that nobody in the stack has to trust its authority."""
        return self.path == "proxy"


def resolve(
    services: Sequence[Mapping[str, Any]],
    clients: Sequence[Mapping[str, Any]],
    host_names: Sequence[str],
    container_addresses: Mapping[str, Sequence[str]],
    acme_wildcards: bool,
) -> tuple[list[Wanted], list[str]]:
    """Return the certificates that are asked for, and what is wrong with how they are.

    :param services: entries of stack_tls_services; what is omitted is None
    :param clients: entries of stack_tls_clients
    :param host_names: names and addresses of the host
    :param container_addresses: by service
    :param acme_wildcards: whether the challenge that is used allows names such as `*.example.com`
    """
    wanted: list[Wanted] = []
    problems: list[str] = []
    for entry in services:
        problem, one = _service(entry, host_names, container_addresses, acme_wildcards)
        problems += problem
        wanted += one
    for entry in clients:
        problem, one = _client(entry)
        problems += problem
        wanted += one
    paths = [one.path for one in wanted]
    problems += [f"{path}: it is named twice." for path in sorted({path for path in paths if paths.count(path) > 1})]
    return wanted, problems


def _service(
    entry: Mapping[str, Any],
    host_names: Sequence[str],
    container_addresses: Mapping[str, Sequence[str]],
    acme_wildcards: bool,
) -> tuple[list[str], list[Wanted]]:
    name = entry["name"]
    where = f"stack_tls_services: {name}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in ("clients", "acme"):
        return [f"{where}: this cannot be a directory's name. Use small letters, digits, - and _."], []
    known = SERVICES.get(name)
    if not known:
        if not entry.get("user_id") or not entry.get("names"):
            return [
                f"{where}: there is no such service; those of ClickStack are {', '.join(SERVICES)}. For one of your"
                " own say user_id and names."
            ], []
        known = Service(entry["user_id"], ())
    problems, own = _names(where, entry.get("names") or ())
    source = entry.get("source") or "ca"
    if source == "ca":
        more, shared = _names(where, (*known.names, *LOOPBACK, *container_addresses.get(name, ()), *host_names))
        problems += more
        own = [*shared, *own]
    elif source == "provided":
        if not own and name == "proxy":
            problems.append(
                f"{where}: say in names under which names it is opened, or nobody notices a wrong certificate."
            )
        own = own or [name_of(known.names[0])]
        problems += _provided(where, entry)
    else:
        problems += _acme(where, own, acme_wildcards)
    brought = [key for key in _BROUGHT if entry.get(key)]
    if source != "provided" and brought:
        problems.append(f"{where}: {', '.join(brought)} is for the source provided, but the source is {source}.")
    problem, ids = _ids(where, entry.get("user_id") or known.user_id)
    problems += problem
    pem = known.pem if entry.get("pem") is None else entry["pem"]
    problems += _pem(where, pem)
    usages = tuple(entry.get("usages") or known.usages)
    if SERVER not in usages:
        problems.append(f"{where}: usages must have {SERVER}.")
    return problems, [
        Wanted(
            name,
            name,
            source,
            *ids,
            (known.names or (name,))[0],
            name,
            tuple(dict.fromkeys(own)),
            tuple(dict.fromkeys(usages)),
            pem,
            tuple(entry.get("reload") or ()),
        )
    ]


_BROUGHT = ("certificate", "certificate_file", "key", "key_file", "authority", "authority_file")


def _provided(where: str, entry: Mapping[str, Any]) -> list[str]:
    problems = []
    for what in ("certificate", "key", "authority"):
        given = [option for option in (what, f"{what}_file") if entry.get(option)]
        if len(given) > 1:
            problems.append(f"{where}: {what} and {what}_file are both there. Leave one out.")
        # the authority of a public certificate is known to every browser
        elif not given and not (what == "authority" and entry["name"] == "proxy"):
            problems.append(f"{where}: a certificate that is brought needs {what}_file (on the host), or {what}.")
    return problems


def _acme(where: str, names: Sequence[str], wildcards: bool) -> list[str]:
    if not names:
        return [f"{where}: say in names what the certificate by ACME shall be for."]
    problems = []
    for name in names:
        kind, _colon, text = name.partition(":")
        if kind != "DNS" or "." not in text:
            problems.append(f"{where}: {text} is no public name, so nobody gives a certificate for it by ACME.")
        elif text.startswith("*.") and not wildcards:
            problems.append(f"{where}: {text} needs the challenge dns-01 (stack_tls_acme_challenge).")
    return problems


def _client(entry: Mapping[str, Any]) -> tuple[list[str], list[Wanted]]:
    name = entry["name"]
    where = f"stack_tls_clients: {name}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        return [f"{where}: this cannot be a directory's name. Use small letters, digits, - and _."], []
    common_name = entry.get("common_name") or name
    problems, names = _names(where, entry.get("names") or ())
    if len(common_name) > 64:
        problems.append(f"{where}: common_name has more than 64 letters, which X.509 does not allow.")
    problem, ids = _ids(where, entry.get("user_id") or "0:0")
    pem = entry.get("pem") or ""
    problems += problem + _pem(where, pem)
    return problems, [
        Wanted(
            f"client {name}",
            f"clients/{name}",
            "ca",
            *ids,
            common_name,
            "clients",
            tuple(dict.fromkeys(names)),
            (CLIENT,),
            pem,
            tuple(entry.get("reload") or ()),
        )
    ]


def _names(where: str, texts: Iterable[str]) -> tuple[list[str], list[str]]:
    problems, names = [], []
    for text in texts:
        try:
            names.append(name_of(text))
        except WrongName as wrong:
            problems.append(f"{where}: {wrong}.")
    return problems, names


def _ids(where: str, text: str) -> tuple[list[str], tuple[int, int]]:
    if not re.fullmatch(r"[0-9]+:[0-9]+", text):
        return [f"{where}: user_id must be numbers, uid:gid, because only the image knows names."], (0, 0)
    uid, gid = text.split(":")
    return [], (int(uid), int(gid))


def _pem(where: str, name: str) -> list[str]:
    if name and (not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in ("tls.crt", "tls.key", "ca.crt")):
        return [f"{where}: pem is the name of a file, and none of tls.crt, tls.key and ca.crt."]
    return []
