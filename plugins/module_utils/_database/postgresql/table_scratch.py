# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch database that holds single tables as a backup has them: the whole schema, and only their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.catalogue import unquote
from ..._domain.description import Description, render_description
from ..._domain.errors import Failed, Refused
from ..._domain.names import derived_name
from ..._domain.toc import choose_lines, data_entry
from .client_tools import connection_argument, newer_settings, running, tool_environment
from .contents import list_tables, read_tables
from .dump_parts import Dump, chosen
from .fresh_database import RESTORE_SETTINGS, drop_database, exists, fresh_database, read_description
from .reading import export_snapshot, reading
from .run_state import write_comment

if TYPE_CHECKING:
    from ..._domain.manifest import Manifest
    from .connection import Server

ROLE = "trial"


class Scratch(NamedTuple):
    """The scratch database of a run: its name, and whether it was there already, complete."""

    name: str
    present: bool


def make_scratch(
    server: Server, dump: Dump, manifest: Manifest, tables: Sequence[str], run_id: str, jobs: int
) -> Scratch:
    """Restore tables into a scratch database, and prove that they are what was backed up.

    Args:
        server: the server.
        dump: the backup's dump.
        manifest: the backup's manifest.
        tables: the quoted names of tables that hold rows.
        run_id: goes into the database's name; one that this run has made already is used again.
        jobs: sessions that restore and read at the same time.

    Raises:
        Refused: there is such a database, and it holds something else.
        Failed: the tables are not what was backed up; the database was dropped again.
    """
    name = derived_name(server.database, ROLE, run_id)
    data = {"backup_digest": manifest["digest"], "tables": sorted(tables)}
    if _is_present(server, name, data):
        return Scratch(name, True)
    description = Description(
        run_id=run_id,
        role=ROLE,
        note=f"Tables of backup {manifest['backup_id']}, to be put back into {server.database}; it can be dropped.",
        data=data,
    )
    with fresh_database(server, name, manifest["locale"], description):
        _fill(server, dump, manifest, name, tables, jobs)
        _prove(server, manifest, name, tables, jobs)
        complete = replace(description, data={**data, "complete": True})
        with server.admin(autocommit=False) as connection, connection.cursor() as cursor:
            write_comment(cursor, name, render_description(complete))
    return Scratch(name, False)


def drop_scratch(server: Server, run_id: str) -> bool:
    """Drop the scratch database of a run; tell whether there was one.

    Raises:
        Refused: there is a database of that name that no table recovery made.
    """
    name = derived_name(server.database, ROLE, run_id)
    if not exists(server, name):
        return False
    description = read_description(server, name)
    if description is None or description.role != ROLE or "tables" not in description.data:
        raise _not_ours(name)
    drop_database(server, name)
    return True


def _is_present(server: Server, name: str, data: dict[str, Any]) -> bool:
    if not exists(server, name):
        return False
    description = read_description(server, name)
    if description is None or description.role != ROLE or "tables" not in description.data:
        raise _not_ours(name)
    found = description.data
    if found.get("complete") and all(found.get(key) == value for key, value in data.items()):
        return True
    drop_database(server, name)
    return False


def _not_ours(name: str) -> Refused:
    return Refused(
        f"There is a database {name!r}, and no recovery of tables made it.",
        untouched="It was not touched.",
        remedy="Start a new run, or rename or drop it yourself if nobody needs it.",
        database=name,
    )


def _fill(server: Server, dump: Dump, manifest: Manifest, name: str, tables: Sequence[str], jobs: int) -> None:
    """Restore the schema, without what would only slow the rows down, and the tables' rows without a log of them."""
    catalogue = manifest["fingerprint"]["catalogue"]
    lines = choose_lines(dump.contents(), map(data_entry, tables), catalogue)
    if len(lines) != len(tables):
        raise Failed(
            f"The dump of backup {manifest['backup_id']} lists the rows of {len(lines)} of {len(tables)} tables.",
            untouched=f"The half-made database {name} was dropped again; no other was touched.",
            remedy="Restore the whole backup beside with db_restore, and look there.",
        )
    _restore(server, dump, name, ["--section=pre-data"])
    with server.connect(name) as connection, connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false), SET UNLOGGED")
    with chosen(lines) as choice:
        _restore(server, dump, name, ["--data-only", "--use-list", str(choice), f"--jobs={jobs}"])


def _restore(server: Server, dump: Dump, name: str, what: Sequence[str]) -> None:
    unknown = newer_settings(dump.tools, server)
    stop = [] if unknown else ["--exit-on-error"]
    arguments = [
        "--format=directory", *stop, "--no-password", "--no-owner", "--no-privileges", "--no-tablespaces",
        *what, connection_argument(name), str(dump.folder),
    ]  # fmt: skip
    environment = tool_environment(server, name, RESTORE_SETTINGS)
    try:
        with running(dump.tools, "pg_restore", arguments, environment=environment, deadline=dump.deadline) as tool:
            tool.wait(unknown)
    except Failed as error:
        error.untouched = f"The half-made database {name} was dropped again; no other was touched."
        raise


def _prove(server: Server, manifest: Manifest, name: str, tables: Sequence[str], jobs: int) -> None:
    with reading(server, name) as connection, connection.cursor() as cursor:
        snapshot = export_snapshot(connection)
        listed = list_tables(cursor, method="text", skip_columns={}, skip_tables=()).tables
        wanted = [(table, "contents") for table in listed if table.identity in tables]
        found = read_tables(server, name, snapshot, wanted, method="text", jobs=jobs)
    for table in tables:
        check_contents(manifest, table, found[table], f"The database {name} was dropped again; no other was touched.")


def check_contents(manifest: Manifest, table: str, found: dict[str, Any], untouched: str) -> None:
    """Check that a table holds what the manifest says: rows, contents, over the same columns.

    Raises:
        Failed: it does not.
    """
    then = manifest["fingerprint"]["tables"][table]
    if all(found[part] == then[part] for part in ("rows", "contents", "columns")):
        return
    raise Failed(
        f"Table {table} as restored is not what was backed up: {found['rows']} rows instead of {then['rows']}, or "
        "other contents.",
        untouched=untouched,
        remedy="Do not use this backup before you know why; name another one, and look for faults of disk and memory.",
        table=table,
    )


def unquoted(columns: Sequence[str]) -> list[str]:
    """Return column names without their quotes, as a fingerprint has them."""
    return [unquote(name) for name in columns]
