"""The real engines for unit tests, and the module code's own `Server` over one of them, to say what a server knows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import read_rows
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.state import Server
from tests.sandbox.engine import Engine

RELEASES = {"26.9": "26.9.2.1", "25.8": "25.8.2.1", "24.8": "24.8.4.1"}


class EngineSession:
    """A session that reads from an engine in this machine instead of a server; it cannot change anything."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.version = RELEASES[engine.version]

    def query(self, sql: str, settings: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """Rows as `Session.query` gives them."""
        assert not settings
        answer = self.engine.query(sql, "JSONEachRow").decode()
        return [json.loads(line) for line in answer.split("\n") if line]

    def rows(self, sql: str) -> list[list[Any]]:
        """Rows as `Session.rows` gives them."""
        return read_rows(self.engine.query(sql, "TabSeparatedRaw"))


@pytest.fixture(scope="session")
def engine() -> Iterator[Callable[[str], Engine]]:
    """The engine of a version, started when it is first wanted."""
    running: dict[str, Engine] = {}

    def get(version: str) -> Engine:
        if version not in running:
            running[version] = Engine(version)
        return running[version]

    yield get
    for one in running.values():
        one.close()


@pytest.fixture(scope="session")
def server(engine: Callable[[str], Engine]) -> Callable[[str], Server]:
    """A `Server` that knows what this version's engine knows: types of settings, privileges, dates."""
    known: dict[str, Server] = {}

    def get(version: str) -> Server:
        return known.setdefault(version, Server(EngineSession(engine(version))))  # type: ignore[arg-type]

    return get
