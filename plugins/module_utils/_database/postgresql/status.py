# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server shows of a database's rollbacks: the database, the run that is open on it, what runs left beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.description import owner_of, parse_description
from ..._domain.status import NOT_REACHED, drop_command, is_ours, made_at
from ..._domain.unfinished import decide
from ..._driver import one_row
from .relatives import read_relatives
from .run_state import lease_has_run_out, read_comment
from .sessions import read_sessions
from .unfinished import look

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server
    from .relatives import Relative


def read_server_status(server: Server) -> dict[str, Any]:
    """Read what the server shows, and change nothing.

    Returns:
        C(database), C(open_run) and C(databases) as C(rollback_status) returns them, and C(now), the server's clock.

    Raises:
        Refused: the server does not let us in.
    """
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+00:00\"'), "
            "(SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version')"
        )
        now, system_identifier, version = one_row(cursor)
        database = {
            **NOT_REACHED,
            "name": server.database,
            "dialect": "postgresql",
            "reachable": True,
            "server_version": version,
            "system_identifier": system_identifier,
            **_read_database(cursor, server.database),
        }
        open_run = _read_open_run(cursor, server)
        return {
            "now": now,
            "database": database,
            "open_run": open_run,
            "databases": [
                read_entry(cursor, relative, needed_by=open_run["run_id"] if open_run else None)
                for relative in read_relatives(cursor, server.database)
            ],
        }


def _read_database(cursor: Cursor, name: str) -> dict[str, Any]:
    cursor.execute(
        "SELECT true, datallowconn, oid::bigint, "
        "CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') "
        "THEN pg_database_size(oid) END FROM pg_database WHERE datname = %s",
        [name],
    )
    row = cursor.fetchone()
    return dict(zip(("exists", "open", "oid", "size_bytes"), row)) if row else {"exists": False}


def _read_open_run(cursor: Cursor, server: Server) -> dict[str, Any] | None:
    description = parse_description(read_comment(cursor, server.database))
    if description is None or not description.state:
        return None
    decision = decide(look(server))
    return {
        "run_id": description.run_id,
        "state": description.state,
        "lease_until": description.lease_until,
        "lease_expired": lease_has_run_out(cursor, description),
        "owner": owner_of(description),
        "held": str(description.data.get("held") or ""),
        "decision": decision.kind,
        "reason": decision.reason,
    }


def _slots(cursor: Cursor, name: str) -> int:
    """Count the replication slots of a database; an idle one would be dropped with it, without a word."""
    cursor.execute("SELECT count(*) FROM pg_replication_slots WHERE database = %s", [name])
    return int(one_row(cursor)[0])


def read_entry(cursor: Cursor, relative: Relative, *, needed_by: str | None) -> dict[str, Any]:
    """Tell a database that a run left.

    Args:
        cursor: outside a transaction.
        relative: the database.
        needed_by: the run that is open: no command is given to drop what it made.
    """
    description = relative.description
    ours = is_ours(relative.name, description)
    droppable = (ours or relative.is_half_made) and relative.run_id != needed_by
    return {
        "name": relative.name,
        "purpose": relative.purpose,
        "run_id": relative.run_id,
        "size_bytes": relative.size_bytes,
        "open": relative.is_open,
        "half_made": relative.is_half_made,
        "ours": ours,
        "sessions": len([session for session in read_sessions(cursor, relative.name) if not session.is_internal]),
        "slots": _slots(cursor, relative.name),
        "made_at": made_at(relative.run_id),
        "keep_until": str(description.data.get("keep_until", "")) if description else "",
        "note": description.note if description else "It does not say of itself what it is.",
        "drop_command": drop_command(relative.name) if droppable else "",
    }
