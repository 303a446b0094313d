"""What playbooks/vars/site.yml makes of an inventory with hosts for single services, and what preflight refuses of it.

No Docker is needed for that: hosts are names, and nothing is done on them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbook import Run, run_playbook

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
SETTLE = next(
    task
    for task in yaml.safe_load((PLAYBOOKS / "site.yml").read_text())[0]["tasks"]
    if task["name"].startswith("Settle")
)
OF_HOSTS = re.compile(
    r"stack_(secrets_(names|values)|tls_(services|host_names)|firewall_published|access_\w+_host|mongodb_app_client_source"
    r"|compose_(\w*bind_addresses|\w+_enabled|overrides|extra_hosts))"
)
"""The roles' inputs that depend on where a service runs."""
WIRED = [name for name in yaml.safe_load((PLAYBOOKS / "vars/site.yml").read_text()) if OF_HOSTS.fullmatch(name)]
SAID = {
    "clickstack_host_name": "clickstack.example.com",
    "stack_tls_ca_passphrase": "only for tests, and long enough",
    "stack_secrets_values": {
        "otel_clickhouse_password": "for the collector",
        "mongodb_app_password": "for HyperDX alone",
    },
    "stack_compose_overrides": {"services": {"app": {"labels": {"a": "b"}}, "ch-server": {"labels": {"c": "d"}}}},
}
NAMES = ("front", "columns", "documents", "other", "upstairs", "cellar", "alone")
ADDRESSES = {name: f"192.0.2.{number}" for number, name in enumerate(NAMES, 10)}


def inventory(*hosts: str, groups: dict[str, list[str]], **said: object) -> Json:
    """An inventory with hosts of the stack, and some of them (or others) in further groups."""
    names = {*hosts, *(name for group in groups.values() for name in group)}
    of_all = {name: {"clickstack_address": ADDRESSES[name]} for name in names}
    made: Json = {"all": {"hosts": of_all}, "clickstack": {"hosts": dict.fromkeys(hosts), "vars": {**SAID, **said}}}
    return made | {name: {"hosts": dict.fromkeys(group)} for name, group in groups.items()}


def run(folder: Path, hosts: Json, task: Json, *arguments: str) -> Run:
    """Run one task with the wiring of site on all hosts of the stack, after site's own that settles who does what."""
    play = {
        "hosts": "clickstack",
        "gather_facts": False,
        "connection": "local",
        "vars_files": [str(PLAYBOOKS / "vars/site.yml")],
        "vars": {"__site_key_file": {"stat": {"exists": False}}},
        "tasks": [SETTLE, task],
    }
    (folder / "inventory.json").write_text(json.dumps(hosts))
    return run_playbook([play], *arguments, folder=folder, inventory=str(folder / "inventory.json"))


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """The roles' inputs on the hosts of three stacks, which clickstack_hosts tells apart."""
    folder = tmp_path_factory.mktemp("wired")
    stacks = {"three": ["front", "columns", "documents"], "two": ["upstairs", "cellar"], "one": ["alone"]}
    databases = {"clickstack_clickhouse": ["columns", "cellar"], "clickstack_mongodb": ["documents", "cellar"]}
    hosts = inventory(*(name for stack in stacks.values() for name in stack), groups=stacks | databases)
    for stack in stacks:
        hosts[stack]["vars"] = {"clickstack_hosts": stack}
    values = "{{ {" + ", ".join(f"'{name}': {name}" for name in WIRED) + "} | to_json }}"
    task = {"ansible.builtin.copy": {"content": values, "dest": f"{folder}/{{{{ inventory_hostname }}}}.wired"}}
    done = run(folder, hosts, task)
    assert done.code == 0, done.output
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.wired")}


def ports(host: Json) -> list[int]:
    """Those that the firewall opens; with ansible-core 2.17 and 2.18 some are texts."""
    return [int(port["port"]) for port in host["stack_firewall_published"]]


def test_each_host_gets_what_belongs_to_its_service(wired: dict[str, Json]) -> None:
    front, columns, documents = stack = wired["front"], wired["columns"], wired["documents"]
    of_both = {"clickhouse_reader_password", "otel_clickhouse_password"}
    assert set(front["stack_secrets_names"]) == of_both | {"express_session_secret"}
    assert of_both < set(columns["stack_secrets_names"]) and len(columns["stack_secrets_names"]) == 6
    assert all("clickhouse" in name for name in columns["stack_secrets_names"])
    assert all("mongodb" in name for name in documents["stack_secrets_names"])
    # what is declared goes to whom it concerns
    declared = [set(host["stack_secrets_values"]) for host in stack]
    assert declared == [{"otel_clickhouse_password"}, {"otel_clickhouse_password"}, {"mongodb_app_password"}]
    overrides = [list(host["stack_compose_overrides"].get("services", ())) for host in stack]
    assert overrides == [["app"], ["ch-server"], []]
    certificates = [[each["name"] for each in host["stack_tls_services"]] for host in stack]
    assert certificates == [["proxy", "app", "otel"], ["clickhouse"], ["mongodb"]]
    assert columns["stack_tls_host_names"] == ["columns", ADDRESSES["columns"]]
    assert front["stack_compose_extra_hosts"] == {"ch-server": ADDRESSES["columns"], "db": ADDRESSES["documents"]}


