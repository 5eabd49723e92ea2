# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What rollback_status tells of an SQLite file, and what retention does not do with one."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlite_project import SqliteProject, SqliteRun

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner


@pytest.fixture
def project(tmp_path: Path) -> SqliteProject:
    return SqliteProject(tmp_path / "project", journal_mode="wal")


@pytest.fixture
def run(tmp_path: Path, project: SqliteProject, run_module: Any) -> SqliteRun:
    return SqliteRun(tmp_path / "state", project, run_module)


@pytest.fixture
def arguments(project: SqliteProject, tmp_path: Path) -> dict[str, Any]:
    return {"database_url": f"sqlite://{project.path}", "state_dir": str(tmp_path / "state")}


def everything(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file()
    }


def test_an_open_run_and_what_it_left(
    project: SqliteProject, run: SqliteRun, run_module: ModuleRunner, arguments: dict[str, Any]
) -> None:
    run.verified()
    assert not run.swap()["failed"]
    told = run_module("rollback_status", **arguments)
    assert told["failed"] is False, told
    assert (told["database"]["name"], told["database"]["dialect"], told["database"]["open"]) == (
        "app.sqlite", "sqlite", True,
    )  # fmt: skip
    assert told["open_run"]["state"] == "swapped"
    (left,) = told["databases"]
    assert (left["name"], left["purpose"], left["open"]) == (run.path("before").name, "before", False)
    assert left["drop_command"] == "", "an open run needs it"
    assert run.finish()["changed"]
    ended = run_module("rollback_status", **arguments)
    assert ended["open_run"] is None
    assert "SQLite 3" in ended["lines"][0]
    subprocess.run(shlex.split(ended["databases"][0]["drop_command"]), check=True, timeout=10)
    assert run_module("rollback_status", **arguments)["databases"] == []
    assert project.beside() == ["app.sqlite"]


def test_looking_changes_no_file(
    project: SqliteProject, run: SqliteRun, run_module: ModuleRunner, arguments: dict[str, Any]
) -> None:
    """A file that is locked, in WAL mode and with a write that is not yet in the file, is looked at all the same."""
    run.back_up()
    with project.session() as connection:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("INSERT INTO users (email) VALUES ('late')")
        before = everything(project.path.parent)
        told = run_module("rollback_status", **arguments)
        assert everything(project.path.parent) == before
        connection.execute("ROLLBACK")
    assert told["failed"] is False, told
    assert all("it has not ended" in problem for problem in told["problems"])
    assert told["good_backup"] == told["backups"][0]["backup_id"]
    assert told["backups"][0]["trusted"] is True


def test_a_file_that_is_missing_and_one_that_is_none(run_module: ModuleRunner, tmp_path: Path, run: SqliteRun) -> None:
    state = str(tmp_path / "state")
    missing = run_module("rollback_status", database_url=f"sqlite://{tmp_path}/nothing.sqlite", state_dir=state)
    assert (missing["database"]["reachable"], missing["database"]["exists"]) == (True, False)
    relative = run_module("rollback_status", database_url="sqlite:./app.sqlite", state_dir=state)
    assert relative["database"]["reachable"] is False
    assert "rollback_project_dir" in relative["problems"][0]


def test_a_file_that_only_looks_like_ours(
    project: SqliteProject, run_module: ModuleRunner, arguments: dict[str, Any], run: SqliteRun
) -> None:
    stranger = project.path.with_name("app.sqlite__before_20261123t081500a3f9")
    stranger.write_text("somebody's")
    (entry,) = run_module("rollback_status", **arguments)["databases"]
    assert (entry["ours"], entry["half_made"], entry["drop_command"]) == (False, True, "")
    project.path.with_name(f"{stranger.name}.rollback.json").write_text("{")
    (entry,) = run_module("rollback_status", **arguments)["databases"]
    assert "is not a description" in entry["note"]


def test_retention_says_that_it_does_not(run_module: ModuleRunner, arguments: dict[str, Any], run: SqliteRun) -> None:
    refused = run_module("retention", **arguments)
    assert refused["error"]["kind"] == "refused"
    assert "playbooks/status.yml -e env=development" in refused["msg"]
