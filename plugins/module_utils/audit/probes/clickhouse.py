# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: what is tried in ClickHouse, and what the answers mean.

Every statement is one that changes nothing even where it is allowed: it names what is not there, copies no rows, or is
only explained. What ClickHouse checks first was found on 24.8, 25.8 and 26.9: rights come before the existence of
databases, tables and users (ALTER, CREATE, INSERT, OPTIMIZE, RENAME, ALTER USER), but not of what DROP and TRUNCATE
name, for which CHECK GRANT asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    NOT_APPLICABLE,
    PASS,
    Json,
    judged,
    listed,
    observe,
    sentence,
)

ABSENT = "hardened_clickstack_audit"
"""A name that nothing has."""

READONLY, UNKNOWN_TABLE, SYNTAX_ERROR, UNKNOWN_DATABASE, DATABASE_ALREADY_EXISTS, UNKNOWN_SETTING = (
    164,
    60,
    62,
    81,
    82,
    115,
)
UNKNOWN_USER, UNKNOWN_FUNCTION, UNKNOWN_DATABASE_ENGINE, UNACCEPTABLE_URL = 192, 46, 336, 491
ACCESS_DENIED, CONSTRAINT_VIOLATION, QUERY_IS_PROHIBITED, DATABASE_ACCESS_DENIED = 497, 452, 392, 291
AUTHENTICATION_FAILED, REQUIRED_PASSWORD, UNKNOWN_LOGIN, IP_NOT_ALLOWED, WRONG_PASSWORD = 516, 194, 192, 195, 193
REFUSALS = (ACCESS_DENIED, READONLY, CONSTRAINT_VIOLATION, QUERY_IS_PROHIBITED)
NO_LOGIN = (AUTHENTICATION_FAILED, REQUIRED_PASSWORD, UNKNOWN_LOGIN, IP_NOT_ALLOWED, WRONG_PASSWORD)

PORTS = {
    "http": 8123, "https": 8443, "native": 9000, "native_secure": 9440, "mysql": 9004, "postgresql": 9005,
    "interserver": 9009, "grpc": 9100, "metrics": 9363,
}  # fmt: skip
SHIPPED = (
    ("api", "api"), ("worker", "worker"),  # docker/clickhouse/local/users.xml of HyperDX
    ("app", "hyperdx"), ("otelcollector", "otelcollectorpass"),  # its Helm chart
    ("default", "default"), ("default", "password"), ("default", "clickhouse"),
)  # fmt: skip

OF_HYPERDX: tuple[tuple[str, str], ...] = (
    ("allow_experimental_analyzer", "1"), ("date_time_output_format", "iso"),
    ("cancel_http_readonly_queries_on_client_close", "1"), ("output_format_json_quote_64bit_integers", "1"),
    ("query_plan_optimize_lazy_materialization", "1"), ("query_plan_max_limit_for_lazy_materialization", "100000"),
    ("use_skip_indexes_for_top_k", "1"), ("query_plan_max_limit_for_top_k_optimization", "100000"),
    ("use_skip_indexes_on_data_read", "1"), ("use_skip_indexes_for_disjunctions", "1"), ("enable_full_text_index", "1"),
    ("max_execution_time", "60"), ("max_execution_time", "15"), ("max_execution_time", "2"),
    ("max_rows_to_read", "3000000"), ("max_rows_to_read", "0"), ("read_overflow_mode", "break"),
    ("timeout_overflow_mode", "break"), ("max_rows_to_group_by", "1000000"), ("group_by_overflow_mode", "any"),
    ("max_result_rows", "10000"), ("result_overflow_mode", "break"), ("readonly", "1"), ("readonly", "2"),
)  # fmt: skip
"""Settings that HyperDX sends along (packages/common-utils/src/clickhouse, core/metadata and the interface)."""

LIMITS: tuple[tuple[str, str], ...] = (
    ("max_execution_time", "0"),
    ("max_execution_time", "1000000"),
    ("max_memory_usage", "0"),
    ("max_memory_usage", str(1 << 60)),
)
"""Ways to lift a limit: no limit at all, or one that is none."""


