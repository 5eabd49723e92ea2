# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows that vanished: assessed, the newest good backup found by its verification, the loss said, restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restored_story import RestoredStory, the_run

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]


class TestRestored(RestoredStory):
    """It ended as every restored backup does."""

    reported = ("Restored from backup", "public.projects: 5 rows are not in backup", "changed (its SHA-256 differs)")


def test_the_scope_was_assessed(scene: Scene) -> None:
    scope = the_run(scene).record["scope"]
    assert scope["clean"] is False
    (broken,) = [finding for finding in scope["findings"] if finding["severity"] == "broken"]
    assert broken["object"] == "public.projects"
    assert broken["rows"] > 0


def test_each_backup_that_is_not_good_is_named_with_its_reason(scene: Scene) -> None:
    source = the_run(scene).event("restore the newest good backup beside")["data"]["source"]
    damaged_since, flipped = source["rejected"]
    assert "projects_owner_id_fkey" in damaged_since["reason"]
    assert "was changed (its SHA-256 differs)" in flipped["reason"]
    assert source["created_at"] < flipped["created_at"] < damaged_since["created_at"]


def test_the_database_is_that_of_the_only_good_backup(scene: Scene) -> None:
    assert scene.query("SELECT count(*), count(DISTINCT owner_id) FROM projects") == scene.query(
        "SELECT count(*), count(DISTINCT u.id) FROM projects p JOIN users u ON u.id = p.owner_id"
    )
    assert scene.query("SELECT count(*) FROM projects WHERE client_reference LIKE 'later-%%'") == [(0,)]


def test_what_was_lost_since_is_on_record(scene: Scene) -> None:
    assert the_run(scene).record["lost_since"]["rows"] == 5
