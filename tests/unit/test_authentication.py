"""Authentication methods: what may be wished, how secrets are hashed and compared, and how SHOW CREATE USER is read."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import re
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.authentication import (
    METHODS,
    Credential,
    ShownSecret,
    check_kept,
    check_new,
    digest,
    export_authentication,
    kept,
    method_clause,
    paired,
    row_methods,
    shown_methods,
    wished,
    without_secrets_and_expiry,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entities import user
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.entity import Wish
from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import HIDDEN, WishError, statement

SHA256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
SHA1 = "8DCDD69CE7D121DE8013062AEAEB2A148910D50E"
BCRYPT = "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"
NASTY = "p'w\\`\"%s\n\0é😀"


def password(**entry: Any) -> dict[str, Any]:
    return {"type": "sha256_password", **entry}


# -- what may be wished


@pytest.mark.parametrize(
    ("entry", "document"),
    [
        ({"type": "no_password"}, {"type": "no_password"}),
        ({"type": "no_authentication"}, {"type": "no_authentication"}),
        (password(password="x"), {"type": "sha256_password", "password": HIDDEN}),
        (password(password_hash=SHA256.lower()), {"type": "sha256_password", "password": HIDDEN}),
        (password(password_hash=SHA256, salt="S"), {"type": "sha256_password", "password": HIDDEN}),
        ({"type": "plaintext_password", "password": ""}, {"type": "plaintext_password", "password": HIDDEN}),
        ({"type": "double_sha1_password", "password_hash": SHA1}, {"type": "double_sha1_password", "password": HIDDEN}),
        ({"type": "bcrypt_password", "password_hash": BCRYPT}, {"type": "bcrypt_password", "password": HIDDEN}),
        (
            {"type": "scram_sha256_password", "password_hash": SHA256, "salt": "W22ZaJ0SNY7soEsUEjb6gQ=="},
            {"type": "scram_sha256_password", "password": HIDDEN},
        ),
        ({"type": "ldap", "server": "l1"}, {"type": "ldap", "server": "l1"}),
        ({"type": "kerberos"}, {"type": "kerberos"}),
        ({"type": "kerberos", "realm": ""}, {"type": "kerberos"}),
        ({"type": "kerberos", "realm": "EX.COM"}, {"type": "kerberos", "realm": "EX.COM"}),
        ({"type": "http", "server": "b"}, {"type": "http", "server": "b", "scheme": "BASIC"}),
        ({"type": "http", "server": "b", "scheme": "basic"}, {"type": "http", "server": "b", "scheme": "BASIC"}),
        (
            {"type": "ssl_certificate", "common_names": ["b", "a", "b"]},
            {"type": "ssl_certificate", "common_names": ["a", "b"]},
        ),
        (
            {"type": "ssl_certificate", "subject_alt_names": ["URI:spiffe://x", "DNS:x"]},
            {"type": "ssl_certificate", "subject_alt_names": ["DNS:x", "URI:spiffe://x"]},
        ),
        (
            {"type": "ssh_key", "ssh_keys": [{"key": "BB+/", "type": "ssh-rsa"}, {"key": "AA==", "type": "ssh-dss"}]},
            {"type": "ssh_key", "ssh_keys": [{"key": "AA==", "type": "ssh-dss"}, {"key": "BB+/", "type": "ssh-rsa"}]},
        ),
    ],
)
def test_a_method_in_canonical_form(entry: dict[str, Any], document: dict[str, Any]) -> None:
    documents, credentials = wished("authentication", [entry], {}, None)
    assert documents == [document]
    assert len(credentials) == ("password" in document)


def test_every_method_of_26_9_but_jwt_can_be_wished() -> None:
    engine = "no_password plaintext_password sha256_password double_sha1_password ldap kerberos ssl_certificate"
    engine += " bcrypt_password ssh_key http scram_sha256_password no_authentication"
    assert set(METHODS) == set(engine.split())


def test_each_method_has_its_own_expiry_or_that_of_the_user() -> None:
    times = {"2040": "2040-01-01 00:00:00", "infinity": ""}
    methods = [
        password(password="a", valid_until="2040"),
        password(password="b"),
        password(password="c", valid_until="infinity"),
    ]
    documents, _unused = wished("authentication", methods, times, "2030-01-01 00:00:00")
    assert [document.get("valid_until") for document in documents] == [
        "2040-01-01 00:00:00",
        "2030-01-01 00:00:00",
        "",
    ]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([], "authentication: an empty list would leave the user without authentication"),
        ([password(password="a", password_hash=SHA256)], "authentication[0]: sha256_password takes either"),
        ([password(salt="s")], "authentication[0].salt: goes with password_hash"),
        ([password(password="a", salt="s")], "authentication[0].salt: goes with password_hash"),
        ([password(password_hash="12")], "authentication[0].password_hash: is not a hash of sha256_password"),
        ([password(password_hash=SHA256 + "0")], "authentication[0].password_hash: is not a hash"),
        ([password(password="a", server="s")], "authentication[0].server: type sha256_password does not take it"),
        ([{"type": "ldap"}], "authentication[0].server: type ldap needs it"),
        ([{"type": "ldap", "server": "l", "password": "p"}], "authentication[0].password: type ldap does not take it"),
        ([{"type": "http", "server": "h", "realm": "r"}], "authentication[0].realm: type http does not take it"),
        ([{"type": "http", "server": "h", "scheme": "\ud800"}], "authentication[0].scheme: character 0"),
        ([{"type": "kerberos", "realm": "\ud800"}], "authentication[0].realm: character 0"),
        ([{"type": "ssl_certificate"}], "authentication[0]: ssl_certificate needs either"),
        (
            [{"type": "ssl_certificate", "common_names": ["a"], "subject_alt_names": ["DNS:a"]}],
            "authentication[0]: ssl_certificate needs either",
        ),
        ([{"type": "ssh_key", "ssh_keys": []}], "authentication[0].ssh_keys: type ssh_key needs it"),
        (
            [{"type": "ssh_key", "ssh_keys": [{"key": "AAAA", "type": "\ud800"}]}],
            "authentication[0].ssh_keys[0].type: character 0",
        ),
        ([{"type": "double_sha1_password", "password_hash": SHA256}], "is not a hash of double_sha1_password"),
        ([{"type": "double_sha1_password", "password_hash": SHA1, "salt": "s"}], "salt: double_sha1_password takes no"),
        ([{"type": "plaintext_password", "password_hash": "x"}], "plaintext_password has no hash form"),
        ([{"type": "bcrypt_password", "password": "x" * 73}], "authentication[0].password: bcrypt takes at most 72"),
        ([{"type": "bcrypt_password", "password": "é" * 37}], "authentication[0].password: bcrypt takes at most 72"),
        ([{"type": "bcrypt_password", "password": "a\0b"}], "authentication[0].password: bcrypt cannot take a NUL"),
        ([{"type": "bcrypt_password", "password_hash": BCRYPT[:-1]}], "is not a hash of bcrypt_password"),
        (
            [{"type": "scram_sha256_password", "password_hash": SHA256}],
            "a hash of scram_sha256_password needs its salt",
        ),
        ([{"type": "scram_sha256_password", "password_hash": SHA256, "salt": "*"}], "must be base64"),
        ([{"type": "no_password"}, password(password="a")], "authentication: no_password cannot stand beside"),
    ],
)
def test_a_method_that_cannot_be(methods: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(WishError, match=re.escape(message)):
        wished("authentication", methods, {}, None)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"type": "ldap", "server": ""}, "authentication[1].server: type ldap needs it"),
        ({"type": "http", "server": ""}, "authentication[1].server: type http needs it"),
        ({"type": "ssl_certificate", "subject_alt_names": ["x.com"]}, "'x.com' must begin with DNS: or URI:"),
        ({"type": "ssl_certificate", "subject_alt_names": ["DNS:"]}, "'DNS:' must begin with DNS: or URI:"),
        ({"type": "ssl_certificate", "common_names": ["a", ""]}, "authentication[1].common_names: a name cannot be"),
        (
            {"type": "ssh_key", "ssh_keys": [{"key": "ssh-rsa AAAA me@x", "type": "ssh-rsa"}]},
            "authentication[1].ssh_keys: give the base64 part",
        ),
    ],
)
def test_what_the_server_stores_but_nobody_can_use_is_refused_unless_it_is_there(
    method: dict[str, Any], message: str
) -> None:
    ldap = {"type": "ldap", "server": "l1"}
    documents, _unused = wished("authentication", [ldap, method], {}, None)
    for before in ([], [ldap], [{"type": "no_password"}]):
        with pytest.raises(WishError, match=re.escape(message)):
            check_new("authentication", before, documents)
    check_new("authentication", documents[::-1], documents)
    check_new("authentication", documents, documents[1:])


@pytest.mark.parametrize(
    "entry",
    [
        password(password="hunter2\ud800"),
        password(password="hunter2", salt="hunter2"),
        password(password_hash="hunter2"),
        password(password_hash=SHA256, salt="hunter2\ud800"),
        {"type": "plaintext_password", "password": "hunter2", "password_hash": "hunter2"},
        {"type": "bcrypt_password", "password": "hunter2\0"},
        {"type": "ldap", "server": "l", "password": "hunter2"},
    ],
)
def test_no_error_shows_a_secret(entry: dict[str, Any]) -> None:
    with pytest.raises(WishError) as caught:
        wished("authentication", [entry], {}, None)
    assert "hunter2" not in str(caught.value)


# -- secrets that are kept


def kept_of(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "password": HIDDEN, **more}


def test_a_password_method_without_a_secret_keeps_the_stored_one() -> None:
    documents, credentials = wished(
        "authentication", [password(), {"type": "kerberos"}, password(password="")], {}, None
    )
    assert documents == [kept_of("sha256_password"), {"type": "kerberos"}, kept_of("sha256_password")]
    assert [credential.kept for credential in credentials] == [True, False]
    assert kept(documents, credentials) == {0}
    with pytest.raises(WishError, match="for every one"):
        credentials[0].clause()


@pytest.mark.parametrize(
    ("before", "methods", "keeping", "message"),
    [
        ([], ["sha256_password"], {0}, "authentication[0].password: there is no stored sha256_password to keep"),
        (["no_password"], ["plaintext_password"], {0}, "authentication[0].password: there is no stored plaintext_pass"),
        (["bcrypt_password"], ["sha256_password"], {0}, "authentication[0].password: there is no stored sha256_pass"),
        (
            ["sha256_password", "bcrypt_password"],
            ["sha256_password", "bcrypt_password", "sha256_password"],
            {0, 1, 2},
            "authentication[2].password: there is no stored sha256_password to keep: give password or password_hash",
        ),
        (["sha256_password", "bcrypt_password"], ["sha256_password"], {0}, "authentication: a method would go"),
        (
            ["sha256_password", "kerberos"],
            ["sha256_password", "bcrypt_password"],
            {0},
            "authentication: a method would",
        ),
        (["sha256_password", "sha256_password"], ["sha256_password"], {0}, "authentication: a method would go"),
    ],
)
def test_what_cannot_be_kept(before: list[str], methods: list[str], keeping: set[int], message: str) -> None:
    with pytest.raises(WishError, match=re.escape(message)):
        check_kept("authentication", [document(kind) for kind in before], [document(kind) for kind in methods], keeping)


def document(kind: str) -> dict[str, Any]:
    return {"type": kind, **({"password": HIDDEN} if METHODS[kind].password else {})}


@pytest.mark.parametrize(
    ("before", "methods", "keeping"),
    [
        ([], ["sha256_password"], set()),
        (["bcrypt_password"], ["sha256_password"], set()),
        (["sha256_password", "kerberos"], ["kerberos", "sha256_password"], {1}),
        (["sha256_password"], ["sha256_password", "sha256_password", "kerberos"], {1}),
    ],
)
def test_what_can_be_kept(before: list[str], methods: list[str], keeping: set[int]) -> None:
    check_kept("authentication", [document(kind) for kind in before], [document(kind) for kind in methods], keeping)


@pytest.mark.parametrize(
    ("before", "methods", "keeping", "pairs"),
    [
        (["", ""], [None, None], set(), [0, 1]),
        (["X", ""], [None], set(), [0]),
        (["", "X"], ["X", None], set(), [1, 0]),
        (["X", "Y"], [None, "Z"], set(), [0, 1]),
        (["Y", "X"], [None, "Y"], set(), [1, 0]),
        (["X"], ["X", None], {1}, [None, 0]),
        (["X", ""], ["X", None], {1}, [0, 1]),
        (["X", "X"], ["", "X"], set(), [0, 1]),
    ],
)
def test_like_stands_for_like(
    before: list[str], methods: list[str | None], keeping: set[int], pairs: list[int | None]
) -> None:
    current = [kept_of("sha256_password", **({"valid_until": expiry} if expiry else {})) for expiry in before]
    wanted = [kept_of("sha256_password", **({"valid_until": text} if text is not None else {})) for text in methods]
    assert paired(current, wanted, keeping) == pairs


_KINDS = [kind for kind in METHODS if METHODS[kind].password] + ["kerberos", "no_authentication"]
_STORED = strategies.lists(
    strategies.one_of(
        strategies.builds(document, strategies.sampled_from(_KINDS)),
        strategies.builds(lambda name: {"type": "ldap", "server": name}, strategies.sampled_from(["", "l1", "l2"])),
        strategies.builds(
            lambda names: {"type": "ssl_certificate", "common_names": sorted(names)},
            strategies.sets(strategies.sampled_from(["", "a", "b'"]), min_size=1),
        ),
    ).flatmap(
        lambda method: strategies.fixed_dictionaries(
            {key: strategies.just(value) for key, value in method.items()},
            optional={
                "valid_until": strategies.sampled_from(["2040-01-01 00:00:00", "2041-01-01 00:00:00"]),
                "grants": strategies.just("SELECT ON a.*"),
            },
        )
    ),
    min_size=1,
    max_size=5,
)


@hypothesis.given(_STORED, strategies.randoms())
def test_what_is_exported_changes_nothing_in_any_order(stored: list[dict[str, Any]], order: random.Random) -> None:
    exported = export_authentication(stored)
    assert all({"password", "grants"}.isdisjoint(method) for method in exported)
    in_order = after(stored, exported)
    assert in_order == stored
    plain = all("grants" not in method for method in stored)  # grants are not exported, so they stay by the order
    if plain and len({str(method.get("valid_until")) for method in stored}) <= 1:
        order.shuffle(exported)
        assert after(stored, exported) == stored


def after(stored: list[dict[str, Any]], options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The methods that a user with these has after a run with this option."""
    times = {method["valid_until"]: method["valid_until"] for method in options if "valid_until" in method}
    documents, credentials = wished("authentication", options, times, None)
    wish = Wish("user", "u", document={"authentication": documents}, credentials=tuple(credentials))
    before = {**user.DEFAULTS, "authentication": stored}
    return list(user.after(before, wish, None)["authentication"])


