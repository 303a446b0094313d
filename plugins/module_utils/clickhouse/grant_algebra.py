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

Per leaf two maps from scope to yes or no, one for access and one for the grant option, hold only what differs from the
scope around it. Equal maps mean equal rights, however they were written.

What cannot be known, because the servers do not show it:

- the filter of ``READ ON S3('regexp')``: filtered and unfiltered grants look the same, and revoking one revokes the
  other (in the engine too);
- up to 25.8, whether a ``system.grants`` row means ``db.pre*`` or ``db.pre``, while ``SHOW GRANTS`` prints
  ``READ ON S3`` and ``WRITE ON S3`` alike as ``S3 ON *.*``: `Rights.from_show_grants` takes each from where it is true;
- from 25.8, at times a ``SELECT ON db.* WITH GRANT OPTION`` inside a plain ``SELECT ON *.*``: it vanishes from rows and
  lines once a name that begins alike (``db1``) has a grant. 25.8 may also print a ``REVOKE CREATE USER ON db*`` nobody
  asked for, where several ``db.pre*`` grants meet ``CREATE USER ON *``. Both are taken as shown.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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


@dataclass(frozen=True)
class PrivilegeCatalogue:
    """The privileges of one server version: names, aliases, levels and groups.

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

    def is_retired(self, name: str) -> bool:
        """An old source privilege (FILE, S3, ... SOURCES) on a server where READ and WRITE replaced them."""
        return self.has_read_write and name in _SOURCES

    def is_parameterised(self, name: str) -> bool:
        """The privilege takes an object (``ON name``), not a database and table."""
        return self.levels.get(name) in _OBJECT_LEVELS

    def leaves(self, name: str, kind: str = "global") -> tuple[str, ...]:
        """The privileges a name stands for at a kind of scope (global, database, table, column, object)."""
        level, members = self.levels[name], self.children.get(name, ())
        # NAMED COLLECTION ADMIN is a privilege beside its members, but the server shows it only with all of them.
        here = (
            level is not None
            and len(members) < 2
            and not self.is_retired(name)
            and (kind == "global" or level in _LEVELS[kind])
        )
        below = (leaf for member in members for leaf in self.leaves(member, kind))
        return ((name,) if here else ()) + tuple(below)

    def collapse(self, wanted: Iterable[str], kind: str) -> list[str]:
        """The fewest names that stand for exactly these leaves at a kind of scope, in the server's order."""
        leaves = frozenset(wanted)

        def names(node: str) -> list[str]:
            here = self.leaves(node, kind)
            # At a database or table a group's other members are dropped by the server, so its name will do.
            loose = kind in ("database", "table") and len(here) > 1
            if here and leaves.issuperset(here) and (loose or len(here) == len(self.leaves(node))):
                return [node]
            own = [node] if node in leaves else []
            return own + [name for child in self.children.get(node, ()) for name in names(child)]

        return names("ALL")

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
        reached = list(self.reach(replace(grant, privilege=name)))
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
        name, columns = parse_privilege(privilege)
        wish = Grant(self.resolve(name), Scope.parse(scope), columns, grant_option)
        source = (wish.scope.object or "").upper()
        if self.levels[wish.privilege] == "SOURCE" and source in _SOURCES:  # the server takes upper case only
            wish = replace(wish, scope=replace(wish.scope, object=source))
        self.targets(wish)
        return wish


# ---- rights --------------------------------------------------------------------------------------------------------


def _value(scopes: Mapping[str, bool], prefix: str) -> bool:
    """What holds at a scope: the value of the narrowest entry around it."""
    around = [scope for scope in scopes if prefix.startswith(scope)]
    return scopes[max(around, key=len)] if around else False


def _set(scopes: dict[str, bool], prefix: str, value: bool) -> None:
    """Let a value hold for a whole scope, forgetting what was said inside it."""
    for inner in [key for key in scopes if key.startswith(prefix)]:
        del scopes[inner]
    if _value(scopes, prefix) != value:
        scopes[prefix] = value


