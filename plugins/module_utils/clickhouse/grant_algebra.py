# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The algebra of ClickHouse privileges: are two sets of grants the same, and what turns one into the other?

Pure functions over what the server says (the rows of ``system.privileges`` and ``system.grants``, the lines of
``SHOW GRANTS``); nothing here talks to a server. The rules come from running the engines of ClickHouse 24.8, 25.8 and
26.9: the tests hold this file against them.

The normal form: every privilege is split into its leaves (``system.privileges`` rows that have a level), every scope is
a string, and a scope holds another exactly when its string is a prefix of the other's::

    *.*      ""              db*.*    "db"            db.pre*  "db\\0pre"         column c   "db\\0t\\0c\\0"
    db.*     "db\\0"          db.t     "db\\0t\\0"       object o "o\\0"             objects o* "o"

Per leaf the scopes where it is held, and whether with grant option, are noted only where that differs from the scope
around. Equal notes mean equal rights, however they were written. They never change once made, so rights that are the
same share them: a run may hold the rights of ten thousand grantees.

What cannot be known, because the servers do not show it:

- the filter of ``READ ON S3('regexp')``: filtered and unfiltered grants look the same, and revoking one revokes the
  other (in the engine too);
- up to 25.8, whether a ``system.grants`` row means ``db.pre*`` or ``db.pre``, while ``SHOW GRANTS`` prints
  ``READ ON S3`` and ``WRITE ON S3`` alike as ``S3 ON *.*``: `Rights.from_show_grants` takes each from where it is true;
- CREATE ARBITRARY TEMPORARY TABLE without CREATE TEMPORARY TABLE, or one of them alone with grant option;
- from 25.8, at times a ``SELECT ON db.* WITH GRANT OPTION`` inside a plain ``SELECT ON *.*``: it vanishes from rows and
  lines once a name that begins alike (``db1``) has a grant. 25.8 may also print a ``REVOKE CREATE USER ON db*`` nobody
  asked for, where several ``db.pre*`` grants meet ``CREATE USER ON *``. Both are taken as shown.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal, unquote

# Levels of system.privileges.level that hold at each kind of scope; a global scope takes every level.
_OBJECT_LEVELS = frozenset({"USER_NAME", "NAMED_COLLECTION", "TABLE_ENGINE", "DEFINER", "SOURCE"})
_LEVELS = {
    "database": frozenset({"DATABASE", "TABLE", "VIEW", "DICTIONARY", "COLUMN"}),
    "table": frozenset({"TABLE", "VIEW", "DICTIONARY", "COLUMN"}),
    "column": frozenset({"COLUMN"}),
    "object": _OBJECT_LEVELS,
}
_EXAMPLES = {"global": "*.*", "database": "database.*", "table": "database.table", "object": "name"}
# Privileges that became objects of READ and WRITE in 25.7; still listed there, but empty words.
_SOURCES = frozenset(
    re.split(
        r",\s+",
        """FILE, URL, REMOTE, MONGO, REDIS, MYSQL, POSTGRES, SQLITE, ODBC, JDBC, HDFS, S3, HIVE, AZURE, KAFKA, NATS,
        RABBITMQ, YTSAURUS, ARROW FLIGHT, BIGQUERY, DISK, SOURCES""",
    )
)

GRANT, REVOKE, REVOKE_OPTION = "GRANT", "REVOKE", "REVOKE GRANT OPTION FOR"


class GrantError(ValueError):
    """A privilege or scope that cannot be used; the message names the text and what to write instead."""


# ---- reading what people and servers write -------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<mark>[.,()*])"""
    r"""|(?P<name>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")|(?P<text>'(?:[^'\\]|\\.|'')*'))""",
    re.DOTALL,
)


