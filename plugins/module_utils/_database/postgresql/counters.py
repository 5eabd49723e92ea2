# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tuple counters: whether anything was written to a database since a moment.

They are a hint with a name of its own, not a proof by contents: a superuser's session may set track_counts off, and a
crash sets them back. What can be seen of that, is seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

from ..._driver import one_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor as Cursor

Counts = Dict[str, List[int]]
"""By OID of the table, as text: rows inserted, updated, deleted since counting began; none at zero."""

_ANALYSED = (2619, 3429)
"""pg_statistic and pg_statistic_ext_data, which autovacuum writes; ``pg_toast_<oid>`` are theirs too."""

_COUNTS = """
SELECT relid::text, format('%%I.%%I', schemaname, c.relname), n_tup_ins, n_tup_upd, n_tup_del
FROM pg_stat_all_tables JOIN pg_class c ON c.oid = relid
WHERE NOT relisshared AND n_tup_ins + n_tup_upd + n_tup_del > 0
  AND NOT relid = ANY(%s::oid[]) AND NOT c.relname = ANY(%s)
ORDER BY 2
"""

_GROUND = """
SELECT extract(epoch FROM pg_postmaster_start_time())::float8,
       (SELECT extract(epoch FROM stats_reset)::float8 FROM pg_stat_database
        WHERE datid = (SELECT oid FROM pg_database WHERE datname = current_database())),
       current_setting('track_counts')::boolean
       AND NOT EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS setting
                       WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                       AND setting ~* '^track_counts=(off|false|no|0)$')
"""


def read_counters(cursor: Cursor) -> dict[str, Any]:
    """Read all counters of the database that the cursor is in, system tables included: they count DDL too.

    Every other session must have ended: a session delivers its counts at the latest when it ends.

    Returns:
        C(counts) as `Counts`, and the ground on which they stand: C(started) of the server, C(reset) of the
        counters, C(tracked). JSON can hold it.
    """
    counts, _names = _read_counts(cursor)
    return {"counts": counts, **_read_ground(cursor)}


def unproven_because(cursor: Cursor, then: Mapping[str, Any]) -> str:
    """Say why the counters prove nothing since they were read; empty where they do."""
    now = _read_ground(cursor)
    if not (now["tracked"] and then.get("tracked")):
        return "track_counts is off"
    if now["started"] != then.get("started"):
        return "the server was restarted since the swap, which may have set its counters back"
    if now["reset"] != then.get("reset"):
        return "the counters were reset since the swap"
    return ""


def difference_from(cursor: Cursor, then: Mapping[str, Any] | None) -> str:
    """Say why a database cannot go back to what it was when its counters were read; empty where nothing was written."""
    if then is None:
        return _UNKNOWN
    unproven = unproven_because(cursor, then)
    if unproven:
        return f"it cannot be told whether rows were written to it since the swap, because {unproven}"
    written = rows_written(cursor, then)
    tables = ", ".join(f"{table} ({rows} rows)" for table, rows in sorted(written.items()))
    return f"rows were written to it since the swap: {tables}" if written else ""


_UNKNOWN = "nothing on record tells whether rows were written to it since the swap"


def rows_written(cursor: Cursor, then: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows were written since the counters were read, by table; empty where none were."""
    counts, names = _read_counts(cursor)
    before = then["counts"]
    written = {}
    for oid, values in counts.items():
        rows = sum(abs(now - past) for now, past in zip(values, before.get(oid, [0, 0, 0])))
        if rows:
            written[names[oid]] = rows
    return written


def _read_counts(cursor: Cursor) -> tuple[Counts, dict[str, str]]:
    cursor.execute(_COUNTS, [list(_ANALYSED), [f"pg_toast_{oid}" for oid in _ANALYSED]])
    rows = cursor.fetchall()
    return {oid: list(counts) for oid, _name, *counts in rows}, {oid: name for oid, name, *_counts in rows}


def _read_ground(cursor: Cursor) -> dict[str, Any]:
    cursor.execute(_GROUND)
    return dict(zip(("started", "reset", "tracked"), one_row(cursor)))
