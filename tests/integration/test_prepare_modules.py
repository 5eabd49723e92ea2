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


def play(folder: Path, names: list[str]) -> dict[str, Any]:
    tasks = [{"balcon.rollback.prepare_modules": {"names": names}}]
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    ended = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "-c", "local", playbook],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {"exit_code": ended.returncode, "output": ended.stdout + ended.stderr}


def test_modules_are_built_on_the_controller(tmp_path: Path) -> None:
    played = play(tmp_path, ["balcon.rollback.db_clone", "balcon.rollback.db_swap"])
    assert played["exit_code"] == 0, played["output"]
    assert "not prepared" not in played["output"]


def test_a_module_that_is_not_there_only_warns(tmp_path: Path) -> None:
    played = play(tmp_path, ["balcon.rollback.no_such_module"])
    assert played["exit_code"] == 0, played["output"]
    assert "balcon.rollback.no_such_module was not prepared" in " ".join(played["output"].split())