class _Reader:
    """A cursor over the tokens of one text: words, quoted names, strings and the marks ``. , ( ) *``."""

    def __init__(self, text: str) -> None:
        self.text, self.position, self.tokens = text, 0, list[tuple[str, str]]()
        end, stop = 0, len(text.rstrip())
        while end < stop:
            match = _TOKEN.match(text, end)
            if not match:
                raise GrantError(
                    f"cannot read {text!r} from {text[end:].strip()[:20]!r} on: put a name that is not plain"
                    " letters, digits and underscores into backquotes"
                )
            kind = str(match.lastgroup)
            self.tokens.append((kind, match[kind] if kind in ("word", "mark") else unquote(match[kind])))
            end = match.end()
        self.tokens.append(("end", ""))

    def peek(self, *wanted: str) -> bool:
        kind, value = self.tokens[self.position]
        return kind in ("word", "mark", "end") and value.upper() in wanted

    def take(self, *wanted: str) -> bool:
        if self.peek(*wanted):
            self.position += 1
            return True
        return False

    def expect(self, *wanted: str) -> None:
        if not self.take(*wanted):
            found = self.tokens[self.position][1] or "nothing more"
            raise GrantError(f"cannot read {self.text!r}: expected {' or '.join(wanted) or 'the end'}, found {found!r}")

    def value(self, *kinds: str) -> str:
        kind, value = self.tokens[self.position]
        if kind not in kinds:
            raise GrantError(f"cannot read {self.text!r}: expected a name, found {value or 'nothing more'!r}")
        self.position += 1
        return value

    def privilege(self) -> tuple[str, tuple[str, ...]]:
        words = [self.value("word")]
        while self.tokens[self.position][0] == "word" and not self.peek("ON", "TO", "FROM"):
            words.append(self.value("word"))
        columns: list[str] = []
        if self.take("("):
            columns.append(self.value("word", "name"))
            while self.take(","):
                columns.append(self.value("word", "name"))
            self.expect(")")
        return " ".join(words), tuple(columns)

    def _part(self) -> tuple[str | None, bool]:
        if self.take("*"):
            return None, True
        return self.value("word", "name"), self.take("*")

    def scope(self) -> Scope:
        first, wildcard = self._part()
        if not self.take("."):
            filtered = self.take("(")
            scope = Scope(object=first or "", wildcard=wildcard and first is not None)
            if filtered:
                scope = replace(scope, filter=self.value("text"))
                self.expect(")")
            return scope
        table, table_wildcard = self._part()
        if first is None and table is None:
            return Scope()
        if first is None:
            raise GrantError(
                f"{self.text!r}: a table of every database cannot be named; write `*.*` or `database.table`"
            )
        if table is None:
            return Scope(database=first, wildcard=wildcard)
        if wildcard:
            raise GrantError(
                f"{self.text!r}: ClickHouse would silently read this as `{first}.{table}*`;"
                f" write that, or `{first}*.*` for all databases that begin so"
            )
        return Scope(database=first, table=table, wildcard=table_wildcard)


def parse_privilege(text: str) -> tuple[str, tuple[str, ...]]:
    """Split a privilege from its columns: ``SELECT(a, `b c`)`` -> ``("SELECT", ("a", "b c"))``.

    :raises GrantError: the text is not a privilege with an optional column list.
    """
    reader = _Reader(text)
    result = reader.privilege()
    reader.expect("")
    return result


def readable(name: str) -> str:
    """A name for people: quoted only if it is not plain letters, digits and underscores."""
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII) else ident(name)


# ---- scopes and grants ---------------------------------------------------------------------------------------------


def _encode(name: str) -> str:
    # NUL ends a name, so a NUL (or \x01) inside one is escaped; a prefix of a name stays a prefix of its code.
    return name.replace("\x01", "\x01\x02").replace("\0", "\x01\x01")


def _decode(code: str) -> str:
    return code.replace("\x01\x01", "\0").replace("\x01\x02", "\x01")


