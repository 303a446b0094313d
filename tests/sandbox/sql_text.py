"""What the sandbox has to know about a query's text before the engine reads it: its tokens, no grammar.

Pure functions on text in which one character is one byte (latin-1), so that binary INSERT data passes through unharmed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<space>(?:\s+|--[^\n]*|\#[\ !][^\n]*|/\*.*?\*/)+)
      | (?P<string>'(?:[^'\\]|\\.|'')*'|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
      | (?P<quoted>`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9][0-9A-Za-z_.]*)
      | (?P<parameter>\{\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*:\s*(?P<type>[A-Za-z_][A-Za-z0-9_(), ]*)\})
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
# Between FORMAT's name and the data: blanks and one end of line belong to neither
_DATA_START = re.compile(r"[ \t\f]*\r?\n?")


@dataclass(frozen=True)
class Token:
    """A piece of the text: `kind` (word, quoted, string, number, parameter, sign), its text and where it starts."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the text after it starts."""
        return self.start + len(self.text)

    @property
    def lower(self) -> str:
        """The text in lower case: keywords and functions such as currentUser() do not distinguish."""
        return self.text.lower()

    @property
    def identifier(self) -> str | None:
        """The name this token writes, or None where it is no identifier."""
        if self.kind == "word":
            return self.text
        return unquoted(self) if self.kind == "quoted" else None


def tokens(text: str) -> Iterator[Token]:
    """The tokens of `text` without white space and comments."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "sign"
        for name in ("space", "string", "quoted", "word", "number", "parameter", "sign"):
            if match[name] is not None:
                kind = name
                break
        if kind != "space":
            yield Token(kind, match[0], match.start())


@dataclass(frozen=True)
class Statement:
    """One query: its first keyword in lower case ('' if empty), where its SQL ends and the data of an INSERT may
    follow.
    """

    keyword: str
    tokens: tuple[Token, ...]
    end: int
    second_at: int | None
    """Where a second statement starts, which HTTP does not allow."""
    format: str | None
    """The name after FORMAT, if there is one."""
    insert: tuple[int, int] | None
    """For an INSERT with data: where its text before FORMAT or VALUES ends, and where the data starts."""


def read(text: str) -> Statement:
    """Find out what kind of statement `text` holds. Data after `INSERT ... VALUES` or `INSERT ... FORMAT x` is not
    read.
    """
    found: list[Token] = []
    insert = False
    data = None
    output_format = None
    keyword = ""
    end, second_at = len(text), None
    for token in tokens(text):
        if not keyword and token.kind == "word":
            keyword = token.lower
        if token.text == ";":
            end = token.start
            rest = next(tokens(text[token.end :].lstrip(";")), None)
            second_at = token.start if rest is not None else None
            break
        found.append(token)
        if token.kind != "word":
            continue
        insert = insert or (token.lower == "insert" and len(found) == 1)
        previous = found[-2].lower if len(found) > 1 else ""
        if previous == "format":
            output_format = token.text
            if insert and not any(earlier.lower in ("select", "with") for earlier in found):
                data = (found[-2].start, _DATA_START.match(text, token.end).end())  # type: ignore[union-attr]
                end = token.end
                break
        elif insert and token.lower == "values" and previous not in (".", "into", "table"):
            output_format = "Values"
            data = (token.start, token.end)
            end = token.end
            break
    return Statement(keyword, tuple(found), end, second_at, output_format, data)


def settings_clause(statement: Statement) -> tuple[int, int, list[tuple[str, str]]] | None:
    """Start and end of the SETTINGS clause at a query's end, and its names and values; None where none is plain."""
    found = statement.tokens
    starts = [index for index, token in enumerate(found) if token.lower == "settings" and token.kind == "word"]
    if not starts:
        return None
    pairs: list[tuple[str, str]] = []
    at = starts[-1] + 1
    while len(found) > at + 2 and found[at + 1].text == "=":
        value = found[at + 2]
        pairs.append((found[at].identifier or "", unquoted(value) if value.kind == "string" else value.text))
        at += 3
        if at == len(found) or found[at].text != ",":
            break
        at += 1
    if not pairs or (at < len(found) and found[at].lower != "format"):
        return None
    return found[starts[-1]].start, found[at - 1].end, pairs


