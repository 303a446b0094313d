"""The audit on this machine: its probes against a ClickHouse as it ships and one that stack_access has been to, MongoDB
with and without access control, servers that speak old TLS, and the real collector; and the role as a whole."""

from __future__ import annotations

import importlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from tests.playbook import Run, run_playbook
from tests.sandbox import Sandbox, start
from tests.sandbox.certificates import Authority
from tests.sandbox.lab import Unavailable
from tests.sandbox.mongodb import MongoDB
from tests.sandbox.otel import programs
from tests.sandbox.otel.collector import Collector

Json = dict[str, Any]
ADMIN, INGEST, READER = "Admin-pass-5481-xK", "Ingest-pass-7730-vB", "Reader-pass-9012-tM"
MONGO_ADMIN, MONGO_APP = "Mongo-admin-6620-qZ", "Mongo-app-1187-wP"
SECRETS = (ADMIN, INGEST, READER, MONGO_ADMIN, MONGO_APP, "7c9e-secret-key")
CLOSED = {"native": 0, "native_secure": 0, "mysql": 0, "postgresql": 0, "interserver": 0, "grpc": 0, "metrics": 0}
MODULES = "ansible_collections.hardened.clickstack.plugins.modules"


class Seen:
    """What a probe's module returned: by probe its worst status, and all evidence."""

    def __init__(self, result: Json) -> None:
        assert result["changed"] is False and not result.get("failed"), result
        self.result = result
        self._by_probe: dict[str, list[Json]] = {}
        for one in result["observations"]:
            self._by_probe.setdefault(one["probe"], []).append(one)

    def __getitem__(self, probe: str) -> str:
        found = {one["status"] for one in self._by_probe[probe]}
        return next(status for status in ("fail", "error", "pass", "not_applicable") if status in found)

    def all(self, *probes: str) -> set[str]:
        """The statuses of several probes."""
        return {self[probe] for probe in probes}

    def text(self, *probes: str) -> str:
        """What they say."""
        return " ".join(f"{one['status']}: {one['evidence']}" for probe in probes for one in self._by_probe[probe])


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str]) -> Callable[..., Seen]:
    """Run a probe's module in this process: probe("network", addresses=[...])."""

    def run(which: str, **options: Any) -> Seen:
        module = importlib.import_module(f"{MODULES}.audit_{which}")
        capsys.readouterr()
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        said = capsys.readouterr().out
        assert not [secret for secret in SECRETS if secret in said.partition('"invocation"')[0]]
        return Seen(json.loads(said))

    return run


# -- ClickHouse -------------------------------------------------------------------------------------------------------


READER_PROBES = (
    "clickhouse_reader_writes",
    "clickhouse_reader_scope",
    "clickhouse_reader_limits",
    "clickhouse_resource_limits",
)
LOGIN_PROBES = (
    "clickhouse_default_user",
    "clickhouse_user_hosts",
    "clickhouse_user_authentication",
    "clickhouse_access_managers",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Sandbox]:
    """ClickHouse's own server, as it ships until `hardened` is asked for: tests stand in that order."""
    with start("25.8", tls=True) as running:
        yield running


def where(server: Sandbox, **ports: int) -> Json:
    ports = {**CLOSED, "http": 0, "https": server.https_port, **ports}
    return {"host": "127.0.0.1", "name": "localhost", "ca_file": str(server.ca), "database": "otel", "ports": ports}


def test_clickhouse_as_it_ships(server: Sandbox, probe: Callable[..., Seen]) -> None:
    before = server.session().query("SELECT name FROM system.databases ORDER BY name")
    seen = probe("clickhouse", **where(server, http=server.port))
    failing = ("clickhouse_plaintext", "clickhouse_ingest_rights", "clickhouse_query_log", "clickhouse_session_log",
               "clickhouse_encrypted_disk", "clickhouse_remote_urls", *READER_PROBES, *LOGIN_PROBES)  # fmt: skip
    assert seen.all(*failing) == {"fail"}, seen.text(*failing)
    passing = ("clickhouse_tls_protocols", "clickhouse_certificate", "clickhouse_other_protocols", "clickhouse_metrics",
               "clickhouse_known_users", "clickhouse_reader_settings")  # fmt: skip
    assert seen.all(*passing) == {"pass"}, seen.text(*passing)
    assert "DROP TABLE" in seen.text("clickhouse_ingest_rights")
    assert server.session().query("SELECT name FROM system.databases ORDER BY name") == before


