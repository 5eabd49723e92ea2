# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be deleted, and what must be kept: rules without a clock, a disk or a server of their own.

Something goes only when nothing speaks for it. Every reason to keep is asked in turn; the first that holds is the one
that is shown. Who cannot be judged (damaged, of another database, without a comment) is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from .errors import Refused
from .status import UNFINISHED, UNKNOWN, clock, is_good, made_at, moment

BUSY_HOURS = 24.0
"""A run without an end counts as under way for so long after its last event."""

CLOCKS_DIFFER_HOURS = 1.0
"""A backup from further ahead than this was dated by a clock that was wrong, by nobody knows how much."""

ABANDONED = ("rehearsal", "trial", "restored")

KINDS: dict[str, tuple[str, ...]] = {"before": ("before",), "failed": ("failed",), "leftovers": ABANDONED}
"""The names under which the inventory says how databases are kept, and the purposes that belong to each."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "backups": {"count": 7, "days": 30.0},
    "before": {"count": 1, "days": 2.0, "needs_backup": True},
    "failed": {"count": 1, "days": 14.0},
    "leftovers": {"count": 0, "days": 2.0},
}


@dataclass(frozen=True)
class Situation:
    """What there is, as C(rollback_status) tells it.

    Attributes:
        database: the name of the database.
        system_identifier: its cluster.
        open_run: the run that is open on it, or None.
        backups: of the folder, in any order.
        databases: that runs left beside it.
        runs: at least those that have not ended.
        now: the host's clock.
        server_now: the server's clock.
    """

    database: str
    system_identifier: str
    open_run: str | None
    backups: Sequence[Mapping[str, Any]]
    databases: Sequence[Mapping[str, Any]]
    runs: Sequence[Mapping[str, Any]]
    now: datetime
    server_now: datetime
    busy: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Find out once which runs may be under way."""
        self.busy.update(busy_runs(self.runs, self.now))
        if self.open_run:
            self.busy[self.open_run] = "it is open on the database"


class Verdict(NamedTuple):
    """Whether something goes, and why.

    Attributes:
        kind: a key of `DEFAULTS`, or C(other).
        name: of the backup or database.
        goes: it may be deleted.
        reason: why it goes, or why it is kept.
        bytes: its size, or None where it is not known.
        made_at: UTC ISO 8601.
    """

    kind: str
    name: str
    goes: bool
    reason: str
    bytes: int | None
    made_at: str


