# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sentences about a run that the report, its page and the notices share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .typed import sql_name
from .watch import summary_lines

if TYPE_CHECKING:
    from .journal import Event

OUTCOMES = {
    "rehearsed": "Rehearsed. The plan works on a fresh copy of production; production may follow while the evidence is "
    "young.",
    "rolled_back": "Rolled back. Production runs on the older schema.",
    "refused": "Refused before anything was touched.",
    "aborted": "Given up before the database was closed. Production was not touched.",
    "restored": "Restored. The rollback failed, and production's own database, which was never altered, is open again.",
    "failed": "Failed. Read the error below: a person is needed.",
}

OUTCOMES_OF_A_RESTORE = {
    "refused": "Refused before anything was touched.",
    "aborted": "Given up. The database is what it was before.",
    "restored": "Restored. What was chosen has taken the database's place.",
    "failed": "Failed. Read the error below: a person is needed.",
}

OUTCOMES_IN_DEVELOPMENT = {
    "rolled_back": "Rolled back. The developer's database has the older schema.",
    "aborted": "Given up before anything was changed.",
    "restored": "Restored. The rollback failed, and the developer's database is what it was before.",
}

ROOT_CAUSE = (
    "What went wrong with the migration?",
    "Was it tested in staging?",
    "What was missed in code review?",
)

ACTION_ITEMS = (
    "Migration script corrected",
    "Additional tests added",
    "Documentation updated",
    "Team notified",
)

OF_A_RESTORE = {
    "restored_from": "What was put in the database's place",
    "scope": "What was damaged",
    "partial": "What was reverted, and what was not",
    "lost_since": "In the database, and not in what was to take its place",
}
"""Entries of C(run.json) that only a restore has."""

_SAME_SECONDS = 0.5

WENT_WELL = ("rehearsed", "rolled_back")
"""Outcomes after which nobody needs to be called; so is C(restored) for a restore, which was asked for."""


def outcome_sentence(run: Mapping[str, Any]) -> str:
    """Say what became of a run, in a sentence or two."""
    of_its_kind = OUTCOMES_IN_DEVELOPMENT if run["environment"] == "development" else {}
    if run["kind"] == "restore":
        of_its_kind = OUTCOMES_OF_A_RESTORE
    return of_its_kind.get(run["outcome"]) or OUTCOMES[run["outcome"]]


def needs_a_person(run: Mapping[str, Any]) -> bool:
    """Tell whether somebody has to look after a run: it did not end as asked, or its watch raised an alarm."""
    well = WENT_WELL + (("restored",) if run["kind"] == "restore" else ())
    return run["outcome"] not in well or watch_alarmed(run)


def watch_alarmed(run: Mapping[str, Any]) -> bool:
    """Tell whether what was seen while watching was worse than it may be."""
    seen = run.get("watch") or {}
    return bool(seen.get("alarm", seen.get("failures")))


