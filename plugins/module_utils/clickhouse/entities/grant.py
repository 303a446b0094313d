# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Grants: the privileges and roles of one user or role."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import dropwhile, groupby
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
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    GRANT,
    REVOKE,
    REVOKE_OPTION,
    Grant,
    GrantError,
    Rights,
    Step,
    as_options,
    difference,
    render_elements,
    rights_after,
    split_show_grants,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Phase,
    Statement,
    WishError,
    check_name,
    check_text,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

_ELEMENT_OPTIONS = {
    "privilege": {"type": "list", "elements": "str", "required": True},
    "scope": {"type": "list", "elements": "str", "required": True},
    "grant_option": {"type": "bool", "default": False},
}
OPTIONS: dict[str, Any] = {
    "grantee": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "mode": {"type": "str", "choices": ["append", "exact", "remove"], "default": "append"},
    "privileges": {"type": "list", "elements": "dict", "options": _ELEMENT_OPTIONS},
    "partial_revokes": {"type": "list", "elements": "dict", "options": _ELEMENT_OPTIONS},
    **common.ROLES_OPTION,
    "cluster": common.OPTIONS["cluster"],
}


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one grantee.

    :raises WishError: for anything the server could not take, or that contradicts itself
    """
    mode, present = options["mode"], options["state"] == "present"
    contents = [name for name in ("privileges", "partial_revokes", "roles") if options.get(name) is not None]
    if not present and contents:
        raise WishError(
            contents[0], "state: absent takes everything away, so there is nothing to list; or use mode: remove"
        )
    if present and not contents:
        raise WishError("privileges", "give privileges, partial_revokes or roles (an empty list counts in mode: exact)")
    if mode == "remove" and options.get("partial_revokes") is not None:
        raise WishError("partial_revokes", "goes with mode append or exact; in mode remove list the privileges to take")
    document: Document = {}
    refs: list[Ref] = []
    common.wish_roles(options, document, refs)
    extra: dict[str, Any] = {"mode": mode if present else "exact", "gone": not present}
    if not present:
        extra["grants"], extra["revokes"], document["roles"] = [], [], []
    elif options.get("privileges") is not None or options.get("partial_revokes") is not None:
        extra["grants"] = _elements("privileges", options.get("privileges") or (), server)
        extra["revokes"] = _elements("partial_revokes", options.get("partial_revokes") or (), server)
        if mode == "exact" and options.get("privileges") is None:
            raise WishError("partial_revokes", "in mode exact it needs privileges beside it")
    return Wish("grant", check_name("grantee", options["grantee"]), True, document, refs=tuple(refs), extra=extra)


def _elements(option: str, entries: Sequence[Mapping[str, Any]], server: Server) -> list[Grant]:
    grants = []
    for index, entry in enumerate(entries):
        for key in ("privilege", "scope"):
            if not entry[key]:
                raise WishError(f"{option}[{index}].{key}", "is empty: nothing would happen")
            for text in entry[key]:
                check_text(f"{option}[{index}].{key}", text)
        for scope in entry["scope"]:
            for privilege in entry["privilege"]:
                try:
                    grant = server.privileges.grant(privilege, scope, bool(entry.get("grant_option")))
                except GrantError as error:
                    raise WishError(
                        f"{option}[{index}]", f"{error} (this server is {server.session.version})"
                    ) from None
                if grant.scope.wildcard:
                    server.require(f"{option}[{index}].scope", (24, 10), f"the wildcard in {scope}")
                grants.append(grant)
    return grants


NEEDS = (
    Need("users", ("name", "storage")),
    Need("roles", ("name", "storage")),
    Need(
        "role_grants", ("user_name", "role_name", "granted_role_name", "with_admin_option"), ("user_name", "role_name")
    ),
    Need(
        "grants",
        (
            "user_name",
            "role_name",
            "access_type",
            "access_object",
            "database",
            "table",
            "column",
            "is_partial_revoke",
            "grant_option",
            "is_wildcard",
        ),
        ("user_name", "role_name"),
    ),
)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the privileges and roles of users and roles.

    A name that is both is the user, as in ``GRANT ... TO name``.
    """
    found: dict[str, Current] = {}
    for kind in ("role", "user"):
        column = f"{kind}_name"
        granted = rows.by("grants", column)
        shown = _shown(server, [name for name, its in granted.items() if "is_wildcard" not in its[0]])
        for row in rows[f"{kind}s"]:
            name = row["name"]
            if name in shown:
                rights = Rights.from_show_grants(server.privileges, shown[name], granted[name])
            else:
                rights = Rights.from_rows(server.privileges, granted.get(name, ()))
            document = {"privileges": rights, "roles": common.read_roles(rows, column, name)}
            found[name] = rows.current(row, document)
    return found


