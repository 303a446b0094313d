"""SQL text: quoting, secrets kept apart, and texts that cannot travel."""

from __future__ import annotations

import re

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    Secret,
    Statement,
    WishError,
    check_name,
    check_text,
    ident,
    idents,
    literal,
    literals,
    statement,
    unquote,
)

TEXTS = {
    "plain": ("`plain`", "'plain'"),
    "it's": ("`it's`", r"'it\'s'"),
    "a`b": (r"`a\`b`", "'a`b'"),
    "a\\b": (r"`a\\b`", r"'a\\b'"),
    "\\'": (r"`\\'`", r"'\\\''"),
    "a\nb\tc\0d\re\bf\fg": (r"`a\nb\tc\0d\re\bf\fg`", r"'a\nb\tc\0d\re\bf\fg'"),
    "100%s {x:y} é😀": ("`100%s {x:y} é😀`", "'100%s {x:y} é😀'"),
    "": ("``", "''"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_quoting_and_back(text: str) -> None:
    assert (ident(text), literal(text)) == TEXTS[text]
    assert unquote(ident(text)) == unquote(literal(text)) == text


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("'a''b'", "a'b"),
        ("`a``b`", "a`b"),
        ('"a""b"', 'a"b'),
        (r"'\x41\'\"\`\/\='", "A'\"`/="),
        (r"'\a\e\v\N'", "\a\x1b\v"),
        (r"'a\_b\%\d'", r"a\_b\%\d"),  # an unknown escape keeps its backslash: LIKE and regular expressions live on it
    ],
)
def test_every_spelling_of_a_quoted_text_is_read(token: str, text: str) -> None:
    assert unquote(token) == text


def test_lists_are_quoted_one_by_one() -> None:
    assert idents(["a, b", "c"]) == "`a, b`, `c`"
    assert literals(["a', 'b", "c"]) == r"'a\', \'b', 'c'"
    assert idents([]) == literals([]) == ""


def test_a_statement_joins_what_says_something_and_shows_no_secret() -> None:
    made = statement(
        "CREATE USER `u`", None, "", ("IDENTIFIED WITH x BY ", Secret("p'w"), " SALT ", Secret("s")), "HOST ANY"
    )
    assert made.sql == r"CREATE USER `u` IDENTIFIED WITH x BY 'p\'w' SALT 's' HOST ANY"
    assert made.shown == "CREATE USER `u` IDENTIFIED WITH x BY '[HIDDEN]' SALT '[HIDDEN]' HOST ANY"
    assert "p'w" not in repr(made)
    assert statement() == Statement(())


def test_a_lone_surrogate_is_refused_and_names_its_option() -> None:
    with pytest.raises(
        WishError, match=re.escape("settings[1].value: character 2 of 'ab\\udc80c' is not valid")
    ) as caught:
        check_text("settings[1].value", "ab\udc80c")
    assert caught.value.option == "settings[1].value"
    assert check_text("x", "é😀\0\n") == "é😀\0\n"


def test_the_error_about_a_secret_does_not_show_it() -> None:
    with pytest.raises(WishError) as caught:
        check_text("authentication[0].password", "hunter2\udc80", secret=True)
    assert "hunter2" not in str(caught.value)
    assert "authentication[0].password: character 7" in str(caught.value)


def test_a_name_is_not_empty() -> None:
    with pytest.raises(WishError, match="name: a name cannot be empty"):
        check_name("name", "")
    with pytest.raises(WishError, match="not valid Unicode"):
        check_name("name", "\ud800")
    assert check_name("name", " ") == " "
