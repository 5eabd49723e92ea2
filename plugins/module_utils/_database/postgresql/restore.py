# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency restore: production's own database is back under its name, or a person is asked.

Before the swap that is one statement, and never waits for anything else. After it, going back is one transaction, and
only done when nothing was written since; otherwise the database stays closed, both are kept, and the two ways on are
printed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ..._domain.description import Description, render_description
from ..._domain.errors import Failed, Refused, RollbackError
from ..._domain.in_place import UNALTERED, is_in_place
from ..._domain.names import derived_name
from ..._domain.run_states import AFTER_SWAP, BEFORE_SWAP, check_step
from ..._domain.typed import sql_name, sql_text
from ..._driver import psycopg2
from .clone_session import end_copies
from .counters import rows_written, unproven_because
from .inside import JOBS, inside
from .relatives import admit, admits, find_relative, rename
from .run_lock import tell_keeper
from .run_state import locked, write_comment
from .sessions import end_sessions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from psycopg2.extensions import cursor as Cursor

    from ..._domain.in_place import DumpAccess
    from .connection import Server

PROOF, PROOF_BY_CONTENTS = "counters", "contents"

_UNTOUCHED = "There is nothing to restore: run {run_id} is not open on {database}."

_OPEN = "ALTER DATABASE {public} ALLOW_CONNECTIONS true; COMMENT ON DATABASE {public} IS {comment};"

_GO_BACK = (
    "BEGIN; ALTER DATABASE {public} RENAME TO {failed}; ALTER DATABASE {before} RENAME TO {public}; "
    "COMMENT ON DATABASE {public} IS {comment}; ALTER DATABASE {public} ALLOW_CONNECTIONS true; COMMIT;"
)


class Restored(NamedTuple):
    """What `restore_original` did.

    Attributes:
        changed: False where there was nothing to restore.
        restored_from: ``before_swap``, ``after_swap``, ``restore_point`` or ``nothing``.
        failed_database: the name under which the candidate is kept for study, or None where there was none.
        proof: how it is known that nothing was written since the swap: `PROOF` or `PROOF_BY_CONTENTS`; empty where that
            did not matter, and ``none, the loss was accepted`` where a person took it upon himself.
        seconds: how long it took.
        message: one sentence for a person.
    """

    changed: bool
    restored_from: str
    failed_database: str | None
    proof: str
    seconds: float
    message: str


def restore_original(
    server: Server,
    run_id: str,
    *,
    unattended: str | None = None,
    accept_loss: bool = False,
    contents: Mapping[str, Any] | None = None,
    access: DumpAccess | None = None,
) -> Restored:
    """Bring production's own database back, whatever the state of this run.

    Args:
        server: the server, with the public name of the database.
        run_id: the run that is to be undone.
        unattended: nobody is there to decide, and the run is given up: the lease that ran out, as its description has
            it. Nothing is done where it was renewed since, or where the release is on record. Where rows were written,
            the database is left open as it is.
        accept_loss: swap back although rows were written since the swap, and also after the run has ended. Those rows
            stay in the failed database.
        contents: the fingerprint of the verified candidate, where it is at hand: it proves what the server's counters
            cannot, when the server was restarted since the swap.
        access: how a dump is read, where the run worked in place; without it, such a run that is migrating stays shut.

    Raises:
        Refused: another run is open; nothing was changed.
        Failed: it was written to since the swap, or that cannot be told, or the restore itself failed. The message
            holds the exact next commands.
    """
    start = time.monotonic()
    with locked(server) as (cursor, description):
        state = _state_of(server, run_id, description)
        if unattended is not None and not _is_given_up(description, unattended):
            return _nothing("The run goes on.", start)
        if description and state and is_in_place(description):
            from .in_place_restore import restore_in_place

            return restore_in_place(
                server,
                cursor,
                description,
                access=access,
                accept_loss=accept_loss,
                unattended=unattended is not None,
            )
        if description and state in BEFORE_SWAP:
            _open_original(cursor, server, description)
    if state in BEFORE_SWAP:
        return _before_swap(server, run_id, start)
    if state or (accept_loss and _before_exists(server, run_id)):
        going_back = _GoingBack(server, run_id, description if state else None, accept_loss, unattended is not None)
        return going_back.go(contents, start)
    _set_candidate_aside(server, run_id)
    return _nothing(_UNTOUCHED.format(database=server.database, run_id=run_id), start)


