# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has a file open: processes are asked by the kernel's list, as SQLite's locks do not name anybody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import List, NamedTuple, Optional

_PROCESSES = Path("/proc")
_COMPANIONS = ("", "-journal", "-wal", "-shm")
_DELETED = " (deleted)"


class Holder(NamedTuple):
    """A process that has a file open.

    Attributes:
        pid: its number.
        command: the beginning of its command line.
        user: the number of its account.
    """

    pid: int
    command: str
    user: int

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


Holders = Optional[List[Holder]]
"""None where they cannot be told: this system has no list of open files."""


def find_holders(path: Path) -> Holders:
    """Return the other processes that have a file, or one of its companions, open.

    Those of other accounts are only seen by root.
    """
    if not (_PROCESSES / "self" / "fd").is_dir():
        return None
    files = {f"{path}{companion}{end}" for companion in _COMPANIONS for end in ("", _DELETED)}
    identity = _identity(path)
    others = [folder for folder in _PROCESSES.iterdir() if folder.name.isdigit() and folder.name != str(os.getpid())]
    return sorted(_holder(folder) for folder in others if _holds(folder, files, identity))


def describe_holders(holders: Holders) -> str:
    """Return one sentence about who has a file open."""
    if holders is None:
        return "Who has it open cannot be told on this system."
    if not holders:
        return "No process that can be seen has it open."
    return f"It is open in {', '.join(map(str, holders))}."


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _holds(folder: Path, files: set[str], identity: tuple[int, int] | None) -> bool:
    """Tell whether a process has one of the files open, by path, or by identity under another name."""
    try:
        descriptors = list((folder / "fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            target = os.readlink(descriptor)
            if target in files:
                return True
            if target.startswith("/") and _identity(descriptor) == identity and identity:
                return True
        except OSError:
            continue
    return False


def _holder(folder: Path) -> Holder:
    try:
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        user = folder.stat().st_uid
    except OSError:
        words, user = [], -1
    # Arguments may hold secrets, so that only the program and the file that it runs are named.
    shown = " ".join(Path(word).name for word in words[:2] if word and not word.startswith("-"))
    return Holder(int(folder.name), shown[:80] or "unknown", user)
