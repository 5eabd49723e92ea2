# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a backup of an SQLite file beside it, and proves that it is what was backed up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Failed, Refused
from ..._domain.fingerprint import compare_restored
from ..postgresql.backup import read_backup
from .backup import FILE_NAME, check_dialect
from .copy import check_integrity, copy_database, remove_file
from .database_file import COMPANIONS, DatabaseFile, connect
from .fingerprint import take_fingerprint
from .run_state import read_description, sync_folder, write_description

if TYPE_CHECKING:
    from ..._domain.manifest import Manifest

ROLE = "restored"


class RestorePlan(NamedTuple):
    """What was proven before a file is made: the backup, and where it goes; C(present) where it is there already."""

    path: Path
    manifest: Manifest
    target: Path
    present: bool


def plan_restore(file: DatabaseFile, path: Path, run_id: str, name: str | None, signing_key: str | None) -> RestorePlan:
    """Check everything that can be checked before a file is made.

    Raises:
        Refused: the backup is not as it was written, or of PostgreSQL, or there is another file of that name.
    """
    manifest = read_backup(path, signing_key)
    check_dialect(manifest)
    target = file.path.with_name(Path(name).name) if name else file.derived(ROLE, run_id)
    description = read_description(target) if target.exists() else None
    present = bool(description and description.data.get("backup_digest") == manifest["digest"])
    if target.exists() and not present:
        raise Refused(
            f"There is a file {target} already, and it does not say that it was restored from this backup.",
            untouched="It was not touched.",
            remedy="Choose another name; or rename or remove it yourself if nobody needs it.",
        )
    left = [f"{target.name}{end}" for end in COMPANIONS if Path(f"{target}{end}").exists()]
    if left and not present:
        raise Refused(
            f"Beside {target.name}, which is not there, lies {' and '.join(left)}, of a file of that name that is "
            "gone: SQLite would apply it to what is restored.",
            untouched="Nothing was restored.",
            remedy="Move it away (it may hold the last writes of the lost file), or choose another name.",
        )
    return RestorePlan(path, manifest, target, present)


def summary(plan: RestorePlan, signing_key: str | None) -> dict[str, Any]:
    """Return what db_restore returns of a backup before it is restored."""
    return {
        "name": plan.target.name,
        "backup_id": plan.manifest["backup_id"],
        "rows_total": plan.manifest["rows_total"],
        "tables": plan.manifest["tables"],
        "signature": ("good" if signing_key else "not checked") if plan.manifest["signature"] else "none",
    }


def restore_backup(file: DatabaseFile, plan: RestorePlan, run_id: str) -> None:
    """Copy the backup beside the file, and compare it with the manifest; remove it if anything differs.

    Raises:
        Failed: it could not be copied, or is not what was backed up.
    """
    partial = plan.target.with_name(f".{plan.target.name}.partial")
    remove_file(partial)
    with connect(plan.path / FILE_NAME) as reader:
        copy_database(reader, partial, like=file.path if file.path.exists() else None)
    try:
        _check(plan, partial)
    except BaseException:
        remove_file(partial)
        raise
    partial.rename(plan.target)
    sync_folder(plan.target.parent)
    note = f"Restored from backup {plan.manifest['backup_id']}; the application does not use it."
    data = {"backup_id": plan.manifest["backup_id"], "backup_digest": plan.manifest["digest"], "complete": True}
    write_description(plan.target, Description(run_id=run_id, role=ROLE, note=note, data=data))


def _check(plan: RestorePlan, partial: Path) -> None:
    check_integrity(partial)
    differences = compare_restored(plan.manifest["fingerprint"], take_fingerprint(partial))
    if differences:
        raise Failed(
            f"The restored file is not what was backed up: {' '.join(differences[:10])}",
            untouched="It was removed again; no other file was touched.",
            remedy="Do not use this backup before you know why: compare it with another one.",
            differences=differences[:200],
        )
