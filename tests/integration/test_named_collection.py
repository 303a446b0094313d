"""Named collections: keys, what a query may override, values that never show; and what is not shown is not guessed.

On a server that shows values to its administrator, asked by one who sees them (`sees`) and one who does not (`blind`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import Login, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import named_collection
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Target
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Question, Server
from tests.integration.servers import administrator, on_newest, root
from tests.integration.test_user import HOSTILE
from tests.sandbox import Fault, FaultProxy, Sandbox, start
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]
Version = tuple[int, int]

pytestmark = pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="needs servers that show secrets")

FLAGS = (25, 5)
"""Since when a server says which keys can be overridden."""
ADMIN = "NAMED COLLECTION ADMIN ON *"
SHOWS = "GRANT displaySecretsInShowAndSelect ON *.* TO {}"


@pytest.fixture(scope="session")
def showing(clickhouse: Any) -> Iterator[Sandbox]:
    """A server that shows secrets to who may see them."""
    with start(clickhouse.version, tls=True, display_secrets=True) as running:
        yield running


def to(server: Any, **login: Any) -> Options:
    """The login options for a server."""
    return {"login_host": "localhost", "login_port": server.https_port, "login_ca_cert": server.ca, **login}


@pytest.fixture(scope="session")
def sees(showing: Sandbox) -> Options:
    """One who sees values: the shipped `default`."""
    return to(showing)


@pytest.fixture(scope="session")
def blind(showing: Sandbox) -> Options:
    """One who does not."""
    grants = (f"GRANT {ADMIN} TO {{}}", "GRANT SELECT ON system.* TO {}", SHOWS)
    hide = "REVOKE SHOW NAMED COLLECTIONS SECRETS ON * FROM {}"
    return to(showing, **administrator(showing, "nc_blind", *grants, hide))


@pytest.fixture
def eyes(request: pytest.FixtureRequest) -> Options:
    """The login of either, by name."""
    login: Options = request.getfixturevalue(request.param)
    return login


both = pytest.mark.parametrize("eyes", ["sees", "blind"], indirect=True)


class World:
    """The server as its administrator sees it, and a collection."""

    name = "nc_one"

    def __init__(self, server: Any) -> None:
        self.admin = root(server)

    def sql(self, text: str) -> None:
        """Run a statement."""
        self.admin.query(text)

    def make(self, pairs: str, name: str = name) -> str:
        """Make a collection behind the module's back."""
        self.drop(name)
        self.sql(f"CREATE NAMED COLLECTION {ident(name)} AS {pairs}")
        return name

    def drop(self, name: str = name) -> None:
        """Drop a collection."""
        self.sql(f"DROP NAMED COLLECTION IF EXISTS {ident(name)}")

    def row(self, name: str = name) -> dict[str, Any] | None:
        """What the table says, with values."""
        text = self.admin.query(
            f"SELECT * FROM system.named_collections WHERE name = {literal(name)} FORMAT JSONEachRow",
            format_display_secrets_in_show_and_select="1",
        )
        return json.loads(text) if text else None

    def values(self, name: str = name) -> dict[str, str] | None:
        """Keys and values."""
        row = self.row(name)
        return row["collection"] if row else None


@pytest.fixture
def world(showing: Sandbox) -> Iterator[World]:
    """A server without the collection."""
    found = World(showing)
    found.drop()
    yield found
    found.drop()


def keys(**values: Any) -> list[Options]:
    """The option `keys`: a value, or a value and a flag."""
    entries: list[Options] = []
    for name, given_value in values.items():
        value, overridable = given_value if isinstance(given_value, tuple) else (given_value, None)
        entries.append({"name": name})
        if value is not None:
            entries[-1]["value"] = value
        if overridable is not None:
            entries[-1]["overridable"] = overridable
    return entries


def clean(result: Options) -> str:
    """A result as text: in it, nothing had to be masked by Ansible, so that no secret was there at all."""
    text = json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert "****" not in text and "NO_LOG" not in text
    return text


# -- coming, changing, going ------------------------------------------------------------------------------------------


