# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which databases a migration tool may be pointed at: those that a run has made, and no other."""

from __future__ import annotations

from collections.abc import Sequence

from .._database.postgresql.connection import Server
from .._database.postgresql.run_state import read_comment
from .._domain.description import Description, parse_description
from .._domain.errors import Refused
from .._domain.in_place import is_in_place


def check_made_by_run(server: Server, database: str, run_id: str, roles: Sequence[str]) -> Description:
    """Check by its comment that a database was made by this run, for one of these purposes.

    Raises:
        Refused: it was not: it may be production's own.
    """
    with server.admin() as connection, connection.cursor() as cursor:
        description = parse_description(read_comment(cursor, database))
    if description and description.run_id == run_id and description.role in roles:
        return description
    if description and description.run_id == run_id and "candidate" in roles and is_in_place(description):
        return _check_same_database(server, database, description)
    said = f"{description.role} of run {description.run_id}" if description else "nothing of a run"
    raise Refused(
        f"Database {database!r} is not the {' or '.join(roles)} of run {run_id}: its comment says {said}.",
        untouched="No migration was run.",
        remedy=(
            "Migrations are only run on databases that the run itself has made. Start the whole run with "
            "'ansible-playbook rollback.yml -e env=…'."
        ),
        database=database,
    )


def _check_same_database(server: Server, database: str, description: Description) -> Description:
    """Check that a database is exactly the one that this run has closed, to work on itself.

    Raises:
        Refused: it is another one.
    """
    closed = (description.data["system_identifier"], description.data["oid"])
    if database == server.database and tuple(server.identity(database)) == closed:
        return description
    raise Refused(
        f"Database {database!r} is not the one that run {description.run_id} has closed to migrate it in place.",
        untouched="No migration was run.",
        remedy="Somebody put another database under its name. Look at both before anything else is done.",
        database=database,
    )


def check_different(intended: Server, database: str, others: Sequence[Server]) -> None:
    """Check that the intended database is none of the others, whatever their URLs look like.

    Raises:
        Refused: it is one of them.
    """
    identity = intended.identity(database)
    for other in others:
        if other.identity() == identity:
            raise Refused(
                f"Database {database!r} is the one that must not be touched: both URLs lead to the same database.",
                untouched="No migration was run.",
                remedy="Check rollback_database_url of both hosts.",
                database=database,
            )
