"""Every Molecule scenario, on the part of the sandbox that its platform names: `clickhouse`, `hyperdx`, or `docker` of
the lab.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.sandbox import start
from tests.sandbox.hyperdx_app import HyperDX
from tests.sandbox.lab import Lab, Unavailable, busybox, images, wheels
from tests.sandbox.lab.stack import images as stack
from tests.sandbox.mongodb import MongoDB

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "extensions" / "molecule"
NAMES = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))
PLATFORMS = {name: yaml.safe_load((SCENARIOS / name / "molecule.yml").read_text())["platforms"][0] for name in NAMES}
RUNS = [(name, engine) for name in NAMES for engine in PLATFORMS[name].get("engines", [""])]
"""Each scenario, and where its hosts are Docker hosts, each of their engines: `trixie` is Debian 13 with its own.

All roles run there in full_stack, and on Debian 12 alone.
"""


def test_every_role_has_a_scenario() -> None:
    """Of its own name."""
    assert {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()} <= set(NAMES)


@pytest.mark.parametrize(("name", "engine"), RUNS)
def test_scenario(name: str, engine: str, tmp_path: Path) -> None:
    """`molecule test` passes, on hosts that are made for it."""
    with PARTS[PLATFORMS[name]["name"]](name, engine, tmp_path) as (inventory, command):
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "MOLECULE_INVENTORY": inventory,
            "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path / "molecule"),
            "ANSIBLE_PIPELINING": "true",
            "NO_COLOR": "1",
        }
        program = Path(sys.executable).with_name("molecule")
        with (tmp_path / LOG).open("w") as output:
            done = subprocess.run(
                [*command, program, "test", "--scenario-name", name],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=1500,
                check=False,
            )
    assert done.returncode == 0, (tmp_path / LOG).read_text()


LOG = "molecule.log"


@contextmanager
def clickhouse(scenario: str, _engine: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A sandbox ClickHouse on loopback, and an inventory that says where it is."""
    with start(tls=True) as server:
        assert server.https_port and server.ca
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "stack_access_login_host": "localhost",
            "stack_access_login_port": server.https_port,
            "stack_access_login_ca_cert": str(server.ca),
            "stack_access_users_d": str(server.users_d),
        }
        inventory = folder / "inventory.json"
        inventory.write_text(json.dumps({scenario: {"hosts": {"clickhouse": variables}}}))
        yield str(inventory), []


@contextmanager
def hyperdx(scenario: str, _engine: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A stand-in for HyperDX that nobody has registered at, its MongoDB and a ClickHouse, all on loopback."""
    if os.geteuid() != 0:
        pytest.skip("a secret's file belongs to a user of its own: it needs root")
    with start(tls=True) as clickhouse, MongoDB(folder / "mongodb", authorization=False) as mongodb:
        environment = {
            "MONGO_URI": f"mongodb://127.0.0.1:{mongodb.port}/hyperdx",
            "FRONTEND_URL": "https://clickstack.example.com",
            "EXPRESS_SESSION_SECRET": "a secret only for tests",
            "NODE_EXTRA_CA_CERTS": str(clickhouse.ca),
        }
        with HyperDX(environment) as app:
            variables = {
                "ansible_connection": "local",
                "ansible_python_interpreter": sys.executable,
                "clickhouse_login": {"login_port": clickhouse.https_port, "login_ca_cert": str(clickhouse.ca)},
                "hyperdx_secrets": str(folder / "secrets"),
                "hyperdx_ui": app.ui,
                "stack_bootstrap_url": app.api,
                "stack_bootstrap_opamp_url": app.opamp,
                "stack_bootstrap_connection_host": f"https://localhost:{clickhouse.https_port}",
            }
            inventory = folder / "inventory.json"
            inventory.write_text(json.dumps({scenario: {"hosts": {"hyperdx": variables}}}))
            yield str(inventory), []


@contextmanager
def docker(scenario: str, engine: str, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """A Docker host in a lab. Molecule runs on the trusted neighbour; the host `untrusted` is there to probe from."""
    if os.geteuid() != 0:
        pytest.skip("the lab makes network namespaces and mounts: it needs root")
    with Lab() as lab:
        try:
            host = lab.host("docker", engine)
        except Unavailable as reason:
            pytest.skip(f"without Docker Engine {engine}: {reason}")
        for archive in IMAGES[PLATFORMS[scenario]["images"]]():
            host.load(archive)
        if PLATFORMS[scenario]["images"] == "full_stack":
            wheels.give(host)
        inventory = json.loads((lab.folder / "inventory.json").read_text())
        inventory[scenario] = {
            "hosts": {host.name: {"wan_ipv4": host.wan4, "wan_ipv6": host.wan6, "lan_ipv4": host.lan4}},
        }
        said = SCENARIOS / scenario / "vars" / "inventory.yml"
        if said.exists():
            inventory[scenario]["vars"] = yaml.safe_load(said.read_text())
        # where hardened.clickstack.site and its like look for the stack
        inventory["clickstack"] = {"hosts": {host.name: {}}}
        inventory["neighbours"] = {
            "hosts": {"untrusted": lab.untrusted.variables, "trusted": lab.trusted.variables},
        }
        (lab.folder / "molecule.json").write_text(json.dumps(inventory))
        # `command` ends with what enters the namespace: what follows is run in it, in the checkout.
        yield "/run/lab/molecule.json", lab.trusted.command([], folder=str(ROOT))
        said = (folder / LOG).read_text()
        secrets = host.sh("cat /opt/clickstack/secrets/* 2>/dev/null", check=False).split()
        assert not [secret for secret in secrets if len(secret) >= 16 and secret in said], "a secret is in the output"


PARTS = {"clickhouse": clickhouse, "hyperdx": hyperdx, "docker": docker}
IMAGES = {"busybox": lambda: [busybox.archive()], "clickstack": images.archives, "full_stack": stack.archives}
