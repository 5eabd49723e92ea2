# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cleaning up on a real server and a real disk: what goes, what stays, and what is proven and recorded."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2 import sql
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.relatives import admit
from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    render_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._domain.retention import check_keep
from ansible_collections.balcon.rollback.plugins.module_utils._retention import Plan, clean_up, make_plan
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, read_events
from ansible_collections.balcon.rollback.plugins.module_utils._run_records import begin, end
from ansible_collections.balcon.rollback.plugins.module_utils._status import Look

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

KEY = "a-long-signing-key"
NOW = datetime.now(UTC)
KEEP = {
    "backups": {"count": 2, "days": 10},
    "before": {"count": 1, "days": 1},
    "failed": {"count": 1, "days": 1},
    "leftovers": {"days": 1},
}


def run_of(days: int) -> str:
    return f"{NOW - timedelta(days=days):%Y%m%dt%H%M%S}{days:04x}"


class Store:
    """A database with a state folder, in which things have been left for a while."""

    def __init__(self, database: Database, state_dir: Path, run_module: ModuleRunner) -> None:
        self.database = database
        self.state_dir = state_dir
        self._run_module = run_module
        self._made: Path | None = None

    # -- what was left ----------------------------------------------------------------------------------------------

    def backup(self, days: int, *, verified: bool = True, **changes: Any) -> Path:
        """A real backup, dated back as many days."""
        if self._made is None:
            made = self._run_module(
                "db_backup",
                database_url=self.database.url,
                backup_dir=str(self.state_dir / "made"),
                client_path=[str(self.database.server.bin_dir)],
                signing_key=KEY,
            )
            assert made["failed"] is False, made
            self._made = Path(made["path"])
        folder = self.state_dir / "backups" / f"shop-{run_of(days)}"
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copytree(self._made, folder)
        content = json.loads((folder / "manifest.json").read_text())
        content.update(
            backup_id=folder.name,
            created_at=(NOW - timedelta(days=days)).isoformat(timespec="seconds"),
            verified="read" if verified else None,
            **changes,
        )
        for seal in ("digest", "signature"):
            del content[seal]
        (folder / "manifest.json").write_text(manifests.render(manifests.seal(content, KEY)))
        return folder

    def left(self, purpose: str, days: int, *, comment: bool = True, **data: Any) -> str:
        """A database that a run left so many days ago."""
        name = derived_name(self.database.name, purpose, run_of(days))
        identifier = sql.Identifier(name)
        description = Description(run_id=run_of(days), role=purpose, note="left", data=data)
        self._admin(sql.SQL("CREATE DATABASE {}").format(identifier))
        if comment:
            text = sql.Literal(render_description(description))
            self._admin(sql.SQL("COMMENT ON DATABASE {} IS {}").format(identifier, text))
        if purpose in ("before", "failed"):
            self._admin(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
        return name

    def _admin(self, statement: sql.Composable) -> None:
        self.database.execute(statement, url=self.database.admin_url)

    # -- cleaning up ------------------------------------------------------------------------------------------------

    def __call__(self, state: str = "applied", **arguments: Any) -> dict[str, Any]:
        given = {
            "database_url": self.database.url,
            "state_dir": str(self.state_dir),
            "signing_key": KEY,
            "keep": KEEP,
            "state": state,
        }
        result: dict[str, Any] = self._run_module("retention", **{**given, **arguments})
        return result

    def there(self) -> set[str]:
        """Everything there is: backups and databases."""
        backups = {path.name for path in (self.state_dir / "backups").glob("*")}
        return backups | set(self.database.relatives()) - {self.database.name}

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.state_dir / "clean_up.jsonl")


@pytest.fixture
def store(database: Database, tmp_path: Path, run_module: ModuleRunner) -> Store:
    tmp_path.chmod(0o700)
    database.execute("CREATE TABLE items (n int PRIMARY KEY)")
    database.execute("INSERT INTO items SELECT generate_series(1, 7)")
    return Store(database, tmp_path, run_module)


def names(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["name"] for entry in entries}