def test_only_the_app_s_host_may_come_to_the_databases(wired: dict[str, Json]) -> None:
    front, columns, documents = wired["front"], wired["columns"], wired["documents"]
    assert [ports(host) for host in (front, columns, documents)] == [[443, 4317, 4318], [8443, 9440], [27017]]
    for host, service in ((columns, "clickhouse"), (documents, "mongodb")):
        assert all(port["sources"] == [ADDRESSES["front"]] for port in host["stack_firewall_published"])
        assert len(host[f"stack_compose_{service}_bind_addresses"]) == 1 and host["stack_compose_bind_addresses"] == []
        assert front[f"stack_compose_{service}_bind_addresses"] == [] and not front[f"stack_compose_{service}_enabled"]
    for user in ("ingest", "reader"):
        assert columns[f"stack_access_{user}_host"] == {"ip": [ADDRESSES["front"]]}
    assert columns["stack_access_admin_host"] == {"ip": ["172.30.81.1"]}
    assert documents["stack_mongodb_app_client_source"] == [ADDRESSES["front"]]


def test_both_databases_may_share_a_host(wired: dict[str, Json]) -> None:
    cellar = wired["cellar"]
    assert cellar["stack_compose_clickhouse_enabled"] and cellar["stack_compose_mongodb_enabled"]
    assert not cellar["stack_compose_app_enabled"] and ports(cellar) == [8443, 9440, 27017]
    assert wired["upstairs"]["stack_compose_extra_hosts"] == dict.fromkeys(("ch-server", "db"), ADDRESSES["cellar"])


def test_a_host_is_a_stack_of_its_own_where_the_groups_have_none_of_its_hosts(wired: dict[str, Json]) -> None:
    alone = wired["alone"]
    assert len(alone["stack_secrets_names"]) == 11 and len(alone["stack_tls_services"]) == 5
    assert alone["stack_secrets_values"] == SAID["stack_secrets_values"]
    assert alone["stack_compose_overrides"] == SAID["stack_compose_overrides"]
    assert all(value for name, value in alone.items() if name.endswith("_enabled")) and ports(alone) == [
        443,
        4317,
        4318,
    ]
    for name in ("extra_hosts", "clickhouse_bind_addresses", "mongodb_bind_addresses"):
        assert not alone[f"stack_compose_{name}"]
    assert alone["stack_access_ingest_host"] == {"ip": ["172.30.81.11"]}
    assert alone["stack_access_reader_host"] == {"ip": ["172.30.81.10"]}
    assert alone["stack_mongodb_app_client_source"] == ["172.30.81.10"]


REFUSED: dict[str, tuple[Json, list[str], list[str]]] = {
    "crowd": (
        inventory("front", "columns", "documents", "other", groups={"clickstack_clickhouse": ["columns", "documents"]}),
        [],
        [
            "Several hosts of the stack are in clickstack_clickhouse",
            "documents, other: nothing is left to do there",
        ],
    ),
    "nobody": (
        inventory(
            "columns",
            "documents",
            groups={"clickstack_clickhouse": ["columns"], "clickstack_mongodb": ["documents"]},
            clickstack_cloud_host="abc123.eu-central-1.aws.clickhouse.cloud",
            stack_access_bootstrap_password="only for tests",
            stack_compose_mongodb_enabled=False,
        ),
        ["-e", '{"clickstack_address": "192.0.2.50"}'],
        [
            "none is left for HyperDX, collector and proxy",
            "ClickHouse runs here or there",
            "MongoDB runs here or elsewhere",
            "each needs an address of its own",
        ],
    ),
    "stranger": (
        inventory("front", groups={"clickstack_clickhouse": ["columns"]}),
        [],
        ["columns: in clickstack_app, clickstack_clickhouse or clickstack_mongodb, and not in clickstack"],
    ),
    "limit": (
        inventory("front", "columns", groups={"clickstack_clickhouse": ["columns"]}),
        ["--limit", "front"],
        ["columns: left out of this run"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_hosts_that_make_no_stack_are_refused_before_anything_is_looked_at(name: str, tmp_path: Path) -> None:
    hosts, arguments, messages = REFUSED[name]
    task = {"ansible.builtin.include_tasks": str(PLAYBOOKS / "tasks/site_preflight.yml")}
    done = run(tmp_path, hosts, task, *arguments)
    said = " ".join(done.output.replace("\\n", " ").split())
    assert done.code != 0 and "Nothing was changed" in said, said
    assert [message for message in messages if message not in said] == [], said
    assert "Look for Docker" not in said and "changed=1" not in said


def test_a_database_is_not_left_behind(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/mongodb_keyfile").touch()
    groups = {"clickstack_mongodb": ["documents"]}
    hosts = inventory("front", "documents", groups=groups, clickstack_directory=str(tmp_path))
    task = {"ansible.builtin.include_tasks": str(PLAYBOOKS / "tasks/site_preflight.yml")}
    done = run(tmp_path, hosts, task)
    # both hosts are this machine, and the file belongs to one of them
    assert re.search(r"fatal: \[front\].*Nothing was changed: front has .*/secrets/mongodb_keyfile,", done.output), (
        done.output
    )
    assert 'fatal: [documents]: FAILED! => {"assertion": "__site_left' not in done.output
