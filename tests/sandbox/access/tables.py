"""The rows of the system tables about access; columns are taken from the engine, so each version has its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .interface import SessionInfo, Table
from .model import AuthMethod, Entity, Grantee, Hosts, Ids, Quota, Role, RowPolicy, Setting, SettingsProfile, User

if TYPE_CHECKING:
    from .control import AccessControl

Row = dict[str, Any]


def table(access: AccessControl, name: str, session: SessionInfo) -> Table:
    """One system table. Raises KeyError for a table that is not about access."""
    rows = _TABLES[name](access, session)
    columns = access.columns(name)
    known = list(columns)
    return Table(known, [tuple(_fit(row.get(column), kind) for column, kind in known) for row in rows])


def _fit(value: Any, kind: str) -> Any:
    """24.8 shows the first (there: only) authentication method where later versions have arrays."""
    if isinstance(value, list) and not kind.startswith("Array"):
        return value[0] if value else ""
    return value


def _to(access: AccessControl, ids: Ids) -> Row:
    return {
        "apply_to_all": int(ids.all),
        "apply_to_list": access.names(ids.ids),
        "apply_to_except": access.names(ids.excluded),
    }


def _common(entity: Entity) -> Row:
    return {"name": entity.name, "id": entity.id, "storage": entity.storage}


def auth_params(access: AccessControl, method: AuthMethod) -> str:
    """The parameters of an authentication method as JSON."""
    params = method.params
    result: Row = {}
    if method.type == "ldap":
        result["server"] = params.get("server", "")
    elif method.type == "kerberos":
        result["realm"] = params.get("realm", "")
    elif method.type == "ssl_certificate":
        for key, word in (("common_names", "cn"), ("subject_alt_names", "san")):
            if params.get(word):
                result[key] = params[word]
    return json.dumps(result, separators=(",", ":"), ensure_ascii=False).replace("/", "\\/")


def _users(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for user in access.all_of(User):
        hosts = Hosts(any=True) if user.hosts.any else user.hosts  # any host hides the others
        yield {
            **_common(user),
            "auth_type": [m.type for m in user.auth],
            "auth_params": [auth_params(access, m) for m in user.auth],
            "valid_until": [m.valid_until for m in user.auth],
            "auth_grants": [m.grants for m in user.auth],
            "host_ip": ["::/0"] if hosts.any else hosts.addresses + hosts.subnets,
            "host_names": (["localhost"] if hosts.local else []) + hosts.names,
            "host_names_regexp": hosts.regexps,
            "host_names_like": hosts.likes,
            "default_roles_all": int(user.default_roles.all),
            "default_roles_list": access.names(user.default_roles.ids),
            "default_roles_except": access.names(user.default_roles.excluded),
            "grantees_any": int(user.grantees.all),
            "grantees_list": access.names(user.grantees.ids),
            "grantees_except": access.names(user.grantees.excluded),
            "default_database": user.default_database,
        }


def _roles(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    return map(_common, access.all_of(Role))


def _grantee(entity: Entity) -> Row:
    return {"user_name" if isinstance(entity, User) else "role_name": entity.name}


def _grantees(access: AccessControl) -> Iterable[Grantee]:
    yield from access.all_of(User)
    yield from access.all_of(Role)


def _role_grants(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for grantee in _grantees(access):
        for role, admin in grantee.roles.items():
            name = access.name_of(role)
            if name is not None:
                default = isinstance(grantee, User) and grantee.default_roles.match(role)
                yield {
                    **_grantee(grantee),
                    "granted_role_name": name,
                    "granted_role_id": role,
                    "granted_role_is_default": int(default or isinstance(grantee, Role)),
                    "with_admin_option": int(admin),
                }


def _grants(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    privileges = access.privileges
    for grantee in _grantees(access):
        for element in grantee.rights.elements():
            kind = privileges.parameter_type(element.mask)
            names = element.names
            row = {
                **_grantee(grantee),
                "access_object": names[0] if kind and names else "",
                "database": names[0] if names and not kind else None,
                "table": names[1] if len(names) > 1 and not kind else None,
                "is_partial_revoke": int(element.revoke),
                "grant_option": int(element.grant_option),
                "is_wildcard": int(element.wildcard),
            }
            if kind and names and access.release < (25, 0):
                row["database"] = ""  # before access_object, which object it is about was not shown
            for name in privileges.names(element.mask):
                for column in element.columns or (None,):
                    yield {**row, "access_type": name, "column": column}


def _profiles(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for profile in access.all_of(SettingsProfile):
        yield {**_common(profile), "num_elements": len(profile.settings), **_to(access, profile.to)}


def _elements(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    def of(owner: Row, settings: list[Setting]) -> Iterable[Row]:
        for index, setting in enumerate(settings):  # a profile that is gone has its number still
            row: Row = {**owner, "index": index}
            if setting.profile:
                name = access.name_of(setting.profile)
                if name is None:
                    continue
                row["inherit_profile"] = name
            else:
                row |= {
                    "setting_name": setting.name,
                    "value": setting.value,
                    "min": setting.min,
                    "max": setting.max,
                    "writability": setting.writability,
                }
            yield row

    for user in access.all_of(User):
        yield from of({"user_name": user.name}, user.settings)
    for role in access.all_of(Role):
        yield from of({"role_name": role.name}, role.settings)
    for profile in access.all_of(SettingsProfile):
        yield from of({"profile_name": profile.name}, profile.settings)


def _quotas(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for quota in access.all_of(Quota):
        yield {
            **_common(quota),
            "keys": quota.keys,
            "durations": [limit.duration for limit in quota.limits],
            **_to(access, quota.to),
            **{f"{version}_prefix_bits": bits for version, bits in quota.prefix_bits.items()},
        }


def _quota_limits(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for quota in access.all_of(Quota):
        for limit in quota.limits:
            yield {
                "quota_name": quota.name,
                "duration": limit.duration,
                "is_randomized_interval": int(limit.randomized),
                **{f"max_{name}": value for name, value in limit.max.items()},
            }


def _quota_usage(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    """What the session's quota allows; nothing counts here what was used."""
    quota = access.rights_of(session.user, session.enabled_roles).quota
    for limit in quota.limits if quota else ():
        start = int(session.now) // limit.duration * limit.duration if limit.duration else int(session.now)
        limits = {f"max_{name}": value for name, value in limit.max.items()}
        used = {
            name.removeprefix("max_"): 0 for name, _other in access.columns("quota_usage") if name.startswith("max_")
        }
        times = {"start_time": start, "end_time": start + limit.duration, "duration": limit.duration}
        key = session.user if quota and "user_name" in quota.keys else ""
        yield {"quota_name": quota.name if quota else "", "quota_key": key, **times, **used, **limits}