def _is_given_up(description: Description | None, lease: str) -> bool:
    return bool(
        description
        and description.state in (*BEFORE_SWAP, AFTER_SWAP[0])
        and description.lease_until == lease
        and not description.data.get("held")
    )


def preview_restore(server: Server, run_id: str, *, accept_loss: bool = False) -> Restored:
    """Say what `restore_original` would do, as far as that can be told without closing anything.

    Raises:
        Refused: another run is open.
    """
    start = time.monotonic()
    with locked(server) as (_cursor, description):
        state = _state_of(server, run_id, description)
    if state and is_in_place(description):
        dump = state not in UNALTERED
        message = "The dump would be restored, unless nothing differs." if dump else "It would be opened again."
        return Restored(True, "restore_point" if dump else "before_swap", None, "", _since(start), message)
    failed = derived_name(server.database, "failed", run_id)
    if state in BEFORE_SWAP:
        return Restored(True, "before_swap", failed, "", _since(start), "The original would be opened again.")
    if state or (accept_loss and _before_exists(server, run_id)):
        message = "The original would be swapped back, if nothing was written since the swap or the loss is accepted."
        return Restored(True, "after_swap", failed, "", _since(start), message)
    return _nothing(_UNTOUCHED.format(database=server.database, run_id=run_id), start)


def _state_of(server: Server, run_id: str, description: Description | None) -> str:
    if description is None or not description.state:
        return ""
    check_step("restore", run_id, server.database, description)
    return description.state


def _open_original(cursor: Cursor, server: Server, description: Description) -> None:
    command = _OPEN.format(public=sql_name(server.database), comment=sql_text(description.original_comment))
    try:
        end_copies(cursor, description.run_id)
        admit(cursor, server.database, True)
        write_comment(cursor, server.database, description.original_comment)
        tell_keeper(cursor, description.run_id)
    except psycopg2.Error as error:
        raise Failed(
            f"{server.database} could not be opened again: {str(error).strip()}",
            untouched="It is unaltered, but still closed.",
            remedy=f"Type in psql, in database {server.maintenance_database}, as the owner: {command}",
            commands={"open": command},
        ) from error


def _before_swap(server: Server, run_id: str, start: float) -> Restored:
    failed, problem = _set_candidate_aside(server, run_id)
    kept = f" The candidate is kept, closed, as {failed}." if failed else ""
    return Restored(
        changed=True,
        restored_from="before_swap",
        failed_database=failed,
        proof="",
        seconds=_since(start),
        message=f"{server.database} is open again, unaltered.{kept}{problem}",
    )


def _set_candidate_aside(server: Server, run_id: str) -> tuple[str | None, str]:
    """Close and rename a run's candidate; return its name now, and what went wrong: that never stops a restore."""
    candidate = derived_name(server.database, "candidate", run_id)
    failed = derived_name(server.database, "failed", run_id)
    with server.admin() as connection, connection.cursor() as cursor:
        relative = find_relative(cursor, server.database, candidate)
        if relative is None:
            return (failed if find_relative(cursor, server.database, failed) else None), ""
        try:
            admit(cursor, candidate, False)
            end_sessions(cursor, candidate)
            connection.autocommit = False
            rename(cursor, candidate, failed)
            write_comment(cursor, failed, _failed_comment(server.database, run_id))
            connection.commit()
        except (RollbackError, psycopg2.Error) as error:
            return candidate, f" It could not be renamed to {failed}: {str(error).strip()}"
    return failed, ""


