"""Fixtures of the suites that need the lab: real Docker hosts in network namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sandbox.lab import ENGINES, Host, Lab, Unavailable
from tests.sandbox.lab.archive import image_archive
from tests.sandbox.lab.packages import BUILD, made_once, unpacked

LAB_ENGINES = os.environ.get("LAB_ENGINES", " ".join(ENGINES)).split()
"""The Docker Engines the suites run on."""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab for the whole session: make hosts with names of your own."""
    if os.geteuid() != 0:
        pytest.skip("the lab makes network namespaces and mounts: it needs root")
    with Lab() as running:
        yield running


@pytest.fixture(scope="session")
def new_host(lab: Lab) -> Callable[..., Host]:
    """Make a host: new_host(name, engine="20.10"). Skips the test, with the reason, where this engine cannot be had."""

    def make(name: str, engine: str = "20.10", compose: str = "2.40", wait: bool = True) -> Host:
        try:
            return lab.host(name, engine, compose, wait)
        except Unavailable as reason:
            pytest.skip(f"without Docker Engine {engine}: {reason}")

    return make


@pytest.fixture(scope="session")
def busybox() -> Path:
    """An archive for Host.load: the image `lab/busybox:1`, whose command names are busybox' own."""
    folder = BUILD / "images" / "busybox-1"
    with made_once(folder) as fresh:
        if fresh:
            (fresh / "root/bin").mkdir(parents=True)
            (fresh / "root/tmp").mkdir()
            (fresh / "root/tmp").chmod(0o1777)
            program = unpacked("busybox") / "bin/busybox"
            names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
            shutil.copy(program, fresh / "root/bin/busybox")
            for name in names:
                if name != "busybox":
                    (fresh / "root/bin" / name).symlink_to("busybox")
            image = image_archive(["lab/busybox:1"], fresh / "root", {"Cmd": ["sh"], "Env": ["PATH=/bin"]})
            (fresh / "image.tar").write_bytes(image)
    return folder / "image.tar"
