# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is checked after every fault, each with a name of its own; a check returns what is wrong, or nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import parse_description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import RollbackError
from ansible_collections.balcon.rollback.plugins.module_utils._domain.outcome import outcome
from ansible_collections.balcon.rollback.plugins.module_utils._run import read_events

from . import processes
from .case import AFTER, BEFORE, HELD, PARTIAL, Case
from .ground import PRODUCTION

if TYPE_CHECKING:
    from .trial import Trial

COMMENT = "comment"
"""In a case's C(forgives): the run is left to a person, and its description with it."""

UNFINISHED = "unfinished"
"""What a journal tells of a run that died with its controller, as long as nobody finished it."""

_DID_NOTHING = ("refused", "aborted")
"""What a run says that was turned away; it tells nothing of what others did."""

_TRUE_OF = {
    BEFORE: ("refused", "aborted", "restored", "failed", "rehearsed", UNFINISHED),
    AFTER: ("rolled_back", "failed", UNFINISHED),
    HELD: ("failed",),
}


@dataclass(frozen=True)
class Seen:
    """What is there after a fault.

    Attributes:
        end: ``before``, ``after``, ``held`` or ``partial``.
        why: what is partial about it.
        exit_codes: of the playbooks.
    """

    end: str
    why: str
    exit_codes: tuple[int | None, ...]


def look(trial: Trial) -> Seen:
    """Tell which end a case has come to."""
    codes = tuple(playbook.process.poll() for playbook in trial.playbooks)
    databases = trial.ground.databases()
    if PRODUCTION not in databases:
        return Seen(PARTIAL, f"there is no {PRODUCTION}, but {', '.join(sorted(databases))}", codes)
    if not databases[PRODUCTION]:
        kept = any("__before_" in name for name in databases)
        return Seen(HELD, "", codes) if kept else Seen(PARTIAL, "production is closed", codes)
    contents = trial.ground.contents()
    for end, known in ((BEFORE, trial.ground.before), (AFTER, trial.ground.after)):
        if contents == known:
            return Seen(end, "", codes)
    parts = [
        f"{part} is neither as before nor as after"
        for part in ("schema", "state", "rows")
        if getattr(contents, part) not in (getattr(trial.ground.before, part), getattr(trial.ground.after, part))
    ]
    return Seen(PARTIAL, "; ".join(parts) or "schema, state and rows do not belong together", codes)


def _entirely(_trial: Trial, case: Case, seen: Seen) -> str:
    """The contents are those of before or after, and of an end that the case allows."""
    if seen.end == PARTIAL:
        return seen.why
    return "" if seen.end in case.ends else f"the end is {seen.end}, allowed: {', '.join(case.ends)}"


def _answers(trial: Trial, _case: Case, seen: Seen) -> str:
    """A user who comes now can write under the public name."""
    return "" if seen.end == HELD else trial.write_once()


def _writes(trial: Trial, _case: Case, seen: Seen) -> str:
    """Every acknowledged write is there, in what is open, or in what is held."""
    if not trial.users.all_have_written():
        return "not every user had a write acknowledged: the case shows nothing"
    lost = lost_writes(trial, seen)
    return f"{lost} acknowledged writes are lost" if lost else ""


def lost_writes(trial: Trial, seen: Seen) -> int:
    """Return how many acknowledged writes are lost."""
    if seen.end != HELD:
        return len(trial.users.lost(trial.ground.written()))
    trial.ground.execute(f"ALTER DATABASE {PRODUCTION} ALLOW_CONNECTIONS true")
    try:
        return len(trial.users.lost(trial.ground.written()))
    finally:
        trial.ground.execute(f"ALTER DATABASE {PRODUCTION} ALLOW_CONNECTIONS false")


def _original(trial: Trial, _case: Case, seen: Seen) -> str:
    """Where the end is *before*, the database is the very one that was there, and not a copy."""
    (oid,) = trial.ground.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", [PRODUCTION])[0]
    return "it is another database than the original" if seen.end == BEFORE and oid != trial.ground.oid else ""


def _maintenance(trial: Trial, _case: Case, seen: Seen) -> str:
    """The flag is up only where the database is held."""
    up = trial.ground.scene.maintenance_file.exists()
    if up and seen.end != HELD:
        return "maintenance mode is on although production is open"
    return "maintenance mode is off although production is closed" if seen.end == HELD and not up else ""


def _properties(trial: Trial, case: Case, seen: Seen) -> str:
    """Owner, privileges, settings, connection limit and comment are what they were.

    Where a person is to decide, the comment is still the run's, and holds the one that was there.
    """
    found, wanted = trial.ground.read_properties(), trial.ground.properties
    if seen.end == HELD or COMMENT in case.forgives:
        description = parse_description(found.comment)
        found = replace(found, comment=description.original_comment if description else found.comment)
    wrong = [name for name in vars(wanted) if getattr(found, name) != getattr(wanted, name)]
    return "; ".join(f"{name} is {getattr(found, name)!r}, was {getattr(wanted, name)!r}" for name in wrong)


