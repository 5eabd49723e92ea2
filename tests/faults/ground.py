# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground on which cases are played: two servers, a rehearsal that passed, and a production that is made anew.

Staging is rehearsed once. For every case production is dropped and copied from a pristine database under the OID that
it had in the rehearsal, so that the evidence stays valid, and gets a state folder of its own with that evidence.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
from stage import DATABASES

from ..playbook.scene import PROJECT, Scene
from .users import PREFIX

FOLDERS = "balcon-rollback-faults-"
PRODUCTION = DATABASES["production"]
STAGING = DATABASES["staging"]
PRISTINE = "pristine"
COMMENT = 'The shop\'s projects. Ask the backend team; "quoted", and ends with a backslash \\'
CONNECTION_LIMIT = 45
TABLES = ("users", "projects", "project_files")

_PROPERTIES = (
    f"ALTER DATABASE {PRODUCTION} OWNER TO shop",
    f"COMMENT ON DATABASE {PRODUCTION} IS '{COMMENT.replace(chr(39), chr(39) * 2)}'",
    f"ALTER DATABASE {PRODUCTION} CONNECTION LIMIT {CONNECTION_LIMIT}",
    f"REVOKE TEMPORARY ON DATABASE {PRODUCTION} FROM PUBLIC",
    f"GRANT CONNECT ON DATABASE {PRODUCTION} TO auditor",
    f"ALTER DATABASE {PRODUCTION} SET work_mem TO '5MB'",
    f"ALTER ROLE shop IN DATABASE {PRODUCTION} SET idle_session_timeout TO '1h'",
)


@dataclass(frozen=True)
class Contents:
    """What tells *before* from *after*: the schema, the state table, and the rows that no user of a case writes."""

    schema: str
    state: tuple[str, ...]
    rows: tuple[Any, ...]


@dataclass(frozen=True)
class Properties:
    """What a database has beside its contents."""

    owner: str
    privileges: tuple[str, ...]
    connection_limit: int
    settings: tuple[str, ...]
    comment: str | None


