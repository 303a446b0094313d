"""stack_otel: what it writes and refuses, and what the real collector and its OpAMP supervisor make of the file.

The collector runs as its container's user, told what to do by a HyperDX's remote configuration or alone, and writes to
ClickHouse's own server (25.8) over TLS.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import os
import shutil
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.hardened.clickstack.plugins.modules import stack_otel_config
from tests.playbook import Run
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
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files belong to the collector's user, so this needs root")


class Site:
    """What the role wants to find on a host, and its variables."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "otel" / "custom.yaml"
        self.authority = Authority(folder / "ca")
        self.tls = folder / "tls"
        self.tls.mkdir()
        self.tls.chmod(0o711)
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
    _, key = site.authority.issue("other", ("other",), server=True)
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
    "a closed directory": (lambda site: site.tls.chmod(0o700), "cannot enter this directory"),
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
