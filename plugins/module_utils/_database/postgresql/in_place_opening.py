# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database that was migrated in place, and verified, lets the application in again."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..._domain.description import render_description
from ..._domain.errors import Refused
from ..._domain.in_place import is_in_place
from ..._domain.run_states import AFTER_SWAP, STEPS, check_step, on_record
from .counters import read_counters
from .in_place_access import give_access_back
from .relatives import admit
from .run_state import check_lease, check_state, lease_end, locked, write_comment
from .sessions import end_sessions
from .swap import Swapped

if TYPE_CHECKING:
    from typing import Any

    from .connection import Server

STEP = "open_in_place"


def preview_opening(server: Server, run_id: str) -> Swapped:
    """Check that a run may open the database that it has migrated, without doing it.

    Raises:
        Refused: it may not.
    """
    with locked(server) as (_cursor, description):
        if description and description.run_id == run_id and description.state in AFTER_SWAP:
            return Swapped("", 0.0, changed=False)
    check_state(server, run_id, STEP)
    return Swapped("", 0.0, changed=True)


def open_in_place(server: Server, run_id: str, *, keep_release: bool = False) -> Swapped:
    """Give the privileges back on the verified database, in one transaction; from here on, writes count.

    Args:
        server: the server, with the public name of the database.
        run_id: the run.
        keep_release: as in `swap.swap_in`.

    Raises:
        Refused: the run is not in the state that allows it; nothing was changed.
    """
    planned = preview_opening(server, run_id)
    if not planned.changed:
        return planned
    counters = _count_alone(server)
    start = time.monotonic()
    with locked(server) as (cursor, description):
        state = check_step(STEP, run_id, server.database, description)
        check_lease(cursor, server, description)
        if description is None or not is_in_place(description):
            raise Refused(
                f"Run {run_id} did not migrate {server.database} in place.",
                untouched="It was not opened.",
                remedy="Start the whole run with 'ansible-playbook rollback.yml -e env=…'.",
            )
        give_access_back(cursor, server.database, description)
        record: dict[str, Any] = {}
        if keep_release:
            state, record = STEPS["release"].leads_to, on_record("replace", lease_end(cursor, 0))
        opened = replace(
            description,
            state=state,
            lease_until=lease_end(cursor, description.lease_seconds),
            note=f"The result of rollback {run_id}, in place, which is not over yet; what was here before is the dump "
            f"{description.data['restore_point']['path']}.",
            data={**description.data, "counters": counters, **record},
        )
        write_comment(cursor, server.database, render_description(opened))
    return Swapped("", round(time.monotonic() - start, 3), changed=True)


def _count_alone(server: Server) -> dict[str, Any]:
    """Return the counters, read when nobody else is in the database, where only the owner could come in."""
    with server.admin() as admin, admin.cursor() as outside:
        with server.connect(autocommit=True) as connection, connection.cursor() as inside:
            admit(outside, server.database, False)
            try:
                end_sessions(outside, server.database, but=[connection.info.backend_pid])
                counters = read_counters(inside)
            finally:
                admit(outside, server.database, True)
        end_sessions(outside, server.database)
    return counters
