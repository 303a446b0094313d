# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings profiles: inherited profiles, settings with constraints, and who they apply to."""

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

DEFAULTS: Document = {"settings": [], "profiles": [], "apply_to": {"none": True}}
OPTIONS: dict[str, Any] = {**common.OPTIONS, **common.SETTINGS_OPTIONS, "apply_to": common.names_option("all")}


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one settings profile.

    :raises WishError: for anything the server could not take
    """
    document: Document = {}
    refs: list[Ref] = []
    common.wish_settings(options, server, document, refs)
    common.wish_names(options, "apply_to", "all", ("user", "role"), document, refs)
    return common.base_wish("settings_profile", options, document, refs)


def read(server: Server, names: Sequence[str]) -> dict[str, Current]:
    """Return the settings profiles of these names that exist."""
    rows = server.session.query(
        "SELECT name, storage, apply_to_all, apply_to_list, apply_to_except FROM system.settings_profiles"
        f" WHERE name IN ({literals(names)})"
    )
    found = [row["name"] for row in rows]
    if not found:
        return {}
    settings = common.read_settings(server, "profile_name", found)
    return {
        row["name"]: common.current(
            server, row, {**settings[row["name"]], "apply_to": common.read_names(row, "apply_to", "all")}
        )
        for row in rows
    }


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the one statement that makes a settings profile what it should be, if any."""
    clauses = []
    if common.changed(before or DEFAULTS, after, "settings", "profiles"):
        clauses.append(common.settings_clause(after, server, "INHERIT"))
    if common.changed(before or DEFAULTS, after, "apply_to"):
        clauses.append(common.names_clause("TO", after["apply_to"], "all"))
    if before is not None and not clauses:
        return []
    return [statement(common.head("SETTINGS PROFILE", wished, before is not None, target), *clauses)]


TYPE = EntityType("settings_profile", "SETTINGS PROFILE", OPTIONS, wish, read, common.after(DEFAULTS), alter)
