# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file copy on a file system with copy on write: XFS in a file, where root can mount one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from copy_on_write import Unavailable, copy_on_write

from tests.bench.figures import medians, say, table
from tests.bench.place import Place, running, shell
from tests.bench.shop import fill
from tests.bench.speed import quiet

ROOM = 5
"""Of the plain dump's size: the database, a copy that shares nothing, and the write-ahead log."""

SINCE = 18
HOW = {method: f"CREATE DATABASE ... TEMPLATE on XFS, {method}" for method in ("copy", "clone")}


def measure_shared_blocks(project: Path, version: int, size: int, repeat: int) -> dict[str, Any]:
    """Copy a database on XFS, block by block and by sharing them.

    Args:
        project: the checkout.
        version: PostgreSQL's; before 18 it cannot share blocks.
        size: MB of the plain dump.
        repeat: how often.

    Returns:
        ``size``, ``samples`` and ``medians`` in seconds, and ``note`` where it could not be measured.
    """
    samples: dict[str, list[float]] = {}
    if version < SINCE:
        return {"size": size, "note": f"blocks are shared from PostgreSQL {SINCE} on: not measured"}
    say(f"\nCopies on XFS, PostgreSQL {version}: {size} MB")
    try:
        with (
            copy_on_write(ROOM * size + 2000) as folder,
            running(project, folder, version, "shared-blocks") as server,
        ):
            place = replace(server, database="shop_shared")
            fill(place, size)
            for _number in range(repeat):
                for method, name in HOW.items():
                    samples.setdefault(name, []).append(round(_copy(place, method), 3))
    except Unavailable as error:
        return {"size": size, "note": f"XFS: {error}: not measured"}
    return {"size": size, "samples": samples, "medians": medians(samples)}


def _copy(place: Place, method: str) -> float:
    quiet(place)
    copying = f"CREATE DATABASE peer TEMPLATE {place.database} STRATEGY FILE_COPY"
    seconds = shell(place, 'psql -q -d postgres -c "$1" -c "$2"', f"SET file_copy_method = {method}", copying).seconds
    place.drop("peer")
    return seconds


def shared_lines(figures: dict[str, Any]) -> list[str]:
    """Return the table, or why there is none."""
    if "note" in figures:
        return ["", f"  {figures['note']}"]
    rows = [["", "seconds"], *([name, f"{seconds:.2f}"] for name, seconds in figures["medians"].items())]
    return table(f"Copies of {figures['size']} MB on a file system with copy on write", rows)