@both
def test_a_collection_comes_changes_and_goes(
    converges: Module, module: Module, world: World, version: Version, eyes: Options
) -> None:
    """Omitted keys are left alone, keys that are not listed are deleted, keys without a value keep theirs."""
    wished = keys(url=("https://first.example", False), user="first user", token=("first secret", True))
    made = converges("named_collection", {"name": world.name, "keys": wished}, **eyes)
    assert made["statements"] == [
        "CREATE NAMED COLLECTION `nc_one` AS `token` = '[HIDDEN]' OVERRIDABLE, `url` = '[HIDDEN]' NOT OVERRIDABLE,"
        " `user` = '[HIDDEN]'"
    ]
    flags = version >= FLAGS
    new = "[HIDDEN] (new)"
    assert made["entity"]["keys"] == [
        {"name": "token", "value": new, **({"overridable": True} if flags else {})},
        {"name": "url", "value": new, **({"overridable": False} if flags else {})},
        {"name": "user", "value": new},
    ]
    assert made["diff"]["before"] == {} and made["values_state"] == "different"
    assert world.values() == {"token": "first secret", "url": "https://first.example", "user": "first user"}
    left = module("named_collection", {"name": world.name}, **eyes)
    assert (left["changed"], left["values_state"]) == (False, "none")
    less = keys(user=None, token=None, region="somewhere")
    changed = converges("named_collection", {"name": world.name, "keys": less}, **eyes)
    assert changed["statements"] == ["ALTER NAMED COLLECTION `nc_one` SET `region` = '[HIDDEN]' DELETE `url`"]
    assert [key["value"] for key in changed["diff"]["before"]["keys"]] == ["[HIDDEN]"] * 3
    assert [key["value"] for key in changed["diff"]["after"]["keys"]] == [new, "[HIDDEN]", "[HIDDEN]"]
    assert world.values() == {"token": "first secret", "region": "somewhere", "user": "first user"}
    for result in (made, changed):
        clean(result)
    gone = converges("named_collection", {"name": world.name, "state": "absent"}, **eyes)
    assert gone["statements"] == ["DROP NAMED COLLECTION `nc_one`"] and gone["entity"] == {}
    assert world.row() is None


@both
def test_only_deleting(converges: Module, world: World, eyes: Options) -> None:
    """A statement without SET."""
    world.make("a = 'first', b = 'second'")
    gone = converges("named_collection", {"name": world.name, "keys": keys(b=None)}, **eyes)
    assert gone["statements"] == ["ALTER NAMED COLLECTION `nc_one` DELETE `a`"] and world.values() == {"b": "second"}


def test_another_spelling_is_no_change(module: Module, world: World, sees: Options) -> None:
    """Literals that are not text are stored as ClickHouse writes them; the order of keys means nothing."""
    world.make("a = 3, b = 1.50, c = true, d = 0x10, e = -1, f = 'text'")
    wished = keys(f="text", e="-1", d="16", c="true", b="1.5", a="3")
    same = module("named_collection", {"name": world.name, "keys": wished}, **sees)
    assert (same["changed"], same["values_state"]) == (False, "same")


# -- values -----------------------------------------------------------------------------------------------------------


def test_values_that_show_are_compared(converges: Module, module: Module, world: World, sees: Options) -> None:
    """Found the same, or found to differ and set again, and only the one that differs."""
    options = {"name": world.name, "keys": keys(a="wished a", b="wished b")}
    converges("named_collection", options, **sees)
    assert module("named_collection", options, **sees)["values_state"] == "same"
    world.sql("ALTER NAMED COLLECTION nc_one SET b = 'drifted'")
    assert not module("named_collection", {**options, "update_values": "on_create"}, **sees)["changed"]
    assert world.values() == {"a": "wished a", "b": "drifted"}
    mended = converges("named_collection", options, **sees)
    assert mended["statements"] == ["ALTER NAMED COLLECTION `nc_one` SET `b` = '[HIDDEN]'"]
    assert mended["values_state"] == "different" and world.values() == {"a": "wished a", "b": "wished b"}
    assert "drifted" not in clean(mended)


