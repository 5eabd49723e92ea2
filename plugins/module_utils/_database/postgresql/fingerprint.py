# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the fingerprint of a database: its catalogue and what it holds, in one snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.catalogue import catalogue_hash
from ..._domain.errors import Refused
from ..._driver import one_row
from ..._progress import reporter
from .catalogue import read_catalogue
from .contents import (
    Table,
    Tables,
    counters_since,
    list_tables,
    read_counters,
    read_large_objects,
    read_materialised_views,
    read_sequences,
    read_table,
    read_tables,
)
from .reading import export_snapshot, pin, reading
from .row_versions import earlier_readings, read_versions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.fingerprint import Fingerprint
    from .connection import Server
    from .row_versions import EarlierReading

CONTENTS = ("contents", "counters", "counts", "none")


def take_fingerprint(  # noqa: PLR0913  # one keyword for each option of db_fingerprint
    server: Server,
    database: str | None = None,
    *,
    contents: str = "contents",
    method: str = "record",
    skip_columns: Mapping[str, Sequence[str]] | None = None,
    skip_tables: Iterable[str] = (),
    budget_bytes: int | None = None,
    jobs: int = 2,
    snapshot: str | None = None,
    since: Fingerprint | None = None,
) -> Fingerprint:
    """Take the fingerprint of a database; see `_domain.fingerprint` for what it holds.

    Args:
        server: the server.
        database: its name; by default the one of the URL. It must be open to connections.
        contents: how much to prove: C(contents), C(counters), C(counts) or C(none).
        method: C(record) compares with a file copy on the same server only; C(text) across a restore too.
        skip_columns: by table, names of columns to leave out of the contents: those that the plan touches.
        skip_tables: tables to leave out.
        budget_bytes: read the contents of so many bytes of tables at most, the smallest first; the rest by counters.
        jobs: sessions that read at the same time.
        snapshot: the name of an exported snapshot to read; by default a new one.
        since: an earlier fingerprint. By C(record), tables to which nothing was written since are not hashed again.

    Raises:
        Refused: the database or one of its tables cannot be read.
    """
    name = database or server.database
    with reporter.activity(f"fingerprint of {name}"), reading(
        server, database, snapshot
    ) as connection, connection.cursor() as cursor:
        shared = snapshot or export_snapshot(connection)
        found = Tables()
        if contents != "none":
            found = list_tables(cursor, method=method, skip_columns=skip_columns or {}, skip_tables=skip_tables)
        counted = counters_since(cursor)
        proofs = _proofs(found.tables, contents, budget_bytes, counted=counted is not None)
        fingerprint = _head(connection, cursor, method, counted)
        earlier: dict[str, EarlierReading] = {}
        if method == "record":
            fingerprint["versions"] = read_versions(cursor, found.tables)
            earlier = earlier_readings(since, fingerprint["versions"])
        fingerprint["tables"] = _read(
            server, fingerprint["database"], shared, proofs, cursor, method=method, jobs=jobs, earlier=earlier
        )
        fingerprint["skipped"] = found.skipped
        fingerprint["sequences"] = read_sequences(cursor) if contents != "none" else {}
        fingerprint["large_objects"] = _large_objects(cursor, contents, budget_bytes, found.tables)
        fingerprint["materialised_views"] = read_materialised_views(cursor) if contents != "none" else {}
        fingerprint["event_triggers"] = fingerprint["catalogue"].get("event_triggers", {})
    return fingerprint


def fingerprint_here(connection: Connection, *, contents: str = "contents", method: str = "text") -> Fingerprint:
    """Take the fingerprint of a database in the transaction of one session, with what that has not committed yet.

    Args:
        connection: the session; its settings are pinned, its transaction goes on.
        contents: C(contents), C(counts) or C(none).
        method: as in `take_fingerprint`.

    Raises:
        Refused: a table cannot be read.
    """
    with connection.cursor() as cursor:
        pin(cursor)
        read = contents != "none"
        found = list_tables(cursor, method=method, skip_columns={}, skip_tables=()) if read else Tables()
        fingerprint = _head(connection, cursor, method, None)
        fingerprint["tables"] = {table.identity: read_table(cursor, table, contents, method) for table in found.tables}
        fingerprint["skipped"] = found.skipped
        fingerprint["sequences"] = read_sequences(cursor) if read else {}
        fingerprint["large_objects"] = _large_objects(cursor, contents, None, found.tables)
        fingerprint["materialised_views"] = read_materialised_views(cursor) if read else {}
        fingerprint["event_triggers"] = fingerprint["catalogue"].get("event_triggers", {})
    return fingerprint


def _head(connection: Connection, cursor: Cursor, method: str, counted: str | None) -> Fingerprint:
    cursor.execute("SELECT current_database(), current_setting('server_version_num')::int")
    name, version = one_row(cursor)
    catalogue = read_catalogue(connection)
    return {
        "database": name,
        "server_version": version,
        "method": method,
        "counters_since": counted,
        "catalogue": catalogue,
        "catalogue_hash": catalogue_hash(catalogue),
    }


def _proofs(tables: list[Table], contents: str, budget_bytes: int | None, *, counted: bool) -> list[tuple[Table, str]]:
    """Choose the proof of each table: contents within the budget, the smallest tables first, and counters beyond."""
    by_counters = "counters" if counted else "counts"
    if contents in ("counts", "counters"):
        return [(table, "counts" if contents == "counts" else by_counters) for table in tables]
    left = float("inf") if budget_bytes is None else float(budget_bytes)
    chosen: dict[str, str] = {}
    for table in sorted(tables, key=lambda table: table.bytes):
        left -= table.bytes
        chosen[table.identity] = "contents" if left >= 0 else by_counters
    return [(table, chosen[table.identity]) for table in tables]


def _read(
    server: Server,
    database: str,
    snapshot: str,
    proofs: list[tuple[Table, str]],
    cursor: Cursor,
    *,
    method: str,
    jobs: int,
    earlier: Mapping[str, EarlierReading],
) -> dict[str, dict[str, Any]]:
    to_read = [(table, proof) for table, proof in proofs if proof != "counters"]
    how: dict[str, Any] = {"method": method, "jobs": jobs, "earlier": earlier}
    read = read_tables(server, database, snapshot, to_read, **how) if to_read else {}
    counters = read_counters(cursor) if len(to_read) < len(proofs) else {}
    by_counters: dict[str, Any] = {"rows": None, "contents": None, "columns": None, "proof": "counters"}
    return {
        table.identity: read.get(table.identity) or {**by_counters, "counters": _counted(table, counters)}
        for table, _proof in proofs
    }


def _counted(table: Table, counters: Mapping[str, dict[str, int]]) -> dict[str, int]:
    try:
        return counters[table.identity]
    except KeyError:
        raise Refused(
            f"Table {table.identity} was dropped or renamed while it was being read.",
            untouched="It was only to be read; nothing was changed.",
            remedy="Find out who changes the schema now, then start again.",
        ) from None


def _large_objects(
    cursor: Cursor, contents: str, budget_bytes: int | None, tables: list[Table]
) -> dict[str, Any] | None:
    if contents == "none":
        return None
    cursor.execute("SELECT pg_relation_size('pg_catalog.pg_largeobject')")
    size = one_row(cursor)[0] + sum(table.bytes for table in tables)
    return read_large_objects(
        cursor, with_contents=contents == "contents" and (budget_bytes is None or size <= budget_bytes)
    )
