# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup of an SQLite file, beside what SQLite's own tool does with it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import Wanted
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.backup import make_backup
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.copy import copy_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.database_file import (
    DatabaseFile,
    connect,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import new_run_id
from tests.bench.figures import medians, say, table

MEGABYTES = 500
_ROW_BYTES = 400


def measure_sqlite(folder: Path, repeat: int, megabytes: int = MEGABYTES) -> dict[str, object]:
    """Measure the copy and the whole backup of a file, and the peer; seconds, medians.

    The peer is C(sqlite3 FILE .backup COPY), or where the program is missing Python's backup in one step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench.sqlite"
    _fill(path, megabytes)
    say(f"SQLite: a file of {path.stat().st_size / 1e6:.0f} MB")
    file = DatabaseFile(f"sqlite://{path}", None)
    peer = "sqlite3 .backup" if shutil.which("sqlite3") else "Python's backup, one step"
    samples: dict[str, list[float]] = {}
    for number in range(repeat):
        for name, work in (
            (peer, lambda: _peer(path, folder / "peer.sqlite")),
            ("copy, on the disk", lambda: _copy(path, folder / "copy.sqlite")),
            ("backup, proven", lambda number=number: _backup(file, folder / "backups", number)),
        ):
            samples.setdefault(name, []).append(_seconds(work))
            for left in ("peer.sqlite", "copy.sqlite"):
                (folder / left).unlink(missing_ok=True)
            shutil.rmtree(folder / "backups", ignore_errors=True)
    return {"bytes": path.stat().st_size, "peer": peer, "seconds": medians(samples)}


def sqlite_lines(figures: dict[str, object]) -> list[str]:
    """Return the figures as lines for a person."""
    seconds, peer = figures["seconds"], figures["peer"]
    if not isinstance(seconds, dict):
        raise TypeError(seconds)
    rows = [["", "s", f"speed, of {peer}"]]
    rows += [[name, f"{value:.2f}", f"{100 * seconds[peer] / value:.0f} %"] for name, value in seconds.items()]
    return table("SQLite", rows)


def _fill(path: Path, megabytes: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT, amount REAL, content BLOB)")
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "INSERT INTO rows SELECT i, 'name ' || i, i * 1.5, randomblob(?) FROM n",
        [megabytes * 1_000_000 // (_ROW_BYTES + 30), _ROW_BYTES],
    )
    connection.close()


def _seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def _peer(path: Path, target: Path) -> None:
    """Copy as a person would, and bring it to the disk, as ours is."""
    if shutil.which("sqlite3"):
        subprocess.run(["sqlite3", str(path), f".backup '{target}'"], check=True)
    else:
        source, destination = sqlite3.connect(path), sqlite3.connect(target)
        source.backup(destination)
        destination.close()
        source.close()
    descriptor = os.open(target, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _copy(path: Path, target: Path) -> None:
    with connect(path) as reader:
        copy_database(reader, target)


def _backup(file: DatabaseFile, folder: Path, number: int) -> None:
    folder.mkdir(mode=0o700)
    make_backup(file, file.path, Wanted(folder, new_run_id(datetime.now(UTC), f"{number:04x}")))
