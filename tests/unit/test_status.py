# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How runs, evidence, backups and leftovers are told, and the lines for a person."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import seal
from ansible_collections.balcon.rollback.plugins.module_utils._domain.status import (
    clock,
    drop_command,
    evidence_entry,
    good_backup,
    is_ours,
    made_at,
    moment,
    newest_first,
    run_entry,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.status_lines import (
    human_age,
    human_bytes,
    plain,
    status_lines,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = "20261123t081500a3f9"
NAME = f"shop__before_{RUN}"


def event(phase: str = "preflight", outcome: str = "ok", **data: Any) -> dict[str, Any]:
    return {
        "run_id": RUN, "at": "2026-11-23T08:15:00.000+00:00", "seconds": 1.0, "phase": phase, "action": "x",
        "outcome": outcome, "changed": False, "data": data,
    }  # fmt: skip


BEGIN = event(kind="rollback", environment="production", database="shop", reason="invoices")


def empty_status(**more: Any) -> dict[str, Any]:
    database = {
        "name": "shop", "reachable": True, "exists": True, "open": True, "size_bytes": 1500000,
        "server_version": "18.4", "dialect": "postgresql",
    }  # fmt: skip
    lists: dict[str, Any] = {name: [] for name in ("databases", "backups", "runs", "evidence", "problems")}
    return {
        "looked_at": NOW.isoformat(), "database": database, "open_run": None, "good_backup": None, **lists, **more,
    }  # fmt: skip


def test_an_open_run_is_told_with_its_owner_and_what_would_be_done() -> None:
    run = {"run_id": RUN, "state": "swapped", "lease_until": NOW.isoformat(), "lease_expired": True,
           "owner": " of anna on tools-1", "held": "", "reason": "Nothing was written since."}  # fmt: skip
    told = status_lines(empty_status(open_run=run))
    assert f"Run under way: {RUN} of anna on tools-1, state swapped, its lease ran out at 2026-11-23 12:00 UTC" in told
    assert "  Nobody works on it any more. Nothing was written since. Next:" in told
    assert f"    ansible-playbook playbooks/restore.yml -e env=… -e run={RUN}" in told
    held = {**run, "lease_until": "", "lease_expired": False, "held": "rows were written"}
    told = status_lines(empty_status(open_run=held))
    assert f"Run under way: {RUN} of anna on tools-1, state swapped, no lease" in told
    assert "  It waits for a person, because rows were written. What can be done is said by:" in told


def test_what_the_keeper_did_is_told_of_a_run_that_could_not_report() -> None:
    for outcome, said in (("ok", "the keeper ended the run"), ("failed", "the keeper left the run to a person")):
        last = {**event("restore", outcome), "action": said}
        entry = run_entry(RUN, [BEGIN, last], ended=False)
        assert entry["problem"].startswith("its controller died before it could report")
        assert said in entry["problem"]


def test_a_time_needs_its_zone() -> None:
    assert moment("2026-11-23T08:15:00") is None
    assert moment("yesterday") is None
    assert moment(None) is None
    assert moment("2026-11-23T13:00:00+01:00") == NOW
    assert made_at(RUN) == "2026-11-23T08:15:00+00:00"
    assert made_at("99999999t999999aaaa") == ""


def test_the_command_that_drops_is_safe_against_names() -> None:
    assert drop_command('a"; DROP TABLE x; --') == 'DROP DATABASE "a""; DROP TABLE x; --";'


@pytest.mark.parametrize(
    ("description", "ours"),
    [
        (Description(run_id=RUN, role="before"), True),
        (Description(run_id=RUN, role="failed"), False),
        (Description(run_id="20261123t091500b4e8", role="before"), False),
        (None, False),
    ],
)
def test_name_and_comment_must_say_the_same(description: Description | None, ours: bool) -> None:
    assert is_ours(NAME, description) is ours
    assert is_ours("shop", description) is False


def test_a_run_that_ended_and_one_that_did_not() -> None:
    ended = run_entry(RUN, [BEGIN, event("gate", "refused", plan=["1.ts"])], ended=True)
    assert (ended["outcome"], ended["kind"], ended["plan"], ended["problem"]) == ("refused", "rollback", ["1.ts"], "")
    killed = run_entry(RUN, [BEGIN, event("close", closed=True)], ended=False)
    assert (killed["outcome"], killed["finished_at"]) == ("unfinished", None)
    assert "phase close" in killed["problem"]
    kept = [BEGIN, event("close", closed=True), event("restore", restored=True)]
    assert "its controller died before it could report" in run_entry(RUN, kept, ended=False)["problem"]


@pytest.mark.parametrize("events", [[], [event()], [{"data": None}], [{**BEGIN, "at": "never"}]])
def test_a_journal_that_holds_other_things_is_no_crash(events: Any) -> None:
    entry = run_entry(RUN, events, ended=True)
    assert entry["problem"]
    assert entry["run_id"] == RUN


def test_evidence_says_until_when_it_counts() -> None:
    sealed = seal({"evidence_id": RUN, "created_at": "2026-11-23T08:15:00+00:00", "plan": ["1.ts"]}, "key")
    told = evidence_entry(sealed, "key", NOW, 24)
    assert (told["valid_until"], told["age_hours"]) == ("2026-11-24T08:15:00+00:00", 3.75)
    assert (told["signed"], told["problem"]) == (True, "")
    assert "signature" in evidence_entry(sealed, "other", NOW, 24)["problem"]
    assert "edited" in evidence_entry({**sealed, "plan": "x"}, None, NOW, 24)["problem"]


def test_the_newest_good_backup_is_of_this_database() -> None:
    backups = newest_first(
        [
            {"backup_id": str(day), "created_at": f"2026-11-{day}T08:00:00+00:00", "database": database,
             "trusted": trusted, "verified": verified}
            for day, database, trusted, verified in (
                (20, "shop", True, "read"), (21, "shop", True, "restore"), (22, "shop", True, None),
                (23, "shop", False, "read"), (24, "other", True, "read"),
            )
        ],
        "created_at",
    )  # fmt: skip
    assert [entry["backup_id"] for entry in backups] == ["24", "23", "22", "21", "20"]
    assert good_backup(backups, "shop") == "21"
    assert good_backup(backups, "nothing") is None


def test_figures_for_a_person() -> None:
    assert [human_bytes(size) for size in (None, 0, 999, 1000, 1.5e9, 2e15)] == [
        "size unknown", "0 bytes", "999 bytes", "1.0 KB", "1.5 GB", "2000.0 TB",
    ]  # fmt: skip
    assert [human_age(hours) for hours in (None, 0.2, 1.5, 96)] == [
        "age unknown",
        "12 min old",
        "1.5 h old",
        "4 days old",
    ]
    assert clock("2026-11-23T13:00:30+01:00") == "2026-11-23 12:00 UTC"
    assert clock("soon") == "soon"


def test_control_characters_of_names_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\nc\u202e") == "a [2Jb c "
    entry = {
        "name": "x\x1b[31m__before_1", "purpose": "before", "size_bytes": None, "open": False, "half_made": False,
        "made_at": "", "keep_until": "", "note": "one\ntwo", "drop_command": 'DROP DATABASE "x\x1b";',
    }  # fmt: skip
    assert not any("\x1b" in line or "\n" in line for line in status_lines(empty_status(databases=[entry])))


def test_lines_of_a_sound_database() -> None:
    assert status_lines(empty_status()) == [
        "Database shop: open, 1.5 MB, PostgreSQL 18.4",
        "Run under way: none",
        "Databases that runs left: none",
        "Backups: none",
        "Evidence of rehearsals: none",
        "Runs: none",
    ]


def test_old_evidence_is_called_too_old() -> None:
    sealed = seal({"evidence_id": RUN, "created_at": "2026-11-20T08:15:00+00:00", "plan": ["1.ts"]}, None)
    unsaid = seal({"evidence_id": RUN, "created_at": "", "plan": []}, None)
    entries = [evidence_entry(evidence, None, NOW, 24) for evidence in (sealed, unsaid)]
    said = "\n".join(status_lines(empty_status(evidence=entries)))
    assert "3 days old, TOO OLD since 2026-11-21 08:15 UTC: 1.ts" in said
    assert "DOES NOT COUNT, it does not say when it was made" in said


def test_what_is_long_is_cut_and_said() -> None:
    runs = [{**run_entry(RUN, [BEGIN], ended=True), "report": "/r"} for _again in range(12)]
    lines = status_lines(empty_status(runs=runs, problems=["look"]))
    assert "  and 2 older" in lines
    assert lines[-2:] == ["Look at this:", "  - look"]
