# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a run, told from its journal alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .restoration import restored_from, scope
from .run_states import PHASES

if TYPE_CHECKING:
    from .journal import Event

AFTERWARDS = ("watch", "report")
"""Phases whose troubles are reported but do not change what became of the database."""

LOOKING = ("assess", "compare")
"""Phases of a restore that look at a database which may be broken: that they cannot is a finding, not an outcome."""


def summarise(events: Sequence[Event]) -> dict[str, Any]:
    """Make the content of C(run.json) from a run's journal.

    Args:
        events: the whole journal; the first event is the run's start and holds the request in its data.

    Returns:
        The contract C(run.json) of the design: times in UTC ISO 8601, durations in seconds, sizes in bytes.
    """
    start = events[0]["data"]
    window = _window(events)
    return {
        "run_id": events[0]["run_id"],
        "kind": start["kind"],
        "environment": start["environment"],
        "database": start["database"],
        "host": start.get("host", ""),
        "reason": start.get("reason", ""),
        "executed_by": start.get("executed_by", ""),
        "started_at": events[0]["at"],
        "finished_at": events[-1]["at"],
        "outcome": outcome(events),
        "plan": next((event["data"]["plan"] for event in reversed(events) if event["data"].get("plan")), []),
        "phases": _phases(events),
        "window_seconds": round(sum(window.values()), 3) if window else 0.0,
        "window_breakdown": window,
        "maintenance_seconds": maintenance_seconds(events),
        "candidate": _candidate(events),
        "restore_seconds": _latest(events, "restore_seconds", None),
        "loss": _loss(events),
        "evidence_id": _latest(events, "evidence_id", None),
        "method": _latest(events, "method", None),
        "backup_id": (_latest(events, "source", None) or {}).get("backup_id") or _latest(events, "backup_id", None),
        "override": _latest(events, "override", None),
        "watch": _latest(events, "watch", None),
        "notices": [notice for event in events for notice in event["data"].get("notices", [])],
        "contacts": start.get("contacts") or [],
        "scope": scope(events),
        "lost_since": _latest(events, "lost_since", None),
        "partial": _latest(events, "partial", None),
        "restored_from": restored_from(events) if start["kind"] == "restore" else None,
        "error": _error(events),
    }


def outcome(events: Sequence[Event]) -> str:
    """Name a run's outcome: rehearsed, rolled_back, refused, aborted, restored or failed."""
    kind = events[0]["data"]["kind"]
    if kind == "restore":
        return _outcome_of_restore(events)
    bad = [event for event in events if event["outcome"] != "ok" and _counts(event)]
    if not bad and _latest(events, "finished", None):
        return "rehearsed" if kind == "rehearsal" else "rolled_back"
    if any(event["phase"] == "restore" and event["outcome"] != "ok" for event in events):
        return "failed"
    if _happened(events, "restored"):
        return "restored"
    if _happened(events, "closed"):
        return "failed"
    if bad and bad[0]["outcome"] == "refused":
        return "refused"
    return "failed" if kind == "rehearsal" else "aborted"


def has_failed(events: Sequence[Event]) -> bool:
    """Tell whether a run's journal holds a failure or a refusal of its own, findings of a restore aside."""
    return bool(_failures(events))


def _failures(events: Sequence[Event]) -> list[Event]:
    findings = LOOKING if events[0]["data"]["kind"] == "restore" else ()
    return [event for event in events if event["outcome"] != "ok" and event["phase"] not in findings]


def _outcome_of_restore(events: Sequence[Event]) -> str:
    """Name what became of a restore: ``restored`` only where the database is what was asked for, and answers.

    Its first steps look at what is broken, so that their failures are findings and change nothing. Where the run put
    the database back as it found it, it is given up, whatever had happened before.
    """
    bad = [event for event in _failures(events) if event["phase"] not in AFTERWARDS]
    if not bad:
        return "restored" if _happened(events, "finished") or _happened(events, "undone_run") else "aborted"
    if any(event["data"].get("not_undone") for event in bad):
        return "failed"
    undone = next((place for place, event in enumerate(events) if _undid_itself(event)), None)
    touched = _happened(events, "closed") or any(event["phase"] == "reopen" for event in bad)
    if undone is not None:
        return "failed" if any(event["phase"] == "restore" for event in bad if event in events[undone:]) else "aborted"
    if touched:
        return "failed"
    return "refused" if bad[0]["outcome"] == "refused" else "aborted"


def _undid_itself(event: Event) -> bool:
    return _has(event, "restored") and not event["data"].get("undone_run")