def _failed_comment(database: str, run_id: str, **data: Any) -> str:
    note = (
        f"The candidate of rollback {run_id} for {database}, which did not succeed. Closed, kept for study, never used."
    )
    return render_description(Description(run_id=run_id, role="failed", note=note, data=data))


def _before_exists(server: Server, run_id: str) -> bool:
    with server.admin() as connection, connection.cursor() as cursor:
        return find_relative(cursor, server.database, derived_name(server.database, "before", run_id)) is not None


class _GoingBack:
    """Going back after the swap, which takes the proof that nothing was written since, or a person's word.

    Args:
        server: the server, with the public name of the database.
        run_id: the run that is undone.
        description: what the database says of it; None where it has ended, or another description is there.
        accept_loss: a person has taken it on himself.
        unattended: nobody is there: where rows were written, the database is open afterwards.
    """

    def __init__(
        self, server: Server, run_id: str, description: Description | None, accept_loss: bool, unattended: bool
    ) -> None:
        self._server = server
        self._run_id = run_id
        self._description = description
        self._accept_loss = accept_loss
        self._unattended = unattended
        self._commands = ways_on(server, run_id)

    def go(self, contents: Mapping[str, Any] | None, start: float) -> Restored:
        """Close, prove and swap back; `restore_original` says the rest."""
        server = self._server
        try:
            proof = self._close_and_prove(contents)
            if proof.reason and not self._accept_loss:
                self._leave(proof.reason)
                raise _written(server, self._run_id, proof.reason, self._commands, open_=self._unattended)
            failed = self._swap_back()
        except (psycopg2.Error, Refused) as error:
            raise _not_restored(server, str(error).strip(), self._commands) from error
        if failed is None:
            return _nothing("The run goes on.", start)
        return Restored(
            changed=True,
            restored_from="after_swap",
            failed_database=failed,
            proof="none, the loss was accepted" if proof.reason else proof.by,
            seconds=_since(start),
            message=f"{server.database} is again what it was before. The candidate is kept, closed, as {failed}.",
        )

    def _close_and_prove(self, contents: Mapping[str, Any] | None) -> _Proof:
        """Close the database, and say why it cannot go back.

        The counters can only be read from inside, so our sessions are opened before the database closes; where an
        earlier restore left it closed, it is open for that moment. Whatever is written in it is counted, too.
        """
        database = self._server.database
        counters = self._description.data.get("counters") if self._description else None
        with self._server.admin() as admin, admin.cursor() as outside:
            if not admits(outside, database):
                admit(outside, database, True)
            wanted = contents if contents and self._cannot_count(counters) else None
            with inside(self._server, JOBS + 1 if wanted else 1) as (within, pids):
                admit(outside, database, False)
                end_sessions(outside, database, but=pids)
                proof = _prove(within, counters, wanted)
            end_sessions(outside, database)
        return proof

    def _cannot_count(self, counters: Mapping[str, Any] | None) -> str:
        with self._server.connect(only_system_names=True) as connection, connection.cursor() as cursor:
            return _UNKNOWN if counters is None else unproven_because(cursor, counters)

    def _leave(self, reason: str) -> None:
        """Write down that a person decides; where nobody is there, let everybody in again."""
        with locked(self._server) as (cursor, description):
            if description and description.run_id == self._run_id and description.state:
                write_comment(cursor, self._server.database, render_description(left_to_a_person(description, reason)))
            if self._unattended:
                admit(cursor, self._server.database, True)

    def _swap_back(self) -> str | None:
        """Exchange the names in one transaction; None where the run went on, or ended, since it was looked at."""
        server, run_id = self._server, self._run_id
        before = derived_name(server.database, "before", run_id)
        failed = derived_name(server.database, "failed", run_id)
        with locked(server) as (cursor, description):
            if self._description and not _is_the_same(description, self._description, self._unattended):
                admit(cursor, server.database, True)
                return None
            relative = find_relative(cursor, server.database, before)
            if relative is None:
                raise Refused(
                    f"There is no database {before!r} on this server.", remedy="Somebody dropped or renamed it."
                )
            rename(cursor, server.database, failed)
            rename(cursor, before, server.database)
            write_comment(cursor, failed, _failed_comment(server.database, run_id))
            original = relative.description.original_comment if relative.description else None
            write_comment(cursor, server.database, original)
            admit(cursor, server.database, True)
            tell_keeper(cursor, run_id)
        return failed


