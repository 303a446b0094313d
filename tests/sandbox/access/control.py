"""ClickHouse's access control with a writable storage: applies access statements, answers SHOW and the system
tables."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

from . import hosts as host_forms
from . import passwords, show, tables, users_xml
from .implicit import add_implicit
from .interface import Engine, Options, SessionInfo, Table
from .model import (
    AuthMethod,
    Entity,
    Grantee,
    Ids,
    Limits,
    Quota,
    Role,
    RowPolicy,
    ServerError,
    Setting,
    SettingsProfile,
    User,
    clone,
)
from .privileges import SOURCES, Privileges
from .rights import Element, Rights
from .session import SessionRights, session_rights
from .settings import SettingTypes, normalise
from .statements import (
    CURRENT_USER,
    Create,
    Drop,
    Expiry,
    Grant,
    Names,
    Piece,
    PolicyName,
    SetDefaultRole,
    SettingsChange,
    Show,
    Statement,
    parse,
    probe_text,
)
from .storage import Entities, Journal
from .text import literal, quote

E = TypeVar("E", bound=Entity)
_ON_SOURCE = re.compile(
    r"\b((?:READ|WRITE)(?:\s*,\s*(?:READ|WRITE))*)\s+ON\s+(\w+|`[^`]+`|\*)(?!\s*\.)(?:\s*\(\s*'(?:[^'\\]|\\.)*'\s*\))?",
    re.IGNORECASE,
)
_STAND_INS = {"READ": "SHOW NAMED COLLECTIONS", "WRITE": "SHOW NAMED COLLECTIONS SECRETS"}
"""Two privileges with an object, which the formatter leaves alone; the longer one is put back first."""
NOUNS = {
    "USER": "user",
    "ROLE": "role",
    "SETTINGS PROFILE": "settings profile",
    "QUOTA": "quota",
    "ROW POLICY": "row policy",
}
UNKNOWN = {
    "USER": (192, "UNKNOWN_USER"),
    "ROLE": (511, "UNKNOWN_ROLE"),
    "SETTINGS PROFILE": (180, "THERE_IS_NO_PROFILE"),
    "QUOTA": (199, "UNKNOWN_QUOTA"),
    "ROW POLICY": (523, "UNKNOWN_ROW_POLICY"),
}


class AccessControl:
    """Users, roles, settings profiles, quotas and row policies of one server."""

    def __init__(
        self,
        directory: Path,
        engine: Engine,
        users_xml_path: Path | None,
        options: Options,
        replicated: AccessControl | None = None,
    ) -> None:
        """Load the state kept in `directory`, and the read-only entities of `users_xml_path`.

        `engine` answers what depends on its version: privileges, setting types and values, dates. `replicated`: the
        other replica whose writable storage this one shares, instead of one in `directory`.
        """
        self.options, self.engine = options, engine
        self.release = tuple(int(part) for part in engine.version.split(".")[:2])
        self.privileges = Privileges(
            (
                (row["privilege"], row["aliases"], row["level"], row["parent_group"])
                for row in engine.rows("SELECT privilege, aliases, level, parent_group FROM system.privileges")
            ),
            self.release,
        )
        self.settings = SettingTypes(engine.rows, options.custom_settings_prefixes)
        self.timezone = str(engine.rows("SELECT timezone() AS zone")[0]["zone"])
        self._journal: Journal = (
            replicated._journal if replicated else Journal(directory / "access.jsonl", self.privileges)
        )
        self._columns: dict[str, list[tuple[str, str]]] = {}
        self._loaded = 0
        self.load_users_xml(users_xml_path)

    def load_users_xml(self, path: Path | None) -> None:
        """Take the read-only entities from this file, instead of any there were; None: there are none."""
        self.fixed = Entities()
        self._loaded += 1
        if path is not None:
            users_xml.load(self, path)

    @property
    def version(self) -> tuple[int, int]:
        """Another one after each change of the entities."""
        return self._loaded, self._journal.version

    # finding ----------------------------------------------------------------------------------------------------------

    @property
    def storages(self) -> tuple[Entities, Entities]:
        """users.xml first, then the writable storage, as names are looked up."""
        return self.fixed, self._journal.entities

    def find(self, cls: type[E], name: str) -> E | None:
        """The entity of this class and name in the first storage that has it."""
        for storage in self.storages:
            if found := storage.find(cls.kind, name):
                return cast(E, found)
        return None

    def by_id(self, entity_id: str | None) -> Entity | None:
        """The entity with this id."""
        if entity_id is None:
            return None
        return self._journal.entities.by_id.get(entity_id) or self.fixed.by_id.get(entity_id)

    def all_of(self, cls: type[E]) -> Iterable[E]:
        """All entities of a class."""
        for storage in self.storages:
            yield from cast(Iterable[E], storage.of(cls.kind))

    def applying(self, cls: type[E], ids: Iterable[str]) -> list[E]:
        """The profiles, quotas or row policies whose TO is for a user with these ids (its own and its roles')."""
        ids = list(ids)
        return [entity for storage in self.storages for entity in cast("list[E]", storage.applying(cls.kind, ids))]

    def find_user(self, name: str) -> User | None:
        """The user of this name, for login."""
        return self.find(User, name)

    def name_of(self, entity_id: str) -> str | None:
        """The name of the entity with this id, None where it is gone."""
        entity = self.by_id(entity_id)
        return entity.name if entity else None

    def names(self, ids: Iterable[str]) -> list[str]:
        """The names of these ids, sorted; ids of what is gone are left out."""
        return sorted(name for name in map(self.name_of, ids) if name is not None)

    def _missing(self, kind: str, name: str, storage: str = "user directories") -> NoReturn:
        code, error = UNKNOWN[kind]
        where = f"`{storage}`" if self.release >= (25, 6) else storage
        raise ServerError(code, error, f"There is no {NOUNS[kind]} `{name}` in {where}")

    def get(self, cls: type[E], name: str) -> E:
        """The entity of this name. Raises ServerError with the kind's unknown-name error."""
        return self.find(cls, name) or self._missing(cls.kind, name)

    def _ids(self, names: Names, session: SessionInfo, roles_only: bool = False) -> Ids:
        def one(name: str) -> str:
            if name == CURRENT_USER:
                name = session.user
            user = None if roles_only else self.find(User, name)
            return user.id if user else self.get(Role, name).id

        ids = list(dict.fromkeys(map(one, names.names)))
        return Ids(names.all, [] if names.all else ids, list(dict.fromkeys(map(one, names.excluded))))

    def grantees_of(self, names: Names, session: SessionInfo) -> list[Grantee]:
        """The users and roles these names speak of. Raises ServerError for an unknown one."""
        return self._matching(self._ids(names, session))

    def columns(self, table: str) -> list[tuple[str, str]]:
        """Names and types of a system table's columns, as this version has them."""
        if table not in self._columns:
            rows = self.engine.rows(
                "SELECT name, type FROM system.columns "
                f"WHERE database = 'system' AND table = {literal(table)} ORDER BY position"
            )
            self._columns[table] = [(row["name"], row["type"]) for row in rows]
        return self._columns[table]

    def canonical(self, statements: list[str]) -> list[str]:
        """Statements as the engine's parser understands them."""
        if not statements:
            return []
        texts = ", ".join(map(literal, statements))
        return [
            str(row["text"]) for row in self.engine.rows(f"SELECT formatQuerySingleLine(arrayJoin([{texts}])) AS text")
        ]

    def parse(self, sql: str) -> str:
        """An access statement as a client wrote it in the canonical form that `execute` reads.

        That is the engine's form, but that READ or WRITE alone stay what they are: the engine's formatter writes the
        privilege that stood for both before 25.7 (AccessRightsElement::makeBackwardCompatible).
        """
        (text,) = self.canonical([sql])
        if not self.privileges.sources or not text.startswith(("GRANT", "REVOKE")) or not _ON_SOURCE.search(sql):
            return text
        found = [(match, match[2]) for match in _ON_SOURCE.finditer(sql)]
        known = dict.fromkeys(source for _other, source in found if source != "*")
        names = {"*": "*"}
        for source, shown in zip(
            known, self.canonical([f"GRANT READ ON {source} TO probe" for source in known]), strict=True
        ):
            names[source] = quote(shown.removeprefix("GRANT ").removesuffix(" ON *.* TO probe"))
        for match, source in reversed(found):
            words = ", ".join(_STAND_INS[word.strip().upper()] for word in match[1].split(","))
            sql = f"{sql[: match.start()]}{words} ON {names[source]}{sql[match.end() :]}"
        (text,) = self.canonical([sql])
        for word, other in reversed(_STAND_INS.items()):
            text = text.replace(other, word)
        return text

    # statements -------------------------------------------------------------------------------------------------------

    def is_access_statement(self, canonical_sql: str) -> bool:
        """Whether `execute` is for this statement."""
        return parse(canonical_sql) is not None

    def check_statement(self, canonical_sql: str) -> str | None:
        """The statement with every reference replaced by a stub (`probe`, `probe_role`, `probe_profile`).

        It is for the session user's engine to judge privileges and values. None where the model judges alone: roles,
        REVOKE, SHOW.
        """
        statement = parse(canonical_sql)
        if isinstance(statement, Grant) and (
            statement.roles or statement.revoke or statement.current or statement.replace
        ):
            return None
        if statement is None or isinstance(statement, Show):
            return None
        return probe_text(canonical_sql)

    def execute(self, canonical_sql: str, session: SessionInfo) -> Table | None:
        """Apply an access statement, or answer it. Raises ServerError; then nothing has changed."""
        statement = parse(canonical_sql)
        if isinstance(statement, Show):
            return self._show(statement, canonical_sql, session)
        if statement is None:
            raise ServerError(62, "SYNTAX_ERROR", "Not an access statement")
        with self._journal.statement():
            self._change(statement, session)
        return None

    def judge(self, canonical_sql: str, session: SessionInfo) -> None:
        """Raise ServerError where a server would not send this statement ON CLUSTER to the replicas.

        It looks up first what it grants and to whom, default roles and settings (InterpreterGrantQuery,
        InterpreterCreateUserQuery); all else is left to each replica.
        """
        statement = parse(canonical_sql)
        if isinstance(statement, Create):
            self._references(statement, session, on_cluster=True)
        elif isinstance(statement, Grant):
            self._granted(statement, session)

    def _change(self, statement: Statement, session: SessionInfo) -> None:
        if isinstance(statement, Create):
            self._alter(statement, session) if statement.alter else self._create(statement, session)
        elif isinstance(statement, Drop):
            self._drop(statement, session)
        elif isinstance(statement, Grant):
            self._grant(statement, session)
        elif isinstance(statement, SetDefaultRole):
            self._set_default_role(statement, session)

    def _writable(self, name: str) -> None:
        """Raise ServerError 492 unless this is a storage."""
        if name not in (self.options.storage, self.options.users_xml_storage):
            raise ServerError(492, "ACCESS_ENTITY_NOT_FOUND", f"Access storage with name {name} is not found")

    def _readonly(self, verb: str, entity: Entity) -> NoReturn:
        preposition = {"update": "in", "remove": "from", "insert": "to"}[verb]
        raise ServerError(
            495,
            "ACCESS_STORAGE_READONLY",
            f"Cannot {verb} {NOUNS[entity.kind]} `{entity.name}` {preposition} "
            f"{entity.storage} because this storage is readonly",
        )

    def _create(self, statement: Create, session: SessionInfo) -> None:
        names = statement.names or [policy.full(session.database) for policy in statement.policies]
        new: list[Entity] = []
        self._references(statement, session)
        for index, name in enumerate(names):
            entity = self._blank(statement, index, name, session)
            self._apply(entity, statement, session, name)
            new.append(entity)
        if statement.storage:
            self._writable(statement.storage)
            self._not_elsewhere(new, statement.storage)
        inserted = self._one_by_one("insert", new, lambda entity: self._insert(entity, statement))
        if statement.grantees is not None:  # now, because they may name the users made here
            grantees = self._ids(statement.grantees, session)
            for user in inserted:
                cast(User, user).grantees = grantees
            self._journal.commit(inserted)

    def _insert(self, entity: Entity, statement: Create) -> bool:
        """Store a new entity; False where there is one already and IF NOT EXISTS leaves it."""
        fixed, own = (storage.find(entity.kind, entity.name) for storage in self.storages)
        if fixed or statement.storage == self.options.users_xml_storage:
            entity.storage = self.options.users_xml_storage
            self._readonly("insert", entity)
        if own and statement.if_not_exists:
            return False
        if own and not statement.or_replace:
            self._collision("insert", entity, own, entity.name)
        self._journal.commit([entity], [own.id] if own else [])
        return True

    def _not_elsewhere(self, new: list[Entity], storage: str) -> None:
        """Raise ServerError 493 where another storage than the wanted one has one of the names."""
        for entity in new:
            found = self.find(type(entity), entity.name)
            if found and found.storage != storage:
                noun = NOUNS[entity.kind].capitalize()
                text = f"{noun} {entity.name} already exists in storage {found.storage}"
                raise ServerError(493, "ACCESS_ENTITY_ALREADY_EXISTS", text)

    def _collision(self, verb: str, entity: Entity, other: Entity, name: str) -> NoReturn:
        noun, storage = NOUNS[entity.kind], other.storage
        if self.release >= (25, 6) and storage == self.options.storage:
            storage = f"`{storage}`"
        to = f"rename to `{name}`" if verb == "rename" else verb
        raise ServerError(
            493,
            "ACCESS_ENTITY_ALREADY_EXISTS",
            f"{noun} `{entity.name}`: cannot {to} because {noun} `{name}` already exists in {storage}",
        )

    def _one_by_one(self, verb: str, entities: Iterable[E], change: Callable[[E], bool]) -> list[E]:
        """Change one entity after another, those of read-only storages last, and return the changed ones.

        What was done before an error stays, and the error says so (IAccessStorage::insert, update, remove).
        """
        entities = sorted(entities, key=lambda entity: entity.storage != self.options.storage)
        done: list[E] = []
        try:
            for entity in entities:
                if entity.storage != self.options.storage and verb != "insert":
                    self._readonly(verb, entity)
                if change(entity):
                    done.append(entity)
        except ServerError as error:
            if not done:
                raise
            noun = f"{NOUNS[done[0].kind]} " if verb == "insert" else ""
            names = ", ".join(f"{noun}`{entity.name}`" for entity in done)
            doing = {"insert": "inserting", "update": "updating", "remove": "removing"}[verb]
            text = f"{error.message[:-1]}: After successfully {doing} {len(done)}/{len(entities)}: {names}"
            raise ServerError(error.code, error.name, text) from error
        return done

    def _update(self, entities: Iterable[Entity], change: Callable[[Any], None]) -> None:
        """Change copies of these entities and store them."""

        def one(entity: Entity) -> bool:
            changed = clone(entity)
            change(changed)
            self._journal.commit([changed])
            return True

        self._one_by_one("update", entities, one)

    def _blank(self, statement: Create, index: int, name: str, session: SessionInfo) -> Entity:
        common: dict[str, Any] = {"name": name, "id": str(uuid.uuid4()), "storage": self.options.storage}
        if statement.kind == "USER":
            return User(**common, rights=Rights(self.privileges))
        if statement.kind == "ROLE":
            return Role(**common, rights=Rights(self.privileges))
        if statement.kind == "QUOTA":
            return Quota(**common)
        if statement.kind == "ROW POLICY":
            policy = statement.policies[index]
            return RowPolicy(
                **common, short_name=policy.short, database=policy.database or session.database, table=policy.table
            )
        return SettingsProfile(**common)

    def _existing(self, kind: str, names: Iterable[str], storage: str, if_exists: bool) -> list[Entity]:
        if storage:
            self._writable(storage)
        result = []
        for name in names:
            found = next((e for s in self.storages if (e := s.find(kind, name)) and storage in ("", e.storage)), None)
            if found:
                result.append(found)
            elif not if_exists:
                self._missing(kind, name, storage or "user directories")
        return result

    def _alter(self, statement: Create, session: SessionInfo) -> None:
        names = statement.names or [policy.full(session.database) for policy in statement.policies]
        self._references(statement, session)

        def change(entity: Entity) -> None:
            old = clone(entity)
            self._apply(entity, statement, session, None)
            if entity.name != old.name and (other := self.find(type(entity), entity.name)):
                self._collision("rename", old, other, entity.name)

        self._update(self._existing(statement.kind, names, statement.storage, statement.if_exists), change)

    def _references(self, statement: Create, session: SessionInfo, on_cluster: bool = False) -> None:
        """Raise ServerError where the statement refers to what does not exist, whether or not it changes anything.

        (GRANTEES of new users are looked up when the users are there.) `on_cluster`: only what is looked up before the
        replicas get the statement.
        """
        for roles in (statement.default_roles, statement.roles):
            if roles is not None:
                ids = self._ids(roles, session, True)
                if not statement.alter and not ids.all:  # a new user's default roles are granted to it
                    self._check_admin_option(ids.ids, session)
        if statement.settings is not None:
            self._change_settings([], statement.settings, True)
        for names in () if on_cluster else (statement.grantees if statement.alter else None, statement.to):
            if names is not None:
                self._ids(names, session)

    def _apply(self, entity: Entity, statement: Create, session: SessionInfo, created: str | None) -> None:
        """Make an entity what the statement says. `created`: its name as written where it is new."""
        if statement.new_name is not None:
            entity.name = statement.new_name
        if isinstance(entity, User):
            self._apply_user(entity, statement, session, created)
        if isinstance(entity, (User, Role, SettingsProfile)) and statement.settings is not None:
            entity.settings = self._change_settings(entity.settings, statement.settings, created is not None)
        if isinstance(entity, (SettingsProfile, Quota, RowPolicy)) and statement.to is not None:
            entity.to = self._ids(statement.to, session)
        if isinstance(entity, Quota):
            if statement.keys is not None:
                entity.keys = statement.keys
                if "ip_address" not in entity.keys:
                    entity.prefix_bits = {}
            entity.prefix_bits |= statement.prefix_bits
            limits = {limit.duration: limit for limit in entity.limits}
            for interval in statement.intervals:
                if interval.limits is None:
                    limits.pop(interval.duration, None)
                else:
                    limits[interval.duration] = Limits(interval.duration, interval.randomized, dict(interval.limits))
            entity.limits = [limits[duration] for duration in sorted(limits)]
        if isinstance(entity, RowPolicy):
            if statement.new_name is not None:
                entity.short_name = statement.new_name
                entity.name = PolicyName(entity.short_name, entity.database, entity.table).full(entity.database)
            if statement.restrictive is not None:
                entity.restrictive = statement.restrictive
            if statement.filter is not None:
                entity.filter = statement.filter

    def _apply_user(self, user: User, statement: Create, session: SessionInfo, created: str | None) -> None:
        self._apply_methods(user, statement, session)
        if created is not None and created in statement.host_patterns:
            user.hosts = host_forms.parse([("LIKE", statement.host_patterns[created])])
        elif statement.hosts is not None:
            user.hosts = host_forms.parse(statement.hosts)
        if statement.drop_hosts is not None:
            user.hosts.update(host_forms.parse(statement.drop_hosts), remove=True)
        if statement.add_hosts is not None:
            user.hosts.update(host_forms.parse(statement.add_hosts))
        if statement.roles is not None:
            for role in self._ids(statement.roles, session, True).ids:
                user.roles.setdefault(role, False)
        if statement.default_roles is not None:
            ids = self._ids(statement.default_roles, session, True)
            if created is not None and not ids.all and statement.roles is None:
                for role in ids.ids:
                    user.roles.setdefault(role, False)
            self._default_roles(user, ids)
        if statement.default_database is not None:
            user.default_database = statement.default_database
        if statement.grantees is not None and created is None:
            user.grantees = self._ids(statement.grantees, session)

    def _default_roles(self, user: User, roles: Ids) -> None:
        if not roles.all:
            for role in roles.ids:
                if role not in user.roles:
                    raise ServerError(512, "SET_NON_GRANTED_ROLE", "Role should be granted to set default")
        user.default_roles = roles

    def _apply_methods(self, user: User, statement: Create, session: SessionInfo) -> None:
        options = self.options
        if not statement.alter and statement.methods is None and not options.allow_implicit_no_password:
            raise ServerError(
                36,
                "BAD_ARGUMENTS",
                "Authentication type NO_PASSWORD must be explicitly specified, check the setting "
                "allow_implicit_no_password in the server configuration",
            )
        new = [self._method(method, session) for method in statement.methods or []]
        if statement.methods is not None and not statement.add_methods:
            user.auth = []
        if statement.reset_methods:
            user.auth = user.auth[-1:]
        if not user.auth and not new:
            user.auth = [AuthMethod()]
        limit = options.max_authentication_methods_per_user
        if new and limit and len(user.auth) + len(new) > limit:
            raise ServerError(
                36,
                "BAD_ARGUMENTS",
                "User can not be created/updated because it exceeds the allowed quantity of "
                "authentication methods per user. Check the `max_authentication_methods_per_user` setting",
            )
        user.auth += new
        if statement.expiry is not None:
            expiry = self._expiry(statement.expiry)
            for method in user.auth:
                method.valid_until = expiry
        types = [method.type for method in user.auth]
        if "no_password" in types and len(types) > 1:
            raise ServerError(
                36,
                "BAD_ARGUMENTS",
                "Authentication method 'no_password' cannot co-exist with other authentication methods",
            )
        if not statement.alter:
            for kind, allowed in (
                ("no_password", options.allow_no_password),
                ("plaintext_password", options.allow_plaintext_password),
            ):
                if kind in types and not allowed:
                    raise ServerError(
                        36,
                        "BAD_ARGUMENTS",
                        f"Authentication type {kind.upper()} is not allowed, check the setting "
                        f"allow_{kind} in the server configuration",
                    )

    def _method(self, written: Any, session: SessionInfo) -> AuthMethod:
        kind = written.type or self.options.default_password_type
        if kind.endswith("_password") and kind != "no_password":
            for pattern, message in self.options.password_complexity:
                if not self.engine.rows(f"SELECT match({literal(written.secret)}, {literal(pattern)}) AS fits")[0][
                    "fits"
                ]:
                    raise ServerError(36, "BAD_ARGUMENTS", f"Invalid password. The password should: {message}")
        method = passwords.store(written, self.options.default_password_type, self.options.bcrypt_workfactor)
        params = written.params
        if method.type == "http":
            method.params = {"server": params["server"], "scheme": params.get("scheme", "BASIC").upper()}
        elif method.type == "ssl_certificate":
            method.params = {key: sorted(set(names)) for key, names in params.items()}
        else:
            method.params = dict(params)
        if written.expiry is not None:
            method.valid_until = self._expiry(written.expiry)
        method.grants = written.grants
        return method

    def _expiry(self, expiry: Expiry) -> int:
        """Seconds since 1970; 0 for ever."""
        if expiry.interval:
            return int(self.engine.rows(f"SELECT toUnixTimestamp(now() + {expiry.interval}) AS at")[0]["at"])
        if expiry.until == "infinity":
            return 0
        text = literal(expiry.until)
        try:
            at = self.engine.rows(
                f"SELECT toInt64(toUnixTimestamp64Milli(parseDateTime64BestEffort({text}, 3))) AS at"
            )[0]["at"]
        except Exception as error:
            raise ServerError(41, "CANNOT_PARSE_DATETIME", f"Cannot read DateTime: {expiry.until}") from error
        return max(int(at) // 1000, 1)

    def _change_settings(self, settings: list[Setting], change: SettingsChange, written_at_once: bool) -> list[Setting]:
        """The settings after the change, in ClickHouse's order: drop, add, modify, put in order.

        `written_at_once`: SETTINGS of a new entity, in which a setting named twice is one; ADD SETTING replaces.
        """
        dropped_profiles = {self.get(SettingsProfile, clause.profile).id for clause in change.drop if clause.profile}
        dropped = {clause.name for clause in change.drop if clause.name}
        result = [
            setting
            for setting in settings
            if not (setting.profile and (change.drop_all_profiles or setting.profile in dropped_profiles))
            and not (setting.name and (change.drop_all_settings or setting.name in dropped))
        ]
        stored = self.settings.stored
        for clause in [*change.add, *change.modify]:
            if clause.profile:
                result.append(Setting(profile=self.get(SettingsProfile, clause.profile).id))
                continue
            name = clause.name
            self.settings.type(name)  # an unknown setting is an error even without a value
            if not written_at_once and clause in change.add:
                result = [setting for setting in result if setting.name != name]
            result.append(
                Setting(
                    None,
                    name,
                    stored(name, clause.value),
                    stored(name, clause.min),
                    stored(name, clause.max),
                    clause.writability,
                )
            )
        return result if self.release < (25, 0) else normalise(result)

    def _drop(self, statement: Drop, session: SessionInfo) -> None:
        names = statement.names or [policy.full(session.database) for policy in statement.policies]
        found = self._existing(statement.kind, names, statement.storage, statement.if_exists)
        if statement.target:
            self._move(found, statement.target)
            return

        def remove(entity: Entity) -> bool:
            self._journal.commit([], [entity.id])
            return True

        self._one_by_one("remove", found, remove)

    def _move(self, found: list[Entity], target: str) -> None:
        """Move to the other storage, which the one or the other cannot do."""
        self._writable(target)
        for entity in found:
            if entity.storage != target:
                moved = clone(entity)
                if entity.storage == self.options.storage:
                    moved.storage = target
                try:
                    self._readonly("remove" if moved.storage == entity.storage else "insert", moved)
                except ServerError as error:
                    way = f"{NOUNS[entity.kind]} `{entity.name}` from {entity.storage} to {target}"
                    raise ServerError(error.code, error.name, f"{error.message[:-1]}: while moving {way}") from error

    def _set_default_role(self, statement: SetDefaultRole, session: SessionInfo) -> None:
        users = [self.get(User, session.user if name == CURRENT_USER else name) for name in statement.users.names]
        roles = self._ids(statement.roles, session, True)
        self._update(users, lambda user: self._default_roles(user, roles))

    # GRANT and REVOKE -------------------------------------------------------------------------------------------------

    def elements(self, statement: Grant, database: str, strict: bool = True) -> list[Element]:
        """The statement's privileges as elements. `strict`: without what cannot be granted on its scope, as GRANT does
        and users.xml does not; the engine's parser has refused (509) what could not be granted at all."""
        result = []
        for piece in statement.pieces:
            for name, columns in piece.privileges:
                result += self._element(statement, piece, name, columns, database, strict)
        return result

    def _element(
        self, statement: Grant, piece: Piece, name: str, columns: tuple[str, ...], database: str, strict: bool
    ) -> list[Element]:
        privileges = self.privileges
        mask = privileges.mask(name)
        first, second, dotted = piece.first, piece.second, piece.dotted
        kind = privileges.parameter_type(mask)
        if (
            privileges.sources
            and name.upper() in (*SOURCES, "SOURCES")
            and first is None
            and ("READ", ()) not in piece.privileges
        ):
            # (with READ beside it, this is part of an ALL that the formatter has written out)
            kind = privileges.sources
            mask, first, dotted = kind, None if name.upper() == "SOURCES" else name.upper(), False
        if not kind and (not dotted or first == ""):  # ON t and ON * speak of the current database
            first, second = database, second if dotted else first
        names = tuple(name for name in (first, second) if name)
        if kind:
            allowed = 0 if names and dotted else mask
        else:
            depth = 3 if columns else len(names)
            allowed = mask & (privileges.all, privileges.database, privileges.table, privileges.column)[depth]
        if strict:
            mask = allowed
        return [Element(mask, names, columns, piece.wildcard, statement.option, statement.revoke)] if mask else []

    def _granted(self, statement: Grant, session: SessionInfo) -> tuple[list[Grantee], list[Element], Ids | None]:
        """To whom the statement grants or revokes what, privileges and roles. Raises ServerError 497, 192 or 511."""
        grantees = self._matching(self._ids(statement.grantees, session))
        elements = self.elements(statement, session.database)
        if statement.current:
            elements = self._current_grants(elements, statement.option, session)
        roles = self._ids(statement.roles, session, True) if statement.roles else None
        if statement.roles and not statement.revoke and roles and roles.all:
            roles = Ids(ids=[role.id for role in self.all_of(Role) if roles.match(role.id)])
        if not session.checked:
            self._check_grant(statement, elements, roles, grantees, session)
        return grantees, elements, roles

    def _grant(self, statement: Grant, session: SessionInfo) -> None:
        grantees, elements, roles = self._granted(statement, session)

        def change(grantee: Grantee) -> None:
            if statement.replace and statement.roles is None:
                grantee.rights = Rights(self.privileges)
            grantee.rights.apply(elements)
            if roles is not None:
                self._grant_roles(grantee, roles, statement)

        self._update(grantees, change)

    def _grant_roles(self, grantee: Grantee, roles: Ids, statement: Grant) -> None:
        """Grant or revoke roles. WITH ADMIN OPTION WITH REPLACE OPTION takes from the other roles the option alone."""
        revoked = [role for role in grantee.roles if statement.replace or (statement.revoke and roles.match(role))]
        if statement.option:
            grantee.roles |= dict.fromkeys(revoked, False)
        else:
            self._revoke_roles(grantee, revoked)
        if not statement.revoke:
            for role in roles.ids:
                grantee.roles[role] = statement.option or grantee.roles.get(role, False)

    def _revoke_roles(self, grantee: Grantee, roles: Iterable[str]) -> None:
        for role in roles:
            del grantee.roles[role]
            # 24.8 and 25.8 look for it among the granted roles, where it is no longer
            if self.release >= (26, 0) and isinstance(grantee, User) and role in grantee.default_roles.ids:
                grantee.default_roles.ids.remove(role)

    def _matching(self, ids: Ids) -> list[Grantee]:
        if ids.all:
            return [g for cls in (User, Role) for g in self.all_of(cls) if ids.match(g.id)]
        return [cast(Grantee, self.by_id(grantee)) for grantee in ids.ids if grantee not in ids.excluded]

    def _current_grants(self, elements: list[Element], option: bool, session: SessionInfo) -> list[Element]:
        """What the user may hand on of these elements: GRANT CURRENT GRANTS."""
        wanted = Rights(self.privileges)
        wanted.apply(elements)
        rights = self.session_rights(session)
        may = Rights(self.privileges, dict(rights.option))
        common = Rights(self.privileges, wanted.access).intersection(may)
        return [
            Element(e.mask, e.names, e.columns, e.wildcard, option and not e.revoke, e.revoke)
            for e in common.elements()
        ]

    def session_rights(self, session: SessionInfo) -> Rights:
        """The rights of the session: the user's own and those of the enabled roles."""
        user = self.get(User, session.user)
        rights = user.rights
        for role in self.enabled_roles(user, session.enabled_roles):
            entity = self.by_id(role)
            if isinstance(entity, Role):
                rights = rights.union(entity.rights)
        return rights

    def current_roles(self, user: User, names: list[str] | None) -> dict[str, bool]:
        """The current roles (id to admin option): those named, or the default ones."""
        if names is None:
            return {
                role: admin for role, admin in user.roles.items() if user.default_roles.match(role) and self.by_id(role)
            }
        wanted = {self.get(Role, name).id for name in names}
        return {role: admin for role, admin in user.roles.items() if role in wanted}

    def enabled_roles(self, user: User, names: list[str] | None = None) -> dict[str, bool]:
        """The current roles and the roles granted to them, in turn (id to admin option)."""
        found: dict[str, bool] = {}
        queue = list(self.current_roles(user, names).items())
        while queue:
            role, admin = queue.pop(0)
            entity = self.by_id(role)
            if not isinstance(entity, Role) or (found.get(role, False) >= admin and role in found):
                continue
            found[role] = found.get(role, False) or admin
            queue.extend(entity.roles.items())
        return found

    def _check_grant(
        self,
        statement: Grant,
        elements: list[Element],
        roles: Ids | None,
        grantees: list[Grantee],
        session: SessionInfo,
    ) -> None:
        """Raise ServerError 497 where the session's user may not hand out, or take, these rights or roles
        (InterpreterGrantQuery)."""
        user = self.get(User, session.user)
        rights = self.session_rights(session)
        denied = f"{session.user}: Not enough privileges. To execute this query, it's necessary to have the grant "
        if not statement.revoke:
            missing = [
                e
                for e in elements
                if not e.revoke and not rights.contains(Element(e.mask, e.names, e.columns, e.wildcard, True))
            ]
            if missing:
                implied = add_implicit(self, rights)
                missing = [
                    e for e in missing if not implied.contains(Element(e.mask, e.names, e.columns, e.wildcard, True))
                ]
            if missing:
                raise ServerError(
                    497,
                    "ACCESS_DENIED",
                    denied + ", ".join(self.element_text(e) for e in missing[:1]) + " WITH GRANT OPTION",
                )
        taken = (
            elements
            if statement.revoke
            else [Element(self.privileges.all)]
            if statement.replace and roles is None
            else []
        )
        for grantee in grantees:
            wanted = Rights(self.privileges)
            wanted.apply(Element(e.mask, e.names, e.columns, e.wildcard, True) for e in taken)
            held = (
                grantee.rights
                if not statement.option
                else Rights(self.privileges, grantee.rights.option, grantee.rights.option)
            )
            for e in (
                Rights(self.privileges, wanted.access).intersection(Rights(self.privileges, held.access)).elements()
                if taken
                else ()
            ):
                if not e.revoke and not rights.contains(Element(e.mask, e.names, e.columns, e.wildcard, True)):
                    raise ServerError(497, "ACCESS_DENIED", denied + self.element_text(e) + " WITH GRANT OPTION")
        if roles is not None:
            touched = set() if statement.revoke else set(roles.ids)
            if statement.revoke or statement.replace:
                everything = Ids(all=True) if statement.replace else roles
                for grantee in grantees:
                    touched |= {
                        r
                        for r, option in grantee.roles.items()
                        if everything.match(r) and (option or not statement.option or statement.replace)
                    }
            self._check_admin_option(touched, session)
        if not user.grantees.all or user.grantees.excluded:
            for grantee in grantees:
                if not user.grantees.match(grantee.id):
                    raise ServerError(
                        497,
                        "ACCESS_DENIED",
                        f"{NOUNS[grantee.kind].capitalize()} `{grantee.name}` is not allowed as grantee",
                    )

    def _check_admin_option(self, roles: Iterable[str], session: SessionInfo) -> None:
        """Raise ServerError 497 unless the session may hand out these roles (ContextAccess::checkAdminOption)."""
        if session.checked or self.session_rights(session).contains(Element(self.privileges.mask("ROLE ADMIN"))):
            return
        enabled = self.enabled_roles(self.get(User, session.user), session.enabled_roles)
        for role in roles:
            if not enabled.get(role, False):
                name = self.name_of(role) or role
                text = f"Role `{name}` is granted, but without ADMIN option. " if role in enabled else ""
                wanted = f"To execute this query, it's necessary to have the role {name} granted with ADMIN option"
                raise ServerError(497, "ACCESS_DENIED", f"Not enough privileges. {text}{wanted}")

    def element_text(self, element: Element) -> str:
        """An element as error messages name it."""
        return " ON ".join(show.element_texts(self, element))

    # reading ----------------------------------------------------------------------------------------------------------

    def _show(self, statement: Show, sql: str, session: SessionInfo) -> Table:
        return show.answer(self, statement, sql, session)

    def table(self, name: str, session: SessionInfo) -> Table:
        """One of the system tables about access, with this version's columns. Raises KeyError for another name."""
        return tables.table(self, name, session)

    def rights_of(self, user: str, enabled_roles: list[str] | None = None) -> SessionRights:
        """What an engine must enforce for this user. Raises ServerError 192 or 511."""
        return session_rights(self, self.get(User, user), enabled_roles)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
