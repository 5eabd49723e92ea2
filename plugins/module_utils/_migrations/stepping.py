# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations run one at a time, each step proven by the state table before the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._domain.errors import Failed, Refused
from .._domain.plan import check_step
from .state_table import StateTable

if TYPE_CHECKING:
    from .._database.postgresql.connection import Server
    from .._process import Finished
    from .tool import Tool


class Guarded(NamedTuple):
    """A database that the tool must not reach, and what its state table listed before the first step."""

    server: Server
    state_table: StateTable
    state: list[str]

    def check(self) -> None:
        """Read its state again.

        Raises:
            Failed: it changed.
        """
        now = self.state_table.read(self.server)
        if now == self.state:
            return
        changed = ", ".join(sorted(set(now) ^ set(self.state)))
        raise Failed(
            f"The state table of database {self.server.database!r}, which this must not touch, changed while"
            f" the migration tool ran: {changed}.",
            remedy=(
                "Stop everything that runs migrations. Either the tool has a second way to this database (a"
                " .env file, a configuration file), or somebody deployed meanwhile. Compare its schema with"
                " the last backup."
            ),
            database=self.server.database,
            changed=changed,
        )


def guard(servers: Sequence[Server], state_table: StateTable) -> list[Guarded]:
    """Read the state of the databases that the tool must not reach."""
    return [Guarded(server, state_table, state_table.read(server)) for server in servers]


def see_session(tool: Tool) -> None:
    """Run the tool's status command, see its session in the intended database, and see that nothing changed.

    Raises:
        Failed: the command failed, its session was not seen, or it changed the state.
    """
    before = tool.state()
    tool.run("status")
    after = tool.state()
    if after != before:
        raise Failed(
            f"The status command of the migration tool changed the state table of {tool.database!r}.",
            remedy=(
                "A command that only tells the state must not change it: set scripts.status of "
                "rollback_engine_options to another one."
            ),
            before=before,
            after=after,
        )


def step_down(tool: Tool, plan: Sequence[str], guarded: Sequence[Guarded]) -> list[dict[str, Any]]:
    """Revert the migrations of a plan, newest first.

    Args:
        tool: the migration tool, pointed at the database.
        plan: the names, newest first.
        guarded: databases that must not change meanwhile.

    Returns:
        For each: C(name), C(seconds), C(exit_code), C(output_tail).

    Raises:
        Failed: a step failed, or did something else than it should; the message says which steps were done before.
    """
    return [_one(tool, "down", name, plan[:index], guarded) for index, name in enumerate(plan)]


def step_up(tool: Tool, plan: Sequence[str], guarded: Sequence[Guarded]) -> list[dict[str, Any]]:
    """Apply migrations one at a time, oldest first; as `step_down`."""
    return [_one(tool, "up_one", name, plan[:index], guarded) for index, name in enumerate(plan)]


def all_up(tool: Tool, plan: Sequence[str], guarded: Sequence[Guarded]) -> list[dict[str, Any]]:
    """Apply everything that is pending by one command, and see that exactly the plan came in."""
    before = tool.state()
    finished = tool.run("up")
    missing = [name for name in plan if name not in set(tool.state())]
    extra = sorted(set(tool.state()) - set(before) - set(plan))
    for each in guarded:
        each.check()
    if missing or extra or set(before) - set(tool.state()):
        raise Failed(
            "The migration tool applied something else than the plan: not applied"
            f" {', '.join(missing) or 'none'}, not expected {', '.join(extra) or 'none'}.",
            remedy="Do not use this database. Run the tool by hand on a copy to see what it does.",
        )
    return [
        {"name": name, "seconds": finished.seconds if index == 0 else 0.0, **_told(finished)}
        for index, name in enumerate(plan)
    ]


def _one(tool: Tool, verb: str, name: str, done: Sequence[str], guarded: Sequence[Guarded]) -> dict[str, Any]:
    before = tool.state()
    try:
        finished = tool.run(verb)
        check_step(before, tool.state(), name, "down" if verb == "down" else "up")
    except Failed as error:
        raise _with_progress(error, name, done, tool.state) from None
    finally:
        for each in guarded:
            each.check()
    return {"name": name, "seconds": finished.seconds, **_told(finished)}


def _told(finished: Finished) -> dict[str, Any]:
    return {
        "exit_code": finished.exit_code,
        "output_tail": finished.output_tail,
        "ended_processes": finished.ended,
    }


def _with_progress(error: Failed, name: str, done: Sequence[str], state: Callable[[], list[str]]) -> Failed:
    """Say which step it was, what was done before it, and what the table says now."""
    try:
        now: list[str] | None = state()
    except Refused:
        now = None
    before = f"Before it: {', '.join(done)}. " if done else ""
    return Failed(
        f"Step {len(done) + 1}, {name}: {error.message} {before}".strip(),
        untouched=error.untouched,
        remedy=error.remedy,
        **{**error.details, "step": name, "done": list(done), "state_after": now},
    )
