# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON as text: read with the place of everything in it, and edited so that only what differs is written anew.

Pure. The json module of Python reads without places and writes a whole document in its own form; an administrator's
file keeps its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_WORDS = {"true": True, "false": False, "null": None}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"{}\[\],:]+')
_HARMLESS = ("true", "false", "null", "True", "False", "None")
_DEEPEST = 100


class JsonError(Exception):
    """A text is not the JSON that it should be.

    :param place: line and column, from 1, that the reason is about; of a file without any, its beginning
    :param reason: what is wrong there
    :param excerpt: the line, with a mark below the place, and without the strings that may be secret
    """

    def __init__(self, place: tuple[int, int], reason: str, excerpt: str) -> None:
        super().__init__(reason)
        self.place, self.reason, self.excerpt = place, reason, excerpt


@dataclass
class Member:
    """One key of an object with its value: where it begins and ends in the text, in characters."""

    key: str
    start: int
    value: Node


@dataclass
class Node:
    """A value, and where it begins and ends in the text, in characters."""

    start: int
    end: int
    data: Any
    members: list[Member] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same to a program that tells true from 1, as the Docker Engine does."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


# -- reading ----------------------------------------------------------------------------------------------------------


def parse(text: str) -> Node:
    """Read an object, the only thing that daemon.json may hold, as RFC 8259 has it; nothing at all is an empty object.

    :param text: the content of the file
    :raises JsonError: where it is something else, or a key is there twice in an object: Go, in which the engine is
        written, then takes the last value, or merges both, depending on the type, and says nothing
    """
    reader = _Reader(text)
    start = reader.skip(0)
    if start == len(text):
        return Node(0, 0, {})
    if text.startswith("\ufeff"):
        raise reader.error(0, "a byte order mark, which not all engines take")
    root = reader.value(start, 0)
    if not isinstance(root.data, dict):
        raise reader.error(start, f"the file holds {_kind(root.data)}, and the engine wants an object: {{...}}")
    end = reader.skip(root.end)
    if end < len(text):
        raise reader.error(end, "there is something after the end of the object")
    return root


def _kind(data: Any) -> str:
    kinds = ((list, "a list"), (str, "a string"), (bool, "a boolean"), ((int, float), "a number"))
    return next((name for kind, name in kinds if isinstance(data, kind)), "null")


