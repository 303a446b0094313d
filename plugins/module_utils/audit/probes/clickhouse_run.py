# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe audit_clickhouse: what a ClickHouse answers on its ports, and what its users can and cannot do."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import clickhouse, logins, tls
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.clickhouse import Attempt, Reply
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.connections import (
    OPEN,
    Web,
    attempt_all,
    in_namespace,
    resolved,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.logins import Login
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    PASS,
    Json,
    judged,
    listed,
    observe,
    unmeasured,
    without,
)

READER_PROBES = (
    "clickhouse_reader_writes", "clickhouse_reader_scope", "clickhouse_reader_limits", "clickhouse_reader_settings",
    "clickhouse_resource_limits",
)  # fmt: skip
ADMIN_PROBES = (
    "clickhouse_user_hosts", "clickhouse_user_authentication", "clickhouse_access_managers", "clickhouse_query_log",
    "clickhouse_session_log", "clickhouse_encrypted_disk", "clickhouse_remote_urls",
)  # fmt: skip
LOGIN_PROBES = ("clickhouse_default_user", "clickhouse_known_users")
PORT_PROBES = (
    "clickhouse_plaintext", "clickhouse_tls_protocols", "clickhouse_certificate", "clickhouse_other_protocols",
    "clickhouse_metrics",
)  # fmt: skip
ALL_PROBES = (
    *PORT_PROBES, *LOGIN_PROBES, *READER_PROBES, "clickhouse_ingest_rights", *ADMIN_PROBES, *clickhouse.CONFIG_PROBES,
)  # fmt: skip
_AT_ONCE = 8
"""Requests at the same time: a server is not to notice that it is looked at."""
_LARGEST = 8 << 20


def run(module: AnsibleModule) -> None:
    """Run the module audit_clickhouse.

    :param module: the module, with its arguments
    """
    options = module.params
    if not options["host"]:
        observations = unmeasured(ALL_PROBES, "ClickHouse", "No address of a ClickHouse is known (host).")
        module.exit_json(changed=False, observations=observations)
    server = _Server(options)
    observations = server.look()
    module.exit_json(changed=False, observations=without(server.secrets, observations))


