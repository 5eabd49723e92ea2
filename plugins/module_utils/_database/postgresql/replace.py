# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fresh copy takes the place of staging's own database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..._domain.description import Description, render_description
from ..._domain.errors import Refused
from ..._domain.names import derived_name
from ..._domain.run_states import check_no_run
from .clone import check_made_by
from .relatives import admit
from .run_state import locked, read_comment, write_comment
from .sessions import end_sessions
from .swap import Swapped, exchange

if TYPE_CHECKING:
    from ..._run import Run
    from .connection import Server


def check_is_rehearsal(run: Run) -> None:
    """Check by its journal that a run is a rehearsal: only staging's database is replaced like this.

    Raises:
        Refused: it is not.
    """
    kind = run.kind()
    if kind != "rehearsal":
        raise Refused(
            f"Run {run.run_id} is a {kind}: only a rehearsal replaces a database without the states of a window.",
            untouched="Nothing was touched.",
            remedy="Use state=candidate or state=original.",
        )


def preview_replacement(server: Server, run_id: str) -> Swapped:
    """Check that the fresh copy of a run may take the place of the database, without doing it.

    Raises:
        Refused: it may not.
    """
    before, fresh = (derived_name(server.database, purpose, run_id) for purpose in ("before", "restored"))
    with locked(server) as (cursor, description):
        check_no_run(server.database, description)
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [before])
        if cursor.rowcount:
            return Swapped(before, 0.0, changed=False)
        check_made_by(cursor, server, fresh, run_id, ("restored",))
    return Swapped(before, 0.0, changed=True)


def replace_with_fresh_copy(server: Server, run_id: str) -> Swapped:
    """Give the database's name, privileges, limits and comment to the run's fresh copy, and open it.

    What was there is kept, closed, as C(<database>__before_<run>).

    Raises:
        Refused: there is no such copy, a run is open on the database, or a session did not end; it is open as it was.
    """
    planned = preview_replacement(server, run_id)
    if not planned.changed:
        return planned
    fresh = derived_name(server.database, "restored", run_id)
    with server.admin() as connection, connection.cursor() as outside:
        try:
            for database in (server.database, fresh):
                admit(outside, database, False)
                end_sessions(outside, database)
            seconds = _exchange(server, fresh, planned.before, run_id)
        except BaseException:
            admit(outside, server.database, True)
            raise
    return Swapped(planned.before, seconds, changed=True)


def _exchange(server: Server, fresh: str, before: str, run_id: str) -> float:
    start = time.monotonic()
    with locked(server) as (cursor, description):
        check_no_run(server.database, description)
        comment = read_comment(cursor, server.database)
        exchange(cursor, server.database, fresh, before)
        write_comment(cursor, server.database, comment)
        kept = Description(
            run_id=run_id,
            role="before",
            original_comment=comment,
            note=f"{server.database} as it was before rehearsal {run_id} replaced it with a fresh copy of production.",
        )
        write_comment(cursor, before, render_description(kept))
    return round(time.monotonic() - start, 3)
