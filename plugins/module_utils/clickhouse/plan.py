# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is there and what is wanted to a Change; everything a run reports comes from it."""

from __future__ import annotations

from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    Current,
    Document,
    EntityType,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import Rights
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Statement,
    WishError,
    ident,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server


def plan(entity_type: EntityType, wish: Wish, current: Current | None, target: Target, server: Server) -> Change:
    """Decide what happens to one entity.

    :param current: the entity as it is; ``None`` if it does not exist
    :param server: the server's facts, for canonical forms; nothing is read for the decision itself
    :raises WishError: if the entity lives where SQL cannot change it, or the change would lock us out
    """
    if not wish.present:
        return _drop(entity_type, wish, current, target, server)
    before = current.document if current else None
    after = entity_type.after(before, wish, server)
    statements: list[Statement] = []
    if before != after:
        statements = entity_type.alter(wish, before, after, target, server)
    if current and wish.storage and current.storage != wish.storage:
        before = {**current.document, "storage": current.storage}
        after = {**after, "storage": wish.storage}
        move = f"MOVE {entity_type.keyword} {ident(wish.name)} TO {ident(wish.storage)}"
        statements.append(statement(move, target.on_cluster))
    if not statements:
        return Change(entity_type.kind, wish.name, before, before)
    if current:
        _check_writable(entity_type, wish, current)
    return Change(entity_type.kind, wish.name, before, after, tuple(statements))


def _drop(entity_type: EntityType, wish: Wish, current: Current | None, target: Target, server: Server) -> Change:
    if current is None or (wish.storage and current.storage != wish.storage):
        return Change(entity_type.kind, wish.name, None, None)
    _check_writable(entity_type, wish, current)
    if entity_type.kind == "user" and wish.name == server.user and not wish.extra.get("allow_lockout"):
        raise WishError(
            "name", f"{wish.name} is the user this run is logged in as; allow_lockout: true drops it all the same"
        )
    storage = f"FROM {ident(wish.storage)}" if wish.storage else ""
    drop = statement(f"DROP {entity_type.keyword} {ident(wish.name)}", storage, target.on_cluster)
    return Change(entity_type.kind, wish.name, current.document, None, (drop,))


def _check_writable(entity_type: EntityType, wish: Wish, current: Current) -> None:
    if current.read_only:
        raise WishError(
            "grantee" if entity_type.kind == "grant" else "name",
            f"{wish.name} lives in {current.storage}, which SQL cannot change: edit the server's users configuration"
            " (users.xml, users.d), or use another name",
        )


def shown(document: Document | None) -> dict[str, Any]:
    """Return a document as results and diffs have it: plain data, without secrets; empty for what does not exist."""
    return {
        key: value.describe() if isinstance(value, Rights) else value for key, value in sorted((document or {}).items())
    }
