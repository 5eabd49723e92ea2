# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of M(balcon.rollback.migrate_down) and M(balcon.rollback.migrate_up) on an SQLite file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._database.sqlite.database_file import DatabaseFile
from .._database.sqlite.run_state import advance, check_made_by_run, check_state, locked
from .._domain.errors import Refused
from .._domain.plan import check_plan_is_last, make_up_plan, pending_migrations
from . import make_engine
from .sqlite_tool import SqliteTool, guarded
from .stepping import all_up, see_session, step_down, step_up

_AFTER_MIGRATION = ("migrated", "verified")


class SqliteTask:
    """A migration tool and the file it is pointed at, which this run made.

    Args:
        params: the module's parameters.
        roles: what the file may be.

    Raises:
        Refused: it was not made by this run: it may be the database itself.
    """

    def __init__(self, params: Mapping[str, Any], roles: tuple[str, ...]) -> None:
        self.run_id: str = params["run_id"]
        self.file = DatabaseFile(params["database_url"], params["project_dir"])
        self.path: Path = (
            self.file.named(params["database"]) if params["database"] else self.file.derived(roles[0], self.run_id)
        )
        self.role = check_made_by_run(self.file, self.path, self.run_id, roles).role
        engine = make_engine(params["engine"], params["engine_options"])
        engine.check()
        self.tool = SqliteTool(engine, self.file, self.path, params["environment"] or {}, params["step_timeout"])
        self.timeout: float = params["step_timeout"]
        self.started = time.monotonic()

    def result(
        self, before: Sequence[str], after: Sequence[str], name: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return what both modules return, the steps under a name."""
        return {
            "changed": list(before) != list(after),
            "database": self.path.name,
            "state_before": list(before),
            "state_after": list(after),
            "command_seconds": self.tool.command_seconds,
            "seconds": round(time.monotonic() - self.started, 3),
            name: list(steps),
        }


def migrate_down(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Revert a plan on the candidate of this run; nobody writes into the database itself meanwhile.

    Args:
        params: the module's parameters.
        journal: gets what the journal is to know.
        check_mode: change nothing, and say what would be done.

    Raises:
        Refused: it must not begin; nothing was changed.
        Failed: it began, and did not end as it should have.
    """
    task = SqliteTask(params, ("candidate",))
    plan = [str(name) for name in params["plan"]]
    before = task.tool.state()
    journal.update(database=task.path.name, plan=plan)
    if _is_done(task, plan, before):
        journal["changed"] = False
        return task.result(before, before, "reverted", [])
    check_plan_is_last(before, plan)
    if check_mode:
        return task.result(before, before[: -len(plan)], "reverted", _would(plan))
    check_state(task.file, task.run_id, "begin_migration")
    with guarded(task.file.path) as guards:
        advance(task.file, task.run_id, "begin_migration", seconds=(len(plan) + 1) * task.timeout)
        see_session(task.tool)  # type: ignore[arg-type]
        for each in guards:
            each.check()
        steps = step_down(task.tool, plan, guards)  # type: ignore[arg-type]
        advance(task.file, task.run_id, "end_migration")
    return _noted(journal, task.result(before, task.tool.state(), "reverted", steps), "reverted")


def migrate_up(params: Mapping[str, Any], journal: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Apply migrations on a throwaway clone of this run; as `migrate_down`."""
    task = SqliteTask(params, ("trial",))
    before = task.tool.state()
    pending = pending_migrations(before, list(task.tool.engine.available()))
    everything = params["steps"] in (None, "") and not params["target"]
    reached = bool(params["target"]) and params["target"] in before
    plan = [] if reached else make_up_plan(pending, params["steps"], params["target"])
    journal.update(database=task.path.name, plan=plan, changed=bool(plan))
    if check_mode or not plan:
        return task.result(before, [*before, *plan], "applied", _would(plan))
    if not everything and plan != pending and not task.tool.engine.has_command("up_one"):
        raise Refused(
            f"Only a part of what is pending is to be applied ({', '.join(plan)}), but the project's command applies "
            "everything.",
            untouched="No migration was run.",
            remedy="Set scripts.up_one of rollback_engine_options to a script that applies exactly one, or leave steps "
            "and target out.",
        )
    with guarded(task.file.path) as guards:
        steps = (step_up if plan != pending else all_up)(task.tool, plan, guards)  # type: ignore[arg-type]
    return _noted(journal, task.result(before, task.tool.state(), "applied", steps), "applied")


def _is_done(task: SqliteTask, plan: Sequence[str], applied: Sequence[str]) -> bool:
    """Tell whether the plan was carried out here before: nothing of it is applied, and the run says so, too."""
    if not plan or set(plan) & set(applied):
        return False
    with locked(task.file) as description:
        return bool(description and description.run_id == task.run_id and description.state in _AFTER_MIGRATION)


def _would(plan: Sequence[str]) -> list[dict[str, Any]]:
    return [{"name": name, "seconds": 0.0, "exit_code": None, "output_tail": ""} for name in plan]


def _noted(journal: dict[str, Any], result: dict[str, Any], name: str) -> dict[str, Any]:
    steps = [{key: step[key] for key in ("name", "seconds", "exit_code")} for step in result[name]]
    journal.update(changed=result["changed"], command_seconds=result["command_seconds"], **{name: steps})
    return result