def test_list_delete_and_again(store: Store) -> None:
    new, second, old, older = (store.backup(days) for days in (1, 11, 12, 13))
    before, early, late = (
        store.left("before", 2),
        store.left("before", 3, keep_until=(NOW + timedelta(days=1)).isoformat()),
        store.left("before", 4, keep_until=(NOW - timedelta(days=1)).isoformat()),
    )
    failed, old_failed = store.left("failed", 5), store.left("failed", 6)
    rehearsal, trial, young = store.left("rehearsal", 7), store.left("trial", 8), store.left("trial", 0)
    candidate, stranger = store.left("candidate", 9), store.left("failed", 30, comment=False)
    everything = store.there()
    go = {old.name, older.name, late, old_failed, rehearsal, trial}

    planned = store("planned")
    assert (planned["failed"], planned["changed"]) == (False, False), planned
    assert names(planned["delete"]) == go
    assert names(planned["keep"]) == everything - go
    assert planned["good_backup"] == new.name
    checked = store(check_mode=True)
    assert (checked["changed"], names(checked["delete"]), checked["deleted"]) == (True, go, [])
    assert store.there() == everything
    assert not (store.state_dir / "clean_up.jsonl").exists()

    applied = store(only=[old.name, late, "shop", candidate, early])
    assert (applied["failed"], applied["changed"]) == (False, True), applied
    assert set(applied["deleted"]) == {old.name, late}
    rest = store()
    assert (rest["failed"], rest["changed"]) == (False, True), rest
    assert set(rest["deleted"]) == go - {old.name, late}
    assert store.there() == {
        new.name, second.name, before, early, failed, young, candidate, stranger,
    }  # fmt: skip
    again = store()
    assert (again["changed"], again["delete"]) == (False, [])
    assert store.database.execute("SELECT count(*) FROM items") == [(7,)]

    events = store.events()
    recorded = [event["data"]["name"] for event in events if event["changed"]]
    assert recorded == applied["deleted"] + rest["deleted"]
    assert events[0]["data"]["kept"] == new.name
    assert (store.state_dir / "clean_up.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_damaged_last_backup_counts_no_longer(store: Store) -> None:
    """One flipped bit, sizes as they were: only reading every byte finds it."""
    damaged, good, old = store.backup(1), store.backup(20), store.backup(21)
    other = store.backup(22)
    path = next(file for file in (damaged / "dump").iterdir() if file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = store()
    assert result["failed"] is False, result
    assert result["good_backup"] == good.name
    assert result["deleted"] == [other.name], "of the two that are good, both are kept"
    assert store.there() == {damaged.name, good.name, old.name}
    assert "is damaged" in result["problems"][0]


def test_the_only_good_backup_is_kept_although_newer_ones_are_there(store: Store) -> None:
    good, older = store.backup(50), store.backup(51)
    unverified = [store.backup(days, verified=False) for days in (1, 20, 21, 22)]
    result = store(keep={"backups": {"count": 1, "days": 0}})
    assert result["failed"] is False, result
    assert store.there() == {good.name, unverified[0].name}
    assert older.name in result["deleted"]


def test_unsigned_and_damaged_backups_are_kept(store: Store) -> None:
    for days in (1, 20, 30):
        store.backup(days)
    before = store.left("before", 9), store.left("before", 8)
    assert set(store(signing_key="another-signing-key")["deleted"]) == set()
    assert "only way back" in "\n".join(store(signing_key="another-signing-key")["lines"])
    kept = {**KEEP, "before": {"count": 1, "days": 1, "needs_backup": False}}
    assert store(signing_key="another-signing-key", keep=kept)["deleted"] == [before[0]]


def test_backups_of_another_database_are_kept(store: Store) -> None:
    store.backup(1)
    other = store.backup(90, database={"name": "other", "system_identifier": "1", "oid": 1, "bytes": 1})
    store.backup(91)
    store.backup(92)
    assert other.name not in store()["deleted"]
    assert other.exists()


def test_a_linked_backup_is_kept(store: Store, tmp_path: Path) -> None:
    store.backup(1)
    store.backup(2)
    old = store.backup(90)
    elsewhere = tmp_path / "elsewhere"
    old.rename(elsewhere)
    old.symlink_to(elsewhere)
    assert store()["deleted"] == []
    assert (elsewhere / "manifest.json").exists()


def test_an_open_run_keeps_everything(store: Store, run_module: ModuleRunner) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    window = Window(store.database.url, store.state_dir, run_module, run_of(40)).pass_gate()
    window.advance_to("swapped")
    there = store.there()
    for state in ("planned", "applied"):
        refused = store(state)
        assert refused["error"]["kind"] == "refused"
        assert f"run {run_of(40)} is open" in refused["msg"]
        assert f"-e run={run_of(40)}" in refused["msg"]
    assert store.there() == there


def test_a_run_without_an_end_keeps_backups_and_what_it_made(store: Store) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    request = {"kind": "restore", "environment": "production", "database": "shop"}
    run_id = begin(store.state_dir, request, job_controller=False, check_mode=False)
    assert store()["deleted"] == []
    end(Run(store.state_dir, run_id), None)
    assert len(store()["deleted"]) == 1


def test_a_broken_journal_of_today_keeps_backups(store: Store) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    run = Run(store.state_dir, run_of(0))
    run.create()
    run.journal.write_text("{")
    assert store()["deleted"] == []


@pytest.mark.parametrize("close", [True, False])
def test_a_database_that_users_do_not_work_with(store: Store, close: bool) -> None:
    store.backup(1)
    for days in (2, 50):
        store.backup(days)
    left = store.left("before", 5), store.left("before", 6)
    name = sql.Identifier(store.database.name)
    if close:
        store.database.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name), url=store.database.admin_url
        )
    else:
        store.database.execute(sql.SQL("DROP DATABASE {}").format(name), url=store.database.admin_url)
    there = store.there()
    refused = store()
    assert refused["error"]["kind"] == "refused"
    assert ("is closed" if close else "there is no database") in refused["msg"]
    assert store.there() == there > set(left)


