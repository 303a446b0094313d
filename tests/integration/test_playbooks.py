"""Real playbooks: check, apply, again, verify. A play of one's own, and the installed hardened.clickstack.access."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect import common

from tests.demo.attempts import attempt, logins, variables
from tests.demo.cases import CASES, OUTSIDE
from tests.integration.servers import NEWEST, on_newest, root
from tests.sandbox import Sandbox, ServerSaid, start
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


def killed(given: Path, environment: dict[str, str], until: Any) -> None:
    """Start the access playbook and kill it, with all its children, as soon as `until()` is true."""
    process = subprocess.Popen(
        ["ansible-playbook", "hardened.clickstack.access", "-e", f"@{given}"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not until() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the playbook ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="closes the user default, and needs clients from elsewhere")
@on_newest
def test_the_access_playbook(playbook: Any, fresh: Sandbox, tmp_path: Path) -> None:
    """Predicted, killed half-way, finished, again with nothing to do; then all try what they may and may not."""
    given = variables(fresh.https_port, Path(str(fresh.ca)), fresh.users_d)
    inputs = tmp_path / "inputs.yml"
    inputs.write_text(yaml.safe_dump(given))
    # as for an operator, the inputs say where the server is, and the environment says nothing
    environment = {"ANSIBLE_PIPELINING": "1", "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    environment["ANSIBLE_COLLECTIONS_PATH"] = os.environ.get(
        "ANSIBLE_COLLECTIONS_PATH", str(Path(__file__).parents[2] / ".build/installed")
    )

    def access(*arguments: str, **more: str) -> Any:
        return playbook("hardened.clickstack.access", "-e", f"@{inputs}", *arguments, **environment, **more)

    default = fresh.session("default")
    entities = "SELECT name FROM (SELECT name FROM system.users UNION ALL SELECT name FROM system.roles) ORDER BY name"
    shipped = default.query(entities)
    predicted = access("--check")
    assert predicted.code == 0 and predicted.recap["changed"] > 5, predicted.output
    assert default.query(entities) == shipped and not list(fresh.users_d.iterdir())

    killed(inputs, environment, lambda: "otel_ingest" in default.query(entities))
    assert "hyperdx\n" not in default.query(entities)
    finished = access()
    assert finished.code == 0 and finished.recap["changed"] > 0, finished.output
    for arguments in ((), ("--check",)):
        again = access(*arguments)
        assert (again.code, again.recap["changed"]) == (0, 0), again.output

    secrets = {value for key, value in given.items() if key.endswith("_password")}
    assert not any(str(secret) in run.output for secret in secrets for run in (predicted, finished, again))
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

    admin = fresh.session("clickstack_admin", str(given["stack_access_admin_password"]))
    before = admin.query(entities)
    inputs.write_text(
        yaml.safe_dump(
            {**given, "stack_access_admin_password": "wrong one", "stack_access_bootstrap_password": "wrong two"}
        )
    )
    refused = access()
    assert refused.code == 2 and refused.recap["changed"] == 0
    assert "Neither the administrator clickstack_admin nor the bootstrap user default can log in" in refused.output
    assert "wrong one" not in refused.output and "wrong two" not in refused.output
    assert admin.query(entities) == before


@pytest.mark.parametrize("version", sorted(GENUINE))
@pytest.mark.skipif("CLICKHOUSE_URL" in os.environ, reason="closes the user default")
def test_the_access_playbook_on_clickhouse_itself(playbook: Any, tmp_path: Path, version: str) -> None:
    """On ClickHouse's own server, of the versions that have one here: twice, and then what each user may do.

    It has no way to claim an address, so everybody comes from, and is admitted from, the server's own machine.
    """
    if version not in os.environ.get("SANDBOX_VERSIONS", version):
        pytest.skip("not among SANDBOX_VERSIONS")
    action = common.get_setting("invalid_setting_action")
    with start(version, tls=True) as server:
        given = variables(server.https_port, Path(str(server.ca)), server.users_d)
        given |= {f"stack_access_{user}_host": {"local": True} for user in ("admin", "ingest", "reader")}
        inputs = tmp_path / "inputs.yml"
        inputs.write_text(yaml.safe_dump(given))
        first, second = (playbook("hardened.clickstack.access", "-e", f"@{inputs}") for _run in range(2))
        assert (first.code, second.code, second.recap["changed"]) == (0, 0, 0), first.output + second.output
        users = logins(given)
        tried = [case for case in CASES if case.address != OUTSIDE]
        codes = [attempt(case, server.https_port, Path(str(server.ca)), *users[case.user]) for case in tried]
    common.set_setting("invalid_setting_action", action)
    wrong = [(case.user, case.what, code) for case, code in zip(tried, codes, strict=True) if not case.is_right(code)]
    assert not wrong
