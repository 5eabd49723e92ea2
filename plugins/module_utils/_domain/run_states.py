# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states of a run in its window, and the steps that lead from one to the next.

The state stands in the comment of production's own database (see `description`), on the server, so that tags, limits,
retries and two controllers cannot get round it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .description import Description, owner_of
from .errors import Refused

STATES = ("closed", "candidate", "migrating", "migrated", "verified", "swapped", "released")

BEFORE_SWAP = STATES[:5]

AFTER_SWAP = STATES[5:]
"""In the first of them nothing says yet which release belongs to the database. In C(released) that is on record: the
older release is in place and healthy, or the inventory keeps the release, or, in a restore, there was none to switch.
"""


class Step(NamedTuple):
    """A step of the window: the states it may begin in, and the one it leads to ("" is: no run is open)."""

    allowed_from: tuple[str, ...]
    leads_to: str


STEPS = {
    "close": Step(("",), "closed"),
    "clone": Step(("closed",), "candidate"),
    "begin_migration": Step(("candidate",), "migrating"),
    "end_migration": Step(("migrating",), "migrated"),
    "verify": Step(("migrated",), "verified"),
    "stop_release": Step(("verified",), "verified"),
    "swap": Step(("verified",), "swapped"),
    "release": Step(("swapped",), "released"),
    "replace": Step(("closed",), "released"),
    "finish": Step(AFTER_SWAP, ""),
    "restore": Step(STATES, ""),
}

KEPT, OLDER = "kept", "older"
"""What may be on record of the release that belongs to a swapped database: it was kept, or is the older one."""


def on_record(step: str, now: str) -> dict[str, Any]:
    """Return what a step leaves in the description's data.

    Args:
        step: a key of `STEPS`.
        now: the present time, UTC ISO 8601, by the server's clock.
    """
    if step == "stop_release":
        return {"stopped": now}
    if step in ("release", "replace"):
        return {"release": {"is": OLDER if step == "release" else KEPT, "since": now}}
    return {}


PHASES = (
    "preflight",
    "rehearse",
    "gate",
    "back_up",
    "assess",
    "compare",
    "close",
    "candidate",
    "migrate_down",
    "verify",
    "reopen",
    "watch",
    "restore",
    "report",
)

REQUIRED_BEFORE_CLOSING = ("preflight", "gate", "back_up")
"""Phases that a run's journal must show as passed before production may be closed (design: promises 1 and 2)."""

REQUIRED_BEFORE_REPLACING = ("preflight", "restore", "gate")
"""The same for a restore: the backup stands beside, proven, and whoever asked for it was told what would be lost."""


def check_step(step: str, run_id: str, database: str, description: Description | None) -> str:
    """Check that a run may take a step, and return the state that the step leads to.

    Args:
        step: a key of `STEPS`.
        run_id: the run that wants to take it.
        database: the name of the database, for the message.
        description: what the database says of itself now.

    Raises:
        Refused: another run is open, no run is open, or this run is in another state.
    """
    state = description.state if description else ""
    if description and state and description.run_id != run_id:
        raise Refused(
            f"Run {description.run_id}{owner_of(description)} is under way on {database} (state {state}, lease until "
            f"{description.lease_until or 'unknown'}).",
            untouched=f"Run {run_id} changed nothing.",
            remedy="Wait until it has ended, then start again; its own journal says what it is doing.",
            other_run=description.run_id,
            owner=description.data.get("owner"),
        )
    held = description.data.get("held") if description and state else None
    if held and step not in ("finish", "restore"):
        raise Refused(
            f"The step {step!r} of run {run_id} was refused: {database} is left to a person, because {held}.",
            untouched="This step changed nothing.",
            remedy=f"What can be done is said by: ansible-playbook restore.yml -e env=… -e run={run_id}",
            state=state,
        )
    allowed = STEPS[step].allowed_from
    if state not in allowed:
        raise Refused(
            f"The step {step!r} of run {run_id} was refused: {database} is in state {state or 'open, no run'!r}, and "
            f"this step is only allowed in {', '.join(repr(name or 'open, no run') for name in allowed)}.",
            untouched="This step changed nothing.",
            remedy="The steps of the window belong together: start the whole run with "
            "'ansible-playbook rollback.yml -e env=…', without tags, limits or --start-at-task.",
            state=state,
        )
    return STEPS[step].leads_to


def check_no_run(database: str, description: Description | None) -> None:
    """Check that no run is open on a database.

    Raises:
        Refused: one is; the message says which.
    """
    if description and description.state:
        raise Refused(
            f"Run {description.run_id}{owner_of(description)} is under way on {database} (state {description.state}).",
            untouched="Nothing was touched.",
            remedy="Wait until it has ended, then start again; its own journal says what it is doing.",
            other_run=description.run_id,
            owner=description.data.get("owner"),
        )


def check_gate_passed(run_id: str, passed_phases: set[str], kind: str = "rollback") -> None:
    """Check by the journal that a run may close production.

    Args:
        run_id: the run.
        passed_phases: what its journal shows as passed.
        kind: what the run is: a C(restore) has other phases before it closes anything.

    Raises:
        Refused: a phase that must come before has not passed in this run.
    """
    required = REQUIRED_BEFORE_REPLACING if kind == "restore" else REQUIRED_BEFORE_CLOSING
    missing = [phase for phase in required if phase not in passed_phases]
    if missing:
        raise Refused(
            f"Run {run_id} may not close the database: its journal does not show that "
            f"{' and '.join(missing).replace('_', ' ')} passed.",
            untouched="The database was not touched.",
            remedy=f"Start the whole run with 'ansible-playbook {'restore' if kind == 'restore' else 'rollback'}.yml "
            "-e env=…', without tags, limits or --start-at-task.",
            missing=missing,
        )
