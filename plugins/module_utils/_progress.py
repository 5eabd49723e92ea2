# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a module says how far it is, while it runs: a file that the action plugin reads (see plugin_utils/_progress).

A module that was started by something else says nothing, and none of this costs anything.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._domain.progress import Activity, Pace, printable, progress_line

if TYPE_CHECKING:
    from collections.abc import Callable

    Sampler = Callable[[Activity], Any]
    """Looks how far an activity is, and writes that into it; raises what it likes, then it is not asked again."""

VARIABLE = "BALCON_ROLLBACK_PROGRESS"
"""The environment variable in which the action plugin names the file."""

FOLDER, PREFIX = "/tmp", "balcon-rollback-progress-"  # noqa: S108  # a random name of 128 bits, opened with O_EXCL

_NAME = re.compile(re.escape(f"{FOLDER}/{PREFIX}") + r"[0-9a-f]{32}")

_SAMPLE_SECONDS = 1.0
"""So long after its beginning, and then so often, an activity is looked at: what is over sooner costs nothing."""


class Reporter:
    """Writes lines of progress.

    Args:
        path: the file, of a name as the action plugin makes it, or anything else: then nothing is ever written.
    """

    def __init__(self, path: str) -> None:
        self._path = path if _NAME.fullmatch(path) else ""
        self._start = time.monotonic()
        self._pace = Pace()
        self._under_way: list[tuple[Activity, list[Sampler]]] = []
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def is_on(self) -> bool:
        """Tell whether anybody listens."""
        return bool(self._path) and not self._closed

    @contextlib.contextmanager
    def activity(self, name: str, *, sampler: Sampler | None = None, **figures: Any) -> Iterator[Activity]:
        """Say, as long as the block runs, that something is under way.

        Args:
            name: what, in a few words.
            sampler: is asked about once a second, in a thread of its own, and never waited for.
            figures: C(unit), C(total), C(done), C(about), C(note) of the `Activity`.

        Yields:
            The activity, to be kept up to date.
        """
        activity = Activity(name, **figures)
        if not self.is_on:
            yield activity
            return
        entry = (activity, [sampler] if sampler else [])
        self._under_way.append(entry)
        self._tick_from_now_on()
        try:
            yield activity
        finally:
            self._under_way.remove(entry)

    def line(self, text: str) -> None:
        """Say one line now."""
        if self.is_on:
            self._write(printable(text))

    def close(self) -> None:
        """Take the file away; nothing is said any more."""
        with self._lock, contextlib.suppress(OSError):
            self._closed = True
            if self._descriptor is not None:
                Path(self._path).unlink()

    def _tick_from_now_on(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._tick, daemon=True)
            self._thread.start()

    def _tick(self) -> None:
        while self.is_on:
            time.sleep(_SAMPLE_SECONDS)
            under_way = list(self._under_way)
            for activity, samplers in under_way:
                _sample(activity, samplers)
            activities = [activity for activity, _samplers in under_way]
            if self._pace.due(time.monotonic(), activities):
                self._write(progress_line(time.monotonic() - self._start, activities))

    def _write(self, line: str) -> None:
        """Write a line; a full or missing folder costs the line, never the step."""
        with self._lock, contextlib.suppress(OSError):
            if self._closed:
                return
            if self._descriptor is None:
                self._descriptor = _open(self._path)
            os.write(self._descriptor, f"{line}\n".encode())


def _sample(activity: Activity, samplers: list[Sampler]) -> None:
    for sampler in list(samplers):
        try:
            sampler(activity)
        except Exception:  # noqa: BLE001  # what cannot be looked at goes on all the same, and is said without figures
            samplers.remove(sampler)


def _open(path: str) -> int:
    _remove_abandoned()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _remove_abandoned() -> None:
    """Remove what killed modules of our account left: nobody holds its lock any more."""
    for path in Path(FOLDER).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # another's pipe would keep us
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


reporter = Reporter(os.environ.pop(VARIABLE, ""))
"""The reporter of this process; programs that it starts do not inherit the variable."""

atexit.register(reporter.close)
