# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""I/O: what a server is and has, read in as few requests as possible."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.canonical import CUSTOM, SettingType
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import AccessError, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Ref
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import PrivilegeCatalogue
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import WishError, literal, literals

_TABLES = (
    "users",
    "roles",
    "role_grants",
    "grants",
    "settings_profiles",
    "settings_profile_elements",
)
_READ_ONLY_STORAGES = ("users_xml", "users.xml", "ldap")
UNKNOWN_SETTING = 115


class Server:
    """One server's facts, each asked for once and only when something needs it.

    :param session: an open session
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._settings: dict[str, SettingType] = {}
        self._times: dict[str, str | None] = {}

    # -- the server itself

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor number, ``(26, 9)``."""
        major, minor, *_rest = self.session.version.split(".")
        return int(major), int(minor)

    def require(self, option: str, since: tuple[int, int], what: str) -> None:
        """Refuse what this version lacks.

        :raises WishError: naming the version that is there and the one that is needed
        """
        if self.version < since:
            needed = ".".join(map(str, since))
            raise WishError(option, f"{what} needs ClickHouse {needed} or newer; this server is {self.session.version}")

    @cached_property
    def user(self) -> str:
        """Who we are there."""
        return str(self.session.query("SELECT currentUser() AS name")[0]["name"])

    @cached_property
    def now(self) -> str:
        """The server's time in its own time zone, in the form ``VALID UNTIL`` is shown in."""
        return str(self.session.query("SELECT toString(now()) AS now")[0]["now"])

    @cached_property
    def _columns(self) -> dict[str, set[str]]:
        rows = self.session.query(
            "SELECT table, groupArray(name) AS names FROM system.columns"
            f" WHERE database = 'system' AND table IN ({literals(_TABLES)}) GROUP BY table"
        )
        return {row["table"]: set(row["names"]) for row in rows}

    def has_column(self, table: str, column: str) -> bool:
        """Whether a system table has a column in this version."""
        return column in self._columns.get(table, ())

    @cached_property
    def read_only_storages(self) -> frozenset[str]:
        """The names of the access storages that SQL cannot change."""
        rows = self.session.query("SELECT name, type FROM system.user_directories")
        return frozenset(row["name"] for row in rows if row["type"] in _READ_ONLY_STORAGES)

    @cached_property
    def privileges(self) -> PrivilegeCatalogue:
        """All privileges that this version has."""
        return PrivilegeCatalogue.from_rows(
            self.session.query("SELECT privilege, aliases, level, parent_group FROM system.privileges")
        )

    @cached_property
    def shows_secrets(self) -> bool:
        """Whether the server is configured to show secrets to those who may see them."""
        rows = self.session.query(
            "SELECT value FROM system.server_settings WHERE name = 'display_secrets_in_show_and_select'"
        )
        return bool(rows) and rows[0]["value"] in ("1", "true")

    # -- canonical forms that only the server knows

    def setting_types(self, names: Iterable[str]) -> Mapping[str, SettingType]:
        """Return the type of each setting, under the name it was asked by.

        Aliases are followed to the setting's own name. A name the server does not know has the type CUSTOM; whether its
        prefix is allowed is the server's to say, when the statement runs.
        """
        missing = sorted(set(names) - self._settings.keys())
        if missing:
            columns = "name, type, default, alias_for"
            rows = self.session.query(f"SELECT {columns} FROM system.settings WHERE name IN ({literals(missing)})")
            aliases = {row["name"]: row["alias_for"] for row in rows if row["alias_for"]}
            for row in rows:
                own = aliases.get(row["name"], row["name"])
                self._settings[row["name"]] = SettingType(own, row["type"], row["default"])
            merge_tree = [name for name in missing if name.startswith("merge_tree_")]
            if merge_tree:
                bare = [name[len("merge_tree_") :] for name in merge_tree]
                for row in self.session.query(
                    f"SELECT name, type, value FROM system.merge_tree_settings WHERE name IN ({literals(bare)})"
                ):
                    own = "merge_tree_" + row["name"]
                    self._settings[own] = SettingType(own, row["type"], row["value"])
            for name in missing:
                self._settings.setdefault(name, SettingType(name, CUSTOM))
        return self._settings

    def times(self, option: str, texts: Iterable[str]) -> Mapping[str, str]:
        """Return each date in the form ``VALID UNTIL`` is stored and shown in, in the server's time zone.

        :return: ``YYYY-MM-DD hh:mm:ss``, or an empty text for no expiry (``infinity`` or empty)
        :raises WishError: for a text that ClickHouse's best-effort parser does not take
        """
        for text in sorted(set(texts) - self._times.keys()):
            if text.strip().lower() in ("", "infinity"):
                self._times[text] = ""
                continue
            # before 1970 ClickHouse keeps the first second that still means "expired"
            time = f"parseDateTime64BestEffortOrNull({literal(text)}, 0)"
            rows = self.session.query(f"SELECT toString(if(toInt64({time}) < 1, toDateTime64(1, 0), {time})) AS time")
            self._times[text] = rows[0]["time"]
            if self._times[text] is None:
                raise WishError(option, f"{text!r} is not a date that ClickHouse can read; write 2030-12-31 23:59:59")
        return {text: time for text, time in self._times.items() if time is not None}

    # -- entities

    def missing(self, refs: Sequence[Ref]) -> list[Ref]:
        """Return the references whose name does not exist."""
        wanted: dict[str, set[str]] = {}
        for ref in refs:
            for kind in ref.kinds:
                wanted.setdefault(kind, set()).add(ref.name)
        found = {kind: self.names(kind, sorted(names)) for kind, names in wanted.items()}
        return [ref for ref in refs if not any(ref.name in found[kind] for kind in ref.kinds)]

    def names(self, kind: str, names: Sequence[str]) -> set[str]:
        """Return those of the names that exist as ``user``, ``role`` or ``settings_profile``."""
        rows = self.session.query(f"SELECT name FROM system.{kind}s WHERE name IN ({literals(names)})")
        return {row["name"] for row in rows}

    def elements(self, column: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the settings and profiles attached to users, roles or profiles, in their order.

        :param column: ``user_name``, ``role_name`` or ``profile_name``
        """
        rows = self.session.query(
            f"SELECT {column} AS owner, setting_name, value, min, max, writability, inherit_profile"
            f" FROM system.settings_profile_elements WHERE {column} IN ({literals(names)}) ORDER BY owner, index"
        )
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["owner"], []).append(row)
        return grouped

    def granted_roles(self, column: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return the roles granted to users or roles, as the ``roles`` option has them.

        :param column: ``user_name`` or ``role_name``
        """
        rows = self.session.query(
            f"SELECT {column} AS owner, granted_role_name AS name, with_admin_option"
            f" FROM system.role_grants WHERE {column} IN ({literals(names)}) ORDER BY owner, name"
        )
        grouped: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            grouped.setdefault(row["owner"], []).append(
                {"name": row["name"], "admin_option": bool(int(row["with_admin_option"]))}
            )
        return grouped

    def show_create_user(self, name: str, quoted: str) -> str:
        """Return ``SHOW CREATE USER``, with secrets where the server shows them to us.

        :param name: the user, for errors
        :param quoted: the same as an identifier
        """
        if self.shows_secrets:
            try:
                return self._first(f"SHOW CREATE USER {quoted}", {"format_display_secrets_in_show_and_select": 1})
            except AccessError as error:
                if error.code not in (UNKNOWN_SETTING, 164, 452):
                    raise
        return self._first(f"SHOW CREATE USER {quoted}", None)

    def _first(self, sql: str, settings: Mapping[str, Any] | None) -> str:
        rows = self.session.query(sql, settings)
        return str(next(iter(rows[0].values())))

    def client_address(self) -> str | None:
        """Return our own address as the server sees it; ``None`` if it does not say."""
        try:
            rows = self.session.query(
                "SELECT toString(address) AS address FROM system.processes WHERE query_id = queryID()"
            )
        except AccessError:
            return None
        address = re.sub(r"^::ffff:", "", rows[0]["address"]) if rows else ""
        return None if address in ("", "::", "0.0.0.0") else address
