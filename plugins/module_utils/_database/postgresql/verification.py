# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares a database with what it was, and its change with the one that was rehearsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._domain.catalogue import compare_changes
from ..._domain.database_comparison import Comparison, as_result, compare_fingerprints, without_catalogue
from ..._domain.errors import Failed, Refused
from ..._domain.in_place import is_in_place
from .fresh_database import read_description
from .run_state import advance, check_state

if TYPE_CHECKING:
    from ..._domain.catalogue import Change
    from ..._run import Run
    from .connection import Server

__all__ = [
    "Comparison",
    "as_result",
    "check_is_candidate",
    "check_overridden",
    "check_rehearsed",
    "compare_fingerprints",
    "is_verified",
    "take_step",
    "without_catalogue",
]


_NOT_ALTERED = "Production's own database was not altered."


def check_rehearsed(
    database: str, comparison: Comparison, expected: Change | None, untouched: str = _NOT_ALTERED
) -> None:
    """Check that a database changed as it was rehearsed, and in nothing else.

    Args:
        database: its name, for the message.
        comparison: of the database with what it was.
        expected: the canonical change of the rehearsal; None where the gate was overridden, and there was none.
        untouched: what was not touched.

    Raises:
        Failed: the change of the catalogue is another one, or rows or contents changed that the plan does not touch.
    """
    unexpected = [] if expected is None else compare_changes(expected, comparison.canonical_change)
    problems = unexpected + comparison.differences
    if problems:
        said = " ".join(f"{line.rstrip('.')}." for line in problems[:10])
        raise Failed(
            f"{database} did not change as it was rehearsed: {said}",
            untouched=untouched,
            remedy="Rehearse again on a fresh copy of production, and read what differs there.",
            differences=problems[:200],
        )


def check_overridden(run: Run) -> None:
    """Check by its journal that a run may go on without a rehearsed change to compare with.

    Raises:
        Refused: its gate was not overridden.
    """
    if not any(event["outcome"] == "ok" and event["data"].get("override") for event in run.events()):
        raise Refused(
            f"Run {run.run_id} has no rehearsed change to hold its candidate to, and its gate was not overridden.",
            untouched="Nothing was changed.",
            remedy="Give expect_change, from the evidence of the rehearsal.",
        )


def check_is_candidate(server: Server, database: str, run_id: str) -> None:
    """Check that a database is the candidate of a run, and that the run may verify it now.

    Raises:
        Refused: it is not, or it may not.
    """
    description = read_description(server, database)
    in_place = database == server.database and is_in_place(description)
    if description is None or description.run_id != run_id or not (in_place or description.role == "candidate"):
        raise Refused(
            f"{database!r} is not the candidate of run {run_id}: its comment does not say so.",
            untouched="Nothing was changed.",
            remedy="Name the candidate that db_clone returned.",
            database=database,
        )
    if not is_verified(server, run_id):
        check_state(server, run_id, "verify")


def is_verified(server: Server, run_id: str) -> bool:
    """Tell whether a run has verified its candidate already."""
    description = read_description(server, server.database)
    return bool(description and (description.run_id, description.state) == (run_id, "verified"))


def take_step(server: Server, run_id: str, comparison: Comparison) -> bool:
    """Say in the run's state that its candidate is verified; return whether that is new."""
    if is_verified(server, run_id):
        return False
    advance(server, run_id, "verify", proof=comparison.proof)
    return True
