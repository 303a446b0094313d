"""What login needs: passwords in every form, hosts."""

from __future__ import annotations

import pytest

from tests.sandbox.access.hosts import admits, parse
from tests.sandbox.access.passwords import verify
from tests.sandbox.access.statements import HostList
from tests.sandbox_tests.access.support import Access

PASSWORD = "sécret 'x'"
SHA256 = "9b8769a4a742959a2d0298c36fb70623f2dfacda8436237df08d8dfd5b37374c"  # of pass123


@pytest.mark.parametrize(
    "kind",
    ["plaintext_password", "sha256_password", "double_sha1_password", "bcrypt_password", "scram_sha256_password", ""],
)
def test_passwords(access: Access, kind: str) -> None:
    """A password opens the user it was set for, and no other does."""
    access.control.options.bcrypt_workfactor = 4
    access("CREATE USER u IDENTIFIED " + (f"WITH {kind} " if kind else "") + "BY 'sécret \\'x\\''")
    user = access.control.find_user("u")
    assert user is not None
    (method,) = user.auth
    assert verify(method, PASSWORD) and not verify(method, PASSWORD + "x") and not verify(method, "")
    assert (method.secret == PASSWORD) == (kind == "plaintext_password")
    assert bool(method.salt) == (kind in ("sha256_password", "scram_sha256_password"))


def test_hashes(access: Access) -> None:
    """A hash in a statement is the password's: from sha256sum, from ClickHouse's own salted form."""
    access(f"CREATE USER a IDENTIFIED WITH sha256_hash BY '{SHA256}'")
    user = access.control.find_user("a")
    assert user is not None and verify(user.auth[0], "pass123") and not verify(user.auth[0], "pass124")


CASES: list[tuple[HostList, str, bool]] = [
    ([("ANY", "")], "1.2.3.4", True),
    ([], "127.0.0.1", False),
    ([("LOCAL", "")], "127.0.0.1", True),
    ([("LOCAL", "")], "::1", True),
    ([("LOCAL", "")], "10.0.0.1", False),
    ([("IP", "10.0.0.0/8")], "10.9.9.9", True),
    ([("IP", "10.0.0.0/8")], "::ffff:10.9.9.9", True),
    ([("IP", "::ffff:10.0.0.1")], "10.0.0.1", True),
    ([("IP", "2001:db8::/32")], "2001:db8::7", True),
    ([("IP", "10.0.0.1")], "10.0.0.2", False),
    ([("LIKE", "10.%")], "10.0.0.1", True),
    ([("LIKE", "10.0._.1")], "10.0.0.1", True),
    ([("LIKE", "10.1.%")], "10.0.0.1", False),
]


@pytest.mark.parametrize(("written", "client", "admitted"), CASES)
def test_hosts(written: HostList, client: str, admitted: bool) -> None:
    """Which addresses a HOST clause admits."""
    assert admits(parse(written), client) is admitted


def test_host_names() -> None:
    """Names and patterns are held against what the address resolves to."""
    hosts = parse([("NAME", "a.example"), ("REGEXP", r"b\d\.example"), ("LIKE", "c%.example")])
    assert [
        admits(hosts, "9.9.9.9", name)
        for name in ("a.example", "b7.example", "cc.example", "d.example", "xb7.example", None)
    ] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
