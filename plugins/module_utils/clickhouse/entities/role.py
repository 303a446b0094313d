# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles: settings, profiles and the roles granted to a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Document,
    EntityType,
    Ref,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Statement, literals, statement
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

DEFAULTS: Document = {"roles": [], "settings": [], "profiles": []}
OPTIONS: dict[str, Any] = {**common.OPTIONS, **common.SETTINGS_OPTIONS, **common.ROLES_OPTION}


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one role.

    :raises WishError: for anything the server could not take
    """
    document: Document = {}
    refs: list[Ref] = []
    common.wish_roles(options, document, refs)
    common.wish_settings(options, server, document, refs)
    return common.base_wish("role", options, document, refs)


def read(server: Server, names: Sequence[str]) -> dict[str, Current]:
    """Return the roles of these names that exist."""
    rows = server.session.query(f"SELECT name, storage FROM system.roles WHERE name IN ({literals(names)})")
    found = [row["name"] for row in rows]
    if not found:
        return {}
    settings = common.read_settings(server, "role_name", found)
    roles = server.granted_roles("role_name", found)
    return {
        row["name"]: common.current(server, row, {"roles": roles.get(row["name"], []), **settings[row["name"]]})
        for row in rows
    }


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statements that make one role what it should be: settings, then granted roles."""
    clause = None
    if common.changed(before or DEFAULTS, after, "settings", "profiles"):
        clause = common.settings_clause(after, server, "PROFILE")
    statements = []
    if before is None or clause:
        statements.append(statement(common.head("ROLE", wished, before is not None, target), clause))
    statements += common.grant_roles(wished.name, before, after, target)
    return statements + common.revoke_roles(wished.name, before, after, target)


TYPE = EntityType("role", "ROLE", OPTIONS, wish, read, common.after(DEFAULTS), alter)
