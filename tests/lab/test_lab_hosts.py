"""A host of the lab is a machine of its own: it boots, reboots, crashes and talks to whom it is wired to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.conftest import LAB_ENGINES, each_engine
from tests.sandbox.lab import Host, Lab, LabError

COMPOSE = """
services:
  web:
    image: lab/busybox:1
    command: [httpd, -f, -p, "8123"]
    init: true
    read_only: true
    cap_drop: [ALL]
    pids_limit: 50
    mem_limit: 50m
    ports: ["8124:8123"]
    healthcheck: {test: "nc 127.0.0.1 8123 </dev/null", interval: 1s}
"""

LEAVE_TRACES = """
echo kept >/srv/kept
for folder in /run /tmp /dev/shm; do echo gone >$folder/gone; done
nft add table inet gone
ip link add gone type bridge
sysctl --quiet net.ipv4.ip_default_ttl=77
systemd-run --quiet --unit=gone sleep 1000
"""
"""Everything that a boot may change; only the first line is on the disk."""

TRACES = """
ls /srv/kept /run/gone /tmp/gone /dev/shm/gone 2>/dev/null || :
nft list tables | grep gone || :
ip -o link | grep -o gone || :
sysctl -n net.ipv4.ip_default_ttl | grep 77 || :
systemctl is-active gone || :
"""

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.fixture(scope="module")
def one(new_host: Callable[..., Host]) -> Host:
    """A host."""
    return new_host("one")


@pytest.fixture(scope="module")
def two(new_host: Callable[..., Host]) -> Host:
    """Another host beside it."""
    return new_host("two")


def boots(host: Host) -> set[str]:
    """Return what says which boot this is: as programs see it, and as the journal counts."""
    return {host.read(BOOT_ID).strip().replace("-", ""), host.sh("journalctl --list-boots | tail -1").split()[1]}


@pytest.mark.parametrize("end", ["reboot", "crash"])
def test_only_the_disk_lives_through_a_boot(one: Host, end: str) -> None:
    """Files in memory, rules of nftables, interfaces, settings and processes are gone; a file on the disk is not."""
    one.sh(LEAVE_TRACES)
    assert one.sh(TRACES).split() == [
        *("/dev/shm/gone", "/run/gone", "/srv/kept", "/tmp/gone"),
        *("table", "inet", "gone", "gone", "77", "active"),
    ]
    before, init = boots(one), one.init
    (one.reboot if end == "reboot" else one.crash)()
    assert one.sh(TRACES).split() == ["/srv/kept", "inactive"]
    assert one.init != init
    assert len(before) == len(boots(one)) == 1
    assert before != boots(one) != {Path(BOOT_ID).read_text().strip().replace("-", "")}


def test_a_reboot_stops_services_in_order_and_a_crash_does_not(one: Host) -> None:
    """The one is an administrator's, the other a plug that was pulled."""
    one.write(
        "/etc/systemd/system/last-words.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\nExecStop=cp /dev/null /srv/last-words\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    one.sh("systemctl enable --now last-words")
    one.crash()
    assert one.run("test", "-e", "/srv/last-words", check=False).returncode == 1
    one.reboot()
    assert one.run("test", "-e", "/srv/last-words", check=False).returncode == 0


def test_a_host_that_comes_up_without_a_service_is_an_error(new_host: Callable[..., Host]) -> None:
    """It says which one, and what the journal has of it."""
    host = new_host("broken")
    host.sh("echo nonsense >/etc/nftables.conf; systemctl enable nftables")
    with pytest.raises(
        LabError, match=r"(?s)broken came up without:\nnftables.service .*/etc/nftables.conf:1:9-9: Error"
    ):
        host.reboot()
    host.stop()
    assert not host.is_on
    with pytest.raises(LabError, match="broken is switched off"):
        host.sh("true")


def test_hosts_and_neighbours_reach_whom_they_are_wired_to(one: Host, two: Host, lab: Lab) -> None:
    """The untrusted switch joins all hosts and one neighbour, the trusted one all hosts and the other."""
    for address in (
        two.wan4,
        two.wan6,
        two.lan4,
        two.lan6,
        "198.51.100.2",
        "2001:db8:100::2",
        "192.168.50.2",
        "fd50::2",
    ):
        one.run("ping", "-c1", "-W2", address)
    for host in (one, two):
        assert [lab.untrusted.connects(to, 22) for to in (host.wan4, host.wan6)] == [True, True]
        assert [lab.trusted.connects(to, 22) for to in (host.lan4, host.lan6)] == [True, True]
        # No route: the attempt fails at once.
        assert [lab.untrusted.attempt(to, 22) for to in (host.lan4, host.lan6)] == ["refused", "refused"]
        assert [lab.trusted.attempt(to, 22) for to in (host.wan4, host.wan6)] == ["refused", "refused"]


def test_hosts_share_nothing(one: Host, two: Host) -> None:
    """Not their disks, nor their rules, nor the names and control groups of their services."""
    one.sh("echo one >/srv/mine; ufw --force enable; docker network create mine; systemd-run -q --unit=mine sleep 1000")
    assert two.sh("ls /srv; ufw status; docker network ls -q --filter name=mine; systemctl is-active mine || :") == (
        "Status: inactive\ninactive\n"
    )
    group = one.sh("cat /proc/$(systemctl show --value -p MainPID mine)/cgroup")
    assert "0::/system.slice/mine.service" in group.splitlines()
    one.sh("ufw disable")


def test_ansible_manages_the_hosts_from_the_trusted_neighbour(one: Host, two: Host, lab: Lab, tmp_path: Path) -> None:
    """Over SSH, with facts; the module that reboots a host notices that it did."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "one:two",
                    "tasks": [
                        {
                            "ansible.builtin.copy": {
                                "content": "{{ ansible_facts.hostname }} {{ ansible_env.SSH_CONNECTION }}",
                                "dest": "/srv/seen",
                            }
                        },
                        {"ansible.builtin.reboot": {"reboot_timeout": 60}, "when": "inventory_hostname == 'two'"},
                    ],
                }
            ]
        )
    )
    before = two.read(BOOT_ID)
    lab.ansible(playbook)
    for host in (one, two):
        name, client, _port, server, port = host.read("/srv/seen").split()
        assert (name, client, server, port) == (host.name, "192.168.50.2", host.lan4, "22")
    two.wait_until_up()
    assert two.read(BOOT_ID) != before


@pytest.mark.parametrize("engine", each_engine("20.10"))
def test_each_engine_runs_containers_and_compose_projects(
    new_host: Callable[..., Host], lab: Lab, busybox: Path, engine: str
) -> None:
    """It is the engine that it is called by, and what it publishes and restarts is there after a reboot."""
    host = new_host(f"engine-{engine}", engine)
    assert host.docker("version", "--format", "{{.Server.Version}}").startswith(f"{engine}.")
    assert host.docker("compose", "version", "--short").startswith("2.40.")
    host.load(busybox)
    host.docker(
        "run", "-d", "--init", "--restart=always", "-p", "8123:8123", "lab/busybox:1", "httpd", "-f", "-p", "8123"
    )
    host.write("/srv/web/compose.yml", COMPOSE)
    host.docker("compose", "-f", "/srv/web/compose.yml", "up", "--detach", "--wait")
    assert lab.untrusted.comes_to_reach(host.wan4, 8124)
    host.docker("compose", "-f", "/srv/web/compose.yml", "down")
    host.reboot()
    assert lab.untrusted.comes_to_reach(host.wan4, 8123)
    assert lab.untrusted.comes_to_reach(host.wan6, 8123)


@pytest.mark.skipif("29" not in LAB_ENGINES, reason="LAB_ENGINES leaves 29 out")
def test_engine_29_publishes_with_nftables(new_host: Callable[..., Host], lab: Lab, busybox: Path) -> None:
    """Its rules are in tables of its own. Where ufw drops what is forwarded, they open nothing, for nobody."""
    host = new_host("engine-29-nftables", "29", wait=False)
    host.wait_until_up()
    host.write("/etc/docker/daemon.json", json.dumps({"firewall-backend": "nftables"}))
    host.sh(
        "sysctl -q net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; nft flush ruleset; systemctl restart docker"
    )
    host.load(busybox)
    host.docker("run", "-d", "-p", "8123:8123", "lab/busybox:1", "httpd", "-f", "-p", "8123")
    assert host.sh("nft list tables").splitlines() == ["table ip docker-bridges", "table ip6 docker-bridges"]
    assert lab.untrusted.comes_to_reach(host.wan4, 8123)
    host.sh("ufw --force enable")
    assert lab.untrusted.attempt(host.wan4, 8123) == "silent"
