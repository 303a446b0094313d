"""Real playbooks: check, apply, again, verify. A play of one's own, and the installed hardened.clickstack.access."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect import common

from tests.demo.attempts import attempt, logins, variables
from tests.demo.cases import CASES, INGEST_ADDRESS, OUTSIDE
from tests.integration.servers import NEWEST, on_newest, root
from tests.sandbox import Sandbox, ServerSaid, start
from tests.sandbox.faults import Fault
from tests.sandbox.real_server import VERSIONS as GENUINE

READER = {"name": "pb_reader", "authentication": [{"type": "sha256_password", "password": "{{ password }}"}]}
TASKS: list[dict[str, Any]] = [
    {"clickhouse_database": {"name": "pb_shop"}},
    {
        "clickhouse_settings_profile": {
            "name": "pb_limits",
            "settings": [{"name": "max_memory_usage", "value": "2Gi", "max": "4Gi"}],
        }
    },
    {"clickhouse_role": {"name": "pb_reading", "profiles": ["pb_limits"]}},
    {
        "clickhouse_grant": {
            "grantee": "pb_reading",
            "mode": "exact",
            "privileges": [{"privilege": ["select"], "scope": ["pb_shop.*"]}],
            "partial_revokes": [{"privilege": ["SELECT"], "scope": ["pb_shop.cards"]}],
        }
    },
    {"clickhouse_user": {**READER, "roles": [{"name": "pb_reading"}], "host": {"ip": ["127.0.0.1"]}}},
]


@on_newest
def test_a_play_of_ones_own(playbook: Any, clickhouse: Any) -> None:
    """The connection is said once, in module_defaults; each task builds on those before, in check mode too."""
    client = root(clickhouse)
    for statement in (
        "DROP USER IF EXISTS pb_reader",
        "DROP ROLE IF EXISTS pb_reading",
        "DROP SETTINGS PROFILE IF EXISTS pb_limits",
        "DROP DATABASE IF EXISTS pb_shop",
    ):
        client.query(statement)
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"password": "only for tests 8"},
        "module_defaults": {"group/hardened.clickstack.clickhouse": {"login_timeout": 30}},
        "tasks": [{f"hardened.clickstack.{name}": options for name, options in task.items()} for task in TASKS],
    }
    predicted = playbook([play], "--check", "--diff")
    assert (predicted.code, predicted.recap["changed"]) == (0, len(TASKS)), predicted.output
    assert client.query("SELECT count() FROM system.users WHERE startsWith(name, 'pb_')") == "0\n"
    assert client.query("EXISTS DATABASE pb_shop") == "0\n"
    applied = playbook([play], "--diff")
    assert (applied.code, applied.recap["changed"]) == (0, len(TASKS)), applied.output
    again = playbook([play], "--diff")
    assert (again.code, again.recap["changed"]) == (0, 0), again.output
    assert _diffs(predicted.output) and _diffs(applied.output) and not _diffs(again.output)

    for name in ("goods", "cards"):
        client.query(f"CREATE TABLE pb_shop.{name} (id UInt8) ENGINE = Memory")
    reader = clickhouse.session("pb_reader", "only for tests 8")
    assert reader.query("SELECT count() FROM pb_shop.goods") == "0\n"
    assert reader.query("SELECT getSetting('max_memory_usage')") == f"{2 * 1024**3}\n"
    for statement, code in (
        ("SELECT count() FROM pb_shop.cards", 497),
        ("INSERT INTO pb_shop.goods VALUES (1)", 497),
        ("SELECT 1 SETTINGS max_memory_usage = 5000000000", 452),
    ):
        with pytest.raises(ServerSaid) as refused:
            reader.query(statement)
        assert refused.value.code == code, statement
    for statement in (
        "DROP USER pb_reader",
        "DROP ROLE pb_reading",
        "DROP SETTINGS PROFILE pb_limits",
        "DROP DATABASE pb_shop",
    ):
        client.query(statement)


def _diffs(output: str) -> list[str]:
    """The lines of --diff."""
    return [line for line in output.splitlines() if line.startswith(("+", "-", "@@"))]


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Sandbox]:
    """A ClickHouse as it ships, with `default`; a header says from where a client comes."""
    directory = tmp_path / "clickhouse"
    directory.mkdir()
    action = common.get_setting("invalid_setting_action")
    with start(NEWEST, directory, tls=True, trust_peer_header=True) as running:
        yield running
    common.set_setting("invalid_setting_action", action)


EXTRA = {
    "roles": [{"name": "analyst"}],
    "users": [
        {
            "name": "alice",
            "authentication": [{"type": "sha256_password", "password": "only for tests 9"}],
            "host": {"local": True},
            "roles": [{"name": "analyst"}],
        }
    ],
    "quotas": [{"name": "analysts", "keyed_by": "user_name", "apply_to": {"names": ["analyst"]}}],
    "grants": [{"grantee": "analyst", "privileges": [{"privilege": ["SELECT"], "scope": ["otel.*"]}]}],
}
"""What a site adds to the entities of the role."""
ENTITIES = "SELECT name FROM (SELECT name FROM system.users UNION ALL SELECT name FROM system.roles) ORDER BY name"


def killed(inputs: Path, environment: dict[str, str], until: Callable[[], bool]) -> None:
    """Start the access playbook and kill it, with all its children, as soon as `until()` is true."""
    process = subprocess.Popen(
        ["ansible-playbook", "hardened.clickstack.access", "-e", f"@{inputs}"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not until() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the playbook ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def access(playbook: Any, tmp_path: Path) -> Callable[..., Any]:
    """Run the access playbook with these inputs, as an operator does: the environment does not say where the server is.

    The first argument are the inputs; what is asked for by `kill` is when to kill it, and then nothing is returned.
    """
    environment = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    environment["ANSIBLE_COLLECTIONS_PATH"] = os.environ.get(
        "ANSIBLE_COLLECTIONS_PATH", str(Path(__file__).parents[2] / ".build/installed")
    )
    inputs = tmp_path / "inputs.yml"

    def run(given: dict[str, object], *arguments: str, kill: Callable[[], bool] | None = None) -> Any:
        inputs.write_text(yaml.safe_dump(given))
        if kill is not None:
            return killed(inputs, environment, kill)
        return playbook("hardened.clickstack.access", "-e", f"@{inputs}", *arguments, **environment)

    return run


@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="closes the user default, and needs clients from elsewhere")
@on_newest
def test_the_access_playbook(access: Any, fresh: Sandbox) -> None:
    """Predicted, killed half-way, finished, again with nothing to do; then all try what they may and may not."""
    given = {**variables(fresh.https_port, Path(str(fresh.ca)), fresh.users_d), "stack_access_extra": EXTRA}
    default = fresh.session("default")
    shipped = default.query(ENTITIES)
    predicted = access(given, "--check", "--diff", "-vvv")
    assert (predicted.code, predicted.recap["changed"]) == (0, 2), predicted.output
    assert '+        "privileges": [\n+            "GRANT SELECT ON otel.*",' in predicted.output
    assert default.query(ENTITIES) == shipped and not list(fresh.users_d.iterdir())

    # Killed as HyperDX' user is to be made. By then the administrator can log in, and has no rights yet.
    with fresh.faults(Fault(at=6, kind="delay", seconds=600)) as way:
        plain = {"login_host": "127.0.0.1", "login_port": way.port, "login_secure": False, "login_ca_cert": ""}
        detour = {f"stack_access_{option}": value for option, value in plain.items()}
        access({**given, **detour}, kill=lambda: way.counts[True] == 6)
        assert way.statements[-1].startswith(b"CREATE USER `hyperdx` ")
    assert {"clickstack_admin", "otel_ingest"} - set(default.query(ENTITIES).split()) == set()
    assert default.query("SHOW GRANTS FOR clickstack_admin") == ""
    finished = access(given, "--diff", "-vvv")
    assert (finished.code, finished.recap["changed"]) == (0, 2), finished.output
    for arguments in ((), ("--check",)):
        again = access(given, *arguments)
        assert (again.code, again.recap["changed"]) == (0, 0), again.output

    secrets = {str(value) for key, value in given.items() if key.endswith("_password")} | {"only for tests 9"}
    assert not any(secret in run.output for secret in secrets for run in (predicted, finished, again))
    assert fresh.session("alice", "only for tests 9").query("SHOW GRANTS FINAL").count("GRANT SELECT ON otel.*") == 1
    users = logins(given)
    outcomes = {
        f"{case.user}: {case.what}": attempt(case, fresh.https_port, Path(str(fresh.ca)), *users[case.user])
        for case in CASES
    }
    wrong = [case for case in CASES if not case.is_right(outcomes[f"{case.user}: {case.what}"])]
    assert not wrong, [(case.user, case.what, outcomes[f"{case.user}: {case.what}"]) for case in wrong]
    with pytest.raises(ServerSaid) as closed:
        default.query("SELECT 1")
    assert closed.value.code in (194, 516)


@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="closes the user default")
@on_newest
def test_the_access_playbook_does_not_lock_its_administrator_out(access: Any, fresh: Sandbox) -> None:
    """Wrong passwords and a host that keeps it out are refused; a new password is set, and used from there on."""
    given = variables(fresh.https_port, Path(str(fresh.ca)), fresh.users_d)
    assert access(given).code == 0
    old = str(given["stack_access_admin_password"])
    admin = fresh.session("clickstack_admin", old)
    before = admin.query(ENTITIES), admin.query("SHOW CREATE USER clickstack_admin")

    def refused(reason: str, *passwords: str, **changed: object) -> None:
        run = access({**given, "stack_access_extra": EXTRA, **changed})
        assert (run.code, run.recap["changed"]) == (2, 0) and reason in run.output, run.output
        assert not any(password in run.output for password in (old, *passwords))
        assert (admin.query(ENTITIES), admin.query("SHOW CREATE USER clickstack_admin")) == before

    refused(
        "Neither the administrator clickstack_admin nor the bootstrap user default can log in",
        "wrong one",
        "wrong two",
        stack_access_admin_password="wrong one",
        stack_access_bootstrap_password="wrong two",
    )
    refused(
        "users[0].host: clickstack_admin could not log in from 127.0.0.1, where this run comes from",
        stack_access_admin_host={"ip": ["10.0.0.5"]},
    )

    given |= {
        "stack_access_admin_password": "only for tests 10",
        "stack_access_bootstrap_user": "clickstack_admin",
        "stack_access_bootstrap_password": old,
        # the collector's host does not admit this machine, so nobody can tell whether its password is another one
        "stack_access_ingest_password": "only for tests 11",
        "stack_access_update_passwords": "always",
    }
    predicted = access(given, "--check")
    assert predicted.code == 0 and predicted.recap["changed"] > 0, predicted.output
    assert admin.query("SELECT 1") == "1\n"
    rotated, again = access(given), access({**given, "stack_access_update_passwords": "on_drift"})
    assert (rotated.code, rotated.recap["changed"]) == (0, 2), rotated.output
    assert (again.code, again.recap["changed"]) == (0, 0), again.output
    assert not any(secret in rotated.output for secret in (old, "only for tests 10"))
    with pytest.raises(ServerSaid):
        admin.query("SELECT 1")
    collector = fresh.session("otel_ingest", "only for tests 11", headers={"X-Sandbox-Peer": INGEST_ADDRESS})
    assert collector.query("SELECT 1") == "1\n"


@pytest.mark.parametrize("version", sorted(GENUINE))
@on_newest
@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="closes the user default")
def test_the_access_playbook_on_clickhouse_itself(access: Any, version: str) -> None:
    """On ClickHouse's own server, of the versions that have one here: twice, with new passwords, and what each may do.

    It has no way to claim an address, so everybody comes from, and is admitted from, the server's own machine.
    """
    if version not in os.environ.get("SANDBOX_VERSIONS", version):
        pytest.skip("not among SANDBOX_VERSIONS")
    action = common.get_setting("invalid_setting_action")
    with start(version, tls=True) as server:
        given = variables(server.https_port, Path(str(server.ca)), server.users_d)
        given |= {f"stack_access_{user}_host": {"local": True} for user in ("admin", "ingest", "reader")}
        given["stack_access_extra"] = EXTRA
        first, second = access(given), access(given)
        assert (first.code, second.code, second.recap["changed"]) == (0, 0, 0), first.output + second.output
        old = {
            "stack_access_bootstrap_user": "clickstack_admin",
            "stack_access_bootstrap_password": given["stack_access_admin_password"],
        }
        given |= {f"stack_access_{user}_password": f"only for tests {user}" for user in ("admin", "ingest", "reader")}
        changed, same = access({**given, **old}), access(given)
        assert (changed.code, changed.recap["changed"]) == (0, 2), changed.output
        assert (same.code, same.recap["changed"]) == (0, 0), same.output
        users = logins(given)
        tried = [case for case in CASES if case.address != OUTSIDE]
        codes = [attempt(case, server.https_port, Path(str(server.ca)), *users[case.user]) for case in tried]
    common.set_setting("invalid_setting_action", action)
    wrong = [(case.user, case.what, code) for case, code in zip(tried, codes, strict=True) if not case.is_right(code)]
    assert not wrong
