"""The Docker Engines of the lab, as layers over the root file system, which brings Debian 12's own.

26.1 and 28.5 are Debian's packages of later releases, without their runc, which needs a newer C library: Debian 12's
runs them. 29 is in no Debian release: it is built here, with its CLI and the runc it needs, and uses the containerd of
28.5.
"""

from __future__ import annotations

from pathlib import Path

from .go_modules import GoModule, build
from .packages import BUILD, made_once, unpacked
from .rootfs import rootfs

ENGINES = ("20.10", "26.1", "28.5", "29")
TRIXIE = "trixie"
VERSION_29 = "29.8.1"
"""The release of which the versions below are part; its engine goes by another number as a Go module."""


def layers(engine: str, compose: str = "2.40") -> list[Path]:
    """Return the folders that make up a host with this engine and this Compose, the uppermost first.

    The engine "trixie" is Debian 13 with its own engine, 26.1; all others are Debian 12 with another engine laid over.
    Raises Unavailable where one of them cannot be had.
    """
    if engine == TRIXIE:
        return [unpacked(f"compose-{compose}"), rootfs(TRIXIE)]
    upper = {
        "20.10": (),
        "26.1": ("docker-26.1",),
        "28.5": ("docker-28.5", "containerd-2.1"),
        "29": ("docker-28.5", "containerd-2.1"),
    }[engine]
    built = [_built_29()] if engine == "29" else []
    return [*built, *(unpacked(name) for name in upper), unpacked(f"compose-{compose}"), rootfs()]


def _modules() -> list[GoModule]:
    """Return what Docker Engine 29 is built of. The versions are those that its own Dockerfile names."""
    return [
        GoModule(
            "github.com/moby/moby/v2",
            "v2.0.0-beta.24",
            "h1:sWv7EckkDJhpraR9yUjkw1XeVf39+MWd58E22PYloNA=",
            {"usr/sbin/dockerd": "cmd/dockerd", "usr/sbin/docker-proxy": "cmd/docker-proxy"},
            {
                "github.com/moby/moby/v2/dockerversion.Version": VERSION_29,
                "github.com/moby/moby/v2/dockerversion.GitCommit": "lab",
            },
            tags="netgo osusergo static_build",
        ),
        GoModule(
            "github.com/docker/cli",
            f"v{VERSION_29}+incompatible",
            "h1:qYL1bCp6cRw2SB1xmLlIOPyV171dilw9W2Jew38vy9c=",
            {"usr/bin/docker": "cmd/docker"},
            {"github.com/docker/cli/cli/version.Version": VERSION_29},
        ),
        GoModule(
            "github.com/opencontainers/runc",
            "v1.5.1",
            "h1:zgJPvESRUNz2UhHTG436ZIewGbQoJDAO9HRyyarggfY=",
            {"usr/sbin/runc": "."},
            {},
            tags="seccomp urfave_cli_no_docs netgo osusergo",
            libraries=unpacked("libseccomp-dev"),
        ),
    ]


def _built_29() -> Path:
    folder = BUILD / "unpacked" / f"docker-{VERSION_29}"
    with made_once(folder) as fresh:
        if fresh:
            for module in _modules():
                build(module, fresh)
    return folder
