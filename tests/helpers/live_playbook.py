# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real playbooks whose output a test reads while they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


class LivePlaybook:
    """A playbook of a few tasks on the local host.

    Args:
        folder: where it is written.
        tasks: the tasks.
        play: more keys of the play.
        environment: more variables of the environment.
        arguments: more arguments.
    """

    def __init__(
        self,
        folder: Path,
        tasks: Sequence[Mapping[str, Any]],
        *,
        play: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        playbook = folder / "playbook.yml"
        playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks, **(play or {})}]))
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                Path(sys.executable).with_name("ansible-playbook"), "-i", "shop,", "-c", "local",
                "-e", f"ansible_python_interpreter={sys.executable}", *arguments, playbook,
            ],
            cwd=PROJECT,
            env={
                **os.environ,
                "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
                "PYTHONUNBUFFERED": "1",
                **(environment or {}),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip

    def read_until(self, wanted: Callable[[str], bool]) -> str:
        """Read on to the first line that is wanted, and return it; it is an error if there is none."""
        for line in self._read():
            if wanted(line):
                return line
        raise AssertionError("the playbook ended without that line:\n" + "\n".join(self.lines))

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        list(self._read())
        return self.process.wait(timeout=60)

    def end(self) -> None:
        """End it, for a test that fails."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    @property
    def output(self) -> str:
        """What was read so far."""
        return "\n".join(self.lines)

    def progress(self) -> list[str]:
        """The lines of progress among what was read so far."""
        return [line for line in self.lines if line.startswith("[shop] ")]

    def _read(self) -> Any:
        if self.process.stdout is None:
            raise ValueError("no output")
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            yield self.lines[-1]
