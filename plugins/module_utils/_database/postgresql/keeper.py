# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper: a small process that holds a run's lock, and opens the original again when nobody else is left to do it.

It is forked by the module that closes the database, and outlives it, its controller and its job. Everything it needs is
imported before: Ansible removes the module's archive when the module ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import parse_description
from ..._domain.errors import Failed, Refused, RollbackError
from ..._domain.readable import readable_line
from ..._domain.run_states import BEFORE_SWAP
from ..._driver import psycopg2
from ..._maintenance import provider
from ..._run import utc_now
from .clone_session import is_copying
from .restore import restore_original
from .run_lock import CHANNEL, keeper_name, run_lock_holder, take_run_lock
from .run_state import lease_has_run_out, read_comment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor as Cursor

    from ..._domain.description import Description
    from ..._run import Run
    from .connection import Server

LOOK_SECONDS = 0.5
START_SECONDS = 20.0
GIVE_UP_SECONDS = 600.0
"""How long a keeper that cannot reach the server goes on trying after the lease."""

READY = b"ready"


class Keeper(NamedTuple):
    """A keeper that was started.

    Attributes:
        pid: its process.
        alive: our end of a pipe. While it is open, the keeper knows that the closing is still under way.
    """

    pid: int
    alive: int

    def release(self) -> None:
        """Tell the keeper that the database was closed, or that it will not be."""
        os.close(self.alive)


def start_keeper(server: Server, run: Run, maintenance: Mapping[str, Any] | None = None) -> Keeper:
    """Start a run's keeper, and see on the server that it holds the run's lock.

    Args:
        server: the server, with the public name of the database.
        run: the run's folder, for the keeper's log and its event in the journal.
        maintenance: options of M(balcon.rollback.maintenance_mode), when the keeper is to turn that off after it has
            opened the database.

    Raises:
        Refused: another run has the lock; the message says which.
        Failed: the keeper did not start.
    """
    if maintenance:
        provider(maintenance)  # also imports it, which a keeper could not do any more
    ready, ready_child = os.pipe()
    alive_child, alive = os.pipe()
    child = os.fork()
    if child == 0:
        _become_keeper(server, run, maintenance, ready_child, alive_child)
    os.close(ready_child)
    os.close(alive_child)
    os.waitpid(child, 0)
    try:
        return Keeper(_wait_until_ready(server, run, ready), alive)
    except BaseException:
        os.close(alive)
        raise
    finally:
        os.close(ready)


def _wait_until_ready(server: Server, run: Run, ready: int) -> int:
    answer = os.read(ready, 4096) if select.select([ready], [], [], START_SECONDS)[0] else b""
    with server.admin() as connection, connection.cursor() as cursor:
        holder = run_lock_holder(cursor, server.database)
    if answer.startswith(READY) and holder and keeper_name(run.run_id) in holder:
        return int(answer[len(READY) :])
    if holder:
        raise Refused(
            f"Another run has the lock of {server.database}: {holder}.",
            untouched="Nothing was touched.",
            remedy="Wait until it has ended. A keeper ends within a second after its run; one whose run was killed "
            "restores the database when the lease has run out, and ends.",
            holder=holder,
        )
    raise Failed(
        f"The keeper of run {run.run_id} did not start: {answer.decode(errors='replace') or 'no answer'}",
        untouched="The database was not closed.",
        remedy=f"Read {run.folder / 'keeper.log'}, then start again.",
    )


