"""Debian packages by checksum: fetched once, unpacked side by side, never installed on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(__file__).resolve().parents[3] / ".build" / "lab"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")

_POOL = "pool/main"
PACKAGES: dict[str, list[tuple[str, str]]] = {
    "busybox": [
        (
            "b/busybox/busybox-static_1.35.0-4+deb12u1+b1_amd64.deb",
            "3d3fdbe91d4660c873e14b092c213fe81c1da6362daa236eb25d0171eb108744",
        ),
    ],
    "compose-2.26": [
        (
            "d/docker-compose/docker-compose_2.26.1-4_amd64.deb",
            "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea",
        ),
    ],
    "compose-2.40": [
        (
            "d/docker-compose/docker-compose_2.40.3-3_amd64.deb",
            "e7603d5e6df0f8404f7b03da478022b87d7b50644cffe68884b071e5cfc17fd3",
        ),
    ],
    "containerd-2.1": [
        (
            "c/containerd/containerd_2.1.9+ds1-5_amd64.deb",
            "2dda86ce7033fd612fc50e136679d8174ccad680eb29cd4611e0d2a1b84cf591",
        ),
    ],
    "docker-26.1": [
        (
            "d/docker.io/docker.io_26.1.5+dfsg1-9+deb13u1+b1_amd64.deb",
            "53ae1a99f15113f0a0d2226808ec0d24ee31b3b87b87ab8ec35be09a1a2ee13b",
        ),
        (
            "d/docker.io/docker-cli_26.1.5+dfsg1-9+deb13u1+b1_amd64.deb",
            "596647bc4ffaaaf2e2321116b8a10f6a6086ada797c17a7117798cb391a72776",
        ),
        (
            "c/containerd/containerd_1.7.24~ds1-6+deb13u1_amd64.deb",
            "ed708deb96fe476a3bce4efa5c0538dfbcf717ab9a7c7944ba7260342c25899c",
        ),
    ],
    "docker-28.5": [
        (
            "d/docker.io/docker.io_28.5.2+dfsg4-5_amd64.deb",
            "69a59cc77a1fb8ee9ad6859abc2e6de5d76b70887405595c2b1307818fecf682",
        ),
        (
            "d/docker.io/docker-cli_28.5.2+dfsg4-5_amd64.deb",
            "8ea2428acdda666f41263f5a0d3a85681a696491361574eb7bd721a1194939b9",
        ),
    ],
    "libseccomp-dev": [
        (
            "libs/libseccomp/libseccomp-dev_2.5.4-1+deb12u1_amd64.deb",
            "5fb305f3aeb293e2b78a4cfcb58c0f42179703c371a408d002c8454661e6b7b2",
        ),
    ],
}
"""Path below the mirror's pool and SHA-256 of each package. Debian forgets packages of testing and unstable."""


class Unavailable(Exception):
    """Something the lab is made of cannot be had here; the message says what and why."""


@contextmanager
def made_once(path: Path) -> Iterator[Path | None]:
    """Yield a folder to fill, which comes to lie at ``path`` if the block succeeds, or None if that is there.

    Several test processes may want the same thing: the others wait for the first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            yield None
            return
        fresh = path.with_name(f".{path.name}.fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        yield fresh
        fresh.rename(path)


def fetch(place: str, sha256: str) -> Path:
    """Return the package file, from the cache or from the mirror.

    Raises Unavailable where the mirror does not have it (any more), OSError where it cannot be asked or sends something
    else.
    """
    path = BUILD / "packages" / Path(place).name
    if path.exists():
        return path
    address = f"{MIRROR}/{_POOL}/{place}"
    try:
        with urllib.request.urlopen(address, timeout=120) as answer:
            content: bytes = answer.read()
    except urllib.error.HTTPError as error:
        if error.code in (404, 410):
            raise Unavailable(f"{address} is there no longer") from error
        raise
    except OSError as error:
        raise OSError(f"{address} cannot be fetched: {error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise OSError(f"{address} is not the file it was: its SHA-256 is another one")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(content)
    fresh.rename(path)
    return path


def unpacked(name: str) -> Path:
    """Return the folder into which the packages called ``name`` are unpacked, as they would be on a root file system.

    Raises Unavailable as fetch does.
    """
    folder = BUILD / "unpacked" / name
    with made_once(folder) as fresh:
        if fresh:
            for place, sha256 in PACKAGES[name]:
                subprocess.run(["dpkg", "-x", fetch(place, sha256), fresh], check=True)
    return folder
