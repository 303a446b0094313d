"""Row policies without a server: their names, and their statements and filters held against the real parsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import row_policy
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities.row_policy import (
    DEFAULTS,
    TYPE,
    full_name,
    identify,
    quote,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Current, Rows, Target
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import ordered, plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server
from tests.sandbox.engine import VERSIONS, Engine

Servers = Callable[[str], Server]
Engines = Callable[[str], Engine]
Options = dict[str, Any]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(
    ["*", "`", "a ON b.c", "x` ON `y`.`z", "\\", "\\`", "a.b", "`a`", "none", "\0\n", "ALL"]
)


# -- names


@given(TEXTS, TEXTS, st.none() | TEXTS)
def test_a_full_name_says_its_parts(short: str, database: str, table: str | None) -> None:
    name = full_name(short, database, table)
    assert identify(name) == {"name": short, "database": database, **({} if table is None else {"table": table})}


@pytest.mark.parametrize(
    ("parts", "name", "sql"),
    [
        (("p", "db", "t"), "p ON db.t", "`p` ON `db`.`t`"),
        (("p", "db", None), "p ON db.*", "`p` ON `db`.*"),
        (("p", "db", "*"), "p ON db.`*`", "`p` ON `db`.`*`"),
        (("p 1", "d`b", "2"), "`p 1` ON `d\\`b`.`2`", "`p 1` ON `d\\`b`.`2`"),
    ],
)
def test_names_are_shown_as_clickhouse_does(parts: Any, name: str, sql: str) -> None:
    assert (full_name(*parts), quote(name)) == (name, sql)


@pytest.mark.parametrize("text", ["p", "p ON db", "p ON db.", "p ON db.t, q ON db.t", "p 1 ON db.t", "`p ON db.t"])
def test_no_other_text_is_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="not the name of a row policy"):
        quote(text)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_parser_reads_the_same_name(engine: Engines, version: str) -> None:
    for short, database, table in (("p", "d", "t"), ("p", "d", None), ("p", "d", "*"), ("x` TO ALL", "a.b", "c\\'")):
        sql = quote(full_name(short, database, table))
        told = engine(version).parse(f"DROP ROW POLICY {sql}").removeprefix("DROP ROW POLICY ")
        assert identify(told) == identify(full_name(short, database, table))


# -- filters


@pytest.mark.parametrize("version", VERSIONS)
def test_filters_in_the_engine_s_own_formatting(server: Servers, version: str) -> None:
    spelled = {
        "a=1": "a = 1",
        " a  = 1 -- one": "a = 1",
        "a\r\n=\t1;": "a = 1",
        "a and not b or c::Int8 in(1,2)": "(a AND (NOT b)) OR (CAST(c, 'Int8') IN (1, 2))",
        "b = 'it''s \\\\ -- '": "b = 'it\\'s \\\\ -- '",
        "currentUser()=u": "currentUser() = u",
        "(a=1)": "(a = 1)" if version == "26.9" else "a = 1",
    }
    assert {text: server(version).filters([text])[text] for text in spelled} == spelled


NOT_ONE_EXPRESSION = [
    "a, b", "a AS b", "(a AS b)", "1 FROM t", "1 UNION ALL SELECT 1", "1 SETTINGS max_threads=1", "1 FORMAT JSON",
    "SELECT 1", "1 TO ALL", "1 AS RESTRICTIVE", "1 USING 2", "1, USING 2", "1) OR (1", "'a", "/*", "none", "`none`",
    "DISTINCT a", "1; SELECT 1", "1 ON CLUSTER c", "1\0", "`none` = 1", "NONE",
]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("text", NOT_ONE_EXPRESSION)
def test_what_is_no_filter(server: Servers, version: str, text: str) -> None:
    assert server(version).filters([text])[text] is None
    with pytest.raises(WishError, match=r"filter: .* is not one expression"):
        wish(server(version), filter=text)


# -- statements


def wish(server: Server, **options: Any) -> Any:
    return TYPE.wish({"name": "x", "database": "d", "table": "t", "state": "present", **options}, server)


def there(storage: str = "local_directory", read_only: bool = False, **document: Any) -> Current:
    return Current({**DEFAULTS, **document}, storage, read_only)


def sql(server: Server, options: Options, current: Current | None, target: Target | None = None) -> list[str]:
    change = plan(TYPE, wish(server, **options), {"": current}, target or Target(), server)
    return [statement.sql for statement in change.statements]


ON = "`x` ON `d`.`t`"
STATEMENTS: list[tuple[Options, Current | None, list[str]]] = [
    ({}, None, [f"CREATE ROW POLICY {ON} IN `s 1` ON CLUSTER `c 1`"]),
    (
        {"filter": "a=1", "restrictive": True, "apply_to": {"all": True, "except": ["u"]}},
        None,
        [f"CREATE ROW POLICY {ON} IN `s 1` ON CLUSTER `c 1` AS RESTRICTIVE USING a = 1 TO ALL EXCEPT `u`"],
    ),
    ({"filter": "", "restrictive": False, "apply_to": {}}, there("s 1"), []),
    ({"filter": "a=1"}, there("s 1", filter="a = 1", restrictive=True), []),
    (
        {"filter": "", "restrictive": False, "apply_to": {}},
        there("s 1", filter="a = 1", restrictive=True, apply_to={"all": True}),
        [f"ALTER ROW POLICY {ON} ON CLUSTER `c 1` AS PERMISSIVE USING NONE TO NONE"],
    ),
    ({"filter": "b"}, there("s 1", filter="a"), [f"ALTER ROW POLICY {ON} ON CLUSTER `c 1` USING b"]),
    ({}, there("s 2"), [f"MOVE ROW POLICY {ON} TO `s 1` ON CLUSTER `c 1`"]),
    ({"state": "absent"}, there("s 1"), [f"DROP ROW POLICY {ON} FROM `s 1` ON CLUSTER `c 1`"]),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("options", "current", "statements"), STATEMENTS)
def test_statements_are_what_the_grammar_wants(
    server: Servers, engine: Engines, version: str, options: Options, current: Current | None, statements: list[str]
) -> None:
    """With everything in its place that can stand in one: the parser of each version takes it, clause by clause."""
    made = sql(server(version), {**options, "storage": "s 1"}, current, Target("c 1"))
    assert made == statements
    for statement in made:
        told = engine(version).parse(statement)
        assert "ON CLUSTER `c 1`" in told and (" `s 1`" in told) == ("`s 1`" in statement)
        assert told.replace("restrictive", "RESTRICTIVE").count("RESTRICTIVE") == statement.count("RESTRICTIVE")


def test_policies_share_what_they_have_in_common(server: Servers, engine: Engines) -> None:
    told = [{"table": "t"}, {"table": "u"}, {"table": None}, {"table": "t", "name": "y", "filter": "b"}]
    known = server("26.9")
    changes = [
        plan(TYPE, wish(known, **{"filter": "a", "apply_to": {"all": True}, **options}), {"": None}, Target(), known)
        for options in told
    ]
    statements = ordered(changes, {(change.kind, change.name): (0, 0) for change in changes})
    assert [statement.sql for statement in statements] == [
        "CREATE ROW POLICY `x` ON `d`.`t`, `x` ON `d`.`u`, `x` ON `d`.* USING a TO ALL",
        "CREATE ROW POLICY `y` ON `d`.`t` USING b TO ALL",
    ]
    assert engine("26.9").parse(statements[0].sql) == ("CREATE ROW POLICY x ON d.t, d.u, d.* FOR SELECT USING a TO ALL")


def test_policies_of_the_configuration_stay_as_they_are(server: Servers) -> None:
    known = server("26.9")
    current = there("users_xml", read_only=True, filter="a = 1")
    assert sql(known, {"filter": "a=1"}, current) == []
    for options in ({"filter": "b"}, {"state": "absent"}, {"storage": "disk"}):
        with pytest.raises(WishError, match=r"name: x ON d\.t lives in users_xml, which SQL cannot change"):
            sql(known, options, current)


def test_rows_become_policies(server: Servers) -> None:
    """Of any storage; what users.xml has is formatted, what SQL has is as it is, even where it is no expression."""

    def row(table: str, storage: str, text: str | None) -> Options:
        to = {"apply_to_all": 0, "apply_to_list": [], "apply_to_except": []}
        return {
            "short_name": "p", "database": "d", "table": table, "storage": storage, "select_filter": text,
            "is_restrictive": 1, **to,
        }  # fmt: skip

    tables = {
        "user_directories": [
            {"name": "xml", "type": "users_xml", "precedence": 1},
            {"name": "disk", "type": "local_directory", "precedence": 2},
        ],
        "row_policies": [
            row("t", "xml", " a=1"),
            row("u", "xml", "a ="),
            row("", "disk", None),
            row("v", "disk", "none"),
        ],
    }
    found = row_policy.read(server("26.9"), Rows(tables))
    assert {name: (one.document["filter"], one.read_only) for name, one in found.items()} == {
        "p ON d.t": ("a = 1", True),
        "p ON d.u": ("a =", True),
        "p ON d.*": ("", False),
        "p ON d.v": ("none", False),
    }
    assert all(
        one.document["restrictive"] is True and one.document["apply_to"] == {"none": True} for one in found.values()
    )


def test_a_filter_that_is_there_may_stay(server: Servers) -> None:
    """Though ClickHouse takes it for none when it reads it again: only the policy that has it can keep it."""
    known = server("26.9")
    known.stored_filters = frozenset({"none"})
    try:
        kept, notes = row_policy.settle(known, wish(known, filter="none"), there(filter="none"))
        assert (kept.document, notes) == ({"filter": "none"}, ())
        for current in (None, there(filter="a"), there()):
            with pytest.raises(WishError, match="filter: 'none' is not one expression"):
                row_policy.settle(known, wish(known, filter="none"), current)
    finally:
        known.stored_filters = frozenset()


@pytest.mark.parametrize("options", [{"table": "*"}, {"table": "*", "state": "absent"}])
def test_a_table_called_star_must_be_there(server: Servers, options: Options) -> None:
    wished = wish(server("26.9"), **options)
    with pytest.raises(WishError, match=r"table: .* leave table out"):
        row_policy.settle(server("26.9"), wished, None)
    assert row_policy.settle(server("26.9"), wished, there()) == (wished, ())
