"""The Compose file of stack_compose for several sets of variables: Compose takes it, compose-lint finds nothing in it,
and what it publishes, mounts and writes to is what was asked for. No Docker is needed for that.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbook import run_playbook
from tests.sandbox.lab import Unavailable
from tests.sandbox.lab.packages import unpacked

Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/stack_compose"
BIN = Path(sys.executable).parent
DIGEST = "sha256:" + "0123456789abcdef" * 4
DIGESTS = {f"stack_compose_{key}_image_digest": DIGEST for key in ("app", "otel", "clickhouse", "mongodb", "proxy")}
USERS = {
    "app": "1000:1000",
    "otel-collector": "10001:10001",
    "ch-server": "101:101",
    "db": "999:999",
    "proxy": "1000:1000",
}
SETS: dict[str, Json] = {
    "all": DIGESTS,
    "tags": {},
    "nginx": {
        **DIGESTS,
        "stack_compose_proxy_kind": "nginx",
        "stack_compose_proxy_image": "nginx:1.28-alpine",
        "stack_compose_proxy_user": "101:101",
    },
    "no proxy": {**DIGESTS, "stack_compose_proxy_enabled": False},
    "cloud": {
        **DIGESTS,
        "stack_compose_clickhouse_enabled": False,
        "stack_compose_mongodb_enabled": False,
        "stack_compose_otel_clickhouse_endpoint": "https://abc.example.clickhouse.cloud:8443",
        "stack_compose_otel_clickhouse_user": "otel",
    },
    "collector alone": {
        **DIGESTS,
        **{f"stack_compose_{key}_enabled": False for key in ("app", "clickhouse", "mongodb", "proxy")},
        "stack_compose_otel_clickhouse_endpoint": "tcp://ch.example.com:9440?secure=true",
        "stack_compose_otel_opamp_url": "",
    },
    "IPv6": {
        **DIGESTS,
        "stack_compose_bind_addresses": ["198.51.100.10", "2001:db8:100::10"],
        "stack_compose_edge_subnet_ipv6": "fd00:30:80::/64",
        "stack_compose_data_subnet_ipv6": "fd00:30:81::/64",
        "stack_compose_addresses": {"data": {"ch-server": "172.30.81.40"}},
    },
    "databases for another host": {
        **DIGESTS,
        **{f"stack_compose_{key}_enabled": False for key in ("app", "otel", "proxy")},
        "stack_compose_clickhouse_tls": True,
        "stack_compose_clickhouse_bind_addresses": ["198.51.100.10"],
        "stack_compose_mongodb_bind_addresses": ["198.51.100.10"],
    },
    "databases on another host": {
        **DIGESTS,
        **{f"stack_compose_{key}_enabled": False for key in ("clickhouse", "mongodb")},
        "stack_compose_otel_clickhouse_endpoint": "tcp://ch-server:9440?secure=true",
        "stack_compose_extra_hosts": {"db": "192.0.2.30", "ch-server": "192.0.2.20"},
    },
    "own files": {
        **DIGESTS,
        "stack_compose_takeover": "/opt/hyperdx",
        "stack_compose_clickhouse_config_directory": "/srv/stack/ch/config.d",
        "stack_compose_clickhouse_users_directory": "/srv/stack/ch/users.d",
        "stack_compose_clickhouse_tls": True,
        "stack_compose_clickhouse_tls_directory": "/srv/stack/ch/tls",
        "stack_compose_mongodb_config_directory": "/srv/stack/mongo",
        "stack_compose_mongodb_tls_directory": "/srv/stack/mongo-tls",
        "stack_compose_mongodb_shell_options": ["--tls", "--tlsCAFile", "/certs/$ca.crt"],
        "stack_compose_mongodb_memory": "4g",
        "stack_compose_otel_config_directory": "/srv/stack/otel",
        "stack_compose_otel_tls_directory": "/srv/stack/otel-tls",
        "stack_compose_app_tls_directory": "/srv/stack/app-tls",
        "stack_compose_app_environment": {"NEXT_PUBLIC_THEME": 'it costs $5 "or" {{ "more" }}', "FRONTEND_URL": ""},
        "stack_compose_logging": {"driver": "journald"},
        "stack_compose_https_port": 8443,
    },
}
PUBLISHED = {
    "all": {"proxy": ["198.51.100.10:443"], "otel-collector": ["198.51.100.10:4317", "198.51.100.10:4318"]},
    "no proxy": {"otel-collector": ["198.51.100.10:4317", "198.51.100.10:4318"]},
    "collector alone": {"otel-collector": ["198.51.100.10:4317", "198.51.100.10:4318"]},
    "databases for another host": {
        "ch-server": ["198.51.100.10:8443", "198.51.100.10:9440"],
        "db": ["198.51.100.10:27017"],
    },
    "own files": {"proxy": ["198.51.100.10:8443"], "otel-collector": ["198.51.100.10:4317", "198.51.100.10:4318"]},
    "IPv6": {
        "proxy": ["198.51.100.10:443", "2001:db8:100::10:443"],
        "otel-collector": [
            f"{address}:{port}" for port in (4317, 4318) for address in ("198.51.100.10", "2001:db8:100::10")
        ],
    },
}
WAIVED = {
    "CL-0019": "A digest cannot have a default: it belongs to one build of an image. There is a variable for each."
}
"""What compose-lint may find where no digests are given, and why that is right."""


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Compose file of each set of variables, as the role's template makes it."""
    folder = tmp_path_factory.mktemp("rendered")
    plays = []
    for name, variables in SETS.items():
        dest = folder / name.replace(" ", "-") / "compose.yml"
        dest.parent.mkdir()
        plays.append(
            {
                "name": f"Render {name}",
                "hosts": "localhost",
                "gather_facts": False,
                "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
                "tasks": [
                    {
                        "name": "Render",
                        "ansible.builtin.template": {"src": str(ROLE / "templates/compose.yml.j2"), "dest": str(dest)},
                        # those of a task go over those of files
                        "vars": {
                            "stack_compose_host_name": "clickstack.example.com",
                            "stack_compose_bind_addresses": ["198.51.100.10"],
                            **{key: _unsafe(value) for key, value in variables.items()},
                        },
                    }
                ],
            }
        )
    playbook = folder / "playbook.yml"
    playbook.write_text(yaml.dump(plays, Dumper=_Dumper, sort_keys=False))
    done = run_playbook(str(playbook), folder=folder)
    assert done.code == 0, done.output
    return {name: folder / name.replace(" ", "-") / "compose.yml" for name in SETS}


