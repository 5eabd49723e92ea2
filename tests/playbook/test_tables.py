# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single tables recovered with restore.yml: shown, asked, done; and nothing done where the answer is no."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from stage import DATABASES

from ansible_collections.balcon.rollback.tests.playbook.scene import question_of

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene
    from tests.conftest import ModuleRunner

PRODUCTION = DATABASES["production"]
CONFIRM = f"confirm={PRODUCTION}"
ASK = ("env=production", "reason=a test", "tables=projects")


@pytest.fixture
def damaged(scene: Scene, run_module: ModuleRunner) -> Iterator[Path]:
    """A backup of production, and three projects without their titles since; whole again afterwards."""
    before = scene.contents("production")
    made = run_module(
        "db_backup",
        database_url=scene.url("production"),
        backup_dir=str(scene.state_dir("production") / "backups"),
        client_path=[str(scene.cluster("production").bin_dir)],
        signing_key=scene.stage.secret("signing_key"),
        checkpoint=False,
    )
    assert not made["failed"], made
    scene.execute("production", "CREATE TABLE kept_by_test AS SELECT * FROM projects ORDER BY id LIMIT 3")
    scene.execute("production", "UPDATE projects SET title = 'lost' WHERE id IN (SELECT id FROM kept_by_test)")
    yield Path(made["path"])
    scene.execute("production", "UPDATE projects SET title = k.title FROM kept_by_test AS k WHERE k.id = projects.id")
    scene.execute("production", "DROP TABLE kept_by_test")
    for folder in ("runs", "backups"):
        shutil.rmtree(scene.state_dir("production") / folder, ignore_errors=True)
    assert scene.contents("production") == before


def lost(scene: Scene) -> Any:
    ((number,),) = scene.execute("production", "SELECT count(*) FROM projects WHERE title = 'lost'")
    return number


def scratch(scene: Scene) -> list[Any]:
    return list(scene.execute("production", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_trial\\_%'"))


def test_it_shows_and_changes_nothing(scene: Scene, damaged: Path) -> None:
    outcome = scene.play(*ASK, playbook="restore.yml")
    assert outcome.exit_code == 0, outcome.output
    assert "projects: 3 rows with other contents" in outcome.said
    assert damaged.name in outcome.said
    assert (lost(scene), scratch(scene)) == (3, [])


def test_it_puts_rows_back_when_confirmed(scene: Scene, damaged: Path) -> None:
    typed = (*ASK, "mode=replace", f"backup={damaged.name}")
    outcome = scene.ask(PRODUCTION, *typed, playbook="restore.yml")
    assert outcome.exit_code == 0, outcome.output
    question = question_of(outcome)
    assert question[0] == f"Backup {damaged.name}, mode replace:"
    assert question[1].startswith("  projects: 3 rows with other contents")
    assert "projects: 0 rows inserted, 3 changed back, 0 deleted" in outcome.said
    assert "RESTORED" in outcome.said
    assert (lost(scene), scratch(scene)) == (0, [])
    assert len(list(scene.state_dir("production").glob("runs/*/kept/*.copy"))) == 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("mode=replace", "confirm=another"), "was not confirmed"),
        (("mode=replace", "tables=project", CONFIRM), "Did you mean projects"),
        (("mode=everything", CONFIRM), "value of mode must be one of"),
    ],
    ids=["not confirmed", "no such table", "no such mode"],
)
def test_nothing_is_written_without_a_clear_word(
    scene: Scene, damaged: Path, typed: tuple[str, ...], said: str
) -> None:
    outcome = scene.play(*ASK, f"backup={damaged.name}", *typed, playbook="restore.yml")
    assert outcome.exit_code != 0, outcome.output
    assert said in outcome.said
    assert (lost(scene), scratch(scene)) == (3, [])