# -- hashes and salts


@pytest.mark.parametrize(
    ("kind", "text", "salt", "expected"),
    [
        ("sha256_password", b"", "", SHA256),
        ("sha256_password", b"abc", "", hashlib.sha256(b"abc").hexdigest().upper()),
        ("sha256_password", b"ab", "c", hashlib.sha256(b"abc").hexdigest().upper()),
        ("double_sha1_password", b"password", "", "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"),  # MySQL's example
    ],
)
def test_digests(kind: str, text: bytes, salt: str, expected: str) -> None:
    assert digest(kind, text, salt) == expected


def test_scram_gives_the_proof_of_rfc_7677() -> None:
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    salted = bytes.fromhex(digest("scram_sha256_password", b"pencil", "W22ZaJ0SNY7soEsUEjb6gQ=="))
    key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(key).digest(), message.encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    assert base64.b64encode(proof) == b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="


@pytest.mark.parametrize("text", ["", "hunter2", NASTY, "x" * 10_000])
@pytest.mark.parametrize(
    "kind", ["plaintext_password", "sha256_password", "double_sha1_password", "scram_sha256_password"]
)
def test_a_password_is_found_again_in_what_was_stored_for_it(kind: str, text: str) -> None:
    credential = Credential(kind, password=text)
    made = statement(credential.clause())
    _documents, shown = shown_methods(f"CREATE USER u IDENTIFIED WITH {made.sql}")
    assert credential.matches(shown[0])
    assert not Credential(kind, password=text + "y").matches(shown[0])
    if kind != "plaintext_password":
        assert not text or text not in made.sql
        assert Credential(kind, hash=shown[0].hash, salt=shown[0].salt).matches(shown[0])
        assert not Credential(kind, hash=shown[0].hash, salt=shown[0].salt + "é").matches(shown[0])
    assert not text or text not in made.shown + repr(credential) + repr(shown)


