"""Edited files, character by character: only lines of ports differ, and a kept port gets its old line back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.hardened.clickstack.plugins.module_utils.compose import trim
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import ComposeError
from tests.unit.compose.support import KEEP, KEEP_ALL, REMOVE, Folder

One = Callable[[str], Folder]
WHY = {**REMOVE, "reason": "why not"}
LOOPBACK = {"action": "bind"}
SIX = {"action": "bind", "address": "::1"}

EDITS: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a block list": (
        [{"target": ["80"], **KEEP}],
        """\
# top: of the file
services:
  a:   # the app
    image:  "x"
    ports:  # ours
      # before
      - '80:80'   # web
      - "443:443" # tls

      # after
    command: ["- 443:443", 'ports:']

# end
""",
        """\
# top: of the file
services:
  a:   # the app
    image:  "x"
    ports:  # ours
      # before
      - '80:80'   # web
      # compose_ports: not published (1 line): why not
      # - "443:443" # tls

      # after
    command: ["- 443:443", 'ports:']

# end
""",
    ),
    "the whole list, with a merge key that has ports": (
        [],
        "x-x: &x\n  image: x\n  ports: [9:9]\nservices:\n  a:\n    <<: *x\n    ports:  # c\n    - 1:1\n    - 2:2 # d\n"
        "    tty: true\n",
        "x-x: &x\n  image: x\n  ports: [9:9]\nservices:\n  a:\n    <<: *x\n    ports: []  # c\n"
        "    # compose_ports: not published (1 line): why not\n    # - 1:1\n"
        "    # compose_ports: not published (1 line): why not\n    # - 2:2 # d\n    tty: true\n",
    ),
    "long entries of several lines": (
        [{"target": ["81"], **KEEP}],
        """\
services:
  a:
    image: x
    ports:
      - target: 80 # c

        published: 8080
        # inside
        protocol: udp
      # between
      - # d
        target: 81
""",
        """\
services:
  a:
    image: x
    ports:
      # compose_ports: not published (5 lines): why not
      # - target: 80 # c

      #   published: 8080
      #   # inside
      #   protocol: udp
      # between
      - # d
        target: 81
