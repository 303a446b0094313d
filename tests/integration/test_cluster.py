"""Clusters: the state of every replica is read, drift is told and mended, and replicated storage is recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.sandbox import Sandbox, start

from .servers import VERSIONS

pytestmark = pytest.mark.skipif("26.9" not in VERSIONS, reason="only the 26.9 sandbox has replicas")

Module = Callable[..., dict[str, Any]]
SECOND = "replica-2:9001"


def login(server: Sandbox) -> dict[str, Any]:
    return {"login_host": "127.0.0.1", "login_port": server.port, "login_secure": False, "login_ca_cert": None}


@pytest.fixture(scope="module")
def pair() -> Iterator[Sandbox]:
    """Two replicas, each with its own access storage."""
    with start("26.9", replicas=2) as server:
        server.session().query("CREATE DATABASE c_db ON CLUSTER default")
        yield server


@pytest.fixture(scope="module")
def replicated() -> Iterator[Sandbox]:
    """Two replicas that share their access entities."""
    with start("26.9", replicas=2, replicated_access=True) as server:
        server.session().query("CREATE DATABASE c_db ON CLUSTER default")
        yield server


@pytest.fixture
def access(pair: Sandbox, module: Module) -> Module:
    """clickhouse_access on the cluster."""

    def run(check: bool = False, **options: Any) -> dict[str, Any]:
        return module("access", {"cluster": "default", **options}, check=check, **login(pair))

    return run


def on(server: Sandbox, replica: int, *statements: str) -> list[str]:
    """Run statements on one replica alone; the text of the last answer's lines."""
    session = server.replicas[replica].session()
    answer = ""
    for statement in statements:
        answer = session.query(statement)
    return answer.splitlines()


def same(server: Sandbox, table: str, columns: str, name: str) -> None:
    """Both replicas say the same of an entity, and it is there."""
    query = f"SELECT {columns} FROM system.{table} WHERE name = '{name}'"
    first, second = on(server, 0, query), on(server, 1, query)
    assert first and first == second


ENTITIES: dict[str, Any] = {
    "settings_profiles": [{"name": "c_limits", "settings": [{"name": "max_threads", "value": 3}]}],
    "roles": [{"name": "c_reader", "profiles": ["c_limits"]}],
    "users": [
        {
            "name": "c_user",
            "authentication": [{"type": "sha256_password", "password": "for tests 8"}],
            "host": {"local": True},
            "roles": [{"name": "c_reader"}],
            "default_database": "c_db",
        }
    ],
    "grants": [
        {"grantee": "c_reader", "mode": "exact", "privileges": [{"privilege": ["SELECT"], "scope": ["c_db.*"]}]}
    ],
}


def test_everything_is_made_on_every_replica(pair: Sandbox, access: Module) -> None:
    """ON CLUSTER in every statement, no drift, and nothing to do the second time."""
    on(pair, 0, "DROP USER IF EXISTS c_user ON CLUSTER default", "DROP ROLE IF EXISTS c_reader ON CLUSTER default")
    made = access(**ENTITIES)
    assert made["statements"] and all("ON CLUSTER `default`" in statement for statement in made["statements"])
    assert made["drift"] == []
    same(pair, "users", "host_names, default_database, default_roles_all", "c_user")
    assert on(pair, 1, "SHOW GRANTS FOR c_reader") == ["GRANT SELECT ON c_db.* TO c_reader"]
    assert pair.replicas[1].session("c_user", "for tests 8").query("SELECT currentUser()") == "c_user\n"
    again = access(**ENTITIES)
    assert again["changed"] is False and again["drift"] == []


