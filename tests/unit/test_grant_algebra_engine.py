"""The algebra of privileges held against the engines of ClickHouse: the same statements must give the same rights.

Random sequences of GRANT and REVOKE become users of one users.xml each; the engine loads them and shows what it made of
them in system.grants and SHOW GRANTS.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import grant as entity
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    GRANT,
    REVOKE,
    REVOKE_OPTION,
    Grant,
    GrantError,
    Held,
    PrivilegeCatalogue,
    Rights,
    Scope,
    Step,
    as_options,
    difference,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = ("26.9", "25.8", "24.8")
CASES = 150

# Runs in an engine's own environment: queries on stdin, rows on stdout. chdb 2 has no connect() and its Python calls
# pass no configuration file, so its C entry point gets the arguments of clickhouse-local.
ENGINE = """
import ctypes, glob, json, os, sys
import chdb
folder, queries = sys.argv[1], json.load(sys.stdin)
config = folder + '/config.xml'
if hasattr(chdb, 'connect'):
    connection = chdb.connect(f'{folder}/data?config-file={config}')
    run = lambda sql: connection.query(sql, 'JSONCompact').bytes()
else:
    class Result(ctypes.Structure):
        _fields_ = [('buffer', ctypes.c_void_p), ('length', ctypes.c_size_t), ('vector', ctypes.c_void_p),
                    ('elapsed', ctypes.c_double), ('rows', ctypes.c_uint64), ('bytes', ctypes.c_uint64),
                    ('error', ctypes.c_char_p)]
    library = ctypes.CDLL(glob.glob(os.path.dirname(chdb.__file__) + '/_chdb*.so')[0])
    library.query_stable_v2.restype = ctypes.POINTER(Result)
    def run(sql):
        words = ['clickhouse', '--multiquery', '--output-format=JSONCompact', '--config-file=' + config,
                 f'--path={folder}/data', '--query=' + sql]
        result = library.query_stable_v2(len(words), (ctypes.c_char_p * len(words))(*(w.encode() for w in words)))
        if result.contents.error:
            raise RuntimeError(result.contents.error.decode())
        return ctypes.string_at(result.contents.buffer, result.contents.length) if result.contents.buffer else b'{}'
def rows(sql):
    answer = json.loads(run(sql))
    return [dict(zip([column['name'] for column in answer['meta']], row)) for row in answer['data']]
