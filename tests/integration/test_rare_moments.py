# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What seldom happens on a server, and must not make things worse when it does."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import access, clone
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fresh_database import (
    drop_database,
    fresh_database,
    read_locale,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_lock import take_run_lock
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import (
    advance,
    read_comment,
    write_comment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    render_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name

RUN_ID, OTHER = "20261123t081500a3f9", "20261123t091500b4e8"


def comment_of(database: Any) -> str | None:
    with database.session(database.admin_url) as connection, connection.cursor() as cursor:
        return read_comment(cursor, database.name)


def is_open(database: Any) -> bool:
    rows = database.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", [database.name],
                            url=database.admin_url)  # fmt: skip
    return bool(rows[0][0])


def test_a_session_that_does_not_end_leaves_the_database_open(database: Any) -> None:
    """Its process hangs in the operating system: it is told to end, and does not."""
    reach = Server(database.url, database.admin_url)
    database.execute(sql.SQL("COMMENT ON DATABASE {} IS 'ours'").format(sql.Identifier(database.name)))
    with database.session() as stuck:
        process = stuck.info.backend_pid
        os.kill(process, signal.SIGSTOP)
        try:
            with pytest.raises(Refused, match=rf"did not end within 0\.5 seconds: .*{process}") as refusal:
                access.close_database(reach, RUN_ID, patience=0.5)
        finally:
            os.kill(process, signal.SIGCONT)
    assert refusal.value.untouched == f"{database.name} is open again, unaltered."
    assert is_open(database)
    assert comment_of(database) == "ours"


def test_a_lock_that_is_still_held_is_waited_for_and_told(database: Any) -> None:
    reach = Server(database.url, database.admin_url)
    with database.session(database.admin_url) as holder, holder.cursor() as cursor:
        assert take_run_lock(cursor, database.name)
        assert not access.wait_for_release(reach, patience=0.1)
    assert access.wait_for_release(reach)


class Contender(threading.Thread):
    """A run that takes its steps as fast as it can, four times over; what the server refuses, it leaves out."""

    def __init__(self, reach: Server, run_id: str, begin: threading.Barrier, taken: list[tuple[str, str]]) -> None:
        super().__init__()
        self._reach, self._run_id, self._begin, self._taken = reach, run_id, begin, taken

    def run(self) -> None:
        self._begin.wait()
        for _time in range(4):
            for step in ("close", "clone", "begin_migration", "restore"):
                with contextlib.suppress(Refused):
                    self._take(step)

    def _take(self, step: str) -> None:
        if step == "restore":
            self._taken.append((self._run_id, step))  # before it lets the other one in
            access.restore_original(self._reach, self._run_id)
            return
        if step == "close":
            access.close_database(self._reach, self._run_id)
        else:
            advance(self._reach, self._run_id, step)
        self._taken.append((self._run_id, step))


def test_two_runs_at_the_same_moment_never_share_a_window(database: Any) -> None:
    reach = Server(database.url, database.admin_url)
    taken: list[tuple[str, str]] = []
    begin = threading.Barrier(2)
    runs = [Contender(reach, run_id, begin, taken) for run_id in (RUN_ID, OTHER)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert is_open(database)
    assert comment_of(database) is None
    closed_by = ""
    for run_id, step in taken:
        if step == "restore":
            closed_by = "" if closed_by == run_id else closed_by
            continue
        assert closed_by == ("" if step == "close" else run_id)
        closed_by = run_id
    assert [step for _run, step in taken].count("close") > 1


def closed(database: Any) -> Server:
    reach = Server(database.url, database.admin_url)
    access.close_database(reach, RUN_ID)
    return reach


def test_a_candidate_that_was_killed_before_it_was_said_is_made_again(database: Any) -> None:
    reach = closed(database)
    name = derived_name(database.name, "candidate", RUN_ID)
    description = Description(RUN_ID, "candidate")
    first = clone.clone_database(reach, database.name, name, description=description)
    assert first.changed
    again = clone.clone_candidate(reach, RUN_ID)
    assert again.changed
    assert not clone.clone_candidate(reach, RUN_ID).changed
    access.restore_original(reach, RUN_ID)


def test_a_database_that_somebody_else_made_is_never_taken_for_the_candidate(database: Any) -> None:
    reach = closed(database)
    name = derived_name(database.name, "candidate", RUN_ID)
    identifier = sql.Identifier(name)
    database.execute(sql.SQL("CREATE DATABASE {}").format(identifier), url=database.admin_url)
    with pytest.raises(Refused, match="does not say that run") as refusal:
        clone.clone_candidate(reach, RUN_ID)
    assert refusal.value.untouched == "It was not touched."
    assert name in database.relatives()
    # What nobody has described and nobody can enter was left by a run that was killed in the middle.
    database.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier), url=database.admin_url)
    assert clone.clone_candidate(reach, RUN_ID).changed
    access.restore_original(reach, RUN_ID)


def test_a_copy_that_cannot_be_given_its_settings_is_removed(database: Any) -> None:
    """A superuser has set what the owner may not: the file copy was made, and nothing is left of it."""
    statement = sql.SQL("ALTER DATABASE {} SET log_statement TO 'all'").format(sql.Identifier(database.name))
    database.execute(statement, url=database.server.superuser_url("postgres"))
    reach = closed(database)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        clone.clone_candidate(reach, RUN_ID)
    assert database.relatives() == [database.name]
    access.restore_original(reach, RUN_ID)
    assert is_open(database)


def test_a_database_that_cannot_be_made_or_dropped_is_said(database: Any) -> None:
    reach = Server(database.url, database.admin_url)
    name = f"{database.name}_new"
    with database.session() as connection, connection.cursor() as cursor:
        locale = read_locale(cursor, database.name)
    description = Description(RUN_ID, "restored")
    with (
        pytest.raises(Refused, match="cannot be created") as refusal,
        fresh_database(reach, name, {**locale, "collate": "no_NO.such"}, description),
    ):
        pass
    assert "locales" in refusal.value.remedy
    with pytest.raises(ZeroDivisionError), fresh_database(reach, name, locale, description):
        assert len(database.relatives()) // 0
    assert database.relatives() == [database.name]
    with fresh_database(reach, name, locale, description):
        pass
    drop_database(reach, name, oid=1)  # another database of that name: somebody has put it there meanwhile
    assert name in database.relatives()
    owner = sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name))
    database.execute(owner, url=database.server.superuser_url("postgres"))
    with pytest.raises(Failed, match="could not be dropped") as failure:
        drop_database(reach, name)
    assert f'DROP DATABASE "{name}" WITH (FORCE)' in failure.value.remedy


def test_a_run_whose_comment_was_edited_is_no_run(database: Any) -> None:
    """The owner may comment as he likes: what is no description stops the run, and is not worked on as if it were."""
    reach = closed(database)
    with database.session(database.admin_url) as connection, connection.cursor() as cursor:
        broken = render_description(replace(Description(RUN_ID, "original", "closed"), data=["a list"]))  # type: ignore[arg-type]
        write_comment(cursor, database.name, broken)
    with pytest.raises(Refused, match="open, no run"):
        advance(reach, RUN_ID, "begin_migration")
