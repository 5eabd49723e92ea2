#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: Read the state of migrations and make the plan
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads what is applied from the state table, in a read-only transaction; no command of the project is run.
  - Makes the plan, the migrations to revert, newest first, and lists everything that forbids it. These are an applied
    migration whose file is not on disk, a file that differs from the manifest, and a C(down) that is missing or empty.
  - Migration files are parsed by the package C(typescript) of the project's own C(node_modules), and not run. Where
    there is none, the result is RV(migrations) with C(down=not_proven).
  - With O(expect_applied) or O(expect_reverted), and neither O(steps) nor O(target), only the state is looked at.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.engine
attributes:
  check_mode: {}
  diff_mode: {}
  idempotent: {}
options:
  database:
    description: The database on that server whose state is read; by default the one of O(database_url).
    type: str
  steps:
    description: How many migrations to revert, a whole number from 1. The default is 1, where no O(target) is given.
    type: str
  target:
    description: The last migration that stays, named as in the state table.
    type: str
  expect_applied:
    description: The migrations that must be applied, all of them, in any order.
    type: list
    elements: str
  expect_reverted:
    description: Migrations that must not be applied.
    type: list
    elements: str
    default: []
  refuse:
    description: Fail with all problems in one message.
    type: bool
    default: false
seealso:
  - module: balcon.rollback.migrate_down
"""

EXAMPLES = r"""
- name: Make the plan, and refuse when something forbids it
  balcon.rollback.migration_info:
    database_url: "{{ rollback_database_url }}"
    engine_options:
      project_dir: /srv/shop/backend
      manifest: migration-manifest.json
    steps: 2
    refuse: true
  register: migrations

- name: See after the restart that the database is still rolled back
  balcon.rollback.migration_info:
    database_url: "{{ rollback_database_url }}"
    engine_options:
      project_dir: /srv/shop/backend
      manifest: migration-manifest.json
    expect_reverted: "{{ migrations.plan }}"
    refuse: true
"""

RETURN = r"""
applied:
  description: What the state table lists, oldest first.
  returned: success
  type: list
  elements: str
  sample: [20240101000000-initial-schema.ts, 20240102000000-add-user-fields.ts]
available:
  description: The migrations on disk, in their order.
  returned: success
  type: list
  elements: str
  sample: [20240101000000-initial-schema.ts, 20240102000000-add-user-fields.ts]
pending:
  description: What is on disk and not applied.
  returned: success
  type: list
  elements: str
  sample: []
plan:
  description: The migrations to revert, newest first; empty when only the state was asked for, or no plan is possible.
  returned: success
  type: list
  elements: str
  sample: [20240102000000-add-user-fields.ts]
plan_id:
  description: Names the plan by its content, the names, their order and the SHA-256 of their files.
  returned: success
  type: str
  sample: 3f2a90c1d4e5b677
migrations:
  description:
    - What is known of each migration that is applied or on disk, by name.
    - C(down) is V(proven), V(missing), V(empty) or V(not_proven) for the migrations of the plan, and empty for others.
    - C(manifest_ok) is null where there is no manifest.
  returned: success
  type: dict
  sample:
    20240102000000-add-user-fields.ts:
      file: /srv/shop/backend/migrations/20240102000000-add-user-fields.ts
      sha256: 0f5c1b7e
      manifest_sha256: 0f5c1b7e
      on_disk: true
      manifest_ok: true
      down: proven
      reason: it has a body that calls something
problems:
  description: Everything that forbids the plan, or differs from what is expected, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
unproven:
  description: What could not be proven of the plan, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
state_table:
  description: Where the state was read, and how many rows it has.
  returned: success
  type: dict
  sample: {"schema": public, "table": migrations_meta, "name_column": name, "rows": 2}
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._migrations import make_engine
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.reading import (
    read_migrations,
    refuse_problems,
)
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENGINE, show_plain_values

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "database": {"type": "str"},
        "steps": {"type": "str"},
        "target": {"type": "str"},
        "expect_applied": {"type": "list", "elements": "str"},
        "expect_reverted": {"type": "list", "elements": "str", "default": []},
        "refuse": {"type": "bool", "default": False},
    }
).merge(DATABASE, RUN, ENGINE)

WISHES = ("steps", "target", "expect_applied", "expect_reverted")


def read(module: AnsibleModule) -> dict[str, Any]:
    """Read the state and make the plan."""
    params = module.params
    show_plain_values(module, params["environment"])
    with module_step(module, "read the state of the migrations") as journal:
        journal["changed"] = False
        engine = make_engine(params["engine"], params["engine_options"])
        applied = engine.state_table.read(Server(params["database_url"], params["admin_url"]), params["database"])
        result = read_migrations(engine, applied, **{name: params[name] for name in WISHES})
        journal.update({name: result[name] for name in ("applied", "plan", "plan_id", "problems", "unproven")})
        if params["refuse"]:
            refuse_problems(result["problems"])
    return {"changed": False, **result}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: in_dialect(module, "migration_info", read))


if __name__ == "__main__":
    main()
