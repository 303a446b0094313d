"""Override files, character by character, and what both versions of Docker Compose make of them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.override import WRITTEN_BY, Place, place
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import RulesError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.runner import Disk
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.witness import Program
from tests.unit.compose.support import CLICKSTACK, CLICKSTACK_ENV, KEEP, KEEP_ALL, REMOVE, Folder, command

WHY = {**REMOVE, "reason": "why: not #1"}
BIND: dict[str, Any] = {"action": "bind"}
NAME = "docker-compose.override.yml"

CASES: dict[str, tuple[dict[str, str], list[dict[str, Any]], Any, str]] = {
    "ClickStack's own": (
        {"docker-compose.yml": CLICKSTACK, ".env": CLICKSTACK_ENV},
        [
            {"service": "otel-collector", "target": ["4317-4318"], **KEEP},
            {"service": "app", "target": ["8080"], **BIND},
        ],
        WHY,
        """\
services:
  otel-collector:
    ports: !override
      # compose_ports: not published (1 line): why: not #1
      # - "13133:13133"
      # compose_ports: not published (1 line): why: not #1
      # - "24225:24225"
      - "4317:4317"
      - "4318:4318"
      # compose_ports: not published (1 line): why: not #1
      # - "8888:8888"
  app:
    ports: !override
      # compose_ports: not published (1 line): why: not #1
      # - "${HYPERDX_API_PORT}:${HYPERDX_API_PORT}"
      - "127.0.0.1:${HYPERDX_APP_PORT}:${HYPERDX_APP_PORT}"
""",
    ),
    "only services that the rules change": (
        {"compose.yml": "services:\n  a: {image: x, ports: [1, '127.0.0.1:2:2']}\n  b: {image: x, ports: [3]}\n"},
        [{"service": "a", "target": ["2"], **BIND}, {"service": "b", **REMOVE, "reason": "none"}],
        None,
        'services:\n  b:\n    ports: !reset []\n      # compose_ports: not published (1 line): none\n      # - "3"\n',
    ),
    "nothing to override": (
        {"compose.yml": "services:\n  a: {image: x, ports: [1]}\n"},
        [],
        None,
        "services: {}\n",
    ),
    "long entries, with what their merge keys bring": (
        {
            "compose.yml": """\
x-port: &port {target: 80, protocol: udp, x-of: [ours]}
services:
  a:
    image: x
    ports:
      - <<: *port
        published: "${P:-8080}"
        name: "the: name"
        app_protocol: http
      - {target: "81", host_ip: "0.0.0.0", published: 8081-8083, mode: host}
      - target: 82
      # c
"""
        },
        [{"target": ["82"], **WHY}],
        {**BIND, "address": "::1"},
        """\
services:
  a:
    ports: !override
      - target: 80
        protocol: udp
        published: "${P:-8080}"
        name: "the: name"
        app_protocol: http
        host_ip: "::1"
      - target: "81"
        host_ip: "::1"
        published: 8081-8083
        mode: host
      # compose_ports: not published (1 line): why: not #1
      # - target: 82
""",
    ),
    "a long entry as a comment": (
        {"compose.yml": "services: {a: {image: x, ports: [{target: 80, published: '8080'}, 81]}}"},
        [{"target": ["80"], **WHY}],
        None,
        "services:\n  a:\n    ports: !override\n      # compose_ports: not published (2 lines): why: not #1\n"
        '      # - target: 80\n      #   published: "8080"\n      - "81"\n',
    ),
    "a range that rules divide": (
        {"compose.yml": "services: {a: {image: x, ports: ['${P:-10}-12:20-22/udp', '30-31:30-31', '40-49:40']}}"},
        [{"target": ["21"], **WHY}, {"target": ["22"], **BIND}],
        None,
        """\
services:
  a:
    ports: !override
      - "10:20/udp"
      # compose_ports: not published (1 line): why: not #1
      # - "11:21/udp"
      - "127.0.0.1:12:22/udp"
      - "30-31:30-31"
      - "40-49:40"
""",
    ),
    "a line that services share": (
        {
            "compose.yml": """\
services:
  a: &a
    image: x
    ports: &ports
      - 1:1
      - &two "2:2"
  b: {<<: *a}
  c: {extends: a, ports: [*two, '3:3']}
  d: {image: x, ports: *ports}
