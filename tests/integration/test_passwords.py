"""Passwords: set as hashes, found to differ where anything can tell, said to be unknown where nothing can."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import bcrypt
import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal
from tests.sandbox import start
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]

ODD = "pä'ss\"\\`%s {x} -- 🙂"
OTHER = "another secret"
TYPES = ["plaintext_password", "sha256_password", "double_sha1_password", "scram_sha256_password", "bcrypt_password"]


def method(kind: str, password: str = ODD) -> Options:
    """The option `authentication` with one password."""
    return {"authentication": [{"type": kind, "password": password}]}


def admitted(server: Any, user: str, password: str) -> bool:
    """Whether the server lets the user in with this password."""
    try:
        return bool(server.session(user, password).query("SELECT currentUser()") == user + "\n")
    except ServerSaid as refusal:
        assert refusal.code == 516
        return False


@pytest.fixture
def user(scratch: Any) -> str:
    """The name of a user that is not there yet."""
    return str(scratch.reserve("user", "pw one"))


@pytest.fixture(scope="module")
def types(clickhouse: Any, admin: Any, version: tuple[int, int]) -> list[str]:
    """The password types that this server has: scram by its version, bcrypt by how it was built."""
    found = TYPES[: 4 if version >= (25, 3) else 3]
    hashed = bcrypt.hashpw(OTHER.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    admin.query(f"CREATE USER OR REPLACE pw_probe IDENTIFIED WITH bcrypt_hash BY '{hashed}'")
    found += ["bcrypt_password"] if admitted(clickhouse, "pw_probe", OTHER) else []
    admin.query("DROP USER pw_probe")
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_the_password_works(
    module: Module, converges: Module, clickhouse: Any, types: list[str], user: str, kind: str
) -> None:
    """The user can log in with it and with no other; a new one is set once, and found to be the same afterwards."""
    if kind not in types:
        pytest.skip(f"this ClickHouse has no {kind}")
    made = converges("user", {"name": user, **method(kind)})
    assert made["password_state"] == "different" and ODD not in json.dumps(made)
    assert admitted(clickhouse, user, ODD) and not admitted(clickhouse, user, OTHER)
    assert module("user", {"name": user, **method(kind)})["password_state"] == "same"
    changed = converges("user", {"name": user, **method(kind, OTHER)})
    assert changed["password_state"] == "different"
    assert changed["diff"]["before"]["authentication"] == [{"type": kind, "password": "[HIDDEN]"}]
    assert changed["diff"]["after"]["authentication"] == [{"type": kind, "password": "[HIDDEN] (new)"}]
    assert admitted(clickhouse, user, OTHER) and not admitted(clickhouse, user, ODD)


def test_two_passwords(converges: Module, module: Module, clickhouse: Any, version: tuple[int, int], user: str) -> None:
    """Either lets the user in; one that differs is found, whichever it is."""
    if version < (24, 9):
        pytest.skip("before 24.9 a user has one method")
    both = [method("sha256_password")["authentication"][0], method("double_sha1_password", OTHER)["authentication"][0]]
    converges("user", {"name": user, "authentication": both})
    assert admitted(clickhouse, user, ODD) and admitted(clickhouse, user, OTHER)
    assert not module("user", {"name": user, "authentication": both[::-1]})["changed"]
    for index in (0, 1):
        both[index] = {**both[index], "password": f"a third {index}"}
        assert converges("user", {"name": user, "authentication": both})["password_state"] == "different"
    assert admitted(clickhouse, user, "a third 0") and admitted(clickhouse, user, "a third 1")
    assert not admitted(clickhouse, user, ODD) and not admitted(clickhouse, user, OTHER)


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ({"none": True}, "do not admit this machine"),
        ({"ip": ["203.0.113.0/24"]}, "do not admit this machine"),
        ({"name": ["nobody.invalid"]}, "HOST restriction"),
        ({"regexp": ["^nobody$"]}, "HOST restriction"),
    ],
    ids=["none", "ip", "name", "regexp"],
)
def test_unknown_where_the_host_refuses(
    module: Module, converges: Module, admin: Any, user: str, host: Options, reason: str
) -> None:
    """A refused login then proves nothing: a warning, and never a change, whatever the password is."""
    options = {"name": user, **method("sha256_password"), "host": host}
    converges("user", options)
    for alteration in ("", f"IDENTIFIED WITH sha256_password BY '{OTHER}'"):
        if alteration:
            admin.query(f"ALTER USER {ident(user)} {alteration}")
        for check in (True, False):
            result = module("user", options, check=check)
            assert (result["changed"], result["password_state"]) == (False, "unknown")
            assert reason in json.dumps(result["warnings"]) and ODD not in json.dumps(result)
    other_type = converges("user", {**options, **method("double_sha1_password")})
    assert other_type["password_state"] == "different"
    assert module("user", {**options, **method("double_sha1_password"), "update_password": "always"})["changed"]
    elsewhere = converges("user", {**options, **method("double_sha1_password"), "default_database": "d"})
    assert elsewhere["statements"] == [f"ALTER USER {ident(user)} DEFAULT DATABASE `d`"]


@pytest.mark.parametrize("host", [{"local": True}, {"ip": ["203.0.113.0/24", "127.0.0.0/8"]}, {"any": True}])
def test_known_where_the_host_admits(
    module: Module, converges: Module, admin: Any, clickhouse: Any, user: str, host: Options
) -> None:
    """One login tells."""
    if "CLICKHOUSE_URL" in os.environ and clickhouse.host not in ("localhost", "127.0.0.1"):
        pytest.skip("this machine is not the server's own")
    options = {"name": user, **method("sha256_password"), "host": host}
    converges("user", options)
    assert module("user", options)["password_state"] == "same"
    admin.query(f"ALTER USER {ident(user)} IDENTIFIED WITH sha256_password BY '{OTHER}'")
    assert converges("user", options)["password_state"] == "different"


def test_an_expired_user(module: Module, converges: Module, clickhouse: Any, user: str) -> None:
    """Nobody logs in as an expired user, so nothing is known until it is valid again."""
    options = {"name": user, **method("sha256_password")}
    converges("user", {**options, "valid_until": "2001-01-01 00:00:00"})
    assert not admitted(clickhouse, user, ODD)
    result = module("user", {"name": user, **method("sha256_password", OTHER)})
    assert (result["changed"], result["password_state"]) == (False, "unknown")
    assert "VALID UNTIL is over" in json.dumps(result["warnings"])
    assert converges("user", {**options, **method("double_sha1_password")})["password_state"] == "different"
    module("user", {"name": user, "valid_until": ""})
    assert admitted(clickhouse, user, ODD)


def test_only_a_hash(module: Module, converges: Module, clickhouse: Any, admin: Any, user: str) -> None:
    """A hash cannot be tried: the user gets it, and whether it is still there is unknown unless the server shows it."""
    salt = "F00D" * 16
    sha256 = {
        "type": "sha256_password",
        "password_hash": hashlib.sha256((ODD + salt).encode()).hexdigest(),
        "salt": salt,
    }
    converges("user", {"name": user, "authentication": [sha256]})
    assert admitted(clickhouse, user, ODD)
    result = module("user", {"name": user, "authentication": [sha256]})
    expected = "same" if result["password_state"] == "same" else "unknown"  # same where a real server shows secrets
    assert (result["changed"], result["password_state"]) == (False, expected)
    twice = hashlib.sha1(hashlib.sha1(OTHER.encode()).digest()).hexdigest()
    converges("user", {"name": user, "authentication": [{"type": "double_sha1_password", "password_hash": twice}]})
    assert admitted(clickhouse, user, OTHER) and not admitted(clickhouse, user, ODD)


def test_update_password(module: Module, converges: Module, clickhouse: Any, user: str) -> None:
    """`on_create` never looks at an existing user's password, `always` sets it each time, and says so."""
    converges("user", {"name": user, **method("sha256_password"), "update_password": "on_create"})
    other = {"name": user, **method("sha256_password", OTHER)}
    kept = converges("user", {**other, "update_password": "on_create"}, changed=False)
    assert kept["password_state"] == "unknown" or kept["password_state"] == "same"
    assert admitted(clickhouse, user, ODD)
    for _run in range(2):
        predicted = module("user", {**other, "update_password": "always"}, check=True)
        applied = module("user", {**other, "update_password": "always"})
        assert predicted["diff"] == applied["diff"] and applied["changed"]
        assert applied["statements"] == [
            f"ALTER USER {ident(user)} IDENTIFIED WITH sha256_hash BY '[HIDDEN]' SALT '[HIDDEN]'"
        ]
    assert admitted(clickhouse, user, OTHER)
    changed = {"name": user, **method("double_sha1_password"), "update_password": "on_create"}
    assert converges("user", changed)["changed"] and admitted(clickhouse, user, ODD)


