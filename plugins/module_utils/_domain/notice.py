# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a notice says: one message for all channels, made from the journal of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .outcome import summarise
from .wording import call_lines, downtime_sentence, loss_sentence, needs_a_person, next_steps, outcome_sentence

if TYPE_CHECKING:
    from .journal import Event

EVENTS = (
    "planned",
    "started",
    "rehearsed",
    "rolled_back",
    "refused",
    "aborted",
    "restored",
    "failed",
    "watch_alarm",
)

UNFINISHED = ("planned", "started")
"""Events at which nothing can be said of the outcome yet."""

_TITLES = {
    "planned": "{kind} planned",
    "started": "{kind} begins now",
    "rehearsed": "Rehearsal passed",
    "rolled_back": "Rolled back",
    "refused": "{kind} refused",
    "aborted": "{kind} given up",
    "restored": "Restored",
    "failed": "{kind} FAILED",
    "watch_alarm": "ALARM of the watch",
}

_SENTENCES = {
    "planned": "All checks passed. The database stays open until the window begins.",
    "started": "The database closes now. Writes wait or fail until it is open again.",
    "watch_alarm": "The application answers worse than before. Nothing is restored by itself.",
}

_BREACHES_TOLD = 3
_LEFT_OUT = ("phases", "window_breakdown", "candidate", "notices", "contacts")
_LEFT_OUT_UNFINISHED = ("outcome", "finished_at", "error", "window_seconds", "restore_seconds", "loss")


class Message(NamedTuple):
    """A message, before a channel has dressed it.

    Attributes:
        identifier: the same for each attempt, so that a receiver can tell a message that came twice.
        subject: one line.
        text: lines, without markup.
        payload: the same for programs; JSON.
    """

    identifier: str
    subject: str
    text: str
    payload: dict[str, Any]


def compose(event: str, events: Sequence[Event], lines: Sequence[str], *, at: str, report: str = "") -> Message:
    """Make the message about something that happened to a run.

    Args:
        event: one of `EVENTS`.
        events: the journal; empty where there is no run.
        lines: what is to be said as well.
        at: the present time, UTC ISO 8601.
        report: the path of the report, where there is one.
    """
    run = summarise(events) if events else {}
    subject = _subject(event, run)
    told = [subject, *_story(event, run), *lines, *_left(event, run, events), *_calls(event, run)]
    told += [f"Report: {report}"] if report and event not in UNFINISHED else []
    left_out = _LEFT_OUT + (_LEFT_OUT_UNFINISHED if event in UNFINISHED else ())
    text = "\n".join(map(_one_line, told))
    identifier = f"{run.get('run_id') or at}-{event}"
    payload = {
        "id": identifier,
        "event": event,
        "at": at,
        "subject": subject,
        "text": text,
        "run": {name: value for name, value in run.items() if name not in left_out},
        "contacts": run.get("contacts") or [],
        "report": report if event not in UNFINISHED else "",
    }
    return Message(identifier, subject, text, payload)


def _subject(event: str, run: Mapping[str, Any]) -> str:
    title = _TITLES[event].format(kind=str(run.get("kind") or "rollback").capitalize())
    return f"[{run['environment']}] {title}: {_one_line(run['database'])}" if run else title


def _story(event: str, run: Mapping[str, Any]) -> list[str]:
    if not run:
        return [_SENTENCES[event]] if event in _SENTENCES else []
    lines = [
        _SENTENCES.get(event) or outcome_sentence(run),
        f"Database: {run['database']} ({run['environment']}, host {run['host'] or 'unknown'}), run {run['run_id']}",
        f"Migrations to revert, newest first: {', '.join(run['plan']) or 'none was planned'}",
        f"Reason: {run['reason'] or 'not given'}. Started by {run['executed_by'] or 'unknown'}.",
    ]
    return lines if event in UNFINISHED else lines + _end(run)


def _end(run: Mapping[str, Any]) -> list[str]:
    lines = [f"Downtime: {downtime_sentence(run)}", f"Data loss: {loss_sentence(run)}"]
    error = run["error"]
    if error:
        lines.append(f"What happened (phase {error['phase'].replace('_', ' ')}): {error['message']}")
        lines += [f"What was not touched: {error['untouched']}"] if error["untouched"] else []
        lines += [f"What to do next: {error['remedy']}"] if error["remedy"] else []
    return lines


def _left(event: str, run: Mapping[str, Any], events: Sequence[Event]) -> list[str]:
    """Return what was seen, after an alarm, and what is left to do after any end."""
    if not run or event in UNFINISHED:
        return []
    seen = run.get("watch") or {}
    breaches = (seen.get("breaches") or []) if event == "watch_alarm" else []
    lines = [f"Seen after {entry.get('after_seconds', '?')} s: {_breach(entry)}" for entry in breaches[:_BREACHES_TOLD]]
    lines += [f"{len(breaches) - _BREACHES_TOLD} more; the report lists them"] if len(breaches) > _BREACHES_TOLD else []
    return lines + [f"To do: {step}" for step in next_steps(run, events)]


def _breach(entry: Mapping[str, Any]) -> str:
    return str(entry.get("message") or f"{entry.get('name', 'an endpoint')}: {entry.get('reason', 'not as described')}")


def _calls(event: str, run: Mapping[str, Any]) -> list[str]:
    """Return whom to call, where it is more than news."""
    if not run or event in UNFINISHED or not (event == "watch_alarm" or needs_a_person(run)):
        return []
    return call_lines(run)


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
