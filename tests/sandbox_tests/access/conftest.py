"""One engine per version for all these tests, and an empty access control for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.engine import Engine
from tests.sandbox_tests.access.support import Access


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The newest engine."""
    with Engine("26.9") as engine:
        yield engine


@pytest.fixture
def access(tmp_path: Path, engine: Engine) -> Iterator[Access]:
    """An access control as of 26.9 whose writable storage is empty."""
    access = Access(tmp_path, engine)
    yield access
    access.control.close()
