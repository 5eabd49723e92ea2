# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_down, with npm, node and pg against real servers; the tool is told to misbehave in every way known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest
from npm_project import NpmProject, RunOfTest, applied


class Scene:
    """A production database with three applied migrations, and a run that made something of it."""

    def __init__(self, folder: Path, database: Any, run_module: Any) -> None:
        self.project = NpmProject(folder / "project")
        self.project.apply(database)
        self.run = RunOfTest(folder / "state", database)
        self.database = database
        self.run_module = run_module
        self.folder = folder
        run_module.secrets.add("a-long-secret-of-the-application")

    def down(self, plan: list[str], **arguments: Any) -> dict[str, Any]:
        environment = {"JWT_SECRET": "a-long-secret-of-the-application", **arguments.pop("environment", {})}
        given = {
            "database_url": self.database.url,
            "plan": plan,
            "engine_options": self.project.options(),
            "environment": environment,
            **self.run.arguments(),
            **arguments,
        }
        return self.run_module("migrate_down", **given)

    def mischief(self, kind: str, **arguments: Any) -> dict[str, Any]:
        environment = {"MISCHIEF": kind, **arguments.pop("environment", {})}
        return self.down(["3-orders.js"], environment=environment, **arguments)


@pytest.fixture
def scene(tmp_path: Path, database: Any, run_module: Any) -> Scene:
    return Scene(tmp_path, database, run_module)


@pytest.fixture
def rehearsal(scene: Scene) -> Any:
    return scene.run.make("rehearsal")


def test_candidate_four_times(scene: Scene) -> None:
    candidate = scene.run.make("candidate")
    scene.run.enter("candidate")
    plan = ["3-orders.js", "2-phone.js"]

    checked = scene.down(plan, check_mode=True)
    assert checked["changed"]
    assert [step["name"] for step in checked["reverted"]] == plan
    assert applied(candidate) == scene.project.names

    done = scene.down(plan)
    assert done["changed"]
    assert done["database"] == candidate.name
    assert [step["name"] for step in done["reverted"]] == plan
    assert done["state_after"] == applied(candidate) == ["1-users.js"]
    assert "reverted 3-orders.js" in done["reverted"][0]["output_tail"]
    assert 0 < done["command_seconds"] < done["seconds"]
    assert scene.run.state() == "migrated"
    assert applied(scene.database) == scene.project.names
    event = scene.run.run.events()[-1]
    assert (event["phase"], event["outcome"], event["changed"]) == ("migrate_down", "ok", True)
    assert event["data"]["plan"] == plan

    again = scene.down(plan)
    assert not again["changed"]
    assert again["reverted"] == []


def test_candidate_only_in_its_state(scene: Scene) -> None:
    candidate = scene.run.make("candidate")
    for state in ("closed", "migrating", "swapped"):
        scene.run.enter(state)
        result = scene.down(["3-orders.js"])
        assert result["failed"]
        assert result["error"]["kind"] == "refused"
    scene.run.describe(scene.database.name, "original", "candidate", lease_seconds=-1)
    assert "ran out" in scene.down(["3-orders.js"])["msg"]
    assert applied(candidate) == scene.project.names


@pytest.mark.parametrize("role", [None, "before", "trial"])
def test_other_databases_are_refused(scene: Scene, role: str | None) -> None:
    name = scene.run.make(role).name if role else scene.database.name
    result = scene.down(["3-orders.js"], database=name)
    assert result["error"]["kind"] == "refused"
    assert applied(scene.database) == scene.project.names


def test_plan_that_is_not_the_last(scene: Scene, rehearsal: Any) -> None:
    result = scene.down(["2-phone.js"], database=rehearsal.name)
    assert result["error"]["kind"] == "refused"
    assert result["error"]["last_applied"] == ["3-orders.js"]
    assert applied(rehearsal) == scene.project.names


def test_tool_that_does_nothing_and_says_well_done(scene: Scene, rehearsal: Any) -> None:
    result = scene.mischief("nothing", database=rehearsal.name)
    assert "no session of it was seen" in result["msg"]
    assert applied(rehearsal) == scene.project.names


def test_tool_that_reverts_the_wrong_one(scene: Scene, rehearsal: Any) -> None:
    result = scene.mischief("wrong", database=rehearsal.name)
    assert result["error"]["gone"] == ["2-phone.js"]
    assert "3-orders.js should have been reverted" in result["msg"]


