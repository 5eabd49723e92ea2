# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import sql
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.properties import (
    Setting,
    read_settings,
)

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    database.execute("CREATE TABLE items AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 1000) AS n")
    return Window(database.url, tmp_path, run_module)


def settings_of(window: Window, database: str) -> tuple[Setting, ...]:
    with window.server.admin() as connection, connection.cursor() as cursor:
        return read_settings(cursor, database)


def is_copying(database: Database) -> bool:
    copying = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND state = 'active'"
    return bool(database.execute(copying, url=database.admin_url))


def test_check_mode_then_the_candidate_and_the_second_time_nothing(window: Window, database: Database) -> None:
    window.advance_to("closed")
    foreseen = window.module("db_clone", purpose="candidate", check_mode=True)
    assert foreseen["changed"]
    assert foreseen["name"] == window.name("candidate")
    assert database.relatives() == [database.name]
    result = window.module("db_clone", purpose="candidate")
    assert result["changed"]
    assert result["bytes"] > 1_000_000
    assert database.execute("SELECT count(*) FROM items", url=database.url_of(result["name"])) == [(1000,)]
    assert not window.module("db_clone", purpose="candidate", check_mode=True)["changed"]
    again = window.module("db_clone", purpose="candidate")
    assert not again["changed"]
    assert again["bytes"] > 1_000_000
    description = window.description()
    assert description
    assert description.state == "candidate"


def test_a_candidate_is_refused_of_an_open_database(window: Window, database: Database) -> None:
    for check_mode in (True, False):
        result = window.module("db_clone", purpose="candidate", check_mode=check_mode)
        assert result["failed"]
        assert "open, no run" in result["msg"]
    assert database.relatives() == [database.name]


def test_the_candidate_lets_nobody_in_but_the_owner(window: Window, database: Database) -> None:
    superuser = database.server.superuser_url()
    database.execute("CREATE ROLE guest LOGIN PASSWORD 'x'", url=superuser)
    try:
        database.execute(f'GRANT CONNECT ON DATABASE "{database.name}" TO guest')
        window.advance_to("candidate")
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            database.execute("SELECT 1", url=database.server.url("guest", "x", window.name("candidate")))
    finally:
        database.execute(f'REVOKE ALL ON DATABASE "{database.name}" FROM guest', url=superuser)
        database.execute("DROP ROLE guest", url=superuser)
    assert database.execute("SELECT 1", url=database.url_of(window.name("candidate"))) == [(1,)]


def test_settings_come_along_as_they_are(window: Window, database: Database) -> None:
    name = database.name
    database.execute(f"""ALTER DATABASE "{name}" SET search_path TO "$user", 'Odd, "path"', public""")
    database.execute(f"""ALTER DATABASE "{name}" SET application_name TO 'it''s "one", two'""")
    database.execute(f"""ALTER ROLE CURRENT_USER IN DATABASE "{name}" SET work_mem TO '7MB'""")
    window.advance_to("candidate")
    settings = settings_of(window, name)
    assert len(settings) == 3
    assert settings_of(window, window.name("candidate")) == settings


def test_the_copy_does_not_go_through_the_log(window: Window, database: Database) -> None:
    """STRATEGY WAL_LOG would write the whole database into it."""
    database.execute("INSERT INTO items SELECT n, repeat('y', 1000) FROM generate_series(1, 10000) AS n")
    window.advance_to("closed")
    (start,) = database.execute("SELECT pg_current_wal_insert_lsn()", url=database.admin_url)
    result = window.module("db_clone", purpose="candidate")
    (written,) = database.execute(
        "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", start, url=database.admin_url
    )
    assert result["bytes"] > 10_000_000
    assert written[0] < 1_000_000


def test_a_trial_is_made_of_the_candidate_and_dropped(window: Window, database: Database) -> None:
    window.advance_to("candidate")
    assert window.module("db_clone", purpose="trial", check_mode=True)["changed"]
    result = window.module("db_clone", purpose="trial")
    assert result["name"] == window.name("trial")
    assert not window.module("db_clone", purpose="trial")["changed"]
    with database.session(database.url_of(result["name"])):
        assert window.module("db_clone", purpose="trial", state="absent", check_mode=True)["changed"]
        assert result["name"] in database.relatives()
        assert window.module("db_clone", purpose="trial", state="absent")["changed"]
    assert database.relatives() == [database.name, window.name("candidate")]
    assert not window.module("db_clone", purpose="trial", state="absent", check_mode=True)["changed"]
    assert not window.module("db_clone", purpose="trial", state="absent")["changed"]


def test_the_fingerprint_of_the_copy(window: Window) -> None:
    window.advance_to("closed")
    result = window.module("db_clone", purpose="candidate", fingerprint=True, contents={"contents": "counts"})
    assert result["fingerprint"]["tables"]["public.items"]["rows"] == 1000


def test_a_source_in_use_is_refused_by_name(window: Window, database: Database) -> None:
    window.advance_to("candidate")
    with database.session(database.url_of(window.name("candidate"))) as connection:
        result = window.module("db_clone", purpose="trial")
        assert result["failed"]
        assert f"pid {connection.info.backend_pid}" in result["msg"]
    assert window.name("trial") not in database.relatives()


