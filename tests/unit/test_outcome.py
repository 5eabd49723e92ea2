# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of a run, told from its journal alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.outcome import has_failed, outcome, summarise
from ansible_collections.balcon.rollback.plugins.module_utils._domain.report import render_report
from ansible_collections.balcon.rollback.plugins.module_utils._domain.wording import downtime_sentence

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def journal(*steps: tuple[str, str, str, dict[str, Any]], kind: str = "rollback") -> list[dict[str, Any]]:
    """Make events one second long, two seconds apart."""
    begin = ("preflight", "the run begins", "ok", {"kind": kind, "environment": "production", "database": "shop"})
    return [
        {
            "run_id": "20261123t080000abcd",
            "at": (START + timedelta(seconds=2 * number)).isoformat(timespec="milliseconds"),
            "phase": phase,
            "action": action,
            "outcome": result,
            "seconds": 1.0,
            "changed": data.get("found") != data.get("state"),
            "data": data,
        }
        for number, (phase, action, result, data) in enumerate([begin, *steps])
    ]


ERROR = {"error": {"message": "it broke", "remedy": "mend it", "untouched": "nothing"}}
APPLIED_AGAIN = {"error": {**ERROR["error"], "reapplied": ["3-orders"]}}
NOT_UNDONE = {**ERROR, "not_undone": True}
ERRED = ("reopen", "start", "failed", ERROR)
CLOSED = ("close", "close the database", "ok", {"closed": True})
BROKE = ("migrate_down", "run the plan", "failed", ERROR)
RESTORED = ("restore", "restore", "ok", {"restored": True, "restore_seconds": 0.02})
REOPENED = ("reopen", "the older release", "ok", {"reopened": True})
FINISHED = ("reopen", "the run is closed", "ok", {"finished": True})


@pytest.mark.parametrize(
    ("steps", "kind", "expected"),
    [
        ([CLOSED, REOPENED, FINISHED], "rollback", "rolled_back"),
        ([CLOSED, REOPENED, FINISHED, ("watch", "watch", "failed", ERROR)], "rollback", "rolled_back"),
        ([CLOSED, REOPENED, FINISHED, ("watch", "state", "failed", APPLIED_AGAIN)], "rollback", "failed"),
        ([CLOSED, REOPENED, FINISHED, ("reopen", "maintenance off", "failed", ERROR)], "rollback", "failed"),
        ([("gate", "check", "refused", ERROR)], "rollback", "refused"),
        ([("back_up", "dump", "failed", ERROR)], "rollback", "aborted"),
        ([("preflight", "look", "ok", {})], "rollback", "aborted"),
        ([CLOSED, BROKE, RESTORED], "rollback", "restored"),
        ([CLOSED, RESTORED], "rollback", "restored"),
        ([CLOSED, BROKE], "rollback", "failed"),
        ([CLOSED, BROKE, ("restore", "restore", "failed", ERROR)], "rollback", "failed"),
        ([CLOSED, BROKE, ("restore", "restore", "failed", NOT_UNDONE)], "rollback", "failed"),
        ([("rehearse", "the rehearsal passed", "ok", {"finished": True})], "rehearsal", "rehearsed"),
        ([("rehearse", "run the plan", "failed", ERROR)], "rehearsal", "failed"),
        ([("preflight", "look", "refused", ERROR)], "rehearsal", "refused"),
    ],
)
def test_outcome(steps: list[Any], kind: str, expected: str) -> None:
    assert outcome(journal(*steps, kind=kind)) == expected


