"""Starts the sandbox's server as a process of its own and hands out what a test needs to talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .certificates import Authority
from .client import Client
from .faults import Fault, FaultProxy

ROOT = Path(__file__).parents[2]


class Replica:
    """A replica of a running server's cluster. `directory` holds its state; `ca` is the authority's PEM file (TLS)."""

    def __init__(self, ready: dict[str, Any], directory: Path, ca: str | None) -> None:
        """`ready`: its ports and URLs, as the server announces them."""
        self.directory, self.ca = directory, ca
        self._listen(ready)

    def _listen(self, ready: dict[str, Any]) -> None:
        self.ready = ready
        self.url: str = ready["url"]
        self.https_url: str | None = ready["https_url"]

    @property
    def users_d(self) -> Path:
        """The directory for additions to users.xml; made if it is not there."""
        directory = self.directory / "users.d"
        directory.mkdir(exist_ok=True)
        return directory

    @property
    def port(self) -> int:
        """The HTTP port."""
        return int(self.ready["http_port"])

    @property
    def https_port(self) -> int:
        """The HTTPS port. Raises TypeError without TLS."""
        return int(self.ready["https_port"])

    def session(self, user: str | None = None, password: str = "", **options: Any) -> Client:
        """A client over HTTP; for the options see Client."""
        return Client(self.url, user, password, **options)

    def secure_session(self, user: str | None = None, password: str = "", **options: Any) -> Client:
        """A client over HTTPS that verifies the server."""
        assert self.https_url
        return Client(self.https_url, user, password, ca=self.ca, **options)


class Sandbox(Replica):
    """A running server. `replicas` are those of its cluster, of which it is the first itself."""

    def __init__(self, version: str, directory: Path, options: list[str], authority: Authority | None) -> None:
        """Start it; `options` are those of `python -m tests.sandbox`. Raises RuntimeError where it does not come up."""
        self.version, self.authority = version, authority
        self.directory = directory
        self._options = options
        ready = self._start([], [])
        super().__init__(ready, directory, str(authority.ca) if authority else None)
        self.replicas: list[Replica] = [self]
        for number, other in enumerate(ready["replicas"][1:], 2):
            self.replicas.append(Replica(other, directory / f"replica-{number}", self.ca))

    def _start(self, http_ports: list[int], https_ports: list[int]) -> dict[str, Any]:
        """Start the server, on these ports of the replicas or any, and return what it announces."""
        command = [
            sys.executable,
            "-m",
            "tests.sandbox",
            "--version",
            self.version,
            "--data",
            str(self.directory),
            *self._options,
        ]
        command += ["--http-port", *map(str, http_ports or [0])]
        if self.authority is not None:
            certificate, key = self.authority.server()
            ca = str(self.authority.ca)
            command += [
                "--https-port",
                *map(str, https_ports or [0]),
                "--cert",
                str(certificate),
                "--key",
                str(key),
                "--client-ca",
                ca,
            ]
        # its own session, to be killed with its children; its stdin ends with this process, and so does it
        self._process = subprocess.Popen(
            [*command, "--end-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the sandbox ClickHouse {self.version} did not start (exit {self._process.wait()})")
        ready: dict[str, Any] = json.loads(line)
        return ready

    @contextlib.contextmanager
    def faults(self, *faults: Fault) -> Iterator[FaultProxy]:
        """A way to this server on which these faults happen; see FaultProxy."""
        with FaultProxy(self.url, faults, self.kill, f"{self.version}.2.1") as proxy:
            yield proxy

    def stop(self) -> None:
        """End the server as an administrator would, and without that much ceremony if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._wait()
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server without warning, as when its machine is lost."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()  # also tells it to end
        self._process.wait(60)
        if self._process.stdout:
            self._process.stdout.close()

    def restart(self) -> None:
        """Stop it if it runs, and start it again over the same data and on the same ports."""
        self.stop()
        replicas = self.ready["replicas"]
        self._listen(
            self._start(
                [replica["http_port"] for replica in replicas], [replica["https_port"] or 0 for replica in replicas]
            )
        )


@contextlib.contextmanager
def start(
    version: str = "26.9",
    directory: Path | None = None,
    *,
    tls: bool = False,
    users_xml: Path | None = None,
    display_secrets: bool = False,
    cluster: str = "default",
    replicas: int = 1,
    replicated_access: bool = False,
    timezone: str = "UTC",
    resolver: dict[str, list[str]] | None = None,
    trust_peer_header: bool = False,
) -> Iterator[Sandbox]:
    """A sandbox server of this version (`26.9`, `25.8`, `24.8`) while the block runs.

    `directory` keeps its state; without one it is gone afterwards. `tls` adds HTTPS on localhost under an authority
    of its own. `replicas` (26.9 only) are those of the cluster, each with its own data and its own access entities, or
    with `replicated_access` one storage of access entities for all.
    The other options are those of the command line (`python -m tests.sandbox --help`). Raises RuntimeError if it does
    not start, ValueError where the version has no cluster of replicas.
    """
    if version != "26.9" and (replicas != 1 or replicated_access):
        raise ValueError(f"a cluster of replicas needs 26.9: {version} is ClickHouse's own server, without Keeper")
    own = Path(tempfile.mkdtemp(prefix="sandbox-"))
    options = ["--cluster", cluster, "--timezone", timezone, "--resolver", json.dumps(resolver or {})]
    options += ["--replicas", str(replicas)] + (["--replicated-access"] if replicated_access else [])
    options += ["--users-xml", str(users_xml)] if users_xml else []
    options += ["--display-secrets"] if display_secrets else []
    options += ["--trust-peer-header"] if trust_peer_header else []
    authority = Authority(own / "certificates") if tls else None
    sandbox = Sandbox(version, directory or own / "data", options, authority)
    try:
        yield sandbox
    finally:
        sandbox.stop()
        shutil.rmtree(own, ignore_errors=True)
