# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every state that a run which nobody ended can leave, and what is done with it."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import NamedTuple

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import METHODS, Description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import AFTER_SWAP, BEFORE_SWAP, STATES
from ansible_collections.balcon.rollback.plugins.module_utils._domain.unfinished import (
    FINISHING,
    KINDS,
    LEASES,
    Decision,
    Seen,
    decide,
)

RUN = "20261123t081500a3f9"
OWNER = {"executed_by": "anna", "host": "tools-1", "since": "2026-11-23T08:15:00.000+00:00"}
WRITTEN = "rows were written to it since the swap: public.orders (3 rows)"
NO_RUN = (None, "")


class Case(NamedTuple):
    """One state of the world."""

    exists: bool
    is_open: bool
    state: str | None
    lease: str
    method: str
    release: bool
    held: bool
    before: bool
    copying: bool
    ended: bool
    written: str | None

    def seen(self) -> Seen:
        data = {
            "method": self.method,
            "owner": OWNER,
            **({"held": "rows were written"} if self.held else {}),
            **({"release": {"is": "older", "since": "now"}} if self.release else {}),
        }
        description = None if self.state is None else Description(RUN, "original", self.state, "until", 120, data=data)
        left = (f"shop__before_{RUN}",) if self.before else ()
        return Seen(
            "shop", self.exists, self.is_open, description, self.lease, self.before, left, self.copying, self.ended,
            self.written,
        )  # fmt: skip


BOTH = (True, False)
CASES = [
    Case(*values)  # type: ignore[arg-type]  # product() knows no types of single places
    for values in product(
        BOTH, BOTH, (None, "", *STATES, "a newer one"), LEASES, (*METHODS, "a newer one"), BOTH, BOTH, BOTH, BOTH, BOTH,
        (None, "", WRITTEN),
    )
]  # fmt: skip


def expected(case: Case) -> str:
    """The rules once more, in the order of what must never happen."""
    if not case.exists:
        return "ask" if case.before else "nothing"
    if case.state in NO_RUN:
        return "nothing" if case.is_open else "ask"
    known = case.state in STATES and case.method in METHODS
    if not known or case.held:
        return "ask"
    if case.copying or (case.lease == "lasts" and not case.ended):
        return "wait"
    in_place = case.method == "in_place"
    if case.state in BEFORE_SWAP:
        if case.before:
            return "ask"
        return "restore_dump" if in_place and case.state != "closed" else "open_original"
    if case.state == "released":
        return "go_forward"
    if case.written or not (case.before or in_place):
        return "ask"
    return "restore_dump" if in_place else "swap_back"


def test_every_state() -> None:
    assert len(CASES) > 30_000
    wrong = [case for case in CASES if decide(case.seen()).kind != expected(case)]
    assert wrong == []


def test_every_kind_occurs() -> None:
    assert set(Counter(decide(case.seen()).kind for case in CASES)) == set(KINDS)


def test_nothing_is_done_while_somebody_may_be_at_work() -> None:
    alive = [case for case in CASES if case.copying or (case.lease == "lasts" and not case.ended)]
    assert not [case for case in alive if decide(case.seen()).kind in FINISHING]


def test_what_was_written_is_never_taken_away() -> None:
    back = ("swap_back", "open_original", "restore_dump")
    after = [case for case in CASES if case.state in AFTER_SWAP and case.written]
    assert not [case for case in after if decide(case.seen()).kind in back]


def test_forward_only_where_the_release_is_on_record() -> None:
    forward = [case for case in CASES if decide(case.seen()).kind == "go_forward"]
    assert {case.state for case in forward} == {"released"}


def test_it_says_whose_run_it_is_and_why() -> None:
    for case in CASES:
        decision = decide(case.seen())
        assert decision.reason.endswith(".")
        open_run = case.exists and case.state not in NO_RUN
        assert decision.run_id == (RUN if open_run else "")
        assert (f"Run {RUN} of anna on tools-1, since 2026-11-23" in decision.reason) == open_run


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (Seen("shop"), Decision("nothing", "No run is open on shop.")),
        (
            Seen("shop", exists=False, left=(f"shop__before_{RUN}", "shop__x")),
            Decision("ask", f"There is no database shop; beside it are shop__before_{RUN}, shop__x."),
        ),
        (
            Seen("shop", description=Description(RUN, "current", "swapped", "T"), lease="run_out", before=True,
                 written=WRITTEN),
            Decision(
                "ask",
                f"Run {RUN} gave no sign of life in state swapped, and its lease ran out at T: no release is on record,"
                f" and {WRITTEN}.",
                RUN,
            ),
        ),
    ],
)  # fmt: skip
def test_what_is_told(seen: Seen, told: Decision) -> None:
    assert decide(seen) == told
