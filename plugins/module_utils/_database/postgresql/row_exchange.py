# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: S608  # names in statements were quoted by the server
"""The rows of one table that differ, side by side in the database that is written: what came, and what is there.

Everything here happens in the one transaction that writes, while the table is locked against other writers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.errors import Failed, Refused
from ..._domain.recovered_tables import ColumnMap, unfit
from ..._domain.row_difference import Bucket, Difference, bucket_mask, differing_buckets
from ..._domain.table_names import plain
from ..._driver import one_row
from .contents import in_parallel
from .row_hashes import Hashing, hashing_of, read_buckets, read_total

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .table_shape import Shape

_SAME_ROW = "there.balcon_key = came.balcon_key AND there.balcon_number = came.balcon_number"

_CHUNK = 1024 * 1024


class RowExchange:
    """The rows of one table that differ between a scratch database and the live one.

    Args:
        number: tells it from the other tables of the transaction.
        live: the table as it is.
        scratch: the table as the backup has it.
        mapped: how the columns go over.
    """

    def __init__(self, number: int, live: Shape, scratch: Shape, mapped: ColumnMap) -> None:
        self.table = live.identity
        self.difference = Difference()
        self.mapped = mapped
        self._live = live
        self._came, self._there = f"pg_temp.balcon_came_{number}", f"pg_temp.balcon_there_{number}"
        self._kept = f"kept_{number}"
        self._hashing: Hashing = hashing_of(live, scratch)
        self._mask = bucket_mask(max(live.estimated_rows, scratch.estimated_rows))
        self._wanted: dict[int, Bucket] = {}

    def load(self, writing: Cursor, scratch: Cursor) -> None:
        """Bring the rows that differ over from the scratch database, and count them.

        Args:
            writing: in the live database; the table must be locked.
            scratch: in the scratch database.
        """
        present: dict[int, Bucket] = {}

        def read(cursor: Cursor, into: dict[int, Bucket]) -> None:
            into.update(read_buckets(cursor, self.table, self._hashing, self._mask))

        in_parallel([lambda: read(writing, present), lambda: read(scratch, self._wanted)])
        self.before = _total(present)
        buckets = differing_buckets(present, self._wanted)
        if not buckets:
            return
        chosen = f"balcon_key & {self._mask:d} = ANY('{{{','.join(map(str, buckets))}}}'::bigint[])"
        self._bring_over(writing, scratch, chosen)
        writing.execute(
            f"CREATE TEMP TABLE {self._there} ON COMMIT DROP AS "
            f"SELECT balcon_key, balcon_contents, {self._repetition()}, "
            f"balcon_place FROM (SELECT {self._hashing.key} AS balcon_key, {self._hashing.row} AS balcon_contents, "
            f"ctid AS balcon_place FROM ONLY {self.table} AS row_) AS hashed WHERE {chosen}; "
            f"ANALYZE {self._came}; ANALYZE {self._there}"
        )
        writing.execute(
            f"SELECT (SELECT count(*) FROM {self._came} AS came WHERE NOT EXISTS {_twin(self._there, 'came')}), "
            f"(SELECT count(*) FROM {self._there} AS there WHERE NOT EXISTS {_twin(self._came, 'there')}), "
            f"(SELECT count(*) FROM {self._came} AS came JOIN {self._there} AS there ON {_SAME_ROW} "
            "WHERE there.balcon_contents <> came.balcon_contents)"
        )
        self.difference = Difference(*one_row(writing))

    def check_fits(self, writing: Cursor, *, replace: bool) -> None:
        """Check that each value that would be written reads the same in the type that its column has now.

        Raises:
            Refused: one does not.
        """
        same = " AND a.balcon_contents = b.balcon_contents" if replace else ""
        for column, past in self.mapped.as_text.items() if self.difference else ():
            kind = self.mapped.columns[column]
            writing.execute(
                f"SELECT count(*) FROM {self._came} AS a WHERE a.{column} IS NOT NULL AND a.{column}::{kind}::text "
                f"IS DISTINCT FROM a.{column} AND NOT EXISTS (SELECT FROM {self._there} AS b "
                f"WHERE b.balcon_key = a.balcon_key AND b.balcon_number = a.balcon_number{same})"
            )
            rows = one_row(writing)[0]
            if rows:
                raise unfit(self.table, column, kind, past, rows)

    def keep_overwritten(self, writing: Cursor, folder: Path) -> dict[str, Any] | None:
        """Write the rows that are to be deleted or changed into a file, and prove that all of them are in it.

        Returns:
            C(table), C(path), C(rows), C(sha256), and the command of psql that loads them; None where there are none.

        Raises:
            Failed: the file does not hold all rows.
        """
        wanted = self.difference.extra + self.difference.changed
        if not wanted:
            return None
        columns = ", ".join(self._live.stored)
        path = folder / f"{hashlib.sha256(self.table.encode()).hexdigest()[:12]}-{secrets.token_hex(4)}.copy"
        query = (
            f"SELECT {', '.join(f'row_.{name}' for name in self._live.stored)} FROM ONLY {self.table} AS row_ "
            f"JOIN {self._there} AS there ON there.balcon_place = row_.ctid WHERE NOT EXISTS "
            f"(SELECT FROM {self._came} AS came WHERE {_SAME_ROW} AND came.balcon_contents = there.balcon_contents)"
        )
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                writing.copy_expert(f"COPY ({query}) TO STDOUT", file)
                file.flush()
                os.fsync(file.fileno())
            _sync(folder)
        except OSError as error:
            raise Refused(
                f"The rows of {plain(self.table)} to be overwritten cannot be kept in {path}: {error.strerror}.",
                untouched="Nothing was written to the database.",
                remedy="Make room there, or name another folder in keep_dir.",
            ) from None
        rows, digest = _read_again(path)
        if rows != wanted:
            raise Failed(
                f"Of {wanted} rows of {plain(self.table)} that were to be overwritten, {rows} were kept in {path}.",
                untouched="Nothing was written to the database.",
                remedy="Look for room on that disk, then start again.",
            )
        quoted = str(path).replace("'", "''")
        put_back = f"\\copy {self.table} ({columns}) FROM '{quoted}'"
        if self.difference.changed:  # rows of the same key are there: beside them, for a person to merge
            beside = f"CREATE TEMPORARY TABLE {self._kept} AS SELECT {columns} FROM {self.table} WHERE false;"
            put_back = f"{beside}\n\\copy {self._kept} FROM '{quoted}'"
        return {"table": self.table, "path": str(path), "rows": rows, "sha256": digest, "put_back": put_back}

    def delete_extra(self, writing: Cursor) -> None:
        """Delete the rows that the backup does not have."""
        if self.difference.extra:
            writing.execute(
                f"DELETE FROM ONLY {self.table} AS row_ USING {self._there} AS there "
                f"WHERE row_.ctid = there.balcon_place AND NOT EXISTS {_twin(self._came, 'there')}"
            )

    def update_changed(self, writing: Cursor) -> None:
        """Give changed rows the values of the backup; columns that the backup does not know keep theirs."""
        columns = [name for name in self.mapped.columns if name not in self._live.key]
        if self.difference.changed:
            values = ", ".join(f"{name} = {self._value(name)}" for name in columns)
            writing.execute(
                f"UPDATE ONLY {self.table} AS row_ SET {values} FROM {self._there} AS there JOIN {self._came} AS came "
                f"ON {_SAME_ROW} WHERE row_.ctid = there.balcon_place AND came.balcon_contents <> there.balcon_contents"
            )

    def insert_missing(self, writing: Cursor) -> None:
        """Insert the rows that only the backup has, with their own numbers, also where the server would choose them."""
        if self.difference.missing:
            columns = list(self.mapped.columns)
            names = f"({', '.join(columns)}) OVERRIDING SYSTEM VALUE" if columns else ""
            writing.execute(
                f"INSERT INTO {self.table} {names} SELECT {', '.join(map(self._value, columns))} "
                f"FROM {self._came} AS came WHERE NOT EXISTS {_twin(self._there, 'came')}"
            )

    def check_written(self, writing: Cursor, *, replace: bool) -> None:
        """Prove that the table now holds what it should: all of the backup's rows, and with C(replace) no others.

        Raises:
            Failed: it does not, whatever the reason.
        """
        if not self.difference:
            return
        found = read_total(writing, self.table, self._hashing)
        now = (found.rows, int(found.contents))
        wanted = _total(self._wanted)
        if not replace:
            writing.execute(
                f"SELECT count(*), coalesce(sum(came.balcon_contents), 0)::text FROM {self._came} AS came "
                f"WHERE NOT EXISTS {_twin(self._there, 'came')}"
            )
            rows, contents = one_row(writing)
            wanted = (self.before[0] + rows, self.before[1] + int(contents))
        if now != wanted:
            raise Failed(
                f"{plain(self.table)} would hold {now[0]} rows instead of {wanted[0]}, or other contents than "
                "it should.",
                untouched="All of it was rolled back: nothing was written.",
                remedy="Look for what else writes when rows of this table are written (rules, triggers that cannot be "
                "switched off), or restore the whole backup.",
                table=self.table,
            )

    def _bring_over(self, writing: Cursor, scratch: Cursor, chosen: str) -> None:
        columns = [*self.mapped.columns]
        kept = [f"row_.{name}{'::text' if name in self.mapped.as_text else ''} AS {name}" for name in columns]
        of_live = ", ".join(
            ["0::bigint AS balcon_key", "0::bigint AS balcon_contents", *kept, "0::bigint AS balcon_number"]
        )
        writing.execute(
            f"CREATE TEMP TABLE {self._came} ON COMMIT DROP AS SELECT {of_live} FROM ONLY {self.table} AS row_ "
            "WHERE false"
        )
        hashed = ", ".join([f"{self._hashing.key} AS balcon_key", f"{self._hashing.row} AS balcon_contents", *kept])
        names = ", ".join(
            ["balcon_key", "balcon_contents", *(f"hashed.{name}" for name in columns), self._repetition()]
        )
        query = f"SELECT {names} FROM (SELECT {hashed} FROM ONLY {self.table} AS row_) AS hashed WHERE {chosen}"
        _pipe(scratch, f"COPY ({query}) TO STDOUT", writing, f"COPY {self._came} FROM STDIN")

    def _repetition(self) -> str:
        """Number rows that are all the same, where there is no key to tell them apart."""
        return (
            "1::bigint AS balcon_number"
            if self._hashing.keyed
            else "row_number() OVER (PARTITION BY balcon_contents) AS balcon_number"
        )

    def _value(self, column: str) -> str:
        cast = f"::{self.mapped.columns[column]}" if column in self.mapped.as_text else ""
        return f"came.{column}{cast}"


def _twin(other: str, alias: str) -> str:
    same = f"twin.balcon_key = {alias}.balcon_key AND twin.balcon_number = {alias}.balcon_number"
    return f"(SELECT FROM {other} AS twin WHERE {same})"


def _total(buckets: dict[int, Bucket]) -> tuple[int, int]:
    return sum(bucket.rows for bucket in buckets.values()), sum(int(bucket.contents) for bucket in buckets.values())


def _pipe(source: Cursor, out: str, target: Cursor, into: str) -> None:
    """Copy rows from one session into another, without keeping them."""
    reader, writer = os.pipe()

    def send() -> None:
        with os.fdopen(writer, "wb", buffering=_CHUNK) as file:
            source.copy_expert(out, file)

    def receive() -> None:
        with os.fdopen(reader, "rb", buffering=_CHUNK) as file:
            target.copy_expert(into, file, _CHUNK)

    in_parallel([send, receive])


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_again(path: Path) -> tuple[int, str]:
    digest, rows = hashlib.sha256(), 0
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
            rows += chunk.count(b"\n")
    return rows, digest.hexdigest()
