"""Row policies: filters in the server's own formatting, restrictive, one table or all, and whom they apply to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import Login, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import row_policy as policies
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Current, Target, Wish
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, idents, literal
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Question, Server
from tests.integration.servers import VERSIONS, administrator
from tests.integration.test_user import HOSTILE
from tests.sandbox import start
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]
Version = tuple[int, int]

DATABASE = "rp data"
P: Options = {"name": "rp one", "database": DATABASE, "table": "t 1"}
"""The policy that most tests are about."""
SQL = "`rp one` ON `rp data`.`t 1`"


def stored(admin: Any, database: str = DATABASE) -> list[dict[str, Any]]:
    """The policies of a database, as the server has them."""
    columns = "short_name, table, select_filter, is_restrictive, apply_to_all, apply_to_list, apply_to_except, storage"
    where = f"database = {literal(database)} ORDER BY short_name, table"
    answer = admin.query(f"SELECT {columns} FROM system.row_policies WHERE {where} FORMAT JSONEachRow")
    return [json.loads(line) for line in answer.split("\n") if line]


def drop_all(admin: Any, database: str = DATABASE) -> None:
    """Drop the policies of a database."""
    names = [
        f"{ident(row['short_name'])} ON {ident(database)}.{ident(row['table']) if row['table'] else '*'}"
        for row in stored(admin, database)
    ]
    if names:
        admin.query(f"DROP ROW POLICY {', '.join(names)}")


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """No policies in our database, before and after."""
    if "clickhouse" not in request.fixturenames:
        yield
        return
    admin = request.getfixturevalue("admin")
    drop_all(admin)
    yield
    drop_all(admin)


@pytest.fixture
def world(scratch: Any) -> None:
    """A user and roles to apply to."""
    for name in ("rp reader", "rp writer"):
        scratch.make("role", name)
    scratch.make("user", "rp user")


FULL: Options = {
    "filter": "tenant='acme'  and\n(day>today()-30) -- a month",
    "restrictive": True,
    "apply_to": {"names": ["rp user", "rp reader"]},
}
EMPTY: dict[str, tuple[Any, Any]] = {
    "filter": ("", ""),
    "restrictive": (False, False),
    "apply_to": ({}, {"none": True}),
}
NOTHING = {key: cleared for key, (_empty, cleared) in EMPTY.items()}


def test_a_policy_comes_changes_and_goes(converges: Module, module: Module, admin: Any, world: None) -> None:
    """Omitted is left alone, empty is cleared, one option at a time; absent is dropped."""
    bare = converges("row_policy", P)
    assert bare["entity"] == NOTHING and bare["statements"] == [f"CREATE ROW POLICY {SQL}"]
    changed = converges("row_policy", {**P, **FULL})
    full = {
        "filter": "(tenant = 'acme') AND (day > (today() - 30))",
        "restrictive": True,
        "apply_to": {"names": ["rp reader", "rp user"]},
    }
    assert changed["entity"] == full and changed["diff"]["after"] == full and changed["diff"]["before"] == NOTHING
    assert changed["statements"] == [
        f"ALTER ROW POLICY {SQL} AS RESTRICTIVE USING {full['filter']} TO `rp reader`, `rp user`"
    ]
    assert changed["diff"]["before_header"] == "row_policy `rp one` ON `rp data`.`t 1`"
    (row,) = stored(admin)
    assert (row["select_filter"], row["is_restrictive"], row["apply_to_list"]) == (
        full["filter"],
        1,
        ["rp reader", "rp user"],
    )
    same = module("row_policy", P)
    assert not same["changed"] and same["entity"] == full
    for option in FULL:
        assert not module("row_policy", {**P, option: FULL[option]})["changed"], option
    for option, (empty, cleared) in EMPTY.items():
        full = {**full, option: cleared}
        assert converges("row_policy", {**P, option: empty})["entity"] == full
    made_again = converges("row_policy", {**P, **FULL})
    assert made_again["diff"]["before"] == full
    gone = converges("row_policy", {**P, "state": "absent"})
    assert gone["entity"] == {} and gone["diff"]["after"] == {} and stored(admin) == []
    assert gone["statements"] == [f"DROP ROW POLICY {SQL}"]
    converges("row_policy", {**P, "state": "absent"}, changed=False)


def test_a_policy_is_made_at_once(converges: Module, world: None) -> None:
    """One statement, so no moment shows more than is wanted."""
    made = converges("row_policy", {**P, **FULL, "filter": "a = 1"})
    assert made["statements"] == [
        f"CREATE ROW POLICY {SQL} AS RESTRICTIVE USING a = 1 TO `rp reader`, `rp user`",
    ]


def test_the_database_and_the_table_are_a_part_of_the_name(converges: Module, module: Module, admin: Any) -> None:
    """The same short name is another policy on another table, and on all tables."""
    places: list[Options] = [{"table": "t1"}, {"table": "t2"}, {}]
    for number, place in enumerate(places):
        options = {"name": "p", "database": DATABASE, **place, "filter": f"a = {number}"}
        assert converges("row_policy", options)["diff"]["before"] == {}
    assert [(row["table"], row["select_filter"]) for row in stored(admin)] == [
        ("", "a = 2"),
        ("t1", "a = 0"),
        ("t2", "a = 1"),
    ]
    for place in places:
        assert not module("row_policy", {"name": "p", "database": DATABASE, **place})["changed"]
    assert not module("row_policy", {"name": "p", "database": "rp other", "state": "absent"})["changed"]
    gone = converges("row_policy", {"name": "p", "database": DATABASE, "state": "absent"})
    assert gone["statements"] == ["DROP ROW POLICY `p` ON `rp data`.*"]
    assert gone["diff"]["before_header"] == "row_policy p ON `rp data`.*"
    assert [row["table"] for row in stored(admin)] == ["t1", "t2"]


def test_a_table_called_star(failed: Module, module: Module, admin: Any) -> None:
    """Whoever writes table * means all tables, for which ClickHouse would take the table of that name."""
    star = {"name": "p", "database": DATABASE, "table": "*"}
    for options in ({}, {"state": "absent"}):
        result = failed("row_policy", {**star, **options})
        assert result["option"] == "table" and "leave table out" in result["msg"]
    assert stored(admin) == []
    admin.query(f"CREATE ROW POLICY p ON {ident(DATABASE)}.`*` USING a = 1")
    assert not module("row_policy", {**star, "filter": "a=1"})["changed"]
    assert module("row_policy", {**star, "state": "absent"})["statements"] == ["DROP ROW POLICY `p` ON `rp data`.`*`"]


# -- filters ---------------------------------------------------------------------------------------------------------

FILTERS = [
    "1", "0", "a", "true", "NULL", "a=1", "a  =  1 and b>2 OR not c", "(a=1)", "((a=1))", "a IN (1,2,3)", "a in(1)",
    "a IN 1", "a NOT IN (SELECT x FROM d.t2 WHERE y=1)", "a IN (SELECT 1 UNION ALL SELECT 2)", "a GLOBAL IN (1)",
    "a IN (WITH 1 AS x SELECT x)", "a in (select 1 settings max_threads=1)", "(SELECT 1)", "exists(select 1)",
    "a = ANY (SELECT 1)", "a IN tbl", "a IN (d.tbl)", "lower(b)='x'", "a::Int8=1", "CAST(a AS String)='1'",
    "cast(a,'Int8')", "b = 'it''s'", r"b = 'it\'s\\'", "b='\n\t'", "b='a -- b /* c */'", "b='%s %(x)s {{ a }}'",
    "currentUser() = u", "current_user() = u", "a = 1 -- c", "/*x*/ a = 1 /* y */", "a\n=\r\n1\n", "  a=1  ", "a=1;",
    "(a, b) IN ((1,2),(3,4))", "(a AS x) = 1 and x > 0", "`a b`=1", '"a b"=1', "t.a = 1", "d.t.a=1", "`from`=1",
    "`all` = 1 or `select` = 1", "arrayExists(x->x=1, arr)", "arrayExists((x, y) -> x=y, arr, brr)",
    "a BETWEEN 1 AND 2", "a not between 1 and 2", "a LIKE '%x'", "a NOT LIKE 'x'", "a ILIKE 'x'", "a IS NULL",
    "a is not null", "CASE WHEN a THEN 1 ELSE 0 END", "case a when 1 then 'x' end = 'x'", "a ? 1 : 0", "if(a,1,0)",
    "day >= now() - INTERVAL 1 DAY", "day > toDate('2020-01-01')", "DATE '2020-01-01' < day", "-a = -1", "- (a)",
    "(-1) = a", "a % 2 = 0", "a mod 2", "a div 2", "a || b = 'x'", "m['k']=1", "arr[1]=1", "tup.1 = 2", "a.b.c = 1",
    "[1,2,3]", "map('a', 1)", "1e6", "1.50", "0x10", "18446744073709551615", "inf", "NOT (a=1)", "not a",
    "a=1 AND (b=2 OR c=3)", "a and (b and c)", "a - (b - c)", "(a - b) - c", "dictGet('d','x',1)=2",
    "EXTRACT(DAY FROM day) = 1", "substring(b from 1 for 2) = 'x'", "trim(BOTH 'x' FROM b) = 'y'", "a == b", "a <> b",
    "`ü` = 'é 🙂'", "getSetting('SQL_tenant')=b", "decrypt('aes-128-ecb', a, 'sixteen letters!')='x'", "$$a'b$$ = b",
    "a = 1 or b = 'to' and c = 'using'", "count() OVER () > 1", "f(a)(b)", "tuple(1)", "(a,)", "USING(a)",
]  # fmt: skip
"""Expressions as people write them."""


def _server(login: Options) -> Server:
    return Server(Session(Login.from_options(login)))


def test_the_formatting_is_the_server_s_own(admin: Any, login: Options) -> None:
    """Told before the policy is there, it is what the server then stores for the same text; twice makes no other."""
    formatted = _server(login).filters(FILTERS)
    for text in FILTERS:
        admin.query(f"CREATE ROW POLICY OR REPLACE rp ON {ident(DATABASE)}.t USING {text}")
        (row,) = stored(admin)
        assert formatted[text] == row["select_filter"], text
    again = _server(login).filters([str(text) for text in formatted.values()])
    assert all(text == once for text, once in again.items())


@pytest.mark.parametrize(
    ("plain", "spelled"),
    [
        ("a = 1", "  a=1 -- one"),
        ("(a = 1) AND (b IN ('x', 'y'))", "a=1 and b in ('x','y')"),
        ("CAST(a, 'Int8') = 1", "a::Int8=1"),
        ("CAST(a, 'Int8') = 1", "CAST(a AS Int8) = 1"),
        ("b = 'it\\'s'", "b = 'it''s'"),
        ("ifNull(a, 0) != 1", "ifNull(a,0)\n  <>\n1;"),
        ("user = currentUser()", "`user` == currentUser()"),
    ],
)
def test_another_spelling_is_no_change(converges: Module, module: Module, plain: str, spelled: str) -> None:
    """Blanks, comments, case, operators: what the server makes of it counts."""
    for first, second in ((plain, spelled), (spelled, plain)):
        assert converges("row_policy", {**P, "filter": first})["entity"]["filter"] == plain
        assert not module("row_policy", {**P, "filter": second})["changed"]
        module("row_policy", {**P, "state": "absent"})


def test_from_filter_to_filter(converges: Module) -> None:
    """Each of many, one after the other, and none."""
    before = ""
    for text in FILTERS[::9]:
        result = converges("row_policy", {**P, "filter": text})
        assert result["diff"]["before"].get("filter", "") == before
        before = result["entity"]["filter"]
    assert converges("row_policy", {**P, "filter": " \n"})["statements"] == [f"ALTER ROW POLICY {SQL} USING NONE"]
    assert converges("row_policy", {**P, "filter": 1})["entity"]["filter"] == "1"


NOT_ONE_EXPRESSION = [
    "a, b", "a AS x", "(a AS x)", "a x", "a =", "a b c", "'a", "`a", "(a", "a)", "1) OR (1", "/* a", "-- a", ";",
    "SELECT 1", "1 FROM d.t", "1 WHERE 1", "1 UNION ALL SELECT 2", "1 INTERSECT SELECT 2", "1 SETTINGS max_threads = 1",
    "1 FORMAT JSON", "1 INTO OUTFILE 'x'", "1 LIMIT 1", "1 ORDER BY 1", "1 GROUP BY ALL", "1; DROP USER default",
    "WITH 1 AS x SELECT x", "DISTINCT a", "1 TO ALL", "1 TO `rp user`", "1 AS RESTRICTIVE", "1 AS PERMISSIVE",
    "1 ON CLUSTER default", "1 FOR SELECT USING 2", "1, USING 2", "1 USING 2", "1) TO ALL --", "1 RENAME TO x",
    "1 PARALLEL WITH SELECT 1", "1\0 TO ALL", "NONE", "none", "`none`", "`none` = 1", "none = 1",
]  # fmt: skip
"""What is no expression, more than one, or would begin another clause; and what ClickHouse takes for no filter."""


def test_a_filter_is_one_expression(failed: Module, module: Module, admin: Any) -> None:
    """Anything else is refused by name before anything is changed, whether or not the policy is there."""
    for there in (False, True):
        for text in NOT_ONE_EXPRESSION:
            result = failed("row_policy", {**P, "filter": text}, check=there)
            assert result["option"] == "filter", text
            assert "one expression" in result["msg"] and result["msg"].endswith("Nothing was changed.")
        assert [row["select_filter"] for row in stored(admin)] == (["a = 1"] if there else [])
        module("row_policy", {**P, "filter": "a = 1"})


def test_a_filter_that_clickhouse_would_lose_stays_while_it_is_there(
    module: Module, failed: Module, admin: Any, clickhouse: Any, version: Version
) -> None:
    """SQL can store what it cannot read again: what is there can be wished as it is, and nowhere else."""
    if version >= (26, 0) and not hasattr(clickhouse, "user"):
        pytest.skip("the sandbox's 26.9 takes `none` for no filter at once")
    admin.query(f"CREATE ROW POLICY {SQL} USING `none`")
    assert stored(admin)[0]["select_filter"] == "none"
    same = module("row_policy", {**P, "filter": "none"})
    assert not same["changed"] and same["entity"]["filter"] == "none"
    assert failed("row_policy", {**P, "name": "rp other", "filter": "none"})["option"] == "filter"
    assert module("row_policy", {**P, "filter": "ifNull(`none`, 1) = 1"})["changed"]


# -- what it does ----------------------------------------------------------------------------------------------------


def test_policies_are_real(converges: Module, clickhouse: Any, admin: Any, scratch: Any) -> None:
    """Users see the rows that the module says: of a table and of a database, permissive and restrictive."""
    for name in ("rp user", "rp other"):
        scratch.make("user", name, "IDENTIFIED WITH sha256_password BY 'for tests 1'")
    admin.query(f"CREATE DATABASE IF NOT EXISTS {ident(DATABASE)}")
    for table in ("t 1", "t 2"):
        admin.query(f"CREATE OR REPLACE TABLE {ident(DATABASE)}.{ident(table)} (a UInt8) ENGINE = MergeTree ORDER BY a")
        admin.query(f"INSERT INTO {ident(DATABASE)}.{ident(table)} VALUES (1), (2), (3)")
    admin.query(f"GRANT SELECT ON {ident(DATABASE)}.* TO `rp user`, `rp other`")

    def seen(user: str, table: str = "t 1") -> list[str]:
        rows = clickhouse.session(user, "for tests 1").lines(f"SELECT a FROM {ident(DATABASE)}.{ident(table)}")
        return sorted(rows)

    everything = ["1", "2", "3"]
    everywhere: Options = {"name": "rp all", "database": DATABASE}
    try:
        converges("row_policy", {**P, "apply_to": {"names": ["rp user"]}})
        assert seen("rp user") == everything
        converges("row_policy", {**P, "filter": "a < 3"})
        assert seen("rp user") == ["1", "2"] and seen("rp other") == seen("rp user", "t 2") == everything
        converges("row_policy", {**P, "apply_to": {"all": True, "except": ["rp user"]}})
        assert seen("rp user") == everything and seen("rp other") == ["1", "2"]
        converges("row_policy", {**P, "apply_to": {"all": True}})
        converges("row_policy", {**everywhere, "filter": "a > 1", "apply_to": {"all": True}})
        assert seen("rp user") == everything and seen("rp user", "t 2") == ["2", "3"]
        converges("row_policy", {**everywhere, "restrictive": True})
        assert seen("rp user") == ["2"] and seen("rp user", "t 2") == ["2", "3"]
        converges("row_policy", {**P, "filter": ""})
        assert seen("rp user") == ["2", "3"]
        converges("row_policy", {**everywhere, "state": "absent"})
        assert seen("rp user") == everything
    finally:
        drop_all(admin)
        admin.query(f"DROP DATABASE {ident(DATABASE)}")


def test_apply_to(converges: Module, admin: Any, world: None) -> None:
    """Each form, and from each to the next; only TO is said."""
    converges("row_policy", {**P, **FULL})
    for wished, kept in (
        ({"all": True}, {"all": True}),
        ({"all": True, "except": ["rp writer", "rp user"]}, {"all": True, "except": ["rp user", "rp writer"]}),
        ({"names": ["rp writer", "rp user", "rp writer"]}, {"names": ["rp user", "rp writer"]}),
        ({"none": True}, {"none": True}),
        ({"names": ["rp reader"]}, {"names": ["rp reader"]}),
    ):
        result = converges("row_policy", {**P, "apply_to": wished})
        assert result["entity"]["apply_to"] == kept
        (statement,) = result["statements"]
        assert statement.startswith(f"ALTER ROW POLICY {SQL} TO ")
    (row,) = stored(admin)
    assert (row["apply_to_all"], row["apply_to_list"], row["apply_to_except"]) == (0, ["rp reader"], [])


@pytest.mark.parametrize(
    ("wished", "option"),
    [
        ({"names": ["rp missing"]}, "apply_to.names"),
        ({"all": True, "except": ["rp missing"]}, "apply_to.except"),
    ],
)
def test_missing_names(failed: Module, module: Module, admin: Any, wished: Options, option: str) -> None:
    """Refused before anything is changed; in check mode an earlier task may only pretend to make them."""
    result = failed("row_policy", {**P, "apply_to": wished})
    assert result["option"] == option and "rp missing does not exist" in result["msg"]
    assert stored(admin) == []
    predicted = module("row_policy", {**P, "apply_to": wished}, check=True)
    assert predicted["changed"] and "rp missing does not exist" in json.dumps(predicted["warnings"])


# -- many at once ----------------------------------------------------------------------------------------------------


def test_among_many(module: Module, failed: Module, admin: Any, scratch: Any) -> None:
    """Users of the same run stand in the one statement that policies share; purge goes by the short name."""
    user, role = scratch.reserve("user", "rp new user"), scratch.reserve("role", "rp new role")
    told = {
        "users": [{"name": user}],
        "roles": [{"name": role}],
        "row_policies": [
            {"name": "rp a", "database": DATABASE, "table": "t", "filter": "a=1", "apply_to": {"names": [user, role]}},
            {"name": "rp b", "database": DATABASE, "filter": "a=1", "apply_to": {"names": [user, role]}},
        ],
    }
    made = module("access", told)
    assert [line for line in made["statements"] if "POLICY" in line] == [
        f"CREATE ROW POLICY `rp a` ON `rp data`.`t`, `rp b` ON `rp data`.* USING a = 1 TO {idents([role, user])}"
    ]
    assert not module("access", told)["changed"]
    found = module("access_info", {"kinds": ["row_policies"], "names": ["rp ?"]})["access"]["row_policies"]
    assert [(policy["name"], policy["database"], policy.get("table"), policy["filter"]) for policy in found] == [
        ("rp a", DATABASE, "t", "a = 1"),
        ("rp b", DATABASE, None, "a = 1"),
    ]
    assert not module("access", {"row_policies": found})["changed"]
    purge = {"row_policies": found[:1], "purge": {"row_policies": ["rp *"]}}
    assert not module("access", {**purge, "protected": ["rp b"]})["changed"]
    gone = {"name": "rp b", "database": DATABASE, "state": "absent"}
    refused = failed("access", {"row_policies": [gone], "protected": ["rp b"]})
    assert refused["option"] == "row_policies[0].state" and "is protected" in refused["msg"]
    assert module("access", purge)["statements"] == ["DROP ROW POLICY `rp b` ON `rp data`.*"]
    assert [row["short_name"] for row in stored(admin)] == ["rp a"]


def test_what_is_wrong_among_many(failed: Module, admin: Any) -> None:
    """Each error names its policy and option, and the full names tell which are the same; nothing is done."""
    policy = {"database": DATABASE, "table": "t"}
    told = [
        {"name": "rp a", **policy, "filter": "a, b"},
        {"name": "rp \udc80", **policy},
        {"name": "rp b", **policy, "filter": "a = '\udc80'"},
    ]
    refused = failed("access", {"row_policies": told})
    assert [error["option"] for error in refused["errors"]] == [
        "row_policies[0].filter",
        "row_policies[1].name",
        "row_policies[2].filter",
    ]
    twice = failed("access", {"row_policies": [{"name": "p", **policy}, {"name": "p", "database": DATABASE}] * 2})
    assert [error["option"] for error in twice["errors"]] == ["row_policies[2].name", "row_policies[3].name"]
    assert "p ON `rp data`.t is declared already" in twice["msg"] and stored(admin) == []


# -- names, where policies live, and what is refused -----------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_is_a_name(module: Module, converges: Module, scratch: Any, admin: Any, text: str) -> None:
    """As the name of the policy, of its database and table, and of whom it applies to."""
    scratch.make("role", text)
    options: Options = {"name": text, "database": text, "table": text}
    everywhere: Options = {"name": text, "database": text}
    drop_all(admin, text)
    try:
        made = converges("row_policy", {**options, "filter": f"a={literal(text)}", "apply_to": {"names": [text]}})
        assert made["entity"]["apply_to"] == {"names": [text]}
        converges("row_policy", {**options, "filter": f"1 != {ident(text)} -- c"})
        converges("row_policy", {**everywhere, "apply_to": {"all": True, "except": [text]}})
        assert [(row["short_name"], row["table"]) for row in stored(admin, text)] == [(text, ""), (text, text)]
        for one in (options, everywhere):
            assert module("row_policy", {**one, "state": "absent"})["changed"]
        assert stored(admin, text) == []
    finally:
        drop_all(admin, text)


def test_storage(converges: Module, module: Module, failed: Module, admin: Any) -> None:
    """Made where it is said, moved if it is elsewhere, dropped only from where it is said."""
    (home,) = admin.lines("SELECT name FROM system.user_directories WHERE type = 'local_directory'")
    made = converges("row_policy", {**P, "storage": home, "filter": "1"})
    assert made["statements"] == [f"CREATE ROW POLICY {SQL} IN `{home}` USING 1"]
    moved = module("row_policy", {**P, "storage": "elsewhere"}, check=True)
    assert moved["statements"] == [f"MOVE ROW POLICY {SQL} TO `elsewhere`"]
    assert (moved["diff"]["before"]["storage"], moved["diff"]["after"]["storage"]) == (home, "elsewhere")
    refused = failed("row_policy", {**P, "storage": "elsewhere"})
    assert refused["failed_statement"] == moved["statements"][0] and refused["done"] == []
    assert not module("row_policy", {**P, "state": "absent", "storage": "elsewhere"})["changed"]
    gone = converges("row_policy", {**P, "state": "absent", "storage": home})
    assert gone["statements"] == [f"DROP ROW POLICY {SQL} FROM `{home}`"]


def test_on_cluster(module: Module, failed: Module, admin: Any, world: None) -> None:
    """Every statement carries ON CLUSTER, and the server takes it as its own grammar has it."""
    clusters = admin.lines("SELECT DISTINCT cluster FROM system.clusters")
    if not clusters:
        pytest.skip("this server has no cluster")
    clause = f"ON CLUSTER {ident(clusters[0])}"
    options: Options = {"cluster": clusters[0], **P}
    made = module("row_policy", {**options, **FULL}, check=True)
    assert made["statements"][0].startswith(f"CREATE ROW POLICY {SQL} {clause} AS RESTRICTIVE USING ")
    try:
        admin.query(f"DROP ROW POLICY IF EXISTS rp_probe ON d.t {clause}")
    except ServerSaid as without_keeper:
        # ON CLUSTER goes through Keeper; without one the server says so, and so does the module
        refused = failed("row_policy", {**options, **FULL})
        assert refused["code"] == without_keeper.code and refused["failed_statement"] == made["statements"][0]
        return
    assert module("row_policy", {**options, **FULL})["statements"] == made["statements"]
    assert not module("row_policy", {**options, **FULL})["changed"]
    less = module("row_policy", {**options, "filter": ""})
    assert less["statements"] == [f"ALTER ROW POLICY {SQL} {clause} USING NONE"]
    assert module("row_policy", {**options, "state": "absent"})["statements"] == [f"DROP ROW POLICY {SQL} {clause}"]


@pytest.mark.skipif("26.9" not in VERSIONS, reason="only the 26.9 sandbox has replicas")
def test_replicas(module: Module) -> None:
    """A replica that shows other rows is told, and mended; one that lacks the policy gets it."""
    with start("26.9", tls=True, replicas=2) as server:
        login = {"login_host": "localhost", "login_port": server.https_port, "login_ca_cert": server.ca}
        other = server.replicas[1].session()
        options: Options = {**P, "cluster": "default", "filter": "a=1"}
        assert module("row_policy", options, **login)["statements"] == [
            f"CREATE ROW POLICY {SQL} ON CLUSTER `default` USING a = 1"
        ]
        assert not module("row_policy", options, **login)["changed"]
        other.query(f"ALTER ROW POLICY {SQL} USING 1")
        (drift,) = module("access_info", {"kinds": ["row_policies"], "cluster": "default"}, **login)["drift"]
        assert (drift["kind"], drift["name"]) == ("row_policy", "`rp one` ON `rp data`.`t 1`")
        assert drift["entity"] == {**NOTHING, "filter": "1"}
        assert module("row_policy", options, **login)["statements"] == [
            f"ALTER ROW POLICY {SQL} ON CLUSTER `default` USING a = 1"
        ]
        other.query(f"DROP ROW POLICY {SQL}")
        assert module("row_policy", options, **login)["changed"]
        assert stored(other)[0]["select_filter"] == "a = 1"
        other.query(f"DROP ROW POLICY {SQL}")
        assert module("row_policy", {**options, "state": "absent"}, **login)["changed"]
        assert not module("row_policy", {**options, "state": "absent"}, **login)["changed"]


USERS_XML = """<clickhouse><users>
    <rp_xml><no_password/><databases>
        <rp><t><filter>  a=1 and  b in ('x')</filter></t><u><filter>a = 2</filter></u><v><filter>a =</filter></v></rp>
    </databases></rp_xml>
