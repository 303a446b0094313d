"""docs/guides/from-upstream.md, followed on one Docker host of the lab: upstream's deployment as it ships, with all its
holes, data written into it, and at the end the same data in a stack in which the audit finds nothing.

The inventory, the playbooks and the commands are those of the guide. The lab's addresses and its lack of the internet
are said in a file of host variables. Step 1 asks by programs that these images have not, and step 7, the way back, is
in test_stack_compose.py.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.lab import Host, Lab, Unavailable, wheels
from tests.sandbox.lab.stack import images

from .conftest import LAB_ENGINES

Json = dict[str, Any]
GUIDE = (Path(__file__).parents[2] / "docs/guides/from-upstream.md").read_text()
STEPS = {
    number: re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for number, text in re.findall(r"^## (\d)\. (.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
}
"""The commands of each step."""
FILES = dict(re.findall(r"^(?:with )?`([\w/.-]+\.yml)`[^\n]*:\n\n```yaml\n(.*?)```", GUIDE, re.MULTILINE | re.DOTALL))
ENGINE = "28.5"
NAME = "clickstack.example.com"
OLD = "/opt/hyperdx"
WORK = "/run/lab/guide"
AUDIT = STEPS["3"][1]
OWNER, PASSWORD = "you@example.com", "Owner of before-1!"
KEY = "self-monitoring-key-5tR2"

COMPOSE = """\
name: hdx-oss
services:
  db:
    image: mongo:5.0.32-focal
    volumes: [".volumes/db:/data/db"]
    networks: [internal]
  otel-collector:
    image: ${CH_IMAGE_REPO}/clickhouse/clickstack-otel-collector:${IMAGE_VERSION}
    environment:
      CLICKHOUSE_ENDPOINT: tcp://ch-server:9000?dial_timeout=10s
      HYPERDX_OTEL_EXPORTER_CLICKHOUSE_DATABASE: default
      HYPERDX_LOG_LEVEL: ${HYPERDX_LOG_LEVEL}
      OPAMP_SERVER_URL: http://app:4320
      HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA: "true"
    ports: ["13133:13133", "24225:24225", "4317:4317", "4318:4318", "8888:8888"]
    restart: always
    networks: [internal]
    depends_on: [ch-server]
  app:
    image: ${HDX_IMAGE_REPO}/hyperdx/hyperdx:${IMAGE_VERSION}
    ports: ["8000:8000", "8080:8080"]
    environment:
      FRONTEND_URL: http://localhost:8080
      HYPERDX_API_KEY: ${HYPERDX_API_KEY}
      HYPERDX_API_PORT: 8000
      HYPERDX_APP_PORT: 8080
      HYPERDX_APP_URL: http://localhost
      HYPERDX_LOG_LEVEL: ${HYPERDX_LOG_LEVEL}
      MONGO_URI: mongodb://db:27017/hyperdx
      SERVER_URL: http://127.0.0.1:8000
      OPAMP_PORT: 4320
      # read by upstream's entrypoint under the name above, and by the one of this image under this
      HYPERDX_OPAMP_PORT: 4320
      OTEL_EXPORTER_OTLP_ENDPOINT: http://otel-collector:4318
      OTEL_SERVICE_NAME: hdx-oss-app
      USAGE_STATS_ENABLED: ${USAGE_STATS_ENABLED:-true}
      DEFAULT_CONNECTIONS: '[{"name":"Local ClickHouse","host":"http://ch-server:8123","username":"default","password":""}]'
    networks: [internal]
    depends_on: [ch-server, db]
  ch-server:
    image: clickhouse/clickhouse-server:26.5-alpine
    environment: {CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT: 1}
    volumes:
      - ./docker/clickhouse/local/config.xml:/etc/clickhouse-server/config.xml
      - ./docker/clickhouse/local/users.xml:/etc/clickhouse-server/users.xml
      - .volumes/ch_data:/var/lib/clickhouse
      - .volumes/ch_logs:/var/log/clickhouse-server
    restart: on-failure
    networks: [internal]
networks:
  internal:
"""
"""What upstream's docker-compose.yml says, without its comments."""
ENV = f"""\
HDX_IMAGE_REPO=docker.hyperdx.io
CH_IMAGE_REPO=docker.clickhouse.com
IMAGE_VERSION=2
HYPERDX_LOG_LEVEL=debug
HYPERDX_API_KEY={KEY}
"""
"""Upstream's .env, and the key with which a HyperDX reports on itself."""

