"""The roles one after the other, as the README tells: what each writes by default is what the next wants to find.

They know nothing of each other, so this is where a file's place, owner or mode that two of them see differently shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.sandbox.lab import Host, Lab
from tests.sandbox.lab.engines import TRIXIE
from tests.sandbox.lab.images import archives

NAME = "clickstack.example.com"
BASE = "/opt/clickstack"
ROLES = (
    "stack_secrets",
    "stack_tls",
    "stack_clickhouse",
    "stack_mongodb",
    "stack_otel",
    "stack_firewall",
    "stack_compose",
)
PASSPHRASE = "only for tests, and long enough"
pytestmark = pytest.mark.thorough  # hardened.clickstack.site does so too, in Molecule's full_stack


def variables(host: Host) -> dict[str, Any]:
    """What a site says: names, addresses and which images it has; and how the roles' READMEs wire stack_compose."""
    lan = ["192.168.50.0/24", "fd50::/64"]
    return {
        "stack_tls_ca_passphrase": PASSPHRASE,
        "stack_tls_ca_directory": "/run/lab/ca",
        "stack_tls_host_names": [NAME, host.wan4],
        "stack_mongodb_version": "5.0",
        "stack_firewall_host_ports": [{"port": 22, "sources": lan}],
        "stack_firewall_published": [{"port": 443}, {"port": "4317-4318"}],
        "stack_compose_host_name": NAME,
        "stack_compose_bind_addresses": [host.wan4],
        "stack_compose_app_tls_directory": f"{BASE}/tls/app",
        "stack_compose_app_otlp_endpoint": "https://otel-collector:4318",
        "stack_compose_otel_tls_directory": f"{BASE}/tls/otel",
        "stack_compose_otel_config_directory": f"{BASE}/otel",
        "stack_compose_otel_clickhouse_endpoint": "tcp://ch-server:9440?secure=true",
        "stack_compose_otel_clickhouse_user": "otel_ingest",
        "stack_compose_otel_clickhouse_database": "otel",
        "stack_compose_otel_environment": {"CLICKHOUSE_TLS_CA_FILE": "/certs/ca.crt"},
        "stack_compose_clickhouse_tls": True,
        "stack_compose_clickhouse_tls_directory": f"{BASE}/tls/clickhouse",
        "stack_compose_clickhouse_config_directory": f"{BASE}/clickhouse/config.d",
        "stack_compose_clickhouse_users_directory": f"{BASE}/clickhouse/users.d",
        "stack_compose_clickhouse_secrets": {
            "CLICKHOUSE_DISK_KEY": f"{BASE}/secrets/clickhouse_disk_key",
            "CLICKHOUSE_NAMED_COLLECTIONS_KEY": f"{BASE}/secrets/clickhouse_named_collections_key",
        },
        "stack_compose_mongodb_config_directory": f"{BASE}/mongodb",
        "stack_compose_mongodb_tls_directory": f"{BASE}/tls/mongodb",
        "stack_compose_mongodb_shell_options": ["--tls", "--tlsCAFile", "/certs/ca.crt", "--host", "db"],
        "stack_compose_reloaded_paths": [f"{BASE}/tls/clickhouse", f"{BASE}/tls/mongodb"],
        # the lab's: impatient, with this machine's limits, and stand-ins that speak no TLS
        "stack_compose_healthcheck_interval": "2s",
        "stack_compose_wait_timeout": 60,
        "stack_compose_clickhouse_nofile": 0,
        "stack_compose_mongodb_nofile": 0,
        "stack_compose_overrides": {
            "services": {"ch-server": {"healthcheck": {"test": ["CMD", "nc", "-w", "2", "127.0.0.1", "8443"]}}}
        },
    }


def play(lab: Lab, host: Host, *arguments: str) -> dict[str, int]:
    """Run all of them from the trusted neighbour; return the counts of the host's recap."""
    plays = [
        {
            "name": "ClickStack",
            "hosts": host.name,
            "gather_facts": False,
            "vars": variables(host),
            "roles": [f"hardened.clickstack.{role}" for role in ROLES],
        }
    ]
    (lab.folder / "together.yml").write_text(json.dumps(plays))
    done = lab.ansible(*arguments, "/run/lab/together.yml", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output + host.sh(
        "docker ps -a; docker logs $(docker ps -aq | head -1) 2>&1", check=False
    )
    secrets = host.sh(f"cat {BASE}/secrets/*").split()
    assert len(secrets) >= 12 and not [secret for secret in [*secrets, PASSPHRASE] if secret in output]
    (recap,) = re.findall(rf"^{host.name}\s+: (ok=.*)$", output, re.MULTILINE)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap)}


@pytest.fixture(scope="module")
def host(lab: Lab, new_host: Callable[..., Host]) -> Host:
    """A bare Debian 13 host with Docker and the images."""
    host = new_host("together", TRIXIE)
    for file in archives():
        host.load(file)
    return host


def test_a_bare_host_comes_to_run_the_stack_and_a_second_run_changes_nothing(lab: Lab, host: Host) -> None:
    assert play(lab, host)["changed"] > 20
    services = host.docker("ps", "--format", '{{.Label "com.docker.compose.service"}} {{.Status}}').splitlines()
    assert sorted(service.split()[0] for service in services) == ["app", "ch-server", "db", "otel-collector", "proxy"]
    assert all("(healthy)" in service for service in services), services
    assert play(lab, host)["changed"] == 0
    assert play(lab, host, "--check")["changed"] == 0


def test_from_outside_only_the_three_ports_are_open(lab: Lab, host: Host) -> None:
    assert lab.untrusted.scan(host.wan4) == {443, 4317, 4318}
    assert lab.untrusted.scan(host.wan6) == set()
    assert lab.trusted.scan(host.lan4) == {22}


def test_each_container_reads_what_is_its_own_and_nobody_else_s(host: Host) -> None:
    """Each user, by number, in a container that has the directories mounted, past the one above, which is root's."""
    files = host.sh(f"cd {BASE}; find secrets tls -type f ! -name tls.crt ! -name ca.crt").split()
    mounts = [f"--volume={BASE}/{folder}:/base/{folder}:ro" for folder in ("secrets", "tls")]
    script = "cd /base; for file; do [ ! -r $file ] || echo $file; done"
    image = ("--entrypoint=/bin/sh", "docker.hyperdx.io/hyperdx/hyperdx:2.36.0", "-c", script, "sh")
    readable = {}
    for user in (1000, 10001, 101, 999, 12345):
        confined = ("--rm", "--network=none", "--cap-drop=ALL", f"--user={user}:{user}")
        readable[user] = set(host.docker("run", *confined, *mounts, *image, *files).split())
    secrets = {"express_session_secret", "mongo_uri"}
    assert readable == {
        1000: {f"secrets/{name}" for name in secrets} | {"tls/app/tls.key", "tls/proxy/tls.key"},
        10001: {"secrets/otel_clickhouse_password", "tls/otel/tls.key"},
        101: {
            "secrets/clickhouse_bootstrap_password",
            "secrets/clickhouse_disk_key",
            "secrets/clickhouse_named_collections_key",
            "tls/clickhouse/tls.key",
        },
        999: {
            "secrets/mongodb_keyfile",
            "secrets/mongodb_root_password",
            "tls/mongodb/tls.key",
            "tls/mongodb/mongodb.pem",
        },
        12345: set(),
    }
