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


def _options(page: str) -> dict[str, dict[str, str]]:
    """The options of a page or fragment: of each, its keys (``description``, ``type``, ...) with their text."""
    block = re.search(r"^options:\n((?:  .*\n|\n)*)", page, re.MULTILINE)
    return {name: _blocks(text, 4) for name, text in _blocks(block[1], 2).items()} if block else {}


def _blocks(text: str, indent: int) -> dict[str, str]:
    """The keys of a mapping at this indentation, each with its whole text."""
    starts = list(re.finditer(rf"^ {{{indent}}}(\w+):", text, re.MULTILINE))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    return {start[1]: text[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def _nested(plural: str, kind: str, what: str) -> str:
    """One list option, and the options of the kind's module as its suboptions."""
    page = _page(kind)
    options: dict[str, dict[str, str]] = {}
    for fragment in re.findall(r"hardened\.clickstack\.clickhouse\.(\w+)", page):
        options.update(_options(getattr(Shared, fragment.upper())))
    for name, keys in _options(page).items():
        options[name] = {**options.get(name, {}), **keys}  # a page may say a fragment's option in its own words
    for once in _ONCE:
        options.pop(once, None)
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
    for name, keys in options.items():
        text += textwrap.indent(f"  {name}:\n" + "".join(keys.values()), "    ")
    return re.sub(r"\bO\((\w+)", lambda at: f"O({plural}[].{at[1]}" if at[1] in options else at[0], text)


class ModuleDocFragment:
    """``hardened.clickstack.clickhouse_access``: one list option for each kind."""

    # annotated: yamllint of ansible-test reads assignments, and takes only plain texts
    DOCUMENTATION: str = "options:\n" + "".join(
        _nested(plural, kind, what)
        for plural, (kind, what) in _KINDS.items()
        if (_MODULES / f"clickhouse_{kind}.py").exists()
    )
