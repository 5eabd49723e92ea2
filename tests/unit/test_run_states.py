# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description, owner_of
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.release import check_release
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import (
    AFTER_SWAP,
    BEFORE_SWAP,
    REQUIRED_BEFORE_CLOSING,
    STATES,
    STEPS,
    check_gate_passed,
    check_no_run,
    check_step,
    on_record,
)

RUN_ID, OTHER = "20261123t081500a3f9", "20261123t091500b4e8"


def described(state: str) -> Description | None:
    return Description(RUN_ID, "original", state) if state else None


@pytest.mark.parametrize("state", ["", *STATES])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_only_taken_from_the_states_that_allow_it(step: str, state: str) -> None:
    if state in STEPS[step].allowed_from:
        assert check_step(step, RUN_ID, "shop", described(state)) == STEPS[step].leads_to
        return
    with pytest.raises(Refused, match="only allowed in") as refusal:
        check_step(step, RUN_ID, "shop", described(state))
    assert "changed nothing" in refusal.value.untouched
    assert "rollback.yml" in refusal.value.remedy


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_another_runs_database_is_never_stepped_on(step: str, state: str) -> None:
    with pytest.raises(Refused, match=f"Run {RUN_ID} is under way on shop"):
        check_step(step, OTHER, "shop", described(state))


@pytest.mark.parametrize("state", AFTER_SWAP)
def test_what_is_left_to_a_person_is_only_ended_or_restored(state: str) -> None:
    held = Description(RUN_ID, "current", state, data={"held": "rows were written to it"})
    assert [check_step(step, RUN_ID, "shop", held) for step in ("finish", "restore")] == ["", ""]
    for step in set(STEPS) - {"finish", "restore"}:
        with pytest.raises(Refused, match="left to a person, because rows were written to it"):
            check_step(step, RUN_ID, "shop", held)


def test_the_steps_lead_from_closing_to_the_end() -> None:
    state = ""
    window = (
        "close",
        "clone",
        "begin_migration",
        "end_migration",
        "verify",
        "stop_release",
        "swap",
        "release",
        "finish",
    )
    for step in window:
        state = check_step(step, RUN_ID, "shop", described(state))
    assert state == ""


def test_a_restore_has_no_release_to_switch() -> None:
    state = ""
    for step in ("close", "replace", "finish"):
        state = check_step(step, RUN_ID, "shop", described(state))
    assert state == ""


def test_the_original_is_only_away_after_the_swap() -> None:
    assert set(STATES) - set(BEFORE_SWAP) == {"swapped", "released"} == set(AFTER_SWAP)


def test_what_is_on_record_of_the_release() -> None:
    assert on_record("release", "now") == {"release": {"is": "older", "since": "now"}}
    assert on_record("replace", "now") == {"release": {"is": "kept", "since": "now"}}
    assert on_record("stop_release", "now") == {"stopped": "now"}
    assert on_record("swap", "now") == {}


def test_a_refusal_names_the_owner() -> None:
    owner = {"executed_by": "anna", "host": "tools-1", "since": "2026-11-23T08:15:00.000+00:00"}
    description = Description(RUN_ID, "original", "closed", data={"owner": owner})
    named = f"Run {RUN_ID} of anna on tools-1, since 2026-11-23T08:15:00.000\\+00:00 is under way on shop"
    with pytest.raises(Refused, match=named) as refusal:
        check_step("close", OTHER, "shop", description)
    assert refusal.value.details["owner"] == owner
    with pytest.raises(Refused, match=named):
        check_no_run("shop", description)
    with pytest.raises(Refused, match=named):
        check_release("restarted", None, "shop", description)
    silent: tuple[dict[str, Any], ...] = ({}, {"owner": None}, {"owner": {}})
    for unsaid in silent:
        assert owner_of(Description(RUN_ID, "original", data=unsaid)) == ""


def test_the_gate_lets_a_run_pass_that_did_everything() -> None:
    check_gate_passed(RUN_ID, {*REQUIRED_BEFORE_CLOSING, "rehearse"})


@pytest.mark.parametrize("missing", REQUIRED_BEFORE_CLOSING)
def test_the_gate_names_what_is_missing(missing: str) -> None:
    with pytest.raises(Refused, match=missing.replace("_", " ")):
        check_gate_passed(RUN_ID, set(REQUIRED_BEFORE_CLOSING) - {missing})


def test_a_restore_closes_nothing_before_it_has_said_what_would_be_lost() -> None:
    check_gate_passed(RUN_ID, {"preflight", "restore", "gate"}, "restore")
    with pytest.raises(Refused, match="gate passed") as refusal:
        check_gate_passed(RUN_ID, {"preflight", "restore", "back_up"}, "restore")
    assert "restore.yml" in refusal.value.remedy
    with pytest.raises(Refused, match="back up passed"):
        check_gate_passed(RUN_ID, {"preflight", "restore", "gate"})


def test_no_run_is_begun_beside_another() -> None:
    check_no_run("shop", None)
    check_no_run("shop", Description(RUN_ID, "before"))
    with pytest.raises(Refused, match=f"Run {RUN_ID} is under way on shop .state migrating.") as refusal:
        check_no_run("shop", described("migrating"))
    assert refusal.value.details["other_run"] == RUN_ID


def transitions() -> list[tuple[tuple[str, str], str, str, tuple[str, str]]]:
    """Walk through everything that two runs can do to one database: who holds it in which state, who takes what step.

    Returns:
        The owner and the state before, the run that took a step, the step, the owner and the state after.
    """
    taken = []
    seen, left = {("", "")}, [("", "")]
    while left:
        owner, state = left.pop()
        description = Description(owner, "original", state) if state else None
        for run_id in (RUN_ID, OTHER):
            for step in STEPS:
                try:
                    reached = check_step(step, run_id, "shop", description)
                except Refused:
                    continue
                now = (run_id, reached) if reached else ("", "")
                taken.append(((owner, state), run_id, step, now))
                if now not in seen:
                    seen.add(now)
                    left.append(now)
    return taken


def test_no_step_of_a_run_gets_past_another_run() -> None:
    walked = transitions()
    assert {state for (_owner, state), *_step in walked} == {"", *STATES}  # nothing stands where nobody can come to
    for (owner, state), run_id, step, (_owner, reached) in walked:
        assert owner in ("", run_id)
        assert state in STEPS[step].allowed_from
        assert reached == STEPS[step].leads_to


@pytest.mark.parametrize("needed", ["closed", "candidate", "migrating", "migrated", "verified"])
def test_no_way_to_the_swap_leaves_a_state_out(needed: str) -> None:
    """Only a restore puts something in the database's place that was not migrated here, and only in place is there no
    candidate: each has steps of its own.
    """
    reached, grown = {""}, True
    while grown:
        more = {
            after[1]
            for (_owner, state), _run, step, after in transitions()
            if state in reached and step not in ("replace", "begin_in_place") and after[1] != needed
        }
        grown = not more <= reached
        reached |= more
    assert "swapped" not in reached


def test_a_run_that_has_begun_can_always_go_back() -> None:
    for state in STATES:
        assert check_step("restore", RUN_ID, "shop", described(state)) == ""
