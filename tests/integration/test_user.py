"""Users: every authentication method and option, what omitted and empty mean, names of any text, guards."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import (
    export_authentication,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, literal
from tests.integration.servers import administrator
from tests.sandbox.client import ServerSaid

Module = Callable[..., dict[str, Any]]
Options = dict[str, Any]


def _ssh_key(seed: int) -> Options:
    public = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).public_key()
    kind, key = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode().split()
    return {"type": kind, "key": key}


# Ansible masks secrets wherever they occur in a result, so they are no part of anything else here.
PASSWORD = "Tr0ub4dor&3"
SALT = b"0123456789abcdef"
METHODS: dict[str, Options] = {
    "no_password": {"type": "no_password"},
    "no_authentication": {"type": "no_authentication"},
    "plaintext": {"type": "plaintext_password", "password": PASSWORD},
    "sha256": {"type": "sha256_password", "password": PASSWORD},
    "sha256 hash": {"type": "sha256_password", "password_hash": hashlib.sha256(PASSWORD.encode()).hexdigest()},
    "sha256 hash and salt": {
        "type": "sha256_password",
        "password_hash": hashlib.sha256(PASSWORD.encode() + SALT).hexdigest(),
        "salt": SALT.decode(),
    },
    "double_sha1": {"type": "double_sha1_password", "password": PASSWORD},
    "double_sha1 hash": {
        "type": "double_sha1_password",
        "password_hash": hashlib.sha1(hashlib.sha1(PASSWORD.encode()).digest()).hexdigest(),
    },
    "bcrypt": {"type": "bcrypt_password", "password": PASSWORD},
    "bcrypt hash": {
        "type": "bcrypt_password",
        "password_hash": bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, prefix=b"2a")).decode(),
    },
    "scram_sha256": {"type": "scram_sha256_password", "password": PASSWORD},
    "scram_sha256 hash": {
        "type": "scram_sha256_password",
        "password_hash": hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, 4096).hex(),
        "salt": base64.b64encode(SALT).decode(),
    },
    "ldap": {"type": "ldap", "server": "directory 'one'"},
    "kerberos": {"type": "kerberos"},
    "kerberos of a realm": {"type": "kerberos", "realm": "EXAMPLE.COM"},
    "certificate names": {"type": "ssl_certificate", "common_names": ["a.example", "b 'c'"]},
    "certificate alternative names": {
        "type": "ssl_certificate",
        "subject_alt_names": ["DNS:a.example", "URI:spiffe://a/b"],
    },
    "ssh key": {"type": "ssh_key", "ssh_keys": [_ssh_key(1)]},
    "ssh keys": {"type": "ssh_key", "ssh_keys": sorted((_ssh_key(2), _ssh_key(3)), key=lambda key: key["key"])},
    "http": {"type": "http", "server": "auth"},
}
SINCE = {"scram_sha256_password": (25, 3), "no_authentication": (25, 8)}


def shown(method: Options) -> Options:
    """A method as the results have it."""
    document = {key: value for key, value in method.items() if key not in ("password", "password_hash", "salt")}
    if "password" in method or "password_hash" in method:
        document["password"] = "[HIDDEN]"
    return {**document, "scheme": "BASIC"} if method["type"] == "http" else document


@pytest.fixture(scope="module")
def known(clickhouse: Any, admin: Any, version: tuple[int, int]) -> frozenset[str]:
    """The methods that this server has: by its version, and some by how it was built."""
    found = {method["type"] for method in METHODS.values() if version >= SINCE.get(method["type"], (0, 0))}
    key = METHODS["ssh key"]["ssh_keys"][0]
    for method, clause in (
        ("bcrypt_password", f"bcrypt_hash BY '{METHODS['bcrypt hash']['password_hash']}'"),
        ("ssh_key", f"ssh_key BY KEY '{key['key']}' TYPE '{key['type']}'"),
    ):
        try:
            admin.query(f"CREATE USER OR REPLACE u_probe IDENTIFIED WITH {clause}")
            if method == "bcrypt_password":
                clickhouse.session("u_probe", PASSWORD).query("SELECT 1")
        except ServerSaid:
            found.remove(method)
        finally:
            admin.query("DROP USER IF EXISTS u_probe")
    return frozenset(found)


@pytest.fixture
def user(scratch: Any) -> str:
    """The name of a user that is not there yet."""
    return str(scratch.reserve("user", "u one"))


@pytest.mark.parametrize("name", METHODS)
def test_a_user_by_each_method(converges: Module, admin: Any, known: frozenset[str], user: str, name: str) -> None:
    """Made, read back as wished, unchanged by a second run, and the server says the same."""
    method = METHODS[name]
    if method["type"] not in known:
        pytest.skip(f"this ClickHouse has no {method['type']}")
    made = converges("user", {"name": user, "authentication": [method]})
    assert made["diff"]["before"] == {}
    stored = shown(method)
    assert made["entity"]["authentication"] == [
        {**stored, **({"password": "[HIDDEN] (new)"} if "password" in stored else {})}
    ]
    (create,) = admin.lines(f"SHOW CREATE USER {ident(user)}")
    assert f"IDENTIFIED WITH {method['type']}" in create or (
        method["type"] == "no_password" and "IDENTIFIED" not in create
    )


def test_from_each_method_to_the_next(module: Module, known: frozenset[str], user: str) -> None:
    """A changed method is always seen, in either direction, and never mixed with the former."""
    methods = [method for method in METHODS.values() if method["type"] in known]
    module("user", {"name": user, "authentication": [methods[-1]]})
    before = methods[-1]
    for method in methods:
        options = {"name": user, "authentication": [method], "update_password": "on_create"}
        changed = module("user", options)
        if shown(method) == shown(before):
            continue  # only the password differs, and on_create does not look at it
        assert changed["changed"], method
        assert changed["diff"]["before"]["authentication"] == [shown(before)]
        again = module("user", options)
        assert again["entity"]["authentication"] == [shown(method)] and not again["changed"], method
        before = method


def test_several_methods(converges: Module, module: Module, version: tuple[int, int], user: str) -> None:
    """Any of them lets the user in; each may have an expiry of its own."""
    if version < (24, 9):
        pytest.skip("before 24.9 a user has one method")
    methods = [METHODS[name] for name in ("plaintext", "sha256", "ldap", "certificate names", "kerberos of a realm")]
    made = converges("user", {"name": user, "authentication": methods})
    assert [m["type"] for m in made["entity"]["authentication"]] == [m["type"] for m in methods]
    fewer = converges("user", {"name": user, "authentication": methods[1:3]})
    assert [m["type"] for m in fewer["entity"]["authentication"]] == ["sha256_password", "ldap"]
    expiring = [methods[1], {**methods[2], "valid_until": "2041-01-01 00:00:00"}]
    own = converges("user", {"name": user, "authentication": expiring, "valid_until": "2042-01-01 00:00:00"})
    assert [m.get("valid_until") for m in own["entity"]["authentication"]] == [
        "2042-01-01 00:00:00",
        "2041-01-01 00:00:00",
    ]
    all_of_them = converges("user", {"name": user, "valid_until": "2043-01-01 00:00:00"})
    assert {m["valid_until"] for m in all_of_them["entity"]["authentication"]} == {"2043-01-01 00:00:00"}


BY_SQL = {
    "no_password": "no_password",
    "no_password that expires": "no_password VALID UNTIL '2040-01-01 00:00:00'",
    "no_authentication": "no_authentication",
    "plaintext": "plaintext_password BY 'it''s'",
    "sha256": "sha256_password BY 'x'",
    "sha256 that has expired": "sha256_password BY 'x' VALID UNTIL '1970-01-01 00:00:01'",
    "double_sha1": "double_sha1_password BY 'x'",
    "bcrypt": f"bcrypt_hash BY '{METHODS['bcrypt hash']['password_hash']}'",
    "scram_sha256": "scram_sha256_password BY 'x'",
    "ldap": "ldap SERVER 'directory \\'one\\''",
    "ldap without a server": "ldap SERVER ''",
    "kerberos": "kerberos VALID UNTIL '2040-01-01 00:00:00'",
    "kerberos of a realm": "kerberos REALM 'EXAMPLE.COM'",
    "kerberos of no realm": "kerberos REALM ''",
    "certificate names": "ssl_certificate CN 'b', 'a', 'a', ''",
    "certificate alternative names": "ssl_certificate SAN 'URI:x', 'DNS:x', 'IP:1.2.3.4', ''",
    "ssh key": "ssh_key BY KEY '{key}' TYPE '{type}'".format(**METHODS["ssh key"]["ssh_keys"][0]),
    "http": "http SERVER 'auth' VALID UNTIL '2040-01-01 00:00:00'",
    "http without a server": "http SERVER '' SCHEME 'Basic'",
}
ALSO_BY_SQL = {
    "several": "plaintext_password BY 'a' VALID UNTIL '2041-01-01 00:00:00', ldap SERVER 'a',"
    " plaintext_password BY 'b', sha256_password BY 'c' VALID UNTIL '2040-01-01 00:00:00'",
    "twice the same": "kerberos, kerberos, double_sha1_password BY 'a', double_sha1_password BY 'a'",
    "http beside others": "sha256_password BY 'a' VALID UNTIL '2041-01-01 00:00:00', http SERVER 'b', kerberos",
}
LONELY_BY_SQL = {"no_authentication beside another": "no_authentication, ldap SERVER 'a'"}
GRANTED_BY_SQL = {
    "limited": "sha256_password BY 'a' GRANTS (SELECT ON db.*)",
    "limited and not": "sha256_password BY 'a', sha256_password BY 'b' GRANTS (SELECT ON db.*), ldap SERVER 'a'",
    "limited http": "http SERVER 'a', sha256_password BY 'b' VALID UNTIL '2041-01-01 00:00:00' GRANTS (SELECT ON db.*)",
}


def test_what_is_exported_changes_nothing(
    module: Module, admin: Any, known: frozenset[str], version: tuple[int, int], user: str
) -> None:
    """Users made by SQL with every method: their methods given back, without secrets, are what is there."""
    clauses = {
        name: clause for name, clause in BY_SQL.items() if clause.split()[0].replace("_hash", "_password") in known
    }
    for since, more in (((24, 9), ALSO_BY_SQL), ((25, 8), LONELY_BY_SQL), ((26, 9), GRANTED_BY_SQL)):
        clauses |= more if version >= since else {}
    for name, clause in clauses.items():
        admin.query(f"DROP USER IF EXISTS {ident(user)}")
        admin.query(f"CREATE USER {ident(user)} IDENTIFIED WITH {clause}")
        create = admin.query(f"SHOW CREATE USER {ident(user)}")
        exported = export_authentication(module("user", {"name": user})["entity"]["authentication"])
        for policy in ("on_drift", "on_create", "always"):
            again = module("user", {"name": user, "authentication": exported, "update_password": policy})
            assert (again["changed"], again["password_state"]) == (False, "none"), name
            assert not again.get("warnings"), name
        assert admin.query(f"SHOW CREATE USER {ident(user)}") == create, name


def test_expiry_alone(converges: Module, module: Module, user: str) -> None:
    """An expiry comes, moves and goes without touching the method, and the method's change leaves it alone."""
    method = METHODS["sha256"]
    converges("user", {"name": user, "authentication": [method]})
    for text in ("2040-01-02 03:04:05", "2041-01-02 03:04:05"):
        moved = converges("user", {"name": user, "valid_until": text})
        assert moved["entity"]["authentication"] == [{**shown(method), "valid_until": text}]
        assert moved["statements"] == [f"ALTER USER {ident(user)} VALID UNTIL '{text}'"]
    assert not module("user", {"name": user, "authentication": [method]})["changed"]
    assert not module("user", {"name": user, "authentication": [method], "valid_until": "2041-01-02 03:04:05"})[
        "changed"
    ]
    other = converges("user", {"name": user, "authentication": [METHODS["ldap"]]})
    assert other["entity"]["authentication"] == [{**shown(METHODS["ldap"]), "valid_until": "2041-01-02 03:04:05"}]
    gone = converges("user", {"name": user, "valid_until": ""})
    assert gone["entity"]["authentication"] == [shown(METHODS["ldap"])]