def test_values_that_do_not_show_are_unknown(converges: Module, module: Module, world: World, blind: Options) -> None:
    """A warning that names the keys, and never a change; a new key is set all the same, and only that one."""
    options: Options = {"name": world.name, "keys": keys(a="wished a", b=None)}
    for stored in ("wished a", "drifted"):
        world.make(f"a = '{stored}', b = 'kept b'")
        for check in (True, False):
            result = module("named_collection", options, check=check, **blind)
            assert (result["changed"], result["values_state"]) == (False, "unknown")
            warning = json.dumps(result["warnings"])
            assert "stored values of a are" in warning and "update_values: always" in warning
            assert stored not in clean(result)
    more = converges("named_collection", {**options, "keys": keys(a="wished a", b=None, c="new c")}, **blind)
    assert more["statements"] == ["ALTER NAMED COLLECTION `nc_one` SET `c` = '[HIDDEN]'"]
    assert more["values_state"] == "unknown" and world.values() == {"a": "drifted", "b": "kept b", "c": "new c"}
    quiet = module(
        "named_collection", {**options, "update_values": "on_create", "keys": keys(a="x", b=None, c="y")}, **blind
    )
    assert (quiet["changed"], quiet["values_state"], quiet.get("warnings", [])) == (False, "none", [])


@both
def test_update_values_always(module: Module, world: World, eyes: Options) -> None:
    """Set on every run, which says so; keys without a value keep theirs."""
    world.make("a = 'stored a', b = 'stored b'")
    options = {"name": world.name, "keys": keys(a="wished a", b=None), "update_values": "always"}
    for _run in range(2):
        result = module("named_collection", options, **eyes)
        assert (result["changed"], result["values_state"]) == (True, "different")
        assert result["statements"] == ["ALTER NAMED COLLECTION `nc_one` SET `a` = '[HIDDEN]'"]
    assert world.values() == {"a": "wished a", "b": "stored b"}


# -- overridable ------------------------------------------------------------------------------------------------------


@both
def test_what_can_be_overridden(
    converges: Module, module: Module, world: World, version: Version, eyes: Options
) -> None:
    """Seen to differ where the server says it, unknown where it does not; omitted is left alone."""
    world.make("a = 'stored a', b = 'stored b' NOT OVERRIDABLE, c = 'stored c' OVERRIDABLE")
    assert not module("named_collection", {"name": world.name, "keys": keys(a=None, b=None, c=None)}, **eyes)["changed"]
    wished = {
        "name": world.name,
        "keys": keys(a=("stored a", False), b=("stored b", True), c=("stored c", True)),
    }
    if version < FLAGS:
        result = module("named_collection", wished, **eyes)
        assert result["changed"] is False
        assert "whether a, b, c can be overridden cannot be known" in json.dumps(result["warnings"])
        assert module("named_collection", {**wished, "update_values": "always"}, **eyes)["statements"] == [
            "ALTER NAMED COLLECTION `nc_one` SET `a` = '[HIDDEN]' NOT OVERRIDABLE, `b` = '[HIDDEN]' OVERRIDABLE,"
            " `c` = '[HIDDEN]' OVERRIDABLE"
        ]
        return
    changed = converges("named_collection", wished, **eyes)
    assert changed["statements"] == [
        "ALTER NAMED COLLECTION `nc_one` SET `a` = '[HIDDEN]' NOT OVERRIDABLE, `b` = '[HIDDEN]' OVERRIDABLE"
    ]
    assert [key.get("overridable") for key in changed["diff"]["before"]["keys"]] == [None, False, True]
    assert [key.get("overridable") for key in changed["diff"]["after"]["keys"]] == [False, True, True]
    row = world.row()
    assert row is not None and row["create_query"] == (
        "CREATE NAMED COLLECTION nc_one AS a = 'stored a' NOT OVERRIDABLE, b = 'stored b' OVERRIDABLE,"
        " c = 'stored c' OVERRIDABLE"
    )


def test_a_flag_alone(
    converges: Module, failed: Module, world: World, version: Version, sees: Options, blind: Options
) -> None:
    """ClickHouse sets it only with a value: the stored one is sent again where it shows, else a value is needed."""
    if version < FLAGS:
        pytest.skip("this server does not say what can be overridden")
    for update in ("on_drift", "on_create"):
        world.make("a = 'stored a', b = 'stored b'")
        options = {"name": world.name, "keys": keys(a=(None, True), b=None), "update_values": update}
        refused = failed("named_collection", options, **blind)
        assert refused["option"] == "keys[0].overridable" and "only together with a value" in refused["msg"]
        changed = converges("named_collection", options, **sees)
        assert [key["value"] for key in changed["diff"]["after"]["keys"]] == ["[HIDDEN]"] * 2
        assert world.values() == {"a": "stored a", "b": "stored b"}
    options = {"name": world.name, "keys": keys(a=("another", False), b=None), "update_values": "on_create"}
    assert "on_create" in failed("named_collection", options, **blind)["msg"]
    converges("named_collection", options, **sees)
    assert world.values() == {"a": "stored a", "b": "stored b"}


