# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that nobody ended is finished from what the server shows alone, by its keeper or by the next run."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import finish_run
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone import clone_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone_session import (
    copy_session,
    is_copying,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore import restore_original
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_lock import (
    keeper_name,
    run_lock_holder,
    take_run_lock,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import (
    advance,
    locked,
    renew_lease,
    write_comment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description, render_description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import AFTER_SWAP

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

LONG_AGO = "2020-01-01T00:00:00.000+00:00"
IN_AN_HOUR = "2099-01-01T00:00:00.000+00:00"


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    database.execute("CREATE TABLE items (n serial PRIMARY KEY)")
    return Window(database.url, tmp_path, run_module).pass_gate()


@pytest.fixture
def next_run(window: Window, run_module: ModuleRunner, tmp_path_factory: pytest.TempPathFactory) -> Window:
    """A run from another controller, which has never seen the state folder of the first."""
    return Window(window.arguments["database_url"], tmp_path_factory.mktemp("elsewhere"), run_module, OTHER_RUN_ID)


def enter(window: Window, state: str, *, lease_until: str = LONG_AGO, lease_seconds: int = 120) -> None:
    """Bring a run into a state, in which its lease ends at a given time."""
    if state == "released":
        window.advance_to("swapped")
        advance(window.server, window.run.run_id, "release")
    else:
        window.advance_to(state)
    rewrite(window, lease_until=lease_until, lease_seconds=lease_seconds)


def rewrite(window: Window, **parts: Any) -> None:
    """Write something else into what the database says of its run."""
    with locked(window.server) as (cursor, description):
        assert description
        write_comment(cursor, window.server.database, render_description(replace(description, **parts)))


def told(window: Window) -> Description:
    """What the database says of its run."""
    description = window.description()
    assert description
    return description


def holder(window: Window) -> str | None:
    with window.server.admin() as connection, connection.cursor() as cursor:
        return run_lock_holder(cursor, window.server.database)


def events(window: Window) -> list[dict[str, Any]]:
    return [event for event in window.run.events() if event["action"].startswith("the keeper ")]


def is_original(window: Window) -> bool:
    return window.comment() == "ours" and bool(window.is_open()) and window.is_open(window.name("before")) is None


# -- the next run -----------------------------------------------------------------------------------------------------


@pytest.mark.newest_server
@pytest.mark.parametrize("state", ["closed", "migrating", "verified"])
def test_the_next_run_opens_the_original_and_goes_on(window: Window, next_run: Window, state: str) -> None:
    enter(window, state)
    shutil.rmtree(window.run.folder)
    checked = next_run.module("unfinished_run", state="checked", phase="preflight")
    assert (checked["decision"], checked["open_run"], checked["changed"]) == ("open_original", window.run.run_id, False)
    assert not window.is_open()
    assert "Type: ansible-playbook restore.yml" in checked["lines"][1]
    assert next_run.module("unfinished_run", state="finished", phase="preflight", check_mode=True)["failed"]
    assert not window.is_open()
    done = next_run.module("unfinished_run", state="finished", phase="preflight")
    assert not done["failed"], done
    assert done["changed"]
    assert is_original(window)
    assert window.is_open(window.name("failed")) is (None if state == "closed" else False)
    again = next_run.module("unfinished_run", state="finished", phase="preflight")
    assert (again["decision"], again["changed"], again["failed"]) == ("nothing", False, False)


def test_the_next_run_swaps_back_and_stops(window: Window, next_run: Window, tmp_path: Path) -> None:
    flag = tmp_path / "maintenance"
    flag.write_text("on")
    maintenance = {"provider": "file", "file": {"path": str(flag)}}
    enter(window, "swapped")
    done = next_run.module("unfinished_run", state="finished", phase="preflight", maintenance=maintenance)
    assert done["failed"]
    assert "That was done: " in done["msg"]
    assert "start again" in done["error"]["remedy"]
    assert is_original(window)
    assert not flag.exists()
    outcomes = [(event["action"], event["outcome"]) for event in next_run.run.events()]
    assert outcomes == [
        ("finish what an earlier run left", "ok"),
        ("go on after an earlier run was finished", "refused"),
    ]


def test_what_was_written_is_left_and_both_commands_are_named(
    window: Window, next_run: Window, database: Database
) -> None:
    enter(window, "swapped")
    database.execute("INSERT INTO items DEFAULT VALUES")
    wait_until(lambda: next_run.module("unfinished_run", state="checked")["decision"] == "ask", "it can be seen")
    with database.session() as session:
        refused = next_run.module("unfinished_run", state="finished", phase="preflight")
        session.cursor().execute("INSERT INTO items DEFAULT VALUES")
    assert refused["error"]["kind"] == "refused"
    assert "items (1 rows)" in refused["msg"]
    for words in (
        f"-e run={window.run.run_id} -e keep_written=true",
        f"-e run={window.run.run_id} -e accept_loss=true",
    ):
        assert words in refused["error"]["remedy"]
    assert window.is_open()
    assert database.execute("SELECT count(*) FROM items") == [(2,)]


@pytest.mark.newest_server
def test_the_release_on_record_is_gone_forward_with(window: Window, next_run: Window, database: Database) -> None:
    enter(window, "released")
    database.execute("INSERT INTO items DEFAULT VALUES")
    done = next_run.module("unfinished_run", state="finished", phase="preflight")
    assert done["failed"]
    assert window.name("before") in done["msg"]
    assert window.comment() == "ours"
    assert window.is_open()
    assert window.is_open(window.name("before")) is False
    assert database.execute("SELECT count(*) FROM items") == [(1,)]


@pytest.mark.newest_server
@pytest.mark.parametrize("state", ["closed", "swapped", "released"])
def test_a_run_that_is_at_work_is_let_alone_and_named(window: Window, next_run: Window, state: str) -> None:
    enter(window, state, lease_until=IN_AN_HOUR)
    owner = {"executed_by": "anna", "host": "tools-1", "since": "now"}
    rewrite(window, data={**told(window).data, "owner": owner})
    refused = next_run.module("unfinished_run", state="finished", phase="preflight")
    assert f"Run {window.run.run_id} of anna on tools-1, since now" in refused["msg"]
    assert IN_AN_HOUR in refused["msg"]
    assert told(window).state == state


@pytest.mark.newest_server
def test_a_public_name_that_is_missing_is_left_to_a_person(
    window: Window, next_run: Window, database: Database
) -> None:
    enter(window, "swapped")
    database.execute(f'ALTER DATABASE "{database.name}" RENAME TO "{database.name}_gone"', url=database.admin_url)
    try:
        refused = next_run.module("unfinished_run", state="finished", phase="preflight")
        assert f"There is no database {database.name}; beside it are" in refused["msg"]
    finally:
        database.execute(f'ALTER DATABASE "{database.name}_gone" RENAME TO "{database.name}"', url=database.admin_url)


# -- a slow controller that comes back --------------------------------------------------------------------------------


STEPS_OF_A_RUN = {
    "closed": lambda window: clone_candidate(window.server, window.run.run_id),
    "candidate": lambda window: advance(window.server, window.run.run_id, "begin_migration"),
    "migrating": lambda window: advance(window.server, window.run.run_id, "end_migration"),
    "migrated": lambda window: advance(window.server, window.run.run_id, "verify"),
    "verified": lambda window: swap_in(window.server, window.run.run_id),
    "swapped": lambda window: advance(window.server, window.run.run_id, "release"),
}


@pytest.mark.newest_server
@pytest.mark.parametrize("state", STEPS_OF_A_RUN)
def test_a_slow_run_is_locked_out(window: Window, next_run: Window, state: str) -> None:
    """When its lease has run out it takes no step; when it was finished by another there is nothing to step on."""
    enter(window, state)
    with pytest.raises(Refused, match="lease of run"):
        STEPS_OF_A_RUN[state](window)
    assert not renew_lease(window.server, window.run.run_id)
    if state == "swapped":
        with pytest.raises(Refused, match="lease of run"):
            finish_run(window.server, window.run.run_id, by_itself=True)
    next_run.module("unfinished_run", state="finished", phase="preflight")
    with pytest.raises(Refused, match=r"only allowed in|is not open"):
        STEPS_OF_A_RUN[state](window)
    assert not renew_lease(window.server, window.run.run_id)
    ended = window.module("db_access", state="open")
    assert not ended.get("changed")
    assert ended["failed"] == (state != "closed")
    assert is_original(window)


# -- the keeper after the swap ----------------------------------------------------------------------------------------


def keep(window: Window, state: str, *, seconds: int = 2, **arguments: Any) -> dict[str, Any]:
    """Close with a keeper, and go on to a state in which the lease is about to run out."""
    closed = window.module("db_access", state="closed", lease_seconds=600, **arguments)
    assert not closed["failed"], closed
    enter(window, state, lease_until=IN_AN_HOUR, lease_seconds=seconds)
    return dict(closed["keeper"])


def run_out(window: Window) -> None:
    rewrite(window, lease_until=LONG_AGO)


def test_the_keeper_swaps_back_where_nothing_was_written(window: Window, tmp_path: Path) -> None:
    flag = tmp_path / "maintenance"
    flag.write_text("on")
    keep(window, "swapped", seconds=600, maintenance={"provider": "file", "file": {"path": str(flag)}})
    run_out(window)
    wait_until(lambda: events(window), "the journal shows it")
    (event,) = events(window)
    assert (event["action"], event["outcome"]) == ("the keeper swapped the original back", "ok")
    assert event["data"]["proof"] == "counters"
    assert is_original(window)
    assert not flag.exists()
    wait_until(lambda: holder(window) is None, "the keeper is gone")


def test_the_keeper_never_takes_a_serving_database_away(window: Window, database: Database) -> None:
    keep(window, "swapped", seconds=600)
    database.execute("INSERT INTO items DEFAULT VALUES")
    with database.session() as session, session.cursor() as cursor:
        wait_until(lambda: counted(cursor), "the counters show it")
        run_out(window)
        wait_until(lambda: events(window), "the journal shows it")
        cursor.execute("INSERT INTO items DEFAULT VALUES")  # the same session lives on: nobody closed anything
    (event,) = events(window)
    assert (event["action"], event["outcome"]) == ("the keeper left the run to a person", "failed")
    assert "items (1 rows)" in event["data"]["error"]["message"]
    assert window.is_open()
    assert window.is_open(window.name("before")) is False
    wait_until(lambda: holder(window) is None, "the keeper is gone")
    description = window.description()
    assert description
    assert description.data["held"]
    assert description.lease_until == ""
    with pytest.raises(Refused, match="left to a person"):
        advance(window.server, window.run.run_id, "release")


def counted(cursor: Any) -> bool:
    cursor.execute("SELECT pg_stat_clear_snapshot(), n_tup_ins FROM pg_stat_user_tables WHERE relname = 'items'")
    return bool(cursor.fetchone()[1])


def test_what_is_written_at_the_last_moment_stays_and_the_database_is_open(window: Window, database: Database) -> None:
    """The counters of a session in a transaction are not seen before it ends: only under closed doors."""
    enter(window, "swapped")
    database.execute("INSERT INTO items DEFAULT VALUES")
    with pytest.raises(Failed, match=r"items \(1 rows\)") as left:
        restore_original(window.server, window.run.run_id, unattended=LONG_AGO)
    assert "open, as it was" in left.value.untouched
    assert window.is_open()
    assert told(window).data["held"]


def test_the_keeper_goes_forward_where_the_release_is_on_record(window: Window, database: Database) -> None:
    keep(window, "released", seconds=600)
    with database.session() as session, session.cursor() as cursor:
        cursor.execute("INSERT INTO items DEFAULT VALUES")
        run_out(window)
        wait_until(lambda: events(window), "the journal shows it")
        cursor.execute("INSERT INTO items DEFAULT VALUES")
    (event,) = events(window)
    assert (event["action"], event["outcome"]) == ("the keeper ended the run with what it brought", "ok")
    assert window.comment() == "ours"
    assert window.is_open(window.name("before")) is False
    again = window.module("db_access", state="open")
    assert (again["changed"], again["failed"]) == (False, False)


@pytest.mark.newest_server
def test_a_server_whose_clock_was_set_back_holds_nothing_closed(window: Window) -> None:
    """The lease lasts for hours by the server's clock, but nobody has renewed it for as long as it is."""
    keep(window, "candidate", seconds=1)
    wait_until(lambda: events(window), "the journal shows it")
    assert is_original(window)


@pytest.mark.newest_server
@pytest.mark.parametrize("who", ["pid", "supervisor"])
def test_each_of_the_pair_is_replaced_when_it_is_killed(window: Window, who: str) -> None:
    keeper = keep(window, "candidate", seconds=600)
    os.kill(keeper[who], signal.SIGKILL)
    log = window.run.folder / "keeper.log"
    wait_until(lambda: log.read_text().count("keeps run") == 2, "another keeper keeps the run")
    wait_until(lambda: holder(window), "it holds the lock")
    run_out(window)
    wait_until(lambda: events(window), "the journal shows it")
    assert is_original(window)
    wait_until(lambda: holder(window) is None, "the keeper is gone")
    wait_until(lambda: not processes(window), "nothing of it is left")


def processes(window: Window) -> list[str]:
    """Processes whose log is the run's."""
    log = str(window.run.folder / "keeper.log")
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str((entry / "fd" / "2").readlink()) == log:
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.mark.newest_server
def test_a_keeper_that_was_stopped_holds_nobody_up(window: Window, next_run: Window) -> None:
    keeper = keep(window, "closed", seconds=600)
    for who in ("supervisor", "pid"):
        os.kill(keeper[who], signal.SIGSTOP)
    run_out(window)
    assert not next_run.module("unfinished_run", state="finished", phase="preflight")["failed"]
    assert holder(window) is None
    for who in ("supervisor", "pid"):
        os.kill(keeper[who], signal.SIGCONT)
    wait_until(lambda: not processes(window), "nothing of it is left")
    assert not events(window)


@pytest.mark.newest_server
def test_a_copy_whose_run_was_stopped_is_no_sign_of_life(window: Window) -> None:
    run_id = window.run.run_id
    with (
        copy_session(window.server, run_id) as copying,
        window.server.admin() as connection,
        connection.cursor() as cursor,
    ):
        assert is_copying(cursor, run_id)
        assert not is_copying(cursor, run_id, idle_seconds=0.0)
        work = threading.Thread(target=lambda: copying.cursor().execute("SELECT pg_sleep(1)"))
        work.start()
        wait_until(lambda: is_copying(cursor, run_id, idle_seconds=0.0), "it works")
        work.join()


# -- one at a time ----------------------------------------------------------------------------------------------------


def test_two_maintenance_databases_are_one_lock(window: Window, database: Database) -> None:
    elsewhere = Server(window.arguments["database_url"], database.url_of("template1"))
    assert elsewhere.maintenance_database != window.server.maintenance_database
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(elsewhere):
            reached.set()
            go_on.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert reached.wait(60)
    taken = threading.Event()

    def take() -> None:
        with locked(window.server):
            taken.set()

    other = threading.Thread(target=take)
    other.start()
    try:
        with window.server.admin() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)")
        assert not taken.is_set()
    finally:
        go_on.set()
        thread.join()
        other.join()
    assert taken.is_set()
    with elsewhere.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [keeper_name(OTHER_RUN_ID)])
        assert take_run_lock(cursor, database.name)
        with window.server.admin() as here, here.cursor() as inside:
            assert not take_run_lock(inside, database.name)
            assert OTHER_RUN_ID in str(run_lock_holder(inside, database.name))
        refused = window.module("db_access", state="closed")
        assert OTHER_RUN_ID in refused["msg"]
    assert window.is_open()


# -- after a crash of the server --------------------------------------------------------------------------------------


def verify(window: Window, database: Database) -> None:
    """Leave the fingerprint of the verified candidate in the run's folder, as the playbook does, and swap it in.

    The plan drops a column and a row of the tool's own table, which the comparison with the original leaves out.
    """
    database.execute("ALTER TABLE items ADD extra int")
    database.execute("INSERT INTO items SELECT generate_series(1, 100), 7")
    database.execute("CREATE TABLE meta AS SELECT unnest(ARRAY['one', 'two']) AS name")
    window.module("db_access", state="closed", lease_seconds=600)
    window.advance_to("migrating")
    how = {
        "database": window.name("candidate"),
        "skip_columns": {"public.items": ["extra"]},
        "skip_tables": ["public.meta"],
    }
    window.module("db_fingerprint", save_as="candidate_before.json", phase="candidate", **how)
    candidate = database.url_of(window.name("candidate"))
    database.execute("ALTER TABLE items DROP extra", url=candidate)
    database.execute("DELETE FROM meta WHERE name = 'two'", url=candidate)
    window.advance_to("migrated")
    rehearsed = window.module("db_fingerprint", compare_to="candidate_before.json", phase="candidate", **how)
    verified = window.module(
        "db_fingerprint",
        compare_to="candidate_before.json",
        expect_change=rehearsed["canonical_change"],
        save_as="candidate_after.json",
        phase="verify",
        **how,
    )
    assert not verified["failed"], verified
    window.advance_to("swapped")


def forget_counters(window: Window) -> None:
    """What a crash of the server leaves of the counters: another start than the one on record."""
    data = told(window).data
    rewrite(window, data={**data, "counters": {**data["counters"], "started": 0.0}})


def test_after_a_crash_contents_prove_that_nothing_was_written(window: Window, database: Database) -> None:
    verify(window, database)
    forget_counters(window)
    back = window.module("db_swap", state="original", phase="restore")
    assert not back["failed"], back
    assert back["proof"] == "contents"
    assert is_original(window)


@pytest.mark.parametrize("table", ["items", "meta"])
def test_after_a_crash_contents_show_what_was_written(window: Window, database: Database, table: str) -> None:
    """Also in what was left out when the candidate was compared with the original."""
    verify(window, database)
    forget_counters(window)
    database.execute(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})")
    held = window.module("db_swap", state="original", phase="restore")
    assert f"since the swap: public.{table} (1 rows fewer)." in held["msg"]
    assert window.is_open() is False


@pytest.mark.newest_server
def test_after_a_crash_without_the_fingerprint_a_person_is_asked(window: Window) -> None:
    enter(window, "swapped")
    forget_counters(window)
    with pytest.raises(Failed, match="restarted since the swap"):
        restore_original(window.server, window.run.run_id)
    held = window.description()
    assert held
    assert held.state in AFTER_SWAP
    assert "restarted" in held.data["held"]
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(window.arguments["database_url"])
