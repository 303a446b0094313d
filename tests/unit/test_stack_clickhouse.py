"""stack_clickhouse: what its module decides without ClickHouse. The real one is in tests/integration."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_clickhouse import judge, tree


def test_elements_know_their_lines() -> None:
    root = tree.parse("config.d/a.xml", "<clickhouse>\n  <a>\n    <b>1</b>\n  </a>\n</clickhouse>")
    assert [node.place for node in root.walk()] == ["config.d/a.xml:1", "config.d/a.xml:2", "config.d/a.xml:3"]


def test_text_is_without_the_space_around_it_and_entities_are_text() -> None:
    root = tree.parse("a.xml", "<clickhouse><a>\n  x &amp; <!-- y --> &lt;z  \n</a></clickhouse>")
    assert root.value("a") == "x &  <z"


@pytest.mark.parametrize("name", tree.ROOTS)
def test_both_names_of_the_root_are_read(name: str) -> None:
    assert tree.parse("a.xml", f"<{name}><a>1</a></{name}>").value("a") == "1"


def test_merging_leaves_the_files_as_they_are() -> None:
    first = tree.parse("a.xml", "<clickhouse><a><b>1</b></a></clickhouse>")
    second = tree.parse("b.xml", "<clickhouse><a><b>2</b></a></clickhouse>")
    assert tree.merge({"b.xml": second, "a.xml": first}).value("a", "b") == "2"
    assert (first.value("a", "b"), second.value("a", "b")) == ("1", "2")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=a)",
        r"(?!a)",
        r"(?<=a)",
        r"(?<!a)",
        r"(a)\1",
        r"(?>a)",
        r"\\\1",
        r"(?P<n>a)(?P=n)",
        "[[:digit:]]",
        "(",
        "a**",
    ],
)
def test_patterns_that_re2_has_not_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        judge.expression(pattern)


@pytest.mark.parametrize(
    "pattern", [".{16}", r"(?i)(a|b)+", r"\\1", r"\d{2,}[a^]?", r"(?P<name>a)", r"(?:a)\.", r"\\\\2"]
)
def test_patterns_that_both_have_are_taken(pattern: str) -> None:
    assert isinstance(judge.expression(pattern), re.Pattern)


@given(st.binary(min_size=1, max_size=64), st.sampled_from([16, 24, 32]))
def test_a_key_is_right_if_it_has_as_many_bytes_as_the_algorithm_wants(key: bytes, size: int) -> None:
    wrong = judge.wrong_key("key", key.hex(), size)
    assert (wrong == "") == (len(key) == size)
    assert key.hex() not in wrong or len(key) < 3


def test_hashes_are_not_shown() -> None:
    shown = judge.without_hashes(
        "<a><password_sha256_hex>AB12</password_sha256_hex><password x='1'>pw</password><b>AB</b></a>"
    )
    assert "AB12" not in shown and "pw<" not in shown and "<b>AB</b>" in shown


def test_without_a_program_settings_are_not_judged() -> None:
    nothing = tree.merge({})
    users = tree.merge({"a": tree.parse("a", "<clickhouse><profiles><d><nope>1</nope></d></profiles></clickhouse>")})
    assert judge.problems(nothing, users, judge.Known()) == []
    assert len(judge.problems(nothing, users, judge.Known("25.8.2.1"))) == 1


@pytest.mark.parametrize(
    ("version", "refused"), [("", False), ("24.8.4.1", True), ("24.12.1.1", False), ("25.8.2.1", False)]
)
def test_versions_that_cannot_encrypt_named_collections(version: str, refused: bool) -> None:
    section = "<named_collections_storage><type>local_encrypted</type></named_collections_storage>"
    config = tree.merge({"a": tree.parse("a", f"<clickhouse>{section}</clickhouse>")})
    assert bool(judge.problems(config, tree.merge({}), judge.Known(version))) is refused


def test_only_files_of_ours_go() -> None:
    present = ["config.d/hardened-a.xml", "config.d/hardened-b.xml", "config.d/site.xml", "users.d/zz-hardened-c.xml"]
    assert judge.stale(present, ["config.d/hardened-a.xml"], "hardened-") == ["config.d/hardened-b.xml"]
