# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is there and what is wanted to changes and their statements; all that a run reports comes from here.

Nothing is read and nothing is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    Current,
    Document,
    EntityType,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Phase,
    Statement,
    Subjects,
    WishError,
    ident,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

_MOST_SUBJECTS = 1000
_MOST_TEXT = 100_000
"""Bounds of one shared statement; ClickHouse's ``max_query_size`` is 262,144 bytes."""


def plan(
    entity_type: EntityType, wish: Wish, currents: Mapping[str, Current | None], target: Target, server: Server
) -> Change:
    """Decide what happens to one entity.

    :param currents: the entity as it is on each replica, the connected server's first; ``None`` where it does not exist
    :param server: the server's facts, for canonical forms; nothing is read for the decision itself
    :raises WishError: if the entity lives where SQL cannot change it
    """
    ours, *others = currents.values()
    there = next((current for current in (ours, *others) if current is not None), None)
    if there is not None and others:
        documents = [current.document if current else None for current in (ours, *others)]
        target = replace(target, lenient=None in documents, differs=any(one != documents[0] for one in documents))
    if not wish.present:
        return _drop(entity_type, wish, there, target)
    before = ours.document if ours else None
    after = entity_type.after(there.document if there else None, wish, server)
    statements: dict[Statement, None] = {}
    seen: list[Document | None] = []
    for current in sorted((ours, *others), key=lambda one: one is not None):  # who lacks it, first
        had = current.document if current else None
        if had in seen:
            continue
        seen.append(had)
        its_after = after if current in (None, there) else entity_type.after(had, wish, server)
        if had != its_after:
            # What one replica needs does no harm to another: it says what should be, not how it differs.
            statements.update(dict.fromkeys(entity_type.alter(wish, had, its_after, target, server)))
    if there and wish.storage and there.storage != wish.storage:
        before = {**there.document, "storage": there.storage}
        after = {**after, "storage": wish.storage}
        move = statement(
            f"MOVE {entity_type.keyword}",
            Subjects((entity_type.quote(wish.name),)),
            f"TO {ident(wish.storage)}",
            target.on_cluster,
        )
        statements[move] = None
    if there and statements:
        _check_writable(entity_type, wish, there)
    return Change(entity_type.kind, wish.name, before, after if statements else before, tuple(statements))


def _drop(entity_type: EntityType, wish: Wish, current: Current | None, target: Target) -> Change:
    if current is None or (wish.storage and current.storage != wish.storage):
        return Change(entity_type.kind, wish.name, None, None)
    _check_writable(entity_type, wish, current)
    drop = statement(
        f"DROP {entity_type.keyword}{' IF EXISTS' if target.lenient else ''}",
        Subjects((entity_type.quote(wish.name),)) if entity_type.shares else entity_type.quote(wish.name),
        f"FROM {ident(wish.storage)}" if wish.storage else "",
        target.on_cluster,
        phase=Phase.DROP,
    )
    return Change(entity_type.kind, wish.name, current.document, None, (drop,))


def _check_writable(entity_type: EntityType, wish: Wish, current: Current) -> None:
    if current.read_only:
        files = "config.xml, config.d" if wish.kind == "named_collection" else "users.xml, users.d"
        raise WishError(
            entity_type.key,
            f"{wish.name} lives in {current.storage}, which SQL cannot change: edit the server's configuration"
            f" ({files}), or use another name",
        )


def ordered(changes: Sequence[Change], ranks: Mapping[tuple[str, str], tuple[int, int]]) -> tuple[Statement, ...]:
    """Put the statements of many changes in the order they run, and share those that differ only in their subjects.

    By phase; in it, what others refer to first (last where things are dropped). Two statements that are shared stand at
    the same place of that phase of their own changes, so no entity meets its statements in another order.

    :param ranks: the place of an entity, kind and name, among what refers to what
    """
    shared: dict[tuple[Any, ...], list[str]] = {}
    firsts: dict[tuple[Any, ...], Statement] = {}
    for change in changes:
        rank = ranks[change.kind, change.name]
        steps = dict.fromkeys(Phase, 0)
        for one in change.statements:
            step = steps[one.phase]
            steps[one.phase] += 1
            place = tuple(-part for part in rank) if one.phase == Phase.DROP else rank
            key = (one.phase, place, step, one.shape, None if one.subjects else change.name)
            firsts.setdefault(key, one)
            shared.setdefault(key, []).extend(one.subjects)
    statements: list[Statement] = []
    for key in sorted(shared, key=lambda key: key[:3]):
        statements += [firsts[key].about(chunk) for chunk in _chunks(shared[key])] or [firsts[key]]
    return tuple(statements)


def _chunks(quoted: Iterable[str]) -> Iterable[tuple[str, ...]]:
    chunk: list[str] = []
    length = 0
    for name in quoted:
        if chunk and (len(chunk) == _MOST_SUBJECTS or length + len(name) > _MOST_TEXT):
            yield tuple(chunk)
            chunk, length = [], 0
        chunk.append(name)
        length += len(name) + 2
    if chunk:
        yield tuple(chunk)


def shown(document: Document | None) -> dict[str, Any]:
    """Return a document as results and diffs have it: plain data, without secrets; empty for what does not exist."""
    return {
        key: value.describe() if hasattr(value, "describe") else value
        for key, value in sorted((document or {}).items())
    }
