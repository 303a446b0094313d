# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Databases, as far as access needs them: what is granted on a database begins with its being there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    Statement,
    check_name,
    check_text,
    ident,
    literal,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

OPTIONS: dict[str, Any] = {
    "name": common.OPTIONS["name"],
    "comment": {"type": "str"},
    "cluster": common.OPTIONS["cluster"],
}


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one database.

    :raises WishError: for a name or comment that is no text
    """
    document: Document = {}
    if options.get("comment") is not None:
        document["comment"] = check_text("comment", options["comment"])
    return Wish("database", check_name("name", options["name"]), document=document)


NEEDS = (Need("databases", ("name", "comment")),)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the databases that we may see."""
    return {row["name"]: Current({"comment": row["comment"]}) for row in rows["databases"]}


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the one statement that creates the database, or changes its comment."""
    comment = f"COMMENT {literal(after['comment'])}" if after["comment"] else ""
    if before is None:
        create = f"CREATE DATABASE IF NOT EXISTS {ident(wished.name)}"
        return [statement(create, target.on_cluster, comment)]
    server.require("comment", (25, 1), "changing the comment of a database")
    change = f"ALTER DATABASE {ident(wished.name)}"
    return [statement(change, target.on_cluster, f"MODIFY COMMENT {literal(after['comment'])}")]


TYPE = EntityType("database", "DATABASE", OPTIONS, wish, NEEDS, read, common.after({"comment": ""}), alter)