def splice(text: str, changes: list[tuple[int, int, str]]) -> str:
    """`text` with each (start, end, replacement) put in."""
    for start, end, replacement in sorted(changes, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def with_functions(text: str, statement: Statement, values: dict[str, str]) -> list[tuple[int, int, str]]:
    """The changes that replace calls without arguments, `name()`, of the functions in `values` (lower-case name:
    expression).

    Each expression keeps the call as its alias, so that the column is still called `currentUser()`.
    """
    found = statement.tokens
    return [
        (token.start, found[at + 2].end, f"({values[token.lower]} AS `{token.text}()`)")
        for at, token in enumerate(found[:-2])
        if token.kind == "word"
        and token.lower in values
        and found[at + 1].text == "("
        and found[at + 2].text == ")"
        and (at == 0 or found[at - 1].text != ".")
    ]


def system_tables(statement: Statement, names: frozenset[str], in_system: bool) -> list[tuple[int, int, str]]:
    """Where the statement names tables of `system` out of `names`: (start, end, table).

    `in_system`: the current database is `system`, where a bare name after FROM, JOIN, a comma, DESCRIBE or TABLE
    counts too.
    """
    found = statement.tokens
    places = []
    for at, token in enumerate(found):
        name = token.identifier
        if name not in names:
            continue
        before = [earlier.lower for earlier in found[max(0, at - 2) : at]]
        if before[-1:] == ["."]:
            if len(before) == 2 and found[at - 2].identifier == "system" and (at < 3 or found[at - 3].text != "."):
                places.append((found[at - 2].start, token.end, name))
            continue
        names_table = before[-1:] in (["from"], ["join"], [","], ["describe"], ["desc"], ["table"], ["in"])
        goes_on = at + 1 < len(found) and found[at + 1].text in (".", "(")
        if in_system and names_table and not goes_on:
            places.append((token.start, token.end, name))
    return places


@dataclass(frozen=True)
class ClusterRead:
    """A `cluster(...)` or `clusterAllReplicas(...)` in a query, and the part of the query that runs on the replicas."""

    start: int
    end: int
    all_replicas: bool
    cluster: str
    table: tuple[str, str] | None
    """Database ('' for the current one) and table; None for what is no table's name."""
    scope: tuple[int, int]
    """Where the SELECT begins and ends that reads from it: there, hostName() is the replica's."""


def cluster_reads(statement: Statement) -> list[ClusterRead]:
    """The reads from a cluster, in the order of the text."""
    found = statement.tokens
    return [
        _cluster_read(found, at)
        for at, token in enumerate(found[:-2])
        if token.kind == "word"
        and token.lower in ("cluster", "clusterallreplicas")
        and found[at + 1].text == "("
        and (at == 0 or found[at - 1].text != ".")
    ]


def _cluster_read(found: tuple[Token, ...], at: int) -> ClusterRead:
    arguments: list[list[Token]] = [[]]
    depth, end = 1, at + 2
    while end < len(found):
        text = found[end].text
        depth += (text == "(") - (text == ")")
        if depth == 0:
            break
        if text == "," and depth == 1:
            arguments.append([])
        else:
            arguments[-1].append(found[end])
        end += 1
    first, last = _select_around(found, at)
    name, *where = arguments
    return ClusterRead(
        found[at].start,
        found[min(end, len(found) - 1)].end,
        found[at].lower != "cluster",
        unquoted(name[0]) if name else "",
        _table_of(where),
        (found[first].start, found[last].end),
    )


def _table_of(arguments: list[list[Token]]) -> tuple[str, str] | None:
    """The table that the arguments after the cluster's name write: `db.t`, `'db.t'`, `t`, or `db, t`."""
    if not arguments:
        return "system", "one"
    names = [[unquoted(token) for token in argument if token.text != "."] for argument in arguments[:2]]
    if any(token.text == "(" for argument in arguments[:2] for token in argument):
        return None
    if len(names) == 1 and len(names[0]) == 1:
        database, dot, table = names[0][0].rpartition(".")
        return (database, table) if dot else ("", names[0][0])
    parts = [part for argument in names for part in argument]
    return (parts[0], parts[1]) if len(parts) == 2 else None


def _select_around(found: tuple[Token, ...], at: int) -> tuple[int, int]:
    """The first and the last token of the SELECT that has token number `at` in its FROM."""

    def ends(index: int) -> bool:
        token = found[index]
        if token.kind != "word" or token.lower not in ("union", "intersect", "except"):
            return False
        after = next((later.lower for later in found[index + 1 :] if later.text != "("), "")
        return after in ("select", "with", "all", "distinct")  # and not SELECT * EXCEPT (name)

    ranges = []
    for step, opening, closing in ((-1, ")", "("), (1, "(", ")")):
        depth, index = 0, at
        while 0 <= index + step < len(found):
            text = found[index + step].text
            if depth == 0 and (text == closing or ends(index + step)):
                break
            depth += (text == opening) - (text == closing)
            index += step
        ranges.append(index)
    return ranges[0], ranges[1]


def with_parameters(text: str, value: Callable[[str], str]) -> str:
    """`text` with `{name:Type}` written out: an Identifier quoted, anything else as a string. `value` gives a
    parameter's text.
    """
    changes = []
    for match in _TOKEN.finditer(text):
        if match["parameter"] is None:
            continue
        literal = value(match["name"]).replace("\\", "\\\\")
        quote = "`" if match["type"].strip() == "Identifier" else "'"
        changes.append((match.start(), match.end(), quote + literal.replace(quote, "\\" + quote) + quote))
    return splice(text, changes)


def on_cluster(statement: Statement) -> tuple[int, int, str] | None:
    """Where the statement says ON CLUSTER: (start, end, the cluster's name), or None."""
    found = statement.tokens
    for at in range(len(found) - 2):
        if (found[at].lower, found[at + 1].lower) == ("on", "cluster") and found[at].kind == found[
            at + 1
        ].kind == "word":
            name = found[at + 2]
            if name.kind in ("word", "quoted", "string"):
                return found[at].start, name.end, unquoted(name)
    return None


def unquoted(token: Token) -> str:
    """The name or text that a token writes."""
    if token.kind not in ("quoted", "string"):
        return token.text
    quote = token.text[0]
    return re.sub(r"\\(.)|" + quote * 2, lambda match: match[1] or quote, token.text[1:-1], flags=re.DOTALL)
