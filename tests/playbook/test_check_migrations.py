# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/check_migrations.yml, as a person types it and as a job of a build server runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from npm_project import BACKEND, node_folder

from ansible_collections.balcon.rollback.tests.playbook.scene import PROJECT, clean_environment, playbook_program

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

NEW = "20240108000000-add-project-code.ts"
SINCE = "since=20240107000000-add-project-priority.ts"

MIGRATION = """import { DataTypes } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
%s
}

export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.sequelize.query('ALTER TABLE projects DROP COLUMN code');
}
"""

NOT_NULL = "  await queryInterface.addColumn('projects', 'code', { type: DataTypes.STRING(20), allowNull: false });"

COUNTED = """  const count = async (): Promise<string> => {
    const [rows] = await queryInterface.sequelize.query('SELECT COUNT(*) AS count FROM projects');
    return String((rows as { count: string }[])[0]?.count);
  };
  const before = await count();
  await queryInterface.addColumn('projects', 'code', { type: DataTypes.STRING(20), allowNull: true });
  if ((await count()) !== before) throw new Error('Row count changed!');"""


class Played(NamedTuple):
    """How a call of ansible-playbook ended, and what it printed."""

    exit_code: int
    output: str

    @property
    def said(self) -> str:
        """The output without its line breaks."""
        return " ".join(self.output.split())


