# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Seeing where a migration tool connects: by the server, not by what the tool says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, cast

from .._domain.errors import Failed, Refused

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .._database.postgresql.connection import Server

ALONE_WITHIN_SECONDS = 2.0
PATIENCE_SECONDS = 1.0
"""How long a backend may take to notice that its client is gone."""

GONE_WITHIN_SECONDS = 10.0
_LOOK_EVERY_SECONDS = 0.01
_SESSIONS = """
    SELECT count(*) FILTER (WHERE datname = %(database)s),
           array_agg(DISTINCT datname) FILTER (WHERE datname <> %(database)s AND application_name = %(name)s),
           count(*) FILTER (WHERE datname = %(database)s AND client_addr IS NOT NULL AND NOT ssl)
    FROM pg_stat_activity LEFT JOIN pg_stat_ssl USING (pid)
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""

_WHO = """
    SELECT format('%%s (%%s, process %%s)', coalesce(nullif(application_name, ''), 'no name'), usename, pid)
    FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend' LIMIT 5
"""


class Witness:
    """Looks, through sessions of its own, which databases a tool is connected to.

    Two things are watched for the intended database: its present sessions, and the server's count of all sessions that
    it ever had, which also shows one that was shorter than the time between two looks. In all other databases of the
    watched servers, a session counts as the tool's when it bears the name that the tool was given for its sessions.

    Args:
        cursors: one in the maintenance database of each watched server; the first is the intended one.
        database: the intended database.
        name: the application name that the tool was given.
        encrypted: sessions in the intended database must be encrypted.
    """

    def __init__(self, cursors: Sequence[Cursor], database: str, name: str, *, encrypted: bool = False) -> None:
        self._cursors = cursors
        self._encrypted = encrypted
        self._database = database
        self._name = name
        self._next = 0.0
        self._seen = False
        self._before = self._count()

    def look(self) -> None:
        """Look once, but not more often than every ten milliseconds.

        Raises:
            Failed: the tool is connected to another database, or in plain text where the URL demands encryption.
        """
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_EVERY_SECONDS
        for index, cursor in enumerate(self._cursors):
            here, elsewhere, plain = self._sessions(cursor)
            self._seen = self._seen or (index == 0 and here > 0)
            others = [*(elsewhere or []), *([self._database] if index and self._named(cursor) else [])]
            if others:
                raise self._strayed(others)
            if self._encrypted and plain and not index:
                raise self._unencrypted()

    def saw_session(self) -> bool:
        """Tell whether the tool had a session in the intended database; asked when it has ended."""
        return self._seen or self._count() > self._before

    def wait_until_alone(self) -> None:
        """Wait until our own last session has ended, so that it is not taken for the tool's.

        Raises:
            Refused: somebody else is connected to the intended database.
        """
        if self._none_within(ALONE_WITHIN_SECONDS):
            return
        cursor = self._cursors[0]
        cursor.execute(_WHO, [self._database])
        raise Refused(
            f"Somebody is connected to database {self._database!r}: {'; '.join(who for (who,) in cursor)}.",
            untouched="No migration was run.",
            remedy="The database was made by this run for itself, and must be left alone: end that session.",
            database=self._database,
        )

    def wait_until_gone(self) -> int:
        """End what the tool has left of sessions in the intended database, and see that there is none.

        Returns:
            How many had to be ended.

        Raises:
            Failed: some stay.
        """
        if self._none_within(PATIENCE_SECONDS):
            return 0
        ended = self._terminate()
        if self._none_within(GONE_WITHIN_SECONDS):
            return ended
        raise Failed(
            f"The migration tool has ended, but sessions stay in database {self._database!r}.",
            remedy="Look at pg_stat_activity: who are they, and who started them?",
            database=self._database,
        )

    def _none_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while self._sessions(self._cursors[0])[0]:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def _terminate(self) -> int:
        cursor = self._cursors[0]
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            [self._database],
        )
        return int(_row(cursor)[0])

    def _sessions(self, cursor: Cursor) -> tuple[int, list[str] | None, int]:
        cursor.execute(_SESSIONS, {"database": self._database, "name": self._name})
        here, elsewhere, plain = _row(cursor)
        return int(here), elsewhere, int(plain)

    def _named(self, cursor: Cursor) -> bool:
        """Tell whether the tool is connected to a database of the same name on a watched server."""
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
            [self._database, self._name],
        )
        return bool(_row(cursor)[0])

    def _count(self) -> int:
        cursor = self._cursors[0]
        cursor.execute("SELECT coalesce(max(sessions), 0) FROM pg_stat_database WHERE datname = %s", [self._database])
        return int(_row(cursor)[0])

    def _strayed(self, databases: Sequence[str]) -> Failed:
        return Failed(
            f"The migration tool connected to {', '.join(sorted(map(repr, databases)))} instead of "
            f"{self._database!r}, and was ended.",
            remedy=(
                "Something beside the given environment tells it where to go: a .env file, a configuration"
                " file, a second URL. Find it before anything else is run; look at what the tool may have"
                " done there."
            ),
            databases=sorted(databases),
        )

    def _unencrypted(self) -> Failed:
        return Failed(
            f"The migration tool connected to {self._database!r} in plain text, though the URL's sslmode demands"
            " encryption, and was ended.",
            remedy=(
                "Its driver passes over sslmode, and something overrides PGSSLMODE: let the project's own configuration"
                " encrypt (Sequelize: dialectOptions.ssl). Its password and data went over the network unencrypted."
            ),
            database=self._database,
        )


def _row(cursor: Cursor) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", cursor.fetchone())


@contextmanager
def witness(server: Server, database: str, name: str, watched: Sequence[Server] = ()) -> Iterator[Witness]:
    """Watch a tool that is about to be started.

    Before it begins, sessions of our own in the intended database have ended: their number is counted too.

    Args:
        server: the server with the intended database.
        database: the intended database.
        name: the application name that the tool is given.
        watched: other databases that it might stray to; their servers are watched.

    Raises:
        Refused: somebody else is connected to the intended database.
    """
    here = server.identity(database).system_identifier
    others = [each for each in watched if each.identity().system_identifier != here]
    with ExitStack() as stack:
        connections = [stack.enter_context(each.admin()) for each in (server, *others)]
        cursors = [stack.enter_context(connection.cursor()) for connection in connections]
        Witness(cursors, database, name).wait_until_alone()
        yield Witness(cursors, database, name, encrypted=server.demands_encryption)
