# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log file, whatever is done to it: it grows, is renamed, emptied in place, taken away, and comes again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .interface import LineCutter, Log

_CHUNK = 256 * 1024
_MOST_AT_ONCE = 64 * 1024 * 1024
_MARK_BYTES = 256


class _Open:
    """An open file, and how far it was read.

    Args:
        descriptor: of the file.
        start: where to begin, in bytes.
    """

    def __init__(self, descriptor: int, start: int) -> None:
        self.descriptor = descriptor
        self.lines = LineCutter()
        self._position = start
        self._mark = b""
        self._remember()

    def identity(self) -> tuple[int, int]:
        """Return what tells this file from every other one for as long as it is open."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def was_emptied(self) -> bool:
        """Tell whether what was read already is not there any more, even where the file is longer again."""
        start = self._position - len(self._mark)
        return os.pread(self.descriptor, len(self._mark), start) != self._mark

    def begin_again(self) -> list[str]:
        """Go back to the beginning; return what will get no end any more."""
        self._position, self._mark = 0, b""
        return self.lines.flush()

    def read(self) -> list[str]:
        """Return the complete lines that were not read yet."""
        found: list[str] = []
        end = self._position + _MOST_AT_ONCE
        while self._position < end:
            chunk = os.pread(self.descriptor, _CHUNK, self._position)
            if not chunk:
                break
            self._position += len(chunk)
            found += self.lines.feed(chunk)
        self._remember()
        return found

    def close(self) -> list[str]:
        """Let go of it; return what will get no end any more."""
        os.close(self.descriptor)
        return self.lines.flush()

    def _remember(self) -> None:
        size = min(_MARK_BYTES, self._position)
        self._mark = os.pread(self.descriptor, size, self._position - size)


class FileLog(Log):
    """Reads a file from its present end on; one that comes later is read from its beginning.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._old: _Open | None = None
        self._file = self._open(at_end=True)

    def read(self) -> list[str]:
        """Return the lines since the last time; who rotates a log may go on to write into the old file for a while."""
        found = self._old.read() if self._old else []
        if self._file is None:
            self._file = self._open(at_end=False)
            if self._file is None:
                return found
            self.note(f"The log {self._path} is there now, and is read from its beginning.")
            return found + self._file.read()
        try:
            there = Path(self._path).stat()
        except OSError as error:
            self.in_condition(f"The log {self._path} is not there any more ({error.strerror}); it is waited for.")
            return found + self._file.read()
        if (there.st_dev, there.st_ino) != self._file.identity():
            return found + self._follow_rotation(self._file)
        self.in_condition("")
        if self._file.was_emptied():
            self.note(f"The log {self._path} was emptied in place; it is read from its beginning.")
            found += self._file.begin_again()
        return found + self._file.read()

    def close(self) -> None:
        """Let go of both files."""
        for file in (self._old, self._file):
            if file:
                file.close()
        self._old = self._file = None

    def _follow_rotation(self, before: _Open) -> list[str]:
        """Go on with the file that has the name now; one that was put back is read on from where it was."""
        file = self._open(at_end=False)
        if file is None:
            return before.read()
        for known in (before, self._old):
            if known and known.identity() == file.identity():
                file.close()
                self._old, self._file = (before if known is not before else self._old), known
                return before.read()
        self.note(f"The log {self._path} was rotated: another file has its name, and is read from its beginning.")
        found = self._old.close() if self._old else []
        self._old, self._file = before, file
        return [*found, *before.read(), *file.read()]

    def _open(self, *, at_end: bool) -> _Open | None:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            self.in_condition(f"The log {self._path} cannot be read: {error.strerror}; it is waited for.")
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            self.in_condition(f"The log {self._path} is not a file; no errors are counted.")
            return None
        self.in_condition("")
        return _Open(descriptor, status.st_size if at_end else 0)