</users></clickhouse>
"""


@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="that server's configuration is its own")
def test_policies_of_the_configuration(
    module: Module, failed: Module, tmp_path: Path, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A policy in users.xml is reported in the server's formatting, which it does not have there, and not touched.

    To tell that costs no request of its own.
    """
    users_d = tmp_path / "data" / "users.d"
    users_d.mkdir(parents=True)
    (users_d / "policies.xml").write_text(USERS_XML)
    with start(".".join(map(str, version)), tmp_path / "data", tls=True) as server:
        login = {"login_port": server.https_port, "login_ca_cert": server.ca}
        options = {"name": "rp_xml", "database": "rp", "table": "t"}
        known = module("row_policy", options, **login)
        assert not known["changed"]
        assert known["entity"] == {
            "filter": "(a = 1) AND (b IN ('x'))",
            "restrictive": False,
            "apply_to": {"names": ["rp_xml"]},
        }
        for spelled in (known["entity"]["filter"], "a=1 AND b IN ('x')", "  a=1 and  b in ('x')"):
            assert not module("row_policy", {**options, "filter": spelled}, **login)["changed"]
        assert not module("row_policy", {**options, "table": "u", "filter": "a=2"}, **login)["changed"]
        assert not module("row_policy", {**options, "table": "v", "filter": "a ="}, **login)["changed"]
        assert failed("row_policy", {**options, "filter": "a ="}, **login)["option"] == "filter"
        for change in ({"filter": "a = 3"}, {"apply_to": {}}, {"restrictive": True}, {"state": "absent"}):
            result = failed("row_policy", {**options, **change}, **login)
            assert result["option"] == "name" and "rp_xml ON rp.t lives in users" in result["msg"], result
            assert failed("row_policy", {**options, **change}, check=True, **login)["msg"] == result["msg"]
        with_server, requests = _server({"login_host": "localhost", **login}), []
        ask = with_server.session.rows
        monkeypatch.setattr(with_server.session, "rows", lambda sql: requests.append(sql) or ask(sql))
        (rows,) = with_server.load(Question(policies.NEEDS)).values()
        assert len(policies.read(with_server, rows)) == 3 and len(requests) == 1
        told = module("access_info", {"kinds": ["row_policies"], "read_only": True}, **login)["access"]["row_policies"]
        assert [policy["table"] for policy in told] == ["t", "u", "v"]
        assert not module("access", {"row_policies": told}, **login)["changed"]


