# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a long step says of itself while it runs: which words, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

LINE_SECONDS = 5.0
"""A line is due at the latest so long after the one before."""

CHANGE_SECONDS = 1.0
"""What changes faster than this is not worth a line each."""

LONGEST_LINE = 400

_SUBJECTS = (
    (re.compile(r"COPY\s+(?P<name>(?:\"(?:[^\"]|\"\")+\"|[^\s(\"]+)+)"), "{}"),
    (re.compile(r"CREATE\s+(?:UNIQUE\s+)?INDEX\s+(?P<name>\S+)\s"), "index {}"),
    (re.compile(r"ALTER\s+TABLE\s.*?ADD\s+CONSTRAINT\s+(?P<name>\S+)\s", re.DOTALL), "constraint {}"),
    (re.compile(r"REFRESH\s+MATERIALIZED\s+VIEW\s+(?P<name>\S+)"), "view {}"),
)
_NOT_PRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\u200d\u2010-\u2027\u2030-\u2065\u2070-\ufefe\uff00-\uffef]")


@dataclass
class Activity:
    """Something that takes long.

    Attributes:
        name: what it is, in a few words: C(dump of shop).
        unit: what is counted: C(bytes), C(rows) or C(tables).
        total: how many there are, None where nobody knows.
        done: how many of them are done, None where that cannot be told.
        subject: what is being worked on: a table's name.
        about: done and total are estimates.
        note: more for a person, C(340 MB written).
    """

    name: str
    unit: str = "rows"
    total: Optional[float] = None
    done: Optional[float] = None
    subject: str = ""
    about: bool = False
    note: str = ""

    def text(self) -> str:
        """Return the activity as a person reads it."""
        parts = [part for part in (self._figures(), self.note, self.subject and f"now {self.subject}") if part]
        return f"{self.name}: {', '.join(parts)}" if parts else self.name

    def _figures(self) -> str:
        if self.done is None:
            return f"{amount(self.total, self.unit)} in all" if self.total else ""
        if not self.total:
            return amount(self.done, self.unit)
        done = min(self.done, self.total) if self.about else self.done
        so_far = amount(done, "bytes") if self.unit == "bytes" else f"{int(done):,}"
        about = "about " if self.about else ""
        percent = min(100, int(100 * done / self.total))
        return f"{so_far} of {about}{amount(self.total, self.unit)} ({percent} %)"


def amount(number: float | None, unit: str) -> str:
    """Write a number of bytes, rows or tables for a person."""
    number = number or 0
    if unit != "bytes":
        return f"{int(number):,} {unit}"
    for name, size in (("GB", 1024**3), ("MB", 1024**2), ("kB", 1024)):
        if number >= size:
            return f"{number / size:.1f} {name}"
    return f"{int(number)} bytes"


class Pace:
    """Decides when a line is due: when something begins or changes, and every few seconds all the same."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._said = ""

    def due(self, now: float, activities: Sequence[Activity]) -> bool:
        """Tell whether a line is due, and take it as said.

        Args:
            now: seconds, by any clock that only goes forward.
            activities: what is under way.
        """
        if not activities:
            return False
        what = "|".join(f"{activity.name}>{activity.subject}" for activity in activities)
        since = LINE_SECONDS if self._last is None else now - self._last
        if since < (CHANGE_SECONDS if what != self._said else LINE_SECONDS):
            return False
        self._last, self._said = now, what
        return True


def progress_line(seconds: float, activities: Sequence[Activity]) -> str:
    """Return a line of progress.

    Args:
        seconds: since the step began.
        activities: what is under way, the oldest first.
    """
    return printable(f"{clock(seconds)} | {'; '.join(activity.text() for activity in activities)}")


def clock(seconds: float) -> str:
    """Write a duration as minutes and seconds: C(12:05)."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def printable(text: str) -> str:
    """Return one line that a terminal can bear: nothing in it moves a cursor, and it ends somewhere."""
    line = _NOT_PRINTABLE.sub("?", text)
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def subject_of(statement: str) -> str:
    """Return what a statement of C(pg_dump) or C(pg_restore) works on; empty where that is not of interest."""
    for pattern, words in _SUBJECTS:
        found = pattern.match(statement)
        if found:
            return words.format(found["name"])
    return ""
