"""How the tests of roles run a role: as a playbook with nothing else in it, on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.playbook import Run, run_playbook


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Run]:
    """Run a role: `play("stack_tls", {...}, "--check")`; `tasks_from` names another entry point than main."""

    def run(role: str, variables: dict[str, Any], *arguments: str, tasks_from: str = "main", **environment: str) -> Run:
        task = {
            "name": "The role",
            "ansible.builtin.include_role": {"name": f"hardened.clickstack.{role}", "tasks_from": tasks_from},
        }
        plays = [{"name": "Roles", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": [task]}]
        return run_playbook(plays, *arguments, folder=tmp_path, **environment)

    return run
