#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_restore_point
short_description: Keep what a rollback in place can go back to
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Dumps a database that a run has closed by privilege (O(balcon.rollback.db_access#module:method=in_place)), verifies
    the dump, and says in the run's state on the server where it is. Only then may the run migrate the database itself.
  - Then it tries the way back. In one transaction, which is rolled back, the database is emptied and its schema made
    again from the dump, and the result must be the same. What would stop a restore stops the run here, before anything
    is migrated.
  - With O(save_as) it also takes the fingerprint with which the migrated database will be compared.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  run_id:
    required: true
  state_dir:
    required: true
  backup_dir:
    description: The folder of backups on the host. By default C(backups) in O(state_dir).
    type: path
  jobs:
    description: How many sessions dump and read at the same time.
    type: int
    default: 2
  compression:
    description: As in M(balcon.rollback.db_backup).
    type: str
    choices: [auto, lz4, zstd, gzip, none]
    default: auto
  deadline:
    description: Seconds that each of dump and verification may take.
    type: float
    default: 14400
  signing_key:
    description: With it, the manifest is signed (HMAC-SHA256).
    type: str
  client_path:
    description: Folders to look for C(pg_dump) and C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
  save_as:
    description: A path relative to the run's folder, to which the fingerprint is written, readable by its owner only.
    type: str
  contents:
    description:
      - How the fingerprint is taken. The options C(contents), C(method), C(skip_columns), C(skip_tables),
        C(budget_bytes) and C(jobs) of M(balcon.rollback.db_fingerprint).
    type: dict
    default: {}
seealso:
  - module: balcon.rollback.db_access
  - module: balcon.rollback.db_swap
"""

EXAMPLES = r"""
- name: Keep the restore point of a rollback in place
  balcon.rollback.db_restore_point:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    save_as: candidate_before.json
    phase: candidate
"""

RETURN = r"""
name:
  description: The database that the plan will run on, the database itself.
  returned: success
  type: str
  sample: shop
backup_id:
  description: The name of the dump; null in check mode.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9-closed
restore_point:
  description: The folder of the dump; null in check mode.
  returned: success
  type: str
  sample: /var/lib/balcon-rollback/backups/shop-20261123t081500a3f9-closed
bytes:
  description: Size of the dump in bytes. 0 in check mode.
  returned: success
  type: int
  sample: 104857600
locks:
  description: How many locks the trial of the way back took. 0 in check mode.
  returned: success
  type: int
  sample: 214
seconds:
  description: How long dump, verification, trial and fingerprint took, in seconds.
  returned: success
  type: float
  sample: 4.2
path:
  description: Where the fingerprint was written.
  returned: when O(save_as) is given, not in check mode
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9/candidate_before.json
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import backups_folder
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import Wanted
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore_point import (
    keep_restore_point,
    preview_restore_point,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import Heartbeat
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import path_in_run, save_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "run_id": {"type": "str", "required": True},
        "state_dir": {"type": "path", "required": True},
        "backup_dir": {"type": "path"},
        "jobs": {"type": "int", "default": 2},
        "compression": {"type": "str", "choices": ["auto", "lz4", "zstd", "gzip", "none"], "default": "auto"},
        "deadline": {"type": "float", "default": 14400},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
        "save_as": {"type": "str"},
        "contents": {"type": "dict", "default": {}},
    }
)

OPTIONS = ("compression", "jobs", "deadline", "signing_key", "client_path")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    result: dict[str, Any] = {"backup_id": None, "restore_point": None, "bytes": 0, "locks": 0}
    start = time.monotonic()
    with module_step(module, "keep the restore point") as journal_data:
        result["changed"] = preview_restore_point(server, params["run_id"])
        if not module.check_mode:
            with Heartbeat(server, params["run_id"]):
                result.update(_keep(module, server))
                result.update(_fingerprint(params, server))
        result.update(name=server.database, seconds=round(time.monotonic() - start, 3))
        journal_data.update(result)
    return result


def _keep(module: AnsibleModule, server: Server) -> dict[str, Any]:
    folder = backups_folder(module.params, create=True)
    wanted = Wanted(folder, module.params["run_id"], **{name: module.params[name] for name in OPTIONS})
    kept = keep_restore_point(server, module.params["run_id"], wanted)
    return {
        "backup_id": kept.manifest["backup_id"],
        "restore_point": str(kept.path),
        "bytes": sum(file["bytes"] for file in kept.manifest["files"].values()),
        "locks": kept.locks,
        "changed": kept.changed,
    }


def _fingerprint(params: dict[str, Any], server: Server) -> dict[str, Any]:
    if not params["save_as"]:
        return {}
    path = path_in_run(params, params["save_as"])
    save_json(path, take_fingerprint(server, **params["contents"]))
    return {"path": str(path)}


def main() -> None:
    module = ArgumentSpec().merge(DATABASE, RUN, SPEC).create_module()
    run_module(module, lambda: in_dialect(module, "db_restore_point", work))


if __name__ == "__main__":
    main()
