"""hardened.clickstack.site over three bare Docker hosts: HyperDX with collector and proxy, ClickHouse, MongoDB.

All reach each other on the untrusted side, so that it is the firewall which keeps others from the databases.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.lab import Host, Lab, wheels

from .site import BASE, ENGINE, NAME, PASSPHRASE, VARIABLES, administrator, load, play, send_span, spans

Json = dict[str, Any]
OUTSIDE = "/run/lab/hosts-of-site"
"""A folder that neighbours see."""
RUNS = {"front": ("app", "otel", "proxy"), "columns": ("clickhouse",), "documents": ("mongodb",)}
"""The hosts, and the images that each needs."""
DATABASE_PORTS = (8443, 9440, 27017)


@dataclass
class Site:
    """The stack's hosts, and who looks at them from outside."""

    lab: Lab
    front: Host
    columns: Host
    documents: Host
    said: str = ""
    """What the first run printed, with all that it was asked to tell."""

    @property
    def hosts(self) -> tuple[Host, ...]:
        """All three."""
        return self.front, self.columns, self.documents

    def play(self, name: str, *arguments: str, check: bool = True) -> tuple[str, dict[str, int]]:
        """Run a playbook of the collection as an administrator does: what it printed, and what it changed on each."""
        return play(self.lab, f"{OUTSIDE}/inventory.json", name, *arguments, check=check, hosts=self.hosts)

    def secrets(self, host: Host) -> dict[str, str]:
        """The secrets on a host, by the names of their files."""
        names = host.sh(f"ls {BASE}/secrets").split()
        return {name: host.read(f"{BASE}/secrets/{name}").strip() for name in names}


def inventory(site: Site) -> Json:
    """As the README says, and what a lab needs beside it."""
    variables = {
        "clickstack_host_name": NAME,
        "stack_tls_ca_passphrase": PASSPHRASE,
        **VARIABLES,
    }
    groups = {"clickstack_app": site.front, "clickstack_clickhouse": site.columns, "clickstack_mongodb": site.documents}
    children = {name: {"hosts": {host.name: {"clickstack_address": host.wan4}}} for name, host in groups.items()}
    children["clickstack_app"]["hosts"]["front"]["clickstack_bind_addresses"] = [site.front.wan4]  # type: ignore[assignment]
    return {"clickstack": {"vars": variables, "children": children}}


@pytest.fixture(scope="module")
def site(lab: Lab, new_host: Callable[..., Host]) -> Iterator[Site]:
    """Three hosts on which site has run once."""
    hosts = {}
    for name, images in RUNS.items():
        hosts[name] = new_host(name, ENGINE)
        load(hosts[name], *images)
    wheels.give(hosts["columns"])
    made = Site(lab, **hosts)
    folder = lab.folder / Path(OUTSIDE).name
    folder.mkdir()
    (folder / "inventory.json").write_text(json.dumps(inventory(made)))
    made.said, _changed = made.play("site", "--diff", "-vv")
    (folder / "ca.crt").write_text(made.front.read(f"{BASE}/tls/otel/ca.crt"))
    yield made


def test_each_host_runs_its_own_services_and_knows_its_own_secrets(site: Site) -> None:
    running = {
        host.name: set(host.docker("ps", "--format", '{{.Label "com.docker.compose.service"}}').split())
        for host in site.hosts
    }
    assert running == {"front": {"app", "otel-collector", "proxy"}, "columns": {"ch-server"}, "documents": {"db"}}
    certificates = {host.name: set(host.sh(f"ls {BASE}/tls").split()) for host in site.hosts}
    assert certificates == {"front": {"app", "otel", "proxy"}, "columns": {"clickhouse"}, "documents": {"mongodb"}}
    front, columns, documents = map(site.secrets, site.hosts)
    of_both = {"clickhouse_reader_password", "otel_clickhouse_password"}
    assert set(front) == of_both | {
        "express_session_secret",
        "hyperdx_owner_password",
        "ingestion_api_key",
        "mongo_uri",
    }
    assert {name for name in columns if not name.startswith("clickhouse_")} == {"otel_clickhouse_password"}
    assert {name for name in documents if not name.startswith("mongodb_")} == {"mongo_uri"}
    for secrets in (front, columns, documents):
        assert not [name for name, value in secrets.items() if value in site.said]
    assert all(front[name] == columns[name] for name in of_both) and front["mongo_uri"] == documents["mongo_uri"]


def test_telemetry_arrives_at_the_other_host_and_only_with_the_key(site: Site) -> None:
    receiver = (site.lab, site.front.wan4, f"{OUTSIDE}/ca.crt")
    assert send_span(*receiver, "allowed", site.front.read(f"{BASE}/secrets/ingestion_api_key").strip()) == 200
    assert send_span(*receiver, "anonymous", "") == 401
    assert spans(administrator(site.columns), "allowed") == 1


def test_the_databases_are_open_to_the_host_of_hyperdx_alone(site: Site) -> None:
    def opened(look: Callable[[str, int], bool]) -> dict[str, set[int]]:
        return {host.name: {port for port in DATABASE_PORTS if look(host.wan4, port)} for host in site.hosts}

    def from_front(address: str, port: int) -> bool:
        return site.front.run("nc", "-z", "-w", "1", address, str(port), check=False).returncode == 0

    assert opened(site.lab.untrusted.connects) == {"front": set(), "columns": set(), "documents": set()}
    assert opened(from_front) == {"front": set(), "columns": {8443, 9440}, "documents": {27017}}


def test_a_second_run_changes_nothing_and_what_knows_one_host_says_so(site: Site) -> None:
    output, changed = site.play("site")
    assert changed == {"front": 0, "columns": 0, "documents": 0}, output
    output, changed = site.play("rotate", "-e", "rotate=otel_clickhouse_password", check=False)
    assert "rotate knows a stack on one host" in " ".join(output.split()) and not any(changed.values()), output
