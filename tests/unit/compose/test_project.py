"""Several files, include, extends, merge keys: the ports of a project are those that Docker Compose puts together."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from tests.unit.compose.support import Folder

BASE = """\
services:
  a:
    image: x
    ports: ["1:1", "127.0.0.1:2:2", "3:3"]
  b: {image: x, ports: ["7:7"]}
"""
PROJECTS: dict[str, tuple[dict[str, str], list[str]]] = {
    "an override appends": (
        {
            "compose.yml": BASE,
            "compose.override.yml": "services:\n  a: {ports: ['4:4']}\n  c: {image: x, ports: [5]}\n",
        },
        ["a *:1:1", "a 127.0.0.1:2:2", "a *:3:3", "a *:4:4", "b *:7:7", "c *::5"],
    ),
    "of two alike the later one counts, and all addresses are 0.0.0.0": (
        {
            "compose.yml": BASE,
            "compose.override.yml": "services: {a: {ports: ['0.0.0.0:1:1', '2:2', '3:3', '3:3/udp']}}",
        },
        ["a 0.0.0.0:1:1", "a 127.0.0.1:2:2", "a *:3:3", "a *:2:2", "a *:3:3/udp", "b *:7:7"],
    ),
    "!override replaces, !reset clears": (
        {
            "compose.yml": BASE,
            "compose.override.yml": "services:\n  a:\n    ports: !override\n      - 9:9\n  b:\n    ports: !reset []\n",
        },
        ["a *:9:9"],
    ),
    "!reset drops what it stands at": (
        {"compose.yml": BASE, "compose.override.yml": "services:\n  b:\n    ports: !reset ['8:8']\n  a: !reset null\n"},
        [],
    ),
    "!override of a service": (
        {"compose.yml": BASE, "compose.override.yml": "services:\n  a: !override\n    image: y\n    ports: ['8:8']\n"},
        ["a *:8:8", "b *:7:7"],
    ),
    "documents of one file are merged like files": (
        {"compose.yml": BASE + "---\nservices:\n  b: {ports: ['77:77']}\n"},
        ["a *:1:1", "a 127.0.0.1:2:2", "a *:3:3", "b *:7:7", "b *:77:77"],
    ),
    "merge keys and aliases": (
        {
            "compose.yml": """\
x-base: &base
  image: x
  ports: &ports
    - 1:1
    - &two "2:2"
x-other: &other {image: y, ports: ['3:3'], network_mode: bridge}
services:
  a: {<<: *base}
  b:
    <<: [*base, *other]
  c:
    <<: [*other, *base]
    image: z
  d:
    <<: *base
    ports: [*two, '4:4']
  e:
    image: x
    ports: *ports
  f:
    <<: *base
    ports: []
"""
        },
        ["a *:1:1", "a *:2:2", "b *:1:1", "b *:2:2", "c *:3:3", "d *:2:2", "d *:4:4", "e *:1:1", "e *:2:2"],
    ),
    "merge keys within an entry": (
        {
            "compose.yml": """\
x-port: &port {target: 80, host_ip: 127.0.0.1}
services:
  a:
    image: x
    ports:
      - <<: *port
        published: 8080
      - {<<: *port, target: 81, protocol: udp}
"""
        },
        ["a 127.0.0.1:8080:80", "a 127.0.0.1::81/udp"],
    ),
    "extends of the same file": (
        {
            "compose.yml": BASE
            + """\
  c:
    extends: {service: a}
    ports: ["9:9"]
  d:
    extends: b
    ports: !override ["10:10"]
  e:
    extends: c
    ports: !reset []
  f: {extends: c}
"""
        },
        [
            "a *:1:1",
            "a 127.0.0.1:2:2",
            "a *:3:3",
            "b *:7:7",
            "c *:1:1",
            "c 127.0.0.1:2:2",
            "c *:3:3",
            "c *:9:9",
            "d *:10:10",
            "f *:1:1",
            "f 127.0.0.1:2:2",
            "f *:3:3",
            "f *:9:9",
        ],
    ),
    "extends of other files, each relative to its own": (
        {
            "compose.yml": "services: {a: {extends: {file: ./sub/one.yml, service: b}, ports: ['1:1']}}",
            "sub/one.yml": "services: {b: {extends: {file: two.yml, service: c}, ports: ['2:2', '${PORT}:20']}}",
            "sub/two.yml": "services: {c: {extends: d, ports: ['3:3']}, d: {image: x, ports: ['4:4']}}",
            ".env": "PORT=200\n",
            "sub/.env": "PORT=300\n",
        },
        ["a *:4:4", "a *:3:3", "a *:2:2", "a *:200:20", "a *:1:1"],
    ),
    "include, its variables and its overrides": (
        {
            "compose.yml": """\
