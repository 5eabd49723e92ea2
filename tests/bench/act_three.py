# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window of the demo's third act, taken apart, and the restore of its fourth as its writers saw it.

The stage is the demo's own, with its two writers. Of the window that ``run.json`` names, three parts are not ours: the
application's own commands (the migration tool, the tests, the trial's and the release's start until it answers), and
the two file copies (candidate, throwaway clone). The rest is: our modules' own work, and what lies between two steps,
which is Ansible's way from one module to the next.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg2
from acts import LONG_TITLE, REHEARSED, REHEARSED_AGAIN, RESTORED, ROLLED_BACK, Act, Demo
from demo import set_stage
from psycopg2 import sql
from stage import DATABASES, Stage
from writers import Writers

from tests.bench.figures import BenchError, event_begin, event_end, medians, say, table

WINDOW = "the window of act 3"
COMMANDS = "- the application's own commands"
COPIES = "- the file copies"
OURS = "= ours"
OWN = "of it our modules' own work"
BETWEEN = "of it between the steps"
RESTORE = "act 4: failed step to the sql writer's next write"

CP = "cp of the database's files"

PROJECTS_OF_A_MEGABYTE = 7_000

PHASES = ("close", "candidate", "migrate_down", "verify", "reopen")
SWITCHES = ("stop the newer release", "start the older release")
"""Actions that are the application's as a whole: a command, and waiting for what it does."""

Event = Mapping[str, Any]


def measure_windows(folder: Path, sizes: Sequence[int], repeat: int) -> dict[str, Any]:
    """Play the third act, with the rehearsal that it takes, and then the fourth, a number of times.

    Args:
        folder: for the stages; removed at the end but for their logs.
        sizes: about so many MB of production's plain dump.
        repeat: how often.

    Returns:
        By size ``projects``, and ``samples`` and ``medians`` in seconds: the figures, and of each step its own work and
        the way to it.
    """
    folder.mkdir(mode=0o700)
    return {"sizes": {str(size): _measure_window(folder / str(size), size, repeat) for size in sizes}}


def _measure_window(folder: Path, size: int, repeat: int) -> dict[str, Any]:
    projects = size * PROJECTS_OF_A_MEGABYTE
    say(f"\nThe window of act 3: {projects:,} projects, about {size} MB, two writers")
    folder.mkdir(mode=0o700)
    stage = Stage(folder, projects=projects)
    writers = Writers(folder)
    demo = Demo(stage, writers)
    samples: dict[str, list[float]] = {}
    try:
        with _told_apart(stage):
            set_stage(stage)
            writers.start()
            writers.wait_for(lambda _write: True)
        for name, seconds in _play(demo, repeat):
            samples.setdefault(name, []).append(round(seconds, 3))
    finally:
        writers.stop()
        stage.clear()
    return {"projects": projects, "samples": samples, "medians": medians(samples)}


