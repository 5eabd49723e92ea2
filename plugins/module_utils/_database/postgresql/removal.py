# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting what runs left, while nobody can begin a run: each deletion looks again at what it deletes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..._domain.errors import Failed, Refused
from ..._domain.names import parse_derived_name
from ..._domain.run_states import check_no_run
from ..._domain.status import drop_command
from ..._driver import psycopg2, sql
from .relatives import admits, find_relative
from .run_state import locked
from .status import read_entry

if TYPE_CHECKING:
    from .connection import Server

LOOKED_AT = ("name", "purpose", "run_id", "ours", "open", "half_made", "keep_until", "sessions", "slots")
"""What a database must still be like when it is dropped."""


@contextmanager
def no_run_begins(server: Server) -> Iterator[None]:
    """Hold the lock under which a run changes its state; the database is open, and no run is open on it.

    Raises:
        Refused: it is not so.
    """
    with locked(server) as (cursor, description):
        check_no_run(server.database, description)
        if not admits(cursor, server.database):
            raise Refused(
                f"{server.database} is closed or missing.",
                untouched="Nothing was deleted.",
                remedy="Find out why: ansible-playbook playbooks/status.yml -e env=…",
            )
        yield


def drop_left_database(server: Server, seen: dict[str, Any]) -> None:
    """Drop a database that a run left, if it is still as it was seen; never one with sessions.

    Args:
        server: the server, with the public name of the database.
        seen: its entry, as `status.read_entry` told it.

    Raises:
        Refused: it is another one by now, or somebody has connected to it.
        Failed: the server did not drop it.
    """
    name = seen["name"]
    with no_run_begins(server), server.admin() as connection, connection.cursor() as cursor:
        relative = find_relative(cursor, server.database, name)
        now = read_entry(cursor, relative, needed_by=None) if relative else {}
        changed = [key for key in LOOKED_AT if now.get(key) != seen[key]]
        if changed or not (seen["ours"] and parse_derived_name(name)):
            raise Refused(
                f"{name} is no longer what it was when the list was made ({', '.join(changed) or 'not ours'}).",
                untouched="It was not dropped.",
                remedy="Start again: the list is made anew.",
                database=name,
            )
        try:
            cursor.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
        except psycopg2.Error as error:
            raise Failed(
                f"{name} could not be dropped: {str(error).strip()}",
                untouched="It is still there, or half dropped; no other database was touched.",
                remedy=f"Remove the cause, then start again, or type in psql: {drop_command(name)}",
                database=name,
            ) from error
