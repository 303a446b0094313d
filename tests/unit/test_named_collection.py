"""Named collections: what the server's own text says of the keys, what changes, and that no value ever shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import access
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import named_collection
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities.named_collection import (
    TYPE,
    Key,
    Keys,
    read_flags,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Current,
    Rows,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan, shown
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError, ident, literal
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server
from tests.sandbox.engine import Engine

Options = dict[str, Any]


class Closed:
    """A session that must not be used: whoever plans has all it needs."""

    def __init__(self, version: str) -> None:
        self.version = version

    def query(self, sql: str, settings: Mapping[str, Any] | None = None) -> NoReturn:
        raise AssertionError(f"planning asked the server: {sql}")


def server(version: str = "26.9.2.1") -> Server:
    return Server(Closed(version))  # type: ignore[arg-type]


def wish(*keys: Options, update_values: str | None = None, name: str = "n") -> Wish:
    options: Options = {"name": name, "update_values": update_values}
    return TYPE.wish({**options, "keys": list(keys)} if keys else options, server())


def there(*keys: Key, flags: bool = True) -> Current:
    return Current({"keys": Keys(keys, flags)})


def statements(wished: Wish, *currents: Current | None, version: str = "26.9.2.1") -> list[str]:
    target = Target("c") if len(currents) > 1 else Target()
    change = plan(TYPE, wished, {str(index): one for index, one in enumerate(currents)}, target, server(version))
    for text in (json.dumps(shown(change.after)), json.dumps(shown(change.before)), repr(change.after)):
        assert "secret" not in text
    assert all("secret" not in statement.shown and "secret" not in repr(statement) for statement in change.statements)
    return [statement.sql for statement in change.statements]


# -- the server's own text --------------------------------------------------------------------------------------------


def test_flags() -> None:
    text = (
        "CREATE NAMED COLLECTION as AS NOT = 'x, y = 1 OVERRIDABLE' NOT OVERRIDABLE, `a-b.c d` = 1000., a.b = NULL"
        " OVERRIDABLE, overridable = -1.5 NOT OVERRIDABLE, `it\\`s``` = 'it\\'s, \\\\' OVERRIDABLE, as = true"
    )
    assert read_flags(text) == {
        "NOT": False,
        "a-b.c d": None,
        "a.b": True,
        "overridable": False,
        "it`s`": True,
        "as": None,
    }
    assert read_flags(text.replace("COLLECTION as", "COLLECTION IF NOT EXISTS as")) == read_flags(text)
    assert read_flags("") == {}


texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)
key_names = st.one_of(texts, st.sampled_from(["a.b", "AS", "NOT", "OVERRIDABLE", "a = 'x' OVERRIDABLE, b", "1"]))
literals = st.one_of(texts.map(literal), st.sampled_from(["1", "-1.5", "1e3", "true", "NULL", "0x10", "''"]))


@pytest.mark.parametrize("version", ["26.9", "25.8"])
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_flags_in_the_formatting_of_the_engine(engine: Callable[[str], Engine], version: str, data: Any) -> None:
    """Whatever keys and values there are."""
    wished = data.draw(
        st.dictionaries(
            key_names.filter(lambda name: "" not in name.split(".")),
            st.tuples(literals, st.sampled_from([None, True, False])),
            min_size=1,
            max_size=5,
        )
    )
    words = {None: "", True: " OVERRIDABLE", False: " NOT OVERRIDABLE"}
    pairs = ", ".join(f"{ident(name)} = {value}{words[flag]}" for name, (value, flag) in wished.items())
    text = engine(version).parse(f"CREATE NAMED COLLECTION {ident(data.draw(texts))} AS {pairs}")
    assert read_flags(text) == {name: flag for name, (_value, flag) in wished.items()}


def test_rows() -> None:
    """With the columns of 25.5, and without; a text that does not fit tells nothing about flags."""
    row: Options = {"name": "n", "collection": {"b": "secret", "a": "[HIDDEN]"}}
    text = "CREATE NAMED COLLECTION n AS a = '[HIDDEN]' OVERRIDABLE, b = 'secret'"
    rows = [row, {**row, "source": "SQL", "create_query": text}, {**row, "source": "CONFIG", "create_query": ""}]
    rows.append({**row, "create_query": "something else"})
    found = [TYPE.read(server(), Rows({"named_collections": [one]}))["n"] for one in rows]
    assert [one.document["keys"].flags for one in found] == [False, True, False, False]
    assert found[1].document["keys"].keys == (Key("a", None, True), Key("b", "secret"))
    assert [one.read_only for one in found] == [False, False, True, False]


# -- what changes ------------------------------------------------------------------------------------------------------


def test_replicas_that_differ() -> None:
    """One lacks the collection, one has another key: each statement does no harm where it is not needed."""
    wished = wish({"name": "a", "value": "secret a"}, {"name": "b", "overridable": False, "value": "secret b"})
    create = (
        "CREATE NAMED COLLECTION IF NOT EXISTS `n` ON CLUSTER `c` AS `a` = 'secret a', `b` = 'secret b' NOT OVERRIDABLE"
    )
    old = there(Key("a", "secret a"), Key("old", "secret old"))
    alter = "ALTER NAMED COLLECTION `n` ON CLUSTER `c` SET `b` = 'secret b' NOT OVERRIDABLE, `old` = '' DELETE `old`"
    assert statements(wished, None, old) == [create, alter]
    assert statements(wished, old, None) == [create, alter]  # ALTER would fail where there is none
    same = there(Key("a", "secret a"), Key("b", "secret b", False))
    assert statements(wished, same, None) == [create]
    assert statements(wished, same, same) == []


def test_a_replica_without_the_collection_and_values_that_do_not_show() -> None:
    """What is wished is made there; what would have to be kept is refused by its option."""
    hidden = there(Key("a"), Key("b", None, True))
    wished = wish({"name": "a", "value": "secret a"}, {"name": "b", "value": "secret b"})
    assert statements(wished, hidden, None) == [
        "CREATE NAMED COLLECTION IF NOT EXISTS `n` ON CLUSTER `c` AS `a` = 'secret a', `b` = 'secret b' OVERRIDABLE"
    ]
    with pytest.raises(WishError, match=r"keys\[1\]: a replica lacks"):
        statements(wish({"name": "a", "value": "secret a"}, {"name": "b"}), hidden, None)
    with pytest.raises(WishError, match=r"keys: a replica lacks"):
        statements(wish(), hidden, None)
    seen = there(Key("a", "secret a"))
    assert statements(wish({"name": "a"}), seen, None) == [
        "CREATE NAMED COLLECTION IF NOT EXISTS `n` ON CLUSTER `c` AS `a` = 'secret a'"
    ]
    with pytest.raises(WishError, match=r"keys\[0\].value: there is no stored value"):
        statements(wish({"name": "a"}, {"name": "b", "value": "secret b"}), seen, there(Key("b", "secret b")))


@pytest.mark.parametrize(
    ("had", "wanted", "mode", "sets"),
    [
        (Key("a", "secret"), {"value": "secret"}, "on_drift", ""),
        (Key("a", "secret"), {"value": "secret 2"}, "on_drift", "'secret 2'"),
        (Key("a", "secret"), {"value": "secret 2"}, "on_create", ""),
        (Key("a", "secret"), {"value": "secret"}, "always", "'secret'"),
        (Key("a", "secret"), {}, "always", ""),
        (Key("a"), {"value": "secret"}, "on_drift", ""),
        (Key("a"), {"value": "secret"}, "always", "'secret'"),
        (Key("a", "secret"), {"overridable": True}, "on_drift", "'secret' OVERRIDABLE"),
        (Key("a", "secret", True), {"overridable": True}, "on_drift", ""),
        (Key("a", "secret", True), {}, "on_drift", ""),
        (Key("a", "secret", True), {"value": "secret 2"}, "on_drift", "'secret 2' OVERRIDABLE"),
        (
            Key("a", "secret", True),
            {"value": "secret 2", "overridable": False},
            "on_create",
            "'secret' NOT OVERRIDABLE",
        ),
        (Key("a"), {"value": "secret", "overridable": False}, "on_drift", "'secret' NOT OVERRIDABLE"),
        (Key("a"), {"overridable": False}, "on_drift", None),
        (Key("a"), {"value": "secret", "overridable": False}, "on_create", None),
    ],
)
def test_when_a_key_is_set(had: Key, wanted: Options, mode: str, sets: str | None) -> None:
    wished = wish({"name": "a", **wanted}, update_values=mode)
    if sets is None:
        with pytest.raises(WishError, match=r"keys\[0\].overridable: ClickHouse sets it only together with a value"):
            statements(wished, there(had))
        return
    assert statements(wished, there(had)) == ([f"ALTER NAMED COLLECTION `n` SET `a` = {sets}"] if sets else [])


def test_flags_that_do_not_show() -> None:
    """They are set with a value that is set, and are otherwise no change."""
    had = there(Key("a", "secret"), flags=False)
    assert statements(wish({"name": "a", "overridable": True}), had) == []
    assert statements(wish({"name": "a", "value": "secret 2", "overridable": True}), had) == [
        "ALTER NAMED COLLECTION `n` SET `a` = 'secret 2' OVERRIDABLE"
    ]
    assert TYPE.export(had.document) == {"keys": [{"name": "a"}]}


def test_always_is_a_change_even_where_the_value_is_the_same() -> None:
    document = TYPE.after(
        there(Key("a", "secret")).document, wish({"name": "a", "value": "secret"}, update_values="always"), server()
    )
    assert document["keys"].describe() == [{"name": "a", "value": "[HIDDEN] (new)"}]


@pytest.mark.parametrize("had", ["a", "a.b.c"])
def test_a_key_cannot_take_the_place_of_one_it_lies_inside(had: str) -> None:
    """24.8 and 25.8 lose the new value then."""
    with pytest.raises(WishError, match="drop it first"):
        statements(wish({"name": "a.b", "value": "secret"}), there(Key(had, "secret old")))


@pytest.mark.parametrize(
    ("version", "name", "taken"),
    [
        ("24.8.4.1", "plain_1", True),
        ("24.8.4.1", "not plain", False),
        ("24.8.8.17", "not plain", True),
        ("24.10.4.1", "not-plain", False),
        ("24.11.1.1", "not plain", True),
        ("26.9.2.1", "ünïcode", True),
        ("24.3.5.1", "ünïcode", False),
    ],
)
def test_names_with_which_a_server_does_not_start_again(version: str, name: str, taken: bool) -> None:
    """Refused for a new collection; one that is there is the operator's."""
    wished = wish({"name": "a", "value": "secret"}, name=name)
    if taken:
        assert statements(wished, None, version=version)
    else:
        with pytest.raises(WishError, match="would not start again"):
            statements(wished, None, version=version)
    assert statements(wished, there(Key("a", "secret old")), version=version)


def test_replicated_access_storage_carries_no_collections() -> None:
    """So ON CLUSTER stays."""
    rows = Rows({"user_directories": [{"name": "replicated", "type": "replicated"}]})
    for kind, cluster in (("named_collection", "c"), ("database", "c"), ("role", None)):
        assert access.cluster_of("c", rows, Wish(kind, "n"), None) == cluster


def test_nothing_shows_a_value() -> None:
    keys = Keys((Key("a", "secret", new=True), Key("b", "secret"), Key("c")), flags=True)
    assert "secret" not in repr(keys) + json.dumps(keys.describe()) + json.dumps(keys.export())
    wished = wish({"name": "a", "value": "secret"})
    assert "secret" not in repr(wished)
    assert named_collection.OPTIONS["keys"]["options"]["value"]["no_log"] is True
