# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prepare_modules, by a real playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
PROBE = {
    "balcon.rollback.health_probe": {"endpoints": [{"name": "nobody", "url": "http://127.0.0.1:9/"}], "deadline": 0}
}


def play(folder: Path, names: list[str], *more: dict[str, Any], python: str = sys.executable) -> dict[str, Any]:
    tasks = [{"balcon.rollback.prepare_modules": {"names": names}, "register": "made"}, {"debug": {"var": "made"}}]
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [*tasks, *more]}]))
    command = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}", str(playbook)]
    ended = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *command],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {"exit_code": ended.returncode, "output": " ".join((ended.stdout + ended.stderr).split())}


def test_modules_are_built_and_compiled_on_the_controller(tmp_path: Path) -> None:
    played = play(tmp_path, ["balcon.rollback.db_clone", "balcon.rollback.db_swap"])
    assert played["exit_code"] == 0, played["output"]
    assert "not prepared" not in played["output"]
    assert "compiled: - balcon.rollback.db_clone - balcon.rollback.db_swap" in played["output"]


def test_a_compiled_module_does_what_it_did(tmp_path: Path) -> None:
    played = play(tmp_path, ["balcon.rollback.health_probe"], PROBE)
    assert "compiled: - balcon.rollback.health_probe" in played["output"]
    assert "nobody" in played["output"]
    assert "the connection was refused" in played["output"]
    assert "Traceback" not in played["output"]


def test_for_another_python_nothing_is_compiled_and_the_module_runs(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\n[ "$1" != -c ] || {{ echo 00000000; exit; }}\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    played = play(tmp_path, ["balcon.rollback.health_probe"], PROBE, python=str(other))
    assert "compiled: []" in played["output"]
    assert "the connection was refused" in played["output"]


def test_a_module_that_is_not_there_only_warns(tmp_path: Path) -> None:
    played = play(tmp_path, ["balcon.rollback.no_such_module"])
    assert played["exit_code"] == 0, played["output"]
    assert "balcon.rollback.no_such_module was not prepared" in played["output"]
