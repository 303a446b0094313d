"""What there is to solve, with no role applied: Docker publishes ports past ufw."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.conftest import each_engine
from tests.sandbox.lab import Host, Lab

pytestmark = pytest.mark.parametrize("engine", each_engine("20.10", "26.1"))

IPV6_NAT = {"ipv6": True, "fixed-cidr-v6": "fd00:d0c:1::/64", "ip6tables": True, "experimental": True}
"""Without it, published IPv6 ports are served by docker-proxy, an ordinary program to which ufw's rules apply."""

HTTPD = ("httpd", "-f", "-p", "8123")


@pytest.fixture(scope="module")
def hosts() -> dict[str, Host]:
    """The host of each engine, once there is one."""
    return {}


@pytest.fixture
def host(hosts: dict[str, Host], new_host: Callable[..., Host], busybox: Path, engine: str) -> Host:
    """A host whose ufw denies all that comes in, with a container on port 8123 and one on 127.0.0.1:18123."""
    if engine not in hosts:
        host = new_host(f"problem-{engine}", engine)
        host.write("/etc/docker/daemon.json", json.dumps(IPV6_NAT))
        host.sh("systemctl restart docker; ufw default deny incoming; ufw default deny routed; ufw --force enable")
        host.load(busybox)
        for name, published in ("open", "8123:8123"), ("local", "127.0.0.1:18123:8123"):
            host.docker("run", "--detach", "--name", name, f"--publish={published}", "lab/busybox:1", *HTTPD)
        hosts[engine] = host
    return hosts[engine]


def test_ufw_denies_what_the_host_itself_listens_on(host: Host, lab: Lab) -> None:
    """The control: sshd listens, and ufw does what it says."""
    assert lab.untrusted.attempt(host.wan4, 22) == "silent"
    assert lab.untrusted.attempt(host.wan6, 22) == "silent"
    assert host.run("nc", "-z", "127.0.0.1", "22", check=False).returncode == 0


def test_a_published_port_is_open_to_the_untrusted_neighbour(host: Host, lab: Lab) -> None:
    """Nobody has allowed 8123 in, and it is the only open port."""
    assert "Default: deny (incoming)" in host.sh("ufw status verbose")
    assert lab.untrusted.scan(host.wan4) == {8123}


def test_with_ipv6_nat_it_is_open_over_ipv6_as_well(host: Host, lab: Lab) -> None:
    """Docker's rules for IPv6 come before ufw's just as those for IPv4 do."""
    assert lab.untrusted.attempt(host.wan6, 8123) == "open"


def test_a_port_bound_to_loopback_is_reached_by_a_neighbour_that_routes_to_it(
    host: Host, lab: Lab, engine: str
) -> None:
    """Engine 28 drops such packets, and those to container addresses; before, binding to loopback kept nobody out."""
    attacker = lab.attacker(host)
    seen_by_older = "open" if engine in ("20.10", "26.1") else "silent"
    inspected = json.loads(host.docker("inspect", "local"))[0]
    container = inspected["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert attacker.attempt(host.wan4, 18123) == "silent"
    assert attacker.attempt("127.0.0.1", 18123) == seen_by_older
    assert attacker.attempt(container, 8123) == seen_by_older
