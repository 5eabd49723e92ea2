# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clocks that are set back an hour: the controller's, with the tool host's, and the server's."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import clock
from .case import AFTER, BEFORE, Act, Case, nothing
from .clock import Clock, start_with
from .moments import INSIDE, inside
from .saying import says
from .trial import until

if TYPE_CHECKING:
    from .trial import Trial

LEASE = 30
_CLOCKS: dict[Path, Clock] = {}


def _new_clock(trial: Trial) -> Clock:
    folder = Path(trial.endings.enter_context(tempfile.TemporaryDirectory(prefix="balcon-rollback-clock-")))
    folder.chmod(0o755)  # the server's account reads it
    _CLOCKS[trial.folder] = made = Clock(folder)
    return made


def _of_the_controller(trial: Trial) -> None:
    trial.endings.enter_context(_new_clock(trial).for_all_we_start())


def _an_hour_back_from_the_start(trial: Trial) -> None:
    _of_the_controller(trial)
    _CLOCKS[trial.folder].set_back()


def _of_the_server(trial: Trial) -> None:
    """Start production's server with a clock that can be set."""
    cluster = trial.ground.scene.cluster("production")
    cluster.stop()
    trial.endings.callback(_with_the_true_clock, trial)
    start_with(cluster, _new_clock(trial))


def _with_the_true_clock(trial: Trial) -> None:
    cluster = trial.ground.scene.cluster("production")
    cluster.stop()
    cluster.start(port=cluster.port)


def _set_back_in(phase: str, *, kill: bool = False) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            _CLOCKS[trial.folder].set_back()
            if kill:
                trial.playbook.kill_everything()
        if kill:  # while the clock is still back, and not an hour later
            until(trial.is_open, "the keeper opens the original by a clock of its own", LEASE + 90)

    return fault


def _prepared(phase: str, clock_of: Act) -> Act:
    def prepare(trial: Trial) -> None:
        INSIDE[phase].prepare(trial)
        clock_of(trial)

    return prepare


def _case(name: str, whose: str, phase: str, clock_of: Act, ends: tuple[str, ...], *, kill: bool = False) -> Case:
    return Case(
        f"{name}-clock-set-back-in-{phase.replace('_', '-')}" + "-and-killed" * kill,
        f"{whose} clock an hour back, {phase.replace('_', ' ')}" + "; all is killed" * kill,
        ends,
        _set_back_in(phase, kill=kill),
        _prepared(phase, clock_of),
        says() if kill else says(code=0),
        stand=INSIDE[phase].stand,
        lease=LEASE if kill else 60,
        needs=clock.can_be_had,
    )


CASES: list[Case] = [
    Case(
        "controller-clock-behind",
        "the controller's clock is an hour behind all the time",
        (BEFORE,),
        nothing,
        _an_hour_back_from_the_start,
        says("hours from now: the clock"),
        needs=clock.can_be_had,
    ),
    *(_case("controller", "the controller's", phase, _of_the_controller, (AFTER,)) for phase in ("migrate_down",)),
    _case("controller", "the controller's", "migrate_down", _of_the_controller, (BEFORE,), kill=True),
    *(_case("server", "the server's", phase, _of_the_server, (AFTER,)) for phase in ("migrate_down",)),
    _case("server", "the server's", "migrate_down", _of_the_server, (BEFORE,), kill=True),
]
