# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between a database and a rollback in place: who would stay in it, and what could not be brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._domain.in_place import Role, role_problems, room_for_locks
from ..._driver import one_row
from .blockers import (
    Blocker,
    attached_blockers,
    lock_blockers,
    read_rights,
    right_blockers,
    server_blockers,
    session_blockers,
)
from .properties import grant_problems, read_properties
from .sessions import read_sessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from psycopg2.extensions import cursor as Cursor

    from .connection import Server
    from .sessions import Session

NOT_IN_THE_WAY = ("create_database", "logical_slot", "collation_version", "version")
"""Blockers of a candidate that are none here: nothing is copied, and the database keeps its OID."""

_ROLES = """
SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.oid = d.datdba OR pg_has_role(r.oid, d.datdba, 'MEMBER'),
       r.oid = d.datdba OR pg_has_role(r.oid, d.datdba, 'USAGE')
FROM pg_roles r, pg_database d WHERE d.datname = %s
"""

_STRANGERS = """
WITH objects AS (
  SELECT classid, objid, refobjid AS role FROM pg_shdepend
  WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND deptype = 'o'
    AND refclassid = 'pg_authid'::regclass
)
SELECT DISTINCT pg_get_userbyid(role) FROM objects o
WHERE NOT pg_has_role(role, 'MEMBER') AND role <> 'pg_database_owner'::regrole
  AND classid NOT IN ('pg_extension'::regclass, 'pg_publication'::regclass, 'pg_subscription'::regclass)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE (d.classid, d.objid) = (o.classid, o.objid) AND d.deptype = 'e')
ORDER BY 1
"""
# The bootstrap superuser's objects are pinned and have no row in pg_shdepend; they are found by the trial of the way
# back, which is made before anything is migrated.

_UNRESTORABLE = """
SELECT 'large_objects', count(*)::text, count(*) || ' large objects' FROM pg_largeobject_metadata HAVING count(*) > 0
UNION ALL
SELECT 'event_trigger', evtname, 'the event trigger ' || evtname FROM pg_event_trigger e
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 3466 AND d.objid = e.oid AND d.deptype = 'e')
UNION ALL
SELECT 'foreign_server', srvname, 'the foreign server ' || srvname FROM pg_foreign_server s
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1417 AND d.objid = s.oid AND d.deptype = 'e')
UNION ALL
SELECT 'extension_data', extname, 'the rows that the extension ' || extname || ' keeps in tables of its own'
FROM pg_extension WHERE extconfig IS NOT NULL
UNION ALL
SELECT 'encoding', pg_encoding_to_char(encoding), 'an encoding other than UTF8, ' || pg_encoding_to_char(encoding)
FROM pg_database WHERE datname = current_database() AND pg_encoding_to_char(encoding) <> 'UTF8'
UNION ALL
SELECT 'publication', pubname, 'the tables of publication ' || pubname || ', which belongs to ' || pubowner::regrole
FROM pg_publication p WHERE NOT puballtables AND NOT pg_has_role(pubowner, 'MEMBER')
"""

_LOCKS = """
SELECT 2 * (SELECT count(*) FROM objects), current_setting('max_locks_per_transaction')::bigint
       * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)
"""

_OBJECTS = """
WITH ours AS (
  SELECT oid FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
  SELECT oid, reltoastrelid FROM pg_class WHERE relnamespace IN (SELECT oid FROM ours)
), objects AS (
  SELECT oid FROM relations UNION ALL SELECT reltoastrelid FROM relations WHERE reltoastrelid <> 0
  UNION ALL SELECT i.indexrelid FROM pg_index i JOIN relations r ON r.reltoastrelid = i.indrelid
  UNION ALL SELECT oid FROM pg_type WHERE typnamespace IN (SELECT oid FROM ours)
  UNION ALL SELECT oid FROM pg_proc WHERE pronamespace IN (SELECT oid FROM ours)
  UNION ALL SELECT oid FROM pg_constraint WHERE connamespace IN (SELECT oid FROM ours)
  UNION ALL SELECT oid FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT oid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM relations)
  UNION ALL SELECT oid FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relations)
)
"""


