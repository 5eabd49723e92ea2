# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of a command that goes on printing: C(journalctl -f), C(kubectl logs -f), C(railway logs)."""

from __future__ import annotations

import os
import queue
from collections import deque
from typing import TYPE_CHECKING, Any, cast

from .._domain.errors import RollbackError
from .._process import Program, account_home, base_environment
from .interface import LineCutter, Log

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import IO

_CHUNK = 64 * 1024
_MOST_STARTS = 20
_REMEMBERED = 2000


class _Follower(Program):
    """A program whose output is taken as it comes, instead of being kept."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        super().__init__(
            options["command"],
            environment=base_environment(options.get("environment") or {}, account_home()),
            folder=options.get("chdir") or "/",
        )

    def _read(self) -> None:
        with cast("IO[bytes]", self._process.stdout) as stream:
            for chunk in iter(lambda: os.read(stream.fileno(), _CHUNK), b""):
                self.chunks.put(chunk)


class CommandLog(Log):
    """Reads what a command prints; where it ends it is started again, and what it repeats is not counted again.

    Args:
        options: C(command), C(environment), C(chdir).

    Raises:
        Refused: it cannot be started.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._options = options
        self._name = options["command"][0] if options["command"] else ""
        self._cutter = LineCutter()
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._repeated: set[str] = set()
        self._starts = 1
        self._program: _Follower | None = _Follower(options)

    def read(self) -> list[str]:
        """Return the lines since the last time."""
        if self._program is None:
            return []
        exit_code = self._program.exit_code  # asked before its output is taken: nothing comes after
        if exit_code is not None:
            self._program.end()
        found = self._new(self._cutter.feed(_taken(self._program.chunks)))
        if exit_code is not None:
            found += self._new(self._cutter.flush())
            self._start_again(exit_code)
        return found

    def close(self) -> None:
        """End the command and everything that it started."""
        if self._program:
            self._program.end()

    def _start_again(self, exit_code: int) -> None:
        if self._starts >= _MOST_STARTS:
            self.note(f"The command {self._name} ended {self._starts} times; no errors are counted any more.")
            self._program = None
            return
        self.in_condition(f"The command {self._name} ended with exit code {exit_code}; it is started again.")
        self._starts += 1
        self._repeated = set(self._recent)
        try:
            self._program = _Follower(self._options)
        except RollbackError as error:
            self.note(f"{error.message} No errors are counted any more.")
            self._program = None

    def _new(self, lines: list[str]) -> list[str]:
        """Leave out what a command that was started again prints once more, up to the first line that is new."""
        found = []
        for line in lines:
            if line in self._repeated:
                continue
            self._repeated = set()
            found.append(line)
        self._recent.extend(found)
        return found


def _taken(chunks: queue.SimpleQueue[bytes]) -> bytes:
    found = []
    while not chunks.empty():
        found.append(chunks.get_nowait())
    return b"".join(found)
