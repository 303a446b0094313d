"""stack_tls: the role on this machine. Every run is a playbook; who signs is this machine too, in another directory.

What OpenSSL, Go (pebble) and ClickHouse make of the certificates is theirs; what would take long is asked of several
certificates in one run.
"""

from __future__ import annotations

import ast
import contextlib
import datetime
import itertools
import os
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.playbook import ROOT, Run, run_playbook
from tests.sandbox.lab import Unavailable
from tests.sandbox.lab.images import IMAGES
from tests.sandbox.lab.packages import BUILD, fetch, made_once
from tests.sandbox.options import Options
from tests.sandbox.real_server import RealServer, free_port

from .pebble import Pebble
from .tls_support import Issuer, again, key_of, load, names_of, now, pem, picture

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files get the owners that containers have: it needs root")

Json = dict[str, Any]
PROXY = IMAGES["proxy"].program
assert PROXY
PASSPHRASE = "correct horse battery staple"
SERVICES = [{"name": "clickhouse"}, {"name": "mongodb", "names": ["mongo.example.com", "203.0.113.7"]}]
CLIENTS = [{"name": "backup", "common_name": "nightly backup", "user_id": "34:34", "pem": "backup.pem"}]


class Site:
    """A host's directory with certificates, and who signs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tls, self.ca = folder / "tls", folder / "ca"

    def play(self, *arguments: str, **variables: Any) -> Run:
        """Run the role."""
        given = {
            "stack_tls_directory": str(self.tls),
            "stack_tls_ca_directory": str(self.ca),
            "stack_tls_ca_passphrase": PASSPHRASE,
            "stack_tls_host_names": ["click.example.com"],
            "stack_tls_services": SERVICES,
            "stack_tls_clients": CLIENTS,
            **variables,
        }
        role = {"role": "hardened.clickstack.stack_tls", "vars": given}
        plays = [{"name": "Certificates", "hosts": "localhost", "gather_facts": False, "roles": [role]}]
        return run_playbook(plays, *arguments, folder=self.folder)

    def converge(self, *arguments: str, **variables: Any) -> Run:
        done = self.play(*arguments, **variables)
        assert done.code == 0, done.output
        return done

    def refuse(self, *arguments: str, **variables: Any) -> str:
        """Run the role, which refuses and changes nothing; give its message on one line."""
        before = picture(self.tls)
        done = self.play(*arguments, **variables)
        assert done.code != 0 and done.recap["changed"] == 0, done.output
        assert picture(self.tls) == before
        return " ".join(done.output.replace("\\n", " ").replace('\\"', '"').split())

    def copy(self, folder: Path) -> Site:
        """The same, with the same times, for a test of its own."""
        folder.mkdir(exist_ok=True)
        subprocess.run(["cp", "-a", self.tls, self.ca, folder], check=True)
        return Site(folder)

    def authority(self, name: str = "clickstack") -> Any:
        return key_of(self.ca / name / "ca.key", PASSPHRASE)

    def put(self, path: str, text: str) -> None:
        """Change the content of a file, which keeps its owner and mode."""
        with (self.tls / path).open("w") as file:
            file.write(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """What the first run makes."""
    site = Site(tmp_path_factory.mktemp("made"))
    site.converge()
    return site


@pytest.fixture
def site(made: Site, tmp_path: Path) -> Site:
    return made.copy(tmp_path / "site")


def changed(before: Json, after: Json) -> set[str]:
    """The files that are not what they were."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def verify(authority: Path, certificate: Path, purpose: str) -> str:
    """What OpenSSL says of a certificate for a purpose."""
    asked = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", authority, certificate]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


# -- what is made --------------------------------------------------------------------------------------------------


