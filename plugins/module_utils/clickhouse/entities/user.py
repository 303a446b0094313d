# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users: who may log in, from where, as whom, with which roles and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import authentication, canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Document,
    EntityType,
    Ref,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    HIDDEN,
    Clause,
    Secret,
    Statement,
    WishError,
    check_text,
    ident,
    literal,
    literals,
    statement,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

DEFAULTS: Document = {
    "authentication": [{"type": "no_password"}],
    "host": {"any": True},
    "default_database": "",
    "roles": [],
    "default_roles": {"all": True},
    "grantees": {"any": True},
    "settings": [],
    "profiles": [],
}
_METHOD_OPTIONS: dict[str, Any] = {
    "type": {"type": "str", "required": True, "choices": list(authentication.METHODS)},
    "password": {"type": "str", "no_log": True},
    "password_hash": {"type": "str", "no_log": True},
    "salt": {"type": "str", "no_log": True},
    "valid_until": {"type": "str"},
    "server": {"type": "str"},
    "scheme": {"type": "str"},
    "realm": {"type": "str"},
    "common_names": {"type": "list", "elements": "str"},
    "subject_alt_names": {"type": "list", "elements": "str"},
    "ssh_keys": {
        "type": "list",
        "elements": "dict",
        "no_log": False,
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "type": {"type": "str", "required": True},
        },
    },
}
OPTIONS: dict[str, Any] = {
    **common.OPTIONS,
    "authentication": {"type": "list", "elements": "dict", "options": _METHOD_OPTIONS},
    "update_password": {
        "type": "str",
        "choices": ["on_drift", "on_create", "always"],
        "default": "on_drift",
        "no_log": False,
    },
    "valid_until": {"type": "str"},
    "host": {
        "type": "dict",
        "options": {
            **{name: {"type": "bool", "default": False} for name in ("any", "none", "local")},
            **{name: {"type": "list", "elements": "str"} for name in ("ip", "name", "regexp", "like")},
        },
    },
    "default_database": {"type": "str"},
    **common.ROLES_OPTION,
    "default_roles": common.names_option("all"),
    "grantees": common.names_option("any"),
    **common.SETTINGS_OPTIONS,
    "allow_lockout": {"type": "bool", "default": False},
}
NEW_PASSWORD = f"{HIDDEN} (new)"


# -- options --------------------------------------------------------------------------------------------------------


def wish(options: Mapping[str, Any], server: Server) -> Wish:
    """Read the options of one user.

    :raises WishError: for anything the server could not take
    """
    document: Document = {}
    refs: list[Ref] = []
    credentials: list[authentication.Credential] = []
    methods = options.get("authentication")
    texts = [entry["valid_until"] for entry in methods or () if entry.get("valid_until") is not None]
    if options.get("valid_until") is not None:
        texts.append(options["valid_until"])
    times = server.times("valid_until", [check_text("valid_until", text) for text in texts])
    valid_until = times[options["valid_until"]] if options.get("valid_until") is not None else None
    if methods is not None:
        _check_versions(methods, server)
        document["authentication"], credentials = authentication.wished("authentication", methods, times, valid_until)
    if options.get("host") is not None:
        document["host"] = canonical.host("host", options["host"])
        _check_patterns(document["host"], server)
    if options.get("default_database") is not None:
        document["default_database"] = check_text("default_database", options["default_database"])
    common.wish_roles(options, document, refs)
    common.wish_names(options, "default_roles", "all", ("role",), document, refs)
    common.wish_names(options, "grantees", "any", ("user", "role"), document, refs)
    common.wish_settings(options, server, document, refs)
    extra = {
        "valid_until": valid_until if methods is None else None,
        "update_password": options.get("update_password") or "on_drift",
        "allow_lockout": bool(options.get("allow_lockout")),
    }
    return common.base_wish("user", options, document, refs, credentials=tuple(credentials), extra=extra)


def _check_patterns(host: canonical.HostDocument, server: Server) -> None:
    """Older servers (25.8 among them) drop all LIKE patterns but one, and any beside REGEXP, without a word.

    :raises WishError: if this server does, which it is asked
    """
    if "like" in host and (len(host["like"]) > 1 or "regexp" in host):
        create = literal(f"CREATE USER u {host_clause(host)}")
        rows = server.session.query(f"SELECT formatQuerySingleLine({create}) AS understood")
        if literals(host["like"]) not in rows[0]["understood"]:
            version = server.session.version
            raise WishError(
                "host.like",
                f"this server ({version}) keeps only one LIKE pattern, and none beside regexp: write them as regexp",
            )


def _check_versions(methods: Sequence[Mapping[str, Any]], server: Server) -> None:
    if len(methods) > 1:
        server.require("authentication", (24, 9), "more than one authentication method")
    since = {"scram_sha256_password": (25, 3), "no_authentication": (25, 8)}
    for index, entry in enumerate(methods):
        if entry["type"] in since:
            server.require(f"authentication[{index}].type", since[entry["type"]], entry["type"])


# -- state ----------------------------------------------------------------------------------------------------------


