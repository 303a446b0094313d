# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose project: which services its files make together, and which lines publish their ports.

Files are put together as Docker Compose does it (compose-spec, "Merge", "Include" and "extends"): ports of a later
file are appended to those of an earlier one, unless it says `!override` or `!reset`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import ports as ports_of
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import (
    ComposeError,
    Document,
    Node,
    Removed,
    Use,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.interpolation import (
    VariableError,
    env_file,
    interpolate,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import Port, PortError

COMPOSE_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_FILES: Final = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
"""What Docker Compose looks for, the preferred first (compose-go, cli/options.go)."""
_TEXT_TAGS: Final = ("", "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:int")
_DROP, _REPLACE = "!reset", "!override"


class Files(Protocol):
    """The file system, as far as a project needs it."""

    def read(self, path: str) -> str:
        """Return the text of a file, its line breaks as they are.

        :raises ComposeError: if it cannot be read
        """

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""

    def real(self, path: str) -> str:
        """Return the path without symbolic links."""


class Overlay:
    """A file system with some files as they will be.

    :param files: the file system below
    :param texts: the text of files by their real paths, whether they are there or not; none for one that is not there
    """

    def __init__(self, files: Files, texts: Mapping[str, str | None]) -> None:
        self.files = files
        self.texts = texts

    def read(self, path: str) -> str:
        """Return the text of a file.

        :raises ComposeError: if it cannot be read
        """
        text = self.texts.get(self.files.real(path))
        return self.files.read(path) if text is None else text

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        real = self.files.real(path)
        return self.texts[real] is not None if real in self.texts else self.files.exists(path)

    def real(self, path: str) -> str:
        """Return the path without symbolic links."""
        return self.files.real(path)


@dataclass(eq=False)
class Entry:
    """One entry of a service's ports.

    :param sequence: the list it stands in
    :param use: where it stands
    :param ports: what it publishes
    :param environment: the variables that count in it
    """

    document: Document
    sequence: Node
    use: Use
    ports: tuple[Port, ...]
    environment: Mapping[str, str]

    @property
    def where(self) -> str:
        """The entry's file:line."""
        return self.document.where(self.use.start)

    @property
    def removed(self) -> Removed | None:
        """What compose_ports said when it made a comment of the entry; nothing if it is no comment."""
        return self.document.removed_at(self.sequence, self.use)


@dataclass
class Service:
    """A service as the files together make it.

    :param where: file:line of where it is first named
    :param network_mode: as it is written; empty if it is not
    """

    name: str
    where: str
    entries: list[Entry] = field(default_factory=list)
    network_mode: str = ""


@dataclass
class Project:
    """The services, and the documents they come from by their real paths, in the order in which they are read."""

    services: dict[str, Service]
    documents: dict[str, Document]


def compose_files(
    directory: str, names: Sequence[str] | None, environment: Mapping[str, str], files: Files
) -> list[str]:
    """Return the project's own Compose files, the base first.

    :param names: the files that the operator named; none for those that Docker Compose finds, by COMPOSE_FILE or by
        their names
    :raises ComposeError: if there is none, or one of them is not there
    """
    if names is None and environment.get("COMPOSE_FILE"):
        names = environment["COMPOSE_FILE"].split(environment.get("COMPOSE_PATH_SEPARATOR") or os.pathsep)
    if names is not None:
        if not names:
            raise ComposeError("files: an empty list names no Compose file; leave it out for the usual ones")
        paths = [os.path.join(directory, name) for name in names]
        for path in paths:
            if not files.exists(path):
                raise ComposeError(f"{path}: there is no such file")
        return paths
    found = [_first(directory, candidates, files) for candidates in (COMPOSE_FILES, OVERRIDE_FILES)]
    if not found[0]:
        raise ComposeError(f"{directory}: there is no Compose file: none of {', '.join(COMPOSE_FILES)}")
    return [path for path in found if path]


def _first(directory: str, names: Sequence[str], files: Files) -> str:
    paths = (os.path.join(directory, name) for name in names)
    return next((path for path in paths if files.exists(path)), "")


def read_environment(
    directory: str, names: Sequence[str] | None, first: Mapping[str, str], files: Files
) -> dict[str, str]:
    """Return the variables of environment files, a later file's before an earlier one's.

    :param names: the files; none for .env in the directory, if it is there
    :param first: the variables that count before those of any file
    :raises ComposeError: for a file that is not there or sets nothing, with its line
    """
    found: dict[str, str] = {}
    if names is None:
        names = [".env"] if files.exists(os.path.join(directory, ".env")) else []
    for name in names:
        path = os.path.join(directory, name)
        if not files.exists(path):
            raise ComposeError(f"{path}: there is no such environment file")
        try:
            found.update(env_file(files.read(path), {**found, **first}))
        except VariableError as error:
            raise ComposeError(f"{path}: {error}") from None
    return {**found, **first}


def load(directory: str, paths: Sequence[str], environment: Mapping[str, str], files: Files) -> Project:
    """Return the project that these files make together.

    :param directory: the project directory, which relative paths of the files begin at
    :param environment: the variables that count
    :raises ComposeError: for what is not YAML, not a Compose file, or a port that cannot be; with file and line
    """
    loader = _Loader(files)
    services = loader.services(_Scope(directory, environment, ()), paths)
    return Project(services, loader.documents)


@dataclass(frozen=True)
class _Scope:
    """What paths and variables in a file mean.

    :param reading: the files whose `include` led here
    """

    directory: str
    environment: Mapping[str, str]
    reading: tuple[str, ...]

    def path(self, document: Document, use: Use, text: str) -> str:
        if "://" in text or text.startswith(("git@", "github.com/")):
            raise document.error(use.start, f"{text} is not on this machine, so its ports cannot be trimmed")
        return os.path.normpath(os.path.join(self.directory, text))


class _Loader:
    def __init__(self, files: Files) -> None:
        self.files = files
        self.documents: dict[str, Document] = {}

    def services(self, scope: _Scope, paths: Sequence[str]) -> dict[str, Service]:
        """The services of several files; each document of a file is merged like a file of its own."""
        merged: dict[str, Service] = {}
        for path in paths:
            document = self.document(path)
            if not document.roots:
                raise ComposeError(f"{path}: the file is empty")
            for root in document.roots:
                if root.node.kind != "mapping":
                    raise document.error(root.start, "a Compose file is a mapping")
                own = _Root(self, document, root.node, scope, path)
                for name, layer in own.layers().items():
                    found = layer.onto(merged.get(name))
                    if found is None:
                        merged.pop(name, None)
                    else:
                        merged[name] = found
        return merged

    def document(self, path: str) -> Document:
        real = self.files.real(path)
        if real not in self.documents:
            if not self.files.exists(path):
                raise ComposeError(f"{path}: there is no such file")
            self.documents[real] = Document(path, self.files.read(path))
        return self.documents[real]


@dataclass
class _Layer:
    """What one document says about a service.

    :param how: the tag of the service, which may drop or replace what earlier files said
    :param ports_how: the same of its ports
    """

    name: str
    where: str
    how: str = ""
    ports_how: str = ""
    entries: list[Entry] = field(default_factory=list)
    network_mode: str | None = None

    def onto(self, base: Service | None) -> Service | None:
        """The service with this said on top of what was said before."""
        if self.how == _DROP:
            return None
        if base is None or self.how == _REPLACE:
            base = Service(self.name, self.where)
        kept = [] if self.ports_how in (_DROP, _REPLACE) else base.entries
        mode = base.network_mode if self.network_mode is None else self.network_mode
        return replace(base, name=self.name, entries=[*kept, *self.entries], network_mode=mode)


class _Root:
    """One document of a Compose file."""

    def __init__(self, loader: _Loader, document: Document, root: Node, scope: _Scope, path: str) -> None:
        self.loader = loader
        self.document = document
        self.root = root
        self.scope = scope
        self.path = path
        section = document.lookup(root, "services")
        if section and section.node.kind != "mapping":
            raise document.error(section.start, "services must be a mapping")
        self.section = dict(document.members(section.node)) if section else {}

    def layers(self) -> dict[str, _Layer]:
        """What this document says about services, those of included files among them."""
        found = {name: self.layer(name, ()) for name in self.section}
        for service, at in self._included():
            known = found.get(service.name)
            included = _Layer(service.name, service.where, "", "", service.entries, service.network_mode)
            if known and {port for entry in known.entries for port in entry.ports} != {
                port for entry in included.entries for port in entry.ports
            }:
                raise self.document.error(
                    at.start,
                    f"the service {service.name} is in the included file ({service.where}) and in this project",
                )
            found.setdefault(service.name, included)
        return found

    # -- services ----------------------------------------------------------------------------------------------------

    def layer(self, name: str, extending: tuple[tuple[str, str], ...]) -> _Layer:
        """What the document says about one service, with what the service extends."""
        use = self.section[name]
        document, node = self.document, use.node
        layer = _Layer(name, document.where(use.start), node.tag if node.tag in (_DROP, _REPLACE) else "")
        if layer.how == _DROP:
            return layer
        if _is_null(node):
            return layer  # a file on top of others may say nothing about a service
        if node.kind != "mapping":
            raise document.error(use.start, f"the service {name} must be a mapping")
        mode = document.lookup(node, "network_mode")
        if mode:
            layer.network_mode = "" if mode.node.tag == _DROP else self._text(mode)
        ports = document.lookup(node, "ports")
        if ports:
            layer.ports_how = ports.node.tag if ports.node.tag in (_DROP, _REPLACE) else ""
            layer.entries = [] if layer.ports_how == _DROP else list(self._entries(name, ports))
        extends = document.lookup(node, "extends")
        if extends and extends.node.tag != _DROP:
            base = self._base(name, extends, ((self.path, name), *extending))
            if ports and layer.ports_how and base and base.entries and extending and extending[0][0] == self.path:
                # compose-go applies the tag only if it comes across this service before the one that extends it,
                # and it goes through services in random order (loader/extends.go)
                raise document.error(
                    ports.start,
                    f"{layer.ports_how} in a service that extends {base.name} and is extended by {extending[0][1]}: "
                    f"Docker Compose reads this differently from run to run; write what {extending[0][1]} extends "
                    "without it",
                )
            extended = layer.onto(base)
            if extended:
                layer.entries, layer.network_mode = extended.entries, extended.network_mode
        return layer

    def _base(self, name: str, extends: Use, extending: tuple[tuple[str, str], ...]) -> Service | None:
        """The service that a service extends: of this document, or of another file."""
        document = self.document
        if extends.node.kind == "mapping":
            service, file = (document.lookup(extends.node, key) for key in ("service", "file"))
            if not service:
                raise document.error(extends.start, f"extends of the service {name} names no service")
        else:
            service, file = extends, None
        wanted = self._text(service)
        if not file:
            if wanted not in self.section:
                raise document.error(extends.start, f"the service {name} extends {wanted}, which is not in this file")
            if (self.path, wanted) in extending:
                raise document.error(extends.start, f"the service {name} extends itself")
            return self.layer(wanted, extending).onto(None)
        path = self.scope.path(document, file, self._text(file))
        if (path, wanted) in extending:
            raise document.error(extends.start, f"the service {name} extends itself")
        if not self.loader.files.exists(path):
            raise document.error(file.start, f"there is no file {path}")
        other = self.loader.document(path)
        scope = replace(self.scope, directory=os.path.dirname(path))
        found = None
        for root in other.roots:
            if root.node.kind == "mapping":
                part = _Root(self.loader, other, root.node, scope, path)
                found = part.layer(wanted, extending).onto(found) if wanted in part.section else found
        if not found:
            raise document.error(extends.start, f"the service {name} extends {wanted}, which is not in {path}")
        return found

    def _entries(self, service: str, ports: Use) -> Iterator[Entry]:
        if ports.node.kind != "sequence":
            raise self.document.error(ports.start, f"the ports of the service {service} must be a list")
        for use in ports.node.items:
            try:
                found = self._ports(use)
            except (PortError, VariableError) as error:
                if self.document.removed_at(ports.node, use):
                    continue  # a comment: its variable may be gone for good
                raise self.document.error(use.start, f"a port of the service {service}: {error}") from None
            yield Entry(self.document, ports.node, use, found, self.scope.environment)

    def _ports(self, use: Use) -> tuple[Port, ...]:
        return read_entry(self.document, use.node, self.scope.environment)

    def _text(self, use: Use) -> str:
        """The text of a scalar with its variables replaced; without a value, they are nothing, as for Compose."""
        if use.node.kind != "scalar":
            raise self.document.error(use.start, "expected a text")
        try:
            return interpolate(use.node.value, self.scope.environment, False)
        except VariableError as error:
            raise self.document.error(use.start, str(error)) from None

    # -- include -----------------------------------------------------------------------------------------------------

    def _included(self) -> Iterator[tuple[Service, Use]]:
        include = self.document.lookup(self.root, "include")
        if not include or _is_null(include.node):
            return
        if include.node.kind != "sequence":
            raise self.document.error(include.start, "include must be a list")
        for use in include.node.items:
            names = {key: self._texts(use, key) for key in ("path", "project_directory", "env_file")}
            if not names["path"]:
                raise self.document.error(use.start, "include names no path")
            paths = [self.scope.path(self.document, use, name) for name in names["path"]]
            for path in paths:
                if not self.loader.files.exists(path):
                    raise self.document.error(use.start, f"there is no file {path}")
            if paths[0] in (*self.scope.reading, self.path):
                raise self.document.error(use.start, f"{paths[0]} includes itself")
            directory = os.path.dirname(paths[0])
            if names["project_directory"]:
                directory = self.scope.path(self.document, use, names["project_directory"][0])
            env_files = [os.path.join(self.scope.directory, name) for name in names["env_file"]] or None
            environment = read_environment(directory, env_files, self.scope.environment, self.loader.files)
            scope = _Scope(directory, environment, (*self.scope.reading, self.path))
            for service in self.loader.services(scope, paths).values():
                yield service, use

    def _texts(self, use: Use, key: str) -> list[str]:
        """The texts under a key of an include: one, or a list; an include that is only a text is its path."""
        found: Use | None = use
        if use.node.kind == "mapping":
            found = self.document.lookup(use.node, key)
        elif key != "path":
            found = None
        if found is None:
            return []
        return [self._text(item) for item in found.node.items] if found.node.kind == "sequence" else [self._text(found)]


def read_entry(document: Document, node: Node, environment: Mapping[str, str]) -> tuple[Port, ...]:
    """Return what an entry of a ports list publishes.

    :raises PortError: for what is no entry
    :raises VariableError: for a variable without a value
    """
    if node.kind == "mapping":
        if node.tag not in ("", "tag:yaml.org,2002:map"):
            raise PortError(f"the tag {node.tag} means nothing here")
        return ports_of.long(
            {key: _scalar(value.node, environment, key) for key, value in document.members(node) if key[:2] != "x-"}
        )
    if node.kind != "scalar":
        raise PortError("an entry is a text, a number or a mapping, not a list")
    return ports_of.short(_scalar(node, environment, "target"))


def _scalar(node: Node, environment: Mapping[str, str], key: str) -> str:
    if node.kind != "scalar":
        raise PortError(f"{key} is a text or a number")
    if node.tag not in _TEXT_TAGS:
        raise PortError(f"the tag {node.tag} means nothing here")
    if not node.style and not node.tag and key in ("target", "published"):
        ports_of.plain(node.value)
    return interpolate(node.value, environment)


def _is_null(node: Node) -> bool:
    return node.kind == "scalar" and not node.style and node.value in ("", "~", "null")