@pytest.mark.parametrize(
    ("options", "option", "said"),
    [
        ({"name": ""}, "name", "empty"),
        ({"database": ""}, "database", "empty"),
        ({"table": ""}, "table", "leave table out"),
        ({"storage": ""}, "storage", "empty"),
        ({"cluster": ""}, "cluster", "empty"),
        ({"apply_to": {"all": True, "none": True}}, "apply_to", "all"),
        ({"apply_to": {"names": ["default"], "none": True}}, "apply_to", "none"),
        ({"apply_to": {"except": ["default"]}}, "apply_to", "all"),
        ({"apply_to": {"names": [""]}}, "apply_to.names[0]", "empty"),
    ],
)
def test_refused_by_option(failed: Module, admin: Any, options: Options, option: str, said: str) -> None:
    """Before anything is changed, whether or not the policy is there."""
    for there in (0, 1):
        result = failed("row_policy", {**P, **options})
        assert result["option"] == option and said in result["msg"] and result["msg"].endswith("Nothing was changed.")
        assert len(stored(admin)) == there
        admin.query(f"CREATE ROW POLICY IF NOT EXISTS {SQL}")


MANAGER = (
    "GRANT ACCESS MANAGEMENT ON *.* TO {} WITH GRANT OPTION",
    "GRANT SELECT ON system.user_directories TO {}",
)
"""All that the module needs."""


