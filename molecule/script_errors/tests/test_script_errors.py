# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A down script that failed by hand: restored, verified, restarted, healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restored_story import RestoredStory, kept, the_run

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]


class TestRestored(RestoredStory):
    """It ended as every restored backup does."""

    reported = ("Restored from backup", "public.projects: 1 rows are not in backup")


def test_looking_left_no_run(scene: Scene) -> None:
    assert [run.record["outcome"] for run in scene.runs("production")] == ["restored"]


def test_the_database_is_that_of_the_backup(scene: Scene) -> None:
    assert scene.query("SELECT count(*), count(subtitle), sum(budget) FROM projects") == [
        (2000, 2000, sum(1000 + number for number in range(1, 2001)))
    ]


def test_the_order_that_was_taken_later_is_kept_and_named(scene: Scene) -> None:
    assert the_run(scene).record["lost_since"]["tables"] == [{"name": "public.projects", "rows": 1, "changed": 0}]
    scene.query(f'ALTER DATABASE "{kept(scene)}" ALLOW_CONNECTIONS true', database="postgres")
    try:
        found = scene.query(
            "SELECT count(*) FROM projects WHERE client_reference = 'after-the-backup'", database=kept(scene)
        )
    finally:
        scene.query(f'ALTER DATABASE "{kept(scene)}" ALLOW_CONNECTIONS false', database="postgres")
    assert found == [(1,)]


def test_what_the_script_left_is_described_and_dumped(scene: Scene) -> None:
    partial = the_run(scene).record["partial"]
    assert partial["change"][0].startswith("column public.projects.subtitle removed")
    assert [path for path in the_run(scene).folder.iterdir() if (path / "manifest.json").is_file()]
