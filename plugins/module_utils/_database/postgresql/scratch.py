# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scratch databases: made beside another one for one purpose, and gone when it is served."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ..._domain.description import Description, render_description
from ..._domain.migration_evidence import Column, Snapshot, Table, without_table
from ..._domain.names import derived_name, new_run_id
from .clone import clone_database
from .fingerprint import take_fingerprint
from .fresh_database import drop_database, fresh_database, read_locale
from .run_state import write_comment

if TYPE_CHECKING:
    from .connection import Server

_TABLES = """
SELECT c.oid::bigint, format('%I.%I', n.nspname, c.relname), coalesce(pg_relation_filenode(c.oid), 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

_COLUMNS = """
SELECT c.oid::bigint, a.attnum, format('%I.%I', n.nspname, c.relname), a.attname,
  format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> ''
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


def _new_run() -> str:
    return new_run_id(datetime.now(timezone.utc), secrets.token_hex(2))


def _describe(server: Server, run_id: str) -> Description:
    return Description(
        run_id=run_id,
        role="trial",
        note=f"A scratch database beside {server.database}, made to check migrations; nobody needs it afterwards.",
        data={"scratch": True},
    )


@contextmanager
def scratch_database(server: Server) -> Iterator[str]:
    """Create an empty database beside the URL's, and drop it at the end, whatever happens.

    Raises:
        Refused: the role cannot create databases.
    """
    run_id = _new_run()
    name = derived_name(server.database, "trial", run_id)
    with server.admin() as connection, connection.cursor() as cursor:
        locale = read_locale(cursor, server.database)
    with fresh_database(server, name, locale, _describe(server, run_id)):
        with server.admin() as connection, connection.cursor() as cursor:
            write_comment(cursor, name, render_description(_describe(server, run_id)))
        yield name
    drop_database(server, name)


@contextmanager
def copy_of(server: Server, scratch: str) -> Iterator[str]:
    """Copy a scratch database, and drop the copy at the end."""
    run_id = _new_run()
    name = derived_name(server.database, "trial", run_id)
    clone_database(server, scratch, name, description=_describe(server, run_id))
    try:
        yield name
    finally:
        drop_database(server, name)


def take_snapshot(server: Server, database: str, state_table: str) -> Snapshot:
    """Read a scratch database: its catalogue, what is in its tables, and how they are stored.

    Args:
        server: the server.
        database: the scratch database.
        state_table: the identity of the table to leave out.
    """
    print_ = take_fingerprint(server, database, method="text", skip_tables=[state_table])
    with server.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLES)
        tables = {oid: _table(name, file, print_["tables"].get(name)) for oid, name, file in cursor.fetchall()}
        cursor.execute(_COLUMNS)
        columns = {(oid, number): Column(_short(table), *rest) for oid, number, table, *rest in cursor.fetchall()}
    state = next((oid for oid, table in tables.items() if table.name == _short(state_table)), None)
    return Snapshot(
        without_table(print_["catalogue"], state_table),
        {oid: table for oid, table in tables.items() if oid != state},
        {place: column for place, column in columns.items() if place[0] != state},
    )


def _table(name: str, file: int, read: dict[str, object] | None) -> Table:
    rows, contents = (read["rows"], read["contents"]) if read else (None, None)
    return Table(_short(name), file, rows, contents)  # type: ignore[arg-type]  # as read_tables returns them


def _short(identity: str) -> str:
    return identity[len("public.") :] if identity.startswith("public.") else identity
