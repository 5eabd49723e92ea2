# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that grow, rotate, are emptied, vanish and come again: each line is counted once, whatever happens."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._watch.command import CommandLog
from ansible_collections.balcon.rollback.plugins.module_utils._watch.file import FileLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "app.log"
    path.write_text("old 1\nold 2\n")
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_only_what_is_written_from_now_on_counts(path: Path) -> None:
    log = FileLog(str(path))
    assert log.read() == []
    append(path, "new 1\nnew")
    assert log.read() == ["new 1"]
    append(path, " 2\n")
    assert log.read() == ["new 2"]
    assert log.take_notes() == []


def test_a_log_that_is_renamed_is_read_to_its_end_and_then_the_new_one(path: Path) -> None:
    log = FileLog(str(path))
    with path.open("a", buffering=1) as writer:
        writer.write("before\n")
        path.rename(path.with_suffix(".1"))
        path.write_text("first of the new\n")
        writer.write("late, into the old one\n")
        assert log.read() == ["before", "late, into the old one", "first of the new"]
        writer.write("later still, into the old one\n")
        append(path, "second of the new\n")
        assert log.read() == ["later still, into the old one", "second of the new"]
    assert log.read() == []
    notes = log.take_notes()
    assert len(notes) == 1
    assert "was rotated: another file has its name" in notes[0]


def test_a_log_that_is_copied_and_emptied_is_read_from_its_beginning(path: Path) -> None:
    log = FileLog(str(path))
    append(path, "one\n")
    assert log.read() == ["one"]
    shutil.copy(path, path.with_suffix(".1"))
    os.truncate(path, 0)
    append(path, "two\n")
    assert log.read() == ["two"]
    assert [note for note in log.take_notes() if "was emptied in place" in note]


def test_a_log_that_was_emptied_and_is_longer_again_is_noticed(path: Path) -> None:
    log = FileLog(str(path))
    append(path, "one\n")
    log.read()
    os.truncate(path, 0)
    lines = [f"after {number}" for number in range(50)]
    append(path, "\n".join(lines) + "\n")
    assert log.read() == lines
    assert [note for note in log.take_notes() if "was emptied in place" in note]


def test_a_log_that_vanishes_and_comes_again_is_said_once_and_counted_once(path: Path) -> None:
    log = FileLog(str(path))
    with path.open("a", buffering=1) as writer:
        path.unlink()
        writer.write("into the file without a name\n")
        assert log.read() == ["into the file without a name"]
        assert log.read() == []
    notes = log.take_notes()
    assert len(notes) == 1
    assert "is not there any more" in notes[0]
    path.write_text("a new one\n")
    assert log.read() == ["a new one"]
    assert log.read() == []


def test_a_log_that_is_moved_away_and_back_is_not_counted_twice(path: Path) -> None:
    log = FileLog(str(path))
    append(path, "one\n")
    assert log.read() == ["one"]
    path.rename(path.with_suffix(".1"))
    path.write_text("two\n")
    assert log.read() == ["two"]
    path.unlink()
    path.with_suffix(".1").rename(path)
    append(path, "three\n")
    assert log.read() == ["three"]
    assert log.read() == []


def test_a_log_that_is_not_there_yet_is_waited_for_and_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "late.log"
    log = FileLog(str(path))
    assert log.read() == log.read() == []
    assert len(log.take_notes()) == 1
    path.write_text("one\n")
    assert log.read() == ["one"]
    assert "is there now" in log.take_notes()[0]


def test_what_is_not_a_file_stops_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        log = FileLog(str(path))
        assert log.read() == []
        assert "is not a file" in log.take_notes()[0]


def read_until(log: CommandLog, wanted: int) -> list[str]:
    found: list[str] = []
    deadline = time.monotonic() + 30
    while len(found) < wanted:
        assert time.monotonic() < deadline, found
        found += log.read()
        time.sleep(0.02)
    return found


def test_a_command_is_read_as_it_prints_and_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = tmp_path / "follow.sh"
    script.write_text(f"echo one; echo two; sleep 600 & echo $! > {tmp_path}/child; wait\n")
    log = CommandLog({"command": ["sh", str(script)]})
    assert read_until(log, 2) == ["one", "two"]
    child = int((tmp_path / "child").read_text())
    log.close()
    assert not Path("/proc", str(child)).exists()
    assert log.take_notes() == []


def test_a_command_that_ends_is_started_again_and_what_it_repeats_counts_once(tmp_path: Path) -> None:
    script = tmp_path / "follow.py"
    count = tmp_path / "count"
    count.write_text("0")
    script.write_text(
        f"import pathlib, time\ncount = pathlib.Path({str(count)!r})\nn = int(count.read_text()) + 1\n"
        "count.write_text(str(n))\n"
        "for line in range(n + 1):\n    print('line', line, flush=True)\n"
        "time.sleep(600 if n >= 3 else 0)\n"
    )
    log = CommandLog({"command": [sys.executable, str(script)]})
    try:
        assert read_until(log, 4) == ["line 0", "line 1", "line 2", "line 3"]
    finally:
        log.close()
    assert log.take_notes() == [f"The command {sys.executable} ended with exit code 0; it is started again."]


def test_a_command_that_always_ends_is_given_up() -> None:
    log = CommandLog({"command": ["false"]})
    deadline = time.monotonic() + 60
    notes: list[str] = []
    while not any("no errors are counted any more" in note for note in notes):
        assert time.monotonic() < deadline
        log.read()
        notes += log.take_notes()
    assert log.read() == []
    log.close()


def test_a_command_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused, match="There is no program 'no-such-program'"):
        CommandLog({"command": ["no-such-program"]})
