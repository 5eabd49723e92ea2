# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every migration up, down and up again, on a scratch database with rows in it."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .._database.postgresql.connection import Server
from .._database.postgresql.filling import fill
from .._database.postgresql.scratch import copy_of, scratch_database, take_snapshot
from .._domain.errors import Failed
from .._domain.migration_evidence import Snapshot, judge_again, judge_down, judge_up
from .._domain.migration_findings import Finding
from .._process import check_finished, private_home, run_program
from . import Engine
from .partial_project import PartialProject, partial_project
from .stepping import all_up, see_session, step_down, step_up
from .tool import Tool

NEW_ROWS = 2
"""Rows that only the newer release could have written: one with the largest values, one with nulls."""

NEW_ROWS_BEGIN = 1001

PROVEN, FAILED, NOT_TRIED = "proven", "failed", "not tried"


def _end_in_order(_signal: int, _frame: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


@dataclass
class Proof:
    """What the round trips came to.

    Attributes:
        findings: what was seen.
        outcomes: by migration, `PROVEN`, `FAILED` or `NOT_TRIED`.
        seen: by migration, the database before and after its way up.
        unproven: what could not be proven, one sentence each.
    """

    findings: list[Finding] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[Snapshot, Snapshot]] = field(default_factory=dict)
    unproven: list[str] = field(default_factory=list)


class _FreshTool(Tool):
    """A migration tool on a database that may have no state table yet."""

    def state(self) -> list[str]:
        """Return what the state table lists; nothing where there is none yet."""
        table = self.engine.state_table
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE nspname = %s AND relname = %s",
                [table.schema, table.table],
            )
            return table.read_with(cursor, self.database) if cursor.fetchone() is not None else []


