# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's processes: found again, ended with their children, and never taken for another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from service import Service, identity

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def start(folder: Path, command: list[str]) -> Service:
    service = Service(folder / "pid.json")
    service.start(command, folder=folder, environment={"GREETING": "hello"}, log=folder / "log")
    return service


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_started_process_is_found_and_stopped(tmp_path: Path) -> None:
    service = start(tmp_path, SLEEPER)
    pid = service.pid()

    assert pid is not None
    assert Service(tmp_path / "pid.json").stop()
    assert identity(pid) is None
    assert service.pid() is None


def test_stopping_twice_does_nothing(tmp_path: Path) -> None:
    service = start(tmp_path, SLEEPER)
    service.stop()

    assert not service.stop()


def test_a_stale_file_never_ends_a_stranger(tmp_path: Path) -> None:
    service = start(tmp_path, SLEEPER)
    known = json.loads(service.pid_file.read_text())
    service.stop()
    time.sleep(0.05)  # the kernel's clock tick: a number is not given again within one
    with subprocess.Popen(SLEEPER, start_new_session=True) as stranger:
        service.pid_file.write_text(json.dumps({**known, "pid": stranger.pid}))
        found, stopped, alive = service.pid(), service.stop(), stranger.poll() is None
        stranger.kill()

    assert (found, stopped, alive) == (None, False, True)


@pytest.mark.parametrize("text", ["", "12", "{}", '{"pid": "x", "identity": "y"}', '{"pid": 1, "identity": ""}', "[1]"])
def test_an_unreadable_file_names_no_process(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid.json").write_text(text)

    assert Service(tmp_path / "pid.json").pid() is None


def test_the_process_inherits_nothing_and_is_logged(tmp_path: Path) -> None:
    service = start(tmp_path, ["/bin/sh", "-c", "env; pwd; echo complaint >&2; echo end"])
    wait_until(lambda: "end" in (tmp_path / "log").read_text())
    service.stop()
    lines = (tmp_path / "log").read_text().splitlines()

    assert "GREETING=hello" in lines
    assert "complaint" in lines
    assert str(tmp_path) in lines
    assert not any(line.startswith(("HOME=", "USER=", "PYTEST_")) for line in lines)


def test_children_end_with_it_and_a_deaf_one_by_force(tmp_path: Path) -> None:
    script = "trap '' TERM; sleep 61 & echo child $!; while :; do sleep 1; done"
    service = start(tmp_path, ["/bin/sh", "-c", script])
    wait_until(lambda: "\n" in (tmp_path / "log").read_text())
    child = int((tmp_path / "log").read_text().split()[1])
    service.stop(patience=0.2)

    assert service.pid() is None
    wait_until(lambda: identity(child) is None)


def test_the_file_is_private(tmp_path: Path) -> None:
    service = start(tmp_path, SLEEPER)
    mode = service.pid_file.stat().st_mode & 0o777
    service.stop()

    assert mode == 0o600


def test_a_process_that_ended_has_no_identity() -> None:
    process = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert identity(process.pid) is None  # a zombie, its number still taken
    process.wait()
    assert identity(os.getpid()) is not None
