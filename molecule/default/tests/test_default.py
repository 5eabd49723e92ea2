# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging, then production, in one command: rehearsed, rolled back; and the next one is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stage import COMMENT, DATABASES, ROLE

if TYPE_CHECKING:
    from molecule.conftest import Scene

testinfra_hosts = ["shop-production"]

PLAN = ["20240107000000-add-project-priority.ts"]
STAYS = [
    "20240101000000-initial-schema.ts",
    "20240102000000-add-user-fields.ts",
    "20240103000000-normalise-emails.ts",
    "20240104000000-add-project-files.ts",
    "20240105000000-index-project-owner.ts",
    "20240106000000-widen-project-title.ts",
]


def test_rehearsed_then_rolled_back_then_refused(scene: Scene) -> None:
    assert [run.record["outcome"] for run in scene.runs("staging")] == ["rehearsed"]
    assert [run.record["outcome"] for run in scene.runs("production")] == ["rolled_back", "refused"]


def test_the_record_says_what_was_done(scene: Scene) -> None:
    record = scene.runs("production")[0].record

    assert record["kind"] == "rollback"
    assert record["plan"] == PLAN
    assert record["loss"]["columns"] == ["public.projects.priority"]
    assert record["error"] is None
    assert record["window_seconds"] > 0
    assert record["evidence_id"] == scene.evidence()["evidence_id"] == scene.runs("staging")[0].record["run_id"]
    assert {phase["outcome"] for phase in record["phases"]} == {"ok"}


def test_the_migration_is_gone_from_the_state_table(scene: Scene) -> None:
    assert [name for (name,) in scene.query("SELECT name FROM migrations_meta ORDER BY name")] == STAYS


def test_its_column_is_gone_and_every_row_is_kept(scene: Scene) -> None:
    columns = scene.query("SELECT column_name FROM information_schema.columns WHERE table_name = 'projects'")
    assert {name for (name,) in columns} == {
        "id", "owner_id", "title", "subtitle", "client_reference", "budget", "created_at",
    }  # fmt: skip
    assert scene.query("SELECT count(*), sum(budget) FROM projects WHERE starts_with(client_reference, 'seed-')") == [
        (2000, sum(1000 + number for number in range(1, 2001)))
    ]
    assert scene.query("SELECT count(*) FROM users") == [(200,)]
    assert scene.query("SELECT count(*) FROM project_files") == [(100,)]


def test_what_a_file_copy_leaves_behind_was_carried_over(scene: Scene) -> None:
    assert scene.query(
        "SELECT datallowconn, datdba::regrole::text, datconnlimit, shobj_description(oid, 'pg_database')"
        " FROM pg_database WHERE datname = current_database()"
    ) == [(True, ROLE, 40, COMMENT)]
    assert set(
        scene.query(
            "SELECT grantee::regrole::text, privilege_type FROM pg_database, aclexplode(datacl)"
            " WHERE datname = current_database()"
        )
    ) == {(ROLE, "CREATE"), (ROLE, "TEMPORARY"), (ROLE, "CONNECT"), ("reporting", "CONNECT")}
    assert set(
        scene.query(
            "SELECT CASE setrole WHEN 0 THEN '' ELSE setrole::regrole::text END, unnest(setconfig)"
            " FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = current_database()"
        )
    ) == {("", "statement_timeout=45s"), (ROLE, "work_mem=5MB")}


def test_the_original_is_kept_closed_and_says_what_it_is(scene: Scene) -> None:
    run_id = scene.runs("production")[0].record["run_id"]
    oid, is_open, description = scene.database(f"{DATABASES['production']}__before_{run_id}")

    assert oid == scene.evidence()["production"]["oid"]
    assert not is_open
    assert description is not None
    assert (description.role, description.run_id, description.original_comment) == ("before", run_id, COMMENT)


def test_no_other_database_is_left(scene: Scene) -> None:
    run_id = scene.runs("production")[0].record["run_id"]
    assert scene.databases("staging") == {DATABASES["staging"]}
    assert scene.databases("production") == {
        DATABASES["production"],
        f"{DATABASES['production']}__before_{run_id}",
    }


def test_no_session_and_no_lock_is_left(scene: Scene) -> None:
    assert scene.traces() == []


def test_the_older_release_answers_and_writes(scene: Scene) -> None:
    health = scene.ask("/api/health/deep")
    assert (health["ok"], health["release"]) == (True, "1.1.0")
    assert "priority" not in scene.ask("/api/projects", {"title": "After the rollback", "budget": 12})


def test_maintenance_was_seen_on_before_closing_and_off_after_reopening(scene: Scene) -> None:
    run = scene.runs("production")[0]
    for turned in ("turn maintenance mode on", "turn maintenance mode off"):
        assert run.event(turned)["data"]["verified_by"] == "probe"
    actions = [event["action"] for event in run.journal]
    assert actions.index("turn maintenance mode on") < actions.index("close the database")
    assert actions.index("swap the candidate in") < actions.index("turn maintenance mode off")
    assert actions.index("turn maintenance mode off") < actions.index("end the run on the server")
    assert scene.ask("/api/health")["maintenance"] is False


def test_the_report_is_complete(scene: Scene) -> None:
    run = scene.runs("production")[0]
    for part in (
        "## Migration Rollback Incident Report",
        "**Outcome:** Rolled back.",
        "**Executed By:** molecule",
        "priorities break invoicing",
        f"Backup created: {run.record['backup_id']}",
        f"Staging test: Success (evidence {run.record['evidence_id']})",
        "Production rollback: Success",
        "Restoration required: No",
        "`public.projects.priority`",
        "### Root Cause",
        "### Prevention",
    ):
        assert part in run.report


def test_the_backup_is_there(scene: Scene) -> None:
    backup = scene.stage.state_dir("production") / "backups" / scene.runs("production")[0].record["backup_id"]
    assert (backup / "manifest.json").is_file()
    assert (backup / "dump" / "toc.dat").is_file()


def test_nobody_else_can_read_the_state(state_is_private: Callable[[], str]) -> None:
    assert state_is_private() == ""


def test_no_secret_is_in_the_records(scene: Scene) -> None:
    files = [path for path in (scene.stage.folder / "state").rglob("*") if path.is_file() and "dump" not in path.parts]
    contents: dict[str, Any] = {str(path): path.read_text(errors="replace") for path in files}
    assert contents
    assert [path for path, text in contents.items() if any(secret in text for secret in scene.secrets())] == []


def test_the_second_run_was_refused_at_the_gate(scene: Scene) -> None:
    error = scene.runs("production")[1].record["error"]
    assert error["phase"] == "gate"
    assert PLAN[0] in error["message"]
    assert "env=staging" in error["remedy"]
