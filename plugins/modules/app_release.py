#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release
short_description: Switch the application's release, and see that it is so
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Stops the application, starts its older or newer release, or restarts it, by commands of the team's own, by checking
    a revision out, or on Railway, and sees from outside that the stopped one is gone, or that the started one is
    healthy.
  - Within a run, the release is stopped only when the candidate is verified, the older one is started only after the
    swap, and the newer one only when no run is open any more. A restart is for a database that is open.
  - What a command leaves running goes on, and should send its output somewhere itself.
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
    support: none
    details:
      - The commands are run each time. That nobody answers does not prove that nobody runs; the database is closed.
options:
  state:
    description:
      - What is wished for.
      - V(checked) changes nothing. It sees that the switches of a rollback will be possible, programs, revisions,
        deployments, and the token that reaches them.
    type: str
    choices: [stopped, older, newer, restarted, checked]
    required: true
  commands:
    description: Argument lists, or lists of argument lists. There is no shell.
    type: dict
    suboptions:
      stop:
        description: For O(state=stopped).
        type: list
        elements: raw
      older:
        description: For O(state=older).
        type: list
        elements: raw
      newer:
        description: For O(state=newer).
        type: list
        elements: raw
      restart:
        description: For O(state=restarted).
        type: list
        elements: raw
  git:
    description:
      - A checkout that is moved to another revision before the command of O(commands) for the same state runs.
      - One with changes that are not committed is refused. Its hooks are not run.
    type: dict
    suboptions:
      checkout:
        description: Its folder.
        type: path
        required: true
      older:
        description: For O(state=older), a tag or a commit.
        type: str
        required: true
      newer:
        description: For O(state=newer). By default the commit that O(git.older) took the place of in this run.
        type: str
  railway:
    description:
      - A service on Railway. O(state=stopped) stops its active deployments, O(state=restarted) restarts the newest of
        them.
      - Every one waits until Railway shows it, and until no other deployment of the service is active.
    type: dict
    suboptions:
      token:
        description:
          - A project token, made in the settings of the project for this one environment, or an account's token.
          - Before anything is changed, Railway is asked whether it belongs to O(railway.project_id) and
            O(railway.environment_id).
        type: str
        required: true
      token_kind:
        description: V(project), or V(account) for the token of an account or a workspace.
        type: str
        choices: [project, account]
        default: project
      project_id:
        description: The project.
        type: str
        required: true
      environment_id:
        description: The environment.
        type: str
        required: true
      service_id:
        description: The service that runs the application.
        type: str
        required: true
      endpoint:
        description: The address of the API; C(https), or the loopback address.
        type: str
        default: https://backboard.railway.com/graphql/v2
      older_deployment:
        description:
          - For O(state=older), the deployment to put in place again.
          - There is no "previous one". What changes a variable deploys the same release again, so that the previous
            deployment often is the newer release.
        type: str
      newer_deployment:
        description: For O(state=newer). By default the deployment that O(state=stopped) stopped in this run.
        type: str
      deploy_by:
        description:
          - V(redeploy) deploys the older image with the variables of now. Maintenance mode stays on, and a database
            password that was changed since works.
          - V(rollback) is Railway's own rollback, to image and variables of that deployment. Maintenance mode is then
            as it was at that time.
        type: str
        choices: [redeploy, rollback]
        default: redeploy
      deadline:
        description: Seconds for Railway to stop or deploy.
        type: float
        default: 300.0
  environment:
    description: Their environment; they get nothing else but C(PATH), C(HOME) and C(LANG).
    type: dict
    default: {}
  chdir:
    description: Their working folder; by default C(/).
    type: path
  gone:
    description:
      - For O(state=stopped), endpoints that must be gone afterwards, the connection refused, or the answer another one
        than described. Where no status is given, any answer counts as still being there.
      - For O(state=newer), where it is given, it is what must answer again, with status 200 where none is given.
      - Describe the newer release by what it says without a database, its version for example.
    type: list
    elements: dict
    suboptions:
      name:
        description: How results call it; by default its address.
        type: str
      url:
        description: Its address, C(http) or C(https). No proxy is used, and redirects to other hosts are not followed.
        type: str
        required: true
      method:
        description: The HTTP method.
        type: str
        default: GET
      headers:
        description: Request headers.
        type: dict
      body:
        description: The request's body; text as it is, anything else as JSON.
        type: raw
      status:
        description: Status codes that count. By default V([200]); any, where a release is to be gone.
        type: list
        elements: int
      json:
        description:
          - Values that the JSON of the answer must have, by dotted path, C(migrations.pending) for example; a number
            picks from a list.
          - Types count, V(1) is neither V(true) nor the text V("1").
        type: dict
      contains:
        description: Text that the answer must hold. At most 1 MiB of an answer is read.
        type: str
      absent:
        description: Text that the answer must not hold.
        type: str
      max_latency_ms:
        description: The slowest answer that counts as healthy, in milliseconds.
        type: float
  healthy:
    description: For the other states, endpoints that must be healthy afterwards.
    type: list
    elements: dict
    suboptions:
      name:
        description: How results call it; by default its address.
        type: str
      url:
        description: Its address, C(http) or C(https). No proxy is used, and redirects to other hosts are not followed.
        type: str
        required: true
      method:
        description: The HTTP method.
        type: str
        default: GET
      headers:
        description: Request headers.
        type: dict
      body:
        description: The request's body; text as it is, anything else as JSON.
        type: raw
      status:
        description: Status codes that count. By default V([200]); any, where a release is to be gone.
        type: list
        elements: int
      json:
        description:
          - Values that the JSON of the answer must have, by dotted path, C(migrations.pending) for example; a number
            picks from a list.
          - Types count, V(1) is neither V(true) nor the text V("1").
        type: dict
      contains:
        description: Text that the answer must hold. At most 1 MiB of an answer is read.
        type: str
      absent:
        description: Text that the answer must not hold.
        type: str
      max_latency_ms:
        description: The slowest answer that counts as healthy, in milliseconds.
        type: float
  command_timeout:
    description: Seconds that one command may take.
    type: float
    default: 120.0
  timeout:
    description: Seconds for one request.
    type: float
    default: 5.0
  deadline:
    description: Seconds until the outside must show what was wished.
    type: float
    default: 60.0
