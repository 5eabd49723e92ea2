# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing production's own database, and ending a run that was swapped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..._domain.description import Description, render_description
from ..._domain.errors import RollbackError
from ..._domain.in_place import is_in_place
from ..._domain.run_states import check_gate_passed, check_step
from .blockers import find_blockers, refuse_blockers
from .in_place_access import give_access_back
from .properties import read_properties
from .relatives import admit, admits
from .restore import restore_original
from .run_lock import run_lock_holder, tell_keeper
from .run_state import check_state, claim, lease_end, locked, read_comment, write_comment
from .sessions import PATIENCE_SECONDS, POLL_SECONDS, end_sessions, read_sessions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..._run import Run
    from .connection import Server
    from .sessions import Session

DEFAULT_LEASE_SECONDS = 120


def close_database(
    server: Server,
    run_id: str,
    lease_seconds: int = DEFAULT_LEASE_SECONDS,
    *,
    patience: float = PATIENCE_SECONDS,
    but: Collection[int] = (),
    data: Mapping[str, Any] | None = None,
) -> list[Session]:
    """Close the database for everybody and end its sessions; or, where that fails, leave it open as it was.

    Args:
        server: the server, with the public name of the database.
        run_id: the run that closes it.
        lease_seconds: how long the run may go without a sign of life before its keeper opens the database again.
        patience: seconds that sessions get to end.
        but: pids of our own sessions, opened before, that stay.
        data: what else the database is to say of the run: C(owner), C(method). Since when is added to its owner.

    Returns:
        The sessions that were ended.

    Raises:
        Refused: the run may not close it now, or a session did not end; the database is open.
    """
    with locked(server) as (cursor, description):
        state = check_step("close", run_id, server.database, description)
        closed = Description(
            run_id=run_id,
            role="original",
            state=state,
            lease_until=lease_end(cursor, lease_seconds),
            lease_seconds=lease_seconds,
            original_comment=read_comment(cursor, server.database),
            note="Closed by a rollback that is under way. Its keeper opens it when the lease has run out. By hand: "
            "ALTER DATABASE … ALLOW_CONNECTIONS true, then set the comment to original_comment.",
            data=claim(cursor, data or {}),
        )
        write_comment(cursor, server.database, render_description(closed))
        admit(cursor, server.database, False)
    try:
        with server.admin() as connection, connection.cursor() as cursor:
            return end_sessions(cursor, server.database, patience=patience, but=but)
    except BaseException as error:
        restore_original(server, run_id)
        if isinstance(error, RollbackError):
            error.untouched = f"{server.database} is open again, unaltered."
        raise


def is_closed_by(server: Server, run_id: str) -> bool:
    """Tell whether a run has closed the database and done nothing else yet."""
    with locked(server) as (_cursor, description):
        return bool(description and description.run_id == run_id and description.state == "closed")


def preview_closing(server: Server, run: Run) -> list[Session]:
    """Check everything that can be checked before a run closes the database, and list whom it would disconnect.

    Raises:
        Refused: the run's journal does not show that what must come before has passed, another run is open, or
            something on the server would block the candidate.
    """
    check_gate_passed(run.run_id, run.passed_phases(), run.kind())
    check_state(server, run.run_id, "close")
    with server.admin() as connection, connection.cursor() as cursor:
        read_properties(cursor, server.database)  # says so where there is no such database
        refuse_blockers(server.database, find_blockers(cursor, server, run.run_id))
        return [session for session in read_sessions(cursor, server.database) if not session.is_internal]


def may_finish(server: Server, run_id: str) -> bool:
    """Tell whether there is a run to end.

    Raises:
        Refused: another run is open, or this one has not swapped yet.
    """
    with locked(server) as (_cursor, description):
        if description is None or not description.state:
            return False
        check_step("finish", run_id, server.database, description)
    return True


def finish_run(server: Server, run_id: str) -> bool:
    """End a run after its swap: the database gets its own comment back, and the keeper ends.

    A database that an emergency restore left closed, because it had been written to, is opened: whoever finishes the
    run has decided to keep what was written.

    Returns:
        Whether there was anything to end.

    Raises:
        Refused: another run is open, or this one has not swapped yet.
    """
    with locked(server) as (cursor, description):
        if description is None or not description.state:
            return False
        check_step("finish", run_id, server.database, description)
        write_comment(cursor, server.database, description.original_comment)
        if is_in_place(description) and not admits(cursor, server.database):
            give_access_back(cursor, server.database, description)
        admit(cursor, server.database, True)
        tell_keeper(cursor, run_id)
    return True


def wait_for_release(server: Server, patience: float = 2.0) -> bool:
    """Wait until no keeper holds the lock of this database's runs; False where one still does after so many seconds."""
    deadline = time.monotonic() + patience
    with server.admin() as connection, connection.cursor() as cursor:
        while run_lock_holder(cursor, server.database):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
    return True
