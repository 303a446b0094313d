"""The lab as tests see it: Docker hosts between a trusted and an untrusted neighbour, on one machine."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from . import cgroups
from .engines import layers
from .keeper import child_of
from .packages import Unavailable

HERE = Path(__file__).resolve().parent
FIRST_HOST = 10
"""The last part of the first host's addresses."""


class LabError(Exception):
    """A host did not do what it should; the message says which one and what it said."""


@dataclass(frozen=True)
class Space:
    """A network namespace of the lab, and running programs in it."""

    lab: Lab
    name: str

    def command(self, arguments: Sequence[str | Path], folder: str = "/") -> list[str]:
        """Return the command line that runs ``arguments`` in here, in a folder, wherever it is started."""
        enter = ["nsenter", f"--target={self.lab.keeper}", "--mount", "--pid", f"--wdns={folder}"]
        return [*enter, "nsenter", f"--net=/run/netns/{self.name}", *map(str, arguments)]

    def run(
        self,
        *arguments: str | Path,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        folder: str = "/",
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine in here; raise LabError with its output where it fails and ``check`` is set."""
        return _run(self.command(arguments, folder), self.name, check, input, env, timeout)

    def popen(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start a program of this machine in here, on pipes. To end the process ends it, and so does the lab's end."""
        # nsenter stays as its parent, because of the PID namespace, and does not pass signals on
        command = self.command(["setpriv", "--pdeathsig=TERM", *arguments])
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @property
    def variables(self) -> dict[str, str]:
        """Ansible variables of a host that stands for this space in the inventory of another: Python runs in here."""
        program = self.lab.folder / f"{self.name}-python"
        program.write_text(f'#!/bin/sh\nexec nsenter --net=/run/netns/{self.name} {sys.executable} "$@"\n')
        program.chmod(0o755)
        return {
            "ansible_connection": "local",
            "ansible_ssh_common_args": "",
            "ansible_python_interpreter": f"/run/lab/{program.name}",
        }


@dataclass(frozen=True)
class Neighbour(Space):
    """A machine beside the hosts: no firewall, the programs of this machine, one wire."""

    ipv4: str
    ipv6: str

    def connects(self, address: str, port: int, timeout: float = 1.0) -> bool:
        """Return whether a TCP connection to the address comes about within ``timeout`` seconds."""
        return self.attempt(address, port, timeout) == "open"

    def comes_to_reach(self, address: str, port: int, within: float = 10.0) -> bool:
        """Return whether a TCP connection comes about ``within`` so many seconds: a service may still be starting."""
        deadline = time.monotonic() + within
        while not self.connects(address, port):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def attempt(self, address: str, port: int, timeout: float = 1.0) -> str:
        """Return how one attempt to connect went: open, refused (something said no) or silent (nothing answered)."""
        done = self.run(sys.executable, "-IBS", HERE / "probe.py", "once", address, str(port), str(timeout))
        return done.stdout.strip()

    def scan(self, address: str) -> set[int]:
        """Return which of all 65,535 TCP ports of the address are open, as seen from here."""
        return set(json.loads(self.run(sys.executable, "-IBS", HERE / "scanner.py", address).stdout))

    def knows(self, addresses: Sequence[str], mac: str) -> None:
        """Let the hardware address of a host be known for good: no moment of its boot is missed asking for it."""
        for address in addresses:
            self.run("ip", "neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")

    def watch(self, address: str, port: int, every: float = 0.01) -> Watch:
        """Begin with attempts to connect, one every ``every`` seconds, none of which waits for another."""
        process = self.popen(sys.executable, "-IBS", HERE / "probe.py", "watch", address, str(port), str(every))
        begun = process.stdout.readline() if process.stdout else ""
        if begun != "watching\n":
            raise LabError(f"{self.name} cannot watch {address}: {begun}{process.communicate()[0]}")
        return Watch(process)


@dataclass
class Watch:
    """Attempts that go on until they are asked about."""

    process: subprocess.Popen[str]

    def stop(self) -> WatchResult:
        """Stop, and return how many attempts were made and which of them came through."""
        output, _errors = self.process.communicate(timeout=30)
        return WatchResult(**json.loads(output))


@dataclass(frozen=True)
class WatchResult:
    """How many attempts to connect were made, and when those that came through did (seconds after the first)."""

    attempts: int
    open: list[float]
    longest_pause: float
    """Seconds between two attempts at most: what a test that found nothing could have missed."""


@dataclass
class Host:
    """A Docker host: systemd, ufw, nftables, an SSH server and an engine of its own, on eth0 (wan) and eth1 (lan)."""

    lab: Lab
    name: str
    number: int
    engine: str
    compose: str
    supervisor: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def wan4(self) -> str:
        """Its address on the untrusted side."""
        return f"198.51.100.{self.number}"

    @property
    def wan6(self) -> str:
        """Its IPv6 address on the untrusted side."""
        return f"2001:db8:100::{self.number}"

    @property
    def lan4(self) -> str:
        """Its address on the trusted side."""
        return f"192.168.50.{self.number}"

    @property
    def lan6(self) -> str:
        """Its IPv6 address on the trusted side."""
        return f"fd50::{self.number}"

    def mac(self, network: int) -> str:
        """Its hardware address on network 1 (the untrusted one) or 2, as boot.sh sets it."""
        return f"02:00:00:00:{network:02x}:{self.number:02x}"

    @property
    def state(self) -> str:
        """Where its disk is, as processes of the lab see it."""
        return f"/run/lab/hosts/{self.name}"

    @property
    def disk(self) -> Path:
        """What it has written, as this machine sees it: the upper layer of its root file system."""
        return self.lab.folder / "hosts" / self.name / "upper"

    def start(self, wait: bool = True) -> None:
        """Switch it on and wait until systemd says that it runs."""
        lower = ":".join(map(str, layers(self.engine, self.compose)))
        group = f"{cgroups.PREFIX}{self.lab.guard.pid}/{self.name}"
        arguments = [group, self.name, str(self.number), self.state, lower]
        self.supervisor = subprocess.Popen(
            [
                "nsenter", f"--target={self.lab.keeper}", "--mount", "--pid", "--net", "--ipc", "--wdns=/",
                sys.executable, "-B", HERE / "supervisor.py", *arguments,
            ],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if wait:
            self.wait_until_up()

    @property
    def is_on(self) -> bool:
        """Whether it is switched on; it may be between two boots."""
        return self.supervisor is not None and self.supervisor.poll() is None

    @property
    def init(self) -> int:
        """The pid, on this machine, of the systemd that runs now. Raises LabError while there is none."""
        if not self.supervisor or not self.is_on:
            raise LabError(f"{self.name} is switched off")
        try:
            # nsenter, the supervisor, unshare, systemd
            return child_of(child_of(child_of(self.supervisor.pid)))
        except (OSError, ValueError) as error:
            raise LabError(f"{self.name} is between two boots") from error

    def wait_until_up(self, timeout: float = 60) -> None:
        """Wait until systemd has started everything. Raises LabError with the failed units if it could not."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                state = self.run(
                    "systemctl", "is-system-running", "--wait", check=False, timeout=timeout
                ).stdout.strip()
            except LabError as error:
                if not self.is_on:
                    raise
                state = str(error)
            if state == "running":
                return
            if state == "degraded":
                failed = self.run("systemctl", "--failed", "--no-legend", "--plain").stdout
                units = [f"--unit={line.split()[0]}" for line in failed.splitlines()]
                raise LabError(f"{self.name} came up without:\n{failed}{self.journal(*units)[-4000:]}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is not up after {timeout} s but {state or 'silent'}")
            time.sleep(0.05)

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the command line that runs ``arguments`` on the host, started from anywhere on this machine."""
        return ["nsenter", f"--target={self.init}", "--all", "--wdns=/", *map(str, arguments)]

    def run(
        self,
        *arguments: str | Path,
        check: bool = True,
        input: str | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the host on it; raise LabError with its output where it fails and ``check`` is set."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        return _run(self.command(arguments), self.name, check, input, environment, timeout)

    def sh(self, script: str, check: bool = True, timeout: float = 120) -> str:
        """Run a shell script on the host and return what it printed."""
        return self.run("sh", "-euc", textwrap.dedent(script), check=check, timeout=timeout).stdout

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run the docker command on the host and return what it printed."""
        return self.run("docker", *arguments, check=check).stdout.strip()

    def load(self, archive: Path) -> None:
        """Load images from an archive of ``docker save``'s form that lies on this machine."""
        with archive.open("rb") as content:
            done = subprocess.run(
                self.command(["docker", "load", "--quiet"]), stdin=content, capture_output=True, check=False
            )
        if done.returncode:
            raise LabError(f"{self.name}: docker load {archive}: {done.stderr.decode()}")

    def write(self, path: str, content: str, mode: str = "644") -> None:
        """Write a file on the host, with the folders it lies in."""
        self.run("install", "-D", f"--mode={mode}", "/dev/stdin", path, input=content)

    def read(self, path: str) -> str:
        """Return the content of a file on the host."""
        return self.run("cat", path).stdout

    def journal(self, *arguments: str) -> str:
        """Return the host's journal of this boot."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=short-precise", *arguments).stdout

    def reboot(self, wait: bool = True) -> None:
        """Reboot as an administrator does, and wait until it is up again."""
        before = self.init
        self.run("systemctl", "reboot")
        self._wait_for_end_of(before)
        if wait:
            self.wait_until_up()

    def crash(self, wait: bool = True) -> None:
        """Pull the plug, and switch it on again: nothing was stopped in order, and what was on the disk is there."""
        self.stop()
        self.start(wait)

    def stop(self) -> None:
        """Pull the plug. What was on the disk stays until the lab ends."""
        if self.supervisor and self.is_on:
            # unshare takes systemd with it, and with systemd the kernel ends all of the host.
            os.kill(child_of(child_of(self.supervisor.pid)), signal.SIGKILL)
            self.supervisor.wait(timeout=30)

    def _wait_for_end_of(self, pid: int, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while Path(f"/proc/{pid}").exists():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} has not shut down within {timeout} s:\n{self.journal()[-4000:]}")
            time.sleep(0.02)


class Lab:
    """Network namespaces, mounts and processes that end with this object, or with this process however it ends.

    Two switches, the untrusted `wan` and the trusted `lan`; on each a neighbour, and as many hosts as a test starts.
    Raises Unavailable where the lab cannot run, with the reason.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise Unavailable("the lab makes network namespaces and mounts: it needs root")
        self.guard = subprocess.Popen(
            [sys.executable, "-B", HERE / "keeper.py", "guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        said = self.guard.stdout.readline() if self.guard.stdout else ""
        if not said:
            self.close()
            raise LabError("the lab did not come up; the lines above say why")
        self.keeper = int(said)
        self.folder = Path(f"/proc/{self.keeper}/root/run/lab")
        self.hosts: dict[str, Host] = {}
        self._attackers: set[str] = set()
        self.untrusted = Neighbour(self, "untrusted", "198.51.100.2", "2001:db8:100::2")
        self.trusted = Neighbour(self, "trusted", "192.168.50.2", "fd50::2")
        self._make_ssh()

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything in the lab and wait until it is gone."""
        if self.guard.stdin:
            self.guard.stdin.close()
        self.guard.wait(timeout=60)
        if self.guard.stdout:
            self.guard.stdout.close()
        for host in getattr(self, "hosts", {}).values():
            if host.supervisor:
                host.supervisor.wait(timeout=60)

    def host(self, name: str, engine: str = "20.10", compose: str = "2.40", wait: bool = True) -> Host:
        """Make a host and switch it on. Raises Unavailable where this engine cannot be had."""
        host = Host(self, name, FIRST_HOST + len(self.hosts), engine, compose)
        self.hosts[name] = host
        with open(f"{self.folder}/id.pub") as key:
            for path, content in (
                ("root/.ssh/authorized_keys", key.read()),
                ("etc/hostname", f"{name}\n"),
                ("etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n"),
            ):
                file = host.disk / path
                file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                file.write_text(content)
        self.untrusted.knows((host.wan4, host.wan6), host.mac(1))
        self.trusted.knows((host.lan4, host.lan6), host.mac(2))
        (host.disk / "root").chmod(0o700)
        (host.disk / "root/.ssh").chmod(0o700)
        host.start(wait)
        self._write_inventory()
        return host

    def attacker(self, host: Host) -> Neighbour:
        """Return a neighbour on the untrusted side that sends all it has to say by way of the host.

        That is packets to the subnets of its containers, to its trusted side and even to 127.0.0.1 and ::1, which it
        has given up for itself: whoever shares a network segment with a host can do that (moby issue 45610).
        """
        number = host.number + 100
        name = f"attacker{host.number}"
        attacker = Neighbour(self, name, f"198.51.100.{number}", f"2001:db8:100::{number}")
        if name not in self._attackers:
            inside = ["nsenter", f"--target={self.keeper}", "--mount", "--pid", "--net", "--wdns=/"]
            wire = [sys.executable, "-B", HERE / "keeper.py", "wire", name, "wan", attacker.ipv4, attacker.ipv6]
            _run([*inside, *map(str, wire)], name, True, None, None, 30)
            attacker.run(
                "sh",
                "-euc",
                f"""
                for interface in all eth0; do
                    echo 1 >/proc/sys/net/ipv4/conf/$interface/route_localnet
                    echo 0 >/proc/sys/net/ipv4/conf/$interface/rp_filter
                done
                ip addr flush dev lo
                for to in default 127.0.0.0/8; do ip route add $to via {host.wan4} src {attacker.ipv4}; done
                for to in default ::1; do ip -6 route add $to via {host.wan6} src {attacker.ipv6}; done
                """,
            )
            attacker.knows((host.wan4, host.wan6), host.mac(1))
            self._attackers.add(name)
        return attacker

    # -- The way in for Ansible: SSH over the network of the lab, from the trusted neighbour ---------------------------

    def ansible(
        self, *arguments: str | Path, check: bool = True, env: Mapping[str, str] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run ansible-playbook on the trusted neighbour against the lab's hosts, as an administrator does."""
        program = Path(sys.executable).with_name("ansible-playbook")
        command = [program, "-i", self.inventory, *arguments]
        return self.trusted.run(*command, check=check, env={**self.environment, **(env or {})}, timeout=timeout)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of an administrator on the trusted neighbour.

        Ansible finds the collections in ANSIBLE_COLLECTIONS_PATH of this process, or else those that make built.
        """
        build = HERE.parents[2] / ".build"
        return {
            "ANSIBLE_COLLECTIONS_PATH": f"{build / 'installed'}:{build / 'companions'}",
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_HOME": str(build / "ansible"),
            "ANSIBLE_PIPELINING": "true",
            **os.environ,
        }

    @property
    def inventory(self) -> str:
        """The inventory of all hosts, as a path that programs run in the lab can read."""
        return "/run/lab/inventory.json"

    def _make_ssh(self) -> None:
        self.trusted.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/lab/id")
        (self.folder / "ssh_config").write_text(
            textwrap.dedent("""\
                Host *
                  IdentityFile /run/lab/id
                  User root
                  StrictHostKeyChecking no
                  UserKnownHostsFile /dev/null
                  LogLevel ERROR
                """)
        )

    def _write_inventory(self) -> None:
        hosts = {
            host.name: {"ansible_host": host.lan4, "ansible_python_interpreter": "/usr/bin/python3"}
            for host in self.hosts.values()
        }
        shared = {
            "ansible_user": "root",
            "ansible_ssh_common_args": "-F /run/lab/ssh_config",
            "ansible_control_path_dir": "/run/lab/cp",
        }
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}, indent=2))


def _run(
    command: list[str], where: str, check: bool, input: str | None, env: Mapping[str, str] | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    stdin: dict[str, object] = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        command, capture_output=True, text=True, env=env, timeout=timeout, check=False, **stdin
    )
    if check and done.returncode:
        what = shlex.join(command[next(i for i, word in enumerate(command) if word.startswith("--wdns=")) + 1 :])
        raise LabError(f"{where}: {what}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done
