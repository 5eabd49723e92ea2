#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_lint
short_description: Check migrations before they are merged
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Reads a project's migrations and judges them by the rules of the rollback procedures. There must be a C(down()) that
    does something, the manifest must be in step, and operations that lose data, cannot be taken back or lock a table
    are named with file and line.
  - TypeScript and JavaScript are parsed by the package C(typescript) of the project's own C(node_modules), SQL by this
    module. Nothing of the project is run for that.
  - With O(scratch_url) every migration is also taken up, down and up again on a scratch database with rows in it, which
    is made beside the given one and dropped again. Schema, rows and values are compared after every step.
  - A comment C(check-migrations:) C(allow RULE, because …) beside or above a statement lets one finding pass, if it
    gives a reason.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.engine
attributes:
  check_mode:
    support: full
    details:
      - In check mode migrations are only read; no scratch database is made.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Nothing that was there before is changed.
options:
  scratch_url:
    description:
      - A database on a PostgreSQL server for tests, C(postgresql://user:password@host:port/name). Scratch databases are
        made beside it; it is not touched itself. Its role needs C(CREATEDB). Without it migrations are only read.
    type: str
  never_urls:
    description:
      - URLs of databases on whose servers no scratch database may be made, production's for example. They are compared
        as text, and not connected to.
    type: list
    elements: str
  since:
    description: The last migration that is released; those after it are judged. By default all are.
    type: str
  base:
    description:
      - The branch of git that the change goes into, V(origin/main) for example. Migrations that are not on it are
        judged; those that are must not be changed. Not together with O(since).
    type: str
  rules:
    description: Rules that are to be graver or less grave, C({rule, V(error|warning|note|off\)}).
    type: dict
    default: {}
  fail_on:
    description: The least grave finding with which RV(passed) is false.
    type: str
    choices: [error, warning]
    default: error
  seed:
    description:
      - A command of the project, as a list, that fills the scratch database with rows. It is run once, after the
        released migrations, in the project's folder.
    type: list
    elements: str
  verify:
    description:
      - A command of the project, as a list, that ends well when the application works, its smoke tests for example.
      - It is run on a copy of the scratch database after every way up, way back and second way up.
    type: list
    elements: str
  fill_rows:
    description:
      - Rows that every empty table gets before a migration is tried, as far as its constraints allow; 0 for none.
    type: int
    default: 3
  lock_timeout:
    description: Seconds that a statement of the tool waits for a lock before it fails.
    type: float
    default: 5.0
  step_timeout:
    description: Seconds that one command may take; after them it is ended, with everything that it started.
    type: float
    default: 600.0
  root:
    description: The folder that paths in the result are relative to; by default the top of the git repository.
    type: path
  output:
    description: What is printed on the screen, lines for a person, annotations for GitHub's workflows, or JSON.
    type: str
    choices: [text, github, json, none]
    default: text
  report:
    description: A file on the host that gets the result as JSON.
    type: path
requirements:
  - psycopg2, for O(scratch_url)
  - git, for O(base)
seealso:
  - module: balcon.rollback.migration_info
"""

EXAMPLES = r"""
- name: Check what this branch adds, with the round trip, in a job of GitHub
  balcon.rollback.migration_lint:
    engine_options:
      project_dir: /srv/checkout/backend
      manifest: migration-manifest.json
    environment:
      NODE_ENV: test
      JWT_SECRET: "{{ lookup('ansible.builtin.password', '/dev/null') }}"
    scratch_url: postgresql://postgres:postgres@127.0.0.1:5432/postgres
    base: origin/main
    output: github
  register: migrations

- name: Let the job fail
  ansible.builtin.assert:
    that: migrations.passed
    fail_msg: "{{ migrations.lines | last }}"

- name: Only read, and be stricter about locks
  balcon.rollback.migration_lint:
    engine_options:
      project_dir: /srv/checkout/backend
    rules:
      index-not-concurrent: error
      row-count-check: "off"
    fail_on: warning
"""

RETURN = r"""
passed:
  description: Whether nothing was found that is as grave as O(fail_on).
  returned: success
  type: bool
  sample: false
counts:
  description: How many findings of each severity there are, and how many are allowed by a comment.
  returned: success
  type: dict
  sample: {"error": 1, "warning": 0, "note": 2, "allowed": 1}
findings:
  description:
    - What was found. C(evidence) is V(text) for what was read, V(scratch) for what was seen on the scratch database,
      V(both) for what was read and seen. C(line) is 0 where it belongs to the file as a whole.
  returned: success
  type: list
  elements: dict
  sample:
    - rule: not-null-without-default
      severity: error
      migration: 20240108000000-add-code.ts
      file: backend/migrations/20240108000000-add-code.ts
      line: 5
      subject: projects.code
      message: "projects.code is added NOT NULL and without a default: it fails as soon as the table has a row."
      evidence: both
      remedy: Add the column as nullable, fill it, and add the constraint in a later step.
      runbook: Always add columns as nullable first, populate data, then add constraint
      reason: ""
allowed:
  description: What was found and a comment allows; C(reason) is the comment's.
  returned: success
  type: list
  elements: dict
  sample: []
migrations:
  description: The migrations that were judged. C(round_trip) is V(proven), V(failed) or V(not tried).
  returned: success
  type: list
  elements: dict
  sample:
    - name: 20240108000000-add-code.ts
      file: backend/migrations/20240108000000-add-code.ts
      down: proven
      round_trip: failed
released:
  description: The migrations that were not judged, because they are released.
  returned: success
  type: list
  elements: str
  sample: [20240107000000-add-project-priority.ts]
unproven:
  description: What could not be proven, one sentence each.
  returned: success
  type: list
  elements: str
  sample: []
scratch:
  description: Whether there was a scratch database, and if not, why.
  returned: success
  type: dict
  sample: {"done": true, "reason": ""}
lines:
  description: The findings as text, C(file:line), and a summary as the last line.
  returned: success
  type: list
  elements: str
  sample: ["1 migration: 1 error, 0 warnings, 2 notes, 0 allowed"]
annotations:
  description: The findings as workflow commands of GitHub.
  returned: success
  type: list
  elements: str
  sample: ["::error file=backend/migrations/20240108000000-add-code.ts,line=5,title=not-null-without-default::…"]
report:
  description: The file that got the result as JSON.
  returned: when O(report) is given
  type: str
  sample: /srv/checkout/migrations.json
seconds:
  description: Time of the whole module, in seconds.
  returned: success
  type: float
  sample: 8.41
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.checking import (
    check_migrations,
    check_report,
    report_text,
)
from ansible_collections.balcon.rollback.plugins.module_utils._run import write_private_file
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENGINE, show_plain_values

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "scratch_url": {"type": "str", "no_log": True},
        "never_urls": {"type": "list", "elements": "str", "no_log": True},
        "since": {"type": "str"},
        "base": {"type": "str"},
        "rules": {"type": "dict", "default": {}},
        "fail_on": {"type": "str", "choices": ["error", "warning"], "default": "error"},
        "seed": {"type": "list", "elements": "str"},
        "verify": {"type": "list", "elements": "str"},
        "fill_rows": {"type": "int", "default": 3},
        "lock_timeout": {"type": "float", "default": 5.0},
        "step_timeout": {"type": "float", "default": 600.0},
        "root": {"type": "path"},
        "output": {"type": "str", "choices": ["text", "github", "json", "none"], "default": "text"},
        "report": {"type": "path"},
    }
).merge(ENGINE)


def check(module: AnsibleModule) -> dict[str, Any]:
    """Check the migrations, and write the report where one is wanted."""
    params = module.params
    show_plain_values(module, params["environment"])
    report = Path(params["report"]) if params["report"] and not module.check_mode else None
    if report:
        check_report(report)
    result = check_migrations(params, check_mode=module.check_mode)
    if report:
        write_private_file(report, report_text(result))
        result["report"] = str(report)
    return {"changed": False, **result}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: check(module))


if __name__ == "__main__":
    main()
