# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keeper: a small process that holds a run's lock, and finishes the run when nobody else is left to do it.

It is forked by the module that closes the database, and outlives it, its controller and its job. Everything it needs is
imported before: Ansible removes the module's archive when the module ends.

It is a pair: a supervisor that does nothing but wait for the keeper, and forks it again when it was killed. A keeper
whose supervisor was killed forks a keeper of its own, and becomes its supervisor.
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
from ..._domain.unfinished import (
    ASK,
    GO_FORWARD,
    NOTHING,
    OPEN_ORIGINAL,
    RESTORE_DUMP,
    RUN_OUT,
    SWAP_BACK,
    WAIT,
    decide,
)
from ..._driver import psycopg2
from ..._maintenance import provider
from ..._private_files import contents_of_candidate
from ..._run import environment_of, utc_now
from .clone_session import is_copying
from .contents_since import written_by_contents
from .in_place_restore import restore_in_place
from .relatives import admits
from .run_lock import CHANNEL, keeper_name, run_lock_holder, take_run_lock
from .run_state import lease_has_run_out, owner_of_run, read_comment
from .unfinished import finish, is_left, leave, look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor as Cursor

    from ..._domain.description import Description
    from ..._domain.in_place import DumpAccess
    from ..._domain.unfinished import Decision, Seen
    from ..._run import Run
    from .connection import Server
    from .unfinished import Finished

LOOK_SECONDS = 0.5
CLOCK_SLACK = 2 * LOOK_SECONDS
"""How much longer than its lease a run gets by the keeper's own clock: it may have seen the renewal late."""

START_SECONDS = 20.0
GIVE_UP_SECONDS = 600.0
"""How long a keeper that cannot reach the server goes on trying after the lease."""

READY = b"ready"

IMPORTED_IN_TIME = (written_by_contents, restore_in_place)
"""What a restore imports when it needs it, and a keeper could not import any more."""


class Keeper(NamedTuple):
    """A keeper that was started.

    Attributes:
        pid: its process.
        supervisor: the process that forks it again when it was killed.
        alive: our end of a pipe. While it is open, the keeper knows that the closing is still under way.
    """

    pid: int
    supervisor: int
    alive: int

    def release(self) -> None:
        """Tell the keeper that the database was closed, or that it will not be."""
        os.close(self.alive)


class Means(NamedTuple):
    """What a keeper can do besides: how maintenance mode is turned off, and a dump is read; None where it cannot."""

    maintenance: Mapping[str, Any] | None
    access: DumpAccess | None


def start_keeper(
    server: Server, run: Run, maintenance: Mapping[str, Any] | None = None, access: DumpAccess | None = None
) -> Keeper:
    """Start a run's keeper, and see on the server that it holds the run's lock.

    Args:
        server: the server, with the public name of the database.
        run: the run's folder, for the keeper's log and its event in the journal.
        maintenance: options of M(balcon.rollback.maintenance_mode), when the keeper is to turn that off after it has
            opened the database.
        access: how it reads the dump of a run in place.

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
        _become_keeper(server, run, Means(maintenance, access), ready_child, alive_child)
    os.close(ready_child)
    os.close(alive_child)
    os.waitpid(child, 0)
    try:
        return Keeper(*_wait_until_ready(server, run, ready), alive)
    except BaseException:
        os.close(alive)
        raise
    finally:
        os.close(ready)


def _wait_until_ready(server: Server, run: Run, ready: int) -> tuple[int, int]:
    answer = os.read(ready, 4096) if select.select([ready], [], [], START_SECONDS)[0] else b""
    with server.admin() as connection, connection.cursor() as cursor:
        holder, owner = run_lock_holder(cursor, server.database), owner_of_run(cursor, server.database)
    if answer.startswith(READY) and holder and keeper_name(run.run_id) in holder:
        pid, supervisor = answer[len(READY) :].split()
        return int(pid), int(supervisor)
    if holder:
        raise Refused(
            f"Another run has the lock of {server.database}: {holder}{owner}.",
            untouched="Nothing was touched.",
            remedy="Wait until it has ended. A keeper ends within a second after its run; one whose run was killed "
            "finishes it when the lease has run out, and ends.",
            holder=holder,
        )
    raise Failed(
        f"The keeper of run {run.run_id} did not start: {answer.decode(errors='replace') or 'no answer'}",
        untouched="The database was not closed.",
        remedy=f"Read {run.folder / 'keeper.log'}, then start again.",
    )


def _become_keeper(server: Server, run: Run, means: Means, ready: int, alive: int) -> None:
    """Leave the module's session behind, and never return into its code."""
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _detach(run, ready, alive)
        _Pair(server, run, means, ready, alive).keep()
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


