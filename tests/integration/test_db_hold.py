# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""db_hold: the result of a rollback that is over is closed, with everything in it, until a person decides."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg2
import pytest
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import finish_run
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import (
    locked,
    write_comment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description, render_description

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

WHY = {"because": "the application applied 3-orders again when it was started", "phase": "restore"}


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    """A rollback that is over, and whose result differs from what was before."""
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    database.execute("CREATE TABLE items (n serial PRIMARY KEY)")
    window = Window(database.url, tmp_path, run_module).pass_gate()
    window.advance_to("migrating")
    database.execute("CREATE TABLE reverted (n int)", url=database.url_of(window.name("candidate")))
    window.advance_to("swapped")
    finish_run(window.server, window.run.run_id)
    return window


def is_rolled_back(database: Database) -> bool:
    return database.execute("SELECT to_regclass('reverted') IS NOT NULL") == [(True,)]


def test_four_times(window: Window, database: Database) -> None:
    assert window.module("db_hold", check_mode=True, **WHY)["changed"]
    assert window.is_open()
    assert window.comment() == "ours"
    with database.session():
        held = window.module("db_hold", **WHY)
    assert (held["changed"], held["before"]) == (True, window.name("before"))
    assert held["sessions_ended"] >= 1
    assert window.is_open() is False
    assert not window.module("db_hold", check_mode=True, **WHY)["changed"]
    assert not window.module("db_hold", **WHY)["changed"]
    description = window.description()
    assert description
    assert "applied 3-orders again" in description.note
    assert description.original_comment == "ours"


@pytest.mark.parametrize("way", ["keep", "go_back"])
def test_the_printed_commands_lead_out(window: Window, database: Database, way: str) -> None:
    database.execute("INSERT INTO items DEFAULT VALUES")
    held = window.module("db_hold", **WHY)
    command = held["commands"][way]
    assert command in held["message"]
    for statement in [command] if way == "go_back" else command.split("; "):
        database.execute(statement, url=database.admin_url)
    assert is_rolled_back(database) == (way == "keep")
    assert window.comment() == "ours"
    kept = database.name if way == "keep" else window.name("failed")
    if way == "go_back":
        database.execute(f'ALTER DATABASE "{kept}" ALLOW_CONNECTIONS true', url=database.admin_url)
    assert database.execute("SELECT count(*) FROM items", url=database.url_of(kept)) == [(1,)]


def test_the_modules_lead_out_too(window: Window, database: Database) -> None:
    window.module("db_hold", **WHY)
    refused = window.module("db_swap", state="original", phase="restore")
    assert "nothing on record tells whether rows were written" in refused["msg"]
    assert window.module("db_access", state="open")["changed"]
    assert window.is_open()
    assert window.comment() == "ours"
    window.module("db_hold", **WHY)
    back = window.module("db_swap", state="original", accept_loss=True, phase="restore")
    assert back["restored_from"] == "after_swap"
    assert not is_rolled_back(database)
    assert window.comment() == "ours"


def test_the_way_out_is_offered_without_the_records_of_the_run(
    window: Window, database: Database, run_module: ModuleRunner
) -> None:
    window.module("db_hold", **WHY)
    shutil.rmtree(window.run.folder)
    seen = run_module("rollback_status", database_url=database.url, state_dir=str(window.run.state_dir))
    assert (seen["open_run"]["state"], seen["runs"]) == ("swapped", [])
    plan = run_module("recovery_plan", status=seen, run=window.run.run_id)
    assert not plan["failed"], plan
    assert plan["decision"] == "swap_back"
    assert f"-e run={window.run.run_id}" in str(plan["advice"])


def test_nothing_acknowledged_is_lost(window: Window, database: Database) -> None:
    acknowledged: list[int] = []

    def write() -> None:
        with suppress(psycopg2.Error), database.session() as connection, connection.cursor() as cursor:
            while True:
                cursor.execute("INSERT INTO items DEFAULT VALUES RETURNING n")
                row = cursor.fetchone()
                acknowledged.append(row[0] if row else -1)

    writers = [threading.Thread(target=write) for _number in range(4)]
    for writer in writers:
        writer.start()
    wait_until(lambda: len(acknowledged) > 200, "200 rows")
    held = window.module("db_hold", **WHY)
    for writer in writers:
        writer.join()
    database.execute(held["commands"]["keep"].partition("; ")[0], url=database.admin_url)
    there = {n for (n,) in database.execute("SELECT n FROM items")}
    assert set(acknowledged) <= there


def test_without_what_was_before_it_stays_open(window: Window, database: Database) -> None:
    database.execute(f'DROP DATABASE "{window.name("before")}"', url=database.admin_url)
    refused = window.module("db_hold", **WHY)
    assert refused["error"]["kind"] == "refused"
    assert window.name("before") in refused["msg"]
    assert window.is_open()
    assert window.comment() == "ours"


def test_another_run_is_left_alone(window: Window) -> None:
    with locked(window.server) as (cursor, _description):
        text = render_description(Description(OTHER_RUN_ID, "original", "closed"))
        write_comment(cursor, window.server.database, text)
    refused = window.module("db_hold", **WHY)
    assert refused["error"]["kind"] == "refused"
    assert OTHER_RUN_ID in refused["msg"]
    assert window.is_open()
