#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollback_status
short_description: Show runs, evidence, backups, and the databases that runs left
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads the server and the host's state folder, and tells what there is of a database's rollbacks.
  - Whatever cannot be read is said under RV(problems), and the rest is shown; a server that does not answer, too.
  - It only reads.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.database
options:
  state_dir:
    description: The host's state folder.
    type: path
    required: true
  backup_dir:
    description: The folder of backups. By default C(backups) in O(state_dir).
    type: path
  signing_key:
    description: Checks the signatures of manifests and evidence (HMAC-SHA256). With it, unsigned ones do not count.
    type: str
  check_files:
    description:
      - Read every byte of every backup and compare it with the manifest, which takes as long as reading them does.
      - Without it, the manifest is proven, and the sizes of the files are compared.
    type: bool
    default: false
  evidence_max_age:
    description: Hours for which a rehearsal is good, for C(valid_until) in RV(evidence).
    type: float
    default: 24.0
  asking_run:
    description: The run that asks. It has just begun, and is not told of.
    type: str
    default: ""
seealso:
  - module: balcon.rollback.retention
  - module: balcon.rollback.db_info
"""

EXAMPLES = r"""
- name: What is there
  balcon.rollback.rollback_status:
    database_url: "{{ rollback_database_url }}"
    state_dir: /var/lib/balcon-rollback
  register: rollback_status

- name: Show it
  ansible.builtin.debug:
    msg: "{{ rollback_status.lines }}"
"""

RETURN = r"""
looked_at:
  description: The time of the look, by the host's clock, in UTC ISO 8601.
  returned: success
  type: str
  sample: "2026-11-23T08:15:00+00:00"
database:
  description:
    - C(name), C(dialect) (postgresql or sqlite), C(reachable), C(exists), C(open), C(size_bytes), C(server_version),
      C(system_identifier) and C(oid).
    - Where the server was not reached, or has no such database, what is not known is null.
  returned: success
  type: dict
  sample: {"name": "shop", "reachable": true, "exists": true, "open": true, "size_bytes": 1040187392,
    "server_version": "18.4"}
open_run:
  description:
    - The run that is open on the database, with C(run_id), C(state), C(lease_until), and C(lease_expired), by the
      server's clock; or null.
    - On a server also C(owner), whose run it is, C(held), why it waits for a person, C(decision) and C(reason), how it
      would be finished now, as M(balcon.rollback.unfinished_run) says it.
  returned: success
  type: dict
  sample: {"run_id": "20261123t081500a3f9", "state": "swapped", "lease_until": "2026-11-23T08:17:00.000+00:00",
    "lease_expired": false}
databases:
  description:
    - The databases that runs left beside it, each with C(name), C(purpose), C(run_id), C(size_bytes) (null where the
      role may not ask), C(open), C(half_made), C(ours) (name and comment say the same), C(sessions), C(slots)
      (replication slots), C(made_at) (the begin of its run), C(keep_until), C(note) and C(drop_command).
    - The command is empty for what an open run needs, and for what does not describe itself.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "shop__before_20261123t081500a3f9", "purpose": "before"}]
backups:
  description:
    - The backups of the folder, newest first, each with C(backup_id), C(path), C(created_at), C(age_hours), C(bytes),
      C(verified) (read, restore or null), C(trusted) (its manifest is as it was written and its files fit), C(problem),
      C(database), C(system_identifier), C(server_version), C(rows_total), C(tables) and C(signed).
  returned: success
  type: list
  elements: dict
  sample: [{"backup_id": "shop-20261123t081500a3f9", "verified": "read", "trusted": true}]
good_backup:
  description: The name of the newest backup of this database that is trusted and was verified, or null.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
runs:
  description:
    - The runs of the state folder, newest first, each with C(run_id), C(kind), C(outcome), C(started_at),
      C(finished_at), C(last_event_at), C(reason), C(plan), C(backup_id), C(report) and C(problem).
    - Besides the outcomes of C(run.json), C(unfinished) is a run that has not written its records, and C(unknown) one
      whose journal cannot be trusted.
  returned: success
  type: list
  elements: dict
  sample: [{"run_id": "20261123t081500a3f9", "kind": "rollback", "outcome": "rolled_back"}]
evidence:
  description:
    - The evidence of rehearsals, newest first, each with C(evidence_id), C(created_at), C(age_hours), C(plan),
      C(valid_until), C(signed) and C(problem).
  returned: success
  type: list
  elements: dict
  sample: [{"evidence_id": "20261123t080000b2c4", "valid_until": "2026-11-24T08:00:00+00:00"}]
problems:
  description: What a person should look at, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
lines:
  description: All of it as text for a person.
  returned: success
  type: list
  elements: str
  sample: ["Database shop: open, 1.0 GB, PostgreSQL 18.4", "Run under way: none"]
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._status import Look, read_status

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "state_dir": {"type": "path", "required": True},
        "backup_dir": {"type": "path"},
        "signing_key": {"type": "str", "no_log": True},
        "check_files": {"type": "bool", "default": False},
        "evidence_max_age": {"type": "float", "default": 24.0},
        "asking_run": {"type": "str", "default": ""},
    }
).merge(DATABASE)


def look(module: AnsibleModule) -> dict[str, Any]:
    """Look and return the module's result."""
    params = module.params
    state_dir = Path(params["state_dir"])
    where = Look(
        state_dir=state_dir,
        backup_dir=Path(params["backup_dir"] or state_dir / "backups"),
        signing_key=params["signing_key"] or None,
        check_files=params["check_files"],
        max_age_hours=params["evidence_max_age"],
        asking_run=params["asking_run"],
    )
    return {"changed": False, **read_status(where, params)}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: look(module))


if __name__ == "__main__":
    main()
