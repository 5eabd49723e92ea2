# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo fails when an act does not come out as said, and says which check it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import acts
import pytest
from acts import CALLS, LONG_TITLE, RESTORED, ROLLED_BACK, Act, Demo, Played, aligned
from ledger import Span, Write
from playbook import PlaybookRun
from production import CLOSED, State
from stage import Stage
from writers import Writers, planned_writes, writer_log

BEFORE = State("16400", ("a", acts.ADDED), ("id", "priority", "title"), open_as_before=True)
AFTER = replace(BEFORE, database="16500", migrations=("a",), columns=("id", "title"))
SPAN = Span(10, 20)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    (tmp_path / "logs").mkdir()
    return Demo(Stage(tmp_path), Writers(tmp_path))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    (tmp_path / "report.md").write_text("")
    return tmp_path


def note(demo: Demo, *writes: Write) -> None:
    for name in ("api", "sql"):
        lines = [json.dumps(vars(write)) + "\n" for write in writes]
        writer_log(demo.stage.folder, name).write_text("".join(lines))


def steady(*refused: float) -> list[Write]:
    clocks = [9.0, 12.0, 18.0, 21.0]
    return [Write(clock, f"demo-{clock}", {"title": "a"}, clock not in refused) for clock in clocks]


def run_of(act: Act, folder: Path, **record: Any) -> PlaybookRun:
    exit_code = 0 if act.outcome in ("rehearsed", "rolled_back") else 2
    return PlaybookRun(exit_code, {"outcome": act.outcome, **record}, folder)


def played_well(act: Act, folder: Path) -> Played:
    return Played(act, SPAN, run_of(act, folder), "")


def writes_for(act: Act) -> list[Write]:
    return steady(12.0) if act.closes else steady()


def wrongs(demo: Demo, played: Played) -> list[str]:
    return list(demo._wrongs_of(played))


@pytest.mark.parametrize("act", CALLS, ids=lambda act: act.title)
def test_an_act_that_came_out_as_said_has_nothing_wrong(demo: Demo, report: Path, act: Act) -> None:
    note(demo, *writes_for(act))

    assert wrongs(demo, played_well(act, report)) == []


@pytest.mark.parametrize("act", CALLS, ids=lambda act: act.title)
def test_another_outcome_is_wrong(demo: Demo, report: Path, act: Act) -> None:
    note(demo, *writes_for(act))
    played = replace(played_well(act, report), run=run_of(act, report, outcome="failed"))

    assert "the outcome is 'failed' instead of" in wrongs(demo, played)[0]


@pytest.mark.parametrize("act", CALLS, ids=lambda act: act.title)
def test_the_wrong_exit_code_is_wrong(demo: Demo, report: Path, act: Act) -> None:
    note(demo, *writes_for(act))
    run = run_of(act, report)
    played = replace(played_well(act, report), run=replace(run, exit_code=2 - run.exit_code))

    assert "the exit code is" in wrongs(demo, played)[0]


@pytest.mark.parametrize("act", CALLS, ids=lambda act: act.title)
def test_refusals_belong_to_the_windows_and_to_nothing_else(demo: Demo, report: Path, act: Act) -> None:
    note(demo, *(steady() if act.closes else steady(12.0)))

    assert "refused" in wrongs(demo, played_well(act, report))[0]


def test_a_production_in_another_state_is_wrong(demo: Demo, report: Path) -> None:
    note(demo, *steady(12.0))
    played = replace(played_well(RESTORED, report), wrong_state="it changed")

    assert wrongs(demo, played) == [f"act 4 ({RESTORED.title}): it changed"]


def test_no_report_is_wrong(demo: Demo, tmp_path: Path) -> None:
    note(demo, *steady(12.0))

    assert wrongs(demo, played_well(ROLLED_BACK, tmp_path / "none")) == ["act 3 (production): there is no report"]


def test_a_window_that_never_closes_is_wrong(demo: Demo, report: Path) -> None:
    note(demo, *steady(12.0, 18.0, 21.0))

    assert "nothing was acknowledged to the api writer afterwards" in wrongs(demo, played_well(RESTORED, report))[0]


