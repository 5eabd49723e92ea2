# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway clone of an SQLite candidate, for tests that write and for the application's older release."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.errors import Failed
from ..._migrations.sqlite_tool import SqliteTool
from .candidate import drop_trial, make_trial
from .database_file import DatabaseFile
from .holders import describe_holders, find_holders
from .run_state import check_made_by_run

if TYPE_CHECKING:
    from ..._migrations import Engine

_LOOK_EVERY_SECONDS = 0.05
_GONE_WITHIN_SECONDS = 10.0


class SqliteGround:
    """A clone of the run's candidate, beside it.

    Args:
        params: the parameters of M(balcon.rollback.release_trial).

    Raises:
        Refused: the file was not made by this run.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._run_id: str = params["run_id"]
        self._file = DatabaseFile(params["database_url"], params["project_dir"])
        given = params["database"]
        self._source = self._file.named(given) if given else self._file.derived("candidate", self._run_id)
        check_made_by_run(self._file, self._source, self._run_id, ("candidate",))
        self._path = self._file.derived("trial", self._run_id)
        self.clone = self._path.name

    def tool(self, engine: Engine, environment: Mapping[str, object]) -> SqliteTool:
        """Return the migration tool for the clone."""
        return SqliteTool(engine, self._file, self._path, environment)

    def make(self) -> float:
        """Make the clone; return the seconds."""
        return make_trial(self._file, self._run_id, self._source).seconds

    def drop(self) -> bool:
        """Remove the clone, where it is there."""
        return drop_trial(self._file, self._run_id)

    def heartbeat(self) -> ExitStack:
        """Do nothing: the file is open, and its run has no lease that anybody acts upon meanwhile."""
        return ExitStack()

    @contextmanager
    def witness(self, session_name: str) -> Iterator[SqliteWitness]:
        """Watch who has the clone open; sessions have no names here."""
        yield SqliteWitness(self._path, session_name)


class SqliteWitness:
    """Looks who has a file open.

    Args:
        path: the file.
        name: what the session would be called; SQLite has no such thing.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self._path = path
        self._next = 0.0
        self._seen = False

    def look(self) -> None:
        """Look once, but not more often than every fifty milliseconds."""
        if self._seen or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_EVERY_SECONDS
        holders = find_holders(self._path)
        self._seen = holders is None or bool(holders)

    def saw_session(self) -> bool:
        """Tell whether somebody had it open; where that cannot be told, yes."""
        return self._seen

    def wait_until_gone(self) -> int:
        """See that nobody has it open any more; return how many had to be ended, which is none.

        Raises:
            Failed: somebody still has.
        """
        end = time.monotonic() + _GONE_WITHIN_SECONDS
        while find_holders(self._path):
            if time.monotonic() > end:
                raise Failed(
                    f"What was started has ended, but {self._path.name} is still open.",
                    untouched="The database itself was not altered.",
                    remedy=describe_holders(find_holders(self._path)),
                )
            time.sleep(0.02)
        return 0
