# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident report: the runbook's template, filled in from the run's summary and journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

DEVELOPMENT_OUTCOMES = {
    "rolled_back": "Rolled back. The developer's database has the older schema.",
    "aborted": "Given up before anything was changed.",
    "restored": "Restored. The rollback failed, and the developer's database is what it was before.",
}
"""For env=development, where they differ."""

ROOT_CAUSE = """### Root Cause
- What went wrong with the migration?
- Was it tested in staging?
- What was missed in code review?"""

PREVENTION = """### Prevention
- [ ] Migration script corrected
- [ ] Additional tests added
- [ ] Documentation updated
- [ ] Team notified"""


def render_report(run: Mapping[str, Any], events: Sequence[Event]) -> str:
    """Return the report as Markdown.

    Args:
        run: what `outcome.summarise` made of the journal.
        events: the journal.
    """
    parts = [
        _head(run),
        _override(run),
        _error(run),
        "### Reason for Rollback\n" + _text(run["reason"] or "Not given (pass -e reason=…)."),
        "### Actions Taken\n" + _actions(run) + "\n\n" + _timeline(events),
        "### Impact\n" + _impact(run),
        ROOT_CAUSE,
        PREVENTION,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Mapping[str, Any]) -> str:
    migrations = ", ".join(f"`{_text(name)}`" for name in run["plan"]) or "none was planned"
    return "\n".join(
        [
            "## Migration Rollback Incident Report",
            "",
            f"**Outcome:** {_outcome(run)}  ",
            f"**Date:** {run['started_at'][:16].replace('T', ' ')} UTC  ",
            f"**Migration:** {migrations}  ",
            f"**Executed By:** {_text(run['executed_by']) or 'unknown'}  ",
            f"**Environment:** {run['environment']}, database `{_text(run['database'])}`, run `{run['run_id']}`",
        ]
    )


def _outcome(run: Mapping[str, Any]) -> str:
    of_development = DEVELOPMENT_OUTCOMES if run["environment"] == "development" else {}
    return of_development.get(run["outcome"], OUTCOMES[run["outcome"]])


def _override(run: Mapping[str, Any]) -> str:
    override = run.get("override")
    if not override:
        return ""
    return (
        "> **The gate was overridden: this rollback was not rehearsed.** "
        f"Reason: {_text(override['reason'])}. Approved by {_text(' and '.join(override['approved_by']))}."
    )


def _error(run: Mapping[str, Any]) -> str:
    error = run.get("error")
    if not error:
        return ""
    lines = [f"**What happened** (phase {_title(error['phase'])}): {_text(error['message'])}"]
    if error["untouched"]:
        lines.append(f"**What was not touched:** {_text(error['untouched'])}")
    if error["remedy"]:
        lines.append(f"**What to do next:** {_text(error['remedy'])}")
    return "\n\n".join(lines)


def _actions(run: Mapping[str, Any]) -> str:
    rehearsal = run["kind"] == "rehearsal"
    succeeded = run["outcome"] in ("rehearsed", "rolled_back")
    tested = succeeded if rehearsal else run["evidence_id"]
    rollback = "Not part of this run" if rehearsal else ("Success" if succeeded else _failure(run))
    return "\n".join(
        [
            f"1. Backup created: {run['backup_id'] or 'none'}",
            f"2. Staging test: {'Success' if tested else 'Failure' if rehearsal else 'None'}"
            + (f" (evidence {run['evidence_id']})" if run["evidence_id"] else ""),
            f"3. Production rollback: {rollback}",
            f"4. Restoration required: {_restoration(run)}",
        ]
    )


def _failure(run: Mapping[str, Any]) -> str:
    return "Not begun" if run["outcome"] in ("refused", "aborted") else "Failure"


def _restoration(run: Mapping[str, Any]) -> str:
    if run["restore_seconds"] is None:
        return "No"
    return f"Yes, it took {run['restore_seconds']:.3f} s"


def _timeline(events: Sequence[Event]) -> str:
    rows = ["| UTC | Phase | Action | Seconds | Outcome |", "|---|---|---|---:|---|"]
    for event in events:
        cells = [
            event["at"][11:23],
            _title(event["phase"]),
            event["action"],
            f"{event['seconds']:.3f}",
            event["outcome"],
        ]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _impact(run: Mapping[str, Any]) -> str:
    lines = [f"- Downtime: {_downtime(run)}", f"- Data loss: {_loss(run)}", "- Affected users: to be filled in"]
    lines += [f"  - {_text(action)}: {seconds:.3f} s" for action, seconds in run["window_breakdown"].items()]
    if run["window_breakdown"]:
        lines.insert(3, "- What the window was spent on:")
    return "\n".join(lines)


def _downtime(run: Mapping[str, Any]) -> str:
    seconds = run["window_seconds"]
    return f"{seconds / 60:.1f} minutes ({seconds:.1f} s from closing to reopening)" if seconds else "none"


def _loss(run: Mapping[str, Any]) -> str:
    loss = run["loss"]
    if run["outcome"] != "rolled_back" and run["kind"] != "rehearsal":
        return "None"
    if not loss["tables"] and not loss["columns"]:
        return "None"
    parts = []
    if loss["tables"]:
        parts.append("tables " + ", ".join(f"`{_text(name)}`" for name in loss["tables"]))
    if loss["columns"]:
        parts.append("columns " + ", ".join(f"`{_text(name)}`" for name in loss["columns"]))
    gone = " and ".join(parts)
    return f"{gone} went away with the migration, with content in {loss['rows']} rows; every other row was kept"


def _title(phase: str) -> str:
    return phase.replace("_", " ")


def _text(text: str) -> str:
    """Keep a person's or a database's text from becoming markup."""
    return str(text).replace("\\", "\\\\").replace("`", "'").replace("<", "&lt;").replace("\n", " ").strip()


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")
