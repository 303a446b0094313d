"""stack_mongodb: what it decides without a server. A server is in tests/roles/test_stack_mongodb.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb import accounts, judge
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.accounts import Account
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.handshake import wrong_certificate
from ansible_collections.hardened.clickstack.plugins.module_utils.stack_mongodb.schema import (
    PARAMETERS,
    SETTINGS,
    VERSIONS,
)

ROLE = Path(__file__).parents[2] / "roles" / "stack_mongodb"
Json = dict[str, Any]
GOOD: Json = {
    "net": {
        "port": 27017,
        "bindIp": "127.0.0.1,172.30.81.13",
        "tls": {
            "mode": "requireTLS",
            "certificateKeyFile": "/certs/mongodb.pem",
            "CAFile": "/certs/ca.crt",
            "disabledProtocols": "TLS1_0,TLS1_1",
        },
    },
    "replication": {"replSetName": "rs0"},
    "security": {"authorization": "enabled", "keyFile": "/etc/mongo/keyfile", "javascriptEnabled": False},
    "setParameter": {"authenticationMechanisms": "SCRAM-SHA-256", "enableLocalhostAuthBypass": False},
    "storage": {"wiredTiger": {"engineConfig": {"cacheSizeGB": 0.25}}},
    "systemLog": {"component": {"accessControl": {"verbosity": 1}}},
}


def with_setting(name: str, value: Any) -> Json:
    """GOOD with one setting more, or another."""
    config: Json = json.loads(json.dumps(GOOD))
    here = config
    *parents, last = name.split(".")
    for part in parents:
        here = here.setdefault(part, {})
    here[last] = value
    return config


def said(name: str, value: Any, version: judge.Version = (8, 0), **options: Any) -> str:
    return "\n".join(judge.problems(with_setting(name, value), version, **options))


# -- versions and settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_right_is_taken_by_every_version(version: judge.Version) -> None:
    assert judge.problems(GOOD, version) == []


@pytest.mark.parametrize(("text", "version"), [("5.0", (5, 0)), ("5.0.32", (5, 0)), ("8.0.16-rc0", (8, 0))])
def test_versions(text: str, version: judge.Version) -> None:
    assert judge.version_of(text) == version


@pytest.mark.parametrize("text", ["", "latest", "4.4.29", "6.1", "8.2.11", "9.0", "7", "7.0x"])
def test_unknown_versions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape("5.0, 6.0, 7.0, 8.0")):
        judge.version_of(text)


@pytest.mark.parametrize(
    ("name", "value", "has"),
    [
        ("storage.journal.enabled", True, "5.0 6.0"),
        ("net.tls.clusterAuthX509.attributes", "O=a", "7.0 8.0"),
        ("systemLog.component.storage.wt.verbosity", 1, "6.0 7.0 8.0"),
        ("systemLog.component.query.rejected.verbosity", 1, "8.0"),
        ("systemLog.component.queryStats.verbosity", 1, "7.0 8.0"),
        ("security.clusterIpSourceAllowlist", ["10.0.0.0/8"], "5.0 6.0 7.0 8.0"),
        ("security.clusterIpSourceWhitelist", ["10.0.0.0/8"], ""),
        ("net.http.enabled", False, ""),
        ("net.ssl.mode", "requireSSL", ""),
        ("storage.mmapv1.smallFiles", True, ""),
        ("setParameter.tlsClusterAuthX509Override", "{}", "7.0 8.0"),
    ],
)
def test_a_version_has_the_settings_that_it_documents(name: str, value: Any, has: str) -> None:
    for version in VERSIONS:
        problems = said(name, value, version)
        assert ("has no such" not in problems) == ("{}.{}".format(*version) in has.split()), problems


@pytest.mark.parametrize(
    "name", ["auditLog.destination", "security.enableEncryption", "net.tls.FIPSMode", "setParameter.authFailedDelayMs"]
)
def test_enterprise_settings_are_for_enterprise(name: str) -> None:
    value: Any = {"auditLog.destination": "console", "setParameter.authFailedDelayMs": 1000}.get(name, True)
    assert "only MongoDB Enterprise" in said(name, value)
    assert said(name, value, enterprise=True) == ""


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("net.port", 0, "at least 1"),
        ("net.port", 65536, "at most 65535"),
        ("net.port", "many", "a whole number"),
        ("net.port", True, "a whole number"),
        ("net.bindIpAll", True, "not both"),
        ("net.bindIp", "127.0.0.1,,10.0.0.1", "empty name"),
        ("net.bindIp", "::1", "net.ipv6 must be true"),
        ("net.tls.mode", "requireSSL", "one of disabled, allowTLS, preferTLS, requireTLS"),
        ("net.tls.certificateKeyFile", "", "needs a certificate"),
        ("net.tls.disabledProtocols", "TLS1_0, TLS1_1", "' TLS1_1' is none of"),
        ("net.tls.disabledProtocols", "TLS1_0,TLS1_1,TLS1_2,TLS1_3", "no protocol would be left"),
        ("security.keyFile", "", "prove themselves by a keyfile"),
        ("security.authorization", True, "must be a text"),
        ("security.clusterIpSourceAllowlist", ["10.0.0.0/33"], "neither an address nor a network"),
        ("security.javascriptEnabled", "no", "true or false"),
        ("setParameter.authenticationMechanisms", "SCRAM-SHA-256, PLAIN", "without spaces"),
        ("setParameter.scramSHA256IterationCount", 4999, "at least 5000"),
        ("setParameter.enableLocalHostAuthBypass", False, "Is enableLocalhostAuthBypass meant?"),
        ("setParameter", "x", "parameters with their values"),
        ("storage.wiredTiger.engineConfig.cacheSizeGB", 0.1, "at least 0.25"),
        ("systemLog.component.accessControl.verbosity", 6, "at most 5"),
        ("systemLog.destination", "file", "needs it"),
        ("processManagement.fork", True, "goes into the background"),
        ("security.clusterAuthmode", "x509", "Is security.clusterAuthMode meant?"),
        ("sharding.clusterRole", "none", "one of configsvr, shardsvr"),
    ],
)
def test_what_mongod_would_refuse_is_said(name: str, value: Any, why: str) -> None:
    assert why in said(name, value)


def test_parameters_that_the_role_does_not_know_can_be_named() -> None:
    assert "stack_mongodb_parameters_unchecked" in said("setParameter.wiredTigerConcurrentReadTransactions", 64)
    assert (
        said(
            "setParameter.wiredTigerConcurrentReadTransactions", 64, unchecked=["wiredTigerConcurrentReadTransactions"]
        )
        == ""
    )


def test_texts_become_what_settings_take() -> None:
    """ansible-core before 2.19 makes texts of numbers."""
    config = {
        "net": {"port": "27017", "ipv6": "False", "bindIp": "1"},
        "setParameter": {"scramSHA256IterationCount": "15000"},
        "storage": {"wiredTiger": {"engineConfig": {"cacheSizeGB": "0.25"}}},
        "systemLog": {"component": {"accessControl": {"verbosity": "many"}}},
    }
    assert judge.typed(config) == {
        "net": {"port": 27017, "ipv6": False, "bindIp": "1"},
        "setParameter": {"scramSHA256IterationCount": 15000},
        "storage": {"wiredTiger": {"engineConfig": {"cacheSizeGB": 0.25}}},
        "systemLog": {"component": {"accessControl": {"verbosity": "many"}}},
    }


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
CONFIG = st.recursive(
    st.one_of(
        st.booleans(), st.integers(-(2**31), 2**31), st.floats(0, 1000, width=32), TEXT, st.lists(TEXT, min_size=1)
    ),
    lambda children: st.dictionaries(st.from_regex(r"\A[a-zA-Z][a-zA-Z0-9]{0,8}\Z"), children, min_size=1, max_size=4),
)


@settings(deadline=None)
@given(st.dictionaries(st.from_regex(r"\A[a-z][a-zA-Z0-9]{0,8}x\Z"), CONFIG, max_size=4))
def test_yaml_says_what_was_meant(config: Json) -> None:
    text = judge.render(config, "two\nlines")
    assert text.startswith("# two\n# lines\n")
    assert (yaml.safe_load(text) or {}) == config


def test_every_setting_is_data_that_makes_sense() -> None:
    for name, setting in {**SETTINGS, **PARAMETERS}.items():
        assert setting.kind in ("bool", "int", "number", "str", "list"), name
        assert setting.since in VERSIONS and (setting.until is None or setting.since < setting.until), name
        assert not setting.choices or setting.kind == "str", name


# -- keyfile, members, passwords ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("mysecretkey\n", ["mysecretkey"]),
        ("my\r\nsecret\r\n\tkey\r\n", ["mysecretkey"]),
        ("- first1\n- second2\n", ["first1", "second2"]),
        ("- 'first1'\n- \"second2\"\n", ["first1", "second2"]),
        ("# rotated\n- fir\n  st1\n- second2\n", ["first1", "second2"]),
    ],
)
def test_keys_of_a_keyfile(text: str, keys: list[str]) -> None:
    assert judge.keys_of(text) == keys and judge.wrong_keyfile("k", text) == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("short", "5 characters"),
        ("a" * 1025, "1025 characters"),
        ("key with a dash -", "base64"),
        ("x\n- first1", "base64"),
        ("- first1\n- bad!\n", "key 2 of 2"),
        ("- first1\n- first1\n", "twice"),
        ("", "0 characters"),
    ],
)
def test_wrong_keyfiles_are_refused_without_showing_them(text: str, why: str) -> None:
    (problem,) = judge.wrong_keyfile("k", text)
    assert why in problem and "first1" not in problem and "dash" not in problem


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([], "there is no member"),
        (["db"], "must be host:port"),
        (["db:0"], "is no port"),
        (["db:27017", "db:27017"], "more than once"),
        (["d b:27017"], "can be no name of a host"),
        ([f"db{number}:27017" for number in range(8)], "at most 7"),
    ],
)
def test_wrong_members(members: list[str], why: str) -> None:
    assert why in "\n".join(judge.wrong_members("m", members))


def test_right_members() -> None:
    assert judge.wrong_members("m", ["db:27017", "mongo-2.example.org:27018", "[fd00::1]:27017"]) == []


@pytest.mark.parametrize("name", ["admin", "local", "config", "", "a/b", "a.b", "a b", 'a"b', "$a", "x" * 64])
def test_wrong_databases(name: str) -> None:
    assert list(judge.wrong_database("d", name))


@settings(deadline=None)
@given(TEXT.filter(bool), TEXT, st.sampled_from(["hyperdx", "data-1"]))
def test_a_connection_string_gives_back_what_it_was_made_of(user: str, password: str, database: str) -> None:
    options = {"authSource": "admin", "tls": True, "tlsCAFile": "/certs/ca.crt", "replicaSet": ""}
    uri = judge.connection_string(user, password, ["a:1", "b:2"], database, options)
    parts = urllib.parse.urlsplit(uri)
    login, _at, hosts = parts.netloc.rpartition("@")
    assert [urllib.parse.unquote(text) for text in login.split(":")] == [user, password]
    assert (hosts, parts.path) == ("a:1,b:2", f"/{database}")
    assert parts.query == "authSource=admin&tls=true&tlsCAFile=/certs/ca.crt"


# -- users -------------------------------------------------------------------------------------------------------------


def stored(account: Account, iterations: int = 15000, **fields: Any) -> Json:
    """What usersInfo says of a user, by RFC 5802."""
    salt = b"0123456789012345678901234567"
    salted = hashlib.pbkdf2_hmac("sha256", account.password.encode(), salt, iterations)
    key = hashlib.sha256(hmac.new(salted, b"Client Key", "sha256").digest()).digest()
    scram = {
        "iterationCount": iterations,
        "salt": base64.b64encode(salt).decode(),
        "storedKey": base64.b64encode(key).decode(),
        "serverKey": "",
    }
    roles = [{"role": role, "db": database} for role, database in account.roles or ()]
    return {
        "user": account.name,
        "roles": roles,
        "credentials": {"SCRAM-SHA-256": scram},
        "authenticationRestrictions": account.restrictions,
        **fields,
    }


WANTED = Account("hyperdx", "admin", "secret", (("readWrite", "hyperdx"),), ("172.30.81.10",))


def changed(**fields: Any) -> Json:
    return accounts.changes(WANTED, stored(WANTED, **fields), WANTED.password, False)


def test_a_user_as_wanted_is_left_alone() -> None:
    assert changed() == {}


def test_a_new_user_has_one_mechanism_and_its_restrictions_from_the_start() -> None:
    assert accounts.command("hyperdx", True, accounts.changes(WANTED, None, "secret", False)) == {
        "createUser": "hyperdx",
        "pwd": "secret",
        "roles": [{"role": "readWrite", "db": "hyperdx"}],
        "mechanisms": ["SCRAM-SHA-256"],
        "authenticationRestrictions": [{"clientSource": ["172.30.81.10/32"]}],
    }


def test_what_differs_is_changed_and_nothing_else() -> None:
    password = {"pwd": "secret", "mechanisms": ["SCRAM-SHA-256"]}
    other = stored(Account("hyperdx", "admin", "other"))["credentials"]
    weak = {**stored(WANTED)["credentials"], "SCRAM-SHA-1": {}}
    assert changed(credentials=other) == password
    assert changed(credentials=weak) == password
    assert changed(credentials={}) == password
    assert changed(iterations=10000) == password
    assert changed(roles=[{"role": "dbOwner", "db": "hyperdx"}]) == {"roles": [{"role": "readWrite", "db": "hyperdx"}]}
    assert changed(authenticationRestrictions=[]) == {
        "authenticationRestrictions": [{"clientSource": ["172.30.81.10/32"]}]
    }


def test_without_the_stored_hash_a_login_decides() -> None:
    hidden = stored(WANTED, credentials=None)
    assert accounts.changes(WANTED, hidden, "secret", True) == {}
    assert "pwd" in accounts.changes(WANTED, hidden, "secret", False)


def test_restrictions_are_compared_by_what_they_mean() -> None:
    spelled = [{"serverAddress": [], "clientSource": ["172.30.81.10"]}]
    assert changed(authenticationRestrictions=spelled) == {}
    assert accounts.network("FD00:0::1") == "fd00::1/128"


@pytest.mark.parametrize(
    ("sources", "allowed"),
    [((), True), (("172.30.81.1",), True), (("172.30.81.0/24", "::1"), True), (("127.0.0.1", "::1"), False)],
)
def test_who_may_log_in_from_where(sources: tuple[str, ...], allowed: bool) -> None:
    assert Account("a", "admin", "p", client_source=sources).allows("172.30.81.1") is allowed


def test_what_is_shown_of_a_change_has_no_password() -> None:
    assert "secret" not in str(accounts.described(accounts.changes(WANTED, None, "secret", False)))


# -- certificates ------------------------------------------------------------------------------------------------------


def test_certificates_are_tried_out(tmp_path: Path) -> None:
    certificates = pytest.importorskip("tests.sandbox.certificates")
    ours, other = certificates.Authority(tmp_path / "ours"), certificates.Authority(tmp_path / "other")
    pem, ca = tmp_path / "mongodb.pem", str(ours.ca)

    def wrong(authority: Any = ours, names: tuple[str, ...] = ("db", "10.0.0.1"), key: str = "", **options: Any) -> str:
        certificate, its_key = authority.issue("db", ("db",), ("10.0.0.1",), **options)
        pem.write_text((key or its_key.read_text()) + certificate.read_text())
        return "\n".join(wrong_certificate(str(pem), ca, names, is_client=True))

    assert wrong(both=True) == ""
    assert "self-signed certificate" in wrong(other, both=True) or "unable to get" in wrong(other, both=True)
    assert "expired" in wrong(both=True, days=-1)
    assert "needs clientAuth beside serverAuth" in wrong(server=True)
    assert "refuses this certificate for mongodb" in wrong(names=("db", "mongodb"), both=True)
    assert "for 10.0.0.2" in wrong(names=("10.0.0.2",), both=True)
    assert "key values mismatch" in wrong(key=ours.issue("x")[1].read_text(), both=True)
    pem.write_text("nothing")
    assert "must hold a key" in "\n".join(wrong_certificate(str(pem), ca, (), False))


# -- the role ----------------------------------------------------------------------------------------------------------


def test_the_cache_is_what_stack_compose_puts_on_the_command_line() -> None:
    """The command line wins, so both must say the same."""

    def formula(role: str, name: str) -> str:
        text = yaml.safe_load((ROLE.parent / role / "vars" / "main.yml").read_text())[f"__{role}_{name}"]
        return re.sub(rf"{role}_(mongodb_)?memory", "memory", text)

    assert formula("stack_mongodb", "cache_gb") == formula("stack_compose", "mongodb_cache_gb")
    environment = Environment()
    environment.filters["human_to_bytes"] = lambda text: int(text[:-1]) * {"m": 2**20, "g": 2**30}[text[-1]]
    template = environment.from_string(formula("stack_mongodb", "cache_gb"))
    assert [template.render(memory=text) for text in ("512m", "1g", "2g", "8g")] == ["0.25", "0.25", "0.5", "3.5"]


def test_entry_points_have_the_inputs_of_the_role() -> None:
    specs = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    for name in ("users", "certificates"):
        for option, spec in specs[name]["options"].items():
            assert specs["main"]["options"][option] == spec
        assert (ROLE / "tasks" / f"{name}.yml").exists()


def test_each_row_of_the_checklist_that_is_met_names_something_real() -> None:
    """Settings and parameters by the role's mongod.conf, variables by defaults/main.yml."""
    text = (ROLE / "README.md").read_text()
    section = text[text.index("## MongoDB's security checklist") :]
    rows = [line for line in section[: section.index("\n## ", 5)].splitlines() if line.startswith("| ")][1:]
    variables = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    parts = [variables[f"__stack_mongodb_{part}"] for part in ("base", "tls", "replication")]
    written = {name for part in parts for name, _value in judge.settings_of(part)}
    written |= {f"setParameter.{name}" for part in parts for name in part.get("setParameter", {})}
    written.add("systemLog.component.accessControl.verbosity")
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    roles = {path.name for path in ROLE.parent.iterdir()} | {"stack_secrets", "stack_tls"}
    known = written | set(defaults) | roles | {"stack_mongodb_version"}
    met = [row for row in rows if row.split("|")[2].strip() == "met"]
    assert len(rows) >= 15 and len(met) >= 10
    for row in rows:
        assert row.split("|")[2].strip() in ("met", "Enterprise", "yours"), row
    for row in met:
        names = set(re.findall(r"`([A-Za-z_.0-9]+)`", row.split("|")[3]))
        named = {name for name in names if name in known}
        unknown = {
            name
            for name in names
            if re.match(r"(net|security|setParameter|systemLog|storage|replication)\.|stack_", name)
        }
        assert named and unknown <= known, row
