# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beginning and ending a run on an SQLite file.

There is no server that could close it. Writers are kept out where it matters: while it is copied, while the migration
tool runs, and while the names change; and the swap is refused unless the file is what it was when it was copied.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._domain.description import Description
from ..._domain.errors import Refused
from ..._domain.run_states import BEFORE_SWAP, check_step
from .candidate import remove_partial
from .database_file import DatabaseFile
from .restore import is_swapped, set_candidate_aside, ways_on
from .run_state import forget_description, lease_end, lease_has_run_out, locked, write_description

if TYPE_CHECKING:
    from ..._run import Run

REQUIRED = ("preflight", "back_up")
"""Phases that a run's journal must show as passed before it may begin."""


def check_may_begin(file: DatabaseFile, run: Run) -> bool:
    """Check that a run may begin; tell whether it has yet to.

    Raises:
        Refused: it is not one of development, its journal lacks a phase, or another run is open.
    """
    with locked(file) as description:
        if description and description.run_id == run.run_id and description.state:
            return False
        refuse_open_run(file, run.run_id, description)
    check_journal(run)
    return True


def check_journal(run: Run) -> None:
    """Check by its journal that a run is one of development, was looked at, and has its backup.

    Raises:
        Refused: it is not, or has not.
    """
    environment = run.events()[0]["data"].get("environment")
    if environment != "development":
        raise Refused(
            f"Run {run.run_id} is one of {environment}, and SQLite files are only rolled back in development.",
            untouched="The database was not touched.",
            remedy="Give production and staging a PostgreSQL URL: they need a rehearsal and a database that a server "
            "closes.",
        )
    missing = [phase for phase in REQUIRED if phase not in run.passed_phases()]
    if missing:
        raise Refused(
            f"Run {run.run_id} may not begin: its journal does not show that {' and '.join(missing)} passed.",
            untouched="The database was not touched.",
            remedy="Start the whole run with 'ansible-playbook rollback.yml -e env=development', without tags, limits "
            "or --start-at-task.",
            missing=missing,
        )


def begin_run(file: DatabaseFile, run: Run, lease_seconds: int) -> bool:
    """Take the file for a run; what a run has left that died before its swap is set aside.

    Returns:
        False where this run had taken it already.

    Raises:
        Refused: it may not.
    """
    if not check_may_begin(file, run):
        return False
    with locked(file) as left:
        refuse_open_run(file, run.run_id, left)
        if left:
            remove_partial(file, left.run_id)
            set_candidate_aside(file, left.run_id)
        state = check_step("close", run.run_id, file.database, None)
        begun = Description(
            run_id=run.run_id,
            role="original",
            state=state,
            lease_until=lease_end(lease_seconds),
            lease_seconds=lease_seconds,
            note=f"Rollback {run.run_id} is under way. {file.database} is unaltered and may be used; what is written "
            "to it now makes the run stop.",
        )
        write_description(file.path, begun)
    return True


def refuse_open_run(file: DatabaseFile, run_id: str, description: Description | None) -> None:
    """Refuse where another run has the file, unless it died before its swap.

    Args:
        file: the public file.
        run_id: the run that asks.
        description: what is written beside the file.

    Raises:
        Refused: one has.
    """
    message = open_run_problem(file, run_id, description)
    if message:
        raise Refused(message[0], untouched="Nothing was touched.", remedy=message[1])


def open_run_problem(file: DatabaseFile, run_id: str | None, description: Description | None) -> tuple[str, str] | None:
    """Return what is to be said of another run that has the file, and what to do; None where nothing is in the way."""
    if description is None or not description.state or description.run_id == run_id:
        return None
    if is_swapped(file, description.run_id):
        ways = ways_on(file, description.run_id)
        return (
            f"Run {description.run_id} put its candidate in the place of {file.database}, and did not end.",
            f"Decide, then type one of the two. To keep what is there now: {ways['keep']} "
            f"To go back to what was before: {ways['go_back']}",
        )
    if description.state in BEFORE_SWAP and lease_has_run_out(description):
        return None
    return (
        f"Run {description.run_id} is under way on {file.database} (state {description.state}, lease until "
        f"{description.lease_until}).",
        "Wait until it has ended, or until its lease has run out, then start again.",
    )


def may_finish(file: DatabaseFile, run_id: str) -> bool:
    """Tell whether a run that was swapped has yet to be ended.

    Raises:
        Refused: it was not swapped, or another run is open.
    """
    with locked(file) as description:
        if description is None or not description.state:
            return False
        check_step("finish", run_id, file.database, description)
    return True


def finish_run(file: DatabaseFile, run_id: str) -> bool:
    """End a run that was swapped; return whether that is new."""
    if not may_finish(file, run_id):
        return False
    forget_description(file.path)
    return True