def watch_lines(run: Mapping[str, Any]) -> list[str] | None:
    """Return what was seen while watching, one line each; None where it is not of the form that a watch writes."""
    try:
        return summary_lines(run["watch"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def downtime_sentence(run: Mapping[str, Any]) -> str:
    """Say how long users were without the application."""
    seconds = run["window_seconds"]
    closed = f"{seconds / 60:.1f} minutes ({seconds:.1f} s from closing to reopening)" if seconds else "none"
    longer = maintenance_beyond_window(run)
    return f"{closed}; maintenance mode was on for {longer:.1f} s" if longer else closed


def maintenance_beyond_window(run: Mapping[str, Any]) -> float | None:
    """Return the seconds of maintenance mode where it was on for longer than the window that is known; else None."""
    seconds = run.get("maintenance_seconds")
    return seconds if seconds and seconds > run["window_seconds"] + _SAME_SECONDS else None


def loss_sentence(run: Mapping[str, Any], mark: Callable[[str], str] = str) -> str:
    """Say what went away with the migration.

    Args:
        run: the content of C(run.json).
        mark: makes a name of the database into what stands in the text.
    """
    loss = run["loss"]
    if not may_have_lost(run):
        return "None"
    if run["kind"] == "restore":
        return _lost_by_restore(run.get("lost_since"))
    parts = [
        f"{kind} {', '.join(mark(str(name)) for name in loss[kind])}" for kind in ("tables", "columns") if loss[kind]
    ]
    if not parts:
        return "None"
    where = "where the rolled-back database is the one in use, " if run["outcome"] == "failed" else ""
    return (
        f"{where}{' and '.join(parts)} went away with the migration, with content in {loss['rows']} rows; "
        "every other row was kept"
    )


def _lost_by_restore(lost: Any) -> str:
    if lost is None:  # no other database took the place
        return "None"
    if not lost.get("known", True) or lost.get("unknown"):
        return "Not known in full: not every table could be compared with what took the database's place"
    if not lost.get("rows") and not lost.get("changed") and not lost.get("columns"):
        return "None"
    columns = f"; the columns {', '.join(lost['columns'])} are gone as well" if lost.get("columns") else ""
    return (
        f"{lost.get('rows', 0)} rows that came later are no longer there, and {lost.get('changed', 0)} went back to "
        f"older values{columns}; the database as it was is kept"
    )


def may_have_lost(run: Mapping[str, Any]) -> bool:
    """Tell whether what the plan takes away is, or may be, gone: a run that failed may have left it either way."""
    changed = ("restored", "failed") if run["kind"] == "restore" else ("rolled_back", "failed")
    return run["kind"] == "rehearsal" or run["outcome"] in changed


def contact_lines(contacts: object) -> list[str]:
    """Return who is to be called, one line a role: "On-call engineer: Ben, +49 30 1234"."""
    lines = []
    for contact in contacts if isinstance(contacts, list) else []:
        parts = [str(contact.get(name) or "").strip() for name in ("name", "contact")]
        who = [str(contact.get("role") or "Contact"), ", ".join(part for part in parts if part)]
        lines.append(": ".join(part for part in who if part))
    return lines


def closing_lines(run: Mapping[str, Any], report: str) -> list[str]:
    """Return the last words of a playbook: what came of the run, where its report is, and whom to call if need be."""
    plan = ", ".join(run["plan"]) or "no plan"
    unsent = [f"{notice['event']} by {notice['name']}" for notice in run["notices"] if not notice["sent"]]
    lines = [
        f"{run['outcome'].upper()}: {run['database']} ({plan}), window {run['window_seconds']} s",
        f"Report: {report} (and report.html)",
    ]
    lines += [f"Notices that were not sent: {', '.join(unsent)}"] if unsent else []
    return lines + (call_lines(run) if needs_a_person(run) else [])


def call_lines(run: Mapping[str, Any]) -> list[str]:
    """Return whom to call, one line a role."""
    return [f"Call {line}" for line in contact_lines(run["contacts"])]


def action_lines(run: Mapping[str, Any]) -> list[str]:
    """Return the actions taken, as the runbook's template asks for them."""
    if run["kind"] == "restore":
        return [
            f"Backup used: {run['backup_id'] or 'none'}",
            f"Restoration: {'Success' if run['outcome'] == 'restored' else _failure(run)}",
        ]
    rehearsal, succeeded = run["kind"] == "rehearsal", run["outcome"] in WENT_WELL
    tested = succeeded if rehearsal else run["evidence_id"]
    staging = "Success" if tested else "Failure" if rehearsal else "None"
    seconds = run["restore_seconds"]
    return [
        f"Backup created: {run['backup_id'] or 'none'}",
        f"Staging test: {staging}" + (f" (evidence {run['evidence_id']})" if run["evidence_id"] else ""),
        f"Production rollback: {'Not part of this run' if rehearsal else 'Success' if succeeded else _failure(run)}",
        f"Restoration required: {'No' if seconds is None else f'Yes, it took {seconds:.3f} s'}",
    ]


def _failure(run: Mapping[str, Any]) -> str:
    return "Not begun" if run["outcome"] in ("refused", "aborted") else "Failure"


def next_steps(run: Mapping[str, Any], events: Sequence[Event]) -> list[str]:
    """Return what is left to do after a run that came to an end; an error brings its own remedy."""
    before, failed = (_kept(events, name) for name in ("before", "failed_database"))
    steps = _not_undone(run, events)
    if run["outcome"] == "rehearsed":
        steps.append(
            "Roll production back while the evidence is young: ansible-playbook rollback.yml -e env=production"
        )
    if run["outcome"] == "rolled_back" and watch_alarmed(run):
        steps.append(
            "The watch raised an alarm. Nothing is restored by itself, as what was written since would be lost. To see "
            f"what going back would do: ansible-playbook restore.yml -e env={run['environment']} "
            f"-e run={run['run_id']}"
        )
    if run["outcome"] == "rolled_back":
        steps.append("Correct the migration and its down() before it is applied again.")
    if run["outcome"] == "restored" and run["kind"] != "restore":
        steps.append("Find the cause, correct it, and rehearse again before the next attempt.")
    if before and run["outcome"] in ("rolled_back", "restored") and not failed:
        steps.append(
            f"{before} is what the database was before, closed. When nobody will want it back: {_drop(before)}"
        )
    if failed:
        steps.append(f"{failed} is the candidate that failed, closed, for study. Afterwards: {_drop(failed)}")
    return steps


def _not_undone(run: Mapping[str, Any], events: Sequence[Event]) -> list[str]:
    """Say how to go on where the database was not put back, and the report's error is what had failed before."""
    places = [place for place, event in enumerate(events) if event["data"].get("not_undone")]
    if not places or any(_has_restored(event) for event in events[places[-1] :]):
        return []
    error = events[places[-1]]["data"].get("error", {})
    if error.get("message") == (run.get("error") or {}).get("message"):
        return []
    return [" ".join(str(error[part]) for part in ("message", "untouched", "remedy") if error.get(part))]


def _has_restored(event: Event) -> bool:
    return event["outcome"] == "ok" and bool(event["data"].get("restored"))


def _kept(events: Sequence[Event], name: str) -> str:
    """Return the name of a database that a run has left, "" where there is none."""
    found = [event["data"][name] for event in events if event["data"].get(name) and event["outcome"] == "ok"]
    return str(found[-1]) if found and isinstance(found[-1], str) else ""


def _drop(database: str) -> str:
    return f"DROP DATABASE {sql_name(database)};"
