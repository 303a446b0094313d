"""Plans: from what is there and what is wanted to a Change; nothing is asked of a server for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import (
    role,
    settings_profile,
    user,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    Change,
    Current,
    EntityType,
    Target,
    Wish,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import plan as plan_replicas
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.plan import shown
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server

DEFAULTS = {"user": user.DEFAULTS, "role": role.DEFAULTS, "settings_profile": settings_profile.DEFAULTS}
ENTITIES = [TYPES[kind] for kind in DEFAULTS]


class Closed:
    """A session that must not be used: whoever plans has all it needs."""

    version = "26.9.2.1"

    def query(self, sql: str, settings: Mapping[str, Any] | None = None) -> NoReturn:
        raise AssertionError(f"planning asked the server: {sql}")


@pytest.fixture
def server() -> Server:
    found = Server(Closed())  # type: ignore[arg-type]
    found.__dict__["user"] = "admin"  # what the server would say we are
    return found


def wish(kind: str, server: Server, **options: Any) -> Wish:
    return TYPES[kind].wish({"name": "x", "state": "present", **options}, server)


def there(kind: str, storage: str = "local_directory", read_only: bool = False, **document: Any) -> Current:
    return Current({**DEFAULTS[kind], **document}, storage, read_only)


def plan(entity_type: EntityType, wished: Wish, current: Current | None, target: Target, server: Server) -> Change:
    """On one server, as nearly everywhere here."""
    return plan_replicas(entity_type, wished, {"": current}, target, server)


def sql(change: Any) -> list[str]:
    return [statement.sql for statement in change.statements]


@pytest.mark.parametrize("entity_type", ENTITIES, ids=list(DEFAULTS))
class TestEveryEntity:
    def test_what_is_missing_is_created(self, entity_type: EntityType, server: Server) -> None:
        change = plan(entity_type, wish(entity_type.kind, server), None, Target(), server)
        assert (change.before, change.after) == (None, DEFAULTS[entity_type.kind])
        assert sql(change)[0].startswith(f"CREATE {entity_type.keyword} `x`")
        assert len(change.statements) == 1

    def test_what_is_there_and_was_not_mentioned_is_left_alone(self, entity_type: EntityType, server: Server) -> None:
        current = there(entity_type.kind, settings=[{"name": "a", "value": "1"}], profiles=["p"])
        change = plan(entity_type, wish(entity_type.kind, server), current, Target(), server)
        assert (change.before, change.after, change.statements) == (current.document, current.document, ())

    def test_a_changed_order_of_profiles_is_one_statement(self, entity_type: EntityType, server: Server) -> None:
        current = there(entity_type.kind, profiles=["a", "b"])
        change = plan(entity_type, wish(entity_type.kind, server, profiles=["b", "a"]), current, Target(), server)
        word = "INHERIT" if entity_type.kind == "settings_profile" else "PROFILE"
        assert sql(change) == [f"ALTER {entity_type.keyword} `x` SETTINGS {word} `b`, {word} `a`"]
        again = plan(entity_type, wish(entity_type.kind, server, profiles=["a", "b", "a"]), current, Target(), server)
        assert again.statements == change.statements  # a repeated profile stands where it was named last

    def test_an_empty_list_clears(self, entity_type: EntityType, server: Server) -> None:
        current = there(entity_type.kind, profiles=["a"])
        change = plan(entity_type, wish(entity_type.kind, server, profiles=[]), current, Target(), server)
        assert sql(change) == [f"ALTER {entity_type.keyword} `x` SETTINGS NONE"]
        assert change.after is not None
        assert change.after["profiles"] == []

    def test_storage_and_cluster(self, entity_type: EntityType, server: Server) -> None:
        kind, keyword = entity_type.kind, entity_type.keyword
        wished, target = wish(kind, server, storage="disk `2`"), Target("c 1")
        created = plan(entity_type, wished, None, target, server)
        assert sql(created)[0].startswith(rf"CREATE {keyword} `x` IN `disk \`2\`` ON CLUSTER `c 1`")
        moved = plan(entity_type, wished, there(kind), target, server)
        assert sql(moved) == [rf"MOVE {keyword} `x` TO `disk \`2\`` ON CLUSTER `c 1`"]
        assert moved.before != moved.after
        assert plan(entity_type, wished, there(kind, "disk `2`"), target, server).statements == ()

    def test_absent(self, entity_type: EntityType, server: Server) -> None:
        kind, keyword = entity_type.kind, entity_type.keyword
        gone = wish(kind, server, state="absent")
        assert plan(entity_type, gone, None, Target(), server).statements == ()
        change = plan(entity_type, gone, there(kind), Target("c"), server)
        assert (change.after, sql(change)) == (None, [f"DROP {keyword} `x` ON CLUSTER `c`"])
        elsewhere = wish(kind, server, state="absent", storage="disk")
        assert plan(entity_type, elsewhere, there(kind), Target(), server).statements == ()
        here = plan(entity_type, elsewhere, there(kind, "disk"), Target(), server)
        assert sql(here) == [f"DROP {keyword} `x` FROM `disk`"]

    def test_what_sql_cannot_change_is_an_error_only_if_it_differs(
        self, entity_type: EntityType, server: Server
    ) -> None:
        kind = entity_type.kind
        current = there(kind, "users_xml", read_only=True, profiles=["a"])
        assert plan(entity_type, wish(kind, server, profiles=["a"]), current, Target(), server).statements == ()
        for options in ({"profiles": ["b"]}, {"state": "absent"}, {"storage": "disk"}):
            with pytest.raises(WishError, match="name: x lives in users_xml, which SQL cannot change"):
                plan(entity_type, wish(kind, server, **options), current, Target(), server)


ADMIN_ROLE = {"name": "a", "admin_option": True}
PLAIN_ROLE = {"name": "a", "admin_option": False}
ROLE_B = {"name": "b", "admin_option": False}


@pytest.mark.parametrize("kind", ["user", "role"])
@pytest.mark.parametrize(
    ("had", "wanted", "statements"),
    [
        ([], [ROLE_B, PLAIN_ROLE], ["GRANT `a`, `b` TO `x`"]),
        ([], [ADMIN_ROLE, ROLE_B], ["GRANT `b` TO `x`", "GRANT `a` TO `x` WITH ADMIN OPTION"]),
        ([PLAIN_ROLE], [ADMIN_ROLE], ["GRANT `a` TO `x` WITH ADMIN OPTION"]),
        ([ADMIN_ROLE], [PLAIN_ROLE], ["REVOKE ADMIN OPTION FOR `a` FROM `x`"]),
        ([ADMIN_ROLE], [ROLE_B], ["GRANT `b` TO `x`", "REVOKE `a` FROM `x`"]),
        ([PLAIN_ROLE], [], ["REVOKE `a` FROM `x`"]),
        ([PLAIN_ROLE, ROLE_B], [ROLE_B, PLAIN_ROLE], []),
    ],
)
def test_roles_are_given_before_any_is_taken(
    kind: str, had: list[Any], wanted: list[Any], statements: list[str], server: Server
) -> None:
    change = plan(TYPES[kind], wish(kind, server, roles=wanted), there(kind, roles=had), Target(), server)
    assert sql(change) == statements


@pytest.mark.parametrize(
    ("had", "options", "statements"),
    [
        ({}, {"default_roles": {"all": True}}, []),
        ({}, {"default_roles": {}}, ["ALTER USER `x` DEFAULT ROLE NONE"]),
        (
            {"roles": [PLAIN_ROLE, ROLE_B]},
            {"default_roles": {"names": ["b", "a", "b"]}},
            ["ALTER USER `x` DEFAULT ROLE `a`, `b`"],
        ),
        (
            {"roles": [PLAIN_ROLE]},
            {"default_roles": {"all": True, "except": ["a"]}},
            ["ALTER USER `x` DEFAULT ROLE ALL EXCEPT `a`"],
        ),
        (  # granted, then made default, then the old one taken: at no moment is there nothing
            {"roles": [PLAIN_ROLE], "default_roles": {"names": ["a"]}},
            {"roles": [ROLE_B], "default_roles": {"names": ["b"]}},
            ["GRANT `b` TO `x`", "ALTER USER `x` DEFAULT ROLE `b`", "REVOKE `a` FROM `x`"],
        ),
        ({}, {"grantees": {"any": True, "names": []}}, []),
        ({}, {"grantees": {"none": True}}, ["ALTER USER `x` GRANTEES NONE"]),
        ({}, {"grantees": {"any": True, "except": ["x"]}}, ["ALTER USER `x` GRANTEES ANY EXCEPT `x`"]),
        ({"default_database": "d"}, {"default_database": ""}, ["ALTER USER `x` DEFAULT DATABASE NONE"]),
        ({}, {"host": {"ip": ["::1", "127.0.0.1"], "local": True}}, ["ALTER USER `x` HOST LOCAL"]),
        ({}, {"host": {}}, ["ALTER USER `x` HOST NONE"]),
        ({"host": {"local": True}}, {"host": {"ip": ["10.1.2.3/0"]}}, ["ALTER USER `x` HOST ANY"]),
        ({"host": {"local": True}}, {"host": {"name": ["LOCALHOST"]}}, []),
        (
            {},
            {"host": {"ip": ["10.0.0.9/8"], "like": ["%.x"]}, "default_database": "d"},
            ["ALTER USER `x` HOST IP '10.0.0.0/8', LIKE '%.x' DEFAULT DATABASE `d`"],
        ),
        (
            {"authentication": [{"type": "ldap", "server": "a"}]},
            {"authentication": [{"type": "kerberos"}]},
            ["ALTER USER `x` IDENTIFIED WITH kerberos"],
        ),
        (  # the same methods in another order are the same
            {"authentication": [{"type": "ldap", "server": "a"}, {"type": "kerberos"}]},
            {"authentication": [{"type": "kerberos"}, {"type": "ldap", "server": "a"}]},
            [],
        ),
    ],
)
def test_users(had: dict[str, Any], options: dict[str, Any], statements: list[str], server: Server) -> None:
    wished = wish("user", server, **options)
    change = plan(user.TYPE, wished, there("user", **had), Target(), server)
    assert sql(change) == statements
    assert change.after is not None
    again = plan(user.TYPE, wished, Current(change.after), Target(), server)
    assert (again.statements, again.after) == ((), change.after)


def test_a_revoked_role_leaves_the_default_roles(server: Server) -> None:
    had = there("user", roles=[PLAIN_ROLE, ROLE_B], default_roles={"names": ["a", "b"]})
    change = plan(user.TYPE, wish("user", server, roles=[ROLE_B]), had, Target(), server)
    assert change.after is not None
    assert change.after["default_roles"] == {"names": ["b"]}


@pytest.mark.parametrize(("verdict", "changed"), [("same", False), ("unknown", False), ("different", True)])
def test_a_password_is_set_only_if_it_is_known_to_differ(verdict: str, changed: bool, server: Server) -> None:
    methods = [{"type": "sha256_password", "password": "hunter2"}]
    wished = wish("user", server, authentication=methods)
    wished = Wish(**{**vars(wished), "extra": {**wished.extra, "password": verdict}})
    current = there("user", authentication=[{"type": "sha256_password", "password": "[HIDDEN]"}])
    change = plan(user.TYPE, wished, current, Target(), server)
    assert bool(change.statements) is changed
    assert "hunter2" not in repr(change) + "".join(s.sql for s in change.statements)
    if changed:
        expected = "ALTER USER `x` IDENTIFIED WITH sha256_hash BY '[HIDDEN]' SALT '[HIDDEN]'"
        assert [statement.shown for statement in change.statements] == [expected]
        assert change.before != change.after  # the diff says so, without the secret


@pytest.mark.parametrize(
    ("had", "wanted", "statements"),
    [
        ({"none": True}, {"all": True, "except": ["b", "a"]}, ["ALTER SETTINGS PROFILE `x` TO ALL EXCEPT `a`, `b`"]),
        ({"names": ["a"]}, {}, ["ALTER SETTINGS PROFILE `x` TO NONE"]),
        ({"names": ["a", "b"]}, {"names": ["b", "a"]}, []),
        ({"names": ["a"]}, {"names": ["all", "b"]}, ["ALTER SETTINGS PROFILE `x` TO `all`, `b`"]),
    ],
)
def test_who_a_profile_applies_to(
    had: dict[str, Any], wanted: dict[str, Any], statements: list[str], server: Server
) -> None:
    wished = wish("settings_profile", server, apply_to=wanted)
    change = plan(settings_profile.TYPE, wished, there("settings_profile", apply_to=had), Target(), server)
    assert sql(change) == statements


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("user", {"name": ""}, "name: a name cannot be empty"),
        ("role", {"name": "\ud800"}, "name: character 0"),
        ("user", {"storage": ""}, "storage: a name cannot be empty"),
        ("user", {"default_database": "\ud800"}, "default_database: character 0"),
        ("user", {"valid_until": "\ud800"}, "valid_until: character 0"),
        ("user", {"roles": [PLAIN_ROLE, ADMIN_ROLE]}, "roles[1].name: role a is given twice"),
        ("role", {"profiles": ["a", ""]}, "profiles[1]: a name cannot be empty"),
        ("settings_profile", {"apply_to": {"except": ["a"]}}, "apply_to: except needs all: true"),
    ],
)
def test_a_wish_that_cannot_be_names_its_option(
    kind: str, options: dict[str, Any], message: str, server: Server
) -> None:
    with pytest.raises(WishError) as caught:
        wish(kind, server, **options)
    assert str(caught.value).startswith(message)


def test_a_result_shows_plain_data_in_a_fixed_order() -> None:
    assert list(shown({"b": 1, "a": [2]})) == ["a", "b"]
    assert shown(None) == {}


@pytest.mark.parametrize("roles", [[], ["b"]])
def test_a_default_role_must_be_granted(roles: list[str], server: Server) -> None:
    granted = [{"name": name, "admin_option": False} for name in roles]
    wished = wish("user", server, roles=granted, default_roles={"names": ["a"]})
    with pytest.raises(WishError, match=r"default_roles\.names: role a is not granted to x"):
        plan(user.TYPE, wished, there("user"), Target(), server)