def test_new_values_bring_their_flags(converges: Module, world: World, version: Version, sees: Options) -> None:
    """In one statement; a flag that is not wished stays when its value changes."""
    world.make("a = 'stored a' NOT OVERRIDABLE, b = 'stored b'")
    options = {"name": world.name, "keys": keys(a="another a", b=("another b", False))}
    changed = converges("named_collection", options, **sees)
    known = " NOT OVERRIDABLE" if version >= FLAGS else ""
    assert changed["statements"] == [
        f"ALTER NAMED COLLECTION `nc_one` SET `a` = '[HIDDEN]'{known}, `b` = '[HIDDEN]' NOT OVERRIDABLE"
    ]
    if known:
        assert [key.get("overridable") for key in changed["entity"]["keys"]] == [False, False]


# -- any text ---------------------------------------------------------------------------------------------------------


VALUES = {name: text for name, text in HOSTILE.items() if text != " "}
"""A blank as a secret hides every blank in what Ansible returns."""


@pytest.mark.parametrize("text", VALUES.values(), ids=VALUES)
def test_any_text_is_a_value(converges: Module, module: Module, world: World, sees: Options, text: str) -> None:
    """Kept to the letter, and seen to be the same."""
    options = {"name": world.name, "keys": keys(a=text, b="")}
    converges("named_collection", options, **sees)
    assert world.values() == {"a": text, "b": ""}
    assert module("named_collection", options, **sees)["values_state"] == "same"


KEYS = {name: text for name, text in HOSTILE.items() if len(text) < 100} | {
    "dots": "a.b-c.d e",
    "equals": "a = 'x' OVERRIDABLE, b",
    "number": "1",
    "flag": "OVERRIDABLE",
    "AS": "AS",
    "all signs": "".join(chr(code) for code in range(1, 128) if chr(code) not in "[."),
}


@pytest.mark.parametrize("text", KEYS.values(), ids=KEYS)
def test_any_text_is_a_key(converges: Module, world: World, sees: Options, text: str) -> None:
    """Kept to the letter, with its flag; changed and deleted by its name."""
    value = "it's = 'x' NOT OVERRIDABLE, y = `"
    options = {"name": world.name, "keys": [{"name": text, "value": value, "overridable": True}, *keys(zz="other")]}
    converges("named_collection", options, **sees)
    assert world.values() == {text: value, "zz": "other"}
    options["keys"][0] = {"name": text, "value": "next", "overridable": False}
    converges("named_collection", options, **sees)
    assert world.values() == {text: "next", "zz": "other"}
    converges("named_collection", {"name": world.name, "keys": keys(zz=None)}, **sees)
    assert world.values() == {"zz": "other"}


NAMES = {name: text for name, text in HOSTILE.items() if len(text) < 100} | {
    "AS": "AS",
    "path": "a/../b",
    "escaped": "%20",
    "clause": "n IF NOT EXISTS AS x = 'y' OVERRIDABLE",
    "plain": "Plain_1",
}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_any_text_is_a_name(
    converges: Module, failed: Module, world: World, version: Version, sees: Options, text: str
) -> None:
    """Except where the server would not start again with it, which ends in an error before anything is done."""
    world.drop(text)
    options = {"name": text, "keys": keys(a=("value one", False))}
    if version == (24, 8) and not re.fullmatch(r"\w+", text):
        refused = failed("named_collection", options, **sees)
        assert refused["option"] == "name" and "would not start again" in refused["msg"] and world.row(text) is None
        assert not converges("named_collection", {"name": text, "state": "absent"}, changed=False, **sees)["statements"]
        return
    converges("named_collection", options, **sees)
    converges("named_collection", {"name": text, "keys": keys(a=("value two", True))}, **sees)
    assert world.values(text) == {"a": "value two"}
    converges("named_collection", {"name": text, "state": "absent"}, **sees)
    assert world.row(text) is None