class RoundTrips:
    """The round trips of a project's migrations.

    Args:
        engine: the migration engine.
        params: the parameters of M(balcon.rollback.migration_lint).
    """

    def __init__(self, engine: Engine, params: Mapping[str, Any]) -> None:
        self._engine = engine
        self._params = params
        self._server = Server(params["scratch_url"])
        self._partial: PartialProject | None = None
        self._done: list[str] = []
        self._main = ""
        self._proof = Proof()

    def prove(self, judged: Sequence[str]) -> Proof:
        """Apply all migrations to a scratch database, and take each that is judged back and forth on copies of it.

        Args:
            judged: the migrations to judge; the others are only applied.
        """
        # A cancelled job of a build server gets this: the scratch database is dropped on the way out.
        signal.signal(signal.SIGTERM, _end_in_order)
        order = list(self._engine.available())
        self._proof.outcomes = dict.fromkeys(judged, NOT_TRIED)
        with ExitStack() as stack:
            if not self._engine.has_command("up_one"):
                project = partial_project(self._engine, self._params["engine"], self._params["engine_options"])
                self._partial = stack.enter_context(project)
            self._main = stack.enter_context(scratch_database(self._server))
            self._see_where_the_tool_goes()
            before = order[: min(order.index(name) for name in judged)] if judged else order
            if self._apply(before) and (not before or self._seed()):
                self._prove_each(order[len(before) :], set(judged))
        return self._proof

    def _see_where_the_tool_goes(self) -> None:
        """See the tool's session in the scratch database before its first step, by a command that only reads."""
        if not self._engine.has_command("status"):
            self._proof.unproven.append(
                "The project has no status command: where its tool connects to was seen only while it migrated."
            )
            return
        try:
            see_session(self._tool(self._main))
        except Failed as error:
            # Some fail as long as nothing is applied; where it connected to was seen all the same.
            if not error.details.get("session_seen"):
                raise

    def _prove_each(self, names: Sequence[str], judged: set[str]) -> None:
        for name in names:
            going_on = self._prove_one(name) if name in judged else self._apply([name])
            if not going_on:
                return

    def _apply(self, names: Sequence[str]) -> bool:
        try:
            self._up(self._main, names)
        except Failed as error:
            applied = self._tool(self._main).state()
            failing = next((name for name in names if name not in applied), names[-1])
            self._say("up-fails", failing, f"It could not be applied to the scratch database: {error.message}")
            return False
        return True

    def _prove_one(self, name: str) -> bool:
        empty = self._fill(self._main, only_empty=True, largest=False)
        self._proof.unproven += [
            f"{name}: {table} was empty on the scratch database ({reason})." for table, reason in empty.items()
        ]
        before = self._look(self._main)
        if not self._apply([name]):
            self._proof.outcomes[name] = FAILED
            return False
        after = self._look(self._main)
        self._proof.seen[name] = (before, after)
        found = [*judge_up(name, before, after), *self._back_and_again(name, before, after)]
        self._proof.findings += found
        self._proof.outcomes[name] = FAILED if any(each.rule in _BROKEN for each in found) else PROVEN
        return True

    def _back_and_again(self, name: str, before: Snapshot, after: Snapshot) -> list[Finding]:
        with copy_of(self._server, self._main) as copy:
            try:
                self._down(copy, name)
            except Failed as error:
                return [_seen("down-fails", name, f"Its way back failed on the scratch database: {error.message}")]
            found = judge_down(name, before, self._look(copy))
            try:
                self._up(copy, [name])
            except Failed as error:
                message = f"After its way back it could not be applied again: {error.message}"
                return [*found, _seen("up-again-fails", name, message)]
            found += judge_again(name, after, self._look(copy))
        return [*found, *self._back_with_new_rows(name), *self._application(name)]

    def _back_with_new_rows(self, name: str) -> list[Finding]:
        with copy_of(self._server, self._main) as copy:
            self._fill(copy, only_empty=False, largest=True, first=NEW_ROWS_BEGIN, rows=NEW_ROWS)
            try:
                self._down(copy, name)
            except Failed as error:
                message = f"With rows that only the newer release can write, its way back failed: {error.message}"
                return [_seen("down-fails-on-new-rows", name, message)]
        return []

    def _up(self, database: str, names: Sequence[str]) -> None:
        if not names:
            return
        tool = self._tool(database)
        if self._partial is None:
            step_up(tool, names, [])
        else:
            self._partial.show([*self._done, *names])
            all_up(tool, names, [])
        if database == self._main:
            self._done += names

    def _down(self, database: str, name: str) -> None:
        step_down(self._tool(database), [name], [])

    def _tool(self, database: str) -> Tool:
        return _FreshTool(
            self._partial.engine if self._partial else self._engine,
            self._server,
            database,
            self._params["environment"] or {},
            lock_timeout=self._params["lock_timeout"],
            step_timeout=self._params["step_timeout"],
        )

    def _seed(self) -> bool:
        if self._params["seed"]:
            remedy = "Run it by hand on an empty database that has the released migrations."
            self._run(self._params["seed"], "The seed command", self._main, remedy)
        return True

    def _run(self, command: Sequence[str], what: str, database: str, remedy: str) -> None:
        tool = self._tool(database)
        with private_home() as home:
            finished = run_program(
                command,
                environment=tool.environment(home),
                folder=str(tool.engine.folder),
                timeout=self._params["step_timeout"],
                secrets=tool.secrets(),
            )
        check_finished(finished, f"{what} ({' '.join(command)})", self._params["step_timeout"], remedy)

    def _application(self, name: str) -> list[Finding]:
        """See that the application works after the way up, after the way back, and after the way up again."""
        if not self._params["verify"]:
            return []
        found: list[Finding] = []
        with copy_of(self._server, self._main) as copy:
            found += self._verify(copy, name, "up", "its way up")
            try:
                self._down(copy, name)
                if self._partial:
                    self._partial.show([each for each in self._done if each != name])
                found += self._verify(copy, name, "down", "its way back")
                self._up(copy, [name])
                found += self._verify(copy, name, "up", "its second way up")
            except Failed:
                return found  # said by the round trip already
        return found

    def _verify(self, database: str, name: str, direction: str, after: str) -> list[Finding]:
        try:
            self._run(self._params["verify"], "The command that shows that the application works", database, "")
        except Failed as error:
            return [_seen(f"app-fails-after-{direction}", name, f"After {after}: {error.message}")]
        return []

    def _fill(
        self, database: str, *, only_empty: bool, largest: bool, first: int = 1, rows: int | None = None
    ) -> dict[str, str]:
        wanted = self._params["fill_rows"] if rows is None else rows
        if not self._params["fill_rows"]:
            return {}
        return fill(
            self._server, database, self._state_table, wanted, first=first, only_empty=only_empty, largest=largest
        )

    def _look(self, database: str) -> Snapshot:
        return take_snapshot(self._server, database, self._state_table)

    @property
    def _state_table(self) -> str:
        table = self._engine.state_table
        with self._server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT format('%%I.%%I', %s::text, %s::text)", [table.schema, table.table])
            return str((cursor.fetchone() or [""])[0])

    def _say(self, rule: str, name: str, message: str) -> None:
        self._proof.findings.append(_seen(rule, name, message))


_BROKEN = (
    "down-fails", "up-again-fails", "down-leaves-change", "up-again-differs", "rows-changed", "rows-after-down",
)  # fmt: skip
"""Findings with which a round trip is not proven."""


def _seen(rule: str, name: str, message: str) -> Finding:
    return Finding(rule, name, message, evidence="scratch")
