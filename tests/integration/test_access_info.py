"""What clickhouse_access_info returns is what clickhouse_access takes: given back, it changes nothing, on any state.

The states are made by SQL, at random, on a server of the test's own. What a version does not take is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.clickhouse.sql import ident, idents, literal
from tests.integration.servers import NEWEST, on_newest
from tests.sandbox import Sandbox, ServerSaid, start

Module = Callable[..., dict[str, Any]]
Access = dict[str, list[dict[str, Any]]]
Draw = st.DrawFn

pytestmark = pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="makes and drops whatever there is")

_DROPS = {
    "users": "USER",
    "roles": "ROLE",
    "settings_profiles": "SETTINGS PROFILE",
    "quotas": "QUOTA",
    "row_policies": "ROW POLICY",
}
PASSWORDS = {
    "plaintext_password",
    "sha256_password",
    "double_sha1_password",
    "bcrypt_password",
    "scram_sha256_password",
}


@pytest.fixture(scope="module")
def server(clickhouse: Any) -> Iterator[Sandbox]:
    """A ClickHouse of the tests' own."""
    with start(clickhouse.version) as running:
        yield running


def login_to(server: Sandbox) -> dict[str, Any]:
    """The connection's options."""
    return {
        "login_host": "localhost",
        "login_port": server.port,
        "login_user": "default",
        "login_secure": False,
        "login_ca_cert": None,
    }


def rows(server: Sandbox, sql: str) -> list[list[str]]:
    """The rows of a query for an array of texts."""
    return [json.loads(line) for line in server.session("default").query(f"{sql} FORMAT TSVRaw").splitlines()]


def drop_all(server: Sandbox, kept: Sequence[str] | None = None) -> None:
    """Drop what SQL can drop; or, of what has secrets, only the users that are not kept."""
    admin = server.session("default")
    for table, keyword in _DROPS.items():
        name = "short_name, database, table" if table == "row_policies" else "name"
        query = f"SELECT toJSONString([{name}]) FROM system.{table} WHERE storage = 'local_directory'"
        for names in rows(server, query):
            if table != "users" or names[0] not in (kept or ()):
                on = f" ON {ident(names[1])}.{ident(names[2]) if names[2] else '*'}" if len(names) > 1 else ""
                admin.query(f"DROP {keyword} {ident(names[0])}{on}")
    if kept is None:
        for names in rows(server, "SELECT toJSONString([name]) FROM system.named_collections"):
            admin.query(f"DROP NAMED COLLECTION {ident(names[0])}")


# -- states ---------------------------------------------------------------------------------------------------------

