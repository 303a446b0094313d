# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: a Compose file's text with decisions carried out, and every other character as it was."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from ansible_collections.hardened.clickstack.plugins.module_utils.compose.document import (
    ComposeError,
    Document,
    Node,
    Removed,
    Use,
    commented,
    lines_of,
    marker,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.interpolation import (
    VariableError,
    interpolate,
)
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.ports import PortError, rebound, short
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.project import Entry
from ansible_collections.hardened.clickstack.plugins.module_utils.compose.rules import Decision


def edited(document: Document, decisions: Mapping[Entry, Decision], deletes: bool = False) -> str:
    """Return the new text of a file.

    :param decisions: what happens to its entries
    :param deletes: whether lines are deleted rather than made comments of
    :raises ComposeError: for an entry that cannot be written so where it stands, with file and line
    """
    editor = _Editor(document, deletes)
    places: dict[int, tuple[Entry, Decision]] = {}
    for entry, decision in decisions.items():
        places.setdefault(id(entry.use), (entry, decision))
    for entry, decision in places.values():
        if decision.action == "bind":
            editor.bind(entry, decision.address)
    removed = {place: decision for place, (_entry, decision) in places.items() if decision.action == "remove"}
    for sequence in document.sequences():
        editor.remove(sequence, removed, places.keys())
    return editor.result()


