# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo takes for a lost write, and for a window."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from ledger import Span, Write, longest_gap, lost_writes, read_writes

NOTHING = frozenset[str]()


def write(clock: float, reference: str = "demo-1", acknowledged: bool = True, **values: object) -> Write:
    return Write(clock, reference, values, acknowledged)


def test_longest_gap_includes_the_last_write_before_and_the_first_after() -> None:
    writes = [write(1), write(9), write(12), write(30)]

    assert longest_gap(writes, Span(10, 20)) == 18


def test_longest_gap_leaves_out_what_lies_before_and_after() -> None:
    writes = [write(1), write(90), write(93), write(97), write(101), write(300)]

    assert longest_gap(writes, Span(92, 98)) == 4


def test_longest_gap_does_not_count_refused_writes() -> None:
    writes = [write(1), write(3, acknowledged=False), write(5), write(6)]

    assert longest_gap(writes, Span(2, 6)) == 4


@pytest.mark.parametrize("writes", [[write(1)], [write(9)], [write(4), write(5)], []])
def test_a_window_that_is_open_at_one_end_never_closed(writes: list[Write]) -> None:
    assert longest_gap(writes, Span(2, 8)) == float("inf")


def test_a_write_that_is_there_is_not_lost() -> None:
    writes = [write(1, title="a", budget=3), write(2, "demo-2", title="b", budget=2.5)]
    rows = {"demo-1": {"title": "a", "budget": Decimal("3.00")}, "demo-2": {"title": "b", "budget": Decimal("2.50")}}

    assert lost_writes(writes, rows, NOTHING) == []


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param({}, id="the row is gone"),
        pytest.param({"demo-1": {"title": "other", "budget": 3}}, id="another value"),
        pytest.param({"demo-1": {"budget": 3}}, id="the column is gone"),
        pytest.param({"demo-1": {"title": None, "budget": 3}}, id="no value"),
    ],
)
def test_an_acknowledged_write_that_is_not_there_is_lost_once(rows: dict[str, dict[str, object]]) -> None:
    acknowledged = write(1, title="a", budget=3)

    assert lost_writes([acknowledged], rows, NOTHING) == [acknowledged]


def test_a_column_that_the_plan_takes_back_is_left_aside() -> None:
    writes = [write(1, title="a", priority=1)]

    assert lost_writes(writes, {"demo-1": {"title": "a"}}, frozenset({"priority"})) == []


def test_an_update_that_was_undone_is_lost() -> None:
    insert, update = write(1, title="a", budget=1), write(2, budget=5)

    assert lost_writes([insert, update], {"demo-1": {"title": "a", "budget": 1}}, NOTHING) == [update]


@pytest.mark.parametrize("found", [1, 5])
def test_a_refused_update_may_have_arrived_or_not(found: int) -> None:
    writes = [write(1, budget=1), write(2, acknowledged=False, budget=5)]

    assert lost_writes(writes, {"demo-1": {"budget": found}}, NOTHING) == []


def test_a_refused_update_does_not_excuse_a_later_acknowledged_one() -> None:
    writes = [write(1, budget=1), write(2, acknowledged=False, budget=5), write(3, budget=7)]

    assert lost_writes(writes, {"demo-1": {"budget": 5}}, NOTHING) == [writes[2]]


def test_a_refused_insert_is_not_missed() -> None:
    assert lost_writes([write(1, acknowledged=False, title="a")], {}, NOTHING) == []


def test_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "writer.jsonl"
    log.write_text(json.dumps(vars(write(1, title="é\u2028"))) + '\n{"clock": 2, "ref', encoding="utf-8")

    assert read_writes(log) == [write(1, title="é\u2028")]


def test_a_writer_that_noted_nothing_has_no_writes(tmp_path: Path) -> None:
    assert read_writes(tmp_path / "none.jsonl") == []