class Checkout:
    """A copy of the example backend, in which a test writes migrations; a team's settings lie beside it."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self.folder = folder
        self.backend = folder / "backend"
        shutil.copytree(BACKEND, self.backend, ignore=shutil.ignore_patterns("node_modules"))
        (self.backend / "node_modules").symlink_to(BACKEND / "node_modules")
        subprocess.run(["git", "-C", str(folder), "init"], check=True, capture_output=True)
        self._scene = scene
        self.settings = {
            "rollback_project_dir": "backend",
            "rollback_engine_options": {"manifest": "migration-manifest.json", "node_path": node_folder()},
            "rollback_environment": {"NODE_ENV": "test", "JWT_SECRET": "for tests only"},
            "rollback_check_url": scene.url("staging"),
        }

    def write(self, name: str, up: str) -> None:
        """Write a migration, and the manifest by the project's own script."""
        (self.backend / "migrations" / name).write_text(MIGRATION % up)
        self.make_manifest()

    def make_manifest(self) -> None:
        """Run the project's manifest script."""
        node = Path(node_folder()) / "node"
        subprocess.run([node, "scripts/manifest.mjs"], cwd=self.backend, check=True, capture_output=True)

    def check(self, *arguments: str, production: Mapping[str, object] | None = None, **settings: object) -> Played:
        """Run the playbook in the checkout; afterwards no scratch database is left.

        Args:
            arguments: what a person would type.
            production: variables of that host that differ in the inventory.
            settings: those that differ.
        """
        (self.folder / "settings.json").write_text(json.dumps({**self.settings, **settings}))
        typed = [part for word in arguments for part in ((word,) if word.startswith("-") else ("-e", word))]
        inventory = self._scene.inventory({"production": dict(production or {})})
        before = self._scene.snapshot()
        finished = subprocess.run(
            [
                playbook_program(),
                "-i",
                str(inventory),
                PROJECT / "playbooks" / "check_migrations.yml",
                "-e",
                "@settings.json",
                *typed,
            ],
            cwd=self.folder,
            env={**clean_environment(), "PWD": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert self._scene.snapshot() == before
        return Played(finished.returncode, finished.stdout + finished.stderr)


@pytest.fixture
def checkout(scene: Scene, tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, scene)


def test_the_real_migrations(checkout: Checkout) -> None:
    smoke = ["npm", "run", "--silent", "test:integration", "--", "--testNamePattern=health"]
    played = checkout.check("since=20240105000000-index-project-owner.ts", rollback_check_verify=smoke)
    assert played.exit_code == 0, played.output
    assert "backend/migrations/20240106000000-widen-project-title.ts:1: warning: down-fails-on-new-rows:" in played.said
    assert "value too long for type character varying(50)" in played.said
    assert "2 migrations: 0 errors, 1 warning, 3 notes, 0 allowed" in played.said
    assert "not proven" not in played.said


def test_not_null_without_default_then_as_the_runbook_says(checkout: Checkout) -> None:
    checkout.write(NEW, NOT_NULL)
    played = checkout.check(SINCE)
    assert played.exit_code == 2, played.output
    assert (
        f"backend/migrations/{NEW}:5: error: not-null-without-default: projects.code is added NOT NULL" in played.said
    )
    assert "Always add columns as nullable first, populate data, then add constraint" in played.said
    assert 'column "code" of relation "projects" contains null values' in played.said
    assert "1 migration: 2 errors" in played.said
    assert "Nothing was touched" in played.said
    checkout.write(NEW, COUNTED)
    played = checkout.check(SINCE)
    assert played.exit_code == 0, played.output
    assert "1 migration: 0 errors, 0 warnings, 0 notes, 0 allowed" in played.said


def test_annotations_begin_their_lines(checkout: Checkout) -> None:
    checkout.write(NEW, NOT_NULL)
    played = checkout.check(SINCE, "output=github", "--check")
    assert played.exit_code == 2
    start = (
        f"::error file=backend/migrations/{NEW},line=5,title=not-null-without-default::projects.code is added NOT NULL"
    )
    assert any(line.startswith(start) for line in played.output.splitlines()), played.output
    assert "not proven: No scratch database is made in check mode" in played.output


def test_json_on_the_screen_and_in_a_file(checkout: Checkout) -> None:
    checkout.write(NEW, NOT_NULL)
    played = checkout.check(SINCE, "output=json", "report=result.json", rollback_check_url="")
    document = json.loads((checkout.folder / "result.json").read_text())
    begin = played.output.index("\n{\n")
    printed, _end = json.JSONDecoder().raw_decode(played.output[begin + 1 :])
    assert printed == document
    assert [(each["rule"], each["line"]) for each in document["findings"] if each["severity"] == "error"] == [
        ("not-null-without-default", 5)
    ]
    assert document["scratch"]["done"] is False


def test_the_manifest_is_out_of_step(checkout: Checkout) -> None:
    checkout.write(NEW, COUNTED)
    (checkout.backend / "migrations" / NEW).write_text(MIGRATION % (COUNTED + "\n"))
    played = checkout.check(SINCE, "--check")
    assert played.exit_code == 2
    assert f"{NEW}:1: error: manifest-differs" in played.said


def test_rules_of_the_team(checkout: Checkout) -> None:
    checkout.write(NEW, COUNTED + "\n  await queryInterface.addIndex('projects', ['code']);")
    assert checkout.check(SINCE, "--check").exit_code == 0
    assert checkout.check(SINCE, "--check", rollback_check_fail_on="warning").exit_code == 2
    assert checkout.check(SINCE, "--check", rollback_check_rules={"index-not-concurrent": "error"}).exit_code == 2
    refused = checkout.check(SINCE, "--check", rollback_check_rules={"index-not-concurent": "error"})
    assert "There is no rule 'index-not-concurent'" in refused.said


def test_never_beside_production(checkout: Checkout, scene: Scene) -> None:
    played = checkout.check(SINCE, rollback_check_url=scene.url("production"))
    assert played.exit_code == 2
    assert "the server of an environment of the inventory" in played.said


def test_never_beside_production_by_the_address_behind_its_pooler(checkout: Checkout, scene: Scene) -> None:
    direct = scene.url("production")
    behind = {"rollback_database_url": "postgresql://shop@pooler.invalid:6432/shop", "rollback_admin_url": direct}
    played = checkout.check(SINCE, production=behind, rollback_check_url=direct)
    assert played.exit_code == 2
    assert "the server of an environment of the inventory" in played.said


def test_a_folder_that_is_no_project(checkout: Checkout) -> None:
    played = checkout.check(SINCE, rollback_project_dir="nowhere")
    assert played.exit_code == 2
    assert f"There is no {checkout.folder}/nowhere/package.json" in played.said
