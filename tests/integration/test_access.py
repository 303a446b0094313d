"""Many entities in one run: clickhouse_access on real servers, statements and effects looked at by SQL."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident
from tests.integration.servers import administrator, on_newest, tls_relay
from tests.sandbox import Fault

if TYPE_CHECKING:
    from tests.sandbox import Client

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]

PREFIX = "ac_"
"""What all names in these tests begin with."""
_DROPS = {
    "users": "USER",
    "roles": "ROLE",
    "settings_profiles": "SETTINGS PROFILE",
    "quotas": "QUOTA",
    "row_policies": "ROW POLICY",
    "named_collections": "NAMED COLLECTION",
    "databases": "DATABASE",
}

on_sandbox = pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="needs a way to the server that counts")


def sweep(admin: Client) -> None:
    """Drop everything whose name begins with the prefix."""
    for table, keyword in _DROPS.items():
        found = [name for (name,) in admin.rows(f"SELECT name FROM system.{table} WHERE startsWith(name, '{PREFIX}')")]
        # the name of a row policy is more than an identifier, and some kinds are dropped one by one
        quoted = found if table == "row_policies" else [ident(name) for name in found]
        one_by_one = table in ("row_policies", "named_collections", "databases")
        for names in quoted if one_by_one else filter(None, [", ".join(quoted)]):
            admin.query(f"DROP {keyword} {names}")


def names(admin: Client) -> dict[str, list[str]]:
    """What there is whose name begins with the prefix, by table."""
    found = {
        table: [
            name
            for (name,) in admin.rows(
                f"SELECT name FROM system.{table} WHERE startsWith(name, '{PREFIX}') ORDER BY name"
            )
        ]
        for table in _DROPS
    }
    return {table: its for table, its in found.items() if its}


@pytest.fixture(autouse=True)
def swept(admin: Client) -> Iterator[None]:
    """Nothing of ours before and after."""
    sweep(admin)
    yield
    sweep(admin)


@pytest.fixture
def access(module: Module) -> Module:
    """Check, apply, apply again: the prediction is the truth, and the second run finds nothing to do."""

    def run(options: Options, **login: Any) -> dict[str, Any]:
        predicted = module("access", options, check=True, **login)
        applied = module("access", options, **login)
        for key in ("changed", "statements", "changes", "diff"):
            assert predicted.get(key) == applied.get(key), key
        again = module("access", options, **login)
        assert (again["changed"], again["statements"], again["changes"]) == (False, [], []), again["statements"]
        assert again["diff"]["before"] == again["diff"]["after"]
        return applied

    return run


EVERYTHING: Options = {
    "databases": [{"name": "ac_db"}],
    "users": [
        {
            "name": "ac_alice",
            "authentication": [{"type": "sha256_password", "password": "only for tests 1"}],
            "host": {"ip": ["10.0.0.0/8"], "local": True},
            "roles": [{"name": "ac_reader"}, {"name": "ac_writer", "admin_option": True}],
            "default_roles": {"names": ["ac_reader"]},
            "grantees": {"names": ["ac_bob", "ac_writer"]},
            "profiles": ["ac_tight"],
            "settings": [{"name": "max_threads", "value": 3}],
            "default_database": "ac_db",
        },
        {"name": "ac_bob", "grantees": {"any": True, "except": ["ac_alice"]}, "profiles": ["ac_wide"]},
        {"name": "ac_carol", "default_roles": {"all": True, "except": ["ac_reader"]}},
    ],
    "roles": [
        {"name": "ac_reader", "roles": [{"name": "ac_base"}], "profiles": ["ac_tight"]},
        {"name": "ac_writer"},
        {"name": "ac_base", "settings": [{"name": "max_memory_usage", "value": "1Gi"}]},
    ],
    "settings_profiles": [
        {"name": "ac_tight", "profiles": ["ac_wide"], "apply_to": {"names": ["ac_alice", "ac_reader"]}},
        {"name": "ac_wide", "settings": [{"name": "max_memory_usage", "max": "8Gi"}]},
    ],
    "quotas": [
        {"name": "ac_quota", "intervals": [{"duration": 3600, "queries": 100}], "apply_to": {"names": ["ac_bob"]}}
    ],
    "row_policies": [
        {
            "name": "ac_policy",
            "database": "ac_db",
            "table": "t",
            "filter": "a = 1",
            "apply_to": {"all": True, "except": ["ac_writer"]},
        }
    ],
    "named_collections": [{"name": "ac_bucket", "keys": [{"name": "url", "value": "http://example.com/"}]}],
    "grants": [
        {"grantee": "ac_reader", "mode": "exact", "privileges": [{"privilege": ["SELECT"], "scope": ["ac_db.*"]}]},
        {
            "grantee": "ac_bob",
            "roles": [{"name": "ac_writer"}],
            "privileges": [{"privilege": ["INSERT"], "scope": ["ac_db.*"], "grant_option": True}],
        },
        {"grantee": "ac_carol", "mode": "exact", "roles": [{"name": "ac_reader"}, {"name": "ac_base"}]},
        {"grantee": "ac_writer", "privileges": [{"privilege": ["SELECT"], "scope": ["ac_db.*"]}]},
    ],
}


def test_all_kinds_at_once(access: Module, module: Module, admin: Client) -> None:
    """Whatever refers to what, in whatever order: made in one run, changed in one, gone in one."""
    made = access(EVERYTHING)
    found = names(admin)
    wanted = {plural: sorted(its["name"] for its in EVERYTHING[plural]) for plural in _DROPS}
    wanted["row_policies"] = ["ac_policy ON ac_db.t"]
    assert found == wanted
    assert {change["action"] for change in made["changes"]} == {"create", "change"}
    made_kinds = {(change["kind"], change["name"]) for change in made["changes"] if change["action"] == "create"}
    assert len(made_kinds) == sum(map(len, wanted.values()))
    asked = (
        ("default_roles_list FROM system.users WHERE name = 'ac_alice'", "['ac_reader']"),
        ("grantees_list FROM system.users WHERE name = 'ac_alice'", "['ac_bob','ac_writer']"),
        ("grantees_except FROM system.users WHERE name = 'ac_bob'", "['ac_alice']"),
        ("default_roles_except FROM system.users WHERE name = 'ac_carol'", "['ac_reader']"),
        ("apply_to_list FROM system.settings_profiles WHERE name = 'ac_tight'", "['ac_alice','ac_reader']"),
        ("apply_to_list FROM system.quotas WHERE name = 'ac_quota'", "['ac_bob']"),
        ("apply_to_except FROM system.row_policies WHERE short_name = 'ac_policy'", "['ac_writer']"),
        ("groupArray(granted_role_name) FROM system.role_grants WHERE user_name = 'ac_bob'", "['ac_writer']"),
    )
    for question, answer in asked:
        assert admin.query(f"SELECT {question}").strip() == answer, question

    mixed = {
        "users": [
            {"name": "ac_alice", "roles": [{"name": "ac_new"}], "default_roles": {"all": True}},
            {"name": "ac_bob", "state": "absent"},
            {"name": "ac_dave", "roles": [{"name": "ac_new"}]},
        ],
        "roles": [
            {"name": "ac_writer", "state": "absent"},
            {"name": "ac_new", "roles": [{"name": "ac_reader"}], "profiles": ["ac_narrow"]},
        ],
        "settings_profiles": [{"name": "ac_narrow", "profiles": ["ac_tight"]}],
        "grants": [{"grantee": "ac_reader", "state": "absent"}],
    }
    changed = access(mixed)
    assert [statement.partition("`")[0] for statement in changed["statements"]] == [
        "CREATE SETTINGS PROFILE ",
        "CREATE ROLE ",
        "CREATE USER ",
        "GRANT ",
        "GRANT ",
        "ALTER USER ",
        "REVOKE ",
        "REVOKE SELECT ON ",
        "REVOKE ",
        "DROP USER ",
        "DROP ROLE ",
    ], changed["statements"]

    gone = {plural: [{"name": name, "state": "absent"} for name in found[plural]] for plural in found}
    gone["row_policies"] = [{"name": "ac_policy", "database": "ac_db", "table": "t", "state": "absent"}]
    gone["users"].append({"name": "ac_dave", "state": "absent"})
    gone["roles"].append({"name": "ac_new", "state": "absent"})
    gone["settings_profiles"].append({"name": "ac_narrow", "state": "absent"})
    gone.pop("databases")
    dropped = access(gone)
    assert names(admin) == {"databases": ["ac_db"]}
    assert len(dropped["statements"]) < len(dropped["changes"])


@pytest.mark.parametrize(("count", "turned"), [(50, False), (10, True)], ids=["downwards", "upwards"])
def test_references_in_any_order(access: Module, admin: Client, count: int, turned: bool) -> None:
    """A chain of profiles and one of roles, named from either end; and each refers to the others' kinds."""
    chain = range(count - 1, -1, -1) if turned else range(count)
    access(
        {
            "users": [
                {
                    "name": f"ac_u{step}",
                    "roles": [{"name": f"ac_r{step}"}],
                    "profiles": [f"ac_p{step}"],
                    "grantees": {"names": [f"ac_u{(step + 1) % count}", f"ac_r{step}"]},
                    "default_roles": {"names": [f"ac_r{step}"]},
                }
                for step in chain
            ],
            "roles": [
                {
                    "name": f"ac_r{step}",
                    "roles": [{"name": f"ac_r{step + 1}"}] if step < count - 1 else [],
                    "profiles": [f"ac_p{step}"],
                }
                for step in chain
            ],
            "settings_profiles": [
                {
                    "name": f"ac_p{step}",
                    "profiles": [f"ac_p{step + 1}"] if step < count - 1 else [],
                    "apply_to": {"names": [f"ac_u{step}", f"ac_r{(step + 7) % count}"]},
                }
                for step in chain
            ],
        }
    )
    counted = "SELECT count() FROM system.{} WHERE startsWith({}, 'ac_')"
    assert admin.query(counted.format("role_grants", "granted_role_name")) == f"{2 * count - 1}\n"
    assert admin.query(counted.format("settings_profile_elements", "inherit_profile")) == f"{3 * count - 1}\n"
    # turned round in one run: profiles and roles that were below are above
    access(
        {
            "settings_profiles": [
                {"name": f"ac_p{step}", "profiles": [f"ac_p{step - 1}"] if step else []} for step in chain
            ],
            "roles": [
                {"name": f"ac_r{step}", "roles": [{"name": f"ac_r{step - 1}"}] if step else []} for step in chain
            ],
        }
    )
    assert admin.query(counted.format("role_grants", "granted_role_name")) == f"{2 * count - 1}\n"


