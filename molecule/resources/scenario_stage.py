# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage of a scenario: that of the demo, with few rows, and an API that honours maintenance mode.

    python scenario_stage.py set <folder> [--releases 1.2.0,1.1.0]
    python scenario_stage.py sql <folder> <statement>
    python scenario_stage.py look <folder>
    python scenario_stage.py end <folder>

It needs examples/demo in PYTHONPATH. What it makes lies in the folder; `end` leaves nothing of it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import psycopg2
from deploy import DeployError
from embedded_postgresql import ClusterError
from production import read_state, superuser
from psycopg2 import sql
from stage import DATABASES, KINDS, RELEASES, ROLE, Stage, StageError

PROJECTS = 2_000
PRODUCTION = sql.Identifier(DATABASES["production"])
PROPERTIES = (
    sql.SQL("CREATE ROLE reporting LOGIN"),
    sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(PRODUCTION),
    sql.SQL("GRANT CONNECT ON DATABASE {} TO reporting").format(PRODUCTION),
    sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 40").format(PRODUCTION),
    sql.SQL("ALTER DATABASE {} SET statement_timeout TO '45s'").format(PRODUCTION),
    sql.SQL("ALTER ROLE {} IN DATABASE {} SET work_mem TO '5MB'").format(sql.Identifier(ROLE), PRODUCTION),
)
"""What a file copy does not carry, and a rollback has to."""


def set_up(stage: Stage) -> None:
    """Set the stage; it must not be there yet."""
    stage.folder.mkdir(mode=0o700)
    stage.make_folders()
    stage.start_servers()
    stage.make_releases()
    stage.fill_databases()
    for statement in PROPERTIES:
        execute(stage, statement)
    stage.start_api()


def execute(stage: Stage, statement: sql.Composable) -> None:
    """Execute a statement in production, as its superuser."""
    with superuser(stage, DATABASES["production"]) as cursor:
        cursor.execute(statement)


def look(stage: Stage) -> dict[str, Any]:
    """Return what a run that was refused must leave as it is."""
    state = read_state(stage)
    return {
        "production": state.database,
        "open_as_before": state.open_as_before,
        "migrations": state.migrations,
        "columns": state.columns,
        "databases": {kind: _databases(stage, kind) for kind in KINDS},
        "release": stage.platform.runs(),
        "maintenance": (stage.platform.folder / "maintenance").exists(),
    }


def _databases(stage: Stage, kind: str) -> list[str]:
    connection = psycopg2.connect(stage.cluster(kind).superuser_url())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT oid || ' ' || datname FROM pg_database ORDER BY datname")
            return [name for (name,) in cursor.fetchall()]
    finally:
        connection.close()


def end(stage: Stage) -> None:
    """End everything, in whatever state it is, and remove it; does nothing where there is nothing."""
    if stage.folder.exists():
        stage.clear()
        shutil.rmtree(stage.folder)


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Set the stage of a scenario, look at it, or end it.")
    parser.add_argument("command", choices=["set", "sql", "look", "end"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("statement", nargs="?", default="")
    parser.add_argument("--releases", default=",".join(RELEASES), help="newest first; the newest one runs")
    given = parser.parse_args(arguments)
    releases = tuple(given.releases.split(","))
    stage = Stage(given.folder.resolve(), releases, projects=PROJECTS, ignore_maintenance=False)
    try:
        if given.command == "look":
            sys.stdout.write(json.dumps(look(stage), sort_keys=True) + "\n")
        elif given.command == "sql":
            execute(stage, sql.SQL(given.statement))
        else:
            (set_up if given.command == "set" else end)(stage)
    except (StageError, DeployError, ClusterError, psycopg2.Error, OSError) as error:
        sys.stderr.write(f"scenario: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