SWAPPED = ("reopen", "put the restored backup in its place", "ok", {"reopened": True, "before": "shop__before_x"})
UNDONE = ("reopen", "restore the original", "ok", {"restored": True, "undone_run": "20261122t080000abcd"})
FOUND = ("assess", "assess", "failed", ERROR)
GOOD = ("restore", "restore the backup", "ok", {"source": {"backup_id": "b", "created_at": "then"}})


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([GOOD, CLOSED, SWAPPED, FINISHED], "restored"),
        ([FOUND, GOOD, CLOSED, SWAPPED, FINISHED], "restored"),
        ([UNDONE], "restored"),
        ([("reopen", "keep it", "ok", {"finished": True})], "restored"),
        ([GOOD], "aborted"),
        ([FOUND, GOOD], "aborted"),
        ([GOOD, ("gate", "not confirmed", "failed", ERROR)], "aborted"),
        ([("preflight", "choose", "refused", ERROR)], "refused"),
        ([("restore", "no backup is good", "refused", ERROR)], "refused"),
        ([GOOD, ("close", "close", "refused", ERROR)], "refused"),
        ([GOOD, CLOSED, ("reopen", "swap", "failed", ERROR), RESTORED], "aborted"),
        ([GOOD, CLOSED, RESTORED], "aborted"),
        ([GOOD, CLOSED, SWAPPED, ("reopen", "restart", "failed", ERROR)], "failed"),
        ([GOOD, CLOSED, ("reopen", "swap", "failed", ERROR), ("restore", "undo", "failed", ERROR)], "failed"),
        ([GOOD, CLOSED, ("close", "what came next", "failed", ERROR)], "failed"),
        ([("reopen", "restore the original", "failed", ERROR)], "failed"),
        ([GOOD, ("restore", "restore the original", "failed", NOT_UNDONE)], "failed"),
        ([GOOD, CLOSED, ("restore", "restore the original", "failed", NOT_UNDONE), RESTORED], "failed"),
        ([UNDONE, ("reopen", "endpoints", "failed", ERROR)], "failed"),
        ([GOOD, CLOSED, SWAPPED, FINISHED, ("report", "notice", "failed", ERROR)], "restored"),
    ],
)
def test_outcome_of_a_restore(steps: list[Any], expected: str) -> None:
    assert outcome(journal(*steps, kind="restore")) == expected


def test_what_a_restore_says_of_itself() -> None:
    scope = {"clean": False, "findings": [{"severity": "broken", "message": "an index is torn"}], "checks": []}
    lost = {"rows": 3, "lines": ["three"]}
    run = summarise(
        journal(
            ("assess", "assess", "ok", {"assessment": scope}),
            ("restore", "restore", "ok", {"source": {"backup_id": "b", "created_at": "then", "rejected": [
                {"backup_id": "c", "reason": "it was cut"}]}}),
            ("compare", "back up", "ok", {"manifest": "m", "path": "/runs/x/dump", "backup_id": "study"}),
            ("gate", "say", "ok", {"lost_since": lost}),
            CLOSED, SWAPPED, FINISHED, kind="restore",
        )
    )  # fmt: skip
    assert (run["backup_id"], run["lost_since"]) == ("b", lost)
    assert run["scope"]["lines"] == ["1 things are broken", "an index is torn"]
    assert run["restored_from"]["lines"] == [
        "Restored from backup b, made then",
        "Passed over: backup c: it was cut",
        "What was there is kept, closed, as shop__before_x",
        "What was there is dumped to /runs/x/dump",
    ]


def test_a_finding_is_not_what_a_restore_failed_of() -> None:
    refused = ("gate", "say", "refused", {"error": {**ERROR["error"], "message": "not confirmed"}})
    run = summarise(journal(FOUND, GOOD, refused, kind="restore"))
    assert run["error"]["message"] == "not confirmed"
    assert summarise(journal(FOUND, GOOD, kind="restore"))["error"] is None


def test_the_window_is_from_closing_to_the_application_answering() -> None:
    run = summarise(journal(("gate", "check", "ok", {}), CLOSED, (*BROKE[:2], "ok", {}), REOPENED, FINISHED))
    assert run["window_seconds"] == 5.0
    assert run["window_breakdown"] == {
        "close the database": 1.0,
        "run the plan": 1.0,
        "the older release": 1.0,
        "between steps": 2.0,
    }


