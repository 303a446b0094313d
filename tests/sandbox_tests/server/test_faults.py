"""Each fault on demand happens at its statement, once, and nowhere else; on the sandbox and on a real server."""

from __future__ import annotations

import http.client
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


def test_refused(fragile: Sandbox) -> None:
    refusal = Fault(1, "refuse", changes=False, code=999, name="KEEPER_EXCEPTION", message="Session expired.")
    with fragile.faults(refusal) as way, pytest.raises(ServerSaid, match="Session expired") as caught:
        Client(way.url).query("SELECT 1")
    assert (caught.value.code, caught.value.name, caught.value.status) == (999, "KEEPER_EXCEPTION", 500)


# what brings a server to refuse a statement with each code
REAL = {
    241: ("default", "SELECT throwIf(1, 'x', 241::Int16) SETTINGS allow_custom_error_code_in_throwif = 1"),
    497: ("nobody_much", "CREATE USER x"),
    516: ("nobody_at_all", "SELECT 1"),
}


@pytest.mark.parametrize("code", REAL)
def test_refused_as_the_server_would(fragile: Sandbox, code: int) -> None:
    """The same status, code and name as from the server itself, and nothing ran."""
    fragile.session().query("CREATE USER nobody_much")
    user, sql = REAL[code]
    with pytest.raises(ServerSaid) as real:
        fragile.session(user).query(sql)
    fragile.session().query("DROP USER nobody_much")
    with fragile.faults(Fault(1, "refuse", code=code)) as way, pytest.raises(ServerSaid) as caught:
        Client(way.url).query("CREATE USER refused")
    asked, given = real.value, caught.value
    assert (given.code, given.name, given.status) == (asked.code, asked.name, asked.status) and given.code == code
    assert users(fragile) == set()


def test_delayed(fragile: Sandbox) -> None:
    """The statement runs at once; the answer is late, or too late."""
    with fragile.faults(Fault(1, "delay", seconds=0.6), Fault(2, "delay", seconds=5)) as way:
        began = time.monotonic()
        Client(way.url).query("CREATE USER slow")
        assert time.monotonic() - began > 0.6
        impatient = http.client.HTTPConnection("127.0.0.1", way.port, timeout=0.5)
        impatient.request("POST", "/", "CREATE USER slower")
        with pytest.raises(TimeoutError):
            impatient.getresponse()
        impatient.close()
        assert users(fragile) == {"slow", "slower"}
    fragile.session().query("DROP USER slow, slower")


STATEMENTS = (
    "CREATE USER k",
    "CREATE ROLE k_role",
    "GRANT k_role TO k",
    "ALTER USER k HOST LOCAL",
    "REVOKE k_role FROM k",
)
AFTER = ("", "k", "k k_role", "k k_role 1", "k k_role 1 local", "k k_role local")
"""What is there when so many of the statements have run."""
KINDS = ("drop_before", "drop_after", "refuse", "delay", "kill", "kill_after")


@pytest.mark.parametrize("kind", KINDS)
def test_at_any_statement(fragile: Sandbox, kind: str) -> None:
    """At every k: exactly the statements before it have run, and it itself where the kind says so; a killed server
    comes back with all of them."""
    admin = fragile.session()
    for k in range(1, len(STATEMENTS) + 1) if not kind.startswith("kill") else (1, 3, 5):
        with fragile.faults(Fault(k, kind, seconds=0.1)) as way:
            client = Client(way.url)
            for statement in STATEMENTS[: k - 1]:
                client.query(statement)
            if kind == "delay":
                client.query(STATEMENTS[k - 1])
            else:
                with pytest.raises(ServerSaid if kind == "refuse" else (OSError, http.client.HTTPException)):
                    client.query(STATEMENTS[k - 1])
            if kind.startswith("kill"):
                with pytest.raises(OSError):
                    admin.query("SELECT 1")
                fragile.restart()
        there = admin.lines("SELECT name FROM system.users WHERE name = 'k'")
        there += admin.lines("SELECT name FROM system.roles WHERE name = 'k_role'")
        there += admin.lines("SELECT count() FROM system.role_grants WHERE user_name = 'k' HAVING count() > 0")
        there += ["local"] if "HOST LOCAL" in "".join(admin.lines("SHOW CREATE USER k") if there else []) else []
        ran = k if kind in ("drop_after", "delay", "kill_after") else k - 1
        assert " ".join(there) == AFTER[ran], (kind, k)
        admin.query("DROP USER IF EXISTS k")
        admin.query("DROP ROLE IF EXISTS k_role")


def test_counts(fragile: Sandbox) -> None:
    with fragile.faults(Fault(2, "drop_before")) as way:
        client = Client(way.url)
        client.request(path="/ping", method="GET")
        client.query("CREATE USER counted")
        with pytest.raises(OSError):
            client.query("  drop user counted")
        client.query("SELECT 1")
        client.query("SHOW USERS")
        assert (way.requests, way.changes, way.reads) == (5, 2, 2)
    fragile.session().query("DROP USER counted")


def test_clickhouse_connect_passes_through(fragile: Sandbox) -> None:
    import clickhouse_connect

    with fragile.faults() as way:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=way.port)
        client.command("CREATE TABLE default.through (a UInt8) ENGINE = Memory")
        client.insert("default.through", [[1], [2]], column_names=["a"])
        assert client.query("SELECT sum(a) FROM default.through").first_row == (3,)
        client.command("DROP TABLE default.through")
        client.close()
