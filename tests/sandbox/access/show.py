"""SHOW: entities and grants as the statements that would make them, and the lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from .implicit import add_implicit
from .interface import SessionInfo, Table
from .model import (
    KINDS,
    AuthMethod,
    Entity,
    Grantee,
    Hosts,
    Ids,
    Limits,
    Quota,
    Role,
    RowPolicy,
    ServerError,
    Setting,
    SettingsProfile,
    User,
)
from .passwords import HASH_OF
from .privileges import SOURCES
from .rights import Element, Rights
from .statements import CURRENT_USER, UNITS, Show
from .text import backquote, literal, quote

if TYPE_CHECKING:
    from .control import AccessControl

LIMIT_NAMES = (
    "queries",
    "query_selects",
    "query_inserts",
    "errors",
    "result_rows",
    "result_bytes",
    "read_rows",
    "read_bytes",
    "execution_time",
    "written_bytes",
    "failed_sequential_authentications",
    "queries_per_normalized_hash",
)
"""The resources a quota limits, in ClickHouse's order."""
READ_PRIVILEGES = {
    "USER": "SHOW USERS",
    "ROLE": "SHOW ROLES",
    "SETTINGS PROFILE": "SHOW SETTINGS PROFILES",
    "QUOTA": "SHOW QUOTAS",
    "ROW POLICY": "SHOW ROW POLICIES",
}


def moment(access: AccessControl, seconds: int) -> str:
    """A time in the server's time zone."""
    return datetime.fromtimestamp(seconds, ZoneInfo(access.timezone)).strftime("%Y-%m-%d %H:%M:%S")


# entities -------------------------------------------------------------------------------------------------------------


def create_statement(access: AccessControl, entity: Entity, secrets: bool) -> str:
    """The entity as SHOW CREATE prints it; `secrets`: with the passwords' hashes."""
    parts = [f"CREATE {entity.kind} {backquote(entity.name) if isinstance(entity, SettingsProfile) else _name(entity)}"]
    if isinstance(entity, User):
        parts += _user_parts(access, entity, secrets)
    elif isinstance(entity, Role):
        parts.append(settings_text(access, entity.settings, "PROFILE"))
    elif isinstance(entity, SettingsProfile):
        parts.append(settings_text(access, entity.settings, "INHERIT"))
    elif isinstance(entity, Quota):
        parts += _quota_parts(access, entity)
    elif isinstance(entity, RowPolicy):
        if entity.restrictive:
            parts.append("AS RESTRICTIVE" if access.release >= (25, 9) else "AS restrictive")
        if entity.filter:
            parts.append(f"FOR SELECT USING {entity.filter}")
    if isinstance(entity, (SettingsProfile, Quota, RowPolicy)) and (entity.to.all or access.names(entity.to.ids)):
        parts.append("TO " + ids_text(access, entity.to, "ALL"))
    return " ".join(part for part in parts if part)


def _name(entity: Entity) -> str:
    return entity.name if isinstance(entity, RowPolicy) else quote(entity.name)


def ids_text(access: AccessControl, ids: Ids, everyone: str) -> str:
    """A list of users and roles; `everyone` is the keyword for all of them."""
    if not ids.all:
        return ", ".join(quote(name) for name in access.names(ids.ids)) or "NONE"
    excluded = ", ".join(quote(name) for name in access.names(ids.excluded))
    return f"{everyone} EXCEPT {excluded}" if excluded else everyone


def _user_parts(access: AccessControl, user: User, secrets: bool) -> Iterable[str]:
    first = user.auth[0]
    if access.release >= (25, 0) or first.type != "no_password":
        yield "IDENTIFIED WITH " + ", ".join(method_text(access, method, secrets) for method in user.auth)
    elif first.valid_until:
        yield f"VALID UNTIL {literal(moment(access, first.valid_until))}"
    if user.hosts != Hosts(any=True):
        yield "HOST " + hosts_text(user.hosts)
    if user.default_database:
        yield f"DEFAULT DATABASE {quote(user.default_database)}"
    if not user.default_roles.all or user.default_roles.excluded:
        yield "DEFAULT ROLE " + ids_text(access, user.default_roles, "ALL")
    yield settings_text(access, user.settings, "PROFILE")
    if not user.grantees.all or user.grantees.excluded:
        yield "GRANTEES " + ids_text(access, user.grantees, "ANY")


