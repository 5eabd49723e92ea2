# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the newest backup that is good: by restoring it beside, not by its date. Each that is not says why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.errors import Refused, RollbackError
from ..._driver import DATABASE_ERROR
from .backup_restore import plan_restore, restore_backup
from .fresh_database import analyse, drop_database

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .backup_restore import RestorePlan, Wanted
    from .connection import Server


class Asked(NamedTuple):
    """Which backups may be taken.

    Attributes:
        backup: only this one, by its name; or None.
        catalogue_hash: only one whose database had this schema; or None.
        any_server: also one that was made on another server.
    """

    backup: str | None = None
    catalogue_hash: str | None = None
    any_server: bool = False


class Good(NamedTuple):
    """A backup that stands restored beside the database.

    Attributes:
        plan: what was proven of it; C(name) is the database.
        left_out: what could not be as it was, one line each.
        rejected: the backups that were looked at before it, each with C(backup_id), C(created_at) and C(reason).
    """

    plan: RestorePlan
    left_out: list[str]
    rejected: list[dict[str, Any]]


def newest_good(
    server: Server, backups: Sequence[Mapping[str, Any]], asked: Asked, attempt: Callable[[Mapping[str, Any]], Good]
) -> Good:
    """Try one backup after the other, the newest first, until one is good.

    Args:
        server: the server, with the public name of the database.
        backups: as M(balcon.rollback.rollback_status) lists them, newest first.
        asked: which of them may be taken.
        attempt: tries one: `restored` or `planned`.

    Raises:
        Refused: none is good; each is named with its reason. Nothing of them is left.
    """
    identifier = server.identity().system_identifier
    rejected: list[dict[str, Any]] = []
    for backup in backups:
        if asked.backup not in (None, backup["backup_id"]):
            continue
        try:
            _check_fits(server.database, identifier, backup, asked)
            return attempt(backup)._replace(rejected=rejected)
        except RollbackError as error:
            reason = error.message
        except DATABASE_ERROR as error:
            reason = f"PostgreSQL said: {str(error).strip()}"
        rejected.append({"backup_id": backup["backup_id"], "created_at": backup["created_at"], "reason": reason})
    raise _none_is_good(server, rejected)


def _check_fits(database: str, identifier: str, backup: Mapping[str, Any], asked: Asked) -> None:
    """Refuse a backup that need not even be tried."""
    if not backup["trusted"]:
        raise _unfit(str(backup["problem"]))
    if backup["database"] != database:
        raise _unfit(f"It is a backup of database {backup['database']}, not of {database}.")
    if backup["system_identifier"] != identifier and not asked.any_server:
        raise _unfit(
            f"It was made on another server (system identifier {backup['system_identifier']}, this is {identifier}). "
            "If that server was the predecessor of this one, say so with -e any_server=true."
        )


def planned(server: Server, backup: Mapping[str, Any], wanted: Wanted, asked: Asked) -> Good:
    """Prove a backup as far as it can be without restoring it.

    Raises:
        Refused: it is not as it was written, does not fit the server, or its schema is not the one asked for.
    """
    plan = plan_restore(server, Path(backup["path"]), wanted)
    if asked.catalogue_hash and plan.fingerprint["catalogue_hash"] != asked.catalogue_hash:
        raise _unfit("Its schema is not the one of before the rollback, as it was rehearsed.")
    return Good(plan, [], [])


def restored(
    server: Server,
    backup: Mapping[str, Any],
    wanted: Wanted,
    asked: Asked,
    unsound: Callable[[str], list[str]],
) -> Good:
    """Restore a backup beside the database, and look whether what it holds is sound.

    Args:
        server: the server, with the public name of the database.
        backup: the backup.
        wanted: how to restore.
        asked: which backups may be taken.
        unsound: says what is broken in a database, one sentence each.

    Raises:
        RollbackError: it is not good; nothing of it is left.
    """
    good = planned(server, backup, wanted, asked)
    if not good.plan.present:
        good = good._replace(left_out=restore_backup(server, good.plan, wanted).left_out)
    try:
        broken = unsound(good.plan.name)
        if broken:
            raise _unfit(f"It restores, and what it holds is not sound: {' '.join(broken[:5])}")
        analyse(server, good.plan.name)
    except BaseException:
        drop_database(server, good.plan.name)
        raise
    return good


def _unfit(reason: str) -> Refused:
    return Refused(reason, remedy="Use another backup.")


def _none_is_good(server: Server, rejected: Sequence[Mapping[str, Any]]) -> Refused:
    named = " ".join(f"{entry['backup_id']}: {entry['reason']}" for entry in rejected)
    return Refused(
        f"No backup of {server.database} is good. {named or 'There is none.'}",
        untouched=f"{server.database} was only read, and nothing of the backups that were tried is left.",
        remedy="Look for a copy of one of them from before it was damaged (another host, the provider's snapshots), "
        "put its folder into the folder of backups, and start again. To save what is still readable, dump the database "
        "as it is first.",
        rejected=list(rejected),
    )
