# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File copies of a database on its own server: the candidate, and throwaway clones."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..._domain.description import Description, render_description
from ..._domain.errors import Failed, Refused
from ..._domain.names import derived_name, parse_derived_name
from ..._domain.run_states import check_step
from ..._driver import one_row, psycopg2, sql
from .clone_session import copy_session
from .copy_method import copy_files
from .progress import cloning
from .properties import apply_settings, keep_out, read_grants, read_properties
from .relatives import admit, find_relative
from .run_state import check_state, lease_end, locked, renew_lease, write_comment
from .sessions import POLL_SECONDS, read_sessions

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server
    from .properties import Properties
    from .relatives import Relative

DROPPABLE = ("trial", "rehearsal")
OF_A_COPY = ("trial", "restored")
"""Purposes of copies that are made of a candidate or a rehearsal."""
SETTLING_SECONDS = 2.0
"""How long sessions that have just been closed may take to disappear."""


class CloneResult(NamedTuple):
    """What a copy came to.

    Attributes:
        name: the new database.
        bytes: its size.
        seconds: how long the copy took.
        changed: False where it was there already.
        file_copy_method: C(clone) or C(copy), as the server was told; None where nothing was copied.
    """

    name: str
    bytes: int
    seconds: float
    changed: bool
    file_copy_method: str | None = None


class CloneRequest(NamedTuple):
    """A copy that a run asks for.

    Attributes:
        server: the server, with the public name of the database.
        purpose: candidate, trial or rehearsal.
        run_id: the run.
        source: the name of the database to copy.
        target: the name of the copy.
    """

    server: Server
    purpose: str
    run_id: str
    source: str
    target: str

    @classmethod
    def make(cls, server: Server, purpose: str, run_id: str, source: str | None) -> CloneRequest:
        """Complete a request: a trial is made from the run's candidate, everything else from the database.

        Raises:
            Refused: a candidate can only be made from the database itself.
        """
        default = derived_name(server.database, "candidate", run_id) if purpose == "trial" else server.database
        if purpose == "candidate" and source not in (None, server.database):
            raise Refused(
                f"A candidate is made from {server.database}, not from {source}.",
                untouched="Nothing was touched.",
                remedy="Leave 'source' out.",
            )
        return cls(server, purpose, run_id, source or default, derived_name(server.database, purpose, run_id))

    def fulfil(self) -> CloneResult:
        """Make the copy.

        Raises:
            Refused: the run may not make it now, or the source is in use.
        """
        if self.purpose == "candidate":
            return clone_candidate(self.server, self.run_id)
        return clone_of_run(self.server, self.source, self.purpose, self.run_id)


def preview_clone(request: CloneRequest) -> CloneResult:
    """Check that a copy may be made, without making it.

    Raises:
        Refused: it may not.
    """
    server, target = request.server, request.target
    with server.admin() as connection, connection.cursor() as cursor:
        relative = find_relative(cursor, server.database, target)
        if relative and not relative.is_half_made and _is_done(request, relative):
            return CloneResult(target, relative.size_bytes or 0, 0.0, changed=False)
        if request.purpose in OF_A_COPY:
            check_made_by(cursor, server, request.source, request.run_id, ("candidate", "rehearsal"))
        read_properties(cursor, request.source)
    if request.purpose == "candidate":
        check_state(server, request.run_id, "clone")
    return CloneResult(target, 0, 0.0, changed=True)


def exists(server: Server, name: str) -> bool:
    """Tell whether there is a database of that name."""
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        return bool(cursor.rowcount)


def clone_candidate(server: Server, run_id: str) -> CloneResult:
    """Copy the closed database to the run's candidate, and take the step "clone".

    Raises:
        Refused: the run is not in the state that allows it.
    """
    target = derived_name(server.database, "candidate", run_id)
    present = _present(server, target, run_id, "candidate")
    if present and has_candidate(server, run_id):
        return present
    check_state(server, run_id, "clone")
    renew_lease(server, run_id)
    if present:
        _drop(server, target)  # complete, but killed before the run's state said so
    with copy_session(server, run_id) as connection:
        result = _copy(server, connection, server.database, target, _describe(server, "candidate", run_id))
        _take_step(server, run_id, result)
    return result