OVERRIDE = ("allow_named_collection_override_by_default", "1")
"""With it a query may change parts of a named collection, such as where it leads."""


@dataclass(frozen=True)
class Reply:
    """ClickHouse's answer: the number of the exception (0 for none, -1 for no answer at all), and the text."""

    code: int
    text: str = ""

    @property
    def rows(self) -> list[list[Any]]:
        """The rows of FORMAT JSONCompact. Raises ValueError if it is something else."""
        found: list[list[Any]] = json.loads(self.text)["data"]
        return found

    @property
    def short(self) -> str:
        """The answer in a few words."""
        if self.code < 0:
            return self.text
        if not self.code:
            return "accepted"
        name = re.findall(r"\(([A-Z][A-Z_0-9]+)\)", self.text)
        return f"{self.code} {name[-1]}" if name else str(self.code)


@dataclass(frozen=True)
class Attempt:
    """A statement that is tried: what it would do, and codes that mean that the rights for it are there.

    With `is_check` the statement asks, and 1 is a yes. `settings` go along with it.
    """

    label: str
    statement: str
    allowed: Sequence[int] = ()
    is_check: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def outcome(self, reply: Reply) -> str:
        """What the answer means: `allowed`, `refused`, or `unknown`, such as for what this version does not know."""
        if self.is_check:
            return {"1": "allowed", "0": "refused"}.get(reply.text.strip(), "unknown") if not reply.code else "unknown"
        if reply.code in (0, *self.allowed):
            return "allowed"
        return "refused" if reply.code in REFUSALS else "unknown"


def name(text: str) -> str:
    """Return a name as ClickHouse quotes it."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """Return a string as ClickHouse quotes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# -- what is tried ----------------------------------------------------------------------------------------------------


def writes(database: str, table: str) -> list[Attempt]:
    """Return what HyperDX's user must not do.

    :param database: the telemetry's
    :param table: one in it; empty if there is none
    """
    absent = f"{name(database)}.{name(ABSENT)}"
    found = [
        Attempt("CREATE TABLE", f"CREATE TABLE {name(ABSENT)}.t (x UInt8) ENGINE = Memory", (UNKNOWN_DATABASE,)),
        Attempt(
            "CREATE DATABASE", f"CREATE DATABASE {name(ABSENT)} ENGINE = HardenedAbsent", (UNKNOWN_DATABASE_ENGINE,)
        ),
        Attempt("ALTER TABLE DELETE", f"ALTER TABLE {absent} DELETE WHERE 1", (UNKNOWN_TABLE, UNKNOWN_DATABASE)),
        Attempt(
            "ALTER TABLE ADD COLUMN", f"ALTER TABLE {absent} ADD COLUMN x UInt8", (UNKNOWN_TABLE, UNKNOWN_DATABASE)
        ),
        Attempt(
            "RENAME TABLE",
            f"RENAME TABLE {absent} TO {name(database)}.{name(ABSENT + '_')}",
            (UNKNOWN_TABLE, UNKNOWN_DATABASE),
        ),
        Attempt("OPTIMIZE TABLE", f"OPTIMIZE TABLE {absent}", (UNKNOWN_TABLE, UNKNOWN_DATABASE)),
        Attempt("DROP TABLE", f"CHECK GRANT DROP TABLE ON {name(database)}.*", is_check=True),
        Attempt("TRUNCATE", f"CHECK GRANT TRUNCATE ON {name(database)}.*", is_check=True),
        Attempt("KILL QUERY", f"KILL QUERY WHERE query_id = {literal(ABSENT)}"),
        *_access(),
    ]
    return (
        [_insert(database, table), *found]
        if table
        else [Attempt("INSERT", f"CHECK GRANT INSERT ON {name(database)}.*", is_check=True), *found]
    )


def _access() -> list[Attempt]:
    return [
        Attempt("ALTER USER", f"ALTER USER {name(ABSENT)} HOST NONE", (UNKNOWN_USER,)),
        Attempt("DROP USER", f"DROP USER {name(ABSENT)}", (UNKNOWN_USER,)),
        Attempt("DROP FUNCTION", f"DROP FUNCTION {name(ABSENT)}", (UNKNOWN_FUNCTION,)),
        Attempt("BACKUP", f"BACKUP TABLE {name(ABSENT)}.t TO Null", (UNKNOWN_DATABASE, UNKNOWN_TABLE)),
    ]


