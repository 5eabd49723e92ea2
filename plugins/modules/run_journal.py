#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_journal
short_description: Keep the record of a run
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Begins a run, adds an event to its journal, or ends it and writes its records.
  - A journal holds one event a line, brought to the disk before the module returns, each with the hash of the one
    before; a journal that was edited or cut is refused.
  - The run's lock is on the database server, held by the keeper, so that it holds across controllers. See
    M(balcon.rollback.db_access) and M(balcon.rollback.db_info).
extends_documentation_fragment:
  - balcon.rollback.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - O(state=started) makes a new run each time, and O(state=event) adds an event each time.
options:
  state:
    description:
      - V(started) makes the run's folder and the journal's first event.
      - V(event) adds one event, for steps that are not done by a module of this collection.
      - V(finished) writes C(run.json), C(impact.json), C(report.md) and C(report.html) from the journal alone.
    type: str
    required: true
    choices: [started, event, finished]
  state_dir:
    description: The host's state folder. It must belong to the account that runs the tools, with mode 0700.
    type: path
    required: true
  run_id:
    description: The run; for O(state=event) and O(state=finished).
    type: str
  kind:
    description: What the run is; for O(state=started).
    type: str
    choices: [rehearsal, rollback, restore, drill]
  environment:
    description: The inventory group that was asked for.
    type: str
  host:
    description: The inventory's name of the database.
    type: str
  database:
    description: The name of the database on its server.
    type: str
  reason:
    description: Why the run was started; goes into the report.
    type: str
  executed_by:
    description: Who started the run; goes into the report.
    type: str
  request:
    description: What was asked for, steps or target for example.
    type: dict
  contacts:
    description:
      - Whom to call when a person is needed; for O(state=started). They are kept with the run, for its report and its
        notices.
    type: list
    elements: dict
    suboptions:
      role:
        description: Their role, C(Database administrator) for example.
        type: str
        required: true
      name:
        description: Their name.
        type: str
      contact:
        description: How to reach them, a telephone number for example.
        type: str
  job_controller:
    description: The run was started by a job controller, whose containers vanish after each job.
    type: bool
    default: false
  phase:
    description: The phase of an event.
    type: str
  action:
    description: What was done, in a few words, as the report shows it; for O(state=event).
    type: str
  outcome:
    description: How it ended.
    type: str
    choices: [ok, refused, failed]
    default: ok
  data:
    description: Facts that belong to the event. Never a secret.
    type: dict
    default: {}
  failure:
    description:
      - The failure of a task that is not a module of this collection, for O(state=finished), with C(action),
        C(message) and C(remedy).
      - It is recorded only where the journal holds no failure of its own.
    type: dict
"""

EXAMPLES = r"""
- name: Begin the run
  balcon.rollback.run_journal:
    state: started
    state_dir: /var/lib/balcon-rollback
    kind: rollback
    environment: production
    host: shop-production
    database: shop
    reason: The new column breaks the invoices
    executed_by: anna
  register: rollback_run

- name: End the run and write its report
  balcon.rollback.run_journal:
    state: finished
    state_dir: /var/lib/balcon-rollback
    run_id: "{{ rollback_run.run_id }}"
"""

RETURN = r"""
run_id:
  description: The name of the run.
  returned: always
  type: str
  sample: 20261123t081500a3f9
folder:
  description: The run's folder on the host.
  returned: always
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9
run:
  description: The content of C(run.json); times in UTC ISO 8601, durations in seconds, sizes in bytes.
  returned: when O(state=finished), not in check mode
  type: dict
  sample: {"outcome": "rolled_back", "window_seconds": 7.4}
report:
  description: The path of the report; C(report.html) with the same content is beside it.
  returned: when O(state=finished), not in check mode
  type: str
  sample: /var/lib/balcon-rollback/runs/20261123t081500a3f9/report.md
needs_a_person:
  description: Whether somebody has to look after it, as it did not end as was asked, or its watch raised an alarm.
  returned: when O(state=finished), not in check mode
  type: bool
  sample: false
lines:
  description: What came of it, for a person to read; with whom to call where somebody is needed.
  returned: when O(state=finished), not in check mode
  type: list
  elements: str
  sample:
    - "RESTORED: shop (20261102-add-phone.ts), window 4.2 s"
    - "Report: /var/lib/balcon-rollback/runs/20261123t081500a3f9/report.md (and report.html)"
    - "Call Database administrator: Anna, +49 30 1234"
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.wording import closing_lines, needs_a_person
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from ansible_collections.balcon.rollback.plugins.module_utils._run_records import begin, end

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

REQUEST = ("kind", "environment", "host", "database", "reason", "executed_by", "request", "contacts")

CONTACT: dict[str, Any] = {
    "role": {"type": "str", "required": True},
    "name": {"type": "str"},
    "contact": {"type": "str"},
}

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "required": True, "choices": ["started", "event", "finished"]},
        "state_dir": {"type": "path", "required": True},
        "run_id": {"type": "str"},
        "kind": {"type": "str", "choices": ["rehearsal", "rollback", "restore", "drill"]},
        "environment": {"type": "str"},
        "host": {"type": "str"},
        "database": {"type": "str"},
        "reason": {"type": "str"},
        "executed_by": {"type": "str"},
        "request": {"type": "dict"},
        "contacts": {"type": "list", "elements": "dict", "options": CONTACT},
        "job_controller": {"type": "bool", "default": False},
        "phase": {"type": "str"},
        "action": {"type": "str"},
        "outcome": {"type": "str", "choices": ["ok", "refused", "failed"], "default": "ok"},
        "data": {"type": "dict", "default": {}},
        "failure": {"type": "dict"},
    },
    required_if=[
        ("state", "started", ["kind", "environment", "database"]),
        ("state", "event", ["run_id", "phase", "action"]),
        ("state", "finished", ["run_id"]),
    ],
)


def keep_record(module: AnsibleModule) -> dict[str, Any]:
    """Do what O(state) asks for and return the module's result."""
    params = module.params
    state_dir = Path(params["state_dir"])
    if params["state"] == "started":
        request = {name: params[name] for name in REQUEST if params[name] is not None}
        run_id = begin(state_dir, request, job_controller=params["job_controller"], check_mode=module.check_mode)
        return {"changed": True, "run_id": run_id, "folder": str(Run(state_dir, run_id).folder)}
    run = Run(state_dir, params["run_id"])
    result: dict[str, Any] = {"run_id": run.run_id, "folder": str(run.folder), "changed": True}
    if module.check_mode:
        return result
    if params["state"] == "event":
        run.record(params["phase"], params["action"], outcome=params["outcome"], data=params["data"])
        return result
    summary, changed = end(run, params["failure"])
    report = str(run.folder / "report.md")
    person, lines = needs_a_person(summary), closing_lines(summary, report)
    return {**result, "changed": changed, "run": summary, "report": report, "needs_a_person": person, "lines": lines}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: keep_record(module))


if __name__ == "__main__":
    main()
