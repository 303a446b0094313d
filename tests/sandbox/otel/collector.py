"""A collector that runs as its container's user on this machine, alone or under the OpAMP supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import hyperdx
from .programs import Programs

USER = 10001
"""The user and group of the collector in its container."""
_CAPABILITIES = (
    "reports_effective_config",
    "reports_own_metrics",
    "reports_own_logs",
    "reports_own_traces",
    "reports_health",
    "accepts_remote_config",
    "reports_remote_config",
)


class Collector:
    """One collector: its folder, its ports, and the process while it runs."""

    def __init__(self, programs: Programs, environment: Mapping[str, str]) -> None:
        """`environment` is what the container would have."""
        # not below pytest's folders, which only root may enter
        self.folder = Path(tempfile.mkdtemp(prefix="otel-"))
        self.folder.chmod(0o711)
        self.ports = hyperdx.Ports()
        self.environment = {"PATH": os.environ["PATH"], "HYPERDX_LOG_LEVEL": "info", **environment}
        self.data = self.folder / "supervisor-data"
        self.data.mkdir(mode=0o700)
        os.chown(self.data, USER, USER)
        self.log = self.folder / "log"
        self.executable = self._placed(programs.collector)
        self._supervisor = self._placed(programs.supervisor)
        self._process: subprocess.Popen[bytes] | None = None

    def _placed(self, program: Path) -> Path:
        """The program where its user may enter."""
        target = self.folder / program.name
        try:
            target.hardlink_to(program)
        except OSError:
            shutil.copy2(program, target)
        return target

    def file(self, name: str, content: Any) -> Path:
        """Write a configuration of the image, which everybody may read."""
        path = self.folder / name
        path.write_text(json.dumps(content))
        path.chmod(0o444)
        return path

    def validate(self, *files: Path) -> subprocess.CompletedProcess[str]:
        """`otelcol validate` on configurations, as the collector's user."""
        return subprocess.run(
            self.validate_command(*files),
            env=self.environment,
            user=USER,
            group=USER,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def validate_command(self, *files: Path | str) -> list[str]:
        """The command that the role may be given."""
        return [str(self.executable), "validate", *(f"--config={file}" for file in files)]

    @contextlib.contextmanager
    def standalone(self, *files: Path) -> Iterator[Collector]:
        """Run it without a HyperDX on these configurations, the last of which wins, while the block runs."""
        with self._running([str(self.executable), *(f"--config={file}" for file in files)]):
            yield self

    @contextlib.contextmanager
    def supervised(self, opamp: str, *files: Path) -> Iterator[Collector]:
        """Run it under the supervisor, which asks a HyperDX at this URL, while the block runs."""
        settings = {
            "server": {"endpoint": f"{opamp}/v1/opamp", "tls": {"insecure_skip_verify": True}},
            "capabilities": dict.fromkeys(_CAPABILITIES, True),
            # what the image leaves at its default; a test has less patience
            "agent": {
                "executable": str(self.executable),
                "config_files": [str(path) for path in files],
                "bootstrap_timeout": "30s",
            },
            "storage": {"directory": str(self.data)},
        }
        path = self.file("supervisor.yaml", settings)
        with self._running([str(self._supervisor), "--config", str(path)]):
            yield self

    @contextlib.contextmanager
    def _running(self, command: Sequence[str]) -> Iterator[None]:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.data,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                user=USER,
                group=USER,
                extra_groups=[],
                # the supervisor's collector is ended with it
                start_new_session=True,
            )
        try:
            yield
        finally:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone by itself."""
        return self._process is not None and self._process.poll() is not None

    def said(self) -> str:
        """What it, and the supervisor's collector, have logged."""
        agent = self.data / "agent.log"
        return self.log.read_text(errors="replace") + (agent.read_text(errors="replace") if agent.exists() else "")

    def effective(self) -> str:
        """What the supervisor merged, as the collector reads it."""
        return (self.data / "effective.yaml").read_text()

    def wait_for(self, what: str, is_so: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until something is so. Raises AssertionError, with the log, where it does not come."""
        deadline = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"not after {seconds} s: {what}\n{self.said()[-6000:]}")
            time.sleep(0.1)

    def wait_for_ports(self, *ports: int) -> None:
        """Wait until it listens on these."""
        for port in ports:
            self.wait_for(f"port {port}", lambda port=port: listens(port))  # type: ignore[misc]

    def remove(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Return whether somebody listens on a TCP port."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.settimeout(2)
        return probe.connect_ex((address, port)) == 0