@pytest.mark.parametrize(
    ("there", "options", "missing"),
    [
        (False, {"filter": "a = 1"}, "CREATE ROW POLICY"),
        (True, {"filter": "a = 1"}, "ALTER ROW POLICY"),
        (True, {"state": "absent"}, "DROP ROW POLICY"),
    ],
)
def test_a_refused_write(
    module: Module,
    failed: Module,
    clickhouse: Any,
    admin: Any,
    scratch: Any,
    there: bool,
    options: Options,
    missing: str,
) -> None:
    """Names the privilege, and says that nothing was done; with it the same task does its work, once."""
    if there:
        admin.query(f"CREATE ROW POLICY {SQL}")
    scratch.reserve("user", "rp admin")
    login = administrator(clickhouse, "rp admin", *MANAGER, f"REVOKE {missing} ON *.* FROM {{}}")
    predicted = module("row_policy", {**P, **options}, check=True, **login)
    result = failed("row_policy", {**P, **options}, **login)
    assert (result["code"], result["error_name"], result["changed"]) == (497, "ACCESS_DENIED", False)
    assert missing in result["msg"]
    assert (result["done"], result["unknown_statement"], result["pending"]) == ([], None, [])
    assert [result["failed_statement"]] == predicted["statements"]
    allowed = administrator(clickhouse, "rp admin", *MANAGER)
    assert module("row_policy", {**P, **options}, **allowed)["changed"]
    assert not module("row_policy", {**P, **options}, **allowed)["changed"]


