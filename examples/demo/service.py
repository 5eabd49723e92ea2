# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that outlives the one that started it, and that any other can find and end later.

A file with a number is not enough for that: numbers are given again, and the file of yesterday may name a stranger of
today. So the file also holds when the process began, and since which boot; a process that does not fit is left alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """A process known by the file that names it.

    Args:
        pid_file: the file; it need not exist.
    """

    pid_file: Path

    def start(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], log: Path) -> int:
        """Start a process in a session of its own, so that nobody's Ctrl-C or end reaches it.

        Args:
            command: the program and its arguments; no secrets, everybody can read them.
            folder: its working directory.
            environment: its whole environment; nothing is inherited.
            log: where its output is added.

        Returns:
            Its process number.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.note(process.pid)
        process.returncode = 0  # nobody here waits for it: Python must not complain that it still runs
        return process.pid

    def note(self, pid: int) -> None:
        """Write down a process that runs already."""
        write_private(self.pid_file, json.dumps({"pid": pid, "identity": identity(pid)}))

    def forget(self) -> None:
        """Remove the file; the process is left alone."""
        self.pid_file.unlink(missing_ok=True)

    def pid(self) -> int | None:
        """Return the number of the process, or None when it is gone, whoever bears its number now."""
        try:
            known = json.loads(self.pid_file.read_text())
            pid, wanted = int(known["pid"]), str(known["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return pid if pid > 1 and identity(pid) == wanted else None

    def stop(self, patience: float = 5.0) -> bool:
        """End the process and its children; by force when it takes longer than ``patience`` seconds.

        Returns:
            Whether there was anything to end.
        """
        pid = self.pid()
        if pid is not None:
            self._end(pid, patience)
        self.forget()
        return pid is not None

    def _end(self, pid: int, patience: float) -> None:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, how)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline:
                if self.pid() is None:
                    return
                time.sleep(0.02)


def identity(pid: int) -> str | None:
    """Return what tells a process from every other that had or will have its number, or None when it has ended.

    Source: ``/proc/<pid>/stat``, fields 3 (state) and 22 (start, in clock ticks since boot); the command's name in
    field 2 may hold spaces and parentheses.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only this user can read."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    half.replace(path)
