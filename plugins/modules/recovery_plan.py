#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_plan
short_description: Say what can be done after something went wrong, and check what was asked for
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads what M(balcon.rollback.rollback_status) saw, and says what can be done, what each way costs, and what to type.
  - What was asked for is held against it. A run that is still at work, a backup that is not there, or two ways at once
    are refused.
  - It only reads.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.run
options:
  status:
    description: What M(balcon.rollback.rollback_status) returned.
    type: dict
    required: true
  command:
    description: What is typed for every way, before its own extra variables.
    type: str
    default: ansible-playbook restore.yml -e env=production
  run:
    description: The run to go back from, or to finish.
    type: str
  backup:
    description: The backup to restore, by its name.
    type: str
  to:
    description:
      - V(latest_good) is the newest backup that is proven good; V(before_rollback) the newest one with the schema of
        before the rollback, as it was rehearsed.
    type: str
  tables:
    description: The tables to recover.
    type: list
    elements: str
    default: []
  accept_loss:
    description: Go back although rows were written since.
    type: bool
    default: false
  keep_written:
    description: With O(run), keep what is there now, and end the run.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: What is there
  balcon.rollback.rollback_status:
    database_url: "{{ rollback_database_url }}"
    state_dir: "{{ rollback_state_dir }}"
  register: rollback_status

- name: What can be done
  balcon.rollback.recovery_plan:
    status: "{{ rollback_status }}"
"""

RETURN = r"""
way:
  description: What was asked for, V(look), V(run), V(backup) or V(tables).
  returned: success
  type: str
  sample: backup
decision:
  description: With O(run), V(open_original), V(swap_back) or V(finish); otherwise empty.
  returned: success
  type: str
  sample: swap_back
run_id:
  description: The run to undo or to finish; otherwise empty.
  returned: success
  type: str
  sample: 20261123t081500a3f9
backup:
  description: The backup to restore; empty for the newest one that is good.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
lines:
  description: What will be done, for a person.
  returned: success
  type: list
  elements: str
  sample: ["Open the original again, as it is. Nothing is lost."]
advice:
  description: What can be done now, one line each with the command to type, the first choice first.
  returned: success
  type: list
  elements: str
  sample: ["The database is open and no run is open on it. If the application works, nothing needs to be done."]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.recovery import Request, advise, choose
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "status": {"type": "dict", "required": True},
        "command": {"type": "str", "default": "ansible-playbook restore.yml -e env=production"},
        "run": {"type": "str"},
        "backup": {"type": "str"},
        "to": {"type": "str"},
        "tables": {"type": "list", "elements": "str", "default": []},
        "accept_loss": {"type": "bool", "default": False},
        "keep_written": {"type": "bool", "default": False},
    }
).merge(RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Choose, and return the module's result."""
    params = module.params
    texts: dict[str, Any] = {name: params[name] or "" for name in ("run", "backup", "to")}
    switches: dict[str, Any] = {name: params[name] for name in ("accept_loss", "keep_written")}
    request = Request(**texts, **switches, tables=tuple(params["tables"]))
    with module_step(module, "choose the way back") as journal_data:
        plan = choose(params["status"], request, params["command"])
        journal_data.update(plan._asdict(), changed=False)
    return {"changed": False, **plan._asdict(), "advice": advise(params["status"], params["command"])}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
