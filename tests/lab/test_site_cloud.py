"""hardened.clickstack.site_cloud: a bare Docker host, and another one that stands for ClickHouse Cloud.

"Cloud" is ClickHouse's own server behind TLS alone. As the service's, its `default` has a password and not all rights
there are: without those over named collections it cannot grant ALL. Its authority is this test's, put where hosts and
images keep those that everybody trusts, so that nothing of the collection is told about it. The variables are those of
docs/guides/clickhouse-cloud.md.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sandbox.certificates import Authority
from tests.sandbox.lab import Host, Lab, wheels

from .site import BASE, ENGINE, PASSPHRASE, VARIABLES, load, play, send_span, spans

Json = dict[str, Any]
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "clickhouse-cloud.md"
SAID: Json = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])
"""What the guide tells to put into the inventory."""
NAME, CLOUD = SAID["clickstack_host_name"], SAID["clickstack_cloud_host"]
PASSWORD = "only for tests, of the service"
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
OUTSIDE = "/run/lab/cloud"
"""A folder that neighbours see."""

CONFIG = """<clickhouse>
    <http_port remove="remove"/><tcp_port remove="remove"/><mysql_port remove="remove"/>
    <postgresql_port remove="remove"/><interserver_http_port remove="remove"/>
    <https_port>8443</https_port><tcp_port_secure>9440</tcp_port_secure>
    <openSSL><server>
        <certificateFile>/certs/tls.crt</certificateFile><privateKeyFile>/certs/tls.key</privateKeyFile>
        <disableProtocols>sslv2,sslv3,tlsv1,tlsv1_1</disableProtocols><loadDefaultCAFile>false</loadDefaultCAFile>
    </server></openSSL>
    <session_log><database>system</database><table>session_log</table></session_log>
    <allow_plaintext_password replace="replace">0</allow_plaintext_password>
    <allow_no_password replace="replace">0</allow_no_password>
</clickhouse>
"""
USERS = """<clickhouse><users>
    <default replace="replace">
        <password_sha256_hex>{}</password_sha256_hex><networks><ip>::/0</ip></networks>
        <profile>default</profile><quota>default</quota><access_management>1</access_management>
    </default>
