# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users: who may log in, from where, as whom, with which roles and settings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import authentication, canonical
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
    HIDDEN,
    Clause,
    Phase,
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


NEEDS = (
    Need(
        "users",
        (
            "name",
            "storage",
            "auth_type",
            "auth_params",
            "valid_until",
            "auth_grants",
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
        ),
    ),
    common.roles_needs("user_name"),
    common.settings_needs("user_name"),
)


def read(server: Server, rows: Rows) -> dict[str, Current]:
    """Return the users."""
    columns = {row["name"]: _authentication_columns(row) for row in rows["users"]}
    # what the table does not say (keys, schemes, before 25.9 the expiry), SHOW CREATE USER does
    unsaid = {
        row["name"]
        for row in rows["users"]
        if "valid_until" not in row or not {"ssh_key", "http"}.isdisjoint(columns[row["name"]][0])
    }
    said = server.show_create_users(sorted(unsaid))
    users = {}
    for row in rows["users"]:
        name = row["name"]
        if name in unsaid and name in said:
            methods, _shown = authentication.shown_methods(said[name])
            for method in methods:
                if method.get("valid_until", server.epoch) < server.epoch:
                    # older versions keep a date before 1970 as it is; newer ones, and wishes, make this of it
                    method["valid_until"] = f"{server.epoch[:-1]}1"
        else:
            expiries = ["" if time == server.epoch else time for time in row.get("valid_until", ())]
            methods = authentication.row_methods(*columns[name], expiries)
        for method, grants in zip(methods, row.get("auth_grants", ()), strict=False):
            method.update({"grants": grants} if grants else {})
        document: Document = {
            "authentication": methods,
            "host": canonical.stored_host(
                row["host_ip"], row["host_names"], row["host_names_regexp"], row["host_names_like"]
            ),
            "default_database": row["default_database"],
            "roles": common.read_roles(rows, "user_name", name),
            "default_roles": common.read_names(row, "default_roles", "all"),
            "grantees": common.read_names(row, "grantees", "any"),
            **common.read_settings(server, rows, "user_name", name),
        }
        users[name] = rows.current(row, document)
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
    this machine; else unknown, which is said and never counted as a change. Nothing is done for secrets that are kept.

    :return: the wish with ``extra["password"]`` set to ``same``, ``different`` or ``unknown``, and warnings
    :raises WishError: for another password beside a secret that is kept, which ClickHouse cannot set
    """
    if not wished.present or all(credential.kept for credential in wished.credentials):
        return wished, []
    kept = authentication.kept(wished.document["authentication"], wished.credentials)
    if kept:
        verdict, notes = _verdict_beside_kept(server, wished, current, kept)
    else:
        verdict, notes = _password_verdict(server, wished, current, wished.credentials)
    return replace(wished, extra={**wished.extra, "password": verdict}), notes


def _verdict_beside_kept(
    server: Server, wished: Wish, current: Current | None, kept: Collection[int]
) -> tuple[str, list[str]]:
    """Say whether the passwords that were given are stored, or are those of methods that are new."""
    before = current.document["authentication"] if current else []
    authentication.check_kept("authentication", before, wished.document["authentication"], kept)
    pairs = authentication.paired(before, wished.document["authentication"], kept)
    given = [(pair, item) for pair, item in zip(pairs, _credentials(wished), strict=True) if item and not item.kept]
    stored = [item for pair, item in given if pair is not None]
    verdict, notes = _password_verdict(server, wished, current, stored) if stored else ("same", [])
    if verdict == "different":
        raise WishError(
            "authentication",
            f"another password is to be set beside a secret that is kept; {authentication.ALL_AT_ONCE}",
        )
    return ("different" if len(stored) < len(given) else verdict), notes


def _credentials(wished: Wish) -> list[authentication.Credential | None]:
    return authentication.credentials_of(wished.document["authentication"], wished.credentials)


def _password_verdict(
    server: Server, wished: Wish, current: Current | None, credentials: Sequence[authentication.Credential]
) -> tuple[str, list[str]]:
    """Say whether these passwords are stored; without kept ones beside them they must be all that are."""
    if current is None or wished.extra["update_password"] == "always":
        return "different", []
    before, after = current.document["authentication"], wished.document["authentication"]
    whole = len(credentials) == len(wished.credentials)
    if whole and authentication.without_secrets_and_expiry(before) != authentication.without_secrets_and_expiry(after):
        return "different", []
    if wished.extra["update_password"] == "on_create":
        return "same", []
    if server.shows_secrets:
        _methods, shown = authentication.shown_methods(server.show_create_user(wished.name))
        if len(shown) == sum("password" in method for method in before):
            return _compare_shown(credentials, shown), []
    return _try_logins(server, wished, current, credentials)


def _compare_shown(
    credentials: Sequence[authentication.Credential], shown: Sequence[authentication.ShownSecret]
) -> str:
    """Pair each wished password with a stored one of its type, of which there are enough."""
    left = list(shown)
    for credential in credentials:
        match = next((item for item in left if item.type == credential.type and credential.matches(item)), None)
        if match is None:
            return "different"
        left.remove(match)
    return "same"


def _try_logins(
    server: Server, wished: Wish, current: Current, credentials: Sequence[authentication.Credential]
) -> tuple[str, list[str]]:
    """Try each password where a refusal, or being let in, can mean anything."""
    address = server.client_address()
    admitted = canonical.host_admits(current.document["host"], address) if address else None
    reason = ""
    if admitted is False:
        reason = f"the user's hosts do not admit this machine, {address}"
    elif any(credential.password is None for credential in credentials):
        reason = "only its hash was given"
    elif any(method.get("valid_until", "~") <= server.now for method in current.document["authentication"]):
        reason = "the user's VALID UNTIL is over"
    else:
        answers = {server.session.admits(wished.name, str(item.password)) for item in credentials}
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
    wanted = wished.document["authentication"]
    if wanted == had and wished.extra.get("password") != "different":
        return list(had)  # as with most of many users
    kept = authentication.kept(wanted, wished.credentials)
    authentication.check_kept("authentication", had, wanted, kept)
    authentication.check_new("authentication", had, wanted, kept)
    methods = authentication.with_expiries(had, wanted, kept)
    if kept:
        pairs = authentication.paired(had, wanted, kept)
        stay = [methods[pairs.index(index)] for index in range(len(had))]
        return stay + [_marked(method) for method, pair in zip(methods, pairs, strict=True) if pair is None]
    if wished.extra.get("password") == "different":
        return [_marked(method) for method in methods]
    in_order = sorted(methods, key=sorted_items)
    return list(had) if in_order == sorted(had, key=sorted_items) else methods  # another order is no difference


def _marked(method: authentication.MethodDocument) -> authentication.MethodDocument:
    return {**method, "password": NEW_PASSWORD} if "password" in method else method


def sorted_items(document: Document) -> str:
    """A document in a form that sorts, whatever the order of its keys."""
    return repr(sorted(document.items()))


def alter(wished: Wish, before: Document | None, after: Document, target: Target, server: Server) -> list[Statement]:
    """Return the statements that make one user what it should be: clauses, then roles, then default roles."""
    clauses: list[Clause] = []
    later: list[Clause] = []
    if before is None or common.changed(before, after, "authentication"):
        clauses.append(_authentication_clause(wished, before, after, target))
    if common.changed(before or DEFAULTS, after, "host"):
        clauses.append(host_clause(after["host"]))
    if common.changed(before or DEFAULTS, after, "default_database"):
        database = after["default_database"]
        clauses.append(f"DEFAULT DATABASE {ident(database) if database else 'NONE'}")
    if common.changed(before or DEFAULTS, after, "settings", "profiles"):
        clauses.append(common.settings_clause(after, server, "PROFILE"))
    if common.changed(before or DEFAULTS, after, "grantees"):
        grantees = common.names_clause("GRANTEES", after["grantees"], "any")
        (later if common.waits(after["grantees"], ("user", "role"), target) else clauses).append(grantees)
    statements = []
    if before is None or clauses:
        statements.append(statement(common.head("USER", wished, before is not None, target), *clauses))
    if later:
        statements.append(statement(common.head("USER", wished, True, target), *later, phase=Phase.LINK))
    statements += common.grant_roles(wished.name, before, after, target)
    if common.changed(before or DEFAULTS, after, "default_roles"):
        clause = common.names_clause("DEFAULT ROLE", after["default_roles"], "all")
        statements.append(statement(common.head("USER", wished, True, target), clause, phase=Phase.GRANT))
    return statements + common.revoke_roles(wished.name, before, after, target)


def _authentication_clause(wished: Wish, before: Document | None, after: Document, target: Target) -> Clause:
    methods: list[authentication.MethodDocument] = after["authentication"]
    if "authentication" not in wished.document:
        expiry = wished.extra.get("valid_until")
        if before is not None:
            return f"VALID UNTIL {literal(expiry or 'infinity')}"
        if any("password" in method for method in methods):
            raise WishError(
                "authentication",
                f"a replica lacks {wished.name}, and the password that others have cannot be copied to it: give it",
            )
        # a new user's no_password, or what the other replicas have
        return _methods_clause(methods, ())
    kept = authentication.kept(wished.document["authentication"], wished.credentials)
    if kept and target.differs:
        raise WishError(
            "authentication",
            f"replicas have different states of {wished.name}, so no secret can be kept; {authentication.ALL_AT_ONCE}",
        )
    if kept:
        had = before["authentication"] if before else []  # a replica may lack the user
        authentication.check_kept("authentication", had, wished.document["authentication"], kept)
        return _added_clause(wished, had, methods)
    if before is not None and wished.extra.get("password") != "different":
        expiries = {method.get("valid_until", "") for method in methods}
        same = authentication.without_secrets_and_expiry
        if len(expiries) == 1 and same(before["authentication"]) == same(methods):
            # only the expiry differs, so no secret needs to travel
            return f"VALID UNTIL {literal(expiries.pop() or 'infinity')}"
    if any("grants" in method for method in (before or {}).get("authentication", ())):
        raise WishError(
            "authentication",
            f"a method of {wished.name} carries GRANTS (...), which this module cannot set and would take off it,"
            " widening what a login with it may do: change this user's authentication by SQL",
        )
    # 24.8 keeps the expiry of the method that is replaced, so one that shall be gone is said
    never = {"valid_until": "infinity"} if before and any("valid_until" in m for m in before["authentication"]) else {}
    return _methods_clause([{**never, **method} for method in methods], wished.credentials)


def _methods_clause(
    methods: Iterable[authentication.MethodDocument], credentials: Iterable[authentication.Credential]
) -> Clause:
    """Return IDENTIFIED WITH, which replaces all methods; the credentials are those of the password methods."""
    clause: list[str | Secret] = []
    given = iter(credentials)
    for index, method in enumerate(methods):
        clause.append(", " if index else "IDENTIFIED WITH ")
        clause.extend(authentication.method_clause(method, next(given) if "password" in method else None))
    return tuple(clause)


def _added_clause(
    wished: Wish, before: Sequence[authentication.MethodDocument], after: Sequence[authentication.MethodDocument]
) -> Clause:
    """Return what leaves stored secrets alone: ADD IDENTIFIED, which appends, and VALID UNTIL.

    VALID UNTIL sets every method, those that are appended by the same statement too (seen on ClickHouse 25.8).

    :raises WishError: for expiries that differ where those that stay change
    """
    wanted = wished.document["authentication"]
    pairs = authentication.paired(before, wanted, authentication.kept(wanted, wished.credentials))
    added = [credential for pair, credential in zip(pairs, _credentials(wished), strict=True) if pair is None]
    clause: list[str | Secret] = []
    if list(after[: len(before)]) != list(before):
        expiries = {method.get("valid_until", "") for method in after}
        if len(expiries) > 1:
            raise WishError(
                "authentication",
                f"the expiry of a method that keeps its secret cannot be set apart; {authentication.ALL_AT_ONCE}",
            )
        clause.append(f"VALID UNTIL {literal(expiries.pop() or 'infinity')}" + (" " if added else ""))
    for index, credential in enumerate(added):
        clause.append(", " if index else "ADD IDENTIFIED WITH ")
        clause.extend(authentication.method_clause(after[len(before) + index], credential))
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


def export(document: Document) -> dict[str, Any]:
    """Return a user as options, without secrets."""
    return {**document, "authentication": authentication.export_authentication(document["authentication"])}


TYPE = EntityType("user", "USER", OPTIONS, wish, NEEDS, read, after, alter, settle, export=export)
