#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_copy
short_description: Copy a database to another server, and prove the copy
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Dumps the source in parallel, without closing it, restores the dump into a new database on the target's server, and
    compares catalogue, rows and contents with those of the dump's own snapshot.
  - The source is only read. A copy that fails is dropped again, and so is the dump, always.
  - The copy says in its comment which run made it and that it can be dropped. Nobody but its owner, and roles that the
    source names one by one, gets in. Publications, subscriptions and tablespaces stay behind.
  - Owners and privileges are given as far as the target has the roles; what was left out is in RV(left_out).
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - A complete copy of the same source by the same run stays as it is; any other database of that name is refused.
options:
  source_url:
    description: The URL of the database to copy.
    type: str
    required: true
  source_admin_url:
    description: The direct way to the source's server, past a connection pooler.
    type: str
  name:
    description:
      - The new database, on the server of O(database_url). By default made of the name in O(database_url),
        C(rehearsal) and the run.
    type: str
  work_dir:
    description:
      - Where the dump lies meanwhile, in a folder of its own with mode 0700 that is removed at the end. By default the
        run's folder.
    type: path
  jobs:
    description: Sessions that dump, restore and read at the same time.
    type: int
    default: 2
  deadline:
    description: Seconds for the dump, and for the restore. What takes longer is ended.
    type: float
    default: 14400
  masking_sql:
    description:
      - An SQL file on the host that is run on the copy, in one transaction, after it was compared with the source.
      - When it fails, the copy is dropped.
    type: path
  save_as:
    description:
      - A path relative to the run's folder; the source's fingerprint is written there, readable by its owner only.
      - Without O(run_id), an absolute path.
    type: str
  client_path:
    description: Folders to look for C(pg_dump) and C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
seealso:
  - module: balcon.rollback.db_clone
  - module: balcon.rollback.db_fingerprint
"""

EXAMPLES = r"""
- name: Copy production beside staging's database
  balcon.rollback.db_copy:
    database_url: "{{ rollback_database_url }}"
    source_url: "{{ hostvars[rollback_source].rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: rehearse
    save_as: production.json
  register: rollback_copy
"""

RETURN = r"""
name:
  description: The copy.
  returned: success
  type: str
  sample: shop__rehearsal_20261123t081500a3f9
bytes:
  description: The copy's size in bytes.
  returned: when a copy was made
  type: int
  sample: 209715200
rows_total:
  description: Number of rows in all tables.
  returned: when a copy was made
  type: int
  sample: 200000
seconds:
  description: How long it took, with the comparison, in seconds.
  returned: when a copy was made
  type: float
  sample: 15.3
dump_seconds:
  description: How long the dump took, and reading the source beside it, in seconds.
  returned: when a copy was made
  type: float
  sample: 3.1
restore_seconds:
  description: How long the restore and the comparison took, in seconds.
  returned: when a copy was made
  type: float
  sample: 12.2
source_fingerprint:
  description:
    - What the source held in the dump's snapshot, without the catalogue itself, which is in the file of O(save_as). See
      M(balcon.rollback.db_fingerprint).
  returned: when a copy was made
  type: dict
  sample: {"catalogue_hash": "9f86d081884c7d65", "tables": {"public.users": {"rows": 1000}}}
path:
  description: Where the source's fingerprint was written.
  returned: when O(save_as) is given
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9/production.json
verified:
  description: Whether the copy was compared with the source, and is equal. False in check mode.
  returned: success
  type: bool
  sample: true
left_out:
  description: What could not be as in the source, one line each.
  returned: when a copy was made
  type: list
  elements: str
  sample: ["objects of role shop_owner now belong to the role that restored them"]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import run_id_or_new, work_folder
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.copy import (
    Wanted,
    copy_database,
    plan_copy,
    summary,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fresh_database import drop_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.masking import mask, read_masking
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import path_in_run, save_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "source_url": {"type": "str", "required": True, "no_log": True},
        "source_admin_url": {"type": "str", "no_log": True},
        "name": {"type": "str"},
        "work_dir": {"type": "path"},
        "jobs": {"type": "int", "default": 2},
        "deadline": {"type": "float", "default": 14400},
        "masking_sql": {"type": "path"},
        "save_as": {"type": "str"},
        "client_path": {"type": "list", "elements": "path", "default": []},
    },
    required_one_of=[("work_dir", "run_id")],
)

OPTIONS = ("jobs", "deadline", "client_path")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    source = Server(params["source_url"], params["source_admin_url"])
    target = Server(params["database_url"], params["admin_url"])
    run_id = run_id_or_new(params)
    name = params["name"] or derived_name(target.database, "rehearsal", run_id)
    path = path_in_run(params, params["save_as"]) if params["save_as"] else None
    masking = read_masking(params["masking_sql"]) if params["masking_sql"] else None
    wanted = Wanted(run_id, name, work_folder(params), **{option: params[option] for option in OPTIONS})
    with module_step(module, f"copy {source.database} to {name}") as journal_data:
        plan = plan_copy(source, target, wanted)
        result: dict[str, Any] = {"name": name, "changed": not plan.present, "verified": plan.present}
        if not module.check_mode and not plan.present:
            copied = copy_database(source, target, plan, wanted)
            if masking:
                _mask(target, name, masking)
            if path:
                save_json(path, copied.source)
            result.update(summary(copied), verified=True)
        journal_data.update({key: value for key, value in result.items() if key != "source_fingerprint"})
    return {**result, **({"path": str(path)} if path else {})}


def _mask(target: Server, name: str, statements: str) -> None:
    try:
        mask(target, name, statements)
    except BaseException:
        drop_database(target, name)
        raise


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: in_dialect(module, "db_copy", work))


if __name__ == "__main__":
    main()
