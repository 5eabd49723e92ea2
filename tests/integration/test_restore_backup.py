# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup takes production's place: found by restoring it, compared, closed without losing a write unsaid, swapped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup_restore import Wanted
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.good_backup import (
    Asked,
    newest_good,
    restored,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._status import Look, read_backups


class Restore:
    """One restore of one database, step by step, as the role does it."""

    def __init__(self, run_module: Any, database: Any, state_dir: Path) -> None:
        self._run_module = run_module
        self.database = database
        self.state_dir = str(state_dir)
        self.run_id = run_module(
            "run_journal", state="started", state_dir=self.state_dir, kind="restore", environment="production",
            database=database.name,
        )["run_id"]  # fmt: skip

    def step(self, module: str, phase: str, **arguments: Any) -> dict[str, Any]:
        at = {"run_id": self.run_id, "state_dir": self.state_dir, "phase": phase}
        if module != "recovery_gate":
            at["database_url"] = self.database.url
        if module in ("good_backup", "db_backup"):
            at["client_path"] = [str(self.database.server.bin_dir)]
        result: dict[str, Any] = self._run_module(module, **at, **arguments)
        return result

    def well(self, module: str, phase: str, **arguments: Any) -> dict[str, Any]:
        result = self.step(module, phase, **arguments)
        assert not result["failed"], result
        return result

    def back_up(self) -> str:
        made = self._run_module(
            "db_backup", database_url=self.database.url, backup_dir=f"{self.state_dir}/backups", checkpoint=False,
            client_path=[str(self.database.server.bin_dir)],
        )  # fmt: skip
        assert not made["failed"], made
        return str(made["backup_id"])

    def up_to_the_gate(self) -> dict[str, Any]:
        self.well("db_info", "preflight")
        found = self.well("good_backup", "restore")
        self.well("db_fingerprint", "compare", save_as="compared.json")
        compared = self.well("db_compare", "compare", other=found["name"])
        self.well(
            "recovery_gate", "gate", database=self.database.name, source=found["backup_id"], compared=compared["tables"]
        )
        return found

    def close(self, **arguments: Any) -> dict[str, Any]:
        return self.step("db_access", "close", state="closed", compared="compared.json", **arguments)

    def is_open(self, name: str | None = None) -> bool:
        ((is_open,),) = self.database.execute(
            "SELECT datallowconn FROM pg_database WHERE datname = %s", [name or self.database.name],
            url=self.database.admin_url,
        )  # fmt: skip
        return bool(is_open)

    def record(self) -> dict[str, Any]:
        run = self._run_module("run_journal", state="finished", state_dir=self.state_dir, run_id=self.run_id)["run"]
        assert isinstance(run, dict)
        return run


@pytest.fixture
def restore(run_module: Any, database: Any, tmp_path: Path) -> Iterator[Restore]:
    """A database with two users, and a state folder."""
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    database.execute("CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL)")
    database.execute("INSERT INTO users (email) VALUES ('a@example.test'), ('b@example.test')")
    restore = Restore(run_module, database, state_dir)
    yield restore
    database.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(database.name)),
        url=database.admin_url,
    )


def emails(restore: Restore, name: str | None = None) -> int:
    url = restore.database.url_of(name) if name else restore.database.url
    ((number,),) = restore.database.execute("SELECT count(*) FROM users", url=url)
    return int(number)


def test_a_backup_takes_the_place_and_what_was_there_is_kept(restore: Restore) -> None:
    backup_id = restore.back_up()
    restore.database.execute("DELETE FROM users")
    assert restore.up_to_the_gate()["backup_id"] == backup_id
    closed = restore.close()
    assert (closed["failed"], closed["written"]) == (False, []), closed
    assert not restore.is_open()
    swapped = restore.well("db_swap", "reopen", state="restored", keep_hours=1)
    assert restore.well("db_swap", "reopen", state="restored")["changed"] is False
    assert restore.well("db_access", "reopen", state="open")["lock_released"] is True
    assert emails(restore) == 2
    assert not restore.is_open(swapped["before"])
    assert restore.record()["outcome"] == "restored"


def test_what_is_written_between_comparing_and_closing_is_found(restore: Restore) -> None:
    restore.back_up()
    restore.up_to_the_gate()
    restore.database.execute("INSERT INTO users (email) VALUES ('c@example.test')")
    refused = restore.close()
    assert refused["error"]["kind"] == "refused", refused
    assert "public.users (1 rows more)" in refused["msg"]
    assert "accept_loss=true" in refused["msg"]
    assert restore.is_open()
    assert emails(restore) == 3
    assert restore.record()["outcome"] == "refused"


