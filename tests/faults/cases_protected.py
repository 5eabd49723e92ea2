# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases that stand on one protection each: with it taken out, nothing else would notice."""

from __future__ import annotations

import signal

from . import processes
from .case import AFTER, BEFORE, LEASE, Case
from .moments import START
from .trial import Trial


def _second_run_at_close(trial: Trial) -> None:
    """Let a second rollback, which was let through to its closing, come into the window of the first.

    It is refused; and its own emergency restore must not touch what is not its own.
    """
    second = trial.start(stand=START["close"])
    second.wait_until_it_stands()
    trial.playbook.stand(START["verify"])
    second.wait()
    trial.playbook.go()


def _swap_out_of_turn(trial: Trial) -> None:
    """Call for the swap of a run that has not verified anything, as --start-at-task or a second controller would."""
    trial.start_task(
        "balcon.rollback.db_swap",
        database_url="{{ rollback_database_url }}",
        state="candidate",
        run_id=trial.run_id(),
        state_dir="{{ rollback_state_dir }}",
        phase="reopen",
    ).wait()
    trial.playbook.go()


def _lease_over_and_nobody_acts(trial: Trial) -> None:
    """Kill the keeper, and come back with a controller that was away for longer than its lease."""
    found = trial.keepers()
    processes.kill(found, signal.SIGSTOP)
    processes.kill(found)
    trial.wait_for_lease()
    trial.playbook.go()


def _tool_leaves_a_child(trial: Trial) -> None:
    """Let the tool leave a process behind, in a session of its own, as a watcher or a pool would be."""
    trial.set_script("migrate:down", "{original} && (setsid sleep 600 >/dev/null 2>&1 &)")


def _go(trial: Trial) -> None:
    trial.playbook.go()


CASES: list[Case] = [
    Case(
        "second-run-at-close", "another run, let through to closing, comes into the window", (AFTER,),
        _second_run_at_close, stand=START["close"],
    ),
    Case(
        "swap-out-of-turn", "the swap is called for before anything is verified", (AFTER,), _swap_out_of_turn,
        stand=START["verify"],
    ),
    Case(
        "lease-over-keeper-dead", "keeper dead, controller back after its lease, before the swap", (BEFORE,),
        _lease_over_and_nobody_acts, stand=START["swap"], lease=LEASE,
    ),
    Case(
        "tool-leaves-a-child", "the migration command leaves a process behind", (AFTER,), _go, _tool_leaves_a_child,
        stand=START["migrate_down"],
    ),
]  # fmt: skip
