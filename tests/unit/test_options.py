"""Entries are read as AnsibleModule would read them, and everything that is wrong is said, with its place."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.options import entries
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.registry import TYPES
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError

GOOD: dict[str, list[dict[str, Any]]] = {
    "user": [
        {"name": "u"},
        {"name": 12, "host": {"any": "yes"}, "valid_until": None},
        {
            "name": "u",
            "authentication": [
                {"type": "sha256_password", "password": "p", "valid_until": "2040-01-01"},
                {"type": "ssh_key", "ssh_keys": [{"key": "AAAA", "type": "ssh-rsa"}]},
            ],
            "host": {"local": True, "ip": ["10.0.0.1"], "like": "a,b"},
            "roles": [{"name": "r"}, {"name": "s", "admin_option": 1}],
            "default_roles": {"all": True, "except": ["s"]},
            "settings": [{"name": "max_threads", "value": 4, "max": "8"}],
            "profiles": ["p", 7],
        },
        {"name": "u", "state": "absent", "host": {}, "roles": [], "authentication": []},
    ],
    "grant": [
        {"grantee": "g", "privileges": [{"privilege": "SELECT", "scope": ["a.*", "b.*"], "grant_option": "no"}]},
        {"grantee": "g", "mode": "exact", "privileges": [], "partial_revokes": None},
    ],
    "role": [{"name": "r", "roles": [{"name": "x"}]}],
    "settings_profile": [{"name": "p", "apply_to": {"names": ["u"]}}],
    "quota": [{"name": "q", "intervals": [{"duration": "1 hour", "queries": 10}]}],
    "row_policy": [{"name": "p", "database": "d", "table": "t", "filter": "a = 1", "restrictive": "true"}],
    "named_collection": [{"name": "n", "keys": [{"name": "k", "value": "v", "overridable": False}]}],
}


def without_none(value: Any) -> Any:
    """An option that was omitted is left out."""
    if isinstance(value, dict):
        return {key: without_none(entry) for key, entry in value.items() if entry is not None}
    return [without_none(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", GOOD)
def test_read_as_ansible_reads_them(kind: str) -> None:
    for entry in GOOD[kind]:
        validated = ArgumentSpecValidator(dict(TYPES[kind].options)).validate(entry)
        assert not validated.error_messages
        errors: list[WishError] = []
        expected = without_none(validated.validated_parameters)
        assert entries(f"{kind}s", TYPES[kind].options, [entry], errors) == [expected]
        assert errors == []


@pytest.mark.parametrize(
    ("kind", "entry", "path", "reason"),
    [
        ("user", {}, "x[1].name", "is required"),
        ("user", {"name": None}, "x[1].name", "is required"),
        ("user", {"name": {"a": 1}}, "x[1].name", "this is not a text"),
        ("user", {"name": "u", "hosts": {}}, "x[1]", "hosts is no option here; there are "),
        ("user", {"name": "u", "host": {"ipv4": []}}, "x[1].host", "ipv4 is no option here; there are any, "),
        ("user", {"name": "u", "host": 7}, "x[1].host", "7 is not a dictionary"),
        ("user", {"name": "u", "host": {"any": "maybe"}}, "x[1].host.any", "'maybe' is not true or false"),
        ("user", {"name": "u", "state": "gone"}, "x[1].state", "'gone' is none of absent, present"),
        ("user", {"name": "u", "authentication": [{}]}, "x[1].authentication[0].type", "is required"),
        ("user", {"name": "u", "authentication": ["x"]}, "x[1].authentication[0]", "'x' is not a dictionary"),
        ("user", {"name": "u", "roles": [{"name": "r"}, {"nome": "s"}]}, "x[1].roles[1]", "nome is no option here"),
        (
            "grant",
            {"grantee": "g", "privileges": [{"privilege": ["SELECT"]}]},
            "x[1].privileges[0].scope",
            "is required",
        ),
        ("user", "u", "x[1]", "is not a dictionary"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(kind: str, entry: Any, path: str, reason: str) -> None:
    errors: list[WishError] = []
    key = TYPES[kind].key
    entries("x", TYPES[kind].options, [{key: "good"}, entry, {key: "good"}], errors)
    assert (errors[0].option, errors[0].reason[: len(reason)]) == (path, reason)


def test_everything_that_is_wrong_is_said_at_once() -> None:
    errors: list[WishError] = []
    bad = [{"name": "a", "x": 1}, {}, {"name": "b", "state": "c"}]
    entries("roles", TYPES["role"].options, bad, errors)
    assert [error.option for error in errors] == ["roles[0]", "roles[1].name", "roles[2].state"]


def test_a_secret_is_not_said() -> None:
    errors: list[WishError] = []
    methods = [
        {"type": "sha256_password", "password": ["hunter2"]},
        {"type": "sha256_password", "password": {"hunter2": 1}},
    ]
    entries("users", TYPES["user"].options, [{"name": "u", "authentication": methods}], errors)
    assert len(errors) == 2 and not any("hunter2" in str(error) for error in errors)