include:
  - one/compose.yml
  - path: [two/compose.yml, two/more.yml]
    env_file: two/two.env
    project_directory: .
services:
  a: {image: x, ports: ["${V}:1"]}
""",
            ".env": "V=500\n",
            "one/.env": "V=1000\nW=2000\n",
            "one/compose.yml": "include: [deep/compose.yml]\nservices: {b: {image: x, ports: ['${V}:2', '${W}:3']}}",
            "one/deep/compose.yml": "services: {c: {image: x, ports: ['${V}:4', '${W}:5']}}",
            "one/deep/.env": "W=3000\n",
            "two/two.env": "W=2500\n",
            "two/compose.yml": "services: {d: {image: x, ports: ['${V}:2', '${W}:3']}}",
            "two/more.yml": "services: {d: {ports: ['66:66']}}",
        },
        ["a *:500:1", "b *:500:2", "b *:2000:3", "c *:500:4", "c *:2000:5", "d *:500:2", "d *:2500:3", "d *:66:66"],
    ),
    "an override of an included service": (
        {
            "compose.yml": "include: [one.yml]\n",
            "one.yml": BASE,
            "compose.override.yml": "services: {b: {ports: ['67:67']}}",
        },
        ["a *:1:1", "a 127.0.0.1:2:2", "a *:3:3", "b *:7:7", "b *:67:67"],
    ),
    "the host's network, and another service's": (
        {
            "compose.yml": """\
services:
  a: {image: x, network_mode: host, ports: ["5:5"], expose: ["7", 8, "9-10/udp"]}
  b: {image: x, expose: [8]}
