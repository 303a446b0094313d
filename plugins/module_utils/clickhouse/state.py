# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""I/O: what a server is and has. One request reads everything a run needs; what it could not foresee is asked later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.canonical import CUSTOM, SettingType
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import AccessError, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import (
    READ_ONLY_STORAGES,
    Need,
    Ref,
    Row,
    Rows,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.grant_algebra import (
    PrivilegeCatalogue,
    Rights,
    split_show_grants,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import (
    WishError,
    idents,
    literal,
    literals,
    unquote,
)

_SHOW_SECRETS = {"format_display_secrets_in_show_and_select": 1}
_REFUSED_SETTING = (115, 164, 452)
"""UNKNOWN_SETTING, READONLY and SETTING_CONSTRAINT_VIOLATION: it may not be set here, so it has to do without."""
_CREATED = re.compile(r"CREATE USER (`(?:[^`\\]|\\.|``)*`|[^ ]+)", re.DOTALL)
_CHUNK = 1000
"""How many names one statement carries: well below ClickHouse's ``max_query_size`` of 256 KiB."""
_LINES = {
    "privileges": "SELECT 'privileges', '', toJSONString(tuple(privilege, aliases, level, parent_group))"
    " FROM system.privileges",
    "secrets": "SELECT 'secrets', '', toJSONString(tuple(value)) FROM system.server_settings"
    " WHERE name = 'display_secrets_in_show_and_select'",
}
_MERGE_TREE = "merge_tree_"
_ELEMENTS = "settings_profile_elements"
_STORAGES = Need("user_directories", ("name", "type", "precedence"), keys=())


@dataclass(frozen=True)
class Question:
    """What a run wants to know at once.

    :param needs: the tables of the kinds it is about
    :param names: of these entities only; ``None`` for all
    :param settings: settings whose type it needs, beside those that the entities have
    :param times: dates as the operator wrote them
    :param filters: expressions of row policies as the operator wrote them
    :param privileges: whether it needs to know all privileges
    :param secrets: whether it needs to know if the server shows secrets
    :param cluster: read all replicas of this cluster
    """

    needs: Sequence[Need]
    names: frozenset[str] | None = None
    settings: frozenset[str] = frozenset()
    times: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    privileges: bool = False
    secrets: bool = False
    cluster: str | None = None
    tables: Mapping[str, Need] = field(init=False)

    def __post_init__(self) -> None:
        tables: dict[str, Need] = {}
        for need in (*self.needs, _STORAGES):
            known = tables.get(need.table, Need(need.table, (), ()))
            tables[need.table] = Need(
                need.table,
                tuple(dict.fromkeys((*known.columns, *need.columns))),
                tuple(dict.fromkeys((*known.keys, *need.keys))),
                known.secrets or need.secrets,
            )
        object.__setattr__(self, "tables", tables)
        for name in ("settings", "times", "filters"):  # what cannot be sent is the wish's to refuse, by its option
            object.__setattr__(self, name, frozenset(filter(_is_text, getattr(self, name))))

    def where(self, need: Need) -> str:
        """The condition that leaves the rows of the names."""
        if self.names is None or not need.keys:
            return ""
        names = literals(sorted(self.names)) or "NULL"
        return " WHERE " + " OR ".join(f"{key} IN ({names})" for key in need.keys)

    @property
    def sql(self) -> str:
        """The query: a row is the table's name, the replica, and the columns as JSON."""
        replica = "concat(hostName(), ':', toString(tcpPort()))" if self.cluster else "''"
        lines = [
            f"SELECT 'me', {replica}, toJSONString(tuple(currentUser(), enabledRoles(),"
            " toString(now()), toString(toDateTime64(0, 0))))"
        ]
        lines += [_LINES["privileges"]] if self.privileges else []
        lines += [_LINES["secrets"]] if self.secrets else []
        for need in self.tables.values():
            source = f"system.{need.table}"
            if self.cluster:
                source = f"clusterAllReplicas({literal(self.cluster)}, {source})"
            # COLUMNS takes those of the wanted columns that this version has
            row = f"formatRowNoNewline('JSONEachRow', COLUMNS('^({'|'.join(need.columns)})$'))"
            lines.append(f"SELECT {literal(need.table)}, {replica}, {row} FROM {source}{self.where(need)}")
        lines += self._settings
        if self.times:
            lines.append(
                f"SELECT 'times', '', toJSONString(tuple(text, {_time('text')}))"
                f" FROM (SELECT arrayJoin([{literals(sorted(self.times))}]) AS text)"
            )
        lines += [_filter_line(self.filters)] if self.filters else []
        lines += [_STORED_FILTERS] if "row_policies" in self.tables else []
        return "\nUNION ALL ".join(lines)

    @property
    def _settings(self) -> list[str]:
        """The types of the settings that are wished for, and of those that the entities have."""
        elements = self.tables.get(_ELEMENTS)
        used = f"SELECT setting_name FROM system.{_ELEMENTS}{self.where(elements)}" if elements else ""
        return _setting_lines(self.settings, used) if used or self.settings else []


def _setting_lines(names: Iterable[str], used: str = "") -> list[str]:
    """The queries for the types of settings by these names, or those that the subquery ``used`` gives.

    Those of MergeTree, which are called ``merge_tree_...`` in profiles, only by name: their table is not open to all.
    """
    conditions = [f"name IN ({literals(sorted(names))})"] if names else []
    conditions += [f"name IN ({used})"] if used else []
    lines = [
        "SELECT 'settings', '', toJSONString(tuple(name, type, default, alias_for)) FROM system.settings"
        f" WHERE {' OR '.join(conditions)}"
    ]
    merge_tree = [name[len(_MERGE_TREE) :] for name in sorted(names) if name.startswith(_MERGE_TREE)]
    if merge_tree:
        row = f"tuple(concat('{_MERGE_TREE}', name), type, value, '')"
        lines.append(
            f"SELECT 'settings', '', toJSONString({row}) FROM system.merge_tree_settings"
            f" WHERE name IN ({literals(merge_tree)})"
        )
    return lines


def _is_text(text: str) -> bool:
    """Whether a text has a UTF-8 form: a lone surrogate has none."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _time(text: str) -> str:
    """The expression that reads a date as ``VALID UNTIL`` does.

    Before 1970 ClickHouse keeps the first second that still means "expired".
    """
    time = f"parseDateTime64BestEffortOrNull({text}, 0)"
    return f"toString(if(toInt64({time}) < 1, toDateTime64(1, 0), {time}))"


def _formatted(text: str) -> str:
    """The expression that gives the filter of a row policy in the server's own formatting; NULL if it is none.

    A text is an expression if the server prints it so in a row policy as it does in a SELECT: that leaves out a second
    expression, other clauses of either statement, and what ClickHouse could not read again from its own storage. NONE
    there means no filter, even as the name of a column.
    """
    head = "ALTER ROW POLICY p ON d.t"
    policy = f"formatQuerySingleLineOrNull(concat('{head} USING ', filter, ' TO NONE'))"
    same = f"{policy} = concat('{head} FOR SELECT USING ', filter, ' TO NONE') AND upper(filter) != 'NONE'"
    select = f"formatQuerySingleLineOrNull(concat('SELECT ', {text}))"
    return f"if((substring({select}, {len('SELECT ') + 1}) AS filter) IS NOT NULL AND {same}, filter, NULL)"


def _filter_line(texts: Iterable[str]) -> str:
    """The query for filters in the server's own formatting."""
    return (
        f"SELECT 'filters', '', toJSONString(tuple(text, {_formatted('text')}))"
        f" FROM (SELECT arrayJoin([{literals(sorted(texts))}]) AS text)"
    )


_STORED_FILTERS = (
    f"SELECT 'filters', '', toJSONString(tuple(assumeNotNull(select_filter), {_formatted('select_filter')}))"
    " FROM system.row_policies WHERE select_filter != '' AND storage IN"
    f" (SELECT name FROM system.user_directories WHERE type IN ({literals(READ_ONLY_STORAGES)}))"
)
"""The query for the filters that the server keeps as they were written in its configuration."""


class Server:
    """One server's facts, each asked for once and only when something needs it.

    :param session: an open session
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.epoch = ""
        """How the server writes the beginning of 1970, which in ``valid_until`` means never."""
        self.enabled_roles: list[str] = []
        """The roles that are ours in this session, those of roles among them."""
        self._settings: dict[str, SettingType] = {}
        self._times: dict[str, str | None] = {}
        self.stored_filters: frozenset[str] = frozenset()
        """The filters of row policies as the server has them."""
        self._filters: dict[str, str | None] = {}
        self._creates: dict[str, str] = {}

    # -- one request for everything

    def load(self, question: Question) -> dict[str, Rows]:
        """Read what a run needs.

        :return: the rows of each replica, the connected server's first; without a cluster it is the only one, ``""``
        :raises AccessError: if the server refuses; it names the privilege that is missing
        """
        tables: dict[str, dict[str, list[Row]]] = {}
        privileges: list[Row] = []
        secrets, ours = False, ""
        for table, replica, document in self._answers(question):
            if table in question.tables:
                tables.setdefault(replica, {}).setdefault(table, []).append(document)
                continue
            values = list(document.values()) if isinstance(document, dict) else document
            if table == "me":
                ours = replica
                self.user, self.enabled_roles, self.now, self.epoch = values
            elif table == "privileges":
                privileges.append(dict(zip(("privilege", "aliases", "level", "parent_group"), values, strict=True)))
            elif table == "secrets":
                secrets = values[0] in ("1", "true")
            elif table == "settings":
                name, kind, default, alias = values
                self._settings[name] = SettingType(alias or name, kind, default)
            elif table == "times":
                self._times[values[0]] = values[1]
            elif table == "filters":
                self._filters[values[0]] = values[1]
        if question.privileges:
            self.privileges = PrivilegeCatalogue.from_rows(privileges)
        if question.secrets:
            self.shows_secrets = secrets
        found = {replica: _rows(tables[replica]) for replica in (ours, *sorted(tables.keys() - {ours}))}
        self.stored_filters = frozenset(
            row["select_filter"] for rows in found.values() for row in rows["row_policies"] if row["select_filter"]
        )
        for name in question.settings.union(*(rows.by(_ELEMENTS, "setting_name") for rows in found.values())):
            if not name.startswith(_MERGE_TREE):
                self._settings.setdefault(name, SettingType(name, CUSTOM))
        return found

    def _answers(self, question: Question) -> list[list[Any]]:
        """Ask, with the secrets that the server shows on demand; without them where we may not demand them."""
        if any(need.secrets for need in question.tables.values()):
            try:
                return self.session.rows(question.sql, _SHOW_SECRETS)
            except AccessError as error:
                if error.code not in _REFUSED_SETTING:
                    raise
        return self.session.rows(question.sql)

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
        missing = frozenset(names) - self._settings.keys()
        if missing:
            for _table, _replica, document in self.session.rows("\nUNION ALL ".join(_setting_lines(missing))):
                name, kind, default, alias = document.values() if isinstance(document, dict) else document
                self._settings[name] = SettingType(alias or name, kind, default)
            for name in missing:
                self._settings.setdefault(name, SettingType(name, CUSTOM))
        return self._settings

    def times(self, option: str, texts: Iterable[str]) -> Mapping[str, str]:
        """Return each date in the form ``VALID UNTIL`` is stored and shown in, in the server's time zone.

        :return: ``YYYY-MM-DD hh:mm:ss``, or an empty text for no expiry (``infinity`` or empty)
        :raises WishError: for a text that ClickHouse's best-effort parser does not take
        """
        for text in sorted(set(texts)):
            if text.strip().lower() in ("", "infinity"):
                self._times[text] = ""
            elif text not in self._times:
                self._times[text] = self.session.query(f"SELECT {_time(literal(text))} AS time")[0]["time"]
            if self._times[text] is None:
                raise WishError(option, f"{text!r} is not a date that ClickHouse can read; write 2030-12-31 23:59:59")
        return {text: time for text, time in self._times.items() if time is not None}

    def filters(self, texts: Iterable[str]) -> Mapping[str, str | None]:
        """Return filters of row policies in the server's own formatting, as ``system.row_policies`` shows them.

        :return: ``None`` for a text that is not one expression
        """
        missing = {text for text in texts if text not in self._filters}
        if missing:
            for _table, _replica, document in self.session.rows(_filter_line(missing)):
                text, formatted = document.values() if isinstance(document, dict) else document
                self._filters[text] = formatted
        return self._filters

    # -- entities

    def missing(self, refs: Sequence[Ref]) -> list[Ref]:
        """Return the references whose name does not exist."""
        wanted: dict[str, set[str]] = {}
        for ref in refs:
            for kind in ref.kinds:
                wanted.setdefault(kind, set()).add(ref.name)
        lines = [
            f"SELECT {literal(kind)}, '', toJSONString(name) FROM system.{kind}s"
            f" WHERE name IN ({literals(sorted(names))})"
            for kind, names in wanted.items()
        ]
        found = (
            {(kind, name) for kind, _replica, name in self.session.rows("\nUNION ALL ".join(lines))} if lines else ()
        )
        return [ref for ref in refs if not any((kind, ref.name) in found for kind in ref.kinds)]

    def show_create_users(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return ``SHOW CREATE USER`` of each user, with secrets where the server shows them to us.

        :param names: users that exist
        """
        missing = [name for name in names if name not in self._creates]
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            for text in self._show(f"SHOW CREATE USER {idents(chunk)}"):
                token = _CREATED.match(text)
                if token:
                    self._creates[unquote(token[1]) if token[1][0] == "`" else token[1]] = text
        return self._creates

    def show_create_user(self, name: str) -> str:
        """Return ``SHOW CREATE USER``, with secrets where the server shows them to us."""
        return self.show_create_users([name])[name]

    def _show(self, sql: str) -> list[str]:
        if self.shows_secrets:
            try:
                return self._texts(sql, _SHOW_SECRETS)
            except AccessError as error:
                if error.code not in _REFUSED_SETTING:
                    raise
        return self._texts(sql, None)

    def show_grants(self, names: Sequence[str]) -> Iterable[str]:
        """Return the lines of ``SHOW GRANTS`` for these users and roles."""
        for start in range(0, len(names), _CHUNK):
            yield from self._texts(f"SHOW GRANTS FOR {idents(names[start : start + _CHUNK])}", None)

    @cached_property
    def own_rights(self) -> list[Rights]:
        """What we may do, and what each of our roles may."""
        names = [each for each in ([self.user], self.enabled_roles) if each]
        shown = [split_show_grants(self.show_grants(each)).values() for each in names]
        return [Rights.from_show_grants(self.privileges, lines) for group in shown for lines in group]

    def may(self, privilege: str, scope: str) -> bool:
        """Whether we, or one of our roles, hold a privilege."""
        wanted = self.privileges.grant(privilege, scope)
        return any(rights.covers(wanted) for rights in self.own_rights)

    def _texts(self, sql: str, settings: Mapping[str, Any] | None) -> list[str]:
        return [str(next(iter(row.values()))) for row in self.session.query(sql, settings)]

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


def _rows(tables: Mapping[str, list[Row]]) -> Rows:
    storages = sorted(tables.get(_STORAGES.table, ()), key=lambda row: int(row["precedence"]))
    return Rows({**tables, _STORAGES.table: storages})
