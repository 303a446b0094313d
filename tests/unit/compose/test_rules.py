"""Rules: each port is decided on once, and rules that cannot be followed are refused before anything changes."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import (
    REASON,
    Rule,
    RulesError,
    decision,
)
from tests.unit.compose.support import KEEP, REMOVE, Folder

TEXT = """\
x-base: &base
  image: x
  ports:
    - 90:90
services:
  app:
    image: x
    ports:
      - 8000:8000
      - 127.0.0.1:8080:8080
      - 4317-4319:4317-4319
      - 53:53/udp
      - "53:53"
  app-two: {<<: *base}
  db: {<<: *base}
  other:
    extends: app
  host: {image: x, network_mode: host}
  none: {image: x}
"""
BIND: dict[str, Any] = {"action": "bind"}


def where(line: int) -> str:
    return f"compose.yml:{line}"


DECIDED: dict[str, tuple[list[dict[str, Any]], dict[str, Any] | None, list[str]]] = {
    "nothing said, nothing changed": (
        [],
        None,
        ["*:8000", "127.0.0.1:8080", "*:4317", "*:4318", "*:4319", "*:53", "*:53"],
    ),
    "by port": (
        [{"service": "app", "target": ["53"], **REMOVE}],
        None,
        ["*:8000", "127.0.0.1:8080", "*:4317", "*:4318", "*:4319"],
    ),
    "by protocol": ([{"service": "app", "target": ["53"], "protocol": "udp", **KEEP}], REMOVE, ["*:53"]),
    "by range": ([{"service": "app", "target": ["4000-5000"], **KEEP}], REMOVE, ["*:4317", "*:4318", "*:4319"]),
    "by several ports": (
        [{"service": "app", "target": ["8000", "4317-4319"], **REMOVE}],
        BIND,
        ["127.0.0.1:8080", "127.0.0.1:53", "127.0.0.1:53"],
    ),
    "by address": ([{"service": "app", "host_ip": "127.0.0.1", **KEEP}], REMOVE, ["127.0.0.1:8080"]),
    "by all addresses": ([{"service": "app", "host_ip": "::", **REMOVE}], None, ["127.0.0.1:8080"]),
    "a default with an address": (
        [],
        {**BIND, "address": "127.0.0.2"},
        [
            "127.0.0.2:8000",
            "127.0.0.2:8080",
            "127.0.0.2:4317",
            "127.0.0.2:4318",
            "127.0.0.2:4319",
            "127.0.0.2:53",
            "127.0.0.2:53",
        ],
    ),
}


@pytest.mark.parametrize("name", DECIDED)
def test_rules_decide(folder: Folder, name: str) -> None:
    """On the first service's ports alone: the shared ones have a test of their own."""
    rules, default, expected = DECIDED[name]
    folder.write({"compose.yml": TEXT[: TEXT.index("  app-two")]})
    for _run in range(2):
        found = folder.trim(rules, default)
        assert [f"{port['host_ip'] or '*'}:{port['target']}" for port in found.exposed_after] == expected
    assert not found.changed


@pytest.mark.parametrize(
    ("rules", "default", "problems"),
    [
        (
            [{"service": "ap", **KEEP}],
            None,
            ["rules[0].service: no service is called ap; there are: app, app-two, db,"],
        ),
        (
            [{"service": "db*", **KEEP}, {"service": "App", **KEEP}],
            None,
            ["rules[1].service: no service is called App"],
        ),
        (
            [{"service": "db", "target": ["91"], **REMOVE}],
            None,
            ["rules[0] names no port: db ({15}) publishes 90/tcp ({4})"],
        ),
        (
            [{"service": "db", "protocol": "udp", **REMOVE}],
            None,
            ["rules[0] names no port: db ({15}) publishes 90/tcp"],
        ),
        ([{"service": "none", **REMOVE}], None, ["rules[0] names no port: none ({19}) publishes none"]),
        ([{"service": "host", **REMOVE}], None, ["rules[0] names no port: host ({18}) has network_mode host and"]),
        (
            [{"target": ["90"], **KEEP}, {"service": "db", **KEEP}],
            None,
            ["{4}: rules[0] and rules[1] both name the port 90/tcp of db; one may"],
        ),
        (
            [{"target": ["4318-4400"], **REMOVE}],
            KEEP,
            [
                "{11}: app publishes a range here, and the rules treat its ports differently "
                "(4317/tcp: default, 4318/tcp: rules[0], 4319/tcp: rules[0]); write the ports one by one",
                "{11}: other publishes a range here",
            ],
        ),
        (
            [{"service": "db", **REMOVE}],
            KEEP,
            [
                "{4}: several services share this line by an anchor, a merge key or extends, and the rules treat them "
                "differently: app-two (keep), db (remove)"
            ],
        ),
        (
            [{"service": "db", **BIND}, {"service": "app-two", **BIND, "address": "127.0.0.2"}],
            None,
            [
                "{4}: several services share this line by an anchor, a merge key or extends, and the rules treat them "
                "differently: app-two (bind 127.0.0.2), db (bind 127.0.0.1)"
            ],
        ),
        (
            [{"service": "other", "target": ["8000"], **REMOVE}],
            None,
            [
                "{9}: several services share this line by an anchor, a merge key or extends, and the rules treat them "
                "differently: app (keep), other (remove)"
            ],
        ),
    ],
)
def test_rules_that_cannot_be_followed_are_all_told(
    folder: Folder, rules: list[dict[str, Any]], default: dict[str, Any] | None, problems: list[str]
) -> None:
    folder.write({"compose.yml": TEXT})
    with pytest.raises(RulesError) as refused:
        folder.trim(rules, default)
    expected = list(problems)
    for line in range(30):
        expected = [problem.replace(f"{{{line}}}", f"{folder.path}/compose.yml:{line}") for problem in expected]
    assert len(refused.value.problems) == len(expected)
    for told, problem in zip(refused.value.problems, expected, strict=True):
        assert told.startswith(problem)
    assert folder.texts() == {"compose.yml": TEXT}


