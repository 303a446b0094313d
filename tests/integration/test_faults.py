"""Whatever goes wrong at whichever statement: the result is the truth, and a second run ends in the wanted state.

One input, and a plan of more than 30 statements of all kinds. A fault is tried at every one of them, each time in a
universe of its own: entities with a prefix of their own, so that dozens of tries share a server and nothing has to be
put back in between. What really happened is read from the system tables, without modules.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.forks import Forks
from tests.integration.servers import NEWEST, VERSIONS
from tests.sandbox import Client, Fault, FaultProxy, Sandbox, start

pytestmark = pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="kills its servers")

ROOT = Path(__file__).parents[2]
SECRETS = ("hush hush hush 1", "bob's wished password", "carol's wished password")
AT_ONCE = 2
"""Servers, each with its thread and its modules: the machine that counts has two cores."""


# -- the start state, and the wish ----------------------------------------------------------------------------------


def names(universes: Sequence[str], *shorts: str) -> str:
    """A list of names, as SQL has it, in all these universes."""
    return ", ".join(universe + short for universe in universes for short in shorts)


def start_state(universes: Sequence[str]) -> list[str]:
    """The statements that make the start state of some universes: what is to change, to go, and to stay."""
    return [
        f"CREATE SETTINGS PROFILE {names(universes, 'base')} SETTINGS max_threads = 2",
        f"CREATE SETTINGS PROFILE {names(universes, 'old', 'stays')} SETTINGS max_threads = 5",
        f"CREATE ROLE {names(universes, 'reader', 'gone', 'lost', 'stays_role')}",
        f"CREATE ROLE {names(universes, 'writer')} SETTINGS max_threads = 3",
        f"CREATE USER {names(universes, 'alice', 'stays')} IDENTIFIED WITH sha256_password BY 'kept' HOST LOCAL",
        f"CREATE USER {names(universes, 'bob')} IDENTIFIED WITH no_password HOST IP '10.0.0.0/8'",
        f"CREATE USER {names(universes, 'leaver', 'left')} IDENTIFIED WITH no_password",
        f"CREATE QUOTA {names(universes, 'quota', 'old', 'stays')} FOR INTERVAL 1 hour MAX queries = 5",
        f"CREATE ROW POLICY {', '.join(f'{one}{name} ON db.t' for one in universes for name in ('policy', 'old'))}"
        " USING a = 1 TO shared_role",
        *(f"CREATE NAMED COLLECTION {one}collection AS url = 'http://a', format = 'CSV'" for one in universes),
        *(f"CREATE NAMED COLLECTION {one}old AS url = 'http://a'" for one in universes),
        f"GRANT shared_role TO {names(universes, 'alice', 'stays')}",
        f"GRANT SELECT ON db.* TO {names(universes, 'reader', 'stays_role')}",
        f"GRANT SELECT, INSERT ON db.* TO {names(universes, 'writer')}",
    ]


PURGED = {
    "users": "l*",
    "roles": "[gl]*",
    "settings_profiles": "old",
    "quotas": "old",
    "row_policies": "old",
    "named_collections": "old",
}
"""Kind -> the pattern of what goes, in a universe."""


def wish(u: str) -> dict[str, Any]:
    """The input of clickhouse_access for a universe."""
    return {
        "databases": [{"name": f"{u}new_db"}],
        "named_collections": [
            {
                "name": f"{u}collection",
                "keys": [{"name": "url"}, {"name": "secret_key", "value": SECRETS[0]}],
                "update_values": "on_create",
            },
            {"name": f"{u}new_collection", "keys": [{"name": "url", "value": "http://c"}]},
        ],
        "settings_profiles": [
            {"name": f"{u}base", "settings": [{"name": "max_threads", "value": 4}]},
            {
                "name": f"{u}limits",
                "profiles": [f"{u}base"],
                "settings": [{"name": "max_execution_time", "value": 60}],
                "apply_to": {"names": [f"{u}writer"]},
            },
        ],
        "roles": [
            {"name": f"{u}reader", "profiles": [f"{u}base"]},
            {"name": f"{u}writer", "settings": []},
            {"name": f"{u}auditor"},
            {
                "name": f"{u}admin",
                "settings": [{"name": "max_threads", "value": 7}],
                "roles": [{"name": f"{u}auditor", "admin_option": True}],
            },
        ],
        "users": [
            {
                "name": f"{u}alice",
                "host": {"ip": ["10.1.0.0/16"]},
                "roles": [{"name": f"{u}reader"}, {"name": f"{u}auditor"}],
                "default_roles": {"names": [f"{u}reader"]},
            },
            {
                "name": f"{u}bob",
                "authentication": [{"type": "sha256_password", "password": SECRETS[1]}],
                "host": {"local": True},
                "settings": [{"name": "max_threads", "value": 9}],
            },
            {
                "name": f"{u}carol",
                "authentication": [{"type": "sha256_password", "password": SECRETS[2]}],
                "roles": [{"name": f"{u}writer"}],
                "default_roles": {"none": True},
            },
            {
                "name": f"{u}dave",
                "authentication": [{"type": "ssl_certificate", "common_names": ["dave"]}],
                "grantees": {"names": [f"{u}carol"]},
            },
            {"name": f"{u}leaver", "state": "absent"},
        ],
        "quotas": [
            {
                "name": f"{u}quota",
                "keyed_by": "user_name",
                "intervals": [{"duration": "1 hour", "queries": 9}],
                "apply_to": {"names": [f"{u}alice"]},
            },
            {"name": f"{u}new_quota", "intervals": [{"duration": "1 day", "tracking_only": True}]},
        ],
        "row_policies": [
            {
                "name": f"{u}policy",
                "database": "db",
                "table": "t",
                "filter": "a = 3",
                "apply_to": {"names": [f"{u}reader", f"{u}auditor"]},
            },
            {
                "name": f"{u}new_policy",
                "database": "db",
                "filter": "b = 1",
                "restrictive": True,
                "apply_to": {"names": [f"{u}carol"]},
            },
        ],
        "grants": [
            {
                "grantee": f"{u}reader",
                "mode": "exact",
                "privileges": [{"privilege": ["SELECT"], "scope": ["db.*", f"{u}new_db.*"]}],
                "partial_revokes": [{"privilege": ["SELECT"], "scope": ["db.secret"]}],
            },
            {
                "grantee": f"{u}writer",
                "mode": "exact",
                "privileges": [{"privilege": ["INSERT"], "scope": ["db.*"]}],
            },
            {
                "grantee": f"{u}admin",
                "privileges": [{"privilege": ["SHOW TABLES"], "scope": ["db.*"], "grant_option": True}],
            },
        ],
        "purge": {kind: [u + pattern] for kind, pattern in PURGED.items()},
    }


def together(wishes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Many universes as one input."""
    result: dict[str, Any] = {"purge": {}}
    for one in wishes:
        for kind, entities in one.items():
            if kind != "purge":
                result[kind] = [*result.get(kind, ()), *entities]
        for kind, patterns in one["purge"].items():
            result["purge"][kind] = [*result["purge"].get(kind, ()), *patterns]
    return result