""",
    ),
    "an entry whose second line begins further left, after a tag": (
        [],
        "services:\n  a:\n    image: x\n    ports:\n      - !!map {target: 80,\n     # c\n     published: 8080} # d\n",
        "services:\n  a:\n    image: x\n    ports: []\n      # compose_ports: not published (3 lines): why not\n"
        "      # - !!map {target: 80,\n     # # c\n     # published: 8080} # d\n",
    ),
    "a list in brackets": (
        [{"target": ["443"], **KEEP}],
        "services:\n  a:\n    image: x\n    ports: ['80:80', \"443:443\"]  # c\n    tty: true\n",
        "services:\n  a:\n    image: x\n    ports:\n      # compose_ports: not published (1 line): why not\n"
        "      # - '80:80'\n      - \"443:443\"  # c\n    tty: true\n",
    ),
    "a list in brackets with comments, all of it": (
        [],
        "services:\n  a:\n    ports: &p [ # c\n      80:80, # web\n      # tls\n      {target: 443,\n"
        "       published: 1}\n    ]\n    image: x\n",
        "services:\n  a:\n    ports: &p []\n      # c\n      # compose_ports: not published (1 line): why not\n"
        "      # - 80:80 # web\n      # tls\n      # compose_ports: not published (2 lines): why not\n"
        "      # - {target: 443,\n      #  published: 1}\n    image: x\n",
    ),
    "Windows line breaks, a byte order mark, no line break at the end": (
        [{"target": ["1"], **KEEP}],
        "\ufeffservices:\r\n  a:\r\n    image: x\r\n    ports:\r\n      - 1:1\r\n      - 2:2",
        "\ufeffservices:\r\n  a:\r\n    image: x\r\n    ports:\r\n      - 1:1\r\n"
        "      # compose_ports: not published (1 line): why not\r\n      # - 2:2",
    ),
    "a list in brackets below its key": (
        [],
        "services:\n  a:\n    image: x\n    ports: # c\n\n      [80:80,\n       81:81]\n",
        "services:\n  a:\n    image: x\n    ports: [] # c\n      # compose_ports: not published (1 line): why not\n"
        "      # - 80:80\n      # compose_ports: not published (1 line): why not\n      # - 81:81\n",
    ),
    "a shared list": (
        [{"service": "a", "target": ["2"], **KEEP}, {"service": "b", "target": ["2"], **KEEP}],
        "x-ports: &p\n- 1:1\n- 2:2\nservices:\n  a: {image: x, ports: *p}\n  b: {image: x, ports: *p}\n",
        "x-ports: &p\n# compose_ports: not published (1 line): why not\n# - 1:1\n- 2:2\n"
        "services:\n  a: {image: x, ports: *p}\n  b: {image: x, ports: *p}\n",
    ),
    "an alias in a list": (
        [{"target": ["2"], **KEEP}],
        "x-one: &one 1:1\nservices:\n  a:\n    image: x\n    ports:\n      - *one\n      - 2:2\n",
        "x-one: &one 1:1\nservices:\n  a:\n    image: x\n    ports:\n"
        "      # compose_ports: not published (1 line): why not\n      # - *one\n      - 2:2\n",
    ),
    "an anchor and its aliases together": (
        [{"target": ["2"], **KEEP}],
        "services:\n  a:\n    image: x\n    ports:\n      - &one 1:1\n      - *one\n      - 2:2\n",
        "services:\n  a:\n    image: x\n    ports:\n"
        "      # compose_ports: not published (1 line): why not\n      # - &one 1:1\n"
        "      # compose_ports: not published (1 line): why not\n      # - *one\n      - 2:2\n",
    ),
    "tags of Compose": (
        [],
        "services:\n  a:\n    image: x\n    ports: !override\n      - 1:1\n",
        "services:\n  a:\n    image: x\n    ports: !override []\n"
        "      # compose_ports: not published (1 line): why not\n      # - 1:1\n",
    ),
}
"""Rules beside a default that removes; a text; the same trimmed."""


@pytest.mark.parametrize("name", EDITS)
def test_removed_ports_become_comments(one: One, version: str, name: str) -> None:
    rules, before, after = EDITS[name]
    folder = one(before)
    trimmed = folder.trim(rules, WHY)
    assert folder.texts()["compose.yml"] == after
    folder.compose(version).check(trimmed.exposed_after)
    assert folder.trim(rules, WHY).changed == []


@pytest.mark.parametrize("name", [name for name in EDITS if "brackets" not in name])
def test_a_rule_to_keep_brings_the_old_lines_back(one: One, name: str) -> None:
    _rules, before, after = EDITS[name]
    folder = one(after)
    folder.trim([KEEP_ALL])
    assert folder.texts()["compose.yml"] == before


@pytest.mark.parametrize("name", EDITS)
def test_what_names_no_target_brings_nothing_back(one: One, name: str) -> None:
    """Not the default, and not a rule for a whole service: they must not publish again what was closed on purpose."""
    _rules, _before, after = EDITS[name]
    folder = one(after)
    assert folder.trim([KEEP]).changed == []
    for default in (None, KEEP):
        assert folder.trim([], default).changed == []


def test_lists_in_brackets_come_back_with_the_same_ports(one: One) -> None:
    for name in ("a list in brackets", "a list in brackets with comments, all of it"):
        _rules, before, after = EDITS[name]
        wanted = one(before).ports()
        folder = one(after)
        folder.trim([KEEP_ALL])
        assert folder.ports() == wanted


def test_a_removed_port_can_come_back_bound(one: One) -> None:
    folder = one(EDITS["a block list"][2])
    folder.trim([{"target": ["443"], **LOOPBACK}])
    assert '      - "127.0.0.1:443:443" # tls\n\n' in folder.texts()["compose.yml"]


def test_a_rule_gives_a_removed_port_its_reason(one: One) -> None:
    folder = one(EDITS["a block list"][2])
    folder.trim([{"target": ["443"], **REMOVE, "reason": "the proxy ends TLS"}])
    assert "(1 line): the proxy ends TLS\n      # - " in folder.texts()["compose.yml"]
    assert "why not" not in folder.texts()["compose.yml"]


def test_only_a_rule_deletes_a_comment(one: One) -> None:
    """What was closed on purpose, with its reason, is not the default's to forget."""
    folder = one(EDITS["a block list"][2])
    assert folder.trim([{"target": ["80"], **KEEP}], REMOVE, deletes=True).changed == []
    folder.trim([{"target": ["80"], **KEEP}, {"target": ["443"], **REMOVE}], deletes=True)
    assert "443" not in folder.texts()["compose.yml"].partition("command")[0]