def test_shared_lines_are_edited_once_if_the_rules_agree(folder: Folder) -> None:
    folder.write({"compose.yml": TEXT})
    found = folder.trim([{"service": "app*", "target": ["90"], **REMOVE}, {"service": "db", **REMOVE}], KEEP)
    assert not [port for port in found.exposed_after if port["target"] == 90]
    assert folder.texts()["compose.yml"].count("# - 90:90") == 1


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"target": ["x"], **KEEP}, "rules[0]: 'x' is not a container port"),
        ({"target": ["90-80"], **KEEP}, "rules[0]: the range 90-80 ends before it begins"),
        ({"target": [], **KEEP}, "rules[0].target: an empty list names no port"),
        ({"host_ip": "x", **KEEP}, "rules[0]: 'x' is not an IP address"),
        ({**BIND, "address": "localhost"}, "rules[0].address: 'localhost' is not an IP address"),
        ({**KEEP, "address": "::1"}, "rules[0].address: only bind takes an address, not keep"),
        ({**REMOVE, "address": "::1"}, "rules[0].address: only bind takes an address, not remove"),
        ({**BIND, "reason": "why"}, "rules[0].reason: only remove takes a reason, not bind"),
        ({**REMOVE, "reason": " "}, "rules[0].reason: a reason is one line of text"),
        ({**REMOVE, "reason": "a\nb"}, "rules[0].reason: a reason is one line of text"),
        ({**REMOVE, "reason": "a\x85b"}, "rules[0].reason: a reason is one line of text"),
    ],
)
def test_rules_that_say_nothing_are_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(RulesError) as refused:
        Rule.of("rules[0]", given)
    assert refused.value.problems[0].startswith(problem)


def test_decisions_have_their_defaults() -> None:
    assert decision("default", REMOVE).reason == REASON
    assert decision("default", BIND).address == "127.0.0.1"
    assert decision("default", {**BIND, "address": "[0:0::1]"}).address == "::1"
    assert decision("default", {**REMOVE, "reason": " für später "}).reason == "für später"


def test_an_entry_that_aliases_share_is_bound_for_all_or_none(folder: Folder) -> None:
    """Removing is another matter: it takes the alias out of one list."""
    text = """\
x-one: &one 1:1
services:
  a:
    image: x
    ports:
      - *one
  b:
    image: x
    ports:
      - *one
"""
    folder.write({"compose.yml": text})
    with pytest.raises(RulesError, match=r"compose\.yml:6: several services share this line"):
        folder.trim([{"service": "a", **BIND}])
    folder.trim([{"service": "a", **REMOVE}, {"service": "b", **BIND}])
    assert folder.ports() == ["b 127.0.0.1:1:1/tcp"]
    assert folder.texts()["compose.yml"].startswith("x-one: &one 127.0.0.1:1:1\n")


def test_a_rule_by_address_still_names_what_it_has_bound(folder: Folder) -> None:
    """Else its second run would be refused for naming no port."""
    folder.write({"compose.yml": "services:\n  a: {image: x, ports: [1:1, 2:2]}\n"})
    rules = [{"host_ip": "0.0.0.0", **BIND}]
    assert folder.trim(rules).changed and not folder.trim(rules).changed
    assert folder.ports() == ["a 127.0.0.1:1:1/tcp", "a 127.0.0.1:2:2/tcp"]
