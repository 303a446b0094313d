"""Nobody locks himself out: each way, by clickhouse_access and by the single modules, on real servers.

The run is logged in as an administrator of the test's own, in one of two ways: his rights are his own, or a role's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.servers import PASSWORD, administrator

if TYPE_CHECKING:
    from tests.sandbox import Client

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]

ME = "lo_me"
MINE = {"type": "sha256_password", "password": PASSWORD}
ALL = [{"privilege": ["ALL"], "scope": ["*.*"], "grant_option": True}]
LITTLE = [{"privilege": ["SELECT"], "scope": ["*.*"]}]


@pytest.fixture
def myself(clickhouse: Any, admin: Client) -> Iterator[Options]:
    """The login of an administrator whose rights come from a role, and who inherits a profile."""
    _sweep(admin)
    for statement in ("CREATE ROLE lo_boss, lo_other", "GRANT ALL ON *.* TO lo_boss WITH GRANT OPTION"):
        admin.query(statement)
    admin.query("CREATE SETTINGS PROFILE lo_profile SETTINGS max_threads = 2")
    yield administrator(
        clickhouse,
        ME,
        "GRANT lo_boss TO {} WITH ADMIN OPTION",
        "GRANT lo_other TO {}",
        "GRANT SELECT ON system.* TO {}",
        "ALTER USER {} SETTINGS PROFILE `lo_profile`",
    )
    _sweep(admin)


def _sweep(admin: Client) -> None:
    for statement in (
        "DROP USER IF EXISTS lo_me, lo_else",
        "DROP ROLE IF EXISTS lo_boss, lo_other, lo_new",
        "DROP SETTINGS PROFILE IF EXISTS lo_profile, lo_ro",
    ):
        admin.query(statement)


def state(admin: Client) -> list[str]:
    """All that a lockout could be about."""
    return [
        admin.query(f"SELECT * FROM system.{table} ORDER BY ALL")
        for table in ("users", "roles", "grants", "role_grants", "settings_profiles", "settings_profile_elements")
    ]


# what is asked for, the option that is named (as in the single module), and a text of the reason
WAYS: dict[str, tuple[str, Options, str, str]] = {
    "dropped": ("user", {"name": ME, "state": "absent"}, "state", "would be dropped"),
    "no host": ("user", {"name": ME, "host": {"none": True}}, "host", "nobody could log in"),
    "other hosts": ("user", {"name": ME, "host": {"ip": ["192.0.2.7"]}}, "host", "could not log in from"),
    "expired": ("user", {"name": ME, "valid_until": "2001-01-01 00:00:00"}, "valid_until", "would end at"),
    "another way in": (
        "user",
        {"name": ME, "authentication": [{"type": "ssl_certificate", "common_names": ["me"]}]},
        "authentication",
        "no method would be left",
    ),
    "another password": (
        "user",
        {"name": ME, "authentication": [{"type": "sha256_password", "password": "only for tests 8"}]},
        "authentication",
        "would not get in with the password",
    ),
    "another hash": (
        "user",
        {
            "name": ME,
            "authentication": [{"type": "sha256_password", "password_hash": "AB" * 32}],
            "update_password": "always",
        },
        "authentication",
        "would not get in with the password",
    ),
    "no roles": ("user", {"name": ME, "roles": []}, "roles", "would lose"),
    "no default roles": ("user", {"name": ME, "default_roles": {"names": ["lo_other"]}}, "default_roles", "would lose"),
    "no grantees": ("user", {"name": ME, "grantees": {"none": True}}, "grantees", "could not grant or revoke"),
    "read-only": ("user", {"name": ME, "settings": [{"name": "readonly", "value": 1}]}, "settings", "readonly"),
    "a role's rights": (
        "grant",
        {"grantee": "lo_boss", "mode": "exact", "privileges": LITTLE},
        "privileges",
        "would lose",
    ),
    "a role's rights gone": ("grant", {"grantee": "lo_boss", "state": "absent"}, "privileges", "would lose"),
    "a role's rights taken": ("grant", {"grantee": "lo_boss", "mode": "remove", "privileges": ALL}, "privileges", ""),
    "the role taken": ("grant", {"grantee": ME, "mode": "exact", "roles": []}, "roles", "would lose"),
    "the role dropped": ("role", {"name": "lo_boss", "state": "absent"}, "state", "would lose"),
    "a role read-only": (
        "role",
        {"name": "lo_other", "settings": [{"name": "readonly", "value": 2}]},
        "settings",
        "readonly",
    ),
    "a profile read-only": (
        "settings_profile",
        {"name": "lo_profile", "settings": [{"name": "readonly", "value": 1}]},
        "settings",
        "readonly",
    ),
    "a new profile": (
        "settings_profile",
        {"name": "lo_ro", "settings": [{"name": "readonly", "value": 1}], "apply_to": {"names": [ME]}},
        "settings",
        "readonly",
    ),
}
PLURALS = {"user": "users", "role": "roles", "grant": "grants", "settings_profile": "settings_profiles"}


@pytest.mark.parametrize("way", WAYS)
def test_no_way_out(module: Module, failed: Module, admin: Client, myself: Options, way: str) -> None:
    """Refused before the first statement, in check mode too, and the wish is named; done if that is said."""
    kind, options, option, reason = WAYS[way]
    before = state(admin)
    for check in (True, False):
        alone = failed(kind, options, check=check, **myself)
        assert alone["option"] == option and reason in alone["msg"] and "allow_lockout" in alone["msg"], alone
        # among others it is the one that is named; none of the others is done either
        many = {PLURALS[kind]: [options], "databases": [{"name": "lo_db"}]}
        many.setdefault("users", []).insert(0, {"name": "lo_else"})
        path = f"{PLURALS[kind]}[{1 if kind == 'user' else 0}].{option}"
        together = failed("access", many, check=check, **myself)
        assert [error["option"] for error in together["errors"]] == [path], together
        said = together["errors"][0]["reason"]
        if way != "expired":  # the time is told too
            assert alone["msg"] == f"{option}: {said}. Nothing was changed."
    assert state(admin) == before
    assert admin.query("EXISTS DATABASE lo_db") == "0\n"
    allowed = module(kind, options, allow_lockout=True, **myself)
    # which password is stored does not show, nor in older versions until when
    assert allowed["changed"] and (state(admin) != before or way in ("another password", "another hash", "expired"))


HARMLESS: dict[str, tuple[str, Options]] = {
    "another user goes": ("user", {"name": "lo_else", "state": "absent"}),
    "more hosts": ("user", {"name": ME, "host": {"ip": ["127.0.0.0/8", "::1", "192.0.2.7"], "local": True}}),
    "expires later": ("user", {"name": ME, "valid_until": "2099-01-01 00:00:00"}),
    "the password that is": ("user", {"name": ME, "authentication": [MINE], "update_password": "always"}),
    "fewer roles": ("user", {"name": ME, "roles": [{"name": "lo_boss"}]}),
    "fewer default roles": ("user", {"name": ME, "default_roles": {"names": ["lo_boss"]}}),
    "fewer grantees": ("user", {"name": ME, "grantees": {"names": ["lo_other"]}}),
    "other settings": ("user", {"name": ME, "settings": [{"name": "max_threads", "value": 3}], "profiles": []}),
    "not read-only": ("user", {"name": ME, "settings": [{"name": "readonly", "value": 0}]}),
    "other rights": ("grant", {"grantee": "lo_other", "mode": "exact", "privileges": LITTLE}),
    "rights elsewhere": ("grant", {"grantee": ME, "state": "present", "mode": "exact", "privileges": []}),
    "another role": ("role", {"name": "lo_other", "state": "absent"}),
    "a profile": ("settings_profile", {"name": "lo_profile", "settings": []}),
    "another's profile": (
        "settings_profile",
        {
            "name": "lo_ro",
            "settings": [{"name": "readonly", "value": 1}],
            "apply_to": {"all": True, "except": [ME, "default", "lo_boss", "lo_other"]},
        },
    ),
}


@pytest.mark.parametrize("way", HARMLESS)
def test_what_looks_like_it_and_is_not(
    module: Module, admin: Client, myself: Options, way: str, clickhouse: Any
) -> None:
    """Changes of the same options that leave us in are done, and we are in afterwards."""
    admin.query("CREATE USER lo_else")
    kind, options = HARMLESS[way]
    assert module(kind, options, check=True, **myself)["changed"]
    assert module("access", {PLURALS[kind]: [options]}, **myself)["changed"]
    mine = clickhouse.session(ME, PASSWORD)
    assert mine.query("CREATE ROLE lo_new") == "" and mine.query("DROP ROLE lo_new") == ""


def test_several_that_do_it_together(failed: Module, module: Module, admin: Client, myself: Options) -> None:
    """Each wish is harmless while the other's way stays: all that have a part in it are named."""
    admin.query("GRANT ALL ON *.* TO lo_me WITH GRANT OPTION")
    own = {"grantee": ME, "mode": "exact", "privileges": []}
    role = {"grantee": "lo_boss", "mode": "exact", "privileges": LITTLE}
    before = state(admin)
    said = failed("access", {"grants": [own, role]}, **myself)
    assert {error["option"] for error in said["errors"]} == {"grants[0].privileges", "grants[1].privileges"}
    assert state(admin) == before
    assert module("access", {"grants": [role]}, **myself)["changed"]
    assert failed("access", {"grants": [own]}, **myself)["option"] == "grants[0].privileges"