def read(server: Server, names: Sequence[str]) -> dict[str, Current]:
    """Return the users of these names that exist."""
    columns = [
        "name",
        "storage",
        "auth_type",
        "auth_params",
        "host_ip",
        "host_names",
        "host_names_regexp",
        "host_names_like",
        "default_roles_all",
        "default_roles_list",
        "default_roles_except",
        "grantees_any",
        "grantees_list",
        "grantees_except",
        "default_database",
    ]
    expiry = server.has_column("users", "valid_until")
    if expiry:
        columns.append("arrayMap(x -> if(toInt64(x) = 0, '', toString(x)), valid_until) AS expiry")
    columns += ["auth_grants"] if server.has_column("users", "auth_grants") else []
    rows = server.session.query(f"SELECT {', '.join(columns)} FROM system.users WHERE name IN ({literals(names)})")
    found = [row["name"] for row in rows]
    if not found:
        return {}
    settings = common.read_settings(server, "user_name", found)
    roles = server.granted_roles("user_name", found)
    users = {}
    for row in rows:
        name = row["name"]
        types, parameters = _authentication_columns(row)
        if expiry and not {"ssh_key", "http"} & set(types):
            methods = authentication.row_methods(types, parameters, row["expiry"])
        else:
            methods, _shown = authentication.shown_methods(server.show_create_user(name, ident(name)))
        for method, grants in zip(methods, row.get("auth_grants", ()), strict=False):
            method.update({"grants": grants} if grants else {})
        document: Document = {
            "authentication": methods,
            "host": canonical.stored_host(
                row["host_ip"], row["host_names"], row["host_names_regexp"], row["host_names_like"]
            ),
            "default_database": row["default_database"],
            "roles": roles.get(name, []),
            "default_roles": common.read_names(row, "default_roles", "all"),
            "grantees": common.read_names(row, "grantees", "any"),
            **settings[name],
        }
        users[name] = common.current(server, row, document)
    return users


