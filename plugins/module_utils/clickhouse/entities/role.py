# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles: settings, profiles and the roles granted to a role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Document,
    EntityType,
    Need,
    Ref,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Statement, statement
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


NEEDS = (Need("roles", ("name", "storage")), common.roles_needs("role_name"), common.settings_needs("role_name"))


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the roles."""
    roles = {}
    for row in rows["roles"]:
        name = row["name"]
        settings = common.read_settings(server, rows, "role_name", name)
        roles[name] = rows.current(row, {"roles": common.read_roles(rows, "role_name", name), **settings})
    return roles


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


TYPE = EntityType("role", "ROLE", OPTIONS, wish, NEEDS, read, common.after(DEFAULTS), alter)
