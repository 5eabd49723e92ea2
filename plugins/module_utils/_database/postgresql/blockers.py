# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between a database and its candidate, each by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..._domain.errors import Refused
from ..._domain.names import parse_derived_name
from ..._driver import one_row
from .properties import carry_over_problems, read_properties
from .run_lock import run_lock_holder
from .run_state import owner_of_run
from .sessions import read_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psycopg2.extensions import cursor as Cursor

    from .connection import Server
    from .disk import Disk
    from .sessions import Session

OLDEST_SERVER = 150000
"""STRATEGY FILE_COPY came with PostgreSQL 15."""

CLIENT_TYPES = ("client backend", "walsender", "parallel worker")
"""Sessions that do not come back by themselves once they were ended and the database is closed."""


class Blocker(NamedTuple):
    """One reason why a candidate cannot be made.

    Attributes:
        kind: for programs: ``owner``, ``session``, ``logical_slot`` …
        name: of the thing in the way.
        message: what is in the way, and why.
        remedy: what to do about it.
    """

    kind: str
    name: str
    message: str
    remedy: str


class Rights(NamedTuple):
    """What our role may do.

    Attributes:
        user: the role.
        owner: it owns the database, or is a member of the role that does.
        superuser: it may do everything.
        create_database: it may make databases.
        signal_backend: it may end sessions of other roles, superusers aside.
    """

    user: str
    owner: bool
    superuser: bool
    create_database: bool
    signal_backend: bool


def read_rights(cursor: Cursor, database: str) -> Rights:
    """Read what our role may do with a database."""
    cursor.execute(
        "SELECT rolname, rolsuper OR pg_has_role(datdba, 'USAGE'), rolsuper, rolsuper OR rolcreatedb, "
        "rolsuper OR pg_has_role('pg_signal_backend', 'USAGE') "
        "FROM pg_roles, pg_database WHERE rolname = current_user AND datname = %s",
        [database],
    )
    return Rights(*one_row(cursor))


def find_blockers(cursor: Cursor, server: Server, run_id: str | None = None) -> list[Blocker]:
    """Name everything on the server that would block a candidate; disk and ways to the server aside.

    Args:
        cursor: in the maintenance database, outside a transaction.
        server: the server, with the public name of the database, which exists.
        run_id: the run that asks: its own lock does not block it.
    """
    rights = read_rights(cursor, server.database)
    return [
        *_server_blockers(cursor, server),
        *_right_blockers(rights, server.database),
        *session_blockers(read_sessions(cursor, server.database), rights),
        *_attached_blockers(cursor, server.database),
        *_carry_over_blockers(cursor, server.database),
        *_lock_blockers(cursor, server.database, run_id),
    ]


def refuse_blockers(database: str, blockers: Iterable[Blocker]) -> None:
    """Refuse with all blockers in one message.

    Raises:
        Refused: there is at least one.
    """
    found = list(blockers)
    if found:
        raise Refused(
            f"A candidate of {database} cannot be made: {' '.join(blocker.message for blocker in found)}",
            untouched="Nothing was touched.",
            remedy=" ".join(dict.fromkeys(blocker.remedy for blocker in found)),
            blockers=[blocker._asdict() for blocker in found],
        )


def session_blockers(sessions: Iterable[Session], rights: Rights) -> Iterator[Blocker]:
    """Name the sessions that would not go away, and those that would come back."""
    for session in sessions:
        if session.is_internal:
            continue
        if not session.may_be_ended:
            yield Blocker(
                "session",
                f"pid {session.pid}",
                f"The session {session} may not be ended by role {rights.user}.",
                "End it, or give rollback_admin_url a role that may: GRANT pg_signal_backend TO … for sessions of "
                "other roles; those of a superuser take a superuser.",
            )
        elif session.backend_type is not None and session.backend_type not in CLIENT_TYPES:
            yield Blocker(
                "background_worker",
                session.backend_type,
                f"The background worker {session.backend_type!r} ({session}) works in the database.",
                "Stop it in its extension's own way (a scheduler is paused, an extension's worker is switched off).",
            )


def disk_blockers(disk: Disk) -> Iterator[Blocker]:
    """Say that the room is too little, or not proven."""
    if disk.lacks:
        yield Blocker(
            "disk",
            "free space",
            f"The copy needs {disk.needed_bytes:,} bytes on the server; {disk.free_bytes:,} are free ({disk.source}).",
            "Make room, or drop what 'status' lists as left over.",
        )
    elif disk.free_bytes is None:
        needed = "an unknown number of" if disk.needed_bytes is None else f"{disk.needed_bytes:,}"
        yield Blocker(
            "disk_not_proven",
            "free space",
            f"The copy needs {needed} bytes on the server; how much is free cannot be seen from here.",
            "Look on the server, and say it in the inventory: rollback_free_bytes.",
        )


