# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a database still holds what its verified candidate held: the proof where a restart took the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.written import written_between, written_lines
from .contents import qualified
from .fingerprint import take_fingerprint
from .inside import JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..._domain.fingerprint import Fingerprint
    from .connection import Server

REST = "rest"
"""The key under which a candidate's fingerprint holds what the comparison with the original had to leave out."""


def take_rest(server: Server, database: str, fingerprint: Fingerprint, **how: Any) -> Fingerprint:
    """Take what a candidate's fingerprint leaves out: tables the plan changes, and all columns of those it touches.

    Args:
        server: the server.
        database: the candidate.
        fingerprint: its fingerprint.
        how: C(contents), C(method), C(skip_columns), C(budget_bytes) and C(jobs) with which it was taken.
    """
    touched = {qualified(name) for name in how.pop("skip_columns") or {}}
    covered = [name for name in fingerprint["tables"] if name not in touched]
    return take_fingerprint(server, database, skip_tables=covered, since=fingerprint, **how)


def written_by_contents(within: Server, verified: Mapping[str, Any]) -> str:
    """Say which tables are not what they were in the verified candidate; empty where all contents are proven the same.

    Args:
        within: the database as seen from inside: nobody else is left in it.
        verified: the candidate's fingerprint with its rest, as db_fingerprint left it in the run's folder.
    """
    rest = verified.get(REST)
    if not rest:
        return _NOT_AT_HAND
    then = {**verified, "tables": {**verified["tables"], **rest["tables"]}}
    unproven = sorted(name for name, table in then["tables"].items() if table["proof"] != "contents")
    if unproven:
        return (
            f"it cannot be told whether rows were written to {', '.join(unproven)} since the swap: too large to be read"
        )
    now = take_fingerprint(within, jobs=JOBS, method=verified["method"])
    written = written_between(then, now)
    return f"rows were written to it since the swap: {'; '.join(written_lines(written))}" if written else ""


_NOT_AT_HAND = "nothing on record tells what it held when it was swapped in"
