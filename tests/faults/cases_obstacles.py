# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way: locks, prepared transactions, slots, missing rights, other people's sessions, a pooler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psycopg2.extensions import parse_dsn

from .case import AFTER, BEFORE, Act, Case, nothing
from .ground import PRODUCTION
from .moments import START
from .pooler import can_be_had, pooler
from .saying import all_of, says
from .users import Users

if TYPE_CHECKING:
    from .trial import Trial

STRANGER, PASSWORD = "stranger", "of a stranger"


def _execute(trial: Trial, statements: Sequence[str], database: str) -> None:
    with trial.ground.scene.session("production", database) as session, session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def with_sql(*statements: str, undone_by: Sequence[str], database: str = "postgres") -> Act:
    """Return an act that runs SQL as a superuser, and other SQL when the case is over."""

    def act(trial: Trial) -> None:
        trial.endings.callback(_undo, trial, undone_by, database)
        _execute(trial, statements, database)

    return act


def _undo(trial: Trial, statements: Sequence[str], database: str) -> None:
    with contextlib.suppress(Exception):  # the server may be gone; the next case starts it
        _execute(trial, statements, database)


PREPARE = ("BEGIN", "CREATE TABLE later (a int)", "PREPARE TRANSACTION 'nobody knows whose'")
PREPARED = with_sql(*PREPARE, undone_by=["ROLLBACK PREPARED 'nobody knows whose'"], database=PRODUCTION)
SLOT = with_sql(
    "SELECT pg_create_logical_replication_slot('to_the_warehouse', 'pgoutput')",
    undone_by=["SELECT pg_drop_replication_slot('to_the_warehouse')"], database=PRODUCTION,
)  # fmt: skip
NO_CREATEDB = with_sql("ALTER ROLE shop NOCREATEDB", undone_by=["ALTER ROLE shop CREATEDB"])


def _then_go(act: Act) -> Act:
    """It comes after preflight has looked: while the playbook stands before a phase."""

    def fault(trial: Trial) -> None:
        act(trial)
        trial.playbook.go()

    return fault


@contextlib.contextmanager
def _stranger(trial: Trial) -> Iterator[str]:
    """A role that is nobody of ours, and may connect and read."""
    _execute(trial, [f"CREATE ROLE {STRANGER} LOGIN PASSWORD '{PASSWORD}'"], "postgres")
    try:
        yield trial.ground.scene.url("production", user=STRANGER, password=PASSWORD)
    finally:
        _undo(trial, [f"DROP ROLE {STRANGER}"], "postgres")


def _session_of_a_stranger(trial: Trial) -> None:
    url = trial.endings.enter_context(_stranger(trial))
    trial.endings.enter_context(trial.ground.scene.session("production", url=url))


def _session_of_a_superuser(trial: Trial) -> None:
    trial.endings.enter_context(trial.ground.scene.session("production", PRODUCTION))


def _with_open_transaction(statement: str) -> Act:
    """Somebody of the application forgot to commit, hours ago; users of other tables notice nothing."""

    def prepare(trial: Trial) -> None:
        url = trial.ground.scene.url("production")
        session = trial.endings.enter_context(trial.ground.scene.session("production", url=url))
        session.autocommit = False
        with session.cursor() as cursor:
            cursor.execute(statement)

    return prepare


def _through_a_pooler(*, past_it: bool) -> Act:
    """The application and its URL go through PgBouncer, which reconnects at once; the run may have a way past it."""

    def prepare(trial: Trial) -> None:
        direct = trial.ground.scene.url("production")
        pooled = trial.endings.enter_context(pooler(parse_dsn(direct)))
        trial.users = Users(pooled)
        changes = trial.changes["production"]
        changes["rollback_database_url"] = pooled
        if past_it:
            changes["rollback_admin_url"] = trial.ground.scene.url("production", database="postgres")

    return prepare


CASES: list[Case] = [
    Case(
        "table-locked-for-hours",
        "another session holds a lock all the time",
        (BEFORE,),
        nothing,
        _with_open_transaction("LOCK TABLE project_files"),
        says("lock"),
    ),
    Case(
        "idle-transaction",
        "a session sits in a transaction that has written",
        (AFTER,),
        nothing,
        _with_open_transaction("UPDATE project_files SET name = name"),
        says(code=0),
    ),
    Case("prepared-transaction", "there before the start", (BEFORE,), nothing, PREPARED, says("nobody knows whose")),
    Case(
        "prepared-transaction-late",
        "prepared after preflight, before closing",
        (BEFORE,),
        _then_go(PREPARED),
        afterwards=says("nobody knows whose"),
        stand=START["close"],
    ),
    Case("logical-slot", "there before the start", (BEFORE,), nothing, SLOT, says("to_the_warehouse")),
    Case(
        "logical-slot-late",
        "made after preflight, before closing",
        (BEFORE,),
        _then_go(SLOT),
        afterwards=says("to_the_warehouse"),
        stand=START["close"],
    ),
    Case("no-createdb", "the role may not create databases", (BEFORE,), nothing, NO_CREATEDB, says("CREATEDB")),
    Case(
        "no-createdb-late",
        "taken away after closing",
        (BEFORE,),
        _then_go(NO_CREATEDB),
        afterwards=says("restored"),
        stand=START["candidate"],
    ),
    Case(
        "session-of-a-stranger",
        "another role's session, no pg_signal_backend",
        (BEFORE,),
        nothing,
        _session_of_a_stranger,
        says("pg_signal_backend", STRANGER),
    ),
    Case(
        "session-of-a-stranger-late",
        "it comes after preflight, before closing",
        (BEFORE,),
        _then_go(_session_of_a_stranger),
        afterwards=says(STRANGER),
        stand=START["close"],
    ),
    Case(
        "session-of-a-superuser",
        "it comes after preflight, before closing",
        (BEFORE,),
        _then_go(_session_of_a_superuser),
        afterwards=says("superuser"),
        stand=START["close"],
    ),
    Case(
        "pooler-passed-by",
        "users behind PgBouncer, admin URL past it",
        (AFTER,),
        nothing,
        _through_a_pooler(past_it=True),
        says(code=0),
        needs=can_be_had,
    ),
    Case(
        "pooler-alone",
        "the only URL leads through PgBouncer",
        (BEFORE,),
        nothing,
        _through_a_pooler(past_it=False),
        all_of(says()),
        needs=can_be_had,
    ),
]
