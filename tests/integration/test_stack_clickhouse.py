"""stack_clickhouse: what ClickHouse's own server (24.8, 25.5, 25.8) and the engine of 26.9 make of the role's files.

The role runs as a playbook. The server begins with the ports, the logs and the open `default` user that the image has,
so that what is closed was open before. TLS is judged from outside by sslyze, encryption at rest by the raw files.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.playbook import ROOT
from tests.sandbox.certificates import Authority
from tests.sandbox.engine import Engine, EngineError, python_of
from tests.sandbox.lab import packages
from tests.sandbox.real_server import free_port
from tests.sandbox.users_xml import SHIPPED

from .servers import NEWEST, VERSIONS

Json = dict[str, Any]
PROGRAM = ROOT / "tests" / "sandbox" / "server_program.py"
GENUINE = [
    version for version, runs_with in (("25.8", "25.8"), ("25.5", "24.8"), ("24.8", "24.8")) if runs_with in VERSIONS
]
"""Versions whose own server is there; 25.5, for which there is no sandbox, runs with those of 24.8."""
USER, PASSWORD = "clickstack_bootstrap", "correct horse battery"
MARK = "mark-of-plain-text"
SECRETS = {"password": PASSWORD, "disk": os.urandom(32).hex(), "collections": os.urandom(16).hex()}
ENVIRONMENT = {
    "CLICKHOUSE_WATCHDOG_ENABLE": "0",
    "CLICKHOUSE_DISK_KEY": SECRETS["disk"],
    "CLICKHOUSE_NAMED_COLLECTIONS_KEY": SECRETS["collections"],
}
"""What the container has in its environment."""
IMAGE_LOGS = ("query_log", "trace_log", "part_log", "metric_log", "asynchronous_metric_log", "text_log", "error_log")
TOOL = """
import ctypes, os, sys
from pathlib import Path
(library,) = Path(sys.prefix).glob("lib/python3*/site-packages/chdb/_chdb*.so")
program = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL | os.RTLD_NOW)
entry = {"local": "24mainEntryClickHouseLocal", "extract-from-config": "36mainEntryClickHouseExtractFromConfig"}
arguments = [argument.encode() for argument in sys.argv[1:]]
call = program[f"_Z{entry[sys.argv[1]]}iPPc"]
os._exit(call(len(arguments), (ctypes.c_char_p * (len(arguments) + 1))(*arguments, None)))
"""
"""`clickhouse local` and the like, out of the chDB wheels of 24.8 to 25.8, which hold the whole program."""


class Site:
    """A ClickHouse on this machine: its files as in the image, secrets, a certificate, and the role's variables."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.etc = folder, folder / "etc"
        self.version = ""
        self.etc.mkdir(parents=True)
        self.authority = Authority(folder / "ca")
        self.tls = folder / "tls"
        self.tls.mkdir()
        for source, name in zip(
            (*self.authority.server(), self.authority.ca), ("tls.crt", "tls.key", "ca.crt"), strict=True
        ):
            shutil.copy(source, self.tls / name)
        (self.tls / "tls.key").chmod(0o400)
        for name, text in SECRETS.items():
            (folder / name).write_text(text + "\n")
            (folder / name).chmod(0o400)
        names = ("http", "tcp", "mysql", "postgresql", "interserver", "https", "native", "prometheus")
        names += ("http-authentication",)
        self.ports = {name: free_port() for name in names}
        self.variables: Json = {
            "stack_clickhouse_directory": str(self.etc),
            "stack_clickhouse_user_id": f"{os.getuid()}:{os.getgid()}",
            "stack_clickhouse_tls_directory": str(self.tls),
            "stack_clickhouse_tls_mount": str(self.tls),
            "stack_clickhouse_tls_https_port": self.ports["https"],
            "stack_clickhouse_tls_native_port": self.ports["native"],
            "stack_clickhouse_listen_hosts": ["127.0.0.1"],
            "stack_clickhouse_bootstrap_password_file": str(folder / "password"),
            "stack_clickhouse_disk_encryption_key_file": str(folder / "disk"),
            "stack_clickhouse_named_collections_key_file": str(folder / "collections"),
        }
        self.write_image()

    def write_image(self) -> None:
        """config.xml and users.xml with what the image's have that matters here."""
        logs = "".join(
            f"<{name}><database>system</database><table>{name}</table><flush_interval_milliseconds>7500"
            f"</flush_interval_milliseconds></{name}>"
            for name in IMAGE_LOGS
        )
        ports = "".join(
            f"<{name}_port>{self.ports[port]}</{name}_port>"
            for name, port in (
                ("http", "http"),
                ("tcp", "tcp"),
                ("mysql", "mysql"),
                ("postgresql", "postgresql"),
                ("interserver_http", "interserver"),
            )
        )
        data = self.folder / "data"
        (self.etc / "config.xml").write_text(f"""<clickhouse>
            <logger><level>information</level><log>{self.folder}/server.log</log></logger>
            <path>{data}/</path><tmp_path>{data}/tmp/</tmp_path><mark_cache_size>16777216</mark_cache_size>
            <listen_host>127.0.0.1</listen_host>{ports}{logs}
            <openSSL><server><verificationMode>none</verificationMode></server></openSSL>
            <send_crash_reports><enabled>true</enabled><endpoint>http://localhost:1/</endpoint></send_crash_reports>
            <allow_plaintext_password>1</allow_plaintext_password><allow_no_password>1</allow_no_password>
            <custom_settings_prefixes>SQL_</custom_settings_prefixes>
            <user_directories>
                <users_xml><path>{self.etc}/users.xml</path></users_xml>
                <local_directory><path>{self.folder}/access/</path></local_directory>
            </user_directories>
        </clickhouse>""")
        (self.etc / "users.xml").write_text(SHIPPED)

    def play(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run the role."""
        book = self.folder / "playbook.yml"
        role = {"role": "hardened.clickstack.stack_clickhouse", "vars": {**self.variables, **variables}}
        book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "roles": [role]}]))
        installed = f"{ROOT}/.build/installed"
        return subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-c", "local", book, *arguments],
            env={
                **os.environ,
                **ENVIRONMENT,
                "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", installed),
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "local"),
                "ANSIBLE_REMOTE_TEMP": str(self.folder / "remote"),
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def tool(self, version: str) -> list[str]:
        """How `clickhouse` of this version is run here."""
        program = self.folder / "clickhouse.py"
        program.write_text(TOOL)
        return [str(python_of(version)), "-I", str(program)]

    def converge(self, **variables: Any) -> None:
        """Run the role, which succeeds."""
        done = self.play(**variables)
        assert done.returncode == 0, done.stdout + done.stderr

    @contextlib.contextmanager
    def server(self, version: str, port: str = "https") -> Iterator[None]:
        """ClickHouse's own server on these files, while the block runs. `port` is the one that tells when it is up."""
        with self.running([python_of(version), "-I", PROGRAM], port):
            yield

    @contextlib.contextmanager
    def running(self, program: list[str | Path], port: str = "https", **environment: str) -> Iterator[None]:
        """A program that takes a server's arguments, on these files."""
        process = subprocess.Popen(
            [*program, f"--config-file={self.etc}/config.xml"],
            env={**os.environ, **ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
        )
        try:
            deadline = time.monotonic() + 60
            while not self.is_open(port):
                assert process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        """What the server complained of."""
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if "<Error>" in line or "<Fatal>" in line)[-3000:]

    def is_open(self, port: str, host: str = "127.0.0.1") -> bool:
        """Whether somebody listens on the port."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((host, self.ports[port])) == 0

    def query(self, sql: str, user: str = USER, password: str = PASSWORD, tls: bool = True, **settings: str) -> str:
        """The result of a query, or the text of the error."""
        login = base64.b64encode(f"{user}:{password}".encode()).decode()
        if tls:
            context = ssl.create_default_context(cafile=str(self.tls / "ca.crt"))
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "localhost", self.ports["https"], context=context, timeout=60
            )
        else:
            connection = http.client.HTTPConnection("localhost", self.ports["http"], timeout=60)
        address = "/?" + "&".join(f"{name}={value}" for name, value in settings.items())
        with contextlib.closing(connection):
            connection.request("POST", address, sql.encode(), {"Authorization": f"Basic {login}"})
            return connection.getresponse().read().decode().removesuffix("\n")

    def raw(self) -> dict[str, bytes]:
        """The files of the data directory."""
        return {str(path): path.read_bytes() for path in (self.folder / "data").rglob("*") if path.is_file()}


def applied(site: Site, version: str) -> Json:
    """What the fixture gave to the role."""
    return {
        "stack_clickhouse_prometheus": True,
        "stack_clickhouse_prometheus_host": "127.0.0.2",
        "stack_clickhouse_prometheus_port": site.ports["prometheus"],
        "stack_clickhouse_remote_urls_hosts": ["localhost:1"],
        "stack_clickhouse_limits_server": {"max_concurrent_queries": 77, "max_server_memory_usage_to_ram_ratio": 0.7},
        "stack_clickhouse_limits_profile": {"max_query_size": 54321},
        "stack_clickhouse_http_authentication": True,
        "stack_clickhouse_http_authentication_servers": {
            "basic": {"uri": f"http://localhost:{site.ports['http-authentication']}/login"}
        },
        "stack_clickhouse_ldap": True,
        "stack_clickhouse_ldap_servers": {
            "corp": {"host": "ldap.example.com", "bind_dn": "uid={user_name},dc=example"}
        },
        "stack_clickhouse_ldap_user_directories": [{"server": "corp", "roles": ["of_the_directory"]}],
        "stack_clickhouse_kerberos": True,
        "stack_clickhouse_kerberos_realm": "EXAMPLE.COM",
        "stack_clickhouse_program": site.tool(version),
        "stack_clickhouse_validate_command": [
            "sh",
            "-euc",
            'cp "$1/config.xml" "$2" && shift && shift && exec "$@"',
            "validate",
            str(site.etc),
            "{}",
            *site.tool(version),
            "extract-from-config",
            "--config-file",
            "{}/config.xml",
            "--key",
            "tcp_port_secure",
        ],
    }


@pytest.fixture(scope="module", params=GENUINE)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that was open, with a table in it, and then was hardened; it runs."""
    site = Site(tmp_path_factory.mktemp("clickhouse"))
    version = site.version = request.param
    # 24.8 has no encryption of named collections
    site.variables["stack_clickhouse_named_collections"] = version != "24.8"
    with site.server(version, "http"):
        site.query("CREATE TABLE default.old (text String) ENGINE = MergeTree ORDER BY text", "default", "", tls=False)
        assert site.query(f"INSERT INTO default.old VALUES ('{MARK} old')", "default", "", tls=False) == ""
        assert all(site.is_open(port) for port in ("http", "tcp", "mysql", "postgresql", "interserver"))
    assert any(f"{MARK} old".encode() in content for content in site.raw().values())
    site.converge(**applied(site, version))
    with site.server(version):
        yield site


def test_only_ports_with_tls_are_open(site: Site) -> None:
    assert site.is_open("https") and site.is_open("native")
    assert not any(site.is_open(port) for port in ("http", "tcp", "mysql", "postgresql", "interserver"))


@pytest.mark.parametrize("port", ["https", "native"])
def test_tls_is_mozilla_s_intermediate_profile(site: Site, port: str) -> None:
    assert not deviations(site, port)


def deviations(site: Site, port: str) -> list[str]:
    """What sslyze finds that is not as in Mozilla's intermediate profile."""
    scanner = ROOT / ".build" / "venv" / "dev" / "bin" / "sslyze"
    authority = ("--certinfo_ca_file", site.tls / "ca.crt")
    done = subprocess.run(
        [scanner, "--mozilla_config", "intermediate", "--certinfo", *authority, f"localhost:{site.ports[port]}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert f"localhost:{site.ports[port]}: " in verdict, done.stdout + done.stderr
    # All but 24.8 take every curve that their OpenSSL has, whatever <ecdhCurve> says; these two are strong.
    curves = ("tls_curves: TLS curves {'X448', 'secp521r1'}", "tls_curves: TLS curves {'secp521r1', 'X448'}")
    found = re.findall(r"^ +\* (.*)$", verdict, re.MULTILINE)
    return [text for text in found if site.version == "24.8" or not text.startswith(curves)]


def test_metrics_are_on_their_address_alone(site: Site) -> None:
    assert site.is_open("prometheus", "127.0.0.2") and not site.is_open("prometheus")


def test_nobody_is_default(site: Site) -> None:
    assert "Authentication failed" in site.query("SELECT 1", "default", "")
    assert site.query("SELECT name FROM system.users ORDER BY name") == USER


def test_the_bootstrap_administrator_may_everything_and_pass_it_on(site: Site) -> None:
    assert "Authentication failed" in site.query("SELECT 1", password="wrong")
    shown = site.query(f"SHOW CREATE USER {USER}")
    assert "sha256_password" in shown and "HOST LOCAL" in shown
    assert site.query("CREATE USER IF NOT EXISTS passed IDENTIFIED BY 'another long password'") == ""
    assert site.query("GRANT ALL ON *.* TO passed WITH GRANT OPTION") == ""
    site.query("DROP USER passed")


@pytest.mark.parametrize(
    ("identified", "refusal"),
    [
        ("BY 'short'", "be at least 16 characters long"),
        ("WITH no_password", "NO_PASSWORD is not allowed"),
        ("WITH plaintext_password BY 'long enough to pass'", "PLAINTEXT_PASSWORD is not allowed"),
        (None, "must be explicitly specified"),
    ],
)
def test_weak_authentication_is_refused(site: Site, identified: str | None, refusal: str) -> None:
    assert refusal in site.query(f"CREATE USER weak {'IDENTIFIED ' + identified if identified else ''}")


def test_server_settings_are_those_that_were_asked_for(site: Site) -> None:
    names = "'max_concurrent_queries', 'max_server_memory_usage_to_ram_ratio'"
    rows = site.query(f"SELECT name, value FROM system.server_settings WHERE name IN ({names}) ORDER BY name")
    assert rows.splitlines() == ["max_concurrent_queries\t77", "max_server_memory_usage_to_ram_ratio\t0.7"]


def test_limits_and_the_log_hold_for_users_made_by_sql(site: Site) -> None:
    site.query("CREATE USER OR REPLACE somebody IDENTIFIED BY 'another long password'")
    ask = {"user": "somebody", "password": "another long password"}
    assert site.query("SELECT getSetting('max_query_size')", **ask) == "54321"
    assert "SETTING_CONSTRAINT_VIOLATION" in site.query("SELECT 1", **ask, log_queries="0")
    assert "SETTING_CONSTRAINT_VIOLATION" in site.query("SELECT 1 SETTINGS log_queries_probability = 0", **ask)
    assert site.query("SELECT getSetting('hyperdx_mark')", **ask, hyperdx_mark="1") == "1"
    assert "UNKNOWN_SETTING" in site.query("SELECT 1", **ask, other_mark="1")


def test_access_control_is_the_strict_one(site: Site) -> None:
    for statement in (
        "CREATE TABLE IF NOT EXISTS default.rows (a Int8) ENGINE = MergeTree ORDER BY a",
        "INSERT INTO default.rows VALUES (1)",
        "CREATE USER OR REPLACE one IDENTIFIED BY 'another long password'",
        "GRANT SELECT ON default.rows TO one",
        f"CREATE ROW POLICY OR REPLACE p ON default.rows USING 1 TO {USER}",
    ):
        assert site.query(statement) == "", statement
    assert site.query("SELECT count() FROM default.rows") == "1"
    assert site.query("SELECT count() FROM default.rows", "one", "another long password") == "0"
    assert "Not enough privileges" in site.query("SELECT * FROM system.parts", "one", "another long password")
    assert "Not enough privileges" in site.query(
        "SELECT * FROM information_schema.tables", "one", "another long password"
    )


class WhoMayEnter(http.server.BaseHTTPRequestHandler):
    """A server that knows one user, by HTTP's basic authentication."""

    def do_GET(self) -> None:
        login = base64.b64encode(b"guest:of the other server").decode()
        self.send_response(200 if self.headers["Authorization"] == f"Basic {login}" else 401)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_an_http_server_says_who_may_enter(site: Site) -> None:
    statement = "CREATE USER OR REPLACE guest IDENTIFIED WITH http SERVER 'basic' SCHEME 'BASIC'"
    assert site.query(statement) == ""
    server = http.server.HTTPServer(("127.0.0.1", site.ports["http-authentication"]), WhoMayEnter)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert site.query("SELECT currentUser()", "guest", "of the other server") == "guest"
        assert "Authentication failed" in site.query("SELECT 1", "guest", "wrong")
        server.shutdown()
    assert "Authentication failed" in site.query("SELECT 1", "guest", "of the other server")


def test_ldap_and_kerberos_are_what_was_asked_for(site: Site) -> None:
    """As ClickHouse reads the files: the wheels' server is built without their libraries, so it asks nobody."""
    assert site.query("SELECT name FROM system.user_directories WHERE type = 'ldap'") == "ldap"
    read = [*site.tool(site.version), "extract-from-config", "--config-file", str(site.etc / "config.xml"), "--key"]
    for key, value in (
        ("ldap_servers.corp.bind_dn", "uid={user_name},dc=example"),
        ("user_directories.ldap.server", "corp"),
        ("kerberos.realm", "EXAMPLE.COM"),
    ):
        done = subprocess.run(
            [*read, key], env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == value, done.stderr


def test_urls_of_foreign_hosts_are_refused(site: Site) -> None:
    assert "UNACCEPTABLE_URL" in site.query("SELECT * FROM url('http://foreign.invalid/', LineAsString)")
    allowed = "SELECT * FROM url('http://localhost:1/', LineAsString) SETTINGS http_max_tries = 1"
    assert "UNACCEPTABLE_URL" not in site.query(allowed)


def test_logs_end_and_hold_logins_and_no_passwords(site: Site) -> None:
    site.query("SELECT 1", "intruder", "wrong")
    site.query(f"SELECT 'https://user:{MARK}@example.com/', password = '{MARK}' FROM (SELECT 'x' AS password)")
    site.query("SYSTEM FLUSH LOGS")
    failures = "SELECT count() > 0 FROM system.session_log WHERE type = 'LoginFailure' AND user = 'intruder'"
    assert site.query(failures) == "1"
    logged = site.query("SELECT query FROM system.query_log WHERE query LIKE '%AS password)' LIMIT 1")
    assert "***@example.com" in logged and "= \\'***\\'" in logged and MARK not in logged
    for table, days in (("query_log", 90), ("session_log", 90), *((name, 30) for name in IMAGE_LOGS[1:])):
        assert f"TTL event_date + toIntervalDay({days})" in site.query(f"SHOW CREATE TABLE system.{table}"), table


def test_new_data_is_encrypted_and_old_data_is_there(site: Site) -> None:
    site.query("CREATE TABLE IF NOT EXISTS default.fresh (text String) ENGINE = MergeTree ORDER BY text")
    assert site.query(f"INSERT INTO default.fresh VALUES ('{MARK} fresh')") == ""
    assert site.query("SELECT text FROM default.fresh") == f"{MARK} fresh"
    assert not [path for path, content in site.raw().items() if f"{MARK} fresh".encode() in content]

    parts = "SELECT disk_name FROM system.parts WHERE active AND database = 'default' AND table = 'old'"
    assert site.query("SELECT text FROM default.old") == f"{MARK} old"
    assert site.query(parts) == "default"
    assert site.query("OPTIMIZE TABLE default.old FINAL") == ""
    assert site.query(parts) == "encrypted"
    assert site.query("SELECT text FROM default.old") == f"{MARK} old"


def test_named_collections_are_encrypted_or_refused(site: Site) -> None:
    if not site.variables["stack_clickhouse_named_collections"]:
        again = site.play("--check", **applied(site, site.version), stack_clickhouse_named_collections=True)
        assert "ClickHouse 24.8.4.1 cannot encrypt named collections" in again.stdout
        return
    assert site.query(f"CREATE NAMED COLLECTION IF NOT EXISTS collection AS a = '{MARK} collection'") == ""
    assert not [path for path, content in site.raw().items() if f"{MARK} collection".encode() in content]


def test_keys_are_not_in_files_that_clickhouse_writes(site: Site) -> None:
    (config,) = (content for path, content in site.raw().items() if path.endswith("preprocessed_configs/config.xml"))
    assert b"hide_in_preprocessed" not in config and b"<enabled>false</enabled>" in config
    for path, content in site.raw().items():
        assert not any(SECRETS[name].encode() in content for name in SECRETS), path


def test_nothing_changes_a_second_time(site: Site) -> None:
    again = site.play("--check", **applied(site, site.version))
    assert "changed=0" in again.stdout, again.stdout


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within 15 seconds: ClickHouse looks at its files every two."""
    deadline = time.monotonic() + 15
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_another_certificate_is_served_without_a_restart(site: Site) -> None:
    def served() -> str:
        return ssl.get_server_certificate(("localhost", site.ports["https"]), ca_certs=str(site.tls / "ca.crt"))

    before = served()
    certificate, key = site.authority.server()
    (site.tls / "tls.key").unlink()
    shutil.copy(key, site.tls / "tls.key")
    shutil.copy(certificate, site.tls / "tls.crt")
    assert eventually(lambda: served() == certificate.read_text() != before)


def test_another_network_of_the_administrator_holds_without_a_restart(site: Site) -> None:
    for networks, refused in ((["10.0.0.0/8"], True), (["127.0.0.0/8", "::1"], False)):
        site.converge(**applied(site, site.version), stack_clickhouse_bootstrap_networks=networks)
        assert eventually(lambda refused=refused: ("Authentication failed" in site.query("SELECT 1")) is refused)


@pytest.mark.parametrize("version", GENUINE)
def test_another_key_of_the_disk_is_added(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written before stays readable, what is written afterwards has the new key: by the raw files."""
    site = Site(tmp_path / "site")
    plain: Json = {"stack_clickhouse_named_collections": False}
    site.converge(**plain)
    tables = ("kept", "renewed")

    def keys() -> list[set[bytes]]:
        """The fingerprints of the keys in the headers of each table's files: ENC, two numbers of 2 bytes, 16 bytes."""
        paths = [
            site.query(f"SELECT path FROM system.parts WHERE active AND table = '{table}'").splitlines()
            for table in tables
        ]
        headers = [[file.read_bytes()[:23] for path in some for file in Path(path).iterdir()] for some in paths]
        assert all(headers) and all(header.startswith(b"ENC") for some in headers for header in some)
        return [{header[7:] for header in some} for some in headers]

    with site.server(version):
        for table in tables:
            site.query(f"CREATE TABLE default.{table} (text String) ENGINE = MergeTree ORDER BY text")
            assert site.query(f"INSERT INTO default.{table} VALUES ('{MARK}')") == ""
        first, second = keys()
        assert first == second and len(first) == 1

    key = os.urandom(32).hex()
    monkeypatch.setitem(ENVIRONMENT, "CLICKHOUSE_DISK_KEY_1", key)
    (site.folder / "disk_1").write_text(key)
    (site.folder / "disk_1").chmod(0o400)
    former = {"id": 0, "file": str(site.folder / "disk"), "variable": "CLICKHOUSE_DISK_KEY"}
    plain |= {
        "stack_clickhouse_disk_encryption_key_file": str(site.folder / "disk_1"),
        "stack_clickhouse_disk_encryption_key_variable": "CLICKHOUSE_DISK_KEY_1",
        "stack_clickhouse_disk_encryption_former_keys": [former],
    }
    refused = site.play(**plain)
    assert refused.returncode and "have the same number" in refused.stdout
    site.converge(**plain, stack_clickhouse_disk_encryption_key_id=1)
    with site.server(version):
        assert [site.query(f"SELECT text FROM default.{table}") for table in tables] == [MARK, MARK]
        assert site.query("OPTIMIZE TABLE default.renewed FINAL") == ""
        kept, renewed = keys()
        assert (kept, len(renewed), renewed & first) == (first, 1, set())
        assert site.query("SELECT text FROM default.renewed") == MARK


@pytest.mark.skipif(NEWEST not in VERSIONS, reason="runs with the newest version")
def test_the_newest_engine_reads_the_files_as_they_are_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path / "site")
    # The engine's session is `default`'s, so that has to stay. The engine in a process reads neither the hosts that are
    # allowed, the rules of access control nor the prefixes of settings: for those there are the servers above.
    site.converge(stack_clickhouse_default_user=False, stack_clickhouse_password_types=False)
    for name, text in ENVIRONMENT.items():
        monkeypatch.setenv(name, text)
    with Engine(NEWEST, f"{site.folder}/data?config-file={site.etc}/config.xml") as engine:

        def value(sql: str) -> str:
            return engine.query(sql).decode().strip()

        def refused(sql: str) -> str:
            with pytest.raises(EngineError) as caught:
                engine.query(sql)
            return caught.value.name

        server = "SELECT value FROM system.server_settings WHERE name = "
        assert value(server + "'max_server_memory_usage_to_ram_ratio'") == "0.8"
        assert value("SELECT value FROM system.settings WHERE name = 'max_query_size'") == "1048576"
        assert refused("SET log_queries = 0") == "SETTING_CONSTRAINT_VIOLATION"
        assert f"CREATE USER {USER} IDENTIFIED WITH sha256_password HOST LOCAL" in value("SHOW ACCESS")
        value("CREATE TABLE default.fresh (text String) ENGINE = MergeTree ORDER BY text")
        value(f"INSERT INTO default.fresh VALUES ('{MARK} fresh')")
        value(f"CREATE NAMED COLLECTION collection AS a = '{MARK} collection'")
        assert value("SELECT text FROM default.fresh") == f"{MARK} fresh"
        assert value("SELECT DISTINCT disk_name FROM system.parts WHERE table = 'fresh'") == "encrypted"
    assert not [path for path, content in site.raw().items() if MARK.encode() in content]


@pytest.mark.skipif(NEWEST not in VERSIONS, reason="runs with the newest version")
def test_debian_s_old_server_has_tls_alone(tmp_path: Path) -> None:
    """clickhouse-server 18.16 of Debian, a build by others on other libraries: ports, addresses and TLS."""
    try:
        debian = packages.unpacked("clickhouse-18.16")
    except packages.Unavailable as reason:
        pytest.skip(f"without Debian's clickhouse-server: {reason}")
    program: list[str | Path] = [debian / "usr/sbin/clickhouse-server"]
    libraries = ":".join(str(debian / path) for path in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
    site = Site(tmp_path / "site")
    (site.etc / "users.xml").write_text(
        "<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default><password/><profile>default"
        "</profile><quota>default</quota><networks><ip>::/0</ip></networks></default></users></yandex>"
    )

    def as_yandex() -> None:
        """Call the root element as it was called then; the settings that 18.16 needs are in its config.xml."""
        for path in (site.etc / "config.xml", *(site.etc / "config.d").glob("*.xml")):
            path.chmod(0o600)
            path.write_text(re.sub(r"(</?)clickhouse>", r"\1yandex>", path.read_text()))

    config = (site.etc / "config.xml").read_text()
    places = f"<users_config>{site.etc}/users.xml</users_config><default_profile>default</default_profile>"
    (site.etc / "config.xml").write_text(
        re.sub(r"<user_directories>.*</user_directories>", places, config, flags=re.DOTALL)
    )
    as_yandex()
    with site.running(program, "http", LD_LIBRARY_PATH=libraries):
        assert site.is_open("http") and site.is_open("tcp") and not site.is_open("https")
    wanted = {f"config.d/hardened-{name}.xml" for name in ("tls", "plaintext", "protocols", "listen")}
    concerns = yaml.safe_load((ROOT / "roles/stack_clickhouse/vars/main.yml").read_text())[
        "__stack_clickhouse_concerns"
    ]
    off = {switch.strip("{} "): False for file, switch in concerns.items() if file not in wanted}
    site.converge(**off)
    assert {f"config.d/{path.name}" for path in (site.etc / "config.d").iterdir()} == wanted
    as_yandex()
    with site.running(program, LD_LIBRARY_PATH=libraries):
        test_only_ports_with_tls_are_open(site)
        assert not deviations(site, "https") and not deviations(site, "native")
