#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_clone
short_description: Make the candidate of a rollback, or a throwaway clone, as a file copy
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Copies a database on its own server, file by file, with owner, settings and tablespace.
  - A candidate is made of production's own database while a run keeps it closed, and is the next step of that run.
  - A trial is made of a candidate or a rehearsal of the same run, for tests that write. V(restored) is made of a
    rehearsal before the plan runs on it, to take the place of staging's own database.
  - Nobody but the owner, and superusers, gets into a copy. Privileges and connection limit follow when the candidate
    takes the public name, see M(balcon.rollback.db_swap).
  - From PostgreSQL 18 on the copy shares the original's blocks where the file system has copy on write (XFS, btrfs).
  - The copy never goes through the write-ahead log, which on a full disk would keep production from writing.
  - What is left of a copy whose maker was killed is removed.
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
  state:
    description:
      - V(present) makes the copy, V(absent) drops it, sessions included.
      - Only a trial or a rehearsal can be dropped, and only where its name and its comment both say that this run made
        it.
    type: str
    choices: [present, absent]
    default: present
  purpose:
    description:
      - What the copy is for. Its name is made of the database's name, this word and the run.
    type: str
    required: true
    choices: [candidate, trial, rehearsal, restored]
  source:
    description:
      - The name of the database to copy, on the same server. It has no sessions.
      - By default the database of the URL, for O(purpose=trial) the candidate of the run.
    type: str
  fingerprint:
    description:
      - Also take the fingerprint of the copy, see M(balcon.rollback.db_fingerprint).
    type: bool
    default: false
  save_as:
    description:
      - A path relative to the run's folder; the fingerprint is written there, readable by its owner only, and is not
        returned.
    type: str
  contents:
    description:
      - How the fingerprint is taken, for O(fingerprint=true). The options C(contents), C(method), C(skip_columns),
        C(skip_tables), C(budget_bytes) and C(jobs) of M(balcon.rollback.db_fingerprint).
    type: dict
    default: {}
seealso:
  - module: balcon.rollback.db_access
  - module: balcon.rollback.db_swap
"""

EXAMPLES = r"""
- name: Make the candidate
  balcon.rollback.db_clone:
    database_url: "{{ rollback_database_url }}"
    purpose: candidate
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: candidate

- name: Drop the throwaway clone
  balcon.rollback.db_clone:
    database_url: "{{ rollback_database_url }}"
    purpose: trial
    state: absent
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: verify
"""

RETURN = r"""
name:
  description: The name of the copy.
  returned: success
  type: str
  sample: shop__candidate_20261123t081500a3f9
bytes:
  description: The size of the copy, in bytes. 0 in check mode and after O(state=absent).
  returned: success
  type: int
  sample: 1040187392
seconds:
  description: How long the copy took, in seconds. 0 when it was there already.
  returned: success
  type: float
  sample: 1.05
file_copy_method:
  description:
    - How the server was told to copy the files. V(clone) from PostgreSQL 18 on, which on a file system with copy on
      write takes no time and no room; V(copy) otherwise, and where the file system cannot. Null where nothing was
      copied.
  returned: when O(state=present)
  type: str
  sample: clone
fingerprint:
  description: The fingerprint of the copy, of the same shape as that of M(balcon.rollback.db_fingerprint).
  returned: when O(fingerprint=true) without O(save_as), not in check mode
  type: dict
  sample: {"tables": {"public.users": {"rows": 1000}}}
path:
  description: Where the fingerprint was written.
  returned: when O(fingerprint=true) with O(save_as), not in check mode
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9/candidate_before.json
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone import (
    CloneRequest,
    drop_derived_database,
    exists,
    preview_clone,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import Heartbeat
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import path_in_run, save_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    spec = ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "purpose": {"type": "str", "required": True, "choices": ["candidate", "trial", "rehearsal", "restored"]},
            "source": {"type": "str"},
            "fingerprint": {"type": "bool", "default": False},
            "contents": {"type": "dict", "default": {}},
            "save_as": {"type": "str"},
        },
    )
    module = ArgumentSpec().merge(DATABASE, RUN, spec).create_module()
    work = _make if module.params["state"] == "present" else _drop
    run_module(module, lambda: in_dialect(module, "db_clone", work))


def _request(module: AnsibleModule) -> CloneRequest:
    server = Server(module.params["database_url"], module.params["admin_url"])
    return CloneRequest.make(server, module.params["purpose"], module.params["run_id"], module.params["source"])


def _make(module: AnsibleModule) -> dict[str, Any]:
    request = _request(module)
    fingerprint: dict[str, Any] = {}
    with module_step(module, f"make the {request.purpose}") as journal_data:
        result = preview_clone(request)
        if not module.check_mode:
            result = request.fulfil()
            fingerprint = _fingerprint(module, request, result.name)
        journal_data.update(result._asdict())
    return {**result._asdict(), **fingerprint}


def _fingerprint(module: AnsibleModule, request: CloneRequest, name: str) -> dict[str, Any]:
    if not module.params["fingerprint"]:
        return {}
    with Heartbeat(request.server, request.run_id if request.purpose == "candidate" else None):
        fingerprint = take_fingerprint(request.server, name, **module.params["contents"])
    if not module.params["save_as"]:
        return {"fingerprint": fingerprint}
    path = path_in_run(module.params, module.params["save_as"])
    save_json(path, fingerprint)
    return {"path": str(path)}


def _drop(module: AnsibleModule) -> dict[str, Any]:
    request = _request(module)
    with module_step(module, f"drop the {request.purpose}") as journal_data:
        changed = exists(request.server, request.target)
        if not module.check_mode:
            changed = drop_derived_database(request.server, request.target, request.run_id)
        journal_data.update(name=request.target, changed=changed)
    return {"changed": changed, "name": request.target, "bytes": 0, "seconds": 0.0}


if __name__ == "__main__":
    main()