HOLES = {
    # what is reached from outside
    "NET-PORT-01": "8000, 8080, 8888, 13133, 24225 and OTLP without TLS are open to everybody",
    "NET-PORT-04": "HyperDX' API and user interface in plain HTTP",
    "NET-PORT-05": "the collector's health check, metrics and fluentforward ask nobody for a login",
    "NET-PUB-01": "what Docker publishes goes past ufw",
    # HyperDX
    "HDX-REG-01": "the first visitor owns it",
    "HDX-SESS-01": "sessions are signed with a constant that everybody knows",
    "HDX-KEY-01": "/api/config gives HYPERDX_API_KEY to everybody",
    "HDX-TLS-01": "no HTTPS",
    "HDX-COOK-01": "the session's cookie is not secure, because FRONTEND_URL is HTTP",
    "HDX-LOG-01": "debug: whole OpAMP messages in the log",
    "HDX-USE-01": "usage statistics go out",
    # the collector
    "OTEL-CH-01": "telemetry and password go to ClickHouse in plain text",
    "OTEL-CH-02": "it logs in as default",
    # ClickHouse
    "CH-USER-01": "default has no password, and may come from anywhere",
    "CH-USER-02": "api/api and worker/worker log in",
    "CH-USER-03": "no user is bound to an address",
    "CH-USER-04": "passwords in plain text, or none",
    "CH-RBAC-01": "default manages access (CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT)",
    "CH-READ-01": "whoever is signed in to HyperDX writes and drops, as default, by /clickhouse-proxy",
    "CH-READ-02": "the same without limits",
    "CH-READ-03": "the same reads users, files and URLs",
    "CH-ING-01": "the collector may drop everything",
    "CH-QUOTA-01": "no limit for queries",
    "CH-TLS-01": "8123 and 9000 in plain text",
    "CH-NET-01": "MySQL's, PostgreSQL's and the interserver protocol listen",
    "CH-NET-02": "metrics on 9363 for everybody",
    "CH-PWD-01": "users without a password may be made",
    "CH-LOG-01": "query_log grows for ever",
    "CH-LOG-02": "logins are not logged",
    "CH-DISK-01": "telemetry is not encrypted on the disk",
    "CH-NC-01": "secrets of named collections are neither",
    "CH-SSRF-01": "queries fetch any URL",
    # MongoDB
    "MDB-AUTH-01": "nobody is asked for a login",
    "MDB-TLS-01": "plain text",
    "MDB-USER-01": "HyperDX may do everything",
    "MDB-USER-02": "from everywhere",
    "MDB-LOCAL-01": "who reaches its loopback makes the first user",
    # Docker, and files
    "DKR-NET-01": "the databases reach the internet",
    "DKR-CAP-01": "Docker's default capabilities",
    "DKR-NNP-01": "setuid programs work",
    "DKR-RO-01": "root file systems can be written to",
    "DKR-LIM-01": "no limit of memory",
    "DKR-LIM-02": "no limit of CPUs",
    "DKR-LIM-03": "no limit of processes",
    "DKR-HLTH-01": "no health check",
    "DKR-LOG-01": "logs grow until the disk is full",
    "DKR-IMG-01": "images by a tag that moves",
    "DKR-RST-01": "HyperDX and MongoDB stay down after a crash",
    "FILE-MODE-01": "everybody on the host reads .env",
    "FILE-SEC-01": "HYPERDX_API_KEY is in `docker inspect`",
    "FILE-SEC-02": "HYPERDX_API_KEY is written in .env",
}
"""What the audit finds in it before anybody has registered, and nothing else.

What these images cannot show: `$where` (MDB-JS-01) and SCRAM-SHA-1 (MDB-AUTH-02), which SecantusDB has not, and what
MongoDB logs (MDB-LOG-01), which it does not say. What is no hole of this deployment: OpAMP, which gives the keys to
everybody, is not published (NET-PORT-03).
"""
IN_USE = HOLES.keys() - {"HDX-REG-01"} | {
    # the collector listens now
    "OTEL-TLS-01",
    # a team that an older version made takes telemetry from everybody
    "OTEL-AUTH-01",
}
"""The same when somebody has registered."""