def test_bcrypt_is_found_again_too() -> None:
    pytest.importorskip("bcrypt")
    credential = Credential("bcrypt_password", password="pä'ss")
    _documents, shown = shown_methods(f"CREATE USER u IDENTIFIED WITH {statement(credential.clause()).sql}")
    assert re.fullmatch(METHODS["bcrypt_password"].hash_pattern, shown[0].hash)
    assert shown[0].hash.startswith("$2a$12$")
    assert credential.matches(shown[0])
    assert not Credential("bcrypt_password", password="pass").matches(shown[0])


def test_salts_are_64_hexadecimal_digits_and_never_the_same() -> None:
    salts = set()
    for kind in ("sha256_password", "scram_sha256_password") * 2:
        _documents, shown = shown_methods(
            f"CREATE USER u IDENTIFIED WITH {statement(Credential(kind, password='x').clause()).sql}"
        )
        salts.add(shown[0].salt)
        assert re.fullmatch("[0-9A-F]{64}", shown[0].salt)
    assert len(salts) == 4


@pytest.mark.parametrize(
    "shown",
    [ShownSecret("bcrypt_password", "not a hash"), ShownSecret("scram_sha256_password", SHA256, "*")],
)
def test_a_stored_hash_that_cannot_be_one_matches_nothing(shown: ShownSecret) -> None:
    pytest.importorskip("bcrypt")
    assert not Credential(shown.type, password="x").matches(shown)


