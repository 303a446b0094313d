"""Traps that modules like these have fallen into, one short test each: here none of them is open.

Each test is named after what goes wrong elsewhere; all run the modules as they are, on every version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.servers import administrator, root

Module = Callable[..., dict[str, Any]]


@pytest.fixture
def world(clickhouse: Any) -> Iterator[Any]:
    """A server's root client, with two roles and a user; everything called t_* is gone afterwards."""
    client = root(clickhouse)

    def clean() -> None:
        for kind, table in (("USER", "users"), ("ROLE", "roles"), ("SETTINGS PROFILE", "settings_profiles")):
            for name in client.lines(f"SELECT name FROM system.{table} WHERE startsWith(name, 't_')"):
                quoted = name.replace("`", "\\`")
                client.query(f"DROP {kind} `{quoted}`")

    clean()
    client.query("CREATE ROLE t_one, t_two")
    client.query("CREATE USER t_user")
    yield client
    clean()


def grants(client: Any, name: str) -> str:
    """What SHOW GRANTS says."""
    return str(client.query(f"SHOW GRANTS FOR `{name}`"))


def select(*scopes: str, **more: Any) -> list[dict[str, Any]]:
    """The option `privileges` with SELECT."""
    return [{"privilege": ["SELECT"], "scope": list(scopes), **more}]


# -- silent failure


def test_a_refusal_is_no_success(failed: Any, clickhouse: Any, world: Any) -> None:
    """497 is a failure, for a read and for a write."""
    nobody = administrator(clickhouse, "t_nobody")
    writer = administrator(clickhouse, "t_writer", "GRANT SELECT ON system.* TO {}", "GRANT SHOW ACCESS ON *.* TO {}")
    for login in (nobody, writer):
        assert failed("user", {"name": "t_new"}, **login)["code"] == 497


def test_columns_keep_their_case(converges: Module, world: Any) -> None:
    """A column is no keyword."""
    converges(
        "grant", {"grantee": "t_user", "privileges": [{"privilege": ["select(eMail, Name)"], "scope": ["shop.c"]}]}
    )
    assert "SELECT(Name, eMail)" in grants(world, "t_user").replace("eMail, Name", "Name, eMail")


# -- fails outright


def test_percent_signs_beside_a_password(converges: Module, world: Any) -> None:
    """No driver formats the statement: %s, %(x)s and %% are text."""
    for name in ("t_100%s", "t_%(name)s%%"):
        converges("user", {
            "name": name,
            "authentication": [{"type": "sha256_password", "password": "50%s %(a)s %%"}],
            "host": {"like": ["%s.example.com"]},
        })  # fmt: skip


def test_host_none_and_wrong_hosts(converges: Module, failed: Any, world: Any) -> None:
    """HOST NONE is a host like others; an unknown kind of host is refused by name."""
    converges("user", {"name": "t_user", "host": {"none": True}})
    assert "host.names" in failed("user", {"name": "t_user", "host": {"names": ["a"]}})["msg"].replace("found in ", "")


def test_an_empty_host_admits_nobody(converges: Module, world: Any) -> None:
    """Empty means none, when created and when changed: never anybody."""
    for name in ("t_user", "t_fresh"):
        assert converges("user", {"name": name, "host": {}})["entity"]["host"] == {"none": True}


def test_the_last_default_role_can_go(converges: Module, failed: Any, world: Any) -> None:
    """No syntax error, and no role that was not granted becomes a default."""
    converges("user", {"name": "t_user", "roles": [{"name": "t_one"}], "default_roles": {"names": ["t_one"]}})
    converges("user", {"name": "t_user", "default_roles": {"names": []}})
    assert failed("user", {"name": "t_user", "default_roles": {"names": ["t_two"]}})["option"] == "default_roles.names"


def test_profiles_without_settings(converges: Module, world: Any) -> None:
    """Either may be given alone, when a user is created too."""
    converges("settings_profile", {"name": "t_base"})
    assert converges("user", {"name": "t_new", "profiles": ["t_base"]})["entity"]["profiles"] == ["t_base"]


