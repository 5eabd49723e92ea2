# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""status.yml shows what there is; clean_up.yml lists, asks and deletes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2 import sql
from stage import DATABASES

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    render_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.tests.playbook.development import Development

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene

NEWEST = "20240107000000-add-project-priority.ts"
OLD_RUN = "20260101t000000aaaa"
SHOP = DATABASES["production"]
LEFT = derived_name(SHOP, "failed", OLD_RUN)
NEWER = derived_name(SHOP, "failed", "20260202t000000aaaa")


def documents(outcome: Outcome) -> list[dict[str, Any]]:
    """What ``| grep '^{'`` leaves of the output."""
    return [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]


def status(scene: Scene, *arguments: str, **changes: Any) -> Outcome:
    return scene.play(*arguments, playbook="playbooks/status.yml", **changes)


def clean_up(scene: Scene, *arguments: str, **changes: Any) -> Outcome:
    return scene.play("env=production", *arguments, playbook="playbooks/clean_up.yml", **changes)


@pytest.fixture
def leftovers(scene: Scene) -> Iterator[None]:
    """Two databases that failed rollbacks left months ago."""
    execute = partial(scene.execute, "production", database="postgres")
    (owner,) = execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [SHOP])[0]
    for name in (LEFT, NEWER):
        description = Description(run_id=name[-len(OLD_RUN) :], role="failed", note="kept for study")
        identifier, text = sql.Identifier(name), sql.Literal(render_description(description))
        execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(identifier, sql.Identifier(owner)))
        execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(identifier, text))
        execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
    yield
    for name in (LEFT, NEWER):
        execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def databases(scene: Scene) -> set[str]:
    rows = scene.execute("production", "SELECT datname FROM pg_database WHERE datname LIKE '%%failed%%'")
    return {name for (name,) in rows}


@pytest.mark.usefixtures("untouched", "leftovers")
def test_status_as_text(scene: Scene) -> None:
    outcome = status(scene, "env=production")
    assert outcome.exit_code == 0, outcome.output
    lines = outcome.output.splitlines()
    assert "shop-production (production)" in lines
    assert "Run under way: none" in lines
    assert f"Database {SHOP}: open" in outcome.output
    assert f'    to drop it, in psql: DROP DATABASE "{LEFT}";' in lines
    assert documents(outcome) == []


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("env", ["staging", "production"])
def test_status_as_json_is_one_line(scene: Scene, env: str) -> None:
    outcome = status(scene, f"env={env}", "output=json", "--check")
    assert outcome.exit_code == 0, outcome.output
    (document,) = documents(outcome)
    assert (document["environment"], document["not_reached"]) == (env, [])
    (told,) = document["hosts"].values()
    assert told["database"]["name"] == DATABASES[env]
    assert told["open_run"] is None
    assert "Run under way" not in "\n".join(line for line in outcome.output.splitlines() if line[:1] != "{")


@pytest.mark.usefixtures("untouched")
def test_status_of_a_server_that_does_not_answer(scene: Scene) -> None:
    url = "postgresql://someone@127.0.0.1:1/shop"
    outcome = status(scene, "env=production", production={"rollback_database_url": url})
    assert outcome.exit_code == 0, outcome.output
    assert "Database shop: NOT REACHED" in outcome.output
    assert "Cannot connect to database" in outcome.output


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("typed", "changes", "said"),
    [
        ([], {}, "env must name exactly one environment"),
        (["env=all"], {}, "env must name exactly one environment"),
        (["env=production", "output=xml"], {}, "output must be text or json"),
        (["env=development"], {}, "The group development of the inventory has no host"),
        (["env=production"], {"production": {"rollback_kind": "staging"}}, "its rollback_kind says staging"),
        (["env=production"], {"production": {"rollback_database_url": ""}}, "no rollback_database_url"),
    ],
)
def test_a_request_that_names_nothing(scene: Scene, typed: list[str], changes: Any, said: str) -> None:
    for playbook in ("playbooks/status.yml", "playbooks/clean_up.yml"):
        outcome = scene.play(*typed, playbook=playbook, **changes)
        assert outcome.exit_code != 0, outcome.output
        assert said in outcome.said, outcome.output