@dataclass(frozen=True)
class Scope:
    """Where a privilege holds: everything, a database, a table, or an object of a parameterised privilege.

    :param database: database name, or None for ``*.*`` and for objects.
    :param table: table, view or dictionary name, or None for the whole database.
    :param wildcard: the last name given is a prefix: ``db*.*``, ``db.pre*``, ``pre*``.
    :param object: user, role, named collection, table engine, definer or source; empty for all of them (``*``).
    :param filter: regular expression of a source, as in ``S3('regexp')``; servers do not show it (see the module).
    """

    database: str | None = None
    table: str | None = None
    wildcard: bool = False
    object: str | None = None
    filter: str | None = None

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Read ``*.*``, ``db.*``, ``db*.*``, ``db.t``, ``db.pre*``, ``name``, ``pre*`` or ``*``; names may be quoted.

        :raises GrantError: unreadable, or ``db*.t``, which ClickHouse silently takes for ``db.t*``.
        """
        reader = _Reader(text)
        scope = reader.scope()
        reader.expect("")
        return scope

    @property
    def kind(self) -> str:
        """``global``, ``database``, ``table`` or ``object``."""
        if self.object is not None:
            return "object"
        return "table" if self.table is not None else "database" if self.database is not None else "global"

    @property
    def prefix(self) -> str:
        """The scope as a string that is a prefix of every scope inside it."""
        names = [n for n in (self.object, self.database, self.table) if n]
        code = "".join(_encode(name) + "\0" for name in names)
        return code[:-1] if self.wildcard else code

    def render(self, quote: Callable[[str], str] = ident) -> str:
        """The scope in SQL.

        :param quote: how names are written; `readable` leaves plain ones bare.
        """
        star = "*" if self.wildcard else ""
        if self.object is not None:
            source = f"({literal(self.filter)})" if self.filter is not None else ""
            return (quote(self.object) + star if self.object else "*") + source
        if self.database is None:
            return "*.*"
        if self.table is None:
            return f"{quote(self.database)}{star}.*"
        return f"{quote(self.database)}.{quote(self.table)}{star}"


def _unprefix(prefix: str, is_object: bool) -> tuple[Scope, str | None]:
    """The scope and the column that a prefix stands for."""
    *exact, last = (_decode(part) for part in prefix.split("\0"))
    names, wildcard = exact + [last] * bool(last), bool(last)
    if is_object:
        return Scope(object=names[0] if names else "", wildcard=wildcard), None
    database, table, column = (names + [None] * 3)[:3]
    return Scope(database, table, wildcard), column


@dataclass(frozen=True)
class Grant:
    """One privilege at one scope, as wished or as a step; make checked ones with `PrivilegeCatalogue.grant`.

    :param privilege: canonical name, a group such as ``ALL`` included.
    :param scope: where it holds.
    :param columns: column names, for a table scope only; empty for the whole table.
    :param grant_option: with grant option.
    """

    privilege: str
    scope: Scope
    columns: tuple[str, ...] = ()
    grant_option: bool = False

    def name(self, quote: Callable[[str], str] = ident) -> str:
        """The privilege with its columns, in SQL."""
        return self.privilege + (f"({', '.join(map(quote, self.columns))})" if self.columns else "")

    def render(self, quote: Callable[[str], str] = ident) -> str:
        """The element in SQL: ``SELECT(a) ON db.t``. The grant option belongs to the statement, so it is not here."""
        return f"{self.name(quote)} ON {self.scope.render(quote)}"


@dataclass(frozen=True)
class Step:
    """One thing to do: ``verb`` (`GRANT`, `REVOKE` or `REVOKE_OPTION`) and the grant it is done to."""

    verb: str
    grant: Grant


def render_elements(grants: Iterable[Grant], quote: Callable[[str], str] = ident) -> str:
    """The elements of one statement: ``SELECT, INSERT ON otel.*, CREATE USER ON *``; neighbours share a scope."""
    groups: list[tuple[Scope, list[str]]] = []
    for grant in grants:
        if groups and groups[-1][0] == grant.scope:
            groups[-1][1].append(grant.name(quote))
        else:
            groups.append((grant.scope, [grant.name(quote)]))
    return ", ".join(f"{', '.join(names)} ON {scope.render(quote)}" for scope, names in groups)


def statements(steps: Iterable[Step], grantee: str) -> list[str]:
    """The SQL of steps in order, neighbours of one verb and option in one statement.

    :param grantee: user or role, already quoted.
    """
    return [
        f"{verb} {render_elements(step.grant for step in batch)} {'TO' if verb == GRANT else 'FROM'} {grantee}"
        + (" WITH GRANT OPTION" if option and verb == GRANT else "")
        for (verb, option), batch in itertools.groupby(steps, lambda step: (step.verb, step.grant.grant_option))
    ]


# ---- what the server knows -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PrivilegeCatalogue:
    """The privileges of one server version: names, aliases, levels and groups. Only itself equals it.

    :param levels: level of each privilege in the server's order; None for a group that is no privilege itself.
    :param children: direct members of each group.
    :param names: canonical name by upper-case name or alias.
    """

    levels: Mapping[str, str | None]
    children: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> PrivilegeCatalogue:
        """Build from rows of ``system.privileges``: privilege, aliases, level, parent_group."""
        levels: dict[str, str | None] = {}
        children: dict[str, tuple[str, ...]] = {}
        aliases: dict[str, str] = {}
        for row in rows:
            name = str(row["privilege"])
            levels[name] = row["level"]
            if row["parent_group"]:
                group = str(row["parent_group"])
                children[group] = (*children.get(group, ()), name)
            # Two privileges may share an alias (ALTER TABLE MODIFY QUERY): the engine takes the later one.
            aliases.update({str(alias).upper(): name for alias in row["aliases"]})
        return cls(levels, children, {**aliases, **{name.upper(): name for name in levels}})

    @property
    def has_read_write(self) -> bool:
        """Sources are objects of READ and WRITE (from 25.7), not privileges of their own."""
        return "READ" in self.levels

    def resolve(self, text: str) -> str:
        """The canonical name of a privilege given by any of its names, in any case: ``truncate table`` -> TRUNCATE.

        :raises GrantError: the server does not know it; close names are given.
        """
        wanted = " ".join(text.upper().split())
        if wanted not in self.names:
            near = [self.names[name] for name in difflib.get_close_matches(wanted, self.names, n=3)]
            hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "; see system.privileges"
            raise GrantError(f"this server knows no privilege {text!r}{hint}")
        return self.names[wanted]

    @cached_property
    def carriers(self) -> Mapping[str, str]:
        """Who is not without whom: CREATE ARBITRARY TEMPORARY TABLE, by CREATE TEMPORARY TABLE. The servers do not show
        the first without the second, so who loses the second counts as having lost both."""
        return {
            members[0]: group
            for group, members in self.children.items()
            if len(members) == 1 and self.levels[group] is not None
        }

    def is_retired(self, name: str) -> bool:
        """An old source privilege (FILE, S3, ... SOURCES) on a server where READ and WRITE replaced them."""
        return self.has_read_write and name in _SOURCES

    def is_parameterised(self, name: str) -> bool:
        """The privilege takes an object (``ON name``), not a database and table."""
        return self.levels.get(name) in _OBJECT_LEVELS

    def leaves(self, name: str, kind: str = "global") -> tuple[str, ...]:
        """The privileges a name stands for at a kind of scope (global, database, table, column, object)."""
        return _leaves(self, name, kind)

    def collapse(self, wanted: Iterable[str], kind: str) -> tuple[str, ...]:
        """The fewest names that stand for exactly these leaves at a kind of scope, in the server's order."""
        return _collapse(self, frozenset(wanted), kind)

    def targets(self, grant: Grant) -> list[tuple[str, str]]:
        """The (leaf, scope prefix) pairs a grant reaches; members of a group that do not apply there are dropped.

        :raises GrantError: nothing of it applies there (the server's error 509), or the scope would depend on the
            current database.
        """
        name, scope = self.resolve(grant.privilege), grant.scope
        if scope.kind == "object" and not self.is_parameterised(name):
            where = scope.render()
            raise GrantError(
                f"{name} ON {where} would depend on the current database: write `*.*`, `database.*` or `database.table`"
            )
        if grant.columns and (scope.kind != "table" or scope.wildcard):
            raise GrantError(f"{grant.render()}: columns need one table, `database.table`")
        reached = list(self.reach(grant if name == grant.privilege else replace(grant, privilege=name)))
        if not reached and name != "NONE":
            fits = [f"`{text}`" for kind, text in _EXAMPLES.items() if self.leaves(name, kind)] or ["`*.*`"]
            kind = "column" if grant.columns else scope.kind
            raise GrantError(f"{name} cannot apply to a {kind} ({grant.render()}): grant it on {' or '.join(fits)}")
        return reached

    def reach(self, grant: Grant) -> Iterator[tuple[str, str]]:
        """Like `targets` for a canonical name, but what cannot apply is left out: servers do list such words."""
        scope = grant.scope
        if self.is_retired(grant.privilege) and scope.kind == "global":
            prefix = "" if grant.privilege == "SOURCES" else _encode(grant.privilege) + "\0"
            yield from (("READ", prefix), ("WRITE", prefix))
        columns = [_encode(column) + "\0" for column in grant.columns] or [""]
        for leaf in self.leaves(grant.privilege, "column" if grant.columns else scope.kind):
            yield from ((leaf, scope.prefix + column) for column in columns)

    def grant(self, privilege: str, scope: str, grant_option: bool = False) -> Grant:
        """A checked grant from what an operator writes: ``grant("select(a)", "db.t")``.

        :raises GrantError: see `parse_privilege`, `Scope.parse`, `resolve` and `targets`.
        """
        return _checked(self, privilege, scope, grant_option)


