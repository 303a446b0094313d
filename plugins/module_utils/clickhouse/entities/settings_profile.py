# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings profiles: inherited profiles, settings with constraints, and who they apply to."""

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
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Phase,
    Statement,
    statement,
)
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


NEEDS = (
    Need("settings_profiles", ("name", "storage", "apply_to_all", "apply_to_list", "apply_to_except")),
    common.settings_needs("profile_name"),
)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the settings profiles."""
    profiles = {}
    for row in rows["settings_profiles"]:
        settings = common.read_settings(server, rows, "profile_name", row["name"])
        document = {**settings, "apply_to": common.read_names(row, "apply_to", "all")}
        profiles[row["name"]] = rows.current(row, document)
    return profiles


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statement that makes a settings profile what it should be, if any.

    Whom it applies to is a second one where that is made in the same run.
    """
    clauses: list[str] = []
    later: list[str] = []
    if common.changed(before or DEFAULTS, after, "settings", "profiles"):
        clauses.append(common.settings_clause(after, server, "INHERIT"))
    if common.changed(before or DEFAULTS, after, "apply_to"):
        to = common.names_clause("TO", after["apply_to"], "all")
        (later if common.waits(after["apply_to"], ("user", "role"), target) else clauses).append(to)
    statements = []
    if before is None or clauses:
        statements.append(statement(common.head("SETTINGS PROFILE", wished, before is not None, target), *clauses))
    if later:
        statements.append(statement(common.head("SETTINGS PROFILE", wished, True, target), *later, phase=Phase.LINK))
    return statements


TYPE = EntityType("settings_profile", "SETTINGS PROFILE", OPTIONS, wish, NEEDS, read, common.after(DEFAULTS), alter)
