# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two rollbacks that failed in production: before the swap, and after it. Both were undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from stage import COMMENT, DATABASES, ROLE

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]

PLAN = "20240106000000-widen-project-title.ts"
BEFORE_SWAP, AFTER_SWAP = 0, 1
RESTORES = pytest.mark.parametrize("number", [BEFORE_SWAP, AFTER_SWAP], ids=["before the swap", "after the swap"])


def failed_database(scene: Scene, number: int) -> str:
    return f"{DATABASES['production']}__failed_{scene.runs('production')[number].record['run_id']}"


def test_rehearsed_then_restored_twice(scene: Scene) -> None:
    assert [run.record["outcome"] for run in scene.runs("staging")] == ["rehearsed"]
    assert [run.record["outcome"] for run in scene.runs("production")] == ["restored", "restored"]


@RESTORES
def test_the_record_says_where_it_failed(scene: Scene, number: int) -> None:
    record = scene.runs("production")[number].record
    assert record["plan"] == [PLAN]
    assert record["error"]["phase"] == ("migrate_down", "reopen")[number]
    assert record["error"]["message"]
    assert 0 < record["restore_seconds"] < record["window_seconds"]


@RESTORES
def test_the_restore_says_what_it_did(scene: Scene, number: int) -> None:
    restored = scene.runs("production")[number].event("restore the original")["data"]
    assert restored["restored_from"] == ("before_swap", "after_swap")[number]
    assert restored["proof"] == ("", "counters")[number]
    assert restored["failed_database"] == failed_database(scene, number)


def test_the_first_plan_failed_in_its_second_statement(scene: Scene) -> None:
    name = failed_database(scene, BEFORE_SWAP)
    scene.query(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true', database="postgres")
    try:
        columns = scene.query(
            "SELECT column_name, character_maximum_length FROM information_schema.columns"
            " WHERE table_name = 'projects' AND column_name IN ('title', 'subtitle')", database=name,
        )  # fmt: skip
    finally:
        scene.query(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', database="postgres")
    assert columns == [("title", 200)]


def test_production_is_its_own_database_and_open(scene: Scene) -> None:
    assert scene.query(
        "SELECT oid::bigint, datallowconn, datdba::regrole::text, datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = current_database()"
    ) == [(scene.evidence()["production"]["oid"], True, ROLE, 40, COMMENT)]


def test_production_is_unaltered(scene: Scene) -> None:
    assert scene.query("SELECT max(name) FROM migrations_meta") == [(PLAN,)]
    assert scene.query("SELECT count(*), count(subtitle), sum(budget) FROM projects") == [
        (2000, 2000, sum(1000 + number for number in range(1, 2001)))
    ]


@RESTORES
def test_the_failed_database_is_kept_closed_and_says_what_it_is(scene: Scene, number: int) -> None:
    _oid, is_open, description = scene.database(failed_database(scene, number))
    assert not is_open
    assert description is not None
    assert (description.role, description.run_id) == ("failed", scene.runs("production")[number].record["run_id"])
    assert "kept for study" in description.note


def test_no_other_database_is_left(scene: Scene) -> None:
    assert scene.databases("staging") == {DATABASES["staging"]}
    assert scene.databases("production") == {
        DATABASES["production"],
        failed_database(scene, BEFORE_SWAP),
        failed_database(scene, AFTER_SWAP),
    }


def test_no_session_and_no_lock_is_left(scene: Scene) -> None:
    assert scene.traces() == []


def test_the_newer_release_answers_and_writes(scene: Scene) -> None:
    health = scene.ask("/api/health/deep")
    assert (health["ok"], health["release"]) == (True, "1.1.0")
    assert health["migrations"] == {"pending": 0, "executed": 6}
    title = "x" * 60  # which the older schema could not hold
    reference = "after-the-restore"
    project = scene.ask("/api/projects", {"title": title, "client_reference": reference})
    scene.query("DELETE FROM projects WHERE client_reference = %s", reference)
    assert project["title"] == title


@RESTORES
def test_maintenance_was_seen_on_and_off(scene: Scene, number: int) -> None:
    run = scene.runs("production")[number]
    for turned in ("turn maintenance mode on", "turn maintenance mode off"):
        assert run.event(turned)["data"]["verified_by"] == "probe"
    assert scene.ask("/api/health")["maintenance"] is False


@RESTORES
def test_the_report_says_so(scene: Scene, number: int) -> None:
    report = scene.runs("production")[number].report
    assert "**Outcome:** Restored." in report
    assert "Production rollback: Failure" in report
    assert "Restoration required: Yes" in report
    assert "Data loss: None" in report


def test_nobody_else_can_read_the_state(state_is_private: Callable[[], str]) -> None:
    assert state_is_private() == ""
