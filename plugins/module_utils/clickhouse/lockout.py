# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Would a run leave the user it is logged in as unable to connect or to administer, and whose wish does it? Pure.

What counts is the difference between before and after: what the user cannot do already, no run is blamed for.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import (
    METHODS,
    Credential,
    MethodDocument,
    ShownSecret,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.canonical import host_admits
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities.user import NEW_PASSWORD
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Document
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    GRANT,
    REVOKE,
    Grant,
    PrivilegeCatalogue,
    Rights,
    difference,
    readable,
    render_elements,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError

Documents: TypeAlias = "Mapping[str, Mapping[str, Document]]"
"""Kind to name to canonical document; what does not exist is not in it."""


@dataclass(frozen=True)
class Me:
    """The user a run is logged in as.

    :param name: ``currentUser()``
    :param address: our own address as the server sees it; ``None`` if it is not known
    :param now: the server's time, ``YYYY-MM-DD hh:mm:ss``, in the zone of ``valid_until`` in the documents
    :param password: the one we are logged in with; ``None`` or empty without one
    :param certificate: whether a client certificate alone says who we are
    """

    name: str
    address: str | None
    now: str
    password: str | None = field(repr=False)
    certificate: bool = False


@dataclass(frozen=True)
class Lockout:
    """One way in which a run would lock us out.

    :param kind: the kind of the entity whose change does it
    :param name: its name
    :param option: the option that says so; ``state`` for an entity that is dropped
    :param reason: what would be lost, for people
    :param certain: ``False`` for what only the server can tell (names that it resolves): to be warned of, not refused
    """

    kind: str
    name: str
    option: str
    reason: str
    certain: bool = True

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} {self.name}, {self.option}: {self.reason}"


def lockouts(me: Me, before: Documents, after: Documents, credentials: Sequence[Credential] = ()) -> list[Lockout]:
    """Say how a run would lock us out.

    :param before: at least us, our roles and theirs, the grants of all of these, and every profile that reaches us
    :param after: the same and what comes to reach us, as the run will leave it
    :param credentials: the passwords wished for us, one for each password method, in the methods' order
    :return: empty if we stay able to connect and to administer
    """
    had, has = before.get("user", {}).get(me.name), after.get("user", {}).get(me.name)
    if had is None:
        return []
    if has is None:
        return [Lockout("user", me.name, "state", f"{me.name}, the user this run is logged in as, would be dropped")]
    found: list[Lockout] = []
    if had != has:
        found += _host(me, had.get("host", _ANY), has.get("host", _ANY))
        found += _login(me, had.get("authentication", ()), has.get("authentication", ()), credentials)
    return [*found, *_administration(me, before, after)]


# -- connecting -----------------------------------------------------------------------------------------------------

_ANY: Document = {"any": True}
_PASSWORDS = frozenset(kind for kind, method in METHODS.items() if method.password)
# A password sent over HTTP is checked by these; measured: no_password takes any, no_authentication refuses everybody.
_TAKE_PASSWORD = _PASSWORDS | {"no_password", "ldap", "http"}


def _host(me: Me, had: Document, has: Document) -> Iterator[Lockout]:
    if had == has:
        return
    lockout = partial(Lockout, "user", me.name, "host")
    if has.get("none"):
        yield lockout(f"nobody could log in as {me.name}, from nowhere")
    elif me.address is not None and host_admits(had, me.address) is not False:
        admits = host_admits(has, me.address)
        if admits is None:
            names = "depends on names, which the server resolves"
            yield lockout(f"whether {me.name} could still log in from {me.address} {names}", certain=False)
        elif not admits:
            yield lockout(f"{me.name} could not log in from {me.address}, where this run comes from")


def _login(
    me: Me, had: Sequence[MethodDocument], has: Sequence[MethodDocument], credentials: Sequence[Credential]
) -> Iterator[Lockout]:
    ways = frozenset({"ssl_certificate"}) if me.certificate else _TAKE_PASSWORD
    used = [method for method in _valid(had, me.now) if method["type"] in ways]
    accepting = list(_accepting(me, used, has, credentials))
    if not used or _valid(accepting, me.now):
        return
    if accepting:
        last = max(method["valid_until"] for method in accepting)
        yield Lockout(
            "user", me.name, "valid_until", f"the login of {me.name} would end at {last}, and it is {me.now} there"
        )
        return
    reason = f"no method would be left that this run can log in with as {me.name}"
    if any(method.get("password") == NEW_PASSWORD for method in has):
        reason = (
            f"{me.name} would not get in with the password this run is logged in with: it is sent with every request,"
            " so the rest of the run would be refused, and later runs have to use the new one"
        )
    yield Lockout("user", me.name, "authentication", reason)


