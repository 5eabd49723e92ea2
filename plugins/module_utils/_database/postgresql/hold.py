# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closing the result of a rollback that is over, until a person decides between it and what was before."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from ..._domain.description import Description, render_description
from ..._domain.errors import Failed, Refused
from ..._domain.names import derived_name
from ..._domain.run_states import AFTER_SWAP, check_no_run
from .relatives import admit, admits, find_relative
from .restore import ways_on
from .run_state import locked, read_comment, write_comment
from .sessions import end_sessions

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server


class Held(NamedTuple):
    """What `hold` did.

    Attributes:
        changed: False where the database was held already.
        before: the name under which production's database of before the rollback is kept.
        sessions_ended: how many sessions were ended.
        commands: the SQL for the two ways on, C(keep) and C(go_back).
        seconds: how long it took.
        message: one paragraph for a person.
    """

    changed: bool
    before: str
    sessions_ended: int
    commands: dict[str, str]
    seconds: float
    message: str


def hold(server: Server, run_id: str, because: str, *, check_mode: bool = False) -> Held:
    """Close the database that a rollback has left, end its sessions, and say how a person goes on.

    Nothing opens it by itself: there is no keeper any more. The run counts as swapped again, so that M(db_swap) with
    C(state=original) and M(db_access) with C(state=open) lead out of it.

    Args:
        server: the server, with the public name of the database.
        run_id: the run whose result it is.
        because: why, for the person who finds it.
        check_mode: only check.

    Raises:
        Refused: another run is open, or what was before the rollback is not kept; nothing was changed.
        Failed: it lets nobody in any more, but a session did not end.
    """
    start = time.monotonic()
    before = derived_name(server.database, "before", run_id)
    with locked(server) as (cursor, description):
        held = bool(description and description.run_id == run_id and description.state in AFTER_SWAP)
        if not held:
            check_no_run(server.database, description)
        _check_before(cursor, server, before)
        changed = not held or bool(admits(cursor, server.database))
        if changed and not check_mode:
            comment = description.original_comment if held and description else read_comment(cursor, server.database)
            write_comment(cursor, server.database, _comment(run_id, before, because, comment))
            admit(cursor, server.database, False)
    ended = _end_sessions(server) if changed and not check_mode else 0
    commands = ways_on(server, run_id)
    return Held(
        changed, before, ended, commands, round(time.monotonic() - start, 3), _message(server, before, commands)
    )


def _check_before(cursor: Cursor, server: Server, before: str) -> None:
    relative = find_relative(cursor, server.database, before)
    if relative is None or relative.description is None:
        raise Refused(
            f"{server.database} was not closed: {before}, which would be what a person goes back to, is not on this"
            " server.",
            untouched=f"{server.database} is open, as it was.",
            remedy="Look at the databases of this server, and at the backups, before anything is decided.",
        )


def _comment(run_id: str, before: str, because: str, original_comment: str | None) -> str:
    note = (
        f"Closed after rollback {run_id}, because {because}. A person decides between this database and {before}; the"
        " run's report has the two commands."
    )
    return render_description(
        Description(
            run_id=run_id,
            role="current",
            state="swapped",
            original_comment=original_comment,
            note=note,
            data={"before": before, "held": because},
        )
    )


def _end_sessions(server: Server) -> int:
    with server.admin() as connection, connection.cursor() as cursor:
        try:
            return len(end_sessions(cursor, server.database))
        except Refused as error:
            raise Failed(
                f"{server.database} lets nobody in any more, but {error.message}",
                untouched="It stays closed; nothing was dropped.",
                remedy=f"{error.remedy} Then run the step again.",
            ) from None


def _message(server: Server, before: str, commands: dict[str, str]) -> str:
    return (
        f"{server.database} is closed until a person decides; both are kept, {server.database} with all that was"
        f" written to it, and {before}. Stop the release that answers now, then type one of the two in psql, in"
        f" database {server.maintenance_database}, as the owner. To go on with {server.database} as it is:"
        f" {commands['keep']}"
        f" To go back to before the rollback: {commands['go_back']}"
    )
