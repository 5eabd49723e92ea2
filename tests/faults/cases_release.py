# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Death between the swap and the older release: which release belongs to the database is not on record.

Then nothing goes forward by itself: without a write since the swap it goes back, and with one it stays as it is.
"""

from __future__ import annotations

from .case import AFTER, BEFORE, HELD, LEASE, Act, Case
from .cases_server import kill_keepers, next_run
from .checks import COMMENT
from .moments import START
from .trial import Trial, until

OLDER = "Reopen | the older release"
FOR_A_PERSON = {
    COMMENT: "a person decides, and the run is described until then",
    "maintenance mode": "a person decides, and maintenance mode is left as the run had it",
}

NOT_RUNNING = {"maintenance mode": "the dead run had stopped the application, and nobody has started it: that is said"}


def _next_run_says_what_is_left(trial: Trial) -> None:
    next_run(trial)
    said = "Maintenance mode: left on: that run had stopped the application."
    if said not in trial.playbooks[-1].said:
        raise AssertionError(f"the next run did not say {said!r}")


def _with_release(trial: Trial) -> None:
    """Have the release switched by commands that leave a mark."""
    commands = {name: ["touch", str(trial.flag(name))] for name in ("stop", "older", "newer")}
    trial.changes["production"].update({"rollback_keep_release": False, "rollback_release": {"commands": commands}})


def _written(harm: Act) -> Act:
    def fault(trial: Trial) -> None:
        known = trial.users.acknowledged()
        until(lambda: trial.users.acknowledged() > known + 20, "users have written since the swap")
        harm(trial)

    return fault


def _unwritten(harm: Act) -> Act:
    def fault(trial: Trial) -> None:
        trial.users.end()
        trial.playbook.stand(OLDER)
        harm(trial)

    return fault


def _controller(trial: Trial) -> None:
    trial.playbook.kill_controller()


def _controller_and_keepers(trial: Trial) -> None:
    trial.playbook.kill_controller()
    kill_keepers(trial)


def _module(trial: Trial) -> None:
    trial.playbook.go()
    trial.playbook.kill_module()


CASES: list[Case] = [
    Case(
        "controller-killed-swapped-written", "after the swap, no release on record, users wrote", (AFTER,),
        _written(_controller), _with_release, stand=OLDER, lease=LEASE, forgives=FOR_A_PERSON,
    ),
    Case(
        "controller-killed-swapped-unwritten", "after the swap, no release on record, nobody wrote", (BEFORE,),
        _unwritten(_controller), _with_release, stand=START["swap"], lease=LEASE,
    ),
    Case(
        "module-killed-swapped-written", "as the older release starts, users wrote", (HELD,),
        _written(_module), _with_release, stand=OLDER,
    ),
    Case(
        "module-killed-swapped-unwritten", "as the older release starts, nobody wrote", (BEFORE,),
        _unwritten(_module), _with_release, stand=START["swap"],
    ),
    Case(
        "controller-killed-older-in-place", "after the swap, the older release on record", (AFTER,),
        _controller, _with_release, stand=START["reopen"], lease=LEASE,
    ),
    Case(
        "nobody-left-swapped-written-next-run", "keeper and controller killed, no release on record, users wrote",
        (AFTER,), _written(_controller_and_keepers), _with_release, afterwards=next_run, stand=OLDER, lease=LEASE,
        forgives=FOR_A_PERSON,
    ),
    Case(
        "nobody-left-swapped-unwritten-next-run", "keeper and controller killed, no release on record, nobody wrote",
        (BEFORE,), _unwritten(_controller_and_keepers), _with_release,
        afterwards=_next_run_says_what_is_left, stand=START["swap"], lease=LEASE, forgives=NOT_RUNNING,
    ),
]  # fmt: skip
