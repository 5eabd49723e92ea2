# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of an SQLite file: made while others write, proven, restored beside; and all that can be wrong with one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlite_files import RUN, digest, killed_after, public_file, taken
from sqlite_project import SqliteProject

from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.candidate import make_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed

KEY = "a-signing-key-of-some-length"


class Backups:
    """A project, and where its backups are."""

    def __init__(self, folder: Path, run_module: Any, journal_mode: str = "delete") -> None:
        self.project = SqliteProject(folder / "project", journal_mode=journal_mode)
        self.state_dir = folder / "state"
        self.state_dir.mkdir(mode=0o700)
        self._run_module = run_module
        run_module.secrets.add(KEY)

    def call(self, module: str, **arguments: Any) -> dict[str, Any]:
        place = {"database_url": self.project.url, "project_dir": str(self.project.folder)}
        folder = {"backup_dir": str(self.state_dir / "backups"), "signing_key": KEY}
        result: dict[str, Any] = self._run_module(module, **{**place, **folder, **arguments})
        return result

    def make(self, **arguments: Any) -> Path:
        made = self.call("db_backup", **arguments)
        assert not made["failed"], made["msg"]
        return Path(made["path"])


@pytest.fixture(params=["delete"])
def backups(tmp_path: Path, run_module: Any, request: pytest.FixtureRequest) -> Backups:
    return Backups(tmp_path, run_module, request.param)


@pytest.mark.parametrize("backups", ["delete", "wal"], indirect=True)
def test_made_while_others_write_and_restored(backups: Backups) -> None:
    done, written = threading.Event(), []

    def write() -> None:
        connection = sqlite3.connect(backups.project.path, isolation_level=None, timeout=30)
        while not done.is_set():
            connection.execute("INSERT INTO orders (item) VALUES ('x'), ('y')")
            written.append(2)
            done.wait(0.005)
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert backups.call("db_backup", check_mode=True)["changed"]
        path = backups.make()
    finally:
        done.set()
        writer.join()
    manifest = json.loads((path / "manifest.json").read_text())
    copied = backups.project.rows("SELECT count(*) FROM orders", path / "database.sqlite")[0][0]
    assert manifest["fingerprint"]["tables"]["main.orders"]["rows"] == copied
    assert copied % 2 == 1  # never the half of what was written at once, and the one that was there
    assert 1 < copied <= 1 + sum(written)
    assert (manifest["dialect"], manifest["verified"], bool(manifest["signature"])) == ("sqlite", "read", True)
    modes = {oct(entry.stat().st_mode & 0o777) for entry in (path, *path.iterdir())}
    assert modes == {"0o700", "0o600"}

    arguments = {"backup": path.name, "name": "again.sqlite"}
    checked = backups.call("db_restore", check_mode=True, **arguments)
    assert (checked["changed"], checked["verified"]) == (True, False), checked
    restored = backups.call("db_restore", **arguments)
    assert (restored["changed"], restored["verified"], restored["signature"]) == (True, True, "good"), restored
    again = backups.project.folder / "again.sqlite"
    assert backups.project.rows("SELECT count(*) FROM orders", again) == [(copied,)]
    assert again.stat().st_mode == backups.project.path.stat().st_mode
    assert not backups.call("db_restore", **arguments)["changed"]
    assert "already" in backups.call("db_restore", backup=path.name, name="app.sqlite")["msg"]


@pytest.mark.parametrize("backups", ["wal"], indirect=True)
def test_never_beside_the_log_of_a_file_that_is_gone(backups: Backups) -> None:
    project = backups.project
    path, before = backups.make(), project.dump()
    killed_after(project.path, "DELETE FROM orders")
    project.path.unlink()
    log = Path(f"{project.path}-wal")
    held = digest(log)
    arguments = {"backup": path.name, "name": "app.sqlite"}
    for check_mode in (True, False):
        refused = backups.call("db_restore", check_mode=check_mode, **arguments)
        assert refused["error"]["kind"] == "refused", refused
        assert "app.sqlite-wal" in refused["msg"]
    assert (project.path.exists(), digest(log)) == (False, held)
    for left in project.folder.glob("app.sqlite-*"):
        left.rename(left.with_name(f"lost-{left.name}"))
    assert backups.call("db_restore", **arguments)["verified"]
    assert project.dump() == before


def flip(path: Path) -> None:
    content = bytearray((path / "database.sqlite").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "database.sqlite").write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path / "database.sqlite", 4096)


def lose(path: Path) -> None:
    (path / "database.sqlite").unlink()


def add(path: Path) -> None:
    (path / "database.sqlite-wal").write_bytes(b"frames of another database")


def edit(path: Path) -> None:
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows_total"', '"rows_total_"'))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (flip, "SHA-256 differs"), (cut, "has 4096 bytes instead of"), (lose, "is missing"),
        (add, "does not belong to it"), (edit, "its manifest"),
    ],
)  # fmt: skip
def test_a_backup_that_is_not_as_it_was_written(backups: Backups, damage: Any, said: str) -> None:
    path = backups.make()
    damage(path)
    refused = backups.call("db_restore", backup=path.name)
    assert refused["error"]["kind"] == "refused"
    assert said in refused["msg"]
    assert backups.project.beside() == ["app.sqlite"]


def spoil_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 3 + 200] = b"\x07" * 200
    path.write_bytes(content)


def spoil_what_only_a_check_finds(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE TABLE empty (a); INSERT INTO empty VALUES (NULL); PRAGMA writable_schema = ON;"
        "UPDATE sqlite_master SET sql = 'CREATE TABLE empty (a NOT NULL)' WHERE name = 'empty'"
    )
    connection.close()


@pytest.mark.parametrize("spoil", [spoil_pages, spoil_what_only_a_check_finds])
def test_a_damaged_database_is_not_backed_up(backups: Backups, spoil: Any) -> None:
    spoil(backups.project.path)
    failed = backups.call("db_backup")
    assert failed["failed"]
    assert "damaged" in failed["msg"]
    assert list((backups.state_dir / "backups").iterdir()) == []


def test_another_tool_is_needed_for_postgresql(backups: Backups, run_module: Any) -> None:
    place = {"database_url": backups.project.url, "project_dir": str(backups.project.folder)}
    copied = run_module("db_copy", source_url="postgresql://a@b/c", work_dir=str(backups.state_dir), **place)
    assert "works on PostgreSQL" in copied.get("msg", ""), copied


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path, run_module: Any) -> None:
    project = SqliteProject(tmp_path / "elsewhere")
    with project.session() as connection:
        connection.execute("CREATE TABLE large AS SELECT randomblob(2000000) AS content")
    shutil.copytree(project.folder, small_disk / "project", symlinks=True)
    project.folder, project.path = small_disk / "project", small_disk / "project" / "app.sqlite"
    before, beside = digest(project.path), project.beside()
    place = {"database_url": project.url, "project_dir": str(project.folder)}

    looked = run_module("db_info", **place, refuse=True)
    assert "The copies need" in looked["msg"]
    with pytest.raises(Failed, match="There is no room left"):
        make_candidate(taken(project), RUN)
    (public_file(project).path.parent / "app.sqlite.rollback.json").unlink()
    assert (digest(project.path), project.beside()) == (before, beside)

    kept = small_disk / "backups"
    kept.mkdir(mode=0o700)
    failed = run_module("db_backup", **place, backup_dir=str(kept))
    assert "There is no room left" in failed["msg"], failed
    assert (list(kept.iterdir()), digest(project.path)) == ([], before)
