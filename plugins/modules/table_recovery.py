#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: table_recovery
short_description: Put the rows of single tables back from a backup
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Restores the named tables from a backup of M(balcon.rollback.db_backup) into a scratch database beside the live one,
    proves that they are what was backed up, and says which rows are missing, changed or extra in the live tables.
  - With O(mode=insert_missing) or O(mode=replace) the rows are put back in one transaction, all tables or none. Other
    writers wait at these tables meanwhile; readers do not. Foreign keys are checked, triggers of the tables do not
    fire, identity columns keep their numbers, generated columns are computed, sequences are only ever set on.
  - Before it commits, it is proven that the tables hold what they should, and that no row of any other table was
    touched. Rows that are overwritten were kept in a file before, which was read again.
  - A table that is gone comes back with its rows, constraints, indexes, triggers, owner and privileges, and with the
    foreign keys of other tables that referred to it.
  - A value that would be left behind or cut is a reason to refuse. The module does not ask; whoever calls it does.
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
    details:
      - Nothing is made, so that it is said which tables differ, but not in how many rows.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  backup:
    description: The backup's name in O(backup_dir), or the path of its folder. Needed but with O(mode=clean_up).
    type: str
  backup_dir:
    description: Where backups are kept; by default the folder C(backups) of O(state_dir).
    type: path
  tables:
    description:
      - The tables. One without a schema is one of C(public); a partitioned table stands for its partitions.
    type: list
    elements: str
    default: []
  mode:
    description:
      - V(compare) changes nothing but makes the scratch database. V(insert_missing) inserts rows that only the backup
        has. V(replace) also gives changed rows their values back, and deletes rows that the backup does not have.
      - V(clean_up) drops the scratch database that an earlier call left with O(keep_scratch).
    type: str
    choices: [compare, insert_missing, replace, clean_up]
    default: compare
  keep_scratch:
    description: Leave the scratch database for the next call of the same run, which is faster then.
    type: bool
    default: false
  keep_dir:
    description: Where rows that are overwritten are kept; by default the folder C(kept) of the run.
    type: path
  other_server:
    description: Take a backup that was made of a database of that name on another server, which this one replaced.
    type: bool
    default: false
  jobs:
    description: Sessions that restore and read at the same time.
    type: int
    default: 2
  deadline:
    description: Seconds for each C(pg_restore).
    type: float
    default: 14400
  signing_key:
    description: With it, the backup's manifest must be signed by it.
    type: str
  client_path:
    description: Folders to look for C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
seealso:
  - module: balcon.rollback.db_backup
  - module: balcon.rollback.db_compare
"""

EXAMPLES = r"""
- name: Which rows of users are not as in last night's backup?
  balcon.rollback.table_recovery:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: restore
    backup: shop-20261123t081500a3f9
    tables: [users]
    keep_scratch: true
  register: rollback_table_difference

- name: Put them back
  balcon.rollback.table_recovery:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: restore
    backup: shop-20261123t081500a3f9
    tables: [users]
    mode: replace
"""

RETURN = r"""
tables:
  description:
    - With O(mode=compare), one entry for each table as M(balcon.rollback.db_compare) returns it, C(missing) being the
      rows that only the backup has. Otherwise C(name), and C(inserted), C(updated) and C(deleted) rows.
  returned: success, but with O(mode=clean_up)
  type: list
  elements: dict
  sample: [{"name": "public.users", "inserted": 3, "updated": 1, "deleted": 0}]
kept:
  description:
    - Files with the rows that were overwritten, and what psql is given to load them. Where rows of the same key are
      there, they are loaded into a temporary table, to be merged by a person.
  returned: when rows were written
  type: list
  elements: dict
  sample:
    - table: public.users
      path: /var/lib/balcon-rollback/runs/20261123t081500a3f9/kept/9f86d081884c-5e2b90d1.copy
      rows: 1
      sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      put_back: \copy public.users (id, email) FROM '…/9f86d081884c-5e2b90d1.copy'
triggers_off:
  description: Triggers that were switched off while rows were written, and on again.
  returned: when rows were written
  type: list
  elements: str
  sample: [touch of users]
sequences_set:
  description: Sequences that were behind their columns and were set on.
  returned: when rows were written
  type: list
  elements: str
  sample: [public.users_id_seq]
left_out:
  description: What of a table that was gone could not be as it was, one line each.
  returned: when rows were written
  type: list
  elements: str
  sample: []
lines:
  description: The result as text for a person.
  returned: success
  type: list
  elements: str
  sample: ["users: 3 rows inserted, 1 changed back, 0 deleted"]
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import backups_folder, run_id_or_new
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import find_backup
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.table_recovery import (
    Wanted,
    foresee,
    plan_recovery,
    recover,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.table_scratch import drop_scratch
from ansible_collections.balcon.rollback.plugins.module_utils._domain.recovered_tables import WRITING
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "backup": {"type": "str"},
        "backup_dir": {"type": "path"},
        "tables": {"type": "list", "elements": "str", "default": []},
        "mode": {
            "type": "str",
            "choices": ["compare", "insert_missing", "replace", "clean_up"],
            "default": "compare",
        },
        "keep_scratch": {"type": "bool", "default": False},
        "keep_dir": {"type": "path"},
        "other_server": {"type": "bool", "default": False},
        "jobs": {"type": "int", "default": 2},
        "deadline": {"type": "float", "default": 14400},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
    },
    required_if=[("mode", mode, ("backup",)) for mode in ("compare", "insert_missing", "replace")],
)

OPTIONS = ("tables", "mode", "keep_scratch", "other_server", "jobs", "deadline", "signing_key", "client_path")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    run_id = run_id_or_new(params)
    keep_dir = Path(params["keep_dir"]) if params["keep_dir"] else None
    if params["run_id"] and not keep_dir:
        keep_dir = Run(params["state_dir"], run_id).folder / "kept"
    wanted = Wanted(run_id, keep_dir=keep_dir, **{name: params[name] for name in OPTIONS})
    with module_step(module, f"recover tables of {server.database}: {wanted.mode}") as journal_data:
        if wanted.mode == "clean_up":
            dropped = not module.check_mode and drop_scratch(server, run_id)
            journal_data.update(changed=dropped)
            return {"changed": dropped, "lines": ["The scratch database was dropped."] if dropped else []}
        given = params["backup_dir"] or params["state_dir"]
        path = find_backup(params["backup"], backups_folder(params, create=False) if given else None)
        plan = plan_recovery(server, path, wanted)
        result = foresee(server, plan, wanted) if module.check_mode else recover(server, plan, wanted)
        journal_data.update(changed=result["changed"], backup_id=plan.manifest["backup_id"], recovered=result)
        if wanted.mode in WRITING:
            journal_data["finished"] = True
    return result


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