def method_text(access: AccessControl, method: AuthMethod, secrets: bool) -> str:
    """One authentication method as IDENTIFIED WITH names it."""
    params = method.params
    result = method.type
    if secrets and method.secret:
        result = f"{HASH_OF.get(method.type, method.type)} BY {literal(method.secret)}"
        if method.salt:
            result += f" SALT {literal(method.salt)}"
    for word in ("server", "realm"):
        if params.get(word):
            result += f" {word.upper()} {literal(params[word])}"
    if params.get("scheme"):
        result += f" SCHEME {literal(params['scheme'])}"
    for word in ("cn", "san"):
        if params.get(word):
            result += f" {word.upper()} " + ", ".join(map(literal, params[word]))
    if params.get("keys"):
        result += " BY " + ", ".join(f"KEY {quote(key)} TYPE {quote(kind)}" for key, kind in params["keys"])
    if method.valid_until:
        result += f" VALID UNTIL {literal(moment(access, method.valid_until))}"
    if method.grants:
        result += f" GRANTS ({method.grants})"
    return result


def hosts_text(hosts: Hosts) -> str:
    """The hosts of a user."""
    if hosts.any:
        return "ANY"
    parts = ["LOCAL"] if hosts.local else []
    for word, values in (
        ("IP", hosts.addresses + hosts.subnets),
        ("NAME", hosts.names),
        ("REGEXP", hosts.regexps),
        ("LIKE", hosts.likes),
    ):
        if values:
            parts.append(f"{word} " + ", ".join(map(literal, values)))
    return ", ".join(parts) or "NONE"


def settings_text(access: AccessControl, settings: list[Setting], word: str) -> str:
    """The SETTINGS clause, '' without settings; `word` introduces a profile: PROFILE or INHERIT."""
    parts = []
    for setting in settings:
        if setting.profile:
            name = access.name_of(setting.profile)
            if name is not None:
                parts.append(f"{word} {backquote(name)}")
            continue
        text = quote_setting(setting.name)
        for sign, value in (("=", setting.value), ("MIN", setting.min), ("MAX", setting.max)):
            if value is not None:
                text += f" {sign} {access.settings.shown(setting.name, value)}"
        parts.append(f"{text} {setting.writability}" if setting.writability else text)
    return "SETTINGS " + ", ".join(parts) if parts else ""


def quote_setting(name: str) -> str:
    """A setting's name; a compound one (a.b) part by part."""
    return ".".join(quote(part) for part in name.split("."))


def _quota_parts(access: AccessControl, quota: Quota) -> Iterable[str]:
    if quota.keys:
        bits = "".join(f" {version.upper()}_PREFIX_BITS {n}" for version, n in quota.prefix_bits.items())
        yield "KEYED BY " + ", ".join(quota.keys) + bits
    yield ", ".join(f"FOR {interval_text(limits)}" for limits in quota.limits)


def interval_text(limits: Limits) -> str:
    """One interval of a quota."""
    unit = next(
        u
        for u in ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
        if limits.duration % UNITS[u] == 0 and (limits.duration or u == "second")
    )
    text = f"{'RANDOMIZED ' if limits.randomized else ''}INTERVAL {limits.duration // UNITS[unit]} {unit}"
    values = [f"{name} = {number(limits.max[name])}" for name in LIMIT_NAMES if name in limits.max]
    return f"{text} MAX {', '.join(values)}" if values else f"{text} TRACKING ONLY"


def number(value: float) -> str:
    """A limit as text."""
    return str(int(value)) if value == int(value) else repr(value)


# grants ---------------------------------------------------------------------------------------------------------------