FULL: Options = {
    "authentication": [{"type": "ldap", "server": "one"}],
    "valid_until": "2040-01-01 00:00:00",
    "host": {"local": True, "ip": ["10.0.0.0/8"]},
    "default_database": "otel",
    "roles": [{"name": "u first", "admin_option": True}, {"name": "u second"}],
    "default_roles": {"names": ["u first"]},
    "grantees": {"names": ["u first"]},
    "settings": [{"name": "max_threads", "value": 4, "min": 1, "max": 8, "writability": "writable"}],
    "profiles": ["u base"],
}
EMPTY: dict[str, tuple[Any, Any]] = {
    "host": ({}, {"none": True}),
    "default_database": ("", ""),
    "default_roles": ({}, {"none": True}),
    "grantees": ({}, {"none": True}),
    "settings": ([], []),
    "profiles": ([], []),
    "roles": ([], []),
}


@pytest.fixture
def world(scratch: Any) -> None:
    """What FULL relies on."""
    for role in ("u first", "u second", "u third"):
        scratch.make("role", role)
    scratch.make("settings_profile", "u base")


def test_omitted_leaves_alone_and_empty_clears(module: Module, converges: Module, world: None, user: str) -> None:
    """Each option by itself: nothing else moves."""
    full = converges("user", {"name": user, **FULL})["entity"]
    assert full["settings"] == [
        {"name": "max_threads", "value": "4", "min": "1", "max": "8", "writability": "writable"}
    ]
    bare = module("user", {"name": user})
    assert not bare["changed"] and bare["entity"] == full
    for option in FULL:
        assert not module("user", {"name": user, option: FULL[option]})["changed"], option
    for option, (empty, cleared) in EMPTY.items():
        result = converges("user", {"name": user, option: empty}, changed=full[option] != cleared)
        full = {**full, option: cleared}
        assert result["entity"] == full, option
    assert "empty list" in _refusal(module, {"name": user, "authentication": []})


