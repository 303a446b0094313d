# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Compose file as text with the places of its nodes: all that is needed to edit lines and leave the others alone.

ruamel.yaml's parser says where each node stands; the text is edited by these places and never written out of the
parsed data. That keeps comments, order, quotes and anchors as they are, byte for byte.
"""

from __future__ import annotations

import bisect
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

RUAMEL_ERROR: str | None
try:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
except ImportError:
    RUAMEL_ERROR = traceback.format_exc()
else:
    RUAMEL_ERROR = None

MARK: Final = "# compose_ports: not published"
_MARKED: Final = re.compile(r"(\s*)" + re.escape(MARK) + r" \((\d+) lines?\): (.*)")
_EMPTIED: Final = re.compile(r"([^#]*[^#\s]) \[\](\s*(?:#.*)?)")


class ComposeError(Exception):
    """What is wrong with a Compose file, with its place."""


@dataclass(eq=False)
class Node:
    """A scalar, a sequence or a mapping of the file; identity counts, because anchors share nodes.

    :param start: the offset of the first character of a scalar, or of a flow collection's bracket
    :param end: the offset behind the last character of a scalar or flow collection
    :param style: how a scalar is quoted (", ', |, >, or nothing if it is plain); "flow" for a collection in brackets
    :param key_column: for a sequence that is a value in a block mapping: the column of its key
    :param before: for a collection: the offset behind the last thing before it: the colon, the anchor or the tag
    """

    kind: str
    tag: str = ""
    anchor: str = ""
    start: int = 0
    end: int = 0
    style: str = ""
    value: str = ""
    items: list[Use] = field(default_factory=list)
    pairs: list[tuple[Use, Use]] = field(default_factory=list)
    key_column: int | None = None
    before: int = 0


@dataclass(eq=False)
class Use:
    """A place where a node stands: where it is written, or an alias of it.

    :param start: the offset of its first character; the dash, for an item of a block sequence
    :param end: the offset behind its last character, comments left out
    """

    node: Node
    start: int
    end: int
    alias: bool = False


@dataclass(frozen=True)
class Removed:
    """Lines that compose_ports turned into comments before.

    :param marker: the line above them, as it is written
    :param reason: what it gives as the reason
    :param last: the index of the last of the lines in the text
    """

    marker: str
    reason: str
    last: int


class Document:
    """A Compose file, with the lines that compose_ports turned into comments taken back into the text.

    :param path: the file, for messages
    :param current: what is in the file
    :raises ComposeError: if it is no YAML
    """

    def __init__(self, path: str, current: str) -> None:
        self.path = path
        self.current = current
        left_out: set[int] = set()
        while True:
            self.text, self._origins, removed = restored(current, left_out)
            self._lines = _line_starts(self.text)
            try:
                self._parse()
            except ComposeError:
                if not removed:
                    raise
                # A comment of ours was moved or changed by hand. It is a comment like any other then.
                left_out |= {self._origins[line] - 1 for line in removed}
                continue
            strays = {self._origins[line] - 1 for line, was in removed.items() if self._last_line(line) != was.last}
            if not strays:
                break
            left_out |= strays
        self.removed: dict[int, Removed] = removed
        """By the first line in the text."""

    # -- places ------------------------------------------------------------------------------------------------------

    def line_index(self, offset: int) -> int:
        """Return the index of the line of the text in which the offset lies."""
        return bisect.bisect_right(self._lines, offset) - 1

    def line_start(self, offset: int) -> int:
        """Return the offset at which the line of this offset begins."""
        return self._lines[self.line_index(offset)]

    def line_end(self, offset: int) -> int:
        """Return the offset of the line break that ends the line of this offset, or of the end of the text."""
        index = self.line_index(offset)
        if index + 1 == len(self._lines):
            return len(self.text)
        end = self._lines[index + 1] - 1
        return end - 1 if self.text[end - 1 : end] == "\r" else end

    def where(self, offset: int) -> str:
        """Return file:line, with the line as the file is now."""
        return f"{self.path}:{self._origins[self.line_index(offset)] + 1}"

    def error(self, offset: int, problem: str) -> ComposeError:
        """Return an error with its place."""
        return ComposeError(f"{self.where(offset)}: {problem}")

    # -- what is in it -----------------------------------------------------------------------------------------------

    def lookup(self, mapping: Node, key: str) -> Use | None:
        """Return the value of a key, which may come by a merge key: what is written in the mapping itself counts
        first, then the merged mappings in their order.

        :raises ComposeError: for a key that is there twice, and for a merge key with something else than mappings
        """
        for name, value in self.members(mapping):
            if name == key:
                return value
        return None

    def members(self, mapping: Node) -> Iterator[tuple[str, Use]]:
        """Give each key with its value once, those of merge keys included."""
        return iter(self._members(mapping, ()).items())

    def _members(self, mapping: Node, within: tuple[Node, ...]) -> dict[str, Use]:
        own: dict[str, Use] = {}
        merged: dict[str, Use] = {}
        if any(mapping is outer for outer in within):
            raise ComposeError(f"{self.path}: the merge key of an anchor contains the anchor itself")
        for key, value in mapping.pairs:
            if key.node.kind != "scalar":
                raise self.error(key.start, "a key that is no text")
            if key.node.value == "<<" and not key.node.style:
                sources = value.node.items if value.node.kind == "sequence" else [value]
                for source in sources:
                    if source.node.kind != "mapping":
                        raise self.error(source.start, "a merge key takes a mapping, or a list of them")
                    for name, inherited in self._members(source.node, (*within, mapping)).items():
                        merged.setdefault(name, inherited)
            elif key.node.value in own:
                raise self.error(key.start, f"the key {key.node.value!r} is there twice")
            else:
                own[key.node.value] = value
        return {**merged, **own}

    def removed_at(self, sequence: Node, use: Use) -> Removed | None:
        """Return what compose_ports said when it turned this item of the sequence into a comment, if it did."""
        return None if sequence.style else self.removed.get(self.line_index(use.start))

    def sequences(self) -> Iterator[Node]:
        """Give every sequence of the file."""
        return iter(self._sequences)

    def alias_count(self, node: Node) -> int:
        """Return how many aliases stand for the node."""
        return self._aliases.get(id(node), 0)

    def _last_line(self, first: int) -> int | None:
        """The index of the last line of the item of a block list that begins at this line."""
        for sequence in self._sequences:
            for use in sequence.items if not sequence.style else ():
                if self.line_index(use.start) == first:
                    return self.line_index(use.end - 1)
        return None

    # -- parsing -----------------------------------------------------------------------------------------------------

    def _parse(self) -> None:
        try:
            tokens = [
                (type(token).__name__[: -len("Token")], int(token.start_mark.index), int(token.end_mark.index))
                for token in YAML(typ="safe", pure=True).scan(self.text)
            ]
            events = list(YAML(typ="safe", pure=True).parse(self.text))
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self._origins[min(mark.line, len(self._origins) - 1)] + 1 if mark else 1
            raise ComposeError(f"{self.path}:{line}: this is not YAML: {error.problem or error.context}") from None
        except YAMLError as error:
            raise ComposeError(f"{self.path}: this is not YAML: {str(error).splitlines()[0]}") from None
        self._solid: list[tuple[int, int, str]] = [(start, end, kind) for kind, start, end in tokens if end > start]
        self._starts = [start for start, _end, _kind in self._solid]
        self._dashes = [start for kind, start, _end in tokens if kind == "BlockEntry"]
        self._scalars = {end: start for kind, start, end in tokens if kind == "Scalar"}
        self._behind = 0
        self._aliases: dict[int, int] = {}
        self._sequences: list[Node] = []
        self.roots = list(self._documents(iter(events)))

    def _documents(self, events: Iterator[Any]) -> Iterator[Use]:
        anchors: dict[str, Node] = {}
        for event in events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                anchors.clear()
            elif not kind.startswith(("Stream", "Document")):
                yield self._use(event, events, anchors)

    def _use(self, event: Any, events: Iterator[Any], anchors: dict[str, Node], key_column: int | None = None) -> Use:
        kind = type(event).__name__
        start, end = event.start_mark.index, event.end_mark.index
        self._behind = end
        if kind == "AliasEvent":
            node = anchors.get(event.anchor)
            if node is None:
                raise self.error(start, f"this is not YAML: there is no anchor &{event.anchor} above")
            self._aliases[id(node)] = self._aliases.get(id(node), 0) + 1
            return Use(node, start, end, True)
        node = Node(
            {"ScalarEvent": "scalar", "SequenceStartEvent": "sequence"}.get(kind, "mapping"),
            str(event.tag or ""),
            event.anchor or "",
            key_column=key_column,
        )
        if event.anchor:
            anchors[event.anchor] = node
        if node.kind == "scalar":
            node.style, node.value = event.style or "", event.value
            # a block scalar ends where the next line begins, or later
            last = self._trimmed(end) if node.style in ("|", ">") else end
            node.start, node.end = self._scalars.get(end, start), last
            return Use(node, min(start, node.start), last)
        node.style = "flow" if event.flow_style else ""
        node.start = self._opening(start) if node.style else start
        node.before = self._end_before(node.start if node.style else self._first(start))
        if node.kind == "sequence":
            self._sequences.append(node)
            end = self._items(node, events, anchors)
        else:
            end = self._pairs(node, events, anchors)
        node.end = end if node.style else self._end_before(end)
        return Use(node, start, node.end)

    def _items(self, node: Node, events: Iterator[Any], anchors: dict[str, Node]) -> int:
        dashes: list[int] = []
        behind = node.start
        for event in events:
            if type(event).__name__ == "SequenceEndEvent":
                break
            if not node.style:
                dashes.append(self._dashes[bisect.bisect_left(self._dashes, behind)])
            use = self._use(event, events, anchors)
            behind = max(self._behind, behind + 1)
            node.items.append(use)
        self._behind = int(event.end_mark.index)
        if not node.style:
            for use, dash, limit in zip(node.items, dashes, [*dashes[1:], event.start_mark.index], strict=True):
                use.start, use.end = dash, self._end_before(limit)
        return self._behind

    def _pairs(self, node: Node, events: Iterator[Any], anchors: dict[str, Node]) -> int:
        for event in events:
            if type(event).__name__ == "MappingEndEvent":
                break
            key = self._use(event, events, anchors)
            column = None if node.style else key.start - self.line_start(key.start)
            node.pairs.append((key, self._use(next(events), events, anchors, column)))
        self._behind = int(event.end_mark.index)
        return self._behind

    def _opening(self, start: int) -> int:
        """The bracket of a flow collection, behind its anchor and tag."""
        index = bisect.bisect_left(self._starts, start)
        while not self._solid[index][2].startswith("Flow"):
            index += 1
        return self._solid[index][0]

    def _first(self, start: int) -> int:
        """Where the content of a block collection begins, behind its anchor and tag."""
        index = bisect.bisect_left(self._starts, start)
        while self._solid[index][2] in ("Anchor", "Tag"):
            index += 1
        return self._solid[index][0]

    def _end_before(self, limit: int) -> int:
        """Where the last token before the offset ends."""
        index = bisect.bisect_left(self._starts, limit) - 1
        return self._trimmed(self._solid[index][1]) if index >= 0 else 0

    def _trimmed(self, end: int) -> int:
        """The offset without the white space before it."""
        while end > 0 and self.text[end - 1].isspace():
            end -= 1
        return end


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their line breaks; only a line feed ends a line."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


# -- comments of ours ------------------------------------------------------------------------------------------------


def commented(line: str, column: int) -> str:
    """Return a line as a comment that `uncommented` makes the same line of; an empty line stays as it is.

    :param column: where the comment begins, unless the line's text begins before
    """
    indent = min(len(line) - len(line.lstrip(" ")), column)
    return f"{line[:indent]}# {line[indent:]}" if line.strip() else line


def uncommented(line: str) -> str:
    """Return the line that `commented` made a comment of."""
    return re.sub(r"^( *)# ", r"\1", line, count=1)


def marker(indent: str, lines: int, reason: str) -> str:
    """Return the line that stands above lines that are comments now."""
    return f"{indent}{MARK} ({lines} line{'' if lines == 1 else 's'}): {reason}"


def restored(current: str, left_out: set[int]) -> tuple[str, list[int], dict[int, Removed]]:
    """Return the text with the lines that compose_ports turned into comments taken back.

    :param left_out: the indices of marker lines that are comments like any other
    :return: the text; for each of its lines the index of the line it comes from; what was taken back, by its first
        line in the new text
    """
    lines, origins, removed = lines_of(current), [], {}
    out: list[str] = []
    at = 0
    while at < len(lines):
        marked = _MARKED.fullmatch(lines[at].rstrip("\r\n"))
        if not marked or at in left_out or at + int(marked[2]) >= len(lines):
            out.append(lines[at])
            origins.append(at)
            at += 1
            continue
        _fill(out)
        removed[len(out)] = Removed(lines[at].rstrip("\r\n"), marked[3], len(out) + int(marked[2]) - 1)
        for index in range(at + 1, at + 1 + int(marked[2])):
            out.append(uncommented(lines[index]))
            origins.append(index)
        at += 1 + int(marked[2])
    # the empty line behind the last line break, where parsers see the end
    return "".join(out), [*origins, max(len(lines) - 1, 0)], removed


def _fill(out: list[str]) -> None:
    """Take the [] away that stands where a list had lost all its items, if this is where it gets one back."""
    index = len(out) - 1
    while index >= 0 and (not out[index].strip() or out[index].lstrip().startswith("#")):
        index -= 1
    if index >= 0:
        body = out[index].rstrip("\r\n")
        emptied = _EMPTIED.fullmatch(body)
        if emptied:
            out[index] = emptied[1] + emptied[2] + out[index][len(body) :]
