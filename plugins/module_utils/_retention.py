# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning up: what goes is listed, what must be kept is proven to be there, and each deletion is recorded."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._database.dialect import is_sqlite
from ._database.postgresql.removal import drop_left_database, no_run_begins
from ._database.postgresql.status import read_server_status
from ._domain.errors import Failed, Refused, RollbackError
from ._domain.journal import JournalBroken
from ._domain.names import new_run_id
from ._domain.retention import Situation, Verdict, busy_runs, check_may_clean, judge, last_good
from ._domain.status import moment
from ._domain.status_lines import human_bytes, plain
from ._driver import DATABASE_ERROR
from ._run import append_event, check_private_folder, utc_now
from ._status import Look, read_backup_entry, read_backups, read_unfinished_runs
from ._trusted import NotTrusted

if TYPE_CHECKING:
    from ._database.postgresql.connection import Server

JOURNAL = "clean_up.jsonl"
"""In the state folder: every deletion, one event a line, each with the hash of the one before."""

DELETED = ".deleted-"
"""A backup that is being removed no longer looks like one from the first moment on."""

ORDER = ("leftovers", "failed", "before", "backups")


@dataclass(frozen=True)
class Plan:
    """What a clean-up would do.

    Attributes:
        situation: what there is.
        verdicts: of everything there is.
        anchor: the last verified backup, proven byte by byte where anything goes that it stands for; or None.
    """

    situation: Situation
    verdicts: Sequence[Verdict]
    anchor: Mapping[str, Any] | None

    @property
    def going(self) -> list[Verdict]:
        """What may be deleted, in the order in which it is."""
        return sorted((verdict for verdict in self.verdicts if verdict.goes), key=_order)

    def backup(self, name: str) -> Mapping[str, Any]:
        """Return a backup by its name."""
        return next(entry for entry in self.situation.backups if entry["backup_id"] == name)

    def database(self, name: str) -> dict[str, Any]:
        """Return a database by its name."""
        return dict(next(entry for entry in self.situation.databases if entry["name"] == name))


def check_dialect(database_url: str) -> None:
    """Check that a URL does not name an SQLite file.

    Raises:
        Refused: it does.
    """
    if is_sqlite(database_url):
        raise Refused(
            "The URL names an SQLite file, and cleaning up works on PostgreSQL.",
            untouched="Nothing was deleted.",
            remedy="What runs left is listed, with the command that removes each, by: ansible-playbook "
            "playbooks/status.yml -e env=development",
        )


def make_plan(server: Server, look: Look, keep: Mapping[str, Mapping[str, Any]]) -> Plan:
    """Say of everything there is whether it goes, and prove what must be kept; change nothing.

    A last verified backup that turns out to be damaged counts no longer, and everything is judged again.

    Raises:
        Refused: a run is open, the database is closed or missing, or a folder can be read by others.
    """
    _check_folders(look)
    at_server = read_server_status(server)
    check_may_clean(at_server["database"], at_server["open_run"])
    backups = [_without_link(backup) for backup in read_backups(look)]
    runs = read_unfinished_runs(look)
    if look.unreadable:
        raise Refused(
            f"Nothing is cleaned up: {', '.join(map(str, look.unreadable))} cannot be read, so that nobody knows what "
            "is needed.",
            untouched="Nothing was deleted.",
            remedy="Look with: ansible-playbook playbooks/status.yml -e env=…",
        )
    situation = Situation(
        database=server.database,
        system_identifier=at_server["database"]["system_identifier"],
        open_run=None,
        backups=backups,
        databases=at_server["databases"],
        runs=runs,
        now=look.now,
        server_now=moment(at_server["now"]) or look.now,
    )
    return _proven(situation, look, keep)


def _without_link(backup: dict[str, Any]) -> dict[str, Any]:
    """Let a backup that lies elsewhere, and is only linked here, count as one that cannot be judged."""
    return {**backup, "trusted": False, "problem": "it is a link"} if Path(backup["path"]).is_symlink() else backup


def _check_folders(look: Look) -> None:
    check_private_folder(look.state_dir)
    if look.backup_dir.exists():
        check_private_folder(look.backup_dir)