@dataclass
class Deployment:
    """Upstream's deployment, and an administrator's directory on the machine next to it, as the guide has it."""

    lab: Lab
    host: Host

    def upstream(self) -> None:
        """Write upstream's files and start them, as `docker compose up -d` does."""
        write = self.host.write
        write(f"{OLD}/docker-compose.yml", COMPOSE)
        write(f"{OLD}/.env", ENV)
        write(f"{OLD}/docker/clickhouse/local/config.xml", images.UPSTREAM_CONFIG_XML)
        write(f"{OLD}/docker/clickhouse/local/users.xml", images.UPSTREAM_USERS_XML)
        self.host.sh(f"cd {OLD} && docker compose up -d")
        self.wait_for_hyperdx()

    def wait_for_hyperdx(self) -> None:
        """Until it answers, on upstream's port."""
        self.host.sh(
            "curl -gsS --fail -o /dev/null --retry 60 --retry-all-errors --retry-delay 1"
            " http://127.0.0.1:8080/api/installation"
        )

    def wait_for_collector(self) -> None:
        """Until it receives: it was told to by HyperDX, which it asks when it starts."""
        self.host.sh("curl -gsS -o /dev/null --retry 60 --retry-all-errors --retry-delay 1 http://127.0.0.1:4318/")

    def write_files(self) -> None:
        """The guide's files, and what is the lab's own in this inventory: ways, addresses, and a hurry."""
        folder = self.lab.folder / "guide"
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        ssh = folder / "bin/ssh"
        ssh.parent.mkdir()
        ssh.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F /run/lab/ssh_config -o HostName={self.host.lan4} "$@"\n')
        ssh.chmod(0o755)
        (folder / "inventory.yml").write_text(FILES["inventory.yml"] + "neighbours:\n  hosts:\n    untrusted:\n")
        said = {
            NAME: {
                "ansible_host": self.host.lan4,
                "ansible_user": "root",
                "ansible_python_interpreter": "/usr/bin/python3",
                "ansible_ssh_common_args": "-F /run/lab/ssh_config",
                "ansible_control_path_dir": "/run/lab/cp",
                "vault_ca_passphrase": "only for tests, and long enough",
                "vault_hyperdx_password": PASSWORD,
                "clickstack_bind_addresses": [self.host.wan4],
                "stack_audit_addresses": [self.host.wan4, self.host.wan6],
                "stack_firewall_host_ports": [{"port": 22, "sources": ["192.168.50.0/24", "fd50::/64"]}],
                "clickstack_pip_environment": {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.FOLDER},
                "stack_compose_healthcheck_interval": "4s",
                "stack_compose_clickhouse_nofile": 0,
                "stack_compose_mongodb_nofile": 0,
            },
            "untrusted": self.lab.untrusted.variables,
        }
        (folder / "host_vars").mkdir()
        for name, variables in said.items():
            (folder / "host_vars" / f"{name}.json").write_text(json.dumps(variables))

    def attempt(self, script: str, *arguments: str) -> tuple[int, str]:
        """Run a script of the guide in the administrator's directory; return its exit status and what it printed."""
        path = f"{WORK}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**self.lab.environment, "PATH": path, "HOME": WORK}
        script = " ".join([script.strip(), *arguments])
        done = self.lab.trusted.run("sh", "-euc", script, env=environment, folder=WORK, check=False, timeout=900)
        return done.returncode, done.stdout + done.stderr

    def run(self, script: str, *arguments: str) -> str:
        """Run one that does what it shall; return what it printed."""
        code, output = self.attempt(script, *arguments)
        assert code == 0, output + self.logs()
        return output

    def logs(self) -> str:
        """What the containers said last."""
        return self.host.sh(
            'for c in $(docker ps -aq); do docker inspect -f "{{.Name}} {{.State.Status}}" $c;'
            " docker logs --tail 5 $c 2>&1; done"
        )

    def audit(self, name: str, command: str, *arguments: str) -> Json:
        """Run the guide's audit from the untrusted side; return findings by control, output and reports."""
        given = f"-e audit_vantage=untrusted -e audit_directory={WORK}/{name}"
        code, output = self.attempt(command, given, *arguments)
        folder = self.lab.folder / "guide" / name
        assert folder.is_dir(), output
        reports = {file.suffix: file.read_text() for file in folder.iterdir()}
        if os.environ.get("AUDIT_REPORTS"):
            (Path(os.environ["AUDIT_REPORTS"]) / f"audit-{name}.html").write_text(reports[".html"])
        findings = {one["id"]: one for one in json.loads(reports[".json"])["findings"]}
        statuses = {control: one["status"] for control, one in findings.items()}
        failed = {control for control, status in statuses.items() if status == "fail"}
        return {"code": code, "output": output, "reports": reports, "statuses": statuses, "failed": failed}

    def address(self, service: str) -> list[str]:
        """The address and the gateway of a container of upstream's."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}"
        return self.host.docker("inspect", f"hdx-oss-{service}-1", "--format", form).split()

    def clickhouse(self, statement: str) -> str:
        """Ask upstream's ClickHouse, which lets everybody in."""
        url = f"http://{self.address('ch-server')[0]}:8123/"
        return self.host.run("curl", "-gsS", "--fail-with-body", url, "--data-binary", statement).stdout

    def mongodb(self, script: str) -> str:
        """Run a script on upstream's MongoDB, which lets everybody in, with its database as `db`."""
        address = self.address("db")[0]
        head = f"import pymongo\ndb = pymongo.MongoClient('mongodb://{address}/?directConnection=true')['hyperdx']\n"
        return self.host.run("python3", "-c", head + script).stdout

    def mongodb_as_hyperdx(self, expression: str) -> str:
        """Evaluate an expression on `db` as HyperDX' own user, who may come from HyperDX' container alone."""
        script = f"""
import pathlib, pymongo
uri = pathlib.Path('/opt/clickstack/secrets/mongo_uri').read_text().strip()
uri = uri.replace('@db:', '@172.30.81.13:').replace('/certs/', '/opt/clickstack/tls/app/')
client = pymongo.MongoClient(uri, tlsAllowInvalidHostnames=True, serverSelectionTimeoutMS=10000, directConnection=True)
db = client['hyperdx']
print({expression})
"""
        pid = self.host.docker("inspect", "hdx-oss-app-1", "--format", "{{.State.Pid}}")
        return self.host.run("nsenter", f"--net=/proc/{pid}/ns/net", "python3", "-c", script).stdout.strip()

    def browser(self, path: str, *options: str) -> str:
        """Ask HyperDX from the untrusted side by its name, over TLS, with a jar of cookies; the whole answer."""
        jar = f"{WORK}/cookies"
        authority = f"{WORK}/.clickstack-ca/clickstack/ca.crt"
        address = ("--resolve", f"{NAME}:443:{self.host.wan4}", "--cacert", authority, "-b", jar, "-c", jar, "-m", "10")
        arguments = ("-gsS", "-i", "--noproxy", "*", *address, *options)
        return self.lab.untrusted.run("curl", *arguments, f"https://{NAME}{path}").stdout


