# Copyright (c) 2026, hardened.clickstack contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pure: variables in Compose files and in their .env files.

The rules are those of the Compose specification (12-interpolation.md) and of Docker Compose's .env files
(docs.docker.com, "Syntax for environment files in Docker Compose").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS: Final = (":-", ":?", ":+", "-", "?", "+")
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}


class VariableError(ValueError):
    """A variable that has no value, or a text that is no template; it names variables, never values."""


def interpolate(text: str, environment: Mapping[str, str], strict: bool = True) -> str:
    """Return the text with its variables replaced: $V, ${V}, ${V:-d}, ${V-d}, ${V:?e}, ${V?e}, ${V:+r}, ${V+r}, $$.

    :param strict: whether a variable without a value, where the text gives no default, is an error; Compose itself
        warns and goes on with nothing
    :raises VariableError: for such a variable, for one that ${V:?e} demands, and for an unclosed or malformed ${
    """
    out, at = "", 0
    while (dollar := text.find("$", at)) >= 0:
        out += text[at:dollar]
        rest = text[dollar + 1 :]
        if rest.startswith("$"):
            out, at = out + "$", dollar + 2
        elif rest.startswith("{"):
            inside = _braced(text, dollar)
            out += _value(inside, environment, strict)
            at = dollar + len(inside) + 3
        elif name := _NAME.match(rest):
            out += _plain(name[0], environment, strict)
            at = dollar + 1 + name.end()
        else:  # a dollar that begins nothing stands for itself
            out, at = out + "$", dollar + 1
    return out + text[at:]


def _braced(text: str, dollar: int) -> str:
    """Return what stands in the ${...} that begins at this dollar; braces inside are counted."""
    depth = 0
    for at in range(dollar + 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[dollar + 2 : at]
    raise VariableError("a ${ has no closing brace")


def _plain(name: str, environment: Mapping[str, str], strict: bool) -> str:
    value = environment.get(name, "")
    if strict and not value:
        raise VariableError(f"the variable {name} has no value")
    return value


def _value(inside: str, environment: Mapping[str, str], strict: bool) -> str:
    name = _NAME.match(inside)
    rest = inside[name.end() :] if name else inside
    operator = next((one for one in _OPERATORS if rest.startswith(one)), "")
    if not name or (rest and not operator):
        raise VariableError("a ${ is not followed by the name of a variable and, if need be, one of :- - :? ? :+ +")
    if not operator:
        return _plain(name[0], environment, strict)
    value = environment.get(name[0])
    there = bool(value) if operator.startswith(":") else value is not None
    word = rest[len(operator) :]
    if operator[-1] == "+":
        return interpolate(word, environment, strict) if there else ""
    if there:
        return value or ""
    if operator[-1] == "-":
        return interpolate(word, environment, strict)
    raise VariableError(f"the variable {name[0]} has no value" + (f": {word}" if word else ""))


def env_file(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an environment file sets.

    :param environment: what is known already; a name without value is taken from there, and so are the variables in
        values
    :raises VariableError: for a line that sets nothing, with its number
    """
    found: dict[str, str] = {}
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at = 0
    while True:
        begin = re.compile(r"(?:\s|#[^\n]*(?:\n|$))*").match(text, at)
        at = begin.end() if begin else at
        if at >= len(text):
            return found
        line = text.count("\n", 0, at) + 1
        known = {**found, **environment}
        name = re.compile(r"(?:export[^\S\n]+)?([\w.\-\[\]]+)[^\S\n]*(?:([=:])[^\S\n]*|(?=\n|$))").match(text, at)
        if not name:
            raise VariableError(f"line {line}: expected NAME=value")
        at = name.end()
        if not name[2]:
            found.update({name[1]: known[name[1]]} if name[1] in known else {})
        elif text[at : at + 1] in ("'", '"'):
            found[name[1]], at = _quoted(text, at, known, line)
        else:
            end = text.find("\n", at)
            value = text[at:end] if end >= 0 else text[at:]
            at += len(value)
            found[name[1]] = interpolate(value.split(" #")[0].rstrip(), known, False)


def _quoted(text: str, at: int, known: Mapping[str, str], line: int) -> tuple[str, int]:
    """Return the value of the quoted text that begins here, and where it ends."""
    quote = text[at]
    closed = re.compile(r"((?:\\.|[^\\" + quote + r"])*)" + quote, re.DOTALL).match(text, at + 1)
    if not closed:
        raise VariableError(f"line {line}: the quote is not closed")
    value = closed[1]
    if quote == "'":
        return value.replace("\\'", "'"), closed.end()
    return interpolate(re.sub(r"\\(0[0-7]{0,3}|.)", _unescape, value, flags=re.DOTALL), known, False), closed.end()


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    if code.startswith("0"):
        return chr(int(code, 8))
    return "$$" if code == "$" else _ESCAPES.get(code, match[0])