@pytest.mark.usefixtures("untouched", "leftovers")
def test_the_clean_up_is_confirmed_or_nothing_goes(scene: Scene) -> None:
    checked = clean_up(scene, "--check")
    assert checked.exit_code == 0, checked.output
    assert f"  {LEFT}" in checked.output
    for typed in ([], ["confirm=other"]):
        outcome = clean_up(scene, *typed)
        assert outcome.exit_code != 0, outcome.output
        assert f"The clean-up was not confirmed: {typed[0][8:] if typed else 'no name'} was given" in outcome.said
    controller = clean_up(scene, "awx_job_id=7", "confirm=other")
    assert controller.exit_code != 0, controller.output
    assert databases(scene) == {LEFT, NEWER}


@pytest.mark.usefixtures("leftovers")
def test_the_clean_up_deletes_what_it_listed_and_once(scene: Scene) -> None:
    outcome = clean_up(scene, f"confirm={SHOP}")
    assert outcome.exit_code == 0, outcome.output
    assert f"Deleted: {LEFT}." in outcome.said
    assert "changed=1" in outcome.output
    assert databases(scene) == {NEWER}, "the newest is kept, whatever its age"
    again = clean_up(scene, f"confirm={SHOP}")
    assert again.exit_code == 0, again.output
    assert "changed=1" not in again.output
    assert "Deleted: nothing." in again.said


@pytest.mark.usefixtures("leftovers")
def test_a_job_controller_is_never_asked(scene: Scene) -> None:
    outcome = clean_up(scene, "awx_job_id=7")
    assert outcome.exit_code == 0, outcome.output
    assert databases(scene) == {NEWER}


def test_what_a_rollback_left_is_shown_and_kept(scene: Scene) -> None:
    """A real rehearsal and a real rollback; everything they left is young, and stays."""
    for typed in (["env=staging"], ["env=production", f"confirm={SHOP}", "reason=invoices"]):
        done = scene.play(*typed)
        assert done.exit_code == 0, done.output
    (run,) = done.records
    outcome = status(scene, "env=production", "output=json", '{"rollback_check_files": true}')
    told = documents(outcome)[0]["hosts"]["shop-production"]
    assert told["runs"][0]["run_id"] == run["run_id"]
    assert (told["runs"][0]["outcome"], told["runs"][0]["plan"]) == ("rolled_back", [NEWEST])
    assert told["good_backup"] == run["backup_id"]
    assert [entry["purpose"] for entry in told["databases"]] == ["before"]
    assert told["databases"][0]["keep_until"] > run["finished_at"]
    assert [entry["problem"] for entry in told["evidence"]] == [""]
    assert told["problems"] == []
    keep = json.dumps({"rollback_keep": {kind: {"count": 1, "days": 0} for kind in ("backups", "before", "failed")}})
    kept = clean_up(scene, f"confirm={SHOP}", keep)
    assert kept.exit_code == 0, kept.output
    assert "To be deleted: nothing" in kept.output
    assert f"The last verified backup: {run['backup_id']}" in kept.output


def test_an_sqlite_file_is_looked_at_and_not_cleaned_up(tmp_path: Path) -> None:
    developer = Development(tmp_path)
    developer.project.mkdir()
    developer.state_dir.mkdir(mode=0o700)
    sqlite3.connect(developer.path).close()
    looked = developer.play("env=development", "output=json", playbook="playbooks/status.yml")
    assert looked.exit_code == 0, looked.output
    told = documents(looked)[0]["hosts"]["shop-development"]
    assert (told["database"]["name"], told["database"]["dialect"]) == (developer.path.name, "sqlite")
    refused = developer.play("env=development", playbook="playbooks/clean_up.yml")
    assert refused.exit_code != 0
    assert "cleaning up works on PostgreSQL" in refused.said, refused.output