class _Pair:
    """The keeper and its supervisor.

    Args:
        server: the server, with the public name of the database.
        run: the run that is kept.
        means: what it can do besides.
        ready: a pipe, to say that the lock is held.
        alive: a pipe that ends when the module has closed the database, or has died.
    """

    def __init__(self, server: Server, run: Run, means: Means, ready: int, alive: int) -> None:
        self._watch = _Watch(server, run, means, ready, alive)

    def keep(self) -> None:
        """Supervise until the keeper has ended by itself; be the keeper in the child, and never return there."""
        while True:
            child = os.fork()
            if child == 0:
                self._be_the_keeper()
            self._watch.forget_start()
            _none, status = os.waitpid(child, 0)
            if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
                return
            how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"
            _log(f"the keeper (process {child}) was ended by {how}: another one takes its place")
            time.sleep(LOOK_SECONDS)

    def _be_the_keeper(self) -> None:
        try:
            over = self._watch.run_until_over(os.getppid())
            if not over:
                _log("the supervisor is gone: the keeper takes its place, and starts another keeper")
                self.keep()
        except BaseException as error:  # noqa: BLE001  # nobody is above us but the supervisor
            _log(f"ended by {type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)


class _Watch:
    """What the keeper does all the time; the arguments are those of `_Pair`."""

    def __init__(self, server: Server, run: Run, means: Means, ready: int, alive: int) -> None:
        self._server = server
        self._run = run
        self._maintenance, self._access = means
        self._ready: int | None = ready
        self._alive = alive
        self._supervisor = 0
        self._give_up_at = time.monotonic() + GIVE_UP_SECONDS
        self._lease, self._lease_seen_at = "", 0.0
        self._said = ""
        self._may_not_have_closed = True

    def forget_start(self) -> None:
        """Be what the next keeper is: nobody waits for its answer, and it has not seen what the run had done before."""
        self._forget_ready()
        self._may_not_have_closed = False

    def _forget_ready(self) -> None:
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None

    def run_until_over(self, supervisor: int) -> bool:
        """Keep the run until it is over, through lost connections; False where the supervisor is gone."""
        self._supervisor = supervisor
        self._give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < self._give_up_at:
            try:
                return self._keep()
            except (psycopg2.Error, RollbackError) as error:
                if self._ready is not None:
                    self._answer(str(error).encode())
                    return True
                _log(f"trying again: {str(error).strip()}")
                time.sleep(LOOK_SECONDS)
        _log("gave up")
        return True

    def _keep(self) -> bool:
        with self._server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('application_name', %s, false)", [keeper_name(self._run.run_id)])
            locked = take_run_lock(cursor, self._server.database)
            pids = f"{os.getpid()} {self._supervisor}".encode()
            self._answer(READY + pids if locked else b"the lock is held by another session")
            if not locked and not self._description(cursor):
                return True
            cursor.execute(f'LISTEN "{CHANNEL}"')
            _log(f"keeps run {self._run.run_id}" + ("" if locked else ", without its lock"))
            while self._goes_on(cursor):
                if os.getppid() != self._supervisor:
                    return False
                select.select([connection], [], [], LOOK_SECONDS)
                connection.poll()
        return True

    def _answer(self, text: bytes) -> None:
        if self._ready is not None:
            os.write(self._ready, text)
            self._forget_ready()

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
                self._see_it_over(bool(admits(cursor, self._server.database)))
            return closing
        self._may_not_have_closed = False
        if description.data.get("held"):
            _log(f"a person decides, because {description.data['held']}")
            return False
        self._give_up_at = time.monotonic() + description.lease_seconds + GIVE_UP_SECONDS
        if not self._has_run_out(cursor, description) or is_copying(cursor, self._run.run_id):
            return True
        return not self._finish()

    def _see_it_over(self, is_open: bool) -> None:
        """End with the run; where it has never closed the database, end the maintenance mode that it may have begun."""
        if not (self._may_not_have_closed and is_open):
            _log("the run is over" if is_open else "the run is over, or cannot be seen")
            return
        _log("the database was not closed")
        if self._maintenance:
            problem = self._turn_maintenance_off()
            reason = f"{self._server.database} was not closed"
            data = {"reason": reason, "maintenance": problem}
            self._record("the keeper ended maintenance mode", changed=True, data=data)

    def _has_run_out(self, cursor: Cursor, description: Description) -> bool:
        """Tell whether the run gives no sign of life: by the server's clock, or by our own, if that was set back."""
        now = time.monotonic()
        if description.lease_until != self._lease:
            self._lease, self._lease_seen_at = description.lease_until, now
        if lease_has_run_out(cursor, description):
            return True
        return bool(description.lease_until) and now - self._lease_seen_at > description.lease_seconds + CLOCK_SLACK

    def _finish(self) -> bool:
        """Finish the run as `decide` says; False where it goes on, or is to be looked at once more."""
        contents = contents_of_candidate(self._run)
        seen = look(self._server, lease=RUN_OUT, can_prove=bool(contents))
        decision = decide(seen)
        if decision.kind in (WAIT, NOTHING):
            return False
        if decision.reason != self._said:
            _log(decision.reason)
            self._said = decision.reason
        if decision.kind == ASK:
            return self._leave(seen, decision.reason)
        try:
            finished = finish(self._server, seen, decision, contents, self._access)
        except Failed as error:
            if decision.kind == RESTORE_DUMP:
                self._record_left(error.message, f"{error.untouched} {error.remedy}")
                return True
            if decision.kind != SWAP_BACK:
                raise
            if not is_left(self._server, self._run.run_id):
                return self._leave(seen, error.message)
            self._record_left(error.message, error.untouched)
            return True
        if finished.changed:
            self._record_finished(decision, finished)
        return finished.changed

    def _leave(self, seen: Seen, reason: str) -> bool:
        """Leave the database open, as it is, to a person: a serving database is not taken away with nobody there."""
        if seen.description is None or not leave(self._server, seen.description, reason.rstrip(".")):
            return False
        self._record_left(reason, f"{self._server.database} is open, as it was; nothing was taken away.")
        return True

    def _record_left(self, reason: str, untouched: str) -> None:
        error = {
            "kind": "failed",
            "message": reason,
            "untouched": untouched,
            "remedy": f"What can be done is said by: ansible-playbook restore.yml -e env={environment_of(self._run)}",
        }
        self._record("the keeper left the run to a person", outcome="failed", data={"error": error, "not_undone": True})

    def _record_finished(self, decision: Decision, finished: Finished) -> None:
        _log(finished.message)
        problem = self._turn_maintenance_off()
        forward = decision.kind == GO_FORWARD
        actions = {
            OPEN_ORIGINAL: "opened the original again",
            RESTORE_DUMP: "brought the database back that was migrated in place",
            GO_FORWARD: "ended the run with what it brought",
        }
        self._record(
            f"the keeper {actions.get(decision.kind, 'swapped the original back')}",
            seconds=finished.data.get("restore_seconds", 0.0),
            changed=True,
            data={
                "reason": decision.reason,
                **({"finished": True} if forward else {"restored": True}),
                **finished.data,
                "maintenance": problem,
            },
        )

    def _record(self, action: str, **event: Any) -> None:
        try:
            self._run.record("restore", action, **event)
        except (RollbackError, OSError) as error:
            _log(f"this could not be written into the journal: {action}: {error}")

    def _turn_maintenance_off(self) -> str:
        if not self._maintenance:
            return "left as it was"
        try:
            provider(self._maintenance).turn_off()
        except (RollbackError, OSError) as error:
            _log(f"maintenance mode was not turned off: {error}")
            return f"could not be turned off: {error}"
        return "turned off"
