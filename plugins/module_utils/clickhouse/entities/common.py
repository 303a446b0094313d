# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users, roles and settings profiles have in common: settings, profiles, granted roles, and where they live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Document,
    Need,
    Ref,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Phase,
    Secret,
    Statement,
    Subjects,
    WishError,
    check_name,
    ident,
    idents,
    literal,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

# -- options ---------------------------------------------------------------------------------------------------------

OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "cluster": {"type": "str"},
    "storage": {"type": "str"},
}
SETTINGS_OPTIONS: dict[str, Any] = {
    "settings": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "value": {"type": "raw"},
            "min": {"type": "raw"},
            "max": {"type": "raw"},
            "writability": {"type": "str", "choices": list(canonical.WRITABILITY)},
        },
    },
    "profiles": {"type": "list", "elements": "str"},
}
ROLES_OPTION: dict[str, Any] = {
    "roles": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "admin_option": {"type": "bool", "default": False},
        },
    },
}


def names_option(everyone: str) -> dict[str, Any]:
    """The argument spec of a set of users and roles.

    :param everyone: the clause's word for all of them, ``all`` or ``any``
    """
    return {
        "type": "dict",
        "options": {
            everyone: {"type": "bool", "default": False},
            "none": {"type": "bool", "default": False},
            "names": {"type": "list", "elements": "str"},
            "except": {"type": "list", "elements": "str"},
        },
    }


# -- options to canonical form --------------------------------------------------------------------------------------


def base_wish(kind: str, options: Mapping[str, Any], document: Document, refs: Iterable[Ref], **more: Any) -> Wish:
    """Build the wish of one entity from what every kind's module has: name, state, storage."""
    return Wish(
        kind=kind,
        name=check_name("name", options["name"]),
        present=options.get("state") != "absent",
        document=document,
        storage=check_name("storage", options["storage"]) if options.get("storage") is not None else None,
        refs=tuple(refs),
        **more,
    )


def wish_settings(options: Mapping[str, Any], server: Server, document: Document, refs: list[Ref]) -> None:
    """Put the options ``settings`` and ``profiles`` into a document, in canonical form.

    :raises WishError: for values that do not fit, and names given twice
    """
    if options.get("settings") is not None:
        names = [
            check_name(f"settings[{index}].name", entry["name"]) for index, entry in enumerate(options["settings"])
        ]
        types = server.setting_types(names)
        elements: dict[str, canonical.SettingDocument] = {}
        for index, entry in enumerate(options["settings"]):
            element = canonical.setting(f"settings[{index}]", entry, types[entry["name"]])
            if element["name"] in elements:
                raise WishError(f"settings[{index}].name", f"setting {element['name']} is given twice")
            elements[element["name"]] = element
        document["settings"] = [elements[name] for name in sorted(elements)]
    if options.get("profiles") is not None:
        profiles = [check_name(f"profiles[{index}]", name) for index, name in enumerate(options["profiles"])]
        # a profile named twice stands where it was named last, as ClickHouse keeps it
        document["profiles"] = list(reversed(dict.fromkeys(reversed(profiles))))
        refs.extend(Ref(("settings_profile",), name, "profiles") for name in document["profiles"])


def wish_roles(options: Mapping[str, Any], document: Document, refs: list[Ref]) -> None:
    """Put the option ``roles`` into a document.

    :raises WishError: for a role given twice
    """
    if options.get("roles") is None:
        return
    roles: dict[str, bool] = {}
    for index, entry in enumerate(options["roles"]):
        name = check_name(f"roles[{index}].name", entry["name"])
        if name in roles:
            raise WishError(f"roles[{index}].name", f"role {name} is given twice")
        roles[name] = bool(entry.get("admin_option"))
    document["roles"] = [{"name": name, "admin_option": roles[name]} for name in sorted(roles)]
    refs.extend(Ref(("role",), name, "roles") for name in sorted(roles))


def wish_names(
    options: Mapping[str, Any], option: str, everyone: str, kinds: tuple[str, ...], document: Document, refs: list[Ref]
) -> None:
    """Put an option that names a set of users and roles into a document."""
    if options.get(option) is None:
        return
    document[option] = canonical.names(option, options[option], everyone)
    for key in ("names", "except"):
        refs.extend(Ref(kinds, name, f"{option}.{key}") for name in document[option].get(key, ()))


# -- rows to canonical form -----------------------------------------------------------------------------------------


def settings_needs(column: str) -> Need:
    """What :func:`read_settings` reads; ``column`` is ``user_name``, ``role_name`` or ``profile_name``."""
    columns = ("index", "setting_name", "value", "min", "max", "writability", "inherit_profile")
    return Need("settings_profile_elements", (column, *columns), (column,))


def read_settings(server: Server, rows: Rows, column: str, owner: str) -> Document:
    """Return ``settings`` and ``profiles`` of one user, role or profile."""
    elements = rows.by("settings_profile_elements", column).get(owner, ())
    types = server.setting_types(row["setting_name"] for row in elements if row["setting_name"] is not None)
    settings: dict[str, canonical.SettingDocument] = {}
    profiles: list[str] = []
    for row in sorted(elements, key=lambda row: int(row["index"])):
        if row["inherit_profile"] is not None:
            profiles.append(row["inherit_profile"])
            continue
        kind = types[row["setting_name"]]
        element: canonical.SettingDocument = {"name": kind.name}
        for key in ("value", "min", "max"):
            stored = canonical.stored_value(row[key], kind)
            if stored is not None:
                element[key] = stored
        if row["writability"] is not None:
            element["writability"] = row["writability"].lower()
        settings[kind.name] = element
    return {"settings": [settings[name] for name in sorted(settings)], "profiles": profiles}


