# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run on an SQLite file from the first look to the end, and back; what must not begin does not."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlite_files import HALF_WRITTEN, killed_after
from sqlite_project import NAMES, SqliteProject, SqliteRun


@pytest.fixture
def project(tmp_path: Path, request: pytest.FixtureRequest) -> SqliteProject:
    return SqliteProject(tmp_path / "project", journal_mode=getattr(request, "param", "delete"))


in_both_modes = pytest.mark.parametrize("project", ["delete", "wal"], indirect=True)


@pytest.fixture
def run(tmp_path: Path, project: SqliteProject, run_module: Any) -> SqliteRun:
    return SqliteRun(tmp_path / "state", project, run_module)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@in_both_modes
def test_there_and_back(project: SqliteProject, run: SqliteRun) -> None:
    mode = project.rows("PRAGMA journal_mode")
    users = project.rows("SELECT * FROM users")
    run.verified("3-orders.js", "2-phone.js")
    assert project.applied() == list(NAMES)
    swapped = run.swap()
    assert not swapped["failed"], swapped["msg"]
    assert swapped["before"] == run.path("before").name
    assert project.applied() == list(NAMES[:1])
    assert project.rows("SELECT * FROM users") == [row[:2] for row in users]
    assert project.rows("PRAGMA journal_mode") == mode
    assert project.applied(run.path("before")) == list(NAMES)
    assert not run.swap()["changed"]
    assert run.finish()["changed"]
    assert not run.finish()["changed"]
    assert project.beside() == ["app.sqlite", run.path("before").name, f"{run.path('before').name}.rollback.json"]

    back = run.restore(accept_loss=True)
    assert (back["restored_from"], back["changed"]) == ("after_swap", True), back
    assert project.applied() == list(NAMES)
    assert project.rows("SELECT * FROM users") == users
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('new')")
        assert connection.execute("SELECT max(id) FROM users").fetchone() == (5,)


def test_back_to_the_very_bytes(tmp_path: Path, run_module: Any) -> None:
    project = SqliteProject(tmp_path / "project")
    run = SqliteRun(tmp_path / "state", project, run_module)
    before = digest(project.path)
    run.verified()
    assert not run.swap()["failed"]
    assert digest(project.path) != before
    assert digest(run.path("before")) != before
    back = run.restore()
    assert (back["restored_from"], back["proof"]) == ("after_swap", "contents"), back
    assert digest(project.path) == before
    assert project.beside() == ["app.sqlite", run.path("failed").name, f"{run.path('failed').name}.rollback.json"]
    again = run.restore()
    assert (again["restored_from"], again["changed"]) == ("nothing", False)


def test_check_mode_changes_nothing(project: SqliteProject, run: SqliteRun) -> None:
    run.back_up()
    beside = project.beside()
    for module, phase, arguments in (
        ("db_access", "close", {"state": "closed"}),
        ("db_clone", "candidate", {"purpose": "candidate"}),
    ):
        assert run.done(module, phase, check_mode=True, **arguments)["changed"]
    assert project.beside() == beside


@in_both_modes
def test_written_to_since_the_copy(project: SqliteProject, run: SqliteRun) -> None:
    run.verified()
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('late')")
    swapped = run.swap()
    assert "written to since its candidate was copied" in swapped["msg"]
    back = run.restore()
    assert back["restored_from"] == "before_swap"
    assert project.rows("SELECT count(*) FROM users WHERE email = 'late'") == [(1,)]
    assert project.applied() == list(NAMES)


def test_written_to_since_the_swap(project: SqliteProject, run: SqliteRun) -> None:
    run.verified()
    assert not run.swap()["failed"]
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('new')")
    back = run.restore()
    assert "written to since the swap" in back["msg"]
    assert project.applied() == list(NAMES[:2])
    commands = back["error"]["commands"]
    assert commands["keep"] in back["msg"]
    taken = run.restore(accept_loss=True)
    assert (taken["restored_from"], taken["proof"]) == ("after_swap", "none, the loss was accepted"), taken
    assert project.applied() == list(NAMES)
    assert project.rows("SELECT email FROM users WHERE email = 'new'", run.path("failed")) == [("new",)]


@in_both_modes
@pytest.mark.parametrize("way", ["keep", "go_back"])
def test_the_commands_that_are_printed_work(project: SqliteProject, run: SqliteRun, way: str) -> None:
    run.verified()
    assert not run.swap()["failed"]
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('new')")
    command = run.restore()["error"]["commands"][way]
    subprocess.run(["sh", "-c", command], check=True)
    expected = NAMES[:2] if way == "keep" else NAMES
    assert project.applied() == list(expected)
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('after')")
    assert SqliteRun(run.state_dir, project, run.run_module).back_up()["changed"]


