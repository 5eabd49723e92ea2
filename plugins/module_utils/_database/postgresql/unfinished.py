# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at a run that nobody ended, and finishing it, from what the server shows alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import Description, parse_description, render_description
from ..._domain.errors import Refused
from ..._domain.names import derived_name
from ..._domain.run_states import AFTER_SWAP
from ..._domain.unfinished import FINISHING, GO_FORWARD, LASTS, NONE, RUN_OUT, Decision, Seen
from ..._driver import psycopg2
from .clone_session import is_copying
from .counters import unproven_because
from .relatives import admit, admits, read_relatives
from .restore import left_to_a_person, restore_original, written_since
from .run_lock import tell_keeper
from .run_state import lease_has_run_out, locked, read_comment, write_comment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor as Cursor

    from ..._domain.in_place import DumpAccess
    from .connection import Server
    from .relatives import Relative


class Finished(NamedTuple):
    """What `finish` did.

    Attributes:
        changed: False where the run went on at the last moment, or somebody else was faster.
        message: one sentence for a person.
        data: for the journal and the module's result.
    """

    changed: bool
    message: str
    data: dict[str, Any]


def look(server: Server, *, lease: str = "", ended: bool = False, can_prove: bool = False) -> Seen:
    """See what there is of a database's run; nothing is changed.

    Args:
        server: the server, with the public name of the database.
        lease: one of `unfinished.LEASES`, where the asker knows it by his own clock; otherwise the server's decides.
        ended: the records of the run say that it has ended.
        can_prove: the contents of the verified candidate are at hand, so that a restart of the server is no end.
    """
    with server.admin() as connection, connection.cursor() as cursor:
        description = parse_description(read_comment(cursor, server.database))
        is_open = admits(cursor, server.database)
        relatives = read_relatives(cursor, server.database)
        seen = Seen(
            server.database,
            exists=is_open is not None,
            is_open=bool(is_open),
            description=description,
            lease=lease or _lease(cursor, description),
            before=bool(description) and any(_is_before(relative, description) for relative in relatives),
            left=tuple(relative.name for relative in relatives),
            copying=bool(description and is_copying(cursor, description.run_id)),
            ended=ended,
        )
    if description and description.state == AFTER_SWAP[0] and is_open:
        seen = seen._replace(written=_written(server, description, can_prove))
    return seen


def _lease(cursor: Cursor, description: Description | None) -> str:
    if description is None or not description.lease_until:
        return NONE
    return RUN_OUT if lease_has_run_out(cursor, description) else LASTS


def _is_before(relative: Relative, description: Description | None) -> bool:
    told = relative.description
    return bool(
        description
        and (relative.purpose, relative.run_id) == ("before", description.run_id)
        and told
        and (told.role, told.run_id) == ("before", description.run_id)
    )


def _written(server: Server, description: Description, can_prove: bool) -> str | None:
    """Say what the counters show, with the database open: enough to leave it alone, but no proof to go back by."""
    counters = description.data.get("counters")
    if not counters:
        return "nothing on record tells whether rows were written since"
    try:
        with server.connect(autocommit=True, only_system_names=True) as connection, connection.cursor() as cursor:
            unproven = unproven_because(cursor, counters)
            if not unproven:
                return written_since(cursor, counters)
    except (Refused, psycopg2.Error):
        return None
    return None if can_prove else f"it cannot be told whether rows were written since, because {unproven}"


def finish(
    server: Server,
    seen: Seen,
    decision: Decision,
    contents: Mapping[str, Any] | None = None,
    access: DumpAccess | None = None,
) -> Finished:
    """Do what was decided for a run that nobody goes on with.

    Args:
        server: the server, with the public name of the database.
        seen: what was seen.
        decision: what was decided for it, one of `unfinished.FINISHING`.
        contents: as in `restore_original`.
        access: as in `restore_original`.

    Raises:
        Refused: another run is open.
        Failed: rows were written, or it could not be done; the message holds the next commands.
    """
    description = seen.description
    if description is None or decision.kind not in FINISHING:
        return Finished(False, decision.reason, {})
    if decision.kind == GO_FORWARD:
        return _go_forward(server, description)
    restored = restore_original(
        server, description.run_id, unattended=description.lease_until, contents=contents, access=access
    )
    told = {
        "restored_from": restored.restored_from,
        "failed_database": restored.failed_database,
        "restore_seconds": restored.seconds,
        "proof": restored.proof,
    }
    return Finished(restored.changed, restored.message, told if restored.changed else {})


def _go_forward(server: Server, then: Description) -> Finished:
    """End a run whose release is on record: its own comment, and open."""
    with locked(server) as (cursor, description):
        if not _is_as_seen(description, then):
            return Finished(False, "The run goes on.", {})
        write_comment(cursor, server.database, then.original_comment)
        admit(cursor, server.database, True)
        tell_keeper(cursor, then.run_id)
    kept = str(then.data.get("before") or derived_name(server.database, "before", then.run_id))
    message = f"{server.database} is open, and the run is ended with what it brought; what was before it is {kept}."
    return Finished(True, message, {"before": kept})


def leave(server: Server, then: Description, reason: str) -> bool:
    """Leave a run to a person, and the database open: nobody is there who could decide.

    Returns:
        Whether it was left; False where the run went on.
    """
    with locked(server) as (cursor, description):
        if description is None or not _is_as_seen(description, then):
            return False
        write_comment(cursor, server.database, render_description(left_to_a_person(description, reason)))
        admit(cursor, server.database, True)
    return True


def is_left(server: Server, run_id: str) -> bool:
    """Tell whether a run has been left to a person."""
    with server.admin() as connection, connection.cursor() as cursor:
        description = parse_description(read_comment(cursor, server.database))
    return bool(description and description.run_id == run_id and description.data.get("held"))


def _is_as_seen(description: Description | None, then: Description) -> bool:
    if description is None:
        return False
    names = ("run_id", "state", "lease_until")
    same = all(getattr(description, name) == getattr(then, name) for name in names)
    return same and not description.data.get("held")
