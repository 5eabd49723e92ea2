# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migrate_down on an SQLite candidate; the tool is told to misbehave, and never reaches the database itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlite_files import digest
from sqlite_project import NAMES, SqliteProject, SqliteRun


@pytest.fixture
def project(tmp_path: Path) -> SqliteProject:
    return SqliteProject(tmp_path / "project")


@pytest.fixture
def run(tmp_path: Path, project: SqliteProject, run_module: Any) -> SqliteRun:
    run = SqliteRun(tmp_path / "state", project, run_module)
    run.begin()
    return run


@pytest.mark.parametrize(
    ("mischief", "said"),
    [
        ("stray", "database is locked"),
        ("nothing", "3-orders.js"),
        ("wrong", "2-phone.js"),
        ("fail", "failed with exit code 1"),
    ],
)
def test_a_tool_that_misbehaves(project: SqliteProject, run: SqliteRun, mischief: str, said: str) -> None:
    before = digest(project.path)
    result = run.down(MISCHIEF=mischief, STRAY_URL=f"sqlite:{project.path}")
    assert result["failed"]
    assert said in result["msg"]
    assert digest(project.path) == before
    assert run.verify()["error"]["kind"] == "refused"
    assert run.restore()["restored_from"] == "before_swap"
    assert digest(project.path) == before


def test_only_on_what_the_run_made(project: SqliteProject, run: SqliteRun) -> None:
    tool = {"plan": ["3-orders.js"], "engine_options": project.options()}
    for name in ("app.sqlite", "other.sqlite", "../app.sqlite__candidate_" + run.id):
        result = run.call("migrate_down", "migrate_down", database=name, **tool)
        assert result["error"]["kind"] == "refused", name
    assert project.applied() == list(NAMES)


def test_again_and_in_check_mode(project: SqliteProject, run: SqliteRun) -> None:
    tool = {"plan": ["3-orders.js"], "engine_options": project.options()}
    checked = run.call("migrate_down", "migrate_down", check_mode=True, **tool)
    assert checked["changed"], checked
    assert project.applied(run.path("candidate")) == list(NAMES)
    assert run.down()["changed"]
    again = run.down()
    assert (again["changed"], again["reverted"]) == (False, [])
    assert run.down("1-users.js")["failed"]


@pytest.mark.parametrize(
    ("down", "said"),
    [
        ("DROP TABLE orders; UPDATE users SET phone = 'x'", "The contents of table main.users changed"),
        ("DROP TABLE orders; DELETE FROM files WHERE id = 1", "Table main.files has 2 rows, it had 3"),
        ("PRAGMA foreign_keys = OFF; DROP TABLE users", "Table main.files has 3 rows that refer to a row that is not"),
        ("DROP TABLE orders; UPDATE sqlite_sequence SET seq = 3", "Sequence main.users stands at 3"),
        ("DROP TABLE orders; ALTER TABLE users DROP COLUMN phone; UPDATE users SET email = 'z' || email",
         "The contents of table main.users changed"),
    ],
)  # fmt: skip
def test_a_plan_that_changes_more_than_the_schema(
    tmp_path: Path, project: SqliteProject, run_module: Any, down: str, said: str
) -> None:
    project.write_migration("3-orders.js", "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)", down)
    run = SqliteRun(tmp_path / "state", project, run_module)
    run.begin()
    assert not run.down()["failed"]
    result = run.verify()
    assert said in result["msg"]
    assert "rollback_changed_tables" in result["msg"]
    assert run.swap()["error"]["kind"] == "refused"


def test_a_change_that_was_announced(tmp_path: Path, project: SqliteProject, run_module: Any) -> None:
    down = "DROP TABLE orders; UPDATE users SET phone = 'x'"
    project.write_migration("3-orders.js", "CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)", down)
    run = SqliteRun(tmp_path / "state", project, run_module)
    run.back_up()
    run.done("db_access", "close", state="closed")
    run.candidate("users")
    assert not run.down()["failed"]
    verified = run.verify("users")
    assert not verified["failed"], verified["msg"]
    assert verified["differences"] == []


def test_the_older_release_on_a_throwaway_clone(project: SqliteProject, run: SqliteRun) -> None:
    assert not run.down()["failed"]
    code = (
        "const {DatabaseSync} = require('node:sqlite'); const d = new DatabaseSync(process.env.DATABASE_URL.slice(7));"
    )
    spoil = [{"name": "spoil", "command": ["node", "-e", f"{code} d.exec('DROP TABLE files')"]}]
    common = {"engine_options": project.options(), "tests": spoil}
    tried = run.call("release_trial", "verify", expect_applied=list(NAMES[:2]), **common)
    assert not tried["failed"], tried["msg"]
    assert (tried["applied"], tried["tests"][0]["exit_code"]) == (list(NAMES[:2]), 0)
    assert project.rows("SELECT count(*) FROM files", run.path("candidate")) == [(3,)]
    assert not run.path("trial").exists()
    failed = run.call("release_trial", "verify", expect_applied=list(NAMES), **common)
    assert "no longer rolled back" in failed["msg"]
    assert not run.path("trial").exists()
