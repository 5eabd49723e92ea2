# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Eight users of production who do not stop, and who remember every write that was acknowledged."""

from __future__ import annotations

import threading
import time
from itertools import count

from ledger import Write, lost_writes
from writers import RefusedWrite, SqlWriter

USERS = 8
PREFIX = "faults-"
PAUSE_SECONDS = 0.2
PAUSE_AFTER_REFUSAL_SECONDS = 0.3


class User(threading.Thread):
    """Inserts projects under the public name, and changes one of its own at every fifth write.

    Args:
        name: unique among the users.
        url: of production, under its public name.
    """

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name=name, daemon=True)
        self._writer = SqlWriter(url)
        self._over = threading.Event()
        self.writes: list[Write] = []

    def run(self) -> None:
        """Write until told to end."""
        for number in count(1):
            if self._over.is_set():
                return
            write = self._write(number)
            self.writes.append(write)
            self._over.wait(PAUSE_SECONDS if write.acknowledged else PAUSE_AFTER_REFUSAL_SECONDS)

    def _write(self, number: int) -> Write:
        values: dict[str, object]
        if number % 5 == 0:
            reference, values = f"{PREFIX}{self.name}-{number - 4}", {"budget": number}
        else:
            reference = f"{PREFIX}{self.name}-{number}"
            values = {"title": f"Balcony {number}", "subtitle": f"written by {self.name}", "budget": number}
        try:
            done = self._writer.write(reference, values)
        except RefusedWrite as refusal:
            return Write(time.monotonic(), reference, values, acknowledged=False, error=str(refusal))
        return Write(time.monotonic(), reference, done, acknowledged=True)

    def end(self) -> None:
        """Let the last write end."""
        self._over.set()
        if self.ident:
            self.join(timeout=30)

    def acknowledged(self) -> int:
        """Return how many of the writes were acknowledged up to now."""
        return sum(write.acknowledged for write in list(self.writes))


class Users:
    """All of them.

    Args:
        url: of production, under its public name.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._users = [User(f"user{number}", url) for number in range(USERS)]

    def start(self) -> None:
        """Start them all."""
        for user in self._users:
            user.start()

    def end(self) -> None:
        """Let each end its last write; nobody writes any more."""
        for user in self._users:
            user.end()

    def acknowledged(self) -> int:
        """Return how many writes were acknowledged to all of them."""
        return sum(user.acknowledged() for user in self._users)

    def all_have_written(self) -> bool:
        """Tell whether each had at least one write acknowledged."""
        return all(user.acknowledged() for user in self._users)

    def refusals(self) -> int:
        """Return how many writes were refused."""
        return sum(not write.acknowledged for user in self._users for write in user.writes)

    def lost(self, rows: dict[str, dict[str, object]]) -> list[Write]:
        """Return the acknowledged writes that these rows of production do not hold."""
        return [write for user in self._users for write in lost_writes(user.writes, rows, frozenset())]