def test_a_server_that_does_not_answer(store: Store) -> None:
    store.backup(1)
    refused = store(database_url="postgresql://someone@127.0.0.1:1/shop")
    assert refused["error"]["kind"] == "refused"


def test_somebody_is_connected(store: Store) -> None:
    name = store.left("rehearsal", 30)
    with store.database.session(store.database.url_of(name)):
        result = store()
        assert result["deleted"] == []
        assert "somebody is connected" in "\n".join(result["lines"])
    assert store()["deleted"] == [name]


def test_a_deletion_that_fails_stops_the_rest(store: Store) -> None:
    """A superuser's database cannot be dropped by the owner of production: said, and what was done before, too."""
    store.backup(1)
    first, second, newest = store.left("before", 30), store.left("before", 20), store.left("before", 10)
    store.database.execute(
        sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(sql.Identifier(second)),
        url=store.database.server.superuser_url("postgres"),
    )
    third = store.left("before", 15)
    failed = store()
    assert failed["failed"] is True
    assert f"{second} could not be dropped: must be owner" in failed["msg"]
    assert f"Deleted before: {first}." in failed["msg"]
    assert f"Not deleted: {second}, {third}." in failed["msg"]
    assert f'DROP DATABASE "{second}";' in failed["msg"]
    assert store.there() == {newest, second, third, *(path.name for path in (store.state_dir / "backups").iterdir())}
    assert [event["outcome"] for event in store.events()] == ["ok", "ok", "failed"]


def test_a_drop_that_was_killed_is_finished(store: Store) -> None:
    """PostgreSQL marks such a database; all that can be done with it is to drop it again (facts, 2)."""
    name = store.left("trial", 9)
    store.database.execute(
        "UPDATE pg_database SET datconnlimit = -2, datallowconn = false WHERE datname = %s",
        [name],
        url=store.database.server.superuser_url("postgres"),
    )
    assert store()["deleted"] == [name]
    assert name not in store.there()


def test_a_database_with_a_replication_slot_is_kept(store: Store, look: Look) -> None:
    """A slot stays with the database that was renamed (facts, 2), and an idle one is dropped with it without a word."""
    name = store.left("rehearsal", 9)
    server, plan = plan_of(store, look)
    slot = store.database.name
    store.database.execute(
        "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')",
        [slot],
        url=store.database.server.superuser_url(name),
    )
    with pytest.raises(Failed, match="no longer what it was"):
        clean_up(server, look, plan, None)
    assert store()["deleted"] == []
    assert store.database.execute("SELECT database FROM pg_replication_slots WHERE slot_name = %s", [slot]) == [(name,)]


def cut(journal: Path) -> None:
    journal.write_text("{")


def replace_by_a_folder(journal: Path) -> None:
    journal.mkdir()


