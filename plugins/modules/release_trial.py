#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_trial
short_description: Try the application on a throwaway clone
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Clones a candidate or a rehearsal of the run, runs the project's tests on the clone, starts the application on it,
    asks its endpoints, reads the state table again, ends everything that was started, and drops the clone.
  - The application gets the environment of the inventory and the URL of the clone, C(OUTBOUND_DISABLED=true), and a
    proxy at which nobody listens, so that clients that honour proxies reach nothing outside.
  - In check mode nothing is started.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.database
  - balcon.rollback.run
  - balcon.rollback.engine
  - balcon.rollback.endpoints
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Nothing is left behind, so that nothing is called changed.
options:
  run_id:
    required: true
  endpoints:
    description: The endpoints of the started application; C({port}) in O(endpoints[].url) stands for its port.
  database:
    description: The database that is cloned; nobody is connected to it. By default the candidate of the run.
    type: str
  tests:
    description: Commands that must succeed on the clone, one after the other, before the application is started.
    type: list
    elements: dict
    suboptions:
      name:
        description: How results call it.
        type: str
        required: true
      command:
        description: The argument list. There is no shell.
        type: list
        elements: str
        required: true
      chdir:
        description: The working folder; by default O(chdir).
        type: path
  start:
    description: The argument list that starts the application in the foreground. Without it none is started.
    type: list
    elements: str
  chdir:
    description:
      - The folder of the older release, where it is tested and started; by default O(engine_options.project_dir).
    type: path
  port_variable:
    description: The environment variable in which the application takes its port.
    type: str
    default: PORT
  expect_applied:
    description: The migrations that must be applied afterwards, all of them; an application may migrate when it starts.
    type: list
    elements: str
  timeout:
    description: Seconds that one test may take.
    type: float
    default: 300.0
  probe_timeout:
    description: Seconds for one request.
    type: float
    default: 5.0
  deadline:
    description: Seconds until the application must be healthy.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Try the older release on a clone of the candidate
  balcon.rollback.release_trial:
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: /var/lib/balcon-rollback
    phase: verify
    engine_options:
      project_dir: /srv/shop/backend
      manifest: migration-manifest.json
    environment:
      NODE_ENV: production
      JWT_SECRET: "{{ vault_jwt_secret }}"
    tests:
      - name: integration
        command: [npm, run, --silent, "test:integration"]
        chdir: /srv/shop/releases/1.1.0
    start: [npm, run, --silent, start]
    chdir: /srv/shop/releases/1.1.0
    endpoints:
      - name: deep health
        url: "http://127.0.0.1:{port}/api/health/deep"
        json: {ok: true}
    expect_applied: "{{ migrated.state_after }}"
"""

RETURN = r"""
tests:
  description: For each test its name, its time in seconds, its exit code, and the end of its output, secrets taken out.
  returned: success
  type: list
  elements: dict
  sample: [{"name": integration, "seconds": 2.1, "exit_code": 0, "output_tail": "ok 14"}]
healthy:
  description: Whether the application was healthy; null where none was started.
  returned: success
  type: bool
  sample: true
endpoints:
  description:
    - What each endpoint answered in the last round. C(url) is without user, password and query, C(status) is null where
      there was no answer, C(latency_ms) is in milliseconds, C(reason) says why it is not as wished.
  returned: success
  type: list
  elements: dict
  sample:
    - name: deep health
      url: http://127.0.0.1:8082/api/health/deep
      status: 200
      latency_ms: 3.4
      healthy: true
      reason: ""
applied:
  description: What the state table of the clone listed at the end, oldest first.
  returned: success, not in check mode
  type: list
  elements: str
  sample: [20240101000000-initial-schema.ts]
session_seen:
  description: Whether the server saw a session of the tests or of the application in the clone.
  returned: success, not in check mode
  type: bool
  sample: true
clone_seconds:
  description: Time of the copy, in seconds.
  returned: success
  type: float
  sample: 0.2
command_seconds:
  description: Time of the tests, and of the application until it was probed and ended, in seconds.
  returned: success
  type: float
  sample: 4.8
seconds:
  description: Time of it all, in seconds.
  returned: success
  type: float
  sample: 5.3
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENDPOINT, ENGINE, show_plain_values
from ansible_collections.balcon.rollback.plugins.module_utils._trial import Trial

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

TEST = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path"},
}

SPEC = ArgumentSpec().merge(
    DATABASE,
    RUN,
    ENGINE,
    ArgumentSpec(
        {
            "run_id": {"type": "str", "required": True},
            "database": {"type": "str"},
            "tests": {"type": "list", "elements": "dict", "options": TEST},
            "start": {"type": "list", "elements": "str"},
            "chdir": {"type": "path"},
            "port_variable": {"type": "str", "default": "PORT"},
            "endpoints": {"type": "list", "elements": "dict", "options": ENDPOINT},
            "expect_applied": {"type": "list", "elements": "str"},
            "timeout": {"type": "float", "default": 300.0},
            "probe_timeout": {"type": "float", "default": 5.0},
            "deadline": {"type": "float", "default": 60.0},
        }
    ),
)

NOTHING: dict[str, Any] = {
    "tests": [],
    "healthy": None,
    "endpoints": [],
    "clone_seconds": 0.0,
    "command_seconds": 0.0,
    "seconds": 0.0,
}


def try_release(module: AnsibleModule) -> dict[str, Any]:
    """Try it; in check mode only see that it could be tried."""
    show_plain_values(module, module.params["environment"], module.params["endpoints"])
    with module_step(module, "try the application on a throwaway clone") as journal:
        journal["changed"] = False
        trial = Trial(module.params)
        result = NOTHING if module.check_mode else trial.run()
        journal.update(result)
    return {"changed": False, **result}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: try_release(module))


if __name__ == "__main__":
    main()