def _insert(database: str, table: str) -> Attempt:
    there = f"{name(database)}.{name(table)}"
    return Attempt("INSERT", f"INSERT INTO {there} SELECT * FROM {there} WHERE 0")


def reads() -> list[Attempt]:
    """Return what HyperDX's user must not read: other users, and other servers and files by way of ClickHouse."""
    sources = {
        "url()": "url('http://127.0.0.1:1/', 'CSV', 'x String')",
        "file()": f"file('{ABSENT}.csv', 'CSV', 'x String')",
        "remote()": "remote('127.0.0.1:1', 'system.one')",
        "mysql()": "mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
    }
    return [
        Attempt("system.users", "SELECT name FROM system.users LIMIT 0"),
        Attempt("system.grants", "SELECT access_type FROM system.grants LIMIT 0"),
        Attempt("system.processes", "SELECT query_id FROM system.processes LIMIT 0"),
        Attempt("system.query_log", "SELECT query_id FROM system.query_log LIMIT 0"),
        Attempt("system.disks", "SELECT name FROM system.disks LIMIT 0"),
        # 279, 1001 and 210: it tried to connect; 291: outside of the folder for files
        *(
            Attempt(label, f"EXPLAIN SELECT * FROM {source}", (DATABASE_ACCESS_DENIED, 279, 210, 107, 1001))
            for label, source in sources.items()
        ),
    ]


def ingest_must(database: str, table: str) -> list[Attempt]:
    """Return what the collector's user needs at every start and for its inserts."""
    needed = [
        Attempt(
            "CREATE DATABASE",
            f"CREATE DATABASE {name(database)} ENGINE = HardenedAbsent",
            (DATABASE_ALREADY_EXISTS, UNKNOWN_DATABASE_ENGINE),
        ),
    ]
    if table:
        there = f"{name(database)}.{name(table)}"
        needed += [
            _insert(database, table),
            Attempt("CREATE TABLE", f"CREATE TABLE IF NOT EXISTS {there} (x UInt8) ENGINE = Memory"),
            Attempt("DESCRIBE TABLE", f"DESCRIBE TABLE {there}"),
        ]
    return needed


def ingest_must_not(database: str) -> list[Attempt]:
    """Return what the collector's user must not do."""
    absent = f"{name(database)}.{name(ABSENT)}"
    return [
        Attempt("DROP TABLE", f"CHECK GRANT DROP TABLE ON {name(database)}.*", is_check=True),
        Attempt("TRUNCATE", f"CHECK GRANT TRUNCATE ON {name(database)}.*", is_check=True),
        Attempt("ALTER TABLE DELETE", f"ALTER TABLE {absent} DELETE WHERE 1", (UNKNOWN_TABLE, UNKNOWN_DATABASE)),
        Attempt("ALTER TABLE DROP COLUMN", f"ALTER TABLE {absent} DROP COLUMN x", (UNKNOWN_TABLE, UNKNOWN_DATABASE)),
        Attempt(
            "CREATE TABLE elsewhere", f"CREATE TABLE {name(ABSENT)}.t (x UInt8) ENGINE = Memory", (UNKNOWN_DATABASE,)
        ),
        *_access(),
        *reads(),
    ]


DATABASES = "SELECT DISTINCT database FROM system.tables FORMAT JSONCompact"
"""Databases in which a user sees tables: those that he has rights in."""
COMMON = ("system", "INFORMATION_SCHEMA", "information_schema")


def tables(database: str) -> str:
    """Return the statement that names a table of a database."""
    return (
        f"SELECT name FROM system.tables WHERE database = {literal(database)} AND engine LIKE '%MergeTree%'"
        " ORDER BY name LIMIT 1 FORMAT JSONCompact"
    )


