# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table in which a migration tool notes what it has applied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._domain.errors import Refused
from .._driver import sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .._database.postgresql.connection import Server


@dataclass(frozen=True)
class StateTable:
    """A state table.

    Attributes:
        table: its name, as the catalogue has it.
        schema: its schema.
        name_column: the column with the migrations' names.
        order_column: the column that orders them, or "": by name, as most tools do.
    """

    table: str = "migrations_meta"
    schema: str = "public"
    name_column: str = "name"
    order_column: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return what modules return."""
        return {"schema": self.schema, "table": self.table, "name_column": self.name_column}

    def read(self, server: Server, database: str | None = None) -> list[str]:
        """Return what is applied, oldest first, from a read-only transaction.

        Raises:
            Refused: the table, or a column of it, is not there; the message says what is.
        """
        with server.connect(database, only_system_names=True) as connection:
            connection.set_session(readonly=True)
            with connection.cursor() as cursor:
                return self.read_with(cursor, database or server.database)

    def read_with(self, cursor: Cursor, database: str) -> list[str]:
        """Return what is applied, oldest first, through a cursor in that database.

        Raises:
            Refused: the table, or a column of it, is not there.
        """
        self._check(cursor, database)
        columns = sql.SQL(", ").join(map(sql.Identifier, filter(None, (self.name_column, self.order_column))))
        table = sql.Identifier(self.schema, self.table)
        cursor.execute(sql.SQL("SELECT {} FROM {}").format(columns, table))
        rows = [(str(name), *order) for name, *order in cursor.fetchall()]
        # By name means by code point, as JavaScript and C sort, and not by the database's collation.
        rows.sort(key=lambda row: (row[1:], row[0]) if self.order_column else ((), row[0]))
        return [row[0] for row in rows]

    def _check(self, cursor: Cursor, database: str) -> None:
        cursor.execute(
            "SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n "
            "ON n.oid = relnamespace WHERE nspname = %s AND relname = %s AND attnum > 0 AND NOT attisdropped",
            [self.schema, self.table],
        )
        columns = [name for (name,) in cursor.fetchall()]
        if not columns:
            raise self._no_table(cursor, database)
        for column in filter(None, (self.name_column, self.order_column)):
            if column not in columns:
                raise Refused(
                    f"The state table {self.schema}.{self.table} in database {database!r} has no column"
                    f" {column!r}; it has {', '.join(columns)}.",
                    untouched="Nothing was touched.",
                    remedy="Set name_column and order_column of rollback_engine_options.",
                )

    def _no_table(self, cursor: Cursor, database: str) -> Refused:
        cursor.execute(
            "SELECT format('%I.%I', nspname, relname) FROM pg_class c JOIN pg_namespace n ON n.oid ="
            " relnamespace WHERE relkind IN ('r', 'p') AND relname ~* 'migrat|sequelizemeta|alembic_version'"
            " ORDER BY 1 LIMIT 5"
        )
        others = ", ".join(name for (name,) in cursor.fetchall())
        return Refused(
            f"There is no state table {self.schema}.{self.table} in database {database!r}."
            + (f" It has: {others}." if others else ""),
            untouched="Nothing was touched.",
            remedy=(
                "Check that the URL leads to the database you mean, and set table and schema of "
                "rollback_engine_options (capitals count: Umzug's default is SequelizeMeta)."
            ),
            database=database,
        )


def make_state_table(options: Mapping[str, Any]) -> StateTable:
    """Read a state table from C(engine_options).

    Raises:
        Refused: it is to be ordered by a column, and none is named.
    """
    by_column = options.get("order") == "column"
    if by_column and not options.get("order_column"):
        raise Refused(
            "The state table is to be ordered by a column, but order_column does not say which.",
            untouched="Nothing was touched.",
            remedy="Set order_column of rollback_engine_options, for example executed_at.",
        )
    names = ("table", "schema", "name_column") + (("order_column",) if by_column else ())
    return StateTable(**{name: options[name] for name in names if options.get(name)})