def test_each_has_its_files_and_nobody_else_can_read_them(made: Site) -> None:
    owners = {"clickhouse": 101, "mongodb": 999, "clients/backup": 34}
    pems = {"mongodb": "mongodb.pem", "clients/backup": "backup.pem"}
    for path, uid in owners.items():
        folder = made.tls / path
        assert {file.name for file in folder.iterdir()} == {"tls.crt", "tls.key", "ca.crt", pems.get(path, "ca.crt")}
        state = folder.stat()
        assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (0, uid, 0o750)
        for file in folder.iterdir():
            state = file.stat()
            assert (state.st_uid, state.st_gid, stat.S_IMODE(state.st_mode)) == (uid, uid, 0o400)
        certificate, key = load(folder / "tls.crt"), key_of(folder / "tls.key")
        assert certificate.public_key() == key.public_key() and key.curve.name == "secp256r1"
        if path in pems:
            both = (folder / "tls.key").read_text() + (folder / "tls.crt").read_text()
            assert (folder / pems[path]).read_text() == both
    assert stat.S_IMODE(made.tls.stat().st_mode) == 0o711
    assert not (made.tls / ".staging").exists()


def test_authorities_are_there_before_what_they_signed_and_keys_just_before_their_certificates(made: Site) -> None:
    def written(name: str) -> list[int]:
        return [(made.tls / path / name).stat().st_mtime_ns for path in ("clickhouse", "clients/backup", "mongodb")]

    assert max(written("ca.crt")) <= min(written("tls.key"))
    pairs = [time for pair in zip(written("tls.key"), written("tls.crt"), strict=True) for time in pair]
    assert pairs == sorted(pairs)


def test_certificates_are_for_the_names_and_uses_of_their_service(made: Site) -> None:
    loopback = {"localhost", "127.0.0.1", "::1"}
    clickhouse, mongodb = load(made.tls / "clickhouse/tls.crt"), load(made.tls / "mongodb/tls.crt")
    assert names_of(clickhouse) == {"ch-server", "clickhouse", "172.30.81.12", "click.example.com"} | loopback
    own = {"mongo.example.com", "203.0.113.7"}
    assert names_of(mongodb) == {"db", "mongodb", "172.30.81.13", "click.example.com"} | own | loopback
    subjects = {load(made.tls / path / "tls.crt").subject.rfc4514_string() for path in ("mongodb", "clients/backup")}
    assert subjects == {"CN=db,OU=mongodb,O=ClickStack", "CN=nightly backup,OU=clients,O=ClickStack"}
    wants = {
        "clickhouse": {"sslserver": True, "sslclient": False},
        "mongodb": {"sslserver": True, "sslclient": True},
        "clients/backup": {"sslserver": False, "sslclient": True},
    }
    for path, purposes in wants.items():
        for purpose, good in purposes.items():
            said = verify(made.tls / path / "ca.crt", made.tls / path / "tls.crt", purpose)
            assert said.endswith("tls.crt: OK\n") is good, said
    days = (clickhouse.not_valid_after_utc - now()) / datetime.timedelta(days=1)
    assert 364.9 < days <= 365


def test_the_authority_s_key_is_encrypted_and_it_signs_no_other_authority(made: Site) -> None:
    folder = made.ca / "clickstack"
    assert "BEGIN ENCRYPTED PRIVATE KEY" in (folder / "ca.key").read_text()
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o400 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    extensions = load(folder / "ca.crt").extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and not usage.value.digital_signature
    key = pem(made.authority())
    assert not [path for path in made.folder.rglob("*") if path.is_file() and key[30:90] in path.read_text()]


def test_a_second_run_changes_nothing_in_the_other_mode_either(site: Site) -> None:
    before = picture(site.folder)
    for arguments in ([], ["--check"]):
        done = site.converge("-vvv", *arguments)
        assert done.recap["changed"] == 0, done.output
        after = picture(site.folder)
        assert {path for path in changed(before, after) if path.startswith(("tls", "ca"))} == set()
        assert PASSPHRASE not in done.output and "PRIVATE KEY" not in done.output


def test_check_mode_says_what_would_be_made_and_makes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    done = site.converge("--check", "--diff")
    assert done.recap["changed"] == 2  # the authority's directory, and the certificates
    assert not site.tls.exists() and not site.ca.exists()


