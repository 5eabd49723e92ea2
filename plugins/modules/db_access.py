#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: db_access
short_description: Close a database during a rollback, and end the rollback
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - O(state=closed) closes production's own database on the server. Not even a superuser gets in, the name stays taken,
    and sessions that are there are ended. No write that was acknowledged is lost.
  - It is only done for a run whose journal shows that C(preflight), C(gate) and C(back_up) passed (for a restore,
    C(preflight), C(restore) and C(gate)), and when nothing on the server would block a candidate.
  - Before it closes, it starts the run's I(keeper), a small process on the host that holds the run's lock on the
    server, and opens the original again when the run gives no sign of life for O(lease_seconds). None is started where
    it would end with the job, in a container whose first process is the job.
  - When a session does not end, the database is open again and the module has failed.
  - O(state=open) ends a run after its swap. That is refused where its lease has run out, or where it was taken back.
    The database gets its own comment back, and the keeper ends. To go back
    instead, use M(balcon.rollback.db_swap) with O(balcon.rollback.db_swap#module:state=original).
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
      - V(closed) closes the database for the run, V(open) ends the run after its swap.
    type: str
    required: true
    choices: [closed, open]
  end_run:
    description:
      - For O(state=open), the run that is ended, by default O(run_id), whose journal holds the record all the same. A
        restore names the rollback here whose result stays.
    type: str
  lease_seconds:
    description:
      - How long the run may go without a sign of life before its keeper opens the original again, in seconds.
      - Long steps renew the lease while they work.
    type: int
    default: 120
  maintenance:
    description:
      - How the keeper turns maintenance mode off after it has opened the original. Without it, the keeper leaves
        maintenance mode as it is.
      - The options of M(balcon.rollback.maintenance_mode), but for O(balcon.rollback.maintenance_mode#module:state).
    type: dict
  compared:
    description:
      - For O(state=closed) in a restore, the fingerprint of M(balcon.rollback.db_fingerprint) that was taken before the
        database was compared with the backup. A relative path is one in the run's folder.
      - Sessions that were opened before it closed look again when everybody else is gone. What was written meanwhile
        would be lost without having been said, so that the database is opened again and the module refuses.
    type: path
  accept_loss:
    description:
      - With O(compared), go on although rows were written meanwhile. They stay in the database that is kept.
      - Set by a person who has decided, never by a playbook.
    type: bool
    default: false
  budget_bytes:
    description: With O(compared), the same as for that fingerprint.
    type: int
seealso:
  - module: balcon.rollback.db_clone
  - module: balcon.rollback.db_swap
"""

EXAMPLES = r"""
- name: Close the database
  balcon.rollback.db_access:
    database_url: "{{ rollback_database_url }}"
    state: closed
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: close

- name: End the run
  balcon.rollback.db_access:
    database_url: "{{ rollback_database_url }}"
    state: open
    run_id: "{{ rollback_run_id }}"
    state_dir: "{{ rollback_state_dir }}"
    phase: reopen
"""

RETURN = r"""
state:
  description: The state of the database now, or in check mode then.
  returned: success
  type: str
  sample: closed
sessions_ended:
  description: How many sessions were ended; in check mode, how many there are.
  returned: when O(state=closed)
  type: int
  sample: 20
sessions:
  description: How many sessions were ended, by role and application.
  returned: when O(state=closed)
  type: dict
  sample: {"shop (node)": 18, "anna (psql)": 2}
seconds:
  description: How long it took, in seconds, the start of the keeper included.
  returned: success
  type: float
  sample: 0.11
keeper:
  description:
    - The keeper. C(pid) is its process on the host, C(supervisor) the one that starts it again when it was killed; null
      when none was started by this call. C(reason) says why there is none, where it would end with the job.
  returned: when O(state=closed)
  type: dict
  sample: {"pid": 4711, "supervisor": 4710, "reason": ""}
written:
  description:
    - With O(compared), the tables that were written to since, each with C(name), C(rows_then) and C(rows_now).
  returned: when O(state=closed)
  type: list
  elements: dict
  sample: [{"name": "public.orders", "rows_then": 200, "rows_now": 203}]
lock_released:
  description: No keeper holds the lock of the database's runs any more; the next run may begin.
  returned: when O(state=open), not in check mode
  type: bool
  sample: true
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._database.dialect import in_dialect
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import (
    close_database,
    finish_run,
    is_closed_by,
    may_finish,
    preview_closing,
    wait_for_release,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.keeper import start_keeper
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.sessions import who
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.written import (
    Closed,
    close_and_look,
)
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._lasting import ends_with_job
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import in_run, load_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import show_plain_values

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


NO_KEEPER: dict[str, Any] = {"pid": None, "supervisor": None, "reason": ""}


def main() -> None:
    spec = ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["closed", "open"]},
            "end_run": {"type": "str"},
            "lease_seconds": {"type": "int", "default": 120},
            "maintenance": {"type": "dict", "no_log": True},
            "compared": {"type": "path"},
            "accept_loss": {"type": "bool", "default": False},
            "budget_bytes": {"type": "int"},
        },
    )
    module = ArgumentSpec().merge(DATABASE, RUN, spec).create_module()
    work = _close if module.params["state"] == "closed" else _open
    run_module(module, lambda: in_dialect(module, "db_access", work))


