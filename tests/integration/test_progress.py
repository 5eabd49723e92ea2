# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of progress of long steps, in real playbooks on real servers.

A step is made long by a lock that the test holds until it has seen the line that it waits for.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
from live_playbook import LivePlaybook
from ssh_server import ssh_server

from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from ansible_collections.balcon.rollback.tests.integration.conftest import Database

RUN = "20261123t081500a3f9"

Start = Callable[..., LivePlaybook]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a playbook; whatever the test does, it is gone afterwards, and leaves no file of progress."""
    begun: list[LivePlaybook] = []

    def start(*tasks: dict[str, Any], **options: Any) -> LivePlaybook:
        begun.append(LivePlaybook(tmp_path, tasks, **options))
        return begun[-1]

    yield start
    for playbook in begun:
        playbook.end()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def orders(database: Database) -> Database:
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
    database.execute("INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 3000) n")
    database.execute("ANALYZE orders")
    return database


@contextlib.contextmanager
def locked(database: Database, statement: Any, url: str | None = None) -> Iterator[Any]:
    """Hold a lock for as long as the block runs, or until it calls what it gets."""
    with database.session(url) as session, session.cursor() as cursor:
        session.autocommit = False
        cursor.execute(statement)
        yield session.commit
        session.commit()


def is_progress(module: str) -> Callable[[str], bool]:
    return lambda line: line.startswith(f"[shop] {module} | ")


def files_of_progress() -> set[Path]:
    return set(Path("/tmp").glob("balcon-rollback-progress-*"))  # noqa: S108


def are_gone(before: set[Path]) -> bool:
    """Tell whether files that came since are gone; those of other tests that run beside are gone when these end."""
    left, deadline = files_of_progress() - before, time.monotonic() + 60
    while any(path.exists() for path in left) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not any(path.exists() for path in left)


def backup_task(database: Database, state_dir: Path, **more: Any) -> dict[str, Any]:
    options = {
        "database_url": database.url, "backup_dir": str(state_dir / "backups"), "checkpoint": False,
        "client_path": [str(database.server.bin_dir)],
    }  # fmt: skip
    return {"balcon.rollback.db_backup": {**options, **more}, "register": "backup"}


def test_a_dump_says_how_far_it_is_while_it_runs(orders: Database, state_dir: Path, start: Start) -> None:
    before = files_of_progress()
    with locked(orders, "LOCK TABLE orders") as release:
        playbook = start(backup_task(orders, state_dir))
        line = playbook.read_until(is_progress("db_backup"))
        release()
    assert playbook.finish() == 0, playbook.output
    assert f"dump {orders.name}: " in line
    assert " | 0:" in line
    assert " 1 tables" in line
    assert are_gone(before)


@pytest.mark.newest_server
@pytest.mark.parametrize("pipelining", ["True", "False"])
def test_it_comes_through_ssh_as_well(orders: Database, state_dir: Path, start: Start, pipelining: str) -> None:
    before = files_of_progress()
    with ssh_server() as server, locked(orders, "LOCK TABLE orders") as release:
        playbook = start(
            backup_task(orders, state_dir),
            arguments=["-e", json.dumps(server.variables)],
            environment={"ANSIBLE_PIPELINING": pipelining},
        )
        line = playbook.read_until(is_progress("db_backup"))
        release()
        assert playbook.finish() == 0, playbook.output
    assert f"dump {orders.name}: " in line
    assert are_gone(before)


@pytest.mark.newest_server
def test_a_job_controller_gets_it_as_an_event(orders: Database, state_dir: Path, start: Start, tmp_path: Path) -> None:
    """AWX and its like run playbooks through ansible-runner, whose callback plugin wraps whatever is displayed."""
    plugin = Path(ansible_runner.__file__).parent / "display_callback" / "callback"
    (tmp_path / "events" / "job_events").mkdir(parents=True)
    runner = {
        "ANSIBLE_STDOUT_CALLBACK": "awx_display",
        "ANSIBLE_CALLBACK_PLUGINS": str(plugin),
        "AWX_ISOLATED_DATA_DIR": str(tmp_path / "events"),
    }
    with locked(orders, "LOCK TABLE orders") as release:
        playbook = start(backup_task(orders, state_dir), environment=runner)
        line = playbook.read_until(lambda line: "[shop] db_backup | " in line)
        release()
    assert playbook.finish() == 0, playbook.output
    assert f"dump {orders.name}: " in line
    assert line.startswith("\x1b[K")  # the mark of an event of its own


def test_a_fingerprint_says_that_it_is_under_way(orders: Database, start: Start) -> None:
    task = {"balcon.rollback.db_fingerprint": {"database_url": orders.url}}
    with locked(orders, "LOCK TABLE orders") as release:
        playbook = start(task)
        line = playbook.read_until(is_progress("db_fingerprint"))
        release()
    assert playbook.finish() == 0, playbook.output
    assert f"fingerprint of {orders.name}" in line


def test_a_file_copy_says_how_much_there_is_to_copy(orders: Database, state_dir: Path, start: Start) -> None:
    task = {
        "balcon.rollback.db_clone": {
            "database_url": orders.url, "admin_url": orders.admin_url, "purpose": "rehearsal",
            "run_id": RUN, "state_dir": str(state_dir), "phase": "rehearse",
        }
    }  # fmt: skip
    Run(state_dir, RUN).create()
    with locked(orders, "LOCK TABLE pg_database IN SHARE MODE", orders.server.superuser_url("postgres")) as release:
        playbook = start(task)
        line = playbook.read_until(is_progress("db_clone"))
        release()
    assert playbook.finish() == 0, playbook.output
    assert f"copy the files of {orders.name}: " in line
    assert " MB in all" in line


def test_a_restore_says_how_many_rows_have_arrived(orders: Database, state_dir: Path, start: Start) -> None:
    """A check that is slow in the restored database alone makes it long enough to be seen."""
    orders.execute(
        "CREATE FUNCTION slow(n int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN "
        "IF current_database() LIKE '%__restored_%' AND n % 100 = 0 THEN PERFORM pg_sleep(0.2); END IF; "
        "RETURN true; END $$"
    )
    orders.execute("ALTER TABLE orders ADD CONSTRAINT slowly CHECK (public.slow(id))")
    restore = {
        "balcon.rollback.db_restore": {
            "database_url": orders.url, "backup": "{{ backup.path }}", "client_path": [str(orders.server.bin_dir)],
        }
    }  # fmt: skip
    playbook = start(backup_task(orders, state_dir), restore)
    line = playbook.read_until(lambda line: is_progress("db_restore")(line) and " of 3,000 rows)" in line)
    assert "restore into " in line
    assert "now public.orders (" in line
    assert playbook.finish() == 0, playbook.output
    assert len(playbook.progress()) >= 1


def test_the_progress_is_silent_where_nothing_may_be_shown(orders: Database, start: Start) -> None:
    task = {"balcon.rollback.db_fingerprint": {"database_url": orders.url}, "no_log": True}
    with locked(orders, "LOCK TABLE orders") as release:
        playbook = start(task)
        wait_until_blocked(orders)
        time.sleep(4)  # what would be printed would have been by now
        release()
    assert playbook.finish() == 0, playbook.output
    assert playbook.progress() == []


def wait_until_blocked(database: Database) -> None:
    deadline = time.monotonic() + 60
    while not database.execute(
        "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'", [database.name]
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_failing_step_fails_with_its_own_message(orders: Database, start: Start) -> None:
    task = {"balcon.rollback.db_fingerprint": {"database_url": orders.url, "database": "no_such"}}
    playbook = start(task)
    assert playbook.finish() == 2
    assert "Cannot connect to database 'no_such'" in " ".join(playbook.output.split())


def test_defaults_of_the_group_and_check_mode_reach_the_module(orders: Database, state_dir: Path, start: Start) -> None:
    defaults = {"group/balcon.rollback.database": {"database_url": orders.url}}
    task = backup_task(orders, state_dir)
    task["balcon.rollback.db_backup"].pop("database_url")
    playbook = start(task, play={"module_defaults": defaults}, arguments=["--check", "--diff"])
    assert playbook.finish() == 0, playbook.output
    assert "changed=1" in playbook.output
    assert not (state_dir / "backups").exists()
