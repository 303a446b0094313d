# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ClickHouse SQL text: the only place where a value becomes part of a statement. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TypeAlias

HIDDEN = "[HIDDEN]"
"""What stands for a secret in every result, diff, log and error; ClickHouse's own word for it."""

_ESCAPES = str.maketrans(
    {"\\": "\\\\", "\0": "\\0", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"},
)
_ESCAPED = {
    "a": "\a",
    "b": "\b",
    "e": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "0": "\0",
    "N": "",
}


class WishError(ValueError):
    """The operator asks for something ClickHouse cannot take; nothing has been changed.

    :param option: the option at fault, as a path (``settings[2].value``)
    :param reason: what is wrong with it and what to write instead
    """

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(f"{option}: {reason}")
        self.option = option
        self.reason = reason


def check_text(option: str, value: str, secret: bool = False) -> str:
    """Return ``value`` if it can travel to the server as UTF-8.

    :param option: the option it came from, for the error
    :param secret: whether the error must not show it
    :raises WishError: for a lone surrogate, which has no UTF-8 form
    """
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        text = HIDDEN if secret else ascii(value)
        raise WishError(option, f"character {error.start} of {text} is not valid Unicode text") from None
    return value


def check_name(option: str, value: str) -> str:
    """Return ``value`` if it can name an entity: not empty, valid text.

    :raises WishError: otherwise
    """
    if not value:
        raise WishError(option, "a name cannot be empty")
    return check_text(option, value)


def ident(name: str) -> str:
    """Quote an identifier: a user, role, profile, database, table, column or setting.

    Always quoted, because the words that need it differ between versions and clauses (a role called ``none``).
    ClickHouse reads backslash escapes in backquoted identifiers as it does in strings.
    """
    return "`" + name.translate(_ESCAPES).replace("`", "\\`") + "`"


def literal(value: str) -> str:
    """Quote a string literal."""
    return "'" + value.translate(_ESCAPES).replace("'", "\\'") + "'"


def unquote(token: str) -> str:
    """Return what a quoted identifier or string literal means; a quote inside may be escaped or doubled.

    ClickHouse keeps the backslash of an escape it does not know.
    """
    quote = token[0]

    def plain(match: re.Match[str]) -> str:
        part = match[0]
        if part[0] == quote:
            return quote
        if len(part) == 4:
            return chr(int(part[2:], 16))
        return _ESCAPED.get(part[1], part[1] if part[1] in "\\`\"'/=" else part)

    return re.sub(rf"\\x[0-9A-Fa-f]{{2}}|\\.|{quote}{quote}", plain, token[1:-1], flags=re.DOTALL)


def idents(names: Iterable[str]) -> str:
    """Quote a list of identifiers, separated by commas."""
    return ", ".join(ident(name) for name in names)


def literals(values: Iterable[str]) -> str:
    """Quote a list of string literals, separated by commas."""
    return ", ".join(literal(value) for value in values)


@dataclass(frozen=True)
class Secret:
    """A string literal whose value must reach the server and nobody else."""

    value: str = field(repr=False)


@dataclass(frozen=True)
class Subjects:
    """The entities a statement is about. Statements that differ only in them are run as one.

    :param quoted: their names, as SQL text
    """

    quoted: tuple[str, ...]


class Phase(IntEnum):
    """When a statement's turn comes in a run: all of one phase before any of the next.

    Everything is made before anything refers to it, and given before anything is taken, so that no run opens a gap.
    """

    MAKE = 0
    LINK = 1
    GRANT = 2
    TAKE = 3
    DROP = 4


@dataclass(frozen=True)
class Statement:
    """One SQL statement, with its secrets kept apart from its text.

    :param parts: text, :class:`Secret` and :class:`Subjects` in the order they stand in the statement
    :param phase: when its turn comes
    """

    parts: tuple[str | Secret | Subjects, ...]
    phase: Phase = Phase.MAKE

    @property
    def sql(self) -> str:
        """What is sent to the server."""
        return "".join(map(_sent, self.parts))

    @property
    def shown(self) -> str:
        """What people and logs may see: every secret reads ``'[HIDDEN]'``."""
        return "".join(literal(HIDDEN) if isinstance(part, Secret) else _sent(part) for part in self.parts)

    @property
    def shape(self) -> tuple[str | Secret | None, ...]:
        """What two statements have in common that can be run as one: everything but their subjects."""
        return tuple(None if isinstance(part, Subjects) else part for part in self.parts)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names it is about, if it could be about more."""
        return next((part.quoted for part in self.parts if isinstance(part, Subjects)), ())

    def about(self, quoted: tuple[str, ...]) -> Statement:
        """Return the same statement about these subjects."""
        return replace(
            self, parts=tuple(Subjects(quoted) if isinstance(part, Subjects) else part for part in self.parts)
        )


def _sent(part: str | Secret | Subjects) -> str:
    if isinstance(part, Secret):
        return literal(part.value)
    return ", ".join(part.quoted) if isinstance(part, Subjects) else part


Clause: TypeAlias = "str | Subjects | tuple[str | Secret | Subjects, ...] | None"
"""A part of a statement; a tuple where it holds secrets or subjects."""


def statement(*clauses: Clause, phase: Phase = Phase.MAKE) -> Statement:
    """Join the clauses that say something (``None`` and ``""`` do not) with single spaces."""
    parts: list[str | Secret | Subjects] = []
    for clause in clauses:
        if clause:
            parts += [" "] if parts else []
            parts += clause if isinstance(clause, tuple) else [clause]
    return Statement(tuple(_joined(parts)), phase)


def _joined(parts: Iterable[str | Secret | Subjects]) -> Iterable[str | Secret | Subjects]:
    """Put texts that stand side by side together."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
        text = ""
        yield part
    if text:
        yield text
