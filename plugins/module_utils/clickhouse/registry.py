# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entity types, in dependency order: what comes later may refer to what comes earlier."""

from __future__ import annotations

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import (
    database,
    grant,
    named_collection,
    quota,
    role,
    row_policy,
    settings_profile,
    user,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import EntityType

TYPES: dict[str, EntityType] = {
    entity_type.kind: entity_type
    for entity_type in (
        database.TYPE,
        named_collection.TYPE,
        settings_profile.TYPE,
        role.TYPE,
        user.TYPE,
        quota.TYPE,
        row_policy.TYPE,
        grant.TYPE,
    )
}
PLURALS: dict[str, str] = {kind: f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s" for kind in TYPES}
"""The option of clickhouse_access that lists the entities of a kind."""
