# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from window import OTHER_RUN_ID, Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone_session import copy_session
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.keeper import start_keeper
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_lock import (
    keeper_name,
    run_lock_holder,
    take_run_lock,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import renew_lease
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    database.execute(f"""COMMENT ON DATABASE "{database.name}" IS 'ours'""")
    database.execute("CREATE TABLE kept AS SELECT 1 AS one")
    return Window(database.url, tmp_path, run_module).pass_gate()


def is_gone(pid: int) -> bool:
    return not Path("/proc", str(pid), "exe").exists()


def holder(window: Window) -> str | None:
    with window.server.admin() as connection, connection.cursor() as cursor:
        return run_lock_holder(cursor, window.server.database)


def keeper_events(window: Window, action: str = "opened the original again") -> list[dict[str, Any]]:
    return [event for event in window.run.events() if event["action"] == f"the keeper {action}"]


def test_the_keeper_holds_the_lock_while_the_run_is_open_and_ends_with_it(window: Window) -> None:
    pid = window.module("db_access", state="closed")["keeper"]["pid"]
    assert keeper_name(window.run.run_id) in str(holder(window))
    assert (window.run.folder / "keeper.log").stat().st_mode & 0o777 == 0o600
    window.module("db_swap", state="original")
    wait_until(lambda: is_gone(pid), "the keeper is gone")
    assert holder(window) is None
    assert not keeper_events(window)


def test_the_module_killed_right_after_closing(window: Window) -> None:
    process = window.start("db_access", state="closed", lease_seconds=2)
    wait_until(lambda: not window.is_open(), "the database is closed")
    process.kill()
    process.communicate()
    wait_until(window.is_open, "the keeper has opened the original")
    assert window.comment() == "ours"
    wait_until(lambda: keeper_events(window), "the journal shows it")
    wait_until(lambda: holder(window) is None, "the keeper is gone")


def test_the_lease_runs_out_with_a_candidate(window: Window, database: Database) -> None:
    pid = window.module("db_access", state="closed", lease_seconds=3)["keeper"]["pid"]
    window.advance_to("migrating")
    with database.session(database.url_of(window.name("candidate"))) as connection:
        connection.cursor().execute("DROP TABLE kept")
        wait_until(lambda: is_gone(pid), "the keeper is gone")
    assert database.execute("SELECT one FROM kept") == [(1,)]
    assert window.comment() == "ours"
    assert window.is_open(window.name("candidate")) is None
    assert window.is_open(window.name("failed")) is False
    (event,) = keeper_events(window)
    assert event["changed"]
    assert event["data"]["failed_database"] == window.name("failed")
    failed = window.description(window.name("failed"))
    assert failed
    assert failed.role == "failed"


def test_maintenance_mode_is_turned_off(window: Window, tmp_path: Path) -> None:
    flag = tmp_path / "maintenance"
    flag.write_text("on")
    maintenance = {"provider": "file", "file": {"path": str(flag)}}
    window.module("db_access", state="closed", lease_seconds=1, maintenance=maintenance)
    wait_until(lambda: keeper_events(window), "the journal shows it")
    assert not flag.exists()
    assert window.is_open()


def maintenance_by_command(folder: Path, wait_for: str = "") -> tuple[dict[str, Any], Path]:
    """Return maintenance mode by a file that a command touches, and the file; the command may wait for another one."""
    flag = folder / "maintenance"
    wait = f"until test -e {folder / wait_for}; do sleep 0.05; done" if wait_for else "true"
    on = ["sh", "-c", f"touch {flag}; {wait}"]
    command = {"on": on, "off": ["rm", "-f", str(flag)], "status": ["test", "-e", str(flag)]}
    return {"provider": "command", "command": command}, flag


def test_maintenance_mode_comes_first(window: Window, tmp_path: Path) -> None:
    maintenance, flag = maintenance_by_command(tmp_path)
    given = {"state": "closed", "maintenance": maintenance, "maintenance_on": True}
    foreseen = window.module("db_access", check_mode=True, **given)
    assert foreseen["maintenance"]["changed"]
    assert not flag.exists()
    closed = window.module("db_access", **given)
    assert closed["maintenance"] == {
        "changed": True, "state": "on", "found": "off", "verified": True, "verified_by": "provider",
    }  # fmt: skip
    assert flag.exists()
    actions = [event["action"] for event in window.run.events()]
    assert actions[-2:] == ["turn maintenance mode on", "close the database"]
    again = window.module("db_access", **given)
    assert (again["changed"], again["maintenance"]["changed"]) == (False, False)


def test_what_was_found_on_is_left_on(window: Window, tmp_path: Path) -> None:
    maintenance, flag = maintenance_by_command(tmp_path)
    flag.touch()
    given = {"state": "closed", "maintenance": maintenance, "maintenance_on": True}
    closed = window.module("db_access", lease_seconds=1, **given)
    assert (closed["maintenance"]["changed"], closed["maintenance"]["found"]) == (False, "on")
    wait_until(lambda: is_gone(closed["keeper"]["pid"]), "the keeper is gone")
    assert window.is_open()
    assert flag.exists()


def test_killed_between_maintenance_mode_and_closing(window: Window, tmp_path: Path) -> None:
    """Nothing was closed, and no lease runs: the keeper does not wait for one."""
    maintenance, flag = maintenance_by_command(tmp_path, wait_for="go")
    given = {"state": "closed", "maintenance": maintenance, "maintenance_on": True, "lease_seconds": 600}
    process = window.start("db_access", **given)
    wait_until(flag.exists, "maintenance mode is on")
    assert window.is_open()
    process.kill()
    process.communicate()
    wait_until(lambda: not flag.exists(), "maintenance mode is off")
    (tmp_path / "go").touch()
    wait_until(lambda: keeper_events(window, "ended maintenance mode"), "the journal shows it")
    (event,) = keeper_events(window, "ended maintenance mode")
    assert event["data"]["maintenance"] == "turned off"
    wait_until(lambda: holder(window) is None, "the keeper is gone")
    assert window.is_open()
    assert window.comment() == "ours"


def test_what_does_not_show_it_is_named_and_no_secret_is(window: Window, tmp_path: Path) -> None:
    maintenance, flag = maintenance_by_command(tmp_path)
    token = "Tr0ub4dor-and-3"
    probe = {"name": "front page", "url": f"http://127.0.0.1:9/?token={token}", "headers": {"X-Key": token}}
    given = {"state": "closed", "maintenance": {**maintenance, "probe": probe, "deadline": 1}, "maintenance_on": True}
    failed = window.module("db_access", **given)
    assert "front page does not show it" in failed["msg"]
    assert token not in str(failed)
    assert failed["error"]["maintenance_on"] is False
    assert not flag.exists()
    assert window.is_open()


def test_another_run_does_not_touch_maintenance_mode(window: Window, tmp_path: Path) -> None:
    maintenance, flag = maintenance_by_command(tmp_path)
    given = {"state": "closed", "maintenance": maintenance, "maintenance_on": True}
    with window.server.admin() as connection, connection.cursor() as cursor:
        assert take_run_lock(cursor, window.server.database)
        refused = window.module("db_access", **given)
    assert "Another run has the lock" in refused["msg"]
    assert refused["error"]["maintenance_on"] is False
    assert not flag.exists()


def test_a_renewed_lease_keeps_it_closed(window: Window) -> None:
    pid = window.module("db_access", state="closed", lease_seconds=2)["keeper"]["pid"]
    description = window.description()
    assert description
    with window.server.admin() as connection, connection.cursor() as cursor:
        while True:
            assert renew_lease(window.server, window.run.run_id)
            cursor.execute("SELECT clock_timestamp() > %s::timestamptz + interval '1 s'", [description.lease_until])
            if cursor.fetchone() == (True,):
                break
    assert not window.is_open()
    assert not is_gone(pid)
    window.module("db_swap", state="original")


def test_a_copy_that_takes_longer_than_the_lease_is_waited_for(window: Window) -> None:
    """The lease cannot be renewed while the template is locked; the copying session is the sign of life."""
    window.module("db_access", state="closed", lease_seconds=1)
    with copy_session(window.server, window.run.run_id), window.server.admin() as connection:
        connection.cursor().execute("SELECT pg_sleep(2.5)")
        assert not window.is_open()
        assert not keeper_events(window)
    wait_until(lambda: keeper_events(window), "the journal shows it")
    assert window.is_open()


def test_the_keeper_survives_a_lost_connection(window: Window, database: Database) -> None:
    pid = window.module("db_access", state="closed")["keeper"]["pid"]
    (before,) = database.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s",
        [keeper_name(window.run.run_id)],
        url=database.admin_url,
    )
    database.execute("SELECT pg_terminate_backend(%s)", before, url=database.admin_url)
    wait_until(lambda: f"pid {before[0]}" not in str(holder(window) or f"pid {before[0]}"), "the lock is taken again")
    assert not is_gone(pid)
    window.module("db_swap", state="original")
    wait_until(lambda: is_gone(pid), "the keeper is gone")


def test_another_session_that_holds_the_lock_is_named(window: Window) -> None:
    """Also where nothing in the comment says that a run is open."""
    with window.server.admin() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT set_config('application_name', %s, false)", [keeper_name(OTHER_RUN_ID)])
        assert take_run_lock(cursor, window.server.database)
        result = window.module("db_access", state="closed")
        assert result["failed"]
        assert keeper_name(OTHER_RUN_ID) in result["msg"]
        with pytest.raises(Refused, match=OTHER_RUN_ID):
            start_keeper(window.server, window.run)
    assert window.is_open()


def test_the_keeper_leaves_nothing_of_the_module_behind(window: Window) -> None:
    """It must not hold the module's output open, or Ansible would wait for it."""
    pid = window.module("db_access", state="closed")["keeper"]["pid"]
    files = {str(Path(f"/proc/{pid}/fd/{name}").readlink()) for name in range(3)}
    assert files == {"/dev/null", str(window.run.folder / "keeper.log")}
    assert os.getsid(pid) not in (pid, os.getsid(0))
    os.kill(pid, signal.SIGHUP)
    window.module("db_swap", state="original")
    wait_until(lambda: is_gone(pid), "the keeper is gone")
