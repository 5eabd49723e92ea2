# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore.yml, typed as whoever is called types it: looking, going back, bad backups, and saying no."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2 import sql
from stage import DATABASES

from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests
from ansible_collections.balcon.rollback.plugins.module_utils._domain.written import lost_lines, lost_since
from ansible_collections.balcon.rollback.plugins.module_utils._run import read_events
from ansible_collections.balcon.rollback.tests.playbook.scene import (
    HOSTS,
    PROJECT,
    clean_environment,
    kill_everything,
    question_of,
)

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene
    from tests.conftest import ModuleRunner

PRODUCTION = DATABASES["production"]
CONFIRM = f"confirm={PRODUCTION}"
ASK = ("env=production", "reason=a test")


@pytest.fixture
def restore(scene: Scene) -> Iterator[Callable[..., Outcome]]:
    """Types restore.yml; afterwards nothing is left of its runs, and the shop is as it was."""
    before = scene.contents("production")

    def play(*typed: str, **options: Any) -> Outcome:
        return scene.play(*typed, playbook="restore.yml", **options)

    yield play
    _clear(scene)
    assert scene.contents("production") == before


def _clear(scene: Scene) -> None:
    for name, is_open in scene.execute(
        "production", "SELECT datname, datallowconn FROM pg_database WHERE datname LIKE %s", [f"{PRODUCTION}\\_\\_%"],
        database="postgres",
    ):  # fmt: skip
        assert isinstance(is_open, bool)
        scene.execute("production", sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    for folder in ("runs", "backups"):
        shutil.rmtree(scene.state_dir("production") / folder, ignore_errors=True)
    scene.maintenance_file.unlink(missing_ok=True)


@pytest.fixture
def backup(scene: Scene, run_module: ModuleRunner) -> Callable[..., Path]:
    """Makes a backup of production, by the collection's own module, and returns its folder."""

    def make(kind: str = "production", **arguments: Any) -> Path:
        made = run_module(
            "db_backup",
            database_url=scene.url(kind),
            backup_dir=str(scene.state_dir("production") / "backups"),
            client_path=[str(scene.cluster(kind).bin_dir)],
            **{"signing_key": scene.stage.secret("signing_key"), "checkpoint": False, **arguments},
        )
        assert not made["failed"], made
        return Path(made["path"])

    return make


def databases(scene: Scene) -> dict[str, bool]:
    """The databases that runs left beside production, by purpose: open or not."""
    rows = scene.execute(
        "production", "SELECT datname, datallowconn FROM pg_database WHERE datname LIKE %s",
        [f"{PRODUCTION}\\_\\_%"], database="postgres",
    )  # fmt: skip
    return {name.removeprefix(f"{PRODUCTION}__").partition("_")[0]: is_open for name, is_open in rows}


def insert(scene: Scene, number: int = 3) -> None:
    scene.execute(
        "production",
        "INSERT INTO projects (owner_id, title, created_at) SELECT min(u.id), 'written after ' || n, now()"
        " FROM users u, generate_series(1, %s) n GROUP BY n",
        [number],
    )


# -- looking ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_it_looks_and_changes_nothing(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    made = backup()
    outcome = restore("env=production")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.folders == []
    assert "changed=0" in outcome.said
    for words in (
        "The database is open and no run is open on it",
        made.name,
        "ansible-playbook restore.yml -e env=production -e to=latest_good",
    ):
        assert words in outcome.said, outcome.output


# -- a backup takes the database's place ------------------------------------------------------------------------------


def test_the_latest_good_backup(scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]) -> None:
    made = backup()
    insert(scene, 3)
    outcome = restore(*ASK, "to=latest_good", CONFIRM)
    assert outcome.exit_code == 0, outcome.output
    (record,) = outcome.records
    assert (record["kind"], record["outcome"], record["backup_id"]) == ("restore", "restored", made.name)
    assert record["lost_since"]["rows"] == 3
    assert record["lost_since"]["tables"] == [{"name": "public.projects", "rows": 3, "changed": 0}]
    assert "public.projects: 3 rows are not in backup" in outcome.said
    assert databases(scene) == {"before": False}
    assert not scene.maintenance_file.exists()