READER_SETTINGS = (
    "SELECT name, value FROM system.settings WHERE name IN ("
    + ", ".join(literal(setting) for setting in sorted({setting for setting, _value in OF_HYPERDX} | {
        "max_memory_usage", "max_concurrent_queries_for_user", "max_bytes_to_read"}))
    + ") FORMAT JSONCompact"
)  # fmt: skip
QUOTA = "SELECT * FROM system.quota_usage FORMAT JSONCompact"

ADMIN = {
    "users": "SELECT name, toString(auth_type), host_ip, host_names, host_names_regexp, host_names_like"
    " FROM system.users",
    "grants": "SELECT user_name, role_name, access_type FROM system.grants",
    "role_grants": "SELECT user_name, role_name, granted_role_name FROM system.role_grants",
    "logs": "SELECT name, create_table_query FROM system.tables WHERE database = 'system'"
            " AND name IN ('query_log', 'session_log')",
    "disks": "SELECT name, is_encrypted, type FROM system.disks",
    "policies": "SELECT policy_name, disks, max_data_part_size FROM system.storage_policies",
}  # fmt: skip
"""What the administrator reads; FORMAT JSONCompact is added."""


def policies_in_use(database: str) -> str:
    """Return the statement that says which storage policies the telemetry's tables use, and new ones will."""
    return (
        f"SELECT DISTINCT storage_policy FROM system.tables WHERE database = {literal(database)}"
        " AND storage_policy != ''"
        " UNION DISTINCT SELECT value FROM system.merge_tree_settings WHERE name = 'storage_policy'"
    )


def disks_in_use(database: str) -> str:
    """Return the statement that says on which disks the telemetry lies."""
    return f"SELECT DISTINCT disk_name FROM system.parts WHERE active AND database = {literal(database)}"


_SMALLEST_PART = 1024
"""Bytes that no part has fewer of."""
URL_ATTEMPT = Attempt(
    "url()", "EXPLAIN SELECT * FROM url('http://hardened-clickstack-audit.invalid/', 'CSV', 'x String')"
)
"""Explained only, so nobody connects; the list of allowed hosts is checked all the same."""


# -- what the answers mean --------------------------------------------------------------------------------------------


def judge_logins(probe: str, subject: str, replies: Mapping[str, Reply], right: str) -> Json:
    """Return whether logins that must fail do.

    :param replies: by what was tried, the answer on SELECT 1
    :param right: what the evidence begins with if all were refused
    """
    said = "; ".join(f"{label}: {reply.short}" for label, reply in replies.items())
    inside = [label for label, reply in replies.items() if not reply.code]
    unknown = [label for label, reply in replies.items() if reply.code and reply.code not in NO_LOGIN]
    if inside:
        return observe(probe, subject, FAIL, f"Logged in: {listed(inside)}.")
    if unknown:
        return observe(probe, subject, ERROR, f"No answer that tells: {said}.")
    return observe(probe, subject, PASS, f"{right} {said}.")


def judge_attempts(
    probe: str, subject: str, tried: Sequence[tuple[Attempt, Reply]], extra: Sequence[str] = (), note: str = ""
) -> Json:
    """Return whether everything that was tried was refused.

    :param extra: what else is wrong
    :param note: what the evidence adds
    """
    by_outcome: dict[str, list[str]] = {"allowed": [], "refused": [], "unknown": []}
    for attempt, reply in tried:
        outcome = attempt.outcome(reply)
        by_outcome[outcome].append(f"{attempt.label} ({reply.short})" if outcome == "unknown" else attempt.label)
    wrong = [f"allowed: {listed(by_outcome['allowed'], 12)}"] if by_outcome["allowed"] else []
    wrong += extra
    note = f" {note}" if note else ""
    if wrong:
        return observe(probe, subject, FAIL, f"{sentence(wrong)}{note}")
    if not by_outcome["refused"]:
        return observe(probe, subject, ERROR, f"No answer that tells: {listed(by_outcome['unknown'])}.{note}")
    unknown = f" Could not be tried here: {listed(by_outcome['unknown'])}." if by_outcome["unknown"] else ""
    return observe(probe, subject, PASS, f"Refused: {listed(by_outcome['refused'], 20)}.{unknown}{note}")


