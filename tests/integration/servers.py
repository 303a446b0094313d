"""Which server a test runs on where not every version is wanted, and administrators of it who lack something."""

from __future__ import annotations

import os
from typing import Any

import pytest

VERSIONS = os.environ.get("SANDBOX_VERSIONS", "26.9").replace(",", " ").split()
NEWEST = max(VERSIONS, key=lambda version: [int(part) for part in version.split(".")])
PASSWORD = "only for tests 7"

on_newest = pytest.mark.parametrize(
    "clickhouse", ["real" if "CLICKHOUSE_URL" in os.environ else NEWEST], indirect=True, scope="session"
)
"""For tests that run real playbooks, which cost seconds: one server, the newest."""


def root(clickhouse: Any) -> Any:
    """A client with every right."""
    return clickhouse.session(getattr(clickhouse, "user", "default"), getattr(clickhouse, "password", ""))


def administrator(clickhouse: Any, name: str, *statements: str) -> dict[str, Any]:
    """Make a user and run statements on it (`{}` stands for its name); return its login options."""
    client = root(clickhouse)
    client.query(f"DROP USER IF EXISTS `{name}`")
    client.query(f"CREATE USER `{name}` IDENTIFIED WITH sha256_password BY '{PASSWORD}'")
    for statement in statements:
        client.query(statement.format(f"`{name}`"))
    return {"login_user": name, "login_password": PASSWORD}
