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


class Sandbox:
    """A running server. `url`, and with TLS `https_url` and `ca` (PEM file); `directory` holds its state."""

    def __init__(self, version: str, directory: Path, options: list[str], authority: Authority | None) -> None:
        """Start it; `options` are those of `python -m tests.sandbox`. Raises RuntimeError where it does not come up."""
        self.version, self.directory, self.authority = version, directory, authority
        self._options = options
        self._start()

    def _start(self, http_port: int = 0, https_port: int = 0) -> None:
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
        command += ["--http-port", str(http_port)]
        if self.authority is not None:
            certificate, key = self.authority.server()
            ca = str(self.authority.ca)
            command += [
                "--https-port",
                str(https_port),
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
        self.ready: dict[str, Any] = json.loads(line)
        self.url: str = self.ready["url"]
        self.https_url: str | None = self.ready["https_url"]
        self.ca: str | None = str(self.authority.ca) if self.authority else None

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

    @contextlib.contextmanager
    def faults(self, *faults: Fault) -> Iterator[FaultProxy]:
        """A way to this server on which these faults happen; see FaultProxy."""
        with FaultProxy(self.url, faults, self.kill) as proxy:
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
        self._start(self.ready["http_port"], self.ready["https_port"] or 0)


@contextlib.contextmanager
def start(
    version: str = "26.9",
    directory: Path | None = None,
    *,
    tls: bool = False,
    users_xml: Path | None = None,
    display_secrets: bool = False,
    cluster: str = "default",
    timezone: str = "UTC",
    resolver: dict[str, list[str]] | None = None,
    trust_peer_header: bool = False,
) -> Iterator[Sandbox]:
    """A sandbox server of this version (`26.9`, `25.8`, `24.8`) while the block runs.

    `directory` keeps its state; without one it is gone afterwards. `tls` adds HTTPS on localhost under an authority
    of its own.
    The other options are those of the command line (`python -m tests.sandbox --help`). Raises RuntimeError if it does
    not start.
    """
    own = Path(tempfile.mkdtemp(prefix="sandbox-"))
    options = ["--cluster", cluster, "--timezone", timezone, "--resolver", json.dumps(resolver or {})]
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
