# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that turns the collection's exceptions into what Ansible prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ._domain.errors import Failed, RollbackError
from ._domain.readable import readable
from ._driver import DATABASE_ERROR

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def run_module(module: AnsibleModule, function: Callable[[], Mapping[str, Any]]) -> None:
    """Run a module's work and end the module with its result, or with a message that a person can act on."""
    try:
        result = function()
    except RollbackError as error:
        module.fail_json(msg=readable(error.text()), error=error.as_dict())
    except DATABASE_ERROR as error:
        unexpected = Failed(
            f"PostgreSQL said: {str(error).strip()}",
            remedy="Nothing in this step is tried again by itself. Read the message, then the journal of the run.",
        )
        module.fail_json(msg=readable(unexpected.text()), error=unexpected.as_dict())
    module.exit_json(**result)