@pytest.fixture(scope="module")
def hardened(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sandbox, Path]:
    """A ClickHouse that stack_access has been to, with a table of telemetry, and the directory of its secrets."""
    folder = tmp_path_factory.mktemp("access")
    variables = {
        "stack_access_login_host": "localhost",
        "stack_access_login_port": server.https_port,
        "stack_access_login_ca_cert": str(server.ca),
        "stack_access_users_d": str(server.users_d),
        "stack_access_admin_password": ADMIN,
        "stack_access_ingest_password": INGEST,
        "stack_access_reader_password": READER,
        **{f"stack_access_{user}_host": {"ip": ["127.0.0.1", "::1"]} for user in ("admin", "ingest", "reader")},
    }
    play = {"name": "Access", "hosts": "localhost", "gather_facts": False, "vars": variables,
            "roles": ["hardened.clickstack.stack_access"]}  # fmt: skip
    done = run_playbook([play], folder=folder)
    assert done.code == 0, done.output
    ingest = server.secure_session("otel_ingest", INGEST)
    ingest.query("CREATE TABLE otel.otel_logs (Timestamp DateTime, Body String) ENGINE = MergeTree ORDER BY Timestamp")
    files = {
        "clickhouse_admin_password": ADMIN,
        "otel_clickhouse_password": INGEST,
        "clickhouse_reader_password": READER,
    }
    for name, password in files.items():
        (folder / name).write_text(f"{password}\n")
    return server, folder


def logins(folder: Path) -> Json:
    return {
        "reader": {"user": "hyperdx", "password_file": str(folder / "clickhouse_reader_password")},
        "ingest": {"user": "otel_ingest", "password_file": str(folder / "otel_clickhouse_password")},
        "admin": {"user": "clickstack_admin", "password_file": str(folder / "clickhouse_admin_password")},
    }


def test_clickhouse_after_stack_access(hardened: tuple[Sandbox, Path], probe: Callable[..., Seen]) -> None:
    server, folder = hardened
    config = folder / "config.xml"
    off = "".join(
        f"<allow_{kind}>0</allow_{kind}>" for kind in ("no_password", "implicit_no_password", "plaintext_password")
    )
    config.write_text(f"<clickhouse>{off}</clickhouse>")
    begun = time.monotonic()
    seen = probe("clickhouse", **where(server), **logins(folder), config_file=str(config))
    assert time.monotonic() - begun < 10
    passing = ("clickhouse_plaintext", "clickhouse_tls_protocols", "clickhouse_certificate", "clickhouse_known_users",
               "clickhouse_ingest_rights", "clickhouse_reader_settings", "clickhouse_password_types", *READER_PROBES,
               *LOGIN_PROBES)  # fmt: skip
    assert seen.all(*passing) == {"pass"}, seen.text(*passing)
    assert "ALTER TABLE DELETE" in seen.text("clickhouse_reader_writes")
    assert "It can: CREATE DATABASE, INSERT, CREATE TABLE" in seen.text("clickhouse_ingest_rights")
    assert (
        seen["clickhouse_named_collections"] == "fail"
        and seen["clickhouse_external_authenticators"] == "not_applicable"
    )


LOOSENED = {
    "GRANT INSERT ON otel.* TO otel_reader": ("clickhouse_reader_writes", "INSERT"),
    "GRANT ALTER UPDATE, ALTER DELETE ON otel.* TO otel_writer": ("clickhouse_ingest_rights", "ALTER TABLE DELETE"),
    "GRANT DROP TABLE ON otel.* TO otel_writer": ("clickhouse_ingest_rights", "DROP TABLE"),
    "GRANT SELECT ON system.users TO otel_reader": ("clickhouse_reader_scope", "system.users"),
    "GRANT CREATE TEMPORARY TABLE, URL ON *.* TO otel_reader": ("clickhouse_reader_scope", "url()"),
    "GRANT SELECT ON payroll.* TO otel_reader": ("clickhouse_reader_scope", "payroll"),
    "GRANT CREATE USER ON *.* TO otel_writer": ("clickhouse_access_managers", "otel_ingest"),
    "CREATE USER eve IDENTIFIED WITH plaintext_password BY 'x' HOST IP '10.0.0.1'": (
        "clickhouse_user_authentication",
        "eve",
    ),
    "CREATE USER mallory IDENTIFIED WITH sha256_password BY 'x'": ("clickhouse_user_hosts", "mallory"),
    "CREATE USER api IDENTIFIED WITH sha256_password BY 'api' HOST LOCAL": ("clickhouse_known_users", "api"),
    "ALTER SETTINGS PROFILE hyperdx_reader SETTINGS max_memory_usage = 8589934592 CONST, async_insert = 0 CONST,"
    " max_rows_to_read = 1000 MAX 1000000, max_execution_time = 60": (
        "clickhouse_reader_limits",
        "max_execution_time=0",
    ),
}
"""What somebody may do to a hardened ClickHouse, and who sees it."""


