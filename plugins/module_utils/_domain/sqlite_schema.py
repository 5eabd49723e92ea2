# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text that SQLite keeps of a table: what its pragmas do not tell.

Collations, checks and options of a table stand nowhere but in its C(CREATE TABLE). A migration tool that builds a table
anew, because SQLite cannot alter it, writes that text anew too, and may leave some of it out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Iterator, List

from .errors import Refused

_TOKEN = re.compile(
    r"""\s+ | --[^\n]* | /\*.*?\*/
    | (?P<token> '(?:[^']|'')*' | "(?:[^"]|"")*" | `(?:[^`]|``)*` | \[[^\]]*\] | [A-Za-z_\x80-\U0010ffff][\w$]*
    | \d[\w.]* | [()] | , | ; | [^\s\w()'"`\[\],;]+ | .)""",
    re.VERBOSE | re.DOTALL,
)

_SIMPLE = re.compile(r"[a-z_][a-z0-9_$]*")

_BETWEEN_PARTS = (",",)

_OF_THE_TABLE = ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")
"""Words with which a part of the table's body begins that is no column."""


@dataclass
class ColumnText:
    """What a table's text says of a column, beyond what C(PRAGMA table_xinfo) tells."""

    collation: str | None = None
    checks: list[str] = field(default_factory=list)
    expression: str | None = None


@dataclass
class TableText:
    """What a table's text says, beyond what pragmas tell.

    Attributes:
        columns: by name, not quoted.
        checks: those that belong to no column.
        autoincrement: the key never gives a number twice.
        options: C(WITHOUT ROWID), C(STRICT), in capitals.
    """

    columns: dict[str, ColumnText] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)
    autoincrement: bool = False
    options: list[str] = field(default_factory=list)


def quote_identifier(name: str) -> str:
    """Write a name as an identity holds it: quoted only where it must be."""
    return name if _SIMPLE.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def sql_identifier(name: str) -> str:
    """Write a name for a statement: always quoted."""
    return '"' + name.replace('"', '""') + '"'


def normalised(sql: str) -> str:
    """Return a statement without comments, with one space between words, and with names quoted in one way."""
    return " ".join(_plain(token) for token in _tokens(sql))


def parse_table(name: str, sql: str) -> TableText:
    """Take the text of a table apart.

    Args:
        name: the table's name, for the message.
        sql: its C(CREATE TABLE), as SQLite keeps it.

    Raises:
        Refused: the text is not one that SQLite would have kept.
    """
    tokens = _tokens(sql)
    try:
        body, rest = _group(tokens, tokens.index("("))
    except ValueError:
        raise Refused(
            f"The definition of table {name!r} cannot be read: it has no body.",
            untouched="Nothing was touched.",
            remedy="Look at it: SELECT sql FROM sqlite_schema.",
        ) from None
    text = TableText(autoincrement="AUTOINCREMENT" in map(str.upper, body))
    for part in _parts(body):
        if part[0].upper() in _OF_THE_TABLE:
            text.checks += _checks(part)
        else:
            text.columns[unquoted(part[0])] = _column(part[1:])
    text.options = sorted(" ".join(part).upper() for part in _parts(rest) if part)
    return text


def unquoted(token: str) -> str:
    """Return the name that a token of a statement stands for, in whatever way it is quoted."""
    pairs = {'"': '"', "`": "`", "[": "]"}
    if token[:1] in pairs and token.endswith(pairs[token[0]]):
        closing = pairs[token[0]]
        return token[1:-1].replace(closing * 2, closing)
    return token


def _tokens(sql: str) -> List[str]:
    return [match["token"] for match in _TOKEN.finditer(sql) if match["token"]]


def _plain(token: str) -> str:
    if token[:1] in ('"', "`", "["):
        name = unquoted(token)
        return name if re.fullmatch(r"[A-Za-z_]\w*", name) else sql_identifier(name)
    return token


def _group(tokens: list[str], start: int) -> tuple[list[str], list[str]]:
    """Return what stands between the parenthesis at C(start) and its partner, and what comes after."""
    depth = 0
    for position in range(start, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[position], 0)
        if depth == 0:
            return tokens[start + 1 : position], tokens[position + 1 :]
    raise ValueError(tokens)


def _parts(tokens: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    depth = 0
    for token in tokens:
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token in _BETWEEN_PARTS:
            if part:
                yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


def _checks(tokens: list[str]) -> list[str]:
    return [_text(_group(tokens, place + 1)[0]) for place in _places(tokens, "CHECK") if tokens[place + 1] == "("]


def _column(tokens: list[str]) -> ColumnText:
    collations = [tokens[place + 1] for place in _places(tokens, "COLLATE")]
    generated = [_text(_group(tokens, place + 1)[0]) for place in _places(tokens, "AS") if tokens[place + 1] == "("]
    return ColumnText(
        collation=unquoted(collations[-1]).upper() if collations else None,
        checks=_checks(tokens),
        expression=generated[-1] if generated else None,
    )


def _places(tokens: list[str], word: str) -> list[int]:
    """Return where a word stands outside of parentheses, with something behind it."""
    depth, found = 0, []
    for place, token in enumerate(tokens[:-1]):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token.upper() == word:
            found.append(place)
    return found


def _text(tokens: list[str]) -> str:
    return " ".join(map(_plain, tokens))
