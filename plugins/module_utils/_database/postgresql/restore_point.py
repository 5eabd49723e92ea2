# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollback in place can go back to: a verified dump, taken when nobody but the owner was left in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.errors import Failed, Refused
from ..._domain.in_place import check_restore_point, is_in_place
from .backup import Wanted, find_present, make_backup, path_of, read_backup
from .fresh_database import choose_rights
from .refilling import WayBack, differences, try_way_back
from .run_state import advance, check_state, locked

if TYPE_CHECKING:
    from ..._domain.description import Description
    from ..._domain.in_place import DumpAccess
    from ..._domain.manifest import Manifest
    from .connection import Server


class RestorePoint(NamedTuple):
    """What `keep_restore_point` did.

    Attributes:
        path: the backup's folder.
        manifest: its manifest.
        locks: how many locks the trial of the way back took.
        changed: False where it was kept already.
    """

    path: Path
    manifest: Manifest
    locks: int
    changed: bool


def named_for(wanted: Wanted, run_id: str) -> Wanted:
    """Return how the backup is made: beside the one of before the closing, with a name of its own."""
    return replace(wanted, run_id=f"{run_id}-closed", checkpoint=False)


def preview_restore_point(server: Server, run_id: str) -> bool:
    """Check that a run may keep its restore point now; False where it has already.

    Raises:
        Refused: it may not.
    """
    with locked(server) as (_cursor, description):
        ours = description is not None and description.run_id == run_id
        kept = bool(ours and description and description.data.get("restore_point"))
        if ours and not is_in_place(description):
            raise Refused(
                f"Run {run_id} does not roll back in place: it makes a candidate of {server.database}.",
                untouched="Nothing was dumped.",
                remedy="Leave this step out, or set rollback_method: in_place for the whole run.",
            )
    if not kept:
        check_state(server, run_id, "keep_restore_point")
    return not kept


def keep_restore_point(server: Server, run_id: str, wanted: Wanted) -> RestorePoint:
    """Dump the closed database, verify the dump, try the way back, and say in the run's state where it is.

    Args:
        server: the server, with the public name of the database, which the run has closed by privilege.
        run_id: the run.
        wanted: how the dump is made.

    Raises:
        Refused: the run may not now, or the dump could not be restored in place. The original is not altered.
        Failed: the dump, or its verification, failed.
    """
    new = preview_restore_point(server, run_id)
    named = named_for(wanted, run_id)
    manifest = find_present(server, named)
    found = manifest is not None
    if manifest is None:
        make_backup(server, named)
        manifest = read_backup(path_of(server, named), wanted.signing_key, wanted.jobs)
    path = path_of(server, named)
    _check_complete(server, manifest)
    with server.connect() as connection:
        way_back = WayBack.of(path, manifest, connection.server_version, wanted.client_path)
        if new and found and differences(connection, way_back):
            raise Refused(
                f"There is a dump {path} of this run already, and {server.database} is not what it holds.",
                untouched="Nothing was migrated.",
                remedy="Start the whole run again.",
            )
        connection.rollback()
        locks = try_way_back(connection, way_back)
    if new:
        point = {"path": str(path), "backup_id": manifest["backup_id"], "digest": manifest["digest"]}
        advance(server, run_id, "keep_restore_point", restore_point=point)
    return RestorePoint(path, manifest, locks, new)


def find_way_back(
    server: Server, server_version: int, run_id: str, description: Description, access: DumpAccess
) -> WayBack:
    """Find the restore point that a database names, and prove that every byte of it is as it was written.

    Raises:
        Refused: it is missing or damaged, or not the one that the run kept; nothing was altered.
    """
    check_restore_point(run_id, server.database, description)
    point: dict[str, Any] = description.data["restore_point"]
    path = Path(point["path"])
    if not path.is_dir():
        raise Refused(
            f"The restore point of run {run_id}, {path}, is not on this host.",
            untouched="Nothing was altered.",
            remedy="Start on the host where the run's tools were, or bring the folder back to that place.",
        )
    manifest = read_backup(path, access.signing_key)
    if manifest["digest"] != point["digest"]:
        raise Refused(
            f"{path} is not the restore point that run {run_id} kept: the database names another digest.",
            untouched="Nothing was altered.",
            remedy="Bring back the folder that the run made.",
        )
    return WayBack.of(path, manifest, server_version, access.client_path)


def _check_complete(server: Server, manifest: Manifest) -> None:
    """Check that everything in the dump can get its owner and its privileges back."""
    rights = choose_rights(server, manifest["fingerprint"]["catalogue"])
    if not rights.complete:
        raise Refused(
            f"{server.database} could not be brought back in place as it was: {'; '.join(rights.reasons)}.",
            untouched="Nothing was migrated.",
            remedy="Make the role of the URL a member of those roles, or roll back by a candidate.",
        )


def keep_what_is_there(server: Server, run_id: str, description: Description, access: DumpAccess) -> Path:
    """Dump a database that is about to be brought back although rows were written to it, so that they are not lost.

    Raises:
        Failed: it could not be dumped.
    """
    folder = Path(description.data["restore_point"]["path"]).parent
    wanted = Wanted(
        folder, f"{run_id}-replaced", checkpoint=False, signing_key=access.signing_key, client_path=access.client_path
    )
    try:
        if find_present(server, wanted) is None:
            make_backup(server, wanted)
    except Refused as error:
        raise Failed(
            f"What was written to {server.database} could not be kept: {error.message}",
            untouched="Nothing was altered.",
            remedy=error.remedy,
        ) from error
    return path_of(server, wanted)
