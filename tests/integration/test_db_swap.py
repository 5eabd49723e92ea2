# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg2
import pytest
from psycopg2 import sql
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import finish_run
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.counters import (
    read_counters,
    rows_written,
    unproven_because,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.properties import (
    Properties,
    read_properties,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore import restore_original
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import LOCK_SPACE
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import BEFORE_SWAP
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

if TYPE_CHECKING:
    from embedded_postgresql import Cluster

    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

WRITERS = 8


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    database.execute("CREATE TABLE items (writer int, n int, PRIMARY KEY (writer, n))")
    database.execute("INSERT INTO items VALUES (-1, 1), (-1, 2)")
    return Window(database.url, tmp_path, run_module).pass_gate()


def migrate(window: Window, database: Database) -> None:
    """Do on the candidate what a migration would, and say that it was verified."""
    window.advance_to("migrating")
    database.execute("ALTER TABLE items ADD COLUMN reverted text", url=database.url_of(window.name("candidate")))
    window.advance_to("verified")


def is_rolled_back(database: Database) -> bool:
    return database.execute("SELECT count(*) FROM pg_attribute WHERE attname = 'reverted'") == [(1,)]


def properties_of(window: Window) -> Properties:
    with window.server.admin() as connection, connection.cursor() as cursor:
        return read_properties(cursor, window.server.database)


@contextmanager
def writers(database: Database) -> Iterator[list[list[int]]]:
    """Write all the time, also while the database is closed, and yield what was acknowledged, by writer."""
    acknowledged: list[list[int]] = [[] for _again in range(WRITERS)]
    stop = threading.Event()

    def write(writer: int) -> None:
        n = 0
        while not stop.is_set():
            with suppress(psycopg2.Error), database.session() as connection, connection.cursor() as cursor:
                while not stop.is_set():
                    n += 1
                    cursor.execute("INSERT INTO items (writer, n) VALUES (%s, %s)", [writer, n])
                    acknowledged[writer].append(n)
            stop.wait(0.05)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(len(numbers) > 20 for numbers in acknowledged), "all writers write")
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def lost(database: Database, acknowledged: list[list[int]]) -> set[tuple[int, int]]:
    kept = set(database.execute("SELECT writer, n FROM items"))
    return {(writer, n) for writer, numbers in enumerate(acknowledged) for n in numbers} - kept


def test_check_mode_then_the_swap_and_the_second_time_nothing(window: Window, database: Database) -> None:
    migrate(window, database)
    foreseen = window.module("db_swap", state="candidate", check_mode=True)
    assert foreseen["changed"]
    assert window.is_open() is False
    result = window.module("db_swap", state="candidate")
    assert result["changed"]
    assert result["opened"]
    assert result["before"] == window.name("before")
    assert is_rolled_back(database)
    assert window.is_open(window.name("before")) is False
    assert not window.module("db_swap", state="candidate", check_mode=True)["changed"]
    assert not window.module("db_swap", state="candidate")["changed"]
    assert database.relatives() == [database.name, window.name("before")]


def test_the_swap_ends_what_still_works_on_the_candidate(window: Window, database: Database) -> None:
    migrate(window, database)
    with database.session(database.url_of(window.name("candidate"))) as connection:
        assert window.module("db_swap", state="candidate")["changed"]
        with pytest.raises(psycopg2.Error):
            connection.cursor().execute("SELECT 1")


def test_only_a_verified_candidate_is_swapped_in(window: Window) -> None:
    for state in BEFORE_SWAP[:-1]:
        window.advance_to(state)
        with pytest.raises(Refused, match="only allowed in 'verified'"):
            swap_in(window.server, window.run.run_id)
    assert window.is_open() is False


def test_a_lease_that_has_run_out_stops_the_swap(window: Window, database: Database) -> None:
    window.advance_to("verified", lease_seconds=1)
    database.execute("SELECT pg_sleep(1.1)", url=database.admin_url)
    result = window.module("db_swap", state="candidate")
    assert result["failed"]
    assert "lease" in result["msg"]
    assert window.module("db_swap", state="original")["restored_from"] == "before_swap"


def test_properties_survive_the_swap_and_the_end_of_the_run(window: Window, database: Database) -> None:
    superuser = database.server.superuser_url()
    name = database.name
    database.execute("CREATE ROLE grantor; CREATE ROLE guest; GRANT grantor TO rollback_owner", url=superuser)
    try:
        database.execute(f'REVOKE ALL ON DATABASE "{name}" FROM PUBLIC')
        database.execute(f'GRANT CONNECT, CREATE ON DATABASE "{name}" TO grantor WITH GRANT OPTION')
        database.execute(f'SET ROLE grantor; GRANT CONNECT ON DATABASE "{name}" TO guest WITH GRANT OPTION')
        database.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT 42')
        database.execute(f"""ALTER DATABASE "{name}" SET search_path TO "$user", 'Odd, "path"', public""")
        before = properties_of(window)
        migrate(window, database)
        swap_in(window.server, window.run.run_id)
        assert finish_run(window.server, window.run.run_id)
        after = properties_of(window)
    finally:
        for relative in database.relatives():
            database.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM grantor CASCADE").format(sql.Identifier(relative)))
        database.execute("DROP ROLE grantor; DROP ROLE guest", url=superuser)
    assert before == after
    assert len(before.grants) == 6
    assert before.comment == "ours"


def test_check_mode_then_the_restore_and_the_second_time_nothing(window: Window) -> None:
    window.advance_to("closed")
    assert window.module("db_swap", state="original", check_mode=True)["restored_from"] == "before_swap"
    assert window.is_open() is False
    result = window.module("db_swap", state="original")
    assert result["changed"]
    assert (result["restored_from"], result["failed_database"]) == ("before_swap", None)
    assert window.is_open()
    assert not window.module("db_swap", state="original", check_mode=True)["changed"]
    again = window.module("db_swap", state="original")
    assert not again["changed"]
    assert again["restored_from"] == "nothing"


@pytest.mark.parametrize("state", BEFORE_SWAP[1:])
def test_restored_before_the_swap_from_any_state(window: Window, database: Database, state: str) -> None:
    before = properties_of(window)
    window.advance_to(state)
    result = restore_original(window.server, window.run.run_id)
    assert (result.restored_from, result.failed_database) == ("before_swap", window.name("failed"))
    assert properties_of(window) == before
    assert database.execute("SELECT count(*) FROM items") == [(2,)]
    failed = window.description(window.name("failed"))
    assert failed
    assert (failed.role, window.is_open(window.name("failed"))) == ("failed", False)


def test_a_candidate_that_cannot_be_moved_does_not_keep_the_original_closed(window: Window, database: Database) -> None:
    window.advance_to("migrating")
    connection = psycopg2.connect(database.url_of(window.name("candidate")))
    connection.tpc_begin("in the way")
    connection.cursor().execute("CREATE TABLE waits()")
    connection.tpc_prepare()
    connection.close()
    result = window.module("db_swap", state="original")
    assert result["changed"]
    assert window.is_open()
    assert window.is_open(window.name("candidate")) is False
    assert "could not be renamed" in result["message"]


def test_restored_after_the_swap_when_nothing_was_written(window: Window, database: Database) -> None:
    before = properties_of(window)
    migrate(window, database)
    swap_in(window.server, window.run.run_id)
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
        cursor.execute("ANALYZE items")
        result = window.module("db_swap", state="original")
    assert result["changed"]
    assert result["restored_from"] == "after_swap"
    assert result["proof"] == "counters"
    assert properties_of(window) == before
    assert not is_rolled_back(database)
    assert database.relatives() == [database.name, window.name("failed")]
    assert not window.module("db_swap", state="original")["changed"]


def test_what_was_written_after_the_swap_is_never_lost(window: Window, database: Database) -> None:
    migrate(window, database)
    swap_in(window.server, window.run.run_id)
    database.execute("INSERT INTO items VALUES (-2, 1), (-2, 2)")
    for _again in range(2):
        with pytest.raises(Failed) as failure:
            restore_original(window.server, window.run.run_id)
        assert "public.items (2 rows)" in failure.value.message
        assert window.is_open() is False
        assert window.is_open(window.name("before")) is False


@pytest.mark.parametrize(
    ("write", "table"),
    [
        ("UPDATE items SET n = 7 WHERE n = 1", "public.items"),
        ("DELETE FROM items WHERE n = 1", "public.items"),
        ("TRUNCATE items", "pg_catalog.pg_class"),
        ("CREATE TABLE new ()", "pg_catalog.pg_class"),
        ("SELECT lo_from_bytea(0, 'abc')", "pg_catalog.pg_largeobject"),
    ],
)
def test_every_kind_of_write_is_counted(database: Database, write: LiteralString, table: str) -> None:
    database.execute("CREATE TABLE items AS SELECT 1 AS n")
    with database.session() as connection, connection.cursor() as cursor:
        then = read_counters(cursor)
        assert rows_written(cursor, then) == {}
        database.execute(write)
        wait_until(lambda: table in rows_written(cursor, then), "the session that wrote has ended")


def test_reading_and_analysing_are_not_writing(database: Database) -> None:
    database.execute("CREATE TABLE items AS SELECT 1 AS n")
    with database.session() as connection, connection.cursor() as cursor:
        then = read_counters(cursor)
        database.execute("SELECT * FROM items")
        database.execute("ANALYZE items")
        database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'not in the database'""")
        assert rows_written(cursor, then) == {}


@pytest.mark.parametrize("way", ["keep", "go_back"])
def test_the_printed_commands_do_what_they_say(window: Window, database: Database, way: str) -> None:
    migrate(window, database)
    swap_in(window.server, window.run.run_id)
    database.execute("INSERT INTO items VALUES (-2, 1)")
    result = window.module("db_swap", state="original")
    assert result["failed"]
    command = result["error"]["commands"][way]
    assert command in result["msg"]
    for statement in command.split("; "):
        if way == "keep":
            database.execute(statement, url=database.admin_url)
    if way == "go_back":
        database.execute(command, url=database.admin_url)
    assert database.execute("SELECT count(*) FROM items") == [(3 if way == "keep" else 2,)]
    assert is_rolled_back(database) == (way == "keep")
    assert window.comment() == "ours"


def test_counters_that_prove_nothing_are_not_trusted(database: Database) -> None:
    with database.session() as connection, connection.cursor() as cursor:
        then = read_counters(cursor)
        assert unproven_because(cursor, then) == ""
        assert "restarted" in unproven_because(cursor, {**then, "started": then["started"] - 1})
        assert "track_counts" in unproven_because(cursor, {**then, "tracked": False})
        database.execute("SELECT pg_stat_reset()", url=database.superuser_url)
        assert "reset" in unproven_because(cursor, then)
        off = f'ALTER DATABASE "{database.name}" SET track_counts = off'
        database.execute(off, url=database.server.superuser_url())
        assert "track_counts" in unproven_because(cursor, then)


def test_without_proof_it_stays_closed(window: Window, database: Database) -> None:
    migrate(window, database)
    swap_in(window.server, window.run.run_id)
    database.execute("SELECT pg_stat_reset()", url=database.superuser_url)
    result = window.module("db_swap", state="original")
    assert result["failed"]
    assert "it cannot be told whether rows were written" in result["msg"]
    assert window.is_open() is False


def test_a_person_may_accept_the_loss_after_the_run(window: Window, database: Database) -> None:
    migrate(window, database)
    swap_in(window.server, window.run.run_id)
    finish_run(window.server, window.run.run_id)
    database.execute("INSERT INTO items VALUES (-2, 1)")
    assert window.module("db_swap", state="original")["restored_from"] == "nothing"
    assert is_rolled_back(database)
    result = window.module("db_swap", state="original", accept_loss=True)
    assert result["restored_from"] == "after_swap"
    assert result["proof"] == "none, the loss was accepted"
    assert not is_rolled_back(database)
    assert window.comment() == "ours"


def test_another_run_is_not_restored(window: Window) -> None:
    window.advance_to("closed")
    with pytest.raises(Refused, match=window.run.run_id):
        restore_original(window.server, OTHER_RUN_ID)
    assert window.is_open() is False


@contextmanager
def stopped(server: Cluster) -> Iterator[None]:
    """The server crashes; at the end it is there again."""
    server.stop("immediate")
    try:
        yield
    finally:
        server.start()


@pytest.fixture(params=["rollback", "restore"])
def closed_window(
    request: pytest.FixtureRequest, database: Database, run_module: ModuleRunner, tmp_path: Path
) -> Window:
    """A run that has closed the database, and failed then."""
    window = Window(database.url, tmp_path, run_module)
    begin = {"kind": request.param, "environment": "production", "database": database.name}
    window.run.record("preflight", "the run begins", data=begin)
    window.pass_gate().advance_to("closed")
    window.run.record("close", "close the database", data={"closed": True})
    mend = {"kind": "failed", "message": "it broke", "remedy": "mend it", "untouched": ""}
    window.run.record("reopen", "what came next", outcome="failed", data={"error": mend})
    database.execute("CHECKPOINT", url=database.superuser_url.replace(database.name, "postgres"))
    return window


def assert_not_undone(window: Window, run_module: ModuleRunner, failed: dict[str, Any]) -> None:
    """It failed, the journal has it, and record and report say how to go on."""
    command = f"ansible-playbook restore.yml -e env=production -e run={window.run.run_id}"
    assert failed["error"]["kind"] == "failed", failed
    assert failed["msg"].endswith(command)
    event = window.run.events()[-1]
    assert (event["phase"], event["action"], event["outcome"]) == ("restore", "restore the original", "failed")
    assert event["data"]["not_undone"] is True
    at: dict[str, Any] = {"state_dir": str(window.run.state_dir), "run_id": window.run.run_id}
    finished = run_module("run_journal", state="finished", **at)
    assert finished["run"]["outcome"] == "failed"
    assert finished["run"]["error"]["message"] == "it broke"
    for report in ("report.md", "report.html"):
        assert command in (window.run.folder / report).read_text()


def test_a_server_that_is_away_is_a_failure_that_is_recorded(
    closed_window: Window, database: Database, run_module: ModuleRunner
) -> None:
    window = closed_window
    with stopped(database.server):
        foreseen = window.module("db_swap", state="original", phase="restore", check_mode=True)
        failed = window.module("db_swap", state="original", phase="restore")
    assert foreseen["error"]["kind"] == "refused"
    assert_not_undone(window, run_module, failed)
    assert window.is_open() is False
    later = Run(window.run.state_dir, OTHER_RUN_ID)
    later.create()
    back = window.module("db_swap", state="original", run_id=OTHER_RUN_ID, undo_run=window.run.run_id)
    assert (back["changed"], back["restored_from"]) == (True, "before_swap")
    assert window.is_open()
    assert later.events()[-1]["data"]["undone_run"] == window.run.run_id


def test_a_server_that_goes_away_meanwhile_is_a_failure_that_is_recorded(
    closed_window: Window, database: Database, run_module: ModuleRunner
) -> None:
    window = closed_window
    with database.session(database.admin_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [LOCK_SPACE, database.name])
        process = window.start("db_swap", state="original", phase="restore")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        wait_until(lambda: database.execute(waiting, url=database.admin_url) == [(1,)], "it waits for the lock")
        with stopped(database.server):
            output, errors = process.communicate(timeout=60)
    assert_not_undone(window, run_module, run_module.result("db_swap", output, errors, process.returncode))
    assert window.module("db_swap", state="original")["restored_from"] == "before_swap"
    assert window.is_open()


def test_the_run_of_somebody_else_is_refused_and_not_recorded(window: Window) -> None:
    window.advance_to("closed")
    other = Run(window.run.state_dir, OTHER_RUN_ID)
    other.create()
    refused = window.module("db_swap", state="original", run_id=OTHER_RUN_ID, phase="restore")
    assert refused["error"]["kind"] == "refused"
    assert window.run.run_id in refused["msg"]
    assert other.events() == []
    assert window.is_open() is False


def test_nothing_to_restore(window: Window) -> None:
    result = window.module("db_swap", state="original")
    assert not result["changed"]
    assert result["restored_from"] == "nothing"
    assert window.comment() == "ours"


def test_a_lost_journal_does_not_stop_the_restore(window: Window) -> None:
    window.advance_to("candidate")
    window.run.journal.unlink()
    result = window.module("db_swap", state="original")
    assert not result["failed"]
    assert result["restored_from"] == "before_swap"
    assert "could not be recorded" in str(result["warnings"])
    assert window.is_open()


NAMES = ["Shop %s {0}", "qu\"ote's", "n" * 63, "ü" * 31, "__candidate_", "50%"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name(database: Database, run_module: ModuleRunner, tmp_path: Path, name: str) -> None:
    """Closed, copied, swapped, and back: with every name that PostgreSQL takes."""
    identifier = sql.Identifier(name)
    database.execute(sql.SQL("CREATE DATABASE {}").format(identifier), url=database.admin_url)
    window = Window(database.url_of(name), tmp_path, run_module)
    try:
        window.advance_to("swapped")
        restored = restore_original(window.server, window.run.run_id)
        assert restored.restored_from == "after_swap"
        assert len(str(restored.failed_database).encode()) <= 63
        assert window.is_open()
    finally:
        for left in (name, *(window.name(purpose) for purpose in ("candidate", "before", "failed"))):
            database.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(left)), url=database.admin_url
            )


def test_writers_under_fire_lose_nothing_over_a_swap(window: Window, database: Database) -> None:
    with writers(database) as acknowledged:
        assert window.module("db_access", state="closed")["sessions_ended"] >= 1
        at_closing = sum(map(len, acknowledged))
        migrate(window, database)
        assert window.module("db_swap", state="candidate")["changed"]
        wait_until(lambda: sum(map(len, acknowledged)) > at_closing + 100, "they write again")
        assert window.module("db_access", state="open")["changed"]
    assert lost(database, acknowledged) == set()
    assert is_rolled_back(database)


def test_writers_under_fire_lose_nothing_over_a_restore(window: Window, database: Database) -> None:
    with writers(database) as acknowledged:
        window.module("db_access", state="closed")
        migrate(window, database)
        at_restore = sum(map(len, acknowledged))
        assert window.module("db_swap", state="original")["restored_from"] == "before_swap"
        wait_until(lambda: sum(map(len, acknowledged)) > at_restore + 100, "they write again")
    assert lost(database, acknowledged) == set()
    assert not is_rolled_back(database)


def test_writers_under_fire_lose_nothing_when_the_restore_comes_late(window: Window, database: Database) -> None:
    """After the swap they write at once: the restore must see it and keep everything."""
    with writers(database) as acknowledged:
        window.module("db_access", state="closed")
        migrate(window, database)
        at_swap = sum(map(len, acknowledged))
        window.module("db_swap", state="candidate")
        wait_until(lambda: sum(map(len, acknowledged)) > at_swap, "one has written")
        assert "public.items" in window.module("db_swap", state="original")["msg"]
        assert window.is_open() is False
    assert finish_run(window.server, window.run.run_id)
    assert lost(database, acknowledged) == set()


@pytest.mark.newest_server
def test_without_a_record_nothing_is_swapped_and_the_original_is_opened_all_the_same(
    window: Window, database: Database
) -> None:
    migrate(window, database)
    shutil.rmtree(window.run.state_dir / "runs")
    refused = window.module("db_swap", state="candidate")
    assert refused["failed"]
    assert "has no journal" in refused["msg"]
    assert "changed nothing" in refused["msg"]
    assert not window.is_open()
    restored = window.module("db_swap", state="original", phase="restore")
    assert not restored["failed"], restored
    assert "could not be recorded" in str(restored["warnings"])
    assert window.is_open()
    assert not is_rolled_back(database)
