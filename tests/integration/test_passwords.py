"""Passwords: set as hashes, found to differ where anything can tell, said to be unknown where nothing can."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.connection import Login, Session
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal
from tests.integration.servers import tls_relay
from tests.sandbox import start
from tests.sandbox.certificates import Authority
from tests.sandbox.client import ServerSaid
from tests.sandbox.faults import Fault

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


# -- secrets that are kept ------------------------------------------------------------------------------------------


def kept(*kinds: str) -> list[Options]:
    """The option `authentication` with methods that keep their secrets."""
    return [{"type": kind} for kind in kinds]


def test_a_stored_password_is_kept(
    module: Module, converges: Module, failed: Module, clickhouse: Any, user: str
) -> None:
    """A method without a secret changes nothing of it, whatever else changes; where none is stored, it is refused."""
    for check in (True, False):
        refused = failed("user", {"name": user, "authentication": kept("sha256_password")}, check=check)
        assert refused["option"] == "authentication[0].password" and "no stored sha256_password" in refused["msg"]
    converges("user", {"name": user, **method("sha256_password")})
    options = {"name": user, "authentication": kept("sha256_password")}
    for policy in ("on_drift", "on_create", "always"):
        result = module("user", {**options, "update_password": policy})
        assert (result["changed"], result["password_state"]) == (False, "none") and not result.get("warnings")
    expiring = converges("user", {**options, "host": {"local": True}, "valid_until": "2040-01-01 00:00:00"})
    assert expiring["statements"] == [f"ALTER USER {ident(user)} VALID UNTIL '2040-01-01 00:00:00' HOST LOCAL"]
    converges("user", {"name": user, "authentication": [{"type": "sha256_password", "valid_until": ""}]})
    assert admitted(clickhouse, user, ODD)
    other = failed("user", {"name": user, "authentication": kept("double_sha1_password")})
    assert other["option"] == "authentication[0].password" and "no stored double_sha1_password" in other["msg"]
    assert admitted(clickhouse, user, ODD)


def test_methods_are_added_beside_a_kept_one(
    module: Module, converges: Module, failed: Module, clickhouse: Any, version: tuple[int, int], user: str
) -> None:
    """What is new is appended; what would need the kept secret is refused and says what to give."""
    if version < (24, 9):
        pytest.skip("before 24.9 a user has one method")
    converges("user", {"name": user, **method("sha256_password")})
    second = method("double_sha1_password", OTHER)["authentication"]
    added = converges("user", {"name": user, "authentication": second + kept("sha256_password")})
    assert added["statements"] == [f"ALTER USER {ident(user)} ADD IDENTIFIED WITH double_sha1_hash BY '[HIDDEN]'"]
    assert added["password_state"] == "different"
    assert [entry["type"] for entry in added["entity"]["authentication"]] == ["sha256_password", "double_sha1_password"]
    assert admitted(clickhouse, user, ODD) and admitted(clickhouse, user, OTHER)
    both = {"name": user, "authentication": kept("sha256_password") + second}
    assert module("user", both)["password_state"] == "same"
    third = method("sha256_password", "a third")["authentication"]
    three = [*kept("sha256_password"), *second, *third, {"type": "ldap", "server": "l", "valid_until": "2041-01-01"}]
    more = converges("user", {"name": user, "authentication": three, "host": {"local": True}})
    assert more["statements"] == [
        f"ALTER USER {ident(user)} ADD IDENTIFIED WITH sha256_hash BY '[HIDDEN]' SALT '[HIDDEN]',"
        " ldap SERVER 'l' VALID UNTIL '2041-01-01 00:00:00' HOST LOCAL"
    ]
    assert all(admitted(clickhouse, user, word) for word in (ODD, OTHER, "a third"))
    all_of_them = [*kept("sha256_password", "sha256_password"), *second, {"type": "ldap", "server": "l"}]
    for wish, words in (
        (all_of_them[:-1], "a method would go"),
        ([*kept("sha256_password", "sha256_password"), *method("double_sha1_password")["authentication"]], "would go"),
        ([three[0], {**three[1], "password": "a fourth"}, *three[2:]], "another password is to be set"),
        ([{**three[0], "valid_until": "2040-01-01"}, *three[1:]], "cannot be set apart"),
    ):
        for check in (True, False):
            refused = failed("user", {"name": user, "authentication": wish}, check=check)
            assert refused["option"] == "authentication" and words in refused["msg"], refused
            assert "password or password_hash for every one" in refused["msg"]
    always = {"name": user, "authentication": three, "update_password": "always"}
    assert "another password is to be set" in failed("user", always)["msg"]
    ends = {"name": user, "authentication": [*all_of_them, {"type": "kerberos"}], "valid_until": "2043-01-01 00:00:00"}
    assert converges("user", ends)["statements"] == [
        f"ALTER USER {ident(user)} VALID UNTIL '2043-01-01 00:00:00'"
        " ADD IDENTIFIED WITH kerberos VALID UNTIL '2043-01-01 00:00:00'"
    ]
    assert all(admitted(clickhouse, user, word) for word in (ODD, OTHER, "a third"))


def test_methods_with_grants_stay(
    module: Module, converges: Module, failed: Module, admin: Any, version: tuple[int, int], user: str
) -> None:
    """What a method is limited to is left alone with it; a change that would take it off is refused."""
    if version < (26, 9):
        pytest.skip("GRANTS (...) came after 25.8")
    limited = "sha256_password BY 'x' GRANTS (SELECT ON db.*)"
    admin.query(f"CREATE USER {ident(user)} IDENTIFIED WITH {limited}, double_sha1_password BY 'y'")
    both = kept("sha256_password", "double_sha1_password")
    given = [{**both[0], "password": "x"}, {**both[1], "password": "y"}]
    for wish in (both, both[::-1], given, given[::-1]):
        assert not module("user", {"name": user, "authentication": wish})["changed"]
    converges("user", {"name": user, "authentication": [*both, {"type": "kerberos"}]})
    converges("user", {"name": user, "authentication": [*given, {"type": "kerberos"}], "valid_until": "2040-01-01"})
    assert "GRANTS (SELECT ON db.*)" in admin.query(f"SHOW CREATE USER {ident(user)}")
    for wish in (given, [given[0]], [{**given[0], "password": "z"}, given[1], {"type": "kerberos"}]):
        refused = failed("user", {"name": user, "authentication": wish})
        assert refused["option"] == "authentication" and "carries GRANTS" in refused["msg"]


# -- login attempts -------------------------------------------------------------------------------------------------


def test_a_login_attempt_is_one_request(clickhouse: Any, admin: Any, user: str) -> None:
    """Over the connection that is there; wrong and right ones tell, and a third thing tells nothing."""
    admin.query(f"CREATE USER {ident(user)} IDENTIFIED WITH sha256_password BY {literal(ODD)}")
    with clickhouse.faults() as way:
        session = Session(Login("127.0.0.1", way.port, secure=False))
        before = len(way.statements)
        assert [session.admits(user, password) for password in (ODD, OTHER, "", ODD)] == [True, False, False, True]
        assert session.admits("nobody has this name", ODD) is False
        assert session.admits("a:b", ODD) is None
        assert way.statements[before:] == [b"SELECT 1"] * 5
        # an answer that is lost once is asked for again
        way.faults += [Fault(len(way.statements) + later, "drop_before", changes=False) for later in (1, 3, 4)]
        assert [session.admits(user, ODD) for _attempt in range(3)] == [True, None, True]
        session.close()


def test_a_login_attempt_uses_the_same_tls(clickhouse: Any, admin: Any, tmp_path: Path, user: str) -> None:
    """The same authority, name and client certificate; the certificate never stands for the password."""
    if "CLICKHOUSE_URL" in os.environ:
        pytest.skip("needs an authority of our own")
    admin.query(f"CREATE USER {ident(user)} IDENTIFIED WITH ssl_certificate CN 'pw certified'")
    certificate, key = map(str, clickhouse.authority.issue("pw certified"))
    ours = {"ca_cert": clickhouse.ca, "client_cert": certificate, "client_key": key}
    session = Session(Login("localhost", clickhouse.https_port, user=user, **ours))
    assert [session.admits(user, password) for password in ("", ODD)] == [False, False]
    admin.query(f"ALTER USER {ident(user)} IDENTIFIED WITH sha256_password BY {literal(ODD)}")
    assert [session.admits(user, password) for password in ("", ODD, OTHER)] == [False, True, False]
    session.close()
    authority = Authority(tmp_path)
    internal = authority.issue("clickhouse.internal", ("clickhouse.internal",), server=True)
    with tls_relay(clickhouse.port, internal) as port:
        login = Login("localhost", port, ca_cert=str(authority.ca), server_host_name="clickhouse.internal")
        session = Session(login)
        assert [session.admits(user, password) for password in (ODD, OTHER)] == [True, False]
        session.close()


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


def test_a_kept_secret_where_secrets_are_shown(
    converges: Module, module: Module, failed: Module, open_server: Any, open_login: Options
) -> None:
    """Passwords beside it are compared with the stored hashes; one that differs is refused, not written."""
    if open_server.version == "24.8":
        pytest.skip("before 24.9 a user has one method")
    given = method("sha256_password", OTHER)["authentication"]
    both = [*method("sha256_password")["authentication"], *given]
    converges("user", {"name": "shown", "authentication": both, "host": {"none": True}}, **open_login)
    result = module("user", {"name": "shown", "authentication": [*kept("sha256_password"), *given]}, **open_login)
    assert (result["changed"], result["password_state"]) == (False, "same")
    third = [*kept("sha256_password"), *method("sha256_password", "a third")["authentication"]]
    assert "another password" in failed("user", {"name": "shown", "authentication": third}, **open_login)["msg"]
    assert not module("user", {"name": "shown", "authentication": kept("sha256_password") * 2}, **open_login)["changed"]
