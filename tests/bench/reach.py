# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The speeds to reach, each beside what a person would take instead: one line a figure and size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench import act_three, emergency, speed
from tests.bench.figures import table

RESTORE_TIMES_FASTER = 100
HANDLER_SECONDS = 1.5
SAME_AT_ANY_SIZE = 1.5
"""How many times the small database's restore the large one's may take and count as the same: the clock's own noise."""

RESTORE = 1.05
RESTORE_WITH_CHECKS = 1.3
REFRESH = 1.0
CONTENTS_OF_COPY = 0.5
CONTENTS_OF_RESTORE = 0.85
VERIFICATION = 6.0
WINDOW_SECONDS = 4.0
WINDOW_COPIES = 1.3
MEMORY_MEGABYTES = 120.0


@dataclass(frozen=True)
class Line:
    """One figure beside its peer.

    Args:
        size: of the database, in MB of its plain dump; 0 where the line is about several sizes.
        what: is measured.
        peer: it is measured against.
        ours: seconds, or MB.
        other: the peer's.
        wanted: at most, or for C(faster) at least, so many times the peer's; None for a fixed limit.
        limit: a fixed limit, in the unit of C(ours); with C(wanted), it is added to the peer's part.
        faster: the ratio is how many times faster than the peer ours is.
        unit: of both.
    """

    size: int
    what: str
    peer: str
    ours: float
    other: float | None
    wanted: float | None
    limit: float = 0.0
    faster: bool = False
    unit: str = "s"

    @property
    def ratio(self) -> float | None:
        """Ours in relation to the peer's, or the other way round where faster is wanted."""
        if self.other is None:
            return None
        return self.other / self.ours if self.faster else self.ours / self.other

    @property
    def reached(self) -> bool:
        """Whether the figure is where it was wanted."""
        if self.faster:
            return self.ratio is not None and self.wanted is not None and self.ratio >= self.wanted
        return self.ours <= self.limit + (self.wanted or 0.0) * (self.other or 0.0)

    @property
    def goal(self) -> str:
        """What was wanted, in words."""
        if self.faster:
            return f"at least {self.wanted:g} times faster"
        parts = [f"{self.limit:g} {self.unit}"] if self.limit else []
        parts += [f"{self.wanted:g} x"] if self.wanted is not None else []
        return f"at most {' + '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the line for a program."""
        return {
            "size_megabytes": self.size,
            "what": self.what,
            "peer": self.peer,
            "ours": self.ours,
            "peers": self.other,
            "unit": self.unit,
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "wanted": self.goal,
            "reached": self.reached,
        }


def lines(figures: Mapping[str, Any]) -> list[Line]:
    """Return a line for each speed to reach, at each size that was measured."""
    found: list[Line] = []
    if "restore" in figures:
        found += _restores(figures["restore"]["sizes"])
    for size, taken in figures.get("speed", {}).get("sizes", {}).items():
        found += _speeds(int(size), taken)
    for size, taken in figures.get("window", {}).get("sizes", {}).items():
        found += _windows(int(size), taken["medians"])
    return found


def _restores(sizes: Mapping[str, Any]) -> Iterator[Line]:
    by_size = {int(size): taken["medians"] for size, taken in sizes.items()}
    for size, known in by_size.items():
        runbook = known[emergency.RUNBOOK]
        for name in emergency.ALONE.values():
            yield Line(size, name, emergency.RUNBOOK, known[name], runbook, RESTORE_TIMES_FASTER, faster=True)
        for name in emergency.PLAYBOOK.values():
            yield Line(size, name, "a fixed limit", known[name], None, None, HANDLER_SECONDS)
    small, large = min(by_size), max(by_size)
    for name in (*emergency.ALONE.values(), *emergency.PLAYBOOK.values()) if small != large else ():
        here, there = by_size[large][name], by_size[small][name]
        yield Line(0, f"{name}, {large} MB", f"the same, {small} MB", here, there, SAME_AT_ANY_SIZE)


def _speeds(size: int, taken: Mapping[str, Any]) -> Iterator[Line]:
    known = taken["medians"]

    def beside(what: str, peer: str, wanted: float) -> Line:
        return Line(size, what, peer, known[what], known[peer], wanted)

    best = min((name for name in known if name.startswith("pg_restore, ")), key=lambda name: float(known[name]))
    yield beside(speed.RESTORED_ALONE, best, RESTORE)
    yield beside(speed.RESTORED, best, RESTORE_WITH_CHECKS)
    refresh = min((name for name in (speed.PIPE, speed.PGCOPYDB) if name in known), key=lambda name: float(known[name]))
    yield beside(speed.COPIED, refresh, REFRESH)
    yield beside(speed.RECORD, speed.SUM, CONTENTS_OF_COPY)
    yield beside(speed.TEXT, speed.SUM, CONTENTS_OF_RESTORE)
    yield beside(speed.VERIFIED, speed.SCANS, VERIFICATION)
    ours = {name: megabytes for name, megabytes in taken["memory_megabytes"].items() if name.startswith("db_")}
    largest = max(ours, key=lambda name: float(ours[name]))
    yield Line(
        size, f"memory, the most: {largest}", "a fixed limit", ours[largest], None, None, MEMORY_MEGABYTES, unit="MB"
    )


def _windows(size: int, known: Mapping[str, float]) -> Iterator[Line]:
    ours = known[act_three.WINDOW] - known[act_three.COMMANDS]
    yield Line(
        size, "the window, less the application's own commands", act_three.CP,
        round(ours, 3), known[act_three.CP], WINDOW_COPIES, WINDOW_SECONDS,
    )  # fmt: skip


def reach_lines(found: list[Line]) -> list[str]:
    """Return the table."""
    rows = [["MB", "what", "ours", "beside", "theirs", "ratio", "wanted", "reached"]]
    for line in found:
        theirs = "" if line.other is None else f"{line.other:.2f} {line.unit}"
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        rows.append([
            str(line.size or ""), line.what, f"{line.ours:.2f} {line.unit}", line.peer, theirs, ratio, line.goal,
            "yes" if line.reached else "NO",
        ])  # fmt: skip
    largest = max((line.size for line in found), default=0)
    counted = [line.reached for line in found if line.size in (0, largest)]
    title = f"The speeds to reach: with {largest} MB, {sum(counted)} of {len(counted)} are reached"
    return table(title, rows) if found else []
