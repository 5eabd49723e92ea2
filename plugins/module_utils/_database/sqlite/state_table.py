# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in which a migration tool notes what it has applied, in an SQLite file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..._domain.errors import Refused
from ..._domain.sqlite_schema import sql_identifier
from .database_file import connect

if TYPE_CHECKING:
    import sqlite3

    from ..._migrations.state_table import StateTable

SCHEMA = "main"


def in_sqlite(table: StateTable) -> StateTable:
    """Return a state table as SQLite has it: there is one schema."""
    return replace(table, schema=SCHEMA)


def read_state(table: StateTable, path: Path) -> list[str]:
    """Return what is applied, oldest first.

    Raises:
        Refused: the table, or a column of it, is not there; the message says what is.
    """
    with connect(path) as connection:
        connection.execute("BEGIN")
        _check(connection, table, path)
        columns = ", ".join(map(sql_identifier, filter(None, (table.name_column, table.order_column))))
        query = f"SELECT {columns} FROM {sql_identifier(table.table)}"  # noqa: S608  # quoted
        found = connection.execute(query).fetchall()
    rows = [(str(name), *order) for name, *order in found]
    rows.sort(key=lambda row: (row[1:], row[0]) if table.order_column else ((), row[0]))
    return [row[0] for row in rows]


def _check(connection: sqlite3.Connection, table: StateTable, path: Path) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({sql_identifier(table.table)})")]
    if not columns:
        raise _no_table(connection, table, path)
    for column in filter(None, (table.name_column, table.order_column)):
        if column not in columns:
            raise Refused(
                f"The state table {table.table} in {path.name} has no column {column!r}; it has {', '.join(columns)}.",
                untouched="Nothing was touched.",
                remedy="Set name_column and order_column of rollback_engine_options.",
            )


def _no_table(connection: sqlite3.Connection, table: StateTable, path: Path) -> Refused:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name LIMIT 20").fetchall()
    others = ", ".join(str(name) for (name,) in rows)
    return Refused(
        f"There is no state table {table.table} in {path}. It has: {others or 'no table at all'}.",
        untouched="Nothing was touched.",
        remedy="Check that the URL leads to the file you mean, and set table of rollback_engine_options (Umzug's "
        "default is SequelizeMeta).",
    )
