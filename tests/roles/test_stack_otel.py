"""stack_otel: what it writes and refuses, and what the real collector and its OpAMP supervisor make of the file.

The collector runs as its container's user, told what to do by a HyperDX's remote configuration or alone, and writes to
ClickHouse's own server (25.8) over TLS.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import ssl
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.hardened.clickstack.plugins.module_utils.stack_otel import endpoint as address
from ansible_collections.hardened.clickstack.plugins.modules import stack_otel_config
from tests.playbook import ROOT, Run, run_playbook
from tests.sandbox.certificates import Authority
from tests.sandbox.lab import Unavailable
from tests.sandbox.options import Options
from tests.sandbox.otel import hyperdx, programs
from tests.sandbox.otel.client import Client
from tests.sandbox.otel.collector import USER, Collector, listens
from tests.sandbox.real_server import RealServer

Json = dict[str, Any]
Play = Callable[..., Run]
PASSWORD, TOKEN, KEY = "ingest 7 only for tests", "token-only-for-tests", "3f1f0b6e-2c62-4a5e-9d6f-0d6f7a1b2c3d"
UNRESOLVED = 'failed to resolve authenticator "bearertokenauth/hyperdx"'
"""What the collector says where an authentication that the role's file wants is not set up."""
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files belong to the collector's user, so this needs root")


class Site:
    """What the role wants to find on a host, and its variables."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "otel" / "custom.yaml"
        self.authority = Authority(folder / "ca")
        self.tls = folder / "tls"
        self.tls.mkdir()
        self.tls.chmod(0o500)
        os.chown(self.tls, USER, USER)
        self.give(*self.authority.server())
        self.put("tls/ca.crt", self.authority.ca.read_bytes())
        self.put("password", f"{PASSWORD}\n".encode())
        self.put("token", f"{TOKEN}\n".encode())
        self.variables: Json = {
            "stack_otel_directory": str(self.file.parent),
            "stack_otel_tls_directory": str(self.tls),
            "stack_otel_tls_mount": str(self.tls),
            "stack_otel_clickhouse_password_file": str(folder / "password"),
            "stack_otel_token_file": str(folder / "token"),
        }

    def put(self, name: str, content: bytes, owner: int = USER, mode: int = 0o400) -> Path:
        """Write a file that the collector's user may read."""
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        os.chown(new, owner, owner)
        new.chmod(mode)
        return new.rename(self.folder / name)

    def give(self, certificate: Path, key: Path) -> None:
        """Make this the certificate of the collector."""
        self.put("tls/tls.crt", certificate.read_bytes())
        self.put("tls/tls.key", key.read_bytes())

    def options(self, content: str = "service: {}\n") -> Json:
        """What the role gives to its module."""
        return {
            "path": str(self.file),
            "content": content,
            "endpoint": "tcp://ch-server:9440?secure=true",
            "folders": [str(self.tls)],
            "certificates": [{"certificate": str(self.tls / "tls.crt"), "key": str(self.tls / "tls.key")}],
            "authorities": [str(self.tls / "ca.crt")],
            "secrets": [str(self.folder / "password")],
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture
def module(capsys: pytest.CaptureFixture[str]) -> Callable[..., Json]:
    """Run the role's module in this process and return what it says."""

    def run(options: Json, **more: Any) -> Json:
        with patch_module_args({**options, **more}), pytest.raises(SystemExit):
            stack_otel_config.main()
        result: Json = json.loads(capsys.readouterr().out)
        return result

    return run


# -- The file ----------------------------------------------------------------------------------------------------------


def test_a_run_writes_what_check_mode_announced_and_a_second_changes_nothing(play: Play, site: Site) -> None:
    announced = play("stack_otel", site.variables, "--check", "--diff")
    assert announced.recap["changed"] == 1 and not site.file.exists(), announced.output
    assert "authenticator: bearertokenauth/hyperdx" in announced.output
    done = play("stack_otel", site.variables)
    assert done.recap["changed"] == 1 and done.recap["failed"] == 0, done.output
    found = site.file.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, USER, 0o440)
    assert (site.file.parent.stat().st_uid, site.file.parent.stat().st_mode & 0o777) == (0, 0o755)
    again = play("stack_otel", site.variables, "-vvv")
    assert again.recap["changed"] == 0 and again.recap["failed"] == 0, again.output
    said = "".join([announced.output, done.output, again.output, site.file.read_text()])
    assert PASSWORD not in said and TOKEN not in said


