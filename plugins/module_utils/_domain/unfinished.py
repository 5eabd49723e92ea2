# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run that nobody ended is finished, told from what its databases say of themselves: name, comment, open or not.

The keeper asks when the lease has run out, the next run before it begins, and whoever is called when he looks. Nothing
of the state folder is needed, and where it cannot be told, a person is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .description import METHODS, method_of, owner_of
from .errors import Refused
from .run_states import BEFORE_SWAP, STATES

if TYPE_CHECKING:
    from .description import Description

NOTHING, WAIT, OPEN_ORIGINAL, RESTORE_DUMP, SWAP_BACK, GO_FORWARD, ASK = KINDS = (
    "nothing",
    "wait",
    "open_original",
    "restore_dump",
    "swap_back",
    "go_forward",
    "ask",
)

FINISHING = (OPEN_ORIGINAL, RESTORE_DUMP, SWAP_BACK, GO_FORWARD)
"""Decisions that end the run without a person."""

BACK = (OPEN_ORIGINAL, RESTORE_DUMP, SWAP_BACK)
"""Those after which the database is what it was before the run."""

LASTS, RUN_OUT, NONE = LEASES = ("lasts", "run_out", "none")


class Seen(NamedTuple):
    """What is seen of a database and of the run that is open on it.

    Attributes:
        database: its public name.
        exists: there is a database of that name.
        is_open: it lets sessions in.
        description: what it says of itself.
        lease: one of `LEASES`, by the server's clock, or as the run's keeper knows by its own.
        before: C(<database>__before_<run>) is there, and says that it is.
        left: names of databases that runs left beside it, for the one who must decide where the public name is missing.
        copying: the run's candidate is being copied at this moment: a sign of life.
        ended: the records of the run, where they are at hand, say that its controller has ended it.
        written: why it cannot be said that nothing was written since the swap; empty where the server's counters show
            nothing, None where nobody has looked.
    """

    database: str
    exists: bool = True
    is_open: bool = True
    description: Description | None = None
    lease: str = NONE
    before: bool = False
    left: tuple[str, ...] = ()
    copying: bool = False
    ended: bool = False
    written: str | None = None


class Decision(NamedTuple):
    """What is to be done with a run that is open.

    Attributes:
        kind: one of `KINDS`.
        reason: why, one sentence for a person.
        run_id: the run; empty where none is open.
    """

    kind: str
    reason: str
    run_id: str = ""


def decide(seen: Seen) -> Decision:
    """Say how the run that is open on a database is finished.

    ``swap_back`` is only a permission to try: who acts on it closes the database and proves that nothing was written.
    """
    description = seen.description
    if not seen.exists:
        return _without_name(seen)
    if description is None or not description.state:
        if seen.is_open:
            return Decision(NOTHING, f"No run is open on {seen.database}.")
        return Decision(ASK, f"{seen.database} is closed, and no run is open on it: somebody closed it by hand.")
    kind, reason = _of_open_run(seen, description)
    named = f"Run {description.run_id}{owner_of(description)} {_stopped(seen, description)}: {reason}"
    return Decision(kind, named, description.run_id)


def _without_name(seen: Seen) -> Decision:
    if seen.left:
        return Decision(ASK, f"There is no database {seen.database}; beside it are {', '.join(seen.left)}.")
    return Decision(NOTHING, f"There is no database {seen.database}, and no run has left one beside it.")


def _stopped(seen: Seen, description: Description) -> str:
    if seen.lease == RUN_OUT and not seen.copying:
        until = f" at {description.lease_until}" if description.lease_until else ""
        return f"gave no sign of life in state {description.state}, and its lease ran out{until}"
    if seen.copying or seen.lease == LASTS:
        return f"is under way on {seen.database} (state {description.state})"
    return f"is open on {seen.database} (state {description.state})"


def _of_open_run(seen: Seen, description: Description) -> tuple[str, str]:
    if description.state not in STATES or method_of(description) not in METHODS:
        return ASK, "this version of the collection does not know that state."
    if description.data.get("held"):
        return ASK, f"it is left to a person, because {description.data['held']}."
    if (seen.lease == LASTS and not seen.ended) or seen.copying:
        until = "its copy is being made" if seen.copying else f"its lease lasts until {description.lease_until}"
        return WAIT, f"{until}."
    if description.state in BEFORE_SWAP:
        return _before_swap(seen, description)
    return _after_swap(seen, description)


def _before_swap(seen: Seen, description: Description) -> tuple[str, str]:
    if seen.before:
        return ASK, f"a database of before its swap is there, although {seen.database} says that it did not swap."
    if method_of(description) == "in_place" and description.state != BEFORE_SWAP[0]:
        return (
            RESTORE_DUMP,
            f"{seen.database} was being migrated in place, and the dump taken before it is to be restored.",
        )
    return OPEN_ORIGINAL, f"{seen.database} is unaltered, and is to be opened again."


def _after_swap(seen: Seen, description: Description) -> tuple[str, str]:
    in_place = method_of(description) == "in_place"
    if description.state == STATES[-1]:
        return GO_FORWARD, "the release that belongs to the database is on record, and the run is to be ended."
    if not in_place and not seen.before:
        return ASK, "no release is on record, and the database of before it is not there to go back to."
    if seen.written:
        return ASK, f"no release is on record, and {seen.written}."
    proof = "nothing was written since" if seen.written is not None else "if nothing was written since"
    way = (
        "the dump taken before it is to be restored" if in_place else "the database of before it is to be swapped back"
    )
    return (RESTORE_DUMP if in_place else SWAP_BACK), f"no release is on record, and {way}, {proof}."


def what_to_type(decision: Decision, command: str) -> str:
    """Return for a person what to do about a run that is not finished, with the command to type.

    Args:
        decision: what was decided.
        command: what is typed for every way, before its own extra variables.
    """
    run = f"{command} -e run={decision.run_id}"
    if decision.kind == NOTHING:
        return "Nothing needs to be done."
    if not decision.run_id:
        return f"What can be done is said by: {command}"
    if decision.kind == WAIT:
        return (
            "Wait until it has ended: it restores the original when a step fails, and its keeper, or the next run, "
            f"finishes it when its lease has run out. Then start again. What can be done is said by: {command}"
        )
    if decision.kind == ASK:
        return (
            f"Decide, then type one of the two. To keep what is there now, and end the run: {run} -e keep_written=true "
            f"To go back to before it, and set aside what was written since: {run} -e accept_loss=true"
        )
    return f"Type: {run}"


def refuse_open_run(decision: Decision, command: str) -> None:
    """Refuse to go on while a run is open that nobody has finished.

    Raises:
        Refused: there is one.
    """
    if decision.kind != NOTHING:
        raise Refused(
            decision.reason,
            untouched="Nothing was touched.",
            remedy=what_to_type(decision, command),
            decision=decision.kind,
            other_run=decision.run_id,
        )


def refuse_after_finishing(decision: Decision, message: str, command: str) -> None:
    """Refuse to go on with a rollback that was planned before the database became another one.

    Raises:
        Refused: finishing the other run went back over a swap, or forward.
    """
    if decision.kind in (SWAP_BACK, RESTORE_DUMP, GO_FORWARD):
        raise Refused(
            f"{decision.reason} That was done: {message}",
            untouched="Nothing else was touched: steps would count from another place now.",
            remedy="Look which release runs and which migrations are applied, then start again. What can be done "
            f"besides is said by: {command}",
            decision=decision.kind,
            other_run=decision.run_id,
        )
