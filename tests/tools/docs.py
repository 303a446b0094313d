"""Write docs/: a page for each module and each role, made of what the sources say, and an index.

Usage: docs.py [write]. Without ``write`` nothing is written, and a page that is not up to date is an error.

antsibull-docs was tried: it puts options into raw HTML, which forges leave out of reStructuredText, and takes no
defaults that are templates. Its parser of Ansible's markup is used. docs/guides is written by hand. Needs the dev
environment.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antsibull_docs_parser import dom
from antsibull_docs_parser.parser import Context, parse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
NAME = "hardened.clickstack"
SHORT = 90
"""Characters of a default that is shown; a longer one is looked up."""
Doc = dict[str, Any]


def ansible_doc(kind: str, names: list[str]) -> Doc:
    """Return what ansible-doc says of plugins of the checkout, by their short names."""
    program = str(Path(sys.executable).with_name("ansible-doc"))
    command = [program, "--json", "-t", kind, *(f"{NAME}.{name}" for name in names)]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build" / "collections")}
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return {name.removeprefix(f"{NAME}."): page for name, page in json.loads(said).items()}


def markdown(text: str | list[str]) -> str:
    """Return Ansible's markup as Markdown: one paragraph, in which what is not prose is code."""
    paragraphs = parse([text] if isinstance(text, str) else text, Context())
    return " ".join("".join(map(_part, paragraph)) for paragraph in paragraphs)


def _part(part: dom.AnyPart) -> str:
    match part:
        case dom.TextPart():
            return re.sub(r"[<*|]", r"\\\g<0>", part.text)
        case dom.LinkPart():
            return f"[{part.text}]({part.url})"
        case dom.ModulePart() if part.fqcn.startswith(f"{NAME}."):
            return f"[`{part.fqcn}`](../modules/{part.fqcn.removeprefix(f'{NAME}.')}.md)"
        case dom.PluginPart():
            return f"`{part.plugin.fqcn}`"
        case dom.OptionNamePart() | dom.ReturnValuePart():
            return f"`{part.name}`" if part.value is None else f"`{part.name}={part.value}`"
    (text,) = (getattr(part, name) for name in ("text", "value", "name", "fqcn", "url") if hasattr(part, name))
    return f"`{text}`"


def flow(value: Any) -> str:
    """Return a value as YAML in one line."""
    return value if isinstance(value, str) and value else json.dumps(value)


def facts(option: Doc) -> str:
    """Return type, choices and default of an option."""
    kind = option.get("type", "str")
    said = [f"{kind} of {option['elements']}" if "elements" in option else kind]
    if option.get("required"):
        said.append("**required**")
    if "choices" in option:
        said.append("one of " + ", ".join(f"`{flow(choice)}`" for choice in option["choices"]))
    if option.get("default") is not None:
        default = flow(option["default"])
        is_short = len(default) <= SHORT and "\n" not in default
        said.append(f"default `{default}`" if is_short else "with a longer default")
    return ", ".join(said)


def entries(options: Doc, nested: str, level: int = 0) -> Iterator[str]:
    """Return a list with an entry for each option, or each value that is returned, and what lies in it below."""
    for name, option in options.items():
        extra = f", returned {markdown(option['returned'])}" if "returned" in option else ""
        yield f"{'  ' * level}- **`{name}`** ({facts(option)}{extra}): {markdown(option['description'])}"
        yield from entries(option.get(nested) or {}, nested, level + 1)


def module(name: str, page: Doc) -> str:
    """Return the page of a module."""
    doc = page["doc"]
    parts = [f"# {name}", markdown(doc["short_description"]) + ".", *map(markdown, doc["description"])]
    if doc.get("requirements"):
        parts.append("Needs, where it runs: " + "; ".join(map(markdown, doc["requirements"])) + ".")
    sections = {
        "Options": entries(doc.get("options") or {}, "suboptions"),
        "Attributes": (f"- **`{key}`**: {attribute['support']}. {markdown(attribute['description'])}"
                       for key, attribute in (doc.get("attributes") or {}).items()),
        "Notes": (f"- {markdown(note)}" for note in doc.get("notes") or ()),
        "Examples": iter(["```yaml", (page["examples"] or "").strip(), "```"] if page["examples"] else []),
        "Results": entries(page["return"] or {}, "contains"),
    }  # fmt: skip
    for title, lines in sections.items():
        text = "\n".join(lines)
        parts += [f"## {title}", text] if text else []
    return "\n\n".join(parts)


