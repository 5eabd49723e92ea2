# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The incident report: the runbook's template, filled in from the run's summary and journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .markup import visible
from .wording import (
    ACTION_ITEMS,
    OF_A_RESTORE,
    ROOT_CAUSE,
    action_lines,
    contact_lines,
    downtime_sentence,
    loss_sentence,
    next_steps,
    outcome_sentence,
    watch_alarmed,
    watch_lines,
)

if TYPE_CHECKING:
    from .journal import Event

TITLES = {"restore": "Database Restoration Report", "drill": "Migration Rollback Drill Report"}


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
        _next(run, events),
        f"### Reason{' for Rollback' if run['kind'] != 'restore' else ''}\n"
        + _text(run["reason"] or "Not given (pass -e reason=…)."),
        "### Actions Taken\n" + _actions(run) + "\n\n" + _timeline(events),
        "### Impact\n" + _impact(run),
        _restored(run),
        _watch(run),
        _notices(run),
        _contacts(run),
        "### Root Cause\n" + "\n".join(f"- {question}" for question in ROOT_CAUSE),
        "### Prevention\n" + "\n".join(f"- [ ] {item}" for item in ACTION_ITEMS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(run: Mapping[str, Any]) -> str:
    migrations = ", ".join(_code(name) for name in run["plan"]) or "none was planned"
    return "\n".join(
        [
            f"## {TITLES.get(run['kind'], 'Migration Rollback Incident Report')}",
            "",
            f"**Outcome:** {outcome_sentence(run)}  ",
            f"**Date:** {run['started_at'][:16].replace('T', ' ')} UTC  ",
            f"**Migration:** {migrations}  ",
            f"**Executed By:** {_text(run['executed_by']) or 'unknown'}  ",
            f"**Environment:** {run['environment']}, database {_code(run['database'])}, run `{run['run_id']}`",
        ]
    )


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
    return "\n".join(f"{number}. {_text(line)}" for number, line in enumerate(action_lines(run), start=1))


def _next(run: Mapping[str, Any], events: Sequence[Event]) -> str:
    steps = [f"- {_text(step)}" for step in next_steps(run, events)]
    return f"### {'Still to Do' if run['error'] else 'What to Do Next'}\n" + "\n".join(steps) if steps else ""


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
    lines = [
        f"- Downtime: {downtime_sentence(run)}",
        f"- Data loss: {loss_sentence(run, _code)}",
        "- Affected users: to be filled in",
    ]
    lines += [f"  - {_text(action)}: {seconds:.3f} s" for action, seconds in run["window_breakdown"].items()]
    if run["window_breakdown"]:
        lines.insert(3, "- What the window was spent on:")
    return "\n".join(lines)


def _restored(run: Mapping[str, Any]) -> str:
    """Return what a restore has found and done: scope, what was written since the backup, what was reverted in part."""
    parts = [f"- {title}:\n" + _outline(run[name], 1) for name, title in OF_A_RESTORE.items() if run.get(name)]
    return "### Restoration\n" + "\n".join(parts) if parts else ""


def _outline(value: object, depth: int) -> str:
    """Return any data as a list within a list."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        if not any(isinstance(entry, (Mapping, list)) and entry for entry in value.values()):
            return f"{indent}- " + ", ".join(f"{_title(str(name))}: {_plain(entry)}" for name, entry in value.items())
        told = ((name, f"\n{_outline(e, depth + 1)}" if _nested(e) else f" {_plain(e)}") for name, e in value.items())
        return "\n".join(f"{indent}- {_title(str(name))}:{entry}" for name, entry in told)
    if isinstance(value, list):
        return "\n".join(_outline(entry, depth) for entry in value) or f"{indent}- none"
    return f"{indent}- {_plain(value)}"


def _nested(value: object) -> bool:
    return isinstance(value, (Mapping, list)) and bool(value)


def _plain(value: object) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(str(value))


def _watch(run: Mapping[str, Any]) -> str:
    seen = run.get("watch")
    if not seen:
        return ""
    head = ["### Watch", f"**{'ALARM' if watch_alarmed(run) else 'No alarm'}.**", ""]
    lines = watch_lines(run)
    if lines is None:
        return "\n".join([*head, _outline(seen, 0)])
    breaches = ["- Breaches:", _outline(seen["breaches"], 1)] if seen.get("breaches") else []
    return "\n".join([*head, *(f"- {_text(line)}" for line in lines), *breaches])


def _notices(run: Mapping[str, Any]) -> str:
    if not run["notices"]:
        return ""
    rows = ["### Notices", "| Event | Channel | Sent | Attempts | Why not |", "|---|---|---|---:|---|"]
    for notice in run["notices"]:
        sent = "sent" if notice["sent"] else "not sent"
        cells = [_title(notice["event"]), notice["name"], sent, str(notice["attempts"]), notice["error"]]
        rows.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(rows)


def _contacts(run: Mapping[str, Any]) -> str:
    lines = [f"- {_text(line)}" for line in contact_lines(run["contacts"])]
    return "### Emergency Contacts\n" + "\n".join(lines) if lines else ""


def _code(name: str) -> str:
    """Show a name as code, in which markup has no meaning but the end of the code."""
    return f"`{visible(name).replace('`', chr(39)).strip()}`"


def _title(phase: str) -> str:
    return phase.replace("_", " ")


def _text(text: str) -> str:
    """Keep a person's or a database's text from becoming markup."""
    plain = visible(text).replace("\\", "\\\\").replace("`", "'")
    return plain.replace("<", "&lt;").replace("](", "]\\(").strip()


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")
