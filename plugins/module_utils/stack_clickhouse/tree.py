# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: ClickHouse's configuration files as trees with line numbers, merged as ClickHouse merges them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

ROOTS = ("clickhouse", "yandex")
"""What the root element may be called: the second is the name before ClickHouse 21.10."""


class Malformed(Exception):
    """A file that is not a configuration file; the message says which, the line and why."""


@dataclass
class Node:
    """An element: `file` and `line` (from 1) say where it begins, `text` is stripped of white space."""

    name: str
    attributes: dict[str, str]
    file: str
    line: int
    text: str = ""
    children: list[Node] = field(default_factory=list)

    @property
    def place(self) -> str:
        """Where the element is, as `file:line`."""
        return f"{self.file}:{self.line}"

    def find(self, *path: str) -> Node | None:
        """Return the first element at this path of names below, None if there is none."""
        node: Node | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def all(self, *path: str) -> list[Node]:
        """Return all elements at this path of names below; `*` stands for any name."""
        nodes = [self]
        for name in path:
            nodes = [child for node in nodes for child in node.children if name in ("*", child.name)]
        return nodes

    def value(self, *path: str) -> str:
        """Return the text of the first element at this path, empty if there is none."""
        node = self.find(*path)
        return node.text if node else ""

    def walk(self) -> Iterator[Node]:
        """Yield this element and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def parse(file: str, content: str) -> Node:
    """Return the root element.

    :param file: the name that errors give it
    :param content: the file's text
    :raises Malformed: if it is no well-formed XML, or the root has another name than ClickHouse reads
    """
    reader = expat.ParserCreate()
    top = Node("", {}, file, 0)
    path = [top]

    def begin(name: str, attributes: dict[str, str]) -> None:
        node = Node(name, attributes, file, reader.CurrentLineNumber)
        path[-1].children.append(node)
        path.append(node)

    def end(_name: str) -> None:
        node = path.pop()
        node.text = node.text.strip()

    def characters(text: str) -> None:
        path[-1].text += text

    reader.StartElementHandler = begin
    reader.EndElementHandler = end
    reader.CharacterDataHandler = characters
    try:
        reader.Parse(content.encode(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise Malformed(f"{file}:{error.lineno}: this is not well-formed XML ({reason}).") from error
    (root,) = top.children
    if root.name not in ROOTS:
        raise Malformed(f"{root.place}: the root element is <{root.name}>; ClickHouse reads <clickhouse>.")
    return root


def merge(files: Mapping[str, Node]) -> Node:
    """Return what ClickHouse makes of the files of one directory.

    Files come in the order of their names. Elements of the same name and attributes are merged; `remove` takes an
    element away, `replace` puts its children in the place of the other's (ClickHouse documentation, "Configuration
    Files").

    :param files: root elements by file name
    """
    result = Node("clickhouse", {}, "", 0)
    for name in sorted(files):
        _merge(result, files[name])
    return result


def _merge(base: Node, over: Node) -> None:
    """Merge the children of `over` into those of `base`."""
    left = list(base.children)
    for child in over.children:
        attributes = {name: text for name, text in child.attributes.items() if name not in ("remove", "replace")}
        match = next((node for node in left if (node.name, node.attributes) == (child.name, attributes)), None)
        if match is not None:
            left.remove(match)
        if "remove" in child.attributes:
            base.children = [node for node in base.children if node is not match]
        elif match is None:
            fresh = Node(child.name, attributes, child.file, child.line, child.text)
            base.children.append(fresh)
            _merge(fresh, child)
        else:
            match.file, match.line = child.file, child.line
            if child.text:
                match.text = child.text
            if "replace" in child.attributes:
                match.children = []
            _merge(match, child)