def _unless_secret(token: re.Match[str]) -> str:
    """Return a token of a line that is no JSON as it may be shown: a key is, and what is none may be a password."""
    before, after = token.string[: token.start()].rstrip(), token.string[token.end() :].lstrip()
    is_key = _STRING.fullmatch(token[0]) and after.startswith(":") and not before.endswith(":")
    if is_key or token[0] in _HARMLESS:
        return token[0]
    return re.sub(r'[^"]', "*", token[0])


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, at: int, reason: str) -> JsonError:
        line = self.text.count("\n", 0, at) + 1
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        shown = self.text[start : end if end >= 0 else None].rstrip("\r")
        shown = _TOKEN.sub(_unless_secret, shown)
        mark = "".join("\t" if char == "\t" else " " for char in shown[: at - start])
        return JsonError((line, at - start + 1), reason, f"{shown}\n{mark}^")

    def skip(self, at: int) -> int:
        space = _SPACE.match(self.text, at)
        return space.end() if space else at

    def value(self, at: int, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.error(at, f"values lie in each other more than {_DEEPEST} deep")
        char = self.text[at : at + 1]
        if char == "{":
            return self.object(at, depth)
        if char == "[":
            return self.list(at, depth)
        if char == '"':
            return self.string(at)
        number = _NUMBER.match(self.text, at)
        if number:
            return Node(at, number.end(), json.loads(number[0]))
        for word, data in _WORDS.items():
            if self.text.startswith(word, at):
                return Node(at, at + len(word), data)
        raise self.error(at, self.instead_of("a value is missing", at))

    def object(self, at: int, depth: int) -> Node:
        start = at
        data: dict[str, Any] = {}
        members: list[Member] = []
        at = self.skip(at + 1)
        while self.text[at : at + 1] != "}":
            if self.text[at : at + 1] != '"':
                raise self.error(at, self.instead_of("a key in double quotes, or }, is missing", at))
            key = self.string(at)
            if key.data in data:
                first = next(member.start for member in members if member.key == key.data)
                line = self.text.count("\n", 0, first) + 1
                raise self.error(
                    at, f"{key.data} is in line {line} already: the engine takes one of them; keep that one"
                )
            colon = self.skip(key.end)
            if self.text[colon : colon + 1] != ":":
                raise self.error(colon, self.instead_of(f"the colon after {key.data} is missing", colon))
            value = self.value(self.skip(colon + 1), depth + 1)
            members.append(Member(key.data, at, value))
            data[key.data] = value.data
            at = self.next(value.end, "}", f"the value of {key.data}")
        return Node(start, at + 1, data, members)

    def list(self, at: int, depth: int) -> Node:
        start, items = at, []
        at = self.skip(at + 1)
        while self.text[at : at + 1] != "]":
            items.append(self.value(at, depth + 1))
            at = self.next(items[-1].end, "]", "this value of the list")
        return Node(start, at + 1, [item.data for item in items], items=items)

    def next(self, at: int, closing: str, after: str) -> int:
        """Return where the next member begins, or where the bracket that closes is."""
        at = self.skip(at)
        char = self.text[at : at + 1]
        if char == closing:
            return at
        if char != ",":
            raise self.error(at, self.instead_of(f"a comma, or {closing}, is missing after {after}", at))
        following = self.skip(at + 1)
        if self.text[following : following + 1] == closing:
            raise self.error(at, f"there is a comma after the last value, before {closing}")
        return following

    def string(self, at: int) -> Node:
        found = _STRING.match(self.text, at)
        if not found:
            raise self.error(at, "this string does not end in its line, or has an escape that JSON does not know")
        return Node(at, found.end(), json.loads(found[0]))

    def instead_of(self, missing: str, at: int) -> str:
        if at >= len(self.text):
            return f"{missing}: the file ends here"
        if self.text[at] == "#" or self.text.startswith(("//", "/*"), at):
            return f"{missing}: JSON has no comments"
        return missing


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return the text with stars for the secrets in its values, however they are written there.

    :param text: a text that parse reads
    :param secrets: what is not to be shown
    :raises JsonError: as parse does
    """
    parts, at = [], 0
    for node in _strings(parse(text)):
        shown = node.data
        for secret in secrets:
            shown = shown.replace(secret, "********")
        if shown != node.data:
            parts += [text[at : node.start], json.dumps(shown, ensure_ascii=False)]
            at = node.end
    return "".join([*parts, text[at:]])


def _strings(node: Node) -> Iterator[Node]:
    if isinstance(node.data, str):
        yield node
    for inner in (*(member.value for member in node.members), *node.items):
        yield from _strings(inner)


# -- editing ----------------------------------------------------------------------------------------------------------


def edited(text: str, wanted: Mapping[str, Any], earlier: str = "") -> str:
    """Return the text with exactly these keys and values in it; what is the same already keeps its form.

    :param text: a text that parse reads; an empty one is written with an indentation of two spaces
    :param wanted: the object that it shall hold
    :param earlier: a text that it once was: a value that comes back comes back in the form that it had there
    :raises JsonError: as parse does
    """
    root = parse(text)
    if root.start == root.end:
        return json.dumps(wanted, indent=2, ensure_ascii=False) + "\n"
    form = _Form.of(text, root, earlier)
    return text[: root.start] + form.object(root, wanted, 0, parse(earlier)) + text[root.end :]


@dataclass(frozen=True)
class _Form:
    """How an administrator writes."""

    text: str
    newline: str
    """What ends a line; empty where everything is in one."""
    indent: str
    colon: str
    earlier: str

    @classmethod
    def of(cls, text: str, root: Node, earlier: str) -> _Form:
        lead = text[root.start + 1 : root.members[0].start] if root.members else "\n  "
        newline = ("\r\n" if "\r\n" in lead else "\n") if "\n" in lead else ""
        colon = ": "
        if root.members:
            key = root.members[0]
            colon = text[key.start : key.value.start][len(_string_at(text, key.start)) :]
        return cls(text, newline, lead.rpartition("\n")[2] or "  ", colon, earlier)

    def object(self, node: Node, wanted: Mapping[str, Any], depth: int, once: Node | None) -> str:
        """Return the text of an object that is there, with the wanted keys instead of its own."""
        before = {member.key: member.value for member in once.members} if once else {}
        parts: list[str] = []
        lead = ""
        at = node.start + 1
        for member in node.members:
            lead = self.text[at : member.start]
            if member.key in wanted:
                key = self.text[member.start : member.value.start]
                parts.append(
                    lead + key + self.value(member.value, wanted[member.key], depth + 1, before.get(member.key))
                )
            at = member.value.end
            if member is not node.members[-1]:
                comma = self.text.index(",", at)
                if member.key in wanted:
                    parts[-1] += self.text[at:comma]
                at = comma + 1
        closing = self.text[at : node.end - 1]
        if not node.members or not parts:
            lead = closing = ""
        present = {member.key for member in node.members}
        for key, value in wanted.items():
            if key not in present:
                if not parts:
                    lead = self.newline + self.indent * (depth + 1) if self.newline else ""
                    closing = self.newline + self.indent * depth if self.newline else ""
                written = (
                    json.dumps(key, ensure_ascii=False) + self.colon + self.written(value, depth + 1, before.get(key))
                )
                parts.append((lead or (" " if parts else "")) + written)
        return "{" + ",".join(parts) + closing + "}"

    def value(self, node: Node, wanted: Any, depth: int, once: Node | None) -> str:
        """Return the text of a value that is there, or of the one that is wanted instead."""
        if same(node.data, wanted):
            return self.text[node.start : node.end]
        if isinstance(node.data, dict) and isinstance(wanted, dict):
            return self.object(node, wanted, depth, once)
        return self.written(wanted, depth, once)

    def written(self, value: Any, depth: int, once: Node | None) -> str:
        """Return the text of a value that is new here, or comes back."""
        if once and same(once.data, value):
            return self.earlier[once.start : once.end]
        if not self.newline:
            return json.dumps(value, ensure_ascii=False)
        lines = json.dumps(value, ensure_ascii=False, indent=self.indent).split("\n")
        return (self.newline + self.indent * depth).join(lines)


def _string_at(text: str, at: int) -> str:
    found = _STRING.match(text, at)
    return found[0] if found else ""