def test_the_module_s_example_runs(module: Callable[..., Json], tmp_path: Path) -> None:
    (task,) = yaml.safe_load(stack_otel_config.EXAMPLES)
    options = task["hardened.clickstack.stack_otel_config"] | {"path": str(tmp_path / "otel" / "custom.yaml")}
    assert module(options)["changed"] is True
    assert yaml.safe_load((tmp_path / "otel" / "custom.yaml").read_text()) == yaml.safe_load(options["content"])


def test_variables_that_contradict_each_other_are_named_all_at_once(play: Play, site: Site) -> None:
    wrong = {
        "stack_otel_mode": "standalone",
        "stack_otel_authentication": "key",
        "stack_otel_tls": False,
        "stack_otel_tls_client_authority": "ca.crt",
        "stack_otel_clickhouse_certificate": "tls.crt",
        "stack_otel_metrics_port": 4317,
        "stack_otel_health_address": "0.0.0.0",
        "stack_otel_memory_spike_limit_mib": 1500,
        "stack_otel_additional": {
            "exporters": {"clickhouse": {"tls": {"insecure_skip_verify": True}}},
            "service": {"extensions": ["pprof"]},
        },
    }
    done = play("stack_otel", {**site.variables, **wrong})
    assert done.recap["failed"] == 1 and not site.file.exists()
    for said in (
        "stack_otel_authentication cannot be key",
        "Without TLS",
        "stack_otel_tls_client_authority needs",
        "stack_otel_clickhouse_certificate and stack_otel_clickhouse_key",
        "stack_otel_metrics_port (4317) must differ",
        "0.0.0.0: health and metrics",
        "stack_otel_memory_spike_limit_mib must be less",
        "stack_otel_additional changes exporters.clickhouse.tls",
        "repeat health_check, bearertokenauth/hyperdx",
    ):
        assert said in done.output


def test_an_issuer_of_tokens_is_named_completely(play: Play, site: Site) -> None:
    wanted = {"stack_otel_mode": "standalone", "stack_otel_authentication": "oidc"}
    refused = play("stack_otel", {**site.variables, **wanted})
    assert "needs stack_otel_oidc_issuer_url" in refused.output and not site.file.exists()
    wanted |= {"stack_otel_oidc_issuer_url": "https://login.example.com", "stack_otel_oidc_audience": "clickstack"}
    (site.folder / "token").unlink()
    done = play("stack_otel", {**site.variables, **wanted})
    assert done.recap["failed"] == 0, done.output
    protocols = yaml.safe_load(site.file.read_text())["receivers"]["otlp/hyperdx"]["protocols"]
    assert [part["auth"] for part in protocols.values()] == [{"authenticator": "oidc/hyperdx"}] * 2


# -- Bad input ---------------------------------------------------------------------------------------------------------


def _foreign_key(site: Site) -> None:
    _certificate, key = site.authority.issue("other", ("other",), server=True)
    site.put("tls/tls.key", key.read_bytes())


