#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_restore
short_description: Restore a backup into a new database, and prove it
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Restores a backup of M(balcon.rollback.db_backup) into a new database, never over one that is there.
  - Before anything is made, every file is proven to be as it was written, no file may be missing or extra, and the
    server must be new enough. Afterwards catalogue, rows and contents must be those of the manifest.
  - The database then gets owner, privileges, settings, limits and comment of the original. When anything fails, it is
    dropped again.
  - Only a role that is superuser, or a member of all roles that own something, can give everything back its owner. What
    had to be left out is in RV(left_out).
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
    details:
      - The backup is proven as far as it can be without a database.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - A database of that name that was restored from this backup completely stays as it is; any other is refused.
options:
  backup:
    description: The backup's name, in O(backup_dir), or the path of its folder.
    type: str
    required: true
  backup_dir:
    description: Where backups are kept; by default the folder C(backups) of O(state_dir).
    type: path
  name:
    description: The new database; by default made of the original's name, C(restored) and the run.
    type: str
  jobs:
    description: Sessions that restore and read at the same time.
    type: int
    default: 2
  deadline:
    description: Seconds for the restore, which is ended after them; it would wait for locks for ever.
    type: float
    default: 14400
  signing_key:
    description: With it, the manifest must be signed by it; an unsigned backup is refused.
    type: str
  client_path:
    description: Folders to look for C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
seealso:
  - module: balcon.rollback.db_backup
"""

EXAMPLES = r"""
- name: Restore last night's backup beside production
  balcon.rollback.db_restore:
    database_url: "{{ rollback_database_url }}"
    state_dir: "{{ rollback_state_dir }}"
    run_id: "{{ rollback_run_id }}"
    phase: restore
    backup: shop-20261123t081500a3f9
"""

RETURN = r"""
name:
  description: The restored database.
  returned: success
  type: str
  sample: shop__restored_20261123t081500a3f9
backup_id:
  description: The backup that it is from.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
seconds:
  description: How long it took, with all proofs, in seconds.
  returned: success
  type: float
  sample: 31.5
verified:
  description:
    - Whether the database was compared with the manifest, catalogue, rows and contents, and is equal.
    - False in check mode.
  returned: success
  type: bool
  sample: true
rows_total:
  description: Number of rows in all tables.
  returned: success
  type: int
  sample: 200000
tables:
  description: Number of tables.
  returned: success
  type: int
  sample: 12
signature:
  description:
    - V(good) when it was checked, V(not checked) without O(signing_key), V(none) for an unsigned manifest.
  returned: success
  type: str
  sample: good
restore_seconds:
  description: How long C(pg_restore) took of it, in seconds.
  returned: when the backup was restored now
  type: float
  sample: 9.1
left_out:
  description: What could not be as it was, one line each, owners that are not there for example.
  returned: success
  type: list
  elements: str
  sample: []
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import backups_folder, run_id_or_new
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import find_backup
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup_restore import (
    Wanted,
    plan_restore,
    restore_backup,
    summary,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "backup": {"type": "str", "required": True},
        "backup_dir": {"type": "path"},
        "name": {"type": "str"},
        "jobs": {"type": "int", "default": 2},
        "deadline": {"type": "float", "default": 14400},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
    },
)

OPTIONS = ("name", "jobs", "deadline", "signing_key", "client_path")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    wanted = Wanted(run_id_or_new(params), **{name: params[name] for name in OPTIONS})
    start = time.monotonic()
    with module_step(module, f"restore backup {params['backup']}") as journal_data:
        given = params["backup_dir"] or params["state_dir"]
        path = find_backup(params["backup"], backups_folder(params, create=False) if given else None)
        plan = plan_restore(server, path, wanted)
        restored = None
        if not module.check_mode and not plan.present:
            restored = restore_backup(server, plan, wanted)
        result = {
            **summary(plan, wanted),
            "verified": plan.present or not module.check_mode,
            "left_out": restored.left_out if restored else [],
            **({"restore_seconds": restored.seconds} if restored else {}),
            "seconds": round(time.monotonic() - start, 3),
            "changed": not plan.present,
        }
        journal_data.update(result)
    return result


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: in_dialect(module, "db_restore", work))


if __name__ == "__main__":
    main()
