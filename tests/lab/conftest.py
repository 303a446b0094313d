"""Fixtures of the suites that need the lab: real Docker hosts in network namespaces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.lab import ENGINES, Host, Lab, Unavailable
from tests.sandbox.lab.busybox import archive

LAB_ENGINES = os.environ.get("LAB_ENGINES", " ".join(ENGINES)).split()
"""The Docker Engines the suites run on."""


def each_engine(*gate: str) -> list[Any]:
    """Parameters for all of them; without LAB_ENGINES, those that are not in `gate` are for THOROUGH=1."""
    said = "LAB_ENGINES" in os.environ
    return [
        engine if said or engine in gate else pytest.param(engine, marks=pytest.mark.thorough) for engine in LAB_ENGINES
    ]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab for the whole session: make hosts with names of your own."""
    if os.geteuid() != 0:
        pytest.skip("the lab makes network namespaces and mounts: it needs root")
    with Lab() as running:
        yield running


@pytest.fixture(scope="module")
def new_host(lab: Lab) -> Iterator[Callable[..., Host]]:
    """Make a host: new_host(name, engine="20.10"). Skips the test, with the reason, where this engine cannot be had.

    Hosts are switched off at the end of the module: systemd holds inotify instances, of which a machine has few.
    """
    made: list[Host] = []

    def make(name: str, engine: str = "20.10", compose: str = "2.40", wait: bool = True) -> Host:
        try:
            made.append(lab.host(name, engine, compose, wait))
        except Unavailable as reason:
            pytest.skip(f"without Docker Engine {engine}: {reason}")
        return made[-1]

    yield make
    for host in made:
        host.stop()


@pytest.fixture(scope="session")
def busybox() -> Path:
    """An archive for Host.load: the image `lab/busybox:1`, whose command names are busybox' own."""
    return archive()
