"""The access entities: users, roles, settings profiles, quotas, row policies, as ClickHouse's access storage holds
them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

from .privileges import Privileges
from .rights import Element, Rights


class ServerError(Exception):
    """A ClickHouse exception: its code (int), name and message (without the `Code: N. DB::Exception:` frame;
    ClickHouse ends it with a full stop)."""

    def __init__(self, code: int, name: str, message: str) -> None:
        message = message if message.endswith(".") else message + "."
        super().__init__(f"Code: {code}. DB::Exception: {message} ({name})")
        self.code, self.name, self.message = code, name, message


@dataclass
class Ids:
    """A set of users and roles as `TO`, `DEFAULT ROLE` and `GRANTEES` keep it (RolesOrUsersSet): ids, or all but
    some."""

    all: bool = False
    ids: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)

    def match(self, entity_id: str) -> bool:
        """Whether this id is in the set."""
        return entity_id not in self.excluded if self.all else entity_id in self.ids

    def applies(self, ids: Iterable[str]) -> bool:
        """Whether the set is for a user with these enabled roles: it names one of them and excludes none."""
        found = set(ids)
        return (self.all or not found.isdisjoint(self.ids)) and found.isdisjoint(self.excluded)


@dataclass
class AuthMethod:
    """One way to log in. `valid_until` in seconds since 1970, 0 for ever; `grants` the text inside GRANTS (...), or
    ''."""

    type: str = "no_password"
    secret: str = ""
    salt: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    valid_until: int = 0
    grants: str = ""


@dataclass
class Hosts:
    """From where a user may come (AllowedClientHosts)."""

    any: bool = False
    local: bool = False
    addresses: list[str] = field(default_factory=list)
    subnets: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    regexps: list[str] = field(default_factory=list)
    likes: list[str] = field(default_factory=list)

    def update(self, other: Hosts, remove: bool = False) -> None:
        """Add the other's hosts, or remove them."""
        for part in ("addresses", "subnets", "names", "regexps", "likes"):
            mine, theirs = getattr(self, part), getattr(other, part)
            if remove and other.any:
                mine.clear()
            elif remove:
                setattr(self, part, [host for host in mine if host not in theirs])
            else:
                mine.extend(host for host in theirs if host not in mine)
        if remove:
            self.local = self.local and not (other.local or other.any)
            self.any = self.any and not other.any
        else:
            self.local = self.local or other.local
            self.any = self.any or other.any


@dataclass
class Setting:
    """One element of the settings of a user, role or profile: a profile to inherit (its id), or a setting.

    value, min and max are ClickHouse's text for the value as its tables show it.
    """

    profile: str | None = None
    name: str = ""
    value: str | None = None
    min: str | None = None
    max: str | None = None
    writability: str | None = None


@dataclass
class Limits:
    """What a quota allows in one interval (seconds); `max` maps a resource to its limit."""

    duration: int
    randomized: bool = False
    max: dict[str, float] = field(default_factory=dict)


@dataclass
class Entity:
    """What all entities have. `storage` is the name of the storage it lives in."""

    kind: ClassVar[str]
    name: str = ""
    id: str = ""
    storage: str = ""


# for a grantee that is made before its rights are known
NO_PRIVILEGES = Privileges([("ALL", [], None, None), ("D", [], "DATABASE", "ALL"), ("C", [], "COLUMN", "ALL")])


@dataclass
class Grantee(Entity):
    """A user or a role."""

    rights: Rights = field(default_factory=lambda: Rights(NO_PRIVILEGES))
    roles: dict[str, bool] = field(default_factory=dict)
    """Ids of the granted roles, each with whether it is granted WITH ADMIN OPTION."""
    settings: list[Setting] = field(default_factory=list)


@dataclass
class User(Grantee):
    """A user."""

    kind: ClassVar[str] = "USER"
    auth: list[AuthMethod] = field(default_factory=list)
    hosts: Hosts = field(default_factory=lambda: Hosts(any=True))
    default_roles: Ids = field(default_factory=lambda: Ids(all=True))
    grantees: Ids = field(default_factory=lambda: Ids(all=True))
    default_database: str = ""


@dataclass
class Role(Grantee):
    """A role."""

    kind: ClassVar[str] = "ROLE"


@dataclass
class SettingsProfile(Entity):
    """A settings profile."""

    kind: ClassVar[str] = "SETTINGS PROFILE"
    settings: list[Setting] = field(default_factory=list)
    to: Ids = field(default_factory=Ids)


@dataclass
class Quota(Entity):
    """A quota."""

    kind: ClassVar[str] = "QUOTA"
    keys: list[str] = field(default_factory=list)
    prefix_bits: dict[str, int] = field(default_factory=dict)
    limits: list[Limits] = field(default_factory=list)
    to: Ids = field(default_factory=Ids)


@dataclass
class RowPolicy(Entity):
    """A row policy; its `name` is `short ON database.table`."""

    kind: ClassVar[str] = "ROW POLICY"
    short_name: str = ""
    database: str = ""
    table: str = ""
    restrictive: bool = False
    filter: str = ""
    to: Ids = field(default_factory=Ids)


KINDS: dict[str, type[Entity]] = {cls.kind: cls for cls in (User, Role, SettingsProfile, Quota, RowPolicy)}
Json: TypeAlias = dict[str, Any]


def dump(value: Any) -> Any:
    """A model object as JSON; rights become the list of their elements."""
    if isinstance(value, Rights):
        names = value.privileges.names
        return [
            [names(e.mask), e.names, e.columns, int(e.wildcard), int(e.grant_option), int(e.revoke)]
            for e in value.elements(shown=False)
        ]
    if isinstance(value, list):
        return [dump(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        result = {name: dump(item) for name, item in vars(value).items()}
        # an empty part (HOST NONE) is not the default (HOST ANY): it must stay
        result = {name: item for name, item in result.items() if item not in (None, "", []) and item is not False}
        return {"kind": value.kind, **result} if isinstance(value, Entity) else result
    return value


_PARTS: dict[str, type[Any]] = {
    "auth": AuthMethod,
    "settings": Setting,
    "limits": Limits,
    "hosts": Hosts,
    "default_roles": Ids,
    "grantees": Ids,
    "to": Ids,
}


def load(data: Json, privileges: Privileges) -> Entity:
    """The entity that `dump` wrote."""
    values: Json = {}
    for name, value in data.items():
        if name == "rights":
            rights = Rights(privileges)
            for names, scope, columns, wildcard, option, revoke in value:
                mask = 0
                for privilege in names:
                    mask |= privileges.mask(privilege)
                rights.apply([Element(mask, tuple(scope), tuple(columns), bool(wildcard), bool(option), bool(revoke))])
            values[name] = rights
        elif name in _PARTS:
            part = _PARTS[name]
            values[name] = [part(**item) for item in value] if isinstance(value, list) else part(**value)
        elif name != "kind":
            values[name] = value
    entity = KINDS[data["kind"]](**values)
    if isinstance(entity, Grantee) and "rights" not in data:
        entity.rights = Rights(privileges)
    return entity


def clone(entity: Any) -> Any:
    """A copy that can be changed without touching the original."""
    if isinstance(entity, Rights):
        return entity.copy()
    if isinstance(entity, list):
        return [clone(item) for item in entity]
    if isinstance(entity, dict):
        return dict(entity)
    if hasattr(entity, "__dataclass_fields__"):
        return replace(entity, **{name: clone(value) for name, value in vars(entity).items()})
    return entity