def test_the_server_starts_again(converges: Module, module: Module, clickhouse: Any) -> None:
    """With all that the module makes: names, keys, values and flags are what they were."""
    with start(clickhouse.version, tls=True, display_secrets=True) as server:
        odd = [{"name": text, "value": f"value {text}", "overridable": bool(len(text) % 2)} for text in KEYS.values()]
        all_names = [text for text in NAMES.values() if clickhouse.version != "24.8" or re.fullmatch(r"\w+", text)]
        for name in all_names:
            converges("named_collection", {"name": name, "keys": odd}, **to(server))
        server.restart()
        for name in all_names:
            again = module("named_collection", {"name": name, "keys": odd}, **to(server))
            assert (again["changed"], again["values_state"]) == (False, "same")


# -- clusters, configuration, many at once ----------------------------------------------------------------------------


def test_on_cluster(module: Module, failed: Module, world: World, sees: Options) -> None:
    """Every statement carries ON CLUSTER where the grammar wants it; keys go even where a replica lacks them."""
    clusters = world.admin.lines("SELECT DISTINCT cluster FROM system.clusters")
    clause = f"ON CLUSTER {ident(clusters[0])}"
    options: Options = {"name": world.name, "cluster": clusters[0], "keys": keys(a="value a", b="value b")}
    made = module("named_collection", options, check=True, **sees)
    assert made["statements"] == [f"CREATE NAMED COLLECTION `nc_one` {clause} AS `a` = '[HIDDEN]', `b` = '[HIDDEN]'"]
    try:
        world.sql(f"DROP NAMED COLLECTION IF EXISTS nc_probe {clause}")
    except ServerSaid as without_keeper:
        refused = failed("named_collection", options, **sees)
        assert refused["code"] == without_keeper.code and refused["failed_statement"] == made["statements"][0]
        return
    assert module("named_collection", options, **sees)["statements"] == made["statements"]
    assert not module("named_collection", options, **sees)["changed"]
    less = module("named_collection", {**options, "keys": keys(b=None)}, **sees)
    assert less["statements"] == [f"ALTER NAMED COLLECTION `nc_one` {clause} SET `a` = '[HIDDEN]' DELETE `a`"]
    assert world.values() == {"b": "value b"}
    gone = module("named_collection", {**options, "state": "absent"}, **sees)
    assert gone["statements"] == [f"DROP NAMED COLLECTION `nc_one` {clause}"] and world.row() is None


@on_newest
def test_replicas_that_differ(module: Module, failed: Module, clickhouse: Any) -> None:
    """All get what is wished, whatever each of them had: nothing, an old value, a key too many, a key too few."""
    if clickhouse.version != "26.9":
        pytest.skip("the sandbox has replicas of 26.9 only")
    with start("26.9", tls=True, display_secrets=True, cluster="pair", replicas=2) as server:
        login = to(server)
        worlds = [World(replica) for replica in server.replicas]
        options: Options = {"name": "nc_one", "cluster": "pair", "keys": keys(a="wished a", b=("wished b", False))}
        for first, second in (
            ("a = 'wished a', b = 'wished b' NOT OVERRIDABLE", ""),
            ("", "a = 'old', c = 'gone'"),
            ("a = 'old', c = 'gone'", ""),
            ("a = 'wished a', b = 'wished b'", "a = 'wished a', c = 'gone'"),
            ("c = 'gone'", "d = 'gone too'"),
        ):
            for world, pairs in zip(worlds, (first, second), strict=True):
                world.make(pairs) if pairs else world.drop()
            assert module("named_collection", options, **login)["changed"]
            for world in worlds:
                row = world.row()
                assert row is not None and row["create_query"].endswith(
                    " AS a = 'wished a', b = 'wished b' NOT OVERRIDABLE"
                )
            assert not module("named_collection", options, **login)["changed"]
        worlds[1].drop()
        gone = {**options, "state": "absent"}
        assert module("named_collection", gone, **login)["changed"]
        assert not module("named_collection", gone, **login)["changed"]
        assert [world.row() for world in worlds] == [None, None]


CONFIG = """<clickhouse><named_collections><nc_config>
    <url>https://config.example</url><token overridable="false">config secret</token>
</nc_config></named_collections></clickhouse>"""


