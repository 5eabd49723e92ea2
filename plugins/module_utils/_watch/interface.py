# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a log is to the watch."""

from __future__ import annotations

from collections.abc import Iterable


class Log:
    """A log that is read as it grows; whatever happens to it is said in a note, and never stops the watch."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._condition = ""

    def look(self) -> list[str]:
        """Read, whatever the disk says to that."""
        try:
            return self.read()
        except OSError as error:
            self.in_condition(f"The log cannot be read now: {error.strerror}; it is tried again.")
            return []

    def read(self) -> list[str]:
        """Return the lines since the last time, each once."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it."""

    def take_notes(self) -> list[str]:
        """Return what happened to the log since the last time, a sentence each."""
        notes, self._notes = self._notes, []
        return notes

    def note(self, sentence: str) -> None:
        """Say something that happened."""
        self._notes.append(sentence)

    def in_condition(self, sentence: str) -> None:
        """Say what lasts, once; empty is: all is well again."""
        if sentence and sentence != self._condition:
            self.note(sentence)
        self._condition = sentence


class Unreadable(Log):
    """A log that cannot be read at all.

    Args:
        note: why.
    """

    def __init__(self, note: str) -> None:
        super().__init__()
        self.note(note)

    def read(self) -> list[str]:
        """Return nothing."""
        return []


class LineCutter:
    """Cuts a stream of bytes into lines; what has no end yet waits for the rest."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        """Take bytes, and return the lines that are complete."""
        complete, separator, self._rest = (self._rest + chunk).rpartition(b"\n")
        return _texts(complete.split(b"\n")) if separator else []

    def flush(self) -> list[str]:
        """Return what will get no end any more."""
        rest, self._rest = self._rest, b""
        return _texts([rest] if rest else [])


def _texts(lines: Iterable[bytes]) -> list[str]:
    return [line.decode("utf-8", errors="replace") for line in lines]