"""
        },
        [{"service": "b", **REMOVE}, {"service": "c", "target": ["2"], **BIND}],
        None,
        """\
services:
  b:
    ports: !reset []
      # compose_ports: not published (1 line): not needed outside of the project's networks
      # - "1:1"
      # compose_ports: not published (1 line): not needed outside of the project's networks
      # - "2:2"
  c:
    ports: !override
      - "1:1"
      - "127.0.0.1:2:2"
      - "127.0.0.1:2:2"
      - "3:3"
""",
    ),
    "an included service, whose variables mean nothing here": (
        {
            "compose.yml": "include: [sub/one.yml]\nservices: {a: {image: x, ports: ['${V:-1}:1']}}\n",
            "sub/one.yml": "services: {b: {image: x, ports: ['${V}:2', '5:5', "
            "{target: '${T}', published: '${V}', name: '$${V}'}]}}\n",
            "sub/.env": "V=1002\nT=8\n",
        },
        [],
        BIND,
        """\
services:
  a:
    ports: !override
      - "127.0.0.1:${V:-1}:1"
  b:
    ports: !override
      - "127.0.0.1:1002:2/tcp"
      - "127.0.0.1:5:5"
      - target: "8"
        published: "1002"
        name: "$${V}"
        host_ip: "127.0.0.1"
""",
    ),
    "a variable with more than one part of an entry": (
        {
            "compose.yml": "services: {a: {image: x, ports: ['${A}:80', '${A}:81']}, b: {image: x, ports: ['$T']}}",
            ".env": "A=192.0.2.1:8080\nT=90:90\n",
        },
        [{"target": ["81"], **KEEP}],
        BIND,
        """\
services:
  a:
    ports: !override
      - "127.0.0.1:8080:80/tcp"
      - "${A}:81"
  b:
    ports: !override
      - "127.0.0.1:90:90/tcp"
""",
    ),
    "several files, and names that YAML could take for something else": (
        {
            "compose.yml": "services: {'on': {image: x, ports: [1]}, 'a.b': {image: x, ports: [3]}, '8': {image: x}}",
            "compose.override.yaml": "services: {'on': {ports: !override [4]}, '8': {ports: ['5:5', '[::]:6:6']}}",
            ".env": f"COMPOSE_FILE=compose.yml:compose.override.yaml:{NAME}\n",
        },
        [],
        {**BIND, "address": "::1"},
        """\
services:
  "on":
    ports: !override
      - "[::1]::4"
  a.b:
    ports: !override
      - "[::1]::3"
  "8":
    ports: !override
      - "[::1]:5:5"
      - "[::1]:6:6"
""",
    ),
    "what was a comment in the files stays one, or comes back": (
        {
            "compose.yml": """\
services:
  a:
    image: x
    ports: []
      # compose_ports: not published (1 line): earlier
      # - 1:1
  b:
    image: x
    ports:
      # compose_ports: not published (1 line): earlier
      # - 2:2
      - 3:3
"""
        },
        [{"target": ["1"], **BIND}],
        REMOVE,
        """\
services:
  a:
    ports: !override
      - "127.0.0.1:1:1"
  b:
    ports: !reset []
      # compose_ports: not published (1 line): not needed outside of the project's networks
      # - "3:3"
