# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores a backup into a new database, and proves that it is what was backed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Failed, Refused
from ..._domain.fingerprint import compare_restored, extension_differences
from ..._domain.manifest import check_server
from ..._domain.names import derived_name
from .backup import DUMP, read_backup
from .client_tools import ClientTools, find_client_tools
from .fingerprint import take_fingerprint
from .fresh_database import (
    Rights,
    choose_rights,
    complete,
    exists,
    fresh_database,
    read_description,
    restore_dump,
)
from .properties import Properties, carry_over_problems

if TYPE_CHECKING:
    from pathlib import Path

    from ..._domain.fingerprint import Fingerprint
    from ..._domain.manifest import Manifest
    from .connection import Server

ROLE = "restored"


@dataclass(frozen=True)
class Wanted:
    """How a backup is to be restored.

    Attributes:
        run_id: goes into the database's name and description.
        name: of the new database; by default derived from the backup's and the run's.
        jobs: sessions that restore and read at the same time.
        deadline: seconds for C(pg_restore).
        signing_key: with it, the manifest must be signed by it.
        client_path: folders to look for the client tools in, before others.
    """

    run_id: str
    name: str | None = None
    jobs: int = 2
    deadline: float = 14400
    signing_key: str | None = None
    client_path: Sequence[str] = ()


class RestorePlan(NamedTuple):
    """What was proven before anything is made."""

    path: Path
    manifest: Manifest
    name: str
    present: bool
    """The database is there already, complete, and restored from this backup."""
    tools: ClientTools
    rights: Rights

    @property
    def fingerprint(self) -> Fingerprint:
        """Return what the database must be."""
        fingerprint: Fingerprint = self.manifest["fingerprint"]
        return fingerprint


def plan_restore(server: Server, path: Path, wanted: Wanted) -> RestorePlan:
    """Check everything that can be checked before a database is made.

    Raises:
        Refused: the backup is not as it was written, the server is too old, tools or roles are missing, or there is
            another database of that name.
    """
    manifest = read_backup(path, wanted.signing_key, wanted.jobs)
    name = wanted.name or derived_name(manifest["database"]["name"], ROLE, wanted.run_id)
    properties = Properties.from_dict(manifest["properties"])
    with server.admin() as connection, connection.cursor() as cursor:
        check_server(manifest, connection.server_version)
        newest = max(connection.server_version, manifest["dump_version"])
        _check_properties(cursor, properties)
    tools = find_client_tools(newest, wanted.client_path)
    rights = choose_rights(server, manifest["fingerprint"]["catalogue"])
    return RestorePlan(path, manifest, name, _is_present(server, name, manifest), tools, rights)


def summary(plan: RestorePlan, wanted: Wanted) -> dict[str, Any]:
    """Return what db_restore returns of a backup before it is restored."""
    signed = "good" if wanted.signing_key else "not checked"
    return {
        "name": plan.name,
        "backup_id": plan.manifest["backup_id"],
        "rows_total": plan.manifest["rows_total"],
        "tables": plan.manifest["tables"],
        "signature": signed if plan.manifest["signature"] else "none",
    }


def _check_properties(cursor: Any, properties: Properties) -> None:
    problems = carry_over_problems(cursor, properties)
    if problems:
        raise Refused(
            f"The restored database could not be given all that belongs to it: {'; '.join(problems)}.",
            untouched="Nothing was restored.",
            remedy="Set rollback_admin_url to a superuser's URL for this, or grant this role what is missing.",
            problems=problems,
        )


def _is_present(server: Server, name: str, manifest: Manifest) -> bool:
    if not exists(server, name):
        return False
    description = read_description(server, name)
    data = description.data if description and description.role == ROLE else {}
    if data.get("complete") and data.get("backup_digest") == manifest["digest"]:
        return True
    raise Refused(
        f"There is a database {name!r} already, and it does not say that it was restored from backup "
        f"{manifest['backup_id']} completely.",
        untouched="It was not touched.",
        remedy="Choose another name; or rename or drop it yourself if nobody needs it.",
        database=name,
    )


class Restored(NamedTuple):
    """What a restore came to.

    Attributes:
        left_out: what could not be as it was, one line each.
        seconds: how long C(pg_restore) took of it.
    """

    left_out: list[str]
    seconds: float


def restore_backup(server: Server, plan: RestorePlan, wanted: Wanted) -> Restored:
    """Restore, compare with the manifest, and give the database what belongs to it; drop it if any of that fails.

    Raises:
        Failed: the restore failed, or the database is not what was backed up. It was dropped again.
    """
    manifest = plan.manifest
    properties = Properties.from_dict(manifest["properties"])
    description = Description(
        run_id=wanted.run_id,
        role=ROLE,
        note=f"Restored from backup {manifest['backup_id']}; production does not use it.",
        data={"backup_id": manifest["backup_id"], "backup_digest": manifest["digest"]},
    )
    tablespace = None if properties.tablespace == "pg_default" else properties.tablespace
    with fresh_database(server, plan.name, manifest["locale"], description, tablespace=tablespace):
        restored, seconds = _restore_and_read(server, plan, wanted)
        left_out = complete(server, plan.name, properties, description, keep_public_out=False, skip_missing_roles=True)
    left_out = [*plan.rights.reasons, *left_out, *extension_differences(plan.fingerprint, restored)]
    return Restored(left_out, seconds)


def _restore_and_read(server: Server, plan: RestorePlan, wanted: Wanted) -> tuple[Fingerprint, float]:
    try:
        seconds = restore_dump(
            server, plan.tools, plan.path / DUMP, plan.name,
            jobs=wanted.jobs, deadline=wanted.deadline, rights=plan.rights,
            tables=plan.fingerprint["tables"],
        )  # fmt: skip
    except Failed as error:
        error.untouched = f"The half-made database {plan.name} was dropped again; no other was touched."
        raise
    restored = take_fingerprint(server, plan.name, method="text", jobs=wanted.jobs)
    check_restored(plan.name, plan.fingerprint, restored, plan.manifest["sequences_until"], plan.rights)
    return restored, seconds


def check_restored(
    name: str,
    original: Fingerprint,
    restored: Fingerprint,
    sequences_until: dict[str, Any],
    rights: Rights,
    *,
    across_servers: bool = False,
) -> None:
    """Check that a restored database is what was dumped.

    Raises:
        Failed: it is not; the differences are in the message.
    """
    differences = compare_restored(
        original,
        restored,
        sequences_until=sequences_until,
        rights=rights.complete,
        across_servers=across_servers,
    )
    if differences:
        raise Failed(
            f"The restored database is not what was dumped, in {len(differences)} places: {' '.join(differences[:10])}",
            untouched=f"The database {name} was dropped again; no other was touched.",
            remedy="Do not use this dump before you know why: compare it with another backup, and look for faults of "
            "disk and memory.",
            differences=differences[:200],
        )
