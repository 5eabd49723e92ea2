# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of an SQLite file: a copy by SQLite's online backup, with a manifest that says what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._domain import manifest as manifests
from ..._domain.errors import Refused
from ..._domain.fingerprint import rows_total
from ..._run import write_private_file
from ..postgresql.backup import BackupResult, Wanted, backup_id, describe_files, partial_folder, read_backup
from .copy import check_integrity, check_same, copy_database
from .database_file import DatabaseFile, connect
from .fingerprint import take_fingerprint
from .header import contents_digest, is_marked, unmark
from .run_state import sync_folder
from .writers import Held, writers_wait

if TYPE_CHECKING:
    from ..._domain.manifest import Manifest

DIALECT = "sqlite"
FILE_NAME = "database.sqlite"


def make_backup(file: DatabaseFile, path: Path, wanted: Wanted) -> BackupResult:
    """Copy a file, prove the copy, and keep it with its manifest; writers wait while it is copied.

    It becomes a backup, by one rename, only when it was proven and is on the disk.

    Args:
        file: the public file.
        path: the one to copy: the public one, or one that a run made beside it.
        wanted: as for PostgreSQL; compression, jobs, deadline and client tools have no meaning here.

    Raises:
        Refused: it cannot begin.
        Failed: the copy, or its proof, failed.
    """
    name = backup_id(path.name, wanted.run_id)
    with partial_folder(wanted.folder, name) as folder:
        content = _copy(file, path, folder / FILE_NAME)
        if wanted.verify != "none":
            check_integrity(folder / FILE_NAME)
        content.update(_contents(folder), backup_id=name)
        content["verified"] = None if wanted.verify == "none" else wanted.verify
        manifest = manifests.seal(content, wanted.signing_key)
        write_private_file(folder / manifests.FILE_NAME, manifests.render(manifest))
        sync_folder(folder)
        folder.rename(wanted.folder / name)
        sync_folder(wanted.folder)
    return BackupResult(wanted.folder / name, manifest, "not needed: the copy is on the disk")


def find_present(file: DatabaseFile, path: Path, wanted: Wanted) -> Manifest | None:
    """Return the manifest of the backup that this run made of a file already, proven; or None.

    Raises:
        BackupNotTrusted: it is there, and not as it was written.
        Refused: it is there, and of another file of that name.
    """
    place = wanted.folder / backup_id(path.name, wanted.run_id)
    if not place.exists():
        return None
    manifest = read_backup(place, wanted.signing_key)
    if manifest["database"].get("path") != str(path):
        raise Refused(
            f"There is a backup {place} already, of {manifest['database'].get('path') or 'another database'}.",
            untouched="It was not touched, and no other was made.",
            remedy="Start a new run: each run makes one backup of a database.",
        )
    return manifest


def check_dialect(manifest: Manifest) -> None:
    """Check that a backup is one of an SQLite file.

    Raises:
        Refused: it is a dump of PostgreSQL.
    """
    if manifest.get("dialect") != DIALECT:
        raise Refused(
            f"Backup {manifest['backup_id']} is a dump of PostgreSQL, and this is an SQLite file.",
            untouched="Nothing was restored.",
            remedy="Name a backup of this file, or another database_url.",
        )


@contextmanager
def _still(path: Path) -> Iterator[Held]:
    """Keep writers out of a file; a kept one has none, and could not be locked for writing."""
    if not is_marked(path):
        with writers_wait(path) as held:
            yield held
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with connect(path) as connection:
            yield Held(connection, descriptor, "delete")
    finally:
        os.close(descriptor)


def _copy(file: DatabaseFile, path: Path, target: Path) -> Manifest:
    with _still(path) as held, connect(path) as reader:
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        digest = contents_digest(held.descriptor)
        size = copy_database(reader, target)
    check_same(target, digest)
    unmark(target, "")
    system_identifier, inode = file.identity(path)
    return {
        "dialect": DIALECT,
        "created_at": now,
        "database": {
            "name": path.name,
            "path": str(path),
            "bytes": size,
            "oid": inode,
            "system_identifier": system_identifier,
        },
        "dump": {"compression": "none", "jobs": 1},
        "locale": {},
        "properties": {"journal_mode": held.journal_mode, "mode": path.stat().st_mode & 0o7777},
        "sequences_until": {},
    }


def _contents(folder: Path) -> dict[str, Any]:
    """Return what the copy holds, which is the original, page by page."""
    files = describe_files(folder)
    fingerprint = take_fingerprint(folder / FILE_NAME)
    return {
        "fingerprint": fingerprint,
        "server_version": fingerprint["server_version"],
        "dump_version": fingerprint["server_version"],
        "rows_total": rows_total(fingerprint),
        "tables": len(fingerprint["tables"]),
        "files": files,
    }
