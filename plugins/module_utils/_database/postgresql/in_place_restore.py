# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency restore of a rollback in place: the privileges back, or the dump, in one transaction, and proven.

That transaction also gives the privileges, the comment and the way in back. Whoever kills it at any instant leaves the
database shut as it was, or open as it was before the run, and nothing between.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..._domain.description import render_description
from ..._domain.errors import Failed, Refused, RollbackError
from ..._domain.in_place import UNALTERED
from ..._domain.run_states import AFTER_SWAP
from ..._driver import psycopg2
from .clone_session import copy_name
from .counters import difference_from
from .in_place_access import give_access_back, keep_everybody_out, opening_commands
from .refilling import bring_back, differences
from .relatives import admit
from .restore import Restored, left_to_a_person
from .restore_point import find_way_back, keep_what_is_there
from .run_lock import tell_keeper
from .run_state import write_comment
from .sessions import end_sessions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.description import Description
    from ..._domain.in_place import DumpAccess
    from .connection import Server

GIVEN_BACK = "before_swap"
FROM_DUMP = "restore_point"


def restore_in_place(
    server: Server,
    cursor: Cursor,
    description: Description,
    *,
    access: DumpAccess | None,
    accept_loss: bool = False,
    unattended: bool = False,
) -> Restored:
    """Bring a database back that a run in place has closed.

    Args:
        server: the server, with the public name of the database.
        cursor: of `run_state.locked`, in whose transaction nobody else changes this database's run.
        description: what the database says of the run, which is open.
        access: how the dump is read; None where nobody is there who could: then only privileges are given back.
        accept_loss: bring it back although rows were written since it was opened; they are dumped first.
        unattended: nobody is there to decide: where rows were written, it is left open as it is.

    Raises:
        Failed: it was written to since it was opened, or that cannot be told, or the restore failed. It is shut.
    """
    start = time.monotonic()
    cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")  # the lock must outlast the restore
    try:
        if description.state in UNALTERED:
            _open(cursor, server, description)
            tell_keeper(cursor, description.run_id)
            return _restored(server, GIVEN_BACK, "", start)
        if access is None:
            return Restored(False, "nothing", None, "", _since(start), _nobody_there(server, description))
        return _from_dump(server, cursor, description, access, (accept_loss, unattended), start)
    except (psycopg2.Error, Refused) as error:
        raise _not_restored(server, description, str(error).strip()) from error


def _from_dump(
    server: Server,
    cursor: Cursor,
    description: Description,
    access: DumpAccess,
    decided: tuple[bool, bool],
    start: float,
) -> Restored:
    way_back = find_way_back(server, cursor.connection.server_version, description.run_id, description, access)
    proof = ""
    if description.state in AFTER_SWAP:
        proof = _nothing_written(server, cursor, description, access, *decided)
    with _alone(server, description) as connection:
        differs = differences(connection, way_back)
        connection.rollback()
        if differs:
            bring_back(connection, way_back)
        with connection.cursor() as inside:
            _open(inside, server, description)
        connection.commit()
    tell_keeper(cursor, description.run_id)
    return _restored(server, FROM_DUMP if differs else GIVEN_BACK, proof, start)


def _nothing_written(
    server: Server,
    cursor: Cursor,
    description: Description,
    access: DumpAccess,
    accept_loss: bool,
    unattended: bool,
) -> str:
    """Close the database again, and prove that nothing was written since it was opened.

    Returns:
        How that is known.

    Raises:
        Failed: it was written to, or that cannot be told.
    """
    with server.admin(autocommit=False) as admin, admin.cursor() as outside:
        keep_everybody_out(outside, server.database)
    with _alone(server, description) as connection, connection.cursor() as inside:
        reason = difference_from(inside, description.data.get("counters"))
    if not reason:
        return "counters"
    if not accept_loss:
        _hold(server, description, reason, unattended)
        raise _written(server, description, reason, unattended)
    with server.admin() as admin, admin.cursor() as outside:
        admit(outside, server.database, True)  # to be dumped; nobody but the owner has the privilege
        keep_what_is_there(server, description.run_id, description, access)
    return "none, the loss was accepted"


def _hold(server: Server, description: Description, reason: str, unattended: bool) -> None:
    """Let the database say that a person decides; where nobody is there, let everybody in again."""
    with server.admin(autocommit=False) as admin, admin.cursor() as outside:
        write_comment(outside, server.database, render_description(left_to_a_person(description, reason)))
        if unattended:
            give_access_back(outside, server.database, description)


@contextmanager
def _alone(server: Server, description: Description) -> Iterator[Connection]:
    """Open a session in the database, and let nobody else in, not even its owner, nor a superuser, until it commits.

    A migration tool of a controller that was slow connects as the owner, whom no privilege keeps out.
    """
    database = server.database
    with server.admin() as admin, admin.cursor() as outside:
        admit(outside, database, True)  # closed already where an earlier restore was killed
        with server.connect() as connection:
            admit(outside, database, False)
            end_sessions(outside, database, but=[connection.info.backend_pid])
            with connection.cursor() as cursor:
                # A restore may take longer than the lease, which is not renewed meanwhile: this is the sign of life.
                cursor.execute("SELECT set_config('application_name', %s, false)", [copy_name(description.run_id)])
            connection.commit()
            connection.set_session(isolation_level="READ COMMITTED", readonly=False)
            yield connection
            connection.rollback()


def _open(cursor: Cursor, server: Server, description: Description) -> None:
    give_access_back(cursor, server.database, description)
    write_comment(cursor, server.database, description.original_comment)


def _restored(server: Server, restored_from: str, proof: str, start: float) -> Restored:
    how = {
        GIVEN_BACK: f"{server.database} is open again, unaltered, with the privileges that it had.",
        FROM_DUMP: f"{server.database} is again what it was when it was closed: restored from the dump taken then, "
        "proven, and open with the privileges that it had.",
    }[restored_from]
    return Restored(True, restored_from, None, proof, _since(start), how)


def _nobody_there(server: Server, description: Description) -> str:
    return (
        f"{server.database} stays shut: run {description.run_id} was migrating it in place, and its dump is restored "
        "by the next run of rollback.yml or restore.yml."
    )


def _written(server: Server, description: Description, reason: str, unattended: bool) -> Failed:
    commands = ways_on_in_place(server, description)
    return Failed(
        f"{server.database} was not restored: {reason}.",
        untouched=f"It is {'open' if unattended else 'closed'}, and nothing of it was taken away; the dump is "
        f"kept as {description.data['restore_point']['path']}.",
        remedy=f"Decide. To keep what was written, type in psql, in database {server.maintenance_database}, as the "
        f"owner: {commands['keep']} To go back, and lose it (it is dumped first): {commands['go_back']}",
        commands=commands,
        reason=reason,
    )


def _not_restored(server: Server, description: Description, reason: str) -> RollbackError:
    commands = ways_on_in_place(server, description)
    return Failed(
        f"{server.database} could not be restored in place: {reason}",
        untouched="Nothing of it is half done: it is shut, as it was when this began.",
        remedy=f"Remove the cause, then type: {commands['go_back']}",
        commands=commands,
        reason=reason,
    )


def ways_on_in_place(server: Server, description: Description) -> dict[str, str]:
    """Return the two ways out: C(keep), the SQL that opens it as it is now, and C(go_back), the command to type."""
    run = f"ansible-playbook restore.yml -e env=production -e run={description.run_id}"
    loss = " -e accept_loss=true" if description.state in AFTER_SWAP else ""
    return {"keep": opening_commands(server.database, description), "go_back": run + loss}


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)