# -- One deployment, from its first minute to the guide's last step: each fixture goes on where the one before ended ---


@pytest.fixture(scope="module")
def deployment(lab: Lab, new_host: Callable[..., Host]) -> Deployment:
    """Upstream's, just started."""
    if ENGINE not in LAB_ENGINES:
        pytest.skip(f"LAB_ENGINES leaves out Docker Engine {ENGINE}")
    host = new_host("upstream", ENGINE)
    try:
        for archive in images.archives():
            host.load(archive)
    except Unavailable as reason:
        pytest.skip(f"without ClickStack's images: {reason}")
    wheels.give(host)
    made = Deployment(lab, host)
    made.write_files()
    made.upstream()
    return made


@pytest.fixture(scope="module")
def fresh(deployment: Deployment) -> Json:
    """What the audit finds in it."""
    return deployment.audit("before", AUDIT, "-e audit_fail_on=none -e stack_audit_fail_on_error=false")


@pytest.fixture(scope="module")
def used(deployment: Deployment, fresh: Json) -> Json:
    """Somebody has registered and has data in it, and the guide is followed up to its audit: what that finds."""
    owner = {"email": OWNER, "password": PASSWORD, "confirmPassword": PASSWORD}
    head = ("-gsS", "--fail-with-body", "-H", "Content-Type: application/json", "-d", json.dumps(owner))
    deployment.host.run("curl", *head, "http://127.0.0.1:8080/api/register/password")
    deployment.clickhouse("CREATE TABLE default.kept (x Int32) ENGINE = MergeTree ORDER BY x")
    deployment.clickhouse("INSERT INTO default.kept VALUES (42)")
    deployment.mongodb("db.savedsearches.insert_one({'name': 'kept', 'number': 43})")
    # as older versions made teams
    deployment.mongodb("db.teams.update_many({}, {'$set': {'collectorAuthenticationEnforced': False}})")
    deployment.host.sh(STEPS["2"][0])
    deployment.wait_for_hyperdx()
    deployment.wait_for_collector()
    return deployment.audit("in-use", AUDIT)


