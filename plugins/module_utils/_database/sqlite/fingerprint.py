# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fingerprint of an SQLite database: its catalogue and what it holds, in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.catalogue import catalogue_hash
from ..._domain.sqlite_schema import quote_identifier, sql_identifier, unquoted
from .catalogue import is_virtual, read_catalogue, table_identity
from .database_file import connect, translated

if TYPE_CHECKING:
    import sqlite3

    from ..._domain.fingerprint import Fingerprint

_HASH_BYTES = 16
_ROWS_AT_ONCE = 5000


def take_fingerprint(
    path: Path,
    *,
    contents: str = "contents",
    skip_columns: Mapping[str, Sequence[str]] | None = None,
    skip_tables: Iterable[str] = (),
) -> Fingerprint:
    """Take the fingerprint of a file; see `_domain.fingerprint` for what it holds.

    It also holds C(violations), the number of rows by table that refer to a row that is not there.

    Args:
        path: the file.
        contents: C(contents) reads every row, C(counters) and C(counts) count them, C(none) reads the catalogue only.
        skip_columns: by table, names of columns to leave out of the contents.
        skip_tables: tables to leave out.

    Raises:
        Refused: it cannot be read.
    """
    with connect(path) as connection:
        connection.execute("BEGIN")
        return read_fingerprint(connection, path, contents=contents, skip_columns=skip_columns, skip_tables=skip_tables)


def read_fingerprint(
    connection: sqlite3.Connection,
    path: Path,
    *,
    contents: str = "contents",
    skip_columns: Mapping[str, Sequence[str]] | None = None,
    skip_tables: Iterable[str] = (),
) -> Fingerprint:
    """Take the fingerprint of what a connection sees in its open transaction; as `take_fingerprint`."""
    skipped_columns = {
        _name(table): {unquoted(column) for column in them} for table, them in (skip_columns or {}).items()
    }
    left_out = {_name(table) for table in skip_tables}
    catalogue = read_catalogue(connection)
    tables: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name, sql in _tables(connection) if contents != "none" else ():
        if name in left_out:
            skipped[table_identity(name)] = "left out, as asked for"
        elif is_virtual(sql):
            skipped[table_identity(name)] = "a virtual table; the tables in which it keeps its rows are read"
        else:
            columns = _columns(connection, name, skipped_columns.get(name, set()))
            tables[table_identity(name)] = _read_table(connection, path, name, columns, contents == "contents")
    return {
        "database": path.name,
        "server_version": version_number(connection),
        "method": "record",
        "counters_since": None,
        "catalogue": catalogue,
        "catalogue_hash": catalogue_hash(catalogue),
        "tables": tables,
        "skipped": skipped,
        "sequences": _sequences(connection) if contents != "none" else {},
        "large_objects": None,
        "materialised_views": {},
        "event_triggers": {},
        "violations": _violations(connection) if contents != "none" else {},
    }


def version_number(connection: sqlite3.Connection) -> int:
    """Return SQLite's version as a number, 3040001 for 3.40.1."""
    major, minor, patch = (int(part) for part in _one(connection, "SELECT sqlite_version()").split(".")[:3])
    return major * 1_000_000 + minor * 1000 + patch


def new_violations(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Return what refers to rows that are not there, and did not before; one sentence for each table."""
    return [
        f"Table {table} has {rows} rows that refer to a row that is not there, it had "
        f"{before['violations'].get(table, 0)}."
        for table, rows in sorted(after["violations"].items())
        if rows > before["violations"].get(table, 0)
    ]


def _name(identity: str) -> str:
    """Return a table's name from its identity, or from the name itself."""
    return unquoted(identity[len("main.") :] if identity.startswith("main.") else identity)


def _tables(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT name, coalesce(sql, '') FROM sqlite_master WHERE type = 'table' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()


def _columns(connection: sqlite3.Connection, table: str, skipped: set[str]) -> list[str]:
    """Return the columns to read, by name: a table that was built anew may have them in another order."""
    rows = connection.execute(f"PRAGMA table_xinfo({sql_identifier(table)})").fetchall()
    return sorted(str(row[1]) for row in rows if row[1] not in skipped)


def _read_table(
    connection: sqlite3.Connection, path: Path, name: str, columns: list[str], with_contents: bool
) -> dict[str, Any]:
    if not with_contents or not columns:
        rows = _one(connection, f"SELECT count(*) FROM {sql_identifier(name)}")  # noqa: S608  # quoted
        return {"rows": rows, "contents": None, "counters": None, "columns": None, "proof": "counts"}
    with translated(path):
        rows, total = _hashed(connection, name, columns)
    identifiers = [quote_identifier(column) for column in columns]
    return {"rows": rows, "contents": str(total), "counters": None, "columns": identifiers, "proof": "contents"}


def _hashed(connection: sqlite3.Connection, name: str, columns: list[str]) -> tuple[int, int]:
    """Return the number of rows, and the sum of their hashes: order does not count, repetition does.

    Python's own notation tells the number 1 from the text '1', the blob and the float.
    """
    query = f"SELECT {', '.join(map(sql_identifier, columns))} FROM {sql_identifier(name)}"  # noqa: S608  # quoted
    connection.text_factory = _text
    blake2b, from_bytes = hashlib.blake2b, int.from_bytes
    rows = total = 0
    cursor = connection.execute(query)
    while True:
        chunk = cursor.fetchmany(_ROWS_AT_ONCE)
        if not chunk:
            connection.text_factory = str
            return rows, total % 2 ** (8 * _HASH_BYTES)
        rows += len(chunk)
        total += sum(
            from_bytes(blake2b(repr(row).encode("utf-8", "backslashreplace"), digest_size=_HASH_BYTES).digest(), "big")
            for row in chunk
        )


def _text(value: bytes) -> str:
    """Read text that need not be valid: SQLite keeps whatever a program calls text."""
    return value.decode("utf-8", "surrogateescape")


def _sequences(connection: sqlite3.Connection) -> dict[str, Any]:
    if not _one(connection, "SELECT count(*) FROM sqlite_master WHERE name = 'sqlite_sequence'"):
        return {}
    rows = connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall()
    return {table_identity(name): {"last_value": position, "is_called": True} for name, position in rows}


def _violations(connection: sqlite3.Connection) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in connection.execute("PRAGMA foreign_key_check"):
        identity = table_identity(row[0])
        found[identity] = found.get(identity, 0) + 1
    return found


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]