# -- SHOW CREATE USER

SHOWN: list[tuple[str, list[dict[str, Any]], list[tuple[str, str, str]]]] = [
    ("u", [{"type": "no_password"}], []),
    ("u NOT IDENTIFIED HOST LOCAL", [{"type": "no_password"}], []),
    ("u VALID UNTIL '2040-01-01 00:00:00'", [{"type": "no_password", "valid_until": "2040-01-01 00:00:00"}], []),
    ("u IDENTIFIED WITH no_password HOST LOCAL, IP '65:ff0c::/96'", [{"type": "no_password"}], []),
    ("u SETTINGS PROFILE `IDENTIFIED`, log_comment = ' IDENTIFIED WITH ldap '", [{"type": "no_password"}], []),
    ("u DEFAULT DATABASE IDENTIFIED", [{"type": "no_password"}], []),
    ("`IDENTIFIED WITH ldap SERVER 'x'` IDENTIFIED WITH no_authentication", [{"type": "no_authentication"}], []),
    ("IDENTIFIED IDENTIFIED WITH kerberos", [{"type": "kerberos"}], []),
    ("`u4@::1` IDENTIFIED WITH kerberos REALM 'HOST'", [{"type": "kerberos", "realm": "HOST"}], []),
    (r"`a\`b\\` IDENTIFIED WITH ldap SERVER 'l\'1\\'", [{"type": "ldap", "server": "l'1\\"}], []),
    (
        "u IDENTIFIED WITH http SERVER 'a, b' SCHEME 'BASIC' HOST NONE",
        [{"type": "http", "server": "a, b", "scheme": "BASIC"}],
        [],
    ),
    (
        "u IDENTIFIED WITH ssl_certificate CN 'b', 'a', 'DEFAULT ROLE' DEFAULT ROLE NONE",
        [{"type": "ssl_certificate", "common_names": ["DEFAULT ROLE", "a", "b"]}],
        [],
    ),
    (
        "u IDENTIFIED WITH ssl_certificate SAN 'DNS:x', 'URI:y', ldap SERVER 'SETTINGS'",
        [{"type": "ssl_certificate", "subject_alt_names": ["DNS:x", "URI:y"]}, {"type": "ldap", "server": "SETTINGS"}],
        [],
    ),
    (
        "u IDENTIFIED WITH ssh_key BY KEY `BB+/` TYPE `ssh-rsa`, KEY AA TYPE `ssh-ed25519` VALID UNTIL 'x' HOST NONE",
        [
            {
                "type": "ssh_key",
                "ssh_keys": [{"key": "AA", "type": "ssh-ed25519"}, {"key": "BB+/", "type": "ssh-rsa"}],
                "valid_until": "x",
            }
        ],
        [],
    ),
    (
        "u IDENTIFIED WITH ssh_key BY KEY KEY TYPE TYPE, KEY HOST TYPE BY, kerberos",
        [
            {"type": "ssh_key", "ssh_keys": [{"key": "HOST", "type": "BY"}, {"key": "KEY", "type": "TYPE"}]},
            {"type": "kerberos"},
        ],
        [],
    ),
    (
        "u IDENTIFIED WITH plaintext_password, sha256_password, bcrypt_password, scram_sha256_password SETTINGS a = 1",
        [
            {"type": kind, "password": HIDDEN}
            for kind in ("plaintext_password", "sha256_password", "bcrypt_password", "scram_sha256_password")
        ],
        [],
    ),
    (
        "b IDENTIFIED WITH plaintext_password, plaintext_password VALID UNTIL '2040-11-06 00:00:00', ldap SERVER 'x'",
        [
            {"type": "plaintext_password", "password": HIDDEN},
            {"type": "plaintext_password", "password": HIDDEN, "valid_until": "2040-11-06 00:00:00"},
            {"type": "ldap", "server": "x"},
        ],
        [],
    ),
    (
        "u IDENTIFIED WITH sha256_password GRANTS (SELECT ON a.*, SHOW(a, b) ON `)`.x), ldap SERVER 'x' GRANTS (NONE)",
        [{"type": "sha256_password", "password": HIDDEN}, {"type": "ldap", "server": "x"}],
        [],
    ),
    (
        f"u IDENTIFIED WITH plaintext_password BY 'p, HOST \\'(w' VALID UNTIL 'x', sha256_hash BY '{SHA256}' SALT 'S',"
        f" double_sha1_hash BY '{SHA1}', bcrypt_hash BY '{BCRYPT}' HOST NAME 'BY'",
        [
            {"type": "plaintext_password", "password": HIDDEN, "valid_until": "x"},
            {"type": "sha256_password", "password": HIDDEN},
            {"type": "double_sha1_password", "password": HIDDEN},
            {"type": "bcrypt_password", "password": HIDDEN},
        ],
        [
            ("plaintext_password", "p, HOST '(w", ""),
            ("sha256_password", SHA256, "S"),
            ("double_sha1_password", SHA1, ""),
            ("bcrypt_password", BCRYPT, ""),
        ],
    ),
]


