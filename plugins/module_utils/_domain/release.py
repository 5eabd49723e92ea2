# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the application's release may be switched."""

from __future__ import annotations

from .description import Description, owner_of
from .errors import Refused

ALLOWED = {
    "stopped": ("verified",),
    "older": ("swapped",),
    "newer": ("",),
    "restarted": ("", "swapped", "released"),
}
"""States of the run in which a release may be stopped or started.

The newer release is stopped when the candidate is proven, not before: until then nothing has been decided. The older
one is started on the candidate, under the public name. The newer one is started again only when no run is open: on a
database that was rolled back it would apply its migrations again (facts §1). What runs may be restarted when no run is
open, and on a database that has just been swapped in.
"""


def check_release(wish: str, run_id: str | None, database: str, description: Description | None) -> None:
    """Check that the application's release may be switched now.

    Args:
        wish: a key of `ALLOWED`.
        run_id: the run, or None: outside a run anything may be started and stopped, as long as none is open.
        database: the name of the database, for the message.
        description: what the database says of itself now.

    Raises:
        Refused: the state of the run does not allow it, or another run is open.
    """
    state = description.state if description else ""
    if description and state and description.run_id != run_id:
        raise Refused(
            f"Run {description.run_id}{owner_of(description)} is under way on {database} (state {state}): the release"
            f" is not switched by {'run ' + run_id if run_id else 'anybody else'}.",
            untouched="The release was not touched.",
            remedy="Wait until it has ended.",
            other_run=description.run_id,
        )
    allowed = ALLOWED[wish] if run_id else ("",)
    if state not in allowed:
        raise Refused(
            f"The application's release was not switched to {wish!r}: {database} is in state "
            f"{state or 'open, no run'!r}, and this is only done in "
            f"{' or '.join(repr(name or 'open, no run') for name in allowed)}.",
            untouched="The release was not touched.",
            remedy=(
                "The steps of the window belong together: start the whole run with "
                "'ansible-playbook rollback.yml -e env=…', without tags, limits or --start-at-task."
            ),
            state=state,
        )