def find_in_place_blockers(
    cursor: Cursor, server: Server, run_id: str | None, application_roles: Sequence[str]
) -> list[Blocker]:
    """Name everything that would keep a database from being closed by privilege, or from being brought back.

    Args:
        cursor: in the maintenance database, outside a transaction.
        server: the server, with the public name of the database, which exists.
        run_id: the run that asks: its own lock does not block it.
        application_roles: those by which the application connects.
    """
    rights = read_rights(cursor, server.database)
    sessions = read_sessions(cursor, server.database)
    found = [
        *server_blockers(cursor, server),
        *right_blockers(rights, server.database),
        *session_blockers(sessions, rights),
        *attached_blockers(cursor, server.database),
        *_role_blockers(cursor, server.database, application_roles, sessions),
        *_grant_blockers(cursor, server.database),
        *lock_blockers(cursor, server.database, run_id),
    ]
    blockers = [blocker for blocker in found if blocker.kind not in NOT_IN_THE_WAY]
    return [*blockers, *([] if any(blocker.kind == "owner" for blocker in blockers) else _inside_blockers(server))]


def remaining_sessions(sessions: Iterable[Session]) -> list[Session]:
    """Return the sessions of clients: those that are left when CONNECT was taken and all were ended."""
    return [session for session in sessions if not session.is_internal]


def read_roles(cursor: Cursor, database: str) -> dict[str, Role]:
    """Read all roles of the server, as far as CONNECT on a database is concerned."""
    cursor.execute(_ROLES, [database])
    return {row[0]: Role(*row) for row in cursor.fetchall()}


def _role_blockers(
    cursor: Cursor, database: str, application_roles: Sequence[str], sessions: Iterable[Session]
) -> Iterator[Blocker]:
    roles = read_roles(cursor, database)
    cursor.execute("SELECT current_user")
    ours = str(one_row(cursor)[0])
    for problem in role_problems(database, ours, application_roles, roles):
        yield Blocker(*problem)
    for session in remaining_sessions(sessions):
        role = roles.get(session.user)
        if role and (role.superuser or role.connects):
            why = "is a superuser's" if role.superuser else "is one of the owner's role"
            yield Blocker(
                "session_stays",
                f"pid {session.pid}",
                f"The session {session} {why}: it could come back when CONNECT was taken.",
                "End it, and stop what opened it, until the rollback is over.",
            )


def _grant_blockers(cursor: Cursor, database: str) -> Iterator[Blocker]:
    for problem in grant_problems(cursor, read_properties(cursor, database)):
        yield Blocker(
            "properties",
            database,
            f"The privileges could not be given back exactly: {problem}.",
            "Give rollback_admin_url a role that may grant them, or remove them from the database.",
        )


def _inside_blockers(server: Server) -> Iterator[Blocker]:
    """Name what a restore in place could not bring back; that can only be seen from inside."""
    with server.connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(_UNRESTORABLE)
        for kind, name, what in cursor.fetchall():
            yield _not_brought_back(kind, name, what)
        cursor.execute(_STRANGERS)
        for (role,) in cursor.fetchall():
            yield _not_brought_back("object_owner", role, f"objects that belong to role {role}")
        cursor.execute(_OBJECTS + _LOCKS)
        needed, maximum = one_row(cursor)
    if not room_for_locks(needed, maximum):
        yield Blocker(
            "locks",
            "max_locks_per_transaction",
            f"To bring everything back in one transaction takes about {needed:,} locks, and the server has room for "
            f"{maximum:,}.",
            "Raise max_locks_per_transaction (it takes a restart), or roll back by a candidate.",
        )


def _not_brought_back(kind: str, name: str, what: str) -> Blocker:
    return Blocker(
        kind,
        name,
        f"A rollback in place could not bring back {what}.",
        "Roll back by a candidate (rollback_method: candidate), which copies files and needs to bring nothing back; or "
        "remove it.",
    )
