# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run several make targets, two at a time, and say at the end what failed.

Each target's output is kept together and printed when the target has ended. One that fails stops no other.
Exits 1 when any failed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
WORKERS = 2


@dataclass(frozen=True)
class Outcome:
    """How one target ended."""

    target: str
    returncode: int
    seconds: float
    output: str

    @property
    def passed(self) -> bool:
        """Whether it exited 0."""
        return self.returncode == 0

    def __str__(self) -> str:
        verdict = "passed" if self.passed else f"FAILED (exit code {self.returncode})"
        return f"{self.target:<14} {self.seconds:6.0f} s  {verdict}"


class Checks:
    """Targets under way, so that they can be stopped."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def run(self, target: str) -> Outcome:
        """Run one target and return how it ended."""
        started = time.monotonic()
        print(f"-- {target}: started", flush=True)
        process = subprocess.Popen(
            ["make", "--no-print-directory", target],
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._processes.append(process)
        output, _none = process.communicate()
        return Outcome(target, process.returncode, time.monotonic() - started, output)

    def stop(self) -> None:
        """End what still runs, with everything that it started."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


def main(targets: list[str]) -> int:
    """Run the targets; return 1 when any failed."""
    checks = Checks()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(checks.run, target) for target in targets]
        try:
            outcomes = list(reported(running))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            checks.stop()
            raise
    outcomes.sort(key=lambda outcome: targets.index(outcome.target))
    failed = [outcome.target for outcome in outcomes if not outcome.passed]
    print(f"\n{' summary ':=^100}", *outcomes, sep="\n")
    if failed:
        print(f"\nFailed: {', '.join(failed)}. To run one again: make {failed[0]}")
    print(f"\n{len(outcomes) - len(failed)} passed, {len(failed)} failed", flush=True)
    return 1 if failed else 0


def reported(running: list[Future[Outcome]]) -> Iterator[Outcome]:
    """Print each target's output as it ends."""
    for future in as_completed(running):
        outcome = future.result()
        print(f"\n{f' {outcome.target} ':=^100}\n{outcome.output.rstrip()}\n-- {outcome}\n", flush=True)
        yield outcome


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
