# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the archives of modules on the controller, before the time that users feel begins."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display


class ActionModule(ActionBase):
    """Have Ansible build the archive of each module once; it keeps them until the playbook ends."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Build them; a failure only warns, because each is built when it is needed all the same.

        Args:
            tmp: not used any more.
            task_vars: the task's variables.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        prepared = [name for name in self._task.args.get("names", []) if self._prepare(str(name), task_vars)]
        return {**result, "changed": False, "prepared": prepared}

    def _prepare(self, name: str, task_vars: dict[str, Any] | None) -> bool:
        try:
            self._configure_module(name, {}, task_vars)
        except Exception as error:  # noqa: BLE001  # the interface is Ansible's own, and saves time, no more
            Display().warning(f"{name} was not prepared, and costs a little more time later: {error}")
            return False
        return True
