# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the rows of a backup into tables, in one transaction that proves its work before it commits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain.assessment import OwnedSequence, judge_sequence
from ..._domain.errors import Failed, Refused
from ..._domain.recovered_tables import ColumnMap, check_columns, map_columns, parents_first
from ..._domain.table_names import plain
from ..._driver import one_row, psycopg2
from .assess import sequences_of_columns
from .dropped_tables import DroppedTables
from .foreign_keys import read_foreign_keys
from .reading import pin, reading
from .row_exchange import RowExchange
from .table_shape import Shape, read_shapes

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server

_ROLLED_BACK = "All of it was rolled back: nothing was written."

_TRIGGERS = """
SELECT format('%%I', tgname), tgenabled FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal
AND tgenabled <> 'D' ORDER BY 1
"""

_ENABLE = {"O": "ENABLE TRIGGER", "R": "ENABLE REPLICA TRIGGER", "A": "ENABLE ALWAYS TRIGGER"}

_RULES = """
SELECT format('%%I.%%I', n.nspname, c.relname), w.rulename FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY(%s::regclass[]::oid[]) AND w.ev_enabled <> 'D'
"""

_TOUCHED = """
SELECT format('%I.%I', schemaname, relname), n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0 AND schemaname !~ '^pg_' ORDER BY 1
"""


