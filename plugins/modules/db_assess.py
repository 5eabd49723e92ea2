#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_assess
short_description: Say what is damaged in a database, and what differs from a backup
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads every row of every table, so that damaged pages show, and compares with the fingerprint of a backup.
  - Looks for rows without the parent that their foreign key demands, sequences behind their columns, and indexes that
    are not valid. Where the extension C(amcheck) is in the database and may be used, it checks indexes and heaps with
    it; where it is not, RV(checks) says so.
  - One damaged table does not keep the others from being looked at. What the role may not read is said, never hidden.
  - It takes about as long as a dump of the data.
extends_documentation_fragment:
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
options:
  database:
    description: The name of the database on its server; by default the one in O(database_url). It must be open.
    type: str
  backup:
    description:
      - A backup to compare with, by its name in O(backup_dir) or the path of its folder. Only its manifest is read.
      - A backup of a database of another name is refused.
    type: str
  backup_dir:
    description: Where backups are kept; by default the folder C(backups) of O(state_dir).
    type: path
  signing_key:
    description: With it, the backup's manifest must be signed by it.
    type: str
  budget_bytes:
    description:
      - Read the contents of so many bytes of tables at most, the smallest tables first; of the others the rows are
        counted, and C(amcheck) looks at the structure of their indexes only.
      - Without it, everything is read.
    type: int
  jobs:
    description: Sessions that read at the same time.
    type: int
    default: 2
seealso:
  - module: balcon.rollback.db_compare
  - module: balcon.rollback.db_fingerprint
"""

EXAMPLES = r"""
- name: Assess the damage, against last night's backup
  balcon.rollback.db_assess:
    database_url: "{{ rollback_database_url }}"
    state_dir: "{{ rollback_state_dir }}"
    run_id: "{{ rollback_run_id }}"
    phase: restore
    backup: shop-20261123t081500a3f9

- name: Is this restored copy sound?
  balcon.rollback.db_assess:
    database_url: "{{ rollback_database_url }}"
    database: "{{ rollback_restored.name }}"
  register: rollback_assessment
  failed_when: not rollback_assessment.clean
"""

RETURN = r"""
database:
  description: The database that was assessed.
  returned: success
  type: str
  sample: shop
clean:
  description: Whether nothing is broken.
  returned: success
  type: bool
  sample: false
findings:
  description:
    - What was found. C(severity) is V(broken) where data is damaged or contradicts itself, V(suspect) where a person
      should look, V(note) where it only differs from the backup. C(rows) is how many rows, or null.
  returned: success
  type: list
  elements: dict
  sample:
    - check: foreign keys
      severity: broken
      object: public.orders
      message: "orders: 3 rows have no parent in users, although the foreign key orders_user_id_fkey says so."
      rows: 3
tables:
  description:
    - By table C(rows) now (null where it cannot be read) and C(rows_then) in the backup, C(live) and C(dead) rows by
      the server's statistics, and C(contents), V(same), V(different), V(new), V(gone) or V(not compared).
  returned: success
  type: list
  elements: dict
  sample: [{"name": "public.users", "rows": 2, "rows_then": 2, "live": 2, "dead": 0, "contents": "same"}]
checks:
  description: What was looked at. C(done) is false where something was left out, and C(reason) says why.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "amcheck", "done": false, "reason": "the extension is not in this database"}]
backup_id:
  description: The backup that it was compared with, or null.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
lines:
  description: The assessment as text for a person, the gravest first.
  returned: success
  type: list
  elements: str
  sample: ["shop: nothing is broken, 0 to look at, 1 to note."]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import backups_folder
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.assess import assess_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import (
    find_backup,
    read_manifest,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._domain.manifest import check_database
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "database": {"type": "str"},
        "backup": {"type": "str"},
        "backup_dir": {"type": "path"},
        "signing_key": {"type": "str", "no_log": True},
        "budget_bytes": {"type": "int"},
        "jobs": {"type": "int", "default": 2},
    },
)


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    database = params["database"] or server.database
    with module_step(module, f"assess {database}") as journal_data:
        manifest = None
        if params["backup"]:
            given = params["backup_dir"] or params["state_dir"]
            path = find_backup(params["backup"], backups_folder(params, create=False) if given else None)
            manifest = read_manifest(path, params["signing_key"])
            check_database(manifest, server.database)
        then = manifest["fingerprint"] if manifest else None
        result = assess_database(server, database, then=then, budget_bytes=params["budget_bytes"], jobs=params["jobs"])
        noted = {name: result[name] for name in ("clean", "findings", "checks")}
        journal_data.update(changed=False, database=database, assessment=noted)
    backup_id = manifest["backup_id"] if manifest else None
    return {"changed": False, "database": database, "backup_id": backup_id, **result}


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