def _authentication_columns(row: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Before 24.9 a user has one method, and the columns are no arrays."""
    types, parameters = row["auth_type"], row["auth_params"]
    if isinstance(types, str):
        types, parameters = [types], [parameters]
    return list(types), [json.loads(text or "{}") for text in parameters]


# -- passwords ------------------------------------------------------------------------------------------------------


def settle(server: Server, wished: Wish, current: Current | None) -> tuple[Wish, list[str]]:
    """Find out whether the wished passwords are the stored ones.

    Compared where the server shows secrets; else tried by one login for each password, where the user's hosts admit
    this machine; else unknown, which is said and never counted as a change.

    :return: the wish with ``extra["password"]`` set to ``same``, ``different`` or ``unknown``, and warnings
    """
    if not wished.present or not wished.credentials:
        return wished, []
    verdict, notes = _password_verdict(server, wished, current)
    return replace(wished, extra={**wished.extra, "password": verdict}), notes


def _password_verdict(server: Server, wished: Wish, current: Current | None) -> tuple[str, list[str]]:
    if current is None or wished.extra["update_password"] == "always":
        return "different", []
    before, after = current.document["authentication"], wished.document["authentication"]
    if authentication.without_secrets_and_expiry(before) != authentication.without_secrets_and_expiry(after):
        return "different", []
    if wished.extra["update_password"] == "on_create":
        return "same", []
    if server.shows_secrets:
        _methods, shown = authentication.shown_methods(server.show_create_user(wished.name, ident(wished.name)))
        if len(shown) == len(wished.credentials):
            return _compare_shown(wished.credentials, shown), []
    return _try_logins(server, wished, current)


def _compare_shown(
    credentials: Sequence[authentication.Credential], shown: Sequence[authentication.ShownSecret]
) -> str:
    """Pair each wished password with a stored one of its type; both lists have the same types."""
    left = list(shown)
    for credential in credentials:
        match = next((item for item in left if item.type == credential.type and credential.matches(item)), None)
        if match is None:
            return "different"
        left.remove(match)
    return "same"


def _try_logins(server: Server, wished: Wish, current: Current) -> tuple[str, list[str]]:
    """Try each password where a refusal, or being let in, can mean anything."""
    address = server.client_address()
    admitted = canonical.host_admits(current.document["host"], address) if address else None
    reason = ""
    if admitted is False:
        reason = f"the user's hosts do not admit this machine, {address}"
    elif any(credential.password is None for credential in wished.credentials):
        reason = "only its hash was given"
    elif any(method.get("valid_until", "~") <= server.now for method in current.document["authentication"]):
        reason = "the user's VALID UNTIL is over"
    else:
        answers = {server.session.admits(wished.name, str(item.password)) for item in wished.credentials}
        if answers == {True}:
            return "same", []
        if False in answers and admitted:
            return "different", []
        reason = "a login was refused, which a HOST restriction may have caused as well"
        if None in answers:
            reason = "the login attempt told nothing"
    return "unknown", [
        f"user {wished.name}: whether the stored password is the wanted one cannot be known ({reason});"
        " it was left alone. Use update_password: always to set it."
    ]


# -- change ---------------------------------------------------------------------------------------------------------


def after(before: Document | None, wished: Wish, server: Server) -> Document:
    """Return the user as it will be.

    :raises WishError: for a default role that the user will not have (ClickHouse's 512)
    """
    document = {**(before or DEFAULTS), **wished.document}
    valid_until = wished.extra.get("valid_until")
    if valid_until is not None:
        methods = [{key: value for key, value in m.items() if key != "valid_until"} for m in document["authentication"]]
        document["authentication"] = [{**m, "valid_until": valid_until} if valid_until else m for m in methods]
    elif "authentication" in wished.document:
        document["authentication"] = _authentication_after(before, wished)
    granted = {role["name"] for role in document["roles"]}
    for name in wished.document.get("default_roles", {}).get("names", ()):
        if name not in granted:
            raise WishError("default_roles.names", f"role {name} is not granted to {wished.name}: add it to roles")
    defaults = document["default_roles"].get("names", ())
    if not granted.issuperset(defaults):
        # Some versions drop a revoked role from the default roles, others keep it there, ready to come back: it goes.
        left = [name for name in defaults if name in granted]
        document["default_roles"] = canonical.names("default_roles", {"names": left}, "all")
    return document


def _authentication_after(before: Document | None, wished: Wish) -> list[authentication.MethodDocument]:
    had = before["authentication"] if before else []
    methods = authentication.with_expiries(had, wished.document["authentication"])
    if wished.extra.get("password") == "different":
        return [{**method, "password": NEW_PASSWORD} if "password" in method else method for method in methods]
    in_order = sorted(methods, key=sorted_items)
    return list(had) if in_order == sorted(had, key=sorted_items) else methods  # another order is no difference


def sorted_items(document: Document) -> str:
    """A document in a form that sorts, whatever the order of its keys."""
    return repr(sorted(document.items()))


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statements that make one user what it should be: clauses, then roles, then default roles."""
    clauses: list[Clause] = []
    if before is None or common.changed(before, after, "authentication"):
        clauses.append(_authentication_clause(wished, before, after))
    if common.changed(before or DEFAULTS, after, "host"):
        clauses.append(host_clause(after["host"]))
    if common.changed(before or DEFAULTS, after, "default_database"):
        database = after["default_database"]
        clauses.append(f"DEFAULT DATABASE {ident(database) if database else 'NONE'}")
    if common.changed(before or DEFAULTS, after, "settings", "profiles"):
        clauses.append(common.settings_clause(after, server, "PROFILE"))
    if common.changed(before or DEFAULTS, after, "grantees"):
        clauses.append(common.names_clause("GRANTEES", after["grantees"], "any"))
    statements = []
    if before is None or clauses:
        statements.append(statement(common.head("USER", wished, before is not None, target), *clauses))
    statements += common.grant_roles(wished.name, before, after, target)
    if common.changed(before or DEFAULTS, after, "default_roles"):
        clause = common.names_clause("DEFAULT ROLE", after["default_roles"], "all")
        statements.append(statement(f"ALTER USER {ident(wished.name)}", target.on_cluster, clause))
    return statements + common.revoke_roles(wished.name, before, after, target)


def _authentication_clause(wished: Wish, before: Document | None, after: Document) -> Clause:
    methods: list[authentication.MethodDocument] = after["authentication"]
    if "authentication" not in wished.document:
        expiry = wished.extra.get("valid_until")
        if before is not None:
            return f"VALID UNTIL {literal(expiry or 'infinity')}"
        return "IDENTIFIED WITH no_password" + (f" VALID UNTIL {literal(expiry)}" if expiry else "")
    if before is not None and wished.extra.get("password") in ("same", "unknown"):
        expiries = {method.get("valid_until", "") for method in methods}
        if len(expiries) == 1:
            # only the expiry differs, so no secret needs to travel
            return f"VALID UNTIL {literal(expiries.pop() or 'infinity')}"
    if any("grants" in method for method in (before or {}).get("authentication", ())):
        raise WishError(
            "authentication",
            f"a method of {wished.name} carries GRANTS (...), which this module cannot set and would take off it,"
            " widening what a login with it may do: change this user's authentication by SQL",
        )
    clause: list[str | Secret] = []
    credentials = iter(wished.credentials)
    # 24.8 keeps the expiry of the method that is replaced, so one that shall be gone is said
    never = {"valid_until": "infinity"} if before and any("valid_until" in m for m in before["authentication"]) else {}
    for index, method in enumerate(methods):
        credential = next(credentials) if "password" in method else None
        clause.append(", " if index else "IDENTIFIED WITH ")
        clause.extend(authentication.method_clause({**never, **method}, credential))
    return tuple(clause)


def host_clause(document: canonical.HostDocument) -> str:
    """Return the HOST clause."""
    if document.get("any"):
        return "HOST ANY"
    if document.get("none"):
        return "HOST NONE"
    parts = ["LOCAL"] if document.get("local") else []
    for kind in ("ip", "name", "regexp", "like"):
        if document.get(kind):
            parts.append(f"{kind.upper()} {literals(document[kind])}")
    return "HOST " + ", ".join(parts)


TYPE = EntityType("user", "USER", OPTIONS, wish, read, after, alter, settle)