def _proven(situation: Situation, look: Look, keep: Mapping[str, Mapping[str, Any]]) -> Plan:
    while True:
        verdicts = judge(situation, keep)
        anchor = last_good(situation)
        needed = any(verdict.goes and verdict.kind in ("backups", "before") for verdict in verdicts)
        if anchor is None or not needed:
            return Plan(situation, verdicts, anchor)
        read = read_backup_entry(Path(anchor["path"]), replace(look, check_files=True))
        if read["trusted"]:
            return Plan(situation, verdicts, anchor)
        look.problems.append(f"The last verified backup {anchor['path']} is damaged: {read['problem']}.")
        rest = [backup for backup in situation.backups if backup["backup_id"] != anchor["backup_id"]]
        situation = replace(situation, backups=[*rest, {**anchor, "trusted": False, "problem": read["problem"]}])


def clean_up(server: Server, look: Look, plan: Plan, only: Sequence[str] | None) -> list[Verdict]:
    """Delete what a plan lets go, and record each deletion; stop at the first that fails.

    Args:
        server: the server, with the public name of the database.
        look: where backups and runs are.
        plan: what goes.
        only: the names that a person has seen and confirmed; None is all.

    Returns:
        What was deleted.

    Raises:
        RollbackError: a deletion was refused or failed; the message says what was deleted before.
    """
    going = chosen(plan, only)
    deleted: list[Verdict] = []
    if not going:
        return deleted
    with _alone(look.state_dir):
        record = _Record(look.state_dir)
        record("begin to clean up", database=server.database, going=_as_data(going), kept=_anchor_name(plan))
        _finish_deleting(look.backup_dir)
        for verdict in going:
            try:
                _delete(server, look, plan, verdict)
                deleted.append(verdict)
                record(f"delete {verdict.name}", changed=True, **_data(verdict))
            except (RollbackError, OSError, DATABASE_ERROR) as error:
                with suppress(RollbackError):  # the failure itself may be that nothing can be recorded
                    record(f"delete {verdict.name}", outcome="failed", error=str(error).strip(), **_data(verdict))
                raise _stopped(error, deleted, going) from error
    return deleted


def chosen(plan: Plan, only: Sequence[str] | None) -> list[Verdict]:
    """Return what goes, and was named if anything was."""
    return [verdict for verdict in plan.going if only is None or verdict.name in only]


def result(plan: Plan, look: Look, deleted: Sequence[Verdict], only: Sequence[str] | None) -> dict[str, Any]:
    """Return what the module C(retention) returns."""
    going = chosen(plan, only)
    return {
        "database": plan.situation.database,
        "delete": _as_data(going),
        "keep": _as_data(_kept(plan, going)),
        "deleted": [verdict.name for verdict in deleted],
        "bytes": sum(verdict.bytes or 0 for verdict in going),
        "good_backup": _anchor_name(plan),
        "problems": look.problems,
        "journal": str(look.state_dir / JOURNAL),
        "lines": [plain(line) for line in _lines(plan, going, look.problems)],
    }


def _lines(plan: Plan, going: Sequence[Verdict], problems: Sequence[str]) -> Iterator[str]:
    size = human_bytes(sum(verdict.bytes or 0 for verdict in going))
    yield f"To be deleted: {len(going)}, {size}" if going else "To be deleted: nothing"
    for verdict in going:
        yield f"  {verdict.name} ({human_bytes(verdict.bytes)}): {verdict.reason}"
    yield "Kept:"
    for verdict in _kept(plan, going):
        yield f"  {verdict.name} ({human_bytes(verdict.bytes)}): {verdict.reason}"
    yield f"The last verified backup: {_anchor_name(plan) or 'THERE IS NONE'}"
    yield from (f"Look at this: {problem}" for problem in problems)


def _kept(plan: Plan, going: Sequence[Verdict]) -> list[Verdict]:
    unconfirmed = "it was not on the list that was confirmed"
    kept = [verdict for verdict in plan.verdicts if verdict not in going]
    return [verdict._replace(reason=unconfirmed) if verdict.goes else verdict for verdict in kept]


# -- one deletion -------------------------------------------------------------------------------------------------


def _delete(server: Server, look: Look, plan: Plan, verdict: Verdict) -> None:
    _check_nothing_began(look, plan)
    _check_anchor(look, plan, verdict)
    if verdict.kind == "backups":
        with no_run_begins(server):
            remove_backup(Path(plan.backup(verdict.name)["path"]))
    else:
        drop_left_database(server, plan.database(verdict.name))


