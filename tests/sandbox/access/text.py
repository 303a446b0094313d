"""Canonical ClickHouse text: quoting, and a cursor over the tokens of a statement that the engine's formatter has
written."""

from __future__ import annotations

import re
from collections.abc import Callable

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_RESERVED = frozenset(["all", "table", "select", "from", "null", "distinct", "values", "true", "false", "inf", "nan"])
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "v": "\v", "e": "\x1b"}
_UNESCAPES = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\\": "\\\\"}
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|`(?P<quoted>(?:[^`\\]|\\.|``)*)`|'(?P<string>(?:[^'\\]|\\.|'')*)'"
    r"|(?P<number>-?(?:inf|nan)\b|-?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)|(?P<mark>.))",
    re.DOTALL,
)


def quote(name: str) -> str:
    """A name, in backquotes where ClickHouse would put them (backQuoteIfNeed)."""
    return name if _BARE.match(name) and name.lower() not in _RESERVED else backquote(name)


def backquote(name: str) -> str:
    """A name in backquotes."""
    return "`" + "".join(_UNESCAPES.get(c, c) for c in name).replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A string literal."""
    return "'" + "".join(_UNESCAPES.get(c, c) for c in text).replace("'", "\\'") + "'"


def unescape(text: str, mark: str) -> str:
    """The inside of a quoted token as text."""

    def one(match: re.Match[str]) -> str:
        if match[0] == mark * 2:
            return mark
        if match[1].startswith("x"):
            return chr(int(match[1][1:], 16))
        return _ESCAPES.get(match[1], match[1])

    return re.sub(r"\\(x[0-9a-fA-F]{2}|.)|" + mark * 2, one, text, flags=re.DOTALL)


class Token:
    """One token: `kind` (name, quoted, string, number, mark, end), its text (a quoted one's content), and where it
    is."""

    __slots__ = ("end", "kind", "start", "text")

    def __init__(self, kind: str, text: str, start: int, end: int) -> None:
        self.kind, self.text, self.start, self.end = kind, text, start, end


class Cursor:
    """A place in a statement."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.tokens: list[Token] = []
        position = 0
        while match := _TOKEN.match(sql, position):
            kind = match.lastgroup or "mark"
            text = match[kind]
            if kind == "quoted":
                text = unescape(text, "`")
            elif kind == "string":
                text = unescape(text, "'")
            self.tokens.append(Token(kind, text, match.start() + len(match[0]) - len(match[0].lstrip()), match.end()))
            position = match.end()
        self.tokens.append(Token("end", "", len(sql), len(sql)))
        self.at = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.at]

    def ahead(self, *words: str) -> bool:
        """Whether these keywords or marks come next (keywords in any case, as older versions write some in lower
        case)."""
        for offset, word in enumerate(words):
            token = self.tokens[min(self.at + offset, len(self.tokens) - 1)]
            if token.kind not in ("name", "mark") or token.text.upper() != word.upper():
                return False
        return True

    def take(self, *words: str) -> bool:
        """Go over these keywords, if they come next."""
        if found := self.ahead(*words):
            self.at += len(words)
        return found

    def keyword(self, word: str) -> bool:
        """Go over a keyword that could be a name: the formatter writes keywords in capitals and names as they are."""
        found = self.token.kind == "name" and self.token.text == word
        self.at += found
        return found

    def expect(self, *words: str) -> None:
        """Go over these keywords, which must come next. Raises ValueError."""
        if not self.take(*words):
            raise ValueError(f"expected {' '.join(words)} at {self.sql[self.token.start :][:40]!r}")

    def name(self) -> str:
        """A name: bare, in backquotes, or a string."""
        token = self.token
        if token.kind not in ("name", "quoted", "string", "number"):
            raise ValueError(f"expected a name at {self.sql[token.start :][:40]!r}")
        self.at += 1
        return token.text

    def string(self) -> str:
        """A string literal's content."""
        return self.name()

    def list(self, item: Callable[[], object]) -> None:
        """Items with commas between."""
        item()
        while self.take(","):
            item()

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self.token.kind == "end"
