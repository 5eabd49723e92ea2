# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing production's own database, and ending a run that was swapped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..._domain.description import METHODS, Description, render_description
from ..._domain.errors import Refused, RollbackError
from ..._domain.names import derived_name
from ..._domain.run_states import AFTER_SWAP, check_gate_passed, check_step
from .blockers import find_blockers, refuse_blockers
from .properties import read_properties
from .relatives import admit, read_relatives
from .restore import restore_original
from .run_lock import run_lock_holder, tell_keeper
from .run_state import check_lease, check_state, lease_end, locked, read_comment, write_comment
from .sessions import PATIENCE_SECONDS, POLL_SECONDS, end_sessions, read_sessions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from psycopg2.extensions import cursor as Cursor

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
            data=_claim(cursor, data or {}),
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


def _claim(cursor: Cursor, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"method": METHODS[0], **data, "owner": {**data.get("owner", {}), "since": lease_end(cursor, 0)}}


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


def may_finish(server: Server, run_id: str, *, by_itself: bool = False) -> bool:
    """Tell whether there is a run to end.

    Raises:
        Refused: as `finish_run`.
    """
    with locked(server) as (cursor, description):
        return _to_finish(cursor, server, run_id, description, by_itself) is not None


def _to_finish(
    cursor: Cursor, server: Server, run_id: str, description: Description | None, by_itself: bool
) -> Description | None:
    if description is None or not description.state:
        _check_not_undone(cursor, server, run_id)
        return None
    check_step("finish", run_id, server.database, description)
    if by_itself and description.state == AFTER_SWAP[0]:  # with the release on record, everybody would end it
        check_lease(cursor, server, description)
    return description


def _check_not_undone(cursor: Cursor, server: Server, run_id: str) -> None:
    """Refuse to end a run that was taken back meanwhile, by its keeper or by a person: it did not go through.

    Raises:
        Refused: its candidate was set aside, and nothing of before it is kept.
    """
    names = {relative.name for relative in read_relatives(cursor, server.database)}
    failed, before = (derived_name(server.database, purpose, run_id) for purpose in ("failed", "before"))
    if failed in names and before not in names:
        raise Refused(
            f"Run {run_id} is not open on {server.database} any more: it was taken back; its candidate is {failed}.",
            untouched=f"{server.database} is what it was before the run.",
            remedy="Its journal and keeper.log say who did it, and why. Look, then start the whole run again.",
        )


def finish_run(server: Server, run_id: str, *, by_itself: bool = False) -> bool:
    """End a run after its swap: the database gets its own comment back, and the keeper ends.

    A database that an emergency restore left closed, because it had been written to, is opened: whoever finishes the
    run has decided to keep what was written.

    Args:
        server: the server, with the public name of the database.
        run_id: the run.
        by_itself: the run itself ends, and no person decides: its lease counts.

    Returns:
        Whether there was anything to end.

    Raises:
        Refused: another run is open, or this one has not swapped yet, or its lease has run out, or it was taken back.
    """
    with locked(server) as (cursor, description):
        to_finish = _to_finish(cursor, server, run_id, description, by_itself)
        if to_finish is None:
            return False
        write_comment(cursor, server.database, to_finish.original_comment)
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
