# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery of one large table beside `pg_restore -t`, and the assessment of a database beside `pg_dump`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from psycopg2 import sql

from tests.bench.figures import medians, say, table
from tests.bench.place import OWNER, Place, module, running

DATABASE = "shop_tables"
FRESH = "shop_tables_fresh"

PG_RESTORE = "pg_restore -t into an empty database, no index"
PG_RESTORE_WHOLE = "pg_restore -L, the table with its key and index"
DROPPED = "the table was gone: back with its key and index, proven"
COMPARED = "compared with the backup, 2% of its rows differ"
REPLACED = "2% of its rows put back, the overwritten ones kept, proven"
PG_DUMP = "pg_dump --data-only > /dev/null"
ASSESSED = "the assessment, against a backup"


def measure_tables(project: Path, folder: Path, version: int, rows: int, repeat: int) -> dict[str, Any]:
    """Measure the recovery of a table of so many rows, and the assessment of the database that it is in.

    Args:
        project: the checkout.
        folder: a folder for it all; it stays, the server goes.
        version: PostgreSQL's.
        rows: of the table; 1,000,000 make about 0.5 GB.
        repeat: how often.

    Returns:
        ``postgresql``, ``rows``, ``samples`` and ``medians`` in seconds.
    """
    say(f"\nTables, PostgreSQL {version}: {rows:,} rows")
    with running(project, folder, version, "tables-server") as server:
        place = replace(server, database=DATABASE)
        _fill(place, rows)
        backup = _module(place, "db_backup", checkpoint=False)[1]["backup_id"]
        samples: dict[str, list[float]] = {}
        for number in range(repeat):
            begin = time.monotonic()
            for name, seconds in _take(place, str(backup)):
                samples.setdefault(name, []).append(round(seconds, 3))
            say(f"  {number + 1} of {repeat}: {time.monotonic() - begin:.0f} s")
        return {"postgresql": version, "rows": rows, "samples": samples, "medians": medians(samples)}


def _fill(place: Place, rows: int) -> None:
    place.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    for statement in (
        f"SET ROLE {OWNER}; CREATE TABLE projects (id bigint PRIMARY KEY, owner_id int NOT NULL, title text NOT NULL,"
        " body text NOT NULL, created_at timestamptz NOT NULL);"
        " INSERT INTO projects SELECT i, i % 997, 'Balcony ' || i,"
        " (SELECT string_agg(md5((i * 12 + part)::text), '') FROM generate_series(1, 12) AS part), now()"
        f" FROM generate_series(1, {rows}) AS i; CREATE INDEX ON projects (owner_id)",
        "VACUUM ANALYZE projects",
        "CHECKPOINT",
    ):
        place.execute(statement, DATABASE)


def _take(place: Place, backup: str) -> Iterator[tuple[str, float]]:
    """Take each figure once; afterwards the table is as it was."""
    yield PG_DUMP, _program(place, "pg_dump", "--data-only", place.url)
    yield ASSESSED, _module(place, "db_assess", backup=backup)[0]
    yield PG_RESTORE, _pg_restore(place, backup, "-t", "projects")
    yield PG_RESTORE_WHOLE, _pg_restore(place, backup, "-L", _list_of_table(place, backup))
    place.execute("UPDATE projects SET title = 'lost' WHERE id % 100 = 0", DATABASE)
    place.execute("DELETE FROM projects WHERE id % 100 = 1", DATABASE)
    yield COMPARED, _recover(place, backup, "compare")
    yield REPLACED, _recover(place, backup, "replace")
    place.execute("DROP TABLE projects", DATABASE)
    place.execute("CHECKPOINT")
    yield DROPPED, _recover(place, backup, "replace")
    place.execute("VACUUM ANALYZE projects", DATABASE)


def _list_of_table(place: Place, backup: str) -> str:
    """Write the lines of the table's own entries in the dump's table of contents, as a person would pick them."""
    command = [str(place.cluster.bin_dir / "pg_restore"), "--list", str(_backups(place) / backup / "dump")]
    contents = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    path = place.folder / "projects.list"
    path.write_text("".join(f"{line}\n" for line in contents.splitlines() if " projects" in line))
    return str(path)


def _pg_restore(place: Place, backup: str, *what: str) -> float:
    place.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (FRESH, OWNER))))
    try:
        url = place.cluster.url(OWNER, place.password, FRESH)
        return _program(place, "pg_restore", *what, "-d", url, str(_backups(place) / backup / "dump"))
    finally:
        place.execute(f"DROP DATABASE {FRESH} WITH (FORCE)")


def _program(place: Place, name: str, *arguments: str) -> float:
    begin = time.monotonic()
    command = [str(place.cluster.bin_dir / name), *arguments]
    subprocess.run(command, env=place.environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def _recover(place: Place, backup: str, mode: str) -> float:
    keep = str(place.folder / "kept")
    return _module(place, "table_recovery", backup=backup, tables=["projects"], mode=mode, keep_dir=keep)[0]


def _module(place: Place, name: str, **arguments: Any) -> tuple[float, dict[str, Any]]:
    """Run a module as a program, from its start to its end."""
    _backups(place).mkdir(mode=0o700, exist_ok=True)
    client_path = {} if name == "db_assess" else {"client_path": [str(place.cluster.bin_dir)]}
    ended, result = module(place, name, backup_dir=str(_backups(place)), **client_path, **arguments)
    return ended.seconds, result


def _backups(place: Place) -> Path:
    return place.folder / "backups-of-tables"


def table_lines(figures: dict[str, Any]) -> list[str]:
    """Return the table of the recovery and the assessment, each beside the tool that it is measured against."""
    found = figures["medians"]
    rows = [["", "seconds", "of -t", "of -L"]]
    rows += [[peer, f"{found[peer]:.2f}", "", ""] for peer in (PG_RESTORE, PG_RESTORE_WHOLE)]
    for name in (DROPPED, COMPARED, REPLACED):
        ratios = [f"{found[name] / found[peer]:.2f}" for peer in (PG_RESTORE, PG_RESTORE_WHOLE)]
        rows.append([f"- {name}", f"{found[name]:.2f}", *ratios])
    rows += [["", "", "of pg_dump's", ""], [PG_DUMP, f"{found[PG_DUMP]:.2f}", "", ""]]
    rows.append([f"- {ASSESSED}", f"{found[ASSESSED]:.2f}", f"{found[ASSESSED] / found[PG_DUMP]:.2f}", ""])
    return table(f"One table of {figures['rows']:,} rows (PostgreSQL {figures['postgresql']})", rows)
