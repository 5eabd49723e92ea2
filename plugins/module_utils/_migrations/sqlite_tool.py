# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a migration tool against one SQLite file, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .._database.sqlite.database_file import COMPANIONS, DatabaseFile
from .._database.sqlite.state_table import in_sqlite, read_state
from .._database.sqlite.writers import check_nobody_holds, writers_wait
from .._domain.errors import Failed
from .._domain.secrets import environment_secrets
from .._process import Finished, base_environment, check_finished, private_home, run_program

if TYPE_CHECKING:
    from . import Engine

_REMEDY = (
    "Run the same command by hand on a copy, with the environment of the inventory and nothing else; this file is not "
    "to be used as it is."
)


class SqliteTool:
    """A project's migration tool, pointed at one file; to `stepping` it is what `tool.Tool` is.

    Args:
        engine: the migration engine.
        file: the public file.
        path: the one to work on, which a run made beside it.
        environment: the inventory's variables for the tool.
        step_timeout: seconds that one command may take.
    """

    def __init__(
        self,
        engine: Engine,
        file: DatabaseFile,
        path: Path,
        environment: Mapping[str, object],
        step_timeout: float = 600.0,
    ) -> None:
        self.engine = engine
        self.database = path.name
        self.path = path
        self.session_name = f"balcon.rollback tool {secrets.token_hex(6)}"
        self.command_seconds = 0.0
        self._url = file.url(path)
        self._given = {name: str(value) for name, value in environment.items()}
        self._step_timeout = step_timeout
        engine.state_table = in_sqlite(engine.state_table)

    def state(self) -> list[str]:
        """Return what the state table of the file lists, oldest first."""
        return read_state(self.engine.state_table, self.path)

    def run(self, verb: str) -> Finished:
        """Run one command to its end; neither its exit code nor its text is believed.

        When this returns, all its processes are gone, and nobody has the file open.

        Raises:
            Failed: it could not be started, took too long, or failed.
        """
        arguments = self.engine.command(verb)
        with private_home() as home:
            finished = run_program(
                arguments,
                environment=self.environment(home),
                folder=str(self.engine.folder),
                timeout=self._step_timeout,
                secrets=self.secrets(),
            )
        self.command_seconds = round(self.command_seconds + finished.seconds, 3)
        check_finished(finished, f"The migration tool ({' '.join(arguments)})", self._step_timeout, _REMEDY)
        check_nobody_holds(self.path)
        return finished

    def environment(self, home: str) -> dict[str, str]:
        """Build the environment from nothing but the inventory and the intended URL."""
        given = {**self.engine.defaults, **self._given, self.engine.url_variable: self._url}
        return base_environment(given, home, self.engine.path_folder)

    def secrets(self) -> list[str]:
        """Return what must not be read in the tool's output."""
        return list(environment_secrets(self._given))


class GuardedFile(NamedTuple):
    """A file that the tool must not reach: nobody can write into it meanwhile, and it is seen not to have changed."""

    path: Path
    seen: tuple[object, ...]

    def check(self) -> None:
        """Look at it again.

        Raises:
            Failed: it changed.
        """
        if _seen(self.path) != self.seen:
            raise Failed(
                f"{self.path}, which the migration tool must not touch, changed while it ran.",
                remedy="Stop everything that runs migrations. Either the tool has a second way to this file (a .env "
                "file, a configuration file), or somebody replaced it. Compare it with the last backup.",
                database=self.path.name,
            )


@contextmanager
def guarded(path: Path) -> Iterator[list[GuardedFile]]:
    """Let nobody write into a file while a tool works on another one: a tool that strays gets an error instead.

    Raises:
        Refused: somebody else is in the middle of a change.
    """
    with writers_wait(path):
        yield [GuardedFile(path, _seen(path))]


def _seen(path: Path) -> tuple[object, ...]:
    """Return what changes with every write, without opening the file: that would end the lock on it."""
    seen: list[object] = []
    for end in ("", *COMPANIONS[:2]):
        try:
            status = Path(f"{path}{end}").stat()
            seen.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            seen.append(None)
    return tuple(seen)