def test_collections_of_the_configuration(module: Module, failed: Module, clickhouse: Any, tmp_path: Path) -> None:
    """Reported as they are and not touched; 24.8 does not say which these are, and refuses by itself."""
    for folder in ("config.d", "configs/conf.d"):  # of a server, and of the engine of 26.9
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "collections.xml").write_text(CONFIG)
    with start(clickhouse.version, tmp_path / "data", tls=True, display_secrets=True) as server:
        login = to(server)
        known = module("named_collection", {"name": "nc_config"}, **login)
        hidden = [{"name": name, "value": "[HIDDEN]"} for name in ("token", "url")]
        assert (known["changed"], known["entity"]) == (False, {"keys": hidden})
        same = keys(url="https://config.example", token="config secret")
        result = module("named_collection", {"name": "nc_config", "keys": same}, **login)
        assert (result["changed"], result["values_state"]) == (False, "same")
        for options in ({"keys": keys(url="other", token=None)}, {"state": "absent"}):
            refused = failed("named_collection", {"name": "nc_config", **options}, **login)
            if clickhouse.version == "24.8":
                assert refused["failed_statement"] and refused["done"] == [] and refused["code"]
            else:
                assert refused["option"] == "name" and "configuration" in refused["msg"]
        assert World(server).values("nc_config") == {"url": "https://config.example", "token": "config secret"}


def test_many_at_once(module: Module, world: World, sees: Options) -> None:
    """Each is dropped by a statement of its own, for ClickHouse knows no list of them."""
    names = ["nc_many_1", "nc_many_2"]
    wished = [{"name": name, "keys": keys(a="value a", b=("value b", False))} for name in names]
    try:
        made = module("access", {"named_collections": wished}, **sees)
        assert len(made["statements"]) == 2 and not module("access", {"named_collections": wished}, **sees)["changed"]
        gone = module("access", {"named_collections": [{"name": name, "state": "absent"} for name in names]}, **sees)
        assert gone["statements"] == [f"DROP NAMED COLLECTION `{name}`" for name in names]
        assert not [name for name in names if world.row(name)]
    finally:
        for name in names:
            world.drop(name)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "option", "said"),
    [
        ({"name": ""}, "name", "empty"),
        ({"cluster": ""}, "cluster", "empty"),
        ({"keys": []}, "keys", "state: absent"),
        ({"keys": keys(a=None, n="Hunter2-v")}, "keys[0].value", "no stored value of a"),
        ({"keys": [*keys(n="Hunter2-v"), *keys(n="Hunter2-w")]}, "keys[1].name", "twice"),
        ({"keys": [{"name": "", "value": "Hunter2-v"}]}, "keys[0].name", "empty"),
        ({"keys": [{"name": "n[1]", "value": "Hunter2-v"}]}, "keys[0].name", "index"),
        ({"keys": [{"name": "n.", "value": "Hunter2-v"}]}, "keys[0].name", "between dots"),
        ({"keys": [{"name": "n..m", "value": "Hunter2-v"}]}, "keys[0].name", "between dots"),
        ({"keys": [{"name": "n.m", "value": "Hunter2-v"}, *keys(n="Hunter2-w")]}, "keys[0].name", "inside key n"),
        ({"keys": [{"name": "n.m", "value": "Hunter2-v"}]}, "keys", "drop it first"),
        ({"keys": keys(n="Hunter2-\ud800")}, "keys[0].value", "Unicode"),
        ({"keys": keys(n="[HIDDEN]")}, "keys[0].value", "omit it"),
        ({"keys": keys(n="Hunter2-${m}", m="Hunter2-w")}, "keys[0].value", "another key"),
        ({"keys": keys(n="[HIDDEN] (new)")}, "keys[0].value", "omit it"),
        ({"keys": keys(**{f"k{index}": "Hunter2-v" for index in range(501)})}, "keys", "500"),
    ],
)
def test_refused_by_option(
    failed: Module, world: World, sees: Options, options: Options, option: str, said: str
) -> None:
    """Before anything is changed, in check mode too, and without a value in the error."""
    world.make("n = 'stored'")
    for check in (True, False):
        result = failed("named_collection", {"name": world.name, **options}, check=check, **sees)
        assert result["option"] == option and said in result["msg"] and result["msg"].endswith("Nothing was changed.")
        assert "Hunter2" not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert world.values() == {"n": "stored"}


def test_a_new_collection_needs_keys(failed: Module, world: World, sees: Options) -> None:
    """ClickHouse has none without."""
    assert failed("named_collection", {"name": world.name}, **sees)["option"] == "keys"


