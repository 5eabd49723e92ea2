# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four acts: what is typed, what is to come of it, and what came of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ledger import Span, Write, longest_gap, lost_writes
from playbook import PlaybookRun, run_playbook
from production import State, production_rows, read_failed_candidate, read_state
from stage import DATABASES, Stage
from writers import WRITERS, Writers, WriterSilent

ASIDE = frozenset({"priority"})
"""The column that act 3 takes back: what was written there goes with it, as the plan says."""

ADDED = "20240107000000-add-project-priority.ts"
"""The migration that act 3 takes back."""

WIDENED = "20240106000000-widen-project-title.ts"
"""The migration that act 4 fails to take back: its first statement drops `subtitle`, its second finds a long title."""

LONG_TITLE = "A balcony of a hundred and twenty characters, which no column of fifty can hold".ljust(120, "!")
SHOWN_LOSSES = 5


@dataclass(frozen=True)
class Act:
    """One call of the playbook, and what is to come of it.

    Args:
        number: as shown.
        title: what happens.
        variables: what a person types after ``-e``.
        outcome: expected in the run's record.
        verify: says what is wrong with production's state, given the state before and after.
        closes: whether production is closed for a while.
    """

    number: str
    title: str
    variables: dict[str, str]
    outcome: str
    verify: Callable[[State, State], str]
    closes: bool = False


@dataclass(frozen=True)
class Played:
    """An act that was played."""

    act: Act
    span: Span
    run: PlaybookRun
    wrong_state: str


def untouched(before: State, after: State) -> str:
    """Say what is wrong, when production is not the same database in the same state."""
    if not before.open_as_before:
        return "production was not open before"
    return "" if before == after else f"production changed: {before} became {after}"


def rolled_back(before: State, after: State) -> str:
    """Say what is wrong, when production is not another database without its last migration."""
    if after.database == before.database:
        return "production is still the same database"
    if after.migrations != before.migrations[:-1] or ADDED in after.migrations:
        return f"the state table says {after.migrations}"
    if set(before.columns) - set(after.columns) != ASIDE or not after.open_as_before:
        return f"production is not as it should be: {after}"
    return ""


def failed_half_way(candidate: State) -> str:
    """Say what is wrong, when the candidate did not keep the first statement of the plan without the second."""
    if "title" in candidate.columns and "subtitle" not in candidate.columns and WIDENED in candidate.migrations:
        return ""
    return f"the plan did not fail half-way on the candidate: {candidate}"


REFUSED = Act(
    "1", "production, never rehearsed",
    {"env": "production", "reason": "priorities break invoicing", "confirm": DATABASES["production"]},
    "refused", untouched,
)  # fmt: skip
REHEARSED = Act("2", "rehearsed on staging", {"env": "staging"}, "rehearsed", untouched)
ROLLED_BACK = Act("3", "production", REFUSED.variables, "rolled_back", rolled_back, closes=True)
REHEARSED_AGAIN = Act("4", "a further migration, rehearsed", {"env": "staging"}, "rehearsed", untouched)
RESTORED = Act(
    "4", "production, failing half-way",
    {"env": "production", "reason": "subtitles were not wanted", "confirm": DATABASES["production"]},
    "restored", untouched, closes=True,
)  # fmt: skip


CALLS = (REFUSED, REHEARSED, ROLLED_BACK, REHEARSED_AGAIN, RESTORED)
"""Every call of the playbook, in order: the fourth act has two."""