def _valid(methods: Iterable[MethodDocument], now: str) -> list[MethodDocument]:
    return [method for method in methods if not method.get("valid_until") or method["valid_until"] > now]


def _accepting(
    me: Me, used: Sequence[MethodDocument], has: Sequence[MethodDocument], credentials: Sequence[Credential]
) -> Iterator[MethodDocument]:
    """The methods, expired or not, that may let us in as we are logged in now."""
    types = {method["type"] for method in used}
    wished = iter(credentials)
    for method in has:
        credential = next(wished, None) if method["type"] in _PASSWORDS else None
        if method["type"] == "no_password":
            yield method
        elif method["type"] in _PASSWORDS and method.get("password") == NEW_PASSWORD:
            if credential is not None and _is_ours(credential, me.password or ""):
                yield method
        elif method["type"] == "ssl_certificate" and me.certificate:
            subjects = {subject for one in used for subject in _subjects(one)}
            # a name with an asterisk may stand for ours
            if any(subject in subjects or "*" in subject[1] for subject in _subjects(method)):
                yield method
        elif method["type"] in types:
            yield method


def _is_ours(credential: Credential, password: str) -> bool:
    if credential.password is not None:
        return hmac.compare_digest(credential.password.encode(), password.encode())
    stored = ShownSecret(credential.type, credential.hash or "", credential.salt)
    try:
        return Credential(credential.type, password=password).matches(stored)
    except WishError:
        return False  # without the bcrypt library nobody can tell, and another password is likelier


def _subjects(method: MethodDocument) -> set[tuple[str, str]]:
    return {(key, name) for key in ("common_names", "subject_alt_names") for name in method.get(key, ())}


# -- administering --------------------------------------------------------------------------------------------------
#
# What we can do is a set of abilities, before and after. A change takes one away if it does so alone, or if all others
# together would not: this is found out by making each change alone, and by leaving each one out.

_Ability: TypeAlias = "tuple[str, str, bool]"
"""A privilege, the prefix of its scope, and whether it is about the grant option; or one of these two:"""
_WRITING: _Ability = ("readonly = 0", "", False)
_GRANTEES: _Ability = ("GRANTEES", "", False)
_Change: TypeAlias = "tuple[str, str, str]"
"""Kind, name and the field that changes; ``state`` for an entity that is dropped."""

_FIELDS = {
    "user": ("roles", "default_roles", "settings", "profiles", "grantees"),
    "role": ("roles", "settings", "profiles"),
    "grant": ("privileges", "roles"),
    "settings_profile": ("settings", "profiles", "apply_to"),
}
_MOST = 30
"""How many lost privileges a reason names: all there are on ``*.*``, but not each of a thousand objects."""


def _administration(me: Me, before: Documents, after: Documents) -> Iterator[Lockout]:
    reached = _reached(me, before, after)
    before, after = _only(before, reached), _only(after, reached)
    changes = list(_changes(before, after))
    if not changes:
        return
    all_rights = [
        doc["privileges"] for docs in (before, after) for doc in docs["grant"].values() if "privileges" in doc
    ]
    judge = _Judge(me, before, _Privileges(all_rights))
    lost = judge.abilities(before) - judge.abilities(after)
    if not lost:
        return

    def lost_by(some: Iterable[_Change]) -> frozenset[_Ability]:
        return lost - judge.abilities(_changed(before, after, some))

    blamed = _blame(changes, lost_by)
    for part in (lost - {_WRITING, _GRANTEES}, lost & {_WRITING}, lost & {_GRANTEES}):
        entities: dict[tuple[str, str], tuple[str, frozenset[_Ability]]] = {}
        for (kind, name, option), its in blamed.items():
            if its & part:  # a role that is taken goes from the default roles as well: the first field says it
                first, known = entities.get((kind, name), (option, frozenset()))
                entities[kind, name] = first, known | (its & part)
        for (kind, name), (option, its) in entities.items():
            yield Lockout(kind, name, option, f"{me.name}, the user this run is logged in as, {_reason(its, judge)}")


def _reason(lost: frozenset[_Ability], judge: _Judge) -> str:
    if _WRITING in lost:
        return "would get the setting readonly, with which it could change nothing any more"
    if _GRANTEES in lost:
        return "could not grant or revoke anything any more: GRANTEES NONE"
    return f"would lose {judge.privileges.describe(lost)}"


def _blame(
    changes: Sequence[_Change], lost_by: Callable[[Iterable[_Change]], frozenset[_Ability]]
) -> dict[_Change, frozenset[_Ability]]:
    """Say which change takes which abilities away; without all that it names, nothing would be lost."""
    blamed: dict[_Change, frozenset[_Ability]] = {}
    rest = list(changes)
    while left := lost_by(rest):
        its = {c: (lost_by([c]) & left) | (left - lost_by([o for o in rest if o != c])) for c in rest}
        if not any(its.values()):
            its = dict.fromkeys(rest, left)
        blamed.update({change: part for change, part in its.items() if part})
        rest = [change for change in rest if not its[change]]
    return blamed