def test_statements_are_shared(access: Module) -> None:
    """One statement for many, each secret and each clause apart; given before taken."""
    users = [{"name": f"ac_u{number}", "roles": [{"name": "ac_old"}]} for number in range(20)]
    grants = [
        {"grantee": f"ac_u{number}", "privileges": [{"privilege": ["SELECT"], "scope": ["system.one"]}]}
        for number in range(20)
    ]
    roles = [{"name": name} for name in ("ac_old", "ac_one", "ac_two")]
    made = access({"users": users, "roles": roles, "grants": grants})
    everybody = ", ".join(f"`ac_u{number}`" for number in range(20))
    assert made["statements"] == [
        "CREATE ROLE `ac_old`, `ac_one`, `ac_two`",
        f"CREATE USER {everybody} IDENTIFIED WITH no_password",
        f"GRANT `ac_old` TO {everybody}",
        f"GRANT SELECT ON `system`.`one` TO {everybody}",
    ]
    replaced = access(
        {
            "users": [{**user, "roles": [{"name": "ac_one"}]} for user in users[:19]]
            + [{"name": "ac_u19", "state": "absent"}],
            "roles": [{"name": "ac_two", "state": "absent"}],
            "purge": {"roles": ["ac_o*"]},
        }
        | {"roles": [{"name": "ac_two", "state": "absent"}, {"name": "ac_one"}]}
    )
    most = everybody.removesuffix(", `ac_u19`")
    assert replaced["statements"] == [
        f"GRANT `ac_one` TO {most}",
        f"REVOKE `ac_old` FROM {most}",
        "DROP USER `ac_u19`",
        "DROP ROLE `ac_two`, `ac_old`",
    ]