def test_tool_that_fails_in_its_second_statement(scene: Scene, rehearsal: Any) -> None:
    result = scene.mischief("fail", database=rehearsal.name)
    assert "exit code 1" in result["msg"]
    assert "the second statement failed" in result["msg"]
    assert result["error"]["state_after"] == ["1-users.js", "2-phone.js"]
    assert scene.run.run.events()[-1]["outcome"] == "failed"


def test_tool_that_leaves_a_grandchild_with_a_session(scene: Scene, rehearsal: Any) -> None:
    file = scene.folder / "linger"
    result = scene.mischief("linger", database=rehearsal.name, environment={"LINGER_FILE": str(file)})
    assert not result["failed"]
    assert result["reverted"][0]["ended_processes"] == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
    assert scene.database.execute(sessions, [rehearsal.name], url=scene.database.admin_url) == [(0,)]


def test_tool_that_hangs(scene: Scene, rehearsal: Any) -> None:
    result = scene.mischief("hang", database=rehearsal.name, step_timeout=3)
    assert "did not end within 3 s" in result["msg"]


def test_tool_that_prints_its_secrets(scene: Scene, rehearsal: Any) -> None:
    result = scene.mischief("print", database=rehearsal.name)
    assert not result["failed"]
    assert "********" in result["reverted"][0]["output_tail"]
    again = scene.down(["2-phone.js"], database=rehearsal.name, environment={"MISCHIEF": "print-and-fail"})
    assert "the second statement failed" in again["msg"]
    journal = scene.run.run.journal.read_text()
    assert "********" in journal
    assert quote(scene.database.password, safe="") not in journal
    assert scene.database.password not in journal
    assert "a-long-secret" not in journal


def test_tool_that_connects_to_production(scene: Scene, rehearsal: Any) -> None:
    stray = {"STRAY_URL": f"{scene.database.url}?application_name=somebody", "MISCHIEF_STATUS": "stray"}
    result = scene.mischief("stray", database=rehearsal.name, environment=stray)
    assert "no session of it was seen" in result["msg"]
    assert applied(scene.database) == scene.project.names


def test_tool_that_is_seen_in_production(scene: Scene, rehearsal: Any) -> None:
    stray = {"STRAY_URL": scene.database.url, "MISCHIEF_STATUS": "stray"}
    blocker = psycopg2.connect(scene.database.url)
    with blocker, blocker.cursor() as cursor:  # holds the tool long enough to be looked at
        cursor.execute("LOCK TABLE migrations_meta")
        result = scene.mischief("stray", database=rehearsal.name, environment=stray)
    blocker.close()
    assert f"connected to {scene.database.name!r}" in result["msg"]


def test_tool_that_also_writes_to_production(scene: Scene, rehearsal: Any) -> None:
    stray = {"STRAY_URL": scene.database.url}
    watched = [scene.database.url]
    result = scene.mischief("also", database=rehearsal.name, environment=stray, watch_urls=watched)
    assert "which this must not touch, changed" in result["msg"]


def test_production_as_its_own_rehearsal(scene: Scene, rehearsal: Any) -> None:
    result = scene.down(["3-orders.js"], database=rehearsal.name, watch_urls=[rehearsal.url])
    assert "must not be touched" in result["msg"]


def test_lock_timeout_reaches_the_tool(scene: Scene, rehearsal: Any) -> None:
    with rehearsal.session() as session, session.cursor() as cursor:  # a lock that needs no session
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE orders")
        cursor.execute("PREPARE TRANSACTION 'lock'")
    result = scene.down(["3-orders.js"], database=rehearsal.name, lock_timeout=0.2)
    assert "lock timeout" in result["msg"]


def test_somebody_else_in_the_database(scene: Scene, rehearsal: Any) -> None:
    with rehearsal.session():
        result = scene.down(["3-orders.js"], database=rehearsal.name)
    assert "Somebody is connected" in result["msg"]
    assert applied(rehearsal) == scene.project.names


def test_missing_script(scene: Scene, rehearsal: Any) -> None:
    options = scene.project.options(scripts={"status": "no:such"})
    result = scene.down(["3-orders.js"], database=rehearsal.name, engine_options=options)
    assert "has no script 'no:such'" in result["msg"]
    assert applied(rehearsal) == scene.project.names
