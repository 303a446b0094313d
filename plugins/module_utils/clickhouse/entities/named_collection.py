# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named collections: keys with secret values, which servers show to few, and whether a query may override them.

What each version shows, and what it does with odd keys and names, was found out on ClickHouse 24.8, 25.8 and 26.9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import (
    ACCESS_DENIED,
    AccessError,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Document,
    EntityType,
    Need,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    HIDDEN,
    Secret,
    Statement,
    Subjects,
    WishError,
    check_name,
    check_text,
    ident,
    idents,
    statement,
    unquote,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

OPTIONS: dict[str, Any] = {
    **{name: spec for name, spec in common.OPTIONS.items() if name != "storage"},
    "keys": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "str", "no_log": True},
            "overridable": {"type": "bool"},
        },
    },
    "update_values": {"type": "str", "choices": ["on_drift", "on_create", "always"], "default": "on_drift"},
}
NEW_VALUE = f"{HIDDEN} (new)"
SHOWS_FLAGS = (25, 5)
"""Since when ``system.named_collections`` has ``create_query``, the only place that says what is overridable."""
_MOST_KEYS = 500
"""ClickHouse keeps a collection as an XML document, whose pool of names ends at 509 (error 1000). 24.8 writes the
collection's file all the same, and does not start again with it."""


@dataclass(frozen=True)
class Key:
    """One key of a named collection.

    :param value: ``None``: not known, or (in a wish) what is stored
    :param overridable: ``None``: neither ``OVERRIDABLE`` nor ``NOT OVERRIDABLE``, or not known; in a wish, as it is
    :param new: whether this run sets the value
    """

    name: str
    value: str | None = field(default=None, repr=False)
    overridable: bool | None = None
    new: bool = False


@dataclass(frozen=True)
class Keys:
    """All keys of a named collection, by name. Their values never leave this object but as a ``Secret``.

    :param flags: whether it is known which keys are overridable
    """

    keys: tuple[Key, ...]
    flags: bool

    @property
    def by_name(self) -> dict[str, Key]:
        """The keys by their names."""
        return {key.name: key for key in self.keys}

    def describe(self) -> list[dict[str, Any]]:
        """Return the keys as results and diffs have them: as the option ``keys``, without values."""
        marked = {key.name: NEW_VALUE if key.new else HIDDEN for key in self.keys}
        return [{**entry, "value": marked[entry["name"]]} for entry in self.export()]

    def export(self) -> list[dict[str, Any]]:
        """Return the keys as the option ``keys`` that changes nothing."""
        entries: list[dict[str, Any]] = [{"name": key.name} for key in self.keys]
        for key, entry in zip(self.keys, entries, strict=True):
            if self.flags and key.overridable is not None:
                entry["overridable"] = key.overridable
        return entries


