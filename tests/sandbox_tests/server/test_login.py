"""Who gets in: credentials by every way, hosts, expiry, client certificates; one answer to every failure."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import pytest

from tests.sandbox import Client, Sandbox, ServerSaid

GENERIC = "Authentication failed: password is incorrect, or there is no user with such name."


@pytest.fixture(scope="module")
def admin(server: Sandbox) -> Iterator[Client]:
    """An administrator; the module's users are gone afterwards."""
    client = server.session()
    yield client
    for name in client.lines("SELECT name FROM system.users WHERE name LIKE 'login%'"):
        client.query(f"DROP USER `{name}`")


def refused(client: Client, **headers: str) -> None:
    """The client must be refused, in the words that tell nothing."""
    answer = client.request("SELECT 1", headers=headers)
    assert answer.status == 403, answer
    assert answer.headers["x-clickhouse-exception-code"] == "516"
    assert GENERIC in answer.body.decode()


def basic(user: str, password: str) -> dict[str, str]:
    """The Authorization header."""
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_ways_to_log_in(server: Sandbox, admin: Client) -> None:
    password = "pä:ss 'w\\ord\"😀"
    admin.query(
        "CREATE USER `login ü` IDENTIFIED WITH sha256_password BY {p:String}", param_p=password.replace("\\", "\\\\")
    )
    anyone = server.session()
    assert server.session("login ü", password).query("SELECT user()") == "login ü\n"
    assert anyone.request("SELECT user()", headers=basic("login ü", password)).body.decode() == "login ü\n"
    assert anyone.query("SELECT user()", user="login ü", password=password) == "login ü\n"
    assert anyone.query("SELECT user()") == "default\n"
    refused(server.session("login ü", password + " "))
    refused(server.session("login nobody", ""))
    refused(anyone, **basic("login ü", ""))
    with pytest.raises(ServerSaid, match="516"):
        anyone.query("SELECT 1", user="login ü", password="wrong")


def test_two_ways_at_once(server: Sandbox, real: Sandbox) -> None:
    both = {"X-ClickHouse-User": "default"}
    for one in (server, real):
        mixed = one.session().request("SELECT 1", headers={**both, **basic("default", "")})
        assert (mixed.status, b"X-ClickHouse HTTP headers and Authorization" in mixed.body) == (403, True)
        mixed = one.session("default").request("SELECT 1", parameters={"user": "default"})
        assert (mixed.status, b"X-ClickHouse HTTP headers and authentication via" in mixed.body) == (403, True)
        browser = one.session().request("SELECT 1", headers=basic("default", "wrong"))
        assert (browser.status, browser.headers["x-clickhouse-exception-code"]) == (401, "194")
        assert browser.headers["www-authenticate"].startswith("Basic")
        bearer = one.session().request("SELECT 1", headers={"Authorization": "Bearer x"})
        assert (bearer.status, b"'Bearer' HTTP Authorization scheme is not supported" in bearer.body) == (403, True)


METHODS = ["plaintext_password", "sha256_password", "double_sha1_password", "scram_sha256_password", "bcrypt_password"]


@pytest.mark.parametrize("method", METHODS)
def test_every_password_method(server: Sandbox, admin: Client, method: str) -> None:
    admin.query(f"CREATE USER login_{method} IDENTIFIED WITH {method} BY 'right'")
    assert server.session(f"login_{method}", "right").query("SELECT 1") == "1\n"
    refused(server.session(f"login_{method}", "wrong"))
    refused(server.session(f"login_{method}", ""))


def test_several_methods_and_none(server: Sandbox, admin: Client) -> None:
    admin.query("CREATE USER login_many IDENTIFIED WITH plaintext_password BY 'a', sha256_password BY 'b'")
    admin.query("CREATE USER login_open IDENTIFIED WITH no_password")
    for password in ("a", "b"):
        assert server.session("login_many", password).query("SELECT 1") == "1\n"
    refused(server.session("login_many", "c"))
    assert server.session("login_open", "whatever").query("SELECT 1") == "1\n"