@pytest.mark.parametrize(
    ("project", "ending", "written", "newer"),
    [
        ("wal", "-wal", ["INSERT INTO users (email) VALUES ('newer')"], ["new", "newer"]),
        ("delete", "-journal", HALF_WRITTEN, ["new"]),
    ],
    indirect=["project"],
)
def test_the_way_back_takes_along_what_a_killed_application_left(
    project: SqliteProject, run: SqliteRun, ending: str, written: Sequence[str], newer: list[str]
) -> None:
    before = project.dump()
    run.verified()
    assert not run.swap()["failed"]
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('new')")
    command = run.restore()["error"]["commands"]["go_back"]
    killed_after(project.path, *written)
    assert Path(f"{project.path}{ending}").stat().st_size > 0
    subprocess.run(["sh", "-c", command], check=True)
    assert project.dump() == before
    failed = run.path("failed")
    assert project.rows("PRAGMA integrity_check", failed) == [("ok",)]
    assert project.applied(failed) == list(NAMES[:2])
    rows = project.rows("SELECT email FROM users ORDER BY id", failed)
    assert [email for (email,) in rows] == ["anna", "ben", "cem", *newer]
    with project.session() as connection:
        connection.execute("INSERT INTO users (email) VALUES ('after')")


def test_a_migration_that_is_applied_again_is_found(project: SqliteProject, run: SqliteRun) -> None:
    run.verified()
    assert not run.swap()["failed"]
    asked = {"engine_options": project.options(), "expect_reverted": ["3-orders.js"], "after_start": True}
    assert not run.done("migration_info", "reopen", **asked)["problems"]
    with project.session() as connection:
        connection.execute("INSERT INTO migrations_meta VALUES ('3-orders.js', datetime('now'))")
    result = run.call("migration_info", "reopen", **asked)
    assert result["error"]["kind"] == "failed", result
    assert result["error"]["reapplied"] == ["3-orders.js"]
    assert "the state table of app.sqlite" in result["msg"]


def test_only_development(tmp_path: Path, project: SqliteProject, run_module: Any) -> None:
    run = SqliteRun(tmp_path / "state", project, run_module, environment="production")
    run.back_up()
    refused = run.call("db_access", "close", state="closed")
    assert "only rolled back in development" in refused["msg"]


def test_not_without_a_backup(project: SqliteProject, run: SqliteRun) -> None:
    run.done("db_info", "preflight", refuse=True)
    refused = run.call("db_access", "close", state="closed")
    assert refused["error"]["missing"] == ["back_up"]
    assert project.beside() == ["app.sqlite"]


def test_each_step_only_in_its_state(run: SqliteRun) -> None:
    run.back_up()
    assert "refused" in run.call("db_clone", "candidate", purpose="candidate")["error"]["kind"]
    run.done("db_access", "close", state="closed")
    assert run.swap()["error"]["kind"] == "refused"
    run.candidate()
    assert run.swap()["error"]["kind"] == "refused"
    assert run.verify()["error"]["kind"] == "refused"


def test_two_runs_at_once(tmp_path: Path, project: SqliteProject, run: SqliteRun, run_module: Any) -> None:
    run.verified()
    other = SqliteRun(tmp_path / "state", project, run_module)
    assert "is under way" in other.call("db_info", "preflight", refuse=True)["msg"]
    run.restore()
    other = SqliteRun(tmp_path / "state", project, run_module)
    other.verified()
    assert not other.swap()["failed"]
    third = SqliteRun(tmp_path / "state", project, run_module)
    message = third.call("db_info", "preflight", refuse=True)["msg"]
    assert "did not end" in message
    assert "To go back" in message


@in_both_modes
def test_a_locked_file(project: SqliteProject, run: SqliteRun) -> None:
    with project.session() as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        refused = run.call("db_info", "preflight", refuse=True)
        assert "is locked" in refused["msg"], refused
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("content", [b"", b"not a database at all, and longer than a header of SQLite " * 10])
def test_not_a_database(tmp_path: Path, run_module: Any, content: bytes) -> None:
    project = SqliteProject(tmp_path / "project")
    project.path.write_bytes(content)
    run = SqliteRun(tmp_path / "state", project, run_module)
    engine = {"engine_options": project.options(), "refuse": True}
    results = [run.call("db_info", "preflight", refuse=True), run.call("migration_info", "preflight", **engine)]
    messages = " ".join(result.get("msg", "") for result in results)
    assert ("is not an SQLite database" if content else "There is no state table") in messages
    assert project.path.read_bytes() == content


def test_no_file(tmp_path: Path, run_module: Any) -> None:
    project = SqliteProject(tmp_path / "project")
    run = SqliteRun(tmp_path / "state", project, run_module)
    for url, said in (
        ("sqlite:./other.sqlite", "does not exist"),
        ("sqlite::memory:", "names no SQLite file"),
        ("sqlite://host/file", "names no SQLite file"),
        ("sqlite:", "names no SQLite file"),
        ("sqlite:.", "is not a file"),
    ):
        assert said in run.call("db_info", "preflight", database_url=url)["msg"], url
    assert sorted(project.folder.glob("*other*")) == []
    assert run.done("db_info", "preflight", database_url=f"sqlite://{project.path}")["name"] == "app.sqlite"
    assert "no project folder" in run.call("db_info", "preflight", project_dir=None)["msg"]
