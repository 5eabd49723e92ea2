# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy takes production's name: the candidate of a rollback, or a backup that was restored beside."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import Description, render_description
from ..._domain.errors import Refused
from ..._domain.names import derived_name
from ..._domain.run_states import AFTER_SWAP, STEPS, check_step, on_record
from .counters import read_counters
from .properties import apply_grants, apply_limits, apply_owner, apply_settings, read_properties, read_settings
from .relatives import admit, find_relative, rename
from .run_state import check_lease, check_state, lease_end, locked, write_comment
from .sessions import end_sessions

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server


class Copy(NamedTuple):
    """A copy that may take a database's name.

    Attributes:
        purpose: as its name says, one of `names.PURPOSES`.
        step: of the run's states.
        source: what it is, for a person.
    """

    purpose: str
    step: str
    source: str


CANDIDATE = Copy("candidate", "swap", "rollback")
BACKUP = Copy("restored", "replace", "restore")


class Swapped(NamedTuple):
    """What `swap_in` did.

    Attributes:
        before: the name under which production's own database is kept.
        seconds: how long the database had neither name: the one transaction.
        changed: False where the run had swapped already.
    """

    before: str
    seconds: float
    changed: bool


def preview_swap(server: Server, run_id: str, copy: Copy = CANDIDATE) -> Swapped:
    """Check that a run may swap its copy in, without doing it.

    Raises:
        Refused: it may not.
    """
    before = derived_name(server.database, "before", run_id)
    with locked(server) as (_cursor, description):
        if description and description.run_id == run_id and description.state in AFTER_SWAP:
            return Swapped(before, 0.0, changed=False)
    check_state(server, run_id, copy.step)
    return Swapped(before, 0.0, changed=True)


def swap_in(
    server: Server, run_id: str, keep_hours: float = 24.0, copy: Copy = CANDIDATE, *, keep_release: bool = False
) -> Swapped:
    """Put the run's verified copy in production's place and open it, in one transaction.

    Args:
        server: the server, with the public name of the database.
        run_id: the run.
        keep_hours: for how long what was there is to be kept; nothing is dropped here, it is written into its comment.
        copy: what is swapped in.
        keep_release: the release that runs now stays; with a rollback's candidate that is on record from here on. A
            restore has no release to switch.

    Raises:
        Refused: the run is not in the state that allows it, or its copy is missing; nothing was changed.
    """
    planned = preview_swap(server, run_id, copy)
    if not planned.changed:
        return planned
    before = planned.before
    candidate = derived_name(server.database, copy.purpose, run_id)
    counters = _close_copy(server, run_id, candidate, copy)
    start = time.monotonic()
    with locked(server) as (cursor, description):
        state = check_step(copy.step, run_id, server.database, description)
        check_lease(cursor, server, description)
        if description is None:
            raise ValueError(run_id)  # check_step refuses that
        record = on_record(copy.step, lease_end(cursor, 0))
        if keep_release:
            state, record = STEPS["release"].leads_to, on_record("replace", lease_end(cursor, 0))
        exchange(cursor, server.database, candidate, before)
        if copy == BACKUP:  # it came with those of its own time
            apply_settings(cursor, server.database, read_settings(cursor, before))
        current = replace(
            description,
            role="current",
            state=state,
            lease_until=lease_end(cursor, description.lease_seconds),
            note=f"The result of {copy.source} {run_id}, which is not over yet; what was here before is {before}.",
            data={**description.data, "before": before, "counters": counters, **record},
        )
        write_comment(cursor, server.database, render_description(current))
        keep_until = lease_end(cursor, int(keep_hours * 3600))
        write_comment(cursor, before, render_description(_before(description, server.database, copy, keep_until)))
    return Swapped(before, round(time.monotonic() - start, 3), changed=True)


def _close_copy(server: Server, run_id: str, candidate: str, copy: Copy) -> dict[str, Any]:
    """Close the copy and return its counters, read when nobody else was left in it."""
    with server.admin() as admin, admin.cursor() as outside:
        relative = find_relative(outside, server.database, candidate)
        description = relative.description if relative else None
        made = description and (description.run_id, description.role) == (run_id, copy.purpose)
        if not made or (copy == BACKUP and not (description and description.data.get("complete"))):
            raise Refused(
                f"There is no complete {copy.purpose} database {candidate!r} of run {run_id} on this server.",
                untouched="The original was not altered; it stays closed until it is restored.",
                remedy="Restore: the db_swap module with state=original, or wait for the keeper.",
            )
        admit(outside, candidate, True)  # closed already where an earlier try ended in the middle
        with server.connect(
            candidate, autocommit=True, only_system_names=True
        ) as connection, connection.cursor() as inside:
            admit(outside, candidate, False)
            end_sessions(outside, candidate, but=[connection.info.backend_pid])
            counters = read_counters(inside)
        end_sessions(outside, candidate)
    return counters


def exchange(cursor: Cursor, database: str, candidate: str, before: str) -> None:
    """Let a copy take a database's name with its privileges and limits, and open it; both must be without sessions."""
    properties = read_properties(cursor, database)
    rename(cursor, database, before)
    rename(cursor, candidate, database)
    apply_owner(cursor, database, properties.owner)
    apply_grants(cursor, database, properties.owner, properties.grants)
    apply_limits(cursor, database, properties)
    admit(cursor, database, True)


def _before(description: Description, database: str, copy: Copy, keep_until: str) -> Description:
    return Description(
        run_id=description.run_id,
        role="before",
        original_comment=description.original_comment,
        note=f"{database} as it was before {copy.source} {description.run_id}, closed and unaltered. To be kept until "
        f"{keep_until}; then drop it when nobody wants to go back any more.",
        data={"keep_until": keep_until},
    )
