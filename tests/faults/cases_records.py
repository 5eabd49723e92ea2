# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run writes down, gone or not to be written, or edited: the database does not depend on it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from . import small_disk
from .case import BEFORE, HELD, Act, Case, nothing
from .moments import INSIDE, START, inside
from .saying import says

if TYPE_CHECKING:
    from .trial import Trial

EDITED = {"journal": "it was edited: that is the fault"}
WITHOUT_RECORDS = {"journal": "nothing could be written into it"}

# -- the state folder is lost, full, read-only, open to others -------------------------------------------------------


def _remove(folder: Path) -> None:
    """Remove it although somebody writes into it meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def _lost(trial: Trial) -> None:
    _remove(trial.state_dir())
    trial.playbook.go()


def _lost_and_everything_killed(trial: Trial) -> None:
    with inside(trial, INSIDE["migrate_down"]):
        _remove(trial.state_dir())
        trial.playbook.kill_everything()


def _on_a_small_disk(trial: Trial) -> None:
    trial.endings.enter_context(small_disk.small_disk(trial.state_dir(), 8))


def _full(leave: int = 0) -> Act:
    def fault(trial: Trial) -> None:
        small_disk.fill(trial.state_dir(), leave)
        trial.playbook.go()

    return fault


def _read_only(trial: Trial) -> None:
    trial.endings.enter_context(small_disk.read_only(trial.state_dir()))
    trial.playbook.go()


def _open_to_others(trial: Trial) -> None:
    trial.state_dir().chmod(0o755)
    trial.endings.callback(trial.state_dir().chmod, 0o700)


# -- evidence and journal are edited ----------------------------------------------------------------------------------


def _edit_evidence(edit: Callable[[dict[str, object]], None], *, signed: bool = True) -> Act:
    def prepare(trial: Trial) -> None:
        if not signed:
            trial.changes["production"]["rollback_signing_key"] = None
        for path in (trial.state_dir() / "evidence").glob("*.json"):
            evidence = json.loads(path.read_text())
            edit(evidence)
            path.write_text(json.dumps(evidence))

    return prepare


def _younger(evidence: dict[str, object]) -> None:
    """As somebody does whose evidence has become too old."""
    created = datetime.fromisoformat(str(evidence["created_at"]))
    evidence["created_at"] = (created + timedelta(minutes=1)).isoformat()


def _unsigned(evidence: dict[str, object]) -> None:
    evidence["signature"] = None


def _no_evidence(trial: Trial) -> None:
    shutil.rmtree(trial.state_dir() / "evidence")


def _edit_journal(edit: Callable[[list[str]], list[str]]) -> Act:
    def fault(trial: Trial) -> None:
        journal = trial.run_folder() / "journal.jsonl"
        journal.write_text("".join(f"{line}\n" for line in edit(journal.read_text().splitlines())))
        trial.playbook.go()

    return fault


def _refusal_to_success(lines: list[str]) -> list[str]:
    """One event tells something else now."""
    return [lines[0].replace('"outcome":"ok"', '"outcome":"failed"'), *lines[1:]]


def _without_a_line(lines: list[str]) -> list[str]:
    return [*lines[:1], *lines[2:]]


def _cut(lines: list[str]) -> list[str]:
    return [*lines[:-1], lines[-1][: len(lines[-1]) // 2]]


def _journal_case(name: str, phase: str, edit: Callable[[list[str]], list[str]], what: str) -> Case:
    return Case(
        f"journal-{name}-at-{phase.replace('_', '-')}", f"{what}, before {phase.replace('_', ' ')}", (BEFORE,),
        _edit_journal(edit), afterwards=says("The journal is broken"), stand=START[phase], forgives=EDITED,
    )  # fmt: skip


def _disk_case(name: str, phase: str, what: str, fault: Act, ends: tuple[str, ...] = (BEFORE,), *said: str) -> Case:
    return Case(
        f"state-{name}-at-{phase.replace('_', '-')}", f"state folder {what}, before {phase.replace('_', ' ')}", ends,
        fault, _on_a_small_disk, says(*said), stand=START[phase], forgives=WITHOUT_RECORDS, needs=small_disk.can_be_had,
    )  # fmt: skip


CASES: list[Case] = [
    *(
        Case(
            f"state-lost-at-{phase.replace('_', '-')}",
            f"state folder removed before {phase.replace('_', ' ')}",
            (BEFORE,) if phase != "reopen" else (BEFORE, HELD),
            _lost,
            afterwards=says(),
            stand=START[phase],
        )
        for phase in ("close", "candidate", "swap", "reopen")
    ),
    Case(
        "state-lost-and-everything-killed",
        "removed while the tool works; then all is killed",
        (BEFORE,),
        _lost_and_everything_killed,
        INSIDE["migrate_down"].prepare,
        stand=START["migrate_down"],
        lease=30,
    ),
    *(_disk_case("full", phase, "full", _full()) for phase in ("close", "swap")),
    _disk_case("full", "back_up", "nearly full", _full(16384), (BEFORE,), "No space left"),
    *(_disk_case("read-only", phase, "read-only", _read_only) for phase in ("candidate", "swap")),
    Case(
        "state-open-to-others",
        "the state folder can be read by others",
        (BEFORE,),
        nothing,
        _open_to_others,
        says("can be read by others"),
    ),
    Case(
        "evidence-edited",
        "made younger, with a key",
        (BEFORE,),
        nothing,
        _edit_evidence(_younger),
        says("edited"),
    ),
    Case(
        "evidence-edited-no-key",
        "made younger, no key",
        (BEFORE,),
        nothing,
        _edit_evidence(_younger, signed=False),
        says("edited"),
    ),
    Case(
        "evidence-unsigned",
        "its signature taken away",
        (BEFORE,),
        nothing,
        _edit_evidence(_unsigned),
        says("not signed"),
    ),
    Case("evidence-gone", "no evidence", (BEFORE,), nothing, _no_evidence, says("Nobody has rehearsed")),
    _journal_case("edited", "close", _refusal_to_success, "an event edited"),
    _journal_case("edited", "swap", _refusal_to_success, "an event edited"),
    _journal_case("shortened", "candidate", _without_a_line, "an event taken out"),
    _journal_case("cut", "verify", _cut, "its last line cut"),
]
