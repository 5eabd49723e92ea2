# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `ansible-playbook rollback.yml` as a person would, and reads what came out from the run's own record."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import Service

_PROJECT = Path(__file__).resolve().parents[2]
_DEADLINE_SECONDS = 600
_PATIENCE_SECONDS = 20
_WIDTH = 120
_MOST_LINES = 8


@dataclass(frozen=True)
class PlaybookRun:
    """What one call of the playbook came to.

    Args:
        exit_code: of ansible-playbook.
        record: the run's ``run.json``; empty when the call left none.
        folder: the run's folder, or None.
    """

    exit_code: int
    record: dict[str, Any]
    folder: Path | None

    @property
    def outcome(self) -> str:
        """The outcome in the run's record."""
        return str(self.record.get("outcome", "no record"))

    @property
    def report(self) -> Path | None:
        """The run's report, if it wrote one."""
        report = self.folder / "report.md" if self.folder else None
        return report if report and report.exists() else None


class Excerpt:
    """Shortens the playbook's output to what a person follows: the tasks that did something, and what they said.

    Args:
        show: is given the lines to show.
    """

    _HEADING = re.compile(r"^(PLAY|TASK|RUNNING HANDLER) \[(?:[\w.]+ : )?(.*)\] \**$")
    _RESULT = re.compile(r"^(ok|changed): \[[^]]*\]( =>( \(item=.*\))?)?$")
    _PASSED_OVER = re.compile(r"^(skipping|included): ")
    _ERROR = re.compile(r"^\[ERROR\]: ")
    _FATAL = re.compile(r"^(fatal|failed): ")
    _KEY = re.compile(r"^    (\w+):")

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._heading: str | None = None
        self._silent = False
        self._failed = False

    def feed(self, line: str) -> None:
        """Take the next line of the output."""
        line = line.rstrip()
        heading = self._HEADING.match(line)
        if heading:
            self._heading = f"- {heading[2]}" if heading[1] != "PLAY" else heading[2]
            self._failed = False
        self._failed = self._failed or bool(self._FATAL.match(line))
        self._silent = self._is_silent(line, heading=bool(heading))
        if not heading and line and not self._silent and not self._PASSED_OVER.match(line):
            self._tell(line)

    def _is_silent(self, line: str, *, heading: bool) -> bool:
        """What went wrong is told three times (with its place in the playbook, as data, as a message): once will do."""
        if heading or self._FATAL.match(line):
            return False
        key = self._KEY.match(line)
        if self._failed and key:
            return key[1] != "msg"
        return self._silent or line.startswith("PLAY RECAP") or bool(self._ERROR.match(line))

    def _tell(self, line: str) -> None:
        if self._heading is not None:
            self._show(self._heading)
            self._heading = None
        if not self._RESULT.match(line):
            for part in _wrapped("    " + line):
                self._show(part)


def _wrapped(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.wrap(line, _WIDTH, subsequent_indent=indent, max_lines=_MOST_LINES, placeholder=" …")


def run_playbook(variables: dict[str, str], state_dir: Path, log: Path, service: Service) -> PlaybookRun:
    """Run the playbook, show an excerpt of its output, and keep the whole of it.

    Args:
        variables: the extra variables; ``env`` and what else a person would type.
        state_dir: the state folder of the environment's host, in which the run leaves its record.
        log: where the whole output is kept.
        service: notes the process, for the next demo to find when this one is killed.

    Raises:
        KeyboardInterrupt: passed on, after the playbook was told as well and has ended.
    """
    before = _runs(state_dir)
    print(f"    $ {shlex.join(typed_command(variables))}", flush=True)
    exit_code = _run(_command(variables), log, service)
    new = sorted(_runs(state_dir) - before, key=lambda folder: folder.stat().st_mtime)
    if not new:
        return PlaybookRun(exit_code, {}, None)
    return PlaybookRun(exit_code, _read_record(new[-1]), new[-1])


def typed_command(variables: dict[str, str]) -> list[str]:
    """Return the command as a person types it."""
    extra = [part for name, value in variables.items() for part in ("-e", f"{name}={_spoken(value)}")]
    return ["ansible-playbook", "rollback.yml", *extra]


def _command(variables: dict[str, str]) -> list[str]:
    program = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    return [program or "ansible-playbook", *typed_command(variables)[1:]]


def _spoken(value: str) -> str:
    """Quote a value of an extra variable that holds spaces, as Ansible wants it."""
    return f'"{value}"' if " " in value else value


def _run(command: list[str], log: Path, service: Service) -> int:
    """Run it in a session of its own: an interrupt is meant for the demo, which then ends the playbook in order."""
    with subprocess.Popen(
        command,
        cwd=_PROJECT,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        service.note(process.pid)
        overdue = threading.Timer(_DEADLINE_SECONDS, os.killpg, (process.pid, signal.SIGTERM))
        overdue.start()
        try:
            _follow(process, log)
        except BaseException:
            _end(process)
            raise
        finally:
            overdue.cancel()
    service.forget()
    return process.returncode


def _follow(process: subprocess.Popen[str], log: Path) -> None:
    begin = time.monotonic()
    excerpt = Excerpt(lambda line: print(f"  {time.monotonic() - begin:5.1f} s | {line}", flush=True))
    with log.open("a", encoding="utf-8") as whole:
        for line in process.stdout or ():
            whole.write(line)
            whole.flush()
            excerpt.feed(line)


def _end(process: subprocess.Popen[str]) -> None:
    for how in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            continue


def _environment() -> dict[str, str]:
    """Return this process's environment without what would make Ansible or PostgreSQL's tools act otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/bin:/bin')}"
    ansible = {"ANSIBLE_CONFIG": str(_PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return {**kept, **ansible, "PATH": path, "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


def _runs(state_dir: Path) -> set[Path]:
    return {folder for folder in (state_dir / "runs").glob("*") if folder.is_dir()}


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
