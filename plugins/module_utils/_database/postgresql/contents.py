# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what tables, sequences, large objects and materialised views hold, as numbers that can be compared."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..._domain.catalogue import unquote
from ..._domain.errors import Refused
from ..._driver import one_row, psycopg2, sql
from ..._progress import reporter
from .reading import reading
from .row_versions import is_unwritten

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.progress import Activity
    from .connection import Server
    from .row_versions import EarlierReading

_BATCH = 200

_PIECE_BYTES = 8 * 1024 * 1024

_TABLES = """
SELECT format('%%I.%%I', n.nspname, c.relname), c.relkind, c.oid::bigint, coalesce(pg_table_size(c.oid), 0),
  coalesce((SELECT jsonb_agg(jsonb_build_array(format('%%I', a.attname), a.attgenerated,
      CASE WHEN NOT coalesce(l.collisdeterministic, true) THEN 'text' WHEN t.typtype = 'e' THEN 'enum'
        WHEN a.atttypid = 'bigint'::regtype THEN 'wide' WHEN a.atttypid = 'numeric'::regtype THEN 'numeric'
        WHEN a.atttypid = ANY (%(time)s::regtype[]) THEN 'time'
        WHEN a.atttypid = ANY (%(safe)s::regtype[]) THEN 'value' ELSE 'text' END,
        concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attcollation))
      ORDER BY a.attname COLLATE "C")
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  CASE WHEN c.relam = (SELECT oid FROM pg_am WHERE amname = 'heap') THEN pg_relation_filenode(c.oid)::bigint END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'f') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 4 DESC, 1
"""

SAFE_TYPES = (
    "boolean", "bytea", '"char"', "name", "smallint", "integer", "bigint", "oid", "text", "character varying",
    "date", "time", "timestamp", "timestamptz", "uuid",
)  # fmt: skip
"""Types of which two values that are equal are the same to the last byte, so that hashing the value proves it.

Of other types they may not be: 1.0 and 1.00, '1 day' and '24 hours', text of another case (citext). Those, and types
that cannot be hashed at all (json, xml, point), are hashed as text.
"""

TIME_TYPES = ("time", "timestamp", "timestamptz")
"""Safe types of which the server's hash looks at the halves of a value joined by "exclusive or", 32 bits."""

_COUNTERS = """
SELECT format('%I.%I', n.nspname, c.relname), jsonb_build_object('inserted', pg_stat_get_tuples_inserted(c.oid),
  'updated', pg_stat_get_tuples_updated(c.oid), 'deleted', pg_stat_get_tuples_deleted(c.oid),
  'file', pg_relation_filenode(c.oid)::bigint)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'
"""

_LARGE_OBJECTS = """
WITH RECURSIVE pieces(object, start, bytes, digest) AS (
  SELECT m.oid::bigint, 0::bigint, length(p.piece), md5(p.piece) FROM pg_largeobject_metadata m
  CROSS JOIN LATERAL (SELECT lo_get(m.oid, 0, %(size)s) AS piece OFFSET 0) p
  UNION ALL
  SELECT l.object, l.start + %(size)s, length(p.piece), md5(p.piece) FROM pieces l
  CROSS JOIN LATERAL (SELECT lo_get(l.object::oid, l.start + %(size)s, %(size)s) AS piece OFFSET 0) p
  WHERE l.bytes = %(size)s
)
SELECT coalesce(sum(hashtextextended(concat_ws(':', object, start, digest), 0)), 0)::text FROM pieces
"""


@dataclass(frozen=True)
class Table:
    """A table to be read.

    Attributes:
        identity: schema and name, quoted.
        oid: its OID.
        bytes: its size with TOAST, without indexes.
        columns: the quoted names of columns to be read, by name, and how each is hashed: C(value), where hashing it
            proves it, C(wide) for whole numbers of 64 bits, C(numeric), C(time), C(enum), or C(text) for all others.
        shape: what stays the same while its file does and those columns keep places and types; None where its rows
            have no versions, since they are not kept as PostgreSQL's own tables are.
    """

    identity: str
    oid: int
    bytes: int
    columns: dict[str, str]
    shape: str | None = None


