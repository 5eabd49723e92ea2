#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: good_backup
short_description: Find the newest backup that is good, by restoring it beside
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Looks at the backups of a database, the newest first. Each is proven by its manifest, byte by byte, restored into
    C(<database>__restored_<run>), compared with the fingerprint of its manifest, and looked through for damage that was
    in the database already when it was made.
  - The first one that is sound stays, closed to others, for M(balcon.rollback.db_swap) with
    O(balcon.rollback.db_swap#module:state=restored). Each one that is not is named with the reason, and dropped.
  - Backups of another database or of another server do not count.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
    details:
      - Backups are proven as far as they can be without restoring them.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  run_id:
    required: true
  backup:
    description: Only this backup, by its name.
    type: str
  before_rollback:
    description:
      - Only a backup with the schema that production had when a rollback of it was rehearsed, by the newest evidence in
        O(state_dir).
    type: bool
    default: false
  any_server:
    description: Also a backup that was made on another server, the predecessor of this one for example.
    type: bool
    default: false
  backup_dir:
    description: Where backups are kept. By default the folder C(backups) of O(state_dir).
    type: path
  jobs:
    description: Sessions that restore and read at the same time.
    type: int
    default: 2
  deadline:
    description: Seconds for each restore.
    type: float
    default: 14400
  signing_key:
    description: With it, manifests must be signed by it, and evidence too.
    type: str
  client_path:
    description: Folders to look for C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
seealso:
  - module: balcon.rollback.db_restore
  - module: balcon.rollback.rollback_status
"""

EXAMPLES = r"""
- name: The newest good backup, restored beside production
  balcon.rollback.good_backup:
    database_url: "{{ rollback_database_url }}"
    state_dir: "{{ rollback_state_dir }}"
    run_id: "{{ rollback_run_id }}"
    phase: restore
"""

RETURN = r"""
backup_id:
  description: The backup that is good.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
path:
  description: Its folder.
  returned: success
  type: str
  sample: /var/lib/balcon-rollback/backups/shop-20261123t081500a3f9
created_at:
  description: When it was made, UTC ISO 8601.
  returned: success
  type: str
  sample: "2026-11-23T08:15:00+00:00"
name:
  description: The database that it was restored into.
  returned: success
  type: str
  sample: shop__restored_20261123t091500b4e8
verified:
  description: It was restored, and is equal to its fingerprint; false in check mode.
  returned: success
  type: bool
  sample: true
rejected:
  description: The newer backups that are not good, each with C(backup_id), C(created_at) and C(reason).
  returned: success
  type: list
  elements: dict
  sample: [{"backup_id": "shop-20261123t0900000001", "created_at": "2026-11-23T09:00:00+00:00",
    "reason": "The backup cannot be trusted: dump/3370.dat.gz was changed (its SHA-256 differs)."}]
left_out:
  description: What could not be as it was, one line each, owners that are not there for example.
  returned: success
  type: list
  elements: str
  sample: []
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
  description: V(good) when it was checked, V(not checked) without O(signing_key), V(none) for an unsigned manifest.
  returned: success
  type: str
  sample: good
seconds:
  description: How long it took, with all proofs, in seconds.
  returned: success
  type: float
  sample: 31.5
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._good_backup import find_good_backup
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "backup": {"type": "str"},
        "before_rollback": {"type": "bool", "default": False},
        "any_server": {"type": "bool", "default": False},
        "backup_dir": {"type": "path"},
        "jobs": {"type": "int", "default": 2},
        "deadline": {"type": "float", "default": 14400},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
    }
)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Find it and return the module's result."""
    start = time.monotonic()
    server = Server(module.params["database_url"], module.params["admin_url"])
    with module_step(module, "restore the newest good backup beside") as journal_data:
        result = find_good_backup(server, module.params, check_mode=module.check_mode)
        result["seconds"] = round(time.monotonic() - start, 3)
        source = {name: result[name] for name in ("backup_id", "created_at", "name", "rejected")}
        journal_data.update(result, source=source)
    return result


def main() -> None:
    """Run the module."""
    options = {"run_id": {"type": "str", "required": True}}
    module = SPEC.merge(DATABASE, RUN, ArgumentSpec(options)).create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
