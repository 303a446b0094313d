"""A lab host with every kind of published port on it, what shall be open of that, and ways to look."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.conftest import LAB_ENGINES
from tests.sandbox.lab import Host, Lab, scanner

IMAGE = "lab/busybox:1"
WAY_BACK = "28.5" if "28.5" in LAB_ENGINES else LAB_ENGINES[-1]
"""The engine of test_stack_firewall_way_back.py."""
CONTAINERS = {
    # On the default bridge, which has IPv6: Docker does NAT for both IP versions.
    "declared": (("4317", "8123"), "bridge"),
    "undeclared": (("8123", "8123"), "bridge"),
    "for-lan": (("4319", "8123"), "bridge"),
    "for-wan-address": (("4320", "8123"), "bridge"),
    # On a network without IPv6: docker-proxy serves that, an ordinary program on the host.
    "proxied": (("4318", "8123"), "front"),
    "undeclared-proxied": (("8124", "8123"), "front"),
}
ONCE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import scanner
scanner.ROUNDS = 1
print(json.dumps(scanner.Scanner(sys.argv[2]).scan()))
"""
OUTSIDE = 7777
"""A port of the untrusted neighbour, for what containers want from the world."""
SYSTEM_UNITS = {
    # A program of the host that listens from the first moments of the boot, long before Docker.
    "early.service": """\
        [Unit]
        DefaultDependencies=no
        After=local-fs.target
        [Service]
        ExecStart=/usr/bin/python3 -c "import socket; s = socket.create_server(('::', 9100), \
            family=socket.AF_INET6, dualstack_ipv6=True)\\nwhile True: s.accept()[0].close()"
        [Install]
        WantedBy=sysinit.target
        """,
    # Docker's nftables backend does not switch forwarding on by itself.
    "forwarding.service": """\
        [Unit]
        Before=docker.service
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/bin/sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
        [Install]
        WantedBy=multi-user.target
        """,
}


def echo(port: int) -> list[str]:
    """Return the command of a server that sends back what it gets, over IPv4 and IPv6, and ends when it is told to.

    With live-restore Docker leaves its containers to systemd at a reboot, which waits 90 s for one that does not.
    """
    return ["sh", "-c", f"trap exit TERM; nc -ll -p {port} -e cat & wait"]


