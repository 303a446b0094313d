"""stack_compose on Docker hosts of the lab, with stand-ins for ClickStack's images that need what the real ones do."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.certificates import Authority
from tests.sandbox.lab import Host, Lab, Unavailable
from tests.sandbox.lab.images import NGINX, archive, archives

from .conftest import LAB_ENGINES

Json = dict[str, Any]
NAME = "clickstack.example.com"
DIRECTORY = "/opt/clickstack"
SECRETS = {
    "express_session_secret": (1000, "session-secret-7dK1"),
    "mongo_uri": (1000, "mongodb://root:mongo-password-3xQ9@db:27017/hyperdx?authSource=admin"),
    "mongodb_root_password": (999, "mongo-password-3xQ9"),
    "clickhouse_password": (101, "clickhouse-password-8vL2"),
    "otel_clickhouse_password": (10001, "clickhouse-password-8vL2"),
}
SERVICES = ("app", "otel-collector", "ch-server", "db", "proxy")
MAIN_ENGINE = "26.1" if "26.1" in LAB_ENGINES else LAB_ENGINES[0]


class Stack:
    """A host with the stand-ins, secrets and a certificate, on which the role is run."""

    def __init__(self, lab: Lab, host: Host, folder: Path) -> None:
        self.lab, self.host, self.folder = lab, host, folder
        self.authority = Authority(folder / "ca")
        for file in archives():
            host.load(file)
        self.put_files()
        self.variables: Json = {
            "stack_compose_host_name": NAME,
            "stack_compose_bind_addresses": [host.wan4],
            # each check is a program that Docker starts in a container
            "stack_compose_healthcheck_interval": "2s",
            "stack_compose_wait_timeout": 60,
            # ClickHouse sees another certificate by itself
            "stack_compose_clickhouse_tls_directory": f"{DIRECTORY}/tls/clickhouse",
            # this machine's limits may be lower, and cannot be raised from a namespace
            "stack_compose_clickhouse_nofile": 0,
            "stack_compose_mongodb_nofile": 0,
        }

    def put_files(self) -> None:
        """Write secrets and certificate as an administrator does."""
        self.host.sh(f"install -d -m 0711 {DIRECTORY} {DIRECTORY}/secrets {DIRECTORY}/tls {DIRECTORY}/tls/proxy")
        for name, (uid, text) in SECRETS.items():
            self.put(f"secrets/{name}", text, uid)
        self.put_certificate()
        self.put("tls/clickhouse/server.crt", "first", 101)
        self.host.sh(f"chown 101:101 {DIRECTORY}/tls/clickhouse; chmod 0500 {DIRECTORY}/tls/clickhouse")

    def put(self, path: str, text: str, uid: int, mode: str = "0400") -> None:
        """Write one file below the project's directory."""
        arguments = ("-D", f"--mode={mode}", f"--owner={uid}", f"--group={uid}", "/dev/stdin", f"{DIRECTORY}/{path}")
        self.host.run("install", *arguments, input=text)

    def put_certificate(self) -> None:
        """Write a certificate for the proxy, another one each time."""
        certificate, key = self.authority.issue(NAME, (NAME,), server=True)
        self.host.sh(f"chown 1000:1000 {DIRECTORY}/tls/proxy; chmod 0500 {DIRECTORY}/tls/proxy")
        self.put("tls/proxy/tls.crt", certificate.read_text(), 1000)
        self.put("tls/proxy/tls.key", key.read_text(), 1000)

    def run(self, *arguments: str, succeeds: bool = True, **variables: Any) -> Json:
        """Run the role; return the counts of the recap, with the whole output as `output`."""
        role = {"name": "Run", "ansible.builtin.include_role": {"name": "hardened.clickstack.stack_compose"}}
        return self.play([role], *arguments, succeeds=succeeds, **variables)

    def play(self, tasks: list[Json], *arguments: str, succeeds: bool = True, **variables: Any) -> Json:
        """Run tasks on the host."""
        play = {
            "name": "stack_compose",
            "hosts": self.host.name,
            "gather_facts": False,
            "vars": {**self.variables, **variables},
            "tasks": tasks,
        }
        playbook = self.folder / "playbook.yml"
        playbook.write_text(json.dumps([play]))
        done = self.lab.ansible(playbook, *arguments, check=False)
        output = done.stdout + done.stderr
        assert (done.returncode == 0) is succeeds, output + self.logs()
        for _uid, secret in SECRETS.values():
            assert secret not in output
        counts = re.findall(r"(\w+)=(\d+)", output[output.rindex("PLAY RECAP") :])
        return {**{name: int(count) for name, count in counts}, "output": output}

    def logs(self) -> str:
        """What the containers said, for a test that failed."""
        return self.host.sh('for c in $(docker ps -aq); do docker inspect -f "{{.Name}} {{.State.Status}}" $c;'
                            " docker logs --tail 5 $c 2>&1; done")  # fmt: skip

    def containers(self) -> dict[str, str]:
        """The id of each service's container."""
        listed = self.host.docker("ps", "--no-trunc", "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}')
        return dict(line.split() for line in listed.splitlines())

    def inspect(self, service: str) -> Json:
        """What Docker says of a service's container."""
        found: Json = json.loads(self.host.docker("inspect", self.containers()[service]))[0]
        return found

    def inside(self, service: str, script: str, check: bool = True) -> str:
        """Run a shell script in a service's container, as its user."""
        name = self.containers()[service]
        return self.host.run("docker", "exec", name, "sh", "-c", script, check=check).stdout.strip()


@pytest.fixture(scope="module")
def new_stack(
    lab: Lab, new_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Stack]:
    """Make a host for the role: new_stack(name, engine)."""

    def make(name: str, engine: str, compose: str = "2.26") -> Stack:
        return Stack(lab, new_host(name, engine, compose), tmp_path_factory.mktemp(name))

    return make


@pytest.fixture
def other_stack(new_stack: Callable[..., Stack]) -> Iterator[Callable[..., Stack]]:
    """The same for one test: its host, and the health checks on it, end with the test."""
    made: list[Stack] = []

    def make(*arguments: str) -> Stack:
        made.append(new_stack(*arguments))
        return made[-1]

    yield make
    for stack in made:
        stack.host.stop()


@pytest.fixture(scope="module")
def stack(new_stack: Callable[..., Stack]) -> Stack:
    """The stack as it runs in production: predicted, applied, and settled."""
    made = new_stack("compose", MAIN_ENGINE)
    predicted = made.run("--check", "--diff")
    assert predicted["changed"] > 0 and made.host.docker("ps", "-aq") == ""
    assert made.host.sh(f"ls -A {DIRECTORY}").split() == ["secrets", "tls"]
    assert made.run()["changed"] > 0
    assert set(made.containers()) == set(SERVICES)
    return made


def test_a_second_run_and_a_prediction_find_nothing_to_do(stack: Stack) -> None:
    before = stack.containers()
    assert stack.run()["changed"] == 0
    assert stack.run("--check", "--diff")["changed"] == 0
    assert stack.containers() == before


def test_from_outside_only_the_declared_ports_are_open(stack: Stack) -> None:
    host = stack.host
    assert stack.lab.untrusted.scan(host.wan4) == {22, 443, 4317, 4318}
    assert stack.lab.untrusted.scan(host.wan6) == {22}
    # published on that one address, not on the others of the host
    assert stack.lab.trusted.scan(host.lan4) == {22}


def test_the_proxy_speaks_tls_and_tells_hyperdx_so(stack: Stack) -> None:
    the_proxy_does_its_work(stack)


def the_proxy_does_its_work(stack: Stack) -> None:
    def curl(path: str, *options: str, check: bool = True) -> Any:
        address = ("--resolve", f"{NAME}:443:{stack.host.wan4}", "--cacert", str(stack.authority.ca))
        return stack.lab.untrusted.run("curl", "-gsS", "-m", "5", "--noproxy", "*", "-i", *address, *options,
                                       f"https://{NAME}{path}", check=check)  # fmt: skip

    page = curl("/").stdout
    assert page.endswith("HyperDX")
    headers = page.lower()
    assert "strict-transport-security: max-age=31536000" in headers and "x-content-type-options: nosniff" in headers
    assert "alt-svc" not in headers, "HTTP/3 is offered, and its port is not published"
    seen = curl("/cgi-bin/headers", "-H", "X-Forwarded-Proto: http", "-H", "X-Forwarded-For: 10.0.0.1").stdout
    assert "HTTP_X_FORWARDED_PROTO=https" in seen and "10.0.0.1" not in seen
    assert f"HTTP_HOST={NAME}" in seen
    assert curl("/", "--tls-max", "1.1", check=False).returncode == 35
    # a name that is not ours gets no certificate
    other = ("--resolve", f"other.example.com:443:{stack.host.wan4}", "--insecure", "https://other.example.com/")
    done = stack.lab.untrusted.run("curl", "-sS", "-m", "5", "--noproxy", "*", *other, check=False)
    assert done.returncode == 35, done.stdout


# -- the containers ---------------------------------------------------------------------------------------------------


def test_no_secret_is_seen_outside_of_the_processes_that_need_it(stack: Stack) -> None:
    everything = stack.host.sh(
        f"docker inspect $(docker ps -q); cat {DIRECTORY}/compose.yml; cd {DIRECTORY}; docker compose config;"
        " docker compose top; ps -eo args; journalctl -b --no-pager"
    )
    for name, (_uid, secret) in SECRETS.items():
        assert secret not in everything, name
    environment = stack.inside("app", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | sort -u")
    assert f"EXPRESS_SESSION_SECRET={SECRETS['express_session_secret'][1]}" in environment
    assert f"MONGO_URI={SECRETS['mongo_uri'][1]}" in environment
    for service in SERVICES:
        mounted = stack.inside(service, "ls /run/secrets 2>/dev/null || :").split()
        assert (
            mounted
            == {
                "app": ["EXPRESS_SESSION_SECRET", "MONGO_URI"],
                "otel-collector": ["CLICKHOUSE_PASSWORD"],
                "ch-server": ["CLICKHOUSE_PASSWORD"],
                "db": ["MONGO_INITDB_ROOT_PASSWORD"],
                "proxy": [],
            }[service]
        )


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_privileges_and_writes_only_where_it_must(stack: Stack, service: str) -> None:
    status = stack.inside(service, "cat /proc/1/status")
    values = dict(line.split(":\t") for line in status.splitlines() if ":\t" in line)
    bounding = 1 << 10 if service == "proxy" else 0  # CAP_NET_BIND_SERVICE
    assert [int(values[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb")] == [0, 0, 0, 0]
    assert int(values["CapBnd"], 16) == bounding
    assert values["NoNewPrivs"] == "1"
    uid = {"app": 1000, "otel-collector": 10001, "ch-server": 101, "db": 999, "proxy": 1000}[service]
    assert values["Uid"].split() == [str(uid)] * 4 and values["Gid"].split() == [str(uid)] * 4
    # what a process of the container can make a file in, of all its folders
    writable = stack.inside(
        service,
        "find / -xdev -type d 2>/dev/null >/dev/null; cut -d' ' -f2 /proc/mounts | grep -vE '^/(proc|sys|dev)(/|$)' |"
        " sort -u | while read -r place; do find $place -xdev -type d 2>/dev/null; done | sort -u |"
        " while read -r folder; do (: >$folder/.probe) 2>/dev/null && rm $folder/.probe && echo $folder; done || :",
    ).split()
    roots = [path for path in writable if not any(path.startswith(f"{other}/") for other in writable)]
    app = "/app/packages/app/packages/app"
    assert (
        roots
        == {
            "app": [f"{app}/.next/cache", f"{app}/public", "/tmp"],
            "otel-collector": ["/etc/otel/supervisor-data", "/tmp"],
            "ch-server": [
                "/etc/clickhouse-server/users.d",
                "/tmp",
                "/var/lib/clickhouse",
                "/var/log/clickhouse-server",
            ],
            "db": ["/data/configdb", "/data/db", "/tmp"],
            "proxy": ["/config", "/data"],
        }[service]
    )


@pytest.mark.parametrize("service", SERVICES)
def test_docker_holds_the_limits(stack: Stack, service: str) -> None:
    limits = stack.inspect(service)["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] > 0
    assert limits["NanoCpus"] > 0 and limits["PidsLimit"] > 0
    assert limits["LogConfig"] == {"Type": "local", "Config": {"max-file": "5", "max-size": "20m"}}
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    assert limits["ReadonlyRootfs"] is True and limits["Init"] is True and limits["Privileged"] is False


def test_every_volume_has_a_name(stack: Stack) -> None:
    volumes = stack.host.docker("volume", "ls", "--quiet").split()
    assert len(volumes) == 4 and all(volume.startswith("hdx-oss_") for volume in volumes), volumes


# -- the networks -----------------------------------------------------------------------------------------------------


def reaches(stack: Stack, service: str, address: str, port: int) -> bool:
    return stack.inside(service, f"nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo yes || :") == "yes"


@pytest.mark.parametrize(
    "service, address, port, is_reached",
    [
        ("app", "db", 27017, True),
        ("app", "mongodb", 27017, True),
        ("app", "ch-server", 8123, True),
        ("otel-collector", "clickhouse", 9000, True),
        ("otel-collector", "app", 4320, True),
        ("app", "otel-collector", 4318, True),
        ("proxy", "app", 8080, True),
        ("proxy", "db", 27017, False),
        ("proxy", "172.30.81.13", 27017, False),
        ("proxy", "172.30.81.12", 8123, False),
        ("db", "172.30.80.14", 8443, False),
    ],
)
def test_who_reaches_whom(stack: Stack, service: str, address: str, port: int, is_reached: bool) -> None:
    assert reaches(stack, service, address, port) is is_reached


def test_the_databases_do_not_reach_the_internet_and_the_app_does(stack: Stack) -> None:
    listener = stack.lab.untrusted.popen(sys.executable, "-IBSc", LISTENER)
    assert listener.stdout and listener.stdout.readline() == "ready\n"
    try:
        address = stack.lab.untrusted.ipv4
        found = {service: reaches(stack, service, address, 8099) for service in SERVICES}
    finally:
        listener.communicate("stop\n", timeout=10)
    assert found == {"app": True, "otel-collector": True, "proxy": True, "ch-server": False, "db": False}


LISTENER = """
import socket, sys, threading
server = socket.create_server(("0.0.0.0", 8099))
print("ready", flush=True)
def serve():
    while True:
        server.accept()[0].close()
threading.Thread(target=serve, daemon=True).start()
sys.stdin.readline()
"""


def test_every_service_has_its_fixed_address(stack: Stack) -> None:
    found = {
        service: {
            name.rpartition("_")[2]: network["IPAddress"]
            for name, network in stack.inspect(service)["NetworkSettings"]["Networks"].items()
        }
        for service in SERVICES
    }
    assert found == {
        "app": {"edge": "172.30.80.10", "data": "172.30.81.10"},
        "otel-collector": {"edge": "172.30.80.11", "data": "172.30.81.11"},
        "ch-server": {"data": "172.30.81.12"},
        "db": {"data": "172.30.81.13"},
        "proxy": {"edge": "172.30.80.14"},
    }


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_changed_file_recreates_the_service_that_reads_it_and_no_other(stack: Stack) -> None:
    before = stack.containers()
    stack.put_certificate()
    stack.put("secrets/otel_clickhouse_password", "clickhouse-password-9wM3", 10001)
    assert stack.run("--check")["changed"] > 0 and stack.containers() == before
    assert stack.run()["changed"] == 2  # the Compose file and the containers
    after = stack.containers()
    assert {service for service in SERVICES if before[service] != after[service]} == {"proxy", "otel-collector"}
    # touched and not changed; and changed where the service sees it by itself
    stack.put("secrets/otel_clickhouse_password", "clickhouse-password-9wM3", 10001)
    stack.put("tls/clickhouse/server.crt", "second", 101)
    assert stack.run()["changed"] == 0 and stack.containers() == after
    assert stack.inside("ch-server", "cat /certs/server.crt") == "second"


def test_a_run_that_was_killed_is_finished_by_the_next(stack: Stack) -> None:
    """Killed while it wrote the key and before it wrote the proxy's configuration, with no containers yet."""
    stack.host.sh(f"cd {DIRECTORY} && docker compose down --timeout 2 && rm -r proxy && : >.content-key")
    assert stack.run()["changed"] > 0
    assert set(stack.containers()) == set(SERVICES)


# -- bad input --------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Json, str]] = {
    "unknown service": (
        {"stack_compose_overrides": {"services": {"clickhouse": {"cpus": 1}}}},
        "there is no service clickhouse; the services are app, ch-server, db, otel-collector, proxy.",
    ),
    "a port in the overrides": (
        {"stack_compose_overrides": {"services": {"app": {"ports": ["8080:8080"]}}}},
        "services.app.ports is refused",
    ),
    "not Compose": (
        {"stack_compose_overrides": {"services": {"app": {"memory": "1g"}}}},
        "Compose refuses the project.",
    ),
    "the host's subnet": (
        {"stack_compose_data_subnet": "192.168.50.0/24"},
        "The subnet 192.168.50.0/24 of hdx-oss_data overlaps the host's route to 192.168.50.0/24 over eth1.",
    ),
    "Docker's subnet": (
        {"stack_compose_edge_subnet": "172.17.5.0/24"},
        "The subnet 172.17.5.0/24 of hdx-oss_edge overlaps Docker's network bridge (172.17.0.0/16).",
    ),
    "the same subnet": (
        {"stack_compose_edge_subnet": "172.30.81.0/24"},
        "The subnets of the networks data and edge overlap: 172.30.81.0/24 and 172.30.81.0/24.",
    ),
    "no subnet": ({"stack_compose_edge_subnet": "172.30.81.0/40"}, "is not a subnet such as 172.30.80.0/24"),
    "an address elsewhere": (
        {"stack_compose_addresses": {"data": {"db": "172.30.80.13"}}},
        "Service db: the address 172.30.80.13 in the network data lies outside of its subnet 172.30.81.0/24.",
    ),
    "a service elsewhere": (
        {"stack_compose_addresses": {"data": {"proxy": "172.30.81.14"}}},
        "stack_compose_addresses names services that are not in that network: proxy.",
    ),
    "not on the host": (
        {"stack_compose_bind_addresses": ["198.51.100.99"]},
        "The address 198.51.100.99 of stack_compose_bind_addresses is not on this host, which has 127.0.0.1,",
    ),
    "a port that is taken": (
        {"stack_compose_otlp_http_port": 22},
        "is taken already by a program of the host. Stop that, or choose another stack_compose_*_port.",
    ),
    "a port twice": (
        {"stack_compose_otlp_http_port": 443},
        "is published twice: by service otel-collector and by service proxy.",
    ),
    "too many CPUs": ({"stack_compose_clickhouse_cpus": 512}, "Service ch-server may use 512 CPUs, but the host has"),
    "no certificate": (
        {"stack_compose_proxy_tls_directory": "/opt/elsewhere"},
        "Service proxy: the file /opt/elsewhere/tls.key does not exist.",
    ),
    "no secret": (
        {"stack_compose_secrets_directory": "/opt/elsewhere"},
        "Service db: the secret /opt/elsewhere/mongodb_root_password does not exist.",
    ),
    "another's secret": (
        {"stack_compose_app_user": "1001:1001"},
        f"the secret {DIRECTORY}/secrets/mongo_uri must be readable for the container's user 1001:1001,",
    ),
    "no session secret": (
        {"stack_compose_app_secrets": {"MONGO_URI": f"{DIRECTORY}/secrets/mongo_uri"}},
        "stack_compose_app_secrets must name files for EXPRESS_SESSION_SECRET",
    ),
    "a name as user": ({"stack_compose_app_user": "node"}, "Users must be given as numbers, uid:gid"),
    "no ClickHouse": (
        {"stack_compose_clickhouse_enabled": False},
        "stack_compose_otel_clickhouse_endpoint does not say where.",
    ),
    "nowhere": ({"stack_compose_bind_addresses": []}, "stack_compose_bind_addresses is empty"),
    "no upstream there": (
        {"stack_compose_takeover": "/opt/elsewhere"},
        "Service ch-server: the path /opt/elsewhere/.volumes/ch_data does not exist.",
    ),
}


def test_bad_input_is_refused_with_its_reason_before_anything_changes(stack: Stack) -> None:
    before = stack.containers()
    files = stack.host.sh(f"find {DIRECTORY} -type f -exec sha256sum {{}} + | sort")
    tasks: list[Json] = []
    for name, (variables, _said) in BAD.items():
        role = {"name": "hardened.clickstack.stack_compose"}
        said = {"msg": f"<<{name}>> {{{{ ansible_failed_result.msg }}}} <<>>"}
        tasks.append(
            {
                "name": name,
                "block": [
                    {"name": "Run", "vars": variables, "ansible.builtin.include_role": role},
                    {"name": "Nothing was refused", "ansible.builtin.debug": {"msg": f"<<{name}>> accepted <<>>"}},
                ],
                "rescue": [{"name": "Said", "ansible.builtin.debug": said}],
            }
        )
    run = stack.play(tasks)
    messages = dict(re.findall(r"<<([^>]+)>> (.*?) <<>>", run["output"].replace("\\n", "\n"), re.DOTALL))
    wrong = {name: messages.get(name) for name, (_variables, said) in BAD.items() if said not in messages.get(name, "")}
    assert not wrong
    assert run["changed"] == 0
    assert stack.containers() == before
    assert stack.host.sh(f"find {DIRECTORY} -type f -exec sha256sum {{}} + | sort") == files


def test_a_docker_that_does_not_run_is_named(stack: Stack) -> None:
    stack.host.sh("systemctl stop docker.socket docker.service")
    try:
        run = stack.run(succeeds=False)
    finally:
        stack.host.sh("systemctl start docker.service")
    assert "The Docker daemon does not answer. Start it: systemctl start docker." in run["output"]


# -- coming and going -------------------------------------------------------------------------------------------------


def test_absent_keeps_the_data_and_present_finds_it_again(stack: Stack) -> None:
    starts = len(stack.inside("db", "cat /data/db/starts").splitlines())
    assert stack.run(stack_compose_state="absent")["changed"] > 0
    assert stack.host.docker("ps", "-aq") == ""
    assert stack.host.sh(f"ls -A {DIRECTORY}").split() == ["secrets", "tls"]
    assert "hdx-oss" not in stack.host.docker("network", "ls")
    assert stack.run(stack_compose_state="absent")["changed"] == 0
    # and overrides are merged by Compose, and go again
    stack.run(stack_compose_overrides={"services": {"app": {"extra_hosts": ["sso.example.com:192.0.2.7"]}}})
    assert len(stack.inside("db", "cat /data/db/starts").splitlines()) == starts + 1
    assert stack.inspect("app")["HostConfig"]["ExtraHosts"] == ["sso.example.com:192.0.2.7"]
    # and networks can get other subnets
    stack.run(stack_compose_edge_subnet="172.30.90.0/24", stack_compose_data_subnet="172.30.91.0/24")
    assert not stack.inspect("app")["HostConfig"]["ExtraHosts"]
    networks = stack.inspect("app")["NetworkSettings"]["Networks"]
    assert {network["IPAddress"] for network in networks.values()} == {"172.30.90.10", "172.30.91.10"}
    assert len(stack.inside("db", "cat /data/db/starts").splitlines()) == starts + 2


def test_after_a_reboot_everything_is_back(stack: Stack) -> None:
    stack.host.reboot()
    deadline = time.monotonic() + 60
    while re.findall(r"\((\w+)\)", stack.host.docker("ps", "--format", "{{.Status}}")) != ["healthy"] * len(SERVICES):
        assert time.monotonic() < deadline, stack.logs()
        time.sleep(0.5)


def test_nginx_does_it_too(stack: Stack) -> None:
    try:
        stack.host.load(archive("nginx", NGINX))
    except Unavailable as reason:
        pytest.skip(str(reason))
    nginx = {"kind": "nginx", "image": NGINX.names[0], "user": "101:101", "tls_directory": f"{DIRECTORY}/tls/nginx"}
    stack.host.sh(f"cd {DIRECTORY}/tls && cp -r proxy nginx && chown -R 101:101 nginx")
    stack.run(**{f"stack_compose_proxy_{key}": value for key, value in nginx.items()})
    the_proxy_does_its_work(stack)
    assert stack.inspect("proxy")["HostConfig"]["CapAdd"] is None


UPSTREAM = """
name: hdx-oss
services:
  db:
    image: mongo:5.0.32-focal
    volumes: [".volumes/db:/data/db"]
    networks: [internal]
  otel-collector:
    image: docker.clickhouse.com/clickhouse/clickstack-otel-collector:2
    environment: {CLICKHOUSE_ENDPOINT: "tcp://ch-server:9000?dial_timeout=10s", OPAMP_SERVER_URL: "http://app:4320"}
    ports: ["13133:13133", "24225:24225", "4317:4317", "4318:4318", "8888:8888"]
    restart: always
    networks: [internal]
    depends_on: [ch-server]
  app:
    image: docker.hyperdx.io/hyperdx/hyperdx:2
    ports: ["8000:8000", "8080:8080"]
    environment:
      FRONTEND_URL: http://localhost:8080
      HYPERDX_API_PORT: 8000
      HYPERDX_APP_PORT: 8080
      MONGO_URI: mongodb://db:27017/hyperdx
      OTEL_EXPORTER_OTLP_ENDPOINT: http://otel-collector:4318
      # the stand-in wants what upstream leaves to a public constant
      EXPRESS_SESSION_SECRET: hyperdx is cool
    restart: always
    networks: [internal]
    depends_on: [ch-server, db]
  ch-server:
    image: clickhouse/clickhouse-server:26.5-alpine
    volumes: [".volumes/ch_data:/var/lib/clickhouse", ".volumes/ch_logs:/var/log/clickhouse-server"]
    restart: on-failure
    networks: [internal]
networks:
  internal:
"""
"""A deployment of the shape of upstream's docker-compose.yml: its names, images, ports, network and directories."""


def test_upstream_s_deployment_is_taken_over_and_given_back_with_its_data(other_stack: Callable[..., Stack]) -> None:
    stack = other_stack("takeover", MAIN_ENGINE, "2.40")
    host, old = stack.host, "/srv/hyperdx"
    host.write(f"{old}/docker-compose.yml", UPSTREAM)
    host.sh(f"cd {old} && docker compose up -d")

    def starts() -> list[int]:
        time.sleep(1)  # what was started a moment ago writes its line
        files = (f"{old}/.volumes/{place}/starts" for place in ("db", "ch_data/data"))
        return [len(host.read(file).splitlines()) for file in files]

    assert starts() == [1, 1]
    everything = {22, 4317, 4318, 8000, 8080, 8888, 13133, 24225}
    assert stack.lab.untrusted.scan(host.wan4) == everything, stack.logs()
    takeover = {"stack_compose_takeover": old}
    stack.run(**takeover)
    assert set(stack.containers()) == set(SERVICES) and len(host.docker("ps", "-aq").split()) == len(SERVICES)
    assert starts() == [2, 2]
    assert host.sh(f"cat {old}/.volumes/db/users 2>/dev/null || :") == ""
    assert stack.lab.untrusted.scan(host.wan4) == {22, 443, 4317, 4318}
    assert stack.run(**takeover)["changed"] == 0
    stack.run(stack_compose_state="absent", **takeover)
    assert host.docker("ps", "-aq") == "" and starts() == [2, 2]
    host.sh(f"cd {old} && docker compose up -d")
    assert starts() == [3, 3]
    assert stack.lab.untrusted.scan(host.wan4) == everything, stack.logs()
    assert all(state == "running" for state in host.docker("ps", "--format", "{{.State}}").split())


NEW = ("28.5", "29")
"""Engines that keep networks apart over IPv6."""
SHOWN = {MAIN_ENGINE, *(NEW[:-1] if NEW[-1] in LAB_ENGINES else ())}
"""Shown above, or by the newest; the role's Molecule scenario runs on 28.5."""


@pytest.mark.parametrize("engine", [engine for engine in LAB_ENGINES if engine not in SHOWN])
def test_on_other_engines_with_ipv6(other_stack: Callable[..., Stack], engine: str) -> None:
    stack = other_stack(f"compose-{engine.replace('.', '-')}", engine, "2.40")
    host = stack.host
    stack.variables["stack_compose_bind_addresses"] = [host.wan4, host.wan6]
    ipv6 = {
        "stack_compose_edge_subnet_ipv6": "fd00:30:80::/64",
        "stack_compose_data_subnet_ipv6": "fd00:30:81::/64",
    }
    if engine in NEW:
        stack.variables.update(ipv6)
    else:
        refused = stack.run(succeeds=False, **ipv6)
        assert "This Docker does not keep networks apart over IPv6" in refused["output"]
    stack.run()
    assert stack.run()["changed"] == 0
    for address in (host.wan4, host.wan6):
        assert stack.lab.untrusted.scan(address) == {22, 443, 4317, 4318}
    if engine in NEW:
        data = stack.inspect("ch-server")["NetworkSettings"]["Networks"]["hdx-oss_data"]
        assert data["GlobalIPv6Address"] == "fd00:30:81::c"
        assert reaches(stack, "app", "fd00:30:81::c", 8123)
        assert not reaches(stack, "proxy", "fd00:30:81::c", 8123)
