# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specifications that compose: options and the rules between them travel together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._domain.run_states import PHASES

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


class ArgumentSpec:
    """Options of a module together with the rules between them.

    Args:
        options: as AnsibleModule's C(argument_spec).
        rules: C(required_if), C(mutually_exclusive), C(required_together), C(required_one_of), C(required_by).
    """

    def __init__(self, options: dict[str, Any] | None = None, **rules: Any) -> None:
        self.options = options or {}
        self.rules = rules

    def merge(self, *others: ArgumentSpec) -> ArgumentSpec:
        """Return a specification with the options and rules of all."""
        merged = ArgumentSpec(dict(self.options), **self.rules)
        for other in others:
            merged.options.update(other.options)
            for name, rule in other.rules.items():
                merged.rules[name] = _joined(merged.rules.get(name), rule)
        return merged

    def create_module(self, *, supports_check_mode: bool = True) -> AnsibleModule:
        """Create the AnsibleModule; this reads the arguments and may end the process."""
        from ansible.module_utils.basic import AnsibleModule

        return AnsibleModule(argument_spec=self.options, supports_check_mode=supports_check_mode, **self.rules)


def _joined(first: Any, second: Any) -> Any:
    """Join two rules of one name: C(required_by) is a dictionary, the others are lists."""
    if isinstance(second, dict):
        return {**(first or {}), **second}
    return [*(first or []), *second]


DATABASE = ArgumentSpec(
    {
        "database_url": {"type": "str", "required": True, "no_log": True},
        "admin_url": {"type": "str", "no_log": True},
        "project_dir": {"type": "path"},
    }
)

RUN = ArgumentSpec(
    {
        "run_id": {"type": "str"},
        "state_dir": {"type": "path"},
        "phase": {"type": "str", "choices": list(PHASES)},
    },
    required_together=[("run_id", "state_dir", "phase")],
)
