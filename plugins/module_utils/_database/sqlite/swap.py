# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidate takes the file's name."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Failed, Refused
from ..._domain.run_states import AFTER_SWAP, check_step
from .database_file import COMPANIONS, DatabaseFile, connect
from .header import contents_digest, mark_read_only
from .restore import is_swapped, keep_read_only
from .run_state import check_made_by_run, forget_description, lease_end, locked, sync_folder, write_description
from .writers import Held, check_nobody_holds, everyone_out

_WRITING = 0o222


class Swapped(NamedTuple):
    """What `swap_in` did: the name under which the file is kept, the seconds, and whether it is new."""

    before: str
    seconds: float
    changed: bool


def preview_swap(file: DatabaseFile, run_id: str) -> Swapped:
    """Check that a run may swap its candidate in, without doing it.

    Raises:
        Refused: it may not, or another program has the file open.
    """
    before = file.derived("before", run_id)
    with locked(file) as description:
        if description and description.run_id == run_id and is_swapped(file, run_id):
            return Swapped(before.name, 0.0, changed=description.state not in AFTER_SWAP)
        check_step("swap", run_id, file.database, description)
    check_made_by_run(file, file.derived("candidate", run_id), run_id, ("candidate",))
    return Swapped(before.name, 0.0, changed=True)


def swap_in(file: DatabaseFile, run_id: str, keep_hours: float = 24.0, *, look_for_holders: bool = True) -> Swapped:
    """Put the run's verified candidate in the file's place, with everybody shut out; the file is kept, read-only.

    At every moment there is a file of that name, and it is one of the two.

    Args:
        file: the public file.
        run_id: the run.
        keep_hours: for how long what was there is to be kept; it is written down, nothing is removed here.
        look_for_holders: refuse where another process has either file open.

    Raises:
        Refused: the run is not in the state that allows it, the file is not what was copied, or somebody is in it.
        Failed: the names could not be changed; the file has its name.
    """
    planned = preview_swap(file, run_id)
    if not planned.changed:
        return planned
    start = time.monotonic()
    with locked(file) as known:
        if known is None:
            raise ValueError(run_id)  # preview_swap refuses that
        description = known
        if not is_swapped(file, run_id):
            after = _close_candidate(file, run_id, str(known.data["journal"]), look_for_holders)
            description = replace(known, data={**known.data, "after": after})
            write_description(file.path, description)
            with everyone_out(file.path, look_for_holders=look_for_holders) as held:
                _check_unchanged(file, description, held)
                _exchange(file, run_id, held, _keep_until(keep_hours))
        keep_read_only(file.derived("before", run_id))
        forget_description(file.derived("candidate", run_id))
        write_description(file.path, _current(file, run_id, description))
    return Swapped(planned.before, round(time.monotonic() - start, 3), changed=True)


def _close_candidate(file: DatabaseFile, run_id: str, journal_mode: str, look_for_holders: bool) -> str:
    """Give the candidate the journal mode of the file, see that nobody has it open, and return its digest."""
    candidate = file.derived("candidate", run_id)
    with connect(candidate, write=True) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if journal_mode == 'wal' else 'DELETE'}")
    if look_for_holders:
        check_nobody_holds(candidate)
    with everyone_out(candidate, look_for_holders=False) as held:
        digest = contents_digest(held.descriptor)
    left = [f"{candidate.name}{end}" for end in COMPANIONS if Path(f"{candidate}{end}").exists()]
    if left:
        raise Refused(
            f"Somebody is connected to {candidate.name}: there is {', '.join(left)}.",
            untouched=f"{file.database} was not changed.",
            remedy="End it, then start the whole run again: the candidate must be left alone.",
        )
    return digest


def _check_unchanged(file: DatabaseFile, description: Description, held: Held) -> None:
    if contents_digest(held.descriptor) != description.data["digest"]:
        raise Refused(
            f"{file.database} was written to since its candidate was copied: what was written would be missing.",
            untouched=f"{file.database} was not changed, and nothing that was written is lost.",
            remedy="Stop what writes to it (the development server, a seed script), then start the whole run again.",
        )


def _exchange(file: DatabaseFile, run_id: str, held: Held, keep_until: str) -> None:
    """Change the names. The mark comes last: before, the file must stay as it is, whatever happens."""
    before, candidate = file.derived("before", run_id), file.derived("candidate", run_id)
    header = os.pread(held.descriptor, 10, 18).hex() if held.journal_mode != "wal" else _in_log_mode(held)
    write_description(before, _before(file, run_id, keep_until, header))
    try:
        if not before.exists():
            os.link(file.path, before)
        candidate.rename(file.path)
    except OSError as error:
        _unlink_second_name(before)
        raise Failed(
            f"The candidate could not take the name of {file.database}: {error.strerror}.",
            untouched=f"{file.database} has its name and was not changed.",
            remedy="The file system must allow a second name for a file (ln), and the file must not be mounted by "
            "itself: move it to a folder on such a file system.",
        ) from error
    sync_folder(file.path.parent)
    mark_read_only(held.descriptor)
    os.fchmod(held.descriptor, stat.S_IMODE(os.fstat(held.descriptor).st_mode) & ~_WRITING)


def _in_log_mode(held: Held) -> str:
    """Return the header as it is in WAL mode: the file left that mode only for the swap."""
    now = os.pread(held.descriptor, 10, 18)
    return (b"\x02\x02" + now[2:]).hex()


def _unlink_second_name(before: Path) -> None:
    if before.exists():
        before.unlink()
    forget_description(before)


def _keep_until(keep_hours: float) -> str:
    return lease_end(keep_hours * 3600)


def _before(file: DatabaseFile, run_id: str, keep_until: str, header: str) -> Description:
    return Description(
        run_id=run_id,
        role="before",
        note=f"{file.database} as it was before rollback {run_id}; it can only be read. To be kept until {keep_until}; "
        "then remove it when nobody wants to go back any more.",
        data={"keep_until": keep_until, "header": header, "mode": file.path.stat().st_mode & 0o7777},
    )


def _current(file: DatabaseFile, run_id: str, description: Description) -> Description:
    before = file.derived("before", run_id).name
    return replace(
        description,
        role="current",
        state="swapped",
        lease_until=lease_end(description.lease_seconds),
        note=f"The result of rollback {run_id}, which is not over yet; what was here before is {before}.",
        data={**description.data, "before": before},
    )
