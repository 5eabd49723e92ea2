#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: maintenance_mode
short_description: Turn maintenance mode on or off, and see that it is
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Turns maintenance mode on or off through a file, commands, HTTP requests, or a variable of a service on Railway.
  - With O(probe) the outside must show it before the module returns; without one the result says that it is not
    verified.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - Where neither the provider nor a probe can tell the state, it is set each time, and called changed.
options:
  state:
    description:
      - The state that is wished for.
      - V(checked) changes nothing. It reads the state, and with it sees that the provider can be asked.
    type: str
    choices: ["on", "off", checked]
    required: true
  provider:
    description: The way to switch.
    type: str
    choices: [file, command, http, railway]
    required: true
  file:
    description: For O(provider=file); maintenance is on while the file is there.
    type: dict
    suboptions:
      path:
        description: The file, for which the application or the web server looks.
        type: path
        required: true
      content:
        description: What is written into it.
        type: str
  command:
    description: For O(provider=command). There is no shell.
    type: dict
    suboptions:
      "on":
        description: The argument list of the command that turns it on, or a list of such lists.
        type: list
        elements: raw
        required: true
      "off":
        description: The argument list of the command that turns it off, or a list of such lists.
        type: list
        elements: raw
        required: true
      status:
        description: The argument list of a command that ends with 0 when it is on, and with 1 when it is off.
        type: list
        elements: str
      environment:
        description: Their environment; they get nothing else but C(PATH), C(HOME) and C(LANG).
        type: dict
      chdir:
        description: Their working folder; by default C(/).
        type: path
  http:
    description: For O(provider=http).
    type: dict
    suboptions:
      url:
        description: The address.
        type: str
        required: true
      "on":
        description: The request that turns it on.
        type: dict
        suboptions:
          url:
            description: Its address, where it has one of its own.
            type: str
          method:
            description: Its method; by default C(PUT).
            type: str
          body:
            description: Its body; text as it is, anything else as JSON.
            type: raw
      "off":
        description: The request that turns it off.
        type: dict
        suboptions:
          url:
            description: Its address, where it has one of its own.
            type: str
          method:
            description: Its method; by default C(DELETE).
            type: str
          body:
            description: Its body; text as it is, anything else as JSON.
            type: raw
      headers:
        description: The headers of the requests.
        type: dict
  railway:
    description:
      - For O(provider=railway), a variable of the service. It is set, read back, and the deployment that runs is
        deployed again, the same image, because Railway's variables take effect with a deployment only.
      - It is over when the new deployment runs and no other one does any more. What the deployment runs when it starts
        runs then too, migrations included.
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
      variable:
        description: The variable that the application looks at.
        type: str
        default: MAINTENANCE_MODE
      "on":
        description: Its value while maintenance is on.
        type: str
        default: "true"
      "off":
        description: Its value otherwise; a variable that is not there counts as this one.
        type: str
        default: "false"
      redeploy:
        description: Whether to deploy again; V(false) where the application reads the variable in another way.
        type: bool
        default: true
      deadline:
        description: Seconds that the deployment has to run.
        type: float
        default: 300.0
  probe:
    description: An endpoint that answers as described here while maintenance is on, and otherwise while it is off.
    type: dict
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
  deadline:
    description: Seconds that the probe has to show it.
    type: float
    default: 10.0
"""

EXAMPLES = r"""
- name: Turn maintenance mode on, and see it
  balcon.rollback.maintenance_mode:
    state: "on"
    provider: file
    file:
      path: /srv/shop/maintenance
    probe:
      url: https://api.example.com/api/health
      status: [503]
      contains: maintenance

- name: Turn maintenance mode on for a service on Railway
  balcon.rollback.maintenance_mode:
    state: "on"
    provider: railway
    railway:
      token: "{{ lookup('ansible.builtin.env', 'RAILWAY_PROJECT_TOKEN') }}"
      project_id: 7f0c9b9e-2a5e-4a58-9a43-0d4c0c3c2a11
      environment_id: 1c6d2b64-63f5-4f0e-9f5b-5d8f1f0b7d22
      service_id: e5a4b7de-90a4-4b7e-8f2d-3f8a3c0e9b33
    probe:
      url: https://api.example.com/api/health
      json: {maintenance: true}
    deadline: 60

- name: Remember how it was found
  balcon.rollback.maintenance_mode:
    state: checked
    provider: file
    file:
      path: /srv/shop/maintenance
  register: found
"""

RETURN = r"""
changed:
  description: Whether it was, or would be, switched.
  returned: success
  type: bool
  sample: true
state:
  description: The state that was wished for, V(on), V(off) or V(checked).
  returned: success
  type: str
  sample: "on"
found:
  description: How it was before, V(on) or V(off); null where neither the provider nor the probe could tell.
  returned: success
  type: str
  sample: "off"
verified:
  description: Whether something shows that it is so.
  returned: success
  type: bool
  sample: true
verified_by:
  description: V(probe), V(provider) (its own word), or null.
  returned: success
  type: str
  sample: probe
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._maintenance import (
    ACTIONS,
    for_journal,
    present_state,
    set_state,
    word_of,
)
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import (
    MAINTENANCE_OPTIONS,
    MAINTENANCE_RULES,
    show_plain_values,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {"state": {"type": "str", "required": True, "choices": ["on", "off", "checked"]}, **MAINTENANCE_OPTIONS},
    required_if=MAINTENANCE_RULES,
).merge(RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Switch, where it is not so already."""
    params = module.params
    wish = params["state"]
    show_plain_values(module, params["command"], params["http"], params["probe"], params["railway"])
    with module_step(module, ACTIONS[wish]) as journal:
        found = present_state(params)
        if wish == "checked":
            result = _checked(params, found)
        else:
            result = set_state(params, wish == "on", found, only_plan=module.check_mode)
        journal.update(for_journal(result))
    return result


def _checked(params: dict[str, Any], found: bool | None) -> dict[str, Any]:
    shown = found is not None
    verified_by = ("probe" if params["probe"] else "provider") if shown else None
    return {
        "changed": False, "state": "checked", "found": word_of(found), "verified": shown, "verified_by": verified_by,
    }  # fmt: skip


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