@on_sandbox
@pytest.mark.parametrize("count", [1, 200])
def test_one_request_reads_everything(module: Module, clickhouse: Any, version: tuple[int, int], count: int) -> None:
    """However many there are: two requests of the login, one that reads; older versions say less in their tables."""
    wish = {
        "users": [
            {
                "name": f"ac_u{number}",
                "authentication": [{"type": "sha256_password", "password": f"only for tests {number}"}],
                "update_password": "on_create",
                "valid_until": "2040-01-01 00:00:00",
                "host": {"ip": [f"10.0.{number}.0/24"]},
                "roles": [{"name": f"ac_r{number}"}],
                "settings": [{"name": "max_threads", "value": 4}],
            }
            for number in range(count)
        ],
        "roles": [{"name": f"ac_r{number}", "profiles": ["ac_p"]} for number in range(count)],
        "settings_profiles": [{"name": "ac_p", "settings": [{"name": "max_memory_usage", "value": "1Gi"}]}],
        "grants": [
            {"grantee": f"ac_r{number}", "privileges": [{"privilege": ["SELECT"], "scope": [f"ac_db.t{number}"]}]}
            for number in range(count)
        ],
    }
    for user in wish["users"]:
        del user["valid_until"]
        user["authentication"][0]["valid_until"] = "2040-01-01 00:00:00"
    module("access", wish)
    with clickhouse.faults() as proxy:
        login = {"login_host": "localhost", "login_port": proxy.port, "login_secure": False, "login_ca_cert": None}
        assert module("access", wish, **login)["changed"] is False
    most = 3 if version >= (25, 9) else 6  # SHOW CREATE USER, SHOW GRANTS of users and of roles
    assert 3 <= len(proxy.statements) <= most, [statement[:100] for statement in proxy.statements]


