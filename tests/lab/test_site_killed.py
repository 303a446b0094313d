"""hardened.clickstack.site, killed at one task after the other, ends in the state of a run that nobody disturbed.

Molecule's full_stack kills two runs in the middle of whatever they do; here it is everywhere, when a task begins.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.playbook import killer
from tests.sandbox.lab import Host, Lab, wheels

from .site import BASE, ENGINE, NAME, PASSPHRASE, VARIABLES, administrator, load, play, send_span, spans

pytestmark = pytest.mark.thorough
STEP = 23
"""Each run may begin so many tasks more than the one before it; there are about 300."""
INVENTORY = "/run/lab/killed.json"
STATE = f"""
cd {BASE}; find . ! -path '*/__pycache__*' -printf '%p %y %m %U:%G\\n' | sort
docker ps --all --format '{{{{.Names}}}} {{{{.Image}}}} {{{{.State}}}}' | sort
docker network ls --format '{{{{.Name}}}} {{{{.Internal}}}}' | sort
docker volume ls --format '{{{{.Name}}}}' | sort
systemctl list-unit-files --state=enabled --no-legend | sort
ufw status
nft list table inet stack_firewall | grep -v packets | sort
"""
"""What a host looks like, without what differs between any two of them."""
ACCESS = """
SELECT 'user', name, storage, toString(host_ip), toString(default_roles_list) FROM system.users
UNION ALL SELECT 'grant', ifNull(user_name, role_name), access_type, ifNull(database, ''), ifNull(table, '')
    FROM system.grants
UNION ALL SELECT 'role', name, storage, '', '' FROM system.roles
UNION ALL SELECT 'profile', name, storage, toString(apply_to_list), '' FROM system.settings_profiles
UNION ALL SELECT 'quota', name, storage, toString(apply_to_list), '' FROM system.quotas
ORDER BY ALL FORMAT TSV
"""


def state(host: Host) -> list[str]:
    """Its files, containers, firewall and who may do what in ClickHouse, by lines."""
    said = host.sh(STATE) + administrator(host)(ACCESS)
    return [line.replace(host.wan4, "WAN4").replace(host.name, "HOST") for line in said.splitlines()]


@pytest.fixture(scope="module")
def hosts(lab: Lab, new_host: Callable[..., Host]) -> dict[str, Host]:
    """Two bare hosts, each for a stack of its own."""
    made = {name: new_host(name, ENGINE) for name in ("undisturbed", "killed")}
    for host in made.values():
        load(host)
        wheels.give(host)
    variables = {**VARIABLES, "clickstack_host_name": NAME, "stack_tls_ca_passphrase": PASSPHRASE}
    said = {host.name: {"clickstack_bind_addresses": [host.wan4]} for host in made.values()}
    (lab.folder / "killed.json").write_text(json.dumps({"clickstack": {"hosts": said, "vars": variables}}))
    return made


def test_a_run_that_is_killed_at_any_task_is_completed_by_the_next(
    lab: Lab, hosts: dict[str, Host], tmp_path: Path
) -> None:
    undisturbed, killed = hosts.values()
    play(lab, INVENTORY, "site", "--limit=undisturbed", hosts=(undisturbed,))
    site = ("-i", INVENTORY, "hardened.clickstack.site", "--limit=killed")
    plugin = killer(tmp_path)
    runs = 0
    while True:
        runs += 1
        done = lab.ansible(*site, check=False, env={**plugin, "KILL_AT": str(runs * STEP)})
        if done.returncode == 0:
            break
        # as a shell says it, or as Python does
        assert done.returncode in (128 + signal.SIGKILL, -signal.SIGKILL), done.stdout + done.stderr
    assert runs > 5
    output, changed = play(lab, INVENTORY, "site", "--limit=killed", hosts=(killed,))
    assert changed == {"killed": 0}, output
    is_now = state(killed)
    assert is_now == state(undisturbed)
    # each part of it says something
    for part in (r"\./secrets/mongo_uri ", "hdx-oss-proxy-1 .* running", "Status: active", "user\tclickstack_admin\t"):
        assert any(re.match(part, line) for line in is_now), (part, is_now)
    (lab.folder / "killed.crt").write_text(killed.read(f"{BASE}/tls/otel/ca.crt"))
    key = killed.read(f"{BASE}/secrets/ingestion_api_key").strip()
    assert send_span(lab, killed.wan4, "/run/lab/killed.crt", "survived", key) == 200
    assert spans(administrator(killed), "survived") == 1