def clone_database(server: Server, source: str, target: str, *, description: Description) -> CloneResult:
    """Copy a database that nobody uses, file by file, with owner, settings and tablespace.

    Nobody but the owner gets into the copy: privileges and connection limit stay behind until the copy takes a public
    name (see `swap`). A candidate of a run is made by `clone_candidate`.

    Args:
        server: the server.
        source: the database to copy; it has no sessions.
        target: the name of the copy.
        description: what the copy says of itself.

    Raises:
        Refused: the source has sessions; the message names them.
        Failed: the server could not make the copy; nothing is left of it.
    """
    present = _present(server, target, description.run_id, description.role)
    if present:
        return present
    with copy_session(server, description.run_id) as connection:
        with connection.cursor() as cursor:
            _check_unused(cursor, source)
        return _copy(server, connection, source, target, description)


def clone_of_run(server: Server, source: str, purpose: str, run_id: str) -> CloneResult:
    """Make a run's throwaway clone, from a database that the same run made.

    Raises:
        Refused: the source is somebody else's database, or has sessions.
    """
    if purpose in OF_A_COPY:
        with server.admin() as connection, connection.cursor() as cursor:
            check_made_by(cursor, server, source, run_id, ("candidate", "rehearsal"))
    target = derived_name(server.database, purpose, run_id)
    return clone_database(server, source, target, description=_describe(server, purpose, run_id, source=source))


def drop_derived_database(server: Server, name: str, run_id: str) -> bool:
    """Drop a rehearsal or a throwaway clone of a run, sessions included.

    Returns:
        Whether it was there.

    Raises:
        Refused: it is not one that this run made to be dropped.
    """
    if not exists(server, name):
        return False
    with server.admin() as connection, connection.cursor() as cursor:
        check_made_by(cursor, server, name, run_id, DROPPABLE)
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    return True


def check_made_by(cursor: Cursor, server: Server, name: str, run_id: str, purposes: tuple[str, ...]) -> None:
    """Check by name and description that a run made a database, for one of these purposes.

    Raises:
        Refused: it did not.
    """
    parts = parse_derived_name(name)
    relative = find_relative(cursor, server.database, name)
    role = relative.description.role if relative and relative.description else None
    made_by = relative.description.run_id if relative and relative.description else None
    named = bool(parts and parts.run_id == run_id and parts.purpose in purposes)
    if named and relative and (relative.is_half_made or (made_by == run_id and role in purposes)):
        return
    raise Refused(
        f"{name!r} is not a {' or '.join(purposes)} database that run {run_id} made beside {server.database}: its name "
        f"and its comment must both say so (its comment says: run {made_by or 'none'}, {role or 'nothing'}).",
        untouched="Nothing was touched.",
        remedy="The db_info module lists under 'leftovers' what runs made. A database of your own you drop yourself.",
        database=name,
    )


def _present(server: Server, target: str, run_id: str, role: str) -> CloneResult | None:
    """Return the copy if it is there and complete; drop it where it was left half-made."""
    with server.admin() as connection, connection.cursor() as cursor:
        relative = find_relative(cursor, server.database, target)
        if relative is None:
            return None
        if relative.is_half_made:
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target)))
            return None
    if relative.description and (relative.description.run_id, relative.description.role) == (run_id, role):
        return CloneResult(target, relative.size_bytes or 0, 0.0, changed=False)
    raise Refused(
        f"There is a database {target!r} already, and it does not say that run {run_id} made it.",
        untouched="It was not touched.",
        remedy="Look at it; rename or drop it yourself if nobody needs it.",
        database=target,
    )