class _Server:
    """One ClickHouse, its ports, and the way its users come in."""

    def __init__(self, options: Json) -> None:
        self._options = options
        # names are resolved here: a container's network namespace may have another resolver
        self._host: str = resolved(options["host"])
        self._timeout: float = options["timeout"]
        given = options["host"]
        self._label = f"{options['name']} {given}" if options["name"] not in ("", given) else given
        self._ports = {
            **clickhouse.PORTS,
            **{name: port for name, port in options["ports"].items() if port is not None},
        }
        self._reader = logins.login(options["reader"], "reader")
        self._ingest = logins.login(options["ingest"], "ingest")
        self._admin = logins.login(options["admin"], "admin")
        self.secrets = logins.secrets([self._reader, self._ingest, self._admin])
        self._today = datetime.datetime.now(datetime.timezone.utc)
        self._web = Web(self._host, 0)
        self._is_safe = False

    # -- requests -----------------------------------------------------------------------------------------------------

    def _query(self, user: str, password: str, statement: str, settings: Mapping[str, str] | None = None) -> Reply:
        """The answer on a statement, of whoever asks."""
        parameters = {**(settings or {})}
        path = "/" + (f"?{urlencode(parameters)}" if parameters else "")
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password, "Content-Type": "text/plain; charset=utf-8"}
        try:
            answer = self._web.ask("POST", path, statement.encode(), headers)
        except (UnicodeEncodeError, ValueError):
            return Reply(-1, "the user or password cannot be sent in HTTP header fields")
        if not answer.status:
            return Reply(-1, answer.body)
        code = answer.headers.get("x-clickhouse-exception-code") or next(
            iter(re.findall(r"^Code: (\d+)", answer.body)), ""
        )
        if not code and answer.status != 200:
            return Reply(-1, f"HTTP {answer.status}, which is no answer of ClickHouse")
        return Reply(int(code or 0), answer.body)

    def _ask(self, login: Login, statement: str, settings: Mapping[str, str] | None = None) -> Reply:
        return self._query(login.user, login.password, statement, settings)

    def _all(self, login: Login, work: Sequence[tuple[str, Mapping[str, str]]]) -> list[Reply]:
        """The answers on several statements, asked side by side. Threads stay in the namespace that they start in."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(lambda one: self._ask(login, one[0], one[1]), work))

    def _try(self, login: Login, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Reply]]:
        return list(zip(attempts, self._all(login, [(one.statement, one.settings) for one in attempts])))  # noqa: B905 (strict is of Python 3.10)

    # -- what is looked at --------------------------------------------------------------------------------------------

    def look(self) -> list[Json]:
        """All observations."""
        observations = self._look_at_ports()
        if not self._web.port:
            reason = "Neither its port for HTTPS nor that for HTTP answers."
            probes = (*LOGIN_PROBES, *READER_PROBES, "clickhouse_ingest_rights", *ADMIN_PROBES)
            return [*observations, *unmeasured(probes, self._label, reason, ERROR), *self._look_at_config(None)]
        self._label = f"{self._label}:{self._web.port}"
        found, is_open = self._look_at_logins()
        observations += found
        if is_open:
            # who has no user of its own to give is judged as the one that everybody is
            everybody = Login("default", "")
            self._reader, self._ingest, self._admin = (
                everybody if login.missing else login for login in (self._reader, self._ingest, self._admin)
            )
        override: list[Reply] = []
        observations += self._as(self._reader, READER_PROBES, lambda: self._look_as_reader(override))
        observations += self._as(self._ingest, ("clickhouse_ingest_rights",), self._look_as_ingest)
        observations += self._as(self._admin, ADMIN_PROBES, self._look_as_admin)
        return observations + self._look_at_config(override[0] if override else None)

    def _look_at_ports(self) -> list[Json]:
        states = attempt_all([(self._host, port) for port in self._ports.values() if port], self._timeout)
        opened = {name for name, port in self._ports.items() if states.get((self._host, port)) == OPEN}
        where = {name: f"{name} {port}" for name, port in self._ports.items()}
        observations = []
        plain = [name for name in ("http", "native") if name in opened]
        secure = [name for name in ("https", "native_secure") if name in opened]
        if not plain and not secure:
            return unmeasured(PORT_PROBES, self._label, f"No port of ClickHouse answers at {self._host}.", ERROR)
        said = []
        if "http" in plain:
            answer = Web(self._host, self._ports["http"], timeout=self._timeout).ask("GET", "/ping")
            said.append(f"GET /ping on {self._ports['http']}: {answer.status or answer.body}")
        observations.append(
            judged(
                "clickhouse_plaintext",
                self._label,
                not plain,
                f"{self._ports['http']} and {self._ports['native']} are closed.",
                f"Open without TLS: {listed(where[name] for name in plain)}. {listed(said)}",
            )
        )
        for name in secure:
            endpoint = tls.Endpoint(self._host, self._ports[name], self._options["name"], self._timeout)
            measured = tls.examine(endpoint, self._options["ca_file"] or "")
            subject = f"{self._label}:{endpoint.port}"
            observations.append(tls.judge_protocols("clickhouse_tls_protocols", subject, measured))
            observations.append(
                tls.judge_certificate(
                    "clickhouse_certificate",
                    subject,
                    measured,
                    endpoint.name,
                    self._options["certificate_days"],
                    self._today,
                )
            )
            if name == "https" and measured.is_tls:
                self._use(endpoint, not measured.untrusted)
        if not secure:
            observations += unmeasured(
                ("clickhouse_tls_protocols", "clickhouse_certificate"), self._label, "No port of ClickHouse speaks TLS."
            )
        if "http" in plain and not self._web.port:
            self._web = Web(self._host, self._ports["http"], timeout=self._timeout)
        others = [where[name] for name in ("mysql", "postgresql", "interserver", "grpc") if name in opened]
        observations.append(
            judged(
                "clickhouse_other_protocols",
                self._label,
                not others,
                "MySQL, PostgreSQL, interserver and gRPC are closed.",
                f"Open: {listed(others)}.",
            )
        )
        observations.append(
            judged(
                "clickhouse_metrics",
                self._label,
                "metrics" not in opened,
                f"{self._ports['metrics']} is closed.",
                f"{self._ports['metrics']} is open, and asks for no login.",
            )
        )
        return observations

    def _use(self, endpoint: tls.Endpoint, is_trusted: bool) -> None:
        """Take HTTPS for the logins, verified if it can be."""
        context = tls.verified(self._options["ca_file"] or "", endpoint.name) if is_trusted else None
        self._is_safe = is_trusted
        self._web = Web(self._host, endpoint.port, True, endpoint.name, self._timeout, context)

    def _look_at_logins(self) -> tuple[list[Json], bool]:
        """Logins that must fail, from here and from the containers; and whether `default` came in from here."""
        places: dict[str, int] = {"this host": 0}
        for who, login in (("HyperDX'", self._reader), ("the collector's", self._ingest)):
            if login.pid:
                places[f"{who} container"] = login.pid
        default: dict[str, Reply] = {}
        known: dict[str, Reply] = {}
        pairs = [("default", ""), *clickhouse.SHIPPED]

        def knock() -> list[Reply]:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                return list(pool.map(lambda pair: self._query(pair[0], pair[1], "SELECT 1"), pairs))

        for place, pid in places.items():
            try:
                replies = in_namespace(pid, knock)
            except OSError as error:
                replies = [Reply(-1, str(error))] * len(pairs)
            default[f"default without a password from {place}"] = replies[0]
            for (user, _password), reply in zip(pairs[1:], replies[1:]):  # noqa: B905 (strict is of Python 3.10)
                label = f"{user} with a shipped password"
                # the worst answer of all places and passwords counts
                if label not in known or not reply.code:
                    known[label] = reply
        return [
            clickhouse.judge_logins("clickhouse_default_user", self._label, default, "Refused:"),
            clickhouse.judge_logins("clickhouse_known_users", self._label, known, "Refused:"),
        ], not default["default without a password from this host"].code

    # -- as somebody --------------------------------------------------------------------------------------------------

    def _as(self, login: Login, probes: Iterable[str], work: Callable[[], list[Json]]) -> list[Json]:
        """What is found by `work` from where this user may come from, if it can log in."""
        if login.missing:
            return unmeasured(probes, self._label, login.missing)
        if self._options["validate_certs"] and login.password and not self._is_safe:
            reason = logins.NOT_SENT
            return unmeasured(probes, self._label, reason, ERROR)

        def all_of_it() -> list[Json]:
            hello = self._ask(login, "SELECT 1")
            if hello.code:
                reason = f"{login.user} cannot log in {login.place}: {hello.short}."
                return unmeasured(probes, self._label, reason, ERROR)
            return work()

        try:
            return in_namespace(login.pid, all_of_it)
        except (OSError, ValueError, KeyError) as error:
            return unmeasured(probes, self._label, f"{type(error).__name__}: {error}", ERROR)

    def _table(self, login: Login) -> str:
        reply = self._ask(login, clickhouse.tables(self._options["database"]))
        return str(reply.rows[0][0]) if not reply.code and reply.rows else ""

    def _others(self, login: Login) -> list[str]:
        """Databases in which this user sees tables, beside the telemetry's and the system's."""
        reply = self._ask(login, clickhouse.DATABASES)
        own = {self._options["database"], *clickhouse.COMMON}
        return sorted(str(row[0]) for row in reply.rows if row[0] not in own) if not reply.code else []

    def _look_as_reader(self, override: list[Reply]) -> list[Json]:
        login = self._reader
        subject = f"{login.user} on {self._label}"
        database = self._options["database"]
        table = self._table(login)
        others = self._others(login)
        sent = [("SELECT 1", {setting: value}) for setting, value in (*clickhouse.OF_HYPERDX, *clickhouse.LIMITS)]
        replies = self._all(login, [*sent, ("SELECT 1", dict([clickhouse.OVERRIDE]))])
        count = len(clickhouse.OF_HYPERDX)
        settings = self._ask(login, clickhouse.READER_SETTINGS)
        values = {str(row[0]): str(row[1]) for row in settings.rows} if not settings.code else {}
        override.append(replies[-1])
        return [
            clickhouse.judge_attempts(
                "clickhouse_reader_writes",
                subject,
                self._try(login, clickhouse.writes(database, table)),
                note="" if table else f"There is no table in {database} yet.",
            ),
            clickhouse.judge_attempts(
                "clickhouse_reader_scope",
                subject,
                self._try(login, clickhouse.reads()),
                [f"it sees tables in {listed(others)}"] if others else [],
            ),
            clickhouse.judge_settings(subject, [(*pair, reply) for pair, reply in zip(clickhouse.OF_HYPERDX, replies)]),  # noqa: B905 (strict is of Python 3.10)
            clickhouse.judge_limits(
                subject,
                [(*pair, reply) for pair, reply in zip(clickhouse.LIMITS, replies[count:])],  # noqa: B905 (strict is of Python 3.10)
            ),
            clickhouse.judge_resources(subject, values, self._ask(login, clickhouse.QUOTA)),
        ]

    def _look_as_ingest(self) -> list[Json]:
        login, database = self._ingest, self._options["database"]
        must = self._try(login, clickhouse.ingest_must(database, self._table(login)))
        must_not = self._try(login, clickhouse.ingest_must_not(database))
        return [clickhouse.judge_ingest(f"{login.user} on {self._label}", must, must_not, self._others(login))]

    def _look_as_admin(self) -> list[Json]:
        login, subject = self._admin, self._label
        statements = {
            **clickhouse.ADMIN,
            "used": clickhouse.policies_in_use(self._options["database"]),
            "parts": clickhouse.disks_in_use(self._options["database"]),
        }
        replies = dict(
            zip(statements, self._all(login, [(f"{text} FORMAT JSONCompact", {}) for text in statements.values()]))  # noqa: B905 (strict is of Python 3.10)
        )
        url = self._ask(login, clickhouse.URL_ATTEMPT.statement)
        refused = {name: reply for name, reply in replies.items() if reply.code}
        found: list[Json] = [clickhouse.judge_urls(subject, url)]

        def judge(needs: Sequence[str], probes: Sequence[str], judgement: Callable[[], list[Json]]) -> None:
            missing = [f"{name}: {refused[name].short}" for name in needs if name in refused]
            if missing:
                found.extend(unmeasured(probes, subject, f"{login.user} cannot read {listed(missing)}.", ERROR))
            else:
                found.extend(judgement())

        judge(["users"], ADMIN_PROBES[:2], lambda: clickhouse.judge_users(subject, replies["users"].rows))
        judge(
            ["grants", "role_grants"],
            ["clickhouse_access_managers"],
            lambda: [
                clickhouse.judge_managers(
                    subject, replies["grants"].rows, replies["role_grants"].rows, self._options["administrators"]
                )
            ],
        )
        for table in ("query_log", "session_log"):
            judge(
                ["logs"],
                [f"clickhouse_{table}"],
                lambda table=table: [  # type: ignore[misc]
                    clickhouse.judge_log(
                        f"clickhouse_{table}", subject, table, _pairs(replies["logs"].rows), self._config()
                    )
                ],
            )
        if self._options["host"].endswith(".clickhouse.cloud"):
            found.append(
                observe("clickhouse_encrypted_disk", subject, PASS, "ClickHouse Cloud encrypts all data at rest.")
            )
        else:
            judge(
                ["disks", "policies", "used", "parts"],
                ["clickhouse_encrypted_disk"],
                lambda: [
                    clickhouse.judge_disks(
                        subject,
                        replies["disks"].rows,
                        replies["policies"].rows,
                        replies["used"].rows,
                        replies["parts"].rows,
                    )
                ],
            )
        return found

    # -- the configuration --------------------------------------------------------------------------------------------

    def _config(self) -> ElementTree.Element | None:
        """The root of the configuration that the server loaded; None if it cannot be read here."""
        try:
            path = self._options["config_file"]
            if not path or os.path.getsize(path) > _LARGEST:
                return None
            return ElementTree.parse(path).getroot()
        except (OSError, ElementTree.ParseError):
            return None

    def _look_at_config(self, override: Reply | None) -> list[Json]:
        config = self._config()
        if config is None:
            reason = "The configuration that the server loaded cannot be read from here (config_file)."
            return unmeasured(clickhouse.CONFIG_PROBES, self._label, reason)
        return clickhouse.judge_config(self._label, config, override)


def _pairs(rows: Iterable[Sequence[Any]]) -> dict[str, str]:
    return {str(row[0]): str(row[1]) for row in rows}
