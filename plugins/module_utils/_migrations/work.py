# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of M(balcon.rollback.migrate_down) and M(balcon.rollback.migrate_up), from options to result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._database.postgresql.connection import Server
from .._database.postgresql.run_state import Heartbeat, advance, check_state
from .._domain.errors import Refused
from .._domain.in_place import check_restore_point
from .._domain.names import derived_name
from .._domain.plan import check_plan_is_last, make_up_plan, pending_migrations
from . import make_engine
from .stepping import all_up, guard, see_session, step_down, step_up
from .targets import check_different, check_made_by_run
from .tool import Tool

if TYPE_CHECKING:
    from .._domain.description import Description

_AFTER_MIGRATION = ("migrated", "verified")


class Task:
    """A migration tool, the database it is pointed at, and what it must not reach.

    Args:
        params: the module's parameters.
        roles: what the database may be: roles of `_domain.description`.

    Raises:
        Refused: the database was not made by this run, or is one that must not be touched.
    """

    def __init__(self, params: Mapping[str, Any], roles: Sequence[str]) -> None:
        self.run_id: str = params["run_id"]
        self.server = Server(params["database_url"], params["admin_url"])
        self.database: str = params["database"] or derived_name(self.server.database, roles[0], self.run_id)
        self.description: Description = check_made_by_run(self.server, self.database, self.run_id, roles)
        self.watched = [Server(url) for url in params["watch_urls"] or []]
        check_different(self.server, self.database, self.watched)
        self.engine = make_engine(params["engine"], params["engine_options"])
        self.engine.check()
        self.tool = Tool(
            self.engine,
            self.server,
            self.database,
            params["environment"] or {},
            watched=self.watched,
            lock_timeout=params["lock_timeout"],
            step_timeout=params["step_timeout"],
        )
        self.started = time.monotonic()

    @property
    def of_candidate(self) -> bool:
        """Whether the database is the one that a run in its window works on: its candidate, or, in place, itself."""
        return self.description.role in ("candidate", "original")

    @property
    def begins(self) -> str:
        """The step of the run's states with which migrating begins."""
        return "begin_in_place" if self.description.role == "original" else "begin_migration"

    def result(self, before: Sequence[str], after: Sequence[str], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what both modules return."""
        return {
            "changed": list(before) != list(after),
            "database": self.database,
            "state_before": list(before),
            "state_after": list(after),
            "command_seconds": self.tool.command_seconds,
            "seconds": round(time.monotonic() - self.started, 3),
            "steps": list(steps),
        }


def migrate_down(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Revert a plan on a database that this run has made.

    Args:
        params: the module's parameters.
        journal: gets what the journal is to know.
        check_mode: change nothing, and say what would be done.

    Raises:
        Refused: it must not begin; nothing was changed.
        Failed: it began, and did not end as it should have.
    """
    task = Task(params, ("candidate", "rehearsal"))
    plan = [str(name) for name in params["plan"]]
    before = task.tool.state()
    journal.update(database=task.database, plan=plan)
    if _is_done(task, plan, before):
        journal["changed"] = False
        return _named(task.result(before, before, []), "reverted")
    check_plan_is_last(before, plan)
    if check_mode:
        would = [{"name": name, "seconds": 0.0, "exit_code": None, "output_tail": ""} for name in plan]
        return _named(task.result(before, before[: -len(plan)], would), "reverted")
    steps = _reverted(task, plan)
    result = _named(task.result(before, task.tool.state(), steps), "reverted")
    _note(journal, result, "reverted")
    return result


def migrate_up(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Apply migrations on a database that this run has made; as `migrate_down`."""
    task = Task(params, ("rehearsal", "trial"))
    before = task.tool.state()
    available = list(task.engine.available())
    pending = pending_migrations(before, available)
    everything = params["steps"] in (None, "") and not params["target"]
    plan = [] if _reached(before, params["target"]) else make_up_plan(pending, params["steps"], params["target"])
    journal.update(database=task.database, plan=plan, changed=bool(plan))
    if check_mode or not plan:
        would = [{"name": name, "seconds": 0.0, "exit_code": None, "output_tail": ""} for name in plan]
        return _named(task.result(before, [*before, *plan], would), "applied")
    if not everything and plan != pending and not task.engine.has_command("up_one"):
        raise Refused(
            f"Only a part of what is pending is to be applied ({', '.join(plan)}), but the project's command"
            " applies everything.",
            untouched="No migration was run.",
            remedy=(
                "Set scripts.up_one of rollback_engine_options to a script that applies exactly one, or leave"
                " steps and target out."
            ),
        )
    guarded = guard(task.watched, task.engine.state_table)
    steps = (step_up if plan != pending else all_up)(task.tool, plan, guarded)
    result = _named(task.result(before, task.tool.state(), steps), "applied")
    _note(journal, result, "applied")
    return result


def _reached(applied: Sequence[str], target: str | None) -> bool:
    return bool(target) and target in applied


def _is_done(task: Task, plan: Sequence[str], applied: Sequence[str]) -> bool:
    """Tell whether the plan was carried out here before: nothing of it is applied, and the run says so, too."""
    if not plan or set(plan) & set(applied):
        return False
    if not task.of_candidate:
        return True
    with task.server.admin() as connection, connection.cursor() as cursor:
        from .._database.postgresql.run_state import read_comment
        from .._domain.description import parse_description

        original = parse_description(read_comment(cursor, task.server.database))
    return bool(original and original.run_id == task.run_id and original.state in _AFTER_MIGRATION)


def _reverted(task: Task, plan: Sequence[str]) -> list[dict[str, Any]]:
    """Do it, inside the run's state and lease where the database is a candidate."""
    if not task.of_candidate:
        return _steps_down(task, plan)
    if task.begins == "begin_in_place":
        check_restore_point(task.run_id, task.database, task.description)
    check_state(task.server, task.run_id, task.begins)
    with Heartbeat(task.server, task.run_id):
        advance(task.server, task.run_id, task.begins)
        steps = _steps_down(task, plan)
        advance(task.server, task.run_id, "end_migration")
    return steps


def _steps_down(task: Task, plan: Sequence[str]) -> list[dict[str, Any]]:
    guarded = guard(task.watched, task.engine.state_table)
    see_session(task.tool)
    for each in guarded:
        each.check()
    return step_down(task.tool, plan, guarded)


def _named(result: dict[str, Any], name: str) -> dict[str, Any]:
    """Put the steps under the name that the module documents."""
    return {**{key: value for key, value in result.items() if key != "steps"}, name: result["steps"]}


def _note(journal: dict[str, Any], result: Mapping[str, Any], name: str) -> None:
    steps = [{key: step[key] for key in ("name", "seconds", "exit_code")} for step in result[name]]
    journal.update(changed=result["changed"], command_seconds=result["command_seconds"], **{name: steps})
