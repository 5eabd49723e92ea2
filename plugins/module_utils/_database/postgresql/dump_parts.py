# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes single parts out of a dump: its table of contents, the SQL of some entries, the rows of one table."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from ..._domain.errors import Failed
from ..._domain.toc import script_body
from .client_tools import ClientTools, running

_HEADER = re.compile(rb"^(?P<statement>COPY .*? FROM stdin;)\n", re.MULTILINE | re.DOTALL)

_END = b"\n\\.\n"

_CHUNK = 128 * 1024


class Dump(NamedTuple):
    """A dump's folder, the tools that read it, and the seconds that they get."""

    folder: Path
    tools: ClientTools
    deadline: float

    def contents(self) -> str:
        """Return the table of contents, as C(pg_restore --list) prints it."""
        with running(self.tools, "pg_restore", ["--list", str(self.folder)], deadline=60, output=True) as tool:
            text = tool.output.read().decode(errors="surrogateescape")
            tool.wait()
        return text

    def script(self, lines: Iterable[str], arguments: Iterable[str] = ()) -> str:
        """Return the SQL of some entries, without data and without the session's settings."""
        with chosen(lines) as choice:
            given = ["--file=-", "--use-list", str(choice), *arguments, str(self.folder)]
            with running(self.tools, "pg_restore", given, deadline=self.deadline, output=True) as tool:
                text = tool.output.read().decode()
                tool.wait()
        return script_body(text)

    @contextmanager
    def rows(self, line: str) -> Iterator[RowsOfTable]:
        """Give the rows of the one table whose entry of data is this line, as COPY writes them."""
        with chosen([line]) as choice:
            given = ["--file=-", "--use-list", str(choice), "--data-only", str(self.folder)]
            with running(self.tools, "pg_restore", given, deadline=self.deadline, output=True) as tool:
                rows = RowsOfTable(tool.output)
                yield rows
                rows.check_ended()
                tool.wait()


@contextmanager
def chosen(lines: Iterable[str]) -> Iterator[Path]:
    """Write the lines that are chosen from a table of contents into a file that is gone afterwards."""
    with tempfile.NamedTemporaryFile("w", prefix="balcon-toc-", errors="surrogateescape") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        yield Path(file.name)


class RowsOfTable:
    r"""The rows in a script of one table's data, to be read like a file: what stands between its COPY and the line \\.

    In the text format a line feed inside a value is written as a backslash and an n, so that a line that is \\. is
    the end (PostgreSQL documentation, COPY, text format).

    Attributes:
        statement: the COPY itself, which names the columns in the order of the rows.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.statement = ""
        self._held = self._after_header()
        self._first = True
        self._ended = False

    def read(self, _size: int = -1) -> bytes:
        """Return the next bytes of rows, however many; nothing at the end. COPY takes more than it asked for."""
        while not self._ended:
            more = self._stream.read(_CHUNK)
            ready = self._cut(self._held + more if self._held else more)
            if ready or not more:
                return ready
        return b""

    def _cut(self, seen: bytes) -> bytes:
        """Return what is rows for certain, and hold back what may be the beginning of the end mark."""
        end = seen.find(_END)
        self._ended = end >= 0
        keep = 0 if self._ended else next((n for n in range(len(_END) - 1, 0, -1) if seen.endswith(_END[:n])), 0)
        cut = end + 1 if self._ended else len(seen) - keep
        self._held = seen[cut:] if keep else b""
        ready = seen[:cut] if cut < len(seen) else seen
        if self._first and ready:
            self._first = False
            return ready[1:]  # the line feed that ends the header, kept so that the end mark is always after one
        return ready

    def readline(self, size: int = -1) -> bytes:
        """Return the next bytes as well: COPY never asks for lines."""
        return self.read(size)

    def check_ended(self) -> None:
        """Read to the end of the script, and check that the rows' end mark was there.

        Raises:
            Failed: the data was cut short.
        """
        if not self._ended:
            raise Failed(
                "The rows of a table in the dump have no end: the dump was cut short.",
                untouched="Nothing was written.",
                remedy="Use another backup.",
            )
        while self._stream.read(_CHUNK):
            continue

    def _after_header(self) -> bytes:
        seen = b""
        while True:
            match = _HEADER.search(seen)
            if match:
                self.statement = match["statement"].decode()
                return seen[match.end() - 1 :]
            more = self._stream.read(_CHUNK)
            if not more:
                return b""
            seen += more
