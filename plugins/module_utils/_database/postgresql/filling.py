# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filling the tables of a scratch database with a few rows each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.filling import Field, Fillable, in_order, insert_statement
from ..._driver import one_row, psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server

_FIELDS = """
SELECT format('%%I.%%I', n.nspname, c.relname), jsonb_agg(jsonb_build_object(
  'name', format('%%I', a.attname), 'type', format_type(b.oid, NULL), 'category', b.typcategory,
  'length', CASE WHEN b.typname IN ('varchar', 'bpchar', 'bit', 'varbit') AND typmod.value > 0
    THEN CASE WHEN b.typname IN ('bit', 'varbit') THEN typmod.value ELSE typmod.value - 4 END END,
  'digits', CASE WHEN b.typname = 'numeric' AND typmod.value > 0 THEN jsonb_build_array(
    (((typmod.value - 4) >> 16) & 65535) - ((typmod.value - 4) & 2047), (typmod.value - 4) & 2047) END,
  'nullable', NOT a.attnotnull AND NOT t.typnotnull,
  'has_default', a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,
  'labels', coalesce((SELECT jsonb_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = b.oid),
    '[]'),
  'target', (SELECT jsonb_build_array(format('%%I.%%I', fn.nspname, fc.relname), format('%%I', fa.attname))
    FROM pg_constraint k JOIN pg_class fc ON fc.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
    JOIN pg_attribute fa ON fa.attrelid = k.confrelid AND fa.attnum = k.confkey[array_position(k.conkey, a.attnum)]
    WHERE k.conrelid = c.oid AND k.contype = 'f' AND a.attnum = ANY (k.conkey) ORDER BY k.oid LIMIT 1))
  ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
JOIN pg_type t ON t.oid = a.atttypid
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
CROSS JOIN LATERAL (SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS value) typmod
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND format('%%I.%%I', n.nspname, c.relname) <> %s
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e')
GROUP BY 1 ORDER BY 1
"""


def fill(
    server: Server, database: str, state_table: str, rows: int, *, first: int = 1, only_empty: bool, largest: bool
) -> dict[str, str]:
    """Give the tables of a scratch database a few rows each, as far as their constraints let us.

    Args:
        server: the server.
        database: the scratch database.
        state_table: the identity of the table to leave alone.
        rows: how many each.
        first: the number of the first row, from which values are made.
        only_empty: leave tables alone that have rows.
        largest: make values as long as they may be.

    Returns:
        Why, by table, for those that are empty afterwards.
    """
    with server.connect(database, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'")
        cursor.execute(_FIELDS, [state_table])
        tables = [Fillable(name, tuple(map(_field, fields))) for name, fields in cursor.fetchall()]
        full = {table.name for table in tables if _has_rows(cursor, table.name)}
        wanted = [table for table in tables if table.name not in full] if only_empty else tables
        reasons = {
            table.name: _fill(cursor, table, range(first, first + rows), largest) for table in in_order(wanted, full)
        }
        return {name: reason for name, reason in reasons.items() if reason and not _has_rows(cursor, name)}


def _fill(cursor: Cursor, table: Fillable, numbers: range, largest: bool) -> str:
    reason = ""
    for number in numbers:
        try:
            cursor.execute(insert_statement(table, number, largest=largest))
        except psycopg2.Error as error:
            reason = str(error).strip().splitlines()[0]
    return reason


def _field(content: dict[str, Any]) -> Field:
    lists = ("digits", "target", "labels")
    values: dict[str, Any] = {
        key: tuple(value) if key in lists and value is not None else value for key, value in content.items()
    }
    return Field(**values)


def _has_rows(cursor: Cursor, name: str) -> bool:
    cursor.execute(f"SELECT EXISTS (SELECT FROM {name})")  # noqa: S608  # quoted by the server
    return bool(one_row(cursor)[0])