HOSTS = [
    ("ANY", ["127.0.0.1", "10.0.0.1", "2001:db8::1"], []),
    ("NONE", [], ["127.0.0.1", "10.0.0.1"]),
    ("LOCAL", ["127.0.0.1", "127.0.0.9", "::1"], ["10.0.0.1"]),
    ("IP '10.0.0.0/8', '2001:db8::/32'", ["10.200.3.4", "2001:db8::1"], ["11.0.0.1", "127.0.0.1", "2001:db9::1"]),
    ("IP '192.168.5.5'", ["192.168.5.5"], ["192.168.5.6"]),
    ("NAME 'db7.prod.example'", ["10.1.2.3"], ["10.1.2.4", "127.0.0.1"]),
    ("REGEXP '.*\\\\.prod\\\\.example'", ["10.1.2.3", "10.1.2.4"], ["10.9.9.9", "10.5.5.5", "127.0.0.1"]),
    ("LIKE '%.prod.example'", ["10.1.2.3"], ["10.9.9.9", "127.0.0.1"]),
    ("LIKE 'alias.%'", ["10.1.2.4"], ["10.1.2.3"]),
    ("LOCAL, IP '10.1.2.3', NAME 'laptop.office.example'", ["127.0.0.1", "10.1.2.3", "10.9.9.9"], ["10.1.2.4"]),
]


@pytest.mark.parametrize(("hosts", "admitted", "turned_away"), HOSTS, ids=[case[0] for case in HOSTS])
def test_hosts(server: Sandbox, admin: Client, hosts: str, admitted: list[str], turned_away: list[str]) -> None:
    admin.query(f"CREATE USER OR REPLACE login_host IDENTIFIED BY 'x' HOST {hosts}")
    for address in admitted:
        assert server.session("login_host", "x", headers={"X-Sandbox-Peer": address}).query("SELECT 1") == "1\n", (
            address
        )
    for address in turned_away:
        refused(server.session("login_host", "x", headers={"X-Sandbox-Peer": address}))
    for address in admitted:
        refused(server.session("login_host", "wrong", headers={"X-Sandbox-Peer": address}))


def test_a_real_source_address(sandbox: Sandbox) -> None:
    """Without the test's own header, which this server does not know, the socket decides; 127.0.0.7 is local."""
    admin = sandbox.session()
    admin.query("CREATE USER OR REPLACE login_far IDENTIFIED BY 'x' HOST IP '10.0.0.0/8'")
    admin.query("CREATE USER OR REPLACE login_near IDENTIFIED BY 'x' HOST LOCAL")
    refused(sandbox.session("login_far", "x", headers={"X-Sandbox-Peer": "10.0.0.1"}))
    assert sandbox.session("login_near", "x", source="127.0.0.7").query("SELECT 1") == "1\n"
    admin.query("DROP USER login_far, login_near")


def test_expiry(server: Sandbox, admin: Client) -> None:
    soon = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() + 2))
    admin.query(f"CREATE USER login_soon IDENTIFIED WITH plaintext_password BY 'x' VALID UNTIL '{soon}'")
    admin.query("CREATE USER login_late IDENTIFIED BY 'x' VALID UNTIL '2020-01-01'")
    admin.query(
        "CREATE USER login_one IDENTIFIED WITH plaintext_password BY 'old' VALID UNTIL '2020-01-01', "
        "plaintext_password BY 'new' VALID UNTIL '2099-01-01'"
    )
    assert server.session("login_soon", "x").query("SELECT 1") == "1\n"
    refused(server.session("login_late", "x"))
    refused(server.session("login_one", "old"))
    assert server.session("login_one", "new").query("SELECT 1") == "1\n"
    time.sleep(3)
    refused(server.session("login_soon", "x"))


def test_client_certificates(server: Sandbox, admin: Client) -> None:
    authority = server.authority
    assert authority
    alice = tuple(map(str, authority.issue("alice")))
    robot = tuple(map(str, authority.issue("robot", uris=("spiffe://example/robot/7",), names=("robot.example",))))
    admin.query("CREATE USER login_alice IDENTIFIED WITH ssl_certificate CN 'alice'")
    admin.query("CREATE USER login_robot IDENTIFIED WITH ssl_certificate SAN 'URI:spiffe://example/robot/*'")
    admin.query("CREATE USER login_dns IDENTIFIED WITH ssl_certificate SAN 'DNS:robot.example'")

    def secure(user: str, certificate: tuple[str, ...]) -> Client:
        return server.secure_session(user, certificate=(certificate[0], certificate[1]))

    assert secure("login_alice", alice).query("SELECT user()") == "login_alice\n"
    assert secure("login_robot", robot).query("SELECT user()") == "login_robot\n"
    assert secure("login_dns", robot).query("SELECT user()") == "login_dns\n"
    refused(secure("login_alice", robot))
    refused(secure("login_robot", alice))
    refused(server.secure_session("login_alice", ""))
    refused(server.session("login_alice", "alice"))
    answer = server.secure_session().request(
        "SELECT 1", headers={"X-ClickHouse-User": "login_alice", "X-ClickHouse-SSL-Certificate-Auth": "on"}
    )
    assert answer.status == 403
    assert b"SSL certificate authentication requires nonempty certificate" in answer.body
