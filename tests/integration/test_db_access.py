# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import close_database
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    return Window(database.url, tmp_path, run_module).pass_gate()


@contextmanager
def stopped_session(database: Database) -> Iterator[int]:
    """A session whose process does nothing any more, not even end."""
    with database.session() as connection:
        pid = connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield pid
        finally:
            os.kill(pid, signal.SIGCONT)


def test_check_mode_then_closed_and_the_second_time_nothing(window: Window) -> None:
    foreseen = window.module("db_access", state="closed", check_mode=True)
    assert foreseen["changed"]
    assert window.is_open()
    assert window.comment() is None
    result = window.module("db_access", state="closed")
    assert result["changed"]
    assert not window.is_open()
    assert not window.module("db_access", state="closed", check_mode=True)["changed"]
    assert not window.module("db_access", state="closed")["changed"]


def test_closed_shuts_out_even_a_superuser_and_ends_sessions_of_other_roles(window: Window, database: Database) -> None:
    database.execute("CREATE ROLE clerk LOGIN PASSWORD 'x'", url=database.server.superuser_url())
    try:
        with database.session(), database.session(database.server.url("clerk", "x", database.name)):
            result = window.module("db_access", state="closed")
    finally:
        database.execute("DROP ROLE clerk", url=database.server.superuser_url())
    assert result["sessions_ended"] == 2
    assert any(name.startswith("clerk") for name in result["sessions"])
    with pytest.raises(psycopg2.OperationalError, match="not currently accepting connections"):
        database.execute("SELECT 1", url=database.superuser_url)
    with pytest.raises(psycopg2.errors.DuplicateDatabase):
        database.execute(f'CREATE DATABASE "{database.name}"', url=database.admin_url)


def test_closed_describes_itself_and_keeps_the_comment(window: Window, database: Database) -> None:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'It''s the shop'""")
    window.module("db_access", state="closed", lease_seconds=77)
    description = window.description()
    assert description
    assert (description.role, description.state, description.lease_seconds) == ("original", "closed", 77)
    assert description.original_comment == "It's the shop"
    (event,) = (event for event in window.run.events() if event["action"] == "close the database")
    assert event["changed"]
    assert event["data"]["keeper"]["pid"]


def test_closing_is_refused_when_the_journal_shows_no_gate(
    database: Database, run_module: ModuleRunner, tmp_path: Path
) -> None:
    window = Window(database.url, tmp_path, run_module)
    window.run.record("preflight", "passed")
    result = window.module("db_access", state="closed")
    assert result["failed"]
    assert "gate and back up passed" in result["msg"]
    assert window.is_open()


def test_closing_needs_a_run(window: Window) -> None:
    arguments = {"run_id": None, "state_dir": None, "phase": None}
    assert window.module("db_access", state="closed", **arguments)["failed"]
    assert window.is_open()


def test_a_superusers_session_is_named_and_nothing_is_closed(window: Window, database: Database) -> None:
    with database.session(database.superuser_url) as connection:
        result = window.module("db_access", state="closed")
        assert result["failed"]
        assert str(connection.info.backend_pid) in result["msg"]
    assert window.is_open()


def test_a_session_that_does_not_end_leaves_the_database_open(window: Window, database: Database) -> None:
    with stopped_session(database) as pid:
        with pytest.raises(Refused, match=f"did not end within 0.2 seconds: pid {pid} "):
            close_database(window.server, window.run.run_id, patience=0.2)
        assert window.is_open()
        assert window.comment() is None


def test_a_prepared_transaction_is_named_and_nothing_is_closed(window: Window, database: Database) -> None:
    connection = psycopg2.connect(database.url)
    connection.tpc_begin("half done")
    connection.cursor().execute("CREATE TABLE waits()")
    connection.tpc_prepare()
    connection.close()
    result = window.module("db_access", state="closed")
    assert result["failed"]
    assert "half done" in result["msg"]
    assert "ROLLBACK PREPARED" in result["error"]["remedy"]
    assert window.is_open()


def test_another_run_that_has_it_closed_is_named(
    window: Window, database: Database, run_module: ModuleRunner, tmp_path: Path
) -> None:
    window.advance_to("closed")
    folder = tmp_path / "other"
    folder.mkdir(mode=0o700)
    other = Window(database.url, folder, run_module, OTHER_RUN_ID).pass_gate()
    for arguments in ({"state": "closed"}, {"state": "open"}):
        result = other.module("db_access", **arguments)
        assert result["failed"]
        assert window.run.run_id in result["msg"]
    description = window.description()
    assert description
    assert description.run_id == window.run.run_id


def test_open_is_refused_before_the_swap(window: Window) -> None:
    window.advance_to("candidate")
    assert "state 'candidate'" in window.module("db_access", state="open")["msg"]
    assert not window.is_open()


def test_open_ends_the_run_and_gives_the_comment_back(window: Window, database: Database) -> None:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    assert window.module("db_access", state="closed")["changed"]
    window.advance_to("swapped")
    assert window.module("db_access", state="open", check_mode=True)["changed"]
    assert window.description()
    result = window.module("db_access", state="open")
    assert result["changed"]
    assert result["lock_released"]
    assert window.comment() == "ours"
    assert window.comment(window.name("before"))
    assert not window.module("db_access", state="open", check_mode=True)["changed"]
    assert not window.module("db_access", state="open")["changed"]


def test_a_database_that_is_not_there(database: Database, run_module: ModuleRunner, tmp_path: Path) -> None:
    window = Window(database.url_of("no such shop"), tmp_path, run_module).pass_gate()
    result = window.module("db_access", state="closed")
    assert result["failed"]
    assert "There is no database 'no such shop'" in result["msg"]


def test_a_lost_keeper_is_no_reason_to_stay_closed(window: Window) -> None:
    """The state is on the server: without its keeper, a run still ends, and restores."""
    pid = window.module("db_access", state="closed")["keeper"]["pid"]
    os.kill(pid, signal.SIGKILL)
    assert window.module("db_swap", state="original")["changed"]
    assert window.is_open()
    wait_until(lambda: not Path("/proc", str(pid), "exe").exists(), "the keeper is gone")
