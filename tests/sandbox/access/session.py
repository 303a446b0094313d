"""What the engine must enforce for a session of one user: grants, settings, row filters, quota."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import show
from .model import Quota, Role, RowPolicy, Setting, SettingsProfile, User

if TYPE_CHECKING:
    from .control import AccessControl


@dataclass
class SessionRights:
    """A user's session, flattened. `settings`: in ClickHouse's order, the last wins; values as its tables show them.

    `row_filters` maps (database, table) to the SQL condition on its rows; `quota` is the one that applies, or None.
    """

    user: str
    grants: list[str] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    row_filters: dict[tuple[str, str], str] = field(default_factory=dict)
    quota: Quota | None = None
    default_database: str = ""


def session_rights(access: AccessControl, user: User, enabled_roles: list[str] | None) -> SessionRights:
    """The session of this user with these current roles (names; None: the default roles)."""
    roles = access.enabled_roles(user, enabled_roles)
    rights = user.rights
    for role in roles:
        entity = access.by_id(role)
        if isinstance(entity, Role):
            rights = rights.union(entity.rights)
    ids = {user.id, *roles}
    result = SessionRights(
        user.name, show.grant_lines(access, rights, "default", exact=True), default_database=user.default_database
    )
    result.settings = effective_settings(access, user, roles)
    result.row_filters = row_filters(access, ids)
    result.quota = next(iter(access.applying(Quota, ids)), None)
    return result


def effective_settings(access: AccessControl, user: User, roles: dict[str, bool]) -> list[Setting]:
    """All settings of a session: the default profile, profiles TO the user or its roles, roles, then the user's own
    (SettingsProfilesCache::mergeSettingsAndConstraintsFor), profiles replaced by what they hold."""
    elements: list[Setting] = []
    default = access.find(SettingsProfile, "default")
    if default:
        elements.append(Setting(profile=default.id))
    ids = {user.id, *roles}
    elements += [Setting(profile=p.id) for p in access.applying(SettingsProfile, ids)]
    for role in roles:
        entity = access.by_id(role)
        if isinstance(entity, Role):
            elements += entity.settings
    elements += user.settings
    result: list[Setting] = []
    _flatten(access, elements, (), result)
    return result


def profile_values(access: AccessControl, name: str) -> dict[str, str]:
    """The values that `SET profile = name` gives to settings. Raises ServerError 180 for an unknown profile."""
    settings: list[Setting] = []
    _flatten(access, [Setting(profile=access.get(SettingsProfile, name).id)], (), settings)
    return {setting.name: setting.value for setting in settings if setting.value is not None}


def _flatten(access: AccessControl, elements: list[Setting], above: tuple[str, ...], result: list[Setting]) -> None:
    for element in elements:
        if element.profile:
            profile = access.by_id(element.profile)
            if isinstance(profile, SettingsProfile) and profile.id not in above:
                _flatten(access, profile.settings, (*above, profile.id), result)
        elif element.name:
            result.append(element)


def row_filters(access: AccessControl, ids: set[str]) -> dict[tuple[str, str], str]:
    """The condition on the rows of each table that has policies: any permissive one and all restrictive ones.

    Where a table has policies but none for these ids, all rows are hidden unless the server lets users without
    policies read.
    """
    policies = list(access.all_of(RowPolicy))
    tables = {(p.database, p.table) for p in policies}
    result = {}
    for database, table in tables:
        here = [p for p in policies if p.database == database and p.table in (table, "")]
        mine = [p for p in here if p.to.applies(ids)]
        permissive = [f"({p.filter})" for p in mine if not p.restrictive and p.filter]
        restrictive = [f"({p.filter})" for p in mine if p.restrictive and p.filter]
        if not permissive and not restrictive and access.options.users_without_row_policies_can_read_rows and not mine:
            continue
        some = " OR ".join(permissive)
        if not some and not access.options.users_without_row_policies_can_read_rows:
            some = "0"
        parts = ([f"({some})"] if some else []) + restrictive
        if parts:
            result[database, table] = " AND ".join(parts)
    return result