def roles_needs(column: str) -> Need:
    """What :func:`read_roles` reads; ``column`` is ``user_name`` or ``role_name``."""
    return Need("role_grants", (column, "granted_role_name", "with_admin_option"), (column,))


def read_roles(rows: Rows, column: str, owner: str) -> list[dict[str, Any]]:
    """Return the roles granted to one user or role, as the ``roles`` option has them."""
    granted = {
        row["granted_role_name"]: bool(int(row["with_admin_option"]))
        for row in rows.by("role_grants", column).get(owner, ())
    }
    return [{"name": name, "admin_option": granted[name]} for name in sorted(granted)]


def read_names(row: Mapping[str, Any], prefix: str, everyone: str) -> canonical.NamesDocument:
    """Return a set of users and roles from the columns ``<prefix>_all`` (or any), ``_list`` and ``_except``."""
    if int(row[f"{prefix}_{everyone}"]):
        return canonical.names(prefix, {everyone: True, "except": row[f"{prefix}_except"]}, everyone)
    return canonical.names(prefix, {"names": row[f"{prefix}_list"]}, everyone)


# -- canonical form to clauses --------------------------------------------------------------------------------------


def settings_clause(document: Document, server: Server, profile_word: str) -> str:
    """Return the whole SETTINGS clause: it replaces all settings and all profiles.

    :param profile_word: ``PROFILE`` for users and roles, ``INHERIT`` for profiles
    """
    parts = [f"{profile_word} {ident(name)}" for name in document["profiles"]]
    types = server.setting_types(element["name"] for element in document["settings"])
    for element in document["settings"]:
        kind = types[element["name"]]
        text = ident(element["name"])
        for key, word in (("value", " ="), ("min", " MIN"), ("max", " MAX")):
            if key in element:
                text += f"{word} {_setting_literal(kind, element[key])}"
        if "writability" in element:
            text += f" {element['writability'].upper()}"
        parts.append(text)
    return "SETTINGS " + (", ".join(parts) or "NONE")


def _setting_literal(kind: canonical.SettingType, value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value) if canonical.is_bare(kind, value) else literal(str(value))


def names_clause(word: str, document: canonical.NamesDocument, everyone: str) -> str:
    """Return ``DEFAULT ROLE``, ``GRANTEES`` or ``TO`` with its set of names."""
    if document.get(everyone):
        excluded = document.get("except")
        return f"{word} {everyone.upper()}" + (f" EXCEPT {idents(excluded)}" if excluded else "")
    return f"{word} " + (idents(document["names"]) if document.get("names") else "NONE")


def after(defaults: Document) -> Callable[[Document | None, Wish, Server], Document]:
    """Return the function that says what an entity will be: what it was (or the defaults) with the wish over it."""
    return lambda before, wished, server: {**(before or defaults), **wished.document}


def changed(before: Document | None, after: Document, *fields: str) -> bool:
    """Whether any of the fields differs."""
    return any((before or {}).get(name) != after.get(name) for name in fields)


def head(
    keyword: str, wish: Wish, exists: bool, target: Target, quote: Callable[[str], str] = ident
) -> tuple[str | Secret | Subjects, ...]:
    """Return the beginning of CREATE or ALTER."""
    verb = f"ALTER {keyword}" if exists else f"CREATE {keyword}{' IF NOT EXISTS' if target.lenient else ''}"
    storage = f" IN {ident(wish.storage)}" if wish.storage and not exists else ""
    cluster = f" {target.on_cluster}" if target.cluster else ""
    return (f"{verb} ", Subjects((quote(wish.name),)), f"{storage}{cluster}")


def subject(name: str) -> Subjects:
    """Return a name as a statement's subject."""
    return Subjects((ident(name),))


def waits(names: canonical.NamesDocument, kinds: Iterable[str], target: Target) -> bool:
    """Whether a set of users and roles names some that this run makes."""
    listed = [*names.get("names", ()), *names.get("except", ())]
    return any((kind, name) in target.coming for kind in kinds for name in listed)


# -- granted roles --------------------------------------------------------------------------------------------------


def grant_roles(name: str, before: Document | None, after: Document, target: Target) -> list[Statement]:
    """Return the statements that give roles, and the admin option."""
    had = {role["name"]: role["admin_option"] for role in (before or {}).get("roles", ())}
    statements = []
    for admin in (False, True):
        roles = [
            role["name"]
            for role in after.get("roles", ())
            if role["admin_option"] == admin and (role["name"] not in had or (admin and not had[role["name"]]))
        ]
        if roles:
            option = "WITH ADMIN OPTION" if admin else ""
            statements.append(
                statement("GRANT", target.on_cluster, idents(roles), "TO", subject(name), option, phase=Phase.GRANT)
            )
    return statements


def revoke_roles(name: str, before: Document | None, after: Document, target: Target) -> list[Statement]:
    """Return the statements that take roles, and the admin option, away."""
    wanted = {role["name"]: role["admin_option"] for role in after.get("roles", ())}
    had = (before or {}).get("roles", ())
    statements = []
    options = [role["name"] for role in had if role["admin_option"] and wanted.get(role["name"]) is False]
    if options:
        statements.append(_revoke(f"ADMIN OPTION FOR {idents(options)}", name, target))
    roles = [role["name"] for role in had if role["name"] not in wanted]
    if roles:
        statements.append(_revoke(idents(roles), name, target))
    return statements


def _revoke(what: str, name: str, target: Target) -> Statement:
    return statement("REVOKE", target.on_cluster, what, "FROM", subject(name), phase=Phase.TAKE)
