# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints what M(balcon.rollback.migration_lint) found, line by line, as editors and build servers read it."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_OF_A_DOCUMENT = (
    "passed", "counts", "findings", "allowed", "migrations", "released", "unproven", "scratch", "seconds",
)  # fmt: skip


class ActionModule(ActionBase):
    """Run the module of the same name where it belongs, and print its findings on the controller."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and print.

        Args:
            tmp: not used any more.
            task_vars: the task's variables.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self._execute_module(task_vars=task_vars))
        if "lines" in result:
            for line in _shown(result, str(self._task.args.get("output") or "text")):
                Display().display(line)
        return result


def _shown(result: dict[str, Any], output: str) -> list[str]:
    if output == "json":
        return [json.dumps({key: result[key] for key in _OF_A_DOCUMENT}, ensure_ascii=False, indent=2)]
    unproven = [f"not proven: {sentence}" for sentence in result["unproven"]]
    printed = {"github": [*result["annotations"], *unproven, result["lines"][-1]], "none": []}
    lines = printed.get(output, [*result["lines"][:-1], *unproven, result["lines"][-1]])
    return [_printable(line) for line in lines]


def _printable(line: str) -> str:
    """Return one line without characters that would steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in line)