def _close(module: AnsibleModule) -> dict[str, Any]:
    start = time.monotonic()
    show_plain_values(module, module.params["maintenance"])
    server = Server(module.params["database_url"], module.params["admin_url"])
    run = Run(module.params["state_dir"], module.params["run_id"])
    with module_step(module, "close the database") as journal_data:
        closed = Closed([], [])
        keeper_told = NO_KEEPER
        changed = not is_closed_by(server, run.run_id)
        if changed:
            closed = Closed(preview_closing(server, run), [])
            ends = ends_with_job()
            if not module.check_mode and ends:
                keeper_told = {**NO_KEEPER, "reason": ends}
                closed = _close_now(module, server)
            elif not module.check_mode:
                keeper = start_keeper(server, run, module.params["maintenance"])
                keeper_told = {"pid": keeper.pid, "supervisor": keeper.supervisor, "reason": ""}
                try:
                    closed = _close_now(module, server)
                finally:
                    keeper.release()
        ended = {
            "sessions_ended": len(closed.sessions),
            "sessions": who(closed.sessions),
            "keeper": keeper_told,
            "written": closed.written,
        }
        journal_data.update(ended, closed=True, changed=changed, lease_seconds=module.params["lease_seconds"])
    return {"changed": changed, "state": "closed", **ended, "seconds": round(time.monotonic() - start, 3)}


def _close_now(module: AnsibleModule, server: Server) -> Closed:
    params = module.params
    data = {"owner": Run(params["state_dir"], params["run_id"]).owner()}
    if not params["compared"]:
        return Closed(close_database(server, params["run_id"], params["lease_seconds"], data=data), [])
    then = load_json(in_run(params, params["compared"]), "compared")
    how = {name: params[name] for name in ("accept_loss", "budget_bytes")}
    return close_and_look(server, params["run_id"], then, params["lease_seconds"], **how, data=data)


def _open(module: AnsibleModule) -> dict[str, Any]:
    start = time.monotonic()
    server = Server(module.params["database_url"], module.params["admin_url"])
    with module_step(module, "end the run on the server") as journal_data:
        run_id = module.params["end_run"] or module.params["run_id"]
        by_itself = not module.params["end_run"]
        changed = may_finish(server, run_id, by_itself=by_itself)
        result: dict[str, Any] = {"state": "open"}
        if not module.check_mode:
            changed = finish_run(server, run_id, by_itself=by_itself)
            result["lock_released"] = wait_for_release(server)
        journal_data.update(changed=changed, finished=True)
    return {"changed": changed, **result, "seconds": round(time.monotonic() - start, 3)}


if __name__ == "__main__":
    main()