# -- what cannot be -------------------------------------------------------------------------------------------------


def errors(failed: Module, options: Options, **login: Any) -> dict[str, str]:
    """What a refused run says, the same in check mode: option and reason."""
    said = failed("access", options, **login)
    assert failed("access", options, check=True, **login)["errors"] == said["errors"]
    found = {error["option"]: error["reason"] for error in said["errors"]}
    assert len(found) == len(said["errors"])
    assert said["option"] == said["errors"][0]["option"] and said["msg"].endswith("Nothing was changed.")
    assert all(reason in said["msg"] for reason in found.values())
    return found


def test_everything_wrong_is_said_together(failed: Module, admin: Client) -> None:
    """Names that will not exist, circles, duplicates, contradictions, and what no server takes; nothing is changed."""
    admin.query("CREATE ROLE ac_there")
    found = errors(
        failed,
        {
            "users": [
                {"name": "ac_a", "roles": [{"name": "ac_nowhere"}], "profiles": ["ac_noprofile"]},
                {"name": "ac_a"},
                {"name": "ac_b", "roles": [{"name": "ac_gone"}], "grantees": {"names": ["ac_nobody"]}},
                {"name": "ac_c", "host": {"ip": ["10.0.0.300"]}},
                {"name": "ac_d", "roles": []},
                {"name": "ac_e", "grantees": {"any": True, "except": ["ac_c"]}},
                {"name": "ac_f", "state": "absent"},
                {"name": "default", "settings": [{"name": "max_threads", "value": 77}]},
                {"name": "ac_guarded", "state": "absent"},
                {"name": "ac_g", "default_roles": {"names": ["ac_there"]}},
            ],
            "roles": [
                {"name": "ac_gone", "state": "absent"},
                {"name": "ac_b"},
                {"name": "ac_r1", "roles": [{"name": "ac_r2"}]},
                {"name": "ac_r2", "roles": [{"name": "ac_r3"}]},
                {"name": "ac_r3", "roles": [{"name": "ac_r1"}]},
                {"name": "ac_r4", "roles": [{"name": "ac_r4"}]},
            ],
            "settings_profiles": [
                {"name": "ac_p1", "profiles": ["ac_p2"]},
                {"name": "ac_p2", "profiles": ["ac_p1"]},
                {"name": "ac_p3", "apply_to": {"names": ["ac_stranger"]}},
                {"name": "ac_p4", "settings": [{"name": "max_threads", "value": "many"}]},
            ],
            "grants": [
                {"grantee": "ac_d", "roles": [{"name": "ac_there"}]},
                {"grantee": "ac_f", "privileges": [{"privilege": ["SELECT"], "scope": ["*.*"]}]},
                {"grantee": "ac_unknown", "privileges": [{"privilege": ["SELECT"], "scope": ["*.*"]}]},
                {"grantee": "ac_r1", "privileges": [{"privilege": ["NONSENSE"], "scope": ["*.*"]}]},
                {"grantee": "ac_there", "mode": "exact", "privileges": []},
                {"grantee": "ac_there", "privileges": []},
            ],
            "quotas": [{"name": "ac_q", "apply_to": {"names": ["ac_noone"]}}],
            "row_policies": [
                {"name": "ac_p", "database": "ac_db", "table": "t", "filter": "1", "apply_to": {"names": ["ac_noone"]}},
                {"name": "ac_p", "database": "ac_db", "table": "t"},
                {"name": "ac_p", "database": "ac_db", "table": "u"},
            ],
            "protected": ["ac_guard*"],
        },
    )
    expected = {
        "users[0].roles": "role ac_nowhere does not exist and is not declared",
        "users[0].profiles": "settings profile ac_noprofile does not exist and is not declared",
        "users[1].name": "ac_a is declared already, in users[0]",
        "users[2].roles": "role ac_gone is wanted here and absent in roles[0]: decide for one",
        "users[2].grantees.names": "user or role ac_nobody does not exist and is not declared",
        "users[3].host.ip[0]": "",
        "users[9].default_roles.names": "role ac_there is not granted to ac_g: add it to roles",
        "users[7].name": "default lives in users",
        "users[8].state": "ac_guarded is protected, so it is not dropped",
        "roles[1].name": "ac_b is a user too (users[2])",
        "roles[2].roles": "roles would go round in a circle: ac_r1 -> ac_r2 -> ac_r3 -> ac_r1",
        "roles[5].roles": "roles would go round in a circle: ac_r4 -> ac_r4",
        "settings_profiles[0].profiles": "settings profiles would go round in a circle: ac_p1 -> ac_p2 -> ac_p1",
        "settings_profiles[2].apply_to.names": "user or role ac_stranger does not exist and is not declared",
        "settings_profiles[3].settings[0].value": "",
        "grants[0].roles": "the roles of ac_d are said in users[4].roles too",
        "grants[1].grantee": "user or role ac_f is wanted here and absent in users[6]",
        "grants[2].grantee": "user or role ac_unknown does not exist and is not declared",
        "grants[3].privileges[0]": "NONSENSE",
        "grants[5].grantee": "ac_there is declared already, in grants[4]",
        "quotas[0].apply_to.names": "user or role ac_noone does not exist and is not declared",
        "row_policies[0].apply_to.names": "user or role ac_noone does not exist and is not declared",
        "row_policies[1].name": "is declared already, in row_policies[0]",
    }
    assert found.keys() == expected.keys()
    assert [option for option, reason in expected.items() if reason not in found[option]] == []
    assert names(admin) == {"roles": ["ac_there"]}


