# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback by hand that stopped in the middle: kept, described, and restored from before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restored_story import RestoredStory, the_run

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]


class TestRestored(RestoredStory):
    """It ended as every restored backup does."""

    reported = ("Restored from backup", "projects reverted, project_files not")


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