NASTY = [
    "",
    " b",
    "`c`",
    "'d'",
    '"e',
    "\\f",
    "g\nh",
    "{{ i }}",
    "{% j",
    "ключ",
    "😀",
    "@%",
    "a: #b",
    "null",
    "-x\t",
    "*?[",
]
HASH = "0123456789ABCDEF" * 4
LIMITS = ["queries = 10", "errors = 5", "execution_time = 2.5", "read_bytes = 1000000", "written_bytes = 1"]
METHODS = [
    "no_password",
    "no_authentication",
    "plaintext_password BY 'Hunter2'",
    "sha256_password BY 'Hunter2'",
    f"sha256_hash BY '{HASH}'",
    f"sha256_hash BY '{HASH}' SALT 'Hunter2'",
    "double_sha1_password BY 'Hunter2'",
    f"double_sha1_hash BY '{HASH[:40]}'",
    "bcrypt_hash BY '$2a$12$ehmsmfs7ovFXdqStdYzAXe2QAPJ4SIX0Rv0lLWLAJ3ggb8yxbP.4W'",
    "scram_sha256_password BY 'Hunter2'",
    "ldap SERVER 'l''1'",
    "kerberos",
    "kerberos REALM 'EX.COM'",
    "ssl_certificate CN 'b', 'a'",
    "ssl_certificate SAN 'URI:spiffe://x', 'DNS:y'",
    "http SERVER 'basic' SCHEME 'BASIC'",
    "ssh_key BY KEY 'AAAAC3NzaC1lZDI1NTE5AAAAIGUHdPdeRGlcBCDB9ODdkGGmkLbJVVOrgGdWCmxtAfgo' TYPE 'ssh-ed25519'",
]
HOSTS = [
    "LOCAL",
    "IP '10.0.0.0/8', '::1'",
    "IP '192.168.1.5/24'",
    "NAME 'a.example', 'B'",
    "REGEXP 'x.*'",
    "LIKE '%.y'",
]
VALUES = [
    "max_memory_usage = 10000000",
    "max_threads = 4",
    "max_execution_time = 60",
    "load_balancing = 'random'",
    "log_comment = 'it''s {{ x }} \\\\ \\n'",
    "log_queries = 0",
    "max_network_bandwidth MIN 1 MAX 20",
    "join_algorithm = 'parallel_hash,hash'",
    "totals_auto_threshold = 0.25",
    "distributed_ddl_task_timeout = -1",
    "allow_experimental_analyzer = 1",
    "merge_tree_parts_to_throw_insert = 300",
]
PRIVILEGES = [
    "SELECT",
    "INSERT",
    "ALL",
    "ALTER",
    "SHOW",
    "CREATE TABLE, DROP TABLE",
    "ALTER UPDATE",
    "dictGet",
    "OPTIMIZE",
]
SCOPES = ["*.*", "db.*", "db.t", "db.`t.u`", "`d*b`.t", "db.pre*", "d*.*", "system.*", "`{{ x }}`.`'y'`"]
APART = [
    "SELECT(a, b) ON db.t",
    "INSERT(`c c`) ON db.t",
    "SELECT ON db.t, INSERT ON db.*",
    "ACCESS MANAGEMENT ON *.*",
    "CREATE USER ON *.*",
    "ALTER USER ON u*",
    "NAMED COLLECTION ADMIN ON *",
    "NAMED COLLECTION ON `n 1`",
    "SET DEFINER ON x",
    "TABLE ENGINE ON Memory",
    "FILE ON *.*",
    "READ ON S3",
    "SOURCES ON *.*",
    "SYSTEM RELOAD CONFIG ON *.*",
    "KILL QUERY ON *.*",
    "CREATE TEMPORARY TABLE ON *.*",
    "IMPERSONATE ON x",
]
KEYS = ["", "KEYED BY user_name", "KEYED BY client_key, ip_address", "KEYED BY forwarded_ip_address"]
FILTERS = ["1", "a = 1 AND b IN (1, 2)", "c = 'it''s {{ x }}'", "d > now() - INTERVAL 1 DAY"]


def some(values: Sequence[str], most: int = 3) -> st.SearchStrategy[list[str]]:
    """A few of them, each once."""
    return (
        st.just([]) if not values else st.lists(st.sampled_from(values), max_size=min(most, len(values)), unique=True)
    )


@st.composite
def settings_clause(draw: Draw, word: str, profiles: Sequence[str]) -> str:
    """SETTINGS, or nothing."""
    parts = [f"{word} {ident(name)}" for name in draw(some(profiles, 2))] if profiles else []
    for value in draw(some(VALUES)):
        end = draw(st.sampled_from(["", "", " CONST", " WRITABLE", " CHANGEABLE_IN_READONLY"]))
        parts.append(value + end)
    return f" SETTINGS {', '.join(parts)}" if parts else ""


@st.composite
def people(draw: Draw, everybody: str, whom: Sequence[str]) -> str:
    """A set of users and roles."""
    chosen = idents(draw(some(whom)))
    if draw(st.booleans()):
        return f"{everybody} EXCEPT {', '.join(filter(None, ['default', chosen]))}"
    return chosen or "NONE"


@st.composite
def user(draw: Draw, name: str, profiles: Sequence[str]) -> list[str]:
    """CREATE USER; without what a version does not take if need be."""
    methods = []
    for method in draw(st.lists(st.sampled_from(METHODS), min_size=1, max_size=3)):
        until = draw(st.sampled_from(["", "", " VALID UNTIL '2040-01-01 00:00:00'", " VALID UNTIL '1960-01-01'"]))
        only = draw(st.sampled_from(["", "", "", " GRANTS (SELECT ON db.*)"]))
        methods.append(method + until + only)
    host = draw(st.sampled_from(["", "HOST NONE", ""])) or "HOST " + ", ".join(draw(some(HOSTS)) or ["ANY"])
    database = draw(st.sampled_from(["", "", " DEFAULT DATABASE `my db`"]))
    rest = f" {host}{database}{draw(settings_clause('PROFILE', profiles))}"
    head = f"CREATE USER {ident(name)}"
    return [
        f"{head} IDENTIFIED WITH {', '.join(methods)}{rest}",
        f"{head} IDENTIFIED WITH {methods[0].partition(' VALID')[0].partition(' GRANTS')[0]}{rest}",
        head,
    ]


