"""Each fault on demand happens at its statement, once, and nowhere else; on the sandbox and on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.sandbox import Client, Fault, Sandbox, ServerSaid, start


@pytest.fixture(scope="module", params=["26.9", "25.8"])
def fragile(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A server that may be killed."""
    with start(request.param) as running:
        yield running


def users(server: Sandbox) -> set[str]:
    return set(server.session().lines("SHOW USERS")) - {"default"}


@pytest.mark.parametrize(("kind", "ran"), [("drop_before", False), ("drop_after", True), ("kill", False)])
def test_lost_connection(fragile: Sandbox, kind: str, ran: bool) -> None:
    with fragile.faults(Fault(2, kind)) as way:
        client = Client(way.url)
        client.query("CREATE USER one")
        assert client.query("SELECT 1") == "1\n"  # reads do not count
        with pytest.raises(OSError):
            client.query("CREATE USER two")
        if kind == "kill":
            fragile.restart()
        client.query("CREATE USER three")
        assert len(way.statements) == 4
    assert users(fragile) == {"one", "three"} | ({"two"} if ran else set())
    fragile.session().query("DROP USER IF EXISTS one, two, three")


def test_refused_and_delayed(fragile: Sandbox) -> None:
    refusal = Fault(1, "refuse", changes=False, code=999, name="KEEPER_EXCEPTION", message="Session expired.")
    with fragile.faults(refusal, Fault(1, "delay", seconds=0.4)) as way:
        client = Client(way.url)
        with pytest.raises(ServerSaid, match="Session expired") as caught:
            client.query("SELECT 1")
        assert (caught.value.code, caught.value.name) == (999, "KEEPER_EXCEPTION")
        began = time.monotonic()
        client.query("CREATE USER slow")
        assert time.monotonic() - began > 0.4
    assert users(fragile) == {"slow"}
    fragile.session().query("DROP USER slow")


def test_clickhouse_connect_passes_through(fragile: Sandbox) -> None:
    import clickhouse_connect

    with fragile.faults() as way:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=way.port)
        client.command("CREATE TABLE default.through (a UInt8) ENGINE = Memory")
        client.insert("default.through", [[1], [2]], column_names=["a"])
        assert client.query("SELECT sum(a) FROM default.through").first_row == (3,)
        client.command("DROP TABLE default.through")
        client.close()