def _is_done(request: CloneRequest, relative: Relative) -> bool:
    description = relative.description
    if description is None or (description.run_id, description.role) != (request.run_id, request.purpose):
        return False
    return request.purpose != "candidate" or has_candidate(request.server, request.run_id)


def has_candidate(server: Server, run_id: str) -> bool:
    """Tell by the run's state whether its candidate is complete."""
    with locked(server) as (_cursor, description):
        return bool(description and description.run_id == run_id and description.state not in ("", "closed"))


def _drop(server: Server, name: str) -> None:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _describe(server: Server, role: str, run_id: str, *, source: str | None = None) -> Description:
    return Description(
        run_id=run_id,
        role=role,
        note=f"Made by rollback {run_id} from {source or server.database}; production does not use it.",
        data={"source": source or server.database},
    )


def _check_unused(cursor: Cursor, source: str) -> None:
    deadline = time.monotonic() + SETTLING_SECONDS
    while True:
        sessions = [session for session in read_sessions(cursor, source) if not session.is_internal]
        if not sessions:
            return
        if time.monotonic() > deadline:
            raise Refused(
                f"{source} has sessions, and can only be copied without: {'; '.join(map(str, sessions))}.",
                untouched="Nothing was touched.",
                remedy="End them, or close the database first (db_access).",
                sessions=[session.as_dict() for session in sessions],
            )
        time.sleep(POLL_SECONDS)


def _copy(server: Server, connection: Connection, source: str, target: str, description: Description) -> CloneResult:
    """Copy, describe and open; what was begun is removed again when that fails."""
    start = time.monotonic()
    with connection.cursor() as cursor:
        properties = read_properties(cursor, source)
        with cloning(server, source):
            method = _create(cursor, source, target, properties.owner)
        try:
            _hand_over(connection, cursor, target, properties, description)
        except psycopg2.Error:
            connection.rollback()
            connection.autocommit = True
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(target)))
            raise
        seconds = round(time.monotonic() - start, 3)
        cursor.execute("SELECT pg_database_size(%s)", [target])
        return CloneResult(target, one_row(cursor)[0], seconds, changed=True, file_copy_method=method)


def _create(cursor: Cursor, source: str, target: str, owner: str) -> str:
    # WAL_LOG, the default, leaves orphans and a server that cannot write when the disk is full (facts, 2).
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY OWNER {} ALLOW_CONNECTIONS false").format(
        *map(sql.Identifier, (target, source, owner))
    )
    try:
        return copy_files(cursor, lambda: cursor.execute(statement))
    except psycopg2.Error as error:
        raise Failed(
            f"{source} could not be copied to {target}: {str(error).strip()}",
            untouched=f"{source} was not altered, and the server has removed what there was of the copy.",
            remedy="A lost connection means that the copy was ended: by the restore of the run (see its journal), by a "
            "person, or with the server (see its log). Remove the cause, then start the whole run again.",
        ) from error


def _hand_over(
    connection: Connection, cursor: Cursor, target: str, properties: Properties, description: Description
) -> None:
    connection.autocommit = False
    apply_settings(cursor, target, properties.settings)
    keep_out(cursor, target, {grant.grantee for grant in read_grants(cursor, target)} - {properties.owner})
    write_comment(cursor, target, render_description(description))
    admit(cursor, target, True)
    connection.commit()
    connection.autocommit = True


def _take_step(server: Server, run_id: str, result: CloneResult) -> None:
    """Say in the run's state that the candidate is there.

    The lease may have run out meanwhile: it could not be renewed, and the keeper waited for the copy.
    """
    with locked(server) as (cursor, description):
        state = check_step("clone", run_id, server.database, description)
        if description is None:
            raise ValueError(run_id)  # check_step refuses that
        advanced = replace(
            description,
            state=state,
            lease_until=lease_end(cursor, description.lease_seconds),
            data={**description.data, "candidate": result.name, "candidate_bytes": result.bytes},
        )
        write_comment(cursor, server.database, render_description(advanced))
