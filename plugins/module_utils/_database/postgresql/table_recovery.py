# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovers single tables from a backup: looks, says, and puts rows back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.catalogue import split_identity
from ..._domain.comparison import ComparedTable, comparison_lines, only_in_one
from ..._domain.errors import Refused, RollbackError
from ..._domain.manifest import check_database, check_server
from ..._domain.recovered_tables import WRITING, check_columns, map_columns
from ..._domain.run_states import check_no_run
from ..._domain.table_names import choose_tables, plain
from ..._driver import psycopg2
from .backup import DUMP, read_backup
from .catalogue import read_catalogue
from .client_tools import find_client_tools
from .compare import compare_table, side_of
from .contents import list_tables, read_tables
from .dropped_tables import DroppedTables
from .dump_parts import Dump
from .reading import export_snapshot, reading
from .run_state import locked
from .table_scratch import drop_scratch, make_scratch
from .table_shape import Shape, partitions, read_shapes
from .table_write import Written, write_tables

if TYPE_CHECKING:
    from ..._domain.catalogue import Catalogue
    from ..._domain.manifest import Manifest
    from .connection import Server


@dataclass(frozen=True)
class Wanted:
    """What is to be recovered, and how.

    Attributes:
        run_id: goes into the scratch database's name.
        tables: as a person names them.
        mode: one of `recovered_tables.MODES`.
        keep_dir: where rows that are overwritten are kept.
        keep_scratch: leave the scratch database for the next call of the run.
        other_server: the backup may be of another server.
        jobs: sessions that restore and read at the same time.
        deadline: seconds for each C(pg_restore).
        signing_key: with it, the manifest must be signed by it.
        client_path: folders to look for the client tools in, before others.
    """

    run_id: str
    tables: Sequence[str]
    mode: str = "compare"
    keep_dir: Path | None = None
    keep_scratch: bool = False
    other_server: bool = False
    jobs: int = 2
    deadline: float = 14400
    signing_key: str | None = None
    client_path: Sequence[str] = ()


@dataclass(frozen=True)
class RecoveryPlan:
    """What was found out before anything is made.

    Attributes:
        manifest: the backup's.
        dump: the backup's dump.
        present: the quoted names of tables that are there.
        created: those that are not, with their rows in the backup.
        live: the catalogue of the database.
        shapes: the tables of the database.
    """

    manifest: Manifest
    dump: Dump
    present: list[str]
    created: dict[str, int]
    live: Catalogue
    shapes: dict[str, Shape]

    @property
    def other(self) -> str:
        """Return how the backup is called on screen."""
        return f"backup {self.manifest['backup_id']}"


def plan_recovery(server: Server, path: Path, wanted: Wanted) -> RecoveryPlan:
    """Prove the backup, find the tables, and check that their columns fit.

    Raises:
        Refused: the backup is not as it was written or of another database, a run is open, there is no such table, or
            rows would lose columns.
    """
    manifest = read_backup(path, wanted.signing_key, wanted.jobs)
    identifier = None if wanted.other_server else server.identity().system_identifier
    check_database(manifest, server.database, identifier)
    with locked(server) as (_cursor, description):
        check_no_run(server.database, description)
    with reading(server) as connection, connection.cursor() as cursor:
        check_server(manifest, connection.server_version)
        newest = max(connection.server_version, manifest["dump_version"])
        shapes, live = read_shapes(cursor), read_catalogue(connection)
    chosen = _choose(server, manifest, shapes, wanted.tables)
    for table in chosen:
        if table in shapes:
            mapped = map_columns(shapes[table].stored, stored_columns(table, manifest["fingerprint"]["catalogue"]))
            if wanted.mode in WRITING:
                check_columns(table, mapped, inserts=0)
    rows = manifest["fingerprint"]["tables"]
    return RecoveryPlan(
        manifest,
        Dump(path / DUMP, find_client_tools(newest, wanted.client_path), wanted.deadline),
        [table for table in chosen if table in shapes],
        {table: rows[table]["rows"] for table in chosen if table not in shapes},
        live,
        shapes,
    )


