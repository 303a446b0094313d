"""Entries of `ports`: every syntax of the Compose specification, held against Docker Compose itself."""

from __future__ import annotations

import re

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import (
    PortError,
    address,
    port_range,
    rebound,
    short,
)
from tests.unit.compose.support import Folder

WORKS = {
    "8080": ["*::8080/tcp"],
    '"8080"': ["*::8080/tcp"],
    "!!str 8080": ["*::8080/tcp"],
    "8080:80": ["*:8080:80/tcp"],
    "22:22": ["*:22:22/tcp"],
    "'8080:80/udp'": ["*:8080:80/udp"],
    '"8080:80/TCP"': ["*:8080:80/tcp"],
    '"80:80/"': ["*:80:80/tcp"],
    "132:132/sctp": ["*:132:132/sctp"],
    "127.0.0.1:8080:80/udp": ["127.0.0.1:8080:80/udp"],
    "127.0.0.1::80": ["127.0.0.1::80/tcp"],
    '"[127.0.0.1]:80:80"': ["127.0.0.1:80:80/tcp"],
    '"[::1]:8080:80"': ["::1:8080:80/tcp"],
    '"[::1]::80"': ["::1::80/tcp"],
    '":92"': ["*::92/tcp"],
    "0:93": ["*:0:93/tcp"],
    '"080:081"': ["*:80:81/tcp"],
    "3000-3002": ["*::3000/tcp", "*::3001/tcp", "*::3002/tcp"],
    "9090-9091:8080-8081": ["*:9090:8080/tcp", "*:9091:8081/tcp"],
    "127.0.0.1:5000-5001:5010-5011/udp": ["127.0.0.1:5000:5010/udp", "127.0.0.1:5001:5011/udp"],
    "8000-8003:90": ["*:8000-8003:90/tcp"],
    "0-1:5": ["*:0-1:5/tcp"],
    "{target: 94}": ["*::94/tcp"],
    '{target: 7, published: ""}': ["*::7/tcp"],
    '{target: "95", published: "1000-1001", mode: host, name: q, app_protocol: http}': ["*:1000-1001:95/tcp"],
    "{target: 96, published: 96, protocol: sctp, host_ip: '::1'}": ["::1:96:96/sctp"],
    "{target: 7, protocol: UDP, x-why: {a: b}}": ["*::7/udp"],
    "${PORT}:80": ["*:8123:80/tcp"],
    "$PORT:$PORT": ["*:8123:8123/tcp"],
    "${UNSET:-8080}:80": ["*:8080:80/tcp"],
    "${PORT:+9}:80": ["*:9:80/tcp"],
    '"${UNSET:+9:}80"': ["*::80/tcp"],
    '"${BOTH}"': ["*:81:82/tcp"],
    "{target: $PORT, published: '${UNSET:-70}'}": ["*:70:8123/tcp"],
    '"${UNSET-${PORT:-1}}:80"': ["*:8123:80/tcp"],
}
"""Entries that Docker Compose takes, and what they publish: address, host port, container port."""
REFUSED = {
    '""': "names no container port",
    "null": "is not a port",
    "true": "is not a port",
    "[80]": "not a list",
    '"65536"': "between 1 and 65535",
    "80/http": "'http' is none of the protocols",
    '" 80:80 "': "' 80:80 '|'80 ' is not a container port",
    '"abc:80:80"': "'abc' is not an IP address",
    '"[::1%eth0]:80:80"': "has a zone",
    '"::1:81:81"': "needs brackets",
    '"127.0.0.1:80"': "say 127.0.0.1::80",
    '"-80:80"': "'-80' is not a host port",
    "0x50:80": "'0x50' is not a host port",
    '"80 : 80"': "is not a",
    "081": "not a plain decimal number",
    "80.0": "not a plain decimal number",
    "8e1": "not a plain decimal number",
    "9-8": "ends before it begins",
    "8000-8002:90-91": "not of the same length",
    '"0"': "between 1 and 65535",
    "{published: 80}": "the target is missing",
    '{target: "96-97"}': "no range",
    "{target: 7, foo: 1}": "'foo' is none of the keys",
    "{target: 7, published: null}": "is not a port",
    "{target: 7, published: 80.0}": "not a plain decimal number",
    "{target: [7]}": "target is a text or a number",
    "${BOTH}:80": "too many colons|is not",
}
"""Entries that Docker Compose refuses as well, and what we say."""
CAUTIOUS = {
    "{target: 7, host_ip: ''}": "'' is not an IP address",
    "{target: 7, host_ip: abc}": "'abc' is not an IP address",
    "0x50": "not a plain decimal number",
    "8_0": "not a plain decimal number",
    "{target: 70000}": "between 1 and 65535",
    "{target: 7, published: 70000}": "between 0 and 65535",
    "{target: 7, published: abc}": "'abc' is not a host port",
    "{target: 7, published: '9-8'}": "ends before it begins",
    "{target: 7, protocol: foo}": "'foo' is none of the protocols",
    "{target: 7, mode: foo}": "'foo' is none of the modes",
    "${UNSET}:80": "the variable UNSET has no value",
    "${EMPTY}:80": "the variable EMPTY has no value",
    "${UNSET:?say which}:80": "the variable UNSET has no value: say which",
    "${UNSET:-${EMPTY}}:80": "the variable EMPTY has no value",
    "${UNSET": "no closing brace",
    "${-80}:80": "name of a variable",
    "!reset 80:80": "the tag !reset means nothing here",
    "!override {target: 80}": "the tag !override means nothing here",
}
"""Entries that Docker Compose (2.26 at least) takes, while Docker could do nothing with them, or something that nobody
meant; and variables, of which Docker Compose speaks in other words."""
VARIABLES = {"PORT": "8123", "BOTH": "81:82", "EMPTY": ""}


