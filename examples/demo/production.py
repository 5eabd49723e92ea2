# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Production of the demo, as its own server shows it: the state it is in, and the rows that the writers left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg2
from ledger import Row
from psycopg2 import sql
from stage import COMMENT, DATABASES, ROLE, Stage
from writers import REFERENCE_PREFIX


@dataclass(frozen=True)
class State:
    """What production is.

    Args:
        database: the OID of the database that bears production's name.
        migrations: in its state table, in order.
        columns: of the table ``projects``, in order.
        open_as_before: whether it takes connections, and has the owner and the comment that it was made with.
    """

    database: str
    migrations: tuple[str, ...]
    columns: tuple[str, ...]
    open_as_before: bool


CLOSED = State("", (), (), open_as_before=False)
"""What production is when nobody gets in."""


def read_state(stage: Stage, database: str = DATABASES["production"]) -> State:
    """Read what production, or another database of its server, is."""
    try:
        return _read_open_state(stage, database)
    except psycopg2.OperationalError:
        return CLOSED


def read_failed_candidate(stage: Stage) -> State:
    """Read what the candidate of a failed run is; it is opened for that moment, and closed again."""
    with superuser(stage, "postgres") as cursor:
        cursor.execute(
            "SELECT max(datname) FROM pg_database WHERE starts_with(datname, %s)",
            (f"{DATABASES['production']}__failed_",),
        )
        (name,) = cursor.fetchone()
    if name is None:
        return CLOSED
    _allow_connections(stage, name, allow=True)
    try:
        return read_state(stage, name)
    finally:
        _allow_connections(stage, name, allow=False)


def _allow_connections(stage: Stage, database: str, *, allow: bool) -> None:
    with superuser(stage, "postgres") as cursor:
        cursor.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(allow))
        )


def _read_open_state(stage: Stage, database: str) -> State:
    with superuser(stage, database) as cursor:
        cursor.execute("SELECT name FROM migrations_meta ORDER BY name")
        migrations = tuple(name for (name,) in cursor.fetchall())
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'public.projects'::regclass AND attnum > 0"
            " AND NOT attisdropped ORDER BY attname"
        )
        columns = tuple(name for (name,) in cursor.fetchall())
        cursor.execute(
            "SELECT oid::text, datallowconn AND datdba::regrole::text = %s AND"
            " shobj_description(oid, 'pg_database') = %s FROM pg_database WHERE datname = current_database()",
            (ROLE, COMMENT),
        )
        oid, open_as_before = cursor.fetchone()
    return State(oid, migrations, columns, bool(open_as_before))


@contextlib.contextmanager
def superuser(stage: Stage, database: str) -> Iterator[Any]:
    """Give a cursor on production's server, as its superuser, committed at the end."""
    connection = psycopg2.connect(stage.cluster("production").superuser_url(database), connect_timeout=10)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def production_rows(stage: Stage) -> dict[str, Row]:
    """Return the writers' rows in production, by their reference; none when nobody gets in."""
    try:
        return _read_rows(stage)
    except psycopg2.OperationalError:
        return {}


def _read_rows(stage: Stage) -> dict[str, Row]:
    with superuser(stage, DATABASES["production"]) as cursor:
        cursor.execute("SELECT * FROM projects WHERE starts_with(client_reference, %s)", (REFERENCE_PREFIX,))
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row["client_reference"]: row for row in rows}


def shorten_titles(stage: Stage, title: str) -> None:
    """Cut this title to 50 characters wherever it is: what made the last act fail must not fail the next run."""
    with superuser(stage, DATABASES["production"]) as cursor:
        cursor.execute("UPDATE projects SET title = left(title, 50) WHERE title = %s", (title,))
