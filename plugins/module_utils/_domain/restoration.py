# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restore found and did, told from its journal: for C(run.json), and in lines for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .written import written_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .journal import Event

_MOST_FINDINGS = 20


def restored_from(events: Sequence[Event]) -> dict[str, Any] | None:
    """Return what a restore put in the database's place, and what was there; None where it put nothing there.

    Returns:
        C(backup_id) or C(run), C(kept), the database that is set aside, C(dump), a folder, and C(lines).
    """
    swapped = [event["data"] for event in events if event["phase"] == "reopen" and event["data"].get("before")]
    undone = _last(events, "undone_run")
    source = _last(events, "source") or {}
    if not swapped and not undone:
        return None
    told = {
        "backup_id": source.get("backup_id"),
        "run": undone,
        "kept": swapped[-1]["before"] if swapped else _last(events, "failed_database"),
        "dump": _dump(events),
    }
    return {**told, "lines": list(_lines(told, source, events))}


def scope(events: Sequence[Event]) -> dict[str, Any] | None:
    """Return what was found broken, with C(lines) for a person; None where nothing was looked at."""
    assessment = _last(events, "assessment")
    return {**assessment, "lines": list(_scope_lines(assessment))} if assessment else None


def _lines(told: Mapping[str, Any], source: Mapping[str, Any], events: Sequence[Event]) -> Iterator[str]:
    if told["run"]:
        yield f"Restored from the database of before run {told['run']}"
    else:
        yield f"Restored from backup {told['backup_id']}, made {source.get('created_at')}"
    for backup in source.get("rejected") or []:
        yield f"Passed over: backup {backup['backup_id']}: {backup['reason']}"
    if told["kept"]:
        yield f"What was there is kept, closed, as {told['kept']}"
    if told["dump"]:
        yield f"What was there is dumped to {told['dump']}"
    yield from (f"Left out of the backup: {line}" for line in _last(events, "left_out") or [])
    yield from (
        f"Written while it was being restored: {line}" for line in written_lines(_last(events, "written") or [])
    )


def _scope_lines(assessment: Mapping[str, Any]) -> Iterator[str]:
    broken = [finding for finding in assessment["findings"] if finding["severity"] == "broken"]
    yield "Nothing is broken" if assessment["clean"] else f"{len(broken)} things are broken"
    yield from (str(finding["message"]) for finding in broken[:_MOST_FINDINGS])
    if len(broken) > _MOST_FINDINGS:
        yield f"and {len(broken) - _MOST_FINDINGS} more"
    yield from (
        f"Not checked: {check['name']} ({check['reason']})" for check in assessment["checks"] if not check["done"]
    )


def _dump(events: Sequence[Event]) -> str | None:
    """Return the folder of the dump that was made of the database that was replaced."""
    made = [event["data"] for event in events if event["phase"] == "compare" and event["data"].get("manifest")]
    return str(made[-1]["path"]) if made else None


def _last(events: Sequence[Event], name: str) -> Any:
    return next((event["data"][name] for event in reversed(events) if event["data"].get(name)), None)