""",
    ),
}


def body(text: str) -> str:
    """What stands below the header, which says who wrote it, and from which version it is understood."""
    first, second, rest = text.split("\n", 2)
    assert first.startswith(WRITTEN_BY) and "change the rules of the task, not this file" in first
    assert second.startswith("# Docker Compose 2.24.4 or newer must read it last.")
    return rest


@pytest.mark.parametrize("name", CASES)
def test_override_files(folder: Folder, version: str, name: str) -> None:
    files, rules, default, expected = CASES[name]
    folder.write(files)
    found = folder.override(NAME, rules, default)
    texts = folder.texts()
    assert body(texts.pop(NAME)) == expected
    assert texts == files
    folder.compose(version, found.paths[:-1]).check(found.exposed_base)
    folder.compose(version, found.paths).check(found.exposed_after)
    again = folder.override(NAME, rules, default)
    assert again.changed == [] and again.diff(str(folder.path / NAME)) == ""
    assert again.exposed_before == again.exposed_after == found.exposed_after
    assert again.exposed_base == found.exposed_base == found.exposed_before


def test_other_rules_write_it_anew(folder: Folder, version: str) -> None:
    """Judged against the other files: what an earlier run closed is there to be named, and comes back."""
    folder.write({"compose.yml": "services:\n  a: {image: x, ports: [1, 2]}\n  b: {image: x, ports: [3]}\n"})
    folder.override(NAME, [], REMOVE)
    assert folder.ports() == []
    closed = folder.texts()[NAME]
    found = folder.override(NAME, [{"target": ["2"], **BIND}], None, True)
    assert found.exposed_before == [] and len(found.exposed_base) == 3
    assert folder.ports() == ["a *::1/tcp", "a 127.0.0.1::2/tcp", "b *::3/tcp"]
    assert body(folder.texts()[NAME]) == 'services:\n  a:\n    ports: !override\n      - "1"\n      - "127.0.0.1::2"\n'
    folder.compose(version).check(found.exposed_after)
    assert '+      - "127.0.0.1::2"\n' in found.diff(str(folder.path / NAME))
    assert body(folder.override(NAME, [KEEP_ALL]).after[str(folder.path / NAME)]) == "services: {}\n"
    folder.override(NAME, [], REMOVE)
    assert folder.texts()[NAME] == closed


def test_nothing_is_said_of_removed_ports_if_they_are_deleted(folder: Folder) -> None:
    folder.write({"compose.yml": "services:\n  a: {image: x, ports: [1, 2]}\n  b: {image: x, ports: [3]}\n"})
    rules = [{"target": ["1", "3"], **REMOVE}]
    for _run in range(2):
        folder.override(NAME, rules, None, True)
        text = body(folder.texts()[NAME])
        assert text == 'services:\n  a:\n    ports: !override\n      - "2"\n  b:\n    ports: !reset []\n'
    with pytest.raises(RulesError, match=r"rules\[0\] names no port: a [(].*compose.yml:2[)] publishes 1/tcp"):
        folder.override(NAME, [{"service": "a", "target": ["4"], **REMOVE}], None, True)


def test_a_broken_file_of_ours_is_mended(folder: Folder) -> None:
    """By hand, or because upstream's next version has other variables: Docker Compose would take none of it."""
    folder.write({"compose.yml": "services: {a: {image: x, ports: [1]}}\n", NAME: f"{WRITTEN_BY}\nservices: [\n"})
    found = folder.override(NAME, [], REMOVE)
    (note,) = found.notes
    assert re.search(r"cannot be read [(].*override.yml:2: this is not YAML: .*what was exposed is told without", note)
    assert found.exposed_before == found.exposed_base and folder.ports() == []


BASE = "services: {a: {image: x, ports: [1]}}\n"
PLACES: dict[str, tuple[dict[str, str], list[str] | None, str, tuple[list[str], bool, bool]]] = {
    "beside the base": ({"compose.yaml": BASE}, None, NAME, (["compose.yaml"], True, True)),
    "with another name": ({"compose.yml": BASE}, None, "ports.yml", (["compose.yml"], False, False)),
    "elsewhere": ({"compose.yml": BASE}, None, f"sub/{NAME}", (["compose.yml"], False, False)),
    "beside another override file, which counts first": (
        {"compose.yml": BASE, "compose.override.yml": BASE},
        None,
        NAME,
        (["compose.yml", "compose.override.yml"], False, False),
    ),
    "the usual names, named": ({"compose.yml": BASE}, ["compose.yml", NAME], NAME, (["compose.yml"], True, True)),
    "files of other names": ({"one.yml": BASE}, ["one.yml"], NAME, (["one.yml"], False, False)),
    "files of other names, named": ({"one.yml": BASE}, ["one.yml", "o.yml"], "o.yml", (["one.yml"], False, True)),
    "COMPOSE_FILE": (
        {"one.yml": BASE, ".env": "COMPOSE_FILE=one.yml:./ports.yml\n"},
        None,
        "ports.yml",
        (["one.yml"], True, True),
    ),
    "COMPOSE_FILE without it": (
        {"compose.yml": BASE, ".env": "COMPOSE_FILE=compose.yml\n"},
        None,
        NAME,
        (["compose.yml"], False, False),
    ),
}


