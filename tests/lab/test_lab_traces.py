"""A lab leaves nothing behind, however it ends, and the machine as it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sandbox.lab import Lab, cgroups
from tests.sandbox.lab.rootfs import rootfs

CHECKOUT = Path(__file__).parents[2]
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "uts")

WITH_A_HOST = """
import signal
from tests.sandbox.lab import Lab
lab = Lab()
host = lab.host("doomed")
host.sh("systemd-run --quiet --unit=busy sh -c 'trap : TERM; while :; do sleep 1; done'")
lab.trusted.popen("sleep", "1000")
print(lab.guard.pid, flush=True)
signal.pause()
"""


def tree(pid: int) -> set[int]:
    """Return a process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return set()
    return {pid}.union(*(tree(int(child)) for child in children))


def namespaces(pid: int) -> set[str]:
    """Return the namespaces that a process is in."""
    return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES}


def in_use() -> set[str]:
    """Return the namespaces of all processes of the machine."""
    found: set[str] = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found |= namespaces(int(entry.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def groups(guard: int) -> list[Path]:
    """Return what there is of a lab's control groups."""
    return [group for hierarchy in cgroups.hierarchies() if (group := hierarchy / f"{cgroups.PREFIX}{guard}").exists()]


@pytest.mark.parametrize("victim", ["test", "guard", "both"])
def test_nothing_is_left_when_it_is_killed(victim: str) -> None:
    """Be it the test, the process that ends the lab with it, or their whole group: the rest ends within seconds."""
    program = subprocess.Popen(
        [sys.executable, "-B", "-c", WITH_A_HOST],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert program.stdout
        guard = int(program.stdout.readline())
        processes = tree(program.pid) - {program.pid}
        assert len(processes) > 15
        used = set().union(*map(namespaces, processes)) - namespaces(os.getpid())
        # The lab's own five and those of the host, the fabric and the neighbours that have a process.
        assert len(used) >= 10
        assert groups(guard)
        os.kill({"test": program.pid, "guard": guard, "both": -program.pid}[victim], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while left := [pid for pid in processes if alive(pid)] + [*groups(guard), *(used & in_use())]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
    finally:
        program.kill()
        program.communicate()


def alive(pid: int) -> bool:
    """Return whether a process runs: one that has ended and waits for its parent to ask does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def of_rootfs(*command: str) -> str:
    """Run a program of the lab's root file system on the machine itself, which need not have it."""
    root = rootfs()
    libraries = f"{root}/usr/lib/x86_64-linux-gnu"
    loader = [f"{root}/usr/lib64/ld-linux-x86-64.so.2", "--library-path", libraries]
    environment = {**os.environ, "XTABLES_LIBDIR": f"{libraries}/xtables"}
    program = [*loader, f"{root}/usr/sbin/{command[0]}", *command[1:]]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("#"))


def folder(path: str) -> dict[str, str]:
    """Return all that a folder holds: owners, modes, targets of links, and hashes of contents."""
    found = {}
    for entry in sorted(Path(path).rglob("*")):
        status = entry.lstat()
        content = ""
        if entry.is_symlink():
            content = os.readlink(entry)
        elif entry.is_file():
            content = hashlib.sha256(entry.read_bytes()).hexdigest()
        found[str(entry)] = f"{status.st_mode:o} {status.st_uid} {status.st_gid} {content}"
    return found


def settings(path: str) -> dict[str, str]:
    """Return the kernel's settings below a folder of /proc/sys, without those that count or are new at each reading."""
    moves = ("conntrack_count", "/random/", "ns_last_pid", "/pty/nr", "/perf_", "sched_domain", "/nr_", "/neigh/")
    found = {}
    for entry in sorted(Path("/proc/sys", path).rglob("*")):
        if entry.is_file() and not any(word in str(entry) for word in moves):
            try:
                found[str(entry)] = entry.read_text()
            except OSError:  # write-only, or of a device that is not there
                continue
    return found


def machine() -> dict[str, object]:
    """Return what a lab could change of the machine."""
    seen: dict[str, object] = {
        "nftables": of_rootfs("nft", "--stateless", "list", "ruleset"),
        "/etc": folder("/etc"),
        "net": settings("net"),
        "kernel": settings("kernel"),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "namespaces": sorted(str(path) for path in Path("/run").glob("netns/*")),
        "control groups": {
            str(path)
            for hierarchy in cgroups.hierarchies()
            for path in hierarchy.iterdir()
            if path.is_dir() and not path.name.startswith(cgroups.PREFIX)
        },
        **{path: sorted(os.listdir(path)) for path in ("/dev", "/run", "/var/lib", "/root", "/srv", "/")},
    }
    for family in ("-4", "-6"):
        for what in ("address", "route show table all", "rule", "neigh show nud permanent"):
            seen[f"ip {family} {what}"] = subprocess.run(
                ["ip", family, *what.split()], capture_output=True, text=True, check=True
            ).stdout
        legacy = Path("/proc/net", "ip_tables_names" if family == "-4" else "ip6_tables_names")
        if legacy.exists() and legacy.read_text():
            program = "iptables-legacy-save" if family == "-4" else "ip6tables-legacy-save"
            seen[program] = of_rootfs("xtables-legacy-multi", program)
    return seen


def test_the_machine_is_as_it_was(busybox: Path) -> None:
    """Its firewall, routes, addresses, users, /etc, kernel settings, mounts, devices and control groups."""
    before = machine()
    with Lab() as lab:
        host = lab.host("busy", "28.5")
        host.write("/etc/docker/daemon.json", json.dumps({"userns-remap": "default", "ipv6": True, "ip6tables": True}))
        host.sh(
            "systemctl restart docker; ufw default deny incoming; ufw allow 22/tcp; ufw --force enable; useradd someone"
        )
        host.load(busybox)
        host.docker(
            "run", "-d", "--init", "--restart=always", "-p", "8123:8123", "lab/busybox:1", "httpd", "-f", "-p", "8123"
        )
        host.sh("hostname other; sysctl -q net.ipv4.tcp_syncookies=0; mknod /dev/mine c 1 3; touch /run/mine /etc/mine")
        assert lab.untrusted.comes_to_reach(host.wan4, 8123)
        host.reboot()
        assert lab.untrusted.comes_to_reach(host.wan6, 8123)
        lab.attacker(host)
        group = groups(lab.guard.pid)
        assert group
    after = machine()
    assert not any(path.exists() for path in group)
    for what in before.keys() | after.keys():
        assert after.get(what) == before.get(what), what
