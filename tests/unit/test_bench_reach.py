# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bench says of its figures: the best peer is the one beside, and a line says whether it was reached."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import act_three, emergency, speed
from tests.bench.chart import draw
from tests.bench.reach import Line, lines, reach_lines

SVG = "{http://www.w3.org/2000/svg}"


def line(ours: float, other: float | None, wanted: float | None, limit: float = 0.0, *, faster: bool = False) -> Line:
    return Line(1000, "ours", "theirs", ours, other, wanted, limit, faster=faster)


@pytest.mark.parametrize(
    ("measured", "reached", "goal"),
    [
        (line(1.05, 1.0, 1.05), True, "at most 1.05 x"),
        (line(1.06, 1.0, 1.05), False, "at most 1.05 x"),
        (line(0.1, 10.0, 100, faster=True), True, "at least 100 times faster"),
        (line(0.11, 10.0, 100, faster=True), False, "at least 100 times faster"),
        (line(5.3, 1.0, 1.3, 4.0), True, "at most 4 s + 1.3 x"),
        (line(5.4, 1.0, 1.3, 4.0), False, "at most 4 s + 1.3 x"),
        (line(1.5, None, None, 1.5), True, "at most 1.5 s"),
        (line(1.6, None, None, 1.5), False, "at most 1.5 s"),
    ],
)
def test_a_line_is_reached_up_to_its_goal(measured: Line, reached: bool, goal: str) -> None:
    assert (measured.reached, measured.goal) == (reached, goal)
    assert ("yes" if reached else "NO") in reach_lines([measured])[-1]


def figures() -> dict[str, Any]:
    restores = {emergency.RUNBOOK: 20.0, emergency.DUMP: 4.0}
    restores.update(dict.fromkeys([*emergency.ALONE.values(), *emergency.PLAYBOOK.values()], 0.15))
    known = {
        "pg_restore, as it comes": 14.0, "pg_restore, both": 12.0, speed.RESTORED_ALONE: 12.1, speed.RESTORED: 14.0,
        speed.PIPE: 18.0, speed.PGCOPYDB: 16.0, speed.COPIED: 15.0, speed.SUM: 4.0, speed.RECORD: 1.5, speed.TEXT: 3.0,
        speed.SCANS: 0.6, speed.VERIFIED: 3.5,
    }  # fmt: skip
    memory = {"psql < file": 300.0, speed.RECORD: 40.0, speed.BACKUP: 50.0}
    window = {act_three.WINDOW: 9.0, act_three.COMMANDS: 4.0, act_three.CP: 1.0}
    return {
        "restore": {"sizes": {"20": {"medians": restores}, "1000": {"medians": dict(restores)}}},
        "speed": {"sizes": {"1000": {"medians": known, "memory_megabytes": memory}}},
        "window": {"sizes": {"1000": {"medians": window}}},
    }


def test_each_is_beside_the_best_of_its_peers() -> None:
    found = {found.what: found for found in lines(figures()) if found.size == 1000}
    assert found[speed.RESTORED].peer == "pg_restore, both"
    assert found[speed.COPIED].peer == speed.PGCOPYDB
    assert found["memory, the most: db_backup"].ours == 50.0  # programs that are not ours do not count
    assert found["the window, less the application's own commands"].ours == 5.0
    assert found[emergency.ALONE[True]].ratio == pytest.approx(133.3, abs=0.1)
    assert all(each.reached for each in found.values())


def test_pgcopydb_may_be_missing() -> None:
    measured = figures()
    del measured["speed"]["sizes"]["1000"]["medians"][speed.PGCOPYDB]
    assert next(found for found in lines(measured) if found.what == speed.COPIED).peer == speed.PIPE


def test_the_same_at_any_size() -> None:
    measured = figures()
    measured["restore"]["sizes"]["1000"]["medians"][emergency.PLAYBOOK[False]] = 0.3
    wrong = [found for found in lines(measured) if not found.reached]
    assert [(found.size, found.what) for found in wrong] == [(0, f"{emergency.PLAYBOOK[False]}, 1000 MB")]


def test_the_chart_is_a_picture_of_the_largest_size_for_light_and_dark() -> None:
    hostile = Line(1000, "<b>ours</b> & co", 'psql < "file"', 1.0, 4.0, 1.0)
    drawn = draw([*lines(figures()), hostile], "Speed <1>", "2 processors")
    root = ElementTree.fromstring(drawn)  # noqa: S314  # made here
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "<b>ours</b> & co" in texts
    bars = [element for element in root.iter(f"{SVG}rect") if element.get("class") in ("ours", "peer")]
    with_peer = [found for found in lines(figures()) if found.size == 1000 and found.other is not None]
    assert len(bars) == 2 * (len(with_peer) + 1)
    assert "prefers-color-scheme: dark" in drawn
    widest = max(float(drawn_bar.get("x") or 0) + float(drawn_bar.get("width") or 0) for drawn_bar in bars)
    assert widest < float((root.get("viewBox") or "").split()[2])
