# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The oldest ansible-core that is promised: rehearsed, rolled back, taken back.

It evaluates module defaults for every task, and hands over numbers inside dictionaries as text.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from stage import DATABASES

from ansible_collections.balcon.rollback.tests.playbook.scene import PROJECT

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

REQUIREMENTS = PROJECT / "requirements" / "oldest.txt"
NEWEST_PYTHON = (3, 12)
CONFIRM = f"confirm={DATABASES['production']}"


@pytest.fixture(scope="module")
def oldest() -> str:
    """ansible-playbook of the oldest ansible-core, in an environment of its own that is made once."""
    if sys.version_info[:2] > NEWEST_PYTHON:
        pytest.skip("ansible-core 2.17 runs on Python 3.10 to 3.12")
    folder = PROJECT / ".cache" / REQUIREMENTS.read_text().split()[-1]
    program = folder / "bin" / "ansible-playbook"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True, timeout=240)
    return str(program)


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
