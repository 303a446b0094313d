"""Grants: every scope, the grant option, partial revokes, roles; modes; and no moment without what is granted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    PrivilegeCatalogue,
    Rights,
    as_options,
    split_show_grants,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]


def grant(privileges: str, scope: str, option: bool = False) -> Options:
    """One entry of `privileges`."""
    return {"privilege": privileges.split(", "), "scope": [scope], "grant_option": option}


def revoke(privileges: str, scope: str, option: bool = False) -> Options:
    """One entry of `partial_revokes`."""
    return {"privilege": privileges.split(", "), "scope": [scope], "grant_option": option}


def shows(admin: Any, grantee: str) -> list[str]:
    """What the server itself says the grantee has."""
    return [line.replace("\\'", "'") for line in admin.lines(f"SHOW GRANTS FOR {ident(grantee)}")]


@pytest.fixture
def reader(scratch: Any) -> str:
    """A role without rights."""
    return str(scratch.make("role", "g_reader"))


@pytest.fixture(scope="module")
def tables(admin: Any) -> Iterator[None]:
    """Three tables to be allowed and refused."""
    admin.query("CREATE DATABASE IF NOT EXISTS g_db")
    for table in ("t", "u", "v"):
        admin.query(f"CREATE TABLE IF NOT EXISTS g_db.{table} (a UInt8, b UInt8) ENGINE = Memory")
    yield
    admin.query("DROP DATABASE g_db")


# scope, privileges; from which version on
SCOPES: list[tuple[str, str, tuple[int, int]]] = [
    ("*.*", "SELECT, KILL QUERY, ACCESS MANAGEMENT", (0, 0)),
    ("g_db.*", "SELECT, CREATE TABLE, DROP, dictGet", (0, 0)),
    ("g_db.t", "SELECT, INSERT, ALTER, TRUNCATE", (0, 0)),
    ("g_db.t", "SELECT(a), INSERT(a), ALTER UPDATE(b)", (0, 0)),
    ("`g-db 1`.`ta.ble`", "SELECT(`co l`), OPTIMIZE", (0, 0)),
    ("g_db.pre*", "SELECT, INSERT", (24, 10)),
    ("g_*.*", "SELECT, CREATE DATABASE", (24, 10)),
    ("g_bucket", "NAMED COLLECTION, ALTER NAMED COLLECTION", (0, 0)),
    ("*", "NAMED COLLECTION ADMIN", (0, 0)),
    ("g_owner", "SET DEFINER", (0, 0)),
    ("Memory", "TABLE ENGINE", (0, 0)),
    ("*.*", "FILE, S3, URL", (0, 0)),
    ("S3", "READ", (25, 7)),
    ("*", "WRITE", (25, 7)),
    ("g_team*", "CREATE USER, DROP USER", (25, 5)),
    ("g_someone", "ALTER USER, DROP ROLE", (25, 5)),
    ("g_someone", "IMPERSONATE", (25, 9)),
]


@pytest.mark.parametrize("option", [False, True], ids=["plain", "with grant option"])
@pytest.mark.parametrize(("scope", "privileges", "since"), SCOPES, ids=[f"{p} ON {s}" for s, p, _other in SCOPES])
def test_every_scope(
    converges: Module,
    module: Module,
    admin: Any,
    version: tuple[int, int],
    reader: str,
    scope: str,
    privileges: str,
    since: tuple[int, int],
    option: bool,
) -> None:
    """Granted, described as what it is, and taken away again without a rest."""
    if version < since:
        pytest.skip(f"needs ClickHouse {since[0]}.{since[1]}")
    options = {"grantee": reader, "mode": "exact", "privileges": [grant(privileges, scope, option)]}
    given = converges("grant", options)
    assert given["statements"] and all(s.startswith("GRANT") for s in given["statements"])
    assert all(line.endswith(" WITH GRANT OPTION") is option for line in given["entity"]["privileges"])
    held = shows(admin, reader)
    assert held and all(line.endswith(" WITH GRANT OPTION") is option for line in held), held
    if option:
        less = converges("grant", {**options, "mode": "remove"})
        assert less["entity"]["privileges"] == [
            line.removesuffix(" WITH GRANT OPTION") for line in given["entity"]["privileges"]
        ]
        assert not any("GRANT OPTION" in line for line in shows(admin, reader))
    taken = module("grant", {**options, "mode": "remove", "privileges": [grant(privileges, scope)]})
    assert taken["changed"] and taken["entity"]["privileges"] == [] and shows(admin, reader) == []


def test_modes(converges: Module, admin: Any, scratch: Any, reader: str) -> None:
    """`append` takes nothing away, `exact` leaves nothing else, `remove` takes what is listed; roles likewise."""
    for role in ("g_one", "g_two"):
        scratch.make("role", role)
    one, two = {"name": "g_one"}, {"name": "g_two", "admin_option": True}
    converges("grant", {"grantee": reader, "privileges": [grant("SELECT", "g_db.*")], "roles": [one]})
    more = converges("grant", {"grantee": reader, "privileges": [grant("INSERT", "g_db.t")], "roles": [two]})
    assert more["entity"] == {
        "privileges": ["GRANT SELECT ON g_db.*", "GRANT INSERT ON g_db.t"],
        "roles": [{"name": "g_one", "admin_option": False}, {"name": "g_two", "admin_option": True}],
    }
    exact = {"grantee": reader, "mode": "exact"}
    assert converges("grant", {**exact, "privileges": [grant("INSERT", "g_db.t")]})["entity"] == {
        **more["entity"],
        "privileges": ["GRANT INSERT ON g_db.t"],
    }
    fewer = converges("grant", {**exact, "roles": [{"name": "g_two"}]})
    assert fewer["entity"] == {
        "privileges": ["GRANT INSERT ON g_db.t"],
        "roles": [{"name": "g_two", "admin_option": False}],
    }
    removed = {"grantee": reader, "mode": "remove", "privileges": [grant("ALL", "g_db.*")], "roles": [one]}
    assert converges("grant", removed)["entity"]["privileges"] == []
    converges("grant", {"grantee": reader, "mode": "remove", "roles": [{"name": "g_one"}]}, changed=False)
    converges("grant", {**exact, "privileges": []}, changed=False)
    assert converges("grant", {**exact, "roles": []})["entity"]["roles"] == []
    assert shows(admin, reader) == []


def test_admin_option(converges: Module, scratch: Any, admin: Any, reader: str) -> None:
    """It comes with `append`, stays when not mentioned there, and goes by `exact` or by `remove`."""
    scratch.make("role", "g_one")
    plain, optioned = [{"name": "g_one"}], [{"name": "g_one", "admin_option": True}]
    converges("grant", {"grantee": reader, "roles": plain})
    converges("grant", {"grantee": reader, "roles": optioned})
    converges("grant", {"grantee": reader, "roles": plain}, changed=False)
    taken = converges("grant", {"grantee": reader, "mode": "remove", "roles": optioned})
    assert taken["statements"] == ["REVOKE ADMIN OPTION FOR `g_one` FROM `g_reader`"]
    assert taken["entity"]["roles"] == [{"name": "g_one", "admin_option": False}]
    converges("grant", {"grantee": reader, "roles": optioned})
    exact = converges("grant", {"grantee": reader, "mode": "exact", "roles": plain})
    assert exact["entity"]["roles"] == [{"name": "g_one", "admin_option": False}]
    assert shows(admin, reader) == ["GRANT g_one TO g_reader"]


def test_absent_takes_everything(converges: Module, scratch: Any, admin: Any, reader: str) -> None:
    """Privileges, partial revokes and roles; the grantee stays."""
    scratch.make("role", "g_one")
    converges(
        "grant",
        {
            "grantee": reader,
            "privileges": [grant("SELECT, INSERT", "*.*", True), grant("SET DEFINER", "*")],
            "partial_revokes": [revoke("SELECT", "system.*")],
            "roles": [{"name": "g_one", "admin_option": True}],
        },
    )
    gone = converges("grant", {"grantee": reader, "state": "absent"})
    assert gone["entity"] == {"privileges": [], "roles": []} and shows(admin, reader) == []
    assert admin.query(f"SELECT count() FROM system.roles WHERE name = {literal(reader)}") == "1\n"


def test_partial_revokes(converges: Module, reader: str) -> None:
    """A hole in a grant: made, moved, filled; a grant inside a hole; and a hole in the grant option."""
    everything = [grant("SELECT", "*.*")]
    exact = {"grantee": reader, "mode": "exact", "privileges": everything}
    holed = converges("grant", {**exact, "partial_revokes": [revoke("SELECT", "g_db.*")]})
    assert holed["entity"]["privileges"] == ["GRANT SELECT ON *.*", "REVOKE SELECT ON g_db.*"]
    moved = converges(
        "grant", {**exact, "partial_revokes": [revoke("SELECT", "g_other.t"), revoke("SELECT", "g_db.u")]}
    )
    assert moved["entity"]["privileges"] == [
        "GRANT SELECT ON *.*",
        "REVOKE SELECT ON g_db.u",
        "REVOKE SELECT ON g_other.t",
    ]
    converges("grant", {"grantee": reader, "privileges": [grant("SELECT", "g_db.u")]})
    filled = converges("grant", exact)
    assert filled["entity"]["privileges"] == ["GRANT SELECT ON *.*"]
    removed = converges("grant", {"grantee": reader, "mode": "remove", "privileges": [grant("SELECT", "g_db.*")]})
    assert removed["entity"]["privileges"] == holed["entity"]["privileges"]
    island = converges("grant", {"grantee": reader, "privileges": [grant("SELECT", "g_db.t")]})
    assert island["entity"]["privileges"] == [*holed["entity"]["privileges"], "GRANT SELECT ON g_db.t"]
    optioned = {**exact, "privileges": [grant("SELECT", "*.*", True)]}
    converges("grant", optioned)
    less = converges("grant", {"grantee": reader, "mode": "remove", "privileges": [grant("SELECT", "g_db.*", True)]})
    assert less["entity"]["privileges"] == [
        "GRANT SELECT ON *.* WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR SELECT ON g_db.*",
    ]
    converges("grant", {**optioned, "mode": "append"})


NESTED: list[tuple[list[Options], list[Options], list[str]]] = [
    (
        [grant("SELECT", "*.*"), grant("SELECT", "g_db.t")],
        [revoke("SELECT", "g_db.*")],
        ["GRANT SELECT ON *.*", "REVOKE SELECT ON g_db.*", "GRANT SELECT ON g_db.t"],
    ),
    (
        [grant("SELECT, INSERT", "*.*", True), grant("SELECT", "g_db.t"), grant("SELECT(b)", "g_db.u", True)],
        [revoke("SELECT", "g_db.*"), revoke("SELECT(a)", "g_db.t"), revoke("INSERT", "g_db.*", True)],
        [
            "GRANT SELECT, INSERT ON *.* WITH GRANT OPTION",
            "REVOKE SELECT ON g_db.*",
            "REVOKE GRANT OPTION FOR INSERT ON g_db.*",
            "GRANT SELECT ON g_db.t",
            "REVOKE SELECT(a) ON g_db.t",
            "GRANT SELECT(b) ON g_db.u WITH GRANT OPTION",
        ],
    ),
    (
        [grant("SELECT", "g_db.*"), grant("SELECT(a)", "g_db.u")],
        [revoke("SELECT", "g_db.u")],
        ["GRANT SELECT ON g_db.*", "REVOKE SELECT ON g_db.u", "GRANT SELECT(a) ON g_db.u"],
    ),
    ([grant("SELECT", "g_db.t")], [revoke("SELECT", "*.*")], ["GRANT SELECT ON g_db.t"]),
    (
        [grant("CREATE ARBITRARY TEMPORARY TABLE, SELECT", "*.*")],
        [revoke("CREATE TEMPORARY TABLE", "*.*")],
        ["GRANT SELECT ON *.*"],
    ),
]


def test_the_narrower_scope_counts(converges: Module, reader: str) -> None:
    """A grant inside a partial revoke inside a grant, from each to the next and back, whatever order they come in."""
    for privileges, holes, lines in [*NESTED, *NESTED[-2::-1]]:
        options = {"mode": "exact", "privileges": privileges[::-1], "partial_revokes": holes[::-1]}
        assert converges("grant", {"grantee": reader, **options})["entity"]["privileges"] == lines
    added = {"privileges": [grant("SELECT", "g_other.t")], "partial_revokes": [revoke("SELECT", "g_other.*")]}
    assert converges("grant", {"grantee": reader, **added})["entity"]["privileges"] == [
        *NESTED[0][2],
        "REVOKE SELECT ON g_other.*",
        "GRANT SELECT ON g_other.t",
    ]


GAPS: dict[str, tuple[list[Options], list[Options], list[Options], list[Options]]] = {
    "narrower": ([grant("SELECT", "*.*")], [], [grant("SELECT", "g_db.t")], []),
    "wider": ([grant("SELECT", "g_db.t")], [], [grant("SELECT", "*.*")], []),
    "without the option": ([grant("SELECT", "g_db.*", True)], [], [grant("SELECT", "g_db.*")], []),
    "with the option": ([grant("SELECT", "g_db.*")], [], [grant("SELECT", "g_db.*", True)], []),
    "a column instead of the table": (
        [grant("SELECT, INSERT", "g_db.*")],
        [],
        [grant("SELECT(a)", "g_db.t"), grant("INSERT", "g_db.u")],
        [],
    ),
    "a hole that holds the table": (
        [grant("SELECT", "g_db.*")],
        [],
        [grant("SELECT", "*.*"), grant("SELECT(a)", "g_db.t")],
        [revoke("SELECT", "g_db.u")],
    ),
    "another partial revoke with a grant in it": (
        [grant("SELECT", "*.*"), grant("SELECT", "g_db.t")],
        [revoke("SELECT", "g_db.*")],
        [grant("SELECT", "*.*"), grant("SELECT", "g_db.t"), grant("SELECT", "g_other.t")],
        [revoke("SELECT", "g_db.*"), revoke("SELECT", "g_other.*")],
    ),
    "out of a wide one": (
        [grant("ALL", "*.*")],
        [],
        [grant("SELECT", "g_db.*"), grant("INSERT", "g_db.u")],
        [revoke("SELECT", "g_db.v")],
    ),
}


@pytest.mark.parametrize("case", GAPS)
def test_no_moment_without(module: Module, admin: Any, scratch: Any, clickhouse: Any, tables: None, case: str) -> None:
    """From one exact set to another, what both hold is held after every single statement: the server is asked."""
    before, no_holes, after, holes = GAPS[case]
    user = scratch.make("user", "g_user", "IDENTIFIED WITH sha256_password BY 'for tests 1'")
    both = {"grantee": user, "mode": "exact"}
    module("grant", {**both, "privileges": before, "partial_revokes": no_holes})
    change = module("grant", {**both, "privileges": after, "partial_revokes": holes}, check=True)
    session = clickhouse.session(user, "for tests 1")
    session.query("SELECT a FROM g_db.t")
    for statement in change["statements"]:
        admin.query(statement)
        session.query("SELECT a FROM g_db.t")
    assert not module("grant", {**both, "privileges": after, "partial_revokes": holes})["changed"]


def test_given_before_taken(module: Module, scratch: Any, reader: str) -> None:
    """All that is granted, roles included, comes before all that is revoked."""
    for role in ("g_one", "g_two"):
        scratch.make("role", role)
    module("grant", {"grantee": reader, "privileges": [grant("SELECT", "g_db.*")], "roles": [{"name": "g_one"}]})
    wished = {"privileges": [grant("INSERT", "g_db.*"), grant("SELECT", "g_other.*")], "roles": [{"name": "g_two"}]}
    swapped = module("grant", {"grantee": reader, "mode": "exact", **wished})
    verbs = [statement.split()[0] for statement in swapped["statements"]]
    assert verbs == sorted(verbs) and set(verbs) == {"GRANT", "REVOKE"}, swapped["statements"]


def test_a_name_that_is_user_and_role(converges: Module, scratch: Any, admin: Any) -> None:
    """It is the user, as in GRANT itself."""
    for kind in ("role", "user"):
        scratch.make(kind, "g_both")
    converges("grant", {"grantee": "g_both", "privileges": [grant("SELECT", "g_db.*")]})
    columns = "user_name, role_name, access_type"
    rows = admin.rows(f"SELECT {columns} FROM system.grants WHERE user_name = 'g_both' OR role_name = 'g_both'")
    assert rows == [["g_both", "\\N", "SELECT"]]


REFUSED: list[tuple[Options, str, str]] = [
    ({"privileges": [grant("SELCT", "g_db.*")]}, "privileges[0]", "did you mean SELECT"),
    ({"privileges": [grant("SELECT", "g_db.*"), grant("SELECT", "g_db*.t")]}, "privileges[1]", "g_db.t*"),
    ({"privileges": [grant("CREATE DATABASE", "g_db.t")]}, "privileges[0]", "cannot apply to a table"),
    ({"privileges": [grant("KILL QUERY", "g_db.*")]}, "privileges[0]", "cannot apply to a database"),
    ({"privileges": [grant("TRUNCATE(a)", "g_db.t")]}, "privileges[0]", "cannot apply to a column"),
    ({"privileges": [grant("SELECT(a)", "g_db.*")]}, "privileges[0]", "columns need one table"),
    ({"privileges": [grant("SELECT", "t")]}, "privileges[0]", "current database"),
    ({"privileges": [grant("SELECT", "*")]}, "privileges[0]", "current database"),
    ({"privileges": [grant("SELECT", "*.t")]}, "privileges[0]", "every database"),
    ({"privileges": [grant("SELECT", "g-db.*")]}, "privileges[0]", "backquotes"),
    ({"privileges": [grant("SELECT", "g_db.*; DROP USER default")]}, "privileges[0]", "cannot read"),
    ({"privileges": [grant("SELECT", "g_db.* TO default")]}, "privileges[0]", "cannot read"),
    ({"privileges": [{"privilege": [], "scope": ["*.*"]}]}, "privileges[0].privilege", "is empty"),
    ({"privileges": [{"privilege": ["SELECT"], "scope": []}]}, "privileges[0].scope", "is empty"),
    ({}, "privileges", "give privileges"),
    ({"mode": "exact", "partial_revokes": [revoke("SELECT", "g_db.*")]}, "partial_revokes", "needs privileges"),
    ({"mode": "remove", "partial_revokes": [revoke("SELECT", "g_db.*")]}, "partial_revokes", "mode append or exact"),
    ({"state": "absent", "privileges": []}, "privileges", "nothing to list"),
    ({"roles": [{"name": "g_missing"}]}, "roles", "g_missing does not exist"),
    ({"grantee": "g_missing", "privileges": [grant("SELECT", "g_db.*")]}, "grantee", "g_missing does not exist"),
    ({"grantee": "", "privileges": []}, "grantee", "cannot be empty"),
]


@pytest.mark.parametrize(("options", "option", "reason"), REFUSED, ids=[f"{o} {r}" for _other, o, r in REFUSED])
def test_refused_before_anything(
    failed: Module, admin: Any, reader: str, options: Options, option: str, reason: str
) -> None:
    """What the server would refuse half-way, or take for something else, is refused by option at once."""
    result = failed("grant", {"grantee": reader, **options})
    assert result["option"] == option and reason in result["msg"], result["msg"]
    assert result["msg"].endswith("Nothing was changed.") and shows(admin, reader) == []


def test_missing_in_check_mode(module: Module) -> None:
    """An earlier task of the play may only have pretended to make grantee and role."""
    options = {"grantee": "g_missing", "roles": [{"name": "g_other"}], "privileges": [grant("SELECT", "g_db.*")]}
    predicted = module("grant", options, check=True)
    assert predicted["statements"] == [
        "GRANT SELECT ON `g_db`.* TO `g_missing`",
        "GRANT `g_other` TO `g_missing`",
    ]
    assert len(predicted["warnings"]) == 2


def test_the_rights_are_real(module: Module, scratch: Any, clickhouse: Any, tables: None) -> None:
    """What is granted can be done, what is revoked cannot: the server judges."""
    user = scratch.make("user", "g_user", "IDENTIFIED WITH sha256_password BY 'for tests 1'")
    options = {
        "grantee": user,
        "mode": "exact",
        "privileges": [grant("SELECT", "g_db.*"), grant("INSERT(a)", "g_db.t")],
    }
    module("grant", {**options, "partial_revokes": [revoke("SELECT", "g_db.u"), revoke("SELECT(b)", "g_db.v")]})
    session = clickhouse.session(user, "for tests 1")
    for statement in ("SELECT * FROM g_db.t", "SELECT a FROM g_db.v", "INSERT INTO g_db.t (a) VALUES (1)"):
        session.query(statement)
    for statement in (
        "SELECT a FROM g_db.u",
        "SELECT b FROM g_db.v",
        "INSERT INTO g_db.t (b) VALUES (1)",
        "TRUNCATE TABLE g_db.t",
        "CREATE USER g_other",
    ):
        with pytest.raises(ServerSaid) as refused:
            session.query(statement)
        assert refused.value.code == 497, statement


NAMES = (
    "g a TO b", "`g", "g`", "g WITH GRANT OPTION", "WITH", "OPTION", "TO", "FROM", "select", "g\\", "g\nline", "it's g",
    'g"q', "\N{CLOUD}", "g@host", "1g", "g\0x", "{{ g }}", "*", "g.t", "g, h",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalogue(admin: Any) -> PrivilegeCatalogue:
    """The privileges of the server under test."""
    return PrivilegeCatalogue.from_rows(objects(admin, "SELECT * FROM system.privileges"))


def objects(admin: Any, query: str) -> list[dict[str, Any]]:
    """Rows by column."""
    return [json.loads(line) for line in admin.query(f"{query} FORMAT JSONEachRow").split("\n") if line]


def test_what_the_server_shows_as_options(
    module: Module, admin: Any, scratch: Any, version: tuple[int, int], catalogue: PrivilegeCatalogue
) -> None:
    """Users and roles of any name, read in one go, each with its own; and fed back, nothing is to be done."""
    scratch.make("role", "g_one")
    states = [
        ["GRANT SELECT ON *.* TO {}", "REVOKE SELECT ON {}.* FROM {}", "GRANT SELECT ON {}.{} TO {}"],
        [
            "GRANT SELECT, INSERT ON {}.{} TO {} WITH GRANT OPTION",
            "REVOKE GRANT OPTION FOR INSERT({}) ON {}.{} FROM {}",
        ],
        ["GRANT ALL ON *.* TO {} WITH GRANT OPTION", "REVOKE ACCESS MANAGEMENT, NAMED COLLECTION ADMIN ON *.* FROM {}"],
        ["GRANT SET DEFINER, NAMED COLLECTION ON {} TO {}", "GRANT TABLE ENGINE ON Memory TO {}", "GRANT g_one TO {}"],
        ["GRANT S3, FILE ON *.* TO {}", "GRANT CREATE ON {}.* TO {}", "GRANT SHOW, dictGet ON {}.{} TO {}"],
    ]
    if version >= (24, 10):
        states += [
            ["GRANT SELECT ON {}*.* TO {}", "REVOKE SELECT ON {}.* FROM {}", "GRANT SELECT ON {}.{}* TO {}"],
            ["GRANT CREATE USER ON {}* TO {} WITH GRANT OPTION", "GRANT SET DEFINER ON {}* TO {}"],
        ]
    for index, name in enumerate(NAMES):
        scratch.make("role" if index % 2 else "user", name)
        for statement in states[index % len(states)]:
            admin.query(statement.replace("{}", ident(name)))
    shown = objects(admin, f"SHOW GRANTS FOR {', '.join(map(ident, NAMES))}")
    lines = split_show_grants(str(next(iter(row.values()))) for row in shown)
    assert set(lines) == set(NAMES)
    for name in NAMES:
        alone = objects(admin, f"SHOW GRANTS FOR {ident(name)}")
        assert lines[name] == [str(next(iter(row.values()))) for row in alone]
        condition = f"user_name = {literal(name)} OR role_name = {literal(name)}"
        rows = objects(admin, f"SELECT * FROM system.grants WHERE {condition}")
        if rows and "is_wildcard" in rows[0]:
            rights = Rights.from_rows(catalogue, rows)
        else:
            rights = Rights.from_show_grants(catalogue, lines[name], rows)
        assert rights
        fed = module("grant", {"grantee": name, "mode": "exact", **as_options(rights)}, check=True)
        assert not fed["changed"], fed["statements"]
