# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a dump, a restore or a file copy is, as the server and the disk show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.progress import amount, subject_of
from ..._driver import one_row
from ..._progress import reporter

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.progress import Activity
    from .connection import Server

_AT_WORK = """
SELECT a.query, p.tuples_processed FROM pg_stat_activity a LEFT JOIN pg_stat_progress_copy p USING (pid)
WHERE a.datname = %s AND a.application_name = %s AND a.state = 'active' AND a.pid <> pg_backend_pid()
ORDER BY p.tuples_processed DESC NULLS LAST, a.query
"""

_INSERTED = "SELECT tup_inserted FROM pg_stat_database WHERE datname = %s"

# Only a superuser may look into the folder; everybody else is told the time.
_UNBORN = """
SELECT pg_database_size(entry::oid) FROM pg_ls_dir('base') AS entry
WHERE entry ~ '^[0-9]{1,9}$' AND NOT EXISTS (SELECT FROM pg_database d WHERE d.oid = entry::oid) ORDER BY 1 DESC LIMIT 1
"""


_TABLES = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


def dumping(server: Server, connection: Connection, folder: Path) -> AbstractContextManager[Activity]:
    """Say, as long as the block runs, how far a dump is.

    Args:
        server: the server that is dumped.
        connection: a session in the database.
        folder: the dump's folder.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TABLES)
        total = one_row(cursor)[0]
    return reporter.activity(
        f"dump {server.database}", unit="tables", total=total, sampler=DumpProgress(server, folder)
    )


def restoring(server: Server, name: str, tables: Mapping[str, Mapping[str, Any]]) -> AbstractContextManager[Activity]:
    """Say, as long as the block runs, how far a restore is; see `RestoreProgress` for the arguments."""
    return reporter.activity(f"restore into {name}", about=True, sampler=RestoreProgress(server, name, tables))


def cloning(server: Server, source: str) -> AbstractContextManager[Activity]:
    """Say, as long as the block runs, how far a file copy is; see `CloneProgress` for the arguments."""
    return reporter.activity(f"copy the files of {source}", unit="bytes", sampler=CloneProgress(server, source))


class _FromServer:
    """Looks at the server through a session of its own, which is opened at the first look: short steps have none."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._opened: AbstractContextManager[Connection] | None = None
        self._cursor: Cursor | None = None

    def __call__(self, activity: Activity) -> None:
        """Look once."""
        if self._cursor is None:
            self._opened = self.server.admin()  # it stays open, and ends with the module's process
            self._cursor = self._opened.__enter__().cursor()
            self._cursor.execute("SET statement_timeout = '2s'")
        self.look(self._cursor, activity)

    def look(self, cursor: Cursor, activity: Activity) -> None:
        """Write into the activity how far it is."""
        raise NotImplementedError


class DumpProgress(_FromServer):
    """Looks at a dump: files of tables, bytes on the disk, and the rows of the table that is being copied.

    Args:
        server: the server that is dumped.
        folder: the dump's folder.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server)
        self._folder = folder

    def look(self, cursor: Cursor, activity: Activity) -> None:
        """Count files, and ask what is being copied."""
        files = [file.stat().st_size for file in self._folder.glob("[0-9]*.dat*")]
        at_work = _at_work(cursor, self.server, self.server.database)
        activity.done = max(0, len(files) - len(at_work))
        activity.note = f"{amount(sum(files), 'bytes')} written"
        activity.subject = _described(at_work, {})


class RestoreProgress(_FromServer):
    """Looks at a restore: the rows that have arrived, and the table, index or constraint that is being made.

    Args:
        server: the server that is restored on.
        name: the database that is being filled.
        tables: those of the original's fingerprint, with C(rows).
    """

    def __init__(self, server: Server, name: str, tables: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(server)
        self._name = name
        self._rows = {table: int(content.get("rows") or 0) for table, content in tables.items()}

    def look(self, cursor: Cursor, activity: Activity) -> None:
        """Ask for rows: the server counts those of tables that are complete, and those of each that is under way."""
        at_work = _at_work(cursor, self.server, self._name)
        cursor.execute(_INSERTED, [self._name])
        activity.done = one_row(cursor)[0] + sum(rows for _subject, rows in at_work if rows)
        activity.total = sum(self._rows.values())
        activity.subject = _described(at_work, self._rows)


class CloneProgress(_FromServer):
    """Looks at a file copy: the bytes in the folder of a database that is not there yet.

    Args:
        server: the server.
        source: the database that is copied.
    """

    def __init__(self, server: Server, source: str) -> None:
        super().__init__(server)
        self._source = source

    def look(self, cursor: Cursor, activity: Activity) -> None:
        """Ask for the size of both."""
        if activity.total is None:
            cursor.execute("SELECT pg_database_size(%s)", [self._source])
            activity.total = one_row(cursor)[0]
        cursor.execute(_UNBORN)
        found = cursor.fetchone()
        activity.done = found[0] if found else None


def _at_work(cursor: Cursor, server: Server, database: str) -> list[tuple[str, int | None]]:
    """Return what the tool's sessions work on, with the rows of it so far where rows are copied."""
    cursor.execute(_AT_WORK, [database, server.application_name])
    found = [(subject_of(query), rows) for query, rows in cursor.fetchall()]
    return [(subject, rows) for subject, rows in found if subject]


def _described(at_work: list[tuple[str, int | None]], totals: Mapping[str, int]) -> str:
    parts = []
    for subject, rows in at_work:
        total = totals.get(subject)
        of = f" of {total:,}" if total else ""
        parts.append(f"{subject} ({rows:,}{of} rows)" if rows else subject)
    return ", ".join(parts)
