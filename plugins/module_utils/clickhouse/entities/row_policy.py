# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Row policies: which rows of a table, or of all tables of a database, whom they are shown to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    READ_ONLY_STORAGES,
    Current,
    Document,
    EntityType,
    Need,
    Ref,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Statement,
    WishError,
    check_name,
    check_text,
    ident,
    statement,
    unquote,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

_PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
_PART = rf"({_PLAIN}|`(?:[^`\\]|\\.)*`)"
_NAME = re.compile(rf"{_PART} ON {_PART}\.(?:{_PART}|\*)", re.DOTALL)

DEFAULTS: Document = {"filter": "", "restrictive": False, "apply_to": {"none": True}}
OPTIONS: dict[str, Any] = {
    **common.OPTIONS,
    "database": {"type": "str", "required": True},
    "table": {"type": "str"},
    "filter": {"type": "str"},
    "restrictive": {"type": "bool"},
    "apply_to": common.names_option("all"),
}


# -- names ----------------------------------------------------------------------------------------------------------


def full_name(short: str, database: str, table: str | None) -> str:
    """Return the one text that a row policy goes by, much as ``system.row_policies`` has it: ``p ON db.t``.

    :param table: ``None`` for all tables of the database, ``p ON db.*``
    """
    return f"{_shown(short)} ON {_shown(database)}.{_shown(table) if table else '*'}"


def _shown(part: str) -> str:
    return part if re.fullmatch(_PLAIN, part) else ident(part)


def identify(name: str) -> dict[str, Any]:
    """Return the options that say a full name: ``name``, ``database``, and ``table`` if it is about one."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"not the name of a row policy: {name}")
    parts = zip(("name", "database", "table"), match.groups(), strict=True)
    return {option: unquote(part) if part[0] == "`" else part for option, part in parts if part}


def quote(name: str) -> str:
    """Return a full name as SQL has it, every part in quotes."""
    parts = identify(name)
    table = ident(parts["table"]) if "table" in parts else "*"
    return f"{ident(parts['name'])} ON {ident(parts['database'])}.{table}"


# -- wish and state -------------------------------------------------------------------------------------------------


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one row policy.

    :raises WishError: for anything the server could not take
    """
    document: Document = {}
    refs: list[Ref] = []
    database, table = check_name("database", options["database"]), options.get("table")
    if table == "":
        raise WishError("table", "a name cannot be empty: leave table out for all tables of the database")
    if table is not None:
        check_text("table", table)
    unreadable = False
    if options.get("filter") is not None:
        text = check_text("filter", options["filter"])
        formatted = server.filters([text])[text] if text.strip() else ""
        unreadable = formatted is None
        if unreadable and text not in server.stored_filters:
            raise _unreadable(text)
        document["filter"] = text if formatted is None else formatted
    if options.get("restrictive") is not None:
        document["restrictive"] = options["restrictive"]
    common.wish_names(options, "apply_to", "all", ("user", "role"), document, refs)
    base = common.base_wish("row_policy", options, document, refs, extra={"unreadable": unreadable})
    return replace(base, name=full_name(base.name, database, table))


def settle(server: Server, wished: Wish, current: Current | None) -> tuple[Wish, Sequence[str]]:
    """Refuse what can only stay as it is: a table called ``*``, and a filter that is not one expression.

    :raises WishError: because the policy would be about no table, or ClickHouse would lose its filter
    """
    if current is None and identify(wished.name).get("table") == "*":
        raise WishError("table", "'*' is the table of that name: leave table out for all tables of the database")
    if wished.extra.get("unreadable") and (current is None or current.document["filter"] != wished.document["filter"]):
        raise _unreadable(wished.document["filter"])
    return wished, ()


def _unreadable(text: str) -> WishError:
    return WishError("filter", f"{text!r} is not one expression that ClickHouse can keep as a filter")


NEEDS = (
    Need(
        "row_policies",
        (
            "short_name",
            "database",
            "table",
            "storage",
            "select_filter",
            "is_restrictive",
            "apply_to_all",
            "apply_to_list",
            "apply_to_except",
        ),
        ("short_name",),
    ),
)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the row policies.

    The server keeps filters in its own formatting, but those of its configuration as they were written there.
    """
    written = {
        row["select_filter"]
        for row in rows["row_policies"]
        if row["select_filter"] and rows.storages.get(row["storage"]) in READ_ONLY_STORAGES
    }
    formatted = server.filters(written)
    policies = {}
    for row in rows["row_policies"]:
        text = row["select_filter"] or ""
        document = {
            "filter": (formatted[text] if text in written else None) or text,
            "restrictive": bool(int(row["is_restrictive"])),
            "apply_to": common.read_names(row, "apply_to", "all"),
        }
        policies[full_name(row["short_name"], row["database"], row["table"])] = rows.current(row, document)
    return policies


# -- statements -----------------------------------------------------------------------------------------------------


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the one statement that makes a row policy what it should be, if any: no moment shows other rows."""
    clauses: list[str] = []
    if common.changed(before or DEFAULTS, after, "restrictive"):
        clauses.append("AS RESTRICTIVE" if after["restrictive"] else "AS PERMISSIVE")
    if common.changed(before or DEFAULTS, after, "filter"):
        clauses.append(f"USING {after['filter'] or 'NONE'}")
    if common.changed(before or DEFAULTS, after, "apply_to"):
        clauses.append(common.names_clause("TO", after["apply_to"], "all"))
    if before is not None and not clauses:
        return []
    return [statement(common.head("ROW POLICY", wished, before is not None, target, quote), *clauses)]


TYPE = EntityType(
    "row_policy",
    "ROW POLICY",
    OPTIONS,
    wish,
    NEEDS,
    read,
    common.after(DEFAULTS),
    alter,
    settle=settle,
    quote=quote,
    identify=identify,
)
