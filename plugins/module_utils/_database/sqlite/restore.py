# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency restore of an SQLite file: what was there before has its name, or a person is asked."""

from __future__ import annotations

import os
import time
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Failed, Refused, RollbackError
from ..._domain.run_states import check_step
from .candidate import drop_trial, remove_partial
from .database_file import COMPANIONS, DatabaseFile
from .header import contents_digest, is_marked, mark_read_only, unmark
from .run_state import (
    description_path,
    forget_description,
    locked,
    read_description,
    sync_folder,
    write_description,
)
from .writers import everyone_out

PROOF = "contents"


class Restored(NamedTuple):
    """What `restore_original` did; as on PostgreSQL."""

    changed: bool
    restored_from: str
    failed_database: str | None
    proof: str
    seconds: float
    message: str


def is_swapped(file: DatabaseFile, run_id: str) -> bool:
    """Tell by the files themselves whether a run's candidate has the name: no record can be newer than they are."""
    before = file.derived("before", run_id)
    return before.exists() and file.path.exists() and not before.samefile(file.path)


def preview_restore(file: DatabaseFile, run_id: str, *, accept_loss: bool = False) -> Restored:
    """Say what `restore_original` would do.

    Raises:
        Refused: another run is open.
    """
    with locked(file) as description:
        state = _state_of(file, run_id, description)
    failed = file.derived("failed", run_id).name
    if (state or accept_loss) and is_swapped(file, run_id):
        message = "What was there before would be swapped back, if nothing was written since or the loss is accepted."
        return Restored(True, "after_swap", failed, "", 0.0, message)
    if state:
        return Restored(True, "before_swap", failed, "", 0.0, "The candidate would be set aside.")
    return _nothing(file, run_id, 0.0)


def restore_original(file: DatabaseFile, run_id: str, *, accept_loss: bool = False) -> Restored:
    """Bring back what was there before, whatever the state of this run.

    Args:
        file: the public file.
        run_id: the run that is to be undone.
        accept_loss: swap back although it was written to since the swap, and also after the run has ended. What was
            written stays in the failed file.

    Raises:
        Refused: another run is open; nothing was changed.
        Failed: it was written to since the swap, or somebody is in it. The message holds the exact next commands.
    """
    start = time.monotonic()
    with locked(file) as description:
        state = _state_of(file, run_id, description)
        if (state or accept_loss) and is_swapped(file, run_id):
            return _after_swap(file, run_id, description, accept_loss, start)
        if not state:
            return _nothing(file, run_id, start)
        failed = set_candidate_aside(file, run_id)
        forget_description(file.path)
    kept = f" The candidate is kept as {failed}." if failed else ""
    return Restored(True, "before_swap", failed, "", _since(start), f"{file.database} is unaltered.{kept}")


def set_candidate_aside(file: DatabaseFile, run_id: str) -> str | None:
    """Rename a run's candidate, let nobody write into it, and remove what else the run has begun; return its name."""
    before = file.derived("before", run_id)
    if before.exists() and before.samefile(file.path):  # killed between the second name and the swap
        before.unlink()
    remove_partial(file, run_id)
    drop_trial(file, run_id)
    candidate, failed = file.derived("candidate", run_id), file.derived("failed", run_id)
    if candidate.exists():
        write_description(failed, _failed(file, run_id))
        candidate.rename(failed)
    for path in (before, candidate, failed):
        if not path.exists():
            forget_description(path)
    if not failed.exists():
        return None
    keep_read_only(failed)
    return failed.name


