# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Closes a database that is to be replaced, and finds what was written to it since it was compared.

The sessions that look were opened before it closed, and stay: nobody can slip in with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.errors import Refused
from ..._domain.written import written_between, written_lines
from .access import DEFAULT_LEASE_SECONDS, close_database
from .fingerprint import take_fingerprint
from .inside import JOBS, inside
from .restore import restore_original
from .run_state import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._domain.fingerprint import Fingerprint
    from .connection import Server
    from .sessions import Session


class Closed(NamedTuple):
    """What `close_and_look` did: the sessions that were ended, and by table what was written since it was compared."""

    sessions: list[Session]
    written: list[dict[str, Any]]


def close_and_look(
    server: Server,
    run_id: str,
    then: Fingerprint,
    lease_seconds: int = DEFAULT_LEASE_SECONDS,
    *,
    accept_loss: bool = False,
    budget_bytes: int | None = None,
    data: Mapping[str, Any] | None = None,
) -> Closed:
    """Close the database for a restore, and look under closed doors whether it is still what was compared.

    Args:
        server: the server, with the public name of the database.
        run_id: the run.
        then: the fingerprint that was taken before it was compared with the backup.
        lease_seconds: how long the run may go without a sign of life.
        accept_loss: go on although more was written: it is said, and stays in the database that is kept.
        budget_bytes: as in `take_fingerprint`, the same as then.
        data: as in `close_database`.

    Raises:
        Refused: something was written since, and that was not accepted; the database is open again.
    """
    with inside(server) as (within, pids):
        sessions = close_database(server, run_id, lease_seconds, but=pids, data=data)
        try:
            with Heartbeat(server, run_id):
                now = take_fingerprint(within, jobs=JOBS, method=then["method"], budget_bytes=budget_bytes)
            written = written_between(then, now)
            if written and not accept_loss:
                raise _more_written(server.database, written)
        except BaseException:
            restore_original(server, run_id)
            raise
    return Closed(sessions, written)


def _more_written(database: str, written: list[dict[str, Any]]) -> Refused:
    return Refused(
        f"{database} was written to after it was compared with the backup, so that more would be lost than was said: "
        f"{'; '.join(written_lines(written))}.",
        untouched=f"{database} is open again, unaltered; nothing was swapped.",
        remedy="Keep writers out (maintenance mode, rollback_maintenance) and start again, or take it on yourself with "
        "-e accept_loss=true: what was written stays in the database that is kept.",
        written=written,
    )
