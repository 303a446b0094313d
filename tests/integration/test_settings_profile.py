"""Settings profiles: values and constraints, inheritance in order, who they apply to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import literal
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]


@pytest.fixture
def profile(scratch: Any) -> str:
    """The name of a profile that is not there yet."""
    return str(scratch.reserve("settings_profile", "sp one"))


@pytest.fixture
def world(scratch: Any) -> None:
    """Profiles to inherit from, and a user and roles to apply to."""
    for name in ("sp base", "sp 'more'"):
        scratch.make("settings_profile", name)
    for name in ("sp reader", "sp writer"):
        scratch.make("role", name)
    scratch.make("user", "sp user")


FULL: Options = {
    "settings": [
        {"name": "max_memory_usage", "value": "10Mi", "min": "1Mi", "max": "1Gi", "writability": "writable"},
        {"name": "max_threads", "value": 4, "writability": "const"},
        {"name": "readonly", "value": 1},
        {"name": "max_execution_time", "min": 1},
        {"name": "max_rows_to_read", "value": 10, "writability": "changeable_in_readonly"},
    ],
    "profiles": ["sp base", "sp 'more'"],
    "apply_to": {"names": ["sp user", "sp reader"]},
}
EMPTY: dict[str, tuple[Any, Any]] = {
    "settings": ([], []),
    "profiles": ([], []),
    "apply_to": ({}, {"none": True}),
}


def test_a_profile_comes_changes_and_goes(converges: Module, module: Module, world: None, profile: str) -> None:
    """Omitted is left alone, empty is cleared, one option at a time; absent is dropped."""
    assert converges("settings_profile", {"name": profile})["entity"] == {
        key: cleared for key, (_empty, cleared) in EMPTY.items()
    }
    full = converges("settings_profile", {"name": profile, **FULL})["entity"]
    assert full == {
        "settings": [
            {"name": "max_execution_time", "min": "1"},
            {
                "name": "max_memory_usage",
                "value": "10485760",
                "min": "1048576",
                "max": "1073741824",
                "writability": "writable",
            },
            {"name": "max_rows_to_read", "value": "10", "writability": "changeable_in_readonly"},
            {"name": "max_threads", "value": "4", "writability": "const"},
            {"name": "readonly", "value": "1"},
        ],
        "profiles": ["sp base", "sp 'more'"],
        "apply_to": {"names": ["sp reader", "sp user"]},
    }
    bare = module("settings_profile", {"name": profile})
    assert not bare["changed"] and bare["entity"] == full
    for option, (empty, cleared) in EMPTY.items():
        full = {**full, option: cleared}
        assert converges("settings_profile", {"name": profile, option: empty})["entity"] == full
    made_again = converges("settings_profile", {"name": profile, **FULL})
    assert made_again["diff"]["before"] == full
    gone = converges("settings_profile", {"name": profile, "state": "absent"})
    assert gone["entity"] == {} and gone["diff"]["after"] == {}
    converges("settings_profile", {"name": profile, "state": "absent"}, changed=False)


def test_each_constraint_by_itself(converges: Module, admin: Any, profile: str) -> None:
    """Every part of a setting changes without the others, and an omitted part is gone: the list is the whole."""
    setting: Options = {"name": "max_execution_time"}
    for part in (
        {"value": 60},
        {"value": 1.5},
        {"min": 1},
        {"max": 300},
        {"writability": "const"},
        {"writability": "changeable_in_readonly"},
        {"writability": ""},
        {"value": ""},
        {"min": "", "max": "", "writability": "writable"},
    ):
        setting = {key: value for key, value in {**setting, **part}.items() if value}
        converges("settings_profile", {"name": profile, "settings": [setting]})
    columns = "setting_name, value, min, max, writability"
    elements = f"SELECT {columns} FROM system.settings_profile_elements WHERE profile_name = {literal(profile)}"
    assert admin.rows(elements) == [["max_execution_time", "\\N", "\\N", "\\N", "WRITABLE"]]
    two = converges("settings_profile", {"name": profile, "settings": [setting, {"name": "max_threads", "value": 2}]})
    assert len(two["entity"]["settings"]) == 2
    other = converges("settings_profile", {"name": profile, "settings": [{"name": "max_threads", "value": 2}]})
    assert other["entity"]["settings"] == [{"name": "max_threads", "value": "2"}]


def test_inheritance(converges: Module, world: None, profile: str) -> None:
    """The order counts; profiles and settings do not clear each other."""
    settings = [{"name": "max_threads", "value": 2}]
    converges("settings_profile", {"name": profile, "settings": settings, "profiles": ["sp base"]})
    more = converges("settings_profile", {"name": profile, "profiles": ["sp 'more'", "sp base"]})
    assert more["entity"]["profiles"] == ["sp 'more'", "sp base"]
    assert more["entity"]["settings"] == [{"name": "max_threads", "value": "2"}]
    turned = converges("settings_profile", {"name": profile, "profiles": ["sp base", "sp 'more'"]})
    assert turned["diff"]["before"]["profiles"] == ["sp 'more'", "sp base"]
    kept = converges("settings_profile", {"name": profile, "settings": []})
    assert kept["entity"]["profiles"] == ["sp base", "sp 'more'"]


def test_apply_to(converges: Module, admin: Any, world: None, profile: str) -> None:
    """Each form, from each to the next."""
    settings = [{"name": "log_comment", "value": "applied"}]
    for wished, stored in (
        ({"names": ["sp user"]}, {"names": ["sp user"]}),
        ({"all": True, "except": ["sp reader", "default"]}, {"all": True, "except": ["default", "sp reader"]}),
        ({"all": True, "except": ["default"]}, {"all": True, "except": ["default"]}),
        ({"names": ["sp writer", "sp user"]}, {"names": ["sp user", "sp writer"]}),
        ({"none": True}, {"none": True}),
        ({"all": True}, {"all": True}),
    ):
        result = converges("settings_profile", {"name": profile, "settings": settings, "apply_to": wished})
        assert result["entity"]["apply_to"] == stored
    columns = "apply_to_all, apply_to_list, apply_to_except"
    row = admin.rows(f"SELECT {columns} FROM system.settings_profiles WHERE name = {literal(profile)}")
    assert row == [["1", "[]", "[]"]]


def test_constraints_are_real(module: Module, clickhouse: Any, scratch: Any, profile: str) -> None:
    """The server enforces them on a user the profile is applied to."""
    user = scratch.make("user", "sp user", "IDENTIFIED WITH sha256_password BY 'for tests 1'")
    settings = [
        {"name": "max_memory_usage", "value": "1Gi", "min": "1Mi", "max": "2Gi"},
        {"name": "max_threads", "value": 2, "writability": "const"},
        {"name": "readonly", "value": 1},
        {"name": "max_rows_to_read", "value": 1000, "min": 1, "max": 2000, "writability": "changeable_in_readonly"},
    ]
    module("settings_profile", {"name": profile, "settings": settings, "apply_to": {"names": [user]}})
    session = clickhouse.session(user, "for tests 1")
    assert session.query("SELECT getSetting('max_memory_usage'), getSetting('max_threads')") == "1073741824\t2\n"
    session.query("SELECT 1 SETTINGS max_rows_to_read = 2000")
    for setting, code in (("max_rows_to_read = 2001", 452), ("max_threads = 3", 452), ("max_block_size = 7", 164)):
        with pytest.raises(ServerSaid) as refused:
            session.query(f"SELECT 1 SETTINGS {setting}")
        assert refused.value.code in (code, 164, 452), setting


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"settings": [{"name": "max_threads"}]}, "settings[0]"),
        ({"settings": [{"name": "max_memory_usage", "min": "little"}]}, "settings[0].min"),
        ({"settings": [{"name": "max_threads", "value": 1}, {"name": "max_threads", "value": 2}]}, "settings[1].name"),
        ({"profiles": ["sp missing"]}, "profiles"),
        ({"apply_to": {"names": ["sp missing"]}}, "apply_to.names"),
        ({"apply_to": {"all": True, "except": ["sp missing"]}}, "apply_to.except"),
        ({"apply_to": {"all": True, "none": True}}, "apply_to"),
        ({"apply_to": {"names": ["default"], "none": True}}, "apply_to"),
    ],
)
def test_refused_by_option(failed: Module, admin: Any, profile: str, options: Options, option: str) -> None:
    """Before anything is changed."""
    result = failed("settings_profile", {"name": profile, **options})
    assert result["option"] == option and result["msg"].endswith("Nothing was changed.")
    assert admin.query(f"SELECT count() FROM system.settings_profiles WHERE name = {literal(profile)}") == "0\n"


@pytest.mark.parametrize(
    ("setting", "code"),
    [({"name": "no_such_setting", "value": 1}, 115), ({"name": "read_overflow_mode", "value": "explode"}, 145)],
)
def test_what_only_the_server_knows(failed: Module, profile: str, setting: Options, code: int) -> None:
    """Names and enum words it refuses: its code and words, the statement, and nothing done."""
    result = failed("settings_profile", {"name": profile, "settings": [setting]})
    assert result["code"] == code, result["msg"]
    assert setting["name"] in result["failed_statement"] and result["done"] == [] and result["pending"] == []


def test_profiles_of_the_configuration(module: Module, failed: Module, admin: Any) -> None:
    """A profile in users.xml is reported as it is, and not touched."""
    rows = admin.lines("SELECT name FROM system.settings_profiles WHERE storage IN ('users_xml', 'users.xml') LIMIT 1")
    if not rows:
        pytest.skip("no profile in users.xml here")
    assert module("settings_profile", {"name": rows[0]})["changed"] is False
    for options in ({"settings": [{"name": "max_threads", "value": 77}]}, {"state": "absent"}):
        assert "users.xml" in failed("settings_profile", {"name": rows[0], **options})["msg"]