class Rights:
    """What one user or role may do, in the normal form; compare with ``==``."""

    def __init__(self, catalogue: PrivilegeCatalogue) -> None:
        self.catalogue = catalogue
        # Per leaf: (access, grant option), each a map from scope prefix to whether it holds.
        self._maps: dict[str, tuple[dict[str, bool], dict[str, bool]]] = {}

    def _apply(self, verb: str, leaf: str, prefix: str, grant_option: bool) -> None:
        access, option = self._maps.setdefault(leaf, ({}, {}))
        if verb == GRANT:
            _set(access, prefix, True)
            if grant_option:
                _set(option, prefix, True)
        else:
            _set(option, prefix, False)
            if verb == REVOKE:
                _set(access, prefix, False)
        if not access and not option:
            del self._maps[leaf]

    def apply(self, step: Step) -> None:
        """Do one step. :raises GrantError: it cannot apply at its scope."""
        for leaf, prefix in self.catalogue.targets(step.grant):
            self._apply(step.verb, leaf, prefix, step.grant.grant_option)

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
        other._maps = {leaf: (dict(access), dict(option)) for leaf, (access, option) in self._maps.items()}
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rights) and self._maps == other._maps

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __bool__(self) -> bool:
        return bool(self._maps)

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
        found = list(rows)
        if not all("is_wildcard" in row for row in found):
            raise GrantError("system.grants of this server shows no wildcards: read SHOW GRANTS (from_show_grants)")
        return cls(catalogue)._load(step for row in found for step in _row_steps(catalogue, row))

    @classmethod
    def from_show_grants(
        cls, catalogue: PrivilegeCatalogue, lines: Iterable[str], rows: Iterable[Mapping[str, Any]] = ()
    ) -> Rights:
        """From the lines of ``SHOW GRANTS`` for one user or role, on older servers; lines about roles are skipped.

        :param rows: ``system.grants`` rows with access_object (25.8); READ and WRITE are taken from these if given.
        :raises GrantError: a line that cannot be read.
        """
        steps = [step for line in lines for step in _line_steps(catalogue, line)]
        sources = [row for row in rows if catalogue.has_read_write and "access_object" in row]
        if sources:
            steps = [step for step in steps if step[1] not in ("READ", "WRITE")]
            for row in sources:
                steps += [step for step in _row_steps(catalogue, row) if step[1] in ("READ", "WRITE")]
        return cls(catalogue)._load(steps)

    def _load(self, steps: Iterable[tuple[str, str, str, bool]]) -> Rights:
        # What a server lists is a state, not a history: the wider scope first, and grants before partial revokes.
        for verb, leaf, prefix, option in sorted(steps, key=lambda step: (len(step[2]), step[0] != GRANT)):
            self._apply(verb, leaf, prefix, option)
        return self

    def describe(self) -> list[str]:
        """One line per scope, from wide to narrow, without the grantee: ``GRANT SELECT, INSERT ON otel.*``.

        Equal rights give equal lines, and the lines run in order give the rights. Groups stand for their members
        wherever all that apply at the scope are there.
        """
        steps = _merge(self.catalogue, [(0, *move) for move in _moves(Rights(self.catalogue), self)])
        return [
            f"{verb} {render_elements((step.grant for step in group), readable)}"
            + (" WITH GRANT OPTION" if option and verb == GRANT else "")
            for (verb, option, _scope), group in itertools.groupby(
                steps, lambda step: (step.verb, step.grant.grant_option, step.grant.scope)
            )
        ]


def _row_steps(catalogue: PrivilegeCatalogue, row: Mapping[str, Any]) -> Iterator[tuple[str, str, str, bool]]:
    """(verb, leaf, prefix, option) for each leaf of one ``system.grants`` row."""
    name, option = str(row["access_type"]), bool(int(row["grant_option"]))
    verb = (REVOKE_OPTION if option else REVOKE) if int(row["is_partial_revoke"]) else GRANT
    wildcard = bool(int(row.get("is_wildcard", 0)))
    if catalogue.is_retired(name):
        return  # what is left of ALL minus something in words that no longer mean anything
    if catalogue.is_parameterised(name):
        grant = Grant(name, Scope(object=row["access_object"], wildcard=wildcard))
    else:
        columns = () if row["column"] is None else (row["column"],)
        grant = Grant(name, Scope(row["database"], row["table"], wildcard), columns)
    for leaf, prefix in catalogue.reach(grant):
        yield verb, leaf, prefix, option


