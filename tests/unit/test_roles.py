"""Roles: defaults/main.yml and meta/argument_specs.yml say the same, and every variable begins with the role's name."""

from __future__ import annotations

import re
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


def test_passwords_are_never_logged_by_the_argument_check() -> None:
    specs = [load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"] for role in ROLES]
    passwords = {name: option for options in specs for name, option in options.items() if name.endswith("password")}
    assert passwords and all(option.get("no_log") is True for option in passwords.values())


@pytest.mark.parametrize("role", ROLES)
def test_internal_variables_carry_the_role_s_name(role: str) -> None:
    assert all(name.startswith(f"__{role}_") for name in load(role, "vars/main.yml"))


def test_the_readme_s_plays_name_variables_that_the_roles_have() -> None:
    text = (ROOT / "README.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    roles = [entry for block in blocks if isinstance(block, list) for play in block for entry in play.get("roles", [])]
    assert len(roles) >= 2
    for entry in roles:
        role = entry["role"].removeprefix("hardened.clickstack.")
        options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        assert set(entry["vars"]) <= set(options)
        assert {name for name, option in options.items() if option.get("required")} <= set(entry["vars"])


def test_pages_name_variables_that_there_are() -> None:
    """In the README and the guides. Those of a role that is not there are not judged."""
    known = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    for role in ROLES:
        for point in load(role, "meta/argument_specs.yml")["argument_specs"].values():
            known |= set(point.get("options", {}))
    unknown = {}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs/guides").glob("*.md"))]:
        named = set(re.findall(rf"\b(?:{'|'.join(ROLES)})_[a-z0-9_]*[a-z0-9]", page.read_text()))
        unknown[page.name] = sorted(named - known)
    assert not any(unknown.values()), unknown
