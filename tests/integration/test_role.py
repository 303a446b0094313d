"""Roles: settings, profiles and roles in roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import literal

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]


def test_a_role_comes_changes_and_goes(converges: Module, scratch: Any) -> None:
    """Omitted is left alone, empty is cleared, absent is dropped."""
    outer, inner = scratch.reserve("role", "role `outer'"), scratch.reserve("role", "role inner")
    base = scratch.make("settings_profile", "role base")
    converges("role", {"name": inner})
    options = {"name": outer, "roles": [{"name": inner, "admin_option": True}], "profiles": [base]}
    created = converges("role", {**options, "settings": [{"name": "max_threads", "value": 4, "max": "10"}]})
    assert created["diff"]["before"] == {}
    kept = converges("role", {"name": outer, "settings": []})
    assert kept["entity"] == {"roles": [{"name": inner, "admin_option": True}], "profiles": [base], "settings": []}
    without = converges("role", {"name": outer, "profiles": []})
    assert without["entity"]["roles"] == kept["entity"]["roles"]
    plain = converges("role", {"name": outer, "roles": [{"name": inner}]})
    assert plain["statements"] == [f"REVOKE ADMIN OPTION FOR `{inner}` FROM `role \\`outer'`"]
    converges("role", {"name": outer, "roles": []})
    for name in (outer, inner):
        gone = converges("role", {"name": name, "state": "absent"})
        assert gone["entity"] == {}
        converges("role", {"name": name, "state": "absent"}, changed=False)


def test_privileges_are_left_alone(converges: Module, scratch: Any, admin: Any) -> None:
    """What a role may do is not this module's business, whatever it changes."""
    name = scratch.make("role", "role one")
    scratch.make("role", "role two")
    admin.query("GRANT SELECT ON r_db.* TO `role one`")
    converges(
        "role", {"name": name, "settings": [{"name": "max_threads", "value": 2}], "roles": [{"name": "role two"}]}
    )
    converges("role", {"name": name, "settings": [], "roles": []})
    assert admin.lines("SHOW GRANTS FOR `role one`") == ["GRANT SELECT ON r_db.* TO `role one`"]


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"roles": [{"name": "role missing"}]}, "roles"),
        ({"profiles": ["role missing"]}, "profiles"),
        ({"roles": [{"name": "role missing"}, {"name": "role missing"}]}, "roles[1].name"),
        ({"settings": [{"name": "max_threads", "value": "many"}]}, "settings[0].value"),
    ],
)
def test_refused_by_option(failed: Module, scratch: Any, admin: Any, options: Options, option: str) -> None:
    """Before anything is changed."""
    name = scratch.reserve("role", "role one")
    result = failed("role", {"name": name, **options})
    assert result["option"] == option and result["msg"].endswith("Nothing was changed.")
    assert admin.query(f"SELECT count() FROM system.roles WHERE name = {literal(name)}") == "0\n"


def test_roles_in_a_circle(converges: Module, scratch: Any) -> None:
    """ClickHouse allows it, a role in itself included; it is read back as it is, and unwound."""
    one, two = scratch.make("role", "role one"), scratch.make("role", "role two")
    converges("role", {"name": one, "roles": [{"name": two}]})
    converges("role", {"name": two, "roles": [{"name": one}, {"name": two}]})
    converges("role", {"name": two, "roles": [{"name": two}]})
    converges("role", {"name": two, "roles": []})
