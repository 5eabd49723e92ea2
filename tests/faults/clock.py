# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that can be set back for some processes: libfaketime, told by a file how far."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_postgresql import Cluster

INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "libfaketime"]
LIBRARIES = "usr/lib/*/faketime/libfaketime.so.1"
HOUR = "-3600"


def _library() -> Path | None:
    return next(iter(sorted(Path("/").glob(LIBRARIES))), None)


def can_be_had() -> str:
    """Say why no clock can be set here, or nothing; root installs what is missing where that is possible."""
    if not _library() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    return "" if _library() else "no libfaketime is installed, and none can be: apt-get install libfaketime"


class Clock:
    """The clock of the processes that are started with its environment.

    Only what tells the time of day is set: what counts seconds since the machine's start goes on.

    Args:
        file: tells how far from the true time it is.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set_back("+0")
        file.chmod(0o644)

    def set_back(self, seconds: str = HOUR) -> None:
        """Set it, as a string with a sign; from now on."""
        half = self._file.with_suffix(".half")
        half.write_text(f"{seconds}\n")
        half.chmod(0o644)
        half.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with."""
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
        }

    @contextlib.contextmanager
    def for_all_we_start(self) -> Iterator[None]:
        """Give it to every process that is started from here meanwhile."""
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in self.environment:
                os.environ.pop(name, None)


def start_with(cluster: Cluster, clock: Clock) -> None:
    """Start a server that is stopped, with a clock of its own, as its own account and with the settings that it had."""
    words: list[str | Path] = [f"{name}={value}" for name, value in clock.environment.items()]
    words += [cluster._server_bin_dir() / "pg_ctl", "start", "--pgdata", cluster.data_dir, "--log", cluster.log_file]
    started = cluster._account.run("/usr/bin/env", *words, "--wait", "--silent")
    if started.returncode != 0:
        raise RuntimeError(f"The server does not start with another clock: {started.stderr}")