def _closure(start: Iterable[str], further: Callable[[str], Iterable[str]]) -> set[str]:
    """All names that are reached from some, themselves included."""
    found: set[str] = set()
    queue = list(start)
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue.extend(further(name))
    return found


def _reached(me: Me, before: Documents, after: Documents) -> dict[str, set[str]]:
    """Names by kind of all that may reach us, before, after or in between."""

    def documents(kind: str, name: str) -> list[Document]:
        return [docs[kind][name] for docs in (before, after) if name in docs.get(kind, {})]

    def granted(kind: str, name: str) -> set[str]:
        holders = documents(kind, name) + documents("grant", name)
        return {role["name"] for document in holders for role in document.get("roles", ())}

    def inherited(kind: str, name: str) -> set[str]:
        return {profile for document in documents(kind, name) for profile in document.get("profiles", ())}

    roles = _closure(granted("user", me.name), partial(granted, "role"))
    profiles = inherited("user", me.name).union(*(inherited("role", role) for role in roles))
    subjects = {me.name, *roles}
    for docs in (before, after):
        for name, document in docs.get("settings_profile", {}).items():
            to = document.get("apply_to", {})
            if to.get("all") or not subjects.isdisjoint(to.get("names", ())):
                profiles.add(name)
    # the grants of a name that is both a user and a role are the user's
    users = {name for docs in (before, after) for name in docs.get("user", {}) if name in roles}
    return {
        "user": {me.name},
        "role": roles,
        "grant": {me.name} | (roles - users),
        "settings_profile": _closure(profiles, partial(inherited, "settings_profile")),
    }


def _only(docs: Documents, names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Document]]:
    return {kind: {name: docs[kind][name] for name in names[kind] if name in docs.get(kind, {})} for kind in _FIELDS}


def _changes(before: Documents, after: Documents) -> Iterator[_Change]:
    for kind, fields in _FIELDS.items():
        for name in sorted({*before[kind], *after[kind]}):
            had, has = before[kind].get(name, {}), after[kind].get(name, {})
            if name not in after[kind] and kind != "grant":
                yield kind, name, "state"
            elif had != has:
                yield from ((kind, name, option) for option in fields if had.get(option) != has.get(option))


def _changed(before: Documents, after: Documents, changes: Iterable[_Change]) -> dict[str, dict[str, Document]]:
    """The documents after some of the changes."""
    docs = {kind: dict(before[kind]) for kind in _FIELDS}
    for kind, name, option in changes:
        if option == "state":
            del docs[kind][name]
            continue
        document = {key: value for key, value in docs[kind].get(name, {}).items() if key != option}
        wanted = after[kind].get(name, {})
        docs[kind][name] = {**document, option: wanted[option]} if option in wanted else document
    return docs


class _Judge:
    """What we can do in a state of the documents.

    :param base: the documents before the run
    """

    def __init__(self, me: Me, base: Documents, privileges: _Privileges) -> None:
        self.me, self.base, self.privileges = me, base, privileges

    def abilities(self, docs: Documents) -> frozenset[_Ability]:
        """Everything we can do, as far as administering goes."""
        user = docs["user"][self.me.name]
        roles = self._roles(docs, user)
        grants = [docs["grant"][name] for name in (self.me.name, *roles) if name in docs["grant"]]
        held = self.privileges.held(document["privileges"] for document in grants if document.get("privileges"))
        if self._readonly(docs, user, roles) == "0":
            held.add(_WRITING)
        if not user.get("grantees", _ANY).get("none"):  # measured: every GRANT and REVOKE is refused then (497)
            held.add(_GRANTEES)
        return frozenset(held)

    def _roles(self, docs: Documents, user: Document) -> list[str]:
        """The roles that are in force after a login: the default ones and all that these bring."""
        granted = self._granted(docs, "user", self.me.name)
        wanted = user.get("default_roles", {"all": True})
        default = (
            granted - set(wanted.get("except", ())) if wanted.get("all") else granted & set(wanted.get("names", ()))
        )
        return sorted(_closure(default, partial(self._granted, docs, "role")))

    def _granted(self, docs: Documents, kind: str, name: str) -> set[str]:
        """The existing roles of a user or role: its own document and its grants' both tell them, and either changes."""
        result: set[str] = set()
        taken: set[str] = set()
        for its_kind in (kind, "grant"):
            had, has = (
                {role["name"] for role in some[its_kind].get(name, {}).get("roles", ())} for some in (self.base, docs)
            )
            result |= has
            taken |= had - has
        return {role for role in result - taken if role in docs["role"]}

    def _readonly(self, docs: Documents, user: Document, roles: Sequence[str]) -> str:
        """The setting ``readonly`` after a login: 1 and 2 both refuse every access statement (164), ``allow_ddl`` none.

        ClickHouse merges profiles applied by TO, then the roles' settings, then the user's own
        (SettingsProfilesCache::mergeSettingsAndConstraintsFor); among those of one kind the order is its own affair, so
        there the one that locks counts.
        """
        subjects = {self.me.name, *roles}
        applied = []
        for document in docs["settings_profile"].values():
            to = document.get("apply_to", {})
            if not subjects.isdisjoint(to.get("names", ())) or (
                to.get("all") and subjects.isdisjoint(to.get("except", ()))
            ):
                applied.append(document)
        for sources in ([user], [docs["role"][role] for role in roles], applied):
            values = [value for value in (_value(docs, source, "readonly") for source in sources) if value is not None]
            if values:
                return max(values)
        return "0"


