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
    "clickhouse-18.16": [
        (
            "c/clickhouse/clickhouse-common_18.16.1+ds-7.3+b2_amd64.deb",
            "80c25a57071944be5a2ecc0b3434a8a8b9359f0600b3bc8855d5f340730dc247",
        ),
        (
            "c/clickhouse/clickhouse-server_18.16.1+ds-7.3+b2_amd64.deb",
            "343046f3c71fab487838cb3da1bd1c14ca0090b5f63bcb245b637de0324e677b",
        ),
        (
            "c/capnproto/libcapnp-0.9.2_0.9.2-2_amd64.deb",
            "45ce95f7c99ab1e90aefb79a71d75809ce8f758f64e4eba5e3e2ce84e743efff",
        ),
        (
            "c/cctz/libcctz2_2.3+dfsg1-3_amd64.deb",
            "8c03722c673594c1947473f1ab372bf0bc0bf95fb5a6d98735251992ab88416e",
        ),
        (
            "c/cpuinfo/libcpuinfo0_0.0~git20220617.082deff-1+deb12u1_amd64.deb",
            "f6c984e7b265715c2c97492ab656089659d78ab65220aa9df42de6983dc878b7",
        ),
        (
            "d/double-conversion/libdouble-conversion3_3.2.1-1_amd64.deb",
            "802b880ed900e4a8d54bab77b7551a7f3408b04891c3e5650fdc2368cc1fbc0a",
        ),
        (
            "f/farmhash/libfarmhash0_0~git20190513.0d859a8-2+b1_amd64.deb",
            "935cf72a9c031294d9c0f865c719f952a47e4e96326c75dd7a39436f50c2b9ac",
        ),
        (
            "j/jemalloc/libjemalloc2_5.3.0-1_amd64.deb",
            "a4117c23c5c8acf6c9678a6cb086f000b79476369da7efe8a78a70826956ad3d",
        ),
        (
            "libt/libtool/libltdl7_2.4.7-7~deb12u1_amd64.deb",
            "8070b550321d4bd1c298f52f75374898d39112b709026d2ea5362ef1277b775a",
        ),
        (
            "m/mariadb/libmariadb3_10.11.18-0+deb12u1_amd64.deb",
            "85a6c4f9aa64a1878a494c7c54419a543a0568d5333a90f55bd28e5e8d73bff2",
        ),
        (
            "m/metrohash/libmetrohash1_1.1.3-4_amd64.deb",
            "42c19bbc303f8c63ce605416f0a2c7b16625ccd1e4db670e929089eed9909ec2",
        ),
        (
            "u/unixodbc/libodbc2_2.3.11-2+deb12u1_amd64.deb",
            "0af106cc7545f86bfa2d6f4fe644b98470704e73568feb395e07d5d60eeaefe4",
        ),
        (
            "p/pcre3/libpcre3_8.39-15_amd64.deb",
            "993ea623ce5b42d67f653f2faaa7ef15e7c9d72bfcb93e22a1eaff7aa3532303",
        ),
        (
            "p/poco/libpococrypto80_1.11.0-3+deb12u1_amd64.deb",
            "7d4ec525e08fceb67b2f88b7fe62644e9b3ceb70e0ba806705fdf0effd6f6fc7",
        ),
        (
            "p/poco/libpocodata80_1.11.0-3+deb12u1_amd64.deb",
            "b4415323692d3db98c0c15cf02e8064f86324ff0f3ba0296b4ca920fdb2fe557",
        ),
        (
            "p/poco/libpocodataodbc80_1.11.0-3+deb12u1_amd64.deb",
            "78bb72b76ab1a0d06ad4630f080a4cdb8bd9f7eb7c3b7c2129f6122e14fb9af0",
        ),
        (
            "p/poco/libpocofoundation80_1.11.0-3+deb12u1_amd64.deb",
            "bbcf7222c8b4f9ee6d236a91977242ebf2548b1d190dddbac955aed2dad3a23b",
        ),
        (
            "p/poco/libpocojson80_1.11.0-3+deb12u1_amd64.deb",
            "8487f94a9bb01ae23d4de89ceda2a19b231b06a07a4022da747b5215a43b9db2",
        ),
        (
            "p/poco/libpocomongodb80_1.11.0-3+deb12u1_amd64.deb",
            "92336a5aa1ef78d63c0114f4eea9fd7fc444d13eb97ca26b8073feadfa5d7061",
        ),
        (
            "p/poco/libpoconet80_1.11.0-3+deb12u1_amd64.deb",
            "2b3deba96b10374c1a4ae73f627983a455098adc1c1fafe026b01a8af75e53c6",
        ),
        (
            "p/poco/libpoconetssl80_1.11.0-3+deb12u1_amd64.deb",
            "aadaaba80d1c206db7c11e7f9df342d7e913057eacf549737ebf225d26067119",
        ),
        (
            "p/poco/libpocoutil80_1.11.0-3+deb12u1_amd64.deb",
            "1d793df9003ce77f873af95963fd561b649595911449bdb8e7b8004bd4b5370d",
        ),
        (
            "p/poco/libpocoxml80_1.11.0-3+deb12u1_amd64.deb",
            "553e07141029ccdae0f19abe088f04b346e2a223748f5b8b83014765b364348e",
        ),
        (
            "libr/librdkafka/librdkafka1_2.0.2-1_amd64.deb",
            "d565b098c1eb5754a9266515e3c282b1d282400903070cbdc42d0f76a14fd9f7",
        ),
        (
            "r/re2/libre2-9_20220601+dfsg-1+b1_amd64.deb",
            "5c88f0b8b91cedcdc9ec1124dbeb0ed8a1b1e159babb462054b61f9bc8bf48e9",
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
