"""The engine by itself: parsing on every version, errors, and text that is passed through byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox import sql_text
from tests.sandbox.engine import VERSIONS, Engine, EngineError, string_literal


@pytest.fixture(scope="module", params=VERSIONS)
def parser(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The engine of each version."""
    with Engine(request.param) as running:
        yield running


def test_parse(parser: Engine) -> None:
    assert parser.rows("SELECT version() AS v")[0]["v"].startswith(parser.version)
    assert (
        parser.parse("create user `a b`, c  identified by 'x''y' host any")
        == "CREATE USER `a b`, c IDENTIFIED BY 'x\\'y' HOST ANY"
    )
    assert parser.parse("grant select(a,b), insert on d.t to u with grant option") == (
        "GRANT SELECT(a, b), INSERT ON d.t TO u WITH GRANT OPTION"
    )
    for text in ("create usr x", "select 1; select 2", "", "-- nothing"):
        with pytest.raises(EngineError) as caught:
            parser.parse(text)
        assert caught.value.code == 62
        assert "formatQuery" not in caught.value.message


def test_errors_have_code_name_and_message(parser: Engine) -> None:
    with pytest.raises(EngineError) as caught:
        parser.query("SELECT 1 FORMAT Nosuch")
    assert (caught.value.code, caught.value.name) == (73, "UNKNOWN_FORMAT")
    assert caught.value.message == "Unknown format Nosuch."


@pytest.mark.parametrize("text", ["a'b", "\\", "a\nb\0c", "é😀", "--", "*/", '`"', "\x7f\x01", "x" * 10_000])
def test_literals_come_back(parser: Engine, text: str) -> None:
    assert parser.query(f"SELECT {string_literal(text)}", "RawBLOB").decode() == text


def test_statements_are_read_right() -> None:
    def tables(text: str, in_system: bool = False) -> list[str]:
        return [
            name
            for _other, _other, name in sql_text.system_tables(
                sql_text.read(text), frozenset(("users", "roles")), in_system
            )
        ]

    assert tables('SELECT * FROM system.users, `system`."roles"') == ["users", "roles"]
    assert (
        tables("SELECT 'system.users' -- system.users\n/* system.users */ FROM other.system.users, system.users2") == []
    )
    assert tables("SELECT users FROM t") == []
    assert tables("SELECT users FROM users JOIN roles USING name", in_system=True) == ["users", "roles"]
    values = {"currentuser": "'u'"}
    text = "SELECT currentUser ( ), 'currentUser()', t.currentUser(), currentUser(1)"
    changed = sql_text.splice(text, sql_text.with_functions(text, sql_text.read(text), values))
    assert changed == "SELECT ('u' AS `currentUser()`), 'currentUser()', t.currentUser(), currentUser(1)"
    assert sql_text.read("SELECT ';' ; ").second_at is None
    assert sql_text.read("SELECT 1 ; x").second_at == 9
    insert = "INSERT INTO t (a) FORMAT TSV \n;\n\n1; DROP"
    statement = sql_text.read(insert)
    assert statement.second_at is None
    assert statement.insert == (18, 30)
    assert statement.format == "TSV"
    assert sql_text.read("INSERT INTO t SELECT 1 FORMAT Null").insert is None
    assert sql_text.with_parameters(
        "CREATE USER {u:Identifier} IDENTIFIED BY {p:String} -- {x:String}", {"u": "a`b", "p": "c'\\"}.__getitem__
    ) == ("CREATE USER `a\\`b` IDENTIFIED BY 'c\\'\\\\' -- {x:String}")
    assert sql_text.on_cluster(sql_text.read("DROP USER a ON CLUSTER 'c d'")) == (12, 28, "c d")
