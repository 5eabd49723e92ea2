# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Death by SIGKILL: of the controller, of the running module, of everything at once, at the start and inside of phases.

Up to the swap the original is open again; after it the release switch is on record, and the rollback stands. Where the
controller lives and users have written since the swap, nothing is thrown away: the database is held.
"""

from __future__ import annotations

from .case import AFTER, BEFORE, HELD, LEASE, Act, Case, nothing
from .moments import BEFORE_THE_SWAP, INSIDE, START, inside
from .trial import Trial


def _controller(trial: Trial) -> None:
    trial.playbook.kill_controller()


def _module(trial: Trial) -> None:
    trial.playbook.kill_module()


def _everything(trial: Trial) -> None:
    trial.playbook.kill_everything()


def _started_module(trial: Trial) -> None:
    trial.playbook.go()
    trial.playbook.kill_module()


def _inside(phase: str, harm: Act) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            harm(trial)

    return fault


def _at(name: str, harm: Act, phases: tuple[str, ...], lease: int) -> list[Case]:
    return [
        Case(
            f"{name}-at-{phase.replace('_', '-')}",
            f"start: before '{START[phase][:40]}'",
            (BEFORE,) if phase in BEFORE_THE_SWAP else (AFTER,),
            harm,
            stand=START[phase],
            lease=lease,
        )
        for phase in phases
    ]


def _ends(phase: str, after: tuple[str, ...], harm: Act) -> tuple[str, ...]:
    if phase == "watch":
        return (AFTER,)
    if phase == "swap" and harm == _controller:
        return (BEFORE, AFTER)  # the module lives on, and may have done its work before the lease runs out
    return (BEFORE,) if phase in BEFORE_THE_SWAP else after


def _in(name: str, harm: Act, phases: tuple[str, ...], lease: int, after: tuple[str, ...] = (AFTER,)) -> list[Case]:
    return [
        Case(
            f"{name}-in-{phase.replace('_', '-')}",
            f"inside {phase.replace('_', ' ')}: {INSIDE[phase].words}",
            _ends(phase, after, harm),
            _inside(phase, harm),
            INSIDE[phase].prepare,
            stand=INSIDE[phase].stand,
            lease=lease,
        )
        for phase in phases
    ]


CASES: list[Case] = [
    Case("no-fault", "none: the rollback goes through", (AFTER,), nothing),
    *_at("controller-killed", _controller, tuple(START), LEASE),
    *_in("controller-killed", _controller, tuple(INSIDE), LEASE),
    *_at(
        "module-killed",
        _started_module,
        ("gate", "back_up", "close", "candidate", "migrate_down", "verify", "swap"),
        60,
    ),
    *_in("module-killed", _module, tuple(INSIDE), 60, (BEFORE, HELD)),
    *_in("everything-killed", _everything, tuple(INSIDE), LEASE),
]