def _refusal(module: Module, options: Options, **login: Any) -> str:
    with pytest.raises(Exception, match="Nothing was changed") as refused:
        module("user", options, **login)
    return str(refused.value)


def test_a_new_user_is_what_clickhouse_would_make(converges: Module, user: str) -> None:
    """Only a name: no password, from anywhere, all roles as default, any grantee."""
    assert converges("user", {"name": user})["entity"] == {
        "authentication": [{"type": "no_password"}],
        "host": {"any": True},
        "default_database": "",
        "roles": [],
        "default_roles": {"all": True},
        "grantees": {"any": True},
        "settings": [],
        "profiles": [],
    }


def test_roles_and_default_roles(converges: Module, module: Module, admin: Any, world: None, user: str) -> None:
    """Roles come, change their admin option and go; default roles follow."""
    first, second, third = ({"name": f"u {word}"} for word in ("first", "second", "third"))
    converges("user", {"name": user, "roles": [first, second], "default_roles": {"all": True, "except": ["u second"]}})
    optioned = converges("user", {"name": user, "roles": [{**first, "admin_option": True}, third]})
    assert optioned["entity"]["roles"] == [
        {"name": "u first", "admin_option": True},
        {"name": "u third", "admin_option": False},
    ]
    assert [line.split()[0] for line in optioned["statements"]] == ["GRANT", "GRANT", "REVOKE"]
    plain = converges(
        "user", {"name": user, "roles": [first, third], "default_roles": {"names": ["u third", "u first"]}}
    )
    assert plain["entity"]["roles"][0] == {"name": "u first", "admin_option": False}
    fewer = converges("user", {"name": user, "roles": [first]})
    assert fewer["entity"]["default_roles"] == {"names": ["u first"]}
    assert admin.rows(
        f"SELECT granted_role_name, granted_role_is_default FROM system.role_grants WHERE user_name = {literal(user)}"
    ) == [["u first", "1"]]
    assert "default_roles" in _refusal(module, {"name": user, "default_roles": {"names": ["u second"]}})