def _server_blockers(cursor: Cursor, server: Server) -> Iterator[Blocker]:
    version = cursor.connection.server_version
    if version < OLDEST_SERVER:
        yield Blocker(
            "version",
            str(version // 10000),
            f"The server is PostgreSQL {version // 10000}; file copies that are safe on a full disk came with 15.",
            "Upgrade the server, or choose rollback_method: in_place.",
        )
    cursor.execute("SELECT pg_is_in_recovery()")
    if one_row(cursor)[0]:
        yield Blocker(
            "standby", "recovery", "The server is a standby and cannot write.", "Name the primary in the URL."
        )
    if server.database == server.maintenance_database:
        yield Blocker(
            "maintenance_database",
            server.database,
            f"{server.database} is the database that administration works from, and cannot be closed from within.",
            "Name another one in rollback_admin_url: postgresql://…/template1.",
        )
    if parse_derived_name(server.database):
        yield Blocker(
            "name",
            server.database,
            f"{server.database} is named like a database that a run made.",
            "Name the application's own database in the URL.",
        )


def _right_blockers(rights: Rights, database: str) -> Iterator[Blocker]:
    if not rights.owner:
        yield Blocker(
            "owner",
            rights.user,
            f"Role {rights.user} does not own {database}.",
            f"Use the owner's role, or grant it: GRANT <owner> TO {rights.user}.",
        )
    if not rights.create_database:
        yield Blocker(
            "create_database",
            rights.user,
            f"Role {rights.user} may not create databases.",
            f"A superuser types: ALTER ROLE {rights.user} CREATEDB.",
        )


_ATTACHED = """
SELECT 'prepared_transaction', gid, 'The prepared transaction ' || quote_literal(gid) || ' of role ' || owner
       || ' holds the database since ' || date_trunc('second', prepared) || '.',
       'End it in the database: COMMIT PREPARED or ROLLBACK PREPARED ' || quote_literal(gid) || '.'
FROM pg_prepared_xacts WHERE database = %(name)s
UNION ALL
SELECT 'logical_slot', slot_name, 'The logical replication slot ' || slot_name || ' ('
       || CASE WHEN active THEN 'active' ELSE 'inactive' END || ') would stay with the old database.',
       'Let its consumer finish, then drop it: SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ').'
FROM pg_replication_slots WHERE database = %(name)s
UNION ALL
SELECT 'subscription', subname, 'The subscription ' || subname || ' would stay with the old database.',
       'Drop it, or detach it: ALTER SUBSCRIPTION ' || quote_ident(subname) || ' DISABLE; then SET (slot_name = NONE).'
FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = %(name)s)
UNION ALL
SELECT 'collation_version', datname, 'The collation of the database is of version ' || datcollversion
       || ', and the operating system has ' || pg_database_collation_actual_version(oid) || ': it cannot be copied.',
       'REINDEX what sorts text, then: ALTER DATABASE ' || quote_ident(datname) || ' REFRESH COLLATION VERSION.'
FROM pg_database WHERE datname = %(name)s AND datcollversion <> pg_database_collation_actual_version(oid)
"""


def _attached_blockers(cursor: Cursor, database: str) -> list[Blocker]:
    """Name what is attached to the database's OID; all of it can be seen without privileges."""
    if cursor.connection.server_version < OLDEST_SERVER:
        return []
    cursor.execute(_ATTACHED, {"name": database})
    return [Blocker(*row) for row in cursor.fetchall()]


def _carry_over_blockers(cursor: Cursor, database: str) -> Iterator[Blocker]:
    for problem in carry_over_problems(cursor, read_properties(cursor, database)):
        yield Blocker(
            "properties",
            database,
            f"The copy would lose something: {problem}.",
            "Give rollback_admin_url a role that may set it, or remove it from the database.",
        )


def _lock_blockers(cursor: Cursor, database: str, run_id: str | None) -> Iterator[Blocker]:
    holder = run_lock_holder(cursor, database)
    if holder and not (run_id and run_id in holder):
        yield Blocker(
            "other_run",
            holder,
            f"Another run has the lock of {database}: {holder}{owner_of_run(cursor, database)}.",
            "Wait until it has ended.",
        )
