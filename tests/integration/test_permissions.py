"""What an administrator lacks fails the task by name, on reads and on writes; half-done work is told truthfully."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.servers import administrator, root
from tests.sandbox import Fault, FaultProxy

Module = Callable[..., dict[str, Any]]

MANAGER = (
    "GRANT ACCESS MANAGEMENT ON *.* TO {} WITH GRANT OPTION",
    *(
        f"GRANT SELECT ON system.{table} TO {{}}"
        for table in ("role_grants", "grants", "settings_profile_elements", "user_directories", "server_settings")
    ),
)
"""All that the modules need on the server."""
SAME = {"type": "sha256_password", "password": "wished"}


@pytest.fixture
def world(clickhouse: Any) -> Iterator[Any]:
    """Entities that the cases speak of, made anew for each."""
    client = root(clickhouse)
    statements = (
        "DROP USER IF EXISTS p_user, p_new",
        "DROP ROLE IF EXISTS p_role, p_other, p_new",
        "DROP SETTINGS PROFILE IF EXISTS p_profile, p_new",
    )
    for statement in (
        *statements,
        "CREATE ROLE p_role, p_other",
        "CREATE SETTINGS PROFILE p_profile",
        "CREATE USER p_user",
        "GRANT p_other TO p_user",
    ):
        client.query(statement)
    yield client
    for statement in statements:
        client.query(statement)


GRANTING = [{"privilege": ["SELECT"], "scope": ["d.*"]}]
READS = [
    ("user", {"name": "p_user", "authentication": [SAME]}, "SHOW USERS ON *.*", "system.users"),
    ("user", {"name": "p_user", "state": "absent"}, "SHOW USERS ON *.*", "system.users"),
    ("user", {"name": "p_user", "roles": [{"name": "p_role"}]}, "SHOW ROLES ON *.*", "system.roles"),
    ("user", {"name": "p_user", "roles": []}, "SELECT ON system.role_grants", "system.role_grants"),
    ("user", {"name": "p_user", "settings": []}, "SELECT ON system.settings_profile_elements", "profile_elements"),
    ("role", {"name": "p_role", "settings": []}, "SHOW ROLES ON *.*", "system.roles"),
    ("role", {"name": "p_new"}, "SHOW ROLES ON *.*", "system.roles"),
    ("role", {"name": "p_role", "state": "absent"}, "SELECT ON system.user_directories", "system.user_directories"),
    ("role", {"name": "p_role", "profiles": ["p_profile"]}, "SHOW SETTINGS PROFILES ON *.*", "system.settings_profile"),
    ("settings_profile", {"name": "p_new"}, "SHOW SETTINGS PROFILES ON *.*", "system.settings_profiles"),
    ("grant", {"grantee": "p_user", "privileges": GRANTING}, "SHOW USERS ON *.*", "system.users"),
    ("grant", {"grantee": "p_role", "privileges": GRANTING}, "SELECT ON system.grants", "system.grants"),
    ("grant", {"grantee": "p_role", "state": "absent"}, "SHOW ROLES ON *.*", "system.roles"),
]  # fmt: skip
"""Module, options, what is taken from the administrator, and the table that ClickHouse then may name instead."""


@pytest.mark.parametrize(("name", "options", "missing", "table"), READS)
def test_a_refused_read_fails_and_names_the_privilege(
    module: Module, failed: Any, clickhouse: Any, world: Any, name: str, options: Any, missing: str, table: str
) -> None:
    """Even in check mode: what cannot be seen is never taken for absent or right."""
    login = administrator(
        clickhouse, "p_admin", *MANAGER, "GRANT SELECT ON d.* TO {} WITH GRANT OPTION", f"REVOKE {missing} FROM {{}}"
    )
    for check in (True, False):
        result = failed(name, options, check=check, **login)
        assert (result["code"], result["error_name"]) == (497, "ACCESS_DENIED")
        assert missing in result["msg"] or table in result["msg"]
        assert "p_admin" in result["msg"] and result["msg"].endswith("Nothing was changed.")
        assert not result.get("changed")
    world.query(f"GRANT {missing} TO p_admin")
    module(name, options, **login)


WRITES = [
    ("user", {"name": "p_new", "host": {"local": True}}, "CREATE USER"),
    ("user", {"name": "p_user", "host": {"local": True}}, "ALTER USER"),
    ("user", {"name": "p_user", "state": "absent"}, "DROP USER"),
    ("role", {"name": "p_new"}, "CREATE ROLE"),
    ("role", {"name": "p_role", "settings": [{"name": "max_threads", "value": 3}]}, "ALTER ROLE"),
    ("role", {"name": "p_role", "state": "absent"}, "DROP ROLE"),
    ("settings_profile", {"name": "p_new"}, "CREATE SETTINGS PROFILE"),
    ("settings_profile", {"name": "p_profile", "profiles": ["default"]}, "ALTER SETTINGS PROFILE"),
    ("settings_profile", {"name": "p_profile", "state": "absent"}, "DROP SETTINGS PROFILE"),
    ("grant", {"grantee": "p_user", "roles": [{"name": "p_role"}]}, "ROLE ADMIN"),
    ("user", {"name": "p_user", "roles": []}, "ROLE ADMIN"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "missing"), WRITES)
def test_a_refused_write_fails_and_names_the_privilege(
    module: Module, failed: Any, clickhouse: Any, world: Any, name: str, options: Any, missing: str
) -> None:
    """And with the privilege the same task does its work, once."""
    login = administrator(clickhouse, "p_admin", *MANAGER, f"REVOKE {missing} ON *.* FROM {{}}")
    predicted = module(name, options, check=True, **login)
    result = failed(name, options, **login)
    assert (result["code"], result["error_name"], result["changed"]) == (497, "ACCESS_DENIED", False)
    assert ("ADMIN OPTION" if missing == "ROLE ADMIN" else missing) in result["msg"].replace("option", "OPTION")
    assert (result["done"], result["unknown_statement"]) == ([], None)
    assert [result["failed_statement"], *result["pending"]] == predicted["statements"]
    assert module(name, options, check=True, **login)["diff"] == predicted["diff"]
    world.query(f"GRANT {missing} ON *.* TO p_admin")
    assert module(name, options, **login)["changed"]
    assert not module(name, options, **login)["changed"]


@pytest.mark.parametrize("held", ["", " WITH GRANT OPTION"], ids=["without the option", "with it"])
def test_granting_needs_the_grant_option(module: Module, failed: Any, clickhouse: Any, world: Any, held: str) -> None:
    """Having a privilege is not enough to pass it on."""
    login = administrator(clickhouse, "p_admin", *MANAGER, f"GRANT SELECT ON shop.* TO {{}}{held}")
    options = {"grantee": "p_role", "privileges": [{"privilege": ["SELECT"], "scope": ["shop.orders"]}]}
    if held:
        assert module("grant", options, **login)["changed"]
        return
    result = failed("grant", options, **login)
    assert result["code"] == 497
    assert "SELECT" in result["msg"] and "grant option" in result["msg"].lower()
    assert result["failed_statement"] in result["msg"]


def test_half_done_work_is_told_and_finished_by_the_next_run(
    module: Module, failed: Any, clickhouse: Any, world: Any
) -> None:
    """The user is created and the role cannot be granted: changed, with what is done, refused and pending."""
    login = administrator(clickhouse, "p_admin", *MANAGER, "REVOKE ROLE ADMIN ON *.* FROM {}")
    options = {
        "name": "p_new",
        "roles": [{"name": "p_role"}, {"name": "p_other"}],
        "default_roles": {"names": ["p_role"]},
    }
    predicted = module("user", options, check=True, **login)["statements"]
    result = failed("user", options, **login)
    assert len(predicted) == 3
    assert result["changed"] is True
    assert [*result["done"], result["failed_statement"], *result["pending"]] == predicted
    assert (len(result["done"]), len(result["pending"])) == (1, 1)
    assert "Done: 1, pending: 1" in result["msg"]
    world.query("GRANT ROLE ADMIN ON *.* TO p_admin")
    finished = module("user", options, **login)
    assert finished["statements"] == predicted[1:]
    assert not module("user", options, **login)["changed"]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "refuse"])
def test_a_lost_connection_is_told_and_finished_by_the_next_run(
    module: Module, failed: Any, clickhouse: Any, world: Any, kind: str
) -> None:
    """Whether a statement ran whose answer was lost nobody knows; the result says so, the next run does the rest."""
    login = {"login_secure": False, "login_host": "127.0.0.1", "login_ca_cert": None}
    options = {"name": "p_new", "roles": [{"name": "p_role"}], "default_roles": {"none": True}}
    with FaultProxy(clickhouse.url, [Fault(2, kind)], lambda: None) as proxy:
        login["login_port"] = proxy.port
        predicted = module("user", options, check=True, **login)["statements"]
        result = failed("user", options, **login)
        assert len(predicted) == 3
        assert result["changed"] is True
        assert (result["done"], result["pending"]) == (predicted[:1], predicted[2:])
        lost = kind != "refuse"
        assert result["unknown_statement"] == (predicted[1] if lost else None)
        assert result["failed_statement"] == (None if lost else predicted[1])
        assert result["code"] == (None if lost else 241)
        if lost:
            assert "no answer from the server" in result["msg"] and str(proxy.port) in result["msg"]
        assert proxy.statements.count(predicted[1].encode()) == 1, "a statement was sent twice"
        assert module("user", options, **login)["statements"] == predicted[2 if kind == "drop_after" else 1 :]
        assert not module("user", options, **login)["changed"]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_connection_lost_while_reading_changes_nothing(
    module: Module, failed: Any, clickhouse: Any, world: Any, at: int
) -> None:
    """Whichever read it is: two of clickhouse-connect, the state, the references.

    A read whose connection was cut once is tried again; here it is cut twice.
    """
    options = {"name": "p_new", "roles": [{"name": "p_role"}], "settings": [{"name": "max_threads", "value": 2}]}
    cuts = [Fault(number, "drop_before", changes=False) for number in (at, at + 1)]
    with FaultProxy(clickhouse.url, cuts, lambda: None) as proxy:
        login = {
            "login_secure": False,
            "login_host": "127.0.0.1",
            "login_ca_cert": None,
            "login_port": proxy.port,
        }
        result = failed("user", options, **login)
        assert result["msg"].endswith("Nothing was changed.") and str(proxy.port) in result["msg"]
        assert not proxy.faults
    assert world.query("SELECT count() FROM system.users WHERE name = 'p_new'") == "0\n"
