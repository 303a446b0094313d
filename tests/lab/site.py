"""What tests of hardened.clickstack.site share: images by name, what an inventory says in the lab, spans and runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.sandbox.lab import Host, Lab, wheels
from tests.sandbox.lab.stack import images

from .conftest import LAB_ENGINES

ENGINE = "28.5" if "28.5" in LAB_ENGINES else LAB_ENGINES[-1]
NAME = "clickstack.example.com"
PASSPHRASE = "only for tests, and long enough"
BASE = "/opt/clickstack"
VARIABLES: Mapping[str, Any] = {
    "stack_firewall_host_ports": [{"port": 22, "sources": ["192.168.50.0/24", "fd50::/64"]}],
    # The lab has neither a route to the world nor an index of Python packages, and is impatient.
    "clickstack_pip_environment": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.FOLDER},
    "stack_tls_ca_directory": "/run/lab/ca",
    "stack_compose_healthcheck_interval": "5s",
    "stack_compose_wait_timeout": 120,
    "stack_compose_clickhouse_nofile": 0,
    "stack_compose_mongodb_nofile": 0,
}
"""What an inventory says in the lab, whatever the stack is."""


def load(host: Host, *names: str) -> None:
    """Load images of the stack by their short names: app, clickhouse, mongodb, otel, proxy; none for all of them."""
    for file in images.archives():
        found = re.fullmatch(r"(?:stack-)?(\w+)-\w+", file.parent.name)
        if found and (not names or found[1] in names):
            host.load(file)


def play(
    lab: Lab, inventory: str, name: str, *arguments: str, check: bool = True, hosts: tuple[Host, ...]
) -> tuple[str, dict[str, int]]:
    """Run a playbook of the collection as an administrator does: what it printed, and what it changed on each host.

    :param check: whether it must succeed; else it must fail
    :param hosts: whose containers have the word where that is not so
    """
    done = lab.ansible("-i", inventory, f"hardened.clickstack.{name}", *arguments, check=False, timeout=900)
    output = done.stdout + done.stderr
    assert (done.returncode == 0) == check, output + "".join(
        host.sh("docker ps -a; for one in $(docker ps -aq); do docker logs --tail=20 $one 2>&1; done", check=False)
        for host in hosts
    )
    assert PASSPHRASE not in output
    recap = re.findall(r"^(\w+)\s+: .*changed=(\d+)", output, re.MULTILINE)
    return output, {host: int(changed) for host, changed in recap}


def send_span(lab: Lab, address: str, authority: str, name: str, key: str) -> int:
    """The status of what a sender of a span from outside gets from the collector; it may still be starting.

    :param authority: a file that neighbours see
    :param key: the ingestion key, or nothing
    """
    at = str(time.time_ns())
    span = {"traceId": "ab" * 16, "spanId": "cd" * 8, "name": name, "kind": 1}
    span |= dict.fromkeys(("startTimeUnixNano", "endTimeUnixNano"), at)
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    headers = ["-H", "Content-Type: application/json", *(["-H", f"Authorization: {key}"] if key else [])]
    done = lab.untrusted.run(
        "curl", "--silent", "--noproxy", "*", "--max-time", "20", "--cacert", authority,
        "--retry", "20", "--retry-delay", "1", "--retry-all-errors", "-o", "/dev/null", "-w", "%{http_code}",
        *headers, "-d", body, f"https://{address}:4318/v1/traces",
    )  # fmt: skip
    return int(done.stdout)


def spans(query: Callable[[str], str], name: str, within: float = 20) -> int:
    """How many spans of a name there come to be in ClickHouse; -1 where it does not say.

    :param query: what ClickHouse says to a statement
    :param within: seconds to wait for the first of them
    """
    deadline = time.monotonic() + within
    while True:
        said = query(f"SELECT count() FROM otel.otel_traces WHERE SpanName = '{name}'").strip()
        found = int(said) if said.isdecimal() else -1
        if found > 0 or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def administrator(host: Host) -> Callable[[str], str]:
    """What ClickHouse on a host says to its administrator, who comes from there."""

    def query(statement: str) -> str:
        password = host.read(f"{BASE}/secrets/clickhouse_admin_password").strip()
        return host.run(
            "curl", "--silent", "--cacert", f"{BASE}/tls/clickhouse/ca.crt", "-u", f"clickstack_admin:{password}",
            "-d", statement, "https://172.30.81.12:8443/", check=False,
        ).stdout  # fmt: skip

    return query
