# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies a database to another server by dump and restore, without closing it, and proves the copy."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.description import Description
from ..._domain.errors import Failed, Refused
from ..._domain.fingerprint import extension_differences, rows_total
from ..._driver import one_row
from .backup import dump_with_fingerprint
from .backup_restore import check_restored
from .client_tools import ClientTools, CompressionChoice, choose_compression, find_client_tools
from .connection import Server
from .contents import in_parallel
from .fingerprint import take_fingerprint
from .fresh_database import (
    Rights,
    analyse,
    choose_rights,
    complete,
    exists,
    fresh_database,
    read_description,
    read_locale,
    restore_dump,
)
from .properties import Properties, carry_over_problems, read_properties
from .reading import reading

if TYPE_CHECKING:
    from ..._domain.fingerprint import Fingerprint

ROLE = "rehearsal"


@dataclass(frozen=True)
class Wanted:
    """How a copy is to be made.

    Attributes:
        run_id: goes into the copy's description.
        name: of the copy.
        work_dir: where the dump lies meanwhile, in a folder of its own that is removed at the end.
        jobs: sessions that dump, restore and read at the same time.
        deadline: seconds for the dump, and for the restore.
        client_path: folders to look for the client tools in, before others.
    """

    run_id: str
    name: str
    work_dir: Path
    jobs: int = 2
    deadline: float = 14400
    client_path: Sequence[str] = ()


class CopyPlan(NamedTuple):
    """What was found before anything is made."""

    present: bool
    """The copy is there already, complete, and made by this run."""
    tools: ClientTools
    compression: CompressionChoice
    source_identity: tuple[str, int]


class CopyResult(NamedTuple):
    """What a copy came to."""

    source: Fingerprint
    bytes: int
    rows_total: int
    seconds: float
    dump_seconds: float
    restore_seconds: float
    left_out: list[str]


