"""The privileges of one ClickHouse version as bits: names, groups and levels, read from its `system.privileges`.

A set of privileges is an int; each privilege that has a level is one bit, numbered as ClickHouse numbers its access
flags.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

TABLE_LEVELS = frozenset({"TABLE", "VIEW", "DICTIONARY", "COLUMN"})
PARAMETER_LEVELS = ("SOURCE", "TABLE_ENGINE", "DEFINER", "USER_NAME", "NAMED_COLLECTION")
"""Levels whose object is a parameter, in the order ClickHouse lists them after the others."""
SOURCES = (
    "FILE",
    "URL",
    "REMOTE",
    "MONGO",
    "REDIS",
    "MYSQL",
    "POSTGRES",
    "SQLITE",
    "ODBC",
    "JDBC",
    "HDFS",
    "S3",
    "HIVE",
    "AZURE",
    "KAFKA",
    "NATS",
    "RABBITMQ",
    "YTSAURUS",
    "ARROW FLIGHT",
    "BIGQUERY",
    "DISK",
)
"""Names that were privileges before READ and WRITE had a source (25.7) and are still written so."""


@dataclass
class Node:
    """A privilege or a group of them."""

    name: str
    mask: int = 0
    children: list[Node] = field(default_factory=list)


class Privileges:
    """Names to bits and back, for one version."""

    def __init__(
        self, rows: Iterable[tuple[str, list[str], str | None, str | None]], release: tuple[int, ...] = (26, 9)
    ) -> None:
        """`rows`: privilege, aliases, level, parent_group of system.privileges, in its order, of this release."""
        nodes: dict[str, Node] = {}
        self._masks: dict[str, int] = {}
        self._names: dict[int, list[str]] = {}
        self.by_level: dict[str, int] = {}
        aliases: dict[str, list[str]] = {}
        bit = 1
        for name, other_names, level, parent in rows:
            node = nodes.setdefault(name, Node(name))
            aliases[name] = other_names
            if level:
                node.mask |= bit
                self.by_level[level] = self.by_level.get(level, 0) | bit
                bit <<= 1
            if parent:
                group = nodes.setdefault(parent, Node(parent))
                group.children.append(node)
                group.mask |= node.mask
        for name, node in nodes.items():
            for alias in (*aliases[name], name):
                self._masks[alias.upper()] = node.mask
        self.root = nodes["ALL"]
        self.all = self.root.mask
        self.parameters = [self.by_level[level] for level in PARAMETER_LEVELS if level in self.by_level]
        self.parameterised = 0
        for mask in self.parameters:
            self.parameterised |= mask
        self.column = self.by_level["COLUMN"]
        self.table = 0
        for level in TABLE_LEVELS:
            self.table |= self.by_level.get(level, 0)
        self.database = self.table | self.by_level["DATABASE"]
        self.sources = self.by_level.get("SOURCE", 0)
        # what a node of the tree of rights may hold: whole server, database or parameter, table, column
        new = release >= (26, 0)
        self.has_wildcards = release >= (25, 0)
        self.compares_wildcards_above = (
            not new
        )  # with what the scope above may hold: shows revokes of what could not be granted
        table = self.table | (self.parameterised if new else self.sources)
        column = self.column | (self.parameterised if new else 0)
        self.levels = (self.all, self.database | self.parameterised, table, column)

    def mask(self, name: str, default: int | None = None) -> int:
        """The bits of a privilege or group by any of its names. Raises KeyError for an unknown one without default."""
        found = self._masks.get(name.upper(), default)
        if found is None:
            raise KeyError(name)
        return found

    def names(self, mask: int) -> list[str]:
        """The fewest names for these bits: a group stands for its members when all of them are there."""
        if mask not in self._names:
            self._names[mask] = [node.name for node in self._cover(mask, self.root)]
        return self._names[mask]

    def _cover(self, mask: int, node: Node) -> Iterator[Node]:
        common = mask & node.mask
        if common and common == node.mask:
            yield node
        elif common:
            for child in node.children:
                yield from self._cover(mask, child)

    def parameter_type(self, mask: int) -> int:
        """Which kind of parameter all these bits take (its mask), 0 for none or a mixture."""
        return next((kind for kind in self.parameters if mask and not mask & ~kind), 0)

    def split(self, mask: int) -> list[int]:
        """The bits by kind of parameter, in ClickHouse's order.

        ClickHouse collects them in a hash table, in which those without a parameter end up first, but before DEFINER
        where at most five kinds are there (AccessFlags::splitIntoParameterTypes).
        """
        parts = [part for kind in self.parameters if (part := mask & kind)]
        plain = mask & ~self.parameterised
        if plain:
            definer = mask & self.by_level.get("DEFINER", 0)
            parts.insert(parts.index(definer) if definer and len(parts) < 5 else 0, plain)
        return parts
