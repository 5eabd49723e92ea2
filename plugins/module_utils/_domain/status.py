# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of a database's rollbacks: runs, evidence, backups, leftovers; each entry told from its own record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Dict

from . import evidence as evidence_rules
from .errors import RollbackError
from .journal import is_by_keeper
from .names import parse_derived_name
from .outcome import summarise
from .typed import sql_name

if TYPE_CHECKING:
    from .description import Description
    from .journal import Event
    from .manifest import Manifest

Entry = Dict[str, Any]

UNFINISHED = "unfinished"
"""The outcome of a run that has written no C(run.json): it is under way, or was killed."""

UNKNOWN = "unknown"
"""The outcome of a run whose journal cannot be trusted."""

VERIFIED = ("read", "restore")

NOT_REACHED: Entry = {
    "name": "",
    "dialect": "",
    "reachable": False,
    "exists": None,
    "size_bytes": None,
    "open": None,
    "server_version": None,
    "system_identifier": None,
    "oid": None,
}
"""What is told of a database that could not be reached."""

WRONG_RECORD = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a record raises that holds other things than it should."""


def moment(text: object) -> datetime | None:
    """Read a time in ISO 8601 that says its zone; None where it is not one."""
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return read if read.tzinfo else None


def clock(text: object) -> str:
    """Return a time as people read it: C(2026-11-23 08:15 UTC); as it is, where it is not one."""
    read = moment(text)
    return f"{read.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC" if read else str(text or "a time that is not known")


def begin_of_run(run_id: str) -> datetime:
    """Return the time that a run's name holds, the begin of the run."""
    return datetime.strptime(run_id[:15], "%Y%m%dt%H%M%S").replace(tzinfo=timezone.utc)


def made_at(run_id: str) -> str:
    """Return the begin of a run as UTC ISO 8601; empty where the digits of its name are no date."""
    try:
        return begin_of_run(run_id).isoformat()
    except ValueError:
        return ""


def age_hours(text: object, now: datetime) -> float | None:
    """Return the age of a time in hours; None where it is not one."""
    read = moment(text)
    return None if read is None else round((now - read).total_seconds() / 3600, 2)


def drop_command(name: str) -> str:
    """Return the SQL that drops a database; it fails where somebody is connected."""
    return f"DROP DATABASE {sql_name(name)};"


def is_ours(name: str, description: Description | None) -> bool:
    """Tell whether name and comment of a database say the same: which run made it, and what for."""
    parts = parse_derived_name(name)
    return bool(parts and description and (description.run_id, description.role) == (parts.run_id, parts.purpose))


def backup_entry(manifest: Manifest, now: datetime) -> Entry:
    """Tell a backup from its manifest, which was read and proven.

    Args:
        manifest: the manifest.
        now: the present time, UTC.
    """
    database = manifest["database"]
    return {
        "created_at": str(manifest["created_at"]),
        "age_hours": age_hours(manifest["created_at"], now),
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "verified": manifest["verified"] if manifest["verified"] in VERIFIED else None,
        "database": database["name"],
        "system_identifier": database.get("system_identifier"),
        "server_version": manifest["server_version"],
        "rows_total": manifest["rows_total"],
        "tables": manifest["tables"],
        "signed": bool(manifest["signature"]),
    }


def unknown_backup() -> Entry:
    """Return what is told of a backup whose manifest cannot be read."""
    unknown = dict.fromkeys(("created_at", "database", "system_identifier"), "")
    nothing = dict.fromkeys(("age_hours", "bytes", "verified", "server_version", "rows_total", "tables"))
    return {**unknown, **nothing, "signed": False}


def run_entry(run_id: str, events: Sequence[Event], *, ended: bool) -> Entry:
    """Tell a run from its journal.

    Args:
        run_id: the run.
        events: its whole journal.
        ended: it has written its records (C(run.json)).
    """
    if not events:
        return {**unknown_run(run_id), "outcome": UNFINISHED, "problem": "its journal is empty"}
    try:
        summary = summarise(events)
    except WRONG_RECORD:
        return {**unknown_run(run_id), "problem": "its journal does not begin as a run begins"}
    finished = {"outcome": summary["outcome"], "finished_at": summary["finished_at"], "problem": ""}
    unfinished = {
        "outcome": UNFINISHED,
        "finished_at": None,
        "problem": _how_it_stopped(events[-1]),
    }
    return {
        **unknown_run(run_id),
        **{name: summary[name] for name in ("kind", "started_at", "reason", "plan", "backup_id")},
        "last_event_at": events[-1]["at"],
        **(finished if ended else unfinished),
    }


def _how_it_stopped(last: Event) -> str:
    if is_by_keeper(last) or (last["outcome"] == "ok" and last["data"].get("restored")):
        return f"its controller died before it could report; at {last['at']}: {last['action']}"
    return f"it has not ended; its last event is of {last['at']} (phase {last['phase']})"


def unknown_run(run_id: str) -> Entry:
    """Return what is told of a run by its name alone."""
    return {
        "run_id": run_id,
        "kind": None,
        "outcome": UNKNOWN,
        "started_at": made_at(run_id),
        "finished_at": None,
        "last_event_at": None,
        "reason": "",
        "plan": [],
        "backup_id": None,
        "problem": "",
    }


def evidence_entry(evidence: Mapping[str, Any], key: str | None, now: datetime, max_age_hours: float) -> Entry:
    """Tell evidence of a rehearsal.

    Args:
        evidence: the content of its file.
        key: the inventory's C(rollback_signing_key), or None.
        now: the present time, UTC.
        max_age_hours: the inventory's C(rollback_evidence_max_age).
    """
    problem = ""
    try:
        evidence_rules.check_seal(evidence, key)
    except RollbackError as error:
        problem = error.message
    created = moment(evidence.get("created_at"))
    plan = evidence.get("plan")
    return {
        "evidence_id": str(evidence.get("evidence_id", "")),
        "created_at": str(evidence.get("created_at", "")),
        "age_hours": age_hours(evidence.get("created_at"), now),
        "plan": [str(name) for name in plan] if isinstance(plan, list) else [],
        "valid_until": (created + timedelta(hours=max_age_hours)).isoformat() if created else None,
        "signed": bool(evidence.get("signature")),
        "problem": problem,
    }


def unknown_evidence(evidence_id: str, problem: str) -> Entry:
    """Return what is told of evidence whose file cannot be read."""
    nothing = dict.fromkeys(("age_hours", "valid_until"))
    return {
        "evidence_id": evidence_id, "created_at": "", **nothing, "plan": [], "signed": False, "problem": problem,
    }  # fmt: skip


def newest_first(entries: Iterable[Entry], key: str) -> list[Entry]:
    """Sort entries by a time, those without one last."""
    oldest = datetime.min.replace(tzinfo=timezone.utc)
    return sorted(entries, key=lambda entry: moment(entry[key]) or oldest, reverse=True)


def is_good(backup: Mapping[str, Any]) -> bool:
    """Tell whether a backup is trusted, and was verified when it was made."""
    return bool(backup["trusted"] and backup["verified"] in VERIFIED)


def good_backup(backups: Sequence[Mapping[str, Any]], database: str) -> str | None:
    """Return the name of the newest good backup of a database; None where there is none.

    Args:
        backups: newest first.
        database: its name.
    """
    return next(
        (str(entry["backup_id"]) for entry in backups if entry["database"] == database and is_good(entry)), None
    )
