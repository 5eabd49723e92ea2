# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a run on an SQLite file: where PostgreSQL has a comment, a small private file stands beside.

C(<file>.rollback.json) holds the same description (see `_domain.description`), mode 0600. It is there as long as a run
is open, and beside each file that a run made.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ..._domain.description import Description, parse_description, render_description
from ..._domain.errors import Refused
from ..._domain.run_states import check_step, on_record
from ..._run import write_private_file
from ..._trusted import read_trusted
from .database_file import DatabaseFile

SUFFIX = ".rollback.json"


def description_path(path: Path) -> Path:
    """Return where a file's description stands."""
    return path.with_name(path.name + SUFFIX)


def read_description(path: Path) -> Description | None:
    """Return what is written beside a file, or None.

    Raises:
        Refused: there is something, and it is no description, or somebody else may have written it.
    """
    beside = description_path(path)
    try:
        text = read_trusted(beside).decode(errors="replace")
    except FileNotFoundError:
        return None
    description = parse_description(text)
    if description is None:
        raise Refused(
            f"{beside} is not a description that a run wrote.",
            untouched="Nothing was touched.",
            remedy="Look at it, and at the files beside it, then move it away.",
        )
    return description


def write_description(path: Path, description: Description) -> None:
    """Write a description beside a file, and bring it to the disk."""
    write_private_file(description_path(path), render_description(description))
    sync_folder(path.parent)


def forget_description(path: Path) -> None:
    """Remove the description beside a file, and what a killed writer has left of one."""
    beside = description_path(path)
    beside.unlink(missing_ok=True)
    beside.with_name(f".{beside.name}.partial").unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(file: DatabaseFile) -> Iterator[Description | None]:
    """Let nobody else change this file's run meanwhile; yield what is written beside the file.

    The lock is one on the folder, so that it leaves nothing behind.
    """
    descriptor = os.open(file.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield read_description(file.path)
    finally:
        os.close(descriptor)


def lease_end(seconds: float) -> str:
    """Return the moment at which a lease of so many seconds from now runs out."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def lease_has_run_out(description: Description) -> bool:
    """Tell whether a run has given no sign of life for as long as it said it would."""
    return bool(description.lease_until) and datetime.fromisoformat(description.lease_until) < datetime.now(
        timezone.utc
    )


def advance(file: DatabaseFile, run_id: str, step: str, *, seconds: float = 0.0, **data: Any) -> Description:
    """Take a step in the run's state, and renew its lease.

    Args:
        file: the public file.
        run_id: the run.
        step: a key of `run_states.STEPS` that leads to another state of the window.
        seconds: how long what comes now may take; the lease is that much longer.
        data: entries to add to the description's C(data).

    Raises:
        Refused: the run is not in a state that allows the step.
    """
    with locked(file) as description:
        state = check_step(step, run_id, file.database, description)
        if description is None:
            raise ValueError(step)  # only "close" may begin without a description, and it does not come here
        advanced = replace(
            description,
            state=state,
            lease_until=lease_end(description.lease_seconds + seconds),
            data={**description.data, **on_record(step, lease_end(0)), **data},
        )
        write_description(file.path, advanced)
    return advanced


def check_state(file: DatabaseFile, run_id: str, step: str) -> None:
    """Check that a run may take a step, without taking it.

    Raises:
        Refused: it may not.
    """
    with locked(file) as description:
        check_step(step, run_id, file.database, description)


def check_made_by_run(file: DatabaseFile, path: Path, run_id: str, roles: tuple[str, ...]) -> Description:
    """Check by its description that a file was made by this run, for one of these purposes.

    Raises:
        Refused: it was not: it may be the database itself.
    """
    description = read_description(path) if path != file.path else None
    if path.exists() and description and description.run_id == run_id and description.role in roles:
        return description
    said = f"{description.role} of run {description.run_id}" if description else "nothing of a run"
    raise Refused(
        f"{path.name!r} is not the {' or '.join(roles)} of run {run_id}: what is written beside it says {said}.",
        untouched="Nothing was touched, and no migration was run.",
        remedy="Migrations are only run on files that the run itself has made. Start the whole run with "
        "'ansible-playbook rollback.yml -e env=development'.",
        database=path.name,
    )
