# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restore.yml, typed as whoever is called types it: looking, going back, bad backups, and saying no."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2 import sql
from stage import DATABASES

from ansible_collections.balcon.rollback.plugins.module_utils._domain import manifest as manifests

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
def test_it_looks_and_changes_nothing(scene: Scene, restore: Callable[..., Outcome], backup: Callable[..., Path]) -> None:
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
