# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest ansible-core that is promised: rehearsed, rolled back, taken back.

It evaluates module defaults for every task, and hands over numbers inside dictionaries as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stage import DATABASES

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

CONFIRM = f"confirm={DATABASES['production']}"


def test_there_and_back(scene: Scene, oldest: str) -> None:
    scene.program = oldest
    before = scene.contents("production")
    rehearsed = scene.play("env=staging")
    assert rehearsed.exit_code == 0, rehearsed.output
    rolled_back = scene.play("env=production", CONFIRM, "reason=a test")
    assert rolled_back.exit_code == 0, rolled_back.output
    (record,) = rolled_back.records
    assert record["outcome"] == "rolled_back"
    looked = scene.play("env=production", playbook="restore.yml")
    assert f"-e run={record['run_id']} -e accept_loss=true" in looked.said
    taken_back = scene.play(
        "env=production", f"run={record['run_id']}", "accept_loss=true", CONFIRM, "reason=a test",
        playbook="restore.yml",
    )  # fmt: skip
    assert taken_back.exit_code == 0, taken_back.output
    assert scene.contents("production") == before
