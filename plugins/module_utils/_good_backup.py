# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest good backup of a state folder, and what was rehearsed on the database that it is of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._backups import backups_folder
from ._database.postgresql.assess import assess_database
from ._database.postgresql.backup import read_manifest
from ._database.postgresql.backup_restore import Wanted, summary
from ._database.postgresql.good_backup import Asked, newest_good, planned, restored
from ._domain.errors import Refused, RollbackError
from ._domain.evidence import check_seal
from ._evidence_store import load_evidence
from ._status import Look, read_backups

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._database.postgresql.connection import Server
    from ._domain.catalogue import Catalogue, Change


def find_good_backup(server: Server, params: Mapping[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Find the newest good backup and return what M(balcon.rollback.good_backup) returns of it.

    Args:
        server: the server, with the public name of the database.
        params: the module's parameters.
        check_mode: restore nothing.

    Raises:
        Refused: there is none, or nothing was rehearsed where that was asked for.
    """
    wanted = Wanted(
        params["run_id"],
        **{name: params[name] for name in ("jobs", "deadline", "signing_key", "client_path")},
    )
    asked = Asked(params["backup"], _schema_before(params), params["any_server"])
    look = Look(Path(params["state_dir"]), backups_folder(params, create=False), params["signing_key"] or None)
    backups = read_backups(look)

    def attempt(backup: Mapping[str, Any]) -> Any:
        if check_mode:
            return planned(server, backup, wanted, asked)
        return restored(server, backup, wanted, asked, lambda name: _find_damage(server, name, params["jobs"]))

    good = newest_good(server, backups, asked, attempt)
    return {
        **summary(good.plan, wanted),
        "path": str(good.plan.path),
        "created_at": good.plan.manifest["created_at"],
        "verified": not check_mode,
        "left_out": good.left_out,
        "rejected": good.rejected,
        "changed": not good.plan.present,
    }


def _find_damage(server: Server, name: str, jobs: int) -> list[str]:
    """Return what is broken in a restored copy, one sentence each; its contents were compared already."""
    assessed = assess_database(server, name, budget_bytes=0, jobs=jobs)
    return [str(finding["message"]) for finding in assessed["findings"] if finding["severity"] == "broken"]


def newest_evidence(state_dir: Path, signing_key: str | None) -> dict[str, Any] | None:
    """Return the newest evidence of a rehearsal that is as it was written; None where there is none.

    Its age does not matter here: it tells what a plan does, and is not asked whether production may follow.
    """
    sound = []
    for evidence in load_evidence(state_dir):
        try:
            check_seal(evidence, signing_key)
        except RollbackError:
            continue
        sound.append(evidence)
    return max(sound, key=lambda evidence: str(evidence["created_at"]), default=None)


class KnownStates(NamedTuple):
    """What is known of a database before and after a rollback.

    Attributes:
        before: the catalogue of a backup.
        rehearsed: the canonical change of the rehearsal, where it was made on that schema; or None.
        evidence_id: of that rehearsal, or None.
    """

    before: Catalogue
    rehearsed: Change | None
    evidence_id: str | None


def known_states(backup: Path, state_dir: Path, signing_key: str | None) -> KnownStates:
    """Read both states.

    Args:
        backup: the folder of a backup that was proven already.
        state_dir: the state folder, with the evidence.
        signing_key: with it, both must be signed by it.

    Raises:
        BackupNotTrusted: the manifest is not as it was written.
    """
    manifest = read_manifest(backup, signing_key)
    fingerprint = manifest["fingerprint"]
    evidence = newest_evidence(state_dir, signing_key)
    if evidence is None or evidence["catalogue_hash"] != fingerprint["catalogue_hash"]:
        return KnownStates(fingerprint["catalogue"], None, None)
    return KnownStates(fingerprint["catalogue"], evidence["canonical_change"], evidence["evidence_id"])


def _schema_before(params: Mapping[str, Any]) -> str | None:
    if not params["before_rollback"]:
        return None
    evidence = newest_evidence(Path(params["state_dir"]), params["signing_key"] or None)
    if evidence is None:
        raise Refused(
            "There is no evidence of a rehearsal, so nothing tells which schema was there before the rollback.",
            untouched="Nothing was touched.",
            remedy="Name the backup that was made before it: -e backup=<its name>.",
        )
    return str(evidence["catalogue_hash"])