# -- renewal -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(site: Site) -> Iterator[RealServer]:
    """ClickHouse's own server with the certificate and key of the role."""
    folder = site.tls / "clickhouse"
    options = Options(certificate=str(folder / "tls.crt"), key=str(folder / "tls.key"))
    try:
        running = RealServer(site.folder / "server", "25.8", None, 0, 0, options)
    except FileNotFoundError as reason:
        pytest.skip(f"without the chDB of 25.8: {reason}")
    yield running
    running.close()


def test_only_what_ends_soon_is_renewed_and_clickhouse_serves_it_without_a_restart(
    site: Site, server: RealServer
) -> None:
    file = site.tls / "clickhouse/tls.crt"
    site.put("clickhouse/tls.crt", pem(again(load(file), site.authority(), 29.9)))

    def served() -> str:
        authority = str(site.tls / "clickhouse/ca.crt")
        return ssl.get_server_certificate(("localhost", server.https_port or 0), ca_certs=authority)

    assert eventually(lambda: served() == file.read_text())
    before = picture(site.tls)
    told = [{**entry, "reload": ["touch", f"{site.folder}/told-{entry['name']}"]} for entry in SERVICES]
    site.converge(stack_tls_services=told)
    after = picture(site.tls)
    assert changed(before, after) == {"clickhouse/tls.crt"}
    assert load(file).public_key() == key_of(site.tls / "clickhouse/tls.key").public_key()
    assert load(file).not_valid_after_utc > now() + datetime.timedelta(days=360)
    assert eventually(lambda: served() == file.read_text())
    # the command ran for this one alone
    assert [path.name for path in site.folder.glob("told-*")] == ["told-clickhouse"]


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds within 15 seconds: ClickHouse looks at its files every two."""
    deadline = time.monotonic() + 15
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_changed_names_and_what_a_killed_run_left_are_repaired_and_nothing_else(site: Site) -> None:
    half = (site.tls / "mongodb/tls.crt").read_text()[:400]
    site.put("mongodb/tls.crt", half)
    _certificate, foreign = Issuer("somebody").leaf(["somebody"])
    site.put("clients/backup/tls.key", foreign)
    staging = site.tls / ".staging"
    staging.mkdir(mode=0o700)
    for name in ("clickhouse.tls.crt.new", "clickhouse.key"):
        (staging / name).write_text("half a fi")
    before = picture(site.tls)
    services = [{**SERVICES[0], "names": ["ch.example.com"]}, SERVICES[1]]
    assert "its names are others: +DNS:ch.example.com" in site.converge(stack_tls_services=services).output
    after = picture(site.tls)
    assert {path for path in changed(before, after) if ".staging" not in path} == {
        "clickhouse/tls.crt",
        "mongodb/tls.crt",
        "mongodb/mongodb.pem",
        "clients/backup/tls.crt",
        "clients/backup/backup.pem",
    }
    assert "ch.example.com" in names_of(load(site.tls / "clickhouse/tls.crt"))
    for path in ("clickhouse", "mongodb", "clients/backup"):
        assert load(site.tls / path / "tls.crt").public_key() == key_of(site.tls / path / "tls.key").public_key()
    assert not staging.exists()


def test_a_run_that_is_killed_is_completed_by_the_next(tmp_path: Path) -> None:
    site = Site(tmp_path)
    variables: Json = {"stack_tls_services": SERVICES, "stack_tls_clients": []}
    running = threading.Thread(target=site.play, kwargs=variables)
    running.start()
    deadline = time.monotonic() + 240
    while not list(site.tls.glob(".staging/*.key")):
        assert time.monotonic() < deadline and running.is_alive()
        time.sleep(0.05)
    # everything that has the playbook's path among its arguments is of this run
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(site.folder / "playbook.yml").encode() in process.read_bytes():
                os.kill(int(process.parent.name), signal.SIGKILL)
    running.join(60)
    assert not list(site.tls.glob("*/tls.crt"))
    site.converge(**variables)
    for path in ("clickhouse", "mongodb"):
        assert load(site.tls / path / "tls.crt").public_key() == key_of(site.tls / path / "tls.key").public_key()
    assert not (site.tls / ".staging").exists()
    assert site.converge("--check", **variables).recap["changed"] == 0


def test_keys_are_renewed_where_that_is_asked_for_or_they_cannot_be_read(site: Site) -> None:
    file = site.tls / "mongodb/tls.crt"
    site.put("mongodb/tls.crt", pem(again(load(file), site.authority(), -1)))
    site.put("clients/backup/tls.key", "this is no key")
    before = picture(site.tls)
    site.converge(stack_tls_renew_keys=True)
    files = {"mongodb": "mongodb.pem", "clients/backup": "backup.pem"}
    wanted = {f"{path}/{name}" for path in files for name in ("tls.crt", "tls.key", files[path])}
    assert changed(before, picture(site.tls)) == wanted
    for path in files:
        assert load(site.tls / path / "tls.crt").public_key() == key_of(site.tls / path / "tls.key").public_key()


@pytest.fixture
def caddy(site: Site) -> Iterator[tuple[list[str], int]]:
    """Debian's Caddy with MongoDB's certificate: the command that makes it read that again, and its port."""
    package, path = PROXY.package, PROXY.path
    folder = BUILD / "unpacked" / Path(package[0]).stem
    try:
        with made_once(folder) as fresh:
            if fresh:
                subprocess.run(["dpkg", "-x", fetch(*package), fresh], check=True)
    except Unavailable as reason:
        pytest.skip(f"without Caddy: {reason}")
    program, file, admin, port = str(folder / path), site.folder / "Caddyfile", free_port(), free_port()
    certificate = f"{site.tls}/mongodb/tls.crt {site.tls}/mongodb/tls.key"
    file.write_text(f"""{{
    admin 127.0.0.1:{admin}
    auto_https off
    storage file_system {site.folder}
}}
https://localhost:{port} {{
    tls {certificate}
    respond ok
}}
""")
    options = ["--config", str(file), "--adapter", "caddyfile"]
    environment = {**os.environ, "HOME": str(site.folder)}
    running = subprocess.Popen(
        [program, "run", *options], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # without --force Caddy does nothing where its configuration is the same
    yield [program, "reload", *options, "--address", f"127.0.0.1:{admin}", "--force"], port
    running.terminate()
    running.wait(10)


def test_a_service_that_could_not_be_told_is_told_by_the_next_run(site: Site, caddy: tuple[list[str], int]) -> None:
    command, port = caddy
    file = site.tls / "mongodb/tls.crt"

    def served() -> str:
        try:
            return ssl.get_server_certificate(("localhost", port), ca_certs=str(site.tls / "mongodb/ca.crt"))
        except OSError:
            return ""

    def services(reload: list[str]) -> list[Json]:
        return [SERVICES[0], {**SERVICES[1], "reload": reload}]

    assert eventually(lambda: served() == file.read_text())
    site.put("mongodb/tls.crt", pem(again(load(file), site.authority(), 5)))
    failed = site.play(stack_tls_services=services(["sh", "-c", "exit 7"]))
    assert failed.code != 0 and load(file).not_valid_after_utc > now() + datetime.timedelta(days=300)
    assert served() != file.read_text()
    before = picture(site.tls / "mongodb")
    assert site.converge(stack_tls_services=services(command)).recap["changed"] == 2  # told, and no longer to be told
    assert picture(site.tls / "mongodb") == before
    assert eventually(lambda: served() == file.read_text())
    assert site.converge("--check", stack_tls_services=services(command)).recap["changed"] == 0


# -- the authority ---------------------------------------------------------------------------------------------------


def test_an_authority_that_cannot_be_used_is_refused(site: Site) -> None:
    said = site.refuse(stack_tls_ca_passphrase="another passphrase")
    assert "ca.key: the passphrase is wrong, or it is damaged. The passphrase is in stack_tls_ca_passphrase" in said
    (site.ca / "clickstack/ca.key").chmod(0o600)
    (site.ca / "clickstack/ca.key").write_text(pem(Issuer("other").key))
    (site.ca / "clickstack/ca.key").chmod(0o644)
    said = site.refuse()
    for part in ("lies there unencrypted", "others than its owner may read", "does not belong to the authority's"):
        assert part in said, part


def test_an_authority_that_is_lost_is_not_replaced_by_accident(site: Site) -> None:
    shutil.move(site.ca, site.folder / "elsewhere")
    said = site.refuse()
    assert "clickhouse/tls.crt is in use, and ClickStack CA clickstack signed it" in said
    assert "stack_tls_ca_replace" in said and not site.ca.exists()


def test_an_authority_that_ends_before_what_it_signs_is_refused_in_time(site: Site) -> None:
    folder = site.ca / "clickstack"
    for days, is_refused in ((20, True), (200, False)):
        old = again(load(folder / "ca.crt"), site.authority(), days)
        (folder / "ca.crt").write_text(pem(old))
        # the host has that one too: its bytes are not the same, its key is
        for path in ("clickhouse", "mongodb", "clients/backup"):
            site.put(f"{path}/ca.crt", pem(old))
        if is_refused:
            said = site.refuse()
            assert "The authority ClickStack CA clickstack ends on" in said and "Make another one" in said
            continue
        services = [SERVICES[0], {"name": "spare", "names": ["spare.example.com"], "user_id": "1:1"}, SERVICES[1]]
        assert "[WARNING]: The authority ClickStack CA clickstack" in site.converge(stack_tls_services=services).output
        assert load(site.tls / "spare/tls.crt").not_valid_after_utc == old.not_valid_after_utc


def test_an_authority_is_replaced_while_everybody_is_trusted_all_the_time(site: Site) -> None:
    """Who has the files of one step and connects to who has those of the next or the last one."""
    said = site.refuse(stack_tls_ca_name="second", stack_tls_services=SERVICES[:1], stack_tls_clients=[])
    assert "name it in stack_tls_ca_also_trusted first" in said
    steps: list[Json] = [
        {},
        {"stack_tls_ca_also_trusted": ["second"]},
        {"stack_tls_ca_name": "second", "stack_tls_ca_also_trusted": ["clickstack"]},
        {"stack_tls_ca_name": "second"},
    ]
    seen = []
    for place, step in enumerate(steps):
        folder = site.folder / f"step-{place}"
        if step:
            site.converge(stack_tls_services=SERVICES[:1], stack_tls_clients=[], **step)
        shutil.copytree(site.tls / "clickhouse", folder)
        seen.append(folder)
    for here, there in itertools.pairwise(seen):
        for authority, leaf in ((here, there), (there, here)):
            assert ": OK" in verify(authority / "ca.crt", leaf / "tls.crt", "sslserver"), (authority, leaf)
    assert "error" in verify(seen[3] / "ca.crt", seen[0] / "tls.crt", "sslserver")
    assert [(folder / "ca.crt").read_text().count("BEGIN") for folder in seen] == [1, 2, 2, 1]


def test_a_host_gets_nothing_signed_but_what_it_should_have(site: Site) -> None:
    request = site.folder / "request.csr"
    asked = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    asked += ["-keyout", "/dev/null", "-subj", "/O=ClickStack/OU=clickhouse/CN=ch-server", "-out", str(request)]
    asked += ["-addext", "subjectAltName=DNS:db", "-addext", "extendedKeyUsage=serverAuth"]
    subprocess.run(asked, check=True, capture_output=True)
    task = {
        "hardened.clickstack.stack_tls_requests": {
            "requests": {"clickhouse": request.read_text(), "stranger": "x"},
            "signer": (site.ca / "clickstack/ca.crt").read_text(),
            "services": SERVICES[:1],
        }
    }
    done = run_playbook([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}], folder=site.folder)
    assert done.code != 0 and "Nothing was signed. Is the host still yours?" in done.output
    assert "it asks for other names: +DNS:ch-server +DNS:clickhouse" in done.output and "-DNS:db" in done.output
    assert "stranger: nobody wants a certificate of that name" in done.output


def test_hosts_of_one_play_share_an_authority(tmp_path: Path) -> None:
    site = Site(tmp_path)
    variables = {
        "stack_tls_directory": f"{site.folder}/{{{{ inventory_hostname }}}}",
        "stack_tls_ca_directory": str(site.ca),
        "stack_tls_ca_passphrase": PASSPHRASE,
        "stack_tls_services": [{"name": "otel"}],
    }
    role = {"role": "hardened.clickstack.stack_tls", "vars": variables}
    plays = [{"hosts": "all:!localhost", "gather_facts": False, "roles": [role]}]
    done = run_playbook(plays, "-i", "one.example.com,two.example.com,", folder=tmp_path)
    assert done.code == 0, done.output
    for host in ("one.example.com", "two.example.com"):
        folder = tmp_path / host / "otel"
        assert (folder / "ca.crt").read_text() == (site.ca / "clickstack/ca.crt").read_text()
        assert host in names_of(load(folder / "tls.crt"))
        assert ": OK" in verify(folder / "ca.crt", folder / "tls.crt", "sslserver")


def test_a_python_without_cryptography_is_named(site: Site) -> None:
    bare = site.folder / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    entry = brought(site, "clickhouse", "", "", "")
    variables: Json = {"stack_tls_services": [entry], "stack_tls_clients": [], "stack_tls_install_packages": False}
    said = site.refuse("-e", f"ansible_python_interpreter={bare}/bin/python", **variables)
    assert "cryptography is missing on this host. Install python3-cryptography" in said


def test_the_examples_of_the_modules_run(site: Site) -> None:
    modules = {name: f"stack_tls_{name}" for name in ("authority", "requests", "certificates")}
    tasks = {name: yaml.safe_load(_examples(module))[0] for name, module in modules.items()}
    options = {name: task[f"hardened.clickstack.{modules[name]}"] for name, task in tasks.items()}
    entry = brought(site, "clickstack", *Issuer("corporate CA").leaf(["clickstack.example.com"]), "")
    options["authority"]["directory"] = str(site.ca)
    options["requests"]["signer"] = options["certificates"]["signer"] = (site.ca / "clickstack/ca.crt").read_text()
    options["certificates"]["directory"] = str(site.tls)
    options["certificates"]["services"][1] |= {kind: entry[kind] for kind in ("certificate_file", "key_file")}
    names = [f"DNS:{name}" for name in ("ch-server", "clickhouse", "localhost")]
    request = {
        "name": "A request as the host makes it",
        "community.crypto.openssl_csr_pipe": {
            "privatekey_path": str(site.tls / "clickhouse/tls.key"),
            "subject_ordered": [{"O": "ClickStack"}, {"OU": "clickhouse"}, {"CN": "ch-server"}],
            "subject_alt_name": [*names, "IP:127.0.0.1", "IP:::1"],
            "extended_key_usage": ["serverAuth"],
        },
        "register": "request",
    }
    options["requests"]["host_names"] = ["{{ inventory_hostname }}"]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"vault_ca_passphrase": PASSPHRASE},
        "tasks": [request, *tasks.values()],
    }
    before = picture(site.tls)
    done = run_playbook([play], folder=site.folder)
    assert done.code == 0 and picture(site.tls) == before, done.output


def _examples(module: str) -> str:
    """The examples in the head of a module."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    texts = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    return str(ast.literal_eval(texts["EXAMPLES"]))