def test_acts_that_were_not_played_are_wrong(demo: Demo, report: Path) -> None:
    note(demo, *steady())
    demo.played.append(played_well(CALLS[0], report))

    assert demo.wrongs({"api": [], "sql": []}) == ["only 1 of 5 calls of the playbook were made"]


def test_lost_writes_are_wrong_and_the_first_ones_named(demo: Demo, report: Path) -> None:
    note(demo, *steady())
    demo.played.extend([played_well(CALLS[0], report)] * len(CALLS))
    lost = [Write(1, f"demo-{number}", {"title": "a"}, acknowledged=True) for number in range(7)]
    found = demo.wrongs({"api": lost, "sql": []})

    assert len(found) == acts.SHOWN_LOSSES + 1
    assert "demo-0" in found[0]
    assert "7 writes" in found[-1]


def test_a_writer_that_never_wrote_is_wrong(demo: Demo, report: Path) -> None:
    demo.played.extend([played_well(CALLS[0], report)] * len(CALLS))

    assert "the api writer had nothing acknowledged" in demo.wrongs({"api": [], "sql": []})


def test_rolled_back_is_another_database_without_the_migration() -> None:
    assert acts.rolled_back(BEFORE, AFTER) == ""


@pytest.mark.parametrize(
    "after",
    [
        BEFORE,
        CLOSED,
        replace(AFTER, database=BEFORE.database),
        replace(AFTER, migrations=BEFORE.migrations),
        replace(AFTER, migrations=()),
        replace(AFTER, columns=("id",)),
        replace(AFTER, columns=BEFORE.columns),
        replace(AFTER, open_as_before=False),
    ],
)
def test_anything_else_is_not_rolled_back(after: State) -> None:
    assert acts.rolled_back(BEFORE, after)


@pytest.mark.parametrize("after", [CLOSED, AFTER, replace(BEFORE, open_as_before=False)])
def test_a_production_that_changed_is_not_untouched(after: State) -> None:
    assert acts.untouched(BEFORE, BEFORE) == ""
    assert acts.untouched(BEFORE, after)


def test_a_production_that_was_closed_before_is_not_untouched() -> None:
    assert acts.untouched(CLOSED, CLOSED)


@pytest.mark.parametrize(
    ("columns", "migrations", "half_way"),
    [
        (("id", "title"), ("a", acts.WIDENED), True),
        (("id", "subtitle", "title"), ("a", acts.WIDENED), False),
        (("id", "title"), ("a",), False),
        ((), (), False),
    ],
)
def test_half_way_is_the_first_statement_without_the_second(
    columns: tuple[str, ...], migrations: tuple[str, ...], half_way: bool
) -> None:
    candidate = State("16600", migrations, columns, open_as_before=False)

    assert (acts.failed_half_way(candidate) == "") is half_way


def test_the_long_title_fits_the_wide_column_only() -> None:
    assert len(LONG_TITLE) == 120


def test_writes_are_unique_and_every_fifth_changes_a_row() -> None:
    planned = planned_writes("sql", iter([None] * 10))
    inserts = [(reference, values) for reference, values in planned if "title" in values]

    assert len({reference for reference, _at in inserts}) == len(inserts) == 8


def test_an_update_changes_a_row_of_the_same_writer() -> None:
    planned = list(planned_writes("sql", iter([None] * 10)))

    assert [reference for reference, values in planned if "title" not in values] == ["demo-sql-1", "demo-sql-6"]


def test_a_title_that_was_asked_for_is_written_next_even_instead_of_an_update() -> None:
    planned = list(planned_writes("sql", iter([None, None, None, None, LONG_TITLE])))

    assert planned[-1] == ("demo-sql-5", {"title": LONG_TITLE, "subtitle": "written by sql", "budget": 5})


def test_the_table_lines_up() -> None:
    assert aligned([["act", "lost"], ["one", "0"], ["twenty", ""]]) == [
        "act     lost",
        "------  ----",
        "one     0",
        "twenty",
    ]
