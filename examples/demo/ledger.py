# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the writers wrote down: every write, whether it was acknowledged or refused, and when.

An acknowledged write must be found in production at the end, with the values it was acknowledged with. Of a refused
one nobody knows whether it arrived: when the connection breaks, the answer may be lost after the commit. So it may be
there or not, and neither counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Write:
    """One write, as its writer saw it.

    Args:
        clock: when the answer came, in seconds of the system's monotonic clock (one clock for all processes).
        reference: the ``client_reference`` of the row.
        values: the columns that were written, by name.
        acknowledged: whether the database, or the API for it, said that it was committed.
        error: why it was refused.
    """

    clock: float
    reference: str
    values: Row
    acknowledged: bool
    error: str = ""


@dataclass(frozen=True)
class Span:
    """A time between two readings of the monotonic clock, in seconds."""

    begin: float
    end: float

    def __contains__(self, write: Write) -> bool:
        return self.begin <= write.clock < self.end


def read_writes(log: Path) -> list[Write]:
    """Read a writer's log; a last line that was cut by the writer's end is left out."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").split("\n")[:-1]
    return [Write(**json.loads(line)) for line in lines]


def longest_gap(writes: Iterable[Write], span: Span) -> float:
    """Return the longest time without an acknowledged write that touches a span, in seconds.

    It is infinite when nothing was acknowledged before the span, or nothing after it: a window that never closed.
    """
    clocks = sorted(write.clock for write in writes if write.acknowledged)
    before = [clock for clock in clocks if clock < span.begin][-1:]
    after = [clock for clock in clocks if clock >= span.end][:1]
    if not before or not after:
        return float("inf")
    points = [*before, *(clock for clock in clocks if span.begin <= clock < span.end), *after]
    return max(later - earlier for earlier, later in pairwise(points))


def lost_writes(writes: Iterable[Write], rows: Mapping[str, Row], aside: frozenset[str]) -> list[Write]:
    """Return the acknowledged writes that are not in production.

    Args:
        writes: of one writer, in the order in which they were made.
        rows: production's rows by ``client_reference``.
        aside: the columns that the plan took back, and that may therefore be gone.
    """
    last: dict[tuple[str, str], Write] = {}
    doubtful: dict[tuple[str, str], list[Any]] = {}
    for write in writes:
        for column, value in write.values.items():
            place = (write.reference, column)
            if write.acknowledged:
                last[place] = write
                doubtful[place] = []
            else:
                doubtful.setdefault(place, []).append(value)
    lost = {
        id(write): write
        for (reference, column), write in last.items()
        if column not in aside
        and not _holds(rows.get(reference), column, [write.values[column], *doubtful[(reference, column)]])
    }
    return list(lost.values())


def _holds(row: Row | None, column: str, allowed: list[Any]) -> bool:
    return row is not None and column in row and any(_same(row[column], value) for value in allowed)


def _same(found: object, written: object) -> bool:
    if isinstance(found, Decimal) and isinstance(written, int | float | str):
        return found == Decimal(str(written))
    return bool(found == written)
