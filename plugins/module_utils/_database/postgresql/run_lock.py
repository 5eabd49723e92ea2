# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock that a run's keeper holds for as long as the run is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._driver import one_row
from .run_state import RUN_LOCK_SPACE, lock_holder

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

CHANNEL = "balcon.rollback"
"""Who ends a run says so here (NOTIFY), so that its keeper need not wait for its next look."""


def keeper_name(run_id: str) -> str:
    """Return the application name of a run's keeper."""
    return f"balcon.rollback keeper {run_id}"


def take_run_lock(cursor: Cursor, database: str) -> bool:
    """Take the lock of a database's runs for this session; False where another session of the server has it.

    Args:
        cursor: in the maintenance database.
        database: the public name of the database.
    """
    cursor.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [RUN_LOCK_SPACE, database])
    if not one_row(cursor)[0]:
        return False
    if lock_holder(cursor, RUN_LOCK_SPACE, database) is None:
        return True
    cursor.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", [RUN_LOCK_SPACE, database])
    return False


def run_lock_holder(cursor: Cursor, database: str) -> str | None:
    """Return who else holds the lock of a database's runs, or None.

    Returns:
        The application name of the session, which names the run, and its pid.
    """
    return lock_holder(cursor, RUN_LOCK_SPACE, database)


def tell_keeper(cursor: Cursor, run_id: str) -> None:
    """Tell a run's keeper, when this transaction commits, to look again."""
    cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, run_id])
