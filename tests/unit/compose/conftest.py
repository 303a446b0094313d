"""A project directory for each test of compose, and both versions of Docker Compose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.compose.support import VERSIONS, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty project directory."""
    return Folder(tmp_path)


@pytest.fixture
def one(folder: Folder) -> Callable[[str], Folder]:
    """A project of one file with this text."""
    return lambda text: folder.write({"compose.yml": text})


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """A version of Docker Compose."""
    return str(request.param)
