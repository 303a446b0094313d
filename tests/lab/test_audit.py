"""The audit on Docker hosts of the lab: upstream's deployment as it ships, seen from outside and from the host."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.lab import Host, Lab
from tests.sandbox.lab.images import archives

from .conftest import LAB_ENGINES
from .test_stack_compose import UPSTREAM

Json = dict[str, Any]
ENGINE = "26.1" if "26.1" in LAB_ENGINES else LAB_ENGINES[0]
SECRET = "upstream-session-secret-Zq81"  # stands in the Compose file, as people put it there

HOLES = {
    # what is open to everybody
    "NET-PORT-01", "NET-PORT-04", "NET-PORT-05", "NET-PUB-01",
    # HyperDX: plain HTTP, and what it runs with
    "HDX-TLS-01", "HDX-SESS-01", "HDX-COOK-01", "HDX-LOG-01", "HDX-USE-01",
    # the collector writes in plain text, as default
    "OTEL-CH-01", "OTEL-CH-02",
    # ClickHouse in plain text, with protocols that nobody uses and its metrics
    "CH-TLS-01", "CH-NET-01", "CH-NET-02",
    # containers as Docker makes them
    "DKR-CAP-01", "DKR-NNP-01", "DKR-RO-01", "DKR-LIM-01", "DKR-LIM-02", "DKR-LIM-03", "DKR-HLTH-01", "DKR-LOG-01",
    "DKR-IMG-01", "DKR-NET-01", "DKR-RST-01", "FILE-MODE-01",
}  # fmt: skip
"""The holes of upstream's deployment that stand-ins for its images show. Those of the databases need the databases."""


@pytest.fixture(scope="module")
def upstream(new_host: Callable[..., Host]) -> Host:
    """Upstream's Compose file, started by hand."""
    host = new_host("audit", ENGINE, "2.40")
    for file in archives():
        host.load(file)
    text = UPSTREAM.replace(
        "      HYPERDX_API_PORT: 8000\n", "      HYPERDX_API_PORT: 8000\n      HYPERDX_LOG_LEVEL: debug\n"
    )
    host.write("/srv/hyperdx/docker-compose.yml", text)
    host.sh("chmod 0644 /srv/hyperdx/docker-compose.yml; cd /srv/hyperdx && docker compose up -d")
    time.sleep(2)
    return host


def audit(lab: Lab, host: Host, folder: Path, *arguments: str, **variables: Any) -> Json:
    """Run the audit; return the findings by their controls, with the whole output and the recap's counts."""
    inventory = json.loads((lab.folder / "inventory.json").read_text())
    assert host.name in json.dumps(inventory)
    given = {
        "stack_audit_vantage": "untrusted",
        "stack_audit_addresses": [host.wan4, host.wan6],
        "stack_audit_report_directory": str(folder / "reports"),
        "stack_audit_report_formats": ["json"],
        **variables,
    }
    role = {"name": "Audit", "ansible.builtin.include_role": {"name": "hardened.clickstack.stack_audit"}}
    python = {"name": "Vantage", "hosts": "localhost", "gather_facts": False, "tasks": [vantage(lab)]}
    play = {"name": "Audit", "hosts": host.name, "gather_facts": False, "vars": given, "tasks": [role]}
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([python, play]))
    begun = time.monotonic()
    done = lab.ansible(playbook, *arguments, check=False)
    output = done.stdout + done.stderr
    (report,) = (folder / "reports").glob("*.json")
    findings = {one["id"]: one for one in json.loads(report.read_text())["findings"]}
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", output[output.rindex("PLAY RECAP") :])}
    return {
        "findings": findings,
        "output": output,
        "seconds": time.monotonic() - begun,
        "counts": counts,
        "code": done.returncode,
    }


def vantage(lab: Lab) -> Json:
    """A task that adds the untrusted neighbour to the inventory: its Python runs in its network namespace."""
    import sys

    python = lab.folder / "untrusted-python"
    python.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/untrusted {sys.executable} "$@"\n')
    python.chmod(0o755)
    return {
        "name": "The vantage",
        "ansible.builtin.add_host": {
            "name": "untrusted",
            "ansible_connection": "local",
            "ansible_python_interpreter": "/run/lab/untrusted-python",
        },
        "changed_when": False,
    }


def test_upstream_s_deployment_has_every_hole(lab: Lab, upstream: Host, tmp_path: Path) -> None:
    found = audit(lab, upstream, tmp_path)
    failed = {control for control, one in found["findings"].items() if one["status"] == "fail"}
    print(found["output"], found["seconds"])
    assert failed >= HOLES, HOLES - failed
    assert found["code"] != 0 and found["counts"]["changed"] == 0