# -- looking at a server without modules ----------------------------------------------------------------------------

_UNIVERSE = re.compile(r"\bu\d{4}_")
_TABLES = {
    "users": ("name", "id"),
    "roles": ("name", "id"),
    "role_grants": ("coalesce(user_name, role_name)", "granted_role_id"),
    "grants": ("coalesce(user_name, role_name)", ""),
    "settings_profiles": ("name", "id"),
    "settings_profile_elements": ("coalesce(profile_name, user_name, role_name)", ""),
    "quotas": ("name", "id"),
    "quota_limits": ("quota_name", ""),
    "row_policies": ("name", "id"),
    "named_collections": ("name", ""),
    "databases": ("name", "uuid, data_path, metadata_path"),
}
"""Table -> whose its rows are, and the columns that differ between two of the same."""
_SNAPSHOT = " UNION ALL ".join(
    f"SELECT concat('{table} ', {owner}, ' ', formatRowNoNewline('JSONEachRow', *"
    f"{f' EXCEPT ({other})' if other else ''})) FROM system.{table}"
    for table, (owner, other) in _TABLES.items()
)

KEYWORDS = ("USER", "ROLE", "SETTINGS PROFILE", "QUOTA", "NAMED COLLECTION", "DATABASE")

KEYWORDS = ("USER", "ROLE", "SETTINGS PROFILE", "QUOTA", "NAMED COLLECTION", "DATABASE")

State = frozenset[str]
"""What there is of a universe: a line for each row of the system tables, without the universe's prefix."""


