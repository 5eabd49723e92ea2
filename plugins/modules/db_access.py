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
  method:
    description:
      - For O(state=closed), how the run works. V(candidate) closes the database for everybody, to copy its files.
      - V(in_place) takes C(CONNECT) from everybody but the owner, and ends all sessions, for a run that migrates the
        database itself. It is refused where the application or anybody else would stay in, or where something in the
        database could not be brought back from a dump in one transaction.
      - The privileges are kept in the database's comment, and given back exactly.
    type: str
    choices: [candidate, in_place]
    default: candidate
  application_roles:
    description:
      - For O(method=in_place), the roles by which the application connects. None of them may own the database, be able
        to become its owner, or be a superuser.
    type: list
    elements: str
    default: []
  signing_key:
    description: For O(method=in_place), the key with which the keeper checks the dump before it restores it.
    type: str
  client_path:
    description: For O(method=in_place), folders in which the keeper looks for C(pg_restore), before C(PATH).
    type: list
    elements: path
    default: []
  lease_seconds:
    description:
      - How long the run may go without a sign of life before its keeper opens the original again, in seconds.
      - Long steps renew the lease while they work.
    type: int
    default: 120
  maintenance:
    description:
      - How the keeper turns maintenance mode off after it has opened the original. Without it, the keeper leaves
        maintenance mode as it is. With O(maintenance_on), also how it is turned on.
      - The options of M(balcon.rollback.maintenance_mode), but for O(balcon.rollback.maintenance_mode#module:state).
    type: dict
  maintenance_on:
    description:
      - For O(state=closed), turn maintenance mode on before the database is closed, where it is not on already, and see
        it on where O(maintenance) has a probe. The keeper is there before, and turns it off where the database is never
        closed, whatever dies in between.
      - What was found on is left on by the keeper.
    type: bool
    default: false
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
maintenance:
  description:
    - With O(maintenance_on), what was done about maintenance mode. C(changed), C(found), C(state), C(verified) and
      C(verified_by) are those of M(balcon.rollback.maintenance_mode).
  returned: when O(state=closed)
  type: dict
  sample: {"changed": true, "found": "off", "state": "on", "verified": true, "verified_by": "probe"}
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
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.in_place_access import (
    close_in_place,
    preview_closing_in_place,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.keeper import (
    Keeper,
    start_keeper,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.sessions import who
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.written import (
    Closed,
    close_and_look,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import RollbackError
from ansible_collections.balcon.rollback.plugins.module_utils._domain.in_place import IN_PLACE, DumpAccess
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._lasting import ends_with_job
from ansible_collections.balcon.rollback.plugins.module_utils._maintenance import (
    ACTIONS,
    for_journal,
    present_state,
    set_state,
)
from ansible_collections.balcon.rollback.plugins.module_utils._private_files import in_run, load_json
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import (
    maintenance_options,
    show_maintenance,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.sessions import Session


NO_KEEPER: dict[str, Any] = {"pid": None, "supervisor": None, "reason": ""}

NO_SWITCH: dict[str, Any] = {"changed": False, "found": None, "verified": False, "verified_by": None}


def main() -> None:
    spec = ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["closed", "open"]},
            "end_run": {"type": "str"},
            "method": {"type": "str", "choices": ["candidate", "in_place"], "default": "candidate"},
            "application_roles": {"type": "list", "elements": "str", "default": []},
            "signing_key": {"type": "str", "no_log": True},
            "client_path": {"type": "list", "elements": "path", "default": []},
            "lease_seconds": {"type": "int", "default": 120},
            "maintenance": {"type": "dict", "no_log": True},
            "maintenance_on": {"type": "bool", "default": False},
            "compared": {"type": "path"},
            "accept_loss": {"type": "bool", "default": False},
            "budget_bytes": {"type": "int"},
        },
        required_if=[("maintenance_on", True, ["maintenance"])],
    )
    module = ArgumentSpec().merge(DATABASE, RUN, spec).create_module()
    work = _close if module.params["state"] == "closed" else _open
    run_module(module, lambda: in_dialect(module, "db_access", work))


def _close(module: AnsibleModule) -> dict[str, Any]:
    start = time.monotonic()
    show_maintenance(module, module.params["maintenance"])
    server = Server(module.params["database_url"], module.params["admin_url"])
    guard = _Guard(module, server)
    maintenance = NO_SWITCH
    changed = not is_closed_by(server, module.params["run_id"])
    try:
        if changed and module.params["maintenance_on"]:
            maintenance = _turn_maintenance_on(module, server, guard)
        with module_step(module, "close the database") as journal_data:
            closed = _close_now(module, server, guard) if changed else Closed([], [])
            ended = {
                "sessions_ended": len(closed.sessions),
                "sessions": who(closed.sessions),
                "keeper": guard.told,
                "written": closed.written,
            }
            how = {name: module.params[name] for name in ("lease_seconds", "method")}
            journal_data.update(ended, closed=True, changed=changed, **how)
    except RollbackError as error:
        error.details["maintenance_on"] = maintenance["changed"]
        raise
    finally:
        guard.release()
    seconds = round(time.monotonic() - start, 3)
    return {"changed": changed, "state": "closed", "maintenance": maintenance, **ended, "seconds": seconds}


class _Guard:
    """The run's keeper, started once by whatever comes first: maintenance mode, or the closing itself."""

    def __init__(self, module: AnsibleModule, server: Server) -> None:
        self._module, self._server = module, server
        self._keeper: Keeper | None = None
        self.told = NO_KEEPER

    def start(self, maintenance: dict[str, Any] | None) -> None:
        """Start the keeper, where there is none yet and it can outlive the job.

        Args:
            maintenance: how it turns maintenance mode off; None where it leaves that as it is.
        """
        if self._keeper or self._module.check_mode:
            return
        params = self._module.params
        reason = ends_with_job()
        self.told = {**NO_KEEPER, "reason": reason}
        if not reason:
            run = Run(params["state_dir"], params["run_id"])
            access = DumpAccess(params["signing_key"], params["client_path"])
            self._keeper = start_keeper(self._server, run, maintenance, access)
            self.told = {"pid": self._keeper.pid, "supervisor": self._keeper.supervisor, "reason": ""}

    def release(self) -> None:
        """Tell the keeper that the database was closed, or that it will not be."""
        if self._keeper:
            self._keeper.release()


def _turn_maintenance_on(module: AnsibleModule, server: Server, guard: _Guard) -> dict[str, Any]:
    """Turn maintenance mode on, with the keeper there already: it turns it off if the database is never closed."""
    options = maintenance_options(module.params["maintenance"])
    with module_step(module, ACTIONS["on"]) as journal_data:
        _preview(module, server)
        found = present_state(options)
        guard.start(None if found else options)
        result = set_state(options, True, found, only_plan=module.check_mode)
        journal_data.update(for_journal(result))
    return result


def _preview(module: AnsibleModule, server: Server) -> list[Session]:
    run = Run(module.params["state_dir"], module.params["run_id"])
    if module.params["method"] == IN_PLACE:
        return preview_closing_in_place(server, run, module.params["application_roles"])
    return preview_closing(server, run)


def _close_now(module: AnsibleModule, server: Server, guard: _Guard) -> Closed:
    params = module.params
    sessions = _preview(module, server)
    guard.start(params["maintenance"])
    if module.check_mode:
        return Closed(sessions, [])
    data = {"owner": Run(params["state_dir"], params["run_id"]).owner()}
    if params["method"] == IN_PLACE:
        roles = params["application_roles"]
        return Closed(close_in_place(server, params["run_id"], params["lease_seconds"], roles, data=data), [])
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