def test_only_hashes_travel(module: Module, clickhouse: Any, types: list[str], user: str) -> None:
    """Every method but plaintext_password is hashed here: no statement carries the text."""
    if "CLICKHOUSE_URL" in os.environ:
        pytest.skip("statements are recorded on the way to a sandbox")
    texts = {}
    for kind in types:
        with clickhouse.faults() as way:
            options = {"name": user, **method(kind, "unheard of"), "update_password": "always"}
            module("user", options, login_secure=False, login_port=way.port, login_host="127.0.0.1", login_ca_cert=None)
            assert way.statements
            texts[kind] = [b"unheard of" in statement for statement in way.statements]
    assert [kind for kind, found in texts.items() if any(found)] == ["plaintext_password"]


# -- where the server shows secrets ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_server(clickhouse: Any) -> Iterator[Any]:
    """A server of the same version with `display_secrets_in_show_and_select`."""
    if "CLICKHOUSE_URL" in os.environ:
        pytest.skip("needs a sandbox that shows secrets")
    with start(clickhouse.version, display_secrets=True) as server:
        yield server


@pytest.fixture
def open_login(open_server: Any) -> Options:
    """How to log in there."""
    login = {"login_host": "127.0.0.1", "login_port": open_server.port, "login_secure": False, "login_ca_cert": None}
    open_server.session("default").query("DROP USER IF EXISTS shown")
    return login


