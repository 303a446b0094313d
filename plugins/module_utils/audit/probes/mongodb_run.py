# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe audit_mongodb: what a MongoDB answers without a login, as HyperDX, and as its administrator."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes import logins, mongodb, processes, tls
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.connections import (
    OPEN,
    attempt_all,
    in_namespace,
    resolved,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.mongodb import Reply
from ansible_collections.hardened.clickstack.plugins.module_utils.audit.probes.observation import (
    ERROR,
    FAIL,
    Json,
    observe,
    unmeasured,
    without,
)

try:
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure, PyMongoError
    from pymongo.uri_parser import parse_uri

    HAS_PYMONGO = True
except ImportError:
    HAS_PYMONGO = False

TLS_PROBES = ("mongodb_tls_protocols", "mongodb_certificate")
APP_PROBES = ("mongodb_app_rights", "mongodb_javascript")
ADMIN_PROBES = (
    "mongodb_mechanisms", "mongodb_app_sources", "mongodb_localhost_exception", "mongodb_keyfile",
    "mongodb_log_verbosity",
)  # fmt: skip
ALL_PROBES = ("mongodb_anonymous", "mongodb_plaintext", *TLS_PROBES, *APP_PROBES, *ADMIN_PROBES)
_COLLECTION = "hardened_clickstack_audit"


def run(module: AnsibleModule) -> None:
    """Run the module audit_mongodb.

    :param module: the module, with its arguments
    """
    options = module.params
    if not options["host"]:
        observations = unmeasured(ALL_PROBES, "MongoDB", "No address of a MongoDB is known (host).")
        module.exit_json(changed=False, observations=observations)
    server = _Server(options)
    observations = server.look()
    module.exit_json(changed=False, observations=without(server.secrets, observations))


@dataclass(frozen=True)
class _User:
    """Who logs in: with no name, nobody. `missing` says why nobody can."""

    name: str = ""
    password: str = ""
    source: str = "admin"
    database: str = ""
    pid: int = 0
    missing: str = ""


class _Server:
    """One MongoDB, and the ways in."""

    def __init__(self, options: Json) -> None:
        self._options = options
        # names are resolved here: a container's network namespace may have another resolver
        self._endpoint = tls.Endpoint(resolved(options["host"]), options["port"], options["name"], options["timeout"])
        where = f"{options['host']}:{options['port']}"
        self._label = f"{options['name']} {where}" if options["name"] not in ("", options["host"]) else where
        uri = _uri(options["app"] or {})
        self._app = _user(uri, (options["app"] or {}).get("pid") or 0)
        admin = logins.login(options["admin"], "admin")
        self._admin = _User(admin.user, admin.password, options["admin_database"], pid=admin.pid, missing=admin.missing)
        self.secrets = [uri, self._app.password, admin.password]
        self._measured = tls.Measured({})
        self._today = datetime.datetime.now(datetime.timezone.utc)

    def look(self) -> list[Json]:
        """All observations."""
        target = (self._endpoint.address, self._endpoint.port)
        state = attempt_all([target], self._endpoint.timeout)[target]
        if state != OPEN:
            return unmeasured(ALL_PROBES, self._label, f"Its port does not answer from this host ({state}).", ERROR)
        self._measured = tls.examine(self._endpoint, self._options["ca_file"] or "")
        observations = [
            tls.judge_protocols("mongodb_tls_protocols", self._label, self._measured),
            tls.judge_certificate(
                "mongodb_certificate",
                self._label,
                self._measured,
                self._endpoint.name,
                self._options["certificate_days"],
                self._today,
            ),
        ]
        without_tls = [probe for probe in ALL_PROBES if probe not in TLS_PROBES]
        if not HAS_PYMONGO:
            reason = "python3-pymongo is missing on the host that the probe runs on; install it there."
            return [*observations, *unmeasured(without_tls, self._label, reason, ERROR)]
        places = {"from this host": 0}
        if self._app.pid:
            places["from HyperDX' container"] = self._app.pid
        with ThreadPoolExecutor(len(places) + 1) as pool:
            # in plain text nobody may answer, which takes a timeout: the rest goes on
            ping = pool.submit(self._ask, _User(), {"ping": 1}, "admin", False)
            tasks = {place: pool.submit(self._ask_from, pid, {"listDatabases": 1}) for place, pid in places.items()}
            replies = {place: task.result() for place, task in tasks.items()}
            if all(reply.code < 0 for reply in replies.values()) and ping.result().code < 0:
                reason = f"This is no MongoDB, or it wants a client's certificate: {replies['from this host'].short}."
                return [*observations, *unmeasured(without_tls, self._label, reason, ERROR)]
            observations.append(mongodb.judge_anonymous(self._label, replies))
            is_open = not replies["from this host"].code
            observations += [*self._as_app(is_open), *self._as_admin(is_open)]
            return [*observations, mongodb.judge_plaintext(self._label, ping.result())]

    # -- requests -----------------------------------------------------------------------------------------------------

    @contextmanager
    def _client(self, user: _User, is_tls: bool | None = None) -> Iterator[Any]:
        milliseconds = int(self._endpoint.timeout * 1000)
        # a server that wants TLS hangs up, and the driver tries again until then
        is_hung_up = is_tls is False and self._measured.is_tls
        options: Json = {
            "directConnection": True,
            "serverSelectionTimeoutMS": milliseconds // 2 if is_hung_up else milliseconds,
            "connectTimeoutMS": milliseconds,
            "socketTimeoutMS": milliseconds,
            "appname": "hardened.clickstack.audit",
        }
        if self._measured.is_tls if is_tls is None else is_tls:
            options["tls"] = True
            if self._measured.untrusted:
                options["tlsInsecure"] = True
            else:
                # the name was verified when the certificate was; the driver would verify the address
                options["tlsAllowInvalidHostnames"] = True
                if os.path.exists(self._options["ca_file"] or ""):
                    options["tlsCAFile"] = self._options["ca_file"]
        if user.name:
            options.update(username=user.name, password=user.password, authSource=user.source)
        client = MongoClient(self._endpoint.address, self._endpoint.port, **options)
        try:
            yield client
        finally:
            client.close()

    def _ask(self, user: _User, command: Json, database: str = "admin", is_tls: bool | None = None) -> Reply:
        """The answer on a command, of whoever asks."""
        try:
            with self._client(user, is_tls) as client:
                return _answer(client, command, database)
        except PyMongoError as error:
            return Reply(-1, _said(error))

    def _ask_from(self, pid: int, command: Json) -> Reply:
        """The answer on a command without a login, from a process' network namespace."""
        try:
            return in_namespace(pid, lambda: self._ask(_User(), command))
        except OSError as error:
            return Reply(-1, str(error))

    def _problem(self, user: _User) -> str:
        """Why nobody can log in as this user; empty if somebody may try."""
        if user.missing:
            return user.missing
        if user.name and self._options["validate_certs"] and (not self._measured.is_tls or self._measured.untrusted):
            return logins.NOT_SENT
        return ""

    # -- as HyperDX ---------------------------------------------------------------------------------------------------

    def _as_app(self, is_open: bool) -> list[Json]:
        user = self._app
        if is_open:
            # without access control it matters not who asks
            reply = self._ask(
                _User(), {"find": _COLLECTION, "filter": {"$where": "true"}, "limit": 1}, user.database or "hyperdx"
            )
            wrong = "There is no access control: HyperDX, and everybody else, has all rights."
            return [
                observe("mongodb_app_rights", self._label, FAIL, wrong),
                mongodb.judge_javascript(self._label, reply),
            ]
        problem = self._problem(user)
        if problem:
            status = {} if user.missing else {"status": ERROR}
            return unmeasured(APP_PROBES, self._label, problem, **status)
        if not user.name:
            return unmeasured(
                APP_PROBES, self._label, "HyperDX' connection string has no user, so it cannot log in.", ERROR
            )
        subject = f"{user.name} on {self._label}"

        def work() -> list[Json]:
            with self._client(user) as client:
                status = _answer(client, {"connectionStatus": 1, "showPrivileges": True}, user.source)
                if status.code or not status.document:
                    return unmeasured(APP_PROBES, subject, f"HyperDX' user cannot log in: {status.short}.", ERROR)
                tried = {
                    "users of admin": _answer(client, {"usersInfo": 1}),
                    "admin.system.users": _answer(client, {"find": "system.users", "limit": 1}),
                    "server parameters": _answer(client, {"getParameter": "*"}),
                    "another database": _answer(
                        client, {"find": _COLLECTION, "limit": 1}, f"{user.database or 'x'}_audit"
                    ),
                }
                where = _answer(client, {"find": _COLLECTION, "filter": {"$where": "true"}, "limit": 1}, user.database)
            roles = (status.document.get("authInfo") or {}).get("authenticatedUserRoles") or []
            return [
                mongodb.judge_rights(subject, user.database, roles, tried),
                mongodb.judge_javascript(subject, where),
            ]

        try:
            return in_namespace(user.pid, work)
        except (OSError, PyMongoError) as error:
            return unmeasured(APP_PROBES, subject, f"{type(error).__name__}: {error}", ERROR)

    # -- as the administrator -----------------------------------------------------------------------------------------

    def _as_admin(self, is_open: bool) -> list[Json]:
        user = _User() if is_open else self._admin
        problem = "" if is_open else self._problem(user)
        configured = self._configured()
        if problem and not configured:
            status = {} if user.missing else {"status": ERROR}
            return unmeasured(ADMIN_PROBES, self._label, problem, **status)
        try:
            with self._client(_User() if problem else user) as client:
                asked = {
                    name: Reply(-1, problem) if problem else _answer(client, command)
                    for name, command in {
                        "mechanisms": {"getParameter": 1, "authenticationMechanisms": 1},
                        "localhost": {"getParameter": 1, "enableLocalhostAuthBypass": 1},
                        "verbosity": {"getParameter": 1, "logComponentVerbosity": 1},
                        "options": {"getCmdLineOpts": 1},
                    }.items()
                }
                asked["hello"] = _answer(client, {"hello": 1})
                users = {} if problem else self._restrictions(client)
        except PyMongoError as error:
            return unmeasured(ADMIN_PROBES, self._label, f"{user.name or 'nobody'}: {error}", ERROR)
        return self._judge_admin(asked, configured, users, is_open)

    def _judge_admin(self, asked: Mapping[str, Reply], configured: Json, users: Json, is_open: bool) -> list[Json]:
        subject = self._label
        found: list[Json] = []

        def judge(probe: str, name: str, key: str, setting: str, judgement: Callable[[Any], Json]) -> None:
            """By what the server says of a parameter, else by its configuration."""
            reply = asked[name]
            value = (reply.document or {}).get(key)
            value = configured.get(setting) if value is None else value
            if value is None:
                status = {"status": ERROR} if reply.code != -1 else {}
                found.extend(unmeasured([probe], subject, f"It does not say {key}: {reply.short}.", **status))
            else:
                found.append(judgement(value))

        judge(
            "mongodb_mechanisms",
            "mechanisms",
            "authenticationMechanisms",
            "setParameter.authenticationMechanisms",
            lambda value: mongodb.judge_mechanisms(
                subject, value if isinstance(value, list) else str(value).split(","), "authenticationMechanisms"
            ),
        )
        judge(
            "mongodb_localhost_exception",
            "localhost",
            "enableLocalhostAuthBypass",
            "setParameter.enableLocalhostAuthBypass",
            lambda value: mongodb.judge_localhost(subject, value),
        )
        level = configured.get("systemLog.component.accessControl.verbosity")
        said = asked["verbosity"].document or {}
        if "logComponentVerbosity" not in said and level is not None:
            found.append(mongodb.judge_verbosity(subject, {"accessControl": {"verbosity": level}}))
        else:
            judge(
                "mongodb_log_verbosity",
                "verbosity",
                "logComponentVerbosity",
                "",
                lambda value: mongodb.judge_verbosity(subject, value),
            )
        replica_set = str(
            (asked["hello"].document or {}).get("setName") or configured.get("replication.replSetName") or ""
        )
        options = (asked["options"].document or {}).get("parsed")
        if options is None and configured:
            options = {
                "security": {name: configured.get(f"security.{name}") for name in ("keyFile", "clusterAuthMode")}
            }
        if options is None and replica_set:
            found += unmeasured(
                ["mongodb_keyfile"], subject, f"It does not say its options: {asked['options'].short}.", ERROR
            )
        else:
            found.append(mongodb.judge_keyfile(subject, replica_set, (options or {}).get("security") or {}))
        elsewhere = None
        if is_open:
            wrong = "There is no access control, so everybody comes in from everywhere."
            found.append(observe("mongodb_app_sources", subject, FAIL, wrong))
        else:
            if self._app.name and self._app.pid and not self._problem(self._app):
                elsewhere = self._ask(self._app, {"connectionStatus": 1}, self._app.source)
            if not users and elsewhere is None:
                found += unmeasured(
                    ["mongodb_app_sources"], subject, self._admin.missing or "The users cannot be read."
                )
            else:
                found.append(mongodb.judge_sources(subject, users, elsewhere))
        return found

    def _restrictions(self, client: Any) -> Json:
        """By name, the authenticationRestrictions of the users of the administrator's and HyperDX' databases."""
        found: Json = {}
        for database in dict.fromkeys(("admin", self._app.source, self._app.database)):
            reply = _answer(client, {"usersInfo": 1}, database) if database else Reply(-1)
            for user in (reply.document or {}).get("users") or ():
                # MongoDB shows restrictions to who asks for one user by its name
                asked = {"usersInfo": {"user": user["user"], "db": user["db"]}, "showAuthenticationRestrictions": True}
                one = _answer(client, asked, database)
                for shown in (one.document or {}).get("users") or ():
                    found[f"{user['user']}@{user['db']}"] = shown.get("authenticationRestrictions") or []
        return found

    def _configured(self) -> Json:
        """What the configuration says that mongod was started with; empty if it cannot be read."""
        pid = self._options["pid"]
        for one in processes.descendants(pid, processes.children()) if pid else ():
            try:
                arguments = Path(f"/proc/{one}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                place = next(
                    (arguments[i + 1] for i, text in enumerate(arguments[:-1]) if text in ("--config", "-f")), ""
                )
                if place.startswith("/"):
                    return mongodb.configured(Path(f"/proc/{one}/root{place}").read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError):
                continue
        return {}


def _answer(client: Any, command: Json, database: str = "admin") -> Reply:
    """The answer on one command."""
    try:
        document = client[database].command(command)
        return Reply(0, "", dict(document))
    except OperationFailure as error:
        return Reply(error.code or 1, str((error.details or {}).get("errmsg") or error))
    except PyMongoError as error:
        return Reply(-1, _said(error))


def _said(error: Exception) -> str:
    """What the driver says, without the state of its topology."""
    return str(error).partition(", Timeout:")[0]


def _uri(options: Json) -> str:
    """HyperDX' connection string: as given, in a file, or from the environment of its processes; empty if nowhere."""
    if options.get("uri"):
        return str(options["uri"])
    if options.get("uri_file"):
        try:
            return Path(options["uri_file"]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            pass  # another ClickStack keeps it elsewhere
    return processes.environment_of_all(options.get("pid") or 0).get("MONGO_URI", "")


def _user(uri: str, pid: int) -> _User:
    """Who HyperDX logs in as."""
    if not uri:
        return _User(pid=pid, missing="HyperDX' connection string is not known (app).")
    if not HAS_PYMONGO:
        return _User(pid=pid)
    try:
        # resolving mongodb+srv names is left to those who connect by them
        parsed = parse_uri(uri.replace("mongodb+srv://", "mongodb://", 1), validate=False, warn=False)
    except (PyMongoError, ValueError):
        return _User(pid=pid, missing="HyperDX' connection string cannot be read.")
    database = parsed.get("database") or "test"
    options = parsed.get("options") or {}
    source = options.get("authsource") or options.get("authSource") or parsed.get("database") or "admin"
    return _User(parsed.get("username") or "", parsed.get("password") or "", source, database, pid)