def check_keep(keep: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Complete the inventory's C(rollback_keep) with what holds by default.

    Raises:
        Refused: a number is negative, or would let the newest backup go.
    """
    complete = {kind: {**default, **_given(keep, kind)} for kind, default in DEFAULTS.items()}
    for kind, rule in complete.items():
        least = 0 if kind == "leftovers" else 1
        if rule["count"] < least or not rule["days"] >= 0 or not math.isfinite(rule["days"]):
            raise Refused(
                f"rollback_keep says for {kind}: count {rule['count']}, days {rule['days']}; at least {least} and 0 "
                "are needed.",
                untouched="Nothing was deleted.",
                remedy="The newest backup, and the newest database of before, are always kept: set count to 1 or more.",
            )
    return complete


def check_may_clean(database: Mapping[str, Any], open_run: Mapping[str, Any] | None) -> None:
    """Check that nothing is under way on a database, and that it is what users work with.

    Raises:
        Refused: it was not reached, is missing or closed, or a run is open on it.
    """
    name = database["name"] or "the database"
    reason = remedy = ""
    if not database["reachable"]:
        reason = f"{name} was not reached, so that nobody knows whether a run needs what would go"
        remedy = "Look with: ansible-playbook playbooks/status.yml -e env=…"
    elif not database["exists"]:
        reason = f"there is no database {name} on the server: what would go may be all that is left of it"
        remedy = "Bring it back first: ansible-playbook playbooks/restore.yml -e env=…"
    elif open_run:
        reason = f"run {open_run['run_id']} is open on {name} (state {open_run['state']})"
        remedy = (
            "Wait until it has ended; one that was killed is ended by: ansible-playbook playbooks/restore.yml "
            f"-e env=… -e run={open_run['run_id']}"
        )
    elif not database["open"]:
        reason = f"{name} is closed, and no run says why"
        remedy = "Find out what closed it: ansible-playbook playbooks/status.yml -e env=…"
    if reason:
        raise Refused(f"Nothing is cleaned up: {reason}.", untouched="Nothing was deleted.", remedy=remedy)


def busy_runs(runs: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, str]:
    """Return the runs that may be under way, with the reason.

    A run has ended when it has written its records. One that has not was killed, or is at work; it counts as at work
    until a day has passed since its last event. A journal that cannot be trusted tells only when the run began.
    """
    busy = {}
    for run in runs:
        if run["outcome"] in (UNFINISHED, UNKNOWN):
            last = moment(run["last_event_at"]) or moment(run["started_at"]) or now
            if last > now - timedelta(hours=BUSY_HOURS):
                busy[str(run["run_id"])] = "it has not ended, and may be under way"
    return busy


def judge(situation: Situation, keep: Mapping[str, Mapping[str, Any]]) -> list[Verdict]:
    """Say of everything there is whether it goes.

    Args:
        situation: what there is.
        keep: as `check_keep` completed it.
    """
    return [*_judge_backups(situation, keep["backups"]), *_judge_databases(situation, keep)]


def last_good(situation: Situation) -> Mapping[str, Any] | None:
    """Return the newest backup of the database that is trusted and was verified; None where there is none.

    It is never deleted, and is proven byte by byte before anything else is.
    """
    return next((backup for backup in _newest_first(situation) if is_good(backup)), None)


# -- backups ------------------------------------------------------------------------------------------------------


def _judge_backups(situation: Situation, rule: Mapping[str, Any]) -> Iterator[Verdict]:
    ours = _newest_first(situation)
    good = [backup for backup in ours if is_good(backup)]
    others = [backup for backup in ours if not is_good(backup)]
    rank = {_name(backup): place for group in (good, others) for place, backup in enumerate(group)}
    last = _name(good[0]) if good else None
    for backup in situation.backups:
        why = (
            _foreign(backup, situation)
            or ("it is the last one that was verified" if _name(backup) == last else "")
            or ("" if good else "no backup of the database was verified")
            or _busy(situation)
            or _counted(rule, rank.get(_name(backup), 0), moment(backup["created_at"]), situation.server_now)
        )
        made = str(backup["created_at"])
        yield Verdict("backups", _name(backup), not why, why or _gone(rule), backup["bytes"], made)


def _foreign(backup: Mapping[str, Any], situation: Situation) -> str | None:
    if not backup["trusted"]:
        return f"it cannot be judged: {backup['problem']}"
    if backup["database"] != situation.database:
        return f"it is of another database, {backup['database']}"
    if backup["system_identifier"] != situation.system_identifier:
        return "it is of a database on another server"
    made = moment(backup["created_at"])
    if made is None:
        return "it cannot be judged: its manifest says no time"
    if made > situation.server_now + timedelta(hours=CLOCKS_DIFFER_HOURS):
        return f"it cannot be judged: its time lies in the future, {clock(backup['created_at'])}"
    return None


def _busy(situation: Situation) -> str:
    return next((f"run {run_id} may need it: {why}" for run_id, why in sorted(situation.busy.items())), "")


# -- databases ----------------------------------------------------------------------------------------------------


def _judge_databases(situation: Situation, keep: Mapping[str, Mapping[str, Any]]) -> Iterator[Verdict]:
    kinds = {purpose: kind for kind, purposes in KINDS.items() for purpose in purposes}
    ranks = _ranks(situation.databases)
    for database in situation.databases:
        kind = kinds.get(database["purpose"], "other")
        rule = keep.get(kind, {})
        why = (
            _not_to_be_touched(database, situation)
            or (_before(database, situation, rule) if kind == "before" else "")
            or _counted(rule, ranks.get(_name(database), 0), moment(made_at(database["run_id"])), situation.server_now)
        )
        yield Verdict(
            kind, _name(database), not why, why or _gone(rule), database["size_bytes"], made_at(database["run_id"])
        )


def _not_to_be_touched(database: Mapping[str, Any], situation: Situation) -> str:
    purpose, run_id = database["purpose"], database["run_id"]
    if not database["ours"]:
        return "its comment does not say that a run made it"
    if purpose == "candidate":
        return f"a candidate is set aside by its run: ansible-playbook playbooks/restore.yml -e env=… -e run={run_id}"
    if run_id in situation.busy:
        return f"run {run_id} needs it: {situation.busy[run_id]}"
    if database["sessions"]:
        return f"somebody is connected to it ({database['sessions']})"
    if database["slots"]:
        return "a replication slot belongs to it, and would go with it"
    if database["open"] and purpose not in ABANDONED:
        return "somebody has opened it"
    return ""


def _before(database: Mapping[str, Any], situation: Situation, rule: Mapping[str, Any]) -> str:
    until = database["keep_until"]
    if until and (moment(until) is None or moment(until) > situation.server_now):  # type: ignore[operator]
        return f"it is to be kept until {clock(until)}"
    if rule["needs_backup"] and last_good(situation) is None:
        return "there is no verified backup: it is the only way back"
    return ""


def _ranks(databases: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Number the databases of each purpose that describe themselves, the newest 0."""
    ranks: dict[str, int] = {}
    seen: dict[str, int] = {}
    for database in sorted(databases, key=lambda entry: str(entry["run_id"]), reverse=True):
        if database["ours"]:
            ranks[_name(database)] = seen.get(database["purpose"], 0)
            seen[database["purpose"]] = ranks[_name(database)] + 1
    return ranks


# -- both ---------------------------------------------------------------------------------------------------------


def _counted(rule: Mapping[str, Any], rank: int, made: datetime | None, now: datetime) -> str:
    if not rule:
        return "nothing says how long it is kept"
    if rank < rule["count"]:
        return f"it is among the newest {rule['count']}" if rule["count"] > 1 else "it is the newest"
    if made is None:
        return "its age is not known"
    if made > now - timedelta(days=rule["days"]):
        return f"it is younger than {rule['days']:g} days"
    return ""


def _gone(rule: Mapping[str, Any]) -> str:
    return f"it is older than {rule['days']:g} days, and not among the newest {rule['count']}"


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry["backup_id"] if "backup_id" in entry else entry["name"])


def _newest_first(situation: Situation) -> list[Mapping[str, Any]]:
    """Return the backups that can be judged, by the time at which they were made."""
    ours = [backup for backup in situation.backups if _foreign(backup, situation) is None]
    return sorted(ours, key=lambda backup: (moment(backup["created_at"]), _name(backup)), reverse=True)


def _given(keep: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Any]:
    return {name: value for name, value in (keep.get(kind) or {}).items() if value is not None}