@pytest.mark.parametrize("kind", TYPES)
def test_drift_where_secrets_are_shown(
    converges: Module, module: Module, open_server: Any, open_login: Options, kind: str
) -> None:
    """The stored hash is compared; no login is needed, so the user may be closed to this machine."""
    if kind == "scram_sha256_password" and open_server.version == "24.8":
        pytest.skip("24.8 has no scram_sha256_password")
    admin = open_server.session("default")
    options = {"name": "shown", **method(kind), "host": {"none": True}}
    converges("user", options, **open_login)
    same = module("user", options, **open_login)
    assert same["password_state"] == "same" and not same.get("warnings")
    admin.query("ALTER USER shown VALID UNTIL '2001-01-01'")
    assert module("user", options, **open_login)["password_state"] == "same"
    stolen = bcrypt.hashpw(OTHER.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode()
    other = f"bcrypt_hash BY '{stolen}'" if kind == "bcrypt_password" else f"{kind} BY '{OTHER}'"
    admin.query(f"ALTER USER shown IDENTIFIED WITH {other} VALID UNTIL 'infinity'")
    assert module("user", options, check=True, **open_login)["password_state"] == "different"
    assert converges("user", options, **open_login)["password_state"] == "different"
    shown = admin.query("SHOW CREATE USER shown", format_display_secrets_in_show_and_select="1")
    if kind in ("sha256_password", "scram_sha256_password"):
        assert "SALT" in shown
    assert (ODD in shown.replace("\\'", "'").replace("\\\\", "\\")) <= (kind == "plaintext_password")


def test_a_hash_where_secrets_are_shown(converges: Module, module: Module, open_login: Options) -> None:
    """Hash and salt are compared with what is stored, in any case of letters."""
    hashed = hashlib.sha256(b"secretsalty").hexdigest()
    for text in (hashed, hashed.upper()):
        wished = [{"type": "sha256_password", "password_hash": text, "salt": "salty"}]
        converges("user", {"name": "shown", "authentication": wished}, changed=text == hashed, **open_login)
    # the same password by its text is the same
    text = {"name": "shown", **method("sha256_password", "secret")}
    assert module("user", text, **open_login)["password_state"] == "same"
    other_salt = [{"type": "sha256_password", "password_hash": hashed, "salt": "other"}]
    assert module("user", {"name": "shown", "authentication": other_salt}, **open_login)["changed"]


def test_several_where_secrets_are_shown(
    converges: Module, module: Module, open_server: Any, open_login: Options
) -> None:
    """Each stored secret stands for one wished password, in any order."""
    if open_server.version == "24.8":
        pytest.skip("before 24.9 a user has one method")
    three = [
        {"type": "sha256_password", "password": ODD},
        {"type": "sha256_password", "password": OTHER},
        {"type": "double_sha1_password", "password": ODD},
    ]
    options = {"name": "shown", "authentication": three, "host": {"none": True}}
    converges("user", options, **open_login)
    assert not module("user", {**options, "authentication": [three[1], three[2], three[0]]}, **open_login)["changed"]
    assert converges("user", {**options, "authentication": [three[1], three[1], three[2]]}, **open_login)["changed"]


def test_a_manager_who_may_not_see_secrets(
    module: Module, converges: Module, open_server: Any, open_login: Options
) -> None:
    """Without displaySecretsInShowAndSelect the server hides them, and a login decides."""
    admin = open_server.session("default")
    admin.query("CREATE USER OR REPLACE manager IDENTIFIED WITH sha256_password BY 'manager of users'")
    admin.query("GRANT ALL ON *.* TO manager WITH GRANT OPTION")
    admin.query("REVOKE displaySecretsInShowAndSelect ON *.* FROM manager")
    login = {**open_login, "login_user": "manager", "login_password": "manager of users"}
    options = {"name": "shown", **method("sha256_password")}
    converges("user", options, **login)
    assert module("user", options, **login)["password_state"] == "same"
    admin.query(f"ALTER USER shown IDENTIFIED WITH sha256_password BY {literal(OTHER)} HOST NONE")
    unknown = module("user", options, **login)
    assert (unknown["changed"], unknown["password_state"]) == (False, "unknown")
    admin.query("DROP USER manager")