"""
        },
        ["a *::None/None"],
    ),
    "COMPOSE_FILE names the files": (
        {".env": "COMPOSE_FILE=one.yml:two.yml\n", "one.yml": BASE, "two.yml": "services: {b: {ports: ['8:8']}}"},
        ["a *:1:1", "a 127.0.0.1:2:2", "a *:3:3", "b *:7:7", "b *:8:8"],
    ),
    "the preferred names": (
        {"compose.yaml": "services: {p: {image: x, ports: [1]}}", "docker-compose.yml": BASE},
        ["p *::1"],
    ),
    "a service that an override says nothing about": (
        {"compose.yml": "include:\nservices: {p: {image: x, ports: [1]}}", "compose.override.yml": "services:\n  p:\n"},
        ["p *::1"],
    ),
    "profiles": (
        {"compose.yml": "services: {p: {image: x, profiles: [debug], ports: [1]}}"},
        ["p *::1"],
    ),
    "no services, no ports": ({"compose.yml": "services: {p: {image: x}}\nvolumes: {v: }\n"}, []),
}


def with_protocol(port: str) -> str:
    return port if "/" in port else f"{port}/tcp"


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_publishes_what_docker_compose_publishes(folder: Folder, version: str, name: str) -> None:
    files, expected = PROJECTS[name]
    folder.write(files)
    assert sorted(folder.ports()) == sorted(map(with_protocol, expected))
    folder.compose(version).check(folder.exposed())


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "no YAML": ({"compose.yml": "services:\n  a: [\n  b: 1\n"}, "compose.yml:3: this is not YAML: "),
    "a tab": ({"compose.yml": "services:\n\ta: 1\n"}, "compose.yml:2: this is not YAML: "),
    "an unknown alias": ({"compose.yml": "services:\n  a: *b\n"}, "compose.yml:2: this is not YAML: "),
    "an empty file": ({"compose.yml": "# nothing\n"}, "compose.yml: the file is empty"),
    "an empty document": ({"compose.yml": BASE + "---\n"}, "compose.yml:6: a Compose file is a mapping"),
    "no mapping": ({"compose.yml": "- 1\n"}, "compose.yml:1: a Compose file is a mapping"),
    "no services": ({"compose.yml": "services: [1]\n"}, "compose.yml:1: services must be a mapping"),
    "services without any": ({"compose.yml": "services:\n"}, "compose.yml:1: services must be a mapping"),
    "no service": ({"compose.yml": "services:\n  a: 1\n"}, "compose.yml:2: the service a must be a mapping"),
    "a key twice": (
        {"compose.yml": "services:\n  a:\n    ports: [1]\n    ports: [2]\n"},
        "compose.yml:4: the key 'ports' is there twice",
    ),
    "empty ports": ({"compose.yml": "services:\n  a:\n    ports:\n"}, "the ports of the service a must be a list"),
    "ports as a text": (
        {"compose.yml": "services:\n  a:\n    ports: 80:80\n"},
        "compose.yml:3: the ports of the service a must be a list",
    ),
    "a broken port in an included file": (
        {"compose.yml": "include: [sub/x.yml]", "sub/x.yml": "services:\n  a:\n    ports:\n      - 80:x\n"},
        "sub/x.yml:4: a port of the service a: 'x' is not a container port",
    ),
    "a variable without value": (
        {"compose.yml": "services:\n  a:\n    ports:\n      - 1:1\n      - ${P}:80\n"},
        "compose.yml:5: a port of the service a: the variable P has no value",
    ),
    "no such include": ({"compose.yml": "include:\n  - x.yml\n"}, "compose.yml:2: there is no file "),
    "an include of itself": (
        {"compose.yml": "include: [sub/x.yml]", "sub/x.yml": "include: [../compose.yml]"},
        "sub/x.yml:1: .*compose.yml includes itself",
    ),
    "an include that is elsewhere": (
        {"compose.yml": "include: ['https://example.org/x.git']"},
        "compose.yml:1: https://example.org/x.git is not on this machine",
    ),
    "an included service that is there": (
        {
            "compose.yml": "include: [x.yml]\nservices: {a: {image: x}}",
            "x.yml": "services: {a: {image: x, ports: [1]}}",
        },
        r"compose.yml:1: the service a is in the included file \(.*x.yml:1\)",
    ),
    "extends of nobody": (
        {"compose.yml": "services:\n  a: {extends: b}\n"},
        "compose.yml:2: the service a extends b, which is not in this file",
    ),
    "extends of nobody in a file": (
        {"compose.yml": "services:\n  a: {extends: {file: x.yml, service: b}}\n", "x.yml": "services: {}"},
        "compose.yml:2: the service a extends b, which is not in ",
    ),
    "extends of no file": (
        {"compose.yml": "services:\n  a: {extends: {file: x.yml, service: b}}\n"},
        "compose.yml:2: there is no file ",
    ),
    "extends of itself": (
        {"compose.yml": "services:\n  a: {extends: b}\n  b: {extends: a}\n"},
        "the service (a|b) extends itself",
    ),
    "extends of itself by a file": (
        {
            "compose.yml": "services:\n  a: {extends: {file: x.yml, service: b}}\n",
            "x.yml": "services: {b: {extends: {file: compose.yml, service: a}}}",
        },
        "extends itself",
    ),
    "a tag that counts or not, as it happens": (
        {
            "compose.yml": "services:\n  a: {image: x, ports: [1]}\n  b: {extends: a, ports: !override [2]}\n"
            "  c: {extends: b}\n"
        },
        "compose.yml:3: !override in a service that extends a and is extended by c: Docker Compose reads this ",
    ),
    "a merge key of a text": (
        {"compose.yml": "services:\n  a: {<<: x}\n"},
        "compose.yml:2: a merge key takes a mapping",
    ),
    "no files": ({"x.yml": BASE}, "there is no Compose file: none of compose.yaml, compose.yml"),
    "a broken .env": ({"compose.yml": BASE, ".env": "A=1\nB B=2\n"}, ".env: line 2: expected NAME=value"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused_with_its_place(folder: Folder, name: str) -> None:
    files, expected = BROKEN[name]
    folder.write(files)
    with pytest.raises(ComposeError, match=f"^{re.escape(str(folder.path))}.*{expected}"):
        folder.trim(default={"action": "remove"})
    assert folder.texts() == files


@pytest.mark.parametrize("names", [[], ["x.yml"]])
def test_named_files_must_be_there(folder: Folder, names: list[str]) -> None:
    folder.write({"compose.yml": BASE})
    folder.names = names
    with pytest.raises(ComposeError, match=r"files: an empty list|x\.yml: there is no such file"):
        folder.load()


def test_exposure_says_to_whom(one: Callable[[str], Folder]) -> None:
    """The four cases, and who shares a network."""
    text = """\
services:
  a:
    image: x
    ports: [1, '127.0.0.1:2:2', '[::1]:3:3', '192.0.2.1:4:4', '0.0.0.0:5:5', '[::]:6:6', '127.0.0.2:7:7']
  b: {image: x, network_mode: host}
  c: {image: x, network_mode: 'service:a'}
"""
    found: dict[Any, Any] = {(item["service"], item["target"]): item for item in one(text).exposed()}
    assert {key: item["reach"] for key, item in found.items()} == {
        ("a", 1): "all",
        ("a", 2): "loopback",
        ("a", 3): "loopback",
        ("a", 4): "address",
        ("a", 5): "all",
        ("a", 6): "all",
        ("a", 7): "loopback",
        ("b", None): "all",
    }
    assert found["a", 1]["shared_with"] == ["c"] and found["b", None]["network_mode"] == "host"
    assert found["a", 4]["where"].endswith("compose.yml:4")


def test_the_hosts_network_is_noted(one: Callable[[str], Folder]) -> None:
    found = one("services:\n  a: {image: x, network_mode: host}\n  b: {image: x}\n").trim()
    (note,) = found.notes
    assert re.match(r"The service a \(.*compose.yml:2\) has network_mode host", note)
