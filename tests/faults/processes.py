# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of one case, found by what they are: by their parents, or by the case's folder that they work in."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEEPER_LOG = "keeper.log"


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        pid: its number.
        parent: its parent's.
        words: what it was started with.
        zombie: it has ended, and nobody has asked how.
    """

    pid: int
    parent: int
    words: tuple[str, ...]
    zombie: bool

    @property
    def program(self) -> str:
        """The name of its program."""
        return Path(self.words[0]).name if self.words else ""

    def runs(self, program: str) -> bool:
        """Tell whether it runs a program, itself, by an interpreter, or under a title such as "npm run migrate".

        One that is only asked what it is, or what an archive holds, does not count.
        """
        if {"--version", "--list"}.intersection(self.words):
            return False
        names = [Path(word).name for word in self.words[:2]]
        return program in names or any(name.startswith(f"{program} ") for name in names)

    def logs_to(self, name: str) -> Path | None:
        """Return the file of that name that it writes its errors into, if it does."""
        with contextlib.suppress(OSError):
            target = Path(f"/proc/{self.pid}/fd/2").readlink()
            return target if target.name == name else None
        return None

    def mentions(self, text: str) -> bool:
        """Tell whether a text is in its arguments, its environment or its working folder."""
        if any(text in word for word in self.words):
            return True
        for file in ("environ", "cwd"):
            with contextlib.suppress(OSError):
                path = Path(f"/proc/{self.pid}/{file}")
                content = str(path.readlink()) if file == "cwd" else path.read_bytes().decode(errors="replace")
                if text in content:
                    return True
        return False


def processes() -> dict[int, Process]:
    """Return all processes of this machine but this one."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            words = (entry / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            found[int(entry.name)] = Process(int(entry.name), int(parent), tuple(words), state in "ZX")
    found.pop(os.getpid(), None)
    return found


def family(pid: int) -> list[Process]:
    """Return a process and all below it, itself first. A keeper has nobody above it, and is in no family."""
    known = processes()
    found = [pid]
    for member in found:
        found += [process.pid for process in known.values() if process.parent == member]
    return [known[member] for member in found if member in known]


def modules_below(pid: int) -> list[Process]:
    """Return the modules that a playbook runs now: Pythons below it that are not Ansible's own processes."""
    members = family(pid)
    ansible = {process.pid for process in members if any("ansible_playbook.py" in word for word in process.words)}
    return [process for process in members if process.pid not in ansible and process.program.startswith("python")]


def of_folder(folder: Path) -> list[Process]:
    """Return the living processes that work for a case, whoever their parents are."""
    found = [process for process in processes().values() if not process.zombie]
    return [process for process in found if process.mentions(str(folder)) or _keeps(process, folder)]


def _keeps(process: Process, folder: Path) -> bool:
    log = process.logs_to(KEEPER_LOG)
    return log is not None and log.is_relative_to(folder)


def keepers(folder: Path) -> list[Process]:
    """Return the processes of the keepers whose runs are in a folder."""
    return [process for process in processes().values() if not process.zombie and _keeps(process, folder)]


def kill(found: Iterable[Process], number: int = signal.SIGKILL) -> int:
    """Send a signal to processes; return to how many it went."""
    sent = 0
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
            sent += 1
    return sent