@st.composite
def privileges(draw: Draw, whom: str) -> str:
    """GRANT or REVOKE."""
    what = draw(st.sampled_from(APART)) if draw(st.booleans()) else ""
    what = what or f"{draw(st.sampled_from(PRIVILEGES))} ON {draw(st.sampled_from(SCOPES))}"
    verb = draw(st.sampled_from(["GRANT", "GRANT", "GRANT WITH", "REVOKE", "REVOKE GRANT OPTION FOR"]))
    if verb.startswith("GRANT"):
        return f"GRANT {what} TO {ident(whom)}{' WITH GRANT OPTION' if verb != 'GRANT' else ''}"
    return f"{verb} {what} FROM {ident(whom)}"


@st.composite
def states(draw: Draw) -> list[list[str]]:
    """Statements that make a state, each with what to say instead if the server refuses it."""

    def names(letter: str) -> list[str]:
        return [f"{letter}{index}{suffix}" for index, suffix in enumerate(draw(some(NASTY)))]

    users, roles, profiles = names("u"), names("r"), names("p")
    made = []
    for index, name in enumerate(profiles):
        made.append([f"CREATE SETTINGS PROFILE {ident(name)}{draw(settings_clause('INHERIT', profiles[:index]))}"])
    for name in roles:
        made.append([f"CREATE ROLE {ident(name)}{draw(settings_clause('PROFILE', profiles))}"])
    made += [draw(user(name, profiles)) for name in users]
    everybody = [*users, *roles]
    for index, name in enumerate(everybody):
        below = roles if name in users else roles[: index - len(users)]
        for role in draw(some(below)) if below else []:
            option = draw(st.sampled_from(["", " WITH ADMIN OPTION"]))
            made.append([f"GRANT {ident(role)} TO {ident(name)}{option}"])
    for name in users:
        alter = f"ALTER USER {ident(name)}"
        if draw(st.booleans()):
            made.append([f"{alter} GRANTEES {draw(people('ANY', everybody))}"])
        if draw(st.booleans()):
            made.append([f"{alter} DEFAULT ROLE {idents(draw(some(roles))) or 'NONE'}" if roles else alter])
            made.append([f"{alter} DEFAULT ROLE ALL EXCEPT {ident(roles[0])}"] if roles else [alter])
        if draw(st.integers(0, 4)) == 0:
            made += [[f"REVOKE {ident(role)} FROM {ident(name)}"] for role in roles[:1]]
    for name in profiles:
        if draw(st.booleans()):
            made.append([f"ALTER SETTINGS PROFILE {ident(name)} TO {draw(people('ALL', everybody))}"])
    for name in everybody:
        made += [[one] for one in draw(st.lists(privileges(name), max_size=5))]
    for name in names("q"):
        intervals = []
        for duration in draw(some(["1 hour", "1 day", "90 second", "1 month"])):
            limits = ", ".join(draw(some(LIMITS)))
            randomized = draw(st.sampled_from(["", "RANDOMIZED "]))
            intervals.append(f"FOR {randomized}INTERVAL {duration} {'MAX ' + limits if limits else 'TRACKING ONLY'}")
        key = draw(st.sampled_from(KEYS))
        made.append([f"CREATE QUOTA {ident(name)} {key} {', '.join(intervals)} TO {draw(people('ALL', everybody))}"])
    for name in names("w"):
        table = draw(st.sampled_from(["db.t", "db.*", "`d 'b`.`t{{ x }}`"]))
        kind = draw(st.sampled_from(["", " AS RESTRICTIVE"]))
        using = draw(st.sampled_from([f" USING {text}" for text in FILTERS] + [""]))
        to = draw(people("ALL", everybody))
        made.append([f"CREATE ROW POLICY {ident(name)} ON {table}{kind} FOR SELECT{using} TO {to}"])
    for name in names("n"):
        flags = [draw(st.sampled_from(["", " OVERRIDABLE", " NOT OVERRIDABLE"])) for _number in range(2)]
        pairs = f"url = 'http://x/'{flags[0]}, `key.2` = 'Hunter2'{flags[1]}"
        made.append(
            [
                f"CREATE NAMED COLLECTION {ident(name)} AS {pairs}",
                f"CREATE NAMED COLLECTION {ident(name)} AS a = 'Hunter2'",
            ]
        )
    return made


