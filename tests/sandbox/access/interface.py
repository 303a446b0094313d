"""What stands between the access control and its surroundings: the engine, server settings, sessions, results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


class Engine(Protocol):
    """What this package asks of the real engine."""

    version: str

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """The result of a query that runs with full rights."""


@dataclass
class Options:
    """Server settings that access control looks at, with ClickHouse's defaults."""

    storage: str = "local_directory"
    """The name, and the type, of the writable storage: `local_directory` or `replicated`."""
    users_xml_storage: str = "users_xml"
    default_password_type: str = "sha256_password"
    bcrypt_workfactor: int = 12
    allow_no_password: bool = True
    allow_implicit_no_password: bool = True
    allow_plaintext_password: bool = True
    password_complexity: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of a regular expression and what to say when a password does not match it."""
    max_authentication_methods_per_user: int = 100
    display_secrets: bool = False
    custom_settings_prefixes: tuple[str, ...] = ()
    enable_read_write_grants: bool = False
    users_without_row_policies_can_read_rows: bool = True
    system_is_open: bool = True
    """Not `select_from_system_db_requires_grant` and its like for information_schema: in chDB they are off."""


@dataclass
class SessionInfo:
    """Who runs a statement. `enabled_roles`: names set by SET ROLE, None for the default roles; `now` in seconds
    since 1970."""

    user: str
    enabled_roles: list[str] | None = None
    database: str = "default"
    now: float = 0
    settings: dict[str, str] = field(default_factory=dict)
    checked: bool = False
    """Whether rights were judged elsewhere, as for a statement ON CLUSTER: the server it arrived at judges, the others
    just run it, and need not know the user."""


@dataclass
class Table:
    """A result: columns as (name, ClickHouse type), and rows."""

    columns: list[tuple[str, str]]
    rows: list[tuple[Any, ...]]