def test_settings_on_a_user(converges: Module, admin: Any, version: tuple[int, int], user: str) -> None:
    """Every constraint, each changeable by itself."""
    setting: Options = {"name": "max_memory_usage"}
    for part in (
        {"value": "10Mi"},
        {"min": "1Mi"},
        {"max": "1Gi"},
        {"writability": "const"},
        {"writability": "changeable_in_readonly"},
        {"writability": "writable"},
        {"writability": ""},
        {"value": ""},
        {"min": ""},
    ):
        setting = {key: value for key, value in {**setting, **part}.items() if value}
        converges("user", {"name": user, "settings": [setting]})
    assert admin.rows(
        "SELECT setting_name, value, min, max, writability FROM system.settings_profile_elements"
        f" WHERE user_name = {literal(user)}"
    ) == [["max_memory_usage", "\\N", "\\N", "1073741824", "\\N"]]


# -- names and values of any text -----------------------------------------------------------------------------------

HOSTILE = {
    "quote": "it's",
    "quotes": "''\"\"``",
    "backslash": "back\\slash\\",
    "escape": "\\'; DROP USER default; --",
    "injection": "x` IDENTIFIED WITH no_password; --",
    "comment": "a /* b */ -- c",
    "percent": "100%s %(x)d %%",
    "braces": "{{ x }} {a:String}",
    "newline": "a\nb\r\tc",
    "NUL": "nul\0nul",
    "emoji": "🙂 ünïcödé 你好",
    "blank": " ",
    "at": "user@::1",
    "keyword": "none",
    "long": "x" * 10_000,
    "long and odd": "'`\\%" * 2_500,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_is_a_name(module: Module, converges: Module, scratch: Any, admin: Any, text: str) -> None:
    """As name of user, role and profile, as host, password, database and setting: kept to the letter."""
    for kind in ("user", "role", "settings_profile"):
        scratch.reserve(kind, text)
    setting = {"name": "log_comment", "value": text}
    module("settings_profile", {"name": text, "settings": [setting]})
    module("role", {"name": text, "profiles": [text]})
    wished = {
        "host": {"local": True, "name": [text], "like": [text]},
        "default_database": text,
        "roles": [{"name": text, "admin_option": False}],
        "default_roles": {"names": [text]},
        "grantees": {"any": True, "except": [text]},
        "settings": [setting],
        "profiles": [text],
    }
    password = {"authentication": [{"type": "sha256_password", "password": f"<{text}>"}]}
    entity = converges("user", {"name": text, **password, **wished})["entity"]
    assert {key: entity[key] for key in wished} == wished
    where = f"name = {literal(text)}"
    assert (
        admin.query(f"SELECT count() FROM system.users WHERE {where} AND default_database = {literal(text)}") == "1\n"
    )
    options = {"grantee": text, "privileges": [{"privilege": ["SELECT"], "scope": [f"{ident(text)}.*"]}]}
    assert module("grant", options)["changed"] and not module("grant", options)["changed"]
    assert module("user", {"name": text, "host": {"regexp": [text]}})["entity"]["host"] == {"regexp": [text]}
    assert not module("user", {"name": text, "host": {"regexp": [text]}})["changed"]
    for kind in ("user", "role", "settings_profile"):
        module(kind, {"name": text, "state": "absent"})
        assert admin.query(f"SELECT count() FROM system.{kind}s WHERE {where}") == "0\n"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": ""}, "name"),
        ({"host": {"name": [""]}}, "host.name[0]"),
        ({"roles": [{"name": ""}]}, "roles[0].name"),
        ({"settings": [{"name": ""}]}, "settings[0].name"),
        ({"settings": [{"name": "max_threads"}]}, "settings[0]"),
        ({"profiles": [""]}, "profiles[0]"),
        ({"storage": ""}, "storage"),
        ({"cluster": ""}, "cluster"),
        ({"valid_until": "soon"}, "valid_until"),
        ({"authentication": [{"type": "ldap"}]}, "authentication[0].server"),
        ({"authentication": [{"type": "ldap", "server": ""}]}, "authentication[0].server"),
        ({"authentication": [{"type": "sha256_password"}]}, "authentication[0].password"),
        ({"authentication": [{"type": "sha256_password", "password_hash": "12"}]}, "authentication[0].password_hash"),
        (
            {"authentication": [{"type": "plaintext_password", "password_hash": "12"}]},
            "authentication[0].password_hash",
        ),
        ({"authentication": [{"type": "bcrypt_password", "password": "p" * 73}]}, "authentication[0].password"),
        ({"authentication": [{"type": "no_password", "password": PASSWORD}]}, "authentication[0].password"),
        ({"authentication": [{"type": "ssl_certificate"}]}, "authentication[0]"),
        (
            {"authentication": [{"type": "ssl_certificate", "subject_alt_names": ["a"]}]},
            "authentication[0].subject_alt_names",
        ),
        (
            {"authentication": [{"type": "ssh_key", "ssh_keys": [{"key": "ssh-rsa AAA", "type": "ssh-rsa"}]}]},
            "authentication[0].ssh_keys",
        ),
        ({"host": {"none": True, "local": True}}, "host"),
        ({"default_roles": {"all": True, "names": ["a"]}}, "default_roles"),
        ({"default_roles": {"except": ["a"]}}, "default_roles"),
        ({"grantees": {"none": True, "names": ["a"]}}, "grantees"),
        ({"default_roles": {"names": ["a"]}, "roles": []}, "default_roles.names"),
        ({"roles": [{"name": "a"}, {"name": "a"}]}, "roles[1].name"),
    ],
)
def test_refused_by_option(failed: Module, admin: Any, user: str, options: Options, option: str) -> None:
    """What cannot work is an error that names the option, shows no secret, and changes nothing."""
    result = failed("user", {"name": user, **options})
    assert result["option"].startswith(option), result
    assert result["msg"].endswith("Nothing was changed.")
    assert admin.query(f"SELECT count() FROM system.users WHERE name = {literal(user)}") == "0\n"