def _counts(event: Event) -> bool:
    """Tell whether a trouble changes what became of the database: also late, where the rollback was taken back."""
    return event["phase"] not in AFTERWARDS or bool(event["data"].get("error", {}).get("reapplied"))


def _happened(events: Sequence[Event], mark: str) -> bool:
    return any(_has(event, mark) for event in events)


def _has(event: Event, mark: str) -> bool:
    return event["outcome"] == "ok" and bool(event["data"].get(mark))


def _latest(events: Sequence[Event], name: str, default: Any) -> Any:
    for event in reversed(events):
        if name in event["data"]:
            return event["data"][name]
    return default


def _loss(events: Sequence[Event]) -> dict[str, Any]:
    """Return what went away with the migration, nothing where production is what it was before."""
    nothing = {"tables": [], "columns": [], "rows": 0}
    return nothing if _happened(events, "restored") else _latest(events, "loss", nothing)


def _candidate(events: Sequence[Event]) -> dict[str, Any]:
    made = [event["data"] for event in events if event["phase"] == "candidate" and "bytes" in event["data"]]
    return {"seconds": made[-1]["seconds"], "bytes": made[-1]["bytes"]} if made else {"seconds": 0.0, "bytes": 0}


def _error(events: Sequence[Event]) -> dict[str, Any] | None:
    for event in _failures(events):
        error: Mapping[str, Any] = event["data"].get("error", {})
        return {
            "phase": event["phase"],
            "message": error.get("message", event["action"]),
            "untouched": error.get("untouched", ""),
            "remedy": error.get("remedy", ""),
        }
    return None


def _phases(events: Sequence[Event]) -> list[dict[str, Any]]:
    rows = []
    for phase in PHASES:
        steps = [event for event in events if event["phase"] == phase]
        if steps:
            bad = [event["outcome"] for event in steps if event["outcome"] != "ok"]
            rows.append(
                {
                    "name": phase,
                    "started_at": min(event["at"] for event in steps),
                    "seconds": round(max(_end(event) for event in steps) - min(_begin(event) for event in steps), 3),
                    "outcome": bad[0] if bad else "ok",
                }
            )
    return sorted(rows, key=lambda row: str(row["started_at"]))


def _window(events: Sequence[Event]) -> dict[str, float]:
    """Return the seconds of each action of the window, with what lies between them under C(between steps)."""
    inside = window_events(events)
    if not inside:
        return {}
    breakdown: dict[str, float] = {}
    for event in inside:
        breakdown[event["action"]] = round(breakdown.get(event["action"], 0.0) + event["seconds"], 3)
    total = max(_end(event) for event in inside) - _begin(inside[0])
    breakdown["between steps"] = round(total - sum(breakdown.values()), 3)
    return breakdown


def window_events(events: Sequence[Event]) -> list[Event]:
    """Return the events of the window; empty where the database was not closed.

    It is what users feel: from closing, or from maintenance mode where a probe has seen it, to the last event with
    which the application answers again.
    """
    inside = [event for event in events if event["phase"] not in AFTERWARDS]
    first = next((place for place, event in enumerate(inside) if _shuts_out(event)), None)
    felt = any(event["data"].get("closed") for event in inside) or events[0]["data"]["kind"] == "restore"
    if first is None or not felt:
        return []
    last = max((place for place, event in enumerate(inside) if _lets_in(event)), default=len(inside) - 1)
    return inside[first : last + 1]


def maintenance_seconds(events: Sequence[Event]) -> float | None:
    """Return how long the run had maintenance mode on, up to its last event where it left it on; None where it did not.

    Without a probe nobody knows whether users felt it: then the window begins only where the database was closed.
    """
    on = next((event for event in events if _switched(event, "on")), None)
    if on is None:
        return None
    off = next((event for event in reversed(events) if _switched(event, "off")), events[-1])
    return round(max(_end(off), _end(on)) - _begin(on), 3)


def _switched(event: Event, state: str) -> bool:
    data = event["data"]
    return event["outcome"] == "ok" and data.get("state") == state and bool(event.get("changed"))


def _shuts_out(event: Event) -> bool:
    return bool(event["data"].get("closed")) or event["data"].get("maintenance") == "on"


def _lets_in(event: Event) -> bool:
    marked = _has(event, "reopened") or _has(event, "restored")
    return marked or (_has(event, "maintenance") and event["data"]["maintenance"] == "off")


def _begin(event: Event) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def _end(event: Event) -> float:
    return _begin(event) + float(event["seconds"])
