# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copying an SQLite database page by page, by its own online backup: never the file of an open database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..._domain.errors import Failed
from .database_file import COMPANIONS, connect, sqlite3, translated
from .header import file_digest

if TYPE_CHECKING:
    from sqlite3 import Connection

PRIVATE = 0o600


def copy_database(source: Connection, target: Path, *, like: Path | None = None) -> int:
    """Copy what a connection sees into a new file, whole and on the disk, or not at all.

    Args:
        source: a connection to the original, outside of a transaction, or in one that reads.
        target: the new file; nothing may be there.
        like: a file whose owner and mode the new one gets; without it, nobody else can read it.

    Returns:
        The size of the new file, in bytes.

    Raises:
        Failed: it could not be copied; nothing is left of it.
    """
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE))
    try:
        with translated(target):
            _copy(source, target)
        if like:
            _make_alike(target, like)
        return _bring_to_disk(target)
    except BaseException:
        remove_file(target)
        raise


def check_same(target: Path, digest: str) -> None:
    """Check that a copy holds, page by page, what the original held.

    Args:
        target: the copy.
        digest: the original's, see `header.contents_digest`.

    Raises:
        Failed: it does not; it is removed.
    """
    if file_digest(target) != digest:
        remove_file(target)
        raise Failed(
            f"The copy {target.name} is not what was copied.",
            untouched="The database itself was only read, and the copy is removed.",
            remedy="Look for faults of disk and memory on this host, then start again.",
        )


def remove_file(path: Path) -> None:
    """Remove a file with its companions, where it is there."""
    for end in ("", *COMPANIONS):
        Path(f"{path}{end}").unlink(missing_ok=True)


def check_integrity(path: Path) -> None:
    """Let SQLite read every page and every index.

    Raises:
        Failed: it found something wrong.
    """
    with connect(path) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    if found != ["ok"]:
        raise Failed(
            f"{path.name} is damaged: {'; '.join(found)}",
            untouched="The database itself was only read.",
            remedy="Look at the database with PRAGMA integrity_check: where it is damaged itself, restore a backup "
            "that is not; else look for faults of disk and memory.",
            findings=found,
        )


def _copy(source: Connection, target: Path) -> None:
    """Copy in one step: a copy in many would begin anew with each write of somebody else."""
    destination = sqlite3.connect(str(target), isolation_level=None)
    try:
        # It is no database before it is whole and was brought to the disk, so that it needs no journal.
        destination.execute("PRAGMA journal_mode = OFF")
        destination.execute("PRAGMA synchronous = OFF")
        source.backup(destination)
    finally:
        destination.close()
    _leave_log_mode(target)


def _leave_log_mode(path: Path) -> None:
    """Let a copy be one file: a copy of a database in WAL mode is in WAL mode."""
    with path.open("rb") as file:
        in_log_mode = file.read(20)[18:] == b"\x02\x02"
    if in_log_mode:
        connection = sqlite3.connect(str(path), isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = DELETE")
        finally:
            connection.close()


def _make_alike(target: Path, like: Path) -> None:
    status, own = like.stat(), target.stat()
    if (status.st_uid, status.st_gid) != (own.st_uid, own.st_gid):
        try:
            os.chown(target, status.st_uid, status.st_gid)
        except PermissionError:
            raise Failed(
                f"The copy {target.name} cannot be given to the owner of {like.name} (user {status.st_uid}, group "
                f"{status.st_gid}).",
                untouched=f"{like.name} was not changed, and the copy is removed.",
                remedy="Run the playbook as the account that owns the file.",
            ) from None
    target.chmod(status.st_mode & 0o7777)


def _bring_to_disk(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
