# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Death by SIGKILL of the tools: the migration command, pg_dump, pg_restore, in the rehearsal and in production."""

from __future__ import annotations

import signal

from . import processes
from .case import BEFORE, Act, Case
from .moments import INSIDE, START, inside, wait_before_script, wait_in_script
from .trial import Trial, until

COPY = "Rehearse | copy production"
PLAN = "Rehearse | run the plan"
DUMP_OF_FAILED = "Restore | dump the candidate"


def _kill(trial: Trial, program: str) -> None:
    processes.kill(trial.playbook.below(program))


def _as_soon_as_it_runs(program: str) -> Act:
    def fault(trial: Trial) -> None:
        trial.playbook.go()
        _kill(trial, program)

    return fault


def _inside(phase: str, program: str) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            _kill(trial, program)

    return fault


def _tool_is_waiting(trial: Trial) -> None:
    """Kill the command while it waits, with the shell that waits for it: what is left is not to do its work."""
    trial.playbook.go()
    until(lambda: trial.flag("done").exists(), "the migration command runs")
    _kill(trial, "npm")
    members = processes.family(trial.playbook.process.pid)
    processes.kill(member for member in members if str(trial.flag("go")) in " ".join(member.words))


def _tool_has_worked(trial: Trial) -> None:
    with inside(trial, INSIDE["migrate_down"]):
        members = processes.family(trial.playbook.process.pid)
        processes.kill(member for member in members if str(trial.flag("go")) in " ".join(member.words))


def _restore_has_begun(trial: Trial) -> None:
    """Kill pg_restore when it has begun to make objects: the lock that it then waits for is on the owners of all."""
    trial.playbook.go()
    found = trial.playbook.below("pg_restore")
    processes.kill(found, signal.SIGSTOP)
    with trial.ground.scene.session("staging", "postgres") as session, session.cursor() as cursor:
        session.autocommit = False
        cursor.execute("LOCK TABLE pg_catalog.pg_shdepend IN SHARE MODE")
        processes.kill(found, signal.SIGCONT)
        statement = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE 'CREATE %%'"
        until(lambda: trial.ground.execute(statement, kind="staging"), "pg_restore makes an object")
        processes.kill(trial.playbook.below("pg_restore"))


def _fail_tool_then_kill_dump(trial: Trial) -> None:
    """Let the plan fail, so that its candidate is dumped for study, and kill that dump."""
    trial.playbook.stand(DUMP_OF_FAILED)
    trial.playbook.go()
    _kill(trial, "pg_dump")


def _failing(trial: Trial) -> None:
    trial.set_script("migrate:down", "{original} && exit 3")


CASES: list[Case] = [
    Case(
        "tool-killed-at-start", "migrate down: as soon as npm runs", (BEFORE,), _as_soon_as_it_runs("npm"),
        stand=START["migrate_down"],
    ),
    Case(
        "tool-killed-before-work", "migrate down: npm is there, nothing reverted", (BEFORE,), _tool_is_waiting,
        wait_before_script, stand=START["migrate_down"],
    ),
    Case(
        "tool-killed-after-work", "migrate down: reverted, npm not yet over", (BEFORE,), _tool_has_worked,
        wait_in_script, stand=START["migrate_down"],
    ),
    Case(
        "pg-dump-killed-at-start", "back up: as soon as pg_dump runs", (BEFORE,), _as_soon_as_it_runs("pg_dump"),
        stand=START["back_up"],
    ),
    Case(
        "pg-dump-killed-in-back-up", "back up: pg_dump reads the tables", (BEFORE,), _inside("back_up", "pg_dump"),
        stand=START["back_up"],
    ),
    Case(
        "pg-dump-killed-in-restore", "restore: dump of the failed candidate, for study", (BEFORE,),
        _fail_tool_then_kill_dump, _failing, stand=START["migrate_down"],
    ),
    Case(
        "pg-dump-killed-in-rehearsal", "rehearsal: as soon as pg_dump runs", (BEFORE,), _as_soon_as_it_runs("pg_dump"),
        environment="staging", stand=COPY,
    ),
    Case(
        "pg-restore-killed-at-start", "rehearsal: as soon as pg_restore runs", (BEFORE,),
        _as_soon_as_it_runs("pg_restore"), environment="staging", stand=COPY,
    ),
    Case(
        "pg-restore-killed-inside", "rehearsal: pg_restore makes objects", (BEFORE,), _restore_has_begun,
        environment="staging", stand=COPY,
    ),
    Case(
        "tool-killed-in-rehearsal", "rehearsal: reverted on the copy, npm not over", (BEFORE,), _tool_has_worked,
        wait_in_script, environment="staging", stand=PLAN,
    ),
    Case(
        "controller-killed-in-rehearsal", "rehearsal: before the plan runs on the copy", (BEFORE,),
        lambda trial: trial.playbook.kill_controller(), environment="staging", stand=PLAN,
    ),
    Case(
        "everything-killed-in-rehearsal", "rehearsal: before the plan runs on the copy", (BEFORE,),
        lambda trial: trial.playbook.kill_everything(), environment="staging", stand=PLAN,
    ),
]  # fmt: skip
