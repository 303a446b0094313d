# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any number of entities as one wish: what a run must know, whether the wishes agree, and the one plan for all.

Every module goes through here; the module of a single entity asks for one. Pure, but for what a server's facts ask for.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import grant
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    READ_ONLY_STORAGES,
    Change,
    Current,
    Document,
    Need,
    Ref,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.lockout import Documents
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import ordered, plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import PLURALS, TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import Phase, Statement, WishError
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Question, Server

Currents = Mapping[str, Mapping[str, Mapping[str, Current]]]
"""Replica, kind, name -> the entity; the connected server first."""

REFERRED = ("user", "role", "settings_profile")
"""The kinds that others refer to by name."""
_GIVEN = (Phase.GRANT, Phase.TAKE)


@dataclass(frozen=True)
class Item:
    """One entity as the operator wrote it.

    :param kind: its kind
    :param options: the options of its module
    :param path: where it stands, ``users[3]``; empty where it is all there is
    :param purged: its name, where it is not written but covered by the pattern at this path
    """

    kind: str
    options: Mapping[str, Any]
    path: str = ""
    purged: str = ""

    def error(self, error: WishError) -> WishError:
        """Return the error with the whole path of its option."""
        if self.purged:
            return WishError(self.path, f"{self.purged} is not declared; {error.reason}")
        return WishError(f"{self.path}.{error.option}", error.reason) if self.path else error


@dataclass
class Plan:
    """What a run does.

    :param changes: one for each entity, in the order of the wishes; what purge drops comes last
    :param statements: all of them, in the order they run
    :param items: where each change was asked for, by kind and name
    :param notes: what the operator should know
    :param secrets: by kind and name, whether the stored passwords or values are the wished ones: ``same``,
        ``different``, ``unknown``
    """

    changes: list[Change]
    statements: tuple[Statement, ...]
    items: Mapping[tuple[str, str], Item] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)


