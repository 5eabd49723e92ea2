# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies that a run makes beside an SQLite file: its candidate, and throwaway clones of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Refused
from ..._domain.run_states import check_step
from .copy import check_same, copy_database, remove_file
from .database_file import DatabaseFile, connect
from .header import contents_digest
from .run_state import (
    advance,
    check_made_by_run,
    forget_description,
    locked,
    read_description,
    sync_folder,
    write_description,
)
from .writers import writers_wait


class CloneResult(NamedTuple):
    """A copy: its name, its size in bytes, how long it took in seconds, and whether it is new."""

    name: str
    bytes: int
    seconds: float
    changed: bool


def make_candidate(file: DatabaseFile, run_id: str) -> CloneResult:
    """Copy the file while nobody writes into it, and remember what it was: it must still be that at the swap.

    Raises:
        Refused: the run is not in the state that allows it, or somebody keeps the file locked.
        Failed: the copy could not be made; nothing is left of it.
    """
    target = file.derived("candidate", run_id)
    with locked(file) as description:
        if _is_there(target, run_id, "candidate") and description and description.state not in ("", "closed"):
            return CloneResult(target.name, target.stat().st_size, 0.0, changed=False)
        check_step("clone", run_id, file.database, description)
    start = time.monotonic()
    with writers_wait(file.path) as held, connect(file.path) as reader:
        digest = contents_digest(held.descriptor)
        status = os.fstat(held.descriptor)
        size = _copy(reader, target, like=file.path)
    check_same(target, digest)
    write_description(target, _describe(file, "candidate", run_id))
    advance(file, run_id, "clone", candidate=target.name, digest=digest, inode=status.st_ino, journal=held.journal_mode)
    return CloneResult(target.name, size, round(time.monotonic() - start, 3), changed=True)


def make_trial(file: DatabaseFile, run_id: str, source: Path) -> CloneResult:
    """Copy the run's candidate, for tests that write.

    Raises:
        Refused: the source is not the run's candidate.
    """
    check_made_by_run(file, source, run_id, ("candidate",))
    target = file.derived("trial", run_id)
    if _is_there(target, run_id, "trial"):
        return CloneResult(target.name, target.stat().st_size, 0.0, changed=False)
    start = time.monotonic()
    with connect(source) as reader:
        size = _copy(reader, target, like=source)
    write_description(target, _describe(file, "trial", run_id))
    return CloneResult(target.name, size, round(time.monotonic() - start, 3), changed=True)


def drop_trial(file: DatabaseFile, run_id: str) -> bool:
    """Remove the run's throwaway clone; return whether it was there.

    Raises:
        Refused: what is there was not made by this run.
    """
    target = file.derived("trial", run_id)
    if not _is_there(target, run_id, "trial"):  # it removes one whose maker was killed before it was described
        remove_file(target)
        forget_description(target)
        return False
    remove_file(target)
    forget_description(target)
    return True


def preview_clone(file: DatabaseFile, purpose: str, run_id: str) -> CloneResult:
    """Say what would be made, for check mode."""
    target = file.derived(purpose, run_id)
    return CloneResult(target.name, 0, 0.0, changed=not _is_there(target, run_id, purpose))


def remove_partial(file: DatabaseFile, run_id: str) -> None:
    """Remove what a copy has left whose maker was killed."""
    for purpose in ("candidate", "trial"):
        remove_file(_partial(file.derived(purpose, run_id)))


def _copy(reader: object, target: Path, *, like: Path) -> int:
    """Copy under a name that is nobody's, then give it its own: a half copy never has it."""
    partial = _partial(target)
    remove_file(partial)
    size = copy_database(reader, partial, like=like)  # type: ignore[arg-type]
    partial.rename(target)
    sync_folder(target.parent)
    return size


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _is_there(path: Path, run_id: str, role: str) -> bool:
    """Tell whether a run's copy is there, complete; a name that is taken by something else is refused."""
    if not path.exists():
        return False
    description = read_description(path)
    if description is None:
        # The maker was killed between the copy's name and its description: made anew, it is the same.
        remove_file(path)
        return False
    if (description.run_id, description.role) == (run_id, role):
        return True
    raise Refused(
        f"There is a file {path.name} already, and it does not say that run {run_id} made it.",
        untouched="It was not touched.",
        remedy="Look at it; rename or remove it yourself if nobody needs it.",
    )


def _describe(file: DatabaseFile, role: str, run_id: str) -> Description:
    return Description(
        run_id=run_id,
        role=role,
        note=f"Made by rollback {run_id} from {file.database}; the application does not use it.",
        data={"source": file.database},
    )
