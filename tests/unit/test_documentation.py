"""The module pages are the manual: every option says what leaving it out means, and every list what empty means.

Links between the pages lead somewhere, in the checkout and, from what is in the artifact, there too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.hardened.clickstack.plugins.doc_fragments import clickhouse, clickhouse_access

ROOT = Path(__file__).parents[2]
FRAGMENTS = {module.__name__.rpartition(".")[2]: module.ModuleDocFragment for module in (clickhouse, clickhouse_access)}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))


def documentation(module: str) -> dict[str, Any]:
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text())
    texts = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    page: dict[str, Any] = yaml.safe_load(ast.literal_eval(texts["DOCUMENTATION"]))
    options: dict[str, Any] = {}
    for name in page.get("extends_documentation_fragment", []):
        _namespace, _collection, fragment, *part = name.split(".")
        text = getattr(FRAGMENTS[fragment], part[0].upper() if part else "DOCUMENTATION")
        options.update(yaml.safe_load(text).get("options", {}))
    for name, option in page["options"].items() if "options" in page else ():
        options[name] = {**options.get(name, {}), **option}
    return options


def walk(options: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in options.items():
        yield path + name, option
        yield from walk(option.get("suboptions", {}), f"{path}{name}.")


@pytest.mark.parametrize("module", MODULES)
def test_every_option_says_what_leaving_it_out_means(module: str) -> None:
    silent = []
    for path, option in walk(documentation(module)):
        text = " ".join([option["description"]] if isinstance(option["description"], str) else option["description"])
        said = "omitted" in text or option.get("required") or "default" in option
        if not said:
            silent.append(path)
    assert not silent


@pytest.mark.parametrize("module", MODULES)
def test_every_top_level_list_says_what_empty_means(module: str) -> None:
    lists = {name: option for name, option in documentation(module).items() if option["type"] in ("list", "dict")}
    silent = [name for name, option in lists.items() if "mpty" not in " ".join(option["description"])]
    assert not silent


PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("roles/*/README.md")]
)
DEVELOPMENT = ("CONTRIBUTING.md", "tests/")
"""What the README alone links to and the artifact does not have."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _hash, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        is_shipped = inside and not str(target.relative_to(ROOT)).startswith(DEVELOPMENT)
        if not inside or not (is_shipped or page.parent == ROOT) or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken
