"""The Docker Engines of the lab, as layers over the root file system, which brings Debian 12's own.

The runc of Debian 12 runs them all; that of newer Debian releases needs a newer C library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from .packages import BUILD, Unavailable, made_once, unpacked
from .rootfs import rootfs

ENGINES = ("20.10", "26.1", "28.5", "29")
MOBY = "github.com/moby/moby/v2"
MOBY_VERSION = "v2.0.0-beta.24"
"""Docker Engine 29 as a Go module: it is in no Debian release."""


def layers(engine: str, compose: str = "2.40") -> list[Path]:
    """Return the folders that make up a host with this engine and this Compose, the uppermost first.

    Raises Unavailable where one of them cannot be had.
    """
    upper = {
        "20.10": (),
        "26.1": ("docker-26.1",),
        "28.5": ("docker-28.5", "containerd-2.1"),
        "29": ("docker-28.5", "containerd-2.1"),
    }[engine]
    built = [_built_engine()] if engine == "29" else []
    return [*built, *(unpacked(name) for name in upper), unpacked(f"compose-{compose}"), rootfs()]


def _built_engine() -> Path:
    """Return a folder with dockerd and docker-proxy, built from their Go module."""
    folder = BUILD / "unpacked" / f"docker-29-{MOBY_VERSION}"
    with made_once(folder) as fresh:
        if fresh:
            go = shutil.which("go")
            if not go:
                raise Unavailable("Docker Engine 29 is built from its Go module, and there is no Go toolchain here")
            source, binaries = fresh / "source", fresh / "usr/sbin"
            binaries.mkdir(parents=True)
            source.mkdir()
            environment = {**os.environ, "CGO_ENABLED": "0"}
            commands: list[list[str | Path]] = [
                [go, "mod", "init", "engine"],
                [go, "get", f"{MOBY}/cmd/dockerd@{MOBY_VERSION}"],
                [go, "build", "-o", binaries / "dockerd", f"{MOBY}/cmd/dockerd"],
                [go, "build", "-o", binaries / "docker-proxy", f"{MOBY}/cmd/docker-proxy"],
            ]
            for command in commands:
                done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise Unavailable(f"Docker Engine 29 cannot be built: {done.stderr[-2000:]}")
            shutil.rmtree(source)
    return folder
