# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback does with all the data, each beside the programs that a person would take instead.

Everything is measured on the same server, in turns, on a database that is in the page cache. Databases that were made
are dropped, and a checkpoint is made, before the clock runs.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.bench.figures import medians, say, table
from tests.bench.place import Ended, Place, module, run, running, shell
from tests.bench.shop import fill

SUM = "pg_dump --data-only | sha256sum"
RECORD = "db_fingerprint, file copy"
TEXT = "db_fingerprint, across a restore"
SCANS = "two sequential scans of every table"
VERIFIED = "db_fingerprint, before and after"
DUMP = "pg_dump > file"
PSQL = "psql < file"
BACKUP = "db_backup"
RESTORED = "db_restore, all checks"
RESTORED_ALONE = "db_restore, of it pg_restore"
PIPE = "pg_dump | psql"
PGCOPYDB = "pgcopydb clone"
COPIED = "db_copy"
CP = "cp of the database's files"
CP_SYNC = "cp of the database's files, and sync"
TEMPLATE = "CREATE DATABASE ... TEMPLATE"
CLONED = "db_clone"

_NOT_DURABLE = {"synchronous_commit": "off"}
_ROOM = {"maintenance_work_mem": "512MB"}
_ONE_EACH = {"max_parallel_maintenance_workers": "0"}

PG_RESTORE: Mapping[str, Mapping[str, str]] = {
    "as it comes": {},
    "synchronous_commit=off": _NOT_DURABLE,
    "maintenance_work_mem=512MB": _ROOM,
    "both": {**_NOT_DURABLE, **_ROOM},
    "both, no parallel maintenance": {**_NOT_DURABLE, **_ROOM, **_ONE_EACH},
    "both with 1GB, no parallel maintenance": {**_NOT_DURABLE, "maintenance_work_mem": "1GB", **_ONE_EACH},
}
"""Six settings of C(pg_restore -Fd -j2); after the first round only the two fastest go on."""

FINALISTS = 2


@dataclass
class Taken:
    """What was measured at one size.

    Args:
        megabytes: of the plain dump, and of the database itself.
        samples: seconds by figure, one for each time.
        memory: the most MB that one process of a figure had.
        notes: what could not be measured, and why.
    """

    megabytes: tuple[int, int]
    samples: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, ended: Ended) -> None:
        """Add a figure."""
        self.samples.setdefault(name, []).append(round(ended.seconds, 3))
        self.memory[name] = max(self.memory.get(name, 0.0), round(ended.megabytes, 1))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, with the medians."""
        dump, database = self.megabytes
        return {
            "dump_megabytes": dump,
            "database_megabytes": database,
            "samples": self.samples,
            "medians": medians(self.samples),
            "memory_megabytes": self.memory,
            "notes": self.notes,
        }


def measure_speed(project: Path, folder: Path, version: int, sizes: Sequence[int], repeat: int) -> dict[str, Any]:
    """Measure every figure at every size.

    Args:
        project: the checkout.
        folder: for servers, dumps and copies; it stays, the servers go.
        version: PostgreSQL's.
        sizes: MB of the plain dump.
        repeat: how often.

    Returns:
        ``postgresql``, and by size what `Taken` holds.
    """
    say(f"\nSpeed beside the peers, PostgreSQL {version}: {', '.join(f'{size} MB' for size in sizes)}")
    taken: dict[str, Any] = {}
    with running(project, folder, version, "production") as here, running(project, folder, version, "staging") as there:
        for size in sizes:
            taken[str(size)] = _measure_size(replace(here, database=f"shop_{size}"), there, size, repeat).as_dict()
    return {"postgresql": version, "sizes": taken}


def _measure_size(here: Place, there: Place, size: int, repeat: int) -> Taken:
    taken = Taken((size, fill(here, size)))
    backups = here.folder / f"backups-{size}"
    backups.mkdir(mode=0o700)
    for number in range(repeat):
        begin = time.monotonic()
        _take_reading(here, taken)
        _take_backup(here, taken, backups)
        _take_restore(here, taken, backups)
        _take_refresh(here, there, taken)
        _take_copies(here, taken)
        say(f"  {size} MB, {number + 1} of {repeat}: {time.monotonic() - begin:.0f} s")
    here.drop(here.database)
    shutil.rmtree(backups)
    return taken


def _take_reading(here: Place, taken: Taken) -> None:
    """Contents of every table: once beside the plain way, and before and after beside the least that is possible."""
    taken.add(SUM, shell(here, 'pg_dump --data-only "$1" | sha256sum', here.database))
    for name, method in ((RECORD, "record"), (TEXT, "text")):
        taken.add(name, module(here, "db_fingerprint", method=method)[0])
    tables = here.execute(
        "SELECT format('%I', relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
        here.database,
    )
    scans = "; ".join(f"SELECT count(*) FROM {name}" for (name,) in tables)
    taken.add(SCANS, shell(here, 'psql -q -d "$1" -c "$2" -c "$2" > /dev/null', here.database, scans))
    kept = str(here.folder / "before.json")
    before = module(here, "db_fingerprint", save_as=kept)[0]
    after = module(here, "db_fingerprint", compare_to=kept, expect_change={"added": {}, "removed": {}, "altered": {}})[
        0
    ]
    taken.add(VERIFIED, Ended(before.seconds + after.seconds, max(before.megabytes, after.megabytes), ""))


def _take_backup(here: Place, taken: Taken, backups: Path) -> None:
    shutil.rmtree(backups)
    backups.mkdir(mode=0o700)
    taken.add(DUMP, shell(here, 'pg_dump "$1" > production.sql', here.database))
    ended, _result = module(here, "db_backup", backup_dir=str(backups), checkpoint=False, client_path=_tools(here))
    taken.add(BACKUP, ended)


def _take_restore(here: Place, taken: Taken, backups: Path) -> None:
    """The runbook's own way back, C(pg_restore) by its settings, and ours."""
    backup = next(backups.iterdir())
    with here.fresh("peer"):
        quiet(here)
        taken.add(PSQL, shell(here, 'psql -q -d "$1" < production.sql > /dev/null', "peer"))
    for name in _chosen(taken):
        options = " ".join(f"-c {key}={value}" for key, value in PG_RESTORE[name].items())
        with here.fresh("peer"):
            quiet(here)
            command = ["pg_restore", "-j2", "-d", "peer", str(backup / "dump")]
            taken.add(f"pg_restore, {name}", run(command, {**here.connected, "PGOPTIONS": options}, here.folder))
    quiet(here)
    ended, result = module(
        here, "db_restore", backup=backup.name, backup_dir=str(backups), name="ours", client_path=_tools(here)
    )
    taken.add(RESTORED, ended)
    taken.add(RESTORED_ALONE, ended._replace(seconds=result["restore_seconds"]))
    here.drop("ours")


