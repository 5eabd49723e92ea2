# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of a service on Railway, asked for in a thread of its own: an answer that takes long delays no probe."""

from __future__ import annotations

import queue
import threading
from collections import deque
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._domain.errors import RollbackError
from .._railway import client_of
from .interface import Log

if TYPE_CHECKING:
    from collections.abc import Mapping

_REMEMBERED = 5000


class RailwayLog(Log):
    """Reads what the running deployments write from now on.

    Args:
        options: the connection, as for the other uses of Railway.
        interval: seconds between two questions.

    Raises:
        Refused: the options cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], interval: float) -> None:
        super().__init__()
        self._client = client_of(options)
        self._interval = interval
        self._since = datetime.now(timezone.utc)
        self._seen: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def read(self) -> list[str]:
        """Return the lines that have come since the last time."""
        found = []
        while not self._lines.empty():
            found.append(self._lines.get_nowait())
        return found

    def close(self) -> None:
        """Ask no more."""
        self._over.set()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self._take(self._client.logs(self._since))
                self.in_condition("")
            except RollbackError as error:
                self.in_condition(f"The logs on Railway cannot be read: {error.message}")
            self._over.wait(self._interval)

    def _take(self, lines: list[dict[str, Any]]) -> None:
        """Take the lines that were not seen; the moment of the last is asked for again, as it may not be over."""
        seen = set(self._seen)
        for line in lines:
            key = (str(line["timestamp"]), str(line["message"]))
            if key not in seen:
                self._seen.append(key)
                self._lines.put(f"{str(line['severity'] or '').upper()} {line['message']}".strip())
        self._since = max([self._since, *filter(None, (_moment(line["timestamp"]) for line in lines))])


def _moment(timestamp: object) -> datetime | None:
    """Read an RFC 3339 moment, of which a fraction of a second may have nine digits."""
    text = str(timestamp).replace("Z", "+00:00")
    head, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    try:
        moment = datetime.fromisoformat(head + dot + rest[:digits][:6].ljust(6, "0") * bool(dot) + rest[digits:])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
