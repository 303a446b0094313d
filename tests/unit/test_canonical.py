"""Canonical forms: whatever way a wish is spelled, it compares equal to what the server stores; pure, from the rules.

test_canonical_engine.py holds the same functions against the engines.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse import canonical
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.canonical import CUSTOM, SettingType
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import common
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError

# -- hosts


@pytest.mark.parametrize(
    ("wanted", "document"),
    [
        ({"any": True}, {"any": True}),
        ({"ip": ["::/0"]}, {"any": True}),
        ({"ip": ["0.0.0.0/0"]}, {"any": True}),
        ({"ip": ["203.0.113.9/0"]}, {"any": True}),
        ({"ip": ["203.0.113.9/0.0.0.0"]}, {"any": True}),
        ({"like": ["%"]}, {"any": True}),
        ({"regexp": [".*"]}, {"any": True}),
        ({"like": ["%%"]}, {"like": ["%%"]}),
        ({"regexp": ["^.*$"]}, {"regexp": ["^.*$"]}),
        ({"name": ["%"]}, {"name": ["%"]}),
        ({"any": True, "local": True, "ip": ["10.0.0.1"], "name": ["a"]}, {"any": True}),
        ({}, {"none": True}),
        ({"none": True}, {"none": True}),
        ({"ip": [], "name": [], "local": False}, {"none": True}),
        ({"local": True}, {"local": True}),
        ({"name": ["LocalHost"]}, {"local": True}),
        ({"like": ["localhost"]}, {"local": True}),
        ({"regexp": ["LOCALHOST"]}, {"local": True}),
        ({"ip": ["127.0.0.1"]}, {"local": True}),
        ({"ip": ["127.8.9.10/16"]}, {"local": True}),
        ({"ip": ["127.0.0.0/8"]}, {"local": True}),
        ({"ip": ["::1"]}, {"local": True}),
        ({"ip": ["0:0:0:0:0:0:0:1/128"]}, {"local": True}),
        ({"ip": ["::ffff:127.0.0.1"]}, {"local": True}),
        ({"ip": ["::FFFF:7f00:1"]}, {"local": True}),
        ({"ip": ["::ffff:127.0.0.0/104"]}, {"local": True}),
        ({"ip": ["127.0.0.0/7"]}, {"ip": ["126.0.0.0/7"]}),
        ({"ip": ["::1/127"]}, {"ip": ["::/127"]}),
        ({"ip": ["192.168.1.5/24", "192.168.1.9/255.255.255.0"]}, {"ip": ["192.168.1.0/24"]}),
        ({"ip": [" 10.0.0.1/32 "]}, {"ip": ["10.0.0.1"]}),
        ({"ip": ["2001:DB8::1/32", "2001:db8:0::/ffff:ffff::"]}, {"ip": ["2001:db8::/32"]}),
        ({"ip": ["2001:db8::1/128", "2001:db8:0:0:0:0:0:1"]}, {"ip": ["2001:db8::1"]}),
        ({"ip": ["::ffff:10.0.0.1", "::ffff:a00:1"]}, {"ip": ["::ffff:10.0.0.1"]}),
        ({"ip": ["10.0.0.0/8", "10.1.0.0/16"]}, {"ip": ["10.0.0.0/8", "10.1.0.0/16"]}),
        ({"ip": ["10.0.0.0/8", "10.0.0.9", "::2", "10.0.0.1"]}, {"ip": ["10.0.0.1", "10.0.0.9", "::2", "10.0.0.0/8"]}),
        ({"name": ["b", "A", "a", "b"]}, {"name": ["A", "a", "b"]}),
        (
            {"like": ["%.x"], "regexp": ["r"], "name": ["n"], "local": True},
            {"local": True, "name": ["n"], "regexp": ["r"], "like": ["%.x"]},
        ),
    ],
)
def test_hosts(wanted: dict[str, Any], document: dict[str, Any]) -> None:
    assert canonical.host("host", wanted) == document


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"ip": ["10.0.0.1", "10.0.0.256"]}, "host.ip[1]: '10.0.0.256' is no IP address"),
        ({"ip": ["010.0.0.1"]}, "ClickHouse would read the leading zero as octal"),
        ({"ip": ["10.0.0.0/33"]}, "host.ip[0]"),
        ({"ip": ["10.0.0.0/-1"]}, "host.ip[0]"),
        ({"ip": ["10.0.0.0/"]}, "host.ip[0]"),
        ({"ip": ["10.0.0.0/8/8"]}, "host.ip[0]"),
        ({"ip": ["10.0.0.0/255.0.255.0"]}, "host.ip[0]"),
        ({"ip": ["10.0.0.0/ffff::"]}, "host.ip[0]"),
        ({"ip": ["::/0.0.0.0"]}, "host.ip[0]"),
        ({"ip": ["fe80::1%eth0"]}, "host.ip[0]"),
        ({"ip": ["1.2.3"]}, "host.ip[0]"),
        ({"ip": [""]}, "host.ip[0]"),
        ({"ip": ["db.example.com"]}, "host.ip[0]"),
        ({"name": [""]}, "host.name[0]: a name cannot be empty"),
        ({"like": ["ok", "\ud800"]}, "host.like[1]: character 0"),
        ({"none": True, "local": True}, "host: none: true admits nobody"),
        ({"none": True, "any": True}, "host: none: true admits nobody"),
    ],
)
def test_hosts_that_cannot_be(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(WishError, match=re.escape(message)):
        canonical.host("host", wanted)


@pytest.mark.parametrize(
    ("columns", "document"),
    [
        ((["::/0"], [], [], []), {"any": True}),
        (([], ["localhost"], [], []), {"local": True}),
        (([], [], [], []), {"none": True}),
        ((["192.168.1.1", "192.168.0.0/16"], ["localhost"], [], []), None),
        ((["::ffff:", "::ffff:/96"], [], [], []), {"ip": ["::ffff:0.0.0.0", "::ffff:0.0.0.0/96"]}),
        ((["1::2:0:0:0:3"], [], [], []), {"ip": ["1:0:0:2::3"]}),
        ((["10.0.0.0/255.0.255.0"], [], [], []), {"ip": ["10.0.0.0/255.0.255.0"]}),
        ((["10.0.0.0/255.0.255.0", "::/0"], [], [], []), {"any": True}),
        (([], ["a"], ["b"], ["c"]), {"name": ["a"], "regexp": ["b"], "like": ["c"]}),
    ],
)
def test_hosts_as_the_server_shows_them(columns: tuple[list[str], ...], document: dict[str, Any] | None) -> None:
    expected = document or {"local": True, "ip": ["192.168.1.1", "192.168.0.0/16"]}
    assert canonical.stored_host(*columns) == expected


@pytest.mark.parametrize(
    ("document", "address", "admitted"),
    [
        ({"any": True}, "203.0.113.9", True),
        ({"none": True}, "127.0.0.1", False),
        ({"local": True}, "127.0.0.1", True),
        ({"local": True}, "::1", True),
        ({"local": True}, "::ffff:127.0.0.1", True),
        ({"local": True}, "10.0.0.1", False),
        ({"ip": ["10.0.0.0/8"]}, "10.9.9.9", True),
        ({"ip": ["10.0.0.0/8"]}, "::ffff:10.9.9.9", True),
        ({"ip": ["10.0.0.0/8"]}, "11.0.0.1", False),
        ({"ip": ["::ffff:10.0.0.0/104"]}, "10.9.9.9", True),
        ({"ip": ["::ffff:10.0.0.1"]}, "10.0.0.2", False),
        ({"ip": ["2001:db8::/32"]}, "2001:db8::9", True),
        ({"ip": ["2001:db8::/32"]}, "10.0.0.1", False),
        ({"ip": ["10.0.0.1"], "name": ["a"]}, "10.0.0.1", True),
        ({"ip": ["10.0.0.1"], "name": ["a"]}, "10.0.0.2", None),
        ({"regexp": ["a"]}, "10.0.0.2", None),
        ({"like": ["a"]}, "10.0.0.2", None),
        ({"ip": ["10.0.0.0/255.0.255.0"]}, "10.0.0.1", None),
    ],
)
def test_who_is_admitted(document: dict[str, Any], address: str, admitted: bool | None) -> None:
    assert canonical.host_admits(document, address) is admitted


# -- sets of names


@pytest.mark.parametrize("everyone", ["all", "any"])
@pytest.mark.parametrize(
    ("wanted", "document"),
    [
        ({}, {"none": True}),
        ({"none": True}, {"none": True}),
        ({"names": []}, {"none": True}),
        ({"names": ["b", "a", "b", "B"]}, {"names": ["B", "a", "b"]}),
        ({"*": True}, {"*": True}),
        ({"*": True, "except": []}, {"*": True}),
        ({"*": True, "except": ["b", "a", "b"]}, {"*": True, "except": ["a", "b"]}),
        ({"*": False, "names": ["none"]}, {"names": ["none"]}),
    ],
)
def test_sets_of_names(everyone: str, wanted: dict[str, Any], document: dict[str, Any]) -> None:
    def spelled(entry: dict[str, Any]) -> dict[str, Any]:
        return {everyone if key == "*" else key: value for key, value in entry.items()}

    assert canonical.names("grantees", spelled(wanted), everyone) == spelled(document)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"all": True, "names": ["a"]}, "default_roles: all: true already names everybody"),
        ({"all": True, "none": True}, "default_roles: all: true already names everybody"),
        ({"except": ["a"]}, "default_roles: except needs all: true"),
        ({"none": True, "names": ["a"]}, "default_roles: none: true and names contradict each other"),
        ({"names": ["a", ""]}, "default_roles.names[1]: a name cannot be empty"),
        ({"all": True, "except": ["\udfff"]}, "default_roles.except[0]: character 0"),
    ],
)
def test_sets_of_names_that_contradict_themselves(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(WishError, match=re.escape(message)):
        canonical.names("default_roles", wanted, "all")


@pytest.mark.parametrize(
    ("row", "document"),
    [
        ({"r_all": 1, "r_list": [], "r_except": []}, {"all": True}),
        ({"r_all": 1, "r_list": [], "r_except": ["b", "a"]}, {"all": True, "except": ["a", "b"]}),
        ({"r_all": 0, "r_list": ["r1"], "r_except": []}, {"names": ["r1"]}),
        ({"r_all": "0", "r_list": [], "r_except": []}, {"none": True}),
    ],
)
def test_sets_of_names_as_the_server_shows_them(row: dict[str, Any], document: dict[str, Any]) -> None:
    assert common.read_names(row, "r", "all") == document


# -- settings: one element


def test_an_element_keeps_what_is_set_in_canonical_form() -> None:
    kind = SettingType("max_memory_usage", "UInt64")
    wanted = {"name": "alias", "value": "10Mi", "min": 0, "max": "20M", "writability": "const"}
    assert canonical.setting("settings[0]", wanted, kind) == {
        "name": "max_memory_usage",
        "value": "10485760",
        "min": "0",
        "max": "20000000",
        "writability": "const",
    }
    assert canonical.setting("s", {"value": None, "writability": "writable"}, kind) == {
        "name": "max_memory_usage",
        "writability": "writable",
    }


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "settings[3]: setting x has neither value, min, max nor writability"),
        ({"min": "-1"}, "settings[3].min: '-1' is not a value of x, whose type is UInt64"),
        ({"value": "10MB"}, "settings[3].value: '10MB'"),
        ({"value": [1]}, "settings[3].value: [1]"),
        ({"value": {"a": 1}}, "settings[3].value: {'a': 1}"),
        ({"max": float("inf")}, "settings[3].max: inf"),
        ({"max": float("nan")}, "settings[3].max: nan"),
        ({"value": "\udc80"}, "settings[3].value: character 0"),
    ],
)
def test_an_element_that_cannot_be(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(WishError, match=re.escape(message)):
        canonical.setting("settings[3]", wanted, SettingType("x", "UInt64"))


@pytest.mark.parametrize(
    "kind", ["String", "OverflowMode", "Char", "Map", "Bool", "Float", "Seconds", "MaxThreads", CUSTOM]
)
@pytest.mark.parametrize("value", [[1], ["a"], {"a": [1]}, "\udc80", {"\udc80": "x"}])
def test_no_value_of_a_wrong_kind_gets_through(kind: str, value: Any) -> None:
    with pytest.raises(WishError, match=r"settings\[0\]\.value"):
        canonical.setting_value("settings[0].value", value, SettingType("x", kind))


# -- settings: what the engine cannot store here (chDB has no writable access storage), from SQL: dumps with their type


@pytest.mark.parametrize(
    ("dump", "value"),
    [
        ("UInt64_5", 5),
        ("Int64_-5", -5),
        ("Float64_480", 480.0),
        ("Float64_1.5", 1.5),
        ("Float64_1e-7", 1e-7),
        ("Bool_1", True),
        ("Bool_false", False),
        ("'text'", "text"),
        (r"'it\'s a \\ \n'", "it's a \\ \n"),
        ("'UInt64_5'", "UInt64_5"),
        ("", ""),
        ("NULL", "NULL"),
    ],
)
def test_custom_settings_are_shown_as_dumps(dump: str, value: Any) -> None:
    kind = SettingType("custom_x", CUSTOM)
    assert canonical.stored_value(dump, kind) == value
    assert type(canonical.stored_value(dump, kind)) is type(value)
    assert canonical.setting_value("v", value, kind) == value


def test_settings_of_tables_are_shown_as_dumps_too() -> None:
    kind = SettingType("merge_tree_old_parts_lifetime", "Seconds")
    assert canonical.stored_value("Float64_480", kind) == canonical.setting_value("v", 480, kind) == "480"
    kind = SettingType("merge_tree_parts_to_delay_insert", "UInt64")
    assert canonical.stored_value("UInt64_1000", kind) == canonical.setting_value("v", "1K", kind) == "1000"


def test_what_is_stored_is_kept_even_if_nobody_could_wish_it() -> None:
    assert canonical.stored_value("-1", SettingType("max_execution_time", "Seconds")) == "-1"
    assert canonical.stored_value(None, SettingType("x", "UInt64")) is None


@pytest.mark.parametrize(
    ("kind", "value", "bare"),
    [
        ("UInt64", "10", True),
        ("Int64", "-3", True),
        ("Seconds", "1.5", True),
        ("Bool", "1", True),
        ("Float", "0.5", False),
        ("UInt64Auto", "auto", False),
        ("String", "10", False),
        ("OverflowMode", "throw", False),
        ("UInt64", "1) TO x", False),
        (CUSTOM, 5, True),
        (CUSTOM, True, True),
        (CUSTOM, "5", False),
    ],
)
def test_only_numbers_are_written_without_quotes(kind: str, value: Any, bare: bool) -> None:
    assert canonical.is_bare(SettingType("x", kind), value) is bare