def test_a_maintenance_mode_that_was_seen_belongs_to_the_window() -> None:
    on = ("close", "maintenance on", "ok", {"maintenance": "on"})
    off = ("reopen", "maintenance off", "ok", {"maintenance": "off"})
    run = summarise(journal(("gate", "check", "ok", {}), on, CLOSED, REOPENED, FINISHED, off, FINISHED))
    assert run["window_seconds"] == 9.0
    assert summarise(journal(on, off))["window_seconds"] == 0.0


def test_maintenance_that_nobody_probed_is_told_beside_the_window() -> None:
    """Nobody saw that users were shut out by it; nobody saw that they were not."""
    looked = ("preflight", "look", "ok", {"state": "checked", "found": "off"})
    on = ("close", "maintenance on", "ok", {"state": "on", "found": "off"})
    off = ("reopen", "maintenance off", "ok", {"state": "off", "found": "on"})
    run = summarise(journal(looked, on, GOOD, CLOSED, REOPENED, off, kind="restore"))
    assert (run["window_seconds"], run["maintenance_seconds"]) == (3.0, 9.0)
    assert downtime_sentence(run) == "0.1 minutes (3.0 s from closing to reopening); maintenance mode was on for 9.0 s"
    as_found = ("close", "maintenance on", "ok", {"state": "on", "found": "on"})
    assert summarise(journal(as_found, CLOSED, REOPENED))["maintenance_seconds"] is None
    assert summarise(journal(on, CLOSED, ERRED))["maintenance_seconds"] == 5.0
    seen = {**run, "maintenance_seconds": 3.1}
    assert downtime_sentence(seen) == "0.1 minutes (3.0 s from closing to reopening)"


def test_a_restore_from_after_the_swap_ends_with_the_newer_release() -> None:
    newer = ("restore", "start the newer release", "ok", {"reopened": True})
    run = summarise(journal(CLOSED, REOPENED, ("reopen", "start", "failed", ERROR), RESTORED, newer))
    assert (run["window_seconds"], run["outcome"]) == (9.0, "restored")


def test_what_was_restored_lost_nothing() -> None:
    loss = {"loss": {"tables": [], "columns": ["public.users.phone"], "rows": 12}}
    verified = ("verify", "verify", "ok", loss)
    assert summarise(journal(CLOSED, verified, REOPENED, FINISHED))["loss"] == loss["loss"]
    assert summarise(journal(CLOSED, verified, RESTORED))["loss"]["columns"] == []


def test_without_closing_there_is_no_window() -> None:
    run = summarise(journal(("gate", "check", "refused", ERROR)))
    assert (run["window_seconds"], run["window_breakdown"], run["restore_seconds"]) == (0.0, {}, None)
    assert run["error"] == {"phase": "gate", "message": "it broke", "untouched": "nothing", "remedy": "mend it"}


def test_phases_have_start_length_and_outcome() -> None:
    run = summarise(journal(CLOSED, ("close", "something else", "failed", ERROR)))
    assert run["phases"][-1] == {
        "name": "close",
        "started_at": "2026-11-23T08:00:02.000+00:00",
        "seconds": 3.0,
        "outcome": "failed",
    }


def test_the_report_fills_in_the_runbooks_template() -> None:
    plan = {"plan": ["2-<b>.ts"], "backup_id": "b1", "evidence_id": "e1"}
    loss = {"loss": {"tables": [], "columns": ["public.users.phone"], "rows": 12}}
    events = journal(
        ("back_up", "dump | pipe", "ok", plan), CLOSED, REOPENED, ("reopen", "end", "ok", {**FINISHED[3], **loss})
    )
    events[0]["data"].update(reason="it `hurts`", executed_by="Anna")
    report = render_report(summarise(events), events)
    for expected in (
        "## Migration Rollback Incident Report",
        "**Date:** 2026-11-23 08:00 UTC",
        "`2-<b>.ts`",
        "**Executed By:** Anna",
        "it 'hurts'",
        "1. Backup created: b1",
        "2. Staging test: Success (evidence e1)",
        "3. Production rollback: Success",
        "4. Restoration required: No",
        "Downtime: 0.1 minutes (3.0 s",
        "columns `public.users.phone` went away with the migration, with content in 12 rows",
        "dump \\| pipe",
        "### Root Cause",
        "- [ ] Migration script corrected",
    ):
        assert expected in report