</users></clickhouse>
"""


@dataclass
class Site:
    """The stack's host, the one that stands for ClickHouse Cloud, and who looks at both from outside."""

    lab: Lab
    host: Host
    cloud: Host

    def play(self, name: str, *arguments: str, check: bool = True, **variables: object) -> tuple[str, int]:
        """Run a playbook of the collection as an administrator does: what it printed, and how much it changed."""
        given = ("-e", json.dumps(variables), *arguments)
        output, changed = play(self.lab, f"{OUTSIDE}/inventory.json", name, *given, check=check, hosts=(self.host,))
        assert PASSWORD not in output
        return output, changed[self.host.name]

    def secret(self, name: str) -> str:
        """The content of a secret's file on the host."""
        return self.host.read(f"{BASE}/secrets/{name}").strip()

    def curl(self, *arguments: str) -> tuple[int, str]:
        """The status and the body of what the untrusted neighbour is answered."""
        names = ("--resolve", f"{CLOUD}:8443:{self.cloud.wan4}", "--resolve", f"{NAME}:443:{self.host.wan4}")
        done = self.lab.untrusted.run(
            "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *names,
            "--write-out", "\n%{http_code}", *arguments,
        )  # fmt: skip
        body, _newline, status = done.stdout.rpartition("\n")
        return int(status), body

    def query(self, statement: str, user: str = "default", password: str = PASSWORD) -> tuple[int, str]:
        """What ClickHouse says to a user who comes from the untrusted neighbour's address."""
        url = f"https://{CLOUD}:8443/"
        status, body = self.curl("--cacert", f"{OUTSIDE}/ca.crt", "-u", f"{user}:{password}", "-d", statement, url)
        return status, body.strip()

    def query_from_host(self, statement: str, user: str, password: str) -> int:
        """The status of what ClickHouse says to a user who comes from the stack's host."""
        said = self.host.run(
            "curl", "--silent", "-o", "/dev/null", "-w", "%{http_code}", "-u", f"{user}:{password}", "-d", statement,
            f"https://{CLOUD}:8443/",
        )  # fmt: skip
        return int(said.stdout)

    def send(self, name: str, key: str) -> int:
        """The status of what a sender of a span gets from the collector."""
        return send_span(self.lab, self.host.wan4, f"{OUTSIDE}/stack.crt", name, key)

    def arrived(self, name: str) -> int:
        """How many spans of a name there come to be in ClickHouse."""
        return spans(lambda statement: self.query(statement)[1], name)

    def hyperdx(self, path: str, *arguments: str) -> tuple[int, str]:
        """What HyperDX says to its owner, who has a browser's cookies."""
        cookies = f"{OUTSIDE}/cookies"
        return self.curl(
            "--cacert", f"{OUTSIDE}/stack.crt", "-b", cookies, "-c", cookies, *arguments, f"https://{NAME}/api/{path}"
        )

    def ask_by_hyperdx(self, statement: str) -> tuple[int, str]:
        """What ClickHouse says to HyperDX, asked by its owner through the proxy."""
        owner = {"email": f"admin@{NAME}", "password": self.secret("hyperdx_owner_password")}
        as_json = ("-H", "Content-Type: application/json")
        self.hyperdx("login/password", *as_json, "-d", json.dumps(owner))
        (connection,) = json.loads(self.hyperdx("connections")[1])
        assert connection["host"] == f"https://{CLOUD}:8443"
        header = f"X-HyperDX-Connection-Id: {connection['id']}"
        status, body = self.hyperdx("clickhouse-proxy", "-H", header, "-H", "Content-Type: text/plain", "-d", statement)
        return status, body.strip()


@pytest.fixture(scope="module")
def authority(lab: Lab) -> Authority:
    """An authority that is this test's, and stands for one that everybody trusts."""
    return Authority(lab.folder / "cloud")


@pytest.fixture(scope="module")
def cloud(new_host: Callable[..., Host], authority: Authority) -> Host:
    """What stands for ClickHouse Cloud."""
    host = new_host("cloud", ENGINE)
    load(host, "clickhouse")
    certificate, key = authority.issue(CLOUD, (CLOUD,), server=True)
    host.write("/srv/certs/tls.crt", certificate.read_text())
    host.write("/srv/certs/tls.key", key.read_text(), "600")
    host.sh("chown 101 /srv/certs/tls.key")
    host.write("/srv/cloud.xml", CONFIG)
    host.write("/srv/default.xml", USERS.format(hashlib.sha256(PASSWORD.encode()).hexdigest()))
    at = "/etc/clickhouse-server"
    mounts = [
        "/srv/certs:/certs",
        f"/srv/cloud.xml:{at}/config.d/cloud.xml",
        f"/srv/default.xml:{at}/users.d/default.xml",
    ]
    host.docker(
        "run", "--detach", "--name=clickhouse", "--env=CLICKHOUSE_SKIP_USER_SETUP=1",
        *(f"--volume={mount}:ro" for mount in mounts),
        *(f"--publish={host.wan4}:{port}:{port}" for port in (8443, 9440)),
        "clickhouse/clickhouse-server:26.5-alpine",
    )  # fmt: skip
    asked = ("--insecure", "--silent", "--retry", "60", "--retry-delay", "1", "--retry-all-errors")
    said = host.run("curl", *asked, f"https://{host.wan4}:8443/ping", check=False).stdout
    assert said == "Ok.\n", said + host.sh("docker logs --tail=40 clickhouse 2>&1")
    return host