@pytest.mark.parametrize("missing", ["SHOW ROW POLICIES ON *.*", "SELECT ON system.user_directories"])
def test_a_refused_read(failed: Module, clickhouse: Any, scratch: Any, missing: str) -> None:
    """What cannot be seen is never taken for absent, even in check mode."""
    scratch.reserve("user", "rp admin")
    login = administrator(clickhouse, "rp admin", *MANAGER, "GRANT SELECT ON d.* TO {}", f"REVOKE {missing} FROM {{}}")
    for check in (True, False):
        result = failed("row_policy", {**P, "filter": "a = 1"}, check=check, **login)
        assert (result["code"], result["error_name"]) == (497, "ACCESS_DENIED")
        assert (missing in result["msg"] or "system." in result["msg"]) and not result.get("changed")


# -- what is exported changes nothing --------------------------------------------------------------------------------

# no column is called like a keyword: 25.8 prints some without quotes where it cannot read them again
COLUMNS = st.sampled_from(["a", "b", "`a b`", "t.a", "`Ab`", "`ü``x`"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(literal)
NUMBERS = st.integers(-5, 2**64 - 1).map(str) | st.sampled_from(["1.50", "1e3", "0x10", "inf", "NULL", "TRUE"])
EXPRESSIONS = st.recursive(
    COLUMNS | TEXTS | NUMBERS | st.sampled_from(["currentUser()", "(SELECT 1)", "[1,2]", "arrayExists(x->x>1,a)"]),
    lambda inner: st.one_of(
        st.tuples(
            inner, st.sampled_from(["=", "<>", " and ", " OR ", "+", "-", "||", " like ", " in ", "%"]), inner
        ).map("".join),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"not {text}"),
        inner.map(lambda text: f"-({text})"),
        inner.map(lambda text: f"lower( {text} )"),
        inner.map(lambda text: f"({text})::Int8"),
        inner.map(lambda text: f"{text} IS  NULL"),
        st.tuples(inner, inner, inner).map(lambda three: "case when {} then {} else {} end".format(*three)),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: f"a IN ({', '.join(some)})"),
    ),
    max_leaves=8,
)
NAMES = ["rp user", "rp reader", "rp 'writer'"]
TO = st.one_of(
    st.sampled_from(["", "TO NONE"]),
    st.lists(st.sampled_from(NAMES), min_size=1).map(lambda names: f"TO {idents(names)}"),
    # what applied to the test's own user, the sandbox would have to tell its engine each time
    st.lists(st.sampled_from(NAMES)).map(lambda names: f"TO ALL EXCEPT {idents(['default', *names])}"),
)
PARTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5) | st.sampled_from(
    ["p", "`", "a b", "p ON d.t", "*", "none", "ALL", "x\\", "new\nline"]
)
POLICIES = st.dictionaries(
    st.tuples(PARTS, st.none() | PARTS),
    st.tuples(st.sampled_from(["", "AS restrictive", "AS PERMISSIVE"]), st.none() | EXPRESSIONS, TO),
    min_size=1,
    max_size=6,
)


