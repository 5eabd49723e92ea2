# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.journal import (
    FIRST_HASH,
    JournalBroken,
    next_event,
    read_journal,
    render_event,
)


def journal(count: int) -> list[str]:
    events: list[dict[str, Any]] = []
    for number in range(count):
        events.append(next_event(events[-1] if events else None, {"action": f"step {number}", "data": {"ü": None}}))
    return [render_event(event) for event in events]


def test_events_follow_from_each_other() -> None:
    events = read_journal(journal(3))
    assert [event["sequence"] for event in events] == [1, 2, 3]
    assert events[0]["previous"] == FIRST_HASH
    assert events[2]["previous"] == events[1]["hash"]


def test_an_empty_journal_holds_nothing() -> None:
    assert read_journal([]) == []


def test_an_edited_line_is_found() -> None:
    lines = journal(3)
    lines[1] = lines[1].replace("step 1", "step 7")
    with pytest.raises(JournalBroken, match="line 2: its hash"):
        read_journal(lines)


def test_a_line_that_was_taken_out_is_found() -> None:
    lines = journal(3)
    with pytest.raises(JournalBroken, match="line 2: it does not follow"):
        read_journal([lines[0], lines[2]])


@pytest.mark.parametrize("cut", ["", "{", "7", "[]", "null"])
def test_a_line_that_was_cut_is_found(cut: str) -> None:
    with pytest.raises(JournalBroken, match="line 2"):
        read_journal([*journal(1), cut])


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    event = next_event(None, {"action": "a\nb\u2028c"})
    assert "\n" not in render_event(event)
    assert json.loads(render_event(event)) == event
