# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a database back from a dump inside one transaction: emptied, filled, proven, and only then committed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..._domain.errors import Failed, Refused
from ..._domain.fingerprint import compare_restored
from ..._domain.in_place import sort_entries
from ..._driver import one_row, psycopg2
from ..._progress import reporter
from .backup import DUMP
from .client_tools import find_client_tools
from .dump_parts import Dump
from .emptying import empty, kept_schemas
from .fingerprint import fingerprint_here
from .reading import pin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.manifest import Manifest

_DEADLINE = 14400.0


class WayBack(NamedTuple):
    """A dump that a database can be brought back to.

    Attributes:
        dump: the dump.
        manifest: of its backup, proven.
    """

    dump: Dump
    manifest: Manifest

    @classmethod
    def of(cls, path: Path, manifest: Manifest, server_version: int, client_path: Sequence[str]) -> WayBack:
        """Complete it with the tools that read the dump."""
        tools = find_client_tools(max(server_version, manifest["dump_version"]), client_path)
        return cls(Dump(path / DUMP, tools, _DEADLINE), manifest)


def differences(connection: Connection, way_back: WayBack, *, contents: str = "contents") -> list[str]:
    """Return what a database differs in from the dump, read in this very transaction; empty where in nothing.

    Args:
        connection: a session in the database; its transaction goes on.
        way_back: the dump.
        contents: C(contents), or C(none) for the catalogue alone.
    """
    manifest = way_back.manifest
    original = manifest["fingerprint"]
    if contents == "none":
        original = {**original, "tables": {}, "sequences": {}, "large_objects": None, "materialised_views": {}}
    now = fingerprint_here(connection, contents=contents)
    return compare_restored(original, now, sequences_until=manifest["sequences_until"])


def try_way_back(connection: Connection, way_back: WayBack) -> int:
    """Empty the database and make its schema again from the dump, prove that it is the same, and undo all of it.

    What would stop a restore when it is needed, stops the run here, before anything is migrated: rights, objects of
    others, the server's table of locks.

    Returns:
        How many locks it took.

    Raises:
        Refused: the dump could not be restored in place; nothing was altered.
    """
    try:
        with connection.cursor() as cursor:
            _begin(cursor)
            try:
                locks = _refill(cursor, way_back, with_rows=False)
                different = differences(connection, way_back, contents="none")
            finally:
                connection.rollback()
    except psycopg2.Error as error:
        raise _no_way_back(str(error).strip()) from None
    if different:
        raise _no_way_back(f"the schema would not be the same: {' '.join(different[:10])}")
    return locks


def bring_back(connection: Connection, way_back: WayBack) -> None:
    """Empty the database, restore the dump and prove it, in the transaction of this session, which is not committed.

    Raises:
        Failed: the result is not what was dumped; roll back.
        psycopg2.Error: the server could not do it; roll back.
    """
    with connection.cursor() as cursor:
        _begin(cursor)
        _refill(cursor, way_back, with_rows=True)
        different = differences(connection, way_back)
        if different:
            raise Failed(
                f"What was restored in place is not what was dumped: {' '.join(different[:10])}",
                untouched="It was rolled back: the database is shut, as it was when this began.",
                remedy="Look for faults of disk and memory on both hosts before anything else is tried.",
                differences=different[:200],
            )
        cursor.execute("ANALYZE")


def _begin(cursor: Cursor) -> None:
    pin(cursor)
    cursor.execute("SET LOCAL check_function_bodies = off; SET LOCAL client_min_messages = warning")


def _refill(cursor: Cursor, way_back: WayBack, *, with_rows: bool) -> int:
    dump = way_back.dump
    entries = sort_entries(dump.contents(), kept_schemas(cursor))
    with reporter.activity("restore in place", total=len(entries.rows), done=0, unit="tables") as activity:
        empty(cursor, way_back.manifest["fingerprint"]["catalogue"].get("extensions", {}))
        _run(cursor, dump.script(entries.schema, ["--section=pre-data"]))
        if with_rows:
            for number, line in enumerate(entries.rows):
                with dump.rows(line) as rows:
                    cursor.copy_expert(rows.statement, rows)
                activity.done = number + 1
            if entries.sequences:
                _run(cursor, dump.script(entries.sequences))
        _run(cursor, dump.script(entries.schema, ["--section=post-data"]))
    cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
    return int(one_row(cursor)[0])


def _run(cursor: Cursor, script: str) -> None:
    if script.strip():
        cursor.execute(script)


def _no_way_back(reason: str) -> Refused:
    return Refused(
        f"The way back was tried before anything was migrated, and there is none: {reason}",
        untouched="Nothing was migrated; the trial was rolled back.",
        remedy="Remove the cause (rights, objects of other roles, max_locks_per_transaction), or roll back by a "
        "candidate (rollback_method: candidate).",
    )
