# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the rows of two databases of one server, table by table, in two sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..._domain.comparison import (
    ComparedTable,
    column_differences,
    compared,
    comparison_lines,
    lost_rows,
    not_compared,
    only_in_one,
)
from ..._domain.errors import Refused
from ..._domain.row_difference import Difference, bucket_mask, compare_rows, differing_buckets
from ..._domain.table_names import choose_tables
from ..._driver import one_row, psycopg2
from .contents import in_parallel, read_large_objects
from .fresh_database import exists
from .reading import reading
from .relatives import admit, admits
from .row_hashes import Hashing, hashing_of, read_buckets, stream_rows
from .sessions import end_sessions
from .table_shape import Shape, partitions, read_shapes

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

    from .connection import Server


@dataclass(frozen=True)
class Side:
    """One of the two databases: a session in it, its name, and the shapes of its tables."""

    connection: Connection
    name: str
    shapes: dict[str, Shape]

    def in_savepoint(self, work: Callable[[], Any]) -> Any:
        """Do something that may fail without ending the transaction."""
        with self.connection.cursor() as cursor:
            cursor.execute("SAVEPOINT one_table")
            try:
                return work()
            except psycopg2.Error:
                if not self.connection.closed:
                    cursor.execute("ROLLBACK TO SAVEPOINT one_table")
                raise
            finally:
                if not self.connection.closed:
                    cursor.execute("RELEASE SAVEPOINT one_table")


def compare_databases(
    server: Server, live: str, other: str, tables: Sequence[str] = (), *, through_closed: bool = False
) -> dict[str, Any]:
    """Compare what two databases hold; see the module db_compare for what is returned.

    Args:
        server: the server that both are on.
        live: the name of the one that is in use.
        other: the name of the one that may take its place.
        tables: as a person names them; all where none is named.
        through_closed: read a closed database too, see `inside`.

    Raises:
        Refused: one of them is missing or closed, or there is no such table.
    """
    if live == other:
        raise Refused(
            f"{live} was to be compared with itself.",
            untouched="Nothing was changed.",
            remedy="Name in other the restored copy, or the database of before.",
        )
    with inside(server, live, through_closed) as mine, inside(server, other, through_closed) as theirs:
        both = [side_of(mine, live), side_of(theirs, other)]
        shapes = [side.shapes for side in both]
        names = {identity for part in shapes for identity in part}
        chosen = choose_tables(tables, names, groups=partitions(*shapes), where=f"{live} and {other}")
        entries = [compare_table(name, *both) for name in chosen]
        objects = None if tables else [_large_objects(connection) for connection in (mine, theirs)]
    lines = comparison_lines(entries, live, other)
    if objects and objects[0] != objects[1]:
        lines.append(f"Large objects are not the same in {live} and {other}.")
    return {
        "tables": entries,
        "lost_rows": lost_rows(entries),
        "not_compared": [str(entry["name"]) for entry in entries if entry["problem"]],
        "large_objects": None if objects is None else "same" if objects[0] == objects[1] else "different",
        "lines": lines,
    }


@contextmanager
def inside(server: Server, database: str, through_closed: bool = False) -> Iterator[Connection]:
    """Open a session that reads one snapshot of a database.

    A closed database lets nobody in, us neither. With C(through_closed) it is open for the moment in which our session
    begins; whoever slips in with us is ended before the snapshot is taken, so that the snapshot holds every write.

    Raises:
        Refused: there is no such database, or it is closed and was not to be opened for a moment.
    """
    if not exists(server, database):
        server.identity(database)
    with server.admin() as admin, admin.cursor() as outside:
        is_open = admits(outside, database)
        if not is_open and not through_closed:
            raise Refused(
                f"{database} is closed: it lets nobody in, so that its rows cannot be read.",
                untouched="Nothing was changed.",
                remedy="Set through_closed=true: it is then open for the moment in which the comparison's own session "
                "begins, and everybody else is kept out.",
                database=database,
            )
        with ExitStack() as stack:
            yield stack.enter_context(
                reading(server, database) if is_open else _through_the_door(server, outside, database)
            )


@contextmanager
def _through_the_door(server: Server, outside: Any, database: str) -> Iterator[Connection]:
    """Open a closed database, go in, close it behind us, and see everybody else out."""
    try:
        admit(outside, database, True)
        entered = reading(server, database)
        connection = entered.__enter__()
    finally:
        admit(outside, database, False)
    try:
        end_sessions(outside, database, but=[connection.info.backend_pid])
        # The settings were set in a transaction whose snapshot may be older than the last write.
        connection.commit()
        yield connection
    finally:
        entered.__exit__(None, None, None)


def side_of(connection: Connection, name: str) -> Side:
    """Return a session of `reading.reading` with the shapes of the tables in its database."""
    with connection.cursor() as cursor:
        return Side(connection, name, read_shapes(cursor))


def compare_table(name: str, live: Side, other: Side) -> ComparedTable:
    """Compare one table that at least one side has."""
    mine, theirs = live.shapes.get(name), other.shapes.get(name)
    try:
        if mine is None or theirs is None:
            where, side = ("live", live) if mine else ("other", other)
            return only_in_one(name, where, side.in_savepoint(lambda: _count(side.connection, name)))
        hashing = hashing_of(mine, theirs)
        columns = column_differences(mine.stored, theirs.stored)
        difference = live.in_savepoint(lambda: other.in_savepoint(lambda: difference_of(name, live, other, hashing)))
        return compared(name, difference, key=mine.key if hashing.keyed else (), how=_how(hashing), columns=columns)
    except psycopg2.Error as error:
        for side in (live, other):
            if side.connection.closed:
                raise
        return not_compared(name, str(error).strip())


def difference_of(name: str, live: Side, other: Side, hashing: Hashing) -> Difference:
    """Compare the rows of one table that both sides have."""
    mask = bucket_mask(max(live.shapes[name].estimated_rows, other.shapes[name].estimated_rows))
    found: list[dict[int, Any]] = [{}, {}]

    def read(place: int, side: Side) -> None:
        with side.connection.cursor() as cursor:
            found[place] = read_buckets(cursor, name, hashing, mask)

    in_parallel([lambda: read(0, live), lambda: read(1, other)])
    buckets = differing_buckets(*found)
    if not buckets:
        return Difference()
    streams = (stream_rows(side.connection, name, hashing, mask, buckets) for side in (live, other))
    with closing(next(streams)) as mine, closing(next(streams)) as theirs:
        return compare_rows(mine, theirs)


def _how(hashing: Hashing) -> str:
    return "by key" if hashing.keyed else "whole rows, no key"


def _count(connection: Connection, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ONLY {table}")  # noqa: S608  # quoted by the server
        return int(one_row(cursor)[0])


def _large_objects(connection: Connection) -> dict[str, Any]:
    with connection.cursor() as cursor:
        return read_large_objects(cursor, with_contents=True)
