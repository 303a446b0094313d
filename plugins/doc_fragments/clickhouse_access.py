# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of clickhouse_access: those of the single modules, a list for each kind. Composed, so that they agree."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

from ansible_collections.hardened.clickstack.plugins.doc_fragments.clickhouse import (
    ModuleDocFragment as Shared,
)

_MODULES = Path(__file__).parents[1] / "modules"
_KINDS = {
    "databases": ("database", "Databases to create."),
    "named_collections": ("named_collection", "Named collections."),
    "settings_profiles": ("settings_profile", "Settings profiles."),
    "roles": ("role", "Roles."),
    "users": ("user", "Users."),
    "quotas": ("quota", "Quotas."),
    "row_policies": ("row_policy", "Row policies."),
    "grants": ("grant", "What users and roles may do."),
}
_ONCE = ("cluster", "allow_lockout")
"""Options that the bulk module has once, for all entities."""


def _page(kind: str) -> str:
    """The DOCUMENTATION of a kind's own module."""
    module = ast.parse((_MODULES / f"clickhouse_{kind}.py").read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION":
            return str(ast.literal_eval(node.value))
    raise ValueError(f"clickhouse_{kind} has no DOCUMENTATION")


def _options(page: str) -> dict[str, str]:
    """The text of each option in a page or fragment."""
    block = re.search(r"^options:\n((?:  .*\n|\n)*)", page, re.MULTILINE)
    if block is None:
        return {}
    parts = re.split(r"^  (\w+):\n", block[1], flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _nested(plural: str, kind: str, what: str) -> str:
    """One list option, and the options of the kind's module as its suboptions."""
    page = _page(kind)
    options: dict[str, str] = {}
    for fragment in re.findall(r"hardened\.clickstack\.clickhouse\.(\w+)", page):
        options.update(_options(getattr(Shared, fragment.upper())))
    for name, text in _options(page).items():
        # an option that a fragment has too only adds to it
        options[name] = text + "".join(line for line in options.get(name, "").splitlines(True) if _adds(line, text))
    lines = [
        f"  {plural}:",
        "    description:",
        f"      - {what} Each has the options of M(hardened.clickstack.clickhouse_{kind}).",
        "      - If omitted or empty, there is nothing to do for this kind.",
        "    type: list",
        "    elements: dict",
        "    suboptions:",
    ]
    text = "\n".join(lines) + "\n"
    for name, body in options.items():
        if name not in _ONCE:
            text += textwrap.indent(f"  {name}:\n{body}", "    ")
    return re.sub(
        r"\bO\((\w+)", lambda at: f"O({plural}[].{at[1]}" if at[1] in options and at[1] not in _ONCE else at[0], text
    )


def _adds(line: str, text: str) -> bool:
    """Whether a line of a fragment's option is a key that the page's own text of it lacks."""
    key = re.match(r"    (\w+):", line)
    return key is not None and f"    {key[1]}:" not in text


class ModuleDocFragment:
    """``hardened.clickstack.clickhouse_access``: one list option for each kind."""

    DOCUMENTATION = "options:\n" + "".join(
        _nested(plural, kind, what)
        for plural, (kind, what) in _KINDS.items()
        if (_MODULES / f"clickhouse_{kind}.py").exists()
    )