def element_texts(access: AccessControl, element: Element, exact: bool = False) -> tuple[str, str]:
    """An element's privileges and scope: `SELECT(a, b), INSERT` and `db.t` (AccessRightsElement::formatONClause).

    A source is written as the privilege that it was before READ and WRITE, unless the server is told otherwise; `exact`
    does without what those privileges have left.
    """
    privileges, mask = access.privileges, element.mask
    kind = privileges.parameter_type(mask)
    names = [quote(name) for name in element.names]
    if element.wildcard:
        names[-1] += "*"  # the last name: pre*.* or db.pre*
    columns = f"({', '.join(quote(column) for column in element.columns)})" if element.columns else ""
    if kind:
        target = names[0] + "*" * (element.wildcard and len(names) > 1) if names else "*"
    else:
        target = f"{names[0]}.{names[1] if len(names) > 1 else '*'}" if names else "*.*"
    if kind == privileges.sources and kind and not exact and not access.options.enable_read_write_grants:
        source = element.names[0] if element.names else "SOURCES"
        if source in (*SOURCES, "SOURCES"):
            mask, target = privileges.mask(source), "*.*"
    elif exact and privileges.sources and mask != privileges.all:
        for source in (*SOURCES, "SOURCES"):
            mask &= ~privileges.mask(source, 0)
        if kind == privileges.sources and element.names:
            if element.names[0] not in SOURCES:
                return "", ""  # left by ALL ON a database in users.xml: no statement can say it
            if len(names) > 1:
                target = f"{names[0]}({literal(element.names[1])})"
    return ", ".join(name + columns for name in privileges.names(mask)), target


def grant_lines(access: AccessControl, rights: Rights, name: str, exact: bool = False) -> list[str]:
    """GRANT and REVOKE statements that make these rights; elements on one scope share a statement."""

    def scope(e: Element) -> tuple[object, ...]:
        return e.names, e.wildcard, e.grant_option, e.revoke, access.privileges.parameter_type(e.mask)

    lines = []
    for (_other, _other, option, revoke, _other), group in groupby(rights.elements(shown=not exact), scope):
        texts = [element_texts(access, element, exact) for element in group]
        words, target = ", ".join(words for words, _other in texts if words), texts[-1][1]
        if not words:
            continue
        if revoke:
            lines.append(f"REVOKE {'GRANT OPTION FOR ' if option else ''}{words} ON {target} FROM {quote(name)}")
        else:
            lines.append(f"GRANT {words} ON {target} TO {quote(name)}{' WITH GRANT OPTION' if option else ''}")
    return lines


def show_grants(access: AccessControl, grantee: Grantee, implicit: bool = False, final: bool = False) -> list[str]:
    """SHOW GRANTS of one user or role."""
    rights = grantee.rights
    if final:
        for role in _granted(access, grantee):
            rights = rights.union(role.rights)
    if implicit:
        rights = add_implicit(access, rights)
    lines = grant_lines(access, rights, grantee.name)
    if not final:
        for admin in (False, True):
            roles = [role for role, option in grantee.roles.items() if option == admin]
            if roles:  # NONE: they have all been dropped
                names = ", ".join(map(quote, access.names(roles))) or "NONE"
                lines.append(f"GRANT {names} TO {quote(grantee.name)}{' WITH ADMIN OPTION' if admin else ''}")
    return lines


def _granted(access: AccessControl, grantee: Grantee) -> list[Role]:
    found: dict[str, Role] = {}
    queue = list(grantee.roles)
    while queue:
        role = access.by_id(queue.pop())
        if isinstance(role, Role) and role.id not in found:
            found[role.id] = role
            queue.extend(role.roles)
    return list(found.values())


# answers --------------------------------------------------------------------------------------------------------------


def answer(access: AccessControl, statement: Show, sql: str, session: SessionInfo) -> Table:
    """Answer a SHOW statement. Raises ServerError for unknown names and missing privileges."""
    title = sql.removeprefix("SHOW ")
    if statement.what == "ACCESS":
        require(access, session, "SHOW ACCESS")
        return _text_table("ACCESS", _all_access(access, session))
    if statement.what == "GRANTS":
        lines = []
        for grantee in _grant_subjects(access, statement, session):
            lines += show_grants(access, grantee, statement.implicit, statement.final)
        return _text_table(title, lines)
    if statement.what == "CREATE":
        secrets = _secrets(access, session)
        return _text_table(
            title, [create_statement(access, e, secrets) for e in _create_subjects(access, statement, session)]
        )
    return _list(access, statement, session)


def _text_table(title: str, lines: Iterable[str]) -> Table:
    return Table([(title, "String")], [(line,) for line in lines])


def _secrets(access: AccessControl, session: SessionInfo) -> bool:
    """Server, session and privilege must all agree to show them."""
    asked = session.settings.get("format_display_secrets_in_show_and_select", "0") in ("1", "true")
    privilege = Element(access.privileges.mask("displaySecretsInShowAndSelect"))
    return access.options.display_secrets and asked and access.session_rights(session).contains(privilege)