def test_circles_that_close_over_what_exists(access: Module, failed: Module, module: Module, admin: Client) -> None:
    """New circles are refused whoever draws the last line; those that are there stay, and can be undone."""
    for statement in (
        "CREATE ROLE ac_a, ac_b, ac_c",
        "GRANT ac_b TO ac_a",
        "GRANT ac_c TO ac_b",
        "CREATE SETTINGS PROFILE ac_p, ac_r, ac_s",
        "CREATE SETTINGS PROFILE ac_q SETTINGS INHERIT ac_p",
        "ALTER SETTINGS PROFILE ac_r SETTINGS INHERIT ac_s",
        "ALTER SETTINGS PROFILE ac_s SETTINGS INHERIT ac_r",
    ):
        admin.query(statement)
    way = "roles would go round in a circle: ac_c -> ac_a -> ac_b -> ac_c"
    assert errors(failed, {"roles": [{"name": "ac_c", "roles": [{"name": "ac_a"}]}]}) == {"roles[0].roles": way}
    given = {"grantee": "ac_c", "roles": [{"name": "ac_a"}]}
    assert errors(failed, {"grants": [given]}) == {"grants[0].roles": way}
    assert errors(failed, {"grants": [given], "roles": [{"name": "ac_c"}]}) == {"grants[0].roles": way}
    assert errors(failed, {"settings_profiles": [{"name": "ac_p", "profiles": ["ac_q"]}]}) == {
        "settings_profiles[0].profiles": "settings profiles would go round in a circle: ac_p -> ac_q -> ac_p"
    }
    # no circle once the run is over
    access({"roles": [{"name": "ac_c", "roles": [{"name": "ac_a"}]}, {"name": "ac_a", "roles": []}]})
    access(
        {
            "settings_profiles": [
                {"name": "ac_p", "profiles": ["ac_q"]},
                {"name": "ac_q", "profiles": []},
                {"name": "ac_t", "profiles": ["ac_s"]},
            ]
        }
    )
    # a circle that somebody else made is not the run's
    there = {"settings_profiles": [{"name": "ac_r", "profiles": ["ac_s"]}, {"name": "ac_s", "profiles": ["ac_r"]}]}
    assert module("access", there)["changed"] is False
    access({"settings_profiles": [{"name": "ac_r", "profiles": []}, {"name": "ac_s", "profiles": ["ac_r"]}]})
    for statement in ("GRANT ac_c TO ac_c", "ALTER SETTINGS PROFILE ac_s SETTINGS INHERIT ac_s"):
        admin.query(statement)
    assert module("access", {"roles": [{"name": "ac_c"}], "settings_profiles": [{"name": "ac_s"}]})["changed"] is False


