# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""--check prints the plan and changes nothing; --tags preflight looks, and changes nothing on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stage import DATABASES

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

NEWEST = "20240107000000-add-project-priority.ts"


@pytest.fixture(scope="module")
def rehearsed(scene: Scene) -> None:
    """Evidence of a rehearsal of the newest migration."""
    outcome = scene.play("env=staging")
    assert [record["outcome"] for record in outcome.records] == ["rehearsed"], outcome.output


@pytest.mark.usefixtures("untouched")
def test_check_of_a_rehearsal(scene: Scene) -> None:
    outcome = scene.play("env=staging", "--check")
    assert (outcome.exit_code, outcome.folders) == (0, []), outcome.output
    assert f"Migrations to revert there, newest first: {NEWEST}" in outcome.said
    assert f"Copy {DATABASES['production']}" in outcome.said


@pytest.mark.usefixtures("untouched", "rehearsed")
def test_check_of_production_prints_the_plan(scene: Scene) -> None:
    with scene.session("production", url=scene.url("production")):
        outcome = scene.play("env=production", "reason=a look", "--check")
    assert (outcome.exit_code, outcome.folders) == (0, []), outcome.output
    for part in (
        f"Migrations to revert, newest first: {NEWEST}",
        "Goes away with the migration: public.projects.priority",
        "Predicted window:",
        "Disk for the copies:",
        "Sessions that will be ended: 1",
        "the keeper opens the original again after",
    ):
        assert part in outcome.said, outcome.output
    looked = scene.play("env=production", "reason=a look", "--tags", "preflight")
    assert looked.exit_code == 0, looked.output
    assert [record["window_seconds"] for record in looked.records] == [0]


@pytest.mark.usefixtures("untouched", "rehearsed")
def test_check_of_production_whose_release_is_switched(scene: Scene) -> None:
    release = {"commands": {"stop": ["false"], "older": ["false"], "newer": ["false"]}}
    variables = {"rollback_keep_release": False, "rollback_release": release}
    outcome = scene.play("env=production", "reason=a look", "--check", production=variables)
    assert (outcome.exit_code, outcome.folders) == (0, []), outcome.output
    assert f"Migrations to revert, newest first: {NEWEST}" in outcome.said


@pytest.mark.parametrize("env", ["production", "staging"])
def test_a_look_that_finds_something_wrong_fails(scene: Scene, env: str) -> None:
    looked = scene.play(f"env={env}", "steps=99", "reason=a look", "--tags", "preflight")
    assert looked.exit_code != 0, looked.output
    assert looked.records[-1]["error"]["phase"] == "preflight"
    assert "99" in looked.records[-1]["error"]["message"]