def snapshot(client: Client) -> dict[str, State]:
    """The states of all universes; that of `shared` is what belongs to none."""
    found: dict[str, list[str]] = {}
    for line in client.query(f"{_SNAPSHOT} FORMAT TabSeparatedRaw").splitlines():
        universe = _UNIVERSE.search(line)
        found.setdefault(universe[0] if universe else "shared", []).append(plain(line))
    return {universe: frozenset(lines) for universe, lines in found.items()}


def plain(text: str) -> str:
    """A text without the prefix of its universe."""
    return _UNIVERSE.sub("", text)


def plains(statements: Iterable[str]) -> list[str]:
    """Statements without the prefix of their universe."""
    return [plain(statement) for statement in statements]


# -- servers --------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """A server, what runs modules against it, and its supply of universes."""

    server: Sandbox
    forks: Forks
    numbers: Iterator[int]

    @property
    def client(self) -> Client:
        """The administrator, without modules."""
        return self.server.session("default")

    def universes(self, count: int) -> list[str]:
        """New universes in the start state."""
        made = [f"u{next(self.numbers):04d}_" for _number in range(count)]
        for statement in start_state(made):
            self.client.query(statement)
        return made

    def run(self, options: Mapping[str, Any], port: int | None = None, **arguments: Any) -> dict[str, Any]:
        """Run clickhouse_access, through a proxy's port or straight."""
        login = {"login_host": "127.0.0.1", "login_port": port or self.server.port, "login_secure": False}
        result = self.forks.run({**login, **options}, **arguments)
        assert "traceback" not in result, result["msg"]
        return result

    def clear(self) -> None:
        """Drop all universes, so that the next ones are read as fast."""
        policy = "concat(short_name, ' ON ', database, '.', if(table = '', '*', table))"
        for keyword, table, column in (
            ("ROW POLICY", "row_policies", policy),
            *((keyword, f"{keyword.lower().replace(' ', '_')}s", "name") for keyword in KEYWORDS),
        ):
            found = self.client.query(f"SELECT {column} FROM system.{table} WHERE match(name, '^u[0-9]')").splitlines()
            one_by_one = keyword in ("NAMED COLLECTION", "DATABASE")  # their DROP takes no list
            for part in found if one_by_one else [", ".join(found)] if found else []:
                self.client.query(f"DROP {keyword} {part}")


@dataclass
class World:
    """Servers of one version, and how an undisturbed run goes there.

    :param plan: its statements, as shown
    :param states: the state after each of them; the first is the start state
    """

    version: str
    sites: list[Site]
    plan: list[str]
    states: list[State]

    def each(self, number: int, walk: Callable[[Site, Sequence[int]], None]) -> None:
        """Walk through the statements on all servers at once.

        On 26.9 through every third and on ClickHouse's own server every twelfth, from another one on for each `number`;
        with THOROUGH=1 through all of them and every fourth.
        """
        steps = (1, 4) if os.environ.get("THOROUGH") else (3, 12)
        step = steps[0] if self.version == "26.9" else steps[1]
        ks = range(1 + number % step, len(self.plan) + 1, step)
        with ThreadPoolExecutor(len(self.sites)) as pool:
            parts = [ks[number :: len(self.sites)] for number in range(len(self.sites))]
            for result in [pool.submit(walk, *part) for part in zip(self.sites, parts, strict=True) if part[1]]:
                result.result()


