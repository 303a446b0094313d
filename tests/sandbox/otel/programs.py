"""The collector and the OpAMP supervisor, built once from Go modules, by the checksums of source/go.sum.

The versions are those of HyperDX 2.36 (0.155.0, core 1.61.0) as far as the Go module registry serves them. It has the
routing connector, the OpAMP extension and the supervisor at 0.149.0, which an earlier HyperDX used, and neither the
fluentforward receiver nor the OIDC extension at either. What else HyperDX's collector has is left out or stood in for
(source/standins), because each part makes the build longer.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.sandbox.lab.packages import Unavailable, made_once

SOURCE = Path(__file__).with_name("source")
BUILD = Path(__file__).resolve().parents[3] / ".build" / "otel"
_SUPERVISOR = "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/opampsupervisor"
# as HyperDX's builder sets it
_TAGS = "grpcnotrace"


@dataclass(frozen=True)
class Programs:
    """The programs, where they were built."""

    collector: Path
    supervisor: Path


def build() -> Programs:
    """Return the programs, which the first call builds. Raises Unavailable where there is no Go, RuntimeError where
    the build fails.
    """
    if not shutil.which("go"):
        raise Unavailable("the collector is built from Go modules here, and there is no go")
    files = sorted(path for path in SOURCE.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = BUILD / digest
    with made_once(folder) as fresh:
        if fresh:
            for name, package in (("otelcontribcol", "./collector"), ("opampsupervisor", _SUPERVISOR)):
                flags = ["-mod=readonly", "-buildvcs=false", "-trimpath", f"-tags={_TAGS}", "-ldflags=-s -w"]
                _go("build", *flags, "-o", str(fresh / name), package)
    return Programs(folder / "otelcontribcol", folder / "opampsupervisor")


def _go(*arguments: str) -> None:
    done = subprocess.run(
        ["go", *arguments],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    for program in (build().collector, build().supervisor):
        print(f"{program}: {program.stat().st_size >> 20} MiB")
