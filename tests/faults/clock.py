# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that can be set back for some processes: a small library, loaded before others, told by a file how far.

(libfaketime would be the usual choice; where it leaves the monotonic clock alone, Python's sleep ends in EINVAL.)
"""

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

HOUR = -3600

_SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    char text[32] = {0};
    int file = open(getenv("FAULTS_CLOCK") ? getenv("FAULTS_CLOCK") : "/dev/null", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    long length = read(file, text, sizeof text - 1);
    close(file);
    return length > 0 ? strtol(text, NULL, 10) : 0;
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where) *where = now.tv_sec;
    return now.tv_sec;
}
"""
"""Only the time of day is another one; what counts seconds since the machine's start, and sleeps by that, goes on."""


def can_be_had() -> str:
    """Say why no clock can be set here, or nothing."""
    return "" if shutil.which("cc") else "no C compiler is installed: apt-get install gcc libc6-dev"


class Clock:
    """The clock of the processes that are started with its environment.

    Args:
        folder: that every account can read.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._library = folder / "clock", folder / "clock.so"
        source = folder / "clock.c"
        source.write_text(_SOURCE)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self._library, source], check=True, capture_output=True)
        self.set_back(0)

    def set_back(self, seconds: int = HOUR) -> None:
        """Set it, so far from the true time; from now on."""
        half = self._file.with_suffix(".half")
        half.write_text(str(seconds))
        half.chmod(0o644)
        half.rename(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """What a process must be started with."""
        return {"LD_PRELOAD": str(self._library), "FAULTS_CLOCK": str(self._file)}

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
