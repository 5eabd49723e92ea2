# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL as tokens and statements, with the lines that they stand on. It is read, and never run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

WORD, NAME, STRING, BODY, NUMBER, SYMBOL, HOLE = "word", "name", "string", "body", "number", "symbol", "hole"
"""Kinds of tokens: a C(BODY) is a dollar-quoted string, a C(HOLE) is C(${…}), what a program puts in at run time."""


class Token(NamedTuple):
    """A token: words in lower case, names and strings without their quotes."""

    kind: str
    text: str
    line: int


class Comment(NamedTuple):
    """A comment, without what marks it as one; C(line) is its last line."""

    text: str
    line: int


class Statement(NamedTuple):
    """A statement, without its semicolon."""

    tokens: list[Token]

    @property
    def line(self) -> int:
        """The line that it begins on."""
        return self.tokens[0].line


_TOKEN = re.compile(
    r"""(?P<space>\s+) | --(?P<comment>[^\n]*) | (?P<block>/\*) | \$(?P<tag>(?:[^\W\d]\w*)?)\$
    | [eE]'(?P<escaped>(?:[^'\\]|''|\\.)*)' | (?:[bBxXnN]|[uU]&)?'(?P<string>(?:[^']|'')*)'
    | (?:[uU]&)?"(?P<name>(?:[^"]|"")*)" | (?P<hole>\$\{[^}]*\}) | (?P<number>\d[\w.]*) | (?P<word>[^\W\d][\w$]*)
    | (?P<symbol>::|.)""",
    re.VERBOSE | re.DOTALL,
)

_BLOCK_EDGE = re.compile(r"/\*|\*/")


def read_statements(text: str, line: int = 1) -> tuple[list[Statement], list[Comment]]:
    """Split SQL into its statements.

    Args:
        text: the SQL; it need not be complete, and holes in it are tokens of their own.
        line: the line that it begins on.

    Returns:
        The statements, and the comments between and inside them.
    """
    statements: list[Statement] = []
    comments: list[Comment] = []
    tokens: list[Token] = []
    for token in _tokens(text, line, comments):
        if token.kind == SYMBOL and token.text == ";":
            _close(tokens, statements)
            tokens = []
        else:
            tokens.append(token)
    _close(tokens, statements)
    return statements, comments


def statements_in_body(body: Token) -> list[Statement]:
    """Return the statements of a procedural body, each from its first word that is not of the procedure itself."""
    statements, _comments = read_statements(body.text, body.line)
    found = [Statement(_without_control(statement.tokens)) for statement in statements]
    return [statement for statement in found if statement.tokens]


_CONTROL = ("begin", "then", "else", "loop")


def _without_control(tokens: Sequence[Token]) -> list[Token]:
    starts = [index for index, token in enumerate(tokens) if token.kind == WORD and token.text in _CONTROL]
    return list(tokens[starts[-1] + 1 :] if starts else tokens)


def _close(tokens: list[Token], statements: list[Statement]) -> None:
    if tokens:
        statements.append(Statement(tokens))


def _tokens(text: str, line: int, comments: list[Comment]) -> Iterator[Token]:
    position = 0
    while match := _TOKEN.match(text, position):  # its last alternative takes any character: only the end is none
        end, kind = match.end(), str(match.lastgroup)
        if kind == "block":
            end = _end_of_block(text, end)
            comments.append(Comment(text[position + 2 : end - 2].strip(), line + text.count("\n", position, end)))
        elif kind == "tag":
            end, token = _body(text, match, line)
            yield token
        elif kind == "comment":
            comments.append(Comment(match[kind].strip(), line))
        elif kind != "space":
            yield _token(kind, match[kind], line)
        line += text.count("\n", position, end)
        position = end


def _token(kind: str, text: str, line: int) -> Token:
    if kind == "word":
        return Token(WORD, text.lower(), line)
    if kind == "name":
        return Token(NAME, text.replace('""', '"'), line)
    if kind in ("string", "escaped"):
        return Token(STRING, text.replace("''", "'"), line)
    return Token(kind, text, line)


def _body(text: str, match: re.Match[str], line: int) -> tuple[int, Token]:
    quote = match[0]
    found = text.find(quote, match.end())
    inner_end, end = (found, found + len(quote)) if found >= 0 else (len(text), len(text))
    return end, Token(BODY, text[match.end() : inner_end], line)


def _end_of_block(text: str, position: int) -> int:
    """Return the position behind a comment in which others may be nested."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(text, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)