def stored_columns(table: str, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Return the columns of a table that are not computed, by quoted name, as a catalogue has them."""
    return {
        split_identity(name)[1]: dict(attributes)
        for name, attributes in catalogue.get("columns", {}).items()
        if attributes["table"] == table and not attributes.get("generated")
    }


def recover(server: Server, plan: RecoveryPlan, wanted: Wanted) -> dict[str, Any]:
    """Compare, and where the mode says so write; see the module table_recovery for what is returned.

    Raises:
        Refused: it cannot be done without losing something; nothing was written.
        Failed: what was restored, or written, is not what it should be; nothing was written.
    """
    dropped = DroppedTables(server, plan.dump, plan.manifest, list(plan.created), plan.live)
    left: list[str] = []
    try:
        with _scratch(server, plan, wanted, left) as scratch:
            if wanted.mode in WRITING:
                written = write_tables(
                    server,
                    scratch,
                    plan.present,
                    dropped,
                    plan.created,
                    replace=wanted.mode == "replace",
                    keep_dir=wanted.keep_dir,
                )
                result = {"changed": written.changed or bool(plan.created), **_result(written, plan)}
            else:
                entries = [*_compare(server, plan, scratch), *_created(plan)]
                lines = comparison_lines(entries, server.database, plan.other)
                result = {"changed": False, "tables": entries, "lines": lines}
    except RollbackError as error:
        error.remedy = " ".join([error.remedy, *left])
        raise
    result["lines"] += left
    return result


def foresee(server: Server, plan: RecoveryPlan, wanted: Wanted) -> dict[str, Any]:
    """Say, without making anything, which tables hold something else than the backup."""
    with reading(server) as connection, connection.cursor() as cursor:
        snapshot = export_snapshot(connection)
        listed = list_tables(cursor, method="text", skip_columns={}, skip_tables=()).tables
        asked = [(table, "contents") for table in listed if table.identity in plan.present]
        found = read_tables(server, None, snapshot, asked, method="text", jobs=wanted.jobs) if asked else {}
    then = plan.manifest["fingerprint"]["tables"]
    parts = ("rows", "contents", "columns")
    differing = [table for table in plan.present if any(found[table][part] != then[table][part] for part in parts)]
    lines = [f"{plain(table)}: not as in {plan.other}" for table in differing]
    lines += [f"{plain(table)}: gone, {rows} rows would come back" for table, rows in plan.created.items()]
    changes = bool(differing or plan.created) and wanted.mode in WRITING
    return {"changed": changes, "tables": _created(plan), "lines": lines or [f"All is as in {plan.other}."]}


@contextmanager
def _scratch(server: Server, plan: RecoveryPlan, wanted: Wanted, left: list[str]) -> Iterator[str | None]:
    """Give the scratch database, where tables that are there need one; drop it afterwards, or say that it is left."""
    if not plan.present:
        yield None
        return
    scratch = make_scratch(server, plan.dump, plan.manifest, plan.present, wanted.run_id, wanted.jobs)
    try:
        yield scratch.name
    finally:
        if not wanted.keep_scratch:
            try:
                drop_scratch(server, wanted.run_id)
            except RollbackError as error:  # what was written is committed, and must be told
                left.append(f"{error.message} {error.remedy}")
            except psycopg2.Error as error:
                left.append(f"The database {scratch.name!r} could not be dropped: {str(error).strip()}")


def _choose(server: Server, manifest: Manifest, shapes: dict[str, Shape], tables: Sequence[str]) -> list[str]:
    if not tables:
        raise Refused(
            "No table was named.", untouched="Nothing was changed.", remedy="Name them: -e tables=users,projects"
        )
    then = manifest["fingerprint"]
    groups = partitions(shapes)
    for name, attributes in then["catalogue"].get("tables", {}).items():
        for parent in attributes.get("parents") or [] if attributes.get("partition_bound") else []:
            parts = groups.setdefault(parent, [])
            if name in then["tables"] and name not in parts:
                parts.append(name)
    where = f"{server.database} and backup {manifest['backup_id']}"
    chosen = choose_tables(tables, {*shapes, *then["tables"]}, groups=groups, where=where)
    unknown = [plain(table) for table in chosen if table not in then["tables"]]
    if unknown:
        raise Refused(
            f"Backup {manifest['backup_id']} has no table {', '.join(unknown)}: it was made before "
            f"{'it' if len(unknown) == 1 else 'they'} came.",
            untouched="Nothing was changed.",
            remedy="Name a later backup, or leave the table out.",
            tables=unknown,
        )
    return chosen


def _compare(server: Server, plan: RecoveryPlan, scratch: str | None) -> list[ComparedTable]:
    if scratch is None:
        return []
    with reading(server) as mine, reading(server, scratch) as theirs:
        live, other = side_of(mine, server.database), side_of(theirs, scratch)
        return [compare_table(table, live, other) for table in plan.present]


def _created(plan: RecoveryPlan) -> list[ComparedTable]:
    return [only_in_one(table, "other", rows) for table, rows in plan.created.items()]


def _result(written: Written, plan: RecoveryPlan) -> dict[str, Any]:
    lines = [
        f"{plain(table)}: {numbers['inserted']} rows inserted, {numbers['updated']} changed back, "
        f"{numbers['deleted']} deleted{' (the table was gone)' if table in plan.created else ''}"
        for table, numbers in written.rows.items()
    ]
    lines += [
        f"{kept['rows']} overwritten rows of {plain(kept['table'])} are kept: {kept['path']}" for kept in written.kept
    ]
    lines += [f"Triggers did not fire: {', '.join(written.triggers)}"] if written.triggers else []
    lines += [f"Sequences set on: {', '.join(written.sequences)}"] if written.sequences else []
    lines += [f"Not as it was: {line}" for line in written.left_out]
    return {
        "tables": [{"name": table, **numbers} for table, numbers in written.rows.items()],
        "kept": written.kept,
        "triggers_off": written.triggers,
        "sequences_set": written.sequences,
        "left_out": written.left_out,
        "lines": lines,
    }