@pytest.mark.parametrize(("shown", "documents", "secrets"), SHOWN, ids=[case[0][:40] for case in SHOWN])
def test_show_create_user_is_read(
    shown: str, documents: list[dict[str, Any]], secrets: list[tuple[str, str, str]]
) -> None:
    found, credentials = shown_methods(f"CREATE USER {shown}")
    assert found == documents
    assert [(item.type, item.hash, item.salt) for item in credentials] == secrets


@pytest.mark.parametrize("case", [case for case in SHOWN if "IDENTIFIED WITH" in case[0] and not case[2]])
def test_what_is_written_is_read_back(case: tuple[str, list[dict[str, Any]], Any]) -> None:
    clauses = []
    for document in case[1]:
        secret = Credential(document["type"], hash=SHA256) if "password" in document else None
        if document["type"] == "plaintext_password":
            secret = Credential("plaintext_password", password="x")
        clauses.append(statement(method_clause(document, secret)).sql)
    assert shown_methods(f"CREATE USER u IDENTIFIED WITH {', '.join(clauses)} HOST NONE")[0] == case[1]


# -- system.users


def test_rows_of_system_users_are_read() -> None:
    types = ["sha256_password", "ldap", "kerberos", "ssl_certificate", "ssl_certificate"]
    parameters = [
        {},
        {"server": "l1"},
        {"realm": ""},
        {"common_names": ["b", "a"]},
        {"subject_alt_names": ["URI:spiffe://x"]},
    ]
    expiries = ["2040-01-01 00:00:00", "", "", "", ""]
    assert row_methods(types, parameters, expiries) == [
        {"type": "sha256_password", "password": HIDDEN, "valid_until": "2040-01-01 00:00:00"},
        {"type": "ldap", "server": "l1"},
        {"type": "kerberos"},
        {"type": "ssl_certificate", "common_names": ["a", "b"]},
        {"type": "ssl_certificate", "subject_alt_names": ["URI:spiffe://x"]},
    ]
    assert row_methods(["no_password"], [{}], []) == [{"type": "no_password"}]


def test_methods_are_compared_in_any_order_without_secrets_and_expiry() -> None:
    one = [{"type": "ldap", "server": "a"}, {"type": "sha256_password", "password": HIDDEN, "valid_until": "x"}]
    other = [{"password": "new", "type": "sha256_password"}, {"server": "a", "type": "ldap"}]
    assert without_secrets_and_expiry(one) == without_secrets_and_expiry(other)
    assert without_secrets_and_expiry(one) != without_secrets_and_expiry(other[1:])
    assert without_secrets_and_expiry(one) != without_secrets_and_expiry([other[0], {"type": "ldap", "server": "b"}])