class Written:
    """What was written.

    Attributes:
        rows: by table C(inserted), C(updated) and C(deleted).
        kept: the files with the rows that were overwritten, see `RowExchange.keep_overwritten`.
        triggers: triggers that were switched off meanwhile.
        sequences: sequences that were set on.
        left_out: what could not be as it was, one line each.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, int]] = {}
        self.kept: list[dict[str, Any]] = []
        self.triggers: list[str] = []
        self.sequences: list[str] = []
        self.left_out: list[str] = []

    @property
    def changed(self) -> bool:
        """Tell whether anything was written."""
        return any(sum(numbers.values()) for numbers in self.rows.values())


def write_tables(
    server: Server,
    scratch: str | None,
    present: Sequence[str],
    dropped: DroppedTables,
    created: dict[str, int],
    *,
    replace: bool,
    keep_dir: Path | None,
) -> Written:
    """Write tables, all of them or none.

    Other writers wait at the tables meanwhile, readers do not. Triggers of the tables are switched off, and foreign
    keys are not. Before it commits, it is proven that the tables hold what they should, and that no row of any other
    table was touched.

    Args:
        server: the server.
        scratch: the scratch database; None where only dropped tables come back.
        present: the quoted names of tables that are there.
        dropped: those that are not.
        created: their quoted names, and their rows.
        replace: change and delete rows too, instead of only inserting those that are missing.
        keep_dir: where rows that are overwritten are kept; needed with C(replace).

    Raises:
        Refused: it cannot be done without losing something; all was rolled back.
        Failed: the proof failed; all was rolled back.
    """
    written = Written()
    with writing(server) as connection, connection.cursor() as cursor, ExitStack() as stack:
        _lock(cursor, present)
        exchanges: list[RowExchange] = []
        if scratch and present:
            source = stack.enter_context(reading(server, scratch))
            exchanges = _load(cursor, stack.enter_context(source.cursor()), present)
        _check(cursor, exchanges, replace)
        if replace:
            written.kept = _keep(cursor, exchanges, keep_dir)
        with _triggers_off(cursor, exchanges, written):
            dropped.create(cursor)
            _exchange(cursor, exchanges, replace)
            dropped.finish(cursor)
        _prove(cursor, exchanges, [*present, *created], replace)
        dropped.prove(connection)
        written.sequences = _set_sequences_on(cursor, [*present, *created])
    for exchange in exchanges:
        missing, extra, changed = exchange.difference
        numbers = {"inserted": missing, "updated": changed * replace, "deleted": extra * replace}
        written.rows[exchange.table] = numbers
    written.rows.update({table: {"inserted": rows, "updated": 0, "deleted": 0} for table, rows in created.items()})
    written.left_out = dropped.left_out
    return written


@contextmanager
def writing(server: Server) -> Iterator[Connection]:
    """Open the one transaction, and commit it at the end; an error of the server rolls it back and says so.

    Raises:
        Refused: the server did not let it be written; all was rolled back.
        Failed: the connection was lost while it was being committed.
    """
    try:
        with server.connect() as connection:
            # Whatever the database's default: an older snapshot would not show what was written while we waited.
            connection.set_session(isolation_level="READ COMMITTED", readonly=False)
            with connection.cursor() as cursor:
                pin(cursor)
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
                cursor.execute("SELECT current_setting('track_counts')::boolean")
                counted = one_row(cursor)[0]
            if not counted:
                raise Refused(
                    "track_counts is off in this database, so that it cannot be proven that no other table is written.",
                    untouched="Nothing was written.",
                    remedy="ALTER DATABASE … RESET track_counts, as a superuser, then start again.",
                )
            yield connection
            _commit(connection)
    except psycopg2.errors.LockNotAvailable as error:
        raise Refused(
            f"A table is in use by somebody who keeps it locked: {str(error).strip()}",
            untouched=_ROLLED_BACK,
            remedy="Find the session in pg_locks, end it or wait, then start again.",
        ) from None
    except psycopg2.IntegrityError as error:
        raise Refused(
            f"The rows of the backup contradict rows that are there: {str(error).strip()}",
            untouched=_ROLLED_BACK,
            remedy="Name the other table too (tables=users,projects); or use mode=replace, where the row that is in "
            "the way is not in the backup.",
            constraint=error.diag.constraint_name,
        ) from None
    except psycopg2.Error as error:
        raise Refused(
            f"The rows could not be written: {str(error).strip()}",
            untouched=_ROLLED_BACK,
            remedy="Remove the cause, then start again; or restore the whole backup beside with db_restore.",
        ) from None


def _commit(connection: Connection) -> None:
    try:
        connection.commit()
    except psycopg2.Error as error:
        if not connection.closed:
            raise
        raise Failed(
            f"The connection was lost while the rows were being committed: {str(error).strip()}",
            untouched="Either all of it was written or nothing: the server did not say which.",
            remedy="Look with mode=compare before anything is started again. Rows that mode=replace was to overwrite "
            "are in keep_dir, by default the folder kept of the run.",
        ) from None


def _lock(cursor: Cursor, tables: Sequence[str]) -> None:
    for table in sorted(tables):
        cursor.execute(f"LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE")


def _load(cursor: Cursor, source: Cursor, tables: Sequence[str]) -> list[RowExchange]:
    """Bring over what differs, parents before children."""
    live, backup = read_shapes(cursor), read_shapes(source)
    references = [(key.child, key.parent) for key in read_foreign_keys(cursor)]
    exchanges = []
    for number, table in enumerate(parents_first(tables, references)):
        if table not in live:
            raise Refused(
                f"{plain(table)} was dropped while it was being looked at.", remedy="Start again.", table=table
            )
        mapped = _mapped(live[table], backup[table])
        check_columns(table, mapped, inserts=0)
        exchange = RowExchange(number, live[table], backup[table], mapped)
        exchange.load(cursor, source)
        exchanges.append(exchange)
    return exchanges


def _mapped(live: Shape, backup: Shape) -> ColumnMap:
    return map_columns(live.stored, backup.stored)


def _check(cursor: Cursor, exchanges: Sequence[RowExchange], replace: bool) -> None:
    tables = [exchange.table for exchange in exchanges]
    cursor.execute(_RULES, [tables])
    rules = [f"{name} of {plain(table)}" for table, name in cursor.fetchall()]
    if rules:
        raise Refused(
            f"Rewrite rules would do something else than write the rows: {', '.join(rules)}.",
            untouched="Nothing was written.",
            remedy="ALTER TABLE … DISABLE RULE …, and enable it again afterwards.",
        )
    for exchange in exchanges:
        check_columns(exchange.table, exchange.mapped, inserts=exchange.difference.missing)
        exchange.check_fits(cursor, replace=replace)


def _keep(cursor: Cursor, exchanges: Sequence[RowExchange], keep_dir: Path | None) -> list[dict[str, Any]]:
    if keep_dir is None:
        raise Refused(
            "mode=replace overwrites rows, and there is no place to keep them.",
            untouched="Nothing was written.",
            remedy="Give run_id and state_dir, or keep_dir.",
        )
    kept = [exchange.keep_overwritten(cursor, keep_dir) for exchange in exchanges]
    return [entry for entry in kept if entry]


@contextmanager
def _triggers_off(cursor: Cursor, exchanges: Sequence[RowExchange], written: Written) -> Iterator[None]:
    """Keep triggers from changing what is put back; those of foreign keys go on working."""
    found: list[tuple[str, str, str]] = []
    for exchange in exchanges:
        if exchange.difference:
            cursor.execute(_TRIGGERS, [exchange.table])
            found += [(exchange.table, name, state) for name, state in cursor.fetchall()]
    for table, name, _state in found:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    yield
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table, name, state in found:
        cursor.execute(f"ALTER TABLE {table} {_ENABLE[state]} {name}")
    written.triggers = [f"{name} of {plain(table)}" for table, name, _state in found]


def _exchange(cursor: Cursor, exchanges: Sequence[RowExchange], replace: bool) -> None:
    for exchange in reversed(exchanges) if replace else ():
        exchange.delete_extra(cursor)
    for exchange in exchanges:
        if replace:
            exchange.update_changed(cursor)
        exchange.insert_missing(cursor)


def _prove(cursor: Cursor, exchanges: Sequence[RowExchange], tables: Sequence[str], replace: bool) -> None:
    cursor.execute(_TOUCHED)
    touched = {table: (inserted, updated, deleted) for table, inserted, updated, deleted in cursor.fetchall()}
    _prove_touched(exchanges, touched, replace)
    for exchange in exchanges:
        exchange.check_written(cursor, replace=replace)
    others = {table: sum(numbers) for table, numbers in touched.items() if table not in tables}
    if others:
        told = ", ".join(f"{rows} of {plain(table)}" for table, rows in others.items())
        raise Refused(
            f"Putting the rows back would change rows of other tables as well: {told} (ON DELETE or ON UPDATE of a "
            "foreign key).",
            untouched=_ROLLED_BACK,
            remedy="Name those tables too (tables=users,orders), so that they come back as the backup has them; or use "
            "mode=insert_missing, which deletes nothing.",
            others=others,
        )


def _prove_touched(
    exchanges: Sequence[RowExchange], touched: Mapping[str, tuple[int, int, int]], replace: bool
) -> None:
    """Prove by the transaction's own counters that no row of the tables was touched but those that were to be."""
    for exchange in exchanges:
        missing, extra, changed = exchange.difference
        wanted = (missing, changed * replace, extra * replace)
        done = touched.get(exchange.table, (0, 0, 0))
        if done != wanted:
            raise Refused(
                f"Putting the rows back would insert {done[0]}, change {done[1]} and delete {done[2]} rows of "
                f"{plain(exchange.table)} instead of {wanted[0]}, {wanted[1]} and {wanted[2]} (ON DELETE or ON UPDATE "
                "of a foreign key): what those rows hold now would not be kept.",
                untouched=_ROLLED_BACK,
                remedy="Use mode=insert_missing, which deletes nothing, or restore the backup beside with db_restore.",
                table=exchange.table,
            )


def _set_sequences_on(cursor: Cursor, tables: Sequence[str]) -> list[str]:
    """Set sequences that are behind their columns now to what the columns have reached; never back."""
    ancestors = {parent for name, shape in read_shapes(cursor).items() if name in tables for parent in shape.ancestors}
    done = []
    for name, table, partitioned, column, increment in sequences_of_columns(cursor):
        if table not in {*tables, *ancestors}:
            continue
        source = f"{'' if partitioned else 'ONLY '}{table}"
        cursor.execute(
            f"SELECT last_value, is_called, (SELECT max({column}) FROM {source}), "  # noqa: S608  # quoted by the server
            f"(SELECT min({column}) FROM {source}) "
            f"FROM {name}"
        )
        last, called, highest, lowest = one_row(cursor)
        if judge_sequence(OwnedSequence(name, f"{table}.{column}", last, called, increment, highest, lowest)):
            cursor.execute("SELECT setval(%s::regclass, %s)", [name, highest if increment > 0 else lowest])
            done.append(name)
    return done