# What repeats from grantee to grantee is worked out once. Sizes are numbers of answers, far above what one server's
# catalogue and one operator's habits need.


@lru_cache(maxsize=4096)
def _leaves(catalogue: PrivilegeCatalogue, name: str, kind: str) -> tuple[str, ...]:
    level, members = catalogue.levels[name], catalogue.children.get(name, ())
    # NAMED COLLECTION ADMIN is a privilege beside its members, but the server shows it only with all of them.
    here = (
        level is not None
        and len(members) < 2
        and not catalogue.is_retired(name)
        and (kind == "global" or level in _LEVELS[kind])
    )
    below = (leaf for member in members for leaf in _leaves(catalogue, member, kind))
    return ((name,) if here else ()) + tuple(below)


@lru_cache(maxsize=4096)
def _collapse(catalogue: PrivilegeCatalogue, leaves: frozenset[str], kind: str) -> tuple[str, ...]:
    def names(node: str) -> list[str]:
        here = _leaves(catalogue, node, kind)
        if leaves.isdisjoint(here):
            return []
        # At a database or table a group's other members are dropped by the server, so its name will do.
        loose = kind in ("database", "table") and len(here) > 1
        if leaves.issuperset(here) and (loose or len(here) == len(_leaves(catalogue, node, "global"))):
            return [node]
        own = [node] if node in leaves else []
        return own + [name for child in catalogue.children.get(node, ()) for name in names(child)]

    return tuple(names("ALL"))


_read_privilege = lru_cache(maxsize=4096)(parse_privilege)


@lru_cache(maxsize=4096)
def _checked(catalogue: PrivilegeCatalogue, privilege: str, scope: str, grant_option: bool) -> Grant:
    name, columns = _read_privilege(privilege)
    wish = Grant(catalogue.resolve(name), Scope.parse(scope), columns, grant_option)
    source = (wish.scope.object or "").upper()
    if source in _SOURCES and catalogue.levels[wish.privilege] == "SOURCE":  # the server takes upper case only
        wish = replace(wish, scope=replace(wish.scope, object=source))
    catalogue.targets(wish)
    return wish


# ---- rights --------------------------------------------------------------------------------------------------------


