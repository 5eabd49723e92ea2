# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a person wants to know of an SQLite file before a rollback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..._domain.description import Description
from ..._domain.names import parse_derived_name
from ..postgresql.blockers import Blocker
from ..postgresql.disk import ROOM_FOR_A_COPY, Disk
from ..postgresql.information import ASSUMED_BYTES_PER_SECOND, Question
from .access import open_run_problem
from .database_file import COMPANIONS, DatabaseFile, connect
from .holders import find_holders
from .run_state import locked, read_description


def read_information(file: DatabaseFile, question: Question) -> dict[str, Any]:
    """Read everything that C(db_info) returns; what has no meaning for a file is empty.

    Raises:
        Refused: there is no such file, it is no database, or it is locked.
    """
    system_identifier, inode = file.identity()
    with connect(file.path) as connection:
        version, encoding = connection.execute("SELECT sqlite_version()").fetchone()[0], None
        encoding = connection.execute("PRAGMA encoding").fetchone()[0]
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    size = _size(file.path)
    with locked(file) as description:
        disk = _disk(file.path, size, question)
        blockers = list(_blockers(file, question, description, disk)) if question.candidate else []
    rate = question.bytes_per_second or ASSUMED_BYTES_PER_SECOND
    return {
        "exists": True,
        "name": file.database,
        "oid": inode,
        "system_identifier": system_identifier,
        "server_version": version,
        "server_major": int(version.split(".")[0]),
        "size_bytes": size,
        "owner": _owner(file.path),
        "encoding": encoding,
        "is_open": True,
        "sessions": _sessions(file.path, mode),
        "rights": _rights(file.path),
        "blockers": [blocker._asdict() for blocker in blockers],
        "disk": disk._asdict(),
        "predicted_copy_seconds": round(size / rate, 1),
        "copy_rate_source": "rehearsal" if question.bytes_per_second else "assumed",
        "is_pooler": False,
        "in_recovery": False,
        "open_run": {"run_id": description.run_id, "state": description.state} if description else None,
        "run_lock_held_by": None,
        "leftovers": _leftovers(file),
    }


def _size(path: Path) -> int:
    files = [Path(f"{path}{end}") for end in ("", *COMPANIONS[:2])]
    return sum(each.stat().st_size for each in files if each.exists())


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except KeyError:
        return str(path.stat().st_uid)


def _sessions(path: Path, journal_mode: str) -> list[dict[str, Any]]:
    return [
        {
            "pid": holder.pid, "user": str(holder.user), "application_name": holder.command, "client": "",
            "backend_type": "process", "state": f"has the file open (journal mode {journal_mode})",
            "may_be_ended": False,
        }
        for holder in find_holders(path) or []
    ]  # fmt: skip


def _rights(path: Path) -> dict[str, Any]:
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return {
        "user": str(os.geteuid()), "owner": path.stat().st_uid == os.geteuid(), "superuser": os.geteuid() == 0,
        "create_database": writable, "signal_backend": False, "connect_admin": writable,
    }  # fmt: skip


def _disk(path: Path, size: int, question: Question) -> Disk:
    needed = int(size * ROOM_FOR_A_COPY * question.copies)
    if question.free_bytes is not None:
        return Disk(needed, question.free_bytes, "given")
    return Disk(needed, shutil.disk_usage(path.parent).free, "measured")


def _blockers(file: DatabaseFile, question: Question, description: Description | None, disk: Disk) -> Iterator[Blocker]:
    problem = open_run_problem(file, question.run_id or "", description)
    if problem:
        yield Blocker("open_run", file.database, *problem)
    if not (os.access(file.path, os.W_OK) and os.access(file.path.parent, os.W_OK)):
        yield Blocker(
            "rights",
            file.database,
            f"This account may not write to {file.path}, or not make files in its folder.",
            f"Run the playbook as the account that owns it: ls -ld '{file.path.parent}' '{file.path}'",
        )
    if file.path.stat().st_nlink > 1:
        yield Blocker(
            "second_name",
            file.database,
            f"{file.path} has a second name (a hard link), which would go on leading to the old file.",
            f"Remove the other name: find / -xdev -samefile '{file.path}'",
        )
    if disk.lacks:
        yield Blocker(
            "disk",
            file.database,
            f"The copies need {disk.needed_bytes} bytes, and {disk.free_bytes} are free where {file.path} lies.",
            f"Make room: df -h '{file.path.parent}'",
        )


def _leftovers(file: DatabaseFile) -> list[dict[str, Any]]:
    found = []
    for path in sorted(file.path.parent.iterdir()):
        parts = parse_derived_name(path.name)
        if parts and path == file.derived(parts.purpose, parts.run_id):
            description = read_description(path)
            found.append(
                {
                    "name": path.name, "purpose": parts.purpose, "run_id": parts.run_id,
                    "size_bytes": path.stat().st_size, "state": "closed" if description else "half_made",
                    "note": description.note if description else "",
                }
            )  # fmt: skip
    return found
