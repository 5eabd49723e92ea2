# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a run: what came of it, what it cost, and what is left to do."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.wording import (
    closing_lines,
    contact_lines,
    loss_sentence,
    next_steps,
)

RUN: dict[str, Any] = {
    "run_id": "20261123t080000abcd", "kind": "rollback", "environment": "production", "outcome": "failed",
    "database": "shop", "plan": ["2.ts", "1.ts"], "window_seconds": 3.5, "notices": [], "watch": None, "error": None,
    "contacts": [{"role": "Database administrator", "name": "Anna", "contact": "+49 30 1"}],
    "loss": {"tables": [], "columns": ["users.phone"], "rows": 12},
}  # fmt: skip
ERROR = {"message": "It could not be opened.", "untouched": "Both are kept.", "remedy": "Type this."}


def test_whoever_is_needed_is_named_at_the_end() -> None:
    unsent = [{"event": "failed", "name": "chat", "sent": False}, {"event": "failed", "name": "mail", "sent": True}]
    lines = closing_lines({**RUN, "notices": unsent}, "/runs/report.md")
    assert lines[0] == "FAILED: shop (2.ts, 1.ts), window 3.5 s"
    assert "Notices that were not sent: failed by chat" in lines
    assert lines[-1] == "Call Database administrator: Anna, +49 30 1"
    quiet = closing_lines({**RUN, "outcome": "rolled_back", "plan": []}, "/runs/report.md")
    assert quiet == ["ROLLED_BACK: shop (no plan), window 3.5 s", "Report: /runs/report.md (and report.html)"]


def test_contacts_that_are_none() -> None:
    assert contact_lines("Anna") == []
    assert contact_lines([{}]) == ["Contact"]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (None, "None"),
        ({"rows": 0, "changed": 0}, "None"),
        ({"known": False, "rows": 3}, "Not known in full"),
        ({"unknown": ["t"], "rows": 3}, "Not known in full"),
        ({"rows": 3, "changed": 1}, "3 rows that came later are no longer there, and 1 went back to older values; the"),
        ({"columns": ["users.phone"]}, "the columns users.phone are gone as well"),
    ],
)
def test_what_a_restore_lost(lost: Any, said: str) -> None:
    assert said in loss_sentence({**RUN, "kind": "restore", "outcome": "restored", "lost_since": lost})


def test_a_rollback_that_failed_may_or_may_not_have_lost_what_the_plan_takes() -> None:
    assert loss_sentence(RUN).startswith("where the rolled-back database is the one in use, columns users.phone")
    assert loss_sentence({**RUN, "outcome": "restored"}) == "None"
    assert loss_sentence({**RUN, "loss": {"tables": [], "columns": [], "rows": 0}}) == "None"


def event(outcome: str = "ok", **data: Any) -> dict[str, Any]:
    return {"phase": "restore", "outcome": outcome, "data": data}


def test_a_database_that_was_not_put_back_is_the_first_thing_to_do() -> None:
    failure = event("failed", not_undone=True, error=ERROR)
    first = next_steps({**RUN, "error": {"message": "down() failed"}}, [failure])[0]
    assert first == "It could not be opened. Both are kept. Type this."
    assert next_steps({**RUN, "error": ERROR}, [failure]) == []  # the report's own error says it
    assert next_steps(RUN, [failure, event(restored=True)]) == []


def test_what_a_run_in_place_leaves_is_its_dump() -> None:
    steps = next_steps({**RUN, "outcome": "rolled_back"}, [event(restore_point="/backups/shop-closed")])
    assert "/backups/shop-closed is the dump of the database as it was when it was closed" in steps[-1]
    assert not [line for line in next_steps(RUN, [event(restore_point="/backups/x")]) if "/backups/x" in line]


def test_what_a_run_leaves_behind_comes_with_the_command_that_drops_it() -> None:
    assert next_steps({**RUN, "outcome": "rolled_back"}, [event(before='shop"__before_x')])[-1].endswith(
        'DROP DATABASE "shop""__before_x";'
    )
    steps = next_steps({**RUN, "outcome": "restored"}, [event(before="b"), event(failed_database="shop__failed_x")])
    assert [step for step in steps if "DROP" in step] == [
        'shop__failed_x is the candidate that failed, closed, for study. Afterwards: DROP DATABASE "shop__failed_x";'
    ]