@pytest.fixture(scope="module")
def hardened(deployment: Deployment, used: Json) -> Json:
    """Steps 4 and 5: what the site says that is run once more."""
    # what the error of the site says, for such a team
    deployment.mongodb("db.teams.update_many({}, {'$set': {'collectorAuthenticationEnforced': True}})")
    users = deployment.run(STEPS["4"][0])
    first = deployment.run(STEPS["5"][0])
    return {"users": users, "first": first, "second": deployment.run(STEPS["5"][0], "--check")}


@pytest.fixture(scope="module")
def final(deployment: Deployment, hardened: Json) -> Json:
    """Step 8, without the last two lines of the variables: what its audit finds."""
    path = deployment.lab.folder / "guide/group_vars/clickstack.yml"
    lines = path.read_text().splitlines(keepends=True)
    assert [line.partition(":")[0] for line in lines[-2:]] == [
        "stack_clickhouse_disk_encryption",
        "stack_clickhouse_named_collections",
    ]
    path.write_text("".join(lines[:-2]))
    deployment.run(STEPS["5"][0])
    rewrite, audit = STEPS["8"]
    deployment.host.sh(rewrite)
    return deployment.audit("after", audit)


def content(answer: str) -> Any:
    """The JSON of an answer."""
    return json.loads(answer.rpartition("\n\n")[2])


def test_as_it_ships_it_has_every_hole(fresh: Json) -> None:
    assert fresh["failed"] == HOLES.keys(), fresh["output"]
    assert [control for control, status in fresh["statuses"].items() if status == "error"] == ["MDB-LOG-01"]
    assert fresh["code"] == 0 and " changed=0 " in fresh["output"]


def test_in_use_it_has_more_and_the_threshold_fails_the_run(used: Json) -> None:
    assert used["failed"] == IN_USE, used["output"]
    assert used["code"] == 2 and " changed=0 " in used["output"]
    texts = {**used["reports"], "output": used["output"]}
    assert not [name for name, text in texts.items() if KEY in text or PASSWORD in text]


def test_the_guide_s_way_ends_in_a_site_that_changes_nothing(hardened: Json) -> None:
    assert "MongoDB asks nobody for a login yet" in hardened["users"]
    assert " changed=0 " in hardened["second"], hardened["second"]
    assert not [name for name, text in hardened.items() if PASSWORD in text]


def test_from_outside_only_declared_ports_are_open(deployment: Deployment, hardened: Json) -> None:
    assert deployment.lab.untrusted.scan(deployment.host.wan4) == {443, 4317, 4318}
    assert deployment.lab.untrusted.scan(deployment.host.wan6) == set()


def test_in_the_end_the_audit_finds_nothing(final: Json) -> None:
    wrong = {control for control, status in final["statuses"].items() if status in ("fail", "error")}
    assert not wrong, final["output"]
    assert final["code"] == 0 and " changed=0 " in final["output"]
    # what was a hole has been looked at, and is none
    assert {final["statuses"][control] for control in IN_USE | HOLES.keys()} == {"pass"}, final["statuses"]


def test_the_owner_signs_in_and_finds_the_data(deployment: Deployment, final: Json) -> None:
    form = json.dumps({"email": OWNER, "password": PASSWORD})
    body = ("-H", "Content-Type: application/json", "-d", form)
    said = deployment.browser("/api/login/password", *body)
    assert re.search(r"^location: https://clickstack.example.com/search", said, re.MULTILINE | re.IGNORECASE), said
    assert content(deployment.browser("/api/me"))["email"] == OWNER
    connections = content(deployment.browser("/api/connections"))
    (connection,) = [one for one in connections if one["name"] == "Local ClickHouse"]
    header = ("-H", f"X-HyperDX-Connection-Id: {connection['_id']}", "-H", "Content-Type: text/plain")
    kept = deployment.browser("/api/clickhouse-proxy/", *header, "--data-binary", "SELECT x FROM default.kept")
    assert kept.endswith("\n\n42\n"), kept
    assert deployment.mongodb_as_hyperdx("db.savedsearches.find_one({'name': 'kept'})['number']") == "43"