def test_a_user_and_a_role_of_one_name(access: Module, failed: Module, admin: Client) -> None:
    """GRANT ... TO name means the user: such a role is not made, and where both exist it is not given anything."""
    admin.query("CREATE USER ac_x")
    reason = "ac_x is a user too (which exists)"
    (found,) = errors(failed, {"roles": [{"name": "ac_x"}]}).items()
    assert found[0] == "roles[0].name" and found[1].startswith(reason)
    access({"roles": [{"name": "ac_x"}], "users": [{"name": "ac_x", "state": "absent"}]})
    admin.query("CREATE USER ac_x")
    admin.query("CREATE ROLE ac_y")
    access({"roles": [{"name": "ac_x", "settings": [{"name": "max_threads", "value": 2}]}]})
    (found,) = errors(failed, {"roles": [{"name": "ac_x", "roles": [{"name": "ac_y"}]}]}).items()
    assert found == ("roles[0].roles", found[1]) and "mean the user" in found[1]
    access({"users": [{"name": "ac_x", "roles": [{"name": "ac_y"}]}]})
    assert admin.query("SELECT user_name FROM system.role_grants WHERE granted_role_name = 'ac_y'") == "ac_x\n"


# -- purge ----------------------------------------------------------------------------------------------------------


def test_purge(access: Module, module: Module, admin: Client) -> None:
    """What is not declared goes, within the patterns; not what is protected, read-only, or outside."""
    for statement in (
        "CREATE USER ac_u1, ac_u2, ac_u3, ac_keep, ac_v1",
        "CREATE ROLE ac_r1, ac_r2, ac_keep_role",
        "CREATE SETTINGS PROFILE ac_p1 SETTINGS max_threads = 2 TO ac_u1",
        "CREATE SETTINGS PROFILE ac_p2",
        "CREATE QUOTA ac_q1 TO ac_r1",
        "CREATE ROW POLICY ac_w1 ON ac_db.t, ac_db.u USING 1 TO ac_u1, ac_keep",
        "CREATE NAMED COLLECTION ac_n1 AS a = 'b'",
        "GRANT SELECT ON *.* TO ac_u1, ac_r1",
        "GRANT ac_r1 TO ac_v1",
        "GRANT ac_r2 TO ac_v1",
    ):
        admin.query(statement)
    wish = {
        "users": [{"name": "ac_u2"}, {"name": "ac_new"}],
        "purge": {
            "users": ["ac_u*", "ac_k*", "default", "ac_?ew"],
            "roles": ["ac_*"],
            "settings_profiles": ["ac_p1", "default"],
            "quotas": ["ac_[q]*"],
            "row_policies": ["ac_w*"],
            "named_collections": ["ac_*"],
        },
        "protected": ["ac_keep*", "ac_r2"],
    }
    done = access(wish)
    assert [change for change in done["changes"] if change["kind"] == "user"] == [
        {"kind": "user", "name": "ac_new", "action": "create"},
        {"kind": "user", "name": "ac_u1", "action": "drop"},
        {"kind": "user", "name": "ac_u3", "action": "drop"},
    ]
    assert names(admin) == {
        "users": ["ac_keep", "ac_new", "ac_u2", "ac_v1"],
        "roles": ["ac_keep_role", "ac_r2"],
        "settings_profiles": ["ac_p2"],
    }
    assert "DROP USER `ac_u1`, `ac_u3`" in done["statements"]
    assert [statement for statement in done["statements"] if statement.startswith("DROP ROLE")] == ["DROP ROLE `ac_r1`"]
    # nothing hangs in the air: a name that comes back is a new one
    assert admin.query("SELECT granted_role_name FROM system.role_grants WHERE user_name = 'ac_v1'") == "ac_r2\n"
    admin.query("CREATE ROLE ac_r1")
    admin.query("CREATE USER ac_u1")
    assert admin.query("SELECT count() FROM system.grants WHERE user_name = 'ac_u1' OR role_name = 'ac_r1'") == "0\n"
    assert admin.query("SELECT granted_role_name FROM system.role_grants WHERE user_name = 'ac_v1'") == "ac_r2\n"
    for nothing in ({}, {"users": []}, {"users": None}):
        assert module("access", {"users": [{"name": "ac_new"}], "purge": nothing})["changed"] is False


def test_purge_drops_nothing_that_is_needed(failed: Module, admin: Client) -> None:
    """Neither what a declared entity refers to, nor the grantee of declared grants."""
    admin.query("CREATE ROLE ac_r1, ac_r2")
    admin.query("CREATE SETTINGS PROFILE ac_p1")
    admin.query("CREATE USER ac_u1")
    would = "would be purged: declare it, or leave it out of purge"
    found = errors(
        failed,
        {
            "users": [{"name": "ac_u2", "roles": [{"name": "ac_r1"}], "profiles": ["ac_p1"]}],
            "grants": [{"grantee": "ac_u1", "privileges": [{"privilege": ["SELECT"], "scope": ["*.*"]}]}],
            "purge": {"roles": ["ac_*"], "settings_profiles": ["ac_*"], "users": ["ac_*"]},
        },
    )
    assert found == {
        "users[0].roles": f"role ac_r1 is wanted here and {would}",
        "users[0].profiles": f"settings profile ac_p1 is wanted here and {would}",
        "grants[0].grantee": f"user or role ac_u1 is wanted here and {would}",
    }
    assert names(admin)["users"] == ["ac_u1"]


