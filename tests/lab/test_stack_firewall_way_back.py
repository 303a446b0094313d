"""The role stack_firewall: nobody is locked out, nothing is promised that does not happen, and nothing stays of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.firewall import WAY_BACK, Guarded
from tests.sandbox.lab import Host, Lab

KEPT = "/var/lib/stack-firewall/kept"
ADMINISTRATORS = """
    nft add table ip admin
    nft 'add chain ip admin c { type filter hook input priority 5; }'
    nft add rule ip admin c tcp dport 5 drop
    iptables -I INPUT -p tcp --dport 6 -j DROP
    ufw deny 7/tcp comment 'of the administrator'
"""
"""Rules of others: in nftables, in iptables and in ufw."""


@pytest.fixture(scope="module")
def guarded(lab: Lab, new_host: Callable[..., Host], busybox: Path) -> Iterator[Guarded]:
    """A host with published ports and rules of its administrator; each test leaves it without the role."""
    guarded = Guarded(lab, new_host("way-back", WAY_BACK), "iptables")
    guarded.prepare(busybox)
    guarded.wait_for_containers()
    guarded.host.sh(ADMINISTRATORS)
    yield guarded
    guarded.host.stop()


def test_it_does_what_it_predicts_once_and_leaves_nothing(guarded: Guarded) -> None:
    """Check mode changes nothing and foresees the run; a second run changes nothing; absent takes away what came."""
    host = guarded.host
    meant, rules, kept = guarded.meaning(), guarded.rules(), guarded.files()
    predicted = guarded.play("--check", "--diff")
    assert (guarded.rules(), guarded.files()) == (rules, kept), "check mode changed something"
    assert "ct original proto-dst 4317 accept" in predicted.text

    done = guarded.play()
    # what check mode cannot foresee is the unit that is enabled once it is there, and ufw's rules are one task
    assert 0 < predicted.changed <= done.changed
    there = guarded.rules()
    assert all(part in there for part in ("tcp dport 5 drop", "tcp dport 6", "table inet stack_firewall"))
    assert "of the administrator" in host.sh("ufw status")
    applied = guarded.rules(), guarded.files()
    again = guarded.play()
    assert again.changed == 0, again.text
    assert (guarded.rules(), guarded.files()) == applied

    host.sh(
        "nft delete rule inet stack_firewall prerouting handle"
        " $(nft -a list chain inet stack_firewall prerouting | sed -n 's/.*drop # handle //p')"
    )
    assert guarded.play("--check").changed == 1, "a rule that is gone was not noticed, or something else was"
    assert guarded.play().changed == 1
    assert (guarded.rules(), guarded.files()) == applied

    assert guarded.play("--check", state="absent").changed
    assert (guarded.rules(), guarded.files()) == applied, "check mode changed something"
    guarded.play(state="absent")
    guarded.wait_for_containers()
    assert guarded.meaning() == meant
    assert guarded.files() == kept
    assert guarded.play(state="absent").changed == 0


def test_rules_that_would_cut_off_the_run_are_refused(guarded: Guarded) -> None:
    """Together with all else that is wrong, and before anything changes."""
    rules = guarded.rules()
    run = guarded.play(
        check=False,
        published=[{"port": 4317, "addresses": ["203.0.113.1"]}],
        host_ports=[{"port": 22, "sources": ["203.0.113.0/24"]}, {"port": 4317}, {"port": 25, "interface": "eth9"}],
    )
    assert run.done.returncode
    for said in (
        "the host has no address 203.0.113.1",
        "the host has no interface eth9",
        "a port is either a container's or the host's own",
        "would cut off this connection, from 192.168.50.2 to port 22 of",
        "Nothing was changed",
    ):
        assert said in run.text, run.text
    assert guarded.rules() == rules


@pytest.mark.parametrize("program", ["/usr/sbin/nft", "/usr/sbin/dockerd", "/usr/sbin/ufw"])
def test_a_host_that_lacks_something_is_refused(guarded: Guarded, program: str) -> None:
    """With the name of what it lacks."""
    hidden = [program, "/usr/bin/docker"] if "docker" in program else [program]
    guarded.host.sh("".join(f"mv {path} {path}.hidden;" for path in hidden))
    try:
        run = guarded.play(check=False)
    finally:
        guarded.host.sh("".join(f"mv {path}.hidden {path};" for path in hidden))
    name = {"nft": "nft", "dockerd": "Docker", "ufw": "ufw"}[Path(program).name]
    assert f"There is no {name} on this host" in run.text
    assert "Nothing was changed" in run.text


def test_what_ufw_lets_in_and_nobody_declared_is_told(guarded: Guarded) -> None:
    """The guard would shut it: an administrator shall not find out from a monitoring system."""
    guarded.host.sh("ufw allow from 192.168.50.0/24 to any port 9100 proto tcp")
    try:
        run = guarded.play(check=False)
        assert "allow in from 192.168.50.0/24 to any port 9100 proto tcp" in run.text
        assert "Nothing was changed" in run.text
    finally:
        guarded.host.sh("ufw delete allow from 192.168.50.0/24 to any port 9100 proto tcp")


def test_a_run_that_is_killed_is_taken_back_and_the_next_does_it(guarded: Guarded, lab: Lab) -> None:
    """Killed between the change and the fresh connection."""
    host = guarded.host
    rules = guarded.rules()
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(guarded.play, check=False, rollback_timeout=8)
        until(lambda: "table inet stack_firewall" in guarded.rules())
        for pid in children():
            if f"{host.name}.yml" in Path(f"/proc/{pid}/cmdline").read_text():
                kill_tree(pid)
        run.result()
    assert host.run("test", "-d", KEPT, check=False).returncode == 0
    until(lambda: host.run("test", "-d", KEPT, check=False).returncode == 1)
    assert guarded.rules() == rules
    assert guarded.play().changed
    assert "table inet stack_firewall" in guarded.rules()


def test_a_reboot_before_the_change_was_confirmed_takes_it_back(guarded: Guarded) -> None:
    """The timer does not live through a reboot, so the guard's unit does it, before ufw and Docker start."""
    host = guarded.host
    guarded.play()
    good = host.read("/etc/stack-firewall/guard.nft")
    host.sh("""
        stack-firewall arm 600
        sed -i 's/dport 22 /dport 23 /' /etc/stack-firewall/guard.nft
        ufw allow 9100/tcp
    """)
    host.reboot()
    guarded.wait_for_containers()
    assert host.read("/etc/stack-firewall/guard.nft") == good
    assert "9100" not in host.sh("ufw status")
    assert guarded.sweep() == guarded.declared
    assert guarded.play().changed == 0


