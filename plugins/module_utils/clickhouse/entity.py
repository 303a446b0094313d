# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an entity type is: its fields, how each becomes SQL, and what a change of one entity consists of. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import Credential
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Statement, ident

if TYPE_CHECKING:
    from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

Document = dict[str, Any]
"""An entity in canonical form: one key for each field, in the shape of the module's own options."""


Row = dict[str, Any]
"""A row of a system table: a column's name and its value, as JSON has it. A column the version lacks is not in it."""

READ_ONLY_STORAGES = ("users_xml", "users.xml", "ldap")
"""The types in ``system.user_directories`` that SQL cannot change."""


@dataclass(frozen=True)
class Need:
    """What an entity type reads of one system table.

    :param table: ``quotas`` for ``system.quotas``
    :param columns: those it wants; the ones that the server's version has are read
    :param keys: the columns that hold the entity's name; empty if the table has none and is read whole
    :param secrets: whether it has secrets that the server shows on demand
    """

    table: str
    columns: tuple[str, ...]
    keys: tuple[str, ...] = ("name",)
    secrets: bool = False


class Rows:
    """What one server, or one replica of a cluster, has in its system tables.

    :param tables: the rows of each table that was read
    """

    def __init__(self, tables: Mapping[str, list[Row]]) -> None:
        self._tables = tables
        self._grouped: dict[tuple[str, str], dict[str, list[Row]]] = {}
        self.storages: dict[str, str] = {row["name"]: row["type"] for row in tables.get("user_directories", ())}
        """The type of each access storage, in the server's order of precedence."""

    def __getitem__(self, table: str) -> list[Row]:
        return self._tables.get(table, [])

    def forget(self) -> None:
        """Give the rows up, once they have been read: of 10,000 users they are a fifth of all that a run holds."""
        self._tables = {}
        self._grouped = {}

    def by(self, table: str, column: str) -> Mapping[str, list[Row]]:
        """Return the rows of a table by what stands in a column; rows with NULL there are left out."""
        if (table, column) not in self._grouped:
            groups = self._grouped.setdefault((table, column), {})
            for row in self[table]:
                if row[column] is not None:
                    groups.setdefault(row[column], []).append(row)
        return self._grouped[table, column]

    def current(self, row: Row, document: Document) -> Current:
        """Return an entity with the storage that its row names."""
        return Current(document, row["storage"], self.storages.get(row["storage"]) in READ_ONLY_STORAGES)


@dataclass(frozen=True)
class Ref:
    """A name that a wish relies on.

    :param kinds: the entity kinds it may be, ``("role",)``
    :param name: the name
    :param option: the option that says so
    """

    kinds: tuple[str, ...]
    name: str
    option: str


@dataclass(frozen=True)
class Current:
    """An entity as the server has it.

    :param document: all its fields
    :param storage: the name of the access storage it lives in
    :param read_only: whether that storage can be changed by SQL
    """

    document: Document
    storage: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Wish:
    """An entity as the operator wants it.

    :param kind: ``user``
    :param name: its name
    :param present: whether it should exist
    :param document: only the fields that were given, in canonical form
    :param storage: the access storage it should live in; ``None``: wherever it is
    :param refs: the names it relies on
    :param credentials: passwords, one for each password method in ``document["authentication"]``
    :param extra: what only the kind's own functions read
    """

    kind: str
    name: str
    present: bool = True
    document: Document = field(default_factory=dict)
    storage: str | None = None
    refs: tuple[Ref, ...] = ()
    credentials: tuple[Credential, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """Where statements run.

    :param cluster: name for ON CLUSTER; ``None`` for the connected server alone
    :param coming: kind and name of what the run makes: statements that refer to it wait for it
    :param lenient: some replicas have the entity and some do not, so CREATE and DROP say IF (NOT) EXISTS
    :param differs: the replicas have it in different states, so a statement must not build on what is there
    """

    cluster: str | None = None
    coming: frozenset[tuple[str, str]] = frozenset()
    lenient: bool = False
    differs: bool = False

    @property
    def on_cluster(self) -> str:
        """The clause, or nothing."""
        return f"ON CLUSTER {ident(self.cluster)}" if self.cluster else ""


@dataclass(frozen=True)
class EntityType:
    """One kind of access entity: data, and the functions only it can know.

    :param kind: its name in options and results, ``settings_profile``
    :param keyword: its name in SQL, ``SETTINGS PROFILE``
    :param options: the argument spec of its module, without the connection
    :param wish: ``(options, server) -> Wish``: the options in canonical form
    :param needs: the system tables that ``read`` reads, all kinds' in one request
    :param read: ``(server, rows) -> {name: Current}``: all entities of this kind in the rows
    :param after: ``(current document or None, wish, server's facts) -> Document``: what will be there
    :param alter: ``(wish, before or None, after, target, server's facts) -> statements`` that make the change
    :param settle: ``(server, wish, current) -> (wish, notes)``: what only the server can tell about a wish (passwords)
    :param quote: ``(name) -> SQL text of it``
    :param key: the option that names the entity, and what the columns in ``needs[].keys`` are compared with
    :param export: ``(document) -> options`` that describe it, without secrets: given back they change nothing
    :param identify: ``(name) -> options`` that name it, where there are more than ``key``
    :param shares: whether one DROP may name several
    """

    kind: str
    keyword: str
    options: Mapping[str, Any]
    wish: Callable[[Mapping[str, Any], Server], Wish]
    needs: Sequence[Need]
    read: Callable[[Server, Rows], dict[str, Current]]
    after: Callable[[Document | None, Wish, Server], Document]
    alter: Callable[[Wish, Document | None, Document, Target, Server], list[Statement]]
    settle: Callable[[Server, Wish, Current | None], tuple[Wish, Sequence[str]]] | None = None
    quote: Callable[[str], str] = ident
    key: str = "name"
    export: Callable[[Document], dict[str, Any]] = dict
    identify: Callable[[str], dict[str, Any]] | None = None
    shares: bool = True

    def identity(self, name: str) -> dict[str, Any]:
        """Return the options that name an entity."""
        return {self.key: name} if self.identify is None else self.identify(name)

    def short(self, name: str) -> str:
        """Return what patterns of names are compared with."""
        return str(self.identity(name)[self.key])


@dataclass(frozen=True)
class Change:
    """What a run does to one entity.

    :param before: ``None`` if it does not exist
    :param after: ``None`` if it will not exist
    :param statements: in the order they run; empty if there is nothing to do
    """

    kind: str
    name: str
    before: Document | None
    after: Document | None
    statements: tuple[Statement, ...] = ()