class Ground:
    """The servers and the rehearsed release.

    Args:
        folder: an empty private folder.

    Attributes:
        product: where the collection under test stands: this project, or a copy with a protection taken out. The
            rehearsal is always the project's own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.product = PROJECT
        self.scene = Scene(folder)
        self.before: Contents
        self.after: Contents
        self.properties: Properties
        self.oid = 0

    def set(self) -> None:
        """Start everything, rehearse, and learn what production is before and after.

        What it is afterwards is learned from the backend's own command on a copy, not from the collection.
        """
        self.scene.set()
        self.execute("CREATE ROLE auditor NOLOGIN")
        self._make_logins_cheap()
        for statement in _PROPERTIES:
            self.execute(statement)
        self.oid = self.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [PRODUCTION])[0][0]
        rehearsed = self.scene.play("env=staging")
        if rehearsed.exit_code != 0:
            raise RuntimeError(f"The rehearsal failed:\n{rehearsed.output}")
        self.execute(f"CREATE DATABASE {PRISTINE} TEMPLATE {PRODUCTION} STRATEGY FILE_COPY")
        self.before = self.contents(PRISTINE)
        self.after = self._learn_after()
        self.execute(f"ALTER DATABASE {PRISTINE} ALLOW_CONNECTIONS false")
        self.properties = self.read_properties()

    def _make_logins_cheap(self) -> None:
        """Let a login cost nearly nothing: users who are refused try again all the time."""
        password = psycopg2.extensions.parse_dsn(self.scene.url("production"))["password"]
        with self.scene.session("production", "postgres") as session, session.cursor() as cursor:
            cursor.execute("SET scram_iterations = 1")
            cursor.execute("ALTER ROLE shop PASSWORD %s", [password])

    def _learn_after(self) -> Contents:
        self.execute(f"CREATE DATABASE lesson TEMPLATE {PRISTINE} STRATEGY FILE_COPY OWNER shop")
        environment = {
            **self.scene.stage.tool_environment("production"),
            "DATABASE_URL": self.scene.url("production", database="lesson"),
        }
        self.scene.stage.run_tool(
            "lesson", ["npm", "run", "--silent", "migrate:down"], self.scene.checkout, environment
        )
        learned = self.contents("lesson")
        self.execute("DROP DATABASE lesson")
        return learned

    # -- production -------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Make production anew, and drop whatever earlier cases left on both servers."""
        self.scene.maintenance_file.unlink(missing_ok=True)
        for kind in ("production", "staging"):
            self.scene.cluster(kind).start()
            for (name,) in self.execute("SELECT datname FROM pg_database WHERE datname LIKE '%%\\_\\_%%'", kind=kind):
                self._drop(name, kind)
        self._drop(PRODUCTION)
        self.execute(f"CREATE DATABASE {PRODUCTION} OID {self.oid} TEMPLATE {PRISTINE} STRATEGY FILE_COPY")
        for statement in _PROPERTIES:
            self.execute(statement)

    def _drop(self, name: str, kind: str = "production") -> None:
        self.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', kind=kind)
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', kind=kind)

    def execute(
        self, statement: str, values: Any = None, *, database: str = "postgres", kind: str = "production"
    ) -> list[Any]:
        """Run SQL as the superuser, by default on production's server from outside."""
        return self.scene.execute(kind, statement, values, database=database)

    @contextlib.contextmanager
    def locked(self, table: str, database: str = PRODUCTION, mode: str = "ACCESS EXCLUSIVE") -> Iterator[Any]:
        """Hold a table so that nobody else can even read it; yields the session.

        Tables of the shop are held as the shop: a superuser's session could not be ended, and would be refused.
        """
        url = None if table.startswith("pg_catalog.") else self.scene.url("production", database=database)
        with self.scene.session("production", database, url) as session:
            session.autocommit = False
            with session.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {table} IN {mode} MODE")
            yield session

    # -- reading ----------------------------------------------------------------------------------------------------

    def contents(self, database: str = PRODUCTION) -> Contents:
        """Read a database that is open: schema by pg_dump, the rest by plain SQL."""
        state = self.execute("SELECT name FROM migrations_meta ORDER BY 1", database=database)
        rows = [
            self.execute(
                f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t"
                + (
                    f" WHERE client_reference IS NULL OR NOT starts_with(client_reference, '{PREFIX}')"
                    * (table == "projects")
                ),
                database=database,
            )[0]
            for table in TABLES
        ]
        return Contents(self._schema(database), tuple(name for (name,) in state), tuple(rows))

    def _schema(self, database: str) -> str:
        cluster = self.scene.cluster("production")
        dumped = subprocess.run(
            [cluster.bin_dir / "pg_dump", "--schema-only", "--dbname", cluster.superuser_url(database)],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
        lines = [line for line in dumped.splitlines() if not re.match(r"\\(un)?restrict |--|$", line)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def written(self, database: str = PRODUCTION) -> dict[str, dict[str, Any]]:
        """Return the rows that users of the case wrote, by their reference."""
        with self.scene.session("production", database) as session, session.cursor() as cursor:
            cursor.execute("SELECT * FROM projects WHERE starts_with(client_reference, %s)", [PREFIX])
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return {row["client_reference"]: row for row in rows}

    def read_properties(self, database: str = PRODUCTION) -> Properties:
        """Read what a database has beside its contents; it may be closed."""
        (row,) = self.execute(
            "SELECT pg_get_userbyid(datdba),"
            " ARRAY(SELECT unnest(coalesce(datacl, acldefault('d', datdba)))::text ORDER BY 1), datconnlimit,"
            " ARRAY(SELECT setrole::regrole::text || ' ' || unnest(setconfig) FROM pg_db_role_setting"
            "  WHERE setdatabase = pg_database.oid ORDER BY 1), shobj_description(oid, 'pg_database')"
            " FROM pg_database WHERE datname = %s",
            [database],
        )
        return Properties(row[0], tuple(row[1]), row[2], tuple(row[3]), row[4])

    def databases(self, kind: str = "production") -> dict[str, bool]:
        """Return the databases of the shop, and whether they take connections."""
        stem = DATABASES[kind]
        return dict(
            self.execute(
                "SELECT datname, datallowconn FROM pg_database WHERE starts_with(datname, %s)", [stem], kind=kind
            )
        )


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """Set the ground in a temporary folder; servers and folder are gone at the end."""
    _remove_what_killed_runs_left()
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
    made = Ground(folder)
    try:
        made.set()
        yield made
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    for kind in DATABASES:
        with contextlib.suppress(FileNotFoundError):
            Scene(folder).cluster(kind).destroy()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_what_killed_runs_left() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*-*"):
        process = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if not Path("/proc", process).exists() and folder.owner() == Path("/proc/self").owner():
            with contextlib.suppress(Exception):
                _remove(folder)