# What is held at a scope: nothing, access, or access with grant option.
_NOTHING, _ACCESS, _OPTION = 0, 1, 2
Held: TypeAlias = "tuple[tuple[str, int], ...]"
"""What is held of one leaf: (scope prefix, what) in the order of prefixes, so that what is around comes first; only
where it differs from the scope around."""
Change: TypeAlias = "tuple[int, int, int]"
"""What a step makes of nothing, of access, and of access with grant option."""
Move: TypeAlias = "tuple[str, str, str, bool]"
"""A step for one leaf at one scope: (verb, leaf, prefix, grant option)."""
_KEEP: Change = (_NOTHING, _ACCESS, _OPTION)
_CHANGES: dict[tuple[str, bool], Change] = {
    (GRANT, False): (_ACCESS, _ACCESS, _OPTION),
    (GRANT, True): (_OPTION, _OPTION, _OPTION),
    (REVOKE, False): (_NOTHING, _NOTHING, _NOTHING),
    (REVOKE_OPTION, False): (_NOTHING, _ACCESS, _ACCESS),
}


def _then(first: Change, second: Change) -> Change:
    return second[first[0]], second[first[1]], second[first[2]]


def _walk(*trees: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """All scopes of some trees, wide before narrow, each with the number of scopes around it."""
    around: list[str] = []
    for prefix in sorted({prefix for tree in trees for prefix in tree}):
        while around and not prefix.startswith(around[-1]):
            around.pop()
        yield prefix, len(around)
        around.append(prefix)


def _changed(held: Held, changes: Mapping[str, Change]) -> Held:
    """What is held after changes at some scopes; where they overlap, the narrower comes after the wider."""
    if not held and len(changes) == 1:  # most are: one grant, and nothing before
        return tuple((prefix, change[_NOTHING]) for prefix, change in changes.items() if change[_NOTHING])
    had, result = dict(held), list[tuple[str, int]]()
    path: list[tuple[int, Change, int]] = [(_NOTHING, _KEEP, _NOTHING)]  # around: before, what changes it, after
    for prefix, depth in _walk(had, changes):
        del path[depth + 1 :]
        before, change, around = path[depth]
        before = had.get(prefix, before)
        if prefix in changes:
            change = _then(change, changes[prefix])
        after = change[before]
        if after != around:
            result.append((prefix, after))
        path.append((before, change, after))
    return tuple(result)


def _way(held: Held, wanted: Held) -> list[tuple[str, str, bool]]:
    """The shortest steps (verb, prefix, grant option), wide before narrow, from one to the other."""
    had, goal, steps = dict(held), dict(wanted), list[tuple[str, str, bool]]()
    path: list[tuple[int, int, Change]] = [(_NOTHING, _NOTHING, _KEEP)]  # around: before, wanted, changed so far
    for prefix, depth in _walk(had, goal):
        del path[depth + 1 :]
        before, want, change = path[depth]
        before, want = had.get(prefix, before), goal.get(prefix, want)
        now = change[before]
        if now != want:
            verb = REVOKE if want == _NOTHING else REVOKE_OPTION if now == _OPTION else GRANT
            option = want == _OPTION
            change = _then(change, _CHANGES[verb, option])
            steps.append((verb, prefix, option))
        path.append((before, want, change))
    return steps


class Rights:
    """What one user or role may do, in the normal form; compare with ``==``."""

    __slots__ = ("_held", "catalogue")

    def __init__(self, catalogue: PrivilegeCatalogue) -> None:
        self.catalogue = catalogue
        self._held: Mapping[str, Held] = {}  # by leaf, without those of which nothing is held; never changed in place

    def _change(self, moves: Iterable[Move]) -> Rights:
        """Do all moves as one: the narrower scope counts; at the same scope what is granted, then what is taken."""
        changes: dict[str, dict[str, Change]] = {}
        for verb, leaf, prefix, option in sorted(moves, key=_by_verb):
            at, change = changes.setdefault(leaf, {}), _CHANGES[verb, option and verb == GRANT]
            at[prefix] = _then(at[prefix], change) if prefix in at else change
        everything = dict(self._held)
        done: dict[Any, Held] = {}  # the leaves of a group share one answer
        for leaf, at in changes.items():
            had = everything.pop(leaf, ())
            key = (had, *at.items())
            if key not in done:
                done[key] = _changed(had, at)
            if done[key]:
                everything[leaf] = done[key]
        self._held = everything
        return self

    def apply(self, step: Step) -> None:
        """Do one step. :raises GrantError: it cannot apply at its scope."""
        self._change(_moves_of(self.catalogue, step))

    def grant(self, grant: Grant) -> None:
        """``GRANT``: without grant option an option that is already there stays. :raises GrantError: see `apply`."""
        self.apply(Step(GRANT, grant))

    def revoke(self, grant: Grant) -> None:
        """``REVOKE``: takes the option too; inside a wider grant it leaves a partial revoke."""
        self.apply(Step(REVOKE, grant))

    def revoke_grant_option(self, grant: Grant) -> None:
        """``REVOKE GRANT OPTION FOR``: the access stays."""
        self.apply(Step(REVOKE_OPTION, grant))

    def copy(self) -> Rights:
        """An independent copy."""
        other = Rights(self.catalogue)
        other._held = self._held
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rights) and (self._held is other._held or self._held == other._held)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __bool__(self) -> bool:
        return bool(self._held)

    def __repr__(self) -> str:
        return f"Rights({self.describe()})"

    def covers(self, grant: Grant) -> bool:
        """Whether granting this would change nothing, its grant option included. :raises GrantError: see `apply`."""
        after = self.copy()
        after.grant(grant)
        return after == self

    @classmethod
    def from_rows(cls, catalogue: PrivilegeCatalogue, rows: Iterable[Mapping[str, Any]]) -> Rights:
        """From the ``system.grants`` rows of one user or role, on a server whose rows have ``is_wildcard``.

        :param rows: access_type, access_object, database, table, column, is_partial_revoke, grant_option, is_wildcard.
        :raises GrantError: a row without is_wildcard: it does not tell `db.pre*` from `db.pre`.
        """
        try:
            found = tuple(map(_ROW, rows))
        except KeyError:
            raise GrantError(
                "system.grants of this server shows no wildcards: read SHOW GRANTS (from_show_grants)"
            ) from None
        return _from_rows(catalogue, found).copy()

    @classmethod
    def from_show_grants(
        cls, catalogue: PrivilegeCatalogue, lines: Iterable[str], rows: Iterable[Mapping[str, Any]] = ()
    ) -> Rights:
        """From the lines of ``SHOW GRANTS`` for one user or role, on older servers; lines about roles are skipped.

        :param rows: ``system.grants`` rows with access_object (25.8); READ and WRITE are taken from these if given.
        :raises GrantError: a line that cannot be read.
        """
        moves = [move for line in lines for move in _line_moves(catalogue, *_split_line(line))]
        sources = [row for row in rows if catalogue.has_read_write and "access_object" in row]
        if sources:
            moves = [move for move in moves if move[1] not in _READ_WRITE]
            for row in sources:
                found = _row_moves(catalogue, *_ROW({"is_wildcard": 0, **row}))
                moves += [move for move in found if move[1] in _READ_WRITE]
        return cls(catalogue)._change(moves)

    def describe(self) -> list[str]:
        """One line per scope, from wide to narrow, without the grantee: ``GRANT SELECT, INSERT ON otel.*``.

        Equal rights give equal lines, and the lines run in order give the rights. Groups stand for their members
        wherever all that apply at the scope are there.
        """
        return [
            f"{verb} {render_elements((step.grant for step in group), readable)}"
            + (" WITH GRANT OPTION" if option and verb == GRANT else "")
            for (verb, option, _scope), group in itertools.groupby(
                _listed(self), lambda step: (step.verb, step.grant.grant_option, step.grant.scope)
            )
        ]


