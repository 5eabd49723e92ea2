# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery of one large table beside `pg_restore -t`, and the assessment of a database beside `pg_dump`."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedded_postgresql import Cluster
from psycopg2 import sql

from tests.bench.emergency import OWNER, Bench
from tests.bench.figures import BenchError, medians, say, table

MODULES = "ansible_collections.balcon.rollback.plugins.modules"
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
    cluster = Cluster(folder / "tables-server", version, "bench-tables")
    try:
        cluster.create()
        cluster.start(settings={"max_wal_size": "2GB", "maintenance_work_mem": "128MB"})
        bench = Bench(project, folder, cluster, secrets.token_hex(12), DATABASE)
        bench.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{bench.password}'")
        _fill(bench, rows)
        backup = _module(bench, "db_backup", checkpoint=False)[1]["backup_id"]
        samples: dict[str, list[float]] = {}
        for number in range(repeat):
            begin = time.monotonic()
            for name, seconds in _take(bench, str(backup)):
                samples.setdefault(name, []).append(round(seconds, 3))
            say(f"  {number + 1} of {repeat}: {time.monotonic() - begin:.0f} s")
        return {"postgresql": version, "rows": rows, "samples": samples, "medians": medians(samples)}
    finally:
        cluster.destroy()


def _fill(bench: Bench, rows: int) -> None:
    bench.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    for statement in (
        f"SET ROLE {OWNER}; CREATE TABLE projects (id bigint PRIMARY KEY, owner_id int NOT NULL, title text NOT NULL,"
        " body text NOT NULL, created_at timestamptz NOT NULL);"
        " INSERT INTO projects SELECT i, i % 997, 'Balcony ' || i,"
        " (SELECT string_agg(md5((i * 12 + part)::text), '') FROM generate_series(1, 12) AS part), now()"
        f" FROM generate_series(1, {rows}) AS i; CREATE INDEX ON projects (owner_id)",
        "VACUUM ANALYZE projects",
        "CHECKPOINT",
    ):
        bench.execute(statement, DATABASE)


def _take(bench: Bench, backup: str) -> Iterator[tuple[str, float]]:
    """Take each figure once; afterwards the table is as it was."""
    yield PG_DUMP, _program(bench, "pg_dump", "--data-only", bench.url)
    yield ASSESSED, _module(bench, "db_assess", backup=backup)[0]
    yield PG_RESTORE, _pg_restore(bench, backup, "-t", "projects")
    yield PG_RESTORE_WHOLE, _pg_restore(bench, backup, "-L", _list_of_table(bench, backup))
    bench.execute("UPDATE projects SET title = 'lost' WHERE id % 100 = 0", DATABASE)
    bench.execute("DELETE FROM projects WHERE id % 100 = 1", DATABASE)
    yield COMPARED, _recover(bench, backup, "compare")
    yield REPLACED, _recover(bench, backup, "replace")
    bench.execute("DROP TABLE projects", DATABASE)
    bench.execute("CHECKPOINT")
    yield DROPPED, _recover(bench, backup, "replace")
    bench.execute("VACUUM ANALYZE projects", DATABASE)


def _list_of_table(bench: Bench, backup: str) -> str:
    """Write the lines of the table's own entries in the dump's table of contents, as a person would pick them."""
    command = [str(bench.cluster.bin_dir / "pg_restore"), "--list", str(_backups(bench) / backup / "dump")]
    contents = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    path = bench.folder / "projects.list"
    path.write_text("".join(f"{line}\n" for line in contents.splitlines() if " projects" in line))
    return str(path)


def _pg_restore(bench: Bench, backup: str, *what: str) -> float:
    bench.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (FRESH, OWNER))))
    try:
        url = bench.cluster.url(OWNER, bench.password, FRESH)
        return _program(bench, "pg_restore", *what, "-d", url, str(_backups(bench) / backup / "dump"))
    finally:
        bench.execute(f"DROP DATABASE {FRESH} WITH (FORCE)")


def _program(bench: Bench, name: str, *arguments: str) -> float:
    begin = time.monotonic()
    command = [str(bench.cluster.bin_dir / name), *arguments]
    subprocess.run(command, env=bench.environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - begin


def _recover(bench: Bench, backup: str, mode: str) -> float:
    keep = str(bench.folder / "kept")
    return _module(bench, "table_recovery", backup=backup, tables=["projects"], mode=mode, keep_dir=keep)[0]


def _module(bench: Bench, name: str, **arguments: Any) -> tuple[float, dict[str, Any]]:
    """Run a module as a program, from its start to its end."""
    _backups(bench).mkdir(mode=0o700, exist_ok=True)
    given = {"database_url": bench.url, "backup_dir": str(_backups(bench)), **arguments}
    if name != "db_assess":
        given["client_path"] = [str(bench.cluster.bin_dir)]
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"{MODULES}.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": given}),
        env=bench.environment, cwd=bench.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"{name} failed: {done.stdout}{done.stderr}")
    return time.monotonic() - begin, json.loads(done.stdout)


def _backups(bench: Bench) -> Path:
    return bench.folder / "backups-of-tables"


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