@dataclass(frozen=True)
class Guarded:
    """A host, and the role's variables for it."""

    lab: Lab
    host: Host
    backend: str

    @property
    def variables(self) -> dict[str, Any]:
        """What is declared."""
        return {
            "stack_firewall_published": [
                {"port": 4317},
                {"port": "4318-4318", "protocol": "tcp", "sources": [], "addresses": []},
                {"port": 4319, "sources": ["192.168.50.0/24", "fd50::/64"]},
                {"port": 4320, "addresses": [self.host.wan4, self.host.wan6]},
            ],
            "stack_firewall_host_ports": [{"port": 22, "sources": ["192.168.50.0/24", "fd50::/64"]}],
            "stack_firewall_rollback_timeout": 60,
            "stack_firewall_daemon_config": {
                "live-restore": True,
                **({"firewall-backend": "nftables"} if self.backend == "nftables" else {}),
            },
        }

    @property
    def declared(self) -> dict[str, set[int]]:
        """What a sweep has to find, by the address that is asked."""
        return {
            self.host.wan4: {4317, 4318, 4320},
            self.host.wan6: {4317, 4318, 4320},
            self.host.lan4: {22, 4317, 4318, 4319},
            self.host.lan6: {22, 4317, 4318, 4319},
        }

    def prepare(self, busybox: Path) -> None:
        """Put everything on the host that the guard has to deal with."""
        ipv6 = {"ipv6": True, "fixed-cidr-v6": "fd00:d0c:2::/64", "ip6tables": True}
        experimental = {"experimental": True} if self.host.engine in ("20.10", "26.1") else {}
        self.host.write("/etc/docker/daemon.json", json.dumps({**ipv6, **experimental}))
        for name, unit in SYSTEM_UNITS.items():
            self.host.write(f"/etc/systemd/system/{name}", textwrap.dedent(unit))
        self.host.sh(f"systemctl enable --now {' '.join(SYSTEM_UNITS)}; systemctl restart docker")
        self.host.load(busybox)
        self.host.docker("network", "create", "front")
        for name in CONTAINERS:
            self.start(name)
        keep = ("--detach", "--restart=always", "--stop-timeout=1")
        self.host.docker("run", *keep, "--name=local", "--publish=127.0.0.1:18123:8123", IMAGE, *echo(8123))
        self.host.docker("run", *keep, "--name=host-network", "--network=host", IMAGE, *echo(8200))

    def start(self, name: str) -> None:
        """Start one of the containers, on all addresses of the host."""
        (outer, inner), network = CONTAINERS[name]
        publish = [f"--publish={address}:{outer}:{inner}" for address in ("0.0.0.0", "[::]")]
        restart = ("--detach", "--restart=always", "--stop-timeout=1")
        self.host.docker("run", *restart, f"--name={name}", f"--network={network}", *publish, IMAGE, *echo(8123))

    def play(self, *arguments: str, check: bool = True, **variables: Any) -> Run:
        """Run the role from the trusted neighbour, with some variables changed."""
        play = {
            "name": "The role",
            "hosts": self.host.name,
            "gather_facts": False,
            "roles": [{"role": "hardened.clickstack.stack_firewall"}],
            "vars": {**self.variables, **{f"stack_firewall_{name}": value for name, value in variables.items()}},
        }
        path = self.lab.folder / f"{self.host.name}.yml"
        path.write_text(json.dumps([play]))
        return Run(self.lab.ansible(*arguments, f"/run/lab/{self.host.name}.yml", check=check))

    def sweep(self, quick: bool = False) -> dict[str, set[int]]:
        """Return which of all TCP ports are open: from each neighbour, over each IP version.

        A quick one asks each port once. It finds what is open unless a packet is lost, which a slow one makes sure of.
        """
        asked = {
            self.host.wan4: self.lab.untrusted,
            self.host.wan6: self.lab.untrusted,
            self.host.lan4: self.lab.trusted,
            self.host.lan6: self.lab.trusted,
        }

        def scan(address: str) -> set[int]:
            if not quick:
                return asked[address].scan(address)
            done = asked[address].run(sys.executable, "-IBSc", ONCE, Path(scanner.__file__).parent, address)
            return set(json.loads(done.stdout))

        with ThreadPoolExecutor(len(asked)) as threads:
            return dict(zip(asked, threads.map(scan, asked), strict=True))

    def undeclared(self) -> dict[str, set[int]]:
        """Return what a sweep finds beyond what is declared."""
        found = {address: ports - self.declared[address] for address, ports in self.sweep(quick=True).items()}
        return {address: ports for address, ports in found.items() if ports}

    def wait_for_containers(self) -> None:
        """Wait until Docker runs again, and all containers with it."""
        self.host.sh(
            f"""
            # what a flush of all rules took is being brought back
            sleep 0.2; flock /run/stack-firewall-flushed.lock true
            until systemctl --quiet is-active docker.service &&
                [ "$(docker ps --quiet --filter status=running | wc -l)" = {len(CONTAINERS) + 2} ]
            do sleep 0.1; done
            """,
            timeout=60,
        )
        # Docker says that a container runs before its program listens, and IPv6 addresses are not usable at once.
        self.host.sh(
            "until nc -z 127.0.0.1 4317 && nc -z 127.0.0.1 4318 && nc -z ::1 4318; do sleep 0.1; done", timeout=30
        )

    def from_container(self, name: str, address: str, port: int) -> bool:
        """Return whether a container reaches a TCP port."""
        done = self.host.run(
            "docker", "exec", name, "nc", "-w", "2", address, str(port), input="", check=False, timeout=30
        )
        return done.returncode == 0

    def address_of(self, name: str, version: int = 4) -> str:
        """Return a container's own address."""
        (network,) = json.loads(self.host.docker("inspect", name))[0]["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress" if version == 4 else "GlobalIPv6Address"])

    def rules(self) -> str:
        """Return all rules of the kernel, without counters."""
        return re.sub(r"counter packets \d+ bytes \d+", "counter", self.host.sh("nft --stateless list ruleset"))

    def files(self) -> set[str]:
        """Return a line for the content and the mode of all that there is in the places that the role writes to."""
        said = self.host.sh(
            # ufw writes its rules anew, in its own words, at the first change
            "cd /; find etc usr/local var/lib/stack-firewall ! -type d ! -name mtab ! -name 'user*.rules'"
            " -printf '%p %m %l\\n' -exec sha256sum {} + 2>/dev/null | sort; find etc/systemd | sort;"
            " systemctl list-unit-files --no-legend; ufw status verbose; ufw show added"
        )
        return set(said.splitlines())

    def meaning(self) -> list[str]:
        """Return the rules without what another start of Docker, or ufw once it is disabled, leaves different.

        Those are the order of Docker's rules, the addresses of containers, and chains that are empty and accept.
        """
        text = self.rules()
        names = {self.address_of(name, version): name for name in [*CONTAINERS, "local"] for version in (4, 6)}
        for address in sorted(filter(None, names), key=len, reverse=True):
            text = re.sub(re.escape(address) + r"(?!\w)", names[address], text)
        text = re.sub(r"\t\t.* jump ufw6?-.*\n", "", text)
        text = re.sub(r"\tchain .*{\n(\t\ttype .* policy accept;\n)?\t}\n", "", text)
        return sorted(line for line in text.splitlines() if line.strip())


@dataclass(frozen=True)
class Run:
    """What came of a run of ansible-playbook."""

    done: subprocess.CompletedProcess[str]

    @property
    def text(self) -> str:
        """All it said."""
        return self.done.stdout + self.done.stderr

    @property
    def changed(self) -> int:
        """How many tasks say that they changed something."""
        recap = re.search(r"changed=(\d+)", self.done.stdout)
        assert recap, self.text
        return int(recap[1])


class Conversation:
    """A TCP connection that stays, from the untrusted neighbour to a server that sends back what it gets."""

    CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20)
for line in sys.stdin:
    connection.sendall(line.encode())
    print(connection.recv(100).decode(), end="", flush=True)
"""

    def __init__(self, lab: Lab, address: str, port: int) -> None:
        self.process = lab.untrusted.popen(sys.executable, "-IBSc", self.CLIENT, address, str(port))
        self.said = 0

    def goes_on(self) -> bool:
        """Whether the other side still answers."""
        assert self.process.stdin and self.process.stdout
        self.said += 1
        try:
            self.process.stdin.write(f"{self.said}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return False
        return self.process.stdout.readline() == f"{self.said}\n"

    def end(self) -> None:
        """Hang up."""
        self.process.communicate(timeout=30)
