#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_watch
short_description: Watch an application's endpoints and its log, and compare with how it was before
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Asks the endpoints and reads the log again and again, prints a line for each look, and compares answers, latency and
    errors with the level that was measured before.
  - What is worse than O(thresholds) allow is a breach. A breach makes the module warn and return C(alarm) in
    RV(watch); it never makes it fail, and nothing is restored or switched by this module.
  - A log that is rotated, emptied in place, taken away or that comes again is said in a note, read on, and never
    counted twice. Lines of a log are counted, and neither kept nor printed.
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
  state:
    description:
      - V(baseline) measures the level, for a later watch, and raises no alarm.
      - V(watched) compares with O(before).
    type: str
    choices: [baseline, watched]
    default: watched
  endpoints:
    default: []
  log:
    description: Where the application's log is. Without it, only the endpoints are watched.
    type: dict
    suboptions:
      provider:
        description: What the log is.
        type: str
        required: true
        choices: [file, command, railway]
      file:
        description: For O(log.provider=file), read from its present end on.
        type: dict
        suboptions:
          path:
            description: The file, on the host.
            type: path
            required: true
      command:
        description:
          - For O(log.provider=command), a program that prints the log and goes on printing, and nothing old at its
            start, C(journalctl --follow --lines=0) for example. It is ended with the watch, and started again where it
            ends.
        type: dict
        suboptions:
          command:
            description: The program and its arguments; never a secret.
            type: list
            elements: str
            required: true
          environment:
            description: Its environment; it gets nothing else but C(PATH), C(HOME) and C(LANG).
            type: dict
          chdir:
            description: Its working folder; by default C(/).
            type: path
      railway:
        description: For O(log.provider=railway), a service, of which the logs of the running deployments are read.
        type: dict
        suboptions:
          token:
            description: A project token, made in the settings of the project for this one environment, or an account's.
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
      error:
        description:
          - A regular expression (Python's); a line in which it is found counts as an error. On Railway the severity, in
            capitals, stands before the message.
        type: str
        default: '(?i)\b(error|fatal|panic|critical|unhandled)\b'
      request:
        description:
          - A regular expression for lines that are requests. With it, errors are counted in 100 requests (of at least
            20 in a minute); without it, by the minute.
        type: str
  before:
    description: What this module returned as RV(level) for O(state=baseline). Without it, usual levels are taken.
    type: dict
  thresholds:
    description: From when on something is a breach.
    type: dict
    default: {}
    suboptions:
      failures:
        description: So many looks in a row in which an endpoint does not answer as described.
        type: int
        default: 3
      latency_factor:
        description: Well is a median of the last six answers of up to so many times that of before,
        type: float
        default: 3.0
      latency_ms:
        description: and so many milliseconds on top of that. Where nothing was measured, before is 200 ms.
        type: float
        default: 500.0
      error_factor:
        description: Well are up to so many times the errors of before,
        type: float
        default: 2.0
      errors:
        description: and so many on top of that, in the last minute.
        type: float
        default: 5.0
  timeout:
    description: Seconds for one request, the last byte of the answer included.
    type: float
    default: 5.0
  duration:
    description: Seconds to go on looking; V(0) looks once.
    type: float
    default: 900.0
  interval:
    description: Seconds from one look to the next.
    type: float
    default: 10.0
  stop_on_alarm:
    description: End with the first breach, so that something can be done about it.
    type: bool
    default: false
  earlier:
    description:
      - What this module returned as RV(watch) when it ended with a breach, and this is to go on from there; both are
        told as one.
    type: dict
seealso:
  - module: balcon.rollback.health_probe
"""

EXAMPLES = r"""
- name: Measure the level before
  balcon.rollback.app_watch:
    state: baseline
    endpoints: "{{ rollback_endpoints }}"
    log:
      provider: file
      file:
        path: /var/log/backend/app.log
    duration: 15
    interval: 1
  register: rollback_baseline

- name: Watch
  balcon.rollback.app_watch:
    endpoints: "{{ rollback_endpoints }}"
    log:
      provider: file
      file:
        path: /var/log/backend/app.log
    before: "{{ rollback_baseline.level }}"
"""

RETURN = r"""
level:
  description:
    - What was measured. C(latency_ms) holds medians by endpoint, C(errors) is in C(unit) and null where no log was read
      or too little was seen, C(seconds) is how long it took.
  returned: success
  type: dict
  sample: {"latency_ms": {"deep health": 3.1}, "errors": 0.5, "unit": "errors a minute", "seconds": 15.0}
watch:
  description:
    - What was seen. C(rounds) are looks, C(probes) and C(failures) numbers of requests, C(error_rate) goes from 0 to 1,
      C(requests) and C(errors) are lines of the log, C(level) and C(before) are as RV(level), C(notes) say what
      happened to the log, C(breaches) hold C(after_seconds), C(kind) (probe, latency, errors) and C(message), C(alarm)
      tells whether there was one.
  returned: when O(state=watched)
  type: dict
  sample: {"rounds": 90, "probes": 90, "failures": 0, "error_rate": 0.0, "errors": 3, "breaches": [], "alarm": false}
remaining_seconds:
  description: What is left of O(duration), where it ended with a breach.
  returned: when O(state=watched)
  type: float
  sample: 0.0
"""

import time
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.readable import readable_line
from ansible_collections.balcon.rollback.plugins.module_utils._domain.watch import (
    Level,
    Thresholds,
    Watch,
    alarm_sentence,
    joined,
)
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._probe import make_endpoints
from ansible_collections.balcon.rollback.plugins.module_utils._progress import reporter
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, module_step
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import ENDPOINT, show_plain_values
from ansible_collections.balcon.rollback.plugins.module_utils._watching import LOG, THRESHOLDS, log_rules, look_on

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "state": {"type": "str", "choices": ["baseline", "watched"], "default": "watched"},
        "endpoints": {"type": "list", "elements": "dict", "default": [], "options": ENDPOINT},
        "log": LOG,
        "before": {"type": "dict"},
        "thresholds": {"type": "dict", "default": {}, "options": THRESHOLDS},
        "timeout": {"type": "float", "default": 5.0},
        "duration": {"type": "float", "default": 900.0},
        "interval": {"type": "float", "default": 10.0},
        "stop_on_alarm": {"type": "bool", "default": False},
        "earlier": {"type": "dict"},
    }
).merge(RUN)


def work(module: AnsibleModule) -> dict[str, Any]:
    """Look, and compare."""
    params = module.params
    show_plain_values(module, params["endpoints"], (params["log"] or {}).get("command"))
    watched, start = params["state"] == "watched", time.monotonic()
    # Ansible fills the defaults of suboptions in only where the option is given.
    thresholds = Thresholds(**(params["thresholds"] or {}))
    watch = Watch(Level.from_dict(params["before"]), thresholds, log_rules(params["log"]))
    action = "watch what users see" if watched else "measure the level before"
    with module_step(module, action) as journal:
        journal.update(changed=False)
        look_on(
            watch, make_endpoints(params["endpoints"]), params["log"],
            timeout=params["timeout"], duration=0.0 if module.check_mode else params["duration"],
            interval=params["interval"], refuse=not watched, stop_on_alarm=watched and params["stop_on_alarm"],
            say=reporter.line,
        )  # fmt: skip
        result = result_of(module, watch, time.monotonic() - start) if watched else {"level": watch.level()}
        journal.update(result)
    return {"changed": False, **result}


def result_of(module: AnsibleModule, watch: Watch, seconds: float) -> dict[str, Any]:
    """Return what was seen, and warn of an alarm."""
    params, before = module.params, module.params["earlier"]
    shift = float(before["seconds"]) if before else 0.0
    seen = joined(before, {**watch.summary(), "seconds": round(seconds, 1)}, shift)
    seen["seconds"] = round(seconds + shift, 1)
    if watch.breaches:
        environment = ""
        if params["run_id"] and not module.check_mode:
            environment = Run(params["state_dir"], params["run_id"]).events()[0]["data"]["environment"]
        module.warn(readable_line(alarm_sentence(watch.breaches, params["run_id"] or "", environment)))
    remaining = max(0.0, params["duration"] - seconds) if watch.breaches and params["stop_on_alarm"] else 0.0
    return {"watch": seen, "level": watch.level(), "remaining_seconds": round(remaining, 1)}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: work(module))


if __name__ == "__main__":
    main()