def judge_ingest(
    subject: str,
    must: Sequence[tuple[Attempt, Reply]],
    must_not: Sequence[tuple[Attempt, Reply]],
    others: Sequence[str],
) -> Json:
    """Return whether the collector's user can do its work, and nothing else.

    :param others: databases that it sees beside its own
    """
    missing = [f"{attempt.label} ({reply.short})" for attempt, reply in must if attempt.outcome(reply) == "refused"]
    extra = [f"it cannot do its work: {listed(missing)} refused"] if missing else []
    if others:
        extra.append(f"it sees tables in {listed(others)}")
    works = [attempt.label for attempt, reply in must if attempt.outcome(reply) == "allowed"]
    return judge_attempts(
        "clickhouse_ingest_rights", subject, must_not, extra, f"It can: {listed(works) or 'nothing'}."
    )


def judge_settings(subject: str, tried: Sequence[tuple[str, str, Reply]]) -> Json:
    """Return whether every setting that HyperDX sends is accepted; those that this version does not know count not.

    :param tried: name, value, and the answer on SELECT 1 with it
    """
    known = [one for one in tried if one[2].code != UNKNOWN_SETTING]
    wrong = [f"{setting}={value} ({reply.short})" for setting, value, reply in known if reply.code]
    if not known or all(reply.code < 0 for _setting, _value, reply in known):
        return observe("clickhouse_reader_settings", subject, ERROR, "No setting could be tried.")
    return judged(
        "clickhouse_reader_settings",
        subject,
        not wrong,
        f"All {len(known)} settings that HyperDX sends pass.",
        f"HyperDX' queries fail with {listed(wrong)}.",
    )


def judge_limits(subject: str, tried: Sequence[tuple[str, str, Reply]]) -> Json:
    """Return whether a user is kept from lifting its limits.

    :param tried: name, value, and the answer on SELECT 1 with it
    """
    lifted = [f"{setting}={value}" for setting, value, reply in tried if not reply.code]
    unknown = [
        f"{setting}={value} ({reply.short})"
        for setting, value, reply in tried
        if reply.code and reply.code not in REFUSALS
    ]
    if not lifted and unknown:
        return observe("clickhouse_reader_limits", subject, ERROR, f"No answer that tells: {listed(unknown)}.")
    return judged(
        "clickhouse_reader_limits",
        subject,
        not lifted,
        f"Refused: {listed(f'{setting}={value} ({reply.short})' for setting, value, reply in tried)}.",
        f"The user can lift its limits: {listed(lifted)} accepted.",
    )


def judge_resources(subject: str, settings: Mapping[str, str], quota: Reply) -> Json:
    """Return whether a settings profile or a quota limits a user.

    :param settings: by name, the values that its queries run with
    :param quota: the rows of system.quota_usage
    """
    limits = [
        f"{setting}={settings[setting]}"
        for setting in (
            "max_execution_time",
            "max_memory_usage",
            "max_rows_to_read",
            "max_bytes_to_read",
            "max_concurrent_queries_for_user",
        )
        if settings.get(setting, "0") not in ("0", "")
    ]
    if not quota.code:
        try:
            document = json.loads(quota.text)
            columns = [str(column["name"]) for column in document["meta"]]
            for row in document["data"]:
                limits += [
                    f"quota {column}={value}"
                    for column, value in zip(columns, row)  # noqa: B905 (strict is of Python 3.10)
                    if column.startswith("max_") and value
                ]
        except (ValueError, KeyError, TypeError):
            pass  # without a quota the profile alone counts
    return judged(
        "clickhouse_resource_limits",
        subject,
        bool(limits),
        f"Its queries are limited: {listed(limits)}.",
        "Neither a settings profile nor a quota limits its queries.",
    )


# -- what the administrator sees --------------------------------------------------------------------------------------