@dataclass
class Demo:
    """The demo as it is played.

    Args:
        stage: set and filled.
        writers: writing.
    """

    stage: Stage
    writers: Writers
    played: list[Played] = field(default_factory=list)

    def play_all(self) -> None:
        """Play the four acts; end after one that did not come out as said, as the next ones build on it."""
        for act in CALLS:
            if act is RESTORED:
                self._add_long_title()
            self.play(act)
            if list(self._wrongs_of(self.played[-1])):
                return
            if act is ROLLED_BACK:
                # As the next deployment would: what runs now is the current release, and its migration the newest.
                self.stage.platform.settle()

    def _add_long_title(self) -> None:
        self.writers.ask("sql", LONG_TITLE)
        self.writers.wait_for(lambda write: write.values.get("title") == LONG_TITLE, ("sql",))
        print(f"\nThe sql writer has added a project with a title of {len(LONG_TITLE)} characters.", flush=True)

    def play(self, act: Act) -> None:
        """Play one act, and wait until both writers are heard again."""
        print(f"\nAct {act.number}: {act.title}", flush=True)
        self._hear_writers()
        before, begin = read_state(self.stage), time.monotonic()
        log = self.stage.logs / f"act-{act.number}{'-rehearsal' if act is REHEARSED_AGAIN else ''}.log"
        state_dir = self.stage.state_dir(act.variables["env"])
        run = run_playbook(act.variables, state_dir, log, self.stage.playbook)
        end = time.monotonic()
        with contextlib.suppress(WriterSilent):  # the table shows it, as a window that never closed
            self._hear_writers()
        wrong = act.verify(before, read_state(self.stage))
        if act is RESTORED:
            wrong = wrong or failed_half_way(read_failed_candidate(self.stage))
        self.played.append(Played(act, Span(begin, end), run, wrong))
        print(
            f"    {run.outcome} (exit code {run.exit_code}) in {end - begin:.1f} s; all of the output: {log}",
            flush=True,
        )

    def _hear_writers(self) -> None:
        now = time.monotonic()
        self.writers.wait_for(lambda write: write.clock > now)

    # -- what came of it ------------------------------------------------------------------------------------------

    def lost(self) -> dict[str, list[Write]]:
        """Return the acknowledged writes that production does not hold, by writer; ask when the writers have ended."""
        rows = production_rows(self.stage)
        return {name: lost_writes(self.writers.writes(name), rows, ASIDE) for name in WRITERS}

    def table(self, lost: dict[str, list[Write]]) -> list[list[str]]:
        """Return the cells of the closing table."""
        writes = [write for name in WRITERS for write in self.writers.writes(name)]
        missing = [write for name in WRITERS for write in lost[name]]
        rows = [HEADINGS]
        for played in self.played:
            windows = [longest_gap(self.writers.writes(name), played.span) for name in WRITERS]
            report = played.run.report
            rows.append([
                f"{played.act.number} {played.act.title}", played.run.outcome.replace("_", " "),
                " / ".join(f"{window:.1f} s" for window in windows),
                *counts([write for write in writes if write in played.span]),
                str(sum(write in played.span for write in missing)),
                str(report.relative_to(self.stage.folder.parent)) if report else "none",
            ])  # fmt: skip
        rows.append(["all, with what lay between", "", "", *counts(writes), str(len(missing)), ""])
        return rows

    def wrongs(self, lost: dict[str, list[Write]]) -> list[str]:
        """Return a sentence for every check that failed."""
        found = [wrong for played in self.played for wrong in self._wrongs_of(played)]
        if len(self.played) < len(CALLS):
            found.append(f"only {len(self.played)} of {len(CALLS)} calls of the playbook were made")
        for name in WRITERS:
            if not any(write.acknowledged for write in self.writers.writes(name)):
                found.append(f"the {name} writer had nothing acknowledged")
            found += [
                f"lost: {write.reference}, acknowledged to the {name} writer as {dict(write.values)}"
                for write in lost[name][:SHOWN_LOSSES]
            ]
            if len(lost[name]) > SHOWN_LOSSES:
                found.append(f"lost: {len(lost[name])} writes of the {name} writer in all")
        return found

    def _wrongs_of(self, played: Played) -> Iterator[str]:
        act, run = played.act, played.run
        name = f"act {act.number} ({act.title})"
        if run.outcome != act.outcome:
            yield f"{name}: the outcome is '{run.outcome}' instead of '{act.outcome}'"
        if (run.exit_code == 0) != (act.outcome in ("rehearsed", "rolled_back")):
            yield f"{name}: the exit code is {run.exit_code}"
        if played.wrong_state:
            yield f"{name}: {played.wrong_state}"
        if run.report is None:
            yield f"{name}: there is no report"
        for writer in WRITERS:
            refused = [w for w in self.writers.writes(writer) if w in played.span and not w.acknowledged]
            if act.closes and not refused:
                yield f"{name}: the {writer} writer was never refused, so that production was not closed"
            if not act.closes and refused:
                yield f"{name}: the {writer} writer was refused {len(refused)} times ({refused[0].error})"
            if longest_gap(self.writers.writes(writer), played.span) == float("inf"):
                yield f"{name}: nothing was acknowledged to the {writer} writer afterwards"


HEADINGS = ["act", "outcome", "window (api / sql)", "refused", "acknowledged", "lost", "report"]


def counts(writes: list[Write]) -> list[str]:
    """Return how many of the writes were refused, and how many acknowledged."""
    acknowledged = sum(write.acknowledged for write in writes)
    return [f"{len(writes) - acknowledged:,}", f"{acknowledged:,}"]


def aligned(rows: list[list[str]]) -> list[str]:
    """Return the rows of a table as lines, columns aligned, a rule below the headings."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