def test_without_its_guard_docker_does_not_start(guarded: Guarded, lab: Lab) -> None:
    """Shut is better than open. And a flush by hand is mended by the restart that Docker needs after it."""
    host = guarded.host
    guarded.play()
    host.sh("nft flush ruleset; systemctl restart docker; ufw reload")
    guarded.wait_for_containers()
    assert guarded.sweep() == guarded.declared
    host.sh("mv /etc/stack-firewall/guard.nft /root; systemctl restart docker || true")
    assert host.run("systemctl", "is-active", "docker", check=False).stdout.strip() != "active"
    host.sh("mv /root/guard.nft /etc/stack-firewall; systemctl reset-failed docker; systemctl restart docker")
    guarded.wait_for_containers()


def test_without_the_guard_at_input_ufw_alone_decides(guarded: Guarded, lab: Lab) -> None:
    """Then `ufw disable` opens the host's own ports, as the administrator wished, and docker-proxy's with them."""
    host = guarded.host
    guarded.play(guard_input_enabled=False)
    host.sh("ufw disable")
    found = guarded.sweep(quick=True)[host.wan4]
    assert {22, 9100, 8200} <= found and not {8123, 8124} & found
    assert lab.untrusted.attempt(host.wan6, 8124) == "open"
    host.sh("ufw --force enable")
    assert guarded.sweep(quick=True) == guarded.declared
    guarded.play()


def test_trusted_networks_reach_every_port(guarded: Guarded) -> None:
    """Of containers and of the host, and nobody else does."""
    host = guarded.host
    guarded.play(trusted_networks=["192.168.50.0/24", "fd50::/64"])
    found = guarded.sweep()
    everything = {22, 4317, 4318, 4319, 4320, 8123, 8124, 8200, 9100}
    assert found[host.lan4] >= everything and found[host.lan6] >= everything - {8200}
    assert found[host.wan4] == guarded.declared[host.wan4]
    assert found[host.wan6] == guarded.declared[host.wan6]
    assert guarded.play().changed
    assert guarded.sweep(quick=True) == guarded.declared


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def children() -> list[int]:
    """Return the processes that this one has started."""
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started, before it can start more."""
    os.kill(pid, signal.SIGSTOP)
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        kill_tree(int(child))
    os.kill(pid, signal.SIGKILL)