def test_a_setting_with_bounds_and_no_value(converges: Module, world: Any) -> None:
    """A constraint alone is a whole wish."""
    for bounds in ({"min": 1}, {"max": 9}, {"min": 2, "max": 8}, {"writability": "const"}):
        converges("role", {"name": "t_one", "settings": [{"name": "max_threads", **bounds}]})


def test_grants_on_two_columns_can_be_taken_back(converges: Module, world: Any) -> None:
    """Exactly, and altogether; a grantee of ALL too."""
    columns = {"privilege": ["SELECT(id, name)", "INSERT(id)"], "scope": ["shop.c"]}
    converges("grant", {"grantee": "t_user", "privileges": [columns]})
    converges("grant", {"grantee": "t_user", "mode": "exact", "privileges": select("shop.d")})
    assert grants(world, "t_user") == "GRANT SELECT ON shop.d TO t_user\n"
    world.query("GRANT ALL ON shop.* TO t_user")
    converges("grant", {"grantee": "t_user", "state": "absent"})
    assert grants(world, "t_user") == ""


def test_update_password_without_a_password(converges: Module, world: Any) -> None:
    """Nothing to set is nothing to do."""
    converges("user", {"name": "t_user", "update_password": "always"}, changed=False)


# -- changed for ever


@pytest.mark.parametrize(
    "host",
    [
        {"ip": ["127.0.0.1"]},
        {"ip": ["::1", "10.1.2.3/8"]},
        {"ip": ["2001:DB8::/32"]},
        {"ip": ["10.0.0.0/255.0.0.0"]},
        {"ip": ["0.0.0.0/0"]},
        {"ip": ["::/0"]},
        {"like": ["%"]},
        {"name": ["localhost", "Host.Example"]},
    ],
    ids=json.dumps,
)
def test_hosts_in_any_spelling(module: Module, world: Any, host: dict[str, Any]) -> None:
    """What the server stores in another form is compared in that form."""
    module("user", {"name": "t_user", "host": host})
    assert not module("user", {"name": "t_user", "host": host})["changed"]


def test_no_default_roles_stay_none(converges: Module, world: Any) -> None:
    """Although the user has roles; and the order of a list is no difference."""
    roles = [{"name": "t_two"}, {"name": "t_one"}]
    converges("user", {"name": "t_user", "roles": roles, "default_roles": {}})
    converges("user", {"name": "t_user", "default_roles": {"names": ["t_two", "t_one"]}})
    converges("user", {"name": "t_user", "default_roles": {"names": ["t_one", "t_two"]}}, changed=False)
    converges("grant", {"grantee": "t_user", "roles": [{"name": "t_one"}]}, changed=False)


@pytest.mark.parametrize(
    ("privilege", "scope"),
    [
        ("ALL", "*.*"),
        ("UPDATE", "shop.c"),
        ("TRUNCATE TABLE", "shop.*"),
        ("S3", "*.*"),
        ("READ ON S3", "*.*"),
        ("SET DEFINER", "*"),
        ("alter column", "shop.*"),
        ("TABLE ENGINE", "Memory"),
    ],
)
def test_grants_in_any_spelling(
    module: Module, world: Any, version: tuple[int, int], privilege: str, scope: str
) -> None:
    """Aliases, groups, and what has no database."""
    if privilege == "READ ON S3":
        privilege, scope = ("READ", "S3") if version >= (25, 7) else ("S3", "*.*")
    wish = {"grantee": "t_user", "privileges": [{"privilege": [privilege], "scope": [scope]}]}
    assert module("grant", wish)["changed"]
    assert not module("grant", wish)["changed"]
    if privilege != "READ":  # ClickHouse stores READ ON S3 as S3, so WRITE may come with it: more than the whole
        assert not module("grant", {**wish, "mode": "exact"})["changed"]


