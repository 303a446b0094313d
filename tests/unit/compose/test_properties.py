"""For any Compose file and any rules: only lines of ports differ, a second run changes nothing, what was removed can
come back as it was, and Docker Compose sees the ports that the module says are exposed. An override file comes to the
same ports, and leaves the files alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import RulesError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.witness import ours
from tests.unit.compose.support import KEEP, KEEP_ALL, VERSIONS, Folder

COMMENTS = ("", "", " # c", "   # it's: a #comment [", " # ports: [1:1]", " #- 80:80")
OWN_LINES = ("", "# c", "# - 80:80", "# ports:", "  # deeper", "# 'quote", "# compose_ports was here")
OTHERS = (
    "command: ['ports:', \"- 80:80\"]",
    "annotations:\n  text: |\n    ports:\n      - 80:80\n\n"
    "    # compose_ports: not published (1 line): no\n    # - 80:80",
    'labels: {ports: \'80:80\', "x": "a\\tb"}',
    "environment:\n  - A=b # c\n  -   PORTS=80:80",
    "hostname:   'it''s'",
    "entrypoint: >-\n  folded text\n  with: colons",
    "x-ports: &ignored%d\n- 80:80\n- {target: 80}",
)
AFTER = ("", "expose: [80, '90']", "tty: true # - 1:1", "stdin_open: true\n# the last")
ADDRESSES = ("", "", "", "127.0.0.1", "0.0.0.0", "::1", "192.0.2.7")


@dataclass
class Text:
    """A file in the making: its lines, and which of them are lines of ports."""

    lines: list[str] = field(default_factory=list)
    of_ports: list[bool] = field(default_factory=list)

    def add(self, text: str, ports: bool = False) -> None:
        for line in text.split("\n"):
            self.lines.append(line.rstrip())
            self.of_ports.append(ports)

    def others(self) -> list[str]:
        """The lines that must stay as they are."""
        return [line for line, ports in zip(self.lines, self.of_ports, strict=True) if not ports]


@dataclass
class Case:
    """A project of one file, and rules for it."""

    text: str
    others: list[str]
    rules: list[dict[str, Any]]
    default: dict[str, Any] | None
    braces: bool


def entry(draw: Any, target: int, block: bool) -> str:
    """An entry for a container port, in one of the ways to write it; more lines only in a block list."""
    ip, udp = draw(st.sampled_from(ADDRESSES)), draw(st.booleans())
    kind = draw(st.sampled_from(["plain", "'", '"', "flow", "block"] if block else ["'", '"', "flow"]))
    published = draw(st.sampled_from(["", str(target + 1), f"${{P:-{target}}}", "$PORT", f"{target}-{target + 3}"]))
    if kind == "flow":
        parts = [f"target: {target}", *([f"published: '{published}'"] if published else [])]
        parts += [*([f"host_ip: '{ip}'"] if ip else []), *(["protocol: udp"] if udp else [])]
        return "{" + ", ".join(draw(st.permutations(parts))) + "}"
    if kind == "block":
        parts = [f"target: {target}", *([f'published: "{published}"'] if published else [])]
        parts += [*([f'host_ip: "{ip}"'] if ip else []), *(["protocol: udp"] if udp else [])]
        between = draw(st.sampled_from(["\n  ", " # c\n  ", "\n\n  ", "\n  # inside\n  "]))
        return between.join(draw(st.permutations(parts)))
    host = f"[{ip}]" if ":" in ip else ip
    text = ":".join([*([host] if ip else []), *([published] if published or ip else []), str(target)])
    text += "/udp" if udp else ""
    if kind == "plain":
        return f'"{text}"' if text.startswith("[") else text
    return kind + text + kind


def indented(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else line for line in text.split("\n"))


def ports(draw: Any, out: Text, indent: str, key: str, targets: Sequence[int], tag: str = "") -> None:
    """A list of ports under a key."""
    form = draw(st.sampled_from(["block", "block", "indentless", "line", "lines"])) if targets else "line"
    head = f"{indent}{key}:{' ' + tag if tag else ''}"
    comments = st.sampled_from(COMMENTS)
    if form in ("block", "indentless"):
        out.add(f"{head}{draw(comments)}", True)
        inner = indent + ("  " if form == "block" else "")
        for target in targets:
            if draw(st.booleans()):
                # what belongs to nobody stays; it is no line of ports
                own = draw(st.sampled_from(OWN_LINES))
                out.add(inner + own if own else "")
            text = entry(draw, target, True)
            first, *rest = text.split("\n")
            tail = "" if "#" in text.split("\n")[-1] else draw(comments)
            body = [f"{inner}- {first}", *(f"{inner}{line}" if line.strip() else "" for line in rest)]
            body[-1] += tail
            out.add("\n".join(body), True)
        return
    items = [entry(draw, target, False) for target in targets]
    if form == "line":
        out.add(f"{head} [{', '.join(items)}]{draw(comments)}", True)
        return
    out.add(f"{head} [{draw(comments)}", True)
    for index, item in enumerate(items):
        last = index + 1 == len(items) and draw(st.booleans())
        out.add(f"{indent}  {item}{'' if last else ','}{draw(comments)}", True)
    out.add(f"{indent}]{draw(comments)}", True)


@st.composite
def cases(draw: Any) -> Case:
    out = Text()
    numbers = iter(range(1000, 9000, 10))
    services: dict[str, list[int]] = {}
    shared: list[int] = []
    out.add(draw(st.sampled_from(["# a file", "", "name: p", "%YAML 1.1\n---", "---"])))
    if draw(st.booleans()):
        shared = [next(numbers) for _n in range(draw(st.integers(1, 2)))]
        out.add("x-shared:\n  base: &base\n    image: y")
        ports(draw, out, "    ", "ports", shared)
    out.add("services:")
    braces = False
    for index in range(draw(st.integers(1, 3))):
        name = f"s{index}"
        own = [next(numbers) for _n in range(draw(st.integers(0, 4)))]
        if draw(st.integers(0, 9)) == 0:
            braces = braces or bool(own)
            items = ", ".join(entry(draw, target, False) for target in own)
            out.add(f"  {name}: {{image: x, ports: [{items}]}}{draw(st.sampled_from(COMMENTS))}", True)
            services[name] = own
            continue
        out.add(f"  {name}:{draw(st.sampled_from(COMMENTS))}\n    image: x")
        for number, other in enumerate(draw(st.lists(st.sampled_from(OTHERS), unique=True, max_size=2))):
            out.add(indented(other.replace("%d", f"{index}{number}"), "    "))
        inherits = bool(shared) and draw(st.booleans())
        if inherits:
            out.add("    <<: *base")
        if own or not inherits:
            ports(
                draw,
                out,
                "    ",
                draw(st.sampled_from(["ports", '"ports"'])),
                own,
                draw(st.sampled_from(["", "!override", f"&p{index}"])),
            )
            services[name] = own
        else:
            services[name] = shared
        after = draw(st.sampled_from(AFTER))
        if after:
            out.add(indented(after, "    "))
    rules, default = _rules(draw, services, shared)
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = newline.join(out.lines) + draw(st.sampled_from(["", newline]))
    if draw(st.integers(0, 4)) == 0 and not text.startswith("%"):
        text = "\ufeff" + text
    return Case(text, out.others(), rules, default, braces)


def _rules(draw: Any, services: dict[str, list[int]], shared: list[int]) -> tuple[list[dict[str, Any]], Any]:
    actions = st.sampled_from(
        [KEEP, {"action": "bind"}, {"action": "bind", "address": "::1"}, {"action": "remove", "reason": "it's: so #1"}]
    )
    rules = []
    used = sorted({target for targets in services.values() for target in targets})
    for target in used:
        if draw(st.booleans()):
            rules.append({"target": [str(target)], **draw(actions)})
    return rules, draw(st.one_of(st.none(), actions))


def unchanged(before: Sequence[str], after: str) -> bool:
    """Whether these lines are all there, in their order."""
    lines = iter(line.rstrip("\r") for line in after.removeprefix("\ufeff").split("\n"))
    return all(any(line == found for found in lines) for line in before)


@pytest.mark.parametrize("deletes", [False, True])
@settings(
    max_examples=40,
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
def test_only_lines_of_ports_differ(deletes: bool, case: Case) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path), PORT="700").write({"compose.yml": case.text})
        compose = folder.compose(VERSIONS[len(case.text) % 2])
        compose.check(folder.exposed())
        removes = any(rule["action"] == "remove" for rule in [*case.rules, case.default or KEEP])
        if case.braces and removes and not deletes:
            return  # refused; test_edit has it
        found = folder.trim(case.rules, case.default, deletes)
        text = folder.texts()["compose.yml"]
        assert unchanged(case.others, text)
        assert text.count("\n") == text.count("\r\n") or "\r" not in text
        compose.check(found.exposed_after)
        if not found.changed:
            assert text == case.text
        rules = [rule for rule in case.rules if not (deletes and rule["action"] == "remove")]
        for again in (case.rules, rules):
            assert folder.trim(again, case.default, deletes).changed == []
            assert folder.texts()["compose.yml"] == text
        if not deletes:
            _comes_back(folder, case)


def _comes_back(folder: Folder, case: Case) -> None:
    """Kept, all ports are back; as they were written, unless they were bound or are in brackets no more."""
    bound = any(rule["action"] == "bind" for rule in [*case.rules, case.default or KEEP])
    count = len(folder.load().services)
    if not any(service.entries for service in folder.load().services.values()):
        return
    folder.trim([KEEP_ALL])
    text = folder.texts()["compose.yml"]
    assert "not published (" not in "".join(line for line in text.splitlines() if line not in case.others)
    assert count == len(folder.load().services)
    if not bound and "[" not in case.text:
        assert text == case.text


TAGS = ("", "", "", "!override", "!reset")


@st.composite
def projects(draw: Any) -> dict[str, str]:
    """Two or three files on top of each other, an included one, services that extend others; text that only says so."""
    numbers = iter(range(1000, 9000))

    def listed(indent: str, tags: Sequence[str] = ("",)) -> str:
        tag = draw(st.sampled_from(tags))
        targets = [next(numbers) for _n in range(draw(st.integers(0, 3)))]
        # some of what an earlier list has, so that the same port is there twice
        targets += [number for number in range(1000, 1003) if draw(st.integers(0, 5)) == 0]
        entries = [f"{indent}  - {entry(draw, target, False)}\n" for target in targets]
        return f"{indent}ports: {tag}\n{''.join(entries)}" if entries else f"{indent}ports: {tag} []\n"

    def service(name: str, others: Sequence[str], tags: Sequence[str], image: str = "    image: x\n") -> str:
        text = f"  {name}:\n{image}"
        if others and draw(st.booleans()):
            base = draw(st.sampled_from(list(others)))
            text += f"    extends: {{{base}}}\n"
        return text + (listed("    ", tags) if draw(st.integers(0, 4)) else "")

    other = "file: sub/other.yml, service: one"
    base = "services:\n" + service("a", [other], ("",)) + service("b", [other, "service: a"], TAGS)
    base += service("c", ["service: b"], TAGS)
    override = "services:\n" + service("a", [other], TAGS, "") + service("c", [], TAGS, "") + "  d: {image: x}\n"
    files = {
        "compose.yml": draw(st.sampled_from(["", "include: [sub/included.yml]\n"])) + base,
        "sub/other.yml": "services:\n" + service("one", ["service: two"], TAGS) + service("two", [], ("",)),
        "sub/included.yml": "services:\n" + service("i", ["file: other.yml, service: two"], TAGS),
    }
    if draw(st.booleans()):
        files["compose.override.yml"] = override
    if draw(st.booleans()):
        files["compose.yml"] += "---\nservices:\n" + service("b", [], TAGS, "")
    return files


@settings(max_examples=40, phases=(Phase.generate,), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=projects(), rules=st.lists(st.sampled_from("abci"), unique=True), removes=st.booleans())
def test_projects_of_several_files_publish_what_docker_compose_says(
    files: dict[str, str], rules: list[str], removes: bool
) -> None:
    """Before and after; rules that treat shared lines differently are refused, and change nothing."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path), PORT="700").write(files)
        compose = folder.compose(VERSIONS[len(str(files)) % 2])
        try:
            compose.check(folder.exposed())
        except ComposeError as error:
            assert "differently from run to run" in str(error)
            return
        kept = [{"service": name, **KEEP} for name in rules if any(p.startswith(f"{name} ") for p in folder.ports())]
        default = {"action": "remove"} if removes else {"action": "bind", "address": "127.0.0.1"}
        try:
            found = folder.trim(kept, default)
        except RulesError as error:
            assert "several services share this line" in str(error)
            assert folder.texts() == files
            return
        compose.check(found.exposed_after)
        before = {(port["service"], port["target"], port["protocol"]) for port in found.exposed_before}
        after = {(port["service"], port["target"], port["protocol"]) for port in found.exposed_after}
        names = {rule["service"] for rule in kept}
        assert after == {port for port in before if port[0] in names or not removes}
        assert all(port["reach"] == "loopback" for port in found.exposed_after if port["service"] not in names)
        if not removes:
            assert folder.trim(kept, default).changed == []


