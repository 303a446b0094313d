"""What an older ClickHouse lacks is a clear error that names the version, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]

SCRAM = {"type": "scram_sha256_password", "password": "for tests 1"}
TWO = [{"type": "ldap", "server": "one"}, {"type": "kerberos"}]
# module, options, since when, the option that is named
LACKS: dict[str, tuple[str, Options, tuple[int, int], str]] = {
    "several methods": ("user", {"authentication": TWO}, (24, 9), "authentication"),
    "scram": ("user", {"authentication": [SCRAM]}, (25, 3), "authentication[0].type"),
    "no_authentication": (
        "user",
        {"authentication": [{"type": "no_authentication"}]},
        (25, 8),
        "authentication[0].type",
    ),
    "wildcard of tables": ("grant", {"privilege": ["SELECT"], "scope": ["v_db.pre*"]}, (24, 10), "privileges[0].scope"),
    "wildcard of databases": ("grant", {"privilege": ["SELECT"], "scope": ["v_*.*"]}, (24, 10), "privileges[0].scope"),
    "READ": ("grant", {"privilege": ["READ"], "scope": ["S3"]}, (25, 7), "privileges[0]"),
    "CREATE USER ON a name": ("grant", {"privilege": ["CREATE USER"], "scope": ["v_team"]}, (25, 5), "privileges[0]"),
    "IMPERSONATE": ("grant", {"privilege": ["IMPERSONATE"], "scope": ["v_team"]}, (25, 9), "privileges[0]"),
}


@pytest.mark.parametrize("case", LACKS)
def test_what_a_version_lacks(
    failed: Module, converges: Module, scratch: Any, version: tuple[int, int], case: str
) -> None:
    """Refused by name where it is missing, in check mode too; done where it is there."""
    name, options, since, option = LACKS[case]
    if name == "grant":
        options = {"grantee": scratch.make("role", "v_role"), "mode": "exact", "privileges": [options]}
    else:
        options = {"name": scratch.reserve(name, "v_user"), **options}
    if version >= since:
        assert converges(name, options)["changed"]
        return
    for check in (True, False):
        refused = failed(name, options, check=check)
        assert refused["option"] == option
        assert f"{version[0]}.{version[1]}" in refused["msg"] and "Nothing was changed." in refused["msg"]


def test_comment_of_a_database(
    failed: Module, module: Module, converges: Module, admin: Any, version: tuple[int, int]
) -> None:
    """It can be given to a new database by every version, and changed since 25.1."""
    admin.query("DROP DATABASE IF EXISTS v_db")
    try:
        converges("database", {"name": "v_db", "comment": "it's one"})
        assert module("database", {"name": "v_db"})["changed"] is False
        if version >= (25, 1):
            converges("database", {"name": "v_db", "comment": "an\nother"})
        else:
            refused = failed("database", {"name": "v_db", "comment": "another"})
            assert refused["option"] == "comment" and "25.1" in refused["msg"]
    finally:
        admin.query("DROP DATABASE v_db")