def _value(docs: Documents, document: Document, setting: str, inside: frozenset[str] = frozenset()) -> str | None:
    """The value of a setting in a document or the profiles it names, of which the last one counts."""
    for element in document.get("settings", ()):
        if element["name"] == setting and element.get("value") is not None:
            return str(element["value"])
    for name in reversed(document.get("profiles", ())):
        if name not in inside:
            value = _value(docs, docs["settings_profile"].get(name, {}), setting, inside | {name})
            if value is not None:
                return value
    return None


class _Privileges:
    """The privileges to administer access that some rights speak of, at each scope they speak of."""

    def __init__(self, rights: Iterable[Rights]) -> None:
        self._maps: dict[int, dict[tuple[str, bool], dict[str, bool]]] = {}
        self._grants: dict[tuple[str, str], Grant] = {}
        self._catalogue: PrivilegeCatalogue | None = None
        for one in rights:
            self._catalogue = one.catalogue
            if id(one) not in self._maps:
                self._maps[id(one)] = self._read(one)

    def _read(self, rights: Rights) -> dict[tuple[str, bool], dict[str, bool]]:
        """Whether each privilege, and its grant option, is held, by scope prefix; the longest prefix counts."""
        catalogue = rights.catalogue
        wanted = frozenset(catalogue.leaves("ACCESS MANAGEMENT"))
        maps: dict[tuple[str, bool], dict[str, bool]] = {}
        for step in difference(Rights(catalogue), rights):
            for leaf, prefix in catalogue.reach(step.grant):
                if leaf not in wanted:
                    continue
                self._grants.setdefault((leaf, prefix), Grant(leaf, step.grant.scope, step.grant.columns))
                if step.verb == GRANT:
                    maps.setdefault((leaf, False), {})[prefix] = True
                if step.verb == REVOKE:
                    maps.setdefault((leaf, False), {})[prefix] = False
                if step.verb != GRANT or step.grant.grant_option:
                    maps.setdefault((leaf, True), {})[prefix] = step.verb == GRANT
        return maps

    def held(self, rights: Iterable[Rights]) -> set[_Ability]:
        """What several rights give together; ClickHouse unites them, so what one revokes another may still grant."""
        maps = [self._maps[id(one)] for one in rights]
        return {
            (leaf, prefix, option)
            for leaf, prefix in self._grants
            for option in (False, True)
            if any(_at(one.get((leaf, option), {}), prefix) for one in maps)
        }

    def describe(self, lost: Iterable[_Ability]) -> str:
        """Name lost privileges in few words; where the privilege goes, its grant option need not be named."""
        lost = set(lost)
        access = self._names((leaf, prefix) for leaf, prefix, option in lost if not option)
        options = self._names(
            (leaf, prefix) for leaf, prefix, option in lost if option and (leaf, prefix, False) not in lost
        )
        return " and ".join([access] * bool(access) + [f"the grant option of {options}"] * bool(options))

    def _names(self, places: Iterable[tuple[str, str]]) -> str:
        if self._catalogue is None:
            return ""
        rights = Rights(self._catalogue)
        for place in sorted(places, key=lambda place: (len(place[1]), place)):
            rights.grant(self._grants[place])
        grants = [step.grant for step in difference(Rights(self._catalogue), rights)]
        more = f" and {len(grants) - _MOST} more" if len(grants) > _MOST else ""
        return render_elements(grants[:_MOST], readable) + more


def _at(scopes: Mapping[str, bool], prefix: str) -> bool:
    for length in range(len(prefix), -1, -1):
        if prefix[:length] in scopes:
            return scopes[prefix[:length]]
    return False
