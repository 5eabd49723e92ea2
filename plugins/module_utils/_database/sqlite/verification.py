# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves what a plan changed in an SQLite candidate: the schema may differ where the plan says so, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.catalogue import change_between, columns_touched, compare_changes
from ..._domain.comparison import Comparison, compare_fingerprints
from ..._domain.errors import Failed
from .database_file import DatabaseFile
from .fingerprint import new_violations, take_fingerprint
from .run_state import advance, check_made_by_run, check_state, locked

if TYPE_CHECKING:
    from ..._domain.catalogue import Change
    from ..._domain.fingerprint import Fingerprint


def compare_with(
    file: DatabaseFile, before: Fingerprint, after: Fingerprint, path: Path, *, only_schema: bool = False
) -> Comparison:
    """Compare a candidate with what it was, also in the columns that stay of a table that loses or gains some.

    Which columns these are is only known afterwards, so that both sides of such a table are read again without them:
    the original is beside the candidate, and must be unchanged anyway.

    Args:
        file: the public file, of which the candidate is a copy.
        before: the candidate's fingerprint before the plan ran.
        after: its fingerprint now.
        path: the candidate.
        only_schema: leave rows and contents aside.
    """
    if only_schema:
        nothing: dict[str, Any] = {"tables": {}, "sequences": {}, "violations": {}}
        return compare_fingerprints({**before, **nothing}, {**after, **nothing})
    change = change_between(before["catalogue"], after["catalogue"])
    both = set(before["tables"]) & set(after["tables"])
    touched = {table: columns for table, columns in columns_touched(change).items() if table in both}
    if touched and path != file.path:
        before = _read_again(file.path, before, touched)
        after = _read_again(path, after, touched)
    comparison = compare_fingerprints(before, after)
    return comparison._replace(differences=[*comparison.differences, *new_violations(before, after)])


def check_change(database: str, comparison: Comparison, expected: Change | None) -> None:
    """Check that nothing changed beside the schema.

    Args:
        database: the candidate's name, for the message.
        comparison: of the candidate with what it was.
        expected: the canonical change to expect, where one is known.

    Raises:
        Failed: rows or contents changed that the plan's change of the schema does not explain.
    """
    unexpected = [] if expected is None else compare_changes(expected, comparison.canonical_change)
    problems = unexpected + comparison.differences
    if problems:
        said = " ".join(f"{line.rstrip('.')}." for line in problems[:10])
        raise Failed(
            f"{database} changed in more than the plan's schema: {said}",
            untouched="The database itself was not altered.",
            remedy="Read the migration: on SQLite, removeColumn, changeColumn and their like build a table anew, which "
            "empties tables that refer to it with ON DELETE CASCADE, and loses what their text does not repeat. Write "
            "ALTER TABLE … DROP COLUMN instead. Tables whose rows the plan changes on purpose are named with "
            "rollback_changed_tables.",
            differences=problems[:200],
        )


def check_round_trip(database: str, comparison: Comparison, expected: Change | None) -> None:
    """Check that the schema is again what it was, after the plan was reverted and applied again.

    Args:
        database: the clone's name, for the message.
        comparison: of the clone with the candidate before the plan ran.
        expected: the change that is no fault, none as a rule.

    Raises:
        Failed: it is not.
    """
    nothing: Change = {"added": {}, "removed": {}, "altered": {}}
    problems = compare_changes(expected or nothing, comparison.canonical_change)
    if problems:
        raise Failed(
            "The plan, reverted and applied again on a throwaway clone, does not lead back to the schema that the "
            f"database has: {'. '.join(problems[:10])}.",
            untouched="The database itself was not altered.",
            remedy="Something got lost on the way. On SQLite, removeColumn, changeColumn and their like build a table "
            "anew, without what their text does not repeat: write ALTER TABLE … DROP COLUMN instead. Where it is meant "
            "to be so: -e rollback_round_trip=false",
            differences=problems[:200],
            database=database,
        )


def check_is_candidate(file: DatabaseFile, path: Path, run_id: str) -> None:
    """Check that a file is the candidate of a run, and that the run may verify it now.

    Raises:
        Refused: it is not, or it may not.
    """
    check_made_by_run(file, path, run_id, ("candidate",))
    if not is_verified(file, run_id):
        check_state(file, run_id, "verify")


def is_verified(file: DatabaseFile, run_id: str) -> bool:
    """Tell whether a run has verified its candidate already."""
    with locked(file) as description:
        return bool(description and (description.run_id, description.state) == (run_id, "verified"))


def take_step(file: DatabaseFile, run_id: str, comparison: Comparison) -> bool:
    """Say in the run's state that its candidate is verified; return whether that is new."""
    if is_verified(file, run_id):
        return False
    advance(file, run_id, "verify", proof=comparison.proof)
    return True


def _read_again(path: Path, fingerprint: Fingerprint, touched: Mapping[str, Sequence[str]]) -> Fingerprint:
    others = [table for table in fingerprint["tables"] if table not in touched]
    again: dict[str, Any] = take_fingerprint(path, skip_columns=touched, skip_tables=others)
    tables = {table: again["tables"].get(table, known) for table, known in fingerprint["tables"].items()}
    return {**fingerprint, "tables": tables}
