"""Keeps one lab alive for as long as the process that made it, and not a moment longer.

Usage: keeper.py guard | keep | sweep GROUP | wire NAME NETWORK IPV4 IPV6

``guard`` stands outside: it starts the lab's first process in namespaces of its own, prints that process's pid, waits
until its own standard input is closed (by the end of the test process, however that came) and then ends all.
``keep`` is that first process: process 1 of the lab's pid namespace, so that nothing in the lab outlives it, with a
mount namespace in which /run is the lab's own. Network namespaces, mounts and the hosts' disks hang on it alone.
``sweep`` also stands outside, and removes what the kernel does not: the control groups, once the guard has ended, even
if that was killed. ``wire`` adds a neighbour to a lab that runs; it is started inside it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.sandbox.lab import cgroups

KEEP = [
    # It dies with the guard, and the lab's first process with it.
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private",
    sys.executable, "-B", __file__, "keep",
]  # fmt: skip


def guard() -> None:
    """Start the lab, say its pid, and end it once nobody holds the other end of standard input."""
    cgroups.sweep()
    group = f"{cgroups.PREFIX}{os.getpid()}"
    # A terminal's Ctrl-C goes to the whole process group; who made the lab decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # In a session of its own: what is killed as a group, as a terminal or a runner may do, does not take it along.
    sweeper = subprocess.Popen(
        [sys.executable, "-B", __file__, "sweep", group], stdin=subprocess.PIPE, start_new_session=True
    )
    lab = subprocess.Popen(KEEP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        if not lab.stdout or lab.stdout.readline() != "ready\n":
            sys.exit("the lab's namespaces could not be made: the lines above say why")
        print(child_of(lab.pid), flush=True)
        ended = os.pidfd_open(lab.pid)
        select.select([sys.stdin, ended], [], [])
    finally:
        lab.kill()
        lab.wait()
        sweeper.communicate()


def sweep(group: str) -> None:
    """Wait for the guard's end and remove the lab's control groups: its processes are dying, which takes a moment."""
    sys.stdin.read()
    for _attempt in range(200):
        cgroups.remove(group)
        if not any((hierarchy / group).exists() for hierarchy in cgroups.hierarchies()):
            return
        time.sleep(0.05)


def keep() -> None:
    """Make what all of the lab shares, then collect the processes whose parents have gone."""
    for command in (
        "mount -t proc proc /proc",
        "mount -t tmpfs -o mode=755 run /run",
        "mkdir -p /run/lock /run/netns /run/lab",
        # The fabric: two switches, on which each host and each neighbour has a wire.
        "ip netns add fabric",
    ):
        subprocess.run(command.split(), check=True)
    _ip("fabric", "link set lo up", *(f"link add {net} type bridge" for net in ("wan", "lan")))
    _ip(
        "fabric",
        *(f"link set {net} type bridge stp_state 0 mcast_snooping 0 forward_delay 0" for net in ("wan", "lan")),
    )
    _ip("fabric", *(f"link set {net} up" for net in ("wan", "lan")))
    wire("untrusted", "wan", "198.51.100.2", "2001:db8:100::2")
    wire("trusted", "lan", "192.168.50.2", "fd50::2")
    print("ready", flush=True)
    os.close(1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    while True:
        signal.sigwait({signal.SIGCHLD})
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def wire(name: str, network: str, ipv4: str, ipv6: str) -> None:
    """Make a network namespace with one interface, eth0, on one of the two switches (wan or lan)."""
    mac = f"02:00:00:00:{('wan', 'lan').index(network) + 1:02x}:{int(ipv4.rpartition('.')[2]):02x}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    _ip(
        name,
        "link set lo up",
        f"link add eth0 address {mac} type veth peer name {name} netns fabric",
        f"addr add {ipv4}/24 dev eth0",
        f"addr add {ipv6}/64 dev eth0 nodad",
        "link set eth0 up",
    )
    _ip("fabric", f"link set {name} master {network} up")


def _ip(namespace: str, *commands: str) -> None:
    """Run commands of ip in a network namespace, all in one go."""
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands), text=True, check=True)


def child_of(pid: int) -> int:
    """Return the pid of the only child of a process, as this machine numbers it."""
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


if __name__ == "__main__":
    what: dict[str, Callable[..., None]] = {"guard": guard, "keep": keep, "sweep": sweep, "wire": wire}
    what[sys.argv[1]](*sys.argv[2:])
