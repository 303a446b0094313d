"""Roles: settings, profiles and roles in roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Module = Callable[..., dict[str, Any]]


def test_a_role_comes_changes_and_goes(module: Module, converges: Module) -> None:
    """Omitted is left alone, empty is cleared, absent is dropped."""
    converges("role", {"name": "role inner"})
    converges("settings_profile", {"name": "role base"})
    options = {"name": "role `outer'", "roles": [{"name": "role inner", "admin_option": True}], "profiles": ["role base"]}
    created = converges("role", {**options, "settings": [{"name": "max_threads", "value": 4, "max": "10"}]})
    assert created["diff"]["before"] == {}
    kept = converges("role", {"name": options["name"], "settings": []})
    assert kept["entity"] == {
        "roles": [{"name": "role inner", "admin_option": True}],
        "profiles": ["role base"],
        "settings": [],
    }
    converges("role", {"name": options["name"], "roles": [], "profiles": []})
    for name in (options["name"], "role inner"):
        gone = converges("role", {"name": name, "state": "absent"})
        assert gone["entity"] == {}
    module("settings_profile", {"name": "role base", "state": "absent"})
