# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a notice says, told from the journal alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.balcon.rollback.plugins.module_utils._domain.notice import EVENTS, compose
from ansible_collections.balcon.rollback.plugins.module_utils._notices import CHANNELS, wanted
from ansible_collections.balcon.rollback.plugins.module_utils._shared_options import NOTICE_CHANNEL

PROJECT = Path(__file__).resolve().parents[2]
AT = "2026-11-23T08:30:00.000+00:00"
CONTACTS = [{"role": "Backend lead", "name": "Ben", "contact": "ben@example.com"}, {"role": "On-call"}]
ERROR = {"error": {"message": "It broke.\nBadly.", "untouched": "Nothing else.", "remedy": "Mend it."}}


def journal(*steps: tuple[str, str, dict[str, Any]], **start: Any) -> list[dict[str, Any]]:
    """Make a journal: phase, outcome, data."""
    request = {
        "kind": "rollback", "environment": "production", "database": "shop", "host": "shop-production",
        "reason": "invoices", "executed_by": "anna", "contacts": CONTACTS, **start,
    }  # fmt: skip
    return [
        {"run_id": "20261123t080000abcd", "at": f"2026-11-23T08:00:{number:02}.000+00:00", "phase": phase,
         "action": "a step", "seconds": 1.0, "outcome": outcome, "data": data}
        for number, (phase, outcome, data) in enumerate([("preflight", "ok", request), *steps])
    ]  # fmt: skip


Step = tuple[str, str, dict[str, Any]]

PLAN: Step = ("preflight", "ok", {"plan": ["20240107-add-priority.ts"]})
DONE: list[Step] = [PLAN, ("close", "ok", {"closed": True}), ("reopen", "ok", {"reopened": True, "finished": True})]


def test_before_the_window_nothing_is_said_of_an_outcome() -> None:
    message = compose("started", journal(PLAN), ["Predicted window: 4 s"], at=AT, report="/state/report.html")
    assert message.subject == "[production] Rollback begins now: shop"
    assert message.identifier == "20261123t080000abcd-started"
    for words in ("The database closes now.", "20240107-add-priority.ts", "Reason: invoices. Started by anna.",
                  "Predicted window: 4 s"):  # fmt: skip
        assert words in message.text
    for words in ("Downtime", "report.html", "Call"):
        assert words not in message.text
    assert not {"outcome", "finished_at", "error", "window_seconds", "phases", "notices"} & set(message.payload["run"])


def test_a_failure_says_what_to_do_and_whom_to_call() -> None:
    events = journal(*DONE[:2], ("restore", "failed", ERROR))
    message = compose("failed", events, [], at=AT, report="/state/report.html")
    error = "What happened (phase restore): It broke. Badly."
    calls = ("Call Backend lead: Ben, ben@example.com", "Call On-call\n")
    for words in ("Rollback FAILED", error, "What to do next: Mend it.", *calls, "Report: /state/report.html"):
        assert words in message.text
    assert message.payload["run"]["error"]["remedy"] == "Mend it."


def test_good_news_calls_nobody() -> None:
    message = compose("rolled_back", journal(*DONE), [], at=AT)
    assert message.subject == "[production] Rolled back: shop"
    assert "Downtime: 0.0 minutes (2.0 s" in message.text
    assert "Call" not in message.text


def test_an_alarm_says_what_was_seen_and_calls_somebody() -> None:
    breaches = [{"after_seconds": 2.0, "message": "latency is up"}, *[{"name": "door", "reason": "status 500"}] * 4]
    watch: Step = ("watch", "ok", {"watch": {"alarm": True, "breaches": breaches}})
    message = compose("watch_alarm", journal(*DONE, watch), [], at=AT)
    assert message.subject == "[production] ALARM of the watch: shop"
    for words in (
        "Seen after 2.0 s: latency is up",
        "Seen after ? s: door: status 500",
        "2 more",
        "Call Backend lead",
        "To do: The watch raised an alarm.",
        "restore.yml -e env=production -e run=20261123t080000abcd",
    ):
        assert words in message.text


def test_an_alarm_that_another_tool_raised_calls_somebody_too() -> None:
    assert "Call Backend lead" in compose("watch_alarm", journal(*DONE), [], at=AT).text


def test_a_restore_that_was_asked_for_calls_nobody() -> None:
    events = journal(("restore", "ok", {"restored": True, "closed": True, "finished": True}), kind="restore")
    message = compose("restored", events, [], at=AT)
    assert "What was chosen has taken the database's place." in message.text
    assert "Call" not in message.text


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_words_with_and_without_a_run(event: str) -> None:
    assert compose(event, journal(*DONE), [], at=AT).subject.startswith("[production] ")
    message = compose(event, [], ["a line"], at=AT)
    assert message.text.endswith("a line")
    json.dumps(message.payload)


def test_names_do_not_break_lines() -> None:
    message = compose("rolled_back", journal(*DONE, database="shop\r\nBcc: x@example.com"), [], at=AT)
    assert message.subject == "[production] Rolled back: shop Bcc: x@example.com"
    assert "\nBcc" not in message.text


def test_channels_want_all_events_or_the_ones_they_name() -> None:
    channels: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "events": ["failed"]}, {"name": "c", "events": []}]
    assert [channel["name"] for channel in wanted(channels, "started")] == ["a", "c"]
    assert [channel["name"] for channel in wanted(channels, "failed")] == ["a", "b", "c"]


def test_options_documentation_and_example_agree() -> None:
    assert set(NOTICE_CHANNEL["channel"]["choices"]) == set(CHANNELS)
    example = yaml.safe_load((PROJECT / "inventories" / "example" / "group_vars" / "all.yml").read_text())
    shown = example["rollback_notices"]
    assert {channel["channel"] for channel in shown} == set(CHANNELS)
    assert {name for channel in shown for name in channel} <= set(NOTICE_CHANNEL)
    assert {event for channel in shown for event in channel.get("events", [])} <= set(EVENTS)
    assert {entry["role"] for entry in example["rollback_contacts"]} == {
        "Database administrator", "Backend lead", "DevOps engineer", "On-call engineer",
    }  # fmt: skip


@pytest.mark.parametrize(("role", "entry"), [("rollback", "preflight"), ("restore", "look")])
def test_a_role_refuses_what_the_module_could_not_read(role: str, entry: str) -> None:
    """A mistake in the description of a channel is found before anything is touched."""
    specs = yaml.safe_load((PROJECT / "roles" / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    options = specs[entry]["options"]["rollback_notices"]["options"]
    told = {name: {k: v for k, v in option.items() if k != "description"} for name, option in options.items()}
    assert told == NOTICE_CHANNEL
    contacts = specs[entry]["options"]["rollback_contacts"]["options"]
    assert set(contacts) == {"role", "name", "contact"}
