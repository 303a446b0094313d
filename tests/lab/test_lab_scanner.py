"""What the neighbours see of a host's ports is what is open: by the scanner, and by attempts that go on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.sandbox.lab import Host, Lab, Neighbour

PORTS = {1, 22, 65535, *random.Random(4).sample(range(2, 65535), 497)}
"""What listens: the first, the last, sshd and many between."""
LET_THROUGH = {port for port in PORTS if port % 2}

LISTENERS = """
import signal, socket, sys
held = [socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) for port in sys.argv[1:]]
print("all listen", flush=True)
signal.pause()
"""

MANY_AT_ONCE = 40.0
"""Seconds that scans may take together, also where a firewall is silent and the machine has other things to do."""


@pytest.fixture(scope="module")
def host(new_host: Callable[..., Host]) -> Host:
    """A host without a firewall on which 500 programs listen, for both families."""
    host = new_host("scanned")
    host.write("/srv/listeners.py", LISTENERS)
    ports = " ".join(map(str, sorted(PORTS - {22})))
    host.sh(f"systemd-run -q --unit=listeners -p LimitNOFILE=4096 python3 /srv/listeners.py {ports}")
    deadline = time.monotonic() + 30
    while "all listen" not in host.journal("--unit=listeners"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return host


def scans(*targets: tuple[Neighbour, str]) -> list[set[int]]:
    """Scan from each neighbour the address beside it, all at the same time, and say how long it took."""
    with ThreadPoolExecutor() as pool:
        started = time.monotonic()
        found = list(pool.map(lambda target: target[0].scan(target[1]), targets))
    took = time.monotonic() - started
    print(f"{len(targets)} scans at once of 65535 ports: {took:.1f} s")
    assert took < MANY_AT_ONCE
    return found


def test_a_scan_finds_exactly_what_listens(host: Host, lab: Lab) -> None:
    """All 65,535 ports, both families."""
    assert scans((lab.untrusted, host.wan4), (lab.untrusted, host.wan6)) == [PORTS, PORTS]


def test_a_scan_finds_exactly_what_a_firewall_lets_through(host: Host, lab: Lab) -> None:
    """One that is silent on the untrusted side, and one that refuses on the trusted side."""
    host.run(
        "nft",
        "-f-",
        input=f"""
        table inet half {{
            chain input {{
                type filter hook input priority 0;
                tcp dport {{ {", ".join(map(str, LET_THROUGH))} }} accept
                iifname eth0 meta l4proto tcp drop
                iifname eth1 meta l4proto tcp reject
            }}
        }}
        """,
    )
    sides = [(lab.untrusted, host.wan4), (lab.untrusted, host.wan6), (lab.trusted, host.lan4), (lab.trusted, host.lan6)]
    closed = next(iter(PORTS - LET_THROUGH - {22}))
    # The fourth may get no answer: the kernel is sparing with refusals over IPv6.
    said = [neighbour.attempt(address, closed) for neighbour, address in sides[:3]]
    found = scans(*sides)
    host.sh("nft delete table inet half")
    assert found == [LET_THROUGH] * 4
    assert said == ["silent", "silent", "refused"]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_attempts_that_go_on_see_a_short_opening(host: Host, lab: Lab, family: str) -> None:
    """A tenth of a second in which the firewall lets through is seen, and none of the seconds around it."""
    address = host.wan4 if family == "ipv4" else host.wan6
    host.sh("nft 'add table inet shut; add chain inet shut input { type filter hook input priority 0; }'")
    shut, opened = "nft add rule inet shut input tcp dport 1 drop", "nft flush chain inet shut input"
    host.sh(shut)
    before = lab.untrusted.watch(address, 1)
    time.sleep(0.5)
    closed = before.stop()
    watch = lab.untrusted.watch(address, 1)
    time.sleep(0.5)
    started = time.monotonic()
    host.sh(f"{opened}; sleep 0.1; {shut}")
    longest = time.monotonic() - started
    time.sleep(0.5)
    seen = watch.stop()
    host.sh("nft delete table inet shut")
    assert closed.attempts > 10
    assert closed.open == []
    assert seen.open
    assert seen.open[-1] - seen.open[0] < longest
    # Ten times in 0.1 s, where the machine has the time.
    assert len(seen.open) >= 0.1 / max(0.01, seen.longest_pause) - 1
