"""Fixtures of every suite: the engine that parses, and a ClickHouse to run on, sandbox or (CLICKHOUSE_URL) real."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from tests.sandbox import Client, Sandbox
    from tests.sandbox.engine import Engine

# A gate must say the same twice. EXPLORE=1 lets the property tests look for what nobody has seen yet.
settings.register_profile("gate", derandomize=True)
settings.register_profile("explore", derandomize=False)
settings.load_profile("explore" if os.environ.get("EXPLORE") else "gate")

VERSIONS = os.environ.get("SANDBOX_VERSIONS", "26.9").replace(",", " ").split()
"""The ClickHouse versions the suites run on."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is marked as `thorough`, unless THOROUGH=1 asks for it."""
    if not os.environ.get("THOROUGH"):
        for item in items:
            if item.get_closest_marker("thorough"):
                item.add_marker(pytest.mark.skip(reason="only with THOROUGH=1, which takes its time"))


@pytest.fixture(scope="session", params=VERSIONS)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The real engine as a parser: `engine.parse(sql)` gives the canonical form or raises EngineError;
    `engine.rows(sql)` asks.
    """
    from tests.sandbox.engine import Engine

    with Engine(request.param) as running:
        yield running


@pytest.fixture(scope="session", params=VERSIONS)
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A sandbox server with HTTP and HTTPS, shared by the session's tests: use names of your own."""
    from tests.sandbox import start

    with start(request.param, tls=True) as running:
        yield running


class RealServer:
    """A real ClickHouse that CLICKHOUSE_URL names (user and password in it): the part of Sandbox that tests of
    modules need.
    """

    def __init__(self, url: str) -> None:
        import urllib.parse

        from tests.sandbox import Client

        parts = urllib.parse.urlsplit(url)
        self.url = url
        self.user, self.password = (
            urllib.parse.unquote(parts.username or "default"),
            urllib.parse.unquote(parts.password or ""),
        )
        self.host, self.port = parts.hostname or "localhost", parts.port or (8443 if parts.scheme == "https" else 8123)
        self.secure = parts.scheme == "https"
        self.ca = os.environ.get("CLICKHOUSE_CA")
        self._address = f"{parts.scheme}://{self.host}:{self.port}"
        self._client = Client
        self.version = ".".join(self.session(self.user, self.password).query("SELECT version()").split(".")[:2])

    def session(self, user: str | None = None, password: str = "") -> Client:
        """A client as this user."""
        return self._client(self._address, user, password, ca=self.ca)


@pytest.fixture(scope="session", params=["real"] if "CLICKHOUSE_URL" in os.environ else VERSIONS)
def clickhouse(request: pytest.FixtureRequest) -> Iterator[Sandbox | RealServer]:
    """A ClickHouse: the server CLICKHOUSE_URL names, or a sandbox of each version in SANDBOX_VERSIONS."""
    if request.param == "real":
        yield RealServer(os.environ["CLICKHOUSE_URL"])
        return
    from tests.sandbox import start

    with start(request.param, tls=True) as running:
        yield running