@pytest.mark.parametrize("replica", [0, 1], ids=["the connected one", "the other one"])
@pytest.mark.parametrize(
    ("kind", "name", "statements"),
    [
        ("user", "c_user", ["ALTER USER c_user HOST ANY"]),
        ("user", "c_user", ["ALTER USER c_user DEFAULT DATABASE elsewhere SETTINGS max_threads = 1"]),
        ("user", "c_user", ["REVOKE c_reader FROM c_user"]),
        ("user", "c_user", ["DROP USER c_user"]),
        ("role", "c_reader", ["DROP ROLE c_reader"]),
        ("role", "c_reader", ["ALTER ROLE c_reader SETTINGS NONE"]),
        ("grant", "c_reader", ["REVOKE ALL ON *.* FROM c_reader"]),
        ("grant", "c_reader", ["GRANT INSERT ON c_db.* TO c_reader"]),
        ("settings_profile", "c_limits", ["DROP SETTINGS PROFILE c_limits"]),
        ("settings_profile", "c_limits", ["ALTER SETTINGS PROFILE c_limits SETTINGS max_threads = 9"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_drift_is_told_and_mended(
    pair: Sandbox, access: Module, replica: int, kind: str, name: str, statements: list[str]
) -> None:
    """Whichever replica drifted; check mode says the same and changes nothing."""
    wished = {**ENTITIES, "users": [{**ENTITIES["users"][0], "settings": []}]}
    access(**wished)
    on(pair, replica, *statements)
    before = [on(pair, index, "SHOW ACCESS") for index in (0, 1)]
    predicted = access(check=True, **wished)
    assert [on(pair, index, "SHOW ACCESS") for index in (0, 1)] == before
    told = [(entry["kind"], entry["name"], entry["replica"]) for entry in predicted["drift"]]
    assert (kind, name, SECOND) in told, told
    if "DROP" in statements[0]:
        (entry,) = (entry for entry in predicted["drift"] if (entry["kind"], entry["name"]) == (kind, name))
        assert (entry["entity"] is None) is (replica == 1)
    mended = access(**wished)
    assert mended["changed"] is True and mended["statements"] == predicted["statements"]
    again = access(**wished)
    assert again["changed"] is False and again["drift"] == [], again
    assert sorted(on(pair, 0, "SHOW ACCESS")) == sorted(on(pair, 1, "SHOW ACCESS"))
    assert pair.replicas[replica].session("c_user", "for tests 8").query("SELECT 1") == "1\n"


def test_what_is_not_wished_is_told_but_not_touched(pair: Sandbox, access: Module) -> None:
    """An option that was omitted is left alone on each replica."""
    access(**ENTITIES)
    on(pair, 1, "ALTER USER c_user GRANTEES NONE")
    found = access(**ENTITIES)
    assert found["changed"] is False
    assert [(entry["name"], entry["entity"]["grantees"]) for entry in found["drift"]] == [("c_user", {"none": True})]
    on(pair, 1, "ALTER USER c_user GRANTEES ANY")


def test_a_user_is_never_copied_without_its_password(pair: Sandbox, module: Module, failed: Module) -> None:
    """On a replica that lacks it there is no secret to keep, and none may be invented."""
    on(pair, 0, "CREATE USER OR REPLACE c_half IDENTIFIED WITH sha256_password BY 'for tests 9'")
    on(pair, 1, "DROP USER IF EXISTS c_half")
    for options in ({}, {"authentication": [{"type": "sha256_password"}]}):
        wished = {"name": "c_half", "cluster": "default", **options}
        result = failed("user", wished, **login(pair))
        assert result["option"].startswith("authentication"), result["msg"]
        assert on(pair, 1, "SELECT name FROM system.users WHERE name = 'c_half'") == []
    given = {"name": "c_half", "authentication": [{"type": "sha256_password", "password": "for tests 9"}]}
    assert module("user", {**given, "cluster": "default"}, **login(pair))["changed"] is True
    assert pair.replicas[1].session("c_half", "for tests 9").query("SELECT 1") == "1\n"
    assert module("user", {**given, "cluster": "default"}, **login(pair))["changed"] is False


def test_dropped_where_it_is_left(pair: Sandbox, access: Module) -> None:
    """State absent and purge reach what only one replica has."""
    on(pair, 1, "CREATE ROLE OR REPLACE c_left", "CREATE ROLE OR REPLACE c_purged")
    gone = access(roles=[{"name": "c_left", "state": "absent"}], purge={"roles": ["c_purg*"]})
    assert sorted(entry["name"] for entry in gone["changes"]) == ["c_left", "c_purged"]
    assert on(pair, 1, "SELECT name FROM system.roles WHERE name IN ('c_left', 'c_purged')") == []
    assert access(roles=[{"name": "c_left", "state": "absent"}], purge={"roles": ["c_purg*"]})["changed"] is False


def test_info_tells_drift(pair: Sandbox, module: Module) -> None:
    """Of every entity there is."""
    on(pair, 1, "CREATE ROLE OR REPLACE c_only_there")
    found = module("access_info", {"cluster": "default", "kinds": ["roles"]}, **login(pair))
    entry = {"kind": "role", "name": "c_only_there", "replica": SECOND}
    assert {**entry, "entity": {"roles": [], "settings": [], "profiles": []}} in found["drift"]
    assert "c_only_there" not in {role["name"] for role in found["access"]["roles"]}
    on(pair, 1, "DROP ROLE c_only_there")
    assert module("access_info", {"cluster": "default", "kinds": ["roles"]}, **login(pair))["drift"] == []


def test_replicated_storage_is_recognised(replicated: Sandbox, module: Module) -> None:
    """Its entities reach all replicas by themselves: ON CLUSTER would find them there already."""
    options = {"cluster": "default", **ENTITIES}
    made = module("access", options, **login(replicated))
    assert made["changed"] is True and not any("ON CLUSTER" in statement for statement in made["statements"])
    same(replicated, "users", "host_names, default_database", "c_user")
    again = module("access", options, **login(replicated))
    assert again["changed"] is False and again["drift"] == []
    gone = module("user", {"name": "c_user", "state": "absent", "cluster": "default"}, **login(replicated))
    assert gone["statements"] == ["DROP USER `c_user`"]


def test_an_unknown_cluster(pair: Sandbox, failed: Module) -> None:
    """The server's own words, and nothing changed."""
    result = failed("role", {"name": "c_new", "cluster": "nowhere"}, **login(pair))
    assert result["code"] == 701 and "nowhere" in result["msg"] and result["msg"].endswith("Nothing was changed.")
