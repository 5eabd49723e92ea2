# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sessions on a database: who they are, whether they may be ended, and ending them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from psycopg2.extensions import cursor as Cursor

PATIENCE_SECONDS = 10.0
"""How long sessions get to end, once they were told to."""

POLL_SECONDS = 0.005

_SESSIONS = """
SELECT a.pid, coalesce(a.usename, ''), coalesce(a.application_name, ''),
       coalesce(host(a.client_addr), CASE WHEN a.client_port = -1 THEN 'local' END, ''),
       a.backend_type, coalesce(a.state, ''),
       a.usesysid IS NULL OR me.rolsuper OR (NOT coalesce(r.rolsuper, false)
           AND (pg_has_role(a.usesysid, 'USAGE') OR pg_has_role('pg_signal_backend', 'USAGE'))),
       a.usesysid IS NULL
FROM pg_stat_activity a
JOIN pg_database d ON d.oid = a.datid
JOIN pg_roles me ON me.rolname = current_user
LEFT JOIN pg_roles r ON r.oid = a.usesysid
WHERE d.datname = %s AND a.pid <> pg_backend_pid() AND NOT a.pid = ANY(%s)
ORDER BY a.pid
"""
# The rules of pg_terminate_backend. PostgreSQL shows everybody pid, role and application name; client, type and state
# only to members of the role and of pg_read_all_stats. A process without a role is PostgreSQL's own (autovacuum).

_STARTING = """
SELECT DISTINCT pid FROM pg_locks
WHERE locktype = 'object' AND classid = 'pg_database'::regclass AND mode = 'RowExclusiveLock' AND granted
  AND objid = (SELECT oid FROM pg_database WHERE datname = %s) AND pid <> pg_backend_pid() AND NOT pid = ANY(%s)
"""
# A session that was let in a moment before the database closed is not in pg_stat_activity yet, but holds this lock.


class Session(NamedTuple):
    """One session on a database.

    Attributes:
        pid: the server's process.
        user: its role; empty for PostgreSQL's own processes.
        application_name: what it calls itself.
        client: its address, C(local) for a socket; empty where it may not be seen.
        backend_type: as in C(pg_stat_activity); None where it may not be seen.
        state: active, idle, idle in transaction …; empty where it may not be seen.
        may_be_ended: whether our role may end it, or nobody needs to.
        is_internal: an autovacuum worker, or the like: PostgreSQL ends it by itself where it is in the way.
    """

    pid: int
    user: str
    application_name: str
    client: str
    backend_type: str | None
    state: str
    may_be_ended: bool
    is_internal: bool

    def __str__(self) -> str:
        """Return what a person needs to find it."""
        application = f", application {self.application_name!r}" if self.application_name else ""
        client = f", from {self.client}" if self.client else ""
        return f"pid {self.pid} of role {self.user}{application}{client}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as modules return it."""
        return {name: value for name, value in self._asdict().items() if name != "is_internal"}


def read_sessions(cursor: Cursor, database: str, *, but: Collection[int] = ()) -> list[Session]:
    """List the sessions on a database, PostgreSQL's own processes included.

    Args:
        cursor: outside a transaction, or the list would not change between two calls.
        database: its name.
        but: pids to leave out, beside our own.
    """
    cursor.execute(_SESSIONS, [database, list(but)])
    return [Session(*row) for row in cursor.fetchall()]


def end_sessions(
    cursor: Cursor, database: str, *, but: Collection[int] = (), patience: float = PATIENCE_SECONDS
) -> list[Session]:
    """End all sessions on a database that lets nobody in any more, and see that they are gone.

    Args:
        cursor: outside a transaction.
        database: its name.
        but: pids to leave alone.
        patience: seconds until it is given up.

    Returns:
        The sessions that were ended.

    Raises:
        Refused: a session may not be ended, or did not end in time.
    """
    ended: dict[int, Session] = {}
    deadline = time.monotonic() + patience
    while True:
        cursor.execute(_STARTING, [database, list(but)])  # asked first: what has started meanwhile is listed below
        starting = cursor.fetchall()
        left = [session for session in read_sessions(cursor, database, but=but) if not session.is_internal]
        if not left and not starting:
            return list(ended.values())
        forbidden = [session for session in left if not session.may_be_ended]
        if forbidden or time.monotonic() > deadline:
            raise _not_ended(database, forbidden or left, patience=None if forbidden else patience)
        _terminate(cursor, [session.pid for session in left if session.pid not in ended])
        ended.update((session.pid, session) for session in left)
        time.sleep(POLL_SECONDS)


def who(sessions: Iterable[Session]) -> dict[str, int]:
    """Count sessions by role and application, for the journal and the report."""
    counts: dict[str, int] = {}
    for session in sessions:
        name = f"{session.user} ({session.application_name or 'no application name'})"
        counts[name] = counts.get(name, 0) + 1
    return counts


def _terminate(cursor: Cursor, pids: list[int]) -> None:
    cursor.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::integer[]) AS pid", [pids])


def _not_ended(database: str, sessions: list[Session], *, patience: float | None) -> Refused:
    reason = "may not be ended by this role" if patience is None else f"did not end within {patience:g} seconds"
    return Refused(
        f"Sessions on {database} {reason}: {'; '.join(str(session) for session in sessions)}.",
        remedy="Sessions of other roles take membership in pg_signal_backend (GRANT pg_signal_backend TO …), those of "
        "a superuser take a superuser: end them, or give rollback_admin_url a role that may.",
        sessions=[session.as_dict() for session in sessions],
    )