def test_what_is_implied_is_not_granted_again(converges: Module, world: Any) -> None:
    """By `*.*`, or by a whole table."""
    converges("grant", {"grantee": "t_user", "privileges": select("*.*")})
    converges("grant", {"grantee": "t_user", "privileges": select("shop.*", "shop.c")}, changed=False)


def test_the_grant_option_can_be_taken_back(converges: Module, world: Any) -> None:
    """By stating the whole, and by itself; the privilege stays."""
    for wish in (
        {"mode": "exact", "privileges": select("shop.c")},
        {"mode": "remove", "privileges": select("shop.c", grant_option=True)},
    ):
        world.query("GRANT SELECT ON shop.c TO t_user WITH GRANT OPTION")
        converges("grant", {"grantee": "t_user", **wish})
        assert grants(world, "t_user") == "GRANT SELECT ON shop.c TO t_user\n"


def test_settings_in_any_spelling(module: Module, world: Any) -> None:
    """Booleans, sizes, and numbers as text."""
    settings = [
        {"name": "log_queries", "value": True},
        {"name": "max_memory_usage", "value": "20G", "max": "20Gi"},
        {"name": "max_threads", "value": "08"},
        {"name": "max_execution_time", "value": 60.0},
    ]
    module("role", {"name": "t_one", "settings": settings})
    assert not module("role", {"name": "t_one", "settings": settings})["changed"]


def test_a_cluster_is_no_difference(module: Module, world: Any) -> None:
    """ON CLUSTER is where a statement runs, dropping included, not a part of the entity."""
    cluster = {"cluster": "default"}
    assert not module("role", {"name": "t_one", **cluster}, check=True)["changed"]
    dropped = module("role", {"name": "t_one", "state": "absent", **cluster}, check=True)
    assert dropped["statements"] == ["DROP ROLE `t_one` ON CLUSTER `default`"]


# -- destructive or unsafe


def test_a_name_alone_clears_nothing(converges: Module, world: Any) -> None:
    """What is not mentioned stays: settings and profiles of a profile, everything of a user."""
    world.query("CREATE SETTINGS PROFILE t_base SETTINGS max_threads = 2")
    world.query("CREATE SETTINGS PROFILE t_top SETTINGS INHERIT t_base, max_threads = 3 TO t_user")
    before = world.query("SHOW CREATE SETTINGS PROFILE t_top")
    converges("settings_profile", {"name": "t_top"}, changed=False)
    converges("settings_profile", {"name": "t_top", "profiles": ["t_base"]}, changed=False)
    assert world.query("SHOW CREATE SETTINGS PROFILE t_top") == before
    world.query("ALTER USER t_user HOST LOCAL DEFAULT DATABASE shop SETTINGS max_threads = 2")
    converges("user", {"name": "t_user"}, changed=False)
    converges("role", {"name": "t_one"}, changed=False)


def test_the_order_of_profiles_counts(converges: Module, world: Any) -> None:
    """The later profile wins, so another order is another wish."""
    world.query("CREATE SETTINGS PROFILE t_a, t_b")
    for profiles in (["t_a", "t_b"], ["t_b", "t_a"]):
        assert converges("role", {"name": "t_one", "profiles": profiles})["entity"]["profiles"] == profiles


def test_nothing_is_taken_before_what_replaces_it_is_given(module: Module, world: Any) -> None:
    """At no moment may the grantee do less than before and after: GRANT comes first, or all is replaced at once."""
    world.query("GRANT SELECT ON shop.* TO t_user WITH GRANT OPTION")
    world.query("GRANT INSERT ON shop.c TO t_user")
    flip = {"grantee": "t_user", "mode": "exact", "privileges": select("shop.*")}
    for statement in module("grant", flip, check=True)["statements"]:
        assert statement.startswith("GRANT") or "INSERT" in statement or "GRANT OPTION FOR" in statement
    narrow = {"grantee": "t_user", "mode": "exact", "privileges": select("shop.c")}
    first = module("grant", narrow, check=True)["statements"][0]
    assert first.startswith("GRANT") or "REVOKE" not in first.split(" ON ")[0]
    module("grant", narrow)
    assert grants(world, "t_user") == "GRANT SELECT ON shop.c TO t_user\n"


