#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: unfinished_run
short_description: See whether a run was left unfinished on a database, and finish it
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - The databases describe themselves, by their names, their comments and by letting anybody in or not. That is enough
    to finish a run whose controller, host or state folder is gone.
  - Before its swap, the original is opened again as soon as the lease has run out.
  - After it, a run whose release is on record is ended with what it brought. Where none is on record, the database of
    before it is swapped back when nothing was written since, and otherwise everything stays as it is, open, and a
    person is asked.
  - A run that may still be at work is let alone.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
    details:
      - What would have to be finished first is refused.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description:
      - V(checked) changes nothing, and says what would be done.
      - V(finished) does it. It fails where a person has to decide, where a run is at work, and, having finished it,
        where the database is another one now, swapped back, or with what the run brought.
    type: str
    choices: [checked, finished]
    required: true
  refuse:
    description: With O(state=checked), fail where any run is open.
    type: bool
    default: false
  signing_key:
    description: The key with which the dump of a run in place was signed.
    type: str
  client_path:
    description: Folders to look for C(pg_restore) in, before C(PATH), where a run in place is brought back.
    type: list
    elements: path
    default: []
  maintenance:
    description:
      - How maintenance mode is turned off after the run was finished. Without it, it stays as it is.
      - The options of M(balcon.rollback.maintenance_mode), but for O(balcon.rollback.maintenance_mode#module:state).
    type: dict
  command:
    description: What a person types for every way on, before its own extra variables.
    type: str
    default: ansible-playbook restore.yml -e env=production
seealso:
  - module: balcon.rollback.db_access
  - module: balcon.rollback.db_swap
"""

EXAMPLES = r"""
- name: Finish what an earlier run left
  balcon.rollback.unfinished_run:
    state: finished
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: preflight
"""

RETURN = r"""
decision:
  description:
    - What is to be done, or was done, V(nothing), V(wait), V(open_original), V(restore_dump), V(swap_back),
      V(go_forward) or V(ask).
  returned: success
  type: str
  sample: open_original
open_run:
  description: The run that was open; empty where none was.
  returned: success
  type: str
  sample: 20261123t081500a3f9
stopped:
  description: Since when that run was stopping the newer release; empty where it was not, so that the release runs.
  returned: success
  type: str
  sample: "2026-11-23T08:17:00.000+00:00"
lines:
  description: What is there, why, and what to type, for a person.
  returned: success
  type: list
  elements: str
  sample: ["No run is open on shop.", "Nothing needs to be done."]
maintenance:
  description: What became of maintenance mode.
  returned: success
  type: str
  sample: left as it was
no_keeper:
  description: Why a keeper that is started on this host would end with the job; empty where it outlives it.
  returned: success
  type: str
  sample: ""
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import show_maintenance
from ansible_collections.balcon.rollback.plugins.module_utils._unfinished import check_unfinished, finish_unfinished

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "required": True, "choices": ["checked", "finished"]},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
        "refuse": {"type": "bool", "default": False},
        "maintenance": {"type": "dict", "no_log": True},
        "command": {"type": "str", "default": "ansible-playbook restore.yml -e env=production"},
    }
).merge(DATABASE, RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look, or finish, and return the module's result."""
    show_maintenance(module, module.params["maintenance"])
    if module.params["state"] == "finished" and not module.check_mode:
        return finish_unfinished(module)
    with module_step(module, "look for a run that nobody ended") as journal_data:
        return check_unfinished(module, journal_data)


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: in_dialect(module, "unfinished_run", work))


if __name__ == "__main__":
    main()