def test_what_is_loosened_later_is_seen(hardened: tuple[Sandbox, Path], probe: Callable[..., Seen]) -> None:
    server, folder = hardened
    admin = server.secure_session("clickstack_admin", ADMIN)
    admin.query("CREATE DATABASE payroll")
    admin.query("CREATE TABLE payroll.salaries (x UInt8) ENGINE = MergeTree ORDER BY x")
    for statement in LOOSENED:
        admin.query(statement)
    seen = probe("clickhouse", **where(server), **logins(folder))
    for statement, (name, said) in LOOSENED.items():
        assert seen[name] == "fail" and said in seen.text(name), f"{statement}: {seen.text(name)}"
    # HyperDX asks for more rows than this profile lets it
    assert seen["clickhouse_reader_settings"] == "fail" and "max_rows_to_read=3000000" in seen.text(
        "clickhouse_reader_settings"
    )
    admin.query("REVOKE INSERT ON otel.* FROM otel_writer")
    seen = probe("clickhouse", **where(server), **logins(folder))
    assert "cannot do its work: INSERT" in seen.text("clickhouse_ingest_rights")


def test_without_a_way_in_nothing_passes(hardened: tuple[Sandbox, Path], probe: Callable[..., Seen]) -> None:
    server, folder = hardened
    given = {**logins(folder), "reader": {"user": "hyperdx", "password_file": "/nowhere"}}
    given["ingest"] = {"user": "otel_ingest", "password": "wrong-password"}
    seen = probe("clickhouse", **where(server), **given)
    assert seen["clickhouse_reader_writes"] == "not_applicable" and "/nowhere" in seen.text("clickhouse_reader_writes")
    assert seen["clickhouse_ingest_rights"] == "error" and "cannot log in" in seen.text("clickhouse_ingest_rights")
    # no password goes to a server that might be another
    seen = probe("clickhouse", **{**where(server), "name": "other.example.com"}, **logins(folder))
    assert seen["clickhouse_certificate"] == "fail" and "other.example.com" in seen.text("clickhouse_certificate")
    assert seen.all(*READER_PROBES) == {"error"} and "No password is sent" in seen.text(*READER_PROBES)
    seen = probe("clickhouse", host="127.0.0.1", ports={**CLOSED, "http": 0, "https": 1})
    assert seen.all("clickhouse_plaintext", *READER_PROBES, *LOGIN_PROBES) == {"error"}
    assert set(probe("clickhouse").all("clickhouse_plaintext", *READER_PROBES)) == {"not_applicable"}


# -- MongoDB ----------------------------------------------------------------------------------------------------------


def mongodb(server: MongoDB, folder: Path, **more: Any) -> Json:
    (folder / "admin").write_text(MONGO_ADMIN)
    (folder / "uri").write_text(f"mongodb://hyperdx:{MONGO_APP}@db:27017/hyperdx?authSource=admin&tls=true")
    return {
        "host": server.host,
        "port": server.port,
        "name": "localhost",
        "admin": {"user": "clickstack_admin", "password_file": str(folder / "admin")},
        "app": {"uri_file": str(folder / "uri")},
        **more,
    }


def test_mongodb_without_access_control(tmp_path: Path, probe: Callable[..., Seen]) -> None:
    with MongoDB(tmp_path / "data", authorization=False) as server:
        seen = probe("mongodb", **mongodb(server, tmp_path))
    failing = ("mongodb_anonymous", "mongodb_plaintext", "mongodb_app_rights", "mongodb_app_sources")
    assert seen.all(*failing) == {"fail"}, seen.text(*failing)
    assert seen.all("mongodb_tls_protocols", "mongodb_certificate") == {"not_applicable"}


