#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_gate
short_description: Say what a restore would lose, before anybody is asked
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Counts, by table, the rows of now that would not be there any more when a restored backup took the database's place,
    from the result of M(balcon.rollback.db_compare).
  - Where that cannot be told, it refuses unless O(accept_loss) says otherwise. Where rows would be lost and nobody can
    be asked, it refuses unless O(confirm) names the database.
  - It writes what it said into the journal of the run. M(balcon.rollback.db_access) closes no database for a restore
    without it.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.run
options:
  run_id:
    required: true
  database:
    description: The name of the database that would be replaced.
    type: str
    required: true
  source:
    description: What would take its place, for a person, a backup or the database of before a run.
    type: str
    required: true
  made_at:
    description: What that holds the state of, UTC ISO 8601.
    type: str
    default: ""
  compared:
    description: The tables that M(balcon.rollback.db_compare) returned; leave it out where they could not be compared.
    type: list
    elements: dict
  large_objects:
    description: What M(balcon.rollback.db_compare) returned of large objects.
    type: str
    default: ""
  problem:
    description: Why they could not be compared.
    type: str
    default: ""
  accept_loss:
    description: Go on although it cannot be told what would be lost. Set by a person who has decided.
    type: bool
    default: false
  confirm:
    description: The name of the database, given beforehand.
    type: str
    default: ""
  job_controller:
    description: The run was started by a job controller, where nobody can be asked.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Say what would be lost
  balcon.rollback.recovery_gate:
    database: shop
    source: backup {{ restore_backup.backup_id }}
    made_at: "{{ restore_backup.created_at }}"
    compared: "{{ restore_comparison.tables }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: gate
"""

RETURN = r"""
lost_since:
  description:
    - What would not be there any more. C(tables), each with C(name), C(rows) and C(changed); C(rows) and C(changed) in
      all; C(columns) that would be gone; C(unknown), what could not be compared; C(problem), C(source), C(made_at) and
      C(lines).
  returned: success
  type: dict
  sample: {"tables": [{"name": "public.orders", "rows": 12, "changed": 3}], "rows": 12, "changed": 3, "columns": [],
    "unknown": [],
    "problem": "", "source": "backup shop-20261123t081500a3f9", "made_at": "2026-11-23T08:15:00+00:00"}
lines:
  description: The same for a person, one line for each table.
  returned: success
  type: list
  elements: str
  sample: ["public.orders: 12 rows are not in backup shop-20261123t081500a3f9, 3 rows go back to older values"]
back_lines:
  description: What would be there again, one line for each table.
  returned: success
  type: list
  elements: str
  sample: ["public.orders: 7 rows that are not there now"]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.written import (
    back_lines,
    check_loss_may_be,
    lost_lines,
    lost_since,
)
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

OPTIONS = {
    "run_id": {"type": "str", "required": True},
    "database": {"type": "str", "required": True},
    "source": {"type": "str", "required": True},
    "made_at": {"type": "str", "default": ""},
    "compared": {"type": "list", "elements": "dict"},
    "large_objects": {"type": "str", "default": ""},
    "problem": {"type": "str", "default": ""},
    "accept_loss": {"type": "bool", "default": False},
    "confirm": {"type": "str", "default": ""},
    "job_controller": {"type": "bool", "default": False},
}


def work(module: AnsibleModule) -> dict[str, Any]:
    """Say it, and return the module's result."""
    params = module.params
    source = {name: params[name] for name in ("problem", "source", "made_at")}
    with module_step(module, "say what would be lost") as journal_data:
        lost = {**lost_since(params["compared"] or [], known=params["compared"] is not None), **source}
        if params["large_objects"] == "different":
            lost["unknown"].append("large objects")
        lost["lines"] = lost_lines(lost)
        journal_data.update(lost_since=lost, changed=False)
        asked = params["confirm"] or not params["job_controller"]
        check_loss_may_be(params["database"], lost, accepted=params["accept_loss"], asked=bool(asked))
    back = back_lines(params["compared"])
    return {"changed": False, "lost_since": lost, "lines": lost["lines"], "back_lines": back}


def main() -> None:
    """Run the module."""
    module = ArgumentSpec().merge(RUN, ArgumentSpec(OPTIONS)).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
