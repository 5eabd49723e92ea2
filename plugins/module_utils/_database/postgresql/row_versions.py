# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells of a table that nothing was written to it since an earlier reading, by the versions of its rows.

PostgreSQL never alters a row where it lies: an update makes a new version of it, which bears the transaction that made
it (``xmin``; PostgreSQL's documentation, "System Columns"). A snapshot names a transaction before which all have ended.
Where every row that is seen now comes from before it, each was seen in that snapshot; where there are as many as then,
none has gone either. So they are the same, and need not be hashed again. This holds for the same file of the same table
of one server, as long as the columns that are read have the same places and types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..._driver import one_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg2.extensions import cursor as Cursor

    from ..._domain.fingerprint import Fingerprint
    from .contents import Table


_FAR = 2**30
"""Transactions of which it is clear which comes first: their numbers have 32 bits, and begin anew."""


class EarlierReading(NamedTuple):
    """What was read of a table before, in the same file and over the same columns.

    Attributes:
        table: what `contents.read_table` returned.
        transaction: one before which all had ended in the snapshot of that reading.
    """

    table: dict[str, Any]
    transaction: int


def read_versions(cursor: Cursor, tables: Iterable[Table]) -> dict[str, Any]:
    """Return what a later reading has to know of this one.

    Args:
        cursor: of a session of `reading.reading`, in the snapshot of this reading.
        tables: those that are read.

    Returns:
        C(of), the server since its start and the database; C(transaction), one before which all have ended in the
        snapshot, with its epoch; C(shapes), by table.
    """
    cursor.execute(
        "SELECT concat_ws(' ', pg_postmaster_start_time(), oid), txid_snapshot_xmin(txid_current_snapshot()) "
        "FROM pg_database WHERE datname = current_database()"
    )
    of, transaction = one_row(cursor)
    shapes = {table.identity: table.shape for table in tables if table.shape is not None}
    return {"of": of, "transaction": transaction, "shapes": shapes}


def earlier_readings(since: Fingerprint | None, versions: Mapping[str, Any]) -> dict[str, EarlierReading]:
    """Return by table what was read earlier, where the versions of its rows can tell whether that still holds.

    Args:
        since: an earlier fingerprint.
        versions: what `read_versions` returned now.
    """
    then = (since or {}).get("versions")
    if not since or not then or then["of"] != versions["of"] or versions["transaction"] - then["transaction"] > _FAR:
        return {}
    return {
        name: EarlierReading(table, then["transaction"])
        for name, table in since["tables"].items()
        if table["proof"] == "contents" and then["shapes"].get(name, "") == versions["shapes"].get(name)
    }


def is_unwritten(cursor: Cursor, table: Table, earlier: EarlierReading) -> bool:
    """Tell whether a table holds the very rows that were read earlier.

    Raises:
        psycopg2.Error: it cannot be read.
    """
    # age() counts from one transaction for a whole statement. Rows frozen before a wrap may seem newer, and are hashed.
    newer = f"age(row_.xmin) <= (SELECT age('{int(earlier.transaction) % 2**32}'::xid))"
    cursor.execute(
        f"SELECT count(*), count(*) FILTER (WHERE {newer}) FROM ONLY {table.identity} AS row_"  # noqa: S608  # quoted by the server
    )
    return bool(one_row(cursor) == (earlier.table["rows"], 0))
