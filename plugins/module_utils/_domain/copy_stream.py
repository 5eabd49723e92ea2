# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the rows in what ``pg_restore --data-only`` prints: the blocks of COPY, without looking into a row."""

from __future__ import annotations

import re

_IDENTIFIER = rb'(?:"(?:[^"]|"")*"|[^\s".(]+)'

_HEADER = re.compile(
    rb"^COPY (?P<schema>" + _IDENTIFIER + rb")\.(?P<table>" + _IDENTIFIER + rb") "
    rb'(?:\((?:"(?:[^"]|"")*"|[^"()])*\) | )?FROM stdin;\n',
    re.MULTILINE,
)

_END = b"\\.\n"


class UnexpectedEnd(ValueError):
    """The stream ends inside a block."""


class RowCounter:
    r"""Counts rows by table while a dump streams by.

    In the text format of COPY a line feed inside a value is written as a backslash and an n, and a line that is
    ``\.`` ends the block (PostgreSQL documentation, COPY, text format): so lines are rows, and only the header needs
    a parser, because names in it are quoted and may hold anything.

    Attributes:
        rows: rows by table, C((schema, table)), both unquoted.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], int] = {}
        self._table: tuple[str, str] | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take the next part of the stream, cut anywhere."""
        self._rest += data
        table = self._table or self._find_header()
        while table is not None and self._count(table):
            table = self._find_header()

    def finish(self) -> dict[tuple[str, str], int]:
        """Return the rows by table.

        Raises:
            UnexpectedEnd: the stream ended inside a block.
        """
        if self._table is not None:
            raise UnexpectedEnd(".".join(self._table))
        return self.rows

    def _find_header(self) -> tuple[str, str] | None:
        """Go to the next block; keep from the last line on that may begin a header."""
        match = _HEADER.search(self._rest)
        if match is None:
            self._rest = self._rest[self._last_possible_header() :]
            return None
        self._table = (_name(match["schema"]), _name(match["table"]))
        self.rows.setdefault(self._table, 0)
        self._rest = self._rest[match.end() :]
        return self._table

    def _last_possible_header(self) -> int:
        """A header may span lines, where a name holds a line feed; it may also be cut in its first word."""
        if self._rest.startswith(b"COPY "):
            return 0
        begun = self._rest.find(b"\nCOPY ")
        return (begun if begun >= 0 else self._rest.rfind(b"\n")) + 1

    def _count(self, table: tuple[str, str]) -> bool:
        """Count rows up to the end of the block, or of what is there; tell whether the block has ended."""
        if self._rest.startswith(_END):
            end = 0
        else:
            found = self._rest.find(b"\n" + _END)
            end = found + 1 if found >= 0 else -1
        if end < 0:
            complete = self._rest.rfind(b"\n") + 1
            self.rows[table] += self._rest.count(b"\n", 0, complete)
            self._rest = self._rest[complete:]
            return False
        self.rows[table] += self._rest.count(b"\n", 0, end)
        self._rest = self._rest[end + len(_END) :]
        self._table = None
        return True


def _name(quoted: bytes) -> str:
    text = quoted.decode(errors="replace")
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