def _line_steps(catalogue: PrivilegeCatalogue, line: str) -> Iterator[tuple[str, str, str, bool]]:
    """(verb, leaf, prefix, option) for each leaf of one line of ``SHOW GRANTS``; nothing for a line about roles."""
    reader = _Reader(line)
    if ("word", "ON") not in reader.tokens:
        return
    reader.expect("GRANT", "REVOKE")
    verb = REVOKE if reader.tokens[0][1].upper() == "REVOKE" else GRANT
    option = reader.tokens[-4:-1] == [("word", "WITH"), ("word", "GRANT"), ("word", "OPTION")]
    if verb == REVOKE and reader.peek("GRANT"):
        for word in ("GRANT", "OPTION", "FOR"):
            reader.expect(word)
        verb = REVOKE_OPTION
    while True:
        privileges = [reader.privilege()]
        while reader.take(","):
            privileges.append(reader.privilege())
        reader.expect("ON")
        scope = reader.scope()
        for text, columns in privileges:
            name = catalogue.resolve(text)
            # Beside others it is a leftover as in the rows; alone it stands for READ and WRITE.
            if len(privileges) > 1 and catalogue.is_retired(name):
                continue
            for leaf, prefix in catalogue.reach(Grant(name, scope, columns)):
                yield verb, leaf, prefix, option
        if not reader.take(","):
            break
    reader.expect("TO", "FROM")


# ---- from one state to another -------------------------------------------------------------------------------------


def _moves(current: Rights, desired: Rights) -> list[tuple[str, str, str, bool]]:
    """(verb, leaf, prefix, option), wide before narrow, that turn current into desired."""
    work, moves = current.copy(), list[tuple[str, str, str, bool]]()
    # CREATE ARBITRARY TEMPORARY TABLE is a leaf that takes another with it, so it goes first.
    reach = {leaf: current.catalogue.leaves(leaf) for leaf in {**current._maps, **desired._maps}}
    for leaf in sorted(reach, key=lambda leaf: (-len(reach[leaf]), leaf)):
        goal, start = desired._maps.get(leaf, ({}, {})), current._maps.get(leaf, ({}, {}))
        # A step changes nothing outside its scope, so settling each scope in tree order settles them all.
        for prefix in sorted({key for scopes in goal + start for key in scopes}):
            access, option = (_value(scopes, prefix) for scopes in goal)
            has_access, has_option = (_value(scopes, prefix) for scopes in work._maps.get(leaf, ({}, {})))
            if (access, option) == (has_access, has_option):
                continue
            verb = REVOKE if not access else REVOKE_OPTION if has_option else GRANT
            for taken in reach[leaf]:
                work._apply(verb, taken, prefix, option)
                moves.append((verb, taken, prefix, option))
    return moves


def _merge(catalogue: PrivilegeCatalogue, moves: Iterable[tuple[int, str, str, str, bool]]) -> list[Step]:
    """Steps of (phase, verb, leaf, prefix, option) moves, columns of one table and members of one group joined."""
    first: dict[Any, str] = {}
    columns: dict[Any, tuple[str, ...]] = {}
    for phase, verb, leaf, prefix, option in moves:
        # The same prefix may name an object and a database; everywhere ("") they are one scope.
        scope, column = _unprefix(prefix, bool(prefix) and catalogue.is_parameterised(leaf))
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
        waits = verb != GRANT or any((leaf, prefix[:n]) in revoked for n in range(len(prefix) + 1))
        phased.append((int(waits), verb, leaf, prefix, option))
    return _merge(current.catalogue, phased)