def _become_keeper(server: Server, run: Run, maintenance: Mapping[str, Any] | None, ready: int, alive: int) -> None:
    """Leave the module's session behind, and never return into its code."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _detach(run, ready, alive)
        _Watch(server, run, maintenance, ready, alive).run_until_over()
    except BaseException as error:  # noqa: BLE001  # nobody is above us to catch it
        _log(f"ended by {type(error).__name__}: {error}")
        os._exit(1)
    os._exit(0)


def _detach(run: Run, ready: int, alive: int) -> None:
    """Keep nothing of the module's but the two pipes: its connections to the server are not ours."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    os.chdir("/")
    log = os.open(run.folder / "keeper.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for inherited in _open_files() - {0, 1, 2, ready, alive}:
        with contextlib.suppress(OSError):  # the one that listed them is closed already
            os.close(inherited)


def _open_files() -> set[int]:
    try:
        return {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208
    except OSError:
        return set(range(1024))


def _log(message: str) -> None:
    sys.stderr.write(f"{utc_now()} {readable_line(message)}\n")  # one line: nobody writes another into our log
    sys.stderr.flush()


class _Watch:
    """What the keeper does all the time.

    Args:
        server: the server, with the public name of the database.
        run: the run that is kept.
        maintenance: how to turn maintenance mode off, or None.
        ready: a pipe, to say that the lock is held.
        alive: a pipe that ends when the module has closed the database, or has died.
    """

    def __init__(self, server: Server, run: Run, maintenance: Mapping[str, Any] | None, ready: int, alive: int) -> None:
        self._server = server
        self._run = run
        self._maintenance = maintenance
        self._ready: int | None = ready
        self._alive = alive
        self._give_up_at = time.monotonic() + GIVE_UP_SECONDS

    def run_until_over(self) -> None:
        """Keep the run until it is over, through lost connections."""
        while time.monotonic() < self._give_up_at:
            try:
                self._keep()
            except (psycopg2.Error, RollbackError) as error:
                if self._ready is not None:
                    self._answer(str(error).encode())
                    return
                _log(f"trying again: {str(error).strip()}")
                time.sleep(LOOK_SECONDS)
            else:
                return
        _log("gave up")

    def _keep(self) -> None:
        with self._server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [keeper_name(self._run.run_id)])
            locked = take_run_lock(cursor, self._server.database)
            if self._ready is not None:
                self._answer(READY + str(os.getpid()).encode() if locked else b"the lock is held by another session")
            if not locked and not self._description(cursor):
                return
            cursor.execute(f'LISTEN "{CHANNEL}"')
            _log(f"keeps run {self._run.run_id}" + ("" if locked else ", without its lock"))
            while self._goes_on(cursor):
                select.select([connection], [], [], LOOK_SECONDS)
                connection.poll()

    def _answer(self, text: bytes) -> None:
        if self._ready is not None:
            os.write(self._ready, text)
            os.close(self._ready)
            self._ready = None

    def _description(self, cursor: Cursor) -> Description | None:
        """Return what the database says of our run; None when that is over, or has not begun."""
        description = parse_description(read_comment(cursor, self._server.database))
        ours = description and description.state and description.run_id == self._run.run_id
        return description if ours else None

    def _goes_on(self, cursor: Cursor) -> bool:
        """Look once; act when the lease has run out."""
        closing = not select.select([self._alive], [], [], 0)[0]  # asked first: it may end between the two
        description = self._description(cursor)
        if description is None:
            if not closing:
                _log("the run is over")
            return closing
        self._give_up_at = time.monotonic() + description.lease_seconds + GIVE_UP_SECONDS
        if not lease_has_run_out(cursor, description) or is_copying(cursor, self._run.run_id):
            return True
        if description.state not in BEFORE_SWAP:
            _log("the lease has run out after the swap: a person decides")
            return False
        return not self._restore(description)

    def _restore(self, description: Description) -> bool:
        """Open the original again; False where the run went on at the last moment."""
        restored = restore_original(self._server, self._run.run_id, only_after_lease=True)
        if not restored.changed:
            return False
        _log(restored.message)
        problem = self._turn_maintenance_off()
        self._run.record(
            "restore",
            "the keeper opened the original again",
            seconds=restored.seconds,
            changed=True,
            data={
                "reason": f"the lease ran out at {description.lease_until} in state {description.state}",
                "restored": True,
                "restore_seconds": restored.seconds,
                "restored_from": restored.restored_from,
                "failed_database": restored.failed_database,
                "maintenance": problem,
            },
        )
        return True

    def _turn_maintenance_off(self) -> str:
        if not self._maintenance:
            return "left as it was"
        try:
            provider(self._maintenance).turn_off()
        except (RollbackError, OSError) as error:
            _log(f"maintenance mode was not turned off: {error}")
            return f"could not be turned off: {error}"
        return "turned off"