@dataclass
class Tables:
    """The tables of a database, the biggest first, and those that cannot be read, with the reason."""

    tables: list[Table] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def list_tables(
    cursor: Cursor, *, method: str, skip_columns: Mapping[str, Sequence[str]], skip_tables: Iterable[str]
) -> Tables:
    """List the tables of which rows are read: ordinary tables, partitions, unlogged ones; not those of extensions.

    Args:
        cursor: of a session of `reading.reading`.
        method: C(record) or C(text). By text, stored generated columns are left out: a restore computes them anew.
        skip_columns: by table, names of columns to leave out, quoted or not. A table may be named without its schema
            where that is C(public).
        skip_tables: tables to leave out.

    Raises:
        Refused: C(skip_columns) or C(skip_tables) names what is not there; a column may be missing, since the plan may
            have removed it.
    """
    cursor.execute(_TABLES, {"safe": list(SAFE_TYPES), "time": list(TIME_TYPES)})
    rows = cursor.fetchall()
    left_out = {qualified(name) for name in skip_tables}
    skipped_columns = {
        qualified(name): {unquote(column) for column in columns} for name, columns in skip_columns.items()
    }
    found = Tables()
    for identity, kind, oid, size, columns, file in rows:
        if kind == "f":
            found.skipped[identity] = "a foreign table: its rows are on another server"
        elif identity in left_out:
            found.skipped[identity] = "left out by skip_tables"
        else:
            chosen = _chosen(columns, method, skipped_columns.get(identity, set()))
            hashed = {name: how for name, _kind, how, _place in chosen}
            found.tables.append(Table(identity, oid, size, hashed, _shape(oid, file, chosen)))
    return found


def _chosen(columns: list[list[str]], method: str, skipped: set[str]) -> list[list[str]]:
    generated = {"v"} if method == "record" else {"s", "v"}
    return [column for column in columns if column[1] not in generated and unquote(column[0]) not in skipped]


def _shape(oid: int, file: int | None, columns: list[list[str]]) -> str | None:
    return None if file is None else hashlib.sha256(json.dumps([oid, file, columns]).encode()).hexdigest()[:32]


def qualified(name: str) -> str:
    return name if "." in name else f"public.{name}"


def rows_query(table: Table, proof: str, method: str) -> str:
    """Return the query of a table's number of rows and, for C(contents), the sum of their hashes as text.

    The sum is numeric, so that it never overflows, and counts a row that is there twice twice.
    """
    if proof != "contents":
        return f"SELECT count(*), NULL FROM ONLY {table.identity} AS row_"  # noqa: S608  # quoted by the server
    hashed = _hash(table.columns, by_text=method != "record")
    return f"SELECT count(*), coalesce(sum({hashed}), 0)::text FROM ONLY {table.identity} AS row_"  # noqa: S608


def _hash(columns: Mapping[str, str], *, by_text: bool) -> str:
    values = [
        value for name, how in columns.items() if how != "text" for value in _values_of(f"row_.{name}", how, by_text)
    ]
    others = [f"row_.{name}" for name, how in columns.items() if how == "text"]
    if others or not values:
        values.append(f"""(ROW({", ".join(others)})::text COLLATE "C")""")
    return hash_of_values(values)


def _values_of(column: str, how: str, by_text: bool) -> list[str]:
    """Return what is hashed of a column's value, so that it is the same across a dump and restore where it must be.

    An enum is shown by its own function there, since its owner may give it a cast to text. A C(numeric) always is: the
    server's hash of it knows no sign, and takes 1.0 for 1.00. By itself that is a third faster than within a row.
    """
    if how == "wide":
        return wide_values(column)
    if how == "numeric":
        return [f'(numeric_out({column})::text COLLATE "C")']
    if by_text and how == "enum":
        return [f'(enum_out({column})::text COLLATE "C")']
    if by_text and how == "time":
        return [f'({column}::text COLLATE "C")']
    return [column]


def wide_values(column: str) -> list[str]:
    """Return what is hashed of a whole number of 64 bits.

    The server hashes its halves joined by "exclusive or": 1 and 4294967296 have the same hash. With the upper half
    beside it they have not.
    """
    return [column, f"({column} >> 32)::integer"]


def hash_of_values(values: Iterable[str]) -> str:
    """Return the expression for the hash of a row's values, of which the sum over rows tells which row holds which.

    hash_record_extended adds up the columns' hashes, so that its own sum does not; and it is three times as fast as
    hashing the row's text, in which the server looks at each character for what it must quote. Of what it returns, the
    upper 53 bits are hashed once more, as the eight bytes of a floating point number: no text has to be made of it.
    """
    return f"""hashfloat8extended(hash_record_extended(ROW({", ".join(values)}), 0)::double precision, 0)"""


def read_tables(
    server: Server,
    database: str | None,
    snapshot: str,
    tables: Iterable[tuple[Table, str]],
    *,
    method: str,
    jobs: int,
    earlier: Mapping[str, EarlierReading] | None = None,
) -> dict[str, dict[str, Any]]:
    """Read tables in parallel sessions on one snapshot.

    Args:
        server: the server.
        database: the database's name.
        snapshot: an exported snapshot, open for as long as this takes.
        tables: each with the proof wanted for it, C(contents) or C(counts), the biggest first.
        method: C(record) or C(text).
        jobs: number of sessions.
        earlier: by table, what was read before, and is returned again where nothing was written to it since.

    Raises:
        Refused: a table cannot be read.
    """
    tasks: queue.SimpleQueue[tuple[Table, str]] = queue.SimpleQueue()
    total = 0
    for task in tables:
        tasks.put(task)
        total += task[0].bytes
    results: dict[str, dict[str, Any]] = {}

    def work() -> None:
        with reading(server, database, snapshot) as connection:
            _work_off(connection, tasks, method, earlier or {}, results, activity)

    with reporter.activity("contents", unit="bytes", total=total, done=0) as activity:
        in_parallel([work] * max(1, min(jobs, tasks.qsize())))
    return results


