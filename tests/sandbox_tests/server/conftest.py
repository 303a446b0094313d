"""The servers that the sandbox's own tests look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox import Sandbox, start

RESOLVER = {
    "10.1.2.3": ["db7.prod.example"],
    "10.1.2.4": ["web1.prod.example", "alias.example"],
    "10.9.9.9": ["laptop.office.example"],
}


@pytest.fixture(scope="session")
def server() -> Iterator[Sandbox]:
    """A sandbox of 26.9 where a test may come from any address, with names of its own for some."""
    with start("26.9", tls=True, resolver=RESOLVER, trust_peer_header=True) as running:
        yield running


@pytest.fixture(scope="session")
def real() -> Iterator[Sandbox]:
    """ClickHouse's own server of 25.8."""
    with start("25.8", tls=True) as running:
        yield running