@pytest.fixture(scope="module", params=[version for version in VERSIONS if version != "24.8"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two servers. That of 26.9 shows what it stores to who may see it, so no passwords have to be tried there."""
    with ExitStack() as stack:
        temporary = tmp_path_factory.mktemp("modules")
        sites = []
        for _number in range(AT_ONCE):
            server = stack.enter_context(start(request.param, display_secrets=request.param == "26.9"))
            sites.append(Site(server, stack.enter_context(Forks(TMPDIR=str(temporary))), itertools.count()))
            sites[-1].client.query("CREATE ROLE shared_role")
        yield World(request.param, sites, *undisturbed(sites[0]))
        assert not list(temporary.iterdir()), "a module left something behind"


def undisturbed(site: Site) -> tuple[list[str], list[State]]:
    """Run without faults; then run the same statements one by one, to see what each of them does."""
    ours, other = site.universes(2)
    with FaultProxy(site.server.url, [], site.server.kill) as proxy:
        result = site.run(wish(ours), proxy.port)
        assert result["rc"] == 0 and result["changed"], result
        sent = changes(proxy)
    assert not site.run(wish(ours))["changed"]
    states = [snapshot(site.client)[other]]
    for statement in sent:
        site.client.query(statement.replace(ours, other))
        states.append(snapshot(site.client)[other])
    assert states[-1] == snapshot(site.client)[ours]
    return plains(result["statements"]), states


def changes(proxy: FaultProxy) -> list[str]:
    """What a run sent that changes something, secrets and all."""
    return [sent.decode() for sent in proxy.statements if re.match(rb"CREATE|ALTER|GRANT|REVOKE|DROP", sent)]


def test_the_plan_is_long_and_mixed(world: World) -> None:
    """At least 30 statements of every verb, each of which does something; and what must stay stays."""
    assert len(world.plan) >= 30
    verbs = {" ".join(statement.split()[:2]) for statement in world.plan}
    kinds = {"USER", "ROLE", "SETTINGS", "QUOTA", "ROW", "NAMED"}
    assert verbs >= {f"{verb} {kind}" for verb in ("CREATE", "ALTER", "DROP") for kind in kinds} | {"CREATE DATABASE"}
    assert {verb.split()[0] for verb in verbs} == {"CREATE", "ALTER", "GRANT", "REVOKE", "DROP"}
    for number, (before, after) in enumerate(itertools.pairwise(world.states), 1):
        assert before != after or "IDENTIFIED" in world.plan[number - 1], world.plan[number - 1]
    stays = {line for line in world.states[0] if re.match(r"\w+ stays", line)}
    assert len(stays) >= 8 and stays <= world.states[-1]


# -- a fault at every statement -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mishap:
    """A fault, and what a result must say about it.

    :param kinds: taken in turns from statement to statement
    :param advice: what the message must say
    """

    kinds: tuple[str, ...]
    code: int | None = None
    name: str | None = None
    advice: str = ""

    def at(self, k: int) -> Fault:
        """The fault at statement `k`."""
        refusal = {"code": self.code, "name": self.name, "message": "So the test says."} if self.code else {}
        return Fault(k, self.kinds[k % len(self.kinds)], seconds=TOO_LATE, **refusal)  # type: ignore[arg-type]


TIMEOUT = 3
TOO_LATE = TIMEOUT + 1.0
"""Seconds; long enough for what comes in time to come in time on a busy machine."""
ALL_THE_SAME = ("drop_after", "kill_after", "delay")
"""Faults at statements that the server runs all the same."""
MISHAPS = {
    "dropped before": Mishap(("drop_before",), advice="See that the server is up"),
    "dropped after": Mishap(("drop_after",), advice="See that the server is up"),
    "killed": Mishap(("kill", "kill_after", "kill"), advice="See that the server is up"),
    "too late": Mishap(("delay",), advice="login_timeout"),
    "497": Mishap(("refuse",), 497, "ACCESS_DENIED", "Grant what is missing to login_user"),
    "241": Mishap(("refuse",), 241, "MEMORY_LIMIT_EXCEEDED", "memory"),
    "516": Mishap(("refuse",), 516, "AUTHENTICATION_FAILED", "login_password"),
}


@pytest.mark.parametrize("mishap", MISHAPS.values(), ids=list(MISHAPS))
def test_a_fault_at_every_statement(world: World, mishap: Mishap) -> None:
    """The result is the truth; the server is where it says; a second run does the rest, a third nothing."""

    def fail(site: Site, k: int, universe: str) -> int:
        return _fail(world, site, mishap, k, universe)

    # those that are too late mostly wait, so many of them may at once
    lanes = 6 if "delay" in mishap.kinds else 1
    world.each(list(MISHAPS.values()).index(mishap), lambda site, ks: _walk(world, site, ks, fail, lanes))


def _walk(world: World, site: Site, ks: Sequence[int], fail: Callable[[Site, int, str], int], lanes: int = 1) -> None:
    """Let a run fail at each of these statements, then run it again.

    `fail` runs it, in a universe, and returns how many statements the server ran; `lanes` of them run at once.
    """
    universes = dict(zip(ks, site.universes(len(ks)), strict=True))
    shared = snapshot(site.client)["shared"]
    reached: dict[int, int] = {}

    def along(forks: Forks, ks: Sequence[int]) -> None:
        for k in ks:
            reached[k] = fail(replace(site, forks=forks), k, universes[k])

    with ExitStack() as stack, ThreadPoolExecutor(lanes) as pool:
        every = [site.forks, *(stack.enter_context(Forks()) for _number in range(1, lanes))]
        for job in [pool.submit(along, forks, ks[number::lanes]) for number, forks in enumerate(every)]:
            job.result()
    found = snapshot(site.client)
    for k, universe in universes.items():
        assert found[universe] == world.states[reached[k]], k
        second = site.run(wish(universe))
        assert second["rc"] == 0, (k, second)
        # what is done is not done again, and what is left takes no more than it would have taken
        statements = plains(second["statements"])
        assert not set(statements) & set(world.plan[: reached[k]]), k
        assert len(statements) <= len(world.plan) - reached[k], k
    found = snapshot(site.client)
    assert all(found[universe] == world.states[-1] for universe in universes.values())
    assert found["shared"] == shared
    third = site.run(together(map(wish, universes.values())))
    assert third["rc"] == 0 and not third["changed"], third
    site.clear()


def _fail(world: World, site: Site, mishap: Mishap, k: int, universe: str) -> int:
    """One run that meets its mishap at statement `k`, and what it says about it; how many statements have run."""
    n, fault = len(world.plan), mishap.at(k)
    with FaultProxy(site.server.url, [fault], site.server.kill) as proxy:
        limit = {"login_timeout": TIMEOUT} if fault.kind == "delay" else {}
        result = site.run({**wish(universe), **limit}, proxy.port)
        sent = changes(proxy)
        assert not proxy.faults, "the fault did not happen"
    if fault.kind.startswith("kill"):
        site.server.restart()
    lost = mishap.code is None
    assert result["rc"] == 1 and result["failed"], (k, result)
    assert plains(result["done"]) == world.plan[: k - 1]
    assert plains(result["pending"]) == world.plan[k:]
    stuck = result["unknown_statement" if lost else "failed_statement"]
    assert stuck and plain(stuck) == world.plan[k - 1]
    assert result["failed_statement" if lost else "unknown_statement"] is None
    assert (result["code"], result["error_name"]) == (mishap.code, mishap.name)
    assert result["changed"] is (k > 1 or lost)
    # each was sent once, and none after the mishap; up to a secret they read as they are shown
    said = [*result["done"], stuck]
    assert [text.split("'")[0] for text in sent] == [text.split("'")[0] for text in said]
    for part in (
        f"http://127.0.0.1:{proxy.port} as 'default'",
        f"Of {n} statements, statement {k} ",
        stuck,
        f"Done: {k - 1}, pending: {n - k}",
        mishap.advice,
        f"So the test says. ({mishap.name})" if mishap.code else "no answer from the server",
        "may have run or not" if lost else "",
        "run it again" if lost else "a second run",
    ):
        assert part in result["msg"], (part, result["msg"])
    assert not any(secret in json.dumps(result) for secret in SECRETS)
    return k if fault.kind in ALL_THE_SAME else k - 1


# -- SIGKILL --------------------------------------------------------------------------------------------------------


def test_a_run_killed_at_every_statement(world: World) -> None:
    """It can say nothing, and leaves nothing behind but a state that the next run completes."""

    def kill(site: Site, k: int, universe: str) -> int:
        ran = k % 3 == 0
        children: list[int] = []
        fault = Fault(k, "kill_after" if ran else "kill")
        with FaultProxy(site.server.url, [fault], lambda: os.kill(children[0], signal.SIGKILL)) as proxy:
            result = site.run(wish(universe), proxy.port, started=children.append)
            assert not proxy.faults
            assert len(changes(proxy)) == k
        assert result == {"rc": -signal.SIGKILL}
        return k if ran else k - 1

    world.each(0, lambda site, ks: _walk(world, site, ks, kill))


@pytest.mark.parametrize("k", [1, 13])
def test_a_killed_module_of_a_playbook_leaves_no_secret(world: World, tmp_path: Path, k: int) -> None:
    """The process that Ansible starts is killed; the play fails, and no file of either has a secret."""
    if world.version != NEWEST:
        pytest.skip("real playbooks run on the newest version")
    site = world.sites[0]
    (universe,) = site.universes(1)
    folders = {name: tmp_path / name for name in ("local", "remote", "tmp", "home")}
    for folder in folders.values():
        folder.mkdir()

    def kill() -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                python, *arguments = (process / "cmdline").read_text().split("\0")
                ours = any(str(folders["remote"]) in one and "AnsiballZ_" in one for one in arguments[:1])
                if python == sys.executable and ours:
                    os.kill(int(process.name), signal.SIGKILL)

    with FaultProxy(site.server.url, [Fault(k, "kill")], kill) as proxy:
        login = {"login_host": "127.0.0.1", "login_port": proxy.port, "login_secure": False}
        task = {"hardened.clickstack.clickhouse_access": {**login, **wish(universe)}}
        file = tmp_path / "playbook.yml"
        file.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
        run = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", str(file)],
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(ROOT / ".build/installed")),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCAL_TEMP": str(folders["local"]),
                "ANSIBLE_REMOTE_TEMP": str(folders["remote"]),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "TMPDIR": str(folders["tmp"]),
                "HOME": str(folders["home"]),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert not proxy.faults, run.stdout + run.stderr
    assert run.returncode == 2, run.stdout + run.stderr
    left = [path for folder in folders.values() for path in folder.rglob("*") if path.is_file()]
    for secret in SECRETS:
        assert secret not in run.stdout + run.stderr
        assert not [path for path in left if secret.encode() in path.read_bytes()]
    assert snapshot(site.client)[universe] == world.states[k - 1]
    assert site.run(wish(universe))["rc"] == 0
    assert snapshot(site.client)[universe] == world.states[-1]
    site.clear()


# -- two at once ----------------------------------------------------------------------------------------------------

STARTS = (
    (),
    ("databases", "named_collections"),
    ("settings_profiles",),
    ("roles",),
    ("users",),
    ("row_policies", "quotas"),
    ("grants",),
)
"""What is in the wanted state before two runs begin, each with all before it: so they meet at other statements."""
MEANWHILE = {
    36: "BAD_ARGUMENTS",
    82: "DATABASE_ALREADY_EXISTS",
    180: "THERE_IS_NO_PROFILE",
    192: "UNKNOWN_USER",
    199: "UNKNOWN_QUOTA",
    492: "ACCESS_ENTITY_NOT_FOUND",
    493: "ACCESS_ENTITY_ALREADY_EXISTS",
    511: "UNKNOWN_ROLE",
    523: "UNKNOWN_ROW_POLICY",
    669: "NAMED_COLLECTION_DOESNT_EXIST",
    670: "NAMED_COLLECTION_ALREADY_EXISTS",
}
"""What ClickHouse says to a run whose plan another one has overtaken."""


def other_wish(u: str) -> dict[str, Any]:
    """An input about the same entities that wants other values."""
    text = json.dumps(wish(u))
    changed = {"a = 3": "a = 4", "10.1.0.0": "10.2.0.0", '"queries": 9': '"queries": 8', '"value": 60': '"value": 61'}
    for ours, theirs in changed.items():
        assert ours in text
        text = text.replace(ours, theirs)
    result: dict[str, Any] = json.loads(text)
    return result


@pytest.mark.parametrize("other", [wish, other_wish], ids=["same input", "other input"])
def test_two_runs_at_once(world: World, other: Callable[[str], dict[str, Any]]) -> None:
    """Each ends in its state or says that somebody else was there; one more run ends in the wanted state."""

    def race(site: Site, _ks: Sequence[int]) -> None:
        with Forks() as forks, ThreadPoolExecutor(2) as pool:
            for number, universe in enumerate(site.universes(len(STARTS))):
                wanted, there = wish(universe), set().union(*STARTS[: number + 1])
                assert site.run({kind: wanted[kind] for kind in there})["rc"] == 0
                inputs = ((site, wanted), (replace(site, forks=forks), other(universe)))
                jobs = [pool.submit(one.run, options) for one, options in inputs]
                results = [job.result() for job in jobs]
                for result in results:
                    _clear(result)
                if other is wish and not any(result["rc"] for result in results):
                    assert snapshot(site.client)[universe] == world.states[-1]
                assert site.run(wanted)["rc"] == 0
                assert snapshot(site.client)[universe] == world.states[-1]
                assert not site.run(wanted)["changed"]
        site.clear()

    world.each(0, race)


def _clear(result: dict[str, Any]) -> None:
    """A run that another one came between did its work, or says what happened and what to do."""
    if result["rc"] == 0:
        return
    assert result["error_name"] == MEANWHILE.get(result["code"]), result["msg"]
    assert "meanwhile: run this again" in result["msg"]
    if "failed_statement" in result:
        assert result["failed_statement"] and result["unknown_statement"] is None
        assert result["changed"] or not result["done"]
    else:  # on 25.8 grants are read user by user
        assert result["msg"].endswith("Nothing was changed.") and not result.get("changed")


# -- a statement that is neither done nor not -----------------------------------------------------------------------


class Meanwhile(FaultProxy):
    """Somebody else is there just before the first change."""

    def __init__(self, site: Site, statement: str) -> None:
        super().__init__(site.server.url, [], site.server.kill)
        self.site, self.statement = site, statement

    def next_fault(self, statement: bytes) -> Fault | None:
        """Let the other one in."""
        if statement.startswith(b"CREATE") and self.statement:
            self.site.client.query(self.statement)
            self.statement = ""
        return super().next_fault(statement)


def test_a_shared_statement_may_be_done_in_part(world: World) -> None:
    """ClickHouse makes one entity after the other and stops at the one that exists: that counts as a change."""
    site = world.sites[0]
    (u,) = site.universes(1)
    options = {"roles": [{"name": f"{u}{name}"} for name in ("one", "two", "three")]}
    with Meanwhile(site, f"CREATE ROLE {u}two") as proxy:
        result = site.run(options, proxy.port)
    assert (result["rc"], result["code"], result["done"], result["pending"]) == (1, 493, [], [])
    assert plain(result["failed_statement"]) == "CREATE ROLE `one`, `two`, `three`"
    made = site.client.query(f"SELECT name FROM system.roles WHERE name IN ('{u}one', '{u}three')").split()
    assert result["changed"] is bool(made)
    assert ("was refused, and may be done in part" in result["msg"]) is bool(made)
    assert "Somebody else has made it meanwhile: run this again" in result["msg"]
    second = site.run(options)
    assert second["rc"] == 0 and second["changed"]
    assert not site.run(options)["changed"]
    site.clear()


@pytest.mark.parametrize(("code", "name"), [(159, "TIMEOUT_EXCEEDED"), (999, "KEEPER_EXCEPTION")])
def test_an_answer_that_decides_nothing(world: World, code: int, name: str) -> None:
    """Replicas that are late run an ON CLUSTER statement in the background: it is neither refused nor done."""
    site = world.sites[0]
    (u,) = site.universes(1)
    options = {"roles": [{"name": f"{u}new"}]}
    fault = Fault(1, "refuse", code=code, name=name, message="So the test says.")
    with FaultProxy(site.server.url, [fault], site.server.kill) as proxy:
        result = site.run({**options, "cluster": "default"}, proxy.port)
    assert (result["rc"], result["code"], result["error_name"], result["changed"]) == (1, code, name, True)
    assert plain(result["unknown_statement"]) == "CREATE ROLE `new` ON CLUSTER `default`"
    assert (result["failed_statement"], result["done"], result["pending"]) == (None, [], [])
    assert "may have run or not" in result["msg"] and "run it again" in result["msg"]
    site.clear()


@pytest.mark.parametrize(
    "where",
    ["", "There was an error on [replica-2:9000]: Code: 497. DB::Exception: "],
    ids=["of the server asked", "of a replica"],
)
def test_a_refusal_on_a_cluster(world: World, where: str) -> None:
    """Of the server asked, it means that nothing was done; of a replica it says nothing about the others."""
    site = world.sites[0]
    (u,) = site.universes(1)
    fault = Fault(1, "refuse", code=497, message=f"{where}default: Not enough privileges.")
    with FaultProxy(site.server.url, [fault], site.server.kill) as proxy:
        result = site.run({"roles": [{"name": f"{u}new"}], "cluster": "default"}, proxy.port)
    assert (result["rc"], result["code"], result["changed"]) == (1, 497, bool(where))
    assert result["failed_statement"] and result["unknown_statement"] is None
    assert ("may be done in part" in result["msg"]) is bool(where)
    assert "default: Not enough privileges." in result["msg"]
    site.clear()