@contextlib.contextmanager
def _told_apart(stage: Stage) -> Iterator[None]:
    """Keep what the demo says in a file beside the stage."""
    with (
        stage.folder.with_suffix(".log").open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield


def _play(demo: Demo, repeat: int) -> Iterator[tuple[str, float]]:
    for number in range(repeat):
        if number:
            _deploy_again(demo)
        _act(demo, REHEARSED)  # each time: evidence is of one database, and a rollback puts another one in its place
        events = _act(demo, ROLLED_BACK)
        taken = list(take_apart(demo.played[-1].run.record, events))
        say(f"  act 3, {number + 1} of {repeat}: {taken[0][1]:.1f} s, ours {dict(taken)[OURS]:.1f} s")
        yield from taken
        yield CP, _copy_files(demo.stage)
    demo.stage.platform.settle()
    _act(demo, REHEARSED_AGAIN)
    with _told_apart(demo.stage):
        demo.writers.ask("sql", LONG_TITLE)
        demo.writers.wait_for(lambda write: write.values.get("title") == LONG_TITLE, ("sql",))
    for number in range(repeat):
        seconds = _restored_after(demo, _act(demo, RESTORED))
        say(f"  act 4, {number + 1} of {repeat}: {seconds:.2f} s")
        yield RESTORE, seconds


def _copy_files(stage: Stage) -> float:
    """Copy the files of production as it was before, which is closed, by the disk alone; then drop it."""
    cluster, copy = stage.cluster("production"), stage.folder / "cp"
    with contextlib.closing(psycopg2.connect(cluster.superuser_url())) as connection, connection.cursor() as cursor:
        cursor.execute("CHECKPOINT")
        cursor.execute(
            "SELECT oid, datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY oid DESC LIMIT 1",
            [f"{DATABASES['production']}__before_"],
        )
        ((oid, name),) = cursor.fetchall()
    files = cluster.data_dir / "base" / str(oid)
    begin = time.monotonic()
    subprocess.run(["cp", "-r", str(files), str(copy)], check=True)
    seconds = time.monotonic() - begin
    shutil.rmtree(copy)
    with contextlib.closing(psycopg2.connect(cluster.superuser_url())) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
    return seconds


def _act(demo: Demo, act: Act) -> Sequence[Event]:
    """Play an act; return the journal of its run."""
    variables = {**act.variables, "demo_folder": str(demo.stage.folder), "rollback_watch_seconds": "1"}
    with _told_apart(demo.stage):
        demo.play(replace(act, variables=variables))
    played = demo.played[-1]
    if played.run.outcome != act.outcome or played.run.folder is None:
        output = demo.stage.folder.with_suffix(".log").read_text(encoding="utf-8")
        raise BenchError(f"act {act.number} came out as {played.run.outcome}, not {act.outcome}:\n{output[-3000:]}")
    journal = (played.run.folder / "journal.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in journal.split("\n")[:-1]]


def _deploy_again(demo: Demo) -> None:
    """Put the newer release back, which applies its migration when it starts; wait until the writers are heard."""
    with _told_apart(demo.stage):
        demo.stage.platform.deploy("newer")
        now = time.monotonic()
        demo.writers.wait_for(lambda write: write.clock > now and "priority" in write.values, ("api",), seconds=300)


def _restored_after(demo: Demo, events: Sequence[Event]) -> float:
    """Return the seconds from the end of the step that failed to the next write straight to PostgreSQL."""
    failed = next(event_end(event) for event in events if event["outcome"] == "failed")
    clock = failed - time.time() + time.monotonic()
    return min(w.clock for w in demo.writers.writes("sql") if w.acknowledged and w.clock > clock) - clock


def take_apart(record: Mapping[str, Any], events: Sequence[Event]) -> Iterator[tuple[str, float]]:
    """Yield the figures of a window, the whole first, then of each step its own work and the way to it.

    Args:
        record: the run's ``run.json``, which says what the window is.
        events: its journal.
    """
    inside = [event for event in events if event["phase"] in PHASES and event["action"] in record["window_breakdown"]]
    total = float(record["window_seconds"])
    commands, copies = sum(map(_commands, inside)), sum(map(_copy, inside))
    own = sum(map(_own, inside))
    ours = total - commands - copies
    yield from (
        (WINDOW, total),
        (COMMANDS, commands),
        (COPIES, copies),
        (OURS, ours),
        (OWN, own),
        (BETWEEN, ours - own),
    )
    ways = [0.0, *(event_begin(after) - event_end(before) for before, after in pairwise(inside))]
    for event, way in zip(inside, ways, strict=True):
        yield f"{event['action']}: own work", _own(event)
        yield f"{event['action']}: way to it", way


def _commands(event: Event) -> float:
    return float(event["seconds"] if event["action"] in SWITCHES else event["data"].get("command_seconds", 0.0))


def _copy(event: Event) -> float:
    data = event["data"]
    return float(data["seconds"] if event["phase"] == "candidate" else data.get("clone_seconds", 0.0))


def _own(event: Event) -> float:
    return float(event["seconds"]) - _commands(event) - _copy(event)


def window_lines(figures: dict[str, Any]) -> list[str]:
    """Return the tables of the windows, by size: the parts, and each step of what is ours."""
    return [line for taken in figures["sizes"].values() for line in _window_lines(taken)]


def _window_lines(figures: dict[str, Any]) -> list[str]:
    known: dict[str, float] = figures["medians"]
    whole = known[WINDOW]
    parts = [["", "seconds", "of the window"]]
    parts += [
        [name, f"{known[name]:.2f}", f"{known[name] / whole:.0%}"]
        for name in (WINDOW, COMMANDS, COPIES, OURS, OWN, BETWEEN)
    ]
    steps = [["step", "own work", "way to it"]]
    for name, seconds in known.items():
        step, _unused, kind = name.rpartition(": ")
        if kind == "own work":
            steps.append([step, f"{seconds:.2f}", f"{known[f'{step}: way to it']:.2f}"])
    lines = table(f"Act 3 of the demo, {figures['projects']:,} projects (PostgreSQL 16)", parts)
    lines += table("What is ours, step by step", steps)
    return [*lines, "", f"  {RESTORE}: {known[RESTORE]:.2f}"]