def test_mongodb_as_stack_mongodb_leaves_it(
    tmp_path: Path, probe: Callable[..., Seen], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("localhost", ("localhost", "127.0.0.1"), server=True)
    pem = tmp_path / "mongodb.pem"
    pem.write_text(key.read_text() + certificate.read_text())
    (tmp_path / "root").write_text("root-password")
    with MongoDB(tmp_path / "data", pem=pem, superuser=("root", tmp_path / "root")) as server:
        given = mongodb(server, tmp_path, ca_file=str(authority.ca))
        admin = server.client("root", "root-password", tls=True, tlsInsecure=True)["admin"]
        here = [{"clientSource": ["127.0.0.1"]}]
        roles = [{"role": "userAdminAnyDatabase", "db": "admin"}, {"role": "clusterMonitor", "db": "admin"}]
        admin.command("createUser", "clickstack_admin", pwd=MONGO_ADMIN, roles=roles, authenticationRestrictions=here)
        admin.command("createUser", "hyperdx", pwd=MONGO_APP, roles=[{"role": "readWrite", "db": "hyperdx"}],
                      authenticationRestrictions=here)  # fmt: skip
        admin.command("updateUser", "root", authenticationRestrictions=here)
        seen = probe("mongodb", **given)
        passing = ("mongodb_anonymous", "mongodb_plaintext", "mongodb_tls_protocols", "mongodb_certificate",
                   "mongodb_app_rights", "mongodb_app_sources", "mongodb_localhost_exception")  # fmt: skip
        assert seen.all(*passing) == {"pass"}, seen.text(*passing)
        assert "admin.system.users" in seen.text("mongodb_app_rights")
        # rights and addresses that are too wide are seen
        admin.command("updateUser", "hyperdx", roles=[{"role": "readWriteAnyDatabase", "db": "admin"}],
                      authenticationRestrictions=[])  # fmt: skip
        seen = probe("mongodb", **given)
        assert seen.all("mongodb_app_rights", "mongodb_app_sources") == {"fail"}
        assert "hyperdx@admin" in seen.text("mongodb_app_sources")
        # without logins, what needs one says what to give
        seen = probe("mongodb", **{**given, "app": {}, "admin": {}})
        assert seen.all("mongodb_app_rights", "mongodb_mechanisms") == {"not_applicable"}
        assert "(app)" in seen.text("mongodb_app_rights") and "(admin)" in seen.text("mongodb_mechanisms")
        # without the driver, what it does is an error that says so
        runner = importlib.import_module(f"{MODULES.replace('modules', 'module_utils')}.audit.probes.mongodb_run")
        monkeypatch.setattr(runner, "HAS_PYMONGO", False)
        seen = probe("mongodb", **given)
        assert seen["mongodb_anonymous"] == "error" and "python3-pymongo" in seen.text("mongodb_anonymous")
        assert seen["mongodb_certificate"] == "pass"
    assert probe("mongodb", host="127.0.0.1", port=1)["mongodb_anonymous"] == "error"


# -- the network ------------------------------------------------------------------------------------------------------


class Web(threading.Thread):
    """A server on loopback that answers every request by its path, over TLS or not."""

    def __init__(self, answers: dict[str, str], context: ssl.SSLContext | None = None) -> None:
        super().__init__(daemon=True)
        self._answers, self._context = answers, context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.seen: list[str] = []
        self.start()

    def run(self) -> None:
        while True:
            try:
                channel, _peer = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()

    def _serve(self, channel: socket.socket) -> None:
        try:
            channel.settimeout(5)
            with self._context.wrap_socket(channel, server_side=True) if self._context else channel as stream:
                head, _end, rest = stream.recv(65536).partition(b"\r\n\r\n")
                size = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
                while len(rest) < size:
                    rest += stream.recv(65536)
                method, path, _version = head.decode("latin-1").split("\r\n")[0].split(" ")
                self.seen.append(f"{method} {path}")
                status, _space, body = self._answers.get(path, "404 ").partition(" ")
                header, _bar, body = body.rpartition("|")
                header = f"{header}\r\n" if header else ""
                header += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
                stream.sendall(f"HTTP/1.1 {status} Answer\r\n{header}\r\n{body}".encode())
        except (OSError, ValueError):
            return

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()


def context(
    folder: Path, newest: ssl.TLSVersion | None = None, name: str = "stack.example.com"
) -> tuple[ssl.SSLContext, Path]:
    authority = Authority(folder / "ca")
    certificate, key = authority.issue(name, (name,), server=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    if newest:
        made.set_ciphers("ALL:@SECLEVEL=0")
        made.minimum_version = ssl.TLSVersion.TLSv1
        made.maximum_version = newest
    return made, authority.ca


def outside(**more: Any) -> Json:
    given = {
        "addresses": ["127.0.0.1"],
        "declared_ports": [],
        "host_name": "stack.example.com",
        "ports": ["1"],
        "timeout": 3,
    }
    return {**given, **more}


GOOD = {"/": "200 Strict-Transport-Security: max-age=31536000|page", "/api/me": "401 |{}", "/api/team": "401 |{}",
        "/api/installation": '200 |{"isTeamExisting": true}', "/api/config": '200 |{"collectorUrl": "x"}'}  # fmt: skip
BAD = {
    "/": "200 |page",
    "/api/me": '200 |{"email": "x"}',
    "/api/team": "401 |{}",
    "/v1/traces": "200 |{}",
    "/api/installation": '200 |{"isTeamExisting": false}',
    "/api/config": '200 |{"apiKey": "7c9e-secret-key"}',
}
HDX = (
    "hyperdx_https",
    "hyperdx_tls_protocols",
    "hyperdx_certificate",
    "hyperdx_hsts",
    "hyperdx_anonymous",
    "hyperdx_registration",
    "hyperdx_config_key",
)
OTEL = ("otlp_tls", "otlp_tls_protocols", "otlp_certificate", "otlp_unauthenticated")


def test_hyperdx_and_the_collector_from_outside(tmp_path: Path, probe: Callable[..., Seen]) -> None:
    secure, authority = context(tmp_path)
    with Web(GOOD, secure) as hyperdx, Web({"/v1/traces": "401 |{}"}, secure) as otlp:
        given = {
            "https_port": hyperdx.port,
            "otlp_http_port": otlp.port,
            "otlp_grpc_port": 0,
            "ca_file": str(authority),
        }
        seen = probe("network", **outside(**given))
        assert seen.all(*HDX, *OTEL) == {"pass"}, seen.text(*HDX, *OTEL)
        assert seen["ports_undeclared"] == "fail" and str(otlp.port) in seen.text("ports_undeclared")
        assert {line.split()[0] for line in hyperdx.seen} == {"GET"}
        seen = probe("network", **outside(**given, declared_ports=[hyperdx.port, otlp.port], certificate_days=31))
        assert seen["ports_undeclared"] == "pass"
        assert seen["hyperdx_certificate"] == "fail" and "fewer than 31 days" in seen.text("hyperdx_certificate")
        # another authority, another name
        seen = probe("network", **outside(**{**given, "ca_file": "/nowhere"}))
        assert seen.all("hyperdx_certificate", "otlp_certificate") == {"fail"}
        seen = probe("network", **outside(**{**given, "host_name": "other.example.com"}))
        assert "other.example.com" in seen.text("hyperdx_certificate") and seen["hyperdx_certificate"] == "fail"


def test_hyperdx_and_the_collector_without_protection(tmp_path: Path, probe: Callable[..., Seen]) -> None:
    weak, authority = context(tmp_path, ssl.TLSVersion.TLSv1_2)
    with Web(BAD, weak) as hyperdx, Web(BAD) as otlp:
        given = {
            "https_port": hyperdx.port,
            "otlp_http_port": otlp.port,
            "otlp_grpc_port": 0,
            "ca_file": str(authority),
        }
        seen = probe("network", **outside(**given))
    failing = (
        "hyperdx_tls_protocols",
        "hyperdx_hsts",
        "hyperdx_anonymous",
        "hyperdx_registration",
        "hyperdx_config_key",
        "otlp_tls",
        "otlp_unauthenticated",
    )
    assert seen.all(*failing) == {"fail"}, seen.text(*failing)
    assert "accepts TLS 1.0 and TLS 1.1" in seen.text("hyperdx_tls_protocols")


def test_a_port_with_nobody_behind_it_is_no_pass(probe: Callable[..., Seen]) -> None:
    # as when Docker publishes what does not listen
    with Web({}) as silent:
        seen = probe("network", **outside(otlp_grpc_port=silent.port, otlp_http_port=0, https_port=0))
    assert seen["otlp_unauthenticated"] == "error" and "nobody answers" in seen.text("otlp_unauthenticated")


@pytest.mark.parametrize("name", ["host", "network", "clickhouse", "mongodb"])
def test_the_manual_s_examples_run(name: str, probe: Callable[..., Seen]) -> None:
    (task,) = yaml.safe_load(importlib.import_module(f"{MODULES}.audit_{name}").EXAMPLES)
    options = task[f"hardened.clickstack.audit_{name}"]
    for login in options.values():
        if isinstance(login, dict):
            login.pop("pid", None)  # of a container that is not there
    seen = probe(name, **options, timeout=1)
    assert seen.result["observations"]


# -- the role ---------------------------------------------------------------------------------------------------------


def test_the_role_reports_and_fails_by_the_threshold(play: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    (folder / "secrets").mkdir(parents=True)
    (folder / "secrets/mongo_uri").write_text(f"mongodb://x:{MONGO_APP}@db/x")
    (folder / "compose.yml").write_text(
        f"services:\n  app:\n    environment:\n      MONGO_URI: mongodb://x:{MONGO_APP}@db/x\n"
    )
    (folder / "secrets/mongo_uri").chmod(0o600)
    (folder / "compose.yml").chmod(0o644)
    given = {
        "stack_audit_docker": False,
        "stack_audit_directories": [str(folder)],
        "stack_audit_addresses": ["127.0.0.1"],
        "stack_audit_ports": ["1"],
        "stack_audit_declared_ports": [*range(1, 10), 22, 443, 2375, 4317, 4318, 8000, 8080, 8123, 9000],
        "stack_audit_clickhouse_admin_password": ADMIN,
        "stack_audit_report_directory": str(tmp_path / "reports"),
        "stack_audit_report_formats": ["json"],
        "stack_audit_waivers": [{"control": "FILE-SEC-02", "reason": "It is a test", "expires": "2100-01-01"}],
    }
    run = play("stack_audit", given, "--check")
    assert run.code != 0 and run.recap["changed"] == 0
    assert "FILE-MODE-01" in run.output and "compose.yml (0644)" in run.output
    assert not (tmp_path / "reports").exists()
    (folder / "compose.yml").chmod(0o640)
    run = play("stack_audit", given)
    found = {one["id"]: one for one in json.loads(next((tmp_path / "reports").glob("*.json")).read_text())["findings"]}
    assert run.code == 0 and run.recap["changed"] == 0, run.output
    assert found["FILE-MODE-01"]["status"] == "pass" and found["FILE-SEC-02"]["waived"] is True
    assert not [one["id"] for one in found.values() if "said nothing" in str(one["evidence"])]
    assert not [secret for secret in SECRETS if secret in run.output + str(found)]


# -- the real collector -----------------------------------------------------------------------------------------------


TOKEN = "collector-token-4408-hR"


@pytest.mark.skipif(os.geteuid() != 0, reason="the collector runs as its container's user, so this needs root")
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
def test_the_real_collector(is_closed: bool, tmp_path: Path, probe: Callable[..., Seen]) -> None:
    try:
        collector = Collector(programs.build(), {})
    except Unavailable as reason:
        pytest.skip(str(reason))
    try:
        authority = Authority(collector.folder / "ca")
        certificate, key = authority.issue("stack.example.com", ("stack.example.com",), server=True)
        for file in (collector.folder / "ca", certificate, key):
            file.chmod(0o755)
        secure = {
            "tls": {"cert_file": str(certificate), "key_file": str(key)},
            "auth": {"authenticator": "bearertokenauth"},
        }
        protocols = {
            name: {"endpoint": f"127.0.0.1:{port}", **(secure if is_closed else {})}
            for name, port in (("grpc", collector.ports.grpc), ("http", collector.ports.http))
        }
        content = {
            "extensions": {"bearertokenauth": {"scheme": "", "token": TOKEN}},
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {"nop": {}},
            "service": {
                "extensions": ["bearertokenauth"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["nop"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        with collector.standalone(collector.file("audit.yaml", content)):
            collector.wait_for_ports(collector.ports.grpc, collector.ports.http)
            given = {"otlp_grpc_port": collector.ports.grpc, "otlp_http_port": collector.ports.http, "https_port": 0}
            seen = probe("network", **outside(**given, ca_file=str(authority.ca)))
    finally:
        collector.remove()
    if is_closed:
        assert seen.all(*OTEL) == {"pass"}, seen.text(*OTEL)
        assert seen.text("otlp_unauthenticated").count("(401)") == 2
    else:
        assert seen.all("otlp_tls", "otlp_unauthenticated") == {"fail"}
        assert seen.text("otlp_unauthenticated").count("gets 200") == 2
