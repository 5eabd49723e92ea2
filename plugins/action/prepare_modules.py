# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the archives of modules on the controller, before the time that users feel begins."""

from __future__ import annotations

import shlex
from typing import Any

from ansible import constants as C  # as Ansible's own plugins call it
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.balcon.rollback.plugins.plugin_utils._compiled import ASK_MAGIC, MAGIC, Compiler, compile_kept


class ActionModule(ActionBase):
    """Have Ansible build the archive of each module once; it keeps them until the playbook ends."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Build them; a failure only warns, because each is built when it is needed all the same.

        Args:
            tmp: not used any more.
            task_vars: the task's variables.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        prepared = [name for name in self._task.args.get("names", []) if self._prepare(str(name), task_vars)]
        compiled = self._compile(prepared) if self._has_this_python(task_vars or {}) else []
        return {**result, "changed": False, "prepared": prepared, "compiled": compiled}

    def _prepare(self, name: str, task_vars: dict[str, Any] | None) -> bool:
        try:
            self._configure_module(name, {}, task_vars)
        except Exception as error:  # noqa: BLE001  # the interface is Ansible's own, and saves time, no more
            Display().warning(f"{name} was not prepared, and costs a little more time later: {error}")
            return False
        return True

    def _has_this_python(self, task_vars: dict[str, Any]) -> bool:
        """Tell whether the host's Python reads code that the controller's has compiled."""
        interpreter = self._interpreter(task_vars)
        if not interpreter:
            return False
        answer = self._low_level_execute_command(f"{shlex.quote(interpreter)} -c {shlex.quote(ASK_MAGIC)}")
        return bool(answer.get("rc") == 0 and answer.get("stdout", "").strip().endswith(MAGIC))

    def _interpreter(self, task_vars: dict[str, Any]) -> str:
        """Return the host's Python: the one that it is given, or the one that Ansible has found there before."""
        given = C.config.get_config_value("INTERPRETER_PYTHON", variables=task_vars)
        chosen = str(self._templar.template(given))
        if not chosen.startswith("auto"):
            return chosen
        return str((task_vars.get("ansible_facts") or {}).get("discovered_interpreter_python") or "")

    def _compile(self, names: list[str]) -> list[str]:
        compiler = Compiler()
        try:
            return [name for name in names if compile_kept(C.DEFAULT_LOCAL_TMP, name, compiler)]
        except Exception as error:  # noqa: BLE001  # as above: the archives work as they are
            Display().vvv(f"the modules are not compiled, and cost a little more time later: {error}")
            return []
