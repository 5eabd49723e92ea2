# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal of a run: one event a line, each with the hash of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .errors import Failed

if TYPE_CHECKING:
    Event = dict[str, Any]
    """``sequence, at, run_id, phase, action, outcome, seconds, changed, data, previous, hash``.

    ``at`` is when the action began, UTC ISO 8601; ``outcome`` is one of ok, refused, failed; ``hash`` is the SHA-256
    of the event without it, with ``previous`` holding the hash of the line before (64 zeros for the first).
    """

FIRST_HASH = "0" * 64


class JournalBroken(Failed):
    """A line of a journal does not follow from the one before."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(
            f"The journal is broken at line {line}: {reason}.",
            remedy="It was edited or cut after it was written. Trust the database, not this file: look at "
            "the databases' names and comments, and start a new run.",
            line=line,
        )


def event_hash(event: Event) -> str:
    """Return the SHA-256 of an event, its own hash left out, as hexadecimal digits."""
    content = {key: value for key, value in event.items() if key != "hash"}
    return hashlib.sha256(_canonical(content).encode(errors="surrogatepass")).hexdigest()


def is_by_keeper(event: Event) -> bool:
    """Tell whether the keeper wrote an event: it finishes a run, or leaves it to a person."""
    return bool(event["phase"] == "restore" and event["action"].startswith("the keeper "))


def next_event(last: Event | None, event: Event) -> Event:
    """Put an event behind the last one of a journal: sequence, previous hash and hash are added."""
    sequence, previous = (last["sequence"] + 1, last["hash"]) if last else (1, FIRST_HASH)
    complete = {"sequence": sequence, **event, "previous": previous}
    return {**complete, "hash": event_hash(complete)}


def render_event(event: Event) -> str:
    """Return the event as the line that goes into the journal, without a line feed."""
    return _canonical(event)


def read_journal(lines: Iterable[str]) -> list[Event]:
    """Read a journal and prove its chain.

    Args:
        lines: the lines of the file. A last line that was cut short by a crash is refused as well: a fsynced journal
            never has one.

    Raises:
        JournalBroken: a line is not JSON, or does not follow from the line before.
    """
    events: list[Event] = []
    for number, line in enumerate(lines, start=1):
        events.append(_checked_event(number, line, events[-1] if events else None))
    return events


def _checked_event(number: int, line: str, last: Event | None) -> Event:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        raise JournalBroken(number, "it is not JSON") from None
    if not isinstance(event, dict) or event.get("hash") != event_hash(event):
        raise JournalBroken(number, "its hash does not match its content")
    if event.get("previous") != (last["hash"] if last else FIRST_HASH):
        raise JournalBroken(number, "it does not follow from the line before")
    return event


def _canonical(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