def prose(comment: list[str]) -> str:
    """Return the lines of a comment as a paragraph; indented ones, a word and what it means, as a list."""
    text, was_item = "", False
    for line in comment:
        item = re.match(r"  (\S.*?) {2,}(.*)", line)
        if item:
            lead = "\n" if was_item else "\n\n"
            text += f"{lead}- `{item[1]}`: {item[2]}"
        else:
            text += "\n\n" + line if was_item and not line.startswith(" ") else f" {line.strip()}"
        was_item = bool(item) or (was_item and line.startswith(" "))
    return re.sub(r"<(?=[^`]*(`[^`]*`[^`]*)*$)", r"\<", text.strip())


def role(name: str, page: Doc) -> str:
    """Return the page of a role: inputs with the comments of defaults/main.yml, then those of other entry points."""
    points = page["entry_points"]
    main = points["main"]
    parts = [f"# {name}", markdown(main["short_description"]) + ".", markdown(main.get("description", []))]
    links = [f"[{text}](../../roles/{name}/{text})" for text in ("README.md", "defaults/main.yml")]
    parts.append(f"How it is used: {links[0]}. All defaults: {links[1]}.")
    comment: list[str] = []
    ended = True
    for line in (ROOT / "roles" / name / "defaults" / "main.yml").read_text().splitlines():
        if title := re.match(r"# -- (.*?) -*$", line):
            parts.append(f"## {title[1]}")
        elif variable := re.match(rf"(?:# )?({name}_\w+):(?: required,? ?(.*))?", line):
            option = main["options"].pop(variable[1])
            text = "\n".join(entries({variable[1]: option}, "options"))
            if comment:
                parts += [prose(comment), text]
            elif parts[-1].startswith("- "):
                parts[-1] += f"\n{text}"
            else:
                parts.append(text)
            comment, ended = [], True
        elif line.startswith("# "):
            comment = [line[2:]] if ended else [*comment, line[2:]]
            ended = False
        elif not line.startswith(" "):
            comment = []
    if main["options"]:
        sys.exit(f"{name}: not in defaults/main.yml, not even as a comment: {', '.join(main['options'])}")
    for point, doc in points.items():
        if point != "main":
            parts += [f"## Entry point `{point}`", markdown(doc.get("description", doc["short_description"]))]
            parts.append("\n".join(entries(doc.get("options") or {}, "options")))
    return "\n\n".join(filter(None, parts))


def index(modules: Doc, roles: Doc) -> str:
    """Return the page that links all others, the guides and the playbooks."""
    rows: dict[str, list[tuple[str, str, str]]] = {"playbook": [], "role": [], "module": [], "module of a role": []}
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        head = path.read_text().splitlines()[0].removeprefix("# ")
        rows["playbook"].append(
            (f"{NAME}.{path.stem}", f"../playbooks/{path.name}", head.partition(":")[0].rstrip("."))
        )
    for name, page in roles.items():
        rows["role"].append((name, f"roles/{name}.md", page["entry_points"]["main"]["short_description"]))
    for name, page in modules.items():
        kind = "module of a role" if name.startswith(("stack_", "audit_")) else "module"
        rows[kind].append((name, f"modules/{name}.md", page["doc"]["short_description"]))
    guides = sorted((DOCS / "guides").glob("*.md"))
    links = [f"- [{path.read_text().splitlines()[0].removeprefix('# ')}](guides/{path.name})" for path in guides]
    parts = [f"# {NAME}", "\n".join(links)]
    for kind, lines in rows.items():
        parts.append(
            "\n".join([f"| {kind} | |\n|---|---|", *(f"| [{one}]({to}) | {said} |" for one, to, said in lines)])
        )
    return "\n\n".join(parts)


def pages() -> dict[str, str]:
    """Return the text of every page by its path in docs/."""
    modules = ansible_doc("module", sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")))
    roles = ansible_doc(
        "role", sorted(path.parents[1].name for path in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    )
    made = {"README.md": index(modules, roles)}
    made |= {f"modules/{name}.md": module(name, page) for name, page in modules.items()}
    made |= {f"roles/{name}.md": role(name, page) for name, page in roles.items()}
    return {path: f"{text}\n" for path, text in made.items()}


def main() -> None:
    """Write what differs, or say it."""
    wanted = pages()
    written = [path for path in DOCS.rglob("*.md") if path.parent.name != "guides"]
    there = {str(path.relative_to(DOCS)): path.read_text() for path in written}
    differing = [path for path in sorted(wanted.keys() | there.keys()) if wanted.get(path) != there.get(path)]
    for path in differing:
        if sys.argv[1:] != ["write"]:
            lines = (there.get(path, "").splitlines(), wanted.get(path, "").splitlines())
            print(*difflib.unified_diff(*lines, f"docs/{path}", "as the sources say", lineterm="", n=1), sep="\n")
        elif path in wanted:
            (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
            (DOCS / path).write_text(wanted[path])
        else:
            (DOCS / path).unlink()
    if differing and sys.argv[1:] != ["write"]:
        sys.exit("docs/ is not up to date: run make docs")


if __name__ == "__main__":
    main()
