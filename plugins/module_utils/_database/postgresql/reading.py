# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that only read: one snapshot, and settings pinned so that everything is printed the same way everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..._driver import one_row, psycopg2

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server

PINNED = {
    "search_path": "",
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "lc_monetary": "C",
    # A policy then makes an error of a query instead of hiding rows from it.
    "row_security": "off",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "lock_timeout": "30s",
    "jit": "off",
    "synchronize_seqscans": "off",
}
"""Settings of a session that reads; those that a server does not know are left out.

Sources: PostgreSQL's pg_dump sets DateStyle, IntervalStyle, extra_float_digits, row_security and the time-outs for the
same reasons (setup_connection); search_path decides what pg_get_expr qualifies with a schema.
"""


@contextmanager
def reading(server: Server, database: str | None = None, snapshot: str | None = None) -> Iterator[Connection]:
    """Open a session with one transaction that reads one snapshot.

    Args:
        server: the server.
        database: its name; by default the one of the URL.
        snapshot: as another session's `export_snapshot` returned it, which must still be open.
    """
    with server.connect(database, only_system_names=True) as connection:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            if snapshot:
                cursor.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
            pin(cursor)
        yield connection
        if not connection.closed and connection.status != psycopg2.extensions.STATUS_READY:
            connection.rollback()


def export_snapshot(connection: Connection) -> str:
    """Return the name of a session's snapshot, for other sessions and for pg_dump; valid while it stays open."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_export_snapshot()")
        return str(one_row(cursor)[0])


def pin(cursor: Cursor) -> None:
    """Set a session's settings to `PINNED`."""
    cursor.execute(
        "SELECT pg_catalog.set_config(wanted.name, wanted.value, false) "
        "FROM unnest(%s::text[], %s::text[]) AS wanted(name, value) "
        "WHERE lower(wanted.name) IN (SELECT lower(name) FROM pg_catalog.pg_settings)",
        [list(PINNED), list(PINNED.values())],
    )