def test_the_report_of_a_restore_says_so() -> None:
    events = journal(CLOSED, BROKE, RESTORED)
    report = render_report(summarise(events), events)
    assert "3. Production rollback: Failure" in report
    assert "4. Restoration required: Yes, it took 0.020 s" in report
    assert "**What to do next:** mend it" in report
    assert "Data loss: None" in report


def test_an_override_heads_the_report() -> None:
    override = {"override": {"reason": "no staging", "approved_by": ["Anna", "Ben"]}}
    events = journal(("gate", "check", "ok", override), CLOSED, REOPENED, FINISHED)
    report = render_report(summarise(events), events)
    assert report.index("was not rehearsed") < report.index("### Reason")
    assert "Approved by Anna and Ben" in report


def test_a_finding_of_a_restore_is_no_failure_of_the_run() -> None:
    assert has_failed(journal(BROKE))
    assert has_failed(journal(FOUND))
    assert not has_failed(journal(FOUND, kind="restore"))
    assert not has_failed(journal(FINISHED))


def test_an_error_that_says_neither_what_was_left_alone_nor_what_to_do_has_no_empty_headings() -> None:
    events = journal(("migrate_down", "run the plan", "failed", {"error": {"message": "it broke"}}))
    report = render_report(summarise(events), events)
    assert "it broke" in report
    assert "What was not touched" not in report
    assert "What to do next" not in report


def test_a_restore_that_went_back_to_another_run_says_which_and_what_was_left_out() -> None:
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.restoration import restored_from, scope

    broken = [{"severity": "broken", "message": f"Table t{number} cannot be read."} for number in range(25)]
    checks = [{"name": "amcheck", "done": False, "reason": "it is not installed"}]
    assessment = {"clean": False, "findings": broken, "checks": checks}
    events = journal(
        ("assess", "look", "ok", {"assessment": assessment}),
        ("reopen", "restore the original", "ok", {"restored": True, "undone_run": "20261122t080000abcd"}),
        ("restore", "set aside", "ok", {"failed_database": "shop__failed_x"}),
        kind="restore",
    )
    told = restored_from(events)
    assert told
    assert told["lines"] == [
        "Restored from the database of before run 20261122t080000abcd",
        "What was there is kept, closed, as shop__failed_x",
    ]
    seen = scope(events)
    assert seen
    assert seen["lines"][0] == "25 things are broken"
    assert seen["lines"][-2:] == ["and 5 more", "Not checked: amcheck (it is not installed)"]
    assert restored_from(journal(kind="restore")) is None


def test_a_restore_tells_which_backups_it_passed_over() -> None:
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.restoration import restored_from

    rejected = [{"backup_id": "b2", "reason": "one bit is another"}]
    source = {"backup_id": "b1", "created_at": "then", "rejected": rejected}
    events = journal(
        ("restore", "restore", "ok", {"source": source, "left_out": ["a comment"]}), SWAPPED, kind="restore"
    )
    told = restored_from(events)
    assert told
    assert told["lines"] == [
        "Restored from backup b1, made then",
        "Passed over: backup b2: one bit is another",
        "What was there is kept, closed, as shop__before_x",
        "Left out of the backup: a comment",
    ]


def test_a_restore_that_kept_nothing_does_not_say_that_it_did() -> None:
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.restoration import restored_from

    told = restored_from(journal(UNDONE, kind="restore"))
    assert told
    assert told["lines"] == ["Restored from the database of before run 20261122t080000abcd"]