@pytest.mark.parametrize(
    ("there", "options", "missing"),
    [
        (False, {"keys": keys(a="value a")}, "CREATE NAMED COLLECTION ON nc_one"),
        (True, {"keys": keys(a="value a")}, "ALTER NAMED COLLECTION ON nc_one"),
        (True, {"state": "absent"}, "DROP NAMED COLLECTION ON nc_one"),
    ],
)
def test_a_refused_statement(
    failed: Module, module: Module, showing: Sandbox, world: World, there: bool, options: Options, missing: str
) -> None:
    """The missing privilege is named; nothing is done."""
    if there:
        world.make("n = 'stored'")
    login = to(
        showing,
        **administrator(
            showing,
            "nc_admin",
            f"GRANT {ADMIN} TO {{}}",
            "GRANT SELECT ON system.* TO {}",
            SHOWS,
            f"REVOKE {missing.partition(' ON ')[0]} ON * FROM {{}}",
        ),
    )
    predicted = module("named_collection", {"name": world.name, **options}, check=True, **login)
    refused = failed("named_collection", {"name": world.name, **options}, **login)
    assert (refused["code"], refused["error_name"]) == (497, "ACCESS_DENIED") and missing in refused["msg"]
    assert [refused["failed_statement"]] == predicted["statements"] and refused["done"] == refused["pending"] == []
    assert world.values() == ({"n": "stored"} if there else None)


def test_what_is_not_seen_is_not_taken_for_absent(
    failed: Module, module: Module, showing: Sandbox, world: World
) -> None:
    """The table leaves out what one may not see, without a word: the module names the privilege; a role's counts."""
    world.make("n = 'stored'")
    grants = ("GRANT CREATE NAMED COLLECTION, DROP NAMED COLLECTION ON * TO {}", "GRANT SELECT ON system.* TO {}")
    for allowed in ((), ("GRANT SHOW NAMED COLLECTIONS ON another TO {}",)):
        login = to(showing, **administrator(showing, "nc_admin", *grants, *allowed))
        for options in ({"keys": keys(n="wished")}, {"state": "absent"}):
            for check in (True, False):
                refused = failed("named_collection", {"name": world.name, **options}, check=check, **login)
                assert (refused["code"], refused["error_name"]) == (497, "ACCESS_DENIED")
                assert "SHOW NAMED COLLECTIONS ON nc_one" in refused["msg"]
                assert refused["msg"].endswith("Nothing was changed.")
    assert world.values() == {"n": "stored"}
    world.sql("DROP ROLE IF EXISTS nc_inner, nc_outer")
    for statement in (
        "CREATE ROLE nc_inner, nc_outer",
        "GRANT SHOW NAMED COLLECTIONS ON nc_one TO nc_inner",
        "GRANT nc_inner TO nc_outer",
        "GRANT nc_outer TO nc_admin",
    ):
        world.sql(statement)
    assert module("named_collection", {"name": world.name, "state": "absent"}, **login)["changed"]
    assert not module("named_collection", {"name": world.name, "state": "absent"}, **login)["changed"]
    for statement in ("DROP ROLE nc_inner, nc_outer", "DROP USER nc_admin"):
        world.sql(statement)


def test_a_table_that_may_not_be_read(failed: Module, showing: Sandbox, world: World) -> None:
    """Named as the server names it."""
    login = to(showing, **administrator(showing, "nc_admin", f"GRANT {ADMIN} TO {{}}"))
    refused = failed("named_collection", {"name": world.name, "keys": keys(a="value a")}, **login)
    assert refused["code"] == 497 and "system." in refused["msg"]
    world.sql("DROP USER nc_admin")


def test_who_may_not_change_settings(converges: Module, module: Module, showing: Sandbox, world: World) -> None:
    """Values cannot be demanded then; before 26 they show all the same, and else they are unknown."""
    login = to(
        showing, **administrator(showing, "nc_admin", f"GRANT {ADMIN} TO {{}}", "GRANT SELECT ON system.* TO {}", SHOWS)
    )
    world.sql("ALTER USER nc_admin SETTINGS format_display_secrets_in_show_and_select = 0 CONST")
    options = {"name": world.name, "keys": keys(a="value a")}
    converges("named_collection", options, **login)
    assert module("named_collection", options, **login)["values_state"] in ("same", "unknown")
    world.sql("DROP USER nc_admin")