def test_purge_never_takes_the_user_of_the_run(module: Module, clickhouse: Any, admin: Client) -> None:
    """Whatever the patterns and whoever it is; and a name that is a pattern is taken as it is."""
    for name in ("ac_me", "ac_[me]*"):
        login = administrator(clickhouse, name, "GRANT ALL ON *.* TO {} WITH GRANT OPTION")
        admin.query("CREATE USER OR REPLACE ac_m, ac_other")
        gone = module("access", {"purge": {"users": ["ac_*"]}}, **login)
        assert {change["name"] for change in gone["changes"]} >= {"ac_m", "ac_other"}
        assert names(admin)["users"] == [name]


# -- secrets --------------------------------------------------------------------------------------------------------


def test_no_secret_is_said(module: Module, failed: Module, caplog: Any, capsys: Any, monkeypatch: Any) -> None:
    """Neither in results, diffs and warnings, nor in what goes to the system's log; failing runs included."""
    from ansible.module_utils.basic import AnsibleModule

    logged: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda self, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    hashed = "0123456789ABCDEF" * 4
    wish = {
        "users": [
            {"name": "ac_a", "authentication": [{"type": "sha256_password", "password": "Hunter2-one"}]},
            {
                "name": "ac_b",
                "authentication": [{"type": "sha256_password", "password_hash": hashed, "salt": "Hunter2-salt"}],
            },
        ],
        "named_collections": [{"name": "ac_n", "keys": [{"name": "secret", "value": "Hunter2-value"}]}],
    }
    said = [module("access", wish, check=True), module("access", wish), module("access", wish)]
    wish["users"][0]["authentication"][0]["password"] = "Hunter2-two"
    said += [module("access", wish)]
    bad_role = {**wish, "roles": [{"name": "ac_r", "roles": [{"name": "ac_missing"}]}]}
    bad_hash = {
        "users": [{"name": "ac_b", "authentication": [{"type": "sha256_password", "password_hash": "Hunter2-x"}]}]
    }
    bad_type = {"users": [{"name": "ac_b", "authentication": [{"type": "Hunter", "password": "Hunter2-y"}]}]}
    said += [failed("access", bad_role), failed("access", bad_hash), failed("access", bad_type)]
    said += [failed("access", wish, login_password="Hunter2-login", login_user="ac_a")]
    said += [failed("access", {**wish, "users": [{**wish["users"][0], "name": "ac_c", "storage": "ac_no_such"}]})]
    text = json.dumps([said, logged])
    assert not re.search(f"Hunter2|{hashed}", text, re.IGNORECASE), text
    assert "[HIDDEN]" in text and logged and "users: 2" in logged[0]
    assert said[-1]["failed_statement"].startswith("CREATE USER")


# -- real playbooks -------------------------------------------------------------------------------------------------


def play(*tasks: Options, **defaults: Any) -> Options:
    """A play of tasks; the connection comes from the group of modules."""
    return {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/hardened.clickstack.clickhouse": defaults},
        "tasks": list(tasks),
    }