def judge_users(subject: str, users: Iterable[Sequence[Any]]) -> list[Json]:
    """Return whether users may come from named addresses only, and have a kind of authentication that is one.

    :param users: rows of ADMIN["users"]
    """
    anywhere, weak, count = [], [], 0
    for user, authentication, addresses, _names, patterns, likes in users:
        count += 1
        is_open = {"::/0", "0.0.0.0/0"} & set(addresses) or {".*", "^.*$", ".+"} & set(patterns) or "%" in likes
        if is_open and authentication not in ("['no_authentication']", "no_authentication"):
            anywhere.append(user)
        kinds = re.findall(r"no_password|plaintext_password", str(authentication))
        if kinds:
            weak.append(f"{user} ({listed(sorted(set(kinds)))})")
    return [
        judged(
            "clickhouse_user_hosts",
            subject,
            not anywhere,
            f"Each of {count} users has a HOST.",
            f"May come from anywhere: {listed(anywhere)}.",
        ),
        judged(
            "clickhouse_user_authentication",
            subject,
            not weak,
            f"None of {count} users is without a password or has one in plain text.",
            f"Weak authentication: {listed(weak)}.",
        ),
    ]


_MANAGING = re.compile(
    r"^(ALL|ACCESS MANAGEMENT|(CREATE|ALTER|DROP) (USER|ROLE|ROW POLICY|QUOTA|SETTINGS PROFILE)|ROLE ADMIN)$"
)


def judge_managers(
    subject: str, grants: Iterable[Sequence[Any]], role_grants: Iterable[Sequence[Any]], administrators: Iterable[str]
) -> Json:
    """Return whether only administrators may manage access, by their own grants or by those of their roles.

    :param grants: rows of ADMIN["grants"]
    :param role_grants: rows of ADMIN["role_grants"]
    :param administrators: names of users who may
    """
    managing = {(user or "", role or "") for user, role, access in grants if _MANAGING.match(str(access))}
    members = [(user or "", role or "", granted) for user, role, granted in role_grants]
    is_growing = True
    while is_growing:
        more = {(user, role) for user, role, granted in members if ("", granted) in managing} - managing
        is_growing = bool(more)
        managing |= more
    found = sorted(user for user, role in managing if user and not role)
    wrong = [user for user in found if user not in set(administrators)]
    return judged(
        "clickhouse_access_managers",
        subject,
        not wrong,
        f"Access is managed by {listed(found) or 'nobody'}.",
        f"May manage access and are no administrators: {listed(wrong)}.",
    )


def judge_log(
    probe: str, subject: str, table: str, queries: Mapping[str, str], config: ElementTree.Element | None
) -> Json:
    """Return whether a log is written and kept for a set time.

    :param table: `query_log` or `session_log`
    :param queries: by table, how it was created; a table is there after its first entry
    :param config: the server's configuration; None if it cannot be read
    """
    query = queries.get(table, "")
    if query:
        ttl = re.search(r"\bTTL\b\s+(.{0,80}?)(?:\s+SETTINGS\b|$)", query, re.DOTALL)
        return judged(
            probe,
            subject,
            bool(ttl),
            f"system.{table} is written, TTL {ttl.group(1) if ttl else ''}.",
            f"system.{table} is written and never deleted: it has no TTL.",
        )
    element = config.find(table) if config is not None else None
    if element is None:
        return observe(probe, subject, FAIL, f"There is no system.{table}.")
    has_ttl = bool((element.findtext("ttl") or "").strip()) or "TTL" in (element.findtext("engine") or "").upper()
    return judged(
        probe,
        subject,
        has_ttl,
        f"{table} is configured with a time to keep; nothing was written yet.",
        f"{table} is configured without a time to keep.",
    )


def judge_disks(
    subject: str,
    disks: Iterable[Sequence[Any]],
    policies: Iterable[Sequence[Any]],
    used: Iterable[Sequence[Any]],
    parts: Iterable[Sequence[Any]],
) -> Json:
    """Return whether the telemetry lies on encrypted disks, and what comes will.

    :param disks: rows of ADMIN["disks"]
    :param policies: rows of ADMIN["policies"]; a volume whose parts may have a few bytes gets no new ones
    :param used: rows of policies_in_use
    :param parts: rows of disks_in_use
    """
    encrypted = {str(disk): bool(int(flag)) for disk, flag, _kind in disks}
    names = {str(row[0]) for row in used}
    coming = {
        str(disk)
        for policy, members, largest in policies
        if policy in names and not 0 < int(largest) < _SMALLEST_PART
        for disk in members
    }
    lying = {str(row[0]) for row in parts}
    plain = sorted(disk for disk in coming | lying if not encrypted.get(disk, False))
    if not coming:
        return observe(
            "clickhouse_encrypted_disk", subject, ERROR, f"The disks of {listed(sorted(names))} are not known."
        )
    return judged(
        "clickhouse_encrypted_disk",
        subject,
        not plain,
        f"Telemetry lies on {listed(sorted(coming | lying))}, encrypted.",
        f"Telemetry lies on {listed(plain)}, which is not encrypted.",
    )