def project(folder: Folder, entries: list[str]) -> Folder:
    """A service for each entry."""
    text = "services:\n" + "".join(f"  s{i}:\n    image: x\n    ports:\n      - {e}\n" for i, e in enumerate(entries))
    folder.first = VARIABLES
    return folder.write({"compose.yml": text})


def test_entries_publish_what_docker_compose_says(folder: Folder, version: str) -> None:
    project(folder, list(WORKS))
    expected = [f"s{index} {port}" for index, ports in enumerate(WORKS.values()) for port in ports]
    assert folder.ports() == expected
    folder.compose(version).check(folder.exposed())


@pytest.mark.parametrize("entry", REFUSED)
def test_what_docker_compose_refuses_is_refused_with_its_line(folder: Folder, version: str, entry: str) -> None:
    project(folder, [entry])
    with pytest.raises(ComposeError, match="does not take the project"):
        folder.compose(version).published()
    with pytest.raises(ComposeError, match=f"^{re.escape(str(folder.path))}/compose.yml:5: .*({REFUSED[entry]})"):
        folder.load()


@pytest.mark.parametrize("entry", CAUTIOUS)
def test_what_docker_could_not_do_is_refused_with_its_line(folder: Folder, entry: str) -> None:
    project(folder, [entry])
    with pytest.raises(
        ComposeError, match=f"^{re.escape(str(folder.path))}/compose.yml:5: .*{re.escape(CAUTIOUS[entry])}"
    ):
        folder.load()


def test_modes_are_told(folder: Folder) -> None:
    project(folder, ["{target: 1, mode: host}", "1:1"])
    assert [one["mode"] for one in folder.exposed()] == ["host", "ingress"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[127.0.0.1]", "127.0.0.1"),
    ],
)
def test_addresses_have_one_form(text: str, expected: str) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "host", "1.2.3", "1.2.3.4.5", "[::1", "fe80::1%eth0", "01.2.3.4"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(PortError):
        address(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("80", (80, 80)), ("4317-4318", (4317, 4318)), ("65535", (65535, 65535))]
)
def test_container_ports_of_rules(text: str, expected: tuple[int, int]) -> None:
    assert port_range(text) == expected


@pytest.mark.parametrize("text", ["0", "65536", "80-", "-80", "90-80", "http", "80/tcp", ""])
def test_what_is_no_container_port_is_refused(text: str) -> None:
    with pytest.raises(PortError):
        port_range(text)


@pytest.mark.parametrize(
    ("text", "host_ip", "expected"),
    [
        ("8080", "127.0.0.1", "127.0.0.1::8080"),
        ("8080:80/udp", "127.0.0.1", "127.0.0.1:8080:80/udp"),
        ("8080:80", "::1", "[::1]:8080:80"),
        ("[::1]:8080:80", "10.0.0.1", "10.0.0.1:8080:80"),
        ("${IP:-0.0.0.0}:${A:-1}:${B:-2}", "127.0.0.1", "127.0.0.1:${A:-1}:${B:-2}"),
        ("0.0.0.0::80", "127.0.0.1", "127.0.0.1::80"),
    ],
)
def test_binding_leaves_the_rest_as_it_is_written(text: str, host_ip: str, expected: str) -> None:
    assert rebound(text, host_ip) == expected


def test_two_entries_with_one_key_are_one_port() -> None:
    (plain,), (everywhere,) = short("80:80"), short("0.0.0.0:80:80")
    assert plain.key == everywhere.key
