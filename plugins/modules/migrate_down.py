#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_down
short_description: Revert migrations on a database that a run has made
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Works on a candidate or a rehearsal of the run itself, told by the database's comment, and refuses every other
    database.
  - Before the first step the project's status command is run, and its session must be seen, by the server, in the
    intended database and in no other one. Each step must take exactly one name, the expected one, out of the state
    table. Neither exit code nor text of the tool is believed.
  - After each command its processes are ended, grandchildren included, and no session of them is left.
  - On a candidate the run must be in the state that allows it, and its lease is renewed meanwhile.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.engine
attributes:
  check_mode:
    support: full
    details:
      - No command of the project is run in check mode.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  run_id:
    required: true
  database:
    description: The database on that server. By default the candidate of the run.
    type: str
  plan:
    description: The migrations to revert, newest first, as M(balcon.rollback.migration_info) returns them.
    type: list
    elements: str
    required: true
  lock_timeout:
    description: Seconds that a statement of the tool waits for a lock before it fails.
    type: float
    default: 5.0
  step_timeout:
    description: Seconds that one command may take; after them it is ended, with everything that it started.
    type: float
    default: 600.0
  watch_urls:
    description:
      - URLs of databases that the tool must not reach, production's own during a rehearsal. Their state tables are read
        again after each step, and must not have changed.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Revert the plan on the candidate
  balcon.rollback.migrate_down:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: /var/lib/balcon-rollback
    phase: migrate_down
    plan: "{{ migrations.plan }}"
    engine_options:
      project_dir: /srv/shop/backend
      manifest: migration-manifest.json
    environment:
      NODE_ENV: production
      JWT_SECRET: "{{ vault_jwt_secret }}"
"""

RETURN = r"""
changed:
  description: Whether a migration was reverted.
  returned: success
  type: bool
  sample: true
database:
  description: The database that the tool worked on.
  returned: success
  type: str
  sample: shop__candidate_20261123t081500a3f9
reverted:
  description:
    - The steps, in their order. C(seconds) is the time of the command, C(exit_code) its exit code, C(output_tail) the
      end of its output, secrets taken out, C(ended_processes) the number of processes that it had left running.
    - In check mode, the steps that would be done.
  returned: success
  type: list
  elements: dict
  sample:
    - name: 20240107000000-add-project-priority.ts
      seconds: 0.84
      exit_code: 0
      output_tail: reverted 20240107000000-add-project-priority.ts
      ended_processes: 0
state_before:
  description: What the state table listed before, oldest first.
  returned: success
  type: list
  elements: str
  sample: [20240101000000-initial-schema.ts, 20240107000000-add-project-priority.ts]
state_after:
  description: What it lists now; in check mode, what it would list.
  returned: success
  type: list
  elements: str
  sample: [20240101000000-initial-schema.ts]
seconds:
  description: Time of the whole module, in seconds.
  returned: success
  type: float
  sample: 1.93
command_seconds:
  description: Time of the project's own commands within it, in seconds.
  returned: success
  type: float
  sample: 1.71
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.work import migrate_down
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENGINE, show_plain_values

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec().merge(
    DATABASE,
    RUN,
    ENGINE,
    ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "database": {"type": "str"},
            "plan": {"type": "list", "elements": "str", "required": True},
            "lock_timeout": {"type": "float", "default": 5.0},
            "step_timeout": {"type": "float", "default": 600.0},
            "watch_urls": {"type": "list", "elements": "str", "no_log": True},
        }
    ),
)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Run the tool, step by step."""
    show_plain_values(module, module.params["environment"])
    with module_step(module, "revert the plan") as journal:
        result = migrate_down(module.params, journal, check_mode=module.check_mode)
    diff = {name: "".join(f"{line}\n" for line in result[f"state_{name}"]) for name in ("before", "after")}
    return {**result, "diff": diff}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: in_dialect(module, "migrate_down", work))


if __name__ == "__main__":
    main()
