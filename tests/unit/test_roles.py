"""Roles: defaults/main.yml and meta/argument_specs.yml say the same, and every variable begins with the role's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())


def load(role: str, file: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / file).read_text())


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_are_equal(role: str) -> None:
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    with_default = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert load(role, "defaults/main.yml") == with_default
    assert all("description" in option and name.startswith(f"{role}_") for name, option in options.items())


@pytest.mark.parametrize("role", ROLES)
def test_passwords_are_never_logged_by_the_argument_check(role: str) -> None:
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    passwords = [name for name in options if name.endswith("password")]
    assert passwords and all(options[name].get("no_log") is True for name in passwords)


@pytest.mark.parametrize("role", ROLES)
def test_internal_variables_carry_the_role_s_name(role: str) -> None:
    assert all(name.startswith(f"__{role}_") for name in load(role, "vars/main.yml"))