def rights_after(had: Rights, privileges: Iterable[Grant], partial_revokes: Iterable[Grant]) -> Rights:
    """What becomes of rights when `privileges` are granted and `partial_revokes` taken, as one wish without an order.

    Where they overlap, the narrower scope counts; at the same scope what is taken. So a table can be granted inside a
    database that is revoked inside everything. Doing it twice is doing it once.

    :param had: what is there already; left as it is.
    :param partial_revokes: ``grant_option`` means: take only that.
    :raises GrantError: see `Rights.apply`.
    """
    steps = [Step(GRANT, grant) for grant in privileges]
    steps += [Step(REVOKE_OPTION if grant.grant_option else REVOKE, grant) for grant in partial_revokes]
    if not had:  # as always in mode exact, where many grantees have the same wish
        return _from_steps(had.catalogue, tuple(steps)).copy()
    return had.copy()._change(move for step in steps for move in _moves_of(had.catalogue, step))


@lru_cache(maxsize=1024)
def _from_steps(catalogue: PrivilegeCatalogue, steps: tuple[Step, ...]) -> Rights:
    return Rights(catalogue)._change(move for step in steps for move in _moves_of(catalogue, step))


def as_options(rights: Rights) -> dict[str, list[dict[str, Any]]]:
    """Rights as the options `privileges` and `partial_revokes` of the modules, in few and readable entries.

    Reading these options and giving them to `rights_after`, with no rights before, leads to equal rights. Equal rights
    give equal options.

    :returns: both lists; entries have privilege and scope (lists of str) and grant_option (bool).
    """
    cells: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for step in _listed(rights):
        option = "privileges" if step.verb == GRANT else "partial_revokes"
        # `*` and `*.*` mean the same for all but the SQL of 24.8, and one scope for all makes fewer entries.
        scope = Scope() if step.grant.scope.object == "" else step.grant.scope
        key = (option, step.grant.grant_option or step.verb == REVOKE_OPTION)
        cells.setdefault(key, []).append((step.grant.name(readable), scope.render(readable)))
    options: dict[str, list[dict[str, Any]]] = {"privileges": [], "partial_revokes": []}
    for (option, grant_option), pairs in sorted(cells.items()):
        options[option] += [
            {"privilege": privileges, "scope": scopes, "grant_option": grant_option}
            for privileges, scopes in _blocks(pairs)
        ]
    return options