def _expired(site: Site) -> None:
    """Yesterday was the last day of this certificate."""
    key = serialization.load_pem_private_key((site.tls / "tls.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(yesterday - datetime.timedelta(days=9)).not_valid_after(yesterday)
    site.put("tls/tls.crt", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


SPOILT: dict[str, tuple[Callable[[Site], object], str]] = {
    "no certificate": (lambda site: (site.tls / "tls.crt").unlink(), "tls.crt: No such file or directory"),
    "an empty key": (lambda site: site.put("tls/tls.key", b""), "tls.key: the file is empty"),
    "a key of root": (lambda site: os.chown(site.tls / "tls.key", 0, 0), "the user 10001 of otel-collector cannot"),
    "a key without rights": (lambda site: (site.tls / "tls.key").chmod(0), "cannot read it (owner 10001, mode 0000)"),
    "a public key": (lambda site: (site.tls / "tls.key").chmod(0o444), "everybody can read it"),
    "another's key": (_foreign_key, "cannot be used together: key values mismatch"),
    "an expired certificate": (_expired, "clients will refuse it: certificate has expired"),
    "a certificate of a client": (
        lambda site: site.give(*site.authority.issue("client", ("client",))),
        "clients will refuse it",
    ),
    "no authority": (lambda site: (site.tls / "ca.crt").unlink(), "ca.crt: No such file or directory"),
    "an authority that is none": (lambda site: site.put("tls/ca.crt", b"-\n"), "not an authority's certificate"),
    "a closed directory": (lambda site: os.chown(site.tls, 0, 0), "cannot enter this directory"),
    "no password": (lambda site: (site.folder / "password").unlink(), "password: No such file or directory"),
    "a password that all can read": (lambda site: (site.folder / "password").chmod(0o444), "everybody can read it"),
    "a blank password": (lambda site: site.put("password", b" \n"), "there is nothing in this file"),
    "a password of two lines": (lambda site: site.put("password", b"hidden\nword\n"), "a secret is one line"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_the_collector_could_not_work_with_is_refused(what: str, site: Site, module: Callable[..., Json]) -> None:
    assert module(site.options())["changed"] is True
    before = site.file.read_bytes(), site.file.stat().st_mtime_ns
    spoil, said = SPOILT[what]
    spoil(site)
    result = module(site.options("service: {telemetry: {}}\n"))
    assert result["failed"] is True and len(result["problems"]) == 1, result
    assert said in result["problems"][0] and "hidden" not in result["msg"]
    assert before == (site.file.read_bytes(), site.file.stat().st_mtime_ns)


def test_everything_that_is_wrong_is_said_at_once(site: Site, module: Callable[..., Json]) -> None:
    (site.tls / "tls.key").unlink()
    (site.tls / "ca.crt").unlink()
    (site.folder / "password").chmod(0o404)
    site.file.mkdir(parents=True)
    result = module(site.options(), endpoint="http://ch-server:8123")
    assert len(result["problems"]) == 5, result
    assert "which Docker makes where a mounted file is missing" in result["problems"][0]


@pytest.mark.parametrize(
    "left", ["the file cut short", "the new file beside the old", "a file with other rights", "a link"]
)
def test_what_a_killed_run_left_is_completed(left: str, site: Site, module: Callable[..., Json]) -> None:
    assert module(site.options())["changed"] is True
    if left == "the file cut short":
        site.file.write_text("servi")
    elif left == "the new file beside the old":
        site.file.with_name(".custom.yaml.new").write_text("servi")
    elif left == "a file with other rights":
        site.file.chmod(0o400)
    else:
        site.file.rename(site.file.with_name("elsewhere"))
        site.file.symlink_to("elsewhere")
    assert module(site.options(), _ansible_check_mode=True)["changed"] is True
    assert module(site.options())["changed"] is True
    assert module(site.options())["changed"] is False
    assert site.file.read_text() == "service: {}\n" and site.file.stat().st_mode & 0o777 == 0o440
    assert not site.file.is_symlink() and not site.file.with_name(".custom.yaml.new").exists()


# -- The real collector ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built() -> programs.Programs:
    try:
        return programs.build()
    except Unavailable as reason:
        pytest.skip(f"without the collector: {reason}")


class ClickHouse:
    """ClickHouse's own server with the ingestion user that stack_access makes, for the database of one test."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        certificate, key = authority.server()
        options = Options(certificate=str(certificate), key=str(key))
        self.server = RealServer(folder, "25.8", None, 0, 0, options)
        self.query(f"CREATE USER otel_ingest IDENTIFIED WITH sha256_password BY '{PASSWORD}'")
        self.query("GRANT SELECT, INSERT, CREATE DATABASE, CREATE TABLE, CREATE VIEW ON otel.* TO otel_ingest")

    def query(self, sql: str) -> str:
        """Run a statement as the administrator."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.http_port}/", sql.encode(), timeout=30) as answer:
            text: str = answer.read().decode().strip()
        return text

    def spans(self) -> set[str]:
        """The names of the spans that have arrived."""
        if self.query("EXISTS TABLE otel.otel_traces") == "0":
            return set()
        return set(self.query("SELECT SpanName FROM otel.otel_traces").splitlines())

    def environment(self, endpoint: str, **more: str) -> dict[str, str]:
        """What stack_compose gives to the collector. The exporter makes the tables: there is no migration here."""
        return {
            "CLICKHOUSE_ENDPOINT": endpoint,
            "CLICKHOUSE_USER": "otel_ingest",
            "CLICKHOUSE_PASSWORD": PASSWORD,
            "HYPERDX_OTEL_EXPORTER_CLICKHOUSE_DATABASE": "otel",
            "HYPERDX_OTEL_EXPORTER_CREATE_LEGACY_SCHEMA": "true",
            "HYPERDX_OTEL_BATCH_TIMEOUT": "100ms",
            **more,
        }


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A host for the collector: its user may enter the folders, as it may in its container."""
    folder = Path(tempfile.mkdtemp(prefix="stack-otel-"))
    folder.chmod(0o711)
    yield Site(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory, host: Site) -> Iterator[ClickHouse]:
    server = ClickHouse(tmp_path_factory.mktemp("clickhouse"), host.authority)
    yield server
    server.server.close()


def converge(host: Site, collector: Collector, name: str, **variables: Any) -> Path:
    """Run the role for a collector and return its custom file."""
    directory = host.folder / name
    ports = {"stack_otel_health_port": collector.ports.health, "stack_otel_metrics_port": collector.ports.metrics}
    role = {
        "role": "hardened.clickstack.stack_otel",
        "vars": {**host.variables, **ports, **variables, "stack_otel_directory": str(directory)},
    }
    done = run_playbook([{"hosts": "localhost", "gather_facts": False, "roles": [role]}], folder=host.folder)
    assert done.recap["failed"] == 0, done.output
    return directory / "custom.yaml"


@contextlib.contextmanager
def collector_of(built: programs.Programs, environment: dict[str, str]) -> Iterator[Collector]:
    collector = Collector(built, environment)
    try:
        yield collector
    finally:
        collector.remove()


@dataclass(frozen=True)
class Supervised:
    """A collector under the supervisor, with the role's file and a HyperDX that enforces its keys."""

    collector: Collector
    custom: Path
    trusted: Client


@pytest.fixture(scope="module")
def supervised(built: programs.Programs, host: Site, clickhouse: ClickHouse) -> Iterator[Supervised]:
    endpoint = f"https://localhost:{clickhouse.server.https_port}"
    with collector_of(built, clickhouse.environment(endpoint)) as collector:
        custom = converge(
            host,
            collector,
            "supervised",
            stack_otel_clickhouse_endpoint=endpoint,
            stack_otel_tls_reload_interval="1s",
            stack_otel_memory_limit_mib=900,
            stack_otel_memory_spike_limit_mib=200,
            stack_otel_batch={"timeout": "200ms"},
        )
        base = collector.file("config.yaml", hyperdx.base(collector.ports))
        server = hyperdx.OpampServer(hyperdx.remote(collector.ports, [KEY]))
        with server.running(), collector.supervised(server.url, base, custom):
            collector.wait_for_ports(collector.ports.grpc, collector.ports.http, collector.ports.health)
            yield Supervised(collector, custom, Client(host.authority.ca, authorization=KEY))


def test_the_supervisor_merges_the_file_with_hyperdx_s_configuration(supervised: Supervised) -> None:
    text = supervised.collector.effective()
    merged, custom = yaml.safe_load(text), yaml.safe_load(supervised.custom.read_text())
    for name, port in (("grpc", supervised.collector.ports.grpc), ("http", supervised.collector.ports.http)):
        protocol = merged["receivers"]["otlp/hyperdx"]["protocols"][name]
        assert protocol["tls"] == custom["receivers"]["otlp/hyperdx"]["protocols"][name]["tls"]
        assert protocol["endpoint"] == f"127.0.0.1:{port}" and protocol["include_metadata"] is True
        assert protocol["auth"] == {"authenticator": "bearertokenauth/hyperdx"}
    for name in ("clickhouse", "clickhouse/rrweb"):
        assert merged["exporters"][name]["tls"] == custom["exporters"][name]["tls"]
        assert merged["exporters"][name]["endpoint"] == "${env:CLICKHOUSE_ENDPOINT}"
    assert merged["service"]["extensions"] == ["health_check", "opamp", "bearertokenauth/hyperdx"]
    assert merged["processors"]["memory_limiter"] == {
        "limit_mib": 900,
        "spike_limit_mib": 200,
        "check_interval": "5s",
    }
    assert merged["processors"]["batch"]["timeout"] == "200ms" and "send_batch_size" in merged["processors"]["batch"]
    assert merged["service"]["telemetry"]["logs"]["level"] == "info"
    assert PASSWORD not in text


def test_spans_with_the_key_over_tls_reach_clickhouse_over_tls(supervised: Supervised, clickhouse: ClickHouse) -> None:
    ports = supervised.collector.ports
    assert supervised.trusted.grpc(ports.grpc) == "accepted"
    assert supervised.trusted.http(ports.http) == "accepted"
    supervised.collector.wait_for("both spans", lambda: clickhouse.spans() >= {"over gRPC", "over HTTP"})


@pytest.mark.parametrize("authorization", [None, "another key", f"Bearer {KEY}"])
def test_without_the_key_nothing_is_accepted(supervised: Supervised, host: Site, authorization: str | None) -> None:
    client = Client(host.authority.ca, authorization=authorization)
    assert client.http(supervised.collector.ports.http) == "status 401"
    assert client.grpc(supervised.collector.ports.grpc).startswith("UNAUTHENTICATED")


def test_in_plain_text_nothing_is_accepted(supervised: Supervised) -> None:
    client = Client(authorization=KEY)
    assert client.http(supervised.collector.ports.http) == "status 400"
    assert client.grpc(supervised.collector.ports.grpc).startswith("UNAVAILABLE")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_older_tls_is_refused_and_the_certificate_is_verified(supervised: Supervised, host: Site) -> None:
    port = supervised.collector.ports.http
    for version, is_spoken in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)):
        context = ssl.create_default_context(cafile=str(host.authority.ca))
        # for TLS 1.1 OpenSSL itself asks for less than its default
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        with socket.create_connection(("127.0.0.1", port)) as connection:
            try:
                with context.wrap_socket(connection, server_hostname="localhost"):
                    assert is_spoken
            except ssl.SSLError as error:
                assert not is_spoken and "PROTOCOL_VERSION" in str(error)


def test_health_and_metrics_are_on_loopback_alone(supervised: Supervised) -> None:
    for port in (supervised.collector.ports.health, supervised.collector.ports.metrics):
        assert listens(port) and not listens(port, "127.0.0.2")


def test_another_certificate_is_shown_without_a_restart(supervised: Supervised, host: Site) -> None:
    port = supervised.collector.ports.grpc

    def shown() -> bytes:
        context = ssl.create_default_context(cafile=str(host.authority.ca))
        connection = socket.create_connection(("127.0.0.1", port))
        with context.wrap_socket(connection, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True) or b""

    before = shown()
    host.give(*host.authority.server())
    supervised.collector.wait_for("the new certificate", lambda: shown() != before, 15)
    wanted = ssl.PEM_cert_to_DER_cert((host.tls / "tls.crt").read_text())
    assert shown() == wanted and supervised.trusted.grpc(port) == "accepted"


def test_a_file_that_the_supervisor_cannot_read_opens_everything(
    built: programs.Programs, supervised: Supervised, clickhouse: ClickHouse
) -> None:
    """Why the role looks so closely: no error, but plain text, health on all addresses, and whatever HyperDX says.

    And why it refuses tcps://, which HyperDX's migration takes for TLS: to the exporter it is plain text.
    """
    endpoint = f"tcps://localhost:{clickhouse.server.tcp_port}"
    with collector_of(built, clickhouse.environment(endpoint)) as collector:
        base = collector.file("config.yaml", hyperdx.base(collector.ports))
        custom = collector.file("custom.yaml", yaml.safe_load(supervised.custom.read_text()))
        custom.chmod(0o400)
        server = hyperdx.OpampServer(hyperdx.remote(collector.ports, [KEY], is_enforced=False))
        with server.running(), collector.supervised(server.url, base, custom):
            collector.wait_for_ports(collector.ports.http, collector.ports.health)
            assert Client().http(collector.ports.http, "in plain text") == "accepted"
            collector.wait_for("the span", lambda: "in plain text" in clickhouse.spans())
            assert listens(collector.ports.health, "127.0.0.2")
        assert "Could not read local config file" in collector.said()


def test_a_hyperdx_without_a_team_or_that_does_not_enforce_its_keys_opens_nothing(
    built: programs.Programs, host: Site, clickhouse: ClickHouse
) -> None:
    endpoint = f"https://localhost:{clickhouse.server.https_port}"
    with collector_of(built, clickhouse.environment(endpoint)) as collector:
        base = collector.file("config.yaml", hyperdx.base(collector.ports))
        custom = converge(host, collector, "unenforced", stack_otel_clickhouse_endpoint=endpoint)
        server = hyperdx.OpampServer(hyperdx.remote(collector.ports, []))
        with server.running(), collector.supervised(server.url, base, custom):
            # it is well, and told to read logs; nobody has registered yet
            collector.wait_for_ports(collector.ports.health, collector.ports.fluent)
            assert not listens(collector.ports.http) and not listens(collector.ports.grpc)
        server = hyperdx.OpampServer(hyperdx.remote(collector.ports, [KEY], is_enforced=False))
        with server.running(), collector.supervised(server.url, base, custom):
            collector.wait_for("a refusal", lambda: UNRESOLVED in collector.said())
            assert not listens(collector.ports.http) and not listens(collector.ports.grpc)


# -- Without a HyperDX -------------------------------------------------------------------------------------------------


def _image(collector: Collector, *, has_token: bool = True) -> list[Path]:
    """The image's files, as its entrypoint names them where OTLP_AUTH_TOKEN is set or not."""
    files = {
        "config.yaml": hyperdx.base(collector.ports),
        "standalone-config.yaml": hyperdx.standalone(collector.ports),
    }
    files |= {"standalone-auth-config.yaml": hyperdx.token_authentication()} if has_token else {}
    return [collector.file(name, content) for name, content in files.items()]


def test_a_collector_on_its_own_takes_the_token_and_writes_by_the_native_protocol(
    built: programs.Programs, host: Site, clickhouse: ClickHouse
) -> None:
    endpoint = f"tcp://localhost:{clickhouse.server.native_port}?secure=true"
    with collector_of(built, clickhouse.environment(endpoint, OTLP_AUTH_TOKEN=TOKEN)) as collector:
        custom = converge(
            host,
            collector,
            "standalone",
            stack_otel_mode="standalone",
            stack_otel_clickhouse_endpoint=endpoint,
            stack_otel_batch={"timeout": "200ms"},
        )
        with collector.standalone(*_image(collector), custom):
            ports = collector.ports
            collector.wait_for_ports(ports.grpc, ports.http, ports.health)
            trusted = Client(host.authority.ca, authorization=TOKEN)
            assert trusted.grpc(ports.grpc, "standalone, gRPC") == "accepted"
            assert trusted.http(ports.http, "standalone, HTTP") == "accepted"
            assert Client(host.authority.ca).http(ports.http) == "status 401"
            assert Client(host.authority.ca).grpc(ports.grpc).startswith("UNAUTHENTICATED")
            assert Client(authorization=TOKEN).http(ports.http) == "status 400"
            assert listens(ports.metrics) and not listens(ports.metrics, "127.0.0.2")
            collector.wait_for("spans", lambda: clickhouse.spans() >= {"standalone, gRPC", "standalone, HTTP"})
        # the token was forgotten in the container's environment: the image leaves authentication out
        with collector.standalone(*_image(collector, has_token=False), custom):
            collector.wait_for("the end", lambda: collector.has_ended)
            assert UNRESOLVED in collector.said()


def test_clients_show_certificates_and_a_stranger_s_clickhouse_gets_nothing(
    built: programs.Programs, host: Site, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "stranger")
    host.put("tls/stranger.crt", stranger.ca.read_bytes())
    endpoint = f"https://localhost:{clickhouse.server.https_port}"
    with collector_of(built, clickhouse.environment(endpoint)) as collector:
        custom = converge(
            host,
            collector,
            "certificates",
            stack_otel_mode="standalone",
            stack_otel_authentication="none",
            stack_otel_tls_client_authority="ca.crt",
            stack_otel_clickhouse_endpoint=endpoint,
            stack_otel_clickhouse_authority="stranger.crt",
        )
        with collector.standalone(*_image(collector, has_token=False), custom):
            # the exporter makes its tables at the start, and does not start without
            collector.wait_for("the end", lambda: collector.has_ended)
            assert "certificate signed by unknown authority" in collector.said()
        custom = converge(
            host,
            collector,
            "certificates",
            stack_otel_mode="standalone",
            stack_otel_authentication="none",
            stack_otel_tls_client_authority="ca.crt",
            stack_otel_clickhouse_endpoint=endpoint,
        )
        with collector.standalone(*_image(collector, has_token=False), custom):
            ports = collector.ports
            collector.wait_for_ports(ports.grpc, ports.http)
            known = Client(host.authority.ca, *host.authority.issue("sender", ("sender",)))
            assert (known.http(ports.http), known.grpc(ports.grpc)) == ("accepted", "accepted")
            for other in (Client(host.authority.ca), Client(host.authority.ca, *stranger.issue("other", ("other",)))):
                assert "accepted" not in (other.http(ports.http), other.grpc(ports.grpc))


def test_the_collector_itself_has_the_last_word_on_the_file(
    built: programs.Programs, host: Site, clickhouse: ClickHouse
) -> None:
    with collector_of(built, {}) as collector:
        environment = clickhouse.environment("https://ch-server:8443", OTLP_AUTH_TOKEN="-", HYPERDX_LOG_LEVEL="info")
        judge = ["env", *(f"{name}={value}" for name, value in environment.items() if name != "CLICKHOUSE_PASSWORD")]
        judge += collector.validate_command(*_image(collector), "{}/custom.yaml")
        custom = converge(host, collector, "judged", stack_otel_validate_command=judge)
        before = custom.read_bytes()
        with pytest.raises(AssertionError) as refused:
            converge(
                host,
                collector,
                "judged",
                stack_otel_validate_command=judge,
                stack_otel_additional={"processors": {"batch": {"send_batch_maximum": 5}}},
            )
        assert "stack_otel_validate_command exits with 1" in str(refused.value)
        assert "send_batch_maximum" in str(refused.value)
        assert custom.read_bytes() == before
        # more that the collector does know is taken
        more = {"exporters": {"debug": {"verbosity": "basic"}}, "processors": {"batch": {"send_batch_size": 5}}}
        converge(host, collector, "judged", stack_otel_validate_command=judge, stack_otel_additional=more)
        assert yaml.safe_load(custom.read_text())["exporters"]["debug"] == {"verbosity": "basic"}


def _manual() -> list[str]:
    """The addresses that the README tells people to write."""
    text = (ROOT / "roles" / "stack_otel" / "README.md").read_text()
    found = re.findall(r"^\| [^|]+ \| `((?:tcp|https)://[^`]+)` \|", text, re.MULTILINE)
    return [address.replace("<id>", "abc123").replace("<region>", "eu-west-1") for address in found]


def test_the_manual_has_addresses_of_this_stack_and_of_the_cloud() -> None:
    assert len(_manual()) == 4 and all(not re.search(r"[<>]", address) for address in _manual())


@pytest.mark.parametrize(
    ("endpoint", "is_taken"),
    [
        *((address, True) for address in _manual()),
        ("ch-server:9440", False),
        ("tcp://ch-server:9440?secure=maybe", False),
    ],
)
def test_the_exporter_reads_an_address_as_the_role_does(
    built: programs.Programs, clickhouse: ClickHouse, endpoint: str, is_taken: bool
) -> None:
    with collector_of(built, clickhouse.environment(endpoint, OTLP_AUTH_TOKEN="-")) as collector:
        done = collector.validate(*_image(collector))
    assert (done.returncode == 0) is is_taken, done.stderr
    assert (address.problems(endpoint, is_tls=True) == []) is is_taken