def test_a_trial_is_not_made_of_production(window: Window, database: Database) -> None:
    result = window.module("db_clone", purpose="trial", source=database.name)
    assert result["failed"]
    assert "is not a candidate or rehearsal database that run" in result["msg"]


def test_a_database_that_only_has_the_name_is_not_dropped(window: Window, database: Database) -> None:
    database.execute(f'CREATE DATABASE "{window.name("trial")}"', url=database.admin_url)
    result = window.module("db_clone", purpose="trial", state="absent")
    assert result["failed"]
    assert "its comment must both say so" in result["msg"]
    assert window.module("db_clone", purpose="trial")["failed"]
    assert window.name("trial") in database.relatives()


@pytest.mark.parametrize("comment", ["somebody looks at this one", '{"balcon.rollback": {"run_id": "cut off'])
def test_what_says_something_else_of_itself_is_not_half_made(window: Window, database: Database, comment: str) -> None:
    """A copy that was left half-made has no comment at all: what has one is a person's to look at."""
    window.advance_to("closed")
    for purpose in ("candidate", "trial"):
        name = window.name(purpose)
        database.execute(f'CREATE DATABASE "{name}" ALLOW_CONNECTIONS false', url=database.admin_url)
        statement = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))
        database.execute(statement, url=database.admin_url)
    made = window.module("db_clone", purpose="candidate")
    assert "does not say that run" in made["msg"]
    dropped = window.module("db_clone", purpose="trial", state="absent")
    assert "its comment must both say so" in dropped["msg"]
    assert {window.name("candidate"), window.name("trial")} <= set(database.relatives())
    leftovers = window.module("db_info", free_bytes=10**12)["leftovers"]
    assert [leftover["state"] for leftover in leftovers] == ["closed", "closed"]


def test_a_candidate_is_not_dropped(window: Window) -> None:
    window.advance_to("candidate")
    assert window.module("db_clone", purpose="candidate", state="absent")["failed"]
    assert window.is_open(window.name("candidate"))


def test_a_trial_of_another_run_is_not_touched(window: Window, database: Database) -> None:
    window.advance_to("candidate")
    window.module("db_clone", purpose="trial")
    foreign = {"run_id": OTHER_RUN_ID, "state_dir": str(window.run.state_dir)}
    window.run.folder.with_name(OTHER_RUN_ID).mkdir(mode=0o700)
    (window.run.folder.with_name(OTHER_RUN_ID) / "journal.jsonl").touch()
    assert not window.module("db_clone", purpose="trial", state="absent", **foreign)["changed"]
    assert window.name("trial") in database.relatives()


@pytest.mark.parametrize(
    "damage", ["UPDATE pg_database SET datconnlimit = -2", "UPDATE pg_database SET datallowconn = false"]
)
def test_what_a_killed_copy_or_drop_left_is_replaced(window: Window, database: Database, damage: str) -> None:
    window.advance_to("closed")
    database.execute(f'CREATE DATABASE "{window.name("candidate")}"', url=database.admin_url)
    superuser = database.server.superuser_url()
    database.execute(f"{damage} WHERE datname = %s", [window.name("candidate")], url=superuser)
    assert window.module("db_clone", purpose="candidate")["changed"]
    assert database.execute("SELECT count(*) FROM items", url=database.url_of(window.name("candidate"))) == [(1000,)]


def test_a_killed_copy_leaves_nothing(window: Window, database: Database) -> None:
    """The server sees that nobody waits for the copy any more, and removes what there is of it."""
    database.execute("INSERT INTO items SELECT n, repeat('y', 1000) FROM generate_series(1, 150000) AS n")
    window.advance_to("closed")
    process = window.start("db_clone", purpose="candidate")
    wait_until(lambda: process.poll() is not None or is_copying(database), "it copies")
    if process.poll() is not None:
        pytest.skip("The copy was made before it could be killed.")
    process.kill()
    process.communicate()
    wait_until(lambda: not is_copying(database), "it has stopped")
    assert window.module("db_clone", purpose="candidate")["changed"]


def test_a_copy_in_progress_is_ended_by_the_restore(window: Window, database: Database) -> None:
    """The template is locked while it is copied: nobody could get in before the end of the copy."""
    connection = psycopg2.connect(database.url)
    connection.tpc_begin("makes the copy wait")
    connection.cursor().execute("CREATE TABLE waits()")
    connection.tpc_prepare()
    connection.close()
    window.advance_to("closed")
    process = window.start("db_clone", purpose="candidate")
    wait_until(lambda: process.poll() is not None or is_copying(database), "it copies")
    assert window.module("db_swap", state="original")["restored_from"] == "before_swap"
    output, _errors = process.communicate()
    assert "could not be copied" in output
    assert "closed the connection" in output or "terminating connection" in output
    assert window.is_open()
    assert window.name("candidate") not in database.relatives()
