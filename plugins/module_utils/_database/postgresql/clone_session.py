# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session in which a database is copied, known by its name to the keeper and to the emergency restore."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from ..._driver import one_row, psycopg2
from .sessions import PATIENCE_SECONDS, POLL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server


def copy_name(run_id: str) -> str:
    """Return the application name of the session that makes a run's copy."""
    return f"balcon.rollback copy {run_id}"


@contextlib.contextmanager
def copy_session(server: Server, run_id: str) -> Iterator[Connection]:
    """Open the session that makes a run's copy.

    While C(CREATE DATABASE … TEMPLATE) works, nothing can be written into the comment of the template (both want a lock
    on it), so the run's lease cannot be renewed. This session is the sign of life instead. When we are killed the
    server sees within half a second that nobody waits for the copy, and removes it.
    """
    with server.admin() as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [copy_name(run_id)])
            with contextlib.suppress(psycopg2.Error):  # not on every platform
                cursor.execute("SET client_connection_check_interval = '500ms'")
        yield connection


IDLE_SECONDS = 10.0
"""How long the session of a copy that is made may wait for the run to say so; then the run gives no sign of life."""

_COPYING = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = %s
    AND coalesce(state = 'active' OR clock_timestamp() - state_change < make_interval(secs => %s), true))
"""


def is_copying(cursor: Cursor, run_id: str, idle_seconds: float = IDLE_SECONDS) -> bool:
    """Tell whether a copy of this run is being made, or was made a moment ago."""
    cursor.execute(_COPYING, [copy_name(run_id), idle_seconds])
    return bool(one_row(cursor)[0])


def end_copies(cursor: Cursor, run_id: str) -> None:
    """End a copy that is being made by this run; the server removes what there is of it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [copy_name(run_id)]
        )
        if not cursor.rowcount:
            return
        time.sleep(POLL_SECONDS)