def make(server: Sandbox, state: list[list[str]]) -> list[str]:
    """Run the statements; return those that the server took."""
    admin = server.session("default")
    taken = []
    for choices in state:
        for statement in choices:
            with contextlib.suppress(ServerSaid):
                admin.query(statement)
                taken.append(statement)
                break
    return taken


def keeps_secrets(one: dict[str, Any]) -> bool:
    """Whether a user cannot be made again from what an export says."""
    return any(method["type"] in PASSWORDS for method in one["authentication"])


def unchanged(module: Module, access: Access, login: dict[str, Any]) -> None:
    """Given back in check mode and for real, it changes nothing and warns of nothing."""
    for check in (True, False):
        result = module("access", access, check=check, **login)
        assert result["statements"] == [] and not result["changed"], (result["statements"], result["diff"])
        assert not result.get("warnings"), result["warnings"]


EXAMPLES = {NEWEST: 40}


def test_any_state_comes_back_as_it_is(module: Module, server: Sandbox) -> None:
    """Exported and given back: nothing. Dropped as far as no secret is lost, and given back: all is there again."""
    login = login_to(server)
    seen: dict[str, int] = {}

    @settings(
        max_examples=EXAMPLES.get(server.version, 12),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(states())
    def holds(state: list[list[str]]) -> None:
        drop_all(server)
        note("\n".join(make(server, state)))
        found: Access = module("access_info", {}, **login)["access"]
        assert "Hunter2" not in json.dumps(found) and HASH[:20] not in json.dumps(found)
        for plural, its in found.items():
            seen[plural] = seen.get(plural, 0) + len(its)
        unchanged(module, found, login)

        limits = "SELECT toJSONString([name]) FROM system.users WHERE arrayExists(grants -> grants != '', auth_grants)"
        limited = [name for (name,) in rows(server, limits)] if server.version == "26.9" else []
        drop_all(server, [one["name"] for one in found["users"] if keeps_secrets(one)] + limited)
        module("access", found, **login)
        assert module("access_info", {}, **login)["access"] == found

    holds()
    drop_all(server)
    assert all(seen[plural] for plural in (*_DROPS, "named_collections", "grants")), seen


def test_what_is_returned(module: Module, server: Sandbox) -> None:
    """Kinds, names and read-only entities, each as asked."""
    login, admin = login_to(server), server.session("default")
    drop_all(server)
    for statement in (
        "CREATE USER ta_u, tb_u",
        "CREATE ROLE ta_r, tb_r",
        "CREATE SETTINGS PROFILE `ta_[p]*`, ta_pp",
        "CREATE QUOTA ta_q",
        "CREATE ROW POLICY ta_w ON db.t USING 1",
        "CREATE NAMED COLLECTION ta_n AS a = 'Hunter2'",
        "GRANT SELECT ON *.* TO ta_r, tb_u",
    ):
        admin.query(statement)

    def names(**options: Any) -> dict[str, list[str]]:
        found = module("access_info", options, **login)["access"]
        return {kind: [one.get("name") or one["grantee"] for one in its] for kind, its in found.items()}

    everything = names()
    assert everything == {
        "named_collections": ["ta_n"],
        "settings_profiles": ["ta_[p]*", "ta_pp"],
        "roles": ["ta_r", "tb_r"],
        "users": ["ta_u", "tb_u"],
        "quotas": ["ta_q"],
        "row_policies": ["ta_w"],
        "grants": ["ta_r", "tb_u"],
    }
    for kind, its in everything.items():
        assert names(kinds=[kind]) == {kind: its}
    assert names(kinds=[]) == {}
    assert names(kinds=["users", "roles"], names=["ta_*"]) == {"users": ["ta_u"], "roles": ["ta_r"]}
    assert names(names=["ta_[[]p]*", "tb_?"]) == {
        **{kind: [] for kind in everything},
        "settings_profiles": ["ta_[p]*"],
        "roles": ["tb_r"],
        "users": ["tb_u"],
        "grants": ["tb_u"],
    }
    assert names(names=[]) == {kind: [] for kind in everything}
    shipped = names(read_only=True)
    assert shipped["users"] == ["default", "ta_u", "tb_u"] and "readonly" in shipped["settings_profiles"]
    assert shipped["quotas"] == ["default", "ta_q"] and "default" in shipped["grants"]
    # what SQL cannot change need not be changed either
    found = module("access_info", {"read_only": True}, **login)["access"]
    unchanged(module, found, login)
    drop_all(server)


SHOW = {"format_display_secrets_in_show_and_select": "1"}


@on_newest
def test_the_export_playbook(playbook: Any, clickhouse: Any, tmp_path: Path) -> None:
    """The vars file has no secret in it, though this server shows them, and given back it changes nothing."""
    secrets = {"Hunter2-text", "Hunter2-sha", "Hunter2-value", HASH, "ABCD1234" * 5}
    with start(NEWEST, tls=True, display_secrets=True) as server:
        admin = server.session("default")
        tricky = [f"e{suffix}" for suffix in NASTY]
        for statement in (
            *(f"CREATE USER {ident(name)} HOST LIKE {literal(name)}" for name in tricky),
            *(f"CREATE ROLE {ident('r' + name)} SETTINGS log_comment = {literal(name)}" for name in tricky),
            *(f"GRANT SELECT ON {ident(name)}.* TO {ident('r' + name)}" for name in tricky),
            *(f"CREATE ROW POLICY {ident(name)} ON d.t USING a = {literal(name)} TO {ident(name)}" for name in tricky),
            "CREATE USER s1 IDENTIFIED WITH plaintext_password BY 'Hunter2-text', sha256_password BY 'Hunter2-sha'",
            f"CREATE USER s2 IDENTIFIED WITH sha256_hash BY '{HASH}'",
            f"CREATE USER s3 IDENTIFIED WITH double_sha1_hash BY '{'ABCD1234' * 5}'",
            "CREATE NAMED COLLECTION n AS url = 'http://x/' OVERRIDABLE, `secret.key` = 'Hunter2-value'",
            "CREATE SETTINGS PROFILE p SETTINGS max_threads = 2 CONST TO s1",
            "CREATE QUOTA q FOR INTERVAL 1 hour MAX queries = 10 TO s2",
        ):
            admin.query(statement)
        shown = "".join(admin.query(f"SHOW CREATE USER s{number}", **SHOW) for number in (1, 2, 3))
        assert "Hunter2-text" in shown and HASH in shown  # there is something to leak
        login = {"login_host": "localhost", "login_port": server.https_port, "login_ca_cert": server.ca}
        given = tmp_path / "clickhouse access.yml"
        inputs = ("-e", json.dumps({"export_login": login, "export_file": str(given)}))
        runs = [playbook("hardened.clickstack.export", *inputs, "-vvv", "--diff") for _run in range(2)]
        assert [(run.code, run.recap["changed"]) for run in runs] == [(0, 1), (0, 0)], runs[0].output[-3000:]
        text = given.read_text(encoding="utf-8")
        found = {secret for secret in secrets for said in (text, *(run.output for run in runs)) if secret in said}
        assert not found and not any(secret.lower() in text.lower() for secret in secrets)
        assert stat.S_IMODE(given.stat().st_mode) == 0o640

        some = tmp_path / "some.yml"
        fewer = {"export_login": login, "export_file": str(some), "export_kinds": ["roles"], "export_names": ["re"]}
        assert playbook("hardened.clickstack.export", "-e", json.dumps(fewer)).code == 0
        assert sum("name: re" in line for line in some.read_text().splitlines()) == 1
        assert "clickhouse_roles:" in some.read_text() and "clickhouse_users" not in some.read_text()

        kinds = [*_DROPS, "named_collections", "grants"]
        task = {
            "hardened.clickstack.clickhouse_access": {
                **login,
                **{kind: f"{{{{ clickhouse_{kind} }}}}" for kind in kinds},
            }
        }
        play = {"hosts": "localhost", "gather_facts": False, "tasks": [task]}
        for way in ([{**play, "vars_files": [str(given)]}], ()), ([play], ("-e", f"@{given}")):
            for check in ((), ("--check",)):
                back = playbook(way[0], *way[1], *check, "--diff")
                assert (back.code, back.recap["changed"]) == (0, 0), back.output[-5000:]
                assert "[WARNING]" not in back.output, back.output
        # what an operator wants it for: all of it comes back, except what only a secret could make
        admin.query(f"DROP USER {', '.join(map(ident, tricky))}")
        admin.query(f"DROP ROLE {', '.join(ident('r' + name) for name in tricky)}")
        again = playbook([{**play, "vars_files": [str(given)]}])
        assert (again.code, again.recap["changed"]) == (0, 1), again.output[-5000:]
        rest = playbook("hardened.clickstack.export", *inputs)
        assert (rest.code, rest.recap["changed"]) == (0, 0) and given.read_text(encoding="utf-8") == text
    missing = playbook("hardened.clickstack.export")
    assert missing.code == 2 and "-e export_file=" in missing.output
