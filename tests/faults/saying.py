# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person must have been told: a case that ends well for another reason than its own shows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .case import Act
    from .trial import Trial


def says(*texts: str, code: int | None = None) -> Act:
    """Return an act that looks whether the first playbook said these things, and exited so.

    Args:
        texts: each must be in its output.
        code: its exit code; by default any other than 0.
    """

    def look(trial: Trial) -> None:
        missing = [text for text in texts if text not in trial.playbook.said]
        if missing:
            raise AssertionError(f"the playbook did not say {missing[0]!r}")
        found = trial.playbook.process.poll()
        if (code is None and not found) or (code is not None and found != code):
            raise AssertionError(f"the playbook exited {found}")

    return look


def all_of(*acts: Act) -> Act:
    """Return one act that does several."""

    def act(trial: Trial) -> None:
        for each in acts:
            each(trial)

    return act
