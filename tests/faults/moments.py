# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The moments of a rollback: the start of each phase, and the inside of each, made certain by an obstacle.

An obstacle is a lock, a stopped server process or a migration command that waits: the phase cannot get past it, so that
what happens then happens inside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .case import Act, nothing
from .trial import Trial, until

START = {
    "preflight": "Preflight | the request was checked",
    "gate": "Gate | production's schema",
    "back_up": "Back up |",
    "close": "Close | maintenance mode on; the database takes no connections",
    "candidate": "Candidate |",
    "migrate_down": "Migrate down |",
    "verify": "Verify |",
    "swap": "Reopen | the candidate takes the name",
    "reopen": "Reopen | the state, read again",
    "released": "Reopen | the run is closed on the server",
    "maintenance": "Reopen | maintenance mode off",
    "report": "Report | from the journal",
}
"""The first task of a phase; reopening, which has the swap in it, is told apart by its tasks."""

BEFORE_THE_SWAP = (
    "preflight",
    "gate",
    "back_up",
    "maintenance_on",
    "close",
    "candidate",
    "migrate_down",
    "verify",
    "swap",
)


@dataclass(frozen=True)
class Inside:
    """The inside of a phase.

    Attributes:
        words: where it is, for the table.
        stand: the playbook stands before this task when the obstacle is laid.
        obstacle: while it is open, the phase cannot end.
        reached: tells that the phase stands at the obstacle.
        prepare: before the playbook starts.
    """

    words: str
    stand: str
    obstacle: Callable[[Trial], contextlib.AbstractContextManager[object]]
    reached: Callable[[Trial], object]
    prepare: Act = nothing


@contextlib.contextmanager
def inside(trial: Trial, moment: Inside) -> Iterator[None]:
    """Bring a playbook that stands before a phase to its inside; the obstacle is taken away at the end."""
    with moment.obstacle(trial):
        trial.playbook.go()
        until(
            lambda: moment.reached(trial),
            f"the run is inside: {moment.words}",
            over=lambda: trial.playbook.process.poll() is not None,
        )
        yield


def wait_in_script(trial: Trial, name: str = "migrate:down") -> None:
    """Let a script of the project do its work and then wait for a flag, as one does that does not end."""
    done, go = trial.flag("done"), trial.flag("go")
    trial.set_script(name, f"{{original}} && touch {done} && until test -e {go}; do sleep 0.1; done")


def wait_before_script(trial: Trial, name: str = "migrate:down") -> None:
    """Let a script of the project wait for a flag before it does anything."""
    done, go = trial.flag("done"), trial.flag("go")
    trial.set_script(name, f"touch {done} && until test -e {go}; do sleep 0.1; done && {{original}}")


def set_script_free(trial: Trial) -> None:
    """Let the script that waits go on."""
    trial.flag("go").touch()


@contextlib.contextmanager
def _script_waits(trial: Trial) -> Iterator[None]:
    try:
        yield
    finally:
        set_script_free(trial)


def _locked(table: str) -> Callable[[Trial], contextlib.AbstractContextManager[object]]:
    return lambda trial: trial.ground.locked(table)


def _ours_waits(trial: Trial) -> object:
    return trial.sessions("wait_event_type = 'Lock' AND application_name LIKE 'balcon.rollback%%'")


def _wait_in_maintenance(trial: Trial) -> None:
    """Let the command that turns maintenance mode on do so, and then wait for a flag."""
    up, done, go = trial.ground.scene.maintenance_file, trial.flag("done"), trial.flag("go")
    command = f"touch {up} {done} && until test -e {go}; do sleep 0.1; done"
    trial.changes["production"]["rollback_maintenance"] = {
        "provider": "command",
        "command": {"on": ["sh", "-c", command], "off": ["rm", "-f", str(up)], "status": ["test", "-e", str(up)]},
    }


def _watch_a_log(trial: Trial) -> None:
    """Let the run watch a log that says nothing, for longer than it takes to do harm."""
    log = trial.folder / "application.log"
    log.touch()
    trial.changes["production"].update(
        rollback_watch_seconds=15,
        rollback_watch_interval=1,
        rollback_watch={"log": {"provider": "file", "file": {"path": str(log)}}, "baseline_seconds": 0},
    )


INSIDE = {
    "preflight": Inside("reads the state table", "Preflight | migrations", _locked("migrations_meta"), _ours_waits),
    "gate": Inside("reads the catalogue", START["gate"], _locked("pg_catalog.pg_description"), _ours_waits),
    "back_up": Inside("pg_dump works", START["back_up"], _locked("project_files"), _ours_waits),
    "maintenance_on": Inside(
        "maintenance mode is on, nothing is closed",
        START["close"],
        _script_waits,
        lambda trial: trial.flag("done").exists(),
        _wait_in_maintenance,
    ),
    "close": Inside(
        "closed, a session does not end",
        START["close"],
        lambda trial: trial.stopped_backend(),
        lambda trial: trial.state() == "closed",
    ),
    "candidate": Inside(
        "CREATE DATABASE works",
        START["candidate"],
        lambda trial: trial.ground.locked("pg_catalog.pg_shdepend", "postgres", "SHARE"),
        lambda trial: trial.waiting("CREATE DATABASE"),
    ),
    "migrate_down": Inside(
        "the tool has done its work and does not end",
        START["migrate_down"],
        _script_waits,
        lambda trial: trial.flag("done").exists(),
        wait_in_script,
    ),
    "verify": Inside(
        "reads the candidate",
        START["verify"],
        lambda trial: trial.ground.locked("project_files", trial.candidate()),
        _ours_waits,
    ),
    "swap": Inside(
        "a session on the candidate does not end",
        START["swap"],
        lambda trial: trial.stopped_backend(trial.candidate()),
        lambda trial: not trial.ground.databases()[trial.candidate()],
    ),
    "reopen": Inside("swapped, reads the state again", START["reopen"], _locked("migrations_meta"), _ours_waits),
    "watch": Inside(
        "the rollback is over, its log is watched",
        "Watch | what users see",
        lambda _trial: contextlib.nullcontext(),
        lambda trial: trial.playbook.module(),
        _watch_a_log,
    ),
}