@pytest.fixture(scope="module")
def site(lab: Lab, new_host: Callable[..., Host], authority: Authority, cloud: Host) -> Site:
    """Both hosts, and an inventory as the guide says; site_cloud has not run."""
    host = new_host("hyperdx", ENGINE)
    load(host, "app", "otel", "mongodb", "proxy")
    wheels.give(host)
    host.sh(f"echo {cloud.wan4} {CLOUD} >>/etc/hosts")
    host.write("/usr/local/share/ca-certificates/everybody.crt", authority.ca.read_text())
    host.sh("update-ca-certificates 2>&1")
    # where Go and Debian's Python find what everybody trusts
    places = {"otel-collector": SYSTEM_AUTHORITIES, "app": "/usr/lib/ssl/cert.pem"}
    variables = {
        **SAID,
        **VARIABLES,
        "vault_ca_passphrase": PASSPHRASE,
        "vault_clickhouse_cloud_password": PASSWORD,
        "clickstack_cloud_clients": [host.wan4],
        "stack_audit_addresses": [host.wan4, host.wan6],
        "clickstack_bind_addresses": [host.wan4],
        # nor does anybody there know names
        "stack_compose_overrides": {
            "services": {
                service: {
                    "extra_hosts": [f"{CLOUD}:{cloud.wan4}"],
                    "volumes": [f"{SYSTEM_AUTHORITIES}:{place}:ro"],
                }
                for service, place in places.items()
            }
        },
    }
    inventory = {
        "clickstack": {"hosts": {host.name: {}}, "vars": variables},
        "vantage": {"hosts": {"untrusted": lab.untrusted.variables}},
    }
    (lab.folder / "cloud" / "inventory.json").write_text(json.dumps(inventory))
    return Site(lab, host, cloud)


@pytest.fixture(scope="module")
def ran(site: Site) -> Site:
    """The same, after site_cloud has run once."""
    site.play("site_cloud")
    (site.lab.folder / "cloud" / "stack.crt").write_text(site.host.read(f"{BASE}/tls/otel/ca.crt"))
    return site


def test_what_is_missing_or_wrong_is_refused_before_anything_changes(site: Site) -> None:
    missing = {"clickstack_cloud_host": "", "stack_access_bootstrap_password": ""}
    output, changed = site.play("site_cloud", check=False, **missing)
    assert changed == 0 and "Nothing was changed" in output
    # both at once
    assert "clickstack_cloud_host is not given" in output and "stack_access_bootstrap_password is not given" in output
    output, changed = site.play("site_cloud", check=False, stack_access_bootstrap_password="not that of the service")
    assert changed == 0 and f"the user default is refused by https://{CLOUD}:8443" in output
    output, changed = site.play("site_cloud", check=False, clickstack_cloud_host="abc124.example.com")
    assert changed == 0 and "there is no right answer from https://abc124.example.com:8443" in output
    assert site.host.sh(f"ls {BASE} 2>&1 || true").endswith("No such file or directory\n")


def test_site_cloud_comes_to_run_without_a_clickhouse_on_the_host(ran: Site) -> None:
    services = ran.host.docker("ps", "--all", "--format", '{{.Label "com.docker.compose.service"}} {{.Status}}')
    running = {line.split()[0]: "(healthy)" in line for line in services.splitlines()}
    assert running == dict.fromkeys(("app", "db", "otel-collector", "proxy"), True), services
    assert "clickhouse" not in ran.host.docker("volume", "ls", "--format", "{{.Name}}")
    assert set(ran.host.sh(f"ls {BASE}/tls").split()) == {"app", "mongodb", "otel", "proxy"}
    assert not [name for name in ran.host.sh(f"ls {BASE}").split() if "clickhouse" in name]
    # of ClickHouse's, only the passwords of its users
    assert {name for name in ran.host.sh(f"ls {BASE}/secrets").split() if "clickhouse" in name} == {
        "clickhouse_admin_password",
        "clickhouse_reader_password",
        "otel_clickhouse_password",
    }
    assert ran.lab.untrusted.scan(ran.host.wan4) == {443, 4317, 4318}


