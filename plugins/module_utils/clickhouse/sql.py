# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ClickHouse SQL text: the only place where a value becomes part of a statement. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
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
class Statement:
    """One SQL statement, with its secrets kept apart from its text.

    :param parts: text and :class:`Secret` in the order they stand in the statement
    """

    parts: tuple[str | Secret, ...]

    @property
    def sql(self) -> str:
        """What is sent to the server."""
        return "".join(literal(part.value) if isinstance(part, Secret) else part for part in self.parts)

    @property
    def shown(self) -> str:
        """What people and logs may see: every secret reads ``'[HIDDEN]'``."""
        return "".join(literal(HIDDEN) if isinstance(part, Secret) else part for part in self.parts)


Clause: TypeAlias = "str | tuple[str | Secret, ...] | None"
"""A part of a statement; a tuple where it holds secrets."""


def statement(*clauses: Clause) -> Statement:
    """Join the clauses that say something (``None`` and ``""`` do not) with single spaces."""
    parts: list[str | Secret] = []
    for clause in clauses:
        if clause:
            parts += [" "] if parts else []
            parts += [clause] if isinstance(clause, str) else clause
    return Statement(tuple(parts))