class _Unsafe(str):
    """A text that is no template, as Ansible's tag says."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def _unsafe(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unsafe(entry) for key, entry in value.items()}
    return _Unsafe(value) if isinstance(value, str) and "{{" in value else value


@pytest.fixture(scope="session", params=["2.26", "2.40"])
def compose(request: pytest.FixtureRequest) -> Path:
    """A real docker-compose."""
    try:
        return unpacked(f"compose-{request.param}") / "usr/libexec/docker/cli-plugins/docker-compose"
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=SETS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a set of variables."""
    found: str = request.param
    return found


@pytest.fixture
def project(name: str, rendered: dict[str, Path], compose: Path) -> Json:
    """The project as Compose understands it."""
    command = [compose, "-f", rendered[name], "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    understood: Json = json.loads(done.stdout)
    return understood


def test_only_what_was_asked_for_is_published(name: str, project: Json) -> None:
    published = {
        service: sorted(f"{port['host_ip']}:{port['published']}" for port in definition.get("ports", ()))
        for service, definition in project["services"].items()
        if definition.get("ports")
    }
    assert published == {key: sorted(ports) for key, ports in PUBLISHED.get(name, PUBLISHED["all"]).items()}
    targets = {port["target"] for definition in project["services"].values() for port in definition.get("ports", ())}
    assert targets <= ({8443, 9440, 27017} if name == "databases for another host" else {8443, 4317, 4318})


def test_every_container_is_hardened(name: str, project: Json) -> None:
    users = {**USERS, "proxy": "101:101" if name == "nginx" else USERS["proxy"]}
    for service, definition in project["services"].items():
        assert definition["cap_drop"] == ["ALL"], service
        assert definition.get("cap_add", []) == (["NET_BIND_SERVICE"] if service == "proxy" and name != "nginx" else [])
        assert definition["security_opt"] == ["no-new-privileges:true"]
        assert definition["read_only"] is True
        assert definition["user"] == users[service]
        assert int(definition["mem_limit"]) == int(definition["memswap_limit"]) > 0
        assert definition["cpus"] > 0 and definition["pids_limit"] > 0
        assert definition["restart"] == "unless-stopped"
        assert definition["logging"]["driver"] == ("journald" if name == "own files" else "local")
        assert definition["healthcheck"]["test"][0] == "CMD"
        assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(definition)
        assert "content" in "".join(definition["labels"])


def test_the_databases_are_on_the_internal_network_alone(name: str, project: Json) -> None:
    attached = {service: set(definition["networks"]) for service, definition in project["services"].items()}
    both, edge, data = {"edge", "data"}, {"edge"}, {"data"}
    if name == "databases for another host":
        # one that begins nothing with the world: what leaves it by itself has an address that nobody answers
        data = {"data", "published"}
        options = project["networks"]["published"]["driver_opts"]
        assert options == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    wanted = {"app": both, "otel-collector": both, "ch-server": data, "db": data, "proxy": edge}
    assert attached == {service: wanted[service] for service in attached}
    for network, definition in project["networks"].items():
        assert bool(definition.get("internal")) is (network == "data")
        assert bool(definition.get("enable_ipv6")) is (name == "IPv6")


def test_every_service_has_its_address_in_every_network(name: str, project: Json) -> None:
    for network, definition in project["networks"].items():
        third = {"edge": 80, "data": 81, "published": 82}[network]
        pools = {entry["gateway"]: entry["ip_range"] for entry in definition["ipam"]["config"]}
        assert pools.pop(f"172.30.{third}.1") == f"172.30.{third}.128/25"
        assert pools == ({f"fd00:30:{third}::1": f"fd00:30:{third}:0:8000::/65"} if name == "IPv6" else {})
    numbers = {"app": 10, "otel-collector": 11, "ch-server": 12, "db": 13, "proxy": 14}
    for service, definition in project["services"].items():
        for network, attached in definition["networks"].items():
            third = {"edge": 80, "data": 81, "published": 82}[network]
            number = 40 if (name, service) == ("IPv6", "ch-server") else numbers[service]
            assert attached["ipv4_address"] == f"172.30.{third}.{number}"
            ipv6 = f"fd00:30:{third}::{numbers[service]:x}" if name == "IPv6" else None
            assert attached.get("ipv6_address") == ipv6


def test_secrets_are_files_and_nothing_else_of_them_is_in_the_project(name: str, project: Json) -> None:
    for definition in project["services"].values():
        names = [secret["target"].rpartition("/")[2] for secret in definition.get("secrets", ())]
        assert not set(names) & set(definition.get("environment", {}))
        if names:
            script = definition["entrypoint"][2]
            assert f"for name in {' '.join(sorted(names))};" in script
    used = {secret["source"] for definition in project["services"].values() for secret in definition.get("secrets", ())}
    assert used == set(project.get("secrets", {}))
    assert all(Path(secret["file"]).is_absolute() for secret in project.get("secrets", {}).values())


def test_texts_come_through_as_they_were_given(rendered: dict[str, Path], compose: Path) -> None:
    command = [compose, "-f", rendered["own files"], "config", "--format", "json"]
    services = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["services"]
    # `config` doubles the $ again in what it prints
    environment = services["app"]["environment"]
    assert environment["NEXT_PUBLIC_THEME"] == 'it costs $$5 "or" {{ "more" }}'
    assert environment["FRONTEND_URL"] == ""  # what the user says goes over what the role says, an empty text too
    assert services["db"]["healthcheck"]["test"][-3:] == ["--tls", "--tlsCAFile", "/certs/$$ca.crt"]
    assert services["db"]["command"] == [
        "mongod",
        "--wiredTigerCacheSizeGB",
        "1.5",
        "--config",
        "/etc/mongo/mongod.conf",
    ]


def test_app_and_collector_know_databases_on_another_host_by_their_names(
    rendered: dict[str, Path], compose: Path
) -> None:
    command = [compose, "-f", rendered["databases on another host"], "config", "--format", "json"]
    services = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["services"]
    known = {name: service.get("extra_hosts") for name, service in services.items()}
    assert known.pop("proxy") is None
    assert set(known) == {"app", "otel-collector"}
    for entries in known.values():
        assert sorted(entry.replace("=", ":") for entry in entries) == ["ch-server:192.0.2.20", "db:192.0.2.30"]


def test_a_takeover_mounts_upstream_s_data_and_makes_no_first_user(rendered: dict[str, Path], compose: Path) -> None:
    command = [compose, "-f", rendered["own files"], "config", "--format", "json"]
    project = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    mounts = {volume["target"]: volume for volume in project["services"]["db"]["volumes"]}
    assert mounts["/data/db"]["source"] == "/opt/hyperdx/.volumes/db" and not mounts["/data/db"].get("read_only")
    mounts = {volume["target"]: volume for volume in project["services"]["ch-server"]["volumes"]}
    assert mounts["/var/lib/clickhouse"]["source"] == "/opt/hyperdx/.volumes/ch_data"
    assert mounts["/var/log/clickhouse-server"]["source"] == "/opt/hyperdx/.volumes/ch_logs"
    assert mounts["/etc/clickhouse-server/users.d"]["read_only"] is True
    assert set(project["volumes"]) == {"app_public"}
    assert "environment" not in project["services"]["db"] and "secrets" not in project["services"]["db"]
    assert project["services"]["ch-server"]["environment"] == {"CLICKHOUSE_SKIP_USER_SETUP": "1"}
    collector = project["services"]["otel-collector"]["environment"]
    assert collector["CLICKHOUSE_ENDPOINT"] == "tcp://ch-server:9440?secure=true"
    assert collector["HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA"] == "true"


def test_the_collector_is_told_to_end_by_the_signal_that_its_supervisor_knows(rendered: dict[str, Path]) -> None:
    """cmd/opampsupervisor/main.go waits for os.Interrupt alone. Molecule's full_stack shows that nothing is lost."""
    services = yaml.safe_load(rendered["all"].read_text())["services"]
    assert {name for name, service in services.items() if "stop_signal" in service} == {"otel-collector"}
    assert services["otel-collector"]["stop_signal"] == "SIGINT"


def test_a_new_image_or_public_variable_gets_a_new_volume_for_the_file_beside_it(
    rendered: dict[str, Path],
) -> None:
    def volume(name: str) -> str:
        found: str = yaml.safe_load(rendered[name].read_text())["volumes"]["app_public"]["name"]
        return found

    assert volume("all") == volume("cloud")
    assert len({volume("all"), volume("tags"), volume("own files")}) == 3


def test_compose_lint_finds_nothing(name: str, rendered: dict[str, Path]) -> None:
    done = subprocess.run(
        [BIN / "compose-lint", "check", "--format", "json", "--fail-on", "low", rendered[name].name],
        cwd=rendered[name].parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    found = {finding["rule_id"] for finding in json.loads(done.stdout)["findings"]}
    assert found == (set(WAIVED) if name == "tags" else set())


# Answers one status on port 8000 of a network namespace of its own, and runs a command beside it.
BESIDE_A_SERVER = """
import http.server, subprocess, sys, threading
status = int(sys.argv[1])
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(status if self.path == "/health" else 404)
        self.end_headers()
    def log_message(self, *arguments):
        pass
if status:
    threading.Thread(target=http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever, daemon=True).start()
sys.exit(subprocess.run(sys.argv[2:], timeout=20, check=False).returncode)
"""


@pytest.mark.parametrize("status, code", [(200, 0), (500, 1), (0, 1)])
def test_the_app_s_health_check_is_javascript_that_says_so(rendered: dict[str, Path], status: int, code: int) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("the health check of the app's image is JavaScript, and there is no node here")
    test = yaml.safe_load(rendered["all"].read_text())["services"]["app"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "node", "-e"]
    command = ["unshare", "--net", sys.executable, "-c", BESIDE_A_SERVER, str(status), node, *test[2:]]
    assert subprocess.run(command, check=False).returncode == code