def _row_policies(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    for policy in access.all_of(RowPolicy):
        yield {
            **_common(policy),
            "short_name": policy.short_name,
            "database": policy.database,
            "table": policy.table,
            "select_filter": policy.filter or None,
            "is_restrictive": int(policy.restrictive),
            **_to(access, policy.to),
        }


def _directories(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    options = access.options
    params = {"local_directory": '{"path":"access"}', "replicated": '{"zookeeper_path":"\\/clickhouse\\/access\\/"}'}
    return (
        {"name": options.users_xml_storage, "type": "users_xml", "params": '{"path":"users.xml"}', "precedence": 1},
        {"name": options.storage, "type": options.storage, "params": params[options.storage], "precedence": 2},
    )


def _enabled(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    user = access.get(User, session.user)
    current = access.current_roles(user, session.enabled_roles)
    for role, admin in access.enabled_roles(user, session.enabled_roles).items():
        yield {
            "role_name": access.name_of(role),
            "with_admin_option": int(admin),
            "is_current": int(role in current),
            "is_default": int(user.default_roles.match(role)),
        }


def _current(access: AccessControl, session: SessionInfo) -> Iterable[Row]:
    return (row for row in _enabled(access, session) if row["is_current"])


_TABLES = {
    "users": _users,
    "roles": _roles,
    "role_grants": _role_grants,
    "grants": _grants,
    "settings_profiles": _profiles,
    "settings_profile_elements": _elements,
    "quotas": _quotas,
    "quota_limits": _quota_limits,
    "row_policies": _row_policies,
    "quota_usage": _quota_usage,
    "user_directories": _directories,
    "enabled_roles": _enabled,
    "current_roles": _current,
}
