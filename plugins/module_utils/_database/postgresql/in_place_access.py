# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes a database by privilege, for a rollback in place: everybody but its owner loses CONNECT, and gets it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.description import Description, render_description
from ..._domain.errors import Refused, RollbackError
from ..._domain.in_place import description_data
from ..._domain.run_states import check_gate_passed, check_step
from ..._domain.typed import sql_name, sql_text
from ..._driver import sql
from .blockers import refuse_blockers
from .in_place_blockers import find_in_place_blockers, remaining_sessions
from .properties import Grant, apply_grants, read_grants, read_properties
from .relatives import admit
from .restore import restore_original
from .run_state import check_state, claim, lease_end, locked, read_comment, write_comment
from .sessions import PATIENCE_SECONDS, end_sessions, read_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg2.extensions import cursor as Cursor

    from ..._run import Run
    from .connection import Server
    from .sessions import Session

_NOTE = (
    "Closed by a rollback in place that is under way: CONNECT was taken from everybody but the owner. The privileges "
    "are kept in data.grants. By hand: GRANT them again, then set the comment to original_comment; but where the state "
    "is migrating or later, only when the schema is what you want."
)


def preview_closing_in_place(server: Server, run: Run, application_roles: Sequence[str]) -> list[Session]:
    """Check everything that can be checked before a run closes the database by privilege, and list whom it ends.

    Raises:
        Refused: the run's journal does not show that what must come before has passed, another run is open, or the
            application would stay in, or could not be brought back.
    """
    check_gate_passed(run.run_id, run.passed_phases(), run.kind())
    check_state(server, run.run_id, "close")
    with server.admin() as connection, connection.cursor() as cursor:
        read_properties(cursor, server.database)  # says so where there is no such database
        blockers = find_in_place_blockers(cursor, server, run.run_id, application_roles)
        refuse_blockers(server.database, blockers, in_place=True)
        return [session for session in read_sessions(cursor, server.database) if not session.is_internal]


def close_in_place(
    server: Server,
    run_id: str,
    lease_seconds: int,
    application_roles: Sequence[str],
    *,
    patience: float = PATIENCE_SECONDS,
    data: Mapping[str, Any] | None = None,
) -> list[Session]:
    """Take CONNECT from everybody but the owner and end all sessions; or, where that fails, leave it as it was.

    Args:
        server: the server, with the public name of the database.
        run_id: the run that closes it.
        lease_seconds: how long the run may go without a sign of life.
        application_roles: those of the application, for the record.
        patience: seconds that sessions get to end.
        data: what else the database is to say of the run, as in `access.close_database`.

    Returns:
        The sessions that were ended.

    Raises:
        Refused: the run may not close it now, a session did not end, or somebody came back; it is open as it was.
    """
    identity = server.identity()
    with locked(server) as (cursor, description):
        state = check_step("close", run_id, server.database, description)
        grants = read_grants(cursor, server.database)
        closed = Description(
            run_id=run_id,
            role="original",
            state=state,
            lease_until=lease_end(cursor, lease_seconds),
            lease_seconds=lease_seconds,
            original_comment=read_comment(cursor, server.database),
            note=_NOTE,
            data={
                **claim(cursor, data or {}),
                **description_data(
                    application_roles=application_roles,
                    grants=[grant._asdict() for grant in grants],
                    system_identifier=identity.system_identifier,
                    oid=identity.oid,
                ),
            },
        )
        write_comment(cursor, server.database, render_description(closed))
        keep_everybody_out(cursor, server.database)
    try:
        with server.admin() as connection, connection.cursor() as cursor:
            ended = end_sessions(cursor, server.database, patience=patience)
            _check_alone(cursor, server.database)
    except BaseException as error:
        restore_original(server, run_id)
        if isinstance(error, RollbackError):
            error.untouched = f"{server.database} is open again, unaltered, with the privileges that it had."
        raise
    return ended


def keep_everybody_out(cursor: Cursor, database: str) -> None:
    """Take CONNECT on a database from everybody but its owner; other privileges stay."""
    owner = read_properties(cursor, database).owner
    grantees = {grant.grantee for grant in read_grants(cursor, database) if grant.privilege == "CONNECT"}
    for grantee in sorted(grantees - {owner}, key=str):
        role = sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee)
        cursor.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {} CASCADE").format(sql.Identifier(database), role))


def give_access_back(cursor: Cursor, database: str, description: Description) -> None:
    """Give everybody exactly the privileges that a run in place took, and let sessions in.

    Args:
        cursor: in a transaction; from outside the database or from inside.
        database: its name.
        description: what the database says of the run.
    """
    apply_grants(cursor, database, read_properties(cursor, database).owner, kept_grants(description))
    admit(cursor, database, True)


def kept_grants(description: Description) -> list[Grant]:
    """Return the privileges on the database of before the run."""
    return [Grant(**grant) for grant in description.data["grants"]]


def opening_commands(database: str, description: Description) -> str:
    """Return the SQL that opens a database as it is now, with the privileges of before and its own comment."""
    name = sql_name(database)
    statements = [
        f"GRANT CONNECT ON DATABASE {name} TO {'PUBLIC' if grant.grantee is None else sql_name(grant.grantee)}"
        f"{' WITH GRANT OPTION' if grant.grantable else ''};"
        for grant in kept_grants(description)
        if grant.privilege == "CONNECT"
    ]
    statements.append(f"COMMENT ON DATABASE {name} IS {sql_text(description.original_comment)};")
    statements.append(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true;")
    return " ".join(statements)


def _check_alone(cursor: Cursor, database: str) -> None:
    """Check that nobody came back: a role that was not there before, or a superuser.

    Raises:
        Refused: somebody did.
    """
    sessions = remaining_sessions(read_sessions(cursor, database))
    if sessions:
        raise Refused(
            f"Sessions came back to {database} although CONNECT was taken: {'; '.join(map(str, sessions))}.",
            remedy="Superusers and the owner's own role stay in: stop what connects as one of them, then start again.",
            sessions=[session.as_dict() for session in sessions],
        )