def _check_nothing_began(look: Look, plan: Plan) -> None:
    """Refuse where a run has begun since the list was made."""
    busy = busy_runs(read_unfinished_runs(replace(look, problems=[])), datetime.now(timezone.utc))
    began = sorted(set(busy) - set(plan.situation.busy))
    if began:
        raise Refused(
            f"Run {began[0]} has begun meanwhile, and may need what would go.",
            untouched="Nothing more was deleted.",
            remedy="Wait until it has ended, then start again.",
        )


def _check_anchor(look: Look, plan: Plan, verdict: Verdict) -> None:
    """Prove once more, right before a deletion, that the last verified backup is there: manifest, files, sizes."""
    if plan.anchor is None or verdict.kind not in ("backups", "before"):
        return
    entry = read_backup_entry(Path(plan.anchor["path"]), replace(look, check_files=False))
    if verdict.name == plan.anchor["backup_id"] or not entry["trusted"]:
        raise Failed(
            f"The last verified backup {plan.anchor['path']} is not there as it was: {entry['problem'] or 'it goes'}.",
            untouched="Nothing more was deleted.",
            remedy="Make a backup now (db_backup), then look: ansible-playbook playbooks/status.yml -e env=…",
        )


def remove_backup(folder: Path) -> None:
    """Remove a backup; from the first moment on it no longer looks like one."""
    doomed = folder.with_name(f"{DELETED}{folder.name}-{secrets.token_hex(2)}")
    folder.rename(doomed)
    descriptor = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    shutil.rmtree(doomed)


def _finish_deleting(backup_dir: Path) -> None:
    """Remove what an earlier clean-up was killed over."""
    for folder in backup_dir.glob(f"{DELETED}*"):
        shutil.rmtree(folder)


@contextmanager
def _alone(state_dir: Path) -> Iterator[None]:
    """Let one clean-up work at a time."""
    descriptor = os.open(state_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refused(
            f"Another clean-up is at work in {state_dir}.",
            untouched="This one deleted nothing.",
            remedy="Wait until it has ended, then start again.",
        ) from None
    finally:
        os.close(descriptor)


# -- the record ---------------------------------------------------------------------------------------------------


class _Record:
    """The journal of all clean-ups; nothing is deleted where it cannot be written."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / JOURNAL
        self._run_id = new_run_id(datetime.now(timezone.utc), secrets.token_hex(2))

    def __call__(self, action: str, outcome: str = "ok", *, changed: bool = False, **data: Any) -> None:
        event = {
            "run_id": self._run_id, "phase": "clean_up", "action": action, "at": utc_now(), "seconds": 0.0,
            "outcome": outcome, "changed": changed, "data": data,
        }  # fmt: skip
        try:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            append_event(self._path, event)
        except (JournalBroken, NotTrusted, OSError, ValueError) as error:
            reason = error.message if isinstance(error, RollbackError) else f"{error}."
            raise Failed(
                f"The journal of clean-ups {self._path} cannot be written: {reason}",
                untouched="Nothing more was deleted.",
                remedy=f"Keep it for study under another name (mv '{self._path}' '{self._path}.old'), or make room, "
                "then start again.",
            ) from None


def _stopped(error: Exception, deleted: Sequence[Verdict], going: Sequence[Verdict]) -> Failed:
    done = ", ".join(verdict.name for verdict in deleted) or "nothing"
    told = error if isinstance(error, RollbackError) else None
    return Failed(
        told.message if told else f"A deletion failed: {str(error).strip()}.",
        untouched=f"Deleted before: {done}. Not deleted: "
        f"{', '.join(verdict.name for verdict in going[len(deleted) :])}.",
        remedy=told.remedy if told else "Remove the cause, then start again.",
        deleted=[verdict.name for verdict in deleted],
    )


def _order(verdict: Verdict) -> tuple[int, str]:
    return ORDER.index(verdict.kind), verdict.made_at


def _as_data(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    return [{name: value for name, value in verdict._asdict().items() if name != "goes"} for verdict in verdicts]


def _data(verdict: Verdict) -> dict[str, Any]:
    return {"kind": verdict.kind, "name": verdict.name, "bytes": verdict.bytes, "reason": verdict.reason}


def _anchor_name(plan: Plan) -> str | None:
    return str(plan.anchor["backup_id"]) if plan.anchor else None