"""

EXAMPLES = r"""
- name: Stop the newer release, and see that it is gone
  balcon.rollback.app_release:
    state: stopped
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: /var/lib/balcon-rollback
    phase: reopen
    commands:
      stop: [systemctl, stop, shop]
      older: [[ln, -sfn, /srv/shop/releases/1.1.0, /srv/shop/current], [systemctl, start, shop]]
      newer: [[ln, -sfn, /srv/shop/releases/1.2.0, /srv/shop/current], [systemctl, start, shop]]
    gone:
      - url: http://127.0.0.1:8082/api/health
        json: {version: 1.2.0}

- name: Put the older release in place on Railway
  balcon.rollback.app_release:
    state: older
    database_url: "{{ rollback_database_url }}"
    run_id: "{{ rollback_run_id }}"
    state_dir: /var/lib/balcon-rollback
    phase: reopen
    railway:
      token: "{{ lookup('ansible.builtin.env', 'RAILWAY_PROJECT_TOKEN') }}"
      project_id: 7f0c9b9e-2a5e-4a58-9a43-0d4c0c3c2a11
      environment_id: 1c6d2b64-63f5-4f0e-9f5b-5d8f1f0b7d22
      service_id: e5a4b7de-90a4-4b7e-8f2d-3f8a3c0e9b33
      older_deployment: 0b6d3c52-7d0e-4a63-9a0e-6a1d6f3d1c44
    healthy:
      - url: https://api.example.com/api/health
        json: {version: 1.1.0}

