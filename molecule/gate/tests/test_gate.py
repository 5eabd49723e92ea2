# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Production, refused for every reason there is, then let through by an override. That nothing was touched each time
is checked when it happens, in converge.yml; here it is what the runs left on record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from stage import COMMENT, DATABASES

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]

PLAN = "20240107000000-add-project-priority.ts"
REFUSALS = [
    "There is no evidence at all",
    "There is evidence of another plan",
    "it was edited after it was written",
    "production's schema has changed since it was rehearsed",
    "a migration file of the plan has changed since it was rehearsed",
]
"""In the order of converge.yml; a part of the playbook is refused before there is a run."""


def test_all_were_refused_but_the_last(scene: Scene) -> None:
    outcomes = [run.record["outcome"] for run in scene.runs("production")]
    assert outcomes == ["refused"] * len(REFUSALS) + ["rolled_back"]


@pytest.mark.parametrize(("number", "reason"), list(enumerate(REFUSALS)))
def test_a_refusal_says_why_and_what_to_do(scene: Scene, number: int, reason: str) -> None:
    run = scene.runs("production")[number]
    error = run.record["error"]
    assert error["phase"] == "gate"
    assert reason in error["message"]
    assert "ansible-playbook rollback.yml -e env=staging" in error["remedy"]
    assert error["untouched"] == "Production was not touched."
    assert "**Outcome:** Refused before anything was touched." in run.report


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_a_refusal_has_no_window_and_no_backup(scene: Scene, number: int) -> None:
    record = scene.runs("production")[number].record
    assert (record["window_seconds"], record["backup_id"], record["restore_seconds"]) == (0, None, None)
    assert {phase["name"] for phase in record["phases"]} <= {"preflight", "gate", "restore"}


def test_the_override_heads_the_report(scene: Scene) -> None:
    run = scene.runs("production")[-1]
    assert run.record["override"] == {"reason": "staging is on fire", "approved_by": ["Ada", "Grace"]}
    assert run.record["evidence_id"] is None
    heading = "> **The gate was overridden: this rollback was not rehearsed.** Reason: staging is on fire. Approved by"
    assert f"{heading} Ada and Grace." in run.report
    assert run.report.index(heading) < run.report.index("### Reason for Rollback")


def test_the_override_rolled_back(scene: Scene) -> None:
    assert scene.runs("production")[-1].record["plan"] == [PLAN]
    assert scene.query("SELECT count(*) FROM migrations_meta WHERE name = %s", PLAN) == [(0,)]
    assert scene.query("SELECT count(*) FROM projects") == [(2000,)]
    assert scene.query(
        "SELECT datallowconn, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    ) == [(True, COMMENT)]


def test_only_what_the_override_replaced_is_left(scene: Scene) -> None:
    before = f"{DATABASES['production']}__before_{scene.runs('production')[-1].record['run_id']}"
    assert scene.databases("production") == {DATABASES["production"], before}
    assert scene.databases("staging") == {DATABASES["staging"]}
    oid, is_open, _description = scene.database(before)
    assert (oid, is_open) == (scene.evidence()["production"]["oid"], False)


def test_the_older_release_answers(scene: Scene) -> None:
    health = scene.ask("/api/health/deep")
    assert (health["ok"], health["release"]) == (True, "1.1.0")


def test_nobody_else_can_read_the_state(state_is_private: Callable[[], str]) -> None:
    assert state_is_private() == ""