def _work_off(
    connection: Connection,
    tasks: queue.SimpleQueue[tuple[Table, str]],
    method: str,
    earlier: Mapping[str, EarlierReading],
    results: dict[str, dict[str, Any]],
    activity: Activity,
) -> None:
    with connection.cursor() as cursor:
        while True:
            try:
                table, proof = tasks.get_nowait()
            except queue.Empty:
                return
            activity.subject = table.identity
            results[table.identity] = read_table(cursor, table, proof, method, earlier.get(table.identity))
            activity.done = (activity.done or 0) + table.bytes


def read_table(
    cursor: Cursor, table: Table, proof: str, method: str, earlier: EarlierReading | None = None
) -> dict[str, Any]:
    """Read what one table holds, in the transaction of this session, as `read_tables` does for many.

    Raises:
        Refused: it cannot be read as a whole.
    """
    try:
        if proof == "contents" and earlier and is_unwritten(cursor, table, earlier):
            return earlier.table
        cursor.execute(rows_query(table, proof, method))
    except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.LockNotAvailable) as error:
        raise Refused(
            f"Table {table.identity} cannot be read as a whole: {str(error).strip()}.",
            untouched="It was only to be read; nothing was changed.",
            remedy="Use the role that owns the tables in the URL, without row-level security forced on it, and look "
            "for a session that holds a lock on the table (pg_locks).",
            table=table.identity,
        ) from None
    rows, contents = one_row(cursor)
    columns = [unquote(name) for name in table.columns] if proof == "contents" else None
    return {"rows": rows, "contents": contents, "counters": None, "columns": columns, "proof": proof}


def in_parallel(functions: Sequence[Callable[[], None]]) -> None:
    """Run functions in threads, wait for all, and raise the first exception that came up."""
    errors: list[BaseException] = []

    def guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # it is raised again below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=[function]) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def read_counters(cursor: Cursor) -> dict[str, dict[str, int]]:
    """Return the server's counters of changes by table, with the number of its file: emptying a table as a whole
    (TRUNCATE) counts nowhere but gives it a new file.
    """
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(_COUNTERS)
    return dict(cursor.fetchall())


def counters_since(cursor: Cursor) -> str | None:
    """Return what must be equal for two readings of the counters to say anything, or None where nothing is counted.

    Counters say nothing where C(track_counts) is off, after they were reset, and after a crash.
    """
    cursor.execute(
        "SELECT CASE WHEN current_setting('track_counts')::boolean THEN concat_ws(' ', pg_postmaster_start_time(), "
        "(SELECT stats_reset FROM pg_stat_database WHERE datname = current_database())) END"
    )
    row = cursor.fetchone()
    return str(row[0]) if row and row[0] is not None else None


def read_sequences(cursor: Cursor) -> dict[str, dict[str, Any]]:
    """Return the position of every sequence; positions belong to no snapshot."""
    cursor.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND NOT EXISTS "
        "(SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
    )
    names = [name for (name,) in cursor.fetchall()]
    positions: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        parts = [
            sql.SQL("SELECT {}, last_value, is_called FROM ").format(sql.Literal(name)) + sql.SQL(name)
            for name in batch
        ]
        cursor.execute(sql.SQL(" UNION ALL ").join(parts))
        positions.update({name: {"last_value": last, "is_called": called} for name, last, called in cursor.fetchall()})
    return positions


def read_large_objects(cursor: Cursor, *, with_contents: bool) -> dict[str, Any]:
    """Return the number of large objects and, where wanted, the sum of the hashes of their pieces."""
    cursor.execute("SELECT count(*) FROM pg_largeobject_metadata")
    count = one_row(cursor)[0]
    contents = None
    if with_contents:
        contents = "0"
        if count:
            cursor.execute(_LARGE_OBJECTS, {"size": _PIECE_BYTES})
            contents = one_row(cursor)[0]
    return {"count": count, "contents": contents}


def read_materialised_views(cursor: Cursor) -> dict[str, dict[str, Any]]:
    """Return the rows of every materialised view; None where it is not populated."""
    cursor.execute(
        "SELECT format('%I.%I', n.nspname, c.relname), c.relispopulated FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' AND NOT EXISTS "
        "(SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1"
    )
    views: dict[str, dict[str, Any]] = {}
    for name, populated in cursor.fetchall():
        if populated:
            cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608  # quoted by the server
        views[name] = {"rows": one_row(cursor)[0] if populated else None, "populated": populated}
    return views
