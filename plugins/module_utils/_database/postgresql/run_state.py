# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's state on the server: a JSON comment, changed under one lock, by the server's clock."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..._domain.description import METHODS, Description, owner_of, parse_description, render_description
from ..._domain.errors import Refused
from ..._domain.in_place import UNALTERED, is_in_place
from ..._domain.run_states import BEFORE_SWAP, check_step, on_record
from ..._driver import one_row, psycopg2, sql

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from .connection import Server

LOCK_SPACE = 0x62616C63
"""First key of the lock under which a state is changed; the second is the hash of the database's public name."""

RUN_LOCK_SPACE = 0x62616C64
"""First key of the session lock that the keeper holds for its run."""


def read_comment(cursor: Cursor, database: str) -> str | None:
    """Return a database's comment; it can be read from any database of the server."""
    cursor.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        [database],
    )
    row = cursor.fetchone()
    return row[0] if row else None


def owner_of_run(cursor: Cursor, database: str) -> str:
    """Return whose run is open on a database, for a sentence that has just named the run; empty where none is."""
    description = parse_description(read_comment(cursor, database))
    return owner_of(description) if description and description.state else ""


def write_comment(cursor: Cursor, database: str, comment: str | None) -> None:
    """Set or remove a database's comment."""
    cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(database), sql.Literal(comment)))


ELSEWHERE_SECONDS = 60.0
"""How long a session in another maintenance database may hold a state; it holds it for one transaction."""

_HOLDERS = """
SELECT coalesce(nullif(a.application_name, ''), 'a session without a name') || ' (pid ' || l.pid || ')'
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = %s::bigint::oid
  AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid AND l.pid <> pg_backend_pid()
"""


def lock_holder(cursor: Cursor, space: int, database: str) -> str | None:
    """Return who else holds a lock of this collection, in whichever database of the server; or None.

    An advisory lock is one of the database that its session is in, but everybody sees it from everywhere. Who takes it
    first and looks afterwards, and gives way where he sees another, is never alone by mistake: of two that take it in
    two databases at least one sees the other.

    Args:
        cursor: in a maintenance database.
        space: first key of the lock.
        database: the public name, whose hash is the second.

    Returns:
        The application name of the session, and its pid.
    """
    cursor.execute(_HOLDERS, [space, database])
    row = cursor.fetchone()
    return str(row[0]) if row else None


def _lock_state(cursor: Cursor, name: str) -> None:
    deadline = time.monotonic() + ELSEWHERE_SECONDS
    while True:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LOCK_SPACE, name])
        holder = lock_holder(cursor, LOCK_SPACE, name)
        if holder is None:
            return
        cursor.connection.rollback()
        if time.monotonic() > deadline:
            raise Refused(
                f"The state of {name} is held by {holder} for longer than {ELSEWHERE_SECONDS:g} seconds.",
                untouched="This step changed nothing.",
                remedy="Find out what that session waits for (pg_stat_activity); end it if nobody works with it.",
                holder=holder,
            )
        time.sleep(random.uniform(0.002, 0.02))  # noqa: S311  # so that two that give way do not meet again


@contextmanager
def locked(server: Server, database: str | None = None) -> Iterator[tuple[Cursor, Description | None]]:
    """Open one transaction in which nobody else changes this database's run, from whichever maintenance database.

    Args:
        server: the server; the transaction runs in its maintenance database.
        database: the public name of the database, by default the one of the URL.

    Yields:
        A cursor inside the transaction, and what the database says of itself. The transaction is committed at the
        end, and rolled back when something is raised.
    """
    name = database or server.database
    with server.admin(autocommit=False) as connection, connection.cursor() as cursor:
        _lock_state(cursor, name)
        yield cursor, parse_description(read_comment(cursor, name))


def rolls_back_in_place(server: Server, run_id: str) -> bool:
    """Tell whether the run that is open on a database is this one, and works on the database itself."""
    with locked(server) as (_cursor, description):
        return bool(description and description.run_id == run_id and is_in_place(description))


