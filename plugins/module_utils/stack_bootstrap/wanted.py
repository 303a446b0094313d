# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a HyperDX team shall have, against what it has: its owner's password, connection and sources. No I/O.

Sources refer to each other by their names here, and by their ids in HyperDX, as in its DEFAULT_SOURCES
(packages/api/src/setupDefaults.ts). Of what is there, only what is wanted is compared.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
REFERENCES = ("logSourceId", "traceSourceId", "sessionSourceId", "metricSourceId")
KINDS = ("log", "trace", "session", "metric", "promql")
# HyperDX takes no source of this kind without it (SourceSchema in packages/common-utils/src/types.ts)
_NEEDED = {"session": "traceSourceId"}
_GENERATED = ("_id", "id", "__v", "team", "createdAt", "updatedAt")
_OURS = ("id", "_id", "team", "connection")


def password_problems(password: str) -> list[str]:
    """Return what HyperDX would refuse of a password at registration (packages/api/src/routers/api/root.ts)."""
    found = []
    if len(password) < 12:
        found.append("at least 12 characters")
    if not (re.search("[a-z]", password) and re.search("[A-Z]", password)):
        found.append("a small and a capital letter")
    if not re.search(r"\d", password):
        found.append("a digit")
    if not re.search(r'[!@#$%^&*(),.?":{}|<>]', password):
        found.append('one of !@#$%^&*(),.?":{}|<>')
    return found


def listed(sources: Mapping[str, Any]) -> list[Json]:
    """Return wanted sources with their names in them. Those that are None are left out, and references to them.

    :param sources: fields by the names of sources, or None in their place
    """
    left = {name for name, fields in sources.items() if fields is None}
    return [
        {"name": name, **{key: value for key, value in fields.items() if key not in REFERENCES or value not in left}}
        for name, fields in sources.items()
        if isinstance(fields, Mapping)
    ]


def source_problems(sources: Mapping[str, Any], existing: Collection[str] = ()) -> Iterator[str]:
    """What is wrong with wanted sources, before anything is changed.

    :param sources: fields by the names of sources, with names in place of ids; or None
    :param existing: names of further sources that they may refer to
    """
    for name, fields in sources.items():
        if fields is not None and not isinstance(fields, Mapping):
            yield f"{name}: a source is a dictionary of its fields, or null to leave it alone."
    wanted = listed(sources)
    names = {source["name"] for source in wanted}.union(existing)
    for source in wanted:
        label = source["name"]
        if source.get("kind") not in KINDS:
            yield f"{label}: its kind is one of {', '.join(KINDS)}, not {source.get('kind')}."
        taken = [key for key in _OURS if key in source]
        if taken:
            yield f"{label}: {', '.join(taken)} cannot be given; a source belongs to the connection that is made here."
        for key in REFERENCES:
            other = source.get(key)
            if other and other not in names:
                yield f"{label}: {key} is {other}, and there is no source of that name."


def by_name(sources: Sequence[Json]) -> dict[str, Json]:
    """Return sources by their names, of several with one name the first."""
    return {str(source.get("name")): source for source in reversed(sources)}


def named(source: Json, sources: Sequence[Json]) -> Json:
    """Return a source of HyperDX with names in place of ids of other sources."""
    names = {other["_id"]: other.get("name") for other in sources}
    return {key: names.get(value, value) if key in REFERENCES else value for key, value in source.items()}


def differences(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the wanted fields that are something else now, each with what it is and what it shall be.

    A field that shall be None or an empty text is one that shall not be there. Of a dictionary only the wanted keys
    count.
    """
    found = {}
    for key, value in wanted.items():
        before = current.get(key)
        if isinstance(value, Mapping):
            is_same = isinstance(before, Mapping) and not differences(before, value)
        else:
            is_same = before == value or (_is_empty(before) and _is_empty(value))
        if not is_same:
            found[key] = (before, value)
    return found


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def resolved(wanted: Json, ids: Mapping[str, str], connection: str) -> Json:
    """Return a wanted source as HyperDX takes it. References to sources that are not there yet are left out.

    :param wanted: the source, with names
    :param ids: ids of sources by their names
    :param connection: id of the connection
    """
    body: Json = {"connection": connection}
    for key, value in wanted.items():
        if key in REFERENCES and not _is_empty(value):
            if value in ids:
                body[key] = ids[value]
        elif value is not None:
            body[key] = value
    return body


def can_be_created(body: Json) -> bool:
    """Whether a resolved source has the reference that HyperDX wants of its kind."""
    needed = _NEEDED.get(body["kind"])
    return needed is None or bool(body.get(needed))


def replacement(current: Json, wanted: Json, body: Json) -> Json:
    """Return what a source is replaced by: HyperDX drops what a PUT leaves out, so the rest of it comes along.

    :param current: the source as HyperDX shows it
    :param wanted: the source as it shall be
    :param body: the same, resolved
    """
    kept = {} if current.get("kind") != wanted["kind"] else current
    full = {key: value for key, value in kept.items() if key not in _GENERATED and value is not None}
    for key, value in wanted.items():
        if _is_empty(value):
            full.pop(key, None)
    for key, value in body.items():
        if isinstance(value, Mapping) and isinstance(full.get(key), Mapping):
            full[key] = {**full[key], **value}
        elif not _is_empty(value):
            full[key] = value
    return {**full, "id": current["_id"]}


def shown(fields: Mapping[str, tuple[Any, Any]], which: int) -> Json:
    """Return one side of differences, for a diff: 0 for what is, 1 for what shall be."""
    return {key: pair[which] for key, pair in sorted(fields.items())}