def _blocks(pairs: Sequence[tuple[str, str]]) -> list[tuple[list[str], list[str]]]:
    """Few (privileges, scopes) whose combinations are the pairs: scopes with the same privileges put together, or
    privileges with the same scopes, whichever takes fewer blocks and then fewer words."""
    by_scope = [(list(privileges), scopes) for privileges, scopes in _alike((b, a) for a, b in pairs)]
    by_privilege = [(privileges, list(scopes)) for scopes, privileges in _alike(pairs)]
    return min(by_scope, by_privilege, key=lambda blocks: (len(blocks), sum(len(a) + len(b) for a, b in blocks)))


def _alike(pairs: Iterable[tuple[str, str]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """(all partners, those who have exactly these), from (one, partner), in the order of the first."""
    partners: dict[str, list[str]] = {}
    for one, partner in pairs:
        partners.setdefault(one, []).append(partner)
    alike: dict[tuple[str, ...], list[str]] = {}
    for one, its in partners.items():
        alike.setdefault(tuple(its), []).append(one)
    return list(alike.items())


# ---- what servers show ---------------------------------------------------------------------------------------------

_ROW = itemgetter(
    "access_type", "access_object", "database", "table", "column", "is_partial_revoke", "grant_option", "is_wildcard"
)
_READ_WRITE = ("READ", "WRITE")
_VERBS = (GRANT, REVOKE, REVOKE_OPTION)
# The end of a line of SHOW GRANTS. The server quotes with backquotes only, and escapes one inside a name; so a `TO` in
# a quoted name further left cannot be taken for this one: what follows it does not reach the end.
_GRANTEE = re.compile(
    r" (?:TO|FROM) (?P<name>[A-Za-z_][A-Za-z0-9_]*|`(?:[^`\\]|\\.|``)*`)(?: WITH (?P<option>GRANT|ADMIN) OPTION)?\s*\Z",
    re.DOTALL,
)


def _by_verb(move: Move) -> int:
    return _VERBS.index(move[0])


def _moves_of(catalogue: PrivilegeCatalogue, step: Step) -> Iterator[Move]:
    for leaf, prefix in catalogue.targets(step.grant):
        yield step.verb, leaf, prefix, step.grant.grant_option
        if step.verb != GRANT and leaf in catalogue.carriers:
            yield step.verb, catalogue.carriers[leaf], prefix, False


@lru_cache(maxsize=1024)
def _from_rows(catalogue: PrivilegeCatalogue, rows: tuple[tuple[Any, ...], ...]) -> Rights:
    # What a server lists is a state, not a history, as a wish is: the narrower scope counts.
    return Rights(catalogue)._change(move for row in rows for move in _row_moves(catalogue, *row))


@lru_cache(maxsize=1024)
def _row_moves(
    catalogue: PrivilegeCatalogue,
    name: str,
    access_object: str,
    database: str | None,
    table: str | None,
    column: str | None,
    is_partial_revoke: int | str,
    grant_option: int | str,
    is_wildcard: int | str,
) -> tuple[Move, ...]:
    """What one ``system.grants`` row says of each leaf. Numbers may be text, as servers may quote them in JSON."""
    option = bool(int(grant_option))
    verb = (REVOKE_OPTION if option else REVOKE) if int(is_partial_revoke) else GRANT
    if catalogue.is_retired(name):
        return ()  # what is left of ALL minus something in words that no longer mean anything
    if catalogue.is_parameterised(name):
        scope = Scope(object=access_object, wildcard=bool(int(is_wildcard)))
    else:
        scope = Scope(database, table, bool(int(is_wildcard)))
    grant = Grant(name, scope, () if column is None else (column,))
    return tuple((verb, leaf, prefix, option) for leaf, prefix in catalogue.reach(grant))


def split_show_grants(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines of ``SHOW GRANTS FOR a, b, c`` by grantee, as `Rights.from_show_grants` takes them.

    :returns: lines in their order by name; who has neither privileges nor roles has no line and is not there.
    :raises GrantError: a line that does not end in a grantee.
    """
    found: dict[str, list[str]] = {}
    for line in lines:
        name = _end_of(line)["name"]
        found.setdefault(unquote(name) if name[0] == "`" else name, []).append(line)
    return found


def _end_of(line: str) -> re.Match[str]:
    match = _GRANTEE.search(line)
    if not match:
        raise GrantError(f"cannot read {line!r}: expected TO or FROM and one grantee at its end")
    return match


def _split_line(line: str) -> tuple[str, bool]:
    """What a line of ``SHOW GRANTS`` says without the grantee, and whether it says ``WITH GRANT OPTION``."""
    match = _end_of(line)
    return line[: match.start()], match["option"] == "GRANT"


@lru_cache(maxsize=1024)
def _line_moves(catalogue: PrivilegeCatalogue, text: str, option: bool) -> tuple[Move, ...]:
    """What one line of ``SHOW GRANTS`` says of each leaf; nothing for a line about roles."""
    reader = _Reader(text)
    reader.expect("GRANT", "REVOKE")
    verb = REVOKE if reader.tokens[0][1].upper() == "REVOKE" else GRANT
    # Roles are names with commas between; a privilege has its ON right behind it.
    if verb == GRANT and all(mark == ("mark", ",") for mark in reader.tokens[2:-1:2]):
        return ()
    if verb == REVOKE and reader.peek("GRANT"):
        for word in ("GRANT", "OPTION", "FOR"):
            reader.expect(word)
        verb = REVOKE_OPTION
    moves: list[Move] = []
    while True:
        privileges = [reader.privilege()]
        while reader.take(","):
            privileges.append(reader.privilege())
        reader.expect("ON")
        scope = reader.scope()
        for words, columns in privileges:
            name = catalogue.resolve(words)
            # Beside others it is a leftover as in the rows; alone it stands for READ and WRITE.
            if len(privileges) > 1 and catalogue.is_retired(name):
                continue
            moves += [(verb, leaf, prefix, option) for leaf, prefix in catalogue.reach(Grant(name, scope, columns))]
        if not reader.take(","):
            break
    reader.expect("")
    return tuple(moves)


# ---- from one state to another -------------------------------------------------------------------------------------


def _moves(current: Rights, desired: Rights) -> list[Move]:
    """The moves, per leaf wide before narrow, that turn current into desired."""
    if current == desired:
        return []
    work, moves = dict(current._held), list[Move]()
    ways: dict[tuple[Held, Held], list[tuple[str, str, bool]]] = {}  # the leaves of a group share one
    # CREATE ARBITRARY TEMPORARY TABLE is a leaf that takes another with it, so it goes first.
    reach = {leaf: current.catalogue.leaves(leaf) for leaf in {**work, **desired._held}}
    for leaf in sorted(reach, key=lambda leaf: (-len(reach[leaf]), leaf)):
        had, wanted = work.get(leaf, ()), desired._held.get(leaf, ())
        if (had, wanted) not in ways:
            ways[had, wanted] = _way(had, wanted)
        for verb, prefix, option in ways[had, wanted]:
            moves += [(verb, taken, prefix, option) for taken in reach[leaf]]
            for taken in reach[leaf][1:]:
                work[taken] = _changed(work.get(taken, ()), {prefix: _CHANGES[verb, option]})
    return moves


def _listed(rights: Rights) -> list[Step]:
    """The shortest steps from nothing to these rights, wide before narrow."""
    return _merge(rights.catalogue, [(0, *move) for move in _moves(Rights(rights.catalogue), rights)])


def _merge(catalogue: PrivilegeCatalogue, moves: Iterable[tuple[int, str, str, str, bool]]) -> list[Step]:
    """Steps of (phase, verb, leaf, prefix, option) moves, columns of one table and members of one group joined."""
    first: dict[Any, str] = {}
    columns: dict[Any, tuple[str, ...]] = {}
    scopes: dict[tuple[str, bool], tuple[Scope, str | None]] = {}
    for phase, verb, leaf, prefix, option in moves:
        # The same prefix may name an object and a database; everywhere ("") they are one scope.
        place = (prefix, bool(prefix) and catalogue.is_parameterised(leaf))
        if place not in scopes:
            scopes[place] = _unprefix(*place)
        scope, column = scopes[place]
        key = (phase, verb, option, scope, column is not None, leaf)
        first.setdefault(key, prefix)
        columns[key] = (*columns.get(key, ()), *([] if column is None else [column]))
    groups: dict[Any, list[str]] = {}
    for key, names in columns.items():
        phase, verb, option, scope, _is_column, leaf = key
        groups.setdefault((phase, first[key], verb, option, scope, names), []).append(leaf)
    steps = []
    for _phase, _prefix, verb, option, scope, names in sorted(groups, key=lambda group: group[:4]):
        leaves = groups[_phase, _prefix, verb, option, scope, names]
        for privilege in sorted(
            catalogue.collapse(leaves, "column" if names else scope.kind), key=catalogue.is_parameterised
        ):
            # 24.8 reads `TABLE ENGINE ON *`, not `ON *.*`; every version reads the first.
            everywhere = scope.kind == "global" and catalogue.is_parameterised(privilege)
            steps.append(Step(verb, Grant(privilege, Scope(object="") if everywhere else scope, names, option)))
    return steps


def difference(current: Rights, desired: Rights) -> list[Step]:
    """The steps that turn current into desired, to be run in order; empty when they are equal.

    Grants come first, so that no run takes away what it gives back, then what is revoked. A grant inside a scope
    that has to be revoked first can only follow it: there ``WITH REPLACE OPTION`` is the way without a gap.
    """
    moves, phased = _moves(current, desired), list[tuple[int, str, str, str, bool]]()
    revoked: set[tuple[str, str]] = set()
    for verb, leaf, prefix, option in moves:
        if verb != GRANT:
            revoked.add((leaf, prefix))
        waits = verb != GRANT or (bool(revoked) and any((leaf, prefix[:n]) in revoked for n in range(len(prefix) + 1)))
        phased.append((int(waits), verb, leaf, prefix, option))
    return _merge(current.catalogue, phased)
