# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed at every single step that touches the file system: the file has its name, and can be brought back exactly."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
from sqlite_files import RUN, digest, public_file, taken, verified
from sqlite_project import NAMES, SqliteProject

from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.access import begin_run
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.restore import restore_original
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.run_state import read_description
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

PROJECT = Path(__file__).resolve().parents[2]

CHILD = """
import os, signal, sys
sys.path[:0] = sys.argv[4].split(":")
BASE = "ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite."
from importlib import import_module
file = import_module(BASE + "database_file").DatabaseFile("sqlite:./app.sqlite", sys.argv[2])
work = getattr(import_module(BASE + sys.argv[1].split(".")[0]), sys.argv[1].split(".")[1])
import_module(BASE + "copy"), import_module(BASE + "swap")
left = int(sys.argv[3])

def hook(event, arguments):
    global left
    writes = event in ("os.link", "os.rename", "os.remove", "os.chmod", "os.truncate") or (
        event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if writes or event == "sqlite3.connect":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
more = [file.derived("candidate", "20261123t081500a3f9")] if sys.argv[1].endswith("make_trial") else []
work(file, "20261123t081500a3f9", *more)
"""


def killed_at(step: int, work: str, project: Path) -> bool:
    """Do something in another process that is killed at its n-th step; tell whether it got so far."""
    paths = f"{PROJECT / 'collections'}"
    arguments = [sys.executable, "-c", CHILD, work, str(project), str(step), paths]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


class Folder:
    """A project that is put back to what it was before each try."""

    def __init__(self, folder: Path, journal_mode: str) -> None:
        self.project = SqliteProject(folder / "project", journal_mode=journal_mode)
        self._pristine = folder / "pristine"

    def keep(self) -> None:
        """Remember it as it is."""
        self._pristine.mkdir()
        for path in self.project.folder.glob("*app.sqlite*"):
            shutil.copy2(path, self._pristine)

    def reset(self) -> None:
        """Put it back."""
        for path in list(self.project.folder.glob("*app.sqlite*")):
            path.unlink()
        for path in self._pristine.iterdir():
            shutil.copy2(path, self.project.folder)


def is_whole(project: SqliteProject) -> bool:
    """The file has its name, can be written, and is one of the two."""
    assert project.rows("PRAGMA integrity_check") == [("ok",)]
    return project.applied() in (list(NAMES), list(NAMES[:2]))


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_swap(tmp_path: Path, mode: str) -> None:
    folder = Folder(tmp_path, mode)
    project = folder.project
    before = digest(project.path)
    contents = project.rows("SELECT * FROM users")
    file = verified(project)
    folder.keep()
    for step in count(1):
        folder.reset()
        inode = project.path.stat().st_ino
        ended = killed_at(step, "swap.swap_in", project.folder)
        assert is_whole(project), step
        assert project.path.stat().st_ino == inode or project.applied() == list(NAMES[:2]), step
        restored = restore_original(file, RUN)
        assert restored.changed, step
        assert project.applied() == list(NAMES), step
        assert project.rows("SELECT * FROM users") == contents
        assert mode == "wal" or digest(project.path) == before, step
        failed = file.derived("failed", RUN).name
        assert project.beside() == ["app.sqlite", failed, f"{failed}.rollback.json"], step
        with project.session() as connection:
            connection.execute("INSERT INTO users (email) VALUES ('after')")
        if ended:
            break
    assert step > 10


def test_swap_goes_on(tmp_path: Path) -> None:
    """What was killed in the middle of the swap is swapped by the same call, or not at all."""
    folder = Folder(tmp_path, "delete")
    file = verified(folder.project)
    folder.keep()
    for step in count(1):
        folder.reset()
        if killed_at(step, "swap.swap_in", folder.project.folder):
            break
        swap_in(file, RUN)
        assert folder.project.applied() == list(NAMES[:2]), step
        description = read_description(file.path)
        assert description
        assert description.state == "swapped"
        assert restore_original(file, RUN).proof == "contents", step


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_going_back(tmp_path: Path, mode: str) -> None:
    folder = Folder(tmp_path, mode)
    project = folder.project
    before = digest(project.path)
    file = verified(project)
    swap_in(file, RUN)
    folder.keep()
    for step in count(1):
        folder.reset()
        ended = killed_at(step, "restore.restore_original", project.folder)
        assert is_whole(project), step
        restore_original(file, RUN)
        assert project.applied() == list(NAMES), step
        assert mode == "wal" or digest(project.path) == before, step
        assert not [name for name in project.beside() if "__before_" in name or "__candidate_" in name], step
        if ended:
            break
    assert step > 5


def test_copying(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "delete")
    project = folder.project
    before = digest(project.path)
    file = taken(project)
    folder.keep()
    for step in count(1):
        folder.reset()
        ended = killed_at(step, "candidate.make_candidate", project.folder)
        assert digest(project.path) == before, step
        restore_original(file, RUN)
        assert digest(project.path) == before, step
        assert not [path.name for path in project.folder.iterdir() if path.name.endswith((".partial", "-journal"))]
        if ended:
            break
    assert step > 3


def test_copying_for_tests_that_write(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "delete")
    project = folder.project
    before = digest(project.path)
    file = verified(project)
    folder.keep()
    undescribed = 0
    for step in count(1):
        folder.reset()
        ended = killed_at(step, "candidate.make_trial", project.folder)
        trial = file.derived("trial", RUN)
        undescribed += trial.exists() and read_description(trial) is None
        restore_original(file, RUN)
        assert digest(project.path) == before, step
        failed = file.derived("failed", RUN).name
        assert project.beside() == ["app.sqlite", failed, f"{failed}.rollback.json"], step
        if ended:
            break
    assert undescribed


def test_the_next_run_clears_up_after_a_dead_one(tmp_path: Path) -> None:
    project = SqliteProject(tmp_path / "project")
    before = digest(project.path)
    file = taken(project, lease_seconds=-1)
    killed_at(6, "candidate.make_candidate", project.folder)
    (tmp_path / "state").mkdir(mode=0o700)
    run = Run(tmp_path / "state", "20261124t081500a3f9")
    run.create()
    run.record("preflight", "the run begins", data={"environment": "development"})
    run.record("back_up", "back up")
    assert begin_run(public_file(project), run, 60)
    description = read_description(file.path)
    assert description
    assert description.run_id == run.run_id
    assert digest(project.path) == before
