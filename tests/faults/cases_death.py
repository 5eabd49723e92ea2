# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Death by SIGKILL: of the controller, of the module that runs, of everything at once, in every phase."""

from __future__ import annotations

from .case import AFTER, BEFORE, Case, nothing

CASES: list[Case] = [
    Case("no-fault", "none: the rollback goes through", (AFTER,), nothing),
    Case(
        "controller-killed-at-candidate",
        "the playbook stands before the candidate",
        (BEFORE,),
        lambda trial: trial.playbook.kill_controller(),
        stand="Candidate |",
        lease=8,
    ),
]