class FileWatch:
    """Reads all progress files below a directory while its block runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: set[str] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> FileWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            for path in self.directory.rglob("clickhouse_access-*"):
                try:
                    self.said.add(path.read_text())
                except OSError:  # it is gone
                    continue


@on_sandbox
@on_newest
def test_a_long_run_shows_how_far_it_is(playbook: Any, clickhouse: Any, admin: Client, tmp_path: Path) -> None:
    """A line every five seconds, from a file with nothing else in it, which is gone afterwards; async and check too."""
    wish = {
        "users": [
            {
                "name": f"ac_u{number}",
                "settings": [{"name": "max_threads", "value": number + 1}],
                "authentication": [{"type": "sha256_password", "password": "Hunter2-{{ 1 }}"}],
                "update_password": "on_create",
            }
            for number in range(12)
        ]
    }
    task = {"name": "All of them", "hardened.clickstack.clickhouse_access": wish}
    left = {"ansible.builtin.command": f"find {tmp_path / 'local'} -name 'clickhouse_access-*'", "register": "found"}
    none = {"ansible.builtin.assert": {"that": "found.stdout == ''"}}
    later = {**task, "async": 60, "poll": 1, "name": "Not waited for"}
    slow = [Fault(at, "delay", seconds=1.2) for at in range(2, 11)]
    with (
        clickhouse.faults(*slow) as proxy,
        tls_relay(proxy.port, clickhouse.authority.server()) as port,
        FileWatch(tmp_path) as watch,
    ):
        defaults = {"login_port": port, "login_timeout": 30}
        predicted = playbook([play(task, **defaults)], "--check")
        assert (predicted.code, predicted.recap["changed"]) == (0, 1), predicted.output
        assert names(admin) == {} and " of 12 statements" not in predicted.output
        run = playbook([play(task, {**left, "changed_when": False}, none, later, **defaults)], "-vvv")
    assert (run.code, run.recap["changed"]) == (0, 1), run.output
    assert re.search(r"^All of them: ([2-9]|1[01]) of 12 statements \(\d+ %\)$", run.output, re.MULTILINE), run.output
    assert "Hunter2" not in predicted.output + run.output
    assert len(watch.said) > 3 and all(re.fullmatch(r"|\d+ 12\n", text) for text in watch.said), watch.said
    assert len(names(admin)["users"]) == 12


@on_sandbox
@on_newest
def test_no_secret_in_what_ansible_says(playbook: Any, admin: Client, tmp_path: Path) -> None:
    """With -vvvv, differences and a log, of runs that work and runs that fail."""
    method = {"type": "sha256_password", "password": "Hunter2-one"}
    users = [
        {"name": "ac_a", "authentication": [method]},
        {"name": "ac_b", "authentication": [{"type": "double_sha1_password", "password_hash": "ABCD1234" * 5}]},
    ]
    keys = [{"name": "ac_n", "keys": [{"name": "secret", "value": "Hunter2-value"}]}]
    given = {"users": users, "keys": keys, "wrong": [{**users[0], "roles": [{"name": "ac_missing"}]}]}
    given["refused"] = [{**users[0], "name": "ac_c", "storage": "ac_nowhere"}]
    given["unknown"] = [{**users[0], "nonsense": True}]
    secrets = tmp_path / "given.yml"
    secrets.write_text(yaml.safe_dump(given))
    module = "hardened.clickstack.clickhouse_access"
    tasks: list[Options] = [{module: {"users": "{{ users }}", "named_collections": "{{ keys }}"}}]
    tasks += [
        {module: {"users": f"{{{{ {wrong} }}}}"}, "ignore_errors": True} for wrong in ("wrong", "refused", "unknown")
    ]
    log = tmp_path / "ansible.log"
    run = playbook([play(*tasks)], "-vvvv", "--diff", "-e", f"@{secrets}", ANSIBLE_LOG_PATH=str(log))
    assert (run.code, run.recap["changed"], run.recap["ignored"]) == (0, 1, 3), run.output
    assert not re.search("Hunter2|ABCD1234", run.output + log.read_text(), re.IGNORECASE)
    assert "ac_missing does not exist" in run.output and "failed_statement" in run.output and "[HIDDEN]" in run.output


@on_sandbox
@on_newest
def test_thousands_from_a_vars_file(playbook: Any, admin: Client, tmp_path: Path) -> None:
    """1,000 users, each with hosts, a role, a profile and two grants: made, and then nothing to do."""
    count = 1000
    given = {
        "users": [
            {
                "name": f"ac_u{number}",
                "host": {"ip": [f"10.0.{number % 200}.0/24"]},
                "roles": [{"name": f"ac_r{number % 20}"}],
                "profiles": [f"ac_p{number % 10}"],
            }
            for number in range(count)
        ],
        "roles": [{"name": f"ac_r{number}"} for number in range(20)],
        "settings_profiles": [
            {"name": f"ac_p{number}", "settings": [{"name": "max_threads", "value": number + 1}]}
            for number in range(10)
        ],
        "grants": [
            {
                "grantee": f"ac_u{number}",
                "privileges": [
                    {"privilege": ["SELECT"], "scope": ["ac_db.*"]},
                    {"privilege": ["INSERT"], "scope": [f"ac_db.t{number % 10}"]},
                ],
            }
            for number in range(count)
        ],
    }
    variables = tmp_path / "given.yml"
    variables.write_text(yaml.dump(given, Dumper=yaml.CSafeDumper))
    task = {"hardened.clickstack.clickhouse_access": {kind: f"{{{{ {kind} }}}}" for kind in given}}
    first, second = (playbook([play(task)], "-e", f"@{variables}") for _run in range(2))
    assert (first.code, first.recap["changed"]) == (0, 1), first.output[-3000:]
    assert (second.code, second.recap["changed"]) == (0, 0), second.output[-3000:]
    assert admin.query("SELECT count() FROM system.role_grants WHERE startsWith(user_name, 'ac_')") == f"{count}\n"