# -- secrets ----------------------------------------------------------------------------------------------------------


class QuotingProxy(FaultProxy):
    """A server that refuses statements about collections with an error that quotes a part of them."""

    def __init__(self, target: str, begin: int, length: int) -> None:
        """Quote `length` characters from `begin` on."""
        super().__init__(target, [], lambda: None)
        self.part = slice(begin, begin + length)

    def next_fault(self, statement: bytes) -> Fault | None:
        """Refuse what has to do with collections."""
        self.statements.append(statement)
        if not re.match(rb"(CREATE|ALTER) NAMED", statement):
            return None
        message = f"Syntax error: failed at {statement.decode()[self.part]}. Expected one of: something else."
        return Fault(1, "refuse", code=62, name="SYNTAX_ERROR", message=message)


def test_no_value_in_any_output(
    failed: Module, module: Module, showing: Sandbox, world: World, sees: Options, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a given one and not a stored one, in results, diffs, warnings and errors that quote the statement."""
    world.make("a = 'Stored-Hunter2', b = 'Stored-Hunter2-kept', c = 'Stored-Hunter2-gone'")
    secret = "Hunter2-wished'\\%s"
    options = {
        "name": world.name,
        "keys": keys(a=(secret, False), b=(None, True) if showing.version != "24.8" else None),
    }
    results = []
    for begin, length in ((0, 10_000), (0, 60), (55, 30)):
        with QuotingProxy(showing.url, begin, length) as proxy:
            way = {
                **sees,
                "login_host": "127.0.0.1",
                "login_secure": False,
                "login_port": proxy.port,
                "login_ca_cert": None,
            }
            results.append(failed("named_collection", options, **way))
            assert b"Hunter2-wished" in proxy.statements[-1] and results[-1]["code"] == 62
    results += [module("named_collection", options, check=check, **sees) for check in (True, False, False)]
    results.append(module("named_collection", {**options, "state": "absent"}, **sees))
    output = capsys.readouterr()
    for text in (*map(clean, results), output.out, output.err):
        assert "Hunter2" not in text
    for result in results:
        invocation = json.dumps(result["invocation"])
        assert "Hunter2" not in invocation


# -- export -----------------------------------------------------------------------------------------------------------

texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)
key_names = texts.filter(lambda name: "[" not in name and "" not in name.split("."))
entries = st.dictionaries(
    key_names,
    st.tuples(texts.filter(lambda value: "${" not in value), st.sampled_from(["", " OVERRIDABLE", " NOT OVERRIDABLE"])),
    min_size=1,
    max_size=6,
).filter(lambda keys: not any(named_collection._inside(name, keys) for name in keys))


@on_newest
@pytest.mark.parametrize("shown", [True, False])
def test_what_is_exported_changes_nothing(clickhouse: Any, showing: Sandbox, shown: bool) -> None:
    """Whatever SQL has made, and whether or not its values show; and no value is in it."""
    world = World(showing if shown else clickhouse)
    session = Session(Login.from_options(to(showing if shown else clickhouse)))

    @settings(max_examples=40, deadline=None)
    @given(texts, entries)
    def exports(name: str, made: dict[str, tuple[str, str]]) -> None:
        world.make(", ".join(f"{ident(key)} = {literal(value)}{flag}" for key, (value, flag) in made.items()), name)
        server = Server(session)
        ((_replica, rows),) = server.load(Question(named_collection.NEEDS, frozenset([name]))).items()
        current = named_collection.TYPE.read(server, rows)[name]
        assert not shown or all(key.value is not None for key in current.document["keys"].keys)
        exported = named_collection.TYPE.export(current.document)
        assert {key.pop("name"): key for key in exported["keys"]} == {
            key: {" OVERRIDABLE": {"overridable": True}, " NOT OVERRIDABLE": {"overridable": False}}.get(flag, {})
            for key, (_value, flag) in made.items()
        }
        exported = named_collection.TYPE.export(current.document)
        wish = named_collection.TYPE.wish({"name": name, **exported}, server)
        wish, notes = named_collection.settle(server, wish, current)
        assert plan(named_collection.TYPE, wish, {"": current}, Target(), server).statements == ()
        assert not notes and wish.extra["password"] == "none"
        world.drop(name)

    try:
        exports()
    finally:
        session.close()
