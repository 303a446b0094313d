"""ClickHouse's own server (24.8, 25.8) beside the model of its version: statements run on both, everything is compared.

The model's statements go the way the sandbox's server sends them: the engine parses, judges the statement with its
references replaced by stubs, and the model carries it out.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.sandbox import Client, ServerSaid
from tests.sandbox import options as server
from tests.sandbox.access import AccessControl, Options, ServerError, SessionInfo
from tests.sandbox.engine import Engine, EngineError
from tests.sandbox.real_server import RealServer
from tests.sandbox_tests.access.support import engine_with, users_xml

FIXED = users_xml(
    "<fixed><no_password/><networks><ip>::/0</ip></networks></fixed>",
    "<pfixed><max_threads>4</max_threads></pfixed>",
    roles="<rfixed/>",
)
"""Read-only entities of either side."""
STUBS = users_xml(
    "<probe><no_password/><networks><ip>::/0</ip></networks><grants><query>GRANT probe_role</query></grants></probe>",
    "<probe_profile/>",
    roles="<probe_role/>",
)
PASSED = (514, 495, 192, 511, 180, 199, 523)
"""What the engine says of a statement that is right but for the state of the storage."""
SHOWS = (
    *(f"SHOW {what}" for what in ("USERS", "ROLES", "PROFILES", "QUOTAS", "ROW POLICIES")),
    *(f"SHOW CREATE {what}" for what in ("USERS", "ROLES", "PROFILES", "QUOTAS", "ROW POLICIES")),
    *("SHOW ACCESS", "SHOW GRANTS FOR ALL", "SHOW CURRENT ROLES", "SHOW ENABLED ROLES"),
)
TABLES = (
    *(
        "users",
        "roles",
        "role_grants",
        "grants",
        "settings_profiles",
        "settings_profile_elements",
        "quotas",
        "quota_limits",
    ),
    *("row_policies", "current_roles", "enabled_roles"),
)
KINDS = {
    "USER": "USERS",
    "ROLE": "ROLES",
    "SETTINGS PROFILE": "PROFILES",
    "QUOTA": "QUOTAS",
    "ROW POLICY": "ROW POLICIES",
}
KEPT = ("default", "fixed", "rfixed", "pfixed")

Said = tuple[int, str, str] | list[str]
"""The lines of an answer, or an error: code, name, message."""


def error(code: int, name: str, message: str) -> Said:
    """An error without what the two word differently: positions in a syntax error, addresses that are none."""
    if code in (0, 1000, 1001):  # the server frames what comes from Poco otherwise
        return 1000, "", ""
    return code, name, "" if code == 62 else message.rstrip(". ")


class Pair:
    """A server and a model of one version."""

    def __init__(self, version: str, real: Client, engine: Engine, control: AccessControl) -> None:
        self.version, self._real, self._engine, self._control = version, real, engine, control
        self.compared = 0

    def real(self, sql: str) -> Said:
        """What the server answers."""
        try:
            return [_plain(line) for line in self._real.lines(sql)]
        except ServerSaid as said:
            return error(said.code, said.name, said.message)

    def model(self, sql: str) -> Said:
        """What the model answers."""
        session = SessionInfo("default", now=time.time())
        try:
            canonical = self._engine.parse(sql)
            if canonical.startswith(("GRANT", "REVOKE")):  # READ and WRITE have no canonical form of their own
                canonical = self._control.parse(sql)
            checked = self._control.check_statement(canonical)
            if checked is not None:
                try:
                    self._engine.query(checked)
                except EngineError as said:
                    if said.code not in PASSED:
                        raise
            table = self._control.execute(canonical, session)
        except (EngineError, ServerError) as said:
            return error(said.code, said.name, said.message)
        return ["\t".join(map(str, row)) for row in table.rows] if table else []

    def run(self, sql: str) -> tuple[Said, Said]:
        """A statement on both."""
        self.compared += 1
        return self.real(sql), self.model(sql)

    def state(self) -> dict[str, tuple[Any, Any]]:
        """Where the two do not show the same entities: by statement or table, what each shows alone."""
        grantees = [name for what in ("SHOW USERS", "SHOW ROLES") for name in self.real(what)]
        options = ["FINAL"] if self.version == "24.8" else ["FINAL", "WITH IMPLICIT"]
        shows = [
            *SHOWS,
            *(
                f"SHOW GRANTS FOR {_quoted(str(name))} {option}"
                for option in options
                for name in grantees
                if name not in KEPT
            ),
        ]
        answers = {show: self.run(show) for show in shows}
        for table in TABLES:
            self.compared += 1
            answers[table] = self._table(table)
        return {
            what: ([x for x in real if x not in model], [x for x in model if x not in real])
            for what, (real, model) in answers.items()
            if real != model
        }

    def _table(self, table: str) -> tuple[list[Any], list[Any]]:
        left_out = ("id", "granted_role_id", "valid_until")  # random; SHOW CREATE tells the time
        names = [name for name, _kind in self._control.columns(table) if name not in left_out]
        real = self._real.lines(
            f"SELECT {', '.join(names)} FROM system.{table} FORMAT JSONCompactEachRow",
            output_format_json_quote_64bit_integers="0",
        )
        result = self._control.table(table, SessionInfo("default", now=time.time()))
        columns = [name for name, _kind in result.columns]
        model = [[dict(zip(columns, row, strict=True))[name] for name in names] for row in result.rows]
        return sorted(map(json.loads, real), key=str), sorted(json.loads(json.dumps(model)), key=str)

    def clear(self) -> None:
        """Drop every entity that can be dropped, on both."""
        for kind, kinds in KINDS.items():
            for side in (self.real, self.model):
                for name in side(f"SHOW {kinds}"):
                    if name not in KEPT:
                        said = side(f"DROP {kind} {name if kind == 'ROW POLICY' else _quoted(str(name))}")
                        assert said == [], said


@contextmanager
def pair(version: str, folder: Path) -> Iterator[Pair]:
    """A server and a model of this version over empty storages."""
    (folder / "real").mkdir(parents=True)
    users = folder / "users.xml"
    users.write_text(FIXED)
    with ExitStack() as stack:
        real = RealServer(folder / "real", version, users, 0, None, server.Options())
        stack.callback(real.close)
        engine = stack.enter_context(engine_with(version, folder / "engine", STUBS))
        control = AccessControl(folder / "access", engine, users, Options(system_is_open=False))
        stack.callback(control.close)
        yield Pair(version, Client(f"http://127.0.0.1:{real.http_port}", "default"), engine, control)


def _plain(line: str) -> str:
    r"""A line of TabSeparated with one column, without its escapes."""
    return re.sub(r"\\(.)", r"\1", line)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "\\`") + "`"
