# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a person wants to know of a database before a rollback."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import parse_description
from ..._domain.errors import Refused
from ..._driver import one_row
from .blockers import Blocker, disk_blockers, find_blockers, read_rights
from .disk import read_disk
from .in_place_blockers import find_in_place_blockers
from .relatives import read_relatives
from .run_lock import run_lock_holder
from .run_state import read_comment
from .sessions import read_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server
    from .relatives import Relative

ASSUMED_BYTES_PER_SECOND = 200_000_000
"""What a file copy makes on modest disks; a rehearsal measures the real one."""


class Question(NamedTuple):
    """What is asked about a database.

    Attributes:
        run_id: the run that asks, or None.
        candidate: look for what would block a candidate.
        free_bytes: what the operator says is free.
        copies: how many copies are alive at the same time.
        bytes_per_second: how fast a rehearsal copied.
        application_roles: with them, look for what would block a rollback in place instead; None otherwise.
    """

    run_id: str | None = None
    candidate: bool = True
    free_bytes: int | None = None
    copies: int = 1
    bytes_per_second: float | None = None
    application_roles: Sequence[str] | None = None


def read_information(
    server: Server,
    public: Server | None = None,
    question: Question | None = None,
    differs_from: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Read everything that C(db_info) returns.

    Args:
        server: the server, with the public name of the database.
        public: the way by the database URL alone, where an admin URL was given too: it must lead to the same database.
        question: what is asked; by default everything.
        differs_from: C(system_identifier) and C(oid) of a database that this one must not be.

    Raises:
        Refused: the server does not let us in.
    """
    try:
        information = _read(server, public, question or Question())
    except Refused as refusal:
        raise explained(server, refusal) from None
    if differs_from and all(information[name] == differs_from[name] for name in ("system_identifier", "oid")):
        same = Blocker(
            "same_database",
            server.database,
            f"The two URLs lead to the same database {server.database!r}: a rehearsal there would be on production",
            "Let rollback_database_url of the staging host lead to staging's own database.",
        )
        information["blockers"].append(same._asdict())
    return information


def explained(server: Server, refusal: Refused) -> Refused:
    """Return the refusal of a server that was asked before anything else, in words for whoever gave its URL."""
    if not _leads_to_pooler(server):
        refusal.untouched = refusal.untouched or "Nothing was touched."
        return refusal
    return Refused(
        f"The URL of {server.database} leads to a connection pooler: {refusal.message}",
        untouched="Nothing was touched.",
        remedy="Give the direct way to the server, past the pooler: rollback_admin_url.",
    )


def _read(server: Server, public: Server | None, question: Question) -> dict[str, Any]:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [server.database])
        exists = cursor.rowcount == 1
        information = {"exists": exists, "name": server.database, **_read_server(connection, cursor)}
        information.update(_read_database(cursor, server, exists=exists))
        size = information["size_bytes"]
        disk = read_disk(cursor, server.database, size, question.copies, question.free_bytes)
        information.update({"disk": disk._asdict(), "blockers": [], **_predict(size, question.bytes_per_second)})
        if question.candidate:
            found = _find(cursor, server, question) if exists else _missing(server.database)
            more = [*_run_blockers(information, question.run_id), *_way_blockers(public, information)]
            blockers = [*found, *(disk_blockers(disk) if exists else []), *more]
            information["blockers"] = [blocker._asdict() for blocker in blockers]
    return information


def _find(cursor: Cursor, server: Server, question: Question) -> list[Blocker]:
    if question.application_roles is None:
        return find_blockers(cursor, server, question.run_id)
    return find_in_place_blockers(cursor, server, question.run_id, question.application_roles)


def _leads_to_pooler(server: Server) -> bool:
    try:
        with server.connect(autocommit=True) as connection, connection.cursor() as cursor:
            return _is_pooler(connection, cursor)
    except Refused:
        return False


def _is_pooler(connection: Connection, cursor: Cursor) -> bool:
    """Tell a pooler by the process ids that it hands out: libpq then knows another one than the server does."""
    cursor.execute("SELECT pg_backend_pid()")
    return bool(one_row(cursor)[0] != connection.info.backend_pid)


def _read_server(connection: Connection, cursor: Cursor) -> dict[str, Any]:
    cursor.execute(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), "
        "current_setting('server_version'), pg_is_in_recovery()"
    )
    system_identifier, version, in_recovery = one_row(cursor)
    return {
        "is_pooler": _is_pooler(connection, cursor),
        "system_identifier": system_identifier,
        "server_version": version,
        "server_major": connection.server_version // 10000,
        "in_recovery": in_recovery,
    }


_NOTHING: dict[str, Any] = {
    "oid": None,
    "size_bytes": None,
    "owner": None,
    "encoding": None,
    "is_open": None,
    "sessions": [],
    "rights": None,
    "open_run": None,
}


def _read_database(cursor: Cursor, server: Server, *, exists: bool) -> dict[str, Any]:
    shared = {
        "run_lock_held_by": run_lock_holder(cursor, server.database),
        "leftovers": [_leftover(relative) for relative in read_relatives(cursor, server.database)],
    }
    if not exists:
        return {**_NOTHING, **shared}
    cursor.execute(
        "SELECT oid::bigint, "
        "CASE WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') "
        "THEN pg_database_size(oid) END, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datallowconn "
        "FROM pg_database WHERE datname = %s",
        [server.database],
    )
    values = dict(zip(("oid", "size_bytes", "owner", "encoding", "is_open"), one_row(cursor)))
    description = parse_description(read_comment(cursor, server.database))
    rights = read_rights(cursor, server.database)._asdict()
    return {
        **values,
        **shared,
        "sessions": [session.as_dict() for session in read_sessions(cursor, server.database)],
        "rights": {**rights, "connect_admin": True},
        "open_run": asdict(description) if description and description.state else None,
    }


def _leftover(relative: Relative) -> dict[str, Any]:
    return {
        "name": relative.name,
        "purpose": relative.purpose,
        "run_id": relative.run_id,
        "size_bytes": relative.size_bytes,
        "state": "half_made" if relative.is_half_made else "open" if relative.is_open else "closed",
        "note": relative.description.note if relative.description else "",
    }


def _predict(size: int | None, bytes_per_second: float | None) -> dict[str, Any]:
    rate = bytes_per_second or ASSUMED_BYTES_PER_SECOND
    return {
        "predicted_copy_seconds": None if size is None else round(size / rate, 3),
        "copy_rate_source": "rehearsal" if bytes_per_second else "assumed",
    }


def _missing(database: str) -> list[Blocker]:
    return [
        Blocker(
            "missing",
            database,
            f"There is no database {database!r} on this server.",
            "Check the name in the URL: capitals and spaces count.",
        )
    ]


def _run_blockers(information: dict[str, Any], run_id: str | None) -> Iterator[Blocker]:
    run = information["open_run"]
    if run and run["run_id"] != run_id:
        yield Blocker(
            "other_run",
            run["run_id"],
            f"Run {run['run_id']} is under way on {information['name']} (state {run['state']}, lease until "
            f"{run['lease_until']}).",
            "Wait until it has ended; one that was killed is ended by: ansible-playbook playbooks/restore.yml -e env=…",
        )


def _way_blockers(public: Server | None, information: dict[str, Any]) -> Iterator[Blocker]:
    if information["is_pooler"]:
        yield Blocker(
            "pooler",
            "connection pooler",
            "The URL leads to a connection pooler, which keeps sessions of its own and knows only configured names.",
            "Give the direct way to the server, past the pooler: rollback_admin_url.",
        )
    if public and information["is_open"]:
        yield from _elsewhere(public, information)


def _elsewhere(public: Server, information: dict[str, Any]) -> Iterator[Blocker]:
    """Find out whether the database URL and the admin URL lead to the same database."""
    try:
        with public.connect(autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT (SELECT system_identifier::text FROM pg_control_system()), "
                "(SELECT oid::bigint FROM pg_database WHERE datname = current_database())"
            )
            same = one_row(cursor) == (information["system_identifier"], information["oid"])
    except Refused as error:
        yield Blocker("database_url", public.database, error.message, error.remedy)
        return
    if not same:
        yield Blocker(
            "admin_url",
            public.database,
            "rollback_database_url and rollback_admin_url lead to different databases.",
            "Let both lead to the same server.",
        )