- name: Restart the application, and see that it is healthy
  balcon.rollback.app_release:
    state: restarted
    database_url: "{{ rollback_database_url }}"
    commands:
      restart: [systemctl, restart, shop]
    healthy:
      - url: http://127.0.0.1:8082/api/health/deep
        json: {ok: true}
"""

RETURN = r"""
changed:
  description: Whether anything was, or would be, done; always, but for O(state=checked).
  returned: success
  type: bool
  sample: true
state:
  description: What was wished for.
  returned: success
  type: str
  sample: stopped
commands:
  description:
    - For each command, checkout or change on Railway its time in seconds, its exit code, and the end of its output, or
      what was done, secrets taken out.
  returned: success
  type: list
  elements: dict
  sample: [{"seconds": 0.21, "exit_code": 0, "output_tail": ""}]
command_seconds:
  description: Time of the commands, in seconds.
  returned: success
  type: float
  sample: 0.21
gone_seconds:
  description: Time after them until nobody answered, in seconds; null where something was started.
  returned: success
  type: float
  sample: 0.03
healthy_seconds:
  description: Time after them until the endpoints were healthy, in seconds; null where something was stopped.
  returned: success
  type: float
  sample: 1.4
verified:
  description: Whether the outside shows it; false where no endpoint was given.
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
facts:
  description:
    - What was found. For O(git) C(older) and C(newer), the commits; for O(railway) C(service), C(running) and C(older),
      C(start_command) and C(pre_deploy_command), which Railway runs with every deployment.
  returned: when O(state=checked)
  type: dict
  sample: {"service": "shop", "running": "9f0e", "older": "0b6d", "start_command": null, "pre_deploy_command": null}
seconds:
  description: Time of it all, in seconds.
  returned: success
  type: float
  sample: 0.24
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import DATABASE, RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._release import check_switch, switch_release
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import (
    ENDPOINT,
    RAILWAY,
    show_plain_values,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

COMMAND = {"type": "list", "elements": "raw"}

GIT = {
    "checkout": {"type": "path", "required": True},
    "older": {"type": "str", "required": True},
    "newer": {"type": "str"},
}

RELEASE_ON_RAILWAY = {
    **RAILWAY,
    "older_deployment": {"type": "str"},
    "newer_deployment": {"type": "str"},
    "deploy_by": {"type": "str", "choices": ["redeploy", "rollback"], "default": "redeploy"},
    "deadline": {"type": "float", "default": 300.0},
}

ACTIONS = {
    "stopped": "stop the newer release",
    "older": "start the older release",
    "newer": "start the newer release",
    "restarted": "restart the application",
    "checked": "look at how the release is switched",
}

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "required": True, "choices": list(ACTIONS)},
        "commands": {
            "type": "dict",
            "options": {"stop": COMMAND, "older": COMMAND, "newer": COMMAND, "restart": COMMAND},
        },
        "git": {"type": "dict", "options": GIT},
        "railway": {"type": "dict", "options": RELEASE_ON_RAILWAY},
        "environment": {"type": "dict", "no_log": True, "default": {}},
        "chdir": {"type": "path"},
        "gone": {"type": "list", "elements": "dict", "options": ENDPOINT},
        "healthy": {"type": "list", "elements": "dict", "options": ENDPOINT},
        "command_timeout": {"type": "float", "default": 120.0},
        "timeout": {"type": "float", "default": 5.0},
        "deadline": {"type": "float", "default": 60.0},
    },
    required_one_of=[("commands", "git", "railway")],
).merge(DATABASE, RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Switch, and see it."""
    params = module.params
    show_plain_values(module, params["environment"], params["gone"], params["healthy"], params["railway"])
    with module_step(module, ACTIONS[params["state"]]) as journal:
        if params["state"] == "checked":
            journal["changed"] = False
            return check_switch(params, journal)
        return switch_release(params, journal, check_mode=module.check_mode)


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