def test_what_was_written_meanwhile_may_be_accepted_and_is_said(restore: Restore) -> None:
    restore.back_up()
    restore.up_to_the_gate()
    restore.database.execute("INSERT INTO users (email) VALUES ('c@example.test')")
    closed = restore.close(accept_loss=True)
    assert closed["written"] == [{"name": "public.users", "rows_then": 2, "rows_now": 3}], closed
    before = restore.well("db_swap", "reopen", state="restored")["before"]
    restore.well("db_access", "reopen", state="open")
    assert emails(restore) == 2
    record = restore.record()
    assert "Written while it was being restored: public.users (1 rows more)" in record["restored_from"]["lines"]
    restore.database.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(before)),
        url=restore.database.admin_url,
    )
    assert emails(restore, before) == 3


def test_no_acknowledged_write_is_lost_unsaid(restore: Restore) -> None:
    """A writer that never rests: each row that it was told is written is in the kept database, and was counted."""
    restore.back_up()
    restore.up_to_the_gate()
    stop, acknowledged = threading.Event(), [0]

    def write() -> None:
        while not stop.is_set():
            try:
                with psycopg2.connect(restore.database.url) as connection, connection.cursor() as cursor:
                    cursor.execute("INSERT INTO users (email) VALUES ('w@example.test')")
                connection.close()
                acknowledged[0] += 1
            except psycopg2.Error:
                time.sleep(0.001)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        closed = restore.close(accept_loss=True)
        before = restore.well("db_swap", "reopen", state="restored")["before"]
    finally:
        stop.set()
        writer.join()
    assert not closed["failed"], closed
    ((table,),) = [closed["written"]]
    restore.well("db_access", "reopen", state="open")
    after = emails(restore) - 2  # what the writer wrote into the restored one
    assert acknowledged[0] == (table["rows_now"] - 2) + after
    restore.database.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(before)),
        url=restore.database.admin_url,
    )
    assert emails(restore, before) == table["rows_now"]


def test_a_column_and_a_large_object_of_now_count_as_lost(restore: Restore) -> None:
    restore.back_up()
    restore.database.execute("ALTER TABLE users ADD COLUMN phone text")
    found, name = restore.well("good_backup", "restore"), restore.database.name

    def gate(**arguments: Any) -> dict[str, Any]:
        compared = restore.well("db_compare", "compare", other=found["name"])
        seen = {"compared": compared["tables"], "large_objects": compared["large_objects"]}
        return restore.step("recovery_gate", "gate", database=name, source="the backup", **seen, **arguments)

    refused = gate(job_controller=True)
    assert refused["error"]["kind"] == "refused", refused
    assert "1 columns would be gone: public.users.phone" in refused["msg"]
    assert f"-e confirm={name}" in refused["msg"]
    said = "public.users.phone: the column, and what it holds, is not in the backup"
    assert gate(job_controller=True, confirm=name)["lines"] == gate()["lines"] == [said]

    restore.database.execute("SELECT lo_from_bytea(0, 'abc')")
    refused = gate(confirm=name)
    assert refused["error"]["kind"] == "refused", refused
    assert "large objects could not be compared" in refused["msg"]
    accepted = gate(confirm=name, accept_loss=True)
    assert accepted["lines"] == [said, "large objects: it cannot be told which rows would be lost"]
    record = restore.record()
    assert (record["lost_since"]["columns"], record["lost_since"]["unknown"]) == (
        ["public.users.phone"],
        ["large objects"],
    )
    report = Path(restore.state_dir, "runs", restore.run_id, "report.md").read_text()
    assert [line for line in accepted["lines"] if line not in report] == []


def test_it_can_be_taken_back(restore: Restore) -> None:
    restore.back_up()
    restore.database.execute("INSERT INTO users (email) VALUES ('c@example.test')")
    restore.up_to_the_gate()
    restore.close()
    restore.well("db_swap", "reopen", state="restored")
    undone = restore.well("db_swap", "restore", state="original")
    assert (undone["restored_from"], undone["changed"]) == ("after_swap", True)
    assert emails(restore) == 3
    assert restore.record()["outcome"] == "aborted"


@pytest.mark.parametrize("missing", ["restore", "gate"])
def test_nothing_is_closed_before_its_phase_has_passed(restore: Restore, missing: str) -> None:
    restore.back_up()
    restore.well("db_info", "preflight")
    found = restore.well("good_backup", "restore" if missing != "restore" else "assess")
    restore.well("db_fingerprint", "compare", save_as="compared.json")
    if missing != "gate":
        restore.well("recovery_gate", "gate", database=restore.database.name, source=found["backup_id"], compared=[])
    refused = restore.close()
    assert f"does not show that {missing} passed" in refused["msg"]
    assert restore.is_open()


def test_nothing_is_swapped_that_is_not_closed(restore: Restore) -> None:
    restore.back_up()
    restore.up_to_the_gate()
    refused = restore.step("db_swap", "reopen", state="restored")
    assert "only allowed in 'closed'" in refused["msg"]
    assert emails(restore) == 2


