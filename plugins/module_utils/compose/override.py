# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: one more Compose file on top of a project whose files stay as they are, with the ports that rules leave.

Compose appends the ports of a later file to those of an earlier one, unless the later one says `!override` (only
these) or `!reset` (none); see "Merge" in the Compose file reference of docs.docker.com. Docker Compose merges the
file last, after `extends`, `include` and merge keys, so no line of it is shared by services.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Final

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import exposure
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import (
    ComposeError,
    Node,
    commented,
    marker,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.interpolation import (
    VariableError,
    interpolate,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import (
    NO_TEXT,
    Port,
    PortError,
    rebound,
    short,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import (
    Entry,
    Files,
    Overlay,
    Project,
    Service,
    compose_files,
    load,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import Decision, Rule, decide
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.trim import Trim, checked, publishes, wanted

NEEDS: Final = (2, 24, 4)
"""The first Docker Compose that knows `!override` (docs.docker.com, Compose file reference, "Merge")."""
WRITTEN_BY: Final = "# Written by hardened.clickstack.compose_ports"
_HEADER: Final = (
    f"{WRITTEN_BY}, and replaced by its next run: change the rules of the task, not this file.\n"
    f"# Docker Compose {'.'.join(map(str, NEEDS))} or newer must read it last. The ports here stand for all ports "
    "of their service in other files.\n"
)
_INDENT: Final = " " * 6


@dataclass(frozen=True)
class Place:
    """An override file among the files of a project.

    :param path: the override file
    :param base: the files that it overrides, the base first
    :param by_default: whether Docker Compose reads all of them, this one last, without being told which
    :param listed: whether it is among the files that the operator named, or else among those that Docker Compose finds
    """

    path: str
    base: tuple[str, ...]
    by_default: bool
    listed: bool

    def result(self, directory: str, environment: Mapping[str, str]) -> dict[str, Any]:
        """Return where the file is and how Docker Compose, run in the project directory, comes to read it.

        :param environment: the variables that count; COMPOSE_PATH_SEPARATOR may be one
        """
        separator = environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep
        return {
            "path": self.path,
            "read_by_default": self.by_default,
            "compose_file": separator.join(os.path.relpath(path, directory) for path in [*self.base, self.path]),
        }

    def notes(self, directory: str, environment: Mapping[str, str]) -> list[str]:
        """Return what the operator has to do, if nothing says that Docker Compose shall read the file."""
        if self.by_default or self.listed:
            return []
        return [
            f"Docker Compose does not read {self.path} by itself. Name it last, by "
            f"COMPOSE_FILE={self.result(directory, environment)['compose_file']} or by --file; until then, the ports "
            "are those of the other files."
        ]


def place(
    directory: str, names: Sequence[str] | None, environment: Mapping[str, str], files: Files, path: str
) -> Place:
    """Return where an override file stands among the files of a project; it need not be there yet.

    :param directory: the project directory
    :param names: the files that the operator named; none for those that Docker Compose finds
    :param environment: the variables that count
    :param path: the override file
    :raises ComposeError: if files are missing, if it is not the last of them or the only one, if its name keeps
        Docker Compose from another override file, or if somebody else wrote it
    """
    if files.exists(path) and not files.read(path).startswith(WRITTEN_BY):
        raise ComposeError(
            f"{path}:1: compose_ports did not write this file, so it does not replace it; give override_file another "
            "name, or move the file away"
        )
    real = files.real(path)
    there = Overlay(files, {real: ""})
    listed = compose_files(directory, names, environment, there)
    base = [name for name in listed if files.real(name) != real]
    if names is None and not environment.get("COMPOSE_FILE"):
        without = compose_files(directory, None, environment, Overlay(files, {real: None}))
        if without != base:
            raise ComposeError(
                f"override_file: by its name, Docker Compose would read {path} instead of {without[-1]}; give it "
                "another name, and name all files in COMPOSE_FILE"
            )
    if not base:
        raise ComposeError(f"override_file: {path} is the project's only Compose file; there is nothing to override")
    if len(base) < len(listed) and files.real(listed[-1]) != real:
        raise ComposeError(
            f"override_file: {path} must be the last of the project's files, or ports of {listed[-1]} come on top of it"
        )
    try:
        found = compose_files(directory, None, environment, there)
    except ComposeError:
        found = []
    by_default = [files.real(name) for name in found] == [files.real(name) for name in [*base, path]]
    return Place(path, tuple(base), by_default, len(base) < len(listed))


def override(
    directory: str,
    where: Place,
    environment: Mapping[str, str],
    files: Files,
    rules: Sequence[Rule],
    default: Decision,
    deletes: bool = False,
) -> Trim:
    """Return what an override file by rules comes to; nothing is written.

    Rules are judged against the other files. The file is there afterwards even if it overrides nothing, because
    COMPOSE_FILE may name it.

    :param directory: the project directory
    :param environment: the variables that count
    :param deletes: whether nothing is said of removed ports, rather than a comment
    :raises ComposeError: for what cannot be read, with file and line
    :raises RulesError: for rules that cannot be followed
    """
    project = load(directory, where.base, environment, files)
    real = files.real(where.path)
    if real in project.documents:
        raise ComposeError(f"override_file: {where.path} is included or extended by the project's other files")
    apart = unshared(project)
    decisions = decide(apart, rules, default)
    before = {path: document.current for path, document in project.documents.items()}
    after = {**before, real: override_text(apart, decisions, environment, deletes)}
    if files.exists(where.path):
        before[real] = files.read(where.path)
    paths = [*where.base, where.path]
    result = checked(directory, paths, environment, Overlay(files, after), wanted(apart, decisions))
    exposed, notes = exposure.exposed(project), exposure.notes(project)
    exposed_before = exposed
    if real in before:
        try:
            exposed_before = exposure.exposed(load(directory, paths, environment, files))
        except ComposeError as error:
            notes.append(f"The override file cannot be read ({error}); what was exposed is told without it.")
    return Trim(before, after, paths, exposed, exposed_before, exposure.exposed(result), notes)


def unshared(project: Project) -> Project:
    """Return a project in which each port is an entry of its own that shares nothing with others.

    So rules can treat the ports of a range, and the services that share a line, each apart.
    """
    services = {
        service.name: replace(
            service,
            entries=[
                replace(entry, use=replace(entry.use, node=replace(entry.use.node)), ports=(port,))
                for entry in service.entries
                for port in entry.ports
            ],
        )
        for service in project.services.values()
    }
    return replace(project, services=services)


def override_text(
    project: Project, decisions: Mapping[Entry, Decision], environment: Mapping[str, str], deletes: bool = False
) -> str:
    """Return the text of an override file: the services whose ports differ afterwards, with all ports they keep.

    :param project: the project without the file, as `unshared` gives it
    :param decisions: what happens to its entries
    :param environment: the variables that count in the file
    :param deletes: whether nothing is said of removed ports
    """
    now, then = publishes(project), wanted(project, decisions)
    lines = [
        line
        for service in project.services.values()
        if now[service.name] != then[service.name]
        for line in _service(service, decisions, environment, deletes)
    ]
    body = "".join(f"{line}\n" for line in ["services:", *lines]) if lines else "services: {}\n"
    return _HEADER + body


def _service(
    service: Service, decisions: Mapping[Entry, Decision], environment: Mapping[str, str], deletes: bool
) -> Iterator[str]:
    """The lines of a service."""
    plain = re.fullmatch(r"[A-Za-z][\w.-]*", service.name) and not NO_TEXT.fullmatch(service.name)
    yield f"  {service.name if plain else json.dumps(service.name)}:"
    kept = any(decisions[entry].action != "remove" for entry in service.entries)
    yield "    ports: " + ("!override" if kept else "!reset []")
    for entry, what in _together(service, decisions):
        lines = [_INDENT + line for line in _item(entry, what, environment)]
        if what.action != "remove":
            yield from lines
        elif not deletes and not entry.removed:
            yield marker(_INDENT, len(lines), what.reason)
            yield from (commented(line, len(_INDENT)) for line in lines)


def _together(service: Service, decisions: Mapping[Entry, Decision]) -> Iterator[tuple[Entry, Decision]]:
    """The entries as they are written, as far as the same happens to all of their ports."""
    for _key, group in groupby(service.entries, lambda one: (id(one.document), one.use.start, decisions[one])):
        entries = list(group)
        yield replace(entries[0], ports=tuple(one.ports[0] for one in entries)), decisions[entries[0]]


# -- entries ---------------------------------------------------------------------------------------------------------


def _item(entry: Entry, what: Decision, environment: Mapping[str, str]) -> list[str]:
    """An entry as lines of a list, on its new address if it gets one, with its variables if they say the same here.

    In another file they may not: an included file has variables of its own, rules may divide a range, and a variable
    that holds an address cannot be given another.
    """
    if entry.use.node.kind == "mapping":
        first, *others = _long(entry, what.address, environment)
        return [f"- {first}", *(f"  {line}" for line in others)]
    ports = tuple(replace(port, host_ip=what.address) if what.address else port for port in entry.ports)
    text = rebound(entry.use.node.value, what.address) if what.address else entry.use.node.value
    texts = [text] if _reads(text, environment) == ports else [_short(port) for port in ports]
    return [f"- {json.dumps(text, ensure_ascii=False)}" for text in texts]


def _reads(text: str, environment: Mapping[str, str]) -> tuple[Port, ...]:
    """What a short entry publishes; nothing if it cannot be read."""
    try:
        return short(interpolate(text, environment))
    except (PortError, VariableError):
        return ()


def _short(port: Port) -> str:
    """A port in the short syntax, without variables."""
    text = f"{port.published}:{port.container}" if port.published else port.container
    return rebound(text, port.host_ip) if port.host_ip else text


def _long(entry: Entry, host_ip: str, environment: Mapping[str, str]) -> list[str]:
    """The keys of a long entry; what its merge keys bring is among them, and x- extensions are not."""
    keys = {
        key: _value(use.node, entry.environment, environment)
        for key, use in entry.document.members(entry.use.node)
        if not key.startswith("x-")
    }
    if host_ip:
        keys["host_ip"] = json.dumps(host_ip)
    return [f"{key}: {value}" for key, value in keys.items()]


def _value(node: Node, theirs: Mapping[str, str], environment: Mapping[str, str]) -> str:
    """A value of a long entry as YAML: as it is written if it says the same here."""
    meant = interpolate(node.value, theirs)
    try:
        same = interpolate(node.value, environment) == meant
    except VariableError:
        same = False
    if same and (node.tag.endswith(":int") or not (node.style or node.tag)):
        return node.value  # a number stays one
    return json.dumps(node.value if same else meant.replace("$", "$$"), ensure_ascii=False)
