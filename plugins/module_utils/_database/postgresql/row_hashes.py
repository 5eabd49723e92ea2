# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of keys and rows, computed by the server, that can be compared between databases of one server."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..._domain.row_difference import Bucket, Row
from ..._driver import one_row
from .contents import hash_of_values, wide_values

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .table_shape import Shape

_ROWS_AT_A_TIME = 20000


class Hashing(NamedTuple):
    """How the rows of a table are hashed, alike on both sides.

    Attributes:
        key: an expression for the hash of a row's key, over the alias C(row_).
        row: an expression for the hash of all of a row that is compared.
        keyed: whether there is a key; without one, both expressions are the same.
        columns: the quoted columns that are compared.
    """

    key: str
    row: str
    keyed: bool
    columns: tuple[str, ...]


def hashing_of(live: Shape, other: Shape) -> Hashing:
    """Choose how to hash a table: over the columns that both sides have, by the key that both sides have.

    A value goes in as it is where equal hashes mean equal values, and as text otherwise, also where its type is
    another one on the other side: then values that are written alike count as equal.
    """
    columns = tuple(name for name in live.stored if name in other.stored)
    as_they_are = {name for name in columns if _safe_in_both(name, live, other)}
    wide = {name for name in as_they_are if live.columns[name]["type"] == "bigint"}
    row = _hash(columns, as_they_are, wide)
    keyed = bool(live.key) and set(live.key) <= set(columns)
    return Hashing(_hash(live.key, as_they_are, wide) if keyed else row, row, keyed, columns)


def _safe_in_both(name: str, live: Shape, other: Shape) -> bool:
    here, there = live.columns[name], other.columns[name]
    return bool(here["safe"] and there["safe"] and here["type"] == there["type"])


def _hash(columns: Sequence[str], as_they_are: set[str], wide: set[str]) -> str:
    values = [f"row_.{name}" for name in columns if name in as_they_are and name not in wide]
    values += [value for name in columns if name in wide for value in wide_values(f"row_.{name}")]
    as_text = [f"row_.{name}" for name in columns if name not in as_they_are]
    if as_text:
        values.append(f"""(ROW({", ".join(as_text)})::text COLLATE "C")""")
    return hash_of_values(values) if values else "0::bigint"


def read_buckets(cursor: Cursor, table: str, hashing: Hashing, mask: int) -> dict[int, Bucket]:
    """Return how many rows a table has in each bucket, and the sums of their hashes.

    Args:
        cursor: not a named one: those keep the server from reading in parallel.
        table: quoted.
        hashing: as `hashing_of` chose it.
        mask: as `bucket_mask` returned it.
    """
    # The planner takes every row for a group of its own, and would sort all of them on the disk.
    cursor.execute("SET LOCAL enable_sort = off; SET LOCAL work_mem = '32MB'")
    cursor.execute(
        f"SELECT ({hashing.key}) & {mask:d}, count(*), sum({hashing.row})::text "  # noqa: S608  # quoted by the server
        f"FROM ONLY {table} AS row_ GROUP BY 1"
    )
    found = {number: Bucket(rows, contents) for number, rows, contents in cursor.fetchall()}
    cursor.execute("SET LOCAL enable_sort = on")
    return found


def read_total(cursor: Cursor, table: str, hashing: Hashing) -> Bucket:
    """Return how many rows a table has, and the sum of their hashes."""
    cursor.execute(
        f"SELECT count(*), coalesce(sum({hashing.row}), 0)::text FROM ONLY {table} AS row_"  # noqa: S608  # as above
    )
    return Bucket(*one_row(cursor))


def stream_rows(
    connection: Connection, table: str, hashing: Hashing, mask: int, buckets: Sequence[int]
) -> Generator[Row, None, None]:
    """Stream the hashes of the rows in some buckets, sorted by key and contents.

    Without a key, rows that are all the same come as one, with their number.
    """
    columns = "key, contents, 1" if hashing.keyed else "contents, contents, count(*)"
    group = "" if hashing.keyed else "GROUP BY contents "
    # Written out, since a per cent sign in a name would count as a place for a value.
    wanted = f"key & {mask:d} = ANY('{{{','.join(map(str, buckets))}}}'::bigint[])"
    with connection.cursor(name="rows") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        cursor.execute(
            f"SELECT {columns} FROM (SELECT {hashing.key} AS key, {hashing.row} AS contents "  # noqa: S608  # as above
            f"FROM ONLY {table} AS row_) AS hashed WHERE {wanted} {group}ORDER BY 1, 2"
        )
        for key, contents, count in cursor:
            yield Row(key, contents, count)
