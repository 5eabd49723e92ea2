# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No room left on the server: production lies in a tablespace on a disk of a few megabytes."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from . import small_disk
from .case import AFTER, BEFORE, Case
from .ground import PRODUCTION
from .moments import START
from .saying import all_of, says

if TYPE_CHECKING:
    from .trial import Trial

MEGABYTES = 48
_DISKS: dict[Path, Path] = {}


def _on_a_small_disk(trial: Trial) -> None:
    """Move production there, under the OID that it has; when the case is over, everything moves back."""
    place = Path(trial.endings.enter_context(tempfile.TemporaryDirectory(prefix="balcon-rollback-disk-")))
    account = pwd.getpwnam("nobody")
    os.chown(place, account.pw_uid, account.pw_gid)
    _DISKS[trial.folder] = trial.endings.enter_context(small_disk.small_disk(place, MEGABYTES))
    trial.endings.callback(_move_back, trial)
    trial.ground.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
    trial.ground.execute("GRANT CREATE ON TABLESPACE small TO shop")
    _move(trial, PRODUCTION, "small", is_open=True)


def _move(trial: Trial, database: str, tablespace: str, *, is_open: bool) -> None:
    for statement in (
        f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS false',
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{database}'",
        f'ALTER DATABASE "{database}" SET TABLESPACE {tablespace}',
        f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS {is_open}',
    ):
        trial.ground.execute(statement)


def _move_back(trial: Trial) -> None:
    small_disk.free(_DISKS.pop(trial.folder))
    for name, is_open in trial.ground.execute(
        "SELECT datname, datallowconn FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace"
        " WHERE spcname = 'small'"
    ):
        _move(trial, name, "pg_default", is_open=is_open)
    trial.ground.execute("DROP TABLESPACE small")


def _lied_about(trial: Trial) -> None:
    """The inventory says that there is room."""
    trial.changes["production"]["rollback_free_bytes"] = 1 << 40


def _fill_and_go(trial: Trial) -> None:
    small_disk.fill(_DISKS[trial.folder])
    trial.playbook.go()


CASES: list[Case] = [
    Case(
        "disk-full",
        "too little room for a copy, seen in preflight",
        (BEFORE,),
        _fill_and_go,
        _on_a_small_disk,
        says("are free"),
        stand=START["preflight"],
        needs=small_disk.can_be_had,
    ),
    Case(
        "disk-full-at-candidate",
        "it fills before the copy is made",
        (BEFORE,),
        _fill_and_go,
        all_of(_on_a_small_disk, _lied_about),
        says("No space left"),
        stand=START["candidate"],
        needs=small_disk.can_be_had,
    ),
    Case(
        "disk-full-at-migrate-down",
        "it fills before the migration",
        (BEFORE, AFTER),
        _fill_and_go,
        all_of(_on_a_small_disk, _lied_about),
        stand=START["migrate_down"],
        needs=small_disk.can_be_had,
    ),
]