def judge_urls(subject: str, reply: Reply) -> Json:
    """Return whether an administrator's query for a URL nobody has allowed is refused before a connection is made."""
    if reply.code == UNACCEPTABLE_URL:
        return observe("clickhouse_remote_urls", subject, PASS, f"url() of a host that is not listed: {reply.short}.")
    if reply.code in REFUSALS or reply.code < 0:
        # an administrator of ClickHouse Cloud need not have url(); that is no failure of the measurement
        status = NOT_APPLICABLE if reply.code == ACCESS_DENIED else ERROR
        return observe("clickhouse_remote_urls", subject, status, f"This user cannot try url(): {reply.short}.")
    return observe(
        "clickhouse_remote_urls",
        subject,
        FAIL,
        f"url() takes any host ({reply.short}): queries can reach what the server reaches.",
    )


# -- the configuration that the server runs with ----------------------------------------------------------------------

CONFIG_PROBES = ("clickhouse_password_types", "clickhouse_named_collections", "clickhouse_external_authenticators")


def judge_config(subject: str, config: ElementTree.Element, override: Reply | None) -> list[Json]:
    """Return what the server's loaded configuration says of passwords, named collections and authenticators.

    :param config: the root of preprocessed_configs/config.xml, which ClickHouse writes when it loads its files
    :param override: the answer on SELECT 1 with the setting OVERRIDE; None if nobody could log in to try
    """
    kinds = ("allow_no_password", "allow_implicit_no_password", "allow_plaintext_password")
    allowed = [kind for kind in kinds if not _is_off(config.findtext(kind))]
    storage = config.findtext("named_collections_storage/type") or "local"
    wrong = []
    if "encrypted" not in storage:
        wrong.append(f"named_collections_storage is {storage}, so their secrets lie in plain text on the disk")
    if override is not None and not override.code:
        wrong.append(f"a query may set {OVERRIDE[0]}, and so send their secrets elsewhere")
    return [
        judged(
            "clickhouse_password_types", subject, not allowed, f"{listed(kinds)} are off.", f"{listed(allowed)} on."
        ),
        judged(
            "clickhouse_named_collections",
            subject,
            not wrong,
            f"named_collections_storage is {storage}; {OVERRIDE[0]}: {override.short if override else 'not tried'}.",
            f"{'; '.join(wrong)}.",
        ),
        _judge_authenticators(subject, config),
    ]


def _is_off(value: str | None) -> bool:
    return (value or "").strip().lower() in ("0", "false")


def _judge_authenticators(subject: str, config: ElementTree.Element) -> Json:
    probe = "clickhouse_external_authenticators"
    servers, wrong = [], []
    for server in config.findall("ldap_servers/*"):
        servers.append(f"LDAP {server.tag}")
        if (server.findtext("enable_tls") or "yes").strip().lower() not in ("yes", "starttls", "1", "true"):
            wrong.append(f"LDAP {server.tag} without TLS")
        elif (server.findtext("tls_require_cert") or "demand").strip().lower() not in ("demand", "hard"):
            wrong.append(f"LDAP {server.tag} takes any certificate")
    for server in config.findall("http_authentication_servers/*"):
        servers.append(f"HTTP {server.tag}")
        if not (server.findtext("uri") or "").strip().startswith("https://"):
            wrong.append(f"HTTP {server.tag} without TLS")
    if config.find("kerberos") is not None:
        servers.append("Kerberos")
    if not servers:
        return observe(probe, subject, NOT_APPLICABLE, "There are no external authenticators.")
    return judged(probe, subject, not wrong, f"{listed(servers)}: over TLS.", f"{listed(wrong)}.")
