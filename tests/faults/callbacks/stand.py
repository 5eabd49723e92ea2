# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback of Ansible's that lets a playbook stand before a task until it is told to go on.

It knows one folder, named by the environment: into ``now`` it writes the name of the task that is about to begin, and
while ``hold`` holds the beginning of that name, the task does not begin. So "at the start of a phase" is a fact and not
a matter of luck. Nothing of it is part of the product.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

FOLDER = "FAULTS_STAND"
POLL_SECONDS = 0.02

DOCUMENTATION = """
name: stand
type: aggregate
short_description: Stand before a task until told to go on
description:
  - For the tests of faults alone.
"""


class CallbackModule(CallbackBase):
    """Stands before each task whose name begins as the file C(hold) says."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stand"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Stand before a task."""
        _stand(task.name or "")

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Stand before a handler."""
        _stand(task.name or "")


def _stand(name: str) -> None:
    folder = Path(os.environ[FOLDER])
    half = folder / "now.half"
    half.write_text(name)
    half.rename(folder / "now")
    while _held(folder, name):
        time.sleep(POLL_SECONDS)


def _held(folder: Path, name: str) -> bool:
    try:
        wanted = (folder / "hold").read_text()
    except FileNotFoundError:
        return False
    return bool(wanted) and name.startswith(wanted)