json.dump([rows(sql) for sql in queries], sys.stdout)
"""


def ask(version: str, folder: Path, users: list[list[str]], queries: list[str]) -> list[list[dict[str, Any]]]:
    """Start the engine with users u0, u1, ... who have these grants, and run the queries."""
    common = "<profile>default</profile><quota>default</quota><networks><ip>::/0</ip></networks><password/>"
    entries = "".join(
        f"<u{n}>{common}<grants>{''.join(f'<query>{escape(sql)}</query>' for sql in grants)}</grants></u{n}>"
        for n, grants in enumerate(users)
    )
    admin = f"<default>{common}<access_management>1</access_management></default>"
    (folder / "users.xml").write_text(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas>"
        f"<users>{admin}{entries}</users></clickhouse>"
    )
    (folder / "config.xml").write_text(
        f"<clickhouse><user_directories><users_xml><path>{folder}/users.xml</path></users_xml></user_directories>"
        "</clickhouse>"
    )
    python = ROOT / ".build" / "venv" / f"chdb-{version}" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", ENGINE, folder],
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return answers


@cache
def catalogue(version: str, folder: Path) -> PrivilegeCatalogue:
    folder.mkdir()
    return PrivilegeCatalogue.from_rows(ask(version, folder, [], ["SELECT * FROM system.privileges"])[0])


@pytest.fixture(scope="module", params=VERSIONS)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PrivilegeCatalogue]:
    """A server version and its privileges."""
    return request.param, catalogue(request.param, tmp_path_factory.getbasetemp() / f"privileges-{request.param}")


def sql(step: Step) -> str:
    """A step as users.xml takes it: without a grantee."""
    return f"{step.verb} {step.grant.render()}" + (" WITH GRANT OPTION" if step.grant.grant_option else "")


def expect(rights: Rights, step: Step) -> None:
    """Apply a step as users.xml does: unlike the GRANT statement, it keeps members of a group that take objects, on an
    object called like the database (24.8 only when it revokes)."""
    rights.apply(step)
    scope, known = step.grant.scope, rights.catalogue
    reaches_objects = known.has_read_write or step.verb != GRANT
    if reaches_objects and scope.kind == "database" and not known.is_parameterised(step.grant.privilege):
        for leaf in known.leaves(step.grant.privilege, "object"):
            extra = Scope(object=scope.database, wildcard=scope.wildcard)
            rights.apply(Step(step.verb, Grant(leaf, extra, (), step.grant.grant_option)))


def is_phantom(line: str, privileges: PrivilegeCatalogue, steps: list[Step]) -> bool:
    """Whether 25.8 made up this partial revoke: several `db.pre*` grants beside a privilege on all objects may leave
    a `REVOKE privilege ON db*` that nobody asked for. The algebra believes the server; the test must not."""
    match = re.fullmatch(r"REVOKE ([A-Z ]+)(?:, [A-Z ]+)* ON (.+\*) FROM u\d+", line, re.DOTALL)
    databases = {step.grant.scope.database for step in steps if step.grant.scope.table and step.grant.scope.wildcard}
    return bool(match and privileges.is_parameterised(match[1]) and Scope.parse(match[2]).object in databases)


def plain(rights: Rights) -> dict[str, Any]:
    """Rights without the grant options that are narrower than the access they belong to."""
    result: dict[str, list[tuple[str, int]]] = {}
    for leaf, held in rights._held.items():
        kept = result.setdefault(leaf, [])
        for prefix, what in held:
            around = [entry for entry in kept if prefix.startswith(entry[0])]
            if bool(what) is not bool(around and around[-1][1]):
                kept.append((prefix, what))
    return result


DATABASES = ("db", "db1", "d", "my`db", 'a"b', "otel logs", "back\\slash", "nul\0l", "\N{CLOUD} d'b")
TABLES = ("t", "t1", "pre", "prefix", "x'y", "a.b", "*")
COLUMNS = ("a", "b c", "`c`", "d")
TABLE_WORDS: tuple[str, ...] = (
    "SELECT",
    "INSERT",
    "ALTER UPDATE",
    "ALTER COLUMN",
    "ALTER TABLE",
    "ALTER",
    "SHOW",
    "CREATE TABLE",
)
TABLE_WORDS += (
    "CREATE",
    "DROP",
    "TRUNCATE",
    "dictGet",
    "OPTIMIZE TABLE",
    "SYSTEM",
    "ALTER TABLE MODIFY QUERY",
    "usage",
)
GLOBAL_WORDS = ("ALL", "ACCESS MANAGEMENT", "CREATE FUNCTION", "INTROSPECTION", "FILE", "S3", "SOURCES", "KILL QUERY")
OBJECTS = {
    "USER_NAME": ("CREATE USER", "ALTER ROLE"),
    "NAMED_COLLECTION": ("NAMED COLLECTION", "NAMED COLLECTION ADMIN", "SHOW NAMED COLLECTIONS"),
    "TABLE_ENGINE": ("TABLE ENGINE",),
    "DEFINER": ("SET DEFINER",),
    "SOURCE": ("READ", "WRITE"),
}
OBJECT_NAMES = {"TABLE_ENGINE": ("Memory", "MergeTree", "Merge"), "SOURCE": ("S3", "FILE", "AZURE")}


def random_step(dice: random.Random, version: str, known: PrivilegeCatalogue) -> Step:
    """A step that can apply, over few enough names that steps meet."""
    verb = dice.choices((GRANT, REVOKE, REVOKE_OPTION), (6, 3, 1))[0]
    option = verb == GRANT and dice.random() < 0.3
    wildcards = version != "24.8"
    columns: tuple[str, ...] = ()
    while True:
        name = dice.choice(TABLE_WORDS * 2 + GLOBAL_WORDS + sum(OBJECTS.values(), ()))
        if name in ("READ", "WRITE") and not known.has_read_write:
            continue
        name = known.resolve(name)
        level = known.levels[name]
        if known.is_parameterised(name):
            names = OBJECT_NAMES.get(str(level), ("o", "o1", "obj ect", "p"))
            # 25.8 shows READ ON S3* nowhere: its rows have no wildcards and its SHOW GRANTS no READ.
            starred = wildcards and (level != "SOURCE" or version == "26.9") and dice.random() < 0.3
            scope = Scope(object=dice.choice((*names, "")), wildcard=starred)
            scope = Scope(object="") if not scope.object else scope
        else:
            database, table = dice.choice(DATABASES[:4] * 3 + DATABASES), dice.choice(TABLES[:4] * 3 + TABLES)
            star = wildcards and dice.random() < 0.3
            scope = dice.choice((Scope(), Scope(database, None, star), Scope(database, table, star)))
            if scope.kind == "table" and not star and dice.random() < 0.4:
                columns = tuple(dice.sample(COLUMNS, dice.randint(1, 3)))
            # users.xml gives a group's parameterised members on tables and columns too, in rows that say otherwise.
            if scope.kind == "table" and known.leaves(name, "object"):
                continue
            if version == "25.8" and star and set(known.leaves(name)) & {"READ", "WRITE"}:
                continue
        grant = Grant(name, scope, columns, option)
        try:
            known.targets(grant)
        except GrantError:
            columns = ()
            continue
        return Step(verb, grant)


@pytest.fixture(scope="module")
def cases(known: tuple[str, PrivilegeCatalogue]) -> list[list[Step]]:
    """Sequences of steps, and for each the shortest way the algebra knows to the same rights."""
    dice, found = random.Random(20), list[list[Step]]()
    if known[1].has_read_write:  # the filter of a source is not shown, and revoking one filter revokes the source
        filtered = [Step(verb, known[1].grant("read", "S3('s3://b/.*')")) for verb in (GRANT, REVOKE)]
        found += [filtered[:1], [Step(GRANT, known[1].grant("read", "S3")), *filtered[1:]]]
    while len(found) < CASES:
        steps = [random_step(dice, *known) for _unused in range(dice.randint(1, 8))]
        rights = Rights(known[1])
        for step in steps:
            rights.apply(step)
        found += [steps, difference(Rights(known[1]), rights)]
    return found


def test_the_engine_agrees_on_random_sequences(
    known: tuple[str, PrivilegeCatalogue], cases: list[list[Step]], tmp_path: Path
) -> None:
    version, privileges = known
    shows = [f"SHOW GRANTS FOR u{n}" for n in range(len(cases))]
    users = [[sql(step) for step in steps] for steps in cases]
    all_rows, *lines = ask(version, tmp_path, users, ["SELECT * FROM system.grants", *shows])
    rows = defaultdict(list)
    for row in all_rows:
        rows[row["user_name"]].append(row)
    wrong, unseen = [], []
    for n, steps in enumerate(cases):
        expected = Rights(privileges)
        for step in steps:
            expect(expected, step)
        shown = [str(value) for line in lines[n] for value in line.values()]
        if version == "25.8":
            shown = [line for line in shown if not is_phantom(line, privileges, steps)]
        found = {"show": Rights.from_show_grants(privileges, shown, rows[f"u{n}"])}
        if version == "26.9":
            found["rows"] = Rights.from_rows(privileges, rows[f"u{n}"])
        for way, rights in found.items():
            if rights == expected:
                continue
            if version != "24.8" and plain(rights) == plain(expected):
                unseen.append(users[n])
            else:
                wrong.append((way, users[n], rights.describe(), expected.describe(), shown))
    assert not wrong, f"{len(wrong)} of {len(cases)}: " + json.dumps(wrong[:1], indent=1)
    # Since 25.8 the engine may not show `GRANT SELECT ON db.* WITH GRANT OPTION` inside a plain `SELECT ON *.*` once a
    # name with the same beginning (db1) has a grant: nothing the algebra could see. It must stay the exception.
    assert len(unseen) < len(cases) / 20, unseen


def test_the_cases_are_many_and_varied(known: tuple[str, PrivilegeCatalogue], cases: list[list[Step]]) -> None:
    assert len(cases) >= 100
    grants = [step.grant for steps in cases for step in steps]
    assert {grant.scope.kind for grant in grants} == {"global", "database", "table", "object"}
    assert any(grant.columns for grant in grants)
    assert any(grant.scope.wildcard for grant in grants) is (known[0] != "24.8")
    assert {step.verb for steps in cases for step in steps} == {GRANT, REVOKE, REVOKE_OPTION}


@pytest.mark.parametrize(
    ("privilege", "scope"),
    [("CREATE DATABASE", "db.t"), ("INTROSPECTION", "db.*"), ("S3", "db.*"), ("CREATE FUNCTION", "db.t")],
)
def test_what_is_refused_here_the_engine_refuses(
    known: tuple[str, PrivilegeCatalogue], tmp_path: Path, privilege: str, scope: str
) -> None:
    version, privileges = known
    with pytest.raises(GrantError):
        privileges.grant(privilege, scope)
    with pytest.raises(AssertionError):
        ask(version, tmp_path, [[f"GRANT {privilege} ON {scope}"]], ["SELECT * FROM system.grants"])


# ---- rights as options, and back

NAMES = (
    "db", "db1", "d", "db1x", "a`b", 'a"b', "a'b", "a.b", "*", "a*", "back\\", "new\nline", "tab\t", "nul\0", "\x01\0",
    "\N{CLOUD}", "e\u0301", "\u202e", "ON", "TO", "a, b", "f(x)", "{{ x }}", " ", "1st", "TO u WITH GRANT OPTION",
)  # fmt: skip


def states(version: str, known: PrivilegeCatalogue) -> st.SearchStrategy[Rights]:
    """Rights that any GRANT and REVOKE of a version can lead to, over names that share beginnings so that scopes lie
    in each other."""
    names = st.sampled_from(NAMES[:4]) | st.sampled_from(NAMES) | st.text(min_size=1, max_size=6)
    sources = st.sampled_from(("S3", "FILE", "URL"))
    stars = st.just(False) if version == "24.8" else st.booleans()
    kinds = {
        name: [
            kind
            for kind in ("global", "database", "table", "column", "object")
            if known.leaves(name, kind) and (kind != "object" or known.is_parameterised(name))
        ]
        for name in known.levels
    }
    words = st.sampled_from(("SELECT", "INSERT", "CREATE TABLE", "ALL", "CREATE USER", "TABLE ENGINE"))

    @st.composite
    def step(draw: st.DrawFn) -> Step:
        word = draw(words | words | st.sampled_from(sorted(name for name, here in kinds.items() if here)))
        kind = draw(st.sampled_from(kinds[word]))
        columns: tuple[str, ...] = ()
        if kind == "object":
            named = sources if known.levels[word] == "SOURCE" else names
            scope = Scope(object=draw(named), wildcard=draw(stars))
        elif kind == "global":
            scope = Scope()
        elif kind == "database":
            scope = Scope(draw(names), wildcard=draw(stars))
        else:
            scope = Scope(draw(names), draw(names), draw(stars) and kind == "table")
        if kind == "column":
            columns = tuple(draw(st.lists(names, min_size=1, max_size=3, unique=True)))
        verb = draw(st.sampled_from((GRANT, GRANT, GRANT, REVOKE, REVOKE_OPTION)))
        return Step(verb, Grant(word, scope, columns, draw(st.booleans()) and verb == GRANT))

    @st.composite
    def nested(draw: st.DrawFn) -> list[Step]:
        """Something at one place of each width, one inside the other."""
        database, table = draw(names), draw(names)
        places = [Scope(), Scope(database), Scope(database, table)]
        if draw(stars):
            places[1:1] = [Scope(database[:1], wildcard=True)]
            places[-1:] = [Scope(database, table[:1], wildcard=True), places[-1]]
        word = draw(st.sampled_from(("SELECT", "INSERT", "SHOW", "ALL")))
        verbs = st.sampled_from((GRANT, REVOKE, REVOKE_OPTION))
        steps = [
            Step(verb, Grant(word, place, (), draw(st.booleans()) and verb == GRANT))
            for place, verb in zip(places, [GRANT, *(draw(verbs) for _unused in places[1:])], strict=True)
        ]
        column = Grant("SELECT", places[-1], (draw(names),), draw(st.booleans()))
        return [*steps, Step(GRANT, column)] if draw(st.booleans()) else steps

    def build(parts: list[list[Step]]) -> Rights:
        rights = Rights(known)
        for one in (step for part in parts for step in part):
            rights.apply(one)
        return rights

    return st.lists(nested() | st.lists(step(), max_size=8), max_size=3).map(build)


def depth(held: Held) -> int:
    """How many scopes, each different from the one around it, lie one inside the other."""
    return max((sum(prefix.startswith(around) for around, _what in held) for prefix, _what in held), default=0)


@pytest.mark.parametrize("version", VERSIONS)
def test_rights_as_options_are_the_same_rights(version: str, server: Callable[[str], Server]) -> None:
    known = server(version)
    islands = []

    @settings(derandomize=True, max_examples=400, deadline=None)
    @given(states(version, known.privileges))
    def run(rights: Rights) -> None:
        options = as_options(rights)
        assert json.loads(json.dumps(options)) == options
        wish = entity.wish({"grantee": "u", "state": "present", "mode": "exact", **options}, known)
        after = entity.after(None, wish, known)["privileges"]
        assert after == rights
        assert as_options(after) == options
        assert difference(rights, after) == []
        entries = options["privileges"] + options["partial_revokes"]
        assert len(entries) <= len(rights.describe())
        islands.append(any(depth(held) > 2 for held in rights._held.values()))

    run()
    assert sum(islands) > 40