class _Editor:
    """Replacements in a text, by offsets."""

    def __init__(self, document: Document, deletes: bool) -> None:
        self.document = document
        self.text = document.text
        self.deletes = deletes
        self.replacements: dict[tuple[int, int], str] = {}

    def result(self) -> str:
        return self._edited(0, len(self.text))

    def _edited(self, start: int, end: int) -> str:
        """A part of the text with what is replaced in it so far."""
        out, at = [], start
        for (first, last), new in sorted(self.replacements.items()):
            if start <= first and last <= end:
                out += [self.text[at:first], new]
                at = last
        return "".join([*out, self.text[at:end]])

    def _replace(self, start: int, end: int, new: str) -> None:
        """Replace a part, and with it what was replaced inside of it."""
        inside = [one for one in self.replacements if start <= one[0] and one[1] <= end and one != (start, end)]
        for one in inside:
            del self.replacements[one]
        self.replacements[(start, end)] = new

    # -- bind --------------------------------------------------------------------------------------------------------

    def bind(self, entry: Entry, host_ip: str) -> None:
        if all(port.host_ip == host_ip for port in entry.ports):
            return
        node = entry.use.node
        if node.kind == "mapping":
            self._bind_long(entry, host_ip)
            return
        value = rebound(node.value, host_ip)
        try:
            found = short(interpolate(value, entry.environment))
        except (PortError, VariableError):
            found = ()
        if found != tuple(replace(port, host_ip=host_ip) for port in entry.ports):
            raise ComposeError(
                f"{entry.where}: {node.value} cannot be bound to {host_ip}, because a variable holds more than one "
                "part of it; write [host_ip:][published]:target with variables for single parts"
            )
        self._replace(node.start, node.end, _scalar(value, node.style, bool(entry.sequence.style) or ":" in host_ip))

    def _bind_long(self, entry: Entry, host_ip: str) -> None:
        node = entry.use.node
        new = json.dumps(host_ip)
        pairs = {key.node.value: (key, value) for key, value in node.pairs}
        if "host_ip" in pairs:
            value = pairs["host_ip"][1]
            if value.node.anchor and not value.alias and self.document.alias_count(value.node):
                raise self.document.error(
                    value.start, f"the anchor &{value.node.anchor} is used elsewhere; write host_ip without an anchor"
                )
            self._replace(value.start if value.alias else value.node.start, value.end, new)
            return
        key, value = pairs.get("target") or node.pairs[0]
        if node.style:
            self._replace(value.end, value.end, f", host_ip: {new}")
        else:
            indent = " " * (key.start - self.document.line_start(key.start))
            end = self.document.line_end(value.end)
            self._replace(end, end, f"{self._line_break(end)}{indent}host_ip: {new}")

    # -- remove ------------------------------------------------------------------------------------------------------

    def remove(self, sequence: Node, removed: Mapping[int, Decision], decided: Collection[int]) -> None:
        """Take items out of a list: those that are removed, and those that were comments and that nobody decided on."""
        before = {id(use): self.document.removed_at(sequence, use) for use in sequence.items}
        gone = [use for use in sequence.items if id(use) in removed or (before.get(id(use)) and id(use) not in decided)]
        if not gone:
            return
        for use in gone:
            self._keep_anchors(use, gone)
        if not sequence.style:
            for use in gone:
                self._remove_lines(use, removed.get(id(use)), before[id(use)])
            if len(gone) == len(sequence.items):
                self._replace(sequence.before, sequence.before, " []")
        elif self.deletes:
            self._delete_in_flow(sequence, gone)
        else:
            self._to_block(sequence, {id(use): removed[id(use)] for use in gone})

    def _keep_anchors(self, use: Use, gone: Sequence[Use]) -> None:
        """An anchor cannot go while it is used."""
        aliases = sum(1 for one in gone if one.alias and one.node is use.node)
        if use.node.anchor and not use.alias and self.document.alias_count(use.node) > aliases:
            raise self.document.error(
                use.start,
                f"this entry defines the anchor &{use.node.anchor}, which is used elsewhere; write the entry there",
            )

    def _remove_lines(self, use: Use, decision: Decision | None, before: Removed | None) -> None:
        start = self.document.line_start(use.start)
        end = self.document.line_end(use.end - 1)
        indent = self.text[start : use.start]
        if indent.strip():
            raise self.document.error(use.start, "write this entry on a line of its own")
        if self.deletes and decision and (decision.named or not before):
            self._replace(start, min(end + len(self._line_break(end)), len(self.text)), "")
            return
        lines = lines_of(self.text[start:end])
        above = before.marker if before and not (decision and decision.named) else ""
        above = above or marker(indent, len(lines), decision.reason if decision else "")
        body = "".join(commented(line, len(indent)) for line in lines)
        self._replace(start, end, f"{above}{self._line_break(end)}{body}")

    def _delete_in_flow(self, sequence: Node, gone: Sequence[Use]) -> None:
        items = sequence.items
        kept = [index for index, use in enumerate(items) if use not in gone]
        if not kept:
            self._replace(sequence.start + 1, sequence.end - 1, "")
            return
        for index, use in enumerate(items):
            if use in gone and index < kept[-1]:
                self._replace(use.start, items[index + 1].start, "")
        if kept[-1] + 1 < len(items):
            self._replace(items[kept[-1]].end, items[-1].end, "")

    def _to_block(self, sequence: Node, removed: Mapping[int, Decision]) -> None:
        """Write a list in brackets with one item to a line, so that lines can become comments."""
        if sequence.key_column is None:
            raise self.document.error(
                sequence.start,
                "these ports stand within {} or [], where no line can become a comment; write the service with one key "
                "to a line, or use removal=delete",
            )
        indent = " " * (sequence.key_column + 2)
        break_ = self._line_break(self.document.line_end(sequence.end - 1))
        lines: list[str] = []
        nexts = [use.start for use in sequence.items[1:]] + [sequence.end - 1]
        lines += [indent + one for one in _comments(self.text[sequence.start + 1 : sequence.items[0].start])]
        for use, following in zip(sequence.items, nexts, strict=True):
            first, *others = self.text[use.end : following].split("\n")
            text = " ".join([f"{indent}- {self._edited(use.start, use.end)}", *_comments(first)])
            decision = removed.get(id(use))
            if decision:
                parts = lines_of(text)
                lines.append(marker(indent, len(parts), decision.reason))
                text = "".join(commented(part, len(indent)) for part in parts)
            lines.append(text)
            lines += [indent + one for one in _comments("\n".join(others))]
        between = self.text[sequence.before : sequence.start]
        kept = between.rstrip() if "#" in between else ""
        empty = " []" if len(removed) == len(sequence.items) else ""
        self._replace(sequence.before, sequence.end, empty + kept + "".join(break_ + line for line in lines))

    def _line_break(self, end: int) -> str:
        """The line break at the end of a line; at the end of the text, the one of the file's first line."""
        if end < len(self.text):
            return "\r\n" if self.text[end] == "\r" else "\n"
        return "\r\n" if "\r\n" in self.text else "\n"


def _comments(between: str) -> list[str]:
    """The comments in what stands between two items of a list in brackets."""
    return ["#" + line.split("#", 1)[1].rstrip() for line in between.split("\n") if "#" in line]


def _scalar(value: str, style: str, quoted: bool) -> str:
    """A text as YAML in the style it had, if the style can hold it."""
    if style == "'":
        return "'" + value.replace("'", "''") + "'"
    return value if not style and not quoted else json.dumps(value, ensure_ascii=False)