def _chosen(taken: Taken) -> list[str]:
    """Return the settings that are still in the race: all of them at first, then the fastest."""
    first = {name: taken.samples.get(f"pg_restore, {name}", [0.0])[0] for name in PG_RESTORE}
    return sorted(first, key=lambda name: first[name])[: FINALISTS if any(first.values()) else len(first)]


def _take_refresh(here: Place, there: Place, taken: Taken) -> None:
    """Production's data on another server: by a pipe, by pgcopydb, and by ours."""
    source, target = here.url, there.url_of("peer")
    with there.fresh("peer"):
        quiet(there)
        script = 'pg_dump -d "$SOURCE" | psql -q -d "$TARGET" > /dev/null'
        taken.add(
            PIPE,
            run(
                ["bash", "-c", f"set -o pipefail; {script}"],
                {**here.environment, "SOURCE": source, "TARGET": target},
                here.folder,
            ),
        )
    _pgcopydb(here, there, taken)
    quiet(there)
    beside = replace(there, database="staging")
    with there.fresh("staging"):
        ended, _result = module(
            beside, "db_copy", source_url=source, work_dir=str(here.folder), name="ours", client_path=_tools(here)
        )
        taken.add(COPIED, ended)
        there.drop("ours")


def _pgcopydb(here: Place, there: Place, taken: Taken) -> None:
    if not shutil.which("pgcopydb"):
        if not taken.notes:
            taken.notes.append("pgcopydb is not installed (apt-get install pgcopydb): not measured")
        return
    with there.fresh("peer"):
        quiet(there)
        environment = {
            **here.environment,
            "PGCOPYDB_SOURCE_PGURI": here.url,
            "PGCOPYDB_TARGET_PGURI": there.url_of("peer"),
        }
        command = [
            "pgcopydb",
            "clone",
            "--table-jobs",
            "2",
            "--index-jobs",
            "2",
            "--dir",
            str(here.folder / "pgcopydb"),
            "--restart",
            "--not-consistent",
            "--no-owner",
        ]
        taken.add(PGCOPYDB, run(command, environment, here.folder))


def _take_copies(here: Place, taken: Taken) -> None:
    """A file copy of the closed database by the disk alone, and by PostgreSQL alone."""
    ((oid,),) = here.execute(f"SELECT oid FROM pg_database WHERE datname = '{here.database}'")
    files, copy = here.cluster.data_dir / "base" / str(oid), here.folder / "cp"
    here.execute(f"ALTER DATABASE {here.database} ALLOW_CONNECTIONS false")
    for name, command in ((CP, 'cp -r "$1" "$2"'), (CP_SYNC, 'cp -r "$1" "$2" && sync "$2"/*')):
        quiet(here)
        taken.add(name, shell(here, command, str(files), str(copy)))
        shutil.rmtree(copy)
    quiet(here)
    statement = f"CREATE DATABASE peer TEMPLATE {here.database} STRATEGY FILE_COPY"
    taken.add(TEMPLATE, shell(here, 'psql -q -d postgres -c "$1"', statement))
    here.drop("peer")
    here.execute(f"ALTER DATABASE {here.database} ALLOW_CONNECTIONS true")


def quiet(place: Place) -> None:
    """Write out what the step before left, so that nobody pays for somebody else's pages."""
    place.execute("CHECKPOINT")
    subprocess.run(["sync"], check=True)


def _tools(place: Place) -> list[str]:
    return [str(place.cluster.bin_dir)]


def speed_lines(figures: dict[str, Any]) -> list[str]:
    """Return the table of all figures, by size, and what could not be measured."""
    sizes = list(figures["sizes"].values())
    rows = [["seconds", *(f"{taken['dump_megabytes']} MB" for taken in sizes)]]
    names = dict.fromkeys(name for taken in sizes for name in taken["medians"])
    rows += [[name, *(f"{taken['medians'].get(name, 0.0):.2f}" for taken in sizes)] for name in names]
    notes = dict.fromkeys(f"  {note}" for taken in sizes for note in taken["notes"])
    return [*table(f"Beside the peers (PostgreSQL {figures['postgresql']})", rows), *notes]