def test_partial_revokes_do_not_survive(converges: Module, world: Any) -> None:
    """What the whole does not mention is gone, a REVOKE inside a grant included."""
    world.query("GRANT SELECT ON *.* TO t_user")
    world.query("REVOKE SELECT ON shop.* FROM t_user")
    converges("grant", {"grantee": "t_user", "mode": "exact", "privileges": select("*.*")})
    assert grants(world, "t_user") == "GRANT SELECT ON *.* TO t_user\n"
    world.query("REVOKE SELECT ON shop.* FROM t_user")
    converges("grant", {"grantee": "t_user", "state": "absent"})
    assert grants(world, "t_user") == ""


def test_absent_takes_roles_too(converges: Module, world: Any) -> None:
    """A grantee that may nothing has no roles either."""
    world.query("GRANT t_one, t_two TO t_user")
    converges("grant", {"grantee": "t_user", "state": "absent"})
    assert grants(world, "t_user") == ""


# -- quoting


def test_quotes_everywhere(converges: Module, world: Any) -> None:
    """Whatever is in a name, a host, a setting, a profile, a grantee or a scope stays in it."""
    nasty = "t_'a` \\ \"b\" -- ' HOST ANY --"
    plain_name = "t_my-role"
    converges("settings_profile", {"name": nasty})
    converges("role", {"name": plain_name})
    converges("user", {
        "name": nasty,
        "host": {"like": [nasty]},
        "settings": [{"name": "log_comment", "value": nasty}],
        "profiles": [nasty],
        "roles": [{"name": plain_name}],
    })  # fmt: skip
    converges("settings_profile", {"name": nasty, "apply_to": {"names": [plain_name]}})
    converges("grant", {"grantee": nasty, "privileges": select("`my-db`.*", "`a'b`.`c d`")})
    assert world.query("SELECT count() FROM system.grants WHERE user_name LIKE 't_%' AND database = 'my-db'") == "1\n"
    converges("user", {"name": nasty, "state": "absent"})


# -- secrets, TLS, diff


def test_passwords_are_not_in_what_is_returned(module: Module, failed: Any, world: Any) -> None:
    """Neither in results, nor in diffs, nor in the invocation that a failure shows."""
    methods = [{"type": "plaintext_password", "password": "t S3cret"}]
    results = [module("user", {"name": "t_user", "authentication": methods}, check=check) for check in (True, False)]
    results.append(failed("user", {"name": "t_user", "authentication": methods, "roles": [{"name": "t_missing"}]}))
    assert "S3cret" not in json.dumps(results)


def test_before_and_after_differ_when_something_changes(module: Module, world: Any) -> None:
    """In check mode as well, for each module; and what cannot be seen in a diff is marked."""
    world.query("CREATE SETTINGS PROFILE t_p")
    for name, options in (
        ("user", {"name": "t_user", "host": {"local": True}}),
        ("user", {"name": "t_user", "authentication": [{"type": "sha256_password", "password": "a"}]}),
        ("role", {"name": "t_one", "settings": [{"name": "max_threads", "value": 1}]}),
        ("settings_profile", {"name": "t_p", "settings": [{"name": "max_threads", "value": 1}]}),
        ("grant", {"grantee": "t_user", "privileges": select("shop.*")}),
        ("grant", {"grantee": "t_user", "roles": [{"name": "t_two"}]}),
    ):
        diff = module(name, options, check=True)["diff"]
        assert diff["before"] != diff["after"], options
        assert module(name, options)["diff"] == diff


def test_statements_say_on_cluster(module: Module, world: Any) -> None:
    """Every statement of a run with a cluster, those of roles included."""
    options = {"name": "t_new", "cluster": "default", "roles": [{"name": "t_one"}], "default_roles": {"none": True}}
    statements = module("user", options, check=True)["statements"]
    assert len(statements) == 3
    assert all("ON CLUSTER `default`" in statement for statement in statements)