def plan_copy(source: Server, target: Server, wanted: Wanted) -> CopyPlan:
    """Check what can be checked before anything is made.

    Raises:
        Refused: the target is the source, its server is older, tools are missing, or the name is taken.
    """
    identity = source.identity()
    with source.connect() as connection:
        source_version = connection.server_version
    with target.admin() as connection, connection.cursor() as cursor:
        target_version = connection.server_version
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        same_server = one_row(cursor)[0] == identity.system_identifier
    if same_server and wanted.name == source.database:
        raise _target_is_source(wanted.name)
    if target_version // 10000 < source_version // 10000:
        raise Refused(
            f"The target is PostgreSQL {target_version // 10000}, the source PostgreSQL {source_version // 10000}: an "
            "older server cannot be relied on to take the copy, and would prove nothing.",
            untouched="Nothing was copied.",
            remedy=f"Rehearse on a server of PostgreSQL {source_version // 10000}.",
        )
    tools = find_client_tools(source_version, wanted.client_path, preferred_major=target_version // 10000)
    present = _is_present(target, wanted, identity)
    return CopyPlan(
        present, tools, choose_compression(tools, "auto", fastest=True), (identity.system_identifier, identity.oid)
    )


def summary(result: CopyResult) -> dict[str, Any]:
    """Return what db_copy returns of a copy; the source's catalogue is left out for its size."""
    fields = result._asdict()
    source: Fingerprint = fields.pop("source")
    return {**fields, "source_fingerprint": {key: value for key, value in source.items() if key != "catalogue"}}


def _target_is_source(name: str) -> Refused:
    return Refused(
        f"The copy would be the source itself: {name!r} on the same server.",
        untouched="Nothing was copied.",
        remedy="Check the URLs of the environments: staging's must not be production's.",
        database=name,
    )


def _is_present(target: Server, wanted: Wanted, identity: tuple[str, int]) -> bool:
    if not exists(target, wanted.name):
        return False
    description = read_description(target, wanted.name)
    data = description.data if description and (description.run_id, description.role) == (wanted.run_id, ROLE) else {}
    if data.get("complete") and data.get("source") == list(identity):
        return True
    raise Refused(
        f"There is a database {wanted.name!r} already, and it does not say that run {wanted.run_id} copied it from "
        "this source completely.",
        untouched="It was not touched.",
        remedy="Choose another name; or rename or drop it yourself if nobody needs it.",
        database=wanted.name,
    )


def copy_database(source: Server, target: Server, plan: CopyPlan, wanted: Wanted) -> CopyResult:
    """Copy the source's database; what was begun is removed again when anything fails.

    Raises:
        Failed: the dump or the restore failed, or the copy is not what the source was in the dump's snapshot.
    """
    start = time.monotonic()
    with _work_folder(wanted.work_dir) as folder, reading(source) as connection:
        with connection.cursor() as cursor:
            locale = read_locale(cursor, source.database)
            properties = read_properties(cursor, source.database)
        fingerprint, sequences_until = dump_with_fingerprint(
            source, plan.tools, connection, folder,
            jobs=wanted.jobs, deadline=wanted.deadline, compression=plan.compression.argument,
        )  # fmt: skip
        connection.rollback()  # nothing holds the source's snapshot while the target restores
        dumped = time.monotonic()
        description = _description(source, plan, wanted)
        with fresh_database(target, wanted.name, locale, description):
            left_out = _fill(target, plan, wanted, folder, (fingerprint, sequences_until))
            left_out += _complete(target, wanted, properties, description)
    restored = time.monotonic()
    return CopyResult(
        source=fingerprint,
        bytes=_size(target, wanted.name),
        rows_total=rows_total(fingerprint),
        seconds=round(restored - start, 3),
        dump_seconds=round(dumped - start, 3),
        restore_seconds=round(restored - dumped, 3),
        left_out=left_out,
    )


def _description(source: Server, plan: CopyPlan, wanted: Wanted) -> Description:
    return Description(
        run_id=wanted.run_id,
        role=ROLE,
        note=f"Copied from {source.database} by rollback {wanted.run_id} to rehearse on; it can be dropped.",
        data={"source": list(plan.source_identity)},
    )


@contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """Make a folder for the dump that only we can read, and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="copy-", dir=parent))
    try:
        yield folder / "dump"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(
    target: Server, plan: CopyPlan, wanted: Wanted, dump: Path, original: tuple[Fingerprint, dict[str, Any]]
) -> list[str]:
    fingerprint, sequences_until = original
    rights: Rights = choose_rights(target, fingerprint["catalogue"])
    try:
        restore_dump(
            target, plan.tools, dump, wanted.name,
            jobs=wanted.jobs, deadline=wanted.deadline, rights=rights, across_servers=True,
            tables=fingerprint["tables"],
        )  # fmt: skip
    except Failed as error:
        error.untouched = f"The half-made copy {wanted.name} was dropped again; the source was only read."
        raise
    copied: list[Fingerprint] = []
    in_parallel([
        lambda: copied.append(take_fingerprint(target, wanted.name, method="text", jobs=wanted.jobs)),
        lambda: analyse(target, wanted.name),
    ])  # fmt: skip
    check_restored(wanted.name, fingerprint, copied[0], sequences_until, rights, across_servers=True)
    return [*rights.reasons, *extension_differences(fingerprint, copied[0])]


def _complete(target: Server, wanted: Wanted, properties: Properties, description: Description) -> list[str]:
    """Give the copy the source's settings and privileges, as far as this role and server have them."""
    with target.admin() as connection, connection.cursor() as cursor:
        problems = carry_over_problems(cursor, properties)
        cursor.execute("SELECT rolname FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')")
        mine = {name for (name,) in cursor.fetchall()}
        cursor.execute("SELECT current_user")
        me = one_row(cursor)[0]
    possible = _possible(properties, me if properties.owner not in mine else properties.owner, bool(problems))
    left_out = complete(target, wanted.name, possible, description, keep_public_out=True, skip_missing_roles=True)
    return [*problems, *left_out]


def _possible(properties: Properties, owner: str, problems: bool) -> Properties:
    """Leave out settings and privileges that the role may not give; the copy's owner need not be the source's."""
    fields = {**properties.__dict__, "owner": owner}
    grants = [
        grant._replace(
            grantor=owner if grant.grantor == properties.owner else grant.grantor,
            grantee=owner if grant.grantee == properties.owner else grant.grantee,
        )
        for grant in properties.grants
    ]
    fields["grants"] = tuple(grant for grant in grants if not problems or grant.grantor == owner)
    fields["settings"] = () if problems else properties.settings
    return Properties(**fields)


def _size(server: Server, name: str) -> int:
    with server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(%s)", [name])
        return int(one_row(cursor)[0])