def ways_on(file: DatabaseFile, run_id: str) -> dict[str, str]:
    """Return the commands for the two ways out of a swap: C(keep) what is there now, or C(go_back)."""
    before, failed = file.derived("before", run_id), file.derived("failed", run_id)
    description = read_description(before)
    header = str(description.data.get("header", "")) if description else ""
    version = f"\\00{int(header[:2] or '01', 16)}"
    mode = f"{int(description.data.get('mode', 0o644)) if description else 0o644:o}"
    keep = f"rm -f {quote(str(description_path(file.path)))}"
    steps = (
        f"mv {quote(str(file.path))} {quote(str(failed))}",
        # SQLite finds these by their names: left behind, they would be applied to the original.
        *(
            f"{{ [ ! -e {quote(f'{file.path}{end}')} ] || mv {quote(f'{file.path}{end}')} {quote(f'{failed}{end}')}; }}"
            for end in COMPANIONS
        ),
        f"mv {quote(str(before))} {quote(str(file.path))}",
        f"chmod {mode} {quote(str(file.path))}",
        f"printf '{version}' | dd of={quote(str(file.path))} bs=1 seek=18 conv=notrunc status=none",
        f"rm -f {quote(str(description_path(before)))} {quote(str(description_path(file.path)))}",
    )
    return {"keep": keep, "go_back": " && ".join(steps)}


def _state_of(file: DatabaseFile, run_id: str, description: Description | None) -> str:
    if description is None or not description.state:
        return ""
    check_step("restore", run_id, file.database, description)
    return description.state


def _after_swap(
    file: DatabaseFile, run_id: str, description: Description | None, accept_loss: bool, start: float
) -> Restored:
    commands = ways_on(file, run_id)
    expected = description.data.get("after") if description else None
    try:
        with everyone_out(file.path) as held:
            written = contents_digest(held.descriptor) != expected
            if written and not accept_loss:
                raise _written(file, run_id, commands)
            _swap_back(file, run_id)
            mark_read_only(held.descriptor)
    except (Refused, OSError) as error:
        said = error.message if isinstance(error, RollbackError) else str(error)
        raise Failed(
            f"{file.database} could not be restored: {said}",
            untouched="Nothing was lost: both files are kept.",
            remedy=f"End what has it open, then type one of the two. To keep it as it is: {commands['keep']} "
            f"To go back: {commands['go_back']}",
            commands=commands,
        ) from error
    for path in (file.derived("before", run_id), file.derived("candidate", run_id), file.path):
        forget_description(path)
    failed = file.derived("failed", run_id)
    return Restored(
        changed=True,
        restored_from="after_swap",
        failed_database=failed.name,
        proof="none, the loss was accepted" if written else PROOF,
        seconds=_since(start),
        message=f"{file.database} is again what it was before. The candidate is kept as {failed.name}.",
    )


def _swap_back(file: DatabaseFile, run_id: str) -> None:
    """Change the names back: at every moment there is a file of the name, and it can be written once it has it."""
    before, failed = file.derived("before", run_id), file.derived("failed", run_id)
    description = read_description(before)
    data = description.data if description else {}
    write_description(failed, _failed(file, run_id))
    if not failed.exists():
        os.link(file.path, failed)
    before.chmod(int(data.get("mode", 0o644)))
    unmark(before, str(data.get("header", "")))
    before.rename(file.path)
    sync_folder(file.path.parent)


def keep_read_only(path: Path) -> None:
    """Let nobody write into a file that is kept; one that is no database any more stays as it is."""
    if is_marked(path):
        return
    with path.open("r+b", buffering=0) as descriptor:
        mark_read_only(descriptor.fileno())


def _failed(file: DatabaseFile, run_id: str) -> Description:
    note = f"The candidate of rollback {run_id} for {file.database}, which did not succeed; kept for study, never used."
    return Description(run_id=run_id, role="failed", note=note)


def _written(file: DatabaseFile, run_id: str, commands: dict[str, str]) -> Failed:
    return Failed(
        f"{file.database} was not restored: it was written to since the swap.",
        untouched=f"Both files are kept: {file.database} and {file.derived('before', run_id).name}.",
        remedy=f"Decide, then type one of the two. To keep what was written: {commands['keep']} To go back, and lose "
        f"it: {commands['go_back']}",
        commands=commands,
    )


def _nothing(file: DatabaseFile, run_id: str, start: float) -> Restored:
    message = f"There is nothing to restore: run {run_id} is not open on {file.database}."
    return Restored(False, "nothing", None, "", _since(start) if start else 0.0, message)


def _since(start: float) -> float:
    return round(time.monotonic() - start, 3)
