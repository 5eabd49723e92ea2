#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_probe
short_description: Ask endpoints until they answer as described, or are gone
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Asks all endpoints at the same time, again and again, until all answer as described in one and the same round, or
    the deadline has passed.
  - An answer is judged by its status, its JSON, its text and its time; a status of 200 alone can be a degraded one.
  - With O(duration) it goes on asking, and reports every breach; a breach then does not make the module fail.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.attributes.info
  - balcon.rollback.run
  - balcon.rollback.endpoints
attributes:
  check_mode: {}
  diff_mode: {}
  idempotent: {}
options:
  endpoints:
    required: true
  state:
    description:
      - V(healthy), every endpoint answers as described.
      - V(gone), every endpoint refuses the connection, or answers otherwise than described. A time-out does not count,
        what hangs may still write. Describe what is to be gone by what it always says, its version for example.
    type: str
    choices: [healthy, gone]
    default: healthy
  timeout:
    description: Seconds for one request, the last byte of the answer included.
    type: float
    default: 5.0
  deadline:
    description: Seconds until all must be as wished; V(0) asks once.
    type: float
    default: 30.0
  duration:
    description: Seconds to go on asking after that.
    type: float
    default: 0.0
  interval:
    description: Seconds from one round to the next during O(duration).
    type: float
    default: 5.0
"""

EXAMPLES = r"""
- name: Wait until the application is healthy
  balcon.rollback.health_probe:
    endpoints:
      - name: deep health
        url: https://api.example.com/api/health/deep
        json: {ok: true, migrations.pending: 0}
        max_latency_ms: 2000
      - name: who am I
        url: https://api.example.com/api/auth/me
        headers: {Authorization: "Bearer {{ vault_probe_token }}"}
        contains: '"email"'
    deadline: 60
"""

RETURN = r"""
healthy:
  description: Whether all endpoints are as wished, and stayed so during O(duration).
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
attempts:
  description: Rounds until all were as wished.
  returned: success
  type: int
  sample: 3
seconds:
  description: Time until all were as wished, in seconds.
  returned: success
  type: float
  sample: 0.42
watch:
  description:
    - What was seen during O(duration). C(probes) and C(failures) are numbers of requests, C(error_rate) goes from
      0 to 1, C(median_latency_ms) is in milliseconds by endpoint, C(breaches) lists the first hundred
      answers that were not as described, with the seconds since the beginning.
  returned: when O(duration) is not 0
  type: dict
  sample: {"probes": 12, "failures": 0, "error_rate": 0.0, "median_latency_ms": {"deep health": 3.1}, "breaches": []}
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._probe import (
    check_probe,
    make_endpoints,
    probe_until,
    watch,
)
from ansible_collections.balcon.rollback.plugins.module_utils._run import module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENDPOINT, show_plain_values

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "endpoints": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT},
        "state": {"type": "str", "choices": ["healthy", "gone"], "default": "healthy"},
        "timeout": {"type": "float", "default": 5.0},
        "deadline": {"type": "float", "default": 30.0},
        "duration": {"type": "float", "default": 0.0},
        "interval": {"type": "float", "default": 5.0},
    }
).merge(RUN)


def probe(module: AnsibleModule) -> dict[str, Any]:
    """Ask, wait, and watch."""
    params = module.params
    show_plain_values(module, params["endpoints"])
    gone, timeout = params["state"] == "gone", params["timeout"]
    endpoints = make_endpoints(params["endpoints"], any_status=gone)
    with module_step(module, f"see that {'nobody answers' if gone else 'the endpoints are healthy'}") as journal:
        outcome = probe_until(endpoints, timeout=timeout, deadline=params["deadline"], gone=gone)
        journal.update(changed=False, **outcome)
        check_probe(outcome, gone=gone)
        if params["duration"] and not gone:
            seen = watch(endpoints, timeout=timeout, duration=params["duration"], interval=params["interval"])
            outcome.update(watch=seen, healthy=not seen["failures"])
            journal.update(outcome)
    return {"changed": False, **outcome}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: probe(module))


if __name__ == "__main__":
    main()