DELETED = {
    "a block list": "services:\n  a:\n    image: x\n    ports:\n      - 1:1\n      - 2:2 # c\n      # d\n      - 3:3\n",
    "brackets": "services:\n  a:\n    image: x\n    ports: [1:1, 2:2, 3:3]\n",
    "brackets in braces": "services: {a: {image: x, ports: [ 1:1, 2:2 , 3:3, ]}}\n",
    "brackets and comments": (
        "services:\n  a:\n    image: x\n    ports: [\n      1:1, # one\n      2:2, # two\n      3:3\n    ]\n"
    ),
}


@pytest.mark.parametrize("kept", [(), ("1",), ("2",), ("3",), ("1", "3")])
@pytest.mark.parametrize("name", DELETED)
def test_deleted_ports_leave_nothing(one: One, version: str, name: str, kept: tuple[str, ...]) -> None:
    """A rule to remove that finds nothing is content: so its second run is."""
    folder = one(DELETED[name])
    rules = [{"target": [port], **(KEEP if port in kept else REMOVE)} for port in ("1", "2", "3")]
    for _run in range(2):
        found = folder.trim(rules, deletes=True)
        assert folder.ports() == [f"a *:{port}:{port}/tcp" for port in kept]
        assert "compose_ports" not in folder.texts()["compose.yml"]
        folder.compose(version).check(found.exposed_after)
    assert not found.changed


BOUND = {
    "1:1": ("127.0.0.1:1:1", '"[::1]:1:1"'),
    "8080": ("127.0.0.1::8080", '"[::1]::8080"'),
    "'1:1/udp'": ("'127.0.0.1:1:1/udp'", "'[::1]:1:1/udp'"),
    '"0.0.0.0:1:1"': ('"127.0.0.1:1:1"', '"[::1]:1:1"'),
    "${IP}:${P}:${P:-80}": ("127.0.0.1:${P}:${P:-80}", '"[::1]:${P}:${P:-80}"'),
    "!!str '1:1' # c": ("!!str '127.0.0.1:1:1' # c", "!!str '[::1]:1:1' # c"),
    "9-10:9-10": ("127.0.0.1:9-10:9-10", '"[::1]:9-10:9-10"'),
    "|-\n          1:1": ('"127.0.0.1:1:1"', '"[::1]:1:1"'),
    "{target: 1}": ('{target: 1, host_ip: "127.0.0.1"}', '{target: 1, host_ip: "::1"}'),
    "{host_ip: 0.0.0.0, target: 1}": ('{host_ip: "127.0.0.1", target: 1}', '{host_ip: "::1", target: 1}'),
    "target: 1 # c\n        published: 2": (
        'target: 1 # c\n        host_ip: "127.0.0.1"\n        published: 2',
        'target: 1 # c\n        host_ip: "::1"\n        published: 2',
    ),
    "target: 1\n        host_ip: '${IP}' # c": (
        'target: 1\n        host_ip: "127.0.0.1" # c',
        'target: 1\n        host_ip: "::1" # c',
    ),
    "<<: *long": ('<<: *long\n        host_ip: "127.0.0.1"', '<<: *long\n        host_ip: "::1"'),
    "127.0.0.1:1:1": ("127.0.0.1:1:1", '"[::1]:1:1"'),
    "'[0:0::1]:1:1'": ("'127.0.0.1:1:1'", "'[0:0::1]:1:1'"),
}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("entry", BOUND)
def test_bound_ports_keep_the_rest_of_their_line(folder: Folder, version: str, entry: str, which: int) -> None:
    text = "x-long: &long {target: 5, host_ip: 10.0.0.1}\nservices:\n  a:\n    ports:\n      - %s\n    image: x"
    folder.first = {"IP": "0.0.0.0", "P": "81"}
    folder.write({"compose.yml": text % entry})
    found = folder.trim([(LOOPBACK, SIX)[which]])
    assert folder.texts()["compose.yml"] == text % BOUND[entry][which]
    assert {item["reach"] for item in found.exposed_after} == {"loopback"}
    folder.compose(version).check(found.exposed_after)
    assert folder.trim([(LOOPBACK, SIX)[which]]).changed == []