def lease_end(cursor: Cursor, seconds: int) -> str:
    """Return the moment, by the server's clock, at which a lease of so many seconds from now runs out."""
    cursor.execute(
        "SELECT to_char((clock_timestamp() + make_interval(secs => %s)) AT TIME ZONE 'UTC', "
        '\'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"\')',
        [seconds],
    )
    return str(one_row(cursor)[0])


def claim(cursor: Cursor, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a database says of a run that closes it: how it works, and since when it is whose."""
    return {"method": METHODS[0], **data, "owner": {**data.get("owner", {}), "since": lease_end(cursor, 0)}}


def lease_has_run_out(cursor: Cursor, description: Description) -> bool:
    """Tell by the server's clock whether a run's lease has run out."""
    if not description.lease_until:
        return False
    cursor.execute("SELECT clock_timestamp() > %s::timestamptz", [description.lease_until])
    return bool(one_row(cursor)[0])


def check_lease(cursor: Cursor, server: Server, description: Description | None) -> None:
    """Refuse a step of a run whose lease has run out: its keeper, or the next run, finishes it.

    Raises:
        Refused: the lease has run out.
    """
    if description is None or not lease_has_run_out(cursor, description):
        return
    before = description.state in BEFORE_SWAP
    then = "opens the original database again" if before else "goes back where nothing was written since the swap"
    altered = is_in_place(description) and description.state not in UNALTERED
    raise Refused(
        f"The lease of run {description.run_id} on {server.database} ran out at {description.lease_until}; its "
        f"keeper {'brings it back, or the next run does' if altered else then}.",
        untouched="" if altered else "The original was not altered.",
        remedy="Find out what took so long (the journal says), then start again.",
    )


def advance(server: Server, run_id: str, step: str, **data: Any) -> Description:
    """Take a step that changes nothing on the server but the run's state, and renew the lease.

    Args:
        server: the server, with the public name of the database.
        run_id: the run.
        step: a key of `run_states.STEPS` that leads to another state of the window.
        data: entries to add to the description's C(data).

    Raises:
        Refused: the run is not in a state that allows the step.
    """
    with locked(server) as (cursor, description):
        state = check_step(step, run_id, server.database, description)
        check_lease(cursor, server, description)
        if description is None:
            raise ValueError(step)  # only "close" may begin without a description, and it does not come here
        advanced = replace(
            description,
            state=state,
            lease_until=lease_end(cursor, description.lease_seconds),
            data={**description.data, **on_record(step, lease_end(cursor, 0)), **data},
        )
        write_comment(cursor, server.database, render_description(advanced))
    return advanced


def check_state(server: Server, run_id: str, step: str) -> None:
    """Check, under the lock, that a run may take a step, without taking it.

    Raises:
        Refused: it may not.
    """
    with locked(server) as (cursor, description):
        check_step(step, run_id, server.database, description)
        check_lease(cursor, server, description)


def renew_lease(server: Server, run_id: str) -> bool:
    """Move the lease of a run on; False where the run is no longer open."""
    with locked(server) as (cursor, description):
        if description is None or description.run_id != run_id or not description.state:
            return False
        if lease_has_run_out(cursor, description):
            return False
        renewed = replace(description, lease_until=lease_end(cursor, description.lease_seconds))
        write_comment(cursor, server.database, render_description(renewed))
    return True


class Heartbeat:
    """Renews a run's lease in the background while a long step works.

    A renewal that fails is not hidden: the lease then runs out, and the next step is refused.

    Args:
        server: the server, with the public name of the database.
        run_id: the run, or None: then nothing is renewed.
        every: seconds between renewals.
    """

    def __init__(self, server: Server, run_id: str | None, every: float = 10.0) -> None:
        self._renew: Callable[[], bool] | None = (lambda: renew_lease(server, run_id)) if run_id else None
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        """Begin to renew."""
        if self._renew:
            self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        """End."""
        self._stop.set()
        if self._renew:
            self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            try:
                if self._renew and not self._renew():
                    return
            except (psycopg2.Error, Refused):
                continue  # the server may be back before the lease runs out; if not, the keeper acts