# -- what is brought -------------------------------------------------------------------------------------------------


def brought(site: Site, name: str, certificate: str, key: str, authority: str, **more: Any) -> Json:
    """Files of a user, and the entry that names them."""
    entry: Json = {"name": name, "source": "provided", "names": [f"{name}.example.com"], "user_id": "1000:1000", **more}
    for kind, text in (("certificate", certificate), ("key", key), ("authority", authority)):
        file = site.folder / f"{name}.{kind}"
        file.write_text(text)
        file.chmod(0o400)
        entry[f"{kind}_file"] = str(file)
    return entry


def test_certificates_with_a_fault_are_refused_all_at_once_and_the_old_one_is_kept(site: Site) -> None:
    ours, foreign = Issuer("corporate CA"), Issuer("foreign CA")
    root = pem(ours.certificate)

    def good(name: str, **how: Any) -> tuple[str, str]:
        return ours.leaf([f"{name}.example.com"], **how)

    def entry(name: str, **how: Any) -> Json:
        return brought(site, name, *good(name, **how), root)

    faults: list[tuple[Json, str]] = [
        (
            brought(site, "clickhouse", *good("clickhouse"), pem(foreign.certificate)),
            "the authority that came with it did not sign it: clickhouse.example.com was signed by somebody else than"
            " foreign CA",
        ),
        (brought(site, "mismatch", good("mismatch")[0], good("mismatch")[1], root), "the key does not belong to"),
        (entry("ended", begin=-20, days=-1), "ended.example.com ended on"),
        (entry("future", begin=2), "future.example.com begins on"),
        (brought(site, "name", *good("other"), root), "it is not for name.example.com (it has the names other.ex"),
        (brought(site, "mongodb", *good("mongodb"), root), "its extended key usage lacks clientAuth"),
        (entry("usage", usages=[ExtendedKeyUsageOID.CLIENT_AUTH]), "its extended key usage lacks serverAuth"),
        (
            brought(site, "locked", good("locked")[0], pem(ours.key, "secret"), root),
            "locked.key: it is encrypted, and whoever reads it knows no passphrase",
        ),
        (brought(site, "garbage", "garbage", "garbage", root), "garbage.certificate: there is no certificate in PEM"),
        (brought(site, "half", good("half")[0][:300], "", root), "half.key: the file is empty"),
        ({**entry("gone"), "key_file": f"{site.folder}/nowhere"}, "nowhere: there is no such file on the host"),
        (entry("expiredca"), "the authority old CA ended on"),
    ]
    old = Issuer("old CA", days=-1)
    brought(site, "expiredca", *old.leaf(["expiredca.example.com"]), pem(old.certificate))
    said = site.refuse(stack_tls_services=[entry for entry, _fault in faults], stack_tls_clients=[])
    for wrong, fault in faults:
        assert fault in said, (wrong["name"], fault, said)