def test_what_is_given_elsewhere_in_the_same_run_counts(module: Module, admin: Client, myself: Options) -> None:
    """A role is replaced by another that can do as much."""
    admin.query("CREATE USER lo_else")
    wish = {
        "users": [{"name": ME, "roles": [{"name": "lo_new"}]}],
        "roles": [{"name": "lo_new"}, {"name": "lo_boss", "state": "absent"}],
        "grants": [{"grantee": "lo_new", "privileges": ALL}],
    }
    assert module("access", wish, **myself)["changed"]
    assert module("access", {"users": [{"name": "lo_else", "state": "absent"}]}, **myself)["changed"]


def test_purge(failed: Module, module: Module, admin: Client, myself: Options) -> None:
    """What purge would take counts as well; the pattern is named, and what it covers."""
    before = state(admin)
    said = failed("access", {"purge": {"roles": ["lo_*"]}}, **myself)
    (error,) = said["errors"]
    assert error["option"] == "purge.roles"
    assert error["reason"].startswith("lo_boss is not declared; ") and "would lose" in error["reason"]
    assert state(admin) == before
    kept = module("access", {"purge": {"roles": ["lo_*"]}, "protected": ["lo_boss"]}, **myself)
    assert kept["statements"] == ["DROP ROLE `lo_other`"]
    gone = module("access", {"purge": {"roles": ["lo_*"]}, "allow_lockout": True}, **myself)
    assert gone["statements"] == ["DROP ROLE `lo_boss`"]