# -- options --------------------------------------------------------------------------------------------------------


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one named collection.

    :raises WishError: for anything the server could not take, or would mangle
    """
    document: Document = {}
    if options.get("keys") is not None:
        document["keys"] = Keys(_wished_keys(options["keys"]), flags=True)
    extra = {
        "update_values": options.get("update_values") or "on_drift",
        "paths": {entry["name"]: f"keys[{index}]" for index, entry in enumerate(options.get("keys") or ())},
    }
    return common.base_wish("named_collection", options, document, (), extra=extra)


def _wished_keys(entries: Sequence[Mapping[str, Any]]) -> tuple[Key, ...]:
    if not entries:
        raise WishError("keys", "ClickHouse has no named collection without keys; to drop it, say state: absent")
    if len(entries) > _MOST_KEYS:
        raise WishError("keys", f"ClickHouse takes no more than {_MOST_KEYS} keys, and these are {len(entries)}")
    keys: dict[str, Key] = {}
    for index, entry in enumerate(entries):
        path = f"keys[{index}]"
        name = _check_key(f"{path}.name", entry["name"])
        if name in keys:
            raise WishError(f"{path}.name", f"key {name} is given twice")
        value = entry.get("value")
        if value is not None:
            _check_value(f"{path}.value", value)
        keys[name] = Key(name, value, entry.get("overridable"))
    for index, entry in enumerate(entries):
        clash = _inside(entry["name"], keys)
        if clash:
            raise WishError(f"keys[{index}].name", f"{entry['name']} lies inside key {clash}, which then has no value")
    return tuple(keys[name] for name in sorted(keys))


def _check_key(option: str, name: str) -> str:
    """Return a key's name if ClickHouse stores it as it is.

    A key is a path in an XML document there: ``a.b`` lies inside ``a``, and ``a[1]`` is the second ``a``.

    :raises WishError: otherwise
    """
    check_name(option, name)
    if "[" in name:
        raise WishError(option, f"{name!r} cannot be a key: ClickHouse reads [ as the beginning of an index")
    if "" in name.split("."):
        raise WishError(option, f"{name!r} cannot be a key: between dots there has to be something")
    return name


def _check_value(option: str, value: str) -> None:
    """See that ClickHouse stores a value as it is.

    ``${name}`` stands for the value of another key there; a value with ``${`` alone is an error (1000), after which
    24.8 does not start again.

    :raises WishError: otherwise, without the value
    """
    check_text(option, value, secret=True)
    if value in (HIDDEN, NEW_VALUE):
        raise WishError(option, f"{value} stands for a hidden value; to keep what is stored, omit it")
    if "${" in value:
        raise WishError(option, "no value can have ${ in it: ClickHouse would put the value of another key there")


def _inside(name: str, others: Iterable[str]) -> str | None:
    """Return the one of the other keys that a key lies inside, as ``a.b`` lies inside ``a``."""
    parts = name.split(".")
    outer = {".".join(parts[:length]) for length in range(1, len(parts))}
    return next((other for other in others if other in outer), None)


# -- state ----------------------------------------------------------------------------------------------------------


NEEDS = (Need("named_collections", ("name", "collection", "source", "create_query"), secrets=True),)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the named collections that we may see.

    Those of the configuration cannot be changed; before 25.5 only the server knows which they are, and refuses.
    """
    found = {}
    for row in rows["named_collections"]:
        values: dict[str, str] = row["collection"]
        flags = read_flags(row.get("create_query") or "")
        known = flags.keys() == values.keys()
        keys = tuple(
            Key(name, None if values[name] == HIDDEN else values[name], flags[name] if known else None)
            for name in sorted(values)
        )
        by_sql = row.get("source", "SQL") == "SQL"
        found[row["name"]] = Current(
            {"keys": Keys(keys, known)}, "" if by_sql else "the server's configuration", not by_sql
        )
    return found


_TOKEN = re.compile(r"`(?:[^`\\]|\\.|``)*`|'(?:[^'\\]|\\.|'')*'|[=,.]|[^\s=,.`']+", re.DOTALL)


def read_flags(create: str) -> dict[str, bool | None]:
    """Return for each key of a ``CREATE NAMED COLLECTION``, in the server's own formatting, whether it is overridable.

    :return: ``None`` where the statement says neither
    """
    tokens: list[str] = _TOKEN.findall(create)
    start = 7 if tokens[3:6] == ["IF", "NOT", "EXISTS"] else 4  # after the name, which may be AS, too
    if "AS" not in tokens[start:]:
        return {}
    flags: dict[str, bool | None] = {}
    pair: list[str] = []
    for token in [*tokens[tokens.index("AS", start) + 1 :], ","]:
        if token != ",":
            pair.append(token)
        elif "=" in pair:
            middle = pair.index("=")
            key = "".join(unquote(part) if part[0] == "`" else part for part in pair[:middle])
            said = pair[middle + 2 :]  # what follows the value, the digits behind a decimal point among it
            flags[key] = None if said[-1:] != ["OVERRIDABLE"] else said[-2:] != ["NOT", "OVERRIDABLE"]
            pair = []
    return flags


# -- what only the server can tell -------------------------------------------------------------------------------------


def settle(server: Server, wished: Wish, current: Current | None) -> tuple[Wish, list[str]]:
    """Find out whether the wished values are the stored ones, and whether a collection that is not seen is not there.

    :return: the wish with ``extra["password"]`` set to ``same``, ``different``, ``unknown`` or ``none``, and warnings
    :raises AccessError: if we could not see the collection if it was there
    :raises WishError: for what :func:`after` refuses
    """
    if current is None:
        check_sight(server, wished.name)
    if not wished.present or "keys" not in wished.document:
        return wished, []
    had = current.document["keys"].by_name if current else {}
    will = after(current.document if current else None, wished, server)["keys"].by_name
    left = [key for key in wished.document["keys"].keys if key.name in had and not will[key.name].new]
    compared = [key for key in left if key.value is not None and wished.extra["update_values"] == "on_drift"]
    unknown = [key.name for key in compared if had[key.name].value is None]
    verdict = "same" if compared else "none"
    if any(key.new for key in will.values()):
        verdict = "different"
    notes = []
    if unknown:
        verdict = "unknown"
        notes.append(
            f"named collection {wished.name}: whether the stored values of {', '.join(unknown)} are the wanted ones"
            f" cannot be known (the server does not show them to {server.user}); they were left alone. Use"
            " update_values: always to set them."
        )
    doubtful = [key.name for key in left if key.overridable is not None]
    if current and not current.document["keys"].flags and doubtful:
        notes.append(
            f"named collection {wished.name}: whether {', '.join(doubtful)} can be overridden cannot be known (the"
            " server does not show it); this was left alone. Use update_values: always to set it."
        )
    return replace(wished, extra={**wished.extra, "password": verdict}), notes


def check_sight(server: Server, name: str | None = None) -> None:
    """See that we may see a collection: ``system.named_collections`` leaves out what we may not, silently.

    :param name: the collection; ``None`` for all
    :raises AccessError: if we may not
    """
    if not server.may("SHOW NAMED COLLECTIONS", "*" if name is None else ident(name)):
        what = "all named collections" if name is None else f"whether named collection {name} is there"
        raise AccessError(
            f"{server.session.login.where} as {server.user!r}: Not enough privileges. To see {what}, it's necessary"
            f" to have the grant SHOW NAMED COLLECTIONS ON {name or '*'}.",
            ACCESS_DENIED,
            "ACCESS_DENIED",
        )


# -- change ---------------------------------------------------------------------------------------------------------


def after(before: Document | None, wished: Wish, server: Server) -> Document:
    """Return the named collection as it will be.

    :raises WishError: for a value that is to be kept and is not there, a flag that cannot be set without a value, and
        a name or keys that this server would mangle
    """
    if "keys" not in wished.document:
        if before is None:
            raise WishError("keys", "ClickHouse has no named collection without keys: say them to create it")
        return before
    if before is None:
        _check_restart(wished.name, server)
    had = before["keys"] if before else Keys((), server.version >= SHOWS_FLAGS)
    wanted = wished.document["keys"].keys
    keys = tuple(_key_after(had.by_name.get(key.name), key, had.flags, wished) for key in wanted)
    made = [key.name for key in wanted if key.name not in had.by_name]
    gone = had.by_name.keys() - {key.name for key in wanted}
    for inner, others in [(name, gone) for name in made] + [(name, made) for name in gone]:
        outer = _inside(inner, others)
        if outer:
            raise WishError("keys", f"ClickHouse cannot replace one of {outer} and {inner} by the other: drop it first")
    return {"keys": Keys(keys, had.flags)}


def _key_after(had: Key | None, wanted: Key, flags: bool, wished: Wish) -> Key:
    path = wished.extra["paths"][wanted.name]
    if had is None:
        if wanted.value is None:
            raise WishError(f"{path}.value", f"there is no stored value of {wanted.name} to keep: give one")
        return replace(wanted, new=True)
    mode = wished.extra["update_values"]
    differs = mode == "on_drift" and had.value not in (None, wanted.value)
    set_value = wanted.value is not None and (mode == "always" or differs)
    set_flag = wanted.overridable is not None and wanted.overridable != had.overridable
    if not set_value and not (set_flag and flags):
        return had
    value = had.value if wanted.value is None or mode == "on_create" else wanted.value
    if value is None:
        raise WishError(
            f"{path}.overridable",
            "ClickHouse sets it only together with a value, and the server does not show the stored one: give value"
            + (" and update_values other than on_create" if wanted.value is not None else ""),
        )
    overridable = had.overridable if wanted.overridable is None else wanted.overridable
    return Key(wanted.name, value, overridable, new=set_value or value != had.value)


def _check_restart(name: str, server: Server) -> None:
    """Refuse a name that keeps the server from starting again.

    ClickHouse escapes the name of a collection's file, and did not read it back so before pull request 71308 of
    November 2024, which is in 24.11 and the patches of 24.8 since then.
    """
    patch = [int(part) for part in server.session.version.split(".")[:3]]
    if patch < [24, 11] and not (patch[:2] == [24, 8] and patch[2] >= 8) and re.search(r"[^A-Za-z0-9_]", name):
        raise WishError(
            "name",
            f"ClickHouse {server.session.version} would not start again with a named collection {name!r}: before 24.11"
            " (and 24.8.8) its name can have only letters, digits and underscores",
        )


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the one statement that creates a named collection or changes its keys.

    :raises WishError: for a value that is to be kept and that a replica lacks
    """
    had = before["keys"].by_name if before else {}
    wanted = wished.document["keys"].by_name if "keys" in wished.document else {}
    changed = [key for key in after["keys"].keys if key != had.get(key.name)]
    gone = [name for name in had if name not in after["keys"].by_name]
    # A replica that lacks a key refuses to delete it, so it is set just before.
    changed += [Key(name, "") for name in gone if target.cluster]
    pairs: list[str | Secret | Subjects] = []
    for key in changed:
        value = key.value
        if value is None:  # a replica lacks the collection, and another has it, with values that do not show
            value = wanted.get(key.name, key).value
        if value is None:
            raise WishError(
                wished.extra["paths"].get(key.name, "keys"),
                f"a replica lacks named collection {wished.name}, and there is no value of {key.name} to make it there"
                " with: give one",
            )
        pairs += [", " if pairs else "", f"{ident(key.name)} = ", Secret(value)]
        pairs += ["" if key.overridable is None else " OVERRIDABLE" if key.overridable else " NOT OVERRIDABLE"]
    if before is None:
        create = f"CREATE NAMED COLLECTION{' IF NOT EXISTS' if target.lenient else ''} {ident(wished.name)}"
        return [statement(create, target.on_cluster, ("AS ", *pairs))]
    return [
        statement(
            f"ALTER NAMED COLLECTION {ident(wished.name)}",
            target.on_cluster,
            ("SET ", *pairs) if pairs else "",
            f"DELETE {idents(gone)}" if gone else "",
        )
    ]


def export(document: Document) -> dict[str, Any]:
    """Return the options that keep what is stored."""
    return {"keys": document["keys"].export()}


TYPE = EntityType(
    "named_collection",
    "NAMED COLLECTION",
    OPTIONS,
    wish,
    NEEDS,
    read,
    after,
    alter,
    settle,
    export=export,
    shares=False,
)