OVERRIDE = "override of ours.yml"


def overrides(folder: Folder, version: str, rules: Sequence[dict[str, Any]], default: Any) -> set[tuple[Any, ...]]:
    """Write an override file; return what is exposed then. The other files stay, and a second run changes nothing."""
    files = folder.texts()
    found = folder.override(OVERRIDE, rules, default)
    assert {name: text for name, text in folder.texts().items() if name != OVERRIDE} == files
    folder.compose(version, found.paths).check(found.exposed_after)
    again = folder.override(OVERRIDE, rules, default)
    assert again.changed == [] and again.exposed_before == found.exposed_after
    (folder.path / OVERRIDE).unlink()
    return ours(found.exposed_after)


@settings(
    max_examples=40,
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
def test_an_override_file_comes_to_what_trimming_in_place_does(case: Case) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path), PORT="700").write({"compose.yml": case.text})
        exposed = overrides(folder, VERSIONS[len(case.text) % 2], case.rules, case.default)
        assert exposed == ours(folder.trim(case.rules, case.default, True).exposed_after)


@settings(max_examples=40, phases=(Phase.generate,), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(files=projects(), kept=st.lists(st.sampled_from("abci"), unique=True), removes=st.booleans())
def test_an_override_file_goes_on_top_of_any_files(files: dict[str, str], kept: list[str], removes: bool) -> None:
    """Where services share lines and cannot be trimmed in place, too."""
    with tempfile.TemporaryDirectory() as path:
        folder = Folder(Path(path), PORT="700").write(files)
        try:
            before = ours(folder.exposed())
        except ComposeError as error:
            assert "differently from run to run" in str(error)
            return
        rules = [{"service": name, **KEEP} for name in kept if any(port[0] == name for port in before)]
        default = {"action": "remove"} if removes else {"action": "bind"}
        exposed = overrides(folder, VERSIONS[len(str(files)) % 2], rules, default)
        expected = {port for port in before if port[0] in kept}
        if not removes:
            expected |= {(*port[:3], "127.0.0.1", port[4]) for port in before if port[0] not in kept}
        assert exposed == expected
