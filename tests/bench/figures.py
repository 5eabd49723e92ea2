# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tables of the bench are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from acts import aligned

Samples = Mapping[str, Sequence[float]]
"""Seconds by the name of a figure, one for each time it was taken."""


class BenchError(RuntimeError):
    """Something could not be measured; the message says why and where to look."""


def say(text: str) -> None:
    """Show a line at once, also into a pipe."""
    print(text, flush=True)


def medians(samples: Samples) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(median(values), 3) for name, values in samples.items()}


def table(title: str, rows: list[list[str]]) -> list[str]:
    """Return a table under its title; the first row holds the headings."""
    return ["", title, "", *(f"  {line}" for line in aligned(rows))]


def event_end(event: Mapping[str, Any]) -> float:
    """Return when an event of a journal ended, in seconds since 1970."""
    return event_begin(event) + float(event["seconds"])


def event_begin(event: Mapping[str, Any]) -> float:
    """Return when an event of a journal began, in seconds since 1970."""
    return datetime.fromisoformat(event["at"]).timestamp()
