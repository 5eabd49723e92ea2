# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's folder and journal, on a real file system."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.journal import JournalBroken
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, write_private_file

RUN_ID = "20261123t080000abcd"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    tmp_path.chmod(0o700)
    run = Run(tmp_path, RUN_ID)
    run.create()
    return run


def test_folder_and_journal_are_private(run: Run) -> None:
    run.record("preflight", "look")
    assert run.folder.stat().st_mode & 0o777 == 0o700
    assert run.journal.stat().st_mode & 0o777 == 0o600


def test_events_follow_from_one_another(run: Run) -> None:
    run.record("preflight", "look", data={"text": "two\u2028lines \x85 and\na line feed"})
    run.record("gate", "check", outcome="refused")
    first, second = run.events()
    assert second["previous"] == first["hash"]
    assert [event["sequence"] for event in (first, second)] == [1, 2]
    assert run.passed_phases() == {"preflight"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"look"', '"lock"'),
        lambda text: text[:-20],
        lambda text: "\n".join(text.split("\n")[1:]),
        lambda text: text + "{}\n",
        lambda text: text + "nothing",
    ],
)
def test_an_edited_journal_is_refused(run: Run, damage: object) -> None:
    run.record("preflight", "look")
    run.record("gate", "check")
    assert callable(damage)
    run.journal.write_text(damage(run.journal.read_text()))
    with pytest.raises(JournalBroken):
        run.events()
    with pytest.raises(JournalBroken):
        run.record("gate", "check")


def test_nothing_is_written_behind_a_line_that_is_no_text_any_more(run: Run) -> None:
    run.record("preflight", "look")
    damaged = run.journal.read_bytes().replace(b"look", b"lo\xffk")
    run.journal.write_bytes(damaged)
    with pytest.raises(JournalBroken, match="line 1"):
        run.record("preflight", "look")
    assert run.journal.read_bytes() == damaged


def test_a_failed_step_is_recorded_and_raised(run: Run) -> None:
    with pytest.raises(Refused), run.step("gate", "check"):
        raise Refused("no", remedy="do it")
    with pytest.raises(KeyError), run.step("gate", "check"):
        raise KeyError("x")
    refused, failed = run.events()
    assert refused["outcome"] == "refused"
    assert refused["data"]["error"]["remedy"] == "do it"
    assert failed["outcome"] == "failed"


def test_a_step_that_fails_after_the_keeper_came_says_so(run: Run) -> None:
    """Without it, a controller that comes back reads of a candidate that is not there, and not why."""
    with pytest.raises(Refused) as first, run.step("candidate", "copy"):
        raise Refused("It is in use.", remedy="Look.")
    run.record("restore", "the keeper opened the original again")
    with pytest.raises(Refused) as second, run.step("migrate_down", "revert"):
        raise Refused("There is no candidate.", remedy="Look.")
    said = f"Run {RUN_ID} had given no sign of life, and the keeper opened the original again. There is no candidate."
    assert (first.value.message, second.value.message) == ("It is in use.", said)
    assert run.events()[-1]["data"]["error"]["message"] == said


@contextlib.contextmanager
def _no_room() -> Iterator[None]:
    """Let no file grow beyond a kilobyte, as on a disk that is full."""
    known = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, known[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, known)


def test_a_step_that_could_not_be_recorded_is_not_begun(run: Run) -> None:
    begun = []
    with _no_room(), pytest.raises(Refused, match="Nothing can be written down") as full, run.step("close", "close"):
        begun.append("full")
    assert "Make room" in full.value.remedy
    assert list(run.folder.iterdir()) == [run.journal]
    run.record("preflight", "look")
    run.journal.write_text(run.journal.read_text().replace("look", "lock"))
    with pytest.raises(JournalBroken), run.step("close", "close"):
        begun.append("edited")
    shutil.rmtree(run.folder)
    with pytest.raises(Refused, match="has no journal"), run.step("close", "close"):
        begun.append("lost")
    assert begun == []


def test_a_state_folder_that_others_can_read_is_refused(run: Run) -> None:
    run.state_dir.chmod(0o750)
    with pytest.raises(Refused, match=r"can be read by others.*0750") as refusal:
        run.events()
    assert "chmod 0700" in refusal.value.remedy


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_somebody_elses_state_folder_is_refused(run: Run) -> None:
    os.chown(run.state_dir, 12345, 12345)
    with pytest.raises(Refused, match="belongs to somebody else"):
        run.events()


def test_a_run_that_is_not_there_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(Refused, match="has no journal"):
        Run(tmp_path, RUN_ID).events()
    with pytest.raises(Refused, match="does not exist"):
        Run(tmp_path / "missing", RUN_ID).events()
    with pytest.raises(Refused, match="not the name of a run"):
        Run(tmp_path, "../../etc")


def test_a_private_file_is_put_in_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert write_private_file(path, json.dumps({"a": 1})) is True
    assert write_private_file(path, json.dumps({"a": 1})) is False
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