def test_a_certificate_that_is_brought_is_installed_with_its_chain_and_trusted_by_the_others(site: Site) -> None:
    root, middle = Issuer("corporate CA"), None
    middle = Issuer("issuing CA", above=root)
    certificate, key = middle.leaf(["ch.example.com"], days=10)
    chain = "Some words before it.\n" + certificate + pem(middle.certificate)
    provided: Json = {"name": "clickhouse", "source": "provided", "names": ["ch.example.com"]}
    provided |= {"certificate": chain, "key": key, "authority": pem(root.certificate)}
    before = picture(site.tls)
    done = site.converge("-vvv", "--diff", stack_tls_services=[provided, SERVICES[1]])
    assert key.splitlines()[1] not in done.output and "PRIVATE KEY" not in done.output
    assert "bring another one before that" in " ".join(done.output.split())
    bundles = {"mongodb/ca.crt", "clients/backup/ca.crt"}  # they may connect to ClickHouse
    own = {f"clickhouse/{name}" for name in ("tls.crt", "tls.key", "ca.crt")}
    assert changed(before, picture(site.tls)) == own | bundles
    assert (site.tls / "clickhouse/tls.crt").read_text() == certificate + pem(middle.certificate)
    assert (site.tls / "clickhouse/tls.key").read_text() == key
    trusted = (site.tls / "mongodb/ca.crt").read_text()
    assert pem(root.certificate) in trusted and trusted.count("BEGIN") == 2
    assert site.converge("--check", stack_tls_services=[provided, SERVICES[1]]).recap["changed"] == 0


