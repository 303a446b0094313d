"""The sandbox's ClickHouse server behind its HTTP front: logins, sessions, and who answers which statement.

A query runs on the real engine, in a process whose users.xml gives the engine's user `default` exactly the rights of
the session's user (engine.py, users_xml.py). A statement that manages access is parsed and judged by the engine under
those rights, and then carried out by the access model (tests/sandbox/access), the writable storage that chDB lacks.
Reads of `system.users` and its kin are answered from the model's tables, and so is who may read what of `system`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from . import cluster, sql_text, users_xml
from .access import AccessControl, AuthMethod, ServerError, SessionInfo, SessionRights, Table, User
from .access import Options as AccessOptions
from .access import hosts as access_hosts
from .access import passwords as access_passwords
from .access.implicit import OPEN, OPENED
from .access.model import Role, SettingsProfile
from .access.rights import Element
from .access.session import profile_values
from .access.text import backquote
from .engine import Engine, EngineError, EnginePool, string_literal
from .options import Options
from .users_d import UsersConfiguration

OVERLAY = "_sandbox"
"""The database with the tables that stand in for those of `system`."""
TABLES = frozenset(
    (
        "users",
        "roles",
        "role_grants",
        "grants",
        "settings_profiles",
        "settings_profile_elements",
        "quotas",
        "quota_limits",
        "row_policies",
        "user_directories",
        "enabled_roles",
        "current_roles",
        "quota_usage",
        "clusters",
    )
)
OF_SESSION = frozenset(("enabled_roles", "current_roles", "quota_usage"))
"""Those of them that differ from session to session."""
# Statements that may manage access: everything else goes to the engine unparsed
_MAYBE_ACCESS = frozenset(
    ("create", "alter", "drop", "grant", "revoke", "rename", "move", "show", "set", "attach", "check", "execute")
)
_ON_CLUSTER = frozenset(
    (
        "create",
        "alter",
        "drop",
        "grant",
        "revoke",
        "rename",
        "move",
        "truncate",
        "optimize",
        "attach",
        "detach",
        "system",
    )
)
_READS = frozenset(("select", "with", "show", "describe", "desc", "explain", "exists", "check", "from", "values"))
_REWRITTEN = frozenset(("select", "with", "describe", "desc", "explain", "insert", "create", "from"))
# The engine's answers to a statement whose privileges and values are right: only the storage's state is left to decide
_PASSED = frozenset((514, 495, 192, 511, 180, 199, 523))


@dataclass(frozen=True)
class Credentials:
    """What a client brings to log in: a password, or the names in its verified certificate."""

    user: str
    password: str | None
    certificate: frozenset[tuple[str, str]] = frozenset()
    basic: bool = False


@dataclass(frozen=True)
class Query:
    """One request: the SQL (bytes: an INSERT's data may follow) and everything that came along as parameters."""

    user: str
    sql: bytes
    settings: list[tuple[str, str]]
    parameters: dict[str, str]
    database: str
    default_format: str
    query_id: str
    session_id: str
    session_timeout: float
    session_check: bool
    close_session: bool
    roles: list[str]
    read_only: bool
    protocol: int
    peer: str
    started: float


@dataclass(frozen=True)
class Answer:
    """A result in its format (None: the statement has no result) and the counts of X-ClickHouse-Summary."""

    body: bytes
    format: str | None
    summary: dict[str, int] = field(default_factory=dict)


@dataclass
class Session:
    """What lasts over the requests of one `session_id`; a request without one has its own."""

    user: str
    roles: list[str] | None = None
    database: str = ""
    history: list[str] = field(default_factory=list)
    """The SET statements so far: each request has a fresh engine session, so that its own settings end with it."""
    name: str = ""
    kept: bool = False
    """Whether the engine session is kept as well: from the first temporary table on."""
    until: float = 0.0


_SHOW_SECRETS = "format_display_secrets_in_show_and_select"


def _set(changes: dict[str, str]) -> list[str]:
    """The statement that makes these changes of settings; none for none."""
    pairs = ", ".join(f"{_setting(name)} = {string_literal(value)}" for name, value in changes.items())
    return [f"SET {pairs}"] if pairs else []


class SandboxServer:
    """The server's state; `authenticate` and `run` are what a request needs. Both may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        version: str = "26.9",
        users: Path | None = None,
        options: Options | None = None,
        first: SandboxServer | None = None,
    ) -> None:
        """`directory` keeps data and access entities over restarts; `users`: not ClickHouse's own users.xml.

        `first`: the first replica of the cluster; without one, this is it.
        """
        self.version = version
        self.options = options or Options()
        self.display_name = self.options.display_name
        self.timezone = self.options.timezone
        self.cluster: list[SandboxServer] = first.cluster if first else []
        self.cluster.append(self)
        self.number = len(self.cluster)
        self.host, self.tcp_port = cluster.host_and_port(self.number, self.options.replicas)
        # one statement at a time in the whole cluster
        self._lock: threading.RLock = first._lock if first else threading.RLock()
        self._directory = directory.absolute()
        self._tables: Path = first._tables if first else self._directory / "tables"
        for name in ("engine", "access", "tables", "configs"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        self._parser: Engine = first._parser if first else Engine(version)
        self.full_version = self._parser.query("SELECT version()", "RawBLOB").decode()
        self._pool = EnginePool(version, self._directory / "engine")
        users_file = users or self._directory / "users.xml"
        if users is None and not users_file.exists():
            users_file.write_text(users_xml.SHIPPED)
        self._users = UsersConfiguration(users_file, self._directory / "preprocessed_configs")
        self.access: AccessControl = AccessControl(
            self._directory / "access",
            self._parser,
            self._users.path,
            AccessOptions(
                display_secrets=self.options.display_secrets,
                system_is_open=False,
                storage="replicated" if self.options.replicated_access else "local_directory",
            ),
            first.access if first and self.options.replicated_access else None,
        )
        self._system = frozenset(
            row["name"] for row in self._parser.rows("SELECT name FROM system.tables WHERE database = 'system'")
        )
        self._sessions: dict[tuple[str, str], Session] = {}
        self._published: dict[str, object] = {}
        self._elsewhere: dict[tuple[str, str], str] = {}
        """The tables that were read from all replicas, with their structure."""
        self._rights_at: object = None
        self._known_rights: dict[tuple[str, tuple[str, ...] | None], SessionRights] = {}
        self._make_overlay()

    def close(self) -> None:
        """End the engines; everything is on disk already."""
        with self._lock:
            self._pool.close()
            if self.number == 1:
                self._parser.close()

    # Login

    def authenticate(self, login: Credentials, peer: str) -> str:
        """The user's name. Raises EngineError 516, the same for every reason, so that nothing is learned from it."""
        with self._lock:
            self._reload_users()
            user = self.access.find_user(login.user)
        if (
            user is not None
            and self._admits(user, peer)
            and any(
                self._proves(method, login)
                for method in user.auth
                if not method.valid_until or time.time() <= method.valid_until
            )
        ):
            return login.user
        text = f"{login.user}: Authentication failed: password is incorrect, or there is no user with such name."
        if login.user == "default" and login.basic:
            raise EngineError(194, "REQUIRED_PASSWORD", text + _FORGOT)
        raise EngineError(516, "AUTHENTICATION_FAILED", text)

    def _reload_users(self) -> None:
        if self._users.changed():
            self.access.load_users_xml(self._users.path)

    def _admits(self, user: User, peer: str) -> bool:
        """Whether the user's hosts admit this address: a NAME by what it resolves to, REGEXP and LIKE by the
        address's names.
        """
        named = replace(user.hosts, names=[])
        if access_hosts.admits(named, peer) or any(peer in self._addresses_of(name) for name in user.hosts.names):
            return True
        patterns = user.hosts.regexps or user.hosts.likes
        return bool(patterns) and any(access_hosts.admits(named, peer, name) for name in self._names_of(peer))

    def _addresses_of(self, name: str) -> set[str]:
        known = {address for address, names in self.options.resolver.items() if name.lower() in map(str.lower, names)}
        if known:
            return known
        try:
            return {str(entry[4][0]) for entry in socket.getaddrinfo(name, None)}
        except OSError:
            return set()

    def _names_of(self, address: str) -> list[str]:
        if address in self.options.resolver:
            return self.options.resolver[address]
        try:
            name, aliases, _other = socket.gethostbyaddr(address)
        except OSError:
            return []
        return [name, *aliases]

    def _proves(self, method: AuthMethod, login: Credentials) -> bool:
        """Whether the login is what this authentication method asks for."""
        if login.password is None:
            return method.type == "ssl_certificate" and _certificate_fits(method.params, login.certificate)
        return access_passwords.verify(method, login.password)

    # Queries

    def run(self, query: Query) -> Answer:
        """Run one query. Raises EngineError with the code and message the server answers with."""
        text = query.sql.decode("latin-1")
        statement = sql_text.read(text)
        if not statement.tokens:
            raise EngineError(62, "SYNTAX_ERROR", "Empty query.")
        if statement.second_at is not None:
            rest = _utf8(text[statement.second_at :])
            position = statement.second_at + 1
            problem = "Syntax error (Multi-statements are not allowed): "
            problem += f"failed at position {position} (end of query): {rest}. ."
            raise EngineError(62, "SYNTAX_ERROR", problem)
        with self._lock:
            lasting = session = Session(query.user)
            try:
                try:
                    lasting, session = self._session(query)
                except (EngineError, ServerError) as error:
                    raise EngineError(error.code, error.name, error.message, early=True) from error
                place = sql_text.on_cluster(statement) if statement.keyword in _ON_CLUSTER else None
                if place is None:
                    return self._run_statement(text, statement, session, query)
                text = sql_text.splice(text, [(*place[:2], "")])
                return self._run_on_cluster(place[2], text, sql_text.read(text), session, query)
            except ServerError as error:
                raise EngineError(error.code, error.name, error.message) from error
            except EngineError as error:
                raise self._as_user(error, session, query) from error
            finally:
                if session is not lasting and session.roles != (query.roles or lasting.roles):
                    lasting.roles = session.roles  # SET ROLE in a request with a database of its own
                if query.close_session:
                    self._end_session((query.user, query.session_id))

    def _run_statement(self, text: str, statement: sql_text.Statement, session: Session, query: Query) -> Answer:
        if statement.keyword in _MAYBE_ACCESS:
            canonical = self._canonical(text[: statement.end], query)
            if canonical.startswith("SET ROLE "):
                session.roles = self._wanted_roles(canonical, session)
                return Answer(b"", None)
            if profile := re.fullmatch(r"SET profile = '(.*)'", canonical, re.DOTALL):
                values = profile_values(self.access, _unescape(profile[1]))
                text = "".join(_set(values)).encode("utf-8", "surrogateescape").decode("latin-1")
                if not text:
                    return Answer(b"", None)
                statement = sql_text.read(text)
            elif self.access.is_access_statement(canonical):
                return self._manage_access(canonical, statement, session, query)
        return self._run_on_engine(text, statement, session, query)

    def _wanted_roles(self, canonical: str, session: Session) -> list[str] | None:
        """The roles a SET ROLE statement makes current; None for the default ones. Raises ServerError 511 or 512."""
        names = [token for token in sql_text.tokens(canonical) if token.text != ","][2:]
        first = names[0].text if names else ""
        user = self.access.get(User, session.user)
        granted = self.access.names(user.roles)
        if first == "DEFAULT":
            return None
        if first == "NONE":
            return []
        listed = [sql_text.unquoted(name) for name in (names[2:] if first == "ALL" else names)]
        if first == "ALL":
            for name in listed:
                self.access.get(Role, name)
            return [name for name in granted if name not in listed]
        self._check_roles(listed, session.user)
        return listed

    def _check_roles(self, names: list[str], user: str) -> None:
        """Raise ServerError 511 or 512 where this user cannot have these as current roles."""
        granted = self.access.names(self.access.get(User, user).roles)
        for name in names:
            self.access.get(Role, name)
            if name not in granted:
                raise ServerError(512, "SET_NON_GRANTED_ROLE", f"Role {name} should be granted to set as a current")

    def _run_on_cluster(
        self, name: str, text: str, statement: sql_text.Statement, session: Session, query: Query
    ) -> Answer:
        """Run a statement, whose ON CLUSTER has been cut out, on every replica.

        Rights are judged here; each replica then runs it as its own, as a server's DDLWorker does.
        """
        canonical = ""
        if statement.keyword in _MAYBE_ACCESS:
            canonical = self._canonical(text[: statement.end], query)
        is_access = bool(canonical) and self.access.is_access_statement(canonical)
        ignored = "ignore_on_cluster_for_replicated_access_entities_queries"
        if is_access and self.options.replicated_access and self._value_of(ignored, session, query) == "1":
            return self._run_statement(text, statement, session, query)
        self._check_cluster(name, session)
        mode = self._value_of("distributed_ddl_output_mode", session, query)
        info = self._info(session, query)
        if is_access:
            self._judge(canonical, session, query)
            self.access.judge(canonical, info)

        def run(server: SandboxServer) -> None:
            if is_access:
                server.access.execute(canonical, replace(info, checked=True))
            elif server is not self:
                server.run_internally(text, info.database, query.parameters)
            else:
                self._run_statement(text, statement, session, query)

        servers = self.cluster
        if not is_access:  # the session's engine judges, so it comes first
            servers = [self, *(server for server in servers if server is not self)]
        table = cluster.run_everywhere(servers, run, mode)
        if mode == "none":
            return Answer(b"", None)
        format_name = statement.format or query.default_format
        return Answer(self._format(table, format_name, query), format_name)

    def _value_of(self, name: str, session: Session, query: Query) -> str:
        """What a setting is for this request."""
        request = {"before": self._before(session, query), "format": "RawBLOB", "database": "default"}
        sql = f"SELECT toString(getSetting({string_literal(name)}))"
        return self._engine(session).call(request, sql.encode())[1].decode().replace("true", "1").replace("false", "0")

    def run_internally(self, text: str, database: str, parameters: dict[str, str]) -> None:
        """Run a statement that is no access statement with all rights."""
        engine = self._pool.use(self._bootstrap_config())
        before = [f"SET param_{name} = {string_literal(value)}" for name, value in parameters.items()]
        engine.call({"before": before, "format": "Null", "database": database}, text.encode("latin-1"))

    def _check_cluster(self, name: str, session: Session) -> None:
        """Raise EngineError where there is no such cluster, or the session may not run statements on clusters."""
        if name != self.options.cluster:
            raise EngineError(701, "CLUSTER_DOESNT_EXIST", f"Requested cluster '{name}' not found.")
        # by the model: chDB has the server setting that lets everyone (on_cluster_queries_require_cluster_grant)
        rights = self.access.session_rights(SessionInfo(session.user, session.roles))
        if not rights.contains(Element(self.access.privileges.mask("CLUSTER"))):
            raise _denied(session, "CLUSTER ON *.*")

    def _session(self, query: Query) -> tuple[Session, Session]:
        """The session the request belongs to, and the one it runs in: the same but for its own database and roles."""
        now = time.monotonic()
        for key in [key for key, old in self._sessions.items() if old.until < now]:
            self._end_session(key)
        key = (query.user, query.session_id)
        session = self._sessions.get(key) if query.session_id else None
        if session is None:
            if query.session_id and query.session_check:
                raise EngineError(372, "SESSION_NOT_FOUND", f"Session {query.session_id} not found.")
            session = Session(query.user, name="/".join(key) if query.session_id else "")
            if query.session_id:
                self._sessions[key] = session
        session.until = now + query.session_timeout
        if not query.database and not query.roles:
            return session, session
        if query.roles:
            self._check_roles(query.roles, session.user)
        roles = query.roles or session.roles
        return session, replace(session, database=query.database or session.database, roles=roles)

    def _end_session(self, key: tuple[str, str]) -> None:
        session = self._sessions.pop(key, None)
        if session is not None and session.kept:
            self._pool.end_session(session.name)

    def _canonical(self, text: str, query: Query) -> str:
        """The statement as the real parser understands it, its parameters written out. Raises EngineError 62."""

        def value(name: str) -> str:
            if name not in query.parameters:
                raise EngineError(456, "UNKNOWN_QUERY_PARAMETER", f"Substitution `{name}` is not set.")
            return _unescape(query.parameters[name].encode("utf-8", "surrogateescape").decode("latin-1"))

        limit = int(dict(query.settings).get("max_query_size", "262144"))
        if 0 < limit < len(text):
            problem = "Max query size exceeded (can be increased with the `max_query_size` setting): Syntax error: "
            rest = _utf8(text[limit - 1 :])[:40]
            raise EngineError(62, "SYNTAX_ERROR", f"{problem}failed at position {limit - 1} ({rest}): {rest}. .")
        sql = _utf8(sql_text.with_parameters(text, value))
        canonical = self._parser.parse(sql)
        # the formatter widens READ or WRITE on a source to both, which the model does not
        return self.access.parse(sql) if canonical.startswith(("GRANT ", "REVOKE ")) else canonical

    def _engine(self, session: Session) -> Engine:
        """The engine process with this session's rights."""
        rights = self._rights(session)
        if rights.row_filters:
            functions = self._functions(session)
            filters = {place: _with_functions(text, functions) for place, text in rights.row_filters.items()}
            rights = replace(rights, row_filters=self._by_table(filters))
        xml = users_xml.render(rights, OVERLAY)
        name = hashlib.sha256(xml.encode()).hexdigest()[:16]
        users = self._directory / "configs" / f"{name}.users.xml"
        config = self._directory / "configs" / f"{name}.config.xml"
        if not config.exists():
            users.write_text(xml)
            config.write_text(
                users_xml.config(
                    users, self._directory, self.options.cluster, self.options.display_secrets, self.timezone
                )
            )
        return self._pool.use(config)

    def _by_table(self, filters: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
        """Row filters with those of a whole database written out for its tables that have none of their own.

        The engine would join a database's filter and a table's with OR; the model has combined them already.
        """
        result = {place: text for place, text in filters.items() if place[1]}
        for (database, table), text in filters.items():
            if not table:
                escaped = re.sub(rb"\W", lambda sign: b"%%%02X" % ord(sign[0]), database.encode()).decode()
                for file in (self._directory / "engine" / "metadata" / escaped).glob("*.sql"):
                    result.setdefault((database, urllib.parse.unquote(file.stem)), text)
        return result

    def _before(self, session: Session, query: Query) -> list[str]:
        """The statements that bring a fresh engine session where this request starts, as ClickHouse's HTTP handler
        does.
        """
        statements = list(session.history)
        if query.read_only and not self._read_only(session):
            statements.append("SET readonly = 2")
        changes = dict(query.settings)
        if "profile" in changes:  # the engine has no profiles of ours
            changes = profile_values(self.access, changes.pop("profile")) | changes
        changeable = users_xml.changeable_in_readonly(self._rights(session).settings)
        if changeable:  # what may change in readonly mode comes first, then the mode, then what it will refuse
            early = {name: value for name, value in changes.items() if name in changeable and name != "readonly"}
            mode = changes.get("readonly", "1") if "readonly" in changeable else "1"
            statements += _set(early) + (_set({"readonly": "1"}) if mode == "0" else []) + _set({"readonly": mode})
            changes = {name: value for name, value in changes.items() if name not in changeable}
        statements += _set(changes)
        statements += [f"SET param_{name} = {string_literal(value)}" for name, value in query.parameters.items()]
        return statements

    def _read_only(self, session: Session) -> bool:
        """Whether the session's settings make it read-only whatever the method."""
        given = [setting.value for setting in self._rights(session).settings if setting.name == "readonly"]
        return bool(given) and given[-1] not in (None, "0")

    def _rights(self, session: Session) -> SessionRights:
        """The session's rights, worked out once for each state of the access entities."""
        if self._rights_at != self.access.version:
            self._rights_at = self.access.version
            self._known_rights.clear()
        key = (session.user, None if session.roles is None else tuple(session.roles))
        if key not in self._known_rights:
            self._known_rights[key] = self.access.rights_of(session.user, session.roles)
        return self._known_rights[key]

    def _database(self, session: Session) -> str:
        return session.database or self._rights(session).default_database or "default"

    def _run_on_engine(self, text: str, statement: sql_text.Statement, session: Session, query: Query) -> Answer:
        """Let the engine run the query under the session's rights."""
        if any(first.lower == "into" and second.lower == "outfile" for first, second in pairwise(statement.tokens)):
            raise EngineError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed.")
        engine = self._engine(session)
        changes: list[tuple[int, int, str]] = []
        changeable = users_xml.changeable_in_readonly(self._rights(session).settings)
        clause = sql_text.settings_clause(statement) if changeable else None
        if clause and changeable.issuperset(name for name, _value in clause[2]):
            # the engine would refuse them in readonly mode: they go before it, as those of the request do
            changes.append((clause[0], clause[1], ""))
            query = replace(query, settings=[*query.settings, *clause[2]])
        before = self._before(session, query)
        if statement.keyword == "kill" or [token.lower for token in statement.tokens[:2]] == ["show", "processlist"]:
            self._may_read("processes", session)
        if statement.keyword in _REWRITTEN:
            reads: list[sql_text.ClusterRead] = []
            if statement.keyword != "create":
                reads, there = self._cluster_changes(text, statement, session, query)
                changes += there
                engine = self._engine(session)  # a read may have made a table, which takes another process
            named = [
                place
                for place in sql_text.system_tables(statement, self._system, self._database(session) == "system")
                if not any(read.start <= place[0] < read.end for read in reads)
            ]
            for table in dict.fromkeys(table for _other, _other, table in named):
                self._may_read(table, session)
            for schema, dot, view in zip(statement.tokens, statement.tokens[1:], statement.tokens[2:], strict=False):
                if schema.lower == "information_schema" and dot.text == "." and view.identifier:
                    self._may_read(view.identifier, session, schema.text)
            named = [place for place in named if place[2] in TABLES]
            changes += [(start, end, f"{OVERLAY}.{table}") for start, end, table in named]
            self._publish({table for _other, _other, table in named}, session)
            if statement.keyword != "create":  # a view asks when it is read
                changes += sql_text.with_functions(text, statement, self._functions(session))
        temporary = [token.lower for token in statement.tokens[:2]] == ["create", "temporary"]
        format_name = statement.format or query.default_format
        has_result = statement.keyword in _READS or statement.tokens[0].text == "("
        request: dict[str, Any] = {
            "before": before,
            "format": query.default_format,
            "database": self._database(session),
            "session": session.name if session.kept or temporary else "",
            "blocks": bool(query.protocol and format_name == "Native" and has_result),
        }
        if statement.insert:
            cut, data = statement.insert
            request |= {"insert": len(sql_text.splice(text[:cut], changes)), "format": statement.format}
            changes.append((cut, data, ""))
        try:
            answer, body = engine.call(request, sql_text.splice(text, changes).encode("latin-1"))
        except EngineError as error:
            # the engine has found the privileges enough, and chDB nothing to do: SYSTEM RELOAD CONFIG
            if statement.keyword != "system" or "is not supported in clickhouse-local" not in error.message:
                raise
            return Answer(b"", None)
        self._remember(text, statement, session)
        written = answer.get("rows_written", 0)
        return Answer(
            body,
            format_name if has_result else None,
            {
                "read_rows": answer.get("rows_read", 0),
                "read_bytes": answer.get("bytes_read", 0),
                "written_rows": written,
                "written_bytes": answer.get("bytes_written", 0),
                "result_rows": written,
            },
        )

    def _remember(self, text: str, statement: sql_text.Statement, session: Session) -> None:
        """Keep what a statement has changed in its session."""
        if statement.keyword == "use":
            session.database = statement.tokens[-1].identifier or ""
        elif statement.keyword == "set":
            session.history.append(_utf8(text[: statement.end]))
        elif [token.lower for token in statement.tokens[:2]] == ["create", "temporary"]:
            session.kept = True

    def _may_read(self, table: str, session: Session, database: str = "system") -> None:
        """Raise EngineError 497 unless the session may read this table of `system` or information_schema, which a
        server does not open to all.

        (`select_from_system_db_requires_grant`, on in ClickHouse's config.xml; chDB knows no such server settings.)
        """
        if database == "system" and table in OPEN:
            return
        rights = self.access.session_rights(SessionInfo(session.user, session.roles))
        privileges = self.access.privileges
        if rights.contains(Element(privileges.mask("SELECT"), (database, table))):
            return
        if database == "system" and table in OPENED and rights.largest() & privileges.mask(OPENED[table]):
            return
        if any(
            e.names == (database, table) and e.columns and e.mask & privileges.mask("SELECT") for e in rights.elements()
        ):
            return  # some columns: not looked at any closer
        raise _denied(session, f"SELECT ON {database}.{table}")

    def _functions(self, session: Session) -> dict[str, str]:
        """What the functions that tell who is asking have to answer: the engine itself only knows `default`."""

        def array(names: list[str]) -> str:
            return "CAST([" + ", ".join(map(string_literal, names)) + "], 'Array(String)')"

        user = self.access.get(User, session.user)
        current = self.access.names(self.access.current_roles(user, session.roles))
        enabled = self.access.enabled_roles(user, session.roles)
        profiles = self._profiles(user, set(enabled))
        values = {
            **dict.fromkeys(
                ("currentuser", "user", "current_user", "authenticateduser", "initialuser"),
                string_literal(session.user),
            ),
            "currentroles": array(current),
            "enabledroles": array(self.access.names(enabled)),
            "defaultroles": array(self.access.names(self.access.current_roles(user, None))),
            "currentprofiles": array(profiles),
            "enabledprofiles": array(profiles),
            "defaultprofiles": array(profiles),
        }
        return {name: value.encode("utf-8", "surrogateescape").decode("latin-1") for name, value in values.items()}

    def _profiles(self, user: User, roles: set[str]) -> list[str]:
        """The names of the profiles that count for a user, without those they inherit."""
        own = [setting.profile for setting in user.settings if setting.profile]
        to = self.access.applying(SettingsProfile, (user.id, *roles))
        names = ["default", *(profile.name for profile in to), *(self.access.name_of(profile) or "" for profile in own)]
        return list(dict.fromkeys(filter(None, names)))

    def _as_user(self, error: EngineError, session: Session, query: Query) -> EngineError:
        """The error with the session's user where the engine names its own, and without hints at what only the
        sandbox has.
        """
        message = re.sub(rf" Maybe you meant {OVERLAY}\S*\?", "", error.message)
        if message.startswith("default: "):
            message = f"{session.user}: {message[9:]}"
        message = message.replace("prohibited for the user default", f"prohibited for the user {session.user}")
        if error.code == 201 and (quota := self._rights(session).quota) is not None:
            message = message.replace("Quota for user `default`", f"Quota for user `{session.user}`")
            message = message.replace("Name of quota template: `default`", f"Name of quota template: `{quota.name}`")
        if (
            query.read_only
            and not self._read_only(session)
            and message.endswith("Cannot execute query in readonly mode.")
        ):
            message += (
                " For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
            )
        name = error.name  # chDB leaves it out where an INSERT's data is wrong
        name = name or self._parser.query(f"SELECT errorCodeToName({error.code})", "RawBLOB").decode()
        no_database = error.code == 81 and bool(query.database) and f"Database {query.database} does" in message
        return EngineError(error.code, name, message, error.early or no_database)

    # Access

    def _manage_access(self, canonical: str, statement: sql_text.Statement, session: Session, query: Query) -> Answer:
        """Check a statement on the engine under the session's rights, then let the access model carry it out."""
        self._judge(canonical, session, query)
        table = self.access.execute(canonical, self._info(session, query))
        if table is None:
            return Answer(b"", None)
        format_name = statement.format or query.default_format
        return Answer(self._format(table, format_name, query), format_name, {"read_rows": len(table.rows)})

    def _judge(self, canonical: str, session: Session, query: Query) -> None:
        """Raise EngineError where the session's engine refuses a statement that manages access."""
        engine = self._engine(session)
        before = self._before(session, query)
        checked = self.access.check_statement(canonical)
        if checked is None:
            return
        try:
            engine.call(
                {"before": before, "format": "Null", "database": self._database(session)},
                checked.encode("utf-8", "surrogateescape"),
            )
        except EngineError as error:
            # chDB is built without bcrypt and SSH; the privileges have been looked at before that shows
            if error.code not in _PASSED and not (error.code == 344 and " built without " in error.message):
                raise

    def _info(self, session: Session, query: Query) -> SessionInfo:
        return SessionInfo(session.user, session.roles, self._database(session), time.time(), dict(query.settings))

    def _format(self, table: Table, format_name: str, query: Query) -> bytes:
        """A table in any format, by the engine."""
        structure = ", ".join(f"{backquote(name)} {kind}" for name, kind in table.columns)
        data = f"format(JSONCompactEachRow, {string_literal(structure)}, {string_literal(_json_lines(table))})"
        sql = f"SELECT * FROM {data} FORMAT {format_name}"
        settings = [
            f"{_setting(name)} = {string_literal(value)}"
            for name, value in query.settings
            if name.startswith(("output_format", "format", "date_time"))
        ]
        before = ["SET " + ", ".join(settings)] if settings else []
        blocks = bool(query.protocol and format_name == "Native")
        return self._parser.call(
            {"before": before, "format": format_name, "blocks": blocks}, sql.encode("utf-8", "surrogateescape")
        )[1]

    def _make_overlay(self) -> None:
        """Create the tables that stand in for those of `system`, with the engine's own columns."""
        engine = self._pool.use(self._bootstrap_config())
        engine.query(f"CREATE DATABASE IF NOT EXISTS {OVERLAY}")
        for table in TABLES:
            columns = self._parser.rows(
                "SELECT name, type, comment FROM system.columns "
                f"WHERE database = 'system' AND table = '{table}' ORDER BY position"
            )
            if not columns:  # this version has no such table
                continue
            structure = ", ".join(
                f"`{column['name']}` {column['type']} COMMENT {string_literal(column['comment'])}" for column in columns
            )
            (self._tables / f"{self.number}.{table}.jsonl").touch()
            for name, number in ((table, str(self.number)), (_all_replicas("system", table), "*")):
                self._file_table(
                    engine, name, structure, "JSONCompactEachRow", self._tables / f"{number}.{table}.jsonl"
                )

    @staticmethod
    def _file_table(engine: Engine, name: str, structure: str, format_name: str, files: Path) -> None:
        source = f"File({format_name}, {string_literal(str(files))})"
        engine.query(f"CREATE OR REPLACE TABLE {OVERLAY}.{backquote(name)} ({structure}) ENGINE = {source}")

    def _bootstrap_config(self) -> Path:
        users = self._directory / "configs" / "bootstrap.users.xml"
        config = users.with_name("bootstrap.config.xml")
        users.write_text(users_xml.SHIPPED)
        config.write_text(
            users_xml.config(users, self._directory, self.options.cluster, self.options.display_secrets, self.timezone)
        )
        return config

    def _publish(self, names: set[str], session: Session) -> None:
        """Write the tables a query is about to read, unless what is there is current."""
        for name in names:
            mark = (
                self.access.version,
                (session.user, tuple(session.roles or ())) if name in OF_SESSION else None,
            )
            if self._published.get(name) != mark:
                if name == "clusters":
                    table = cluster.clusters_table(self.cluster, self, self.access.columns(name))
                else:
                    table = self.access.table(name, SessionInfo(session.user, session.roles, "", time.time(), {}))
                file = self._tables / f"{self.number}.{name}.jsonl"
                new = file.with_suffix(".new")
                new.write_text(_json_lines(table), "utf-8", "surrogateescape")
                os.replace(new, file)
                self._published[name] = mark

    def _from_all_replicas(self, database: str, table: str, session: Session, query: Query) -> str:
        """The name of the table, made current, that holds what this table has on each replica; there the reader is
        `default`, as with a cluster that has no `secret`. Of the query's settings only whether to show secrets goes
        along. Raises EngineError."""
        before = _set({name: value for name, value in query.settings if name == _SHOW_SECRETS})
        is_access = database == "system" and table in TABLES
        for server in self.cluster:
            reader = session if server is self else Session("default")
            server._reload_users()
            if is_access:
                server._publish({table}, reader)
                continue
            source = f"{backquote(database)}.{backquote(table)}"
            engine = server._engine(reader)
            if server is self:
                columns = engine.call({"format": "JSONEachRow"}, f"DESCRIBE TABLE {source}".encode())[1]
            rows = engine.call({"format": "Native", "before": before}, f"SELECT * FROM {source}".encode())[1]
            (self._tables / f"{server.number}.{database}.{table}.native").write_bytes(rows)
        name = _all_replicas(database, table)
        if not is_access:
            described = [json.loads(line) for line in columns.splitlines()]
            structure = ", ".join(
                f"{backquote(column['name'])} {column['type']} COMMENT {string_literal(column['comment'])}"
                for column in described
                if column["default_type"] in ("", "DEFAULT")  # the others are not in SELECT *
            )
            if self._elsewhere.get((database, table)) != structure:
                files = self._tables / f"*.{database}.{table}.native"
                self._file_table(self._pool.use(self._bootstrap_config()), name, structure, "Native", files)
                self._elsewhere[database, table] = structure
        return f"{OVERLAY}.{backquote(name)}"

    def _cluster_changes(
        self, text: str, statement: sql_text.Statement, session: Session, query: Query
    ) -> tuple[list[sql_text.ClusterRead], list[tuple[int, int, str]]]:
        """A query's reads from the cluster, and the changes that point them at tables of the overlay, and hostName()
        and tcpPort() at the replica that a row is of. Raises EngineError."""
        reads = [read for read in sql_text.cluster_reads(statement) if read.cluster == self.options.cluster]
        if reads:
            rights = self.access.session_rights(SessionInfo(session.user, session.roles))
            if not rights.contains(Element(self.access.privileges.mask("READ"), ("REMOTE",))):
                raise _denied(session, "READ ON REMOTE")
        changes = sql_text.with_functions(text, statement, cluster.functions_here(self))
        for read in sorted(reads, key=lambda read: read.scope[0] - read.scope[1]):  # the outer SELECT first
            if read.table is None:
                raise EngineError(48, "NOT_IMPLEMENTED", "The sandbox reads only tables from a cluster.")
            database, table = read.table[0] or self._database(session), read.table[1]
            if database == "system":
                self._may_read(table, session)
            if not read.all_replicas:  # the shard's nearest replica is this one
                source = f"{backquote(database)}.{backquote(table)}"
                if database == "system" and table in TABLES:
                    self._publish({table}, session)
                    source = f"{OVERLAY}.{table}"
                changes.append((read.start, read.end, source))
                continue
            changes.append((read.start, read.end, self._from_all_replicas(database, table, session, query)))
            there = sql_text.with_functions(text, statement, cluster.functions_there(self.cluster))
            start, end = read.scope
            there = [change for change in there if start <= change[0] < end]
            there += [
                (token.start, token.end, f"({cluster.NUMBER} AS {token.text})")
                for token in statement.tokens
                if token.text == "_shard_num" and start <= token.start < end
            ]
            replaced = {change[0] for change in there}
            changes = [change for change in changes if change[0] not in replaced] + there
        return reads, changes


def _all_replicas(database: str, table: str) -> str:
    """The table of the overlay that holds what this table has on each replica."""
    return f"all replicas: {database}.{table}"


_FORGOT = """

If you use ClickHouse Cloud, the password can be reset at https://clickhouse.cloud/
on the settings page for the corresponding service.

If you have installed ClickHouse and forgot password you can reset it in the configuration file.
The password for default user is typically located at /etc/clickhouse-server/users.d/default-password.xml
and deleting this file will reset the password.
See also /etc/clickhouse-server/users.xml on the server where ClickHouse is installed.

."""


def _certificate_fits(subjects: dict[str, list[str]], names: frozenset[tuple[str, str]]) -> bool:
    """Whether a certificate carries one of the subjects; a SAN may hold one `*`, which stands for anything without a
    slash.
    """
    for kind, wanted in (("CN", subjects.get("cn", [])), ("SAN", subjects.get("san", []))):
        for subject in wanted:
            pattern = re.escape(subject).replace(r"\*", "[^/]*") if kind == "SAN" else re.escape(subject)
            if any(found == kind and re.fullmatch(pattern, name) for found, name in names):
                return True
    return False


def _json_lines(table: Table) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.rows)


def _with_functions(condition: str, values: dict[str, str]) -> str:
    """A row policy's condition, with the functions that tell who is asking answered."""
    text = condition.encode("utf-8", "surrogateescape").decode("latin-1")
    return _utf8(sql_text.splice(text, sql_text.with_functions(text, sql_text.read(text), values)))


def _denied(session: Session, grant: str) -> EngineError:
    """The error for a missing grant, as the engine words it."""
    text = f"{session.user}: Not enough privileges. To execute this query, it's necessary to have the grant {grant}."
    return EngineError(497, "ACCESS_DENIED", text)


def _utf8(latin: str) -> str:
    """Text kept byte by byte, as the UTF-8 it is."""
    return latin.encode("latin-1").decode("utf-8", "surrogateescape")


def _setting(name: str) -> str:
    """A setting's name, safe to write into a statement. Raises EngineError 115 where no setting can have it."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name):
        raise EngineError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'.")
    return name


_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\", "'": "'"}


def _unescape(value: str) -> str:
    """A query parameter's value: HTTP gives it in TabSeparated's escaping."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), value, flags=re.DOTALL)
