#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: retention
short_description: Delete backups and leftovers of runs that need not be kept any more
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Keeps backups, and the databases that runs left, by count and age. Something goes only when it is both older than
    C(days) and not among the newest C(count) of its kind.
  - Whatever O(keep) says, these are kept. The last verified backup. The newest backup, and the newest database of each
    of C(before) and C(failed). What an open run needs. A C(before) whose own time has not come. A database that does
    not say by its name and by its comment that a run made it. A database that somebody is connected to, or that has a
    replication slot. A backup that is damaged, or of another database or server. A candidate.
  - Before anything goes, the last verified backup is read byte by byte and compared with its manifest; where it is
    damaged, it counts no longer, and the one before it is proven.
  - Nothing goes while a run is open on the database, or while the database is closed, missing or out of reach. While a
    run of the state folder has no end, and its last event is younger than 24 hours, no backup goes.
  - It works on PostgreSQL. What runs left beside an SQLite file is listed by M(balcon.rollback.rollback_status), with
    the command that removes it.
  - Each deletion is recorded in C(clean_up.jsonl) in the state folder, one event a line, each with the hash of the one
    before.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description:
      - V(planned) lists what goes and what is kept, with the reason of each, and changes nothing.
      - V(applied) deletes what goes.
    type: str
    choices: [planned, applied]
    default: planned
  state_dir:
    description: The host's state folder. It must belong to the account that runs the tools, with mode 0700.
    type: path
    required: true
  backup_dir:
    description: The folder of backups. By default C(backups) in O(state_dir).
    type: path
  signing_key:
    description: Checks the signatures of manifests (HMAC-SHA256). With it, unsigned backups are kept and do not count.
    type: str
  only:
    description:
      - Names of backups and databases, those that a person has seen and confirmed. Nothing else is deleted.
      - Without it, everything that goes.
    type: list
    elements: str
  keep:
    description: How long each kind is kept. What is not said holds by default.
    type: dict
    default: {}
    suboptions:
      backups:
        description: Backups of this database. By default 7 of them, and all of the last 30 days.
        type: dict
        suboptions:
          count:
            description: So many of the newest are kept; at least 1. Verified ones are counted on their own.
            type: int
          days:
            description: Whatever is younger is kept.
            type: float
      before:
        description:
          - Databases C(<database>__before_<run>). By default the newest, and all of the last 2 days.
        type: dict
        suboptions:
          count:
            description: So many of the newest are kept; at least 1.
            type: int
          days:
            description: Whatever is younger is kept.
            type: float
          needs_backup:
            description: They go only while there is a verified backup. By default true.
            type: bool
      failed:
        description: Databases C(<database>__failed_<run>). By default the newest, and all of the last 14 days.
        type: dict
        suboptions:
          count:
            description: So many of the newest are kept; at least 1.
            type: int
          days:
            description: Whatever is younger is kept.
            type: float
      leftovers:
        description:
          - Databases C(__rehearsal_), C(__trial_) and C(__restored_) whose run has ended or was killed. By default all
            of the last 2 days.
        type: dict
        suboptions:
          count:
            description: So many of the newest are kept.
            type: int
          days:
            description: Whatever is younger is kept.
            type: float
seealso:
  - module: balcon.rollback.rollback_status
"""

EXAMPLES = r"""
- name: List what would go
  balcon.rollback.retention:
    database_url: "{{ rollback_database_url }}"
    state_dir: /var/lib/balcon-rollback
    keep:
      backups: {count: 10, days: 60}
  register: rollback_list

- name: Delete it
  balcon.rollback.retention:
    database_url: "{{ rollback_database_url }}"
    state_dir: /var/lib/balcon-rollback
    keep:
      backups: {count: 10, days: 60}
    state: applied
    only: "{{ rollback_list.delete | map(attribute='name') }}"
"""

RETURN = r"""
database:
  description: The name of the database.
  returned: success
  type: str
  sample: shop
delete:
  description:
    - What goes, or went, each with C(kind) (backups, before, failed or leftovers), C(name), C(reason), C(bytes) (null
      where it is not known) and C(made_at).
  returned: success
  type: list
  elements: dict
  sample: [{"kind": "backups", "name": "shop-20261001t081500a3f9", "bytes": 52428800,
    "reason": "it is older than 30 days, and not among the newest 7"}]
keep:
  description: What is kept, of the same shape. C(kind) may also be V(other).
  returned: success
  type: list
  elements: dict
  sample: [{"kind": "backups", "name": "shop-20261123t081500a3f9", "reason": "it is the last one that was verified"}]
deleted:
  description: The names of what was deleted.
  returned: success
  type: list
  elements: str
  sample: []
bytes:
  description: The sizes of RV(delete) together, in bytes.
  returned: success
  type: int
  sample: 52428800
good_backup:
  description: The last verified backup, proven byte by byte where something goes that it stands for; or null.
  returned: success
  type: str
  sample: shop-20261123t081500a3f9
problems:
  description: What a person should look at, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
journal:
  description: Where deletions are recorded.
  returned: success
  type: str
  sample: /var/lib/balcon-rollback/clean_up.jsonl
lines:
  description: All of it as text for a person.
  returned: success
  type: list
  elements: str
  sample: ["To be deleted: nothing"]
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._domain.retention import check_keep
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._retention import (
    check_dialect,
    clean_up,
    make_plan,
    result,
)
from ansible_collections.balcon.rollback.plugins.module_utils._status import Look

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

RULE: dict[str, Any] = {"count": {"type": "int"}, "days": {"type": "float"}}

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "choices": ["planned", "applied"], "default": "planned"},
        "state_dir": {"type": "path", "required": True},
        "backup_dir": {"type": "path"},
        "signing_key": {"type": "str", "no_log": True},
        "only": {"type": "list", "elements": "str"},
        "keep": {
            "type": "dict",
            "default": {},
            "options": {
                "backups": {"type": "dict", "options": RULE},
                "before": {"type": "dict", "options": {**RULE, "needs_backup": {"type": "bool"}}},
                "failed": {"type": "dict", "options": RULE},
                "leftovers": {"type": "dict", "options": RULE},
            },
        },
    }
).merge(DATABASE)


def keep_and_delete(module: AnsibleModule) -> dict[str, Any]:
    """Make the plan, do it where that is asked for, and return the module's result."""
    params = module.params
    state_dir = Path(params["state_dir"])
    look = Look(state_dir, Path(params["backup_dir"] or state_dir / "backups"), params["signing_key"] or None)
    check_dialect(params["database_url"])
    server = Server(params["database_url"], params["admin_url"])
    plan = make_plan(server, look, check_keep(params["keep"]))
    deleted = []
    applied = params["state"] == "applied"
    if applied and not module.check_mode:
        deleted = clean_up(server, look, plan, params["only"])
    told = result(plan, look, deleted, params["only"])
    return {"changed": applied and bool(told["delete"]), **told}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: keep_and_delete(module))


if __name__ == "__main__":
    main()
