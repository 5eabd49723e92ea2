# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's platform: which release runs, and that each command can be given twice."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy import DeployError, Platform, main


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    releases = [tmp_path / version for version in ("1.2.0", "1.1.0", "1.0.0")]
    for release in releases:
        release.mkdir()
    made = Platform(tmp_path / "platform")
    made.folder.mkdir()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    made.install({"command": command, "environment": {}, "log": str(tmp_path / "log")}, releases)
    yield made
    made.stop()


def running_in(platform: Platform) -> str:
    return Path(f"/proc/{platform.service.pid()}/cwd").resolve().name


def inventory_reads(platform: Platform) -> list[str]:
    releases = json.loads((platform.folder / "releases.json").read_text())
    return [Path(releases[f"{name}_checkout"]).name for name in ("newer", "older")]


def test_nothing_runs_at_first(platform: Platform) -> None:
    assert platform.runs() is None


def test_newer_starts_the_newest_release_once(platform: Platform) -> None:
    assert platform.deploy("newer")
    pid = platform.service.pid()

    assert not platform.deploy("newer")
    assert platform.service.pid() == pid
    assert running_in(platform) == "1.2.0"


def test_older_twice_goes_back_one_release(platform: Platform) -> None:
    platform.deploy("newer")

    assert platform.deploy("older")
    assert not platform.deploy("older")
    assert running_in(platform) == "1.1.0"


def test_what_the_inventory_reads_stays_the_same_during_a_run(platform: Platform) -> None:
    seen = []
    for command in ("newer", "older", "newer"):
        platform.deploy(command)
        seen.append(inventory_reads(platform))

    assert seen == [["1.2.0", "1.1.0"]] * 3
    assert running_in(platform) == "1.2.0"


def test_settle_makes_the_running_release_the_newer_one(platform: Platform) -> None:
    platform.deploy("older")
    pid = platform.service.pid()

    assert platform.settle()
    assert not platform.settle()
    assert (platform.runs(), platform.service.pid()) == ("newer", pid)
    assert inventory_reads(platform) == ["1.1.0", "1.0.0"]


def test_settle_without_a_rollback_changes_nothing(platform: Platform) -> None:
    platform.deploy("newer")

    assert not platform.settle()
    assert inventory_reads(platform) == ["1.2.0", "1.1.0"]


def test_below_the_oldest_release_there_is_none(platform: Platform) -> None:
    for _again in range(2):
        platform.deploy("older")
        platform.settle()

    with pytest.raises(DeployError, match="no older release"):
        platform.deploy("older")
    assert running_in(platform) == "1.0.0"


def test_a_stopped_release_is_started_again(platform: Platform) -> None:
    platform.deploy("older")
    platform.stop()

    assert platform.runs() is None
    assert platform.deploy("older")
    assert running_in(platform) == "1.1.0"


def test_how_to_start_it_is_private(platform: Platform) -> None:
    assert (platform.folder / "api.json").stat().st_mode & 0o777 == 0o600


def test_command_line(platform: Platform, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [main([str(platform.folder), command]) for command in ("newer", "older", "status", "stop", "stop")]

    assert codes == [0] * 5
    assert capsys.readouterr().out.splitlines() == [
        "newer: 1.2.0", "older: 1.1.0", "older: 1.1.0", "stopped", "stopped",
    ]  # fmt: skip


def test_without_a_platform_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "newer"]) == 1
    assert "make demo" in capsys.readouterr().err