# -- ACME ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """An ACME server, and a web server that shows a directory on what is port 80 to it."""
    try:
        running = Pebble(tmp_path_factory.mktemp("pebble"))
    except Unavailable as reason:
        pytest.skip(f"without pebble: {reason}")
    yield running
    running.close()


def test_acme_gives_certificates_for_public_names_and_the_old_one_stays_where_it_does_not(
    pebble: Pebble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what Ansible's modules trust on this machine
    monkeypatch.setenv("SSL_CERT_FILE", str(pebble.authority))
    site, log = Site(tmp_path), tmp_path / "records"
    hook = tmp_path / "hook"
    hook.write_text(f"""#!/bin/sh -e
echo "$1 $2" >>{log}
case $1 in
    present) curl -sf -d "{{\\"host\\": \\"$2.\\", \\"value\\": \\"$3\\"}}" {pebble.dns}/set-txt ;;
    absent) curl -sf -d "{{\\"host\\": \\"$2.\\"}}" {pebble.dns}/clear-txt ;;
esac
""")
    hook.chmod(0o755)
    common: Json = {
        "stack_tls_acme_directory": pebble.url,
        "stack_tls_acme_terms_agreed": True,
        "stack_tls_acme_webroot": str(pebble.webroot),
        "stack_tls_acme_hook": [str(hook)],
        "stack_tls_ca_passphrase": "",
        "stack_tls_clients": [],
    }

    def proxy(*names: str, **more: Any) -> Json:
        return {**common, "stack_tls_services": [{"name": "proxy", "source": "acme", "names": list(names)}], **more}

    site.converge(**proxy("clickstack.example.com"))
    folder = site.tls / "proxy"
    chain = x509.load_pem_x509_certificates((folder / "tls.crt").read_bytes())
    assert names_of(chain[0]) == {"clickstack.example.com"} and "Pebble" in chain[0].issuer.rfc4514_string()
    assert len(chain) == 2 and chain[1].subject == chain[0].issuer
    assert {file.name for file in folder.iterdir()} == {"tls.crt", "tls.key"} and not site.ca.exists()
    assert not list((pebble.webroot / ".well-known/acme-challenge").iterdir())
    assert stat.S_IMODE((site.tls / "acme/account.key").stat().st_mode) == 0o400
    assert site.converge(**proxy("clickstack.example.com")).recap["changed"] == 0

    # nothing is shown where the authority looks: the old one stays
    before = picture(folder)
    failed = site.play(
        **proxy("clickstack.example.com", "www.example.com", stack_tls_acme_webroot=str(tmp_path / "elsewhere"))
    )
    assert failed.code != 0 and picture(folder) == before
    assert not list((tmp_path / "elsewhere/.well-known/acme-challenge").iterdir())

    site.converge(**proxy("clickstack.example.com", "*.clickstack.example.com", stack_tls_acme_challenge="dns-01"))
    assert names_of(load(folder / "tls.crt")) == {"clickstack.example.com", "*.clickstack.example.com"}
    assert changed(before, picture(folder)) == {"tls.crt"}
    record = "_acme-challenge.clickstack.example.com"
    assert sorted(set(log.read_text().splitlines())) == [f"absent {record}", f"present {record}"]


# -- real servers ----------------------------------------------------------------------------------------------------


def test_mongodb_and_its_client_know_each_other(made: Site, tmp_path: Path) -> None:
    """By SecantusDB, which speaks MongoDB's protocol over TLS. It has no rotateCertificates."""
    pymongo = pytest.importorskip("pymongo")
    from pymongo.errors import PyMongoError

    port, program = free_port(), Path(sys.executable).with_name("secantusd-py")
    both = made.tls / "mongodb/mongodb.pem"
    started = [program, "--host", "127.0.0.1", "--port", str(port), "--storage-path", tmp_path / "db", "--standalone"]
    started += ["--tls-cert-file", both, "--tls-key-file", both, "--tls-ca-file", made.tls / "mongodb/ca.crt"]
    server = subprocess.Popen(
        [*started, "--tls-require-client-cert"], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )

    def ping(**options: Any) -> bool:
        uri = f"mongodb://localhost:{port}/?tls=true&tlsCAFile={made.tls}/clients/backup/ca.crt"
        try:
            with pymongo.MongoClient(uri, serverSelectionTimeoutMS=1500, **options) as client:
                return bool(client.admin.command("ping")["ok"])
        except PyMongoError:
            return False

    try:
        assert eventually(lambda: ping(tlsCertificateKeyFile=str(made.tls / "clients/backup/backup.pem")))
        assert not ping()
    finally:
        server.terminate()
        server.wait(10)