class _Proof(NamedTuple):
    """Why a database cannot go back, empty where it is proven that nothing was written; and by what it is proven."""

    reason: str
    by: str = PROOF


def left_to_a_person(description: Description, reason: str) -> Description:
    """Return the description of a run that nobody goes on with until a person has decided: it has no lease any more."""
    return replace(description, lease_until="", data={**description.data, "held": reason})


def _is_the_same(description: Description | None, then: Description, unattended: bool) -> bool:
    if description is None or (description.run_id, description.state) != (then.run_id, then.state):
        return False
    return not unattended or description.lease_until == then.lease_until


def _prove(within: Server, counters: Mapping[str, Any] | None, contents: Mapping[str, Any] | None) -> _Proof:
    with within.connect() as connection, connection.cursor() as cursor:
        unproven = _UNKNOWN if counters is None else unproven_because(cursor, counters)
        if counters is not None and not unproven:
            return _Proof(written_since(cursor, counters))
    if contents is None:
        return _Proof(_UNKNOWN if counters is None else _UNPROVEN.format(because=unproven))
    from .contents_since import written_by_contents  # only now: a restore is to be quick

    return _Proof(written_by_contents(within, contents), PROOF_BY_CONTENTS)


def written_since(cursor: Cursor, counters: Mapping[str, Any]) -> str:
    """Say which rows the counters show to be written since they were read; empty where they show none."""
    written = rows_written(cursor, counters)
    tables = ", ".join(f"{table} ({rows} rows)" for table, rows in sorted(written.items()))
    return f"rows were written to it since the swap: {tables}" if written else ""


_UNKNOWN = "nothing on record tells whether rows were written to it since the swap"

_UNPROVEN = "it cannot be told whether rows were written to it since the swap, because {because}"


def _written(server: Server, run_id: str, reason: str, commands: dict[str, str], *, open_: bool) -> Failed:
    return Failed(
        f"{server.database} was not restored: {reason}.",
        untouched=f"It is {'open, as it was' if open_ else 'closed'}, and both databases are kept: {server.database} "
        f"and {derived_name(server.database, 'before', run_id)}.",
        remedy=f"Decide, then type one of the two in psql, in database {server.maintenance_database}, as the owner. To "
        f"keep what was written: {commands['keep']} To go back, and lose it: {commands['go_back']}",
        commands=commands,
        reason=reason,
    )


def _not_restored(server: Server, reason: str, commands: dict[str, str]) -> Failed:
    return Failed(
        f"{server.database} could not be restored: {reason}",
        untouched="Nothing was lost: both databases are kept. It may be closed.",
        remedy=f"Remove the cause, then type one of the two in psql, in database {server.maintenance_database}, as the "
        f"owner. To keep it as it is: {commands['keep']} To go back: {commands['go_back']}",
        commands=commands,
        reason=reason,
    )


def ways_on(server: Server, run_id: str) -> dict[str, str]:
    """Return the SQL for the two ways out of a swap: C(keep) what is there now, or C(go_back)."""
    names = {
        "public": sql_name(server.database),
        **{purpose: sql_name(derived_name(server.database, purpose, run_id)) for purpose in ("before", "failed")},
    }
    with locked(server) as (cursor, description):
        relative = find_relative(cursor, server.database, derived_name(server.database, "before", run_id))
    told = description or (relative.description if relative else None)
    names["comment"] = sql_text(told.original_comment if told else None)
    return {"keep": _OPEN.format(**names), "go_back": _GO_BACK.format(**names)}


def _nothing(message: str, start: float) -> Restored:
    return Restored(False, "nothing", None, "", _since(start), message)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)