def placed(folder: Folder, name: str) -> Place:
    """Where an override file stands, with the one variable that .env may set."""
    environment = {"COMPOSE_FILE": folder.texts()[".env"].strip().split("=")[1]} if ".env" in folder.texts() else {}
    return place(str(folder.path), folder.names, environment, Disk(), str(folder.path / name))


@pytest.mark.parametrize("case", PLACES)
def test_where_it_stands_among_the_files(folder: Folder, version: str, case: str) -> None:
    """The same whether it is there already or not; and Docker Compose, told nothing, reads it if we say so."""
    files, folder.names, name, (base, by_default, listed) = PLACES[case]
    found = placed(folder.write(files), name)
    assert placed(folder.write({name: f"{WRITTEN_BY}\nservices: {{ours: {{image: x}}}}\n"}), name) == found
    told = subprocess.run(
        [command(version), "config", "--services"],
        cwd=folder.path,
        env={"HOME": str(folder.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ("ours" in told.stdout.split()) is by_default
    assert [os.path.relpath(path, folder.path) for path in found.base] == base
    assert (found.by_default, found.listed) == (by_default, listed)
    result = found.result(str(folder.path), {"COMPOSE_PATH_SEPARATOR": ";"})
    assert result["compose_file"] == ";".join([*base, name]) and result["read_by_default"] is by_default
    assert bool(found.notes(str(folder.path), {})) is not (by_default or listed)


REFUSED: dict[str, tuple[dict[str, str], list[str] | None, str, str]] = {
    "somebody else's": (
        {"compose.yml": BASE, NAME: "# Mine\n" + BASE},
        None,
        NAME,
        "override.yml:1: compose_ports did not write this file, so it does not replace it",
    ),
    "an empty one": ({"compose.yml": BASE, "x.yml": ""}, None, "x.yml", "x.yml:1: compose_ports did not write this"),
    "not the last": (
        {"a.yml": BASE, "b.yml": BASE},
        ["a.yml", NAME, "b.yml"],
        NAME,
        "override.yml must be the last of the project's files, or ports of .*b.yml come on top of it",
    ),
    "not the last in COMPOSE_FILE": (
        {"a.yml": BASE, "b.yml": BASE, ".env": "COMPOSE_FILE=a.yml:x.yml:b.yml\n"},
        None,
        "x.yml",
        "x.yml must be the last of the project's files",
    ),
    "the only one": ({}, [NAME], NAME, "override.yml is the project's only Compose file"),
    "in place of the base": (
        {"docker-compose.yml": BASE},
        None,
        "compose.yml",
        "by its name, Docker Compose would read .*/compose.yml instead of .*docker-compose.yml; give it another name",
    ),
    "in place of another override file": (
        {"compose.yml": BASE, NAME: BASE},
        None,
        "compose.override.yml",
        "by its name, Docker Compose would read .*compose.override.yml instead of .*docker-compose.override.yml; give",
    ),
    "a base that is not there": ({}, ["a.yml"], NAME, "a.yml: there is no such file"),
    "a file that is included": (
        {"compose.yml": "include: [x.yml]\n" + BASE, "x.yml": f"{WRITTEN_BY}\nservices: {{b: {{image: x}}}}\n"},
        None,
        "x.yml",
        "x.yml is included or extended by the project's other files",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_places_that_cannot_be(folder: Folder, case: str) -> None:
    files, folder.names, name, expected = REFUSED[case]
    folder.write(files)
    with pytest.raises(ComposeError, match=expected):
        folder.override(name, [], REMOVE)
    assert folder.texts() == files


@pytest.mark.parametrize(
    ("version", "new"),
    [
        ("2.24.3", False),
        ("2.24.4", True),
        ("v2.24.5-desktop.1", True),
        ("2.24", False),
        ("2.25", True),
        ("2.3.9-99", False),
        ("2.40.3+ds1-0ubuntu1", True),
        ("5.0.0", True),
    ],
)
def test_versions_are_compared_by_number(version: str, new: bool) -> None:
    assert Program(["docker-compose"], version).is_at_least((2, 24, 4)) is new
