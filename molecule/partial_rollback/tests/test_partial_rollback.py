# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback by hand that stopped in the middle: kept, described, and restored from before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stage import COMMENT, DATABASES, ROLE

if TYPE_CHECKING:
    from molecule.conftest import Run, Scene

testinfra_hosts = ["shop-production"]

REPORTED = ("Restored from backup", "projects reverted, project_files not")


def the_run(scene: Scene) -> Run:
    return scene.runs("production")[-1]


def kept(scene: Scene) -> str:
    return f"{DATABASES['production']}__before_{the_run(scene).record['run_id']}"


def test_it_is_described_against_both_known_states(scene: Scene) -> None:
    partial = the_run(scene).record["partial"]
    assert partial["state"] == "partial"
    assert partial["tables"] == {"public.projects": "reverted", "public.project_files": "not reverted"}
    assert partial["evidence_id"] == scene.evidence()["evidence_id"]
    assert "tables: public.project_files removed" in partial["missing"]


def test_the_partial_state_is_kept_as_a_dump_too(scene: Scene) -> None:
    assert [path for path in the_run(scene).folder.iterdir() if (path / "manifest.json").is_file()]


def test_no_migration_was_run(scene: Scene) -> None:
    assert {event["phase"] for event in the_run(scene).journal}.isdisjoint({"migrate_down", "candidate"})


def test_the_database_is_that_of_before_the_rollback(scene: Scene) -> None:
    assert scene.query("SELECT count(*) FROM migrations_meta") == [(6,)]
    assert scene.query("SELECT count(*), count(subtitle), sum(budget) FROM projects") == [
        (2000, 2000, sum(1000 + number for number in range(1, 2001)))
    ]


def test_the_database_is_open_with_what_belongs_to_it(scene: Scene) -> None:
    assert scene.query(
        "SELECT datallowconn, datdba::regrole::text, datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = current_database()"
    ) == [(True, ROLE, 40, COMMENT)]


def test_the_present_database_is_kept_closed(scene: Scene) -> None:
    _oid, is_open, description = scene.database(kept(scene))
    assert not is_open
    assert description is not None
    assert (description.role, description.run_id) == ("before", the_run(scene).record["run_id"])
    assert scene.databases("production") == {DATABASES["production"], kept(scene)}


def test_the_application_was_restarted_and_writes(scene: Scene) -> None:
    assert the_run(scene).event("restart the application")["outcome"] == "ok"
    health = scene.ask("/api/health/deep")
    assert (health["ok"], health["release"]) == (True, "1.1.0")
    assert health["migrations"] == {"pending": 0, "executed": 6}


def test_maintenance_was_on_first_and_is_off_again(scene: Scene) -> None:
    actions = [event["action"] for event in the_run(scene).journal]
    assert actions.index("turn maintenance mode on") < actions.index("restore the newest good backup beside")
    for turned in ("turn maintenance mode on", "turn maintenance mode off"):
        assert the_run(scene).event(turned)["data"]["verified_by"] == "probe"
    assert scene.ask("/api/health")["maintenance"] is False


def test_no_session_and_no_lock_is_left(scene: Scene) -> None:
    assert scene.traces() == []


def test_the_record_says_so_in_words(scene: Scene) -> None:
    record = the_run(scene).record
    told = [
        line
        for part in ("scope", "lost_since", "partial", "restored_from")
        for line in (record[part] or {"lines": []})["lines"]
    ]
    missing = [words for words in REPORTED if not any(words in line for line in told)]
    assert not missing, told


def test_nobody_else_can_read_the_state(state_is_private: Callable[[], str]) -> None:
    assert state_is_private() == ""