def link_to_nowhere(journal: Path) -> None:
    journal.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("damage", "said"), [(cut, "broken at line 1"), (replace_by_a_folder, "directory"), (link_to_nowhere, "exists")]
)
def test_without_a_journal_nothing_is_deleted(store: Store, damage: Any, said: str) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    there = store.there()
    damage(store.state_dir / "clean_up.jsonl")
    failed = store()
    assert "journal of clean-ups" in failed["msg"]
    assert said in failed["msg"]
    assert "start again" in failed["msg"]
    assert store.there() == there


@pytest.mark.parametrize("name", ["runs", "backups"])
def test_a_folder_that_cannot_be_read_stops_it(store: Store, name: str) -> None:
    store.left("trial", 30)
    (store.state_dir / name).write_text("a file")
    (store.state_dir / name).chmod(0o600)
    there = set(store.database.relatives())
    refused = store()
    assert f"{name} cannot be read" in refused["msg"]
    assert set(store.database.relatives()) == there


def test_an_open_state_folder_stops_it(store: Store) -> None:
    store.state_dir.chmod(0o755)
    assert "can be read by others" in store()["msg"]


def test_what_a_killed_clean_up_left_is_removed(store: Store) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    half = store.state_dir / "backups" / ".deleted-shop-1"
    shutil.copytree(store.backup(60), half)
    (half / "dump" / "toc.dat").unlink()
    assert len(store()["deleted"]) == 2
    assert not half.exists()


def test_two_clean_ups_do_not_meet(store: Store) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    there = store.there()
    descriptor = os.open(store.state_dir, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert "Another clean-up is at work" in store()["msg"]
    os.close(descriptor)
    assert store.there() == there


# -- what changes between the list and the deletion --------------------------------------------------------------


def plan_of(store: Store, look: Look) -> tuple[Server, Plan]:
    server = Server(store.database.url)
    return server, make_plan(server, look, check_keep(KEEP))


@pytest.fixture
def look(store: Store) -> Look:
    return Look(store.state_dir, store.state_dir / "backups", KEY)


def test_a_run_that_begins_meanwhile(store: Store, look: Look) -> None:
    for days in (1, 2, 50):
        store.backup(days)
    there = store.there()
    server, plan = plan_of(store, look)
    request = {"kind": "restore", "environment": "production", "database": "shop"}
    begin(store.state_dir, request, job_controller=False, check_mode=False)
    with pytest.raises(Failed, match="has begun meanwhile"):
        clean_up(server, look, plan, None)
    assert store.there() == there


@pytest.mark.parametrize("closed", [True, False])
def test_a_database_that_is_closed_meanwhile(
    store: Store, look: Look, run_module: ModuleRunner, tmp_path_factory: pytest.TempPathFactory, closed: bool
) -> None:
    """By a run of another tool host, whose state folder is not ours, or by a person."""
    for days in (1, 2, 50):
        store.backup(days)
    store.left("trial", 9)
    there = store.there()
    server, plan = plan_of(store, look)
    if closed:
        with server.admin() as connection, connection.cursor() as cursor:
            admit(cursor, server.database, False)
    else:
        Window(store.database.url, tmp_path_factory.mktemp("elsewhere"), run_module).pass_gate().advance_to("closed")
    for verdict in plan.going:
        with pytest.raises(Failed, match="is closed or missing" if closed else "is under way on"):
            clean_up(server, look, plan, [verdict.name])
    assert store.there() == there


def test_a_database_that_is_another_one_meanwhile(store: Store, look: Look) -> None:
    name = store.left("trial", 9)
    server, plan = plan_of(store, look)
    store.database.execute(
        sql.SQL("COMMENT ON DATABASE {} IS 'needed'").format(sql.Identifier(name)), url=store.database.admin_url
    )
    with pytest.raises(Failed, match="no longer what it was"):
        clean_up(server, look, plan, None)
    assert name in store.there()


def test_a_last_backup_that_is_damaged_meanwhile(store: Store, look: Look) -> None:
    good = store.backup(1)
    for days in (2, 50):
        store.backup(days)
    there = store.there()
    server, plan = plan_of(store, look)
    (good / "dump" / "toc.dat").unlink()
    with pytest.raises(Failed, match="is not there as it was"):
        clean_up(server, look, plan, None)
    assert store.there() == there


def test_rules_that_keep_nothing_are_refused(store: Store) -> None:
    store.backup(1)
    assert "at least 1" in store(keep={"backups": {"count": 0}})["msg"]
