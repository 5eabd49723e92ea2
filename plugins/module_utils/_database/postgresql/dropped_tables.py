# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts tables back that are not there any more, out of a dump: rows, constraints, indexes, owner, privileges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..._domain.catalogue import canonical_catalogue, change_between, describe, split_identity, without
from ..._domain.errors import Refused
from ..._domain.table_names import plain
from ..._domain.toc import (
    choose_lines,
    data_entry,
    foreign_keys_to,
    part_of,
    post_entries,
    pre_entries,
)
from ..._driver import one_row, psycopg2
from .catalogue import read_catalogue
from .contents import list_tables, rows_query
from .dump_parts import Dump
from .fresh_database import Rights, choose_rights
from .table_scratch import check_contents, unquoted

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.catalogue import Catalogue
    from ..._domain.manifest import Manifest
    from .connection import Server

_ROLLED_BACK = "All of it was rolled back: nothing was written."


class DroppedTables:
    """Tables that a backup has and the database has not.

    Args:
        server: the server.
        dump: the backup's dump.
        manifest: the backup's manifest.
        tables: their quoted names.
        live: the catalogue of the database as it is.
    """

    def __init__(self, server: Server, dump: Dump, manifest: Manifest, tables: Sequence[str], live: Catalogue) -> None:
        self._dump, self._manifest, self._tables, self._live = dump, manifest, tables, live
        self._then: Catalogue = manifest["fingerprint"]["catalogue"]
        self.left_out: list[str] = []
        for table in tables:
            self._check_ordinary(table)
        parts = [part_of(table, self._then) for table in tables]
        joined = {kind: {n: a for part in parts for n, a in part.get(kind, {}).items()} for kind in self._then}
        self._rights: Rights = choose_rights(server, joined) if tables else Rights(True, True)
        self.left_out += self._rights.reasons
        self._contents = dump.contents() if tables else ""

    def create(self, cursor: Cursor) -> None:
        """Create the tables, without their constraints, and fill and prove them.

        Raises:
            Refused: something that a table needs is missing.
            Failed: a table is not what was backed up.
        """
        for table in self._tables:
            lines = choose_lines(self._contents, pre_entries(table, self._then), self._then)
            self._run(cursor, table, self._dump.script(lines, ["--no-tablespaces", *self._rights.arguments()]))
            self._fill(cursor, table)

    def finish(self, cursor: Cursor) -> None:
        """Give the tables all that comes after rows, in the dump's own order, and the foreign keys that refer to them.

        Raises:
            Refused: a constraint does not hold.
        """
        entries = [entry for table in self._tables for entry in post_entries(table, self._then)]
        arguments = ["--no-tablespaces", *self._rights.arguments()]
        lines = choose_lines(self._contents, entries, self._then)
        if lines:
            self._run(cursor, ", ".join(map(plain, self._tables)), self._dump.script(lines, arguments))
        for table in self._tables:
            self._give_back_references(cursor, table)

    def prove(self, connection: Connection) -> None:
        """Compare what the tables have become with what they were; what differs goes into C(left_out)."""
        now = read_catalogue(connection)
        attributes = ("owner", "owner_without", "acl") if not self._rights.complete else ()
        for table in self._tables:
            was, has = (
                canonical_catalogue(without(part_of(table, part), (*attributes, "tablespace")))
                for part in (self._then, now)
            )
            self.left_out += [f"{plain(table)}: {line}" for line in describe(change_between(was, has))]
        views = self._then.get("views", {}).keys() - self._live.get("views", {}).keys()
        self.left_out += [f"view {name} is gone too, and was not put back" for name in sorted(views)]

    def _check_ordinary(self, table: str) -> None:
        attributes = self._then["tables"][table]
        if attributes["kind"] == "table" and not attributes.get("partition_bound"):
            return
        raise Refused(
            f"{plain(table)} is gone, and it was a partition: a partition that was dropped is not put back by itself.",
            untouched="Nothing was written.",
            remedy="Create the partition again (its bound was "
            f"{attributes.get('partition_bound', 'not that of a partition')}), then start again; or restore the whole "
            "backup.",
            table=table,
        )

    def _fill(self, cursor: Cursor, table: str) -> None:
        (line,) = choose_lines(self._contents, [data_entry(table)], self._then)
        with self._dump.rows(line) as rows:
            cursor.copy_expert(rows.statement, rows)
        (listed,) = (
            each
            for each in list_tables(cursor, method="text", skip_columns={}, skip_tables=()).tables
            if each.identity == table
        )
        cursor.execute(rows_query(listed, "contents", "text"))
        number, contents = one_row(cursor)
        found = {"rows": number, "contents": contents, "columns": unquoted(list(listed.columns))}
        check_contents(self._manifest, table, found, _ROLLED_BACK)

    def _run(self, cursor: Cursor, table: str, script: str) -> None:
        try:
            cursor.execute(script)
        except psycopg2.Error as error:
            raise Refused(
                f"{table} cannot be put back as it was: {str(error).strip()}",
                untouched=_ROLLED_BACK,
                remedy="Something that it needs is gone or does not fit: name the tables that it refers to as well "
                "(-e tables=…,…), create the type or function that is missing, or restore the whole backup.",
            ) from None

    def _give_back_references(self, cursor: Cursor, table: str) -> None:
        """Give other tables their foreign keys back; not validated, where rows of theirs have no parent any more."""
        for identity, attributes in foreign_keys_to(table, self._then).items():
            child, name = split_identity(identity)
            gone = identity not in self._live.get("constraints", {}) and child in self._live.get("tables", {})
            if not gone or child in self._tables:
                continue
            statement = f"ALTER TABLE {child} ADD CONSTRAINT {name} {attributes['definition']}"
            cursor.execute("SAVEPOINT reference")
            try:
                cursor.execute(statement)
            except psycopg2.errors.ForeignKeyViolation as error:
                cursor.execute("ROLLBACK TO SAVEPOINT reference")
                cursor.execute(f"{statement} NOT VALID")
                self.left_out.append(
                    f"the foreign key {name} of {plain(child)} is not validated, since rows have no parent: "
                    f"{str(error).strip()} Mend them, then: ALTER TABLE {child} VALIDATE CONSTRAINT {name};"
                )