# -- what a user relies on ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"roles": [{"name": "u missing"}]}, "roles"),
        ({"profiles": ["u missing"]}, "profiles"),
        ({"grantees": {"names": ["u missing"]}}, "grantees.names"),
        ({"grantees": {"any": True, "except": ["u missing"]}}, "grantees.except"),
        (
            {"roles": [{"name": "u missing"}], "default_roles": {"all": True, "except": ["u missing"]}},
            "roles",
        ),
    ],
)
def test_missing_names(failed: Module, module: Module, admin: Any, user: str, options: Options, option: str) -> None:
    """Refused before anything is changed; in check mode an earlier task may only pretend to make them."""
    result = failed("user", {"name": user, **options})
    assert result["option"] == option and "u missing does not exist" in result["msg"]
    assert admin.query(f"SELECT count() FROM system.users WHERE name = {literal(user)}") == "0\n"
    predicted = module("user", {"name": user, **options}, check=True)
    assert predicted["changed"] and "u missing does not exist" in json.dumps(predicted["warnings"])


# -- where users live -----------------------------------------------------------------------------------------------


def test_users_of_the_configuration(module: Module, failed: Module, admin: Any) -> None:
    """A user in users.xml is reported as it is, and not touched."""
    rows = admin.lines("SELECT name FROM system.users WHERE storage = 'users_xml' OR storage = 'users.xml' LIMIT 1")
    if not rows:
        pytest.skip("no user in users.xml here")
    assert module("user", {"name": rows[0]})["changed"] is False
    for options in ({"default_database": "other"}, {"state": "absent"}, {"storage": "local_directory"}):
        result = failed("user", {"name": rows[0], **options})
        assert result["option"] == "name" and "users.xml" in result["msg"]
        assert "Nothing was changed" in result["msg"]
        assert failed("user", {"name": rows[0], **options}, check=True)["msg"] == result["msg"]