def test_binding_in_brackets_quotes(one: One, version: str) -> None:
    folder = one("services:\n  a: {image: x, ports: [1:1, 8080, '2:2']}\n")
    found = folder.trim([LOOPBACK])
    assert '["127.0.0.1:1:1", "127.0.0.1::8080", \'127.0.0.1:2:2\']' in folder.texts()["compose.yml"]
    folder.compose(version).check(found.exposed_after)


def test_binding_and_removing_in_one_list_in_brackets(one: One) -> None:
    folder = one("services:\n  a:\n    image: x\n    ports: [1:1, 2:2]\n")
    folder.trim([{"target": ["1"], **LOOPBACK}, {"target": ["2"], **WHY}])
    assert folder.texts()["compose.yml"] == (
        'services:\n  a:\n    image: x\n    ports:\n      - "127.0.0.1:1:1"\n'
        "      # compose_ports: not published (1 line): why not\n      # - 2:2\n"
    )


REFUSED: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "a list in braces": (
        [REMOVE],
        "services:\n  a: {image: x, ports: [1:1]}\n",
        "compose.yml:2: these ports stand within {} or \\[\\].*removal=delete",
    ),
    "a variable with address and port": (
        [LOOPBACK],
        "services:\n  a:\n    image: x\n    ports:\n      - ${BOTH}:1\n",
        "compose.yml:5: .*{BOTH}:1 cannot be bound to 127.0.0.1, because a variable holds more than one part",
    ),
    "an anchor that is used elsewhere": (
        [{"service": "a", **REMOVE}],
        "services:\n  a:\n    image: x\n    ports:\n      - &one 1:1\n  b: {image: x, ports: [*one]}\n",
        "compose.yml:5: this entry defines the anchor &one, which is used elsewhere",
    ),
    "an address with an anchor": (
        [LOOPBACK],
        "services:\n  a:\n    image: x\n    ports:\n      - target: 1\n        host_ip: &ip 0.0.0.0\n"
        "    labels: {ip: *ip}\n",
        "compose.yml:6: the anchor &ip is used elsewhere",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_refused_with_its_place(folder: Folder, name: str) -> None:
    rules, text, expected = REFUSED[name]
    folder.first = {"BOTH": "0.0.0.0:80"}
    folder.write({"compose.yml": text})
    with pytest.raises(ComposeError, match=f"^{re.escape(str(folder.path))}/{expected}"):
        folder.trim(rules)
    assert folder.texts() == {"compose.yml": text}


def test_a_comment_of_ours_that_was_changed_by_hand_is_a_comment(one: One) -> None:
    """It stays as it is, and publishes nothing."""
    mark = "# compose_ports: not published (1 line): why"
    for body in (
        "      # something else",
        "    # - 2:2",
        "",
        "      # # - 2:2",
        "      # - 2:2:2:2:2",
        "      # - ${GONE}:80",
    ):
        text = f"services:\n  a:\n    image: x\n    ports:\n      - 1:1\n      {mark}\n{body}\n    tty: true\n"
        folder = one(text)
        folder.trim([{"target": ["1"], **KEEP}])
        assert folder.texts()["compose.yml"] == text
        assert folder.ports() == ["a *:1:1/tcp"]


def test_a_comment_of_ours_that_was_moved_stays_where_it_is(one: One) -> None:
    """And it is known all the same; only of lines that are not all there, it is not."""
    moved = "\n  # compose_ports: not published (1 line): so\n      # - 1:1\n"
    known = f"services:\n  a:\n    image: x\n    ports:{moved}      - 2:2\n"
    folder = one(known)
    assert folder.trim([], REMOVE).changed
    assert moved in folder.texts()["compose.yml"] and "# - 2:2" in folder.texts()["compose.yml"]
    text = known.replace("(1 line): so\n      # - 1:1", "(2 lines): so\n      # - target: 1\n      # # published: 2")
    folder = one(text)
    assert folder.trim([]).changed == []


def test_lines_are_told_as_they_are_in_the_file(one: One) -> None:
    """Also below lines that became comments, which take one line more."""
    folder = one(EDITS["a block list"][2].replace("    command", "      - 5:x\n    command"))
    with pytest.raises(ComposeError, match=r"compose\.yml:12: "):
        folder.load()
    folder = one(EDITS["a block list"][2] + "\tx: [\n")
    with pytest.raises(ComposeError, match=r"compose\.yml:15: this is not YAML"):
        folder.load()


def test_files_of_a_project_are_edited_where_the_port_is_written(folder: Folder, version: str) -> None:
    files = {
        "compose.yml": "include: [inc/compose.yml]\n"
        "services:\n  a:\n    extends: {file: ext.yml, service: e}\n    ports:\n      - 1:1\n",
        "compose.override.yml": "services:\n  a:\n    ports:\n      - 2:2\n  i:\n    ports:\n      - 3:3\n",
        "ext.yml": "services:\n  e:\n    image: x\n    ports:\n      - 4:4\n  unused:\n    ports:\n      - 9:9\n",
        "inc/compose.yml": "services:\n  i:\n    image: x\n    ports:\n      - 5:5\n",
    }
    folder.write(files)
    found = folder.trim([], WHY)
    assert found.exposed_after == [] and len(found.changed) == 4
    texts = folder.texts()
    for name, port in (("compose.yml", 1), ("compose.override.yml", 2), ("ext.yml", 4), ("inc/compose.yml", 5)):
        assert f"# compose_ports: not published (1 line): why not\n      # - {port}:{port}\n" in texts[name]
    assert "      - 9:9\n" in texts["ext.yml"]
    folder.compose(version).check([])
    folder.trim([KEEP_ALL])
    assert folder.texts() == files


def test_the_diff_has_the_lines_that_change_and_no_others(one: One) -> None:
    folder = one("services:\n  a:\n    environment: {P: secret}\n    ports:\n      - 1:1\n    labels: {P: secret}\n")
    found = folder.trim([], WHY)
    (path,) = found.changed
    assert found.diff(path) == (
        f"--- before: {path}\n+++ after: {path}\n@@ -4,2 +4,3 @@\n-    ports:\n-      - 1:1\n+    ports: []\n"
        "+      # compose_ports: not published (1 line): why not\n+      # - 1:1\n"
    )


@pytest.mark.parametrize(
    ("fault", "message"),
    [("the same text", "the result would not publish what the rules say"), ("x: [", "the result would be broken")],
)
def test_a_wrong_edit_is_noticed(one: One, monkeypatch: pytest.MonkeyPatch, fault: str, message: str) -> None:
    """If an edit of ours should ever go wrong, nothing is written."""
    folder = one(EDITS["a block list"][1])
    monkeypatch.setattr(trim, "edited", lambda document, *_others: document.text if fault == "the same text" else fault)
    with pytest.raises(ComposeError, match=message):
        folder.trim([], WHY)
    assert folder.texts()["compose.yml"] == EDITS["a block list"][1]
