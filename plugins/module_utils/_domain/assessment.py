# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a database, told from what its server answered.

A finding is C(broken) where data is damaged or contradicts itself, C(suspect) where a person should look, and C(note)
where it only differs from a backup, as it does in normal life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, NamedTuple

from .table_names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Finding = Dict[str, Any]
"""C(check), C(severity), C(object), C(message), and C(rows), null where a number says nothing."""

SEVERITIES = ("broken", "suspect", "note")

DAMAGE_CLASSES = ("XX", "58", "22")
"""Classes of SQLSTATE that reading stored data only answers with where it is damaged: internal errors (damaged pages
and indexes among them), errors of the disk, and values that are none of their type."""

_FORBIDDEN = ("42501", "55P03")
"""insufficient_privilege, lock_not_available: they say nothing of the data."""

_LINES = 60


class Refusal(NamedTuple):
    """What a server said instead of an answer: its message, and the SQLSTATE."""

    message: str
    code: str


class OwnedSequence(NamedTuple):
    """A sequence and the column that takes its values from it."""

    name: str
    column: str
    last_value: int
    is_called: bool
    increment: int
    highest: int | None
    lowest: int | None


def finding(check: str, severity: str, what: str, message: str, rows: int | None = None) -> Finding:
    """Return a finding."""
    return {"check": check, "severity": severity, "object": what, "message": message, "rows": rows}


def is_clean(findings: Iterable[Finding]) -> bool:
    """Tell whether nothing is broken."""
    return all(each["severity"] != "broken" for each in findings)


def not_read(check: str, what: str, refusal: Refusal) -> Finding:
    """Judge an error that came instead of an answer."""
    if refusal.code in _FORBIDDEN:
        return finding(check, "suspect", what, f"{plain(what)} could not be looked at: {refusal.message}")
    severity = "broken" if refusal.code.startswith(DAMAGE_CLASSES) else "suspect"
    return finding(check, severity, what, f"{plain(what)} cannot be read to its end: {refusal.message}")


def judge_foreign_key(name: str, child: str, parent: str, orphans: int) -> list[Finding]:
    """Judge the rows of a table that have no row in the table that they refer to."""
    if not orphans:
        return []
    rows = "row has" if orphans == 1 else "rows have"
    message = f"{orphans} {rows} no parent in {plain(parent)}, although the foreign key {name} says so."
    return [finding("foreign keys", "broken", child, f"{plain(child)}: {message}", orphans)]


def judge_sequence(sequence: OwnedSequence) -> list[Finding]:
    """Judge whether the next value of a sequence is already in use, or was passed."""
    following = sequence.last_value + (sequence.increment if sequence.is_called else 0)
    reached = sequence.highest if sequence.increment > 0 else sequence.lowest
    if reached is None or (following > reached if sequence.increment > 0 else following < reached):
        return []
    message = (
        f"The next value of {sequence.name} is {following}, and {sequence.column} has reached {reached}: inserting may "
        f"fail, or give a number twice. Set it on: SELECT setval('{sequence.name}', {reached});"
    )
    return [finding("sequences", "suspect", sequence.name, message)]


def judge_index(index: str, table: str) -> Finding:
    """Return the finding of an index that is not valid."""
    message = (
        f"The index {plain(index)} of {plain(table)} is not valid: it is not used, and proves nothing unique. Build it "
        f"again: REINDEX INDEX CONCURRENTLY {index};"
    )
    return finding("indexes", "suspect", index, message)


def judge_table(name: str, now: Mapping[str, Any] | None, then: Mapping[str, Any] | None) -> tuple[str, list[Finding]]:
    """Compare what a table holds with what a backup's fingerprint says it held.

    Args:
        name: the table.
        now: C(rows), C(contents) and C(columns); None where it is not there, C(rows) null where it cannot be read.
        then: the same, of the backup; None where it had no such table.

    Returns:
        C(same), C(different), C(new), C(gone) or C(not compared), and the findings.
    """
    if now is None or then is None:
        return _one_sided(name, then)
    if now["rows"] is None or then["rows"] is None:
        return "not compared", []
    rows, past = now["rows"], then["rows"]
    if rows != past:
        severity = "suspect" if rows == 0 else "note"
        message = f"{plain(name)} has {rows} rows; it had {past} when the backup was made."
        return "different", [finding("contents", severity, name, message, rows - past)]
    if None in (now["contents"], then["contents"]) or now["columns"] != then["columns"]:
        return "not compared", []
    if now["contents"] == then["contents"]:
        return "same", []
    message = f"{plain(name)} holds other contents than when the backup was made ({rows} rows, as then)."
    return "different", [finding("contents", "note", name, message)]


def _one_sided(name: str, then: Mapping[str, Any] | None) -> tuple[str, list[Finding]]:
    if then is None:
        return "new", [finding("contents", "note", name, f"{plain(name)} was not there when the backup was made.")]
    message = f"{plain(name)} is gone; it had {then['rows']} rows when the backup was made."
    return "gone", [finding("contents", "suspect", name, message, -(then["rows"] or 0))]


def assessment_lines(database: str, findings: Sequence[Finding], checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return an assessment as lines for a person: the verdict, the gravest findings first, what was not looked at."""
    counts = {severity: sum(each["severity"] == severity for each in findings) for severity in SEVERITIES}
    verdict = "nothing is broken" if is_clean(findings) else f"{counts['broken']} BROKEN"
    lines = [f"{database}: {verdict}, {counts['suspect']} to look at, {counts['note']} to note."]
    ordered = sorted(findings, key=lambda each: SEVERITIES.index(each["severity"]))
    lines += [f"{each['severity']}: {each['message']}" for each in ordered[:_LINES]]
    if len(ordered) > _LINES:
        lines.append(f"and {len(ordered) - _LINES} more.")
    lines += [f"not looked at: {check['name']}: {check['reason']}" for check in checks if not check["done"]]
    return lines
