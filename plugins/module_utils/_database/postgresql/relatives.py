# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database lets anybody in, and the databases that runs made beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..._domain.description import Description, parse_description
from ..._domain.names import PURPOSES, derived_name, parse_derived_name
from ..._driver import sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

INVALID_LIMIT = -2
"""DATCONNLIMIT_INVALID_DB: a DROP DATABASE was interrupted; all that can be done is to drop it again."""


class Relative(NamedTuple):
    """A database that a run made beside another one.

    Attributes:
        name: its name.
        purpose: as its name says, one of `names.PURPOSES`.
        run_id: as its name says.
        description: what it says of itself; None where the run was killed before it could write that.
        is_open: it lets sessions in.
        is_invalid: a DROP DATABASE on it was interrupted.
        size_bytes: its size, or None where this role may not ask.
        has_comment: there is a comment on it, ours or somebody else's.
    """

    name: str
    purpose: str
    run_id: str
    description: Description | None
    is_open: bool
    is_invalid: bool
    size_bytes: int | None
    has_comment: bool

    @property
    def is_half_made(self) -> bool:
        """It was left behind by a run that was killed while making or dropping it.

        A copy of ours is closed and has no comment until it is complete. A comment that is not ours, or was damaged,
        is a person's to read: what it is on may not be dropped.
        """
        return self.is_invalid or not (self.has_comment or self.is_open)


def admit(cursor: Cursor, database: str, let_in: bool) -> None:
    """Let sessions into a database, or nobody, not even superusers; those that are there stay."""
    cursor.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(let_in))
    )


def admits(cursor: Cursor, database: str) -> bool | None:
    """Tell whether a database lets sessions in; None where there is no such database."""
    cursor.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", [database])
    row = cursor.fetchone()
    return bool(row[0]) if row else None


def rename(cursor: Cursor, database: str, name: str) -> None:
    """Rename a database; it must have no sessions."""
    cursor.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(name)))


def read_relatives(cursor: Cursor, database: str) -> list[Relative]:
    """List the databases that runs made beside a database, by name."""
    cursor.execute(
        "SELECT datname, shobj_description(oid, 'pg_database'), datallowconn, datconnlimit = %s, "
        "CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') "
        "THEN pg_database_size(oid) END FROM pg_database WHERE datname LIKE '%%\\_\\_%%\\_%%' ORDER BY datname",
        [INVALID_LIMIT],
    )
    relatives = []
    for name, comment, is_open, is_invalid, size in cursor.fetchall():
        parts = parse_derived_name(name)
        if parts and parts.purpose in PURPOSES and derived_name(database, parts.purpose, parts.run_id) == name:
            told = parse_description(comment)
            state = (is_open, is_invalid, size, comment is not None)
            relatives.append(Relative(name, parts.purpose, parts.run_id, told, *state))
    return relatives


def find_relative(cursor: Cursor, database: str, name: str) -> Relative | None:
    """Return the database of that name, if a run made it beside this database."""
    return next((relative for relative in read_relatives(cursor, database) if relative.name == name), None)
