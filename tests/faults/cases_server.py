# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Death of the server, and of the keeper: crashes in every phase, no connection left, a keeper that is killed."""

from __future__ import annotations

import contextlib
import signal

import psycopg2

from . import processes
from .case import AFTER, BEFORE, HELD, LEASE, Act, Case
from .moments import BEFORE_THE_SWAP, INSIDE, START, inside
from .trial import Trial


def _crash_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with contextlib.suppress(psycopg2.Error), inside(trial, INSIDE[phase]):
            trial.crash_server()

    return fault


def _crash_and_kill_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with contextlib.suppress(psycopg2.Error), inside(trial, INSIDE[phase]):
            trial.playbook.kill_everything()
            trial.crash_server()

    return fault


def _take_connections(trial: Trial) -> contextlib.ExitStack:
    taken = contextlib.ExitStack()
    trial.endings.push(taken)
    with contextlib.suppress(psycopg2.OperationalError):
        while True:
            taken.enter_context(trial.ground.scene.session("production", "postgres"))
    return taken


def _no_connection_left(trial: Trial) -> None:
    """Take all connections that the server has, and give them back when the playbook is over."""
    taken = _take_connections(trial)
    trial.playbook.wait()
    taken.close()


def _no_connection_left_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            taken = _take_connections(trial)
        trial.playbook.wait()
        taken.close()

    return fault


# -- the keeper -----------------------------------------------------------------------------------------------------


def kill_keepers(trial: Trial) -> None:
    """Kill every process of the keeper at the same moment, its supervisor first."""
    found = trial.keepers()
    if not found:
        raise LookupError("there is no keeper to be killed")
    processes.kill(found, signal.SIGSTOP)
    processes.kill(found)


def _kill_one_keeper(trial: Trial) -> None:
    """Kill the process that holds the keeper's session."""
    held = trial.keepers()
    youngest = max(held, key=lambda process: process.pid)
    processes.kill([youngest])


def _and_controller_at(_phase: str) -> Act:
    def fault(trial: Trial) -> None:
        trial.playbook.kill_controller()
        kill_keepers(trial)

    return fault


def _and_everything_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            trial.playbook.kill_everything()
            kill_keepers(trial)

    return fault


def _one_keeper_and_controller(trial: Trial) -> None:
    _kill_one_keeper(trial)
    trial.playbook.kill_controller()


def next_run(trial: Trial) -> None:
    """Start the next rollback when the lease of the dead run has run out."""
    trial.wait_for_lease()
    trial.start().wait()


def _next_run_from_elsewhere(trial: Trial) -> None:
    """Start the next rollback from a host whose state folder knows nothing of the dead run."""
    trial.wait_for_lease()
    evidence = trial.state_dir() / "evidence"
    other = trial.folder / "state-elsewhere"
    other.mkdir(mode=0o700)
    evidence.rename(other / "evidence")
    trial.changes["production"]["rollback_state_dir"] = str(other)
    trial.start().wait()


_NEXT = {
    "closed": ("candidate", AFTER),
    "candidate": ("migrate_down", AFTER),
    "migrated": ("verify", AFTER),
    "verified": ("swap", AFTER),
    "swapped": ("reopen", AFTER),
}
"""State of the dead run, the phase before which it died, and the end after the next run."""

CASES: list[Case] = [
    *(
        Case(
            f"server-crash-in-{phase.replace('_', '-')}",
            f"immediate stop and restart, {phase.replace('_', ' ')}: {INSIDE[phase].words}",
            {"maintenance_on": (BEFORE, AFTER), "reopen": (BEFORE, HELD), "watch": (AFTER,)}.get(phase, (BEFORE,)),
            _crash_in(phase),
            INSIDE[phase].prepare,
            stand=INSIDE[phase].stand,
        )
        for phase in INSIDE
    ),
    Case(
        "server-crash-and-nobody-left", "everything killed in migrate down, and the server", (BEFORE,),
        _crash_and_kill_in("migrate_down"), INSIDE["migrate_down"].prepare, stand=START["migrate_down"], lease=LEASE,
    ),
    *(
        Case(
            f"no-connection-at-{phase.replace('_', '-')}", f"the server is out of connections before {phase}",
            (BEFORE,) if phase in BEFORE_THE_SWAP else (BEFORE, AFTER, HELD),
            _no_connection_left, stand=START[phase], lease=LEASE,
        )
        for phase in ("gate", "close", "candidate", "verify", "swap")
    ),
    Case(
        "no-connection-in-maintenance-on", "the server is out of connections in maintenance mode", (BEFORE,),
        _no_connection_left_in("maintenance_on"), INSIDE["maintenance_on"].prepare, stand=START["close"], lease=LEASE,
    ),
    Case(
        "keeper-killed-run-goes-on", "one process of the keeper, before migrate down", (AFTER,), _kill_one_keeper,
        stand=START["migrate_down"],
    ),
    Case(
        "keeper-killed-then-controller", "one process of the keeper, then the controller", (BEFORE,),
        _one_keeper_and_controller, stand=START["migrate_down"], lease=LEASE,
    ),
    Case(
        "keepers-all-killed-run-goes-on", "all of the keeper, before migrate down", (AFTER, BEFORE), kill_keepers,
        stand=START["migrate_down"],
    ),
    *(
        Case(
            f"nobody-left-{state}-next-run", f"keeper and controller killed, {state}; then the next run", (end,),
            _and_controller_at(phase), afterwards=next_run, stand=START[phase], lease=LEASE,
        )
        for state, (phase, end) in _NEXT.items()
    ),
    Case(
        "nobody-left-migrating-next-run", "keeper and all else killed, migrating; then the next run", (AFTER,),
        _and_everything_in("migrate_down"), INSIDE["migrate_down"].prepare, afterwards=next_run,
        stand=START["migrate_down"], lease=LEASE,
    ),
    Case(
        "nobody-left-state-folder-lost", "the same, the next run from a host that knows nothing", (AFTER,),
        _and_controller_at("verify"), afterwards=_next_run_from_elsewhere, stand=START["verify"], lease=LEASE,
    ),
]  # fmt: skip