def test_storage(converges: Module, module: Module, failed: Module, admin: Any, user: str) -> None:
    """A user is made where it is wanted, moved from elsewhere, and dropped only from there."""
    (home,) = admin.lines(
        "SELECT name FROM system.user_directories WHERE type IN ('local_directory', 'replicated') LIMIT 1"
    )
    made = converges("user", {"name": user, "storage": home})
    assert f"IN `{home}`" in made["statements"][0]
    moved = module("user", {"name": user, "storage": "elsewhere"}, check=True)
    assert moved["statements"] == [f"MOVE USER {ident(user)} TO `elsewhere`"]
    assert (moved["diff"]["before"]["storage"], moved["diff"]["after"]["storage"]) == (home, "elsewhere")
    refused = failed("user", {"name": user, "storage": "elsewhere"})
    assert refused["error_name"] == "ACCESS_ENTITY_NOT_FOUND" or refused.get("code") == 492, refused
    assert refused["failed_statement"] == moved["statements"][0] and refused["done"] == []
    assert not module("user", {"name": user, "state": "absent", "storage": "elsewhere"})["changed"]
    gone = converges("user", {"name": user, "state": "absent", "storage": home})
    assert gone["statements"] == [f"DROP USER {ident(user)} FROM `{home}`"]


def test_on_cluster(module: Module, failed: Module, admin: Any, world: None, user: str) -> None:
    """Every statement of every kind carries ON CLUSTER, and the server takes it as its own grammar has it."""
    clusters = admin.lines("SELECT DISTINCT cluster FROM system.clusters")
    if not clusters:
        pytest.skip("this server has no cluster")
    clause = f"ON CLUSTER {ident(clusters[0])}"
    options: Options = {"cluster": clusters[0], "name": user}
    made = module("user", {**options, **FULL}, check=True)
    assert len(made["statements"]) == 4 and all(clause in line for line in made["statements"])
    others = {
        "role": {"name": "u new", "roles": FULL["roles"], "profiles": FULL["profiles"]},
        "settings_profile": {"name": "u new", "apply_to": {"all": True}},
        "grant": {
            "grantee": "u first",
            "privileges": [{"privilege": ["SELECT"], "scope": ["*.*"], "grant_option": True}],
            "partial_revokes": [{"privilege": ["SELECT"], "scope": ["system.*"]}],
            "roles": [{"name": "u third"}],
        },
        "database": {"name": "u new"},
    }
    for kind, wished in others.items():
        statements = module(kind, {"cluster": clusters[0], **wished}, check=True)["statements"]
        assert statements and all(clause in line for line in statements), statements
    try:
        admin.query(f"DROP ROLE IF EXISTS u_probe {clause}")
    except ServerSaid as without_keeper:
        # ON CLUSTER goes through Keeper; without one the server says so, and so does the module
        refused = failed("user", {**options, **FULL})
        assert refused["code"] == without_keeper.code and refused["failed_statement"] == made["statements"][0]
        assert refused["done"] == [] and refused["pending"] == made["statements"][1:]
        return
    assert module("user", {**options, **FULL})["statements"] == made["statements"]
    assert not module("user", {**options, **FULL})["changed"]
    assert module("user", {**options, "state": "absent"})["statements"] == [f"DROP USER {ident(user)} {clause}"]


def test_nobody_locks_himself_out(module: Module, failed: Module, clickhouse: Any, scratch: Any, admin: Any) -> None:
    """The user of the connection is not dropped, unless that is said."""
    myself = scratch.reserve("user", "u myself")
    login = administrator(clickhouse, myself, "GRANT ALL ON *.* TO {} WITH GRANT OPTION")
    for check in (True, False):
        refused = failed("user", {"name": myself, "state": "absent"}, check=check, **login)
        assert refused["option"] == "state" and "allow_lockout" in refused["msg"]
    assert module("user", {"name": myself}, **login)["changed"] is False
    gone = module("user", {"name": myself, "state": "absent", "allow_lockout": True}, **login)
    assert gone["changed"] and admin.query(f"SELECT count() FROM system.users WHERE name = {literal(myself)}") == "0\n"
