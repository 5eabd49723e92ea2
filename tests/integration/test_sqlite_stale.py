# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections of other processes that were opened before the swap: none writes into the kept file unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlite_files import RUN, Stale, digest, taken, verified
from sqlite_project import NAMES, SqliteProject

from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite import swap
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.candidate import make_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.restore import restore_original
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused

StaleMaker = Callable[[Path, str], Stale]


@pytest.fixture
def stale() -> Iterator[StaleMaker]:
    """Starts such a process."""
    started: list[Stale] = []

    def start(path: Path, journal_mode: str) -> Stale:
        started.append(Stale(path, journal_mode))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.mark.parametrize("mode", ["delete", "truncate", "persist", "memory", "off"])
def test_one_that_is_not_seen_gets_an_error(tmp_path: Path, stale: StaleMaker, mode: str) -> None:
    project = SqliteProject(tmp_path / "project")
    file = verified(project)
    connected = stale(project.path, mode)
    swap_in(file, RUN, look_for_holders=False)
    before = file.derived("before", RUN)
    kept, current = digest(before), digest(project.path)
    assert "readonly" in connected.write()
    assert (digest(before), digest(project.path)) == (kept, current)
    assert project.rows("SELECT count(*) FROM users", before) == [(3,)]
    assert [name for name in project.beside() if name.endswith(("-journal", "-wal", "-shm"))] == []


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_one_that_is_seen_is_named(tmp_path: Path, stale: StaleMaker, mode: str) -> None:
    project = SqliteProject(tmp_path / "project", journal_mode=mode)
    file = verified(project)
    connected = stale(project.path, mode)
    with pytest.raises(Refused) as refusal:
        swap_in(file, RUN)
    assert f"process {connected.pid} (" in refusal.value.text()
    assert connected.write() == "written"
    assert project.applied() == list(NAMES)
    assert project.rows("SELECT count(*) FROM users WHERE email = 'stale'") == [(1,)]
    assert project.rows("PRAGMA journal_mode") == [(mode,)]
    assert restore_original(file, RUN).restored_from == "before_swap"


def test_one_in_wal_mode_that_is_not_seen(tmp_path: Path, stale: StaleMaker) -> None:
    """In WAL mode the file does not leave that mode while anybody is connected: nothing is swapped."""
    project = SqliteProject(tmp_path / "project", journal_mode="wal")
    file = verified(project)
    connected = stale(project.path, "wal")
    with pytest.raises(Refused, match="is locked"):
        swap_in(file, RUN, look_for_holders=False)
    assert connected.write() == "written"
    assert project.rows("SELECT count(*) FROM users") == [(4,)]


def test_one_that_waits_for_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: StaleMaker) -> None:
    """Whoever asks to write while the names change gets an error, or the row is in the file that has the name."""
    project = SqliteProject(tmp_path / "project")
    file = verified(project)
    connected = stale(project.path, "delete")
    said = []
    check = swap._check_unchanged

    def and_write(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        said.append(connected.write())

    monkeypatch.setattr(swap, "_check_unchanged", and_write)
    swap_in(file, RUN, look_for_holders=False)
    assert said == ["database is locked"]
    assert project.applied() == list(NAMES[:2])


def test_the_kept_file_can_be_read_and_not_written(tmp_path: Path) -> None:
    project = SqliteProject(tmp_path / "project")
    file = verified(project)
    swap_in(file, RUN)
    before = file.derived("before", RUN)
    with (
        project.session(before) as connection,
        pytest.raises(Exception, match="readonly"),
    ):
        connection.execute("DELETE FROM users")
    assert before.stat().st_mode & 0o222 == 0


def test_the_candidate_is_open_elsewhere(tmp_path: Path, stale: StaleMaker) -> None:
    project = SqliteProject(tmp_path / "project")
    file = verified(project)
    stale(file.derived("candidate", RUN), "delete")
    with pytest.raises(Refused, match="is open in other programs"):
        swap_in(file, RUN)
    assert project.applied() == list(NAMES)


def test_going_back_while_somebody_uses_it(tmp_path: Path, stale: StaleMaker) -> None:
    project = SqliteProject(tmp_path / "project")
    file = verified(project)
    swap_in(file, RUN)
    connected = stale(project.path, "delete")
    with pytest.raises(Failed) as failure:
        restore_original(file, RUN)
    assert f"process {connected.pid}" in failure.value.text()
    assert "To go back" in failure.value.text()
    connected.end()
    assert restore_original(file, RUN).restored_from == "after_swap"
    assert project.applied() == list(NAMES)


def test_a_write_while_it_is_copied_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stale: StaleMaker) -> None:
    from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite import candidate

    project = SqliteProject(tmp_path / "project", journal_mode="wal")
    file = taken(project)
    connected = stale(project.path, "wal")
    said = []
    copy = candidate._copy

    def and_write(*arguments: object, **more: object) -> int:
        said.append(connected.write())
        return copy(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(candidate, "_copy", and_write)
    made = make_candidate(file, RUN)
    assert said == ["database is locked"]
    rows = project.rows("SELECT count(*) FROM users", file.path.with_name(made.name))
    assert rows == project.rows("SELECT count(*) FROM users") == [(3,)]
