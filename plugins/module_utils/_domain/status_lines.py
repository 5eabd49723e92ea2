# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a database's rollbacks in lines for a person."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .status import clock, moment

NEWEST = 10
"""How many runs and pieces of evidence are shown; all of them are in the module's result."""

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_THOUSAND = 1000
_HOURS_SHOWN = 72


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """Return the whole status as lines of text.

    Args:
        status: what C(rollback_status) returns, but the lines.
    """
    parts = (
        _database(status),
        _open_run(status),
        _databases(status["databases"], "in psql" if status["database"]["dialect"] == "postgresql" else "in a shell"),
        _backups(status),
        _evidence(status["evidence"], status["looked_at"]),
        _runs(status["runs"]),
        _problems(status["problems"]),
    )
    return [plain(line) for part in parts for line in part]


def plain(text: str) -> str:
    """Keep control characters of a name away from a terminal."""
    return "".join(" " if unicodedata.category(letter)[0] == "C" else letter for letter in text)


def human_bytes(size: float | None) -> str:
    """Return a size as people read it: C(1.4 GB)."""
    if size is None:
        return "size unknown"
    unit = 0
    while size >= _THOUSAND and unit < len(_UNITS) - 1:
        size, unit = size / _THOUSAND, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def human_age(hours: float | None) -> str:
    """Return an age as people read it: C(3.5 h), C(4 days)."""
    if hours is None:
        return "age unknown"
    if abs(hours) < 1:
        return f"{hours * 60:.0f} min old"
    return f"{hours:.1f} h old" if hours < _HOURS_SHOWN else f"{hours / 24:.0f} days old"


def _database(status: Mapping[str, Any]) -> Iterator[str]:
    database = status["database"]
    if not database["reachable"]:
        yield f"Database {database['name'] or '(no name)'}: NOT REACHED. What follows is of the state folder alone."
    elif not database["exists"]:
        yield f"Database {database['name']}: THERE IS NO DATABASE OF THIS NAME."
    else:
        state = "open" if database["open"] else "CLOSED, nobody gets in"
        size = human_bytes(database["size_bytes"])
        product = "SQLite" if database["dialect"] == "sqlite" else "PostgreSQL"
        yield f"Database {database['name']}: {state}, {size}, {product} {database['server_version']}"


def _open_run(status: Mapping[str, Any]) -> Iterator[str]:
    run = status["open_run"]
    if run:
        until = clock(run["lease_until"])
        lease = f"its lease ran out at {until}" if run["lease_expired"] else f"lease until {until}"
        lease = "no lease" if run.get("held") else lease
        yield f"Run under way: {run['run_id']}{run.get('owner', '')}, state {run['state']}, {lease}"
        if run.get("held"):
            yield f"  It waits for a person, because {run['held']}. What can be done is said by:"
            yield "    ansible-playbook playbooks/restore.yml -e env=…"
        elif run["lease_expired"]:
            yield f"  Nobody works on it any more. {run.get('reason', '')} Next:".replace("  Next", " Next")
            yield f"    ansible-playbook playbooks/restore.yml -e env=… -e run={run['run_id']}"
    elif status["database"]["reachable"]:
        yield "Run under way: none"


def _databases(databases: Sequence[Mapping[str, Any]], where: str) -> Iterator[str]:
    total = sum(entry["size_bytes"] or 0 for entry in databases)
    yield f"Databases that runs left: {len(databases) or 'none'}" + (f", {human_bytes(total)}" if databases else "")
    for entry in databases:
        state = "half made" if entry["half_made"] else "open" if entry["open"] else "closed"
        kept = f", to be kept until {clock(entry['keep_until'])}" if entry["keep_until"] else ""
        made = clock(entry["made_at"])
        yield f"  {entry['name']}: {human_bytes(entry['size_bytes'])}, {state}, of the run of {made}{kept}"
        if entry["note"] and not kept:
            yield f"    {entry['note']}"
        if entry["drop_command"]:
            yield f"    to drop it, {where}: {entry['drop_command']}"


def _backups(status: Mapping[str, Any]) -> Iterator[str]:
    backups = status["backups"]
    total = sum(entry["bytes"] or 0 for entry in backups)
    yield f"Backups: {len(backups) or 'none'}" + (f", {human_bytes(total)}" if backups else "")
    for entry in backups:
        yield f"  {entry['backup_id']}: {_backup(entry)}"
    if backups:
        yield f"  Newest good one of this database: {status['good_backup'] or 'NONE'}"


def _backup(entry: Mapping[str, Any]) -> str:
    if not entry["trusted"]:
        return f"NOT TO BE TRUSTED, {entry['problem']}"
    verified = f"verified ({entry['verified']})" if entry["verified"] else "NOT VERIFIED"
    signed = "signed" if entry["signed"] else "unsigned"
    return (
        f"{human_age(entry['age_hours'])}, {human_bytes(entry['bytes'])}, {verified}, {signed}, database "
        f"{entry['database']}, {entry['rows_total']} rows in {entry['tables']} tables"
    )


def _evidence(evidence: Sequence[Mapping[str, Any]], now: str) -> Iterator[str]:
    yield f"Evidence of rehearsals: {len(evidence) or 'none'}"
    for entry in evidence[:NEWEST]:
        plan = ", ".join(entry["plan"]) or "no plan"
        yield f"  {entry['evidence_id']}: {human_age(entry['age_hours'])}, {_worth(entry, now)}: {plan}"
    yield from _more(evidence)


def _worth(entry: Mapping[str, Any], now: str) -> str:
    if entry["problem"]:
        return f"DOES NOT COUNT, {entry['problem']}"
    until, present = moment(entry["valid_until"]), moment(now)
    if until is None or present is None:
        return "DOES NOT COUNT, it does not say when it was made"
    return (
        f"good until {clock(entry['valid_until'])}"
        if until > present
        else f"TOO OLD since {clock(entry['valid_until'])}"
    )


def _runs(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield f"Runs: {len(runs) or 'none'}"
    for entry in runs[:NEWEST]:
        plan = f": {', '.join(entry['plan'])}" if entry["plan"] else ""
        said = f" ({entry['problem']})" if entry["problem"] else ""
        what = f"{entry['kind'] or 'kind unknown'}, {entry['outcome'].upper()}{said}{plan}"
        yield f"  {entry['run_id']}: {clock(entry['started_at'])}, {what}"
    if runs and runs[0]["report"]:
        yield f"  Report of the newest: {runs[0]['report']}"
    yield from _more(runs)


def _more(entries: Sequence[object]) -> Iterator[str]:
    if len(entries) > NEWEST:
        yield f"  and {len(entries) - NEWEST} older"


def _problems(problems: Sequence[str]) -> Iterator[str]:
    if problems:
        yield "Look at this:"
    for problem in problems:
        yield f"  - {problem}"