def _leftovers(trial: Trial, _case: Case, _seen: Seen) -> str:
    """What is left beside production is closed, named as documented, and says of itself what it is."""
    wrong = []
    for name, admits in trial.ground.databases().items():
        if name == PRODUCTION:
            continue
        description = parse_description(trial.ground.read_properties(name).comment)
        documented = (
            description is not None
            and description.role in ("before", "failed")
            and (f"__{description.role}_{description.run_id}" in name)
        )
        if admits or not documented:
            wrong.append(f"{name} ({'open' if admits else 'closed'}, {description.role if description else 'mute'})")
    return f"left: {', '.join(wrong)}" if wrong else ""


def _journal(trial: Trial, _case: Case, seen: Seen) -> str:
    """The chain of every journal is whole, and what the last run that acted says agrees with what is there."""
    told = []
    for folder in sorted((trial.state_dir() / "runs").glob("*"), key=lambda entry: entry.name):
        try:
            told.append(told_outcome(folder))
        except (RollbackError, OSError) as error:
            return f"{folder.name}: {error}"
    acted = [outcome_told for outcome_told in told if outcome_told not in _DID_NOTHING] or told
    if not acted:
        return ""
    if acted[-1] not in _TRUE_OF.get(seen.end, ()):
        return f"the run says {acted[-1]}, and the end is {seen.end}"
    return ""


def told_outcome(folder: Path) -> str:
    """Return what a run's own records say of it.

    Raises:
        JournalBroken: its journal was edited or cut.
        OSError: it cannot be read.
    """
    events = read_events(folder / "journal.jsonl")
    record = folder / "run.json"
    if record.exists():
        return str(json.loads(record.read_text())["outcome"])
    acted = any(event["data"].get("restored") or event["data"].get("finished") for event in events)
    return outcome(events) if acted else UNFINISHED


def _exit_codes(_trial: Trial, case: Case, seen: Seen) -> str:
    """A playbook exits 0 only where the database is where it was asked to be."""
    wanted = AFTER if case.environment == "production" else BEFORE
    if seen.exit_codes[-1] == 0 and seen.end != wanted:
        return f"ansible-playbook exited 0, and the end is {seen.end}"
    return "a playbook runs on" if None in seen.exit_codes else ""


def _nobody(trial: Trial, _case: Case, _seen: Seen) -> str:
    """No session, no lock and no process of ours is left, on neither server."""
    left = [f"process {' '.join(found.words)[:80]}" for found in processes.of_folder(trial.folder)]
    for kind in ("production", "staging"):
        left += [
            f"{name} on {kind}"
            for (name,) in trial.ground.execute(
                "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'balcon.rollback%%'"
                " UNION ALL SELECT 'lock ' || locktype FROM pg_locks WHERE locktype = 'advisory'",
                kind=kind,
            )
        ]
    return f"left: {'; '.join(left)}" if left else ""


def _staging(trial: Trial, _case: Case, _seen: Seen) -> str:
    """Staging's own database answers, and what a rehearsal left beside it says of itself what it is."""
    with contextlib.suppress(psycopg2.Error):
        wrong = [
            name
            for name, admits in trial.ground.databases("staging").items()
            if ("__" in name and "__rehearsal_" not in name) or (not admits and "__" not in name)
        ]
        trial.ground.scene.execute("staging", "SELECT 1")
        return f"left: {', '.join(wrong)}" if wrong else ""
    return "staging does not answer"


CHECKS: dict[str, Callable[[Trial, Case, Seen], str]] = {
    "entirely before or after": _entirely,
    "answers under its name": _answers,
    "acknowledged writes": _writes,
    "the original itself": _original,
    "maintenance mode": _maintenance,
    "privileges and settings": _properties,
    "leftovers": _leftovers,
    "journal": _journal,
    "exit code": _exit_codes,
    "nobody is left": _nobody,
    "staging": _staging,
}


def check(trial: Trial, case: Case, seen: Seen) -> dict[str, str]:
    """Return what is wrong, by the name of the check; a check that cannot be made is one that fails."""
    wrong = {}
    for name, made in CHECKS.items():
        try:
            problem = made(trial, case, seen)
        except (psycopg2.Error, OSError, ValueError, RuntimeError) as error:
            problem = f"it cannot be checked: {str(error).strip()}"
        if problem and name not in case.forgives:
            wrong[name] = problem
    return wrong
