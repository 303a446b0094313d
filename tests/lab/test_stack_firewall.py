"""The role stack_firewall on real Docker hosts: what is declared is open and nothing else, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.conftest import LAB_ENGINES
from tests.lab.firewall import OUTSIDE, Conversation, Guarded
from tests.sandbox.lab import Host, Lab
from tests.sandbox.lab.lab import Watch

KINDS = [*LAB_ENGINES, *(["29 nftables"] if "29" in LAB_ENGINES else [])]
"""Engines, and the one that can make its rules with nftables once more."""
EXTREMES = [KINDS[0], *KINDS[1:][-1:]]
"""Those whose rules differ most: Docker's in iptables as ever, and in nftables."""
ALL = [kind if kind in EXTREMES else pytest.param(kind, marks=pytest.mark.thorough) for kind in KINDS]


@pytest.fixture(scope="module", params=ALL)
def guarded(
    request: pytest.FixtureRequest, lab: Lab, new_host: Callable[..., Host], busybox: Path
) -> Iterator[Guarded]:
    """A host with all kinds of published ports, before the role has run."""
    engine, _sign, backend = request.param.partition(" ")
    host = new_host(f"firewall-{request.param.replace(' ', '-')}", engine)
    guarded = Guarded(lab, host, backend or "iptables")
    guarded.prepare(busybox)
    guarded.wait_for_containers()
    yield guarded
    host.stop()


EVENTS: dict[str, str] = {
    "dockerd is restarted": "systemctl restart docker",
    "dockerd is killed": "kill -KILL $(systemctl show --value --property=MainPID docker.service); sleep 1",
    "ufw is reloaded": "ufw reload",
    "ufw is disabled": "ufw disable",
    "ufw is enabled": "ufw --force enable",
    "a container is made anew": "docker rm --force undeclared undeclared-proxied",
    "nftables.service is restarted": "systemctl restart nftables",
    "nftables.service is reloaded": "systemctl reload nftables",
    "nftables.service is stopped": "systemctl stop nftables; systemctl restart docker; ufw reload",
    "iptables is flushed": "iptables -F; ip6tables -F",
    "the host is rebooted": "",
    "the plug is pulled": "",
}


@pytest.mark.parametrize("guarded", EXTREMES, indirect=True)
def test_removal_leaves_the_host_as_it_was(guarded: Guarded) -> None:
    """Rules, files, units and what ufw is set to."""
    rules, files = guarded.meaning(), guarded.files()
    guarded.play()
    guarded.play(state="absent")
    guarded.wait_for_containers()
    assert guarded.files() == files
    assert guarded.meaning() == rules


@pytest.mark.parametrize("guarded", EXTREMES, indirect=True)
def test_a_rule_set_that_locks_out_ssh_takes_itself_back(guarded: Guarded, lab: Lab) -> None:
    """An administrator's own rule shuts SSH as soon as ufw is enabled. Nobody can foresee that; the host goes back."""
    host = guarded.host
    host.sh("ufw prepend deny from 192.168.50.2")
    rules, files = guarded.rules(), guarded.files()
    try:
        run = guarded.play(check=False, rollback_timeout=5)
        assert run.done.returncode
        assert "The firewall is again what it was before this run." in run.text
        assert lab.trusted.attempt(host.lan4, 22) == "open"
        assert guarded.rules() == rules
        assert {line for line in guarded.files() if "stack-firewall" not in line} == files
    finally:
        host.sh("ufw delete deny from 192.168.50.2")


def test_what_is_declared_is_open_and_nothing_else_whatever_happens(guarded: Guarded, lab: Lab) -> None:
    """Every event, with a full sweep after it and probes every 10 ms all through."""
    host = guarded.host
    before = guarded.sweep()
    assert {8123, 8124, 8200, 9100} <= before[host.wan4], "the control: without the role these ports are open"

    first = guarded.play()
    assert first.changed
    guarded.wait_for_containers()
    assert guarded.sweep() == guarded.declared

    attacker = lab.attacker(host)
    world = lab.untrusted.popen("python3", "-m", "http.server", "--bind", "::", str(OUTSIDE))
    watches: dict[str, Watch] = {
        "container 8123 over IPv4": lab.untrusted.watch(host.wan4, 8123),
        "container 8123 over IPv6": lab.untrusted.watch(host.wan6, 8123),
        "docker-proxy 8124 over IPv6": lab.untrusted.watch(host.wan6, 8124),
        "the host's own 9100": lab.untrusted.watch(host.wan4, 9100),
        "loopback 18123, routed": attacker.watch("127.0.0.1", 18123),
        "container address, routed": attacker.watch(guarded.address_of("declared"), 8123),
    }
    watched = time.monotonic()
    talk = Conversation(lab, host.wan4, 4317)
    problems: list[str] = []
    for event, script in EVENTS.items():
        started = time.monotonic()
        if event == "the host is rebooted":
            talk.end()
            host.reboot()
        elif event == "the plug is pulled":
            host.crash()
        else:
            # systemd refuses the fourth start of Docker in a minute
            host.sh(f"systemctl reset-failed docker; {script}")
        if event == "a container is made anew":
            guarded.start("undeclared")
            guarded.start("undeclared-proxied")
        if event == "iptables is flushed":
            # ufw's policy DROP stands without its rules: what is declared may be shut too, but nothing else is open.
            problems += [f"{event}: {found}" for found in [guarded.undeclared()] if found]
            continue
        guarded.wait_for_containers()
        found = guarded.sweep(quick=True)
        if found != guarded.declared and (found := guarded.sweep()) != guarded.declared:
            problems.append(f"{event}: open is {found}")
        problems += [f"{event}: {what}" for what in _hindered(guarded)]
        if not event.startswith("the ") and not talk.goes_on():
            problems.append(f"{event}: the established connection is dead")
            talk = Conversation(lab, host.wan4, 4317)
        print(f"{event}: from {started - watched:.1f} to {time.monotonic() - watched:.1f} s")
        if problems:
            break
    assert guarded.play(guard_log=True).changed, "a run that loads other rules"
    again = guarded.play(guard_log=True)
    if again.changed:
        problems.append(f"a second run changed something: {again.text}")
    for version in (4, 6):
        for name in "declared", "undeclared":
            address = guarded.address_of(name, version)
            if attacker.attempt(address, 8123) == "open":
                problems.append(f"{address}, the container {name}, is reached by a neighbour that routes to it")
    results = {what: watch.stop() for what, watch in watches.items()}
    world.terminate()
    world.communicate()
    for what, result in results.items():
        print(f"{what}: {result.attempts} attempts, {len(result.open)} open, longest pause {result.longest_pause} s")
        if result.open:
            problems.append(f"{what} was open {len(result.open)} times, at {result.open[:5]} s")
    assert not problems, "\n".join(problems)
    assert all(result.attempts > 1000 for result in results.values())


def _hindered(guarded: Guarded) -> list[str]:
    """Return what containers can no longer do that is none of the guard's business."""
    neighbour = guarded.lab.untrusted
    reached = {
        "the world over IPv4": guarded.from_container("proxied", neighbour.ipv4, OUTSIDE),
        "the world over IPv6": guarded.from_container("declared", neighbour.ipv6, OUTSIDE),
        "another container": guarded.from_container("proxied", "undeclared-proxied", 8123),
        "a published port of the host": guarded.from_container("proxied", guarded.host.wan4, 4317),
    }
    return [f"a container does not reach {what}" for what, is_reached in reached.items() if not is_reached]