def test_users_are_made_in_the_service_and_come_in_from_the_host_alone(ran: Site) -> None:
    users = "SELECT name, host_ip FROM system.users WHERE storage = 'local_directory' ORDER BY name FORMAT JSONCompact"
    found = json.loads(ran.query(users)[1])["data"]
    assert found == [[name, [ran.host.wan4]] for name in ("clickstack_admin", "hyperdx", "otel_ingest")]
    names = {"clickstack_admin": "clickhouse_admin", "hyperdx": "clickhouse_reader", "otel_ingest": "otel_clickhouse"}
    for user, name in names.items():
        password = ran.secret(f"{name}_password")
        assert ran.query_from_host("SELECT 1", user, password) == 200, user
        # the right password from elsewhere
        assert ran.query("SELECT 1", user, password)[0] == 403, user
    grants = ran.query("SHOW GRANTS FOR otel_reader, otel_writer FORMAT TSV")[1].splitlines()
    assert "GRANT SELECT ON otel.* TO otel_reader" in grants, grants
    assert [grant for grant in grants if grant.endswith("TO otel_writer")] == [
        "GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW ON otel.* TO otel_writer"
    ]
    assert "otel_writer" not in " ".join(grant for grant in grants if "otel_reader" in grant)
    profile = ran.query("SHOW CREATE SETTINGS PROFILE hyperdx_reader FORMAT TSVRaw")[1]
    assert "max_memory_usage = 8589934592 CONST" in profile, profile


def test_telemetry_arrives_in_the_service_and_only_with_the_key(ran: Site) -> None:
    assert ran.send("allowed", ran.secret("ingestion_api_key")) == 200
    assert ran.send("anonymous", "") == 401
    assert ran.arrived("allowed") == 1
    assert ran.query("SELECT count() FROM otel.otel_traces") == (200, "1")


def test_hyperdx_reads_from_the_service(ran: Site) -> None:
    assert ran.ask_by_hyperdx("SELECT currentUser(), count() FROM otel.otel_traces FORMAT CSV") == (200, '"hyperdx",1')
    status, said = ran.ask_by_hyperdx("DROP TABLE otel.otel_traces")
    assert status != 200 and "ACCESS_DENIED" in said, said


def test_a_second_run_changes_nothing_and_needs_the_password_no_more(ran: Site) -> None:
    output, changed = ran.play("site_cloud", stack_access_bootstrap_password="")
    assert changed == 0, output


def test_the_audit_finds_nothing_that_the_guide_does_not_say(ran: Site, tmp_path: Path) -> None:
    output, changed = ran.play("audit", audit_vantage="untrusted", audit_fail_on="high", audit_directory=str(tmp_path))
    (report,) = tmp_path.glob("*.json")
    findings = json.loads(report.read_text())["findings"]
    failed = {one["id"] for one in findings if one["status"] not in ("pass", "not_applicable")}
    # what only the service can change: from where its `default` may come, and how long it keeps its logs
    assert changed == 0 and failed == {"CH-USER-03", "CH-LOG-01", "CH-LOG-02"}, output


def test_passwords_are_rotated_in_the_service(ran: Site) -> None:
    names = {"otel_clickhouse_password": "otel_ingest", "clickhouse_reader_password": "hyperdx"}
    before = {name: ran.secret(name) for name in names}
    ran.play("rotate", rotate=list(names))
    for name, user in names.items():
        now = ran.secret(name)
        assert now != before[name]
        assert ran.query_from_host("SELECT 1", user, now) == 200
        assert ran.query_from_host("SELECT 1", user, before[name]) == 403
    assert ran.send("rotated", ran.secret("ingestion_api_key")) == 200
    assert ran.arrived("rotated") == 1
    assert ran.ask_by_hyperdx("SELECT count() FROM otel.otel_traces") == (200, "2")
