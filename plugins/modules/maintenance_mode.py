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
  - Turns maintenance mode on or off through a file, commands, or HTTP requests.
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
    description: The state that is wished for.
    type: str
    choices: ["on", "off"]
    required: true
  provider:
    description: The way to switch.
    type: str
    choices: [file, command, http]
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
        description: The argument list of the command that turns it on.
        type: list
        elements: str
        required: true
      "off":
        description: The argument list of the command that turns it off.
        type: list
        elements: str
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
"""

RETURN = r"""
changed:
  description: Whether it was, or would be, switched.
  returned: success
  type: bool
  sample: true
state:
  description: The state that was wished for, V(on) or V(off).
  returned: success
  type: str
  sample: "on"
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
from ansible_collections.balcon.rollback.plugins.module_utils._maintenance import present_state, provider, switch
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import (
    MAINTENANCE_OPTIONS,
    MAINTENANCE_RULES,
    show_plain_values,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {"state": {"type": "str", "required": True, "choices": ["on", "off"]}, **MAINTENANCE_OPTIONS},
    required_if=MAINTENANCE_RULES,
).merge(RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Switch, where it is not so already."""
    params = module.params
    on = params["state"] == "on"
    show_plain_values(module, params["command"], params["http"], params["probe"])
    with module_step(module, f"turn maintenance mode {params['state']}") as journal:
        changed = present_state(params) is not on
        if changed and not module.check_mode:
            switch(params, on)
        word = bool(params["probe"]) or provider(params).is_on() is on
        verified_by = ("probe" if params["probe"] else "provider") if word else None
        result = {"changed": changed, "state": params["state"], "verified": word, "verified_by": verified_by}
        if module.check_mode and changed:
            result.update(verified=False, verified_by=None)
        journal.update(result)
        if result["verified_by"] == "probe" and changed:
            journal["maintenance"] = params["state"]
    return result


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
