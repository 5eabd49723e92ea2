# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole bench: what it needs, where it keeps things, what it prints."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from embedded_postgresql import VERSIONS, ClusterError
from stage import StageError
from writers import WriterSilent

from tests.bench.act_three import measure_windows, window_lines
from tests.bench.chart import draw
from tests.bench.emergency import measure_restores, restore_lines
from tests.bench.figures import BenchError, say
from tests.bench.reach import lines, reach_lines
from tests.bench.shared_blocks import measure_shared_blocks, shared_lines
from tests.bench.speed import measure_speed, speed_lines
from tests.bench.sqlite_backup import measure_sqlite, sqlite_lines
from tests.bench.tables import measure_tables, table_lines

GIGABYTE = 1024**3
BASE_BYTES = 3 * GIGABYTE
"""Two servers' write-ahead logs, the demo's databases, logs."""

COPIES = 7
"""Of the largest one, at once: the database (1.6 times its dump), another beside it, a copy, and two dumps."""

PARTS = ("speed", "restore", "window", "tables", "sqlite")


def measure(project: Path, arguments: list[str]) -> int:
    """Measure what the command line asks for; return the exit code."""
    asked = _asked(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # also where it was started with Ctrl-C ignored
        signal.signal(number, signal.default_int_handler)
    figures, problem = _begin(asked), None
    try:
        with _folder(asked.sizes) as folder:
            _take(figures, asked, project, folder)
    except (BenchError, ClusterError, StageError, WriterSilent, psycopg2.Error, OSError) as error:
        problem = f"bench: {error}"
    except KeyboardInterrupt:
        say("\nInterrupted: everything that was started has ended, and its folder is removed.")
        return 130
    if set(PARTS) & set(figures):  # those that were taken before another one failed are not lost with it
        figures["load_after"] = os.getloadavg()
        _conclude(figures, project / ".cache" / "bench" / "bench.json", asked.chart)
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


def _asked(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure every speed beside its peers.")
    parser.add_argument("--sizes", type=_sizes, default=[20, 200, 1000], help="MB of the plain dump: 20,200,1000")
    parser.add_argument("--repeat", type=int, default=5, help="how often each figure is taken: 5")
    parser.add_argument("--postgresql", type=int, default=18, choices=sorted(VERSIONS), help="18")
    parser.add_argument("--only", type=_parts, default=PARTS, help=f"some of the parts: {','.join(PARTS)}")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the table that is recovered: 1000000")
    parser.add_argument("--chart", type=Path, help="where the chart goes; by default beside the figures")
    asked = parser.parse_args(arguments)
    if asked.repeat < 1:
        parser.error("--repeat takes a number from 1")
    return asked


def _parts(text: str) -> list[str]:
    asked = text.split(",")
    if not set(asked) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"the parts are: {', '.join(PARTS)}")
    return asked


def _sizes(text: str) -> list[int]:
    sizes = sorted({int(size) for size in text.split(",")})
    if sizes[0] < 20:
        raise argparse.ArgumentTypeError("an empty database has 8 MB already: sizes from 20 MB")
    return sizes


@contextlib.contextmanager
def _folder(sizes: list[int]) -> Iterator[Path]:
    """Give a folder that is removed at the end, after a word about the room that it takes."""
    place = Path(tempfile.gettempdir())
    needed, free = (sum(sizes) + COPIES * max(sizes)) * 1024**2 + BASE_BYTES, shutil.disk_usage(place).free
    say(f"Needs {needed / GIGABYTE:.1f} GB under {place}, where {free / GIGABYTE:.1f} GB are free; removed at the end.")
    if free < needed:
        raise BenchError("There is not enough room. Set TMPDIR to a folder with more, or take smaller --sizes.")
    folder = Path(tempfile.mkdtemp(prefix="balcon-rollback-bench-"))
    folder.chmod(0o755)  # as root, the servers are run by another account
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _begin(asked: argparse.Namespace) -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "repeat": asked.repeat,
        "load_before": os.getloadavg(),
    }


def _take(figures: dict[str, Any], asked: argparse.Namespace, project: Path, folder: Path) -> None:
    """Take one part after the other."""
    if "speed" in asked.only:
        figures["speed"] = measure_speed(project, folder, asked.postgresql, asked.sizes, asked.repeat)
        figures["shared_blocks"] = measure_shared_blocks(project, asked.postgresql, asked.sizes[-1], asked.repeat)
    if "window" in asked.only:
        figures["window"] = measure_windows(folder / "stage", sorted({asked.sizes[0], asked.sizes[-1]}), asked.repeat)
    if "tables" in asked.only:
        figures["tables"] = measure_tables(project, folder, asked.postgresql, asked.rows, asked.repeat)
    if "sqlite" in asked.only:
        figures["sqlite"] = measure_sqlite(folder / "sqlite", asked.repeat)
    if "restore" in asked.only:
        figures["restore"] = measure_restores(project, folder, asked.postgresql, asked.sizes, asked.repeat)


def _conclude(figures: dict[str, Any], file: Path, chart: Path | None) -> None:
    loads = " and ".join(f"{figures[name][0]:.1f}" for name in ("load_before", "load_after"))
    say(
        f"\nMedians of {figures['repeat']}, in seconds. {figures['processors']} processors, load {loads} before and"
        " after: what others did meanwhile is in the figures."
    )
    shown = speed_lines(figures["speed"]) if "speed" in figures else []
    shown += shared_lines(figures["shared_blocks"]) if "shared_blocks" in figures else []
    shown += window_lines(figures["window"]) if "window" in figures else []
    shown += restore_lines(figures["restore"]) if "restore" in figures else []
    shown += table_lines(figures["tables"]) if "tables" in figures else []
    shown += sqlite_lines(figures["sqlite"]) if "sqlite" in figures else []
    found = lines(figures)
    for line in [*shown, *reach_lines(found)]:
        say(line)
    file.parent.mkdir(parents=True, exist_ok=True)
    figures["reach"] = [line.as_dict() for line in found]
    file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    say(f"\nAll figures: {file}")
    if found:
        chart = chart or file.with_suffix(".svg")
        chart.write_text(draw(found, "Speed beside the usual ways", _machine(figures)), encoding="utf-8")
        say(f"The chart: {chart}")


def _machine(figures: dict[str, Any]) -> str:
    day = str(figures["at"])[:10]
    return f"Medians of {figures['repeat']}, {figures['processors']} processors, {day}. Printed by make bench."