def test_what_replaced_it_has_the_privileges_and_settings_of_now(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    name = sql.Identifier(PRODUCTION)
    look = (
        "SELECT datacl::text, datconnlimit, shobj_description(oid, 'pg_database'), datdba::regrole::text, datallowconn,"
        " (SELECT array_agg(setconfig::text) FROM pg_db_role_setting WHERE setdatabase = d.oid)"
        " FROM pg_database d WHERE datname = %s"
    )
    original = scene.execute("production", look, [PRODUCTION])
    backup()
    changes = (
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        "ALTER DATABASE {} CONNECTION LIMIT 37",
        "COMMENT ON DATABASE {} IS 'ask the backend team'",
        "ALTER DATABASE {} SET statement_timeout TO '45s'",
    )
    back = (
        "GRANT CONNECT ON DATABASE {} TO PUBLIC",
        "ALTER DATABASE {} CONNECTION LIMIT -1",
        "COMMENT ON DATABASE {} IS NULL",
        "ALTER DATABASE {} RESET statement_timeout",
    )
    try:
        for change in changes:
            scene.execute("production", sql.SQL(change).format(name))
        now = scene.execute("production", look, [PRODUCTION])
        outcome = restore(*ASK, "to=latest_good", CONFIRM)
        assert outcome.exit_code == 0, outcome.output
        assert scene.execute("production", look, [PRODUCTION]) == now != original
    finally:
        for change in back:
            scene.execute("production", sql.SQL(change).format(name))


def test_declined_it_puts_everything_back(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    backup()
    look = "SELECT oid::bigint, datname, datallowconn FROM pg_database"
    identity = scene.execute("production", look)
    outcome = restore(*ASK, "to=latest_good", "confirm=shop")
    assert outcome.exit_code != 0
    assert "The restore was not confirmed: shop was given" in outcome.said
    (record,) = outcome.records
    assert (record["outcome"], record["error"]["phase"]) == ("aborted", "gate")
    assert databases(scene) == {"restored": True}
    assert not scene.maintenance_file.exists()
    assert set(identity) < set(scene.execute("production", look))


def test_at_a_terminal_it_asks_once_line_by_line(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    made = backup()
    insert(scene, 3)
    scene.execute("production", "DELETE FROM project_files WHERE id IN (1, 2)")
    outcome = scene.ask(PRODUCTION, *ASK, "to=latest_good", playbook="restore.yml")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[0]["outcome"] == "restored"
    question = question_of(outcome)
    assert question[0] == f"Database: {PRODUCTION}, host {HOSTS['production']}"
    rows = "public.projects: 3 rows are not in backup"
    assert f"  {rows} {made.name}, 0 rows go back to older values" in question
    place = question.index("Back again then:")
    assert question[place + 1] == "  public.project_files: 2 rows that are not there now"
    assert not [line for line in question if "\\n" in line]


def test_at_a_terminal_another_name_is_no_answer(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    backup()
    outcome = scene.ask("yes", *ASK, "to=latest_good", playbook="restore.yml")
    assert outcome.exit_code != 0
    assert "The restore was not confirmed: yes was given" in outcome.said
    assert outcome.records[0]["outcome"] == "aborted"
    assert not scene.maintenance_file.exists()


def test_maintenance_that_was_on_stays_on_when_declined(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    backup()
    scene.maintenance_file.touch()
    outcome = restore(*ASK, "to=latest_good", "confirm=shop")
    assert outcome.exit_code != 0
    assert scene.maintenance_file.exists()


def test_killed_while_the_backup_is_restored_beside(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    """Production is open and as it was; what is left is said, and the same command goes through."""
    made = backup()
    insert(scene, 3)
    before = scene.contents("production")
    process = scene.start(*ASK, "to=latest_good", CONFIRM, playbook="restore.yml")
    try:
        scene.wait(lambda: "restored" in databases(scene), "the backup is being restored")
    finally:
        kill_everything(process)
    scene.wait(lambda: not scene.sessions("production"), "no session of it is left")
    assert scene.contents("production") == before
    assert databases(scene) == {"restored": True}
    looked = restore("env=production")
    assert looked.exit_code == 0, looked.output
    assert "Run under way: none" in looked.said
    assert "Maintenance mode: on. No run is under way: whoever turned it on turns it off" in looked.said
    (killed,) = scene.runs()
    assert f"Run {killed.name}: it has not ended" in looked.said
    outcome = restore(*ASK, "to=latest_good", CONFIRM)
    assert outcome.exit_code == 0, outcome.output
    assert (outcome.records[0]["outcome"], outcome.records[0]["backup_id"]) == ("restored", made.name)
    assert not scene.maintenance_file.exists()


def test_killed_between_closing_and_the_swap(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    """Its keeper opens the database again, as it was, and turns maintenance mode off."""
    backup()
    insert(scene, 3)
    before = scene.contents("production")

    def is_open() -> bool:
        look = "SELECT datallowconn FROM pg_database WHERE datname = %s"
        return scene.execute("production", look, [PRODUCTION], database="postgres") == [(True,)]

    process = scene.start(*ASK, "to=latest_good", CONFIRM, "rollback_lease_seconds=8", playbook="restore.yml")
    try:
        with scene.session("production", "postgres") as session, session.cursor() as cursor:
            scene.wait(lambda: databases(scene).get("restored"), "the backup stands beside")
            scene.wait(lambda: not is_open(), "it is closed")
            session.autocommit = False
            cursor.execute("LOCK TABLE pg_database IN SHARE MODE")  # nothing can be renamed
            kill_everything(process)
            session.rollback()
    finally:
        kill_everything(process)
    scene.wait(is_open, "the keeper has opened it")
    scene.wait(lambda: not scene.maintenance_file.exists(), "maintenance mode is off")
    assert scene.contents("production") == before
    looked = restore("env=production")
    assert "its controller died before it could report" in looked.said
    assert "the keeper opened the original again" in looked.said
    scene.execute("production", "DELETE FROM projects WHERE title LIKE 'written after %'")


def end_keeper(run: Path) -> None:
    """Kill a run's keeper and its supervisor."""
    (closed,) = [event for event in read_events(run / "journal.jsonl") if event["data"].get("keeper")]
    for who in ("supervisor", "pid"):
        os.kill(closed["data"]["keeper"][who], signal.SIGKILL)


def test_killed_after_the_backup_took_the_place(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path], tmp_path: Path
) -> None:
    """Everything of the run is killed, its keeper too: it has not ended, and is ended with the backup in place."""
    backup()
    insert(scene, 3)
    restarts = tmp_path / "restarts"
    restart = ["sh", "-c", f"touch {restarts}; exec sleep 60"]
    process = scene.start(
        *ASK, "to=latest_good", CONFIRM, "rollback_lease_seconds=8", playbook="restore.yml",
        production={"rollback_restart": {"commands": {"restart": restart}}},
    )  # fmt: skip
    try:
        scene.wait(restarts.exists, "the application is being restarted")
    finally:
        kill_everything(process)
    said = restore("env=production").said
    assert "is at work (state released)" in said
    (killed,) = scene.runs()
    end_keeper(killed)
    scene.wait(lambda: "gave no sign of life" in restore("env=production").said, "the lease has run out")
    looked = restore("env=production")
    assert f"Run {killed.name} did not end, and the release for" in looked.said
    assert f"restore.yml -e env=production -e run={killed.name} -e accept_loss=true" in looked.said
    before = scene.contents("production")
    outcome = restore(*ASK, f"run={killed.name}", CONFIRM)
    assert outcome.exit_code == 0, outcome.output
    (record,) = outcome.records
    assert record["outcome"] == "restored"
    assert f"Run {record['run_id']}: it has not ended" not in outcome.said
    assert scene.contents("production") == before
    assert not scene.maintenance_file.exists()
    assert "Run under way: none" in restore("env=production").said


def test_maintenance_that_cannot_be_seen_does_not_stop_a_look(restore: Callable[..., Outcome]) -> None:
    blind = {"provider": "command", "command": {"on": ["true"], "off": ["true"], "status": ["/nowhere/at/all"]}}
    looked = restore("env=production", production={"rollback_maintenance": blind})
    assert looked.exit_code == 0, looked.output
    assert "Maintenance mode: it could not be seen: " in looked.said


@pytest.mark.usefixtures("untouched")
def test_check_mode_tells_and_changes_nothing(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    made = backup()
    outcome = restore(*ASK, "to=latest_good", "--check")
    assert outcome.exit_code == 0, outcome.output
    assert outcome.folders == []
    assert "Restore the newest backup that is proven good" in outcome.said
    assert made.name in outcome.said


# -- backups that are not what they should be -------------------------------------------------------------------------


def flip_one_bit(folder: Path) -> None:
    (file, *_others) = sorted((folder / "dump").glob("*.dat*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def cut_short(folder: Path) -> None:
    (file, *_others) = sorted((folder / "dump").glob("*.dat*"))
    os.truncate(file, file.stat().st_size - 1)


def remove_a_file(folder: Path) -> None:
    min((folder / "dump").glob("*.dat*")).unlink()


def edit_the_manifest(folder: Path) -> None:
    path = folder / manifests.FILE_NAME
    manifest = json.loads(path.read_text())
    manifest["rows_total"] += 1
    path.write_text(json.dumps(manifest))


def seal_again(change: Callable[[dict[str, Any]], object], key: str | None = None) -> Callable[[Path], None]:
    """Somebody edits a manifest and computes its digest again."""

    def edit(folder: Path) -> None:
        path = folder / manifests.FILE_NAME
        manifest = json.loads(path.read_text())
        change(manifest)
        content = {name: value for name, value in manifest.items() if name not in ("format", "digest", "signature")}
        path.write_text(manifests.render(manifests.seal(content, key)))

    return edit


DAMAGES = [
    (flip_one_bit, "was changed (its SHA-256 differs)"),
    (cut_short, "bytes instead of"),
    (remove_a_file, "is missing"),
    (edit_the_manifest, "was edited after it was signed"),
    (seal_again(lambda manifest: manifest["database"].update(name="other")), "its manifest is not signed"),
]


def test_damaged_backups_are_named_and_the_next_older_one_taken(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    good = backup()
    time.sleep(1.1)  # manifests count whole seconds
    damaged = {backup(): damage for damage, _reason in DAMAGES}
    for folder, damage in damaged.items():
        damage(folder)
    outcome = restore(*ASK, "to=latest_good", CONFIRM)
    assert outcome.exit_code == 0, outcome.output
    assert (outcome.records[0]["outcome"], outcome.records[0]["backup_id"]) == ("restored", good.name)
    missing = [words for words in (*(folder.name for folder in damaged), *(reason for _damage, reason in DAMAGES))
               if words not in outcome.said]  # fmt: skip
    assert not missing, outcome.output


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("damage", "reason"), DAMAGES[:1])
def test_a_damaged_backup_that_was_asked_for_is_refused(
    scene: Scene,
    restore: Callable[..., Outcome],
    backup: Callable[..., Path],
    damage: Callable[[Path], None],
    reason: str,
) -> None:
    damaged = backup()
    damage(damaged)
    outcome = restore(*ASK, f"backup={damaged.name}", CONFIRM)
    assert_refused(outcome, reason, damaged.name, "Look for a copy of one of them")


@pytest.mark.usefixtures("untouched")
def test_a_backup_of_another_database(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    other = backup("staging")
    outcome = restore(*ASK, f"backup={other.name}", CONFIRM)
    assert_refused(outcome, f"It is a backup of database {DATABASES['staging']}, not of {PRODUCTION}")


@pytest.mark.usefixtures("untouched")
def test_a_backup_of_another_server(scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]) -> None:
    key = scene.stage.secret("signing_key")
    made = backup()
    seal_again(lambda manifest: manifest["database"].update(system_identifier="1"), key)(made)
    outcome = restore(*ASK, f"backup={made.name}", CONFIRM)
    assert_refused(outcome, "It was made on another server", "-e any_server=true")


@pytest.mark.usefixtures("untouched")
def test_a_backup_of_a_newer_server(scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]) -> None:
    key = scene.stage.secret("signing_key")
    made = backup()
    seal_again(lambda manifest: manifest.update(server_version=990000), key)(made)
    outcome = restore(*ASK, f"backup={made.name}", CONFIRM)
    assert_refused(outcome, "was made from PostgreSQL 99")


@pytest.mark.usefixtures("untouched")
def test_a_backup_that_restores_to_something_else(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    """Its files are as they were written, and its fingerprint says other contents: only a restore finds that."""
    made = backup()

    def lie(manifest: dict[str, Any]) -> None:
        manifest["fingerprint"]["tables"]["public.users"]["contents"] = "1"

    seal_again(lie, scene.stage.secret("signing_key"))(made)
    outcome = restore(*ASK, f"backup={made.name}", CONFIRM)
    assert_refused(outcome, "The restored database is not what was dumped", "public.users")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["to=latest_good"], ["There is no backup to restore"]),
        (["run=20261123t081500a3f9"], ["is not open, and no database of before it is kept"]),
    ],
)
def test_what_does_not_fit_is_refused(restore: Callable[..., Outcome], typed: list[str], words: list[str]) -> None:
    """The rest of what can be asked wrongly: tests/unit/test_recovery.py."""
    assert_refused(restore(*ASK, CONFIRM, *typed), *words)


# -- back to before a run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False])
def test_the_question_says_what_is_lost_and_what_is_not_counted(accepted: bool) -> None:
    """Without a terminal nobody is asked, so that the role's variable itself is read."""
    gate = lost_since([{"name": "users", "extra": 0, "columns": [{"name": "phone", "live": "text", "other": None}]}])
    variables = {
        "env": "production",
        "accept_loss": accepted,
        "restore_plan": {"decision": "swap_back", "run_id": "20261123t081500a3f9", "lines": ["Swap it back in."]},
        "restore_status": {"database": {"name": "shop"}},
        "restore_run_gate": {"lines": lost_lines(gate)},
    }
    asked = subprocess.run(
        [Path(sys.executable).with_name("ansible"), "localhost", "-i", "localhost,", "-m", "ansible.builtin.debug",
         "-a", "var=restore_question", "-e", f"@{PROJECT}/roles/restore/vars/main.yml", "-e", json.dumps(variables)],
        env=clean_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "users.phone: the column, and what it holds, is not in the backup" in asked.stdout
    assert ("Not counted: what is written from now until the database is closed" in asked.stdout) == accepted


def release(newer: Path) -> dict[str, Any]:
    """What the inventory says of the release: starting the newer one leaves a trace."""
    commands = {"stop": ["true"], "older": ["true"], "newer": ["touch", str(newer)]}
    return {"rollback_keep_release": False, "rollback_release": {"commands": commands}}


def test_back_to_before_a_restore_does_not_start_the_newer_release(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path], tmp_path: Path
) -> None:
    backup()
    insert(scene, 2)
    newer = tmp_path / "newer"
    restored = restore(*ASK, "to=latest_good", CONFIRM, production=release(newer))
    assert restored.exit_code == 0, restored.output
    run_id = restored.records[0]["run_id"]
    outcome = restore(*ASK, f"run={run_id}", "accept_loss=true", CONFIRM, production=release(newer))
    assert outcome.exit_code == 0, outcome.output
    assert (outcome.records[0]["outcome"], outcome.records[0]["restored_from"]["run"]) == ("restored", run_id)
    assert not newer.exists(), outcome.output
    scene.execute("production", "DELETE FROM projects WHERE title LIKE 'written after %'")


def test_a_server_that_goes_away_before_a_run_is_taken_back(
    scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]
) -> None:
    """Nothing says that it went well, or that nothing was touched; what is printed does it when the server is back."""
    backup()
    insert(scene, 2)
    restored = restore(*ASK, "to=latest_good", CONFIRM)
    assert restored.exit_code == 0, restored.output
    run_id = restored.records[0]["run_id"]
    (process, *_others) = (scene.cluster("production").data_dir / "postmaster.pid").read_text().split()
    crash = {"on": ["kill", "-QUIT", process], "off": ["true"]}
    away = {"rollback_maintenance": {"provider": "command", "command": crash}}
    try:
        failed = restore(*ASK, f"run={run_id}", "accept_loss=true", CONFIRM, production=away)
    finally:
        scene.wait(lambda: not scene.cluster("production").running, "the server has crashed")
        scene.cluster("production").start()
    assert failed.exit_code != 0
    (record,) = failed.records
    assert (record["outcome"], record["error"]["phase"]) == ("failed", "reopen"), failed.output
    command = f"ansible-playbook restore.yml -e env=production -e run={run_id} -e accept_loss=true"
    assert command in record["error"]["remedy"]
    assert command in failed.said
    outcome = restore(*command.split()[3::2], "reason=a test", CONFIRM)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[0]["outcome"] == "restored"
    scene.execute("production", "DELETE FROM projects WHERE title LIKE 'written after %'")


def test_back_to_before_a_rollback_that_has_ended(
    scene: Scene, restore: Callable[..., Outcome], tmp_path: Path
) -> None:
    rolled_back = scene.ask(PRODUCTION, *ASK, "rollback_rehearse=auto")
    assert rolled_back.exit_code == 0, rolled_back.output
    question = question_of(rolled_back)
    assert question[0].startswith(f"Database: {PRODUCTION}, ")
    assert question[1].startswith("Method: a candidate")
    assert question[2].startswith("Migrations to revert, newest first: ")
    run_id = rolled_back.records[-1]["run_id"]
    insert(scene, 2)
    refused = restore(*ASK, f"run={run_id}", CONFIRM)
    assert_refused(refused, f"-e run={run_id} -e accept_loss=true")
    scene.execute("production", "ALTER TABLE projects ADD COLUMN colour text")
    newer = tmp_path / "newer"
    outcome = restore(*ASK, f"run={run_id}", "accept_loss=true", CONFIRM, production=release(newer))
    assert outcome.exit_code == 0, outcome.output
    (record,) = outcome.records
    assert (record["outcome"], record["restored_from"]["run"]) == ("restored", run_id)
    assert record["lost_since"]["tables"] == [{"name": "public.projects", "rows": 2, "changed": 0}]
    assert record["lost_since"]["columns"] == ["public.projects.colour"]
    assert newer.exists()
    assert databases(scene) == {"failed": False}
    assert not scene.maintenance_file.exists()


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ([], "env must name exactly one environment"),
        (["env=all"], "env must name exactly one environment"),
        (["env=production", "--tags", "restore"], "belong together"),
        (["env=production", "--limit", "shop-production"], "belong together"),
        (["env=production", "host=shop-staging"], "say which database is meant"),
    ],
)
def test_a_request_that_is_no_whole_one(restore: Callable[..., Outcome], typed: list[str], words: str) -> None:
    outcome = restore(*typed)
    assert outcome.exit_code != 0
    assert words in outcome.said
    assert "Nothing was touched" in outcome.said
    assert outcome.folders == []


def assert_refused(outcome: Outcome, *words: str) -> None:
    """The run was refused before anything was closed; its record says why."""
    assert outcome.exit_code != 0, outcome.output
    (record,) = outcome.records
    assert record["outcome"] == "refused", outcome.output
    text = " ".join(record["error"][part] for part in ("message", "untouched", "remedy"))
    missing = [word for word in words if word not in text or word not in outcome.said]
    assert not missing, f"{missing} in:\n{text}\n{outcome.output}"