def _read(login: Options) -> tuple[Server, dict[str, Current]]:
    server = _server(login)
    (rows,) = server.load(Question(policies.NEEDS)).values()
    found = policies.TYPE.read(server, rows)
    return server, {name: found[name] for name in found if policies.identify(name)["database"] == DATABASE}


def _wish(options: Options, server: Server) -> Wish:
    return policies.TYPE.wish(options, server)


def test_what_is_exported_changes_nothing(admin: Any, login: Options, scratch: Any) -> None:
    """Any policy that SQL can make: its export given back is no change, and makes the same policy anew."""

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    @given(POLICIES)
    def holds(wanted: dict[tuple[str, str | None], tuple[str, str | None, str]]) -> None:
        drop_all(admin)
        refused = []
        for (name, table), (kind, text, to) in wanted.items():
            on = f"{ident(name)} ON {ident(DATABASE)}.{ident(table) if table is not None else '*'}"
            try:
                admin.query(" ".join(["CREATE ROW POLICY", on, kind, f"USING {text}" if text else "", to]))
            except ServerSaid:
                refused.append(text)  # older parsers do not take all of them
        server, found = _read(login)
        assert len(found) == len(wanted) - len(refused)
        formatted = server.filters(text for text in refused if text)
        assert all(formatted[text] is None for text in refused)
        written = json.loads(json.dumps([{**policies.identify(name), **found[name].document} for name in found]))
        for name, options in zip(found, written, strict=True):
            same = plan(policies.TYPE, _wish(options, server), {"": found[name]}, Target(), server)
            assert same.statements == () and same.after == found[name].document and same.name == name
            _kind, text, _to = wanted[options["name"], options.get("table")]
            spelled = _wish({**options, "filter": text}, server)
            assert plan(policies.TYPE, spelled, {"": found[name]}, Target(), server).statements == (), text
        drop_all(admin)
        for options in written:
            for statement in plan(policies.TYPE, _wish(options, server), {"": None}, Target(), server).statements:
                admin.query(statement.sql)
        _server_again, copied = _read(login)
        assert {name: copied[name].document for name in copied} == {name: found[name].document for name in found}

    scratch.make("user", NAMES[0])
    for name in NAMES[1:]:
        scratch.make("role", name)
    holds()
