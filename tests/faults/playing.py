# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playing cases: one after the other on one ground, each with a row of the table."""

from __future__ import annotations

import importlib
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import checks
from .case import PARTIAL, Case, NotHere
from .ground import Ground
from .trial import Trial, until

PASSED, FAILED, SKIPPED = VERDICTS = "passed", "failed", "skipped"
NEVER_CAME = "the moment never came"
"""The problem of a case that could not be played: it shows nothing, whatever protection was taken out."""

PATIENCE_SECONDS = 60.0
HERE = Path(__file__).resolve().parent
PACKAGE = "ansible_collections.balcon.rollback.tests.faults"


@dataclass
class Row:
    """What came of one case.

    Attributes:
        case: its name.
        moment: when the fault happened.
        end: what the database is now.
        acknowledged: how many writes were acknowledged to the users.
        lost: how many of these are not there.
        seconds: from the start of the playbook until nobody was left.
        verdict: ``passed``, ``failed`` or ``skipped``.
        problems: what was wrong, by the name of the check.
    """

    case: str
    moment: str
    end: str = ""
    acknowledged: int = 0
    lost: int = 0
    seconds: float = 0.0
    verdict: str = FAILED
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The row of the table."""
        return (
            f"{self.case:<46} {self.moment:<52.52} {self.end:<8} {self.acknowledged:>6} {self.lost:>4} "
            f"{self.seconds:>6.1f}  {self.verdict}"
        )

    def as_json(self) -> dict[str, object]:
        """Return the row for a program."""
        return asdict(self)


HEADER = f"{'case':<46} {'moment':<52} {'end':<8} {'acked':>6} {'lost':>4} {'s':>6}  verdict"


def all_cases() -> list[Case]:
    """Return the cases of every file ``cases_*.py`` here, in the order of their files."""
    modules = [importlib.import_module(f"{PACKAGE}.{path.stem}") for path in sorted(HERE.glob("cases_*.py"))]
    return [case for module in modules for case in module.CASES]


def choose(cases: Sequence[Case], names: Sequence[str]) -> list[Case]:
    """Return the cases whose names are given, or begin with what is given followed by ``*``.

    Raises:
        LookupError: there is no such case.
    """
    chosen = []
    for name in names:
        found = [case for case in cases if case.name == name or (name[-1:] == "*" and case.name.startswith(name[:-1]))]
        if not found:
            raise LookupError(f"There is no case {name}; there are: {', '.join(case.name for case in cases)}")
        chosen += [case for case in found if case not in chosen]
    return chosen


def play_all(ground: Ground, cases: Sequence[Case], keep: Path | None = None) -> Iterator[Row]:
    """Play cases, and yield a row for each when it is over.

    Args:
        ground: the servers.
        cases: what is played.
        keep: a folder into which the records of cases that fail are copied, if any.
    """
    for case in cases:
        row = play(ground, case)
        folder = ground.folder / "trials" / case.name
        if keep and row.verdict == FAILED and folder.exists():
            shutil.rmtree(keep / case.name, ignore_errors=True)
            shutil.copytree(folder, keep / case.name, symlinks=True, ignore=shutil.ignore_patterns("checkout"))
        shutil.rmtree(folder, ignore_errors=True)
        yield row


def play(ground: Ground, case: Case) -> Row:
    """Play one case."""
    lacking = case.needs()
    if lacking:
        return Row(case.name, lacking, verdict=SKIPPED)
    (ground.folder / "trials").mkdir(mode=0o700, exist_ok=True)
    trial = Trial(ground, ground.folder / "trials" / case.name, case.lease)
    row = Row(case.name, case.moment)
    started = time.monotonic()
    try:
        ground.reset()
        _act(trial, case)
        row.seconds = round(time.monotonic() - started, 1)
        _judge(trial, case, row)
    except NotHere as reason:
        row.moment, row.verdict = str(reason), SKIPPED
    except TimeoutError as error:
        row.problems[NEVER_CAME] = str(error)
    except Exception as error:  # noqa: BLE001  # a case that cannot be played is a case that failed; the next ones go on
        row.problems["played"] = f"{type(error).__name__}: {error}"
        (trial.folder / "traceback.txt").write_text(traceback.format_exc())
    finally:
        trial.close()
    return row


def _act(trial: Trial, case: Case) -> None:
    case.prepare(trial)
    trial.users.start()
    until(trial.users.all_have_written, "every user has written once")
    trial.start(*case.arguments, environment=case.environment, stand=case.stand)
    if case.stand:
        trial.playbook.wait_until_it_stands()
    case.fault(trial)
    trial.playbook.wait()
    trial.settle(case.lease + PATIENCE_SECONDS)
    trial.endings.close()
    case.afterwards(trial)
    for playbook in trial.playbooks:
        playbook.wait()
    trial.settle(case.lease + PATIENCE_SECONDS)


def _judge(trial: Trial, case: Case, row: Row) -> None:
    trial.users.end()
    row.acknowledged = trial.users.acknowledged()
    seen = checks.look(trial)
    row.end = seen.end
    row.problems = checks.check(trial, case, seen)
    row.lost = checks.lost_writes(trial, seen) if "acknowledged writes" in row.problems and seen.end != PARTIAL else 0
    row.verdict = FAILED if row.problems else PASSED