def test_without_a_restored_copy_nothing_is_swapped(restore: Restore) -> None:
    restore.back_up()
    found = restore.up_to_the_gate()
    restore.close()
    restore.database.execute(
        sql.SQL("DROP DATABASE {}").format(sql.Identifier(found["name"])), url=restore.database.admin_url
    )
    refused = restore.step("db_swap", "reopen", state="restored")
    assert "There is no complete restored database" in refused["msg"]
    restore.well("db_swap", "restore", state="original")
    assert emails(restore) == 2


def test_rows_without_parents_make_a_backup_not_good(restore: Restore, database: Any) -> None:
    """The damage was in the database already when the backup was made, faithfully."""
    good = restore.back_up()
    time.sleep(1.1)
    database.execute("CREATE TABLE orders (id int PRIMARY KEY, user_id int REFERENCES users (id))")
    database.execute(
        "SET session_replication_role = replica; INSERT INTO orders VALUES (1, 99)", url=database.superuser_url
    )
    restore.back_up()
    found = restore.well("good_backup", "restore")
    assert found["backup_id"] == good
    assert "orders_user_id_fkey" in found["rejected"][0]["reason"]
    assert database.relatives() == [database.name, found["name"]]


def test_a_backup_that_restores_and_is_not_sound_is_dropped_again(restore: Restore, database: Any) -> None:
    restore.back_up()
    server = Server(database.url)
    backups = read_backups(Look(Path(restore.state_dir), Path(restore.state_dir) / "backups"))
    wanted, asked = Wanted(restore.run_id, client_path=[str(database.server.bin_dir)]), Asked()
    seen: list[str] = []

    def unsound(name: str) -> list[str]:
        seen.extend(database.relatives())
        return [f"an index of {name} is torn."]

    with pytest.raises(Refused, match=r"not sound: an index of .* is torn") as refused:
        newest_good(server, backups, asked, lambda backup: restored(server, backup, wanted, asked, unsound))
    assert refused.value.details["rejected"]
    assert len(seen) == 2
    assert database.relatives() == [database.name]


def test_a_copy_that_cannot_be_looked_through_makes_room_for_the_next_older_one(
    restore: Restore, database: Any
) -> None:
    older = restore.back_up()
    time.sleep(1.1)  # manifests count whole seconds
    newer = restore.back_up()
    server = Server(database.url)
    backups = read_backups(Look(Path(restore.state_dir), Path(restore.state_dir) / "backups"))
    wanted, asked = Wanted(restore.run_id, client_path=[str(database.server.bin_dir)]), Asked()

    def unsound(name: str) -> list[str]:
        if not looked_through:
            looked_through.append(name)
            database.execute("SELECT 1 / 0", url=database.url_of(name))
        return []

    looked_through: list[str] = []
    good = newest_good(server, backups, asked, lambda backup: restored(server, backup, wanted, asked, unsound))
    assert good.plan.manifest["backup_id"] == older
    ((rejected, reason),) = [(entry["backup_id"], entry["reason"]) for entry in good.rejected]
    assert (rejected, "division by zero" in reason) == (newer, True)
    assert database.relatives() == [database.name, good.plan.name]


def test_a_time_out_that_the_backup_brings_along_does_not_end_the_analysis(restore: Restore, database: Any) -> None:
    """An index over what takes longer than the database allows: ANALYZE works it out again, for each row."""
    database.execute(
        "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT sum(setting::int) FROM pg_catalog.pg_settings"
        " WHERE name IN ('statement_timeout', 'transaction_timeout')) > 0"
        " THEN PERFORM pg_catalog.pg_sleep(10); END IF; RETURN $1; END $$"
    )
    database.execute("CREATE INDEX ON users (slow(email))")
    settings = database.execute(
        "SELECT name FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')"
    )
    for (setting,) in settings:
        database.execute(
            sql.SQL("ALTER DATABASE {} SET {} = '5s'").format(*map(sql.Identifier, (database.name, setting)))
        )
    backup_id = restore.back_up()
    found = restore.well("good_backup", "restore")
    assert (found["backup_id"], found["rejected"]) == (backup_id, [])
    assert database.execute("SHOW statement_timeout", url=database.url_of(found["name"])) == [("5s",)]
    statistics = "SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'users'"
    assert database.execute(statistics, url=database.url_of(found["name"])) == [(True,)]


def test_check_mode_restores_nothing(restore: Restore) -> None:
    backup_id = restore.back_up()
    found = restore.well("good_backup", "restore", check_mode=True)
    assert (found["backup_id"], found["verified"], found["changed"]) == (backup_id, False, True)
    assert restore.database.relatives() == [restore.database.name]
