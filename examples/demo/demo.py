# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a migration is rehearsed, gated, rolled back and, the second time, rescued, while two writers keep writing.

    python examples/demo/demo.py run     (make demo)
    python examples/demo/demo.py stop    (make demo-stop)

It needs what `make setup` installs. Everything it makes lies in ``.demo``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import psycopg2
from acts import ASIDE, LONG_TITLE, Demo, aligned
from deploy import DeployError
from embedded_postgresql import ClusterError
from production import shorten_titles
from stage import PROJECTS, Stage, StageError
from writers import Writers, WriterSilent

FOLDER = Path(__file__).resolve().parents[2] / ".demo"
INTRODUCTION = f"""\
This demo starts two PostgreSQL servers of its own (staging, production with {PROJECTS:,} projects) and a small API.
Two writers keep writing to production, through the API and past it, and note every write that was acknowledged.
Then four acts: a rollback refused (never rehearsed), rehearsed on staging, done in production, and a second one that
fails half-way in production and is undone. At the end every acknowledged write is looked for in production.
Everything stays in {{folder}}, needs no root and no network, takes about four minutes; 'make demo-stop' ends it."""


class DemoRuns(RuntimeError):
    """Another demo is being played; the message says what to do."""


def say(text: str) -> None:
    """Show a line at once, also into a pipe."""
    print(text, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Show what is done, how long it took, and then what else there was to say about it."""
    begin = time.monotonic()
    print(f"  {what} … ", end="", flush=True)
    notes = io.StringIO()
    try:
        with contextlib.redirect_stderr(notes):
            yield
    except BaseException:
        say("")
        raise
    say(f"{time.monotonic() - begin:.1f} s")
    for note in notes.getvalue().splitlines():
        say(f"    {note}")


def set_stage(stage: Stage) -> None:
    """Start afresh: whatever an earlier demo left is ended and removed."""
    with step("end what an earlier demo left"):
        stage.clear()
        stage.make_folders()
    with step("two PostgreSQL servers"):
        stage.start_servers()
    with step("three releases of the backend"):
        stage.make_releases()
    with step(f"its own migrations, and {PROJECTS:,} projects in production"):
        stage.fill_databases()
    with step("the API, newest release"):
        stage.start_api()


def run(stage: Stage) -> int:
    """Play the demo; return 0 when everything came out as said."""
    begin = time.monotonic()
    say(INTRODUCTION.format(folder=stage.folder) + "\n")
    set_stage(stage)
    writers = Writers(stage.folder)
    demo = Demo(stage, writers)
    try:
        with step("two writers"):
            writers.start()
            writers.wait_for(lambda _write: True)
        demo.play_all()
    finally:
        writers.stop()
    return conclude(demo, time.monotonic() - begin)


def conclude(demo: Demo, seconds: float) -> int:
    """Show the table, say what is wrong or what a person can do next, and return the exit code."""
    lost = demo.lost()
    wrongs = demo.wrongs(lost)
    say("\nThe writers have ended. What they saw:\n")
    for line in aligned(demo.table(lost)):
        say(f"  {line}")
    say("\n  window: the longest time without an acknowledged write. lost: acknowledged, and not in production.")
    say(f"  The column {', '.join(ASIDE)} is left aside: act 3 takes it back, with what was written there.")
    if wrongs:
        say(f"\nNOT as it should be, after {seconds:.0f} s:")
        for wrong in wrongs:
            say(f"  - {wrong}")
        say(f"Look into {demo.stage.logs}; everything still runs, 'make demo-stop' ends it.")
        return 1
    shorten_titles(demo.stage, LONG_TITLE)
    say(f"\nAll four acts came out as said, in {seconds:.0f} s, and no acknowledged write was lost.\n{NEXT}")
    return 0


NEXT = """
Everything keeps running, but the writers. The long title was cut to 50 characters again, so that you can go on:
    source .venv/bin/activate
    ansible-playbook rollback.yml -e env=staging
    ansible-playbook rollback.yml -e env=production --check
    ansible-playbook rollback.yml -e env=production -e 'reason="I want to see it"'
    make demo-stop"""


def stop(stage: Stage) -> int:
    """End a demo that is being played, and everything that it started."""
    running = stage.this_process.pid()
    stopped = []
    if running is not None:
        os.kill(running, signal.SIGTERM)
        stopped.append("the demo")
    with alone(stage, wait_seconds=60):
        stopped += stage.stop()
    say(f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running.")
    say(f"Reports and logs are still in {stage.folder}; 'make demo' begins afresh, 'make clean' removes everything.")
    return 0


@contextlib.contextmanager
def alone(stage: Stage, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of the demo's folder.

    Raises:
        DemoRuns: another demo holds it, and goes on to for longer than is waited.
    """
    stage.folder.mkdir(mode=0o700, exist_ok=True)
    with (stage.folder / "lock").open("w") as lock:
        deadline = time.monotonic() + wait_seconds
        while not _locked(lock):
            if time.monotonic() >= deadline:
                raise DemoRuns("A demo is being played: let it end, or end it with 'make demo-stop'.")
            time.sleep(0.2)
        yield


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Play the demo, or stop what it started.")
    parser.add_argument("command", choices=["run", "stop"])
    command = parser.parse_args(arguments).command
    stage = Stage(FOLDER)
    try:
        return stop(stage) if command == "stop" else _run_alone(stage)
    except (DemoRuns, WriterSilent, StageError, DeployError, ClusterError, psycopg2.Error, OSError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1


def _run_alone(stage: Stage) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with alone(stage):
        try:
            stage.this_process.note(os.getpid())
            return run(stage)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            say("\nInterrupted: stopping the servers, so that nothing is left half-way.")
            stage.stop()
            return 130
        except BaseException:
            stage.stop()
            raise
        finally:
            stage.this_process.forget()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