def _shown(server: Server, names: Sequence[str]) -> dict[str, list[str]]:
    """SHOW GRANTS by grantee: before is_wildcard the table shows db.pre* like db.pre, the statement does not."""
    return split_show_grants(server.show_grants(names)) if names else {}


def nothing(server: Server) -> Current:
    """Return what a user or role that has just been made may do."""
    return Current({"privileges": Rights(server.privileges), "roles": []})


def after(before: Document | None, wished: Wish, server: Server) -> Document:
    """Return the privileges and roles as they will be."""
    had = before or nothing(server).document
    document = dict(had)
    mode = wished.extra["mode"]
    if "grants" in wished.extra:
        start = Rights(server.privileges) if mode == "exact" else had["privileges"]
        given, taken = wished.extra["grants"], wished.extra["revokes"]
        if mode == "remove":
            given, taken = (), given
        document["privileges"] = rights_after(start, given, taken)
    if "roles" in wished.document:
        document["roles"] = roles_after(had["roles"], wished)
    return document


def roles_after(had: Iterable[Mapping[str, Any]], wished: Wish) -> list[dict[str, Any]]:
    """Return the roles as they will be, in the form of the ``roles`` option."""
    mode = wished.extra["mode"]
    roles = {role["name"]: role["admin_option"] for role in had} if mode != "exact" else {}
    for role in wished.document["roles"]:
        name, admin = role["name"], role["admin_option"]
        if mode != "remove":
            roles[name] = admin or roles.get(name, False)
        elif admin and name in roles:
            roles[name] = False
        else:
            roles.pop(name, None)
    return [{"name": name, "admin_option": roles[name]} for name in sorted(roles)]


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statements: what is given first, then what is taken, so that no run opens a gap.

    Where a grant has to follow a revoke, all is set at once. That is no help for a grant inside a partial revoke: its
    REVOKE takes it along whatever was there before.
    """
    had = before or nothing(server).document
    steps = difference(had["privileges"], after["privileges"])
    afresh = difference(Rights(server.privileges), after["privileges"])
    gaps = [step for step in _late(steps) if step.verb == GRANT and step not in _late(afresh)]
    statements = _replace(wished.name, afresh, target) if gaps else _statements(wished.name, steps, target)
    statements += common.grant_roles(wished.name, had, after, target)
    return statements + common.revoke_roles(wished.name, had, after, target)


def _late(steps: Sequence[Step]) -> list[Step]:
    """The first step that takes, and all that follow it."""
    return list(dropwhile(lambda step: step.verb == GRANT, steps))


def _statements(name: str, steps: Sequence[Step], target: Target) -> list[Statement]:
    late = len(steps) - len(_late(steps))
    return [
        _statement(verb, name, [step.grant for step in batch], target, option, phase)
        for phase, part in ((Phase.GRANT, steps[:late]), (Phase.TAKE, steps[late:]))
        for (verb, option), batch in groupby(part, lambda step: (step.verb, step.grant.grant_option))
    ]


def _statement(
    verb: str, name: str, grants: Iterable[Grant], target: Target, grant_option: bool, phase: Phase, options: str = ""
) -> Statement:
    elements, subject = render_elements(grants), common.subject(name)
    if verb == GRANT:
        options = "WITH GRANT OPTION" if grant_option else options
        return statement("GRANT", target.on_cluster, elements, "TO", subject, options, phase=phase)
    option_only = "GRANT OPTION FOR" if verb == REVOKE_OPTION else ""
    return statement(REVOKE, target.on_cluster, option_only, elements, "FROM", subject, phase=phase)


def _replace(name: str, steps: Sequence[Step], target: Target) -> list[Statement]:
    """Set all privileges at once, then what a replacing GRANT cannot say: grant options, what is taken, and what is
    granted inside of that.

    :param steps: from nothing to what is wanted
    """
    late = _late(steps)
    grants = [replace(step.grant, grant_option=False) for step in steps if step.verb == GRANT]
    first = _statement(GRANT, name, grants, target, False, Phase.GRANT, "WITH REPLACE OPTION")
    options = [step for step in steps[: len(steps) - len(late)] if step.grant.grant_option]
    return [first, *_statements(name, [*options, *late], target)]


def export(document: Document) -> dict[str, Any]:
    """Return what a grantee may do as options. Its roles are said with the user or role itself."""
    return {"mode": "exact", **as_options(document["privileges"])}


TYPE = EntityType("grant", "", OPTIONS, wish, NEEDS, read, after, alter, key="grantee", export=export)