def require(access: AccessControl, session: SessionInfo, privilege: str, said: str = "") -> None:
    """Raise ServerError 497 unless the session may do this; `said`: what the error names instead."""
    if not access.session_rights(session).contains(Element(access.privileges.mask(privilege))):
        raise ServerError(
            497,
            "ACCESS_DENIED",
            f"{session.user}: Not enough privileges. To execute this query, it's necessary to "
            f"have the grant {said or f'{privilege} ON *.*'}",
        )


def _all_access(access: AccessControl, session: SessionInfo) -> list[str]:
    """Every entity by kind and name, then the grants of all users and roles."""
    secrets = _secrets(access, session)
    lines: list[str] = []
    grants: list[str] = []
    for kind in ("USER", "ROLE", "SETTINGS PROFILE", "ROW POLICY", "QUOTA"):
        for entity in sorted(access.all_of(KINDS[kind]), key=lambda e: e.name):
            lines.append(create_statement(access, entity, secrets))
            if isinstance(entity, Grantee):
                grants += show_grants(access, entity)
    return lines + grants


def _grant_subjects(access: AccessControl, statement: Show, session: SessionInfo) -> list[Grantee]:
    me = access.get(User, session.user)
    names = statement.grantees
    if names is None:
        return [me]
    rights = access.session_rights(session)
    mine = {me.id, *me.roles, *access.enabled_roles(me, session.enabled_roles)}
    subjects = access.grantees_of(names, session)
    result = []
    for subject in subjects:
        privilege = READ_PRIVILEGES[subject.kind]
        if subject.id in mine or rights.contains(Element(access.privileges.mask(privilege))):
            result.append(subject)
        elif not names.all:
            require(access, session, privilege)
    return sorted(result, key=lambda g: (g.kind == "ROLE", g.name))


def _create_subjects(access: AccessControl, statement: Show, session: SessionInfo) -> list[Entity]:
    cls = KINDS[statement.kind]
    found: list[Entity]
    if statement.kind == "ROW POLICY":
        if statement.policies:
            found = [access.get(RowPolicy, policy.full(session.database)) for policy in statement.policies]
        else:
            found = [p for p in access.all_of(RowPolicy) if _policy_fits(p, statement, session)]
    elif statement.names:
        found = [access.get(cls, session.user if name == CURRENT_USER else name) for name in statement.names]
    elif statement.plural:
        found = list(access.all_of(cls))
    elif statement.kind == "USER":
        found = [access.get(User, session.user)]
    elif statement.kind == "QUOTA":
        quota = access.rights_of(session.user, session.enabled_roles).quota
        found = [quota] if quota else []
    else:
        found = []
    require(access, session, READ_PRIVILEGES[statement.kind])
    return sorted(found, key=lambda e: e.name)


def _policy_fits(policy: RowPolicy, statement: Show, session: SessionInfo) -> bool:
    if statement.short_names and policy.short_name not in statement.short_names:
        return False
    if statement.table is not None:
        database, table = statement.table
        if policy.database != (database or session.database) or (table is not None and policy.table != table):
            return False
    return True


def _list(access: AccessControl, statement: Show, session: SessionInfo) -> Table:
    if statement.kind == "ROLE" and statement.modifier:
        table = access.table(f"{statement.modifier.lower()}_roles", session)
        return Table(table.columns, sorted(table.rows))
    if statement.kind == "QUOTA" and statement.modifier:
        table = access.table("quota_usage", session)
        return Table(table.columns, table.rows)
    source = {"SETTINGS PROFILE": "settings_profiles", "ROW POLICY": "row_policies"}.get(
        statement.kind, f"{statement.kind.lower()}s"
    )
    may = access.session_rights(session)
    if not may.contains(Element(access.privileges.mask("SELECT"), ("system", source))):
        require(access, session, READ_PRIVILEGES[statement.kind], f"SELECT ON system.{source}")
    if statement.kind == "ROW POLICY":
        policies = [p for p in access.all_of(RowPolicy) if _policy_fits(p, statement, session)]
        if statement.table is not None and statement.table[1]:
            return Table([("short_name", "String")], sorted((p.short_name,) for p in policies))
        return Table([("name", "String")], sorted((p.name,) for p in policies))
    return Table([("name", "String")], sorted((e.name,) for e in access.all_of(KINDS[statement.kind])))