class Refused(Exception):
    """Wishes that cannot be fulfilled, all of them; nothing has been changed.

    :param errors: at least one
    """

    def __init__(self, errors: Sequence[WishError]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


def said(items: Mapping[tuple[str, str], Item], kind: str, name: str, option: str) -> Item | None:
    """Return where an option of an entity was written; ``None`` where it follows from what was said of others.

    The roles of a user or role are an option of its own, or of its grants.
    """
    item = items.get((kind, name))
    if option == "roles" and (item is None or item.options.get("roles") is None):
        places = [items.get((other, name)) for other in ("grant", "user", "role")]
        return next((place for place in places if place and "roles" in place.options), item)
    return item


# -- what a run must know -------------------------------------------------------------------------------------------


def question(items: Sequence[Item], kinds: Collection[str], cluster: str | None, whole: bool) -> Question:
    """Return what has to be read for these wishes.

    :param kinds: the kinds to read
    :param whole: all entities of their kinds, and the names of what they may refer to; else only the ones named
    """
    needs = [need for kind in TYPES if kind in kinds for need in TYPES[kind].needs]
    if whole:
        needs += [Need(f"{kind}s", ("name", "storage")) for kind in REFERRED]
    options = [item.options for item in items if item.options.get("state") != "absent"]
    texts = [text for wished in options for text in _texts(wished, "valid_until")]
    return Question(
        needs,
        names=None if whole else frozenset(str(item.options[TYPES[item.kind].key]) for item in items),
        settings=frozenset(
            str(entry["name"]) for wished in options for entry in wished.get("settings") or () if entry.get("name")
        ),
        times=frozenset(texts) - {"", "infinity"},
        filters=frozenset(
            wished["filter"] for wished in options if isinstance(wished.get("filter"), str) and wished["filter"]
        ),
        privileges="grant" in kinds,
        secrets=any(_texts(wished, "password") or _texts(wished, "password_hash") for wished in options),
        cluster=cluster,
    )


def _texts(wished: Mapping[str, Any], option: str) -> list[str]:
    """The values of an option of a user or of its authentication methods."""
    places = [wished, *(wished.get("authentication") or ())]
    return [place[option] for place in places if isinstance(place.get(option), str)]


def currents(server: Server, kinds: Collection[str], replicas: Mapping[str, Rows]) -> Currents:
    """Return the entities of each replica."""
    return {
        replica: {kind: TYPES[kind].read(server, rows) for kind in TYPES if kind in kinds}
        for replica, rows in replicas.items()
    }


def drifts(state: Currents) -> Iterator[tuple[str, str, str, Document | None]]:
    """Return what replicas have that differs from the connected server.

    :return: kind, name, replica, and what it has there; ``None`` where it lacks the entity
    """
    (_here, ours), *others = state.items()
    for replica, theirs in others:
        for kind, mine in ours.items():
            for name in sorted({*mine, *theirs[kind]}):
                one, other = mine.get(name), theirs[kind].get(name)
                if one is None or other is None or one.document != other.document:
                    yield kind, name, replica, other.document if other else None


def exported(
    state: Mapping[str, Mapping[str, Current]], names: Sequence[str] | None, read_only: bool
) -> dict[str, list[dict[str, Any]]]:
    """Return entities as the options that would make them, by kind. Who has no privilege of its own has no grants.

    :param names: patterns of the names to return; ``None`` for all
    :param read_only: whether to return those that SQL cannot change too
    """
    return {
        kind: [
            {**TYPES[kind].identity(name), **TYPES[kind].export(current.document)}
            for name, current in sorted(entities.items())
            if (read_only or not current.read_only)
            and (names is None or _matches(TYPES[kind].short(name), names))
            and (kind != "grant" or current.document["privileges"])
        ]
        for kind, entities in state.items()
    }


# -- wishes ---------------------------------------------------------------------------------------------------------


def wishes(items: Sequence[Item], server: Server) -> tuple[list[tuple[Item, Wish]], list[WishError]]:
    """Read the options of all entities.

    :return: the wishes, and everything that a server could not take
    """
    found: list[tuple[Item, Wish]] = []
    errors: list[WishError] = []
    for item in items:
        options = item.options
        if item.kind != "grant" and options.get("state") == "absent":
            options = {key: options.get(key) for key in (TYPES[item.kind].key, "database", "table", "state", "storage")}
        try:
            found.append((item, TYPES[item.kind].wish(options, server)))
        except WishError as error:
            errors.append(item.error(error))
    return found, errors


def check(
    items: Iterable[Item],
    wished: Sequence[tuple[Item, Wish]],
    names: Mapping[str, Collection[str]],
    gone: Sequence[tuple[Item, Wish]],
    protected: Sequence[str],
) -> list[WishError]:
    """See that the wishes agree with each other and that every name they rely on will exist.

    :param items: all that was written
    :param wished: what of it could be read
    :param names: what exists of each kind that others refer to
    :param gone: what purge drops
    :param protected: patterns of names that are never dropped
    :return: everything that is wrong
    """
    # whoever refers to what could not be read is not to blame
    declared = {(item.kind, item.options[TYPES[item.kind].key]) for item in items if item.kind in REFERRED}
    there = declared.union((kind, name) for kind, its in names.items() for name in its)
    return [
        *_duplicates(wished),
        *_ambiguous(wished, names, {wish.name for _item, wish in gone if wish.kind == "user"}),
        *_dangling(wished, there, {(wish.kind, wish.name) for _item, wish in gone}),
        *_twice(wished),
        *_protected(wished, protected),
    ]


def raise_all(errors: Sequence[WishError]) -> None:
    """Raise Refused if there is an error."""
    if errors:
        raise Refused(errors)


def _duplicates(wished: Iterable[tuple[Item, Wish]]) -> Iterator[WishError]:
    first: dict[tuple[str, str], Item] = {}
    for item, wish in wished:
        other = first.setdefault((wish.kind, wish.name), item)
        if other is not item:
            yield item.error(WishError(TYPES[wish.kind].key, f"{wish.name} is declared already, in {other.path}"))


def _ambiguous(
    wished: Sequence[tuple[Item, Wish]], names: Mapping[str, Collection[str]], purged: Collection[str]
) -> Iterator[WishError]:
    """A user and a role of one name: ``GRANT ... TO name`` means the user. Where both exist already, it is too late."""
    users = {name: "which exists" for name in names.get("user", ()) if name not in purged}
    for item, wish in wished:
        if wish.kind == "user":
            users.pop(wish.name, None)
            users.update({wish.name: item.path} if wish.present else {})
    both = set(names.get("role", ())).intersection(names.get("user", ()))
    for item, wish in wished:
        if wish.kind == "role" and wish.present and wish.name in users and wish.name not in both:
            reason = f"{wish.name} is a user too ({users[wish.name]}); ClickHouse's GRANT ... TO {wish.name} would mean"
            yield item.error(WishError("name", f"{reason} the user: give one of them another name"))


def _dangling(
    wished: Sequence[tuple[Item, Wish]], there: Collection[tuple[str, str]], purged: Collection[tuple[str, str]]
) -> Iterator[WishError]:
    absent = {(wish.kind, wish.name): item for item, wish in wished if not wish.present}
    for item, wish in wished:
        for ref in references(wish):
            names = [(kind, ref.name) for kind in ref.kinds]
            if any(name in there and name not in absent and name not in purged for name in names):
                continue
            what = f"{' or '.join(ref.kinds).replace('_', ' ')} {ref.name}"
            dropped = [absent[name] for name in names if name in absent]
            if dropped:
                reason = f"{what} is wanted here and absent in {dropped[0].path}: decide for one"
            elif any(name in purged for name in names):
                reason = f"{what} is wanted here and would be purged: declare it, or leave it out of purge"
            else:
                reason = f"{what} does not exist and is not declared"
            yield item.error(WishError(ref.option, reason))


def references(wish: Wish) -> Sequence[Ref]:
    """Return the names that a wish relies on, the grantee of grants among them."""
    if not wish.present:
        return ()
    own = (Ref(("user", "role"), wish.name, "grantee"),) if wish.kind == "grant" and not wish.extra.get("gone") else ()
    return (*own, *wish.refs)


def circles(
    wished: Sequence[tuple[Item, Wish]], state: Mapping[str, Mapping[str, Current]], users: Collection[str]
) -> list[WishError]:
    """Find profiles that would inherit from each other, and roles that would be granted to each other, round about.

    ClickHouse takes both, and what is so already stays.

    :param wished: the wishes, folded
    :param users: all users: where one has a role's name, grants of that name are the user's
    """
    errors = []
    for kind, option in (("settings_profile", "profiles"), ("role", "roles")):
        had = {
            name: _referred(current.document, option)
            for its in (kind, "grant")
            if its == kind or kind == "role"
            for name, current in state.get(its, {}).items()
            if its == kind or name not in users
        }
        will, places = dict(had), {(wish.kind, wish.name): item for item, wish in wished}
        fresh: dict[str, set[str]] = {}
        for _item, wish in wished:
            document: Document = wish.document
            if wish.kind == "grant" and kind == "role" and "roles" in document and wish.name not in users:
                now = [{"name": name, "admin_option": False} for name in had.get(wish.name, ())]
                document = {"roles": grant.roles_after(now, wish)}
            elif wish.kind != kind:
                continue
            if not wish.present:
                will.pop(wish.name, None)
            elif option in document:
                will[wish.name] = _referred(document, option)
                fresh[wish.name] = set(will[wish.name]).difference(had.get(wish.name, ()))
        for circle in _circles(will, fresh):
            error = WishError(option, f"{kind.replace('_', ' ')}s would go round in a circle: {' -> '.join(circle)}")
            place = said(places, kind, circle[0], option)
            errors += [place.error(error)] if place else []
    return errors


def _referred(document: Document, option: str) -> list[str]:
    return [entry["name"] if isinstance(entry, dict) else entry for entry in document.get(option, ())]


def _circles(edges: Mapping[str, Sequence[str]], fresh: Mapping[str, Collection[str]]) -> Iterator[list[str]]:
    """Return ways from a name back to itself that begin with a fresh edge; one for those that run into each other."""
    # what leads nowhere goes, until only circles and what leads into them are left
    left = {name: sum(target in edges for target in targets) for name, targets in edges.items()}
    before: dict[str, list[str]] = {}
    for name, targets in edges.items():
        for target in targets:
            before.setdefault(target, []).append(name)
    ends = [name for name, count in left.items() if not count]
    while ends:
        end = ends.pop()
        del left[end]
        for name in before.get(end, ()):
            left[name] -= 1
            if not left[name]:
                ends.append(name)
    told: set[str] = set()
    for start in left:
        for target in fresh.get(start, ()):
            way = None if start in told or target not in left else _way(target, start, edges, left)
            if way:
                told.update(way)
                yield [start, *way]


def _way(start: str, end: str, edges: Mapping[str, Sequence[str]], inside: Collection[str]) -> list[str]:
    """Return the shortest way from a name to another; empty if there is none."""
    came: dict[str, str | None] = {start: None}
    for name in (queue := [start]):
        if name == end:
            way = [name]
            while (step := came[way[-1]]) is not None:
                way.append(step)
            return way[::-1]
        for target in edges[name]:
            if target in inside and target not in came:
                came[target] = name
                queue.append(target)
    return []


def _twice(wished: Iterable[tuple[Item, Wish]]) -> Iterator[WishError]:
    """Roles of one grantee that are said in two places."""
    roles = {wish.name: item for item, wish in wished if wish.kind in ("user", "role") and "roles" in wish.document}
    for item, wish in wished:
        if wish.kind == "grant" and "roles" in wish.document and wish.name in roles:
            reason = f"the roles of {wish.name} are said in {roles[wish.name].path}.roles too: say them in one place"
            yield item.error(WishError("roles", reason))


def _protected(wished: Iterable[tuple[Item, Wish]], protected: Sequence[str]) -> Iterator[WishError]:
    for item, wish in wished:
        if not wish.present and _matches(TYPES[wish.kind].short(wish.name), protected):
            yield item.error(WishError("state", f"{wish.name} is protected, so it is not dropped"))


def folded(wished: Sequence[tuple[Item, Wish]], state: Mapping[str, Mapping[str, Current]]) -> list[tuple[Item, Wish]]:
    """Move the roles that ``grants`` say to the user or role that they are about, where it is declared too.

    So its default roles can be told from the roles it will have.
    """
    said = {wish.name: wish for _item, wish in wished if wish.kind == "grant" and "roles" in wish.document}
    owners = {
        wish.name for _item, wish in wished if wish.kind in ("user", "role") and wish.present and wish.name in said
    }
    result = []
    for item, wish in wished:
        if wish.name not in owners:
            result.append((item, wish))
            continue
        document = dict(wish.document)
        if wish.kind == "grant":
            del document["roles"]
        elif wish.kind in ("user", "role"):
            current = state.get(wish.kind, {}).get(wish.name)
            had = current.document["roles"] if current else []
            document["roles"] = grant.roles_after(had, said[wish.name])
        result.append((item, replace(wish, document=document)))
    return result


# -- purge ----------------------------------------------------------------------------------------------------------


def purged(
    scope: Mapping[str, Sequence[str]],
    state: Currents,
    declared: Collection[tuple[str, str]],
    protected: Sequence[str],
) -> list[tuple[Item, Wish]]:
    """Return the wish to drop what is not declared, on whichever replica it is.

    :param scope: kind -> patterns (``*``, ``?``, ``[...]``) of the names to purge
    :param protected: patterns of names that are never dropped
    """
    gone = []
    for kind, patterns in scope.items():
        writable = {name for kinds in state.values() for name, one in kinds.get(kind, {}).items() if not one.read_only}
        for name in sorted(writable):
            short = TYPES[kind].short(name)
            if (kind, name) not in declared and _matches(short, patterns) and not _matches(short, protected):
                gone.append((Item(kind, {}, f"purge.{PLURALS[kind]}", name), Wish(kind, name, present=False)))
    return gone


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


# -- the plan -------------------------------------------------------------------------------------------------------


def planned(
    wished: Sequence[tuple[Item, Wish]],
    state: Currents,
    server: Server,
    cluster: Callable[[Wish, Current | None], str | None],
    known: Sequence[WishError] = (),
    users: Collection[str] = (),
) -> Plan:
    """Plan all changes.

    :param cluster: ``(wish, what is there) -> the cluster its statements run on``
    :param known: what is wrong with the wishes already
    :param users: the names of the users that exist
    :raises Refused: with all of that, and with every wish that the server's state does not allow
    """
    ours = next(iter(state.values()))
    coming = frozenset(
        (wish.kind, wish.name)
        for _item, wish in wished
        if wish.present and wish.kind in REFERRED and wish.name not in ours.get(wish.kind, {})
    )
    made = Plan([], (), {(wish.kind, wish.name): item for item, wish in wished})
    errors = list(known)
    targets: dict[str | None, Target] = {}
    for item, wish in wished:
        entity_type = TYPES[wish.kind]
        there = {replica: kinds.get(wish.kind, {}).get(wish.name) for replica, kinds in state.items()}
        current = next((one for one in there.values() if one is not None), None)
        if wish.kind == "grant" and current is None:
            if wish.extra.get("gone"):
                made.changes.append(Change(wish.kind, wish.name, None, None))
                continue
            there = dict.fromkeys(there, grant.nothing(server))
        try:
            if entity_type.settle is not None:
                wish, notes = entity_type.settle(server, wish, current)
                made.notes += notes
                made.secrets[wish.kind, wish.name] = wish.extra.get("password", "none")
            on = cluster(wish, current)
            where = targets.get(on) or targets.setdefault(on, Target(on, coming))
            change = plan(entity_type, wish, there, where, server)
            made.changes.append(change)
            if wish.kind == "role" and wish.name in users and any(one.phase in _GIVEN for one in change.statements):
                reason = f"{wish.name} is a user too, and ClickHouse's GRANT and REVOKE mean the user: change it by SQL"
                raise WishError("roles", reason)
        except WishError as error:
            errors.append(item.error(error))
    raise_all(errors)
    made.statements = ordered(made.changes, _ranks(wished))
    return made


def _ranks(wished: Iterable[tuple[Item, Wish]]) -> dict[tuple[str, str], tuple[int, int]]:
    """The place of each entity: by kind, and profiles after those they inherit from."""
    kinds = {kind: index for index, kind in enumerate(TYPES)}
    parents = {
        wish.name: wish.document.get("profiles", ()) for _item, wish in wished if wish.kind == "settings_profile"
    }
    depths: dict[str, int] = {}
    for start in parents:
        way = [start] if start not in depths else []
        inside = set(way)  # a circle that is there already ends where it began
        while way:
            name = way[-1]
            further = [parent for parent in parents[name] if parent in parents and parent not in inside]
            missing = next((parent for parent in further if parent not in depths), None)
            if missing is None:
                depths[name] = 1 + max((depths[parent] for parent in further), default=-1)
                inside.remove(way.pop())
            else:
                way.append(missing)
                inside.add(missing)
    return {
        (wish.kind, wish.name): (kinds[wish.kind], depths[wish.name] if wish.kind == "settings_profile" else 0)
        for _item, wish in wished
    }


# -- lockout --------------------------------------------------------------------------------------------------------

GUARDED = ("user", "role", "grant", "settings_profile")
"""The kinds that our own login and rights rest on."""


def touches(plan: Plan, user: str) -> bool:
    """Whether a plan may change what a user can do."""
    return any(
        change.statements and change.kind in GUARDED and (change.kind != "user" or change.name == user)
        for change in plan.changes
    )


def own_question(server: Server, plan: Plan) -> Question:
    """Return what has to be read to judge what a plan does to the user the run is logged in as."""
    names = {server.user, *server.enabled_roles}
    for change in plan.changes:
        if change.kind in GUARDED and change.name in names:
            for document in (change.before, change.after):
                names |= {role["name"] for role in (document or {}).get("roles", ())}
    needs = [need for kind in GUARDED for need in TYPES[kind].needs]
    # any profile may apply to us, so they are read whole
    whole = TYPES["settings_profile"].needs[0]
    needs = [replace(need, keys=()) if need == whole else need for need in needs]
    return Question(needs, names=frozenset(names), privileges=True)


def before_and_after(state: Mapping[str, Mapping[str, Current]], plan: Plan) -> tuple[Documents, Documents]:
    """Return all documents as they are and as the plan will leave them."""
    before: dict[str, dict[str, Document]] = {
        kind: {name: current.document for name, current in entities.items()} for kind, entities in state.items()
    }
    after = {kind: dict(documents) for kind, documents in before.items()}
    for change in plan.changes:
        if not change.statements or change.kind not in after:
            continue
        if change.after is None:
            after[change.kind].pop(change.name, None)
            if change.kind in ("user", "role"):
                after["grant"].pop(change.name, None)
            continue
        after[change.kind][change.name] = change.after
        # the roles of a user or role are a part of what grants say of it too
        for kind in ("user", "role", "grant"):
            known = after[kind].get(change.name)
            if known is not None and "roles" in change.after and change.kind != kind:
                after[kind][change.name] = {**known, "roles": change.after["roles"]}
    return before, after


# -- where ----------------------------------------------------------------------------------------------------------


def cluster_of(cluster: str | None, rows: Rows, wish: Wish, current: Current | None) -> str | None:
    """Return the cluster that the statements about an entity run on; ``None`` for the connected server alone.

    Replicated access storage carries a change to all replicas by itself, so ON CLUSTER would make it twice.
    """
    if cluster is None or wish.kind in ("database", "named_collection"):  # the latter are not in access storages
        return cluster
    storage = current.storage if current else wish.storage
    if not storage:
        storage = next((name for name, kind in rows.storages.items() if kind not in READ_ONLY_STORAGES), "")
    return None if rows.storages.get(storage) == "replicated" else cluster
