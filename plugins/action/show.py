# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints lines as they are: Ansible's own output would wrap and indent them."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.balcon.rollback.plugins.module_utils._domain.readable import readable_line


class ActionModule(ActionBase):
    """Print lines, or one document as one line."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print them.

        Args:
            tmp: not used any more.
            task_vars: the task's variables.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        _more, given = self.validate_argument_spec(
            argument_spec={"lines": {"type": "list", "elements": "str"}, "document": {"type": "dict"}},
            mutually_exclusive=[("lines", "document")],
            required_one_of=[("lines", "document")],
        )
        lines = given["lines"] if given["document"] is None else [json.dumps(given["document"], sort_keys=True)]
        Display().display("\n".join(map(readable_line, lines)))
        return {**result, "changed": False}
