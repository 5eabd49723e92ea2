# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file system with copy on write, in a file: XFS, mounted for as long as it is needed. Only root can."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "xfsprogs"]


class Unavailable(RuntimeError):
    """It cannot be had on this machine; the message says why."""


@contextlib.contextmanager
def copy_on_write(megabytes: int) -> Iterator[Path]:
    """Mount a fresh XFS of so many MB.

    Raises:
        Unavailable: that is not possible here.
    """
    if os.geteuid() != 0:
        raise Unavailable("only root can mount a file system")
    if not shutil.which("mkfs.xfs") and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    if not shutil.which("mkfs.xfs"):
        raise Unavailable("no mkfs.xfs is installed, and it could not be (apt-get install xfsprogs)")
    folder = Path(tempfile.mkdtemp(prefix="balcon-copy-on-write-"))
    folder.chmod(0o755)
    image, mounted = folder / "image", folder / "mounted"
    mounted.mkdir()
    try:
        with image.open("wb") as file:
            file.truncate(megabytes * 1024**2)
        subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], check=True, capture_output=True)
        if subprocess.run(["mount", "-o", "loop", image, mounted], check=False, capture_output=True).returncode != 0:
            raise Unavailable("this machine lets nobody mount a file, as in a container without the right to")
        try:
            mounted.chmod(0o755)
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
