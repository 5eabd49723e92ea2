# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_up, with npm, node and pg against real servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from npm_project import NpmProject, RunOfTest, applied


class Scene:
    """A database with one applied migration of three, and a rehearsal of it."""

    def __init__(self, folder: Path, database: Any, run_module: Any) -> None:
        self.project = NpmProject(folder / "project")
        self.project.apply(database, 1)
        self.run = RunOfTest(folder / "state", database)
        self.rehearsal = self.run.make("rehearsal")
        self.database = database
        self.run_module = run_module

    def up(self, **arguments: Any) -> dict[str, Any]:
        given = {
            "database_url": self.database.url,
            "engine_options": self.project.options(),
            **self.run.arguments("rehearse"),
            **arguments,
        }
        return self.run_module("migrate_up", **given)


@pytest.fixture
def scene(tmp_path: Path, database: Any, run_module: Any) -> Scene:
    return Scene(tmp_path, database, run_module)


def test_four_times(scene: Scene) -> None:
    checked = scene.up(check_mode=True, steps=1)
    assert checked["changed"]
    assert checked["state_after"] == ["1-users.js", "2-phone.js"]
    assert applied(scene.rehearsal) == ["1-users.js"]

    one = scene.up(target="2-phone.js")
    assert [step["name"] for step in one["applied"]] == ["2-phone.js"]
    rest = scene.up()
    assert rest["changed"]
    assert applied(scene.rehearsal) == scene.project.names
    assert applied(scene.database) == ["1-users.js"]

    assert not scene.up(check_mode=True)["changed"]
    assert not scene.up()["changed"]
    assert not scene.up(target="2-phone.js")["changed"]


def test_only_what_a_run_made(scene: Scene) -> None:
    assert scene.up(database=scene.database.name)["error"]["kind"] == "refused"
    scene.run.describe(scene.rehearsal.name, "candidate")
    assert scene.up()["error"]["kind"] == "refused"


def test_part_without_a_script_for_one(scene: Scene) -> None:
    result = scene.up(steps=1, engine_options=scene.project.options(scripts={}))
    assert "scripts.up_one" in result["msg"]
    assert applied(scene.rehearsal) == ["1-users.js"]


def test_tool_that_does_nothing(scene: Scene) -> None:
    assert "no session of it was seen" in scene.up(environment={"MISCHIEF": "nothing"})["msg"]
