#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_backup
short_description: Make a verified backup of a database
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Dumps a database in parallel into a folder, and writes a manifest with the SHA-256 of every file and, from the
    dump's own snapshot, the catalogue, the rows and the contents that it must restore to.
  - The dump becomes a backup, by one rename, only when it was verified and is on the disk. A backup that failed leaves
    nothing that looks like one.
  - Folders have mode 0700 and files 0600. With O(signing_key) the manifest is signed.
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
    support: partial
    details:
      - A run makes one backup of a database. The second time, its files are proven to be as they were written.
      - Without O(run_id) a backup is made each time.
options:
  backup_dir:
    description: Where backups are kept; by default the folder C(backups) of O(state_dir). It is made if it is missing.
    type: path
  failed_candidate:
    description:
      - Dump the run's candidate that failed, C(<database>__failed_<run>), for study. It is open for as long as the dump
        takes, and closed afterwards.
    type: bool
    default: false
  jobs:
    description: Sessions that dump and read at the same time.
    type: int
    default: 2
  verify:
    description:
      - V(read) decompresses every byte and compares the rows of every table with the database's.
      - V(restore) also restores into a scratch database on the same server, compares all of it, and drops it.
    type: str
    choices: [read, restore, none]
    default: read
  compression:
    description:
      - V(auto) takes lz4, else zstd, else gzip, whichever the client tools were built with.
    type: str
    choices: [auto, lz4, zstd, gzip, none]
    default: auto
  checkpoint:
    description:
      - Write everything to the disk afterwards, so that the file copy in the window need not wait for it.
      - Left out, and said so, where the role may not.
    type: bool
    default: true
  deadline:
    description: Seconds for the dump, for reading it, and for restoring it, each. What takes longer is ended.
    type: float
    default: 14400
  signing_key:
    description: The key of the manifest's signature. Without it, the manifest is unsigned, and called so.
    type: str
  client_path:
    description: Folders to look for C(pg_dump) and C(pg_restore) in, before C(PATH) and the usual places.
    type: list
    elements: path
    default: []
seealso:
  - module: balcon.rollback.db_restore
"""

EXAMPLES = r"""
- name: Back up production
  balcon.rollback.db_backup:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: back_up
    signing_key: "{{ rollback_signing_key | default(omit) }}"
  register: rollback_backup
"""

RETURN = r"""
backup_id:
  description: The name of the backup.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
path:
  description: The backup's folder.
  returned: success
  type: str
  sample: /var/lib/balcon-rollback/backups/shop-20261123t081500a3f9
manifest:
  description: The manifest's path.
  returned: success
  type: str
  sample: /var/lib/balcon-rollback/backups/shop-20261123t081500a3f9/manifest.json
bytes:
  description: Size of the dump in bytes.
  returned: when a backup is there
  type: int
  sample: 104857600
seconds:
  description: How long it took, verification included, in seconds.
  returned: when a backup is there
  type: float
  sample: 4.2
compression:
  description: How the dump is compressed.
  returned: when a backup is there
  type: str
  sample: lz4
verified:
  description: How the dump was verified, V(read), V(restore) or null.
  returned: when a backup is there
  type: str
  sample: read
fingerprint_hash:
  description: SHA-256 of all that the backup restores to.
  returned: when a backup is there
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
rows_total:
  description: Number of rows in all tables.
  returned: when a backup is there
  type: int
  sample: 200000
tables:
  description: Number of tables.
  returned: when a backup is there
  type: int
  sample: 12
signed:
  description: Whether the manifest carries a signature.
  returned: when a backup is there
  type: bool
  sample: true
checkpoint:
  description: Whether everything was written to the disk, in a few words.
  returned: when a backup was made
  type: str
  sample: done in 0.3 s
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._backups import backups_folder, run_id_or_new
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import (
    Wanted,
    check_can_begin,
    find_present,
    make_backup,
    path_of,
    summary,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.failed import opened_for_study
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "backup_dir": {"type": "path"},
        "failed_candidate": {"type": "bool", "default": False},
        "jobs": {"type": "int", "default": 2},
        "verify": {"type": "str", "choices": ["read", "restore", "none"], "default": "read"},
        "compression": {"type": "str", "choices": ["auto", "lz4", "zstd", "gzip", "none"], "default": "auto"},
        "checkpoint": {"type": "bool", "default": True},
        "deadline": {"type": "float", "default": 14400},
        "signing_key": {"type": "str", "no_log": True},
        "client_path": {"type": "list", "elements": "path", "default": []},
    },
    required_one_of=[("backup_dir", "state_dir")],
    required_if=[("failed_candidate", True, ["run_id"])],
)

OPTIONS = ("verify", "compression", "checkpoint", "jobs", "deadline", "signing_key", "client_path")


def work(module: AnsibleModule) -> dict[str, Any]:
    params = module.params
    server = Server(params["database_url"], params["admin_url"])
    if not params["failed_candidate"] or module.check_mode:
        return back_up(module, server)
    with opened_for_study(server, params["run_id"]) as failed:
        return back_up(module, failed)


def back_up(module: AnsibleModule, server: Server) -> dict[str, Any]:
    params = module.params
    folder = backups_folder(params, create=not module.check_mode)
    wanted = Wanted(folder, run_id_or_new(params), **{name: params[name] for name in OPTIONS})
    start = time.monotonic()
    with module_step(module, f"back up {server.database}") as journal_data:
        path, manifest = path_of(server, wanted), find_present(server, wanted)
        changed, more = manifest is None, {}
        if manifest is None:
            check_can_begin(server, wanted)
        if manifest is None and not module.check_mode:
            path, manifest, more["checkpoint"] = make_backup(server, wanted)
        result = {**summary(path, manifest), **more, "changed": changed}
        if manifest:
            result["seconds"] = round(time.monotonic() - start, 3)
        # The run's backup is the one of production; this one is only for study.
        journal_data.update({"dump": result} if params["failed_candidate"] else result, changed=changed)
    return result


def main() -> None:
    module = SPEC.merge(DATABASE, RUN).create_module()
    run_module(module, lambda: in_dialect(module, "db_backup", work))


if __name__ == "__main__":
    main()
