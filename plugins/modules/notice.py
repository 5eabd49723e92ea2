#!/usr/bin/python
# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: notice
short_description: Tell people and programs what happens to a run
version_added: 0.1.0
author: "balcon.rollback authors (@balcon)"
description:
  - Sends one message through every channel that wants to hear of the event, all at the same time, within a deadline.
  - The message is made from the run's journal, what is planned or what came of it, what went away, what to do next, and
    whom to call.
  - A notice that cannot be sent never fails the module. It is in the result, in the journal and in the report, and is
    warned of.
  - An attempt that may succeed later (no connection, no answer, a busy server) is made again; a redirect is never
    followed, as its target would get the headers and the message.
extends_documentation_fragment:
  - balcon.rollback.attributes
  - balcon.rollback.run
attributes:
  check_mode:
    support: full
    details:
      - Nothing is sent, and the result lists what would be.
  diff_mode:
    support: none
  idempotent:
    support: none
    details:
      - Each call sends. The identifier of the message is the same, so that a receiver can tell that it came twice.
options:
  event:
    description:
      - What happened.
      - V(planned) and V(started) come before the database is closed; V(watch_alarm) after a watch that saw more errors
        than it may; the others are outcomes of runs.
    type: str
    choices: [planned, started, rehearsed, rolled_back, refused, aborted, restored, failed, watch_alarm]
    required: true
  channels:
    description: Who is told, and how.
    type: list
    elements: dict
    default: []
    suboptions:
      channel:
        description:
          - V(webhook) posts JSON to O(channels[].url).
          - V(slack) posts what Slack's incoming webhooks take, as do Mattermost, Rocket.Chat and others.
          - V(email) sends over an SMTP server.
          - V(command) runs O(channels[].command), which reads the JSON from its standard input.
        type: str
        choices: [webhook, slack, email, command]
        required: true
      name:
        description: How results and the report call it; by default what O(channels[].channel) says.
        type: str
      events:
        description: The events that it wants to hear of; by default all.
        type: list
        elements: str
        choices: [planned, started, rehearsed, rolled_back, refused, aborted, restored, failed, watch_alarm]
      url:
        description: The address for V(webhook) and V(slack). It is treated as a secret; no proxy is used.
        type: str
      headers:
        description: More headers of the request, a token for example.
        type: dict
      host:
        description: The SMTP server.
        type: str
      port:
        description: Its port; by default 587, with V(tls) 465, with V(none) 25.
        type: int
      security:
        description:
          - V(starttls) refuses a server that does not offer it, V(tls) speaks TLS from the beginning, V(none) is for a
            relay on the same machine; with V(none) no login is sent.
        type: str
        choices: [starttls, tls, none]
        default: starttls
      username:
        description: The login at the SMTP server, where it wants one.
        type: str
      password:
        description: Its password.
        type: str
      sender:
        description: The address that the message comes from.
        type: str
      to:
        description: The receivers' addresses.
        type: list
        elements: str
      ca_file:
        description: Authorities that certificates are checked against; by default those of the system.
        type: path
      command:
        description: The argument list. There is no shell.
        type: list
        elements: str
      environment:
        description: Its environment; it gets nothing else but C(PATH), C(HOME) and C(LANG).
        type: dict
      chdir:
        description: Its working folder; by default C(/).
        type: path
  lines:
    description: Lines that the message holds as well, the plan for example. Never a secret.
    type: list
    elements: str
    default: []
  deadline:
    description: Seconds for all channels and all attempts together.
    type: float
    default: 10.0
  attempts:
    description: Attempts for each channel, at most.
    type: int
    default: 3
"""

EXAMPLES = r"""
- name: Tell the team
  balcon.rollback.notice:
    event: started
    channels:
      - channel: slack
        name: team channel
        url: "{{ vault_slack_url }}"
      - channel: email
        host: smtp.example.com
        username: rollback
        password: "{{ vault_smtp_password }}"
        sender: rollback@example.com
        to: [team@example.com]
        events: [restored, failed]
      - channel: command
        name: pager
        command: [/usr/local/bin/page, --stdin]
    run_id: "{{ rollback_run.run_id }}"
    state_dir: /var/lib/balcon-rollback
    phase: close
"""

RETURN = r"""
notices:
  description:
    - What came of it, for each channel that wanted to hear of the event. C(error) says why it was not sent, or to whom
      it was not although it was sent to others.
  returned: success
  type: list
  elements: dict
  sample:
    - {"event": "started", "channel": "slack", "name": "team channel", "sent": true, "attempts": 1, "error": ""}
subject:
  description: The first line of the message.
  returned: success
  type: str
  sample: "[production] Rollback begins now: shop"
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._argspec import RUN, ArgumentSpec
from ansible_collections.balcon.rollback.plugins.module_utils._domain.notice import EVENTS, compose
from ansible_collections.balcon.rollback.plugins.module_utils._domain.readable import readable_line
from ansible_collections.balcon.rollback.plugins.module_utils._errors import run_module
from ansible_collections.balcon.rollback.plugins.module_utils._notices import not_tried, send_notices, wanted
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, do_and_record_if_possible, utc_now
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import (
    NOTICE_CHANNEL,
    show_plain_values,
)

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

SPEC = ArgumentSpec(
    {
        "event": {"type": "str", "required": True, "choices": list(EVENTS)},
        "channels": {"type": "list", "elements": "dict", "default": [], "options": NOTICE_CHANNEL},
        "lines": {"type": "list", "elements": "str", "default": []},
        "deadline": {"type": "float", "default": 10.0},
        "attempts": {"type": "int", "default": 3},
    }
).merge(RUN)


def tell(module: AnsibleModule) -> dict[str, Any]:
    """Make the message, send it, and record what came of it."""
    params = module.params
    event, channels = params["event"], wanted(params["channels"], params["event"])
    show_plain_values(module, [(channel["headers"], channel["environment"]) for channel in channels])
    run = Run(params["state_dir"], params["run_id"]) if params["run_id"] else None
    events = run.events() if run and not module.check_mode else []
    report = str(run.folder / "report.html") if run else ""
    message = compose(event, events, params["lines"], at=utc_now(), report=report)

    def work(journal_data: dict[str, Any]) -> list[dict[str, Any]]:
        limits = {name: params[name] for name in ("deadline", "attempts")}
        journal_data["notices"] = send_notices(channels, event, message, **limits)
        journal_data["changed"] = False
        return journal_data["notices"]

    if module.check_mode or not channels:
        notices = not_tried(channels, event, "check mode")
    elif run:
        notices = do_and_record_if_possible(module, f"tell about it: {event.replace('_', ' ')}", work)
    else:
        notices = work({})
    for notice in notices if not module.check_mode else []:
        if notice["error"]:
            state = "was sent, but" if notice["sent"] else "was not sent:"
            module.warn(readable_line(f"The notice {event} by {notice['name']} {state} {notice['error']}"))
    sent = any(notice["sent"] for notice in notices) or (module.check_mode and bool(channels))
    return {"changed": sent, "notices": notices, "subject": message.subject}


def main() -> None:
    """Run the module."""
    module = SPEC.create_module()
    run_module(module, lambda: tell(module))


if __name__ == "__main__":
    main()
