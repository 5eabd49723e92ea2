# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database or a checkout holds is data: no template of Ansible's, nothing for a shell, nothing for a terminal.

The name of a migration stands in the state table, in the folder, in the plan, in messages, in facts, in the report.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    render_description,
)

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

HOSTILE = "20240109-{{ lookup('pipe', 'touch $EVIL') }}$(touch $EVIL)`touch $EVIL`\x1b[31m\u202e<b>.ts"
LEFT = "shop__failed_20240109t000000abcd"
OVERRIDE = json.dumps({"rollback_override": {"reason": "a test", "approved_by": ["one", "two"]}})


@pytest.fixture
def checkout(scene: Scene, tmp_path: Path) -> Iterator[Path]:
    """A checkout with one more migration, which is applied; its name is the attack."""
    folder = tmp_path / "checkout"
    shutil.copytree(scene.checkout, folder, symlinks=True)
    newest = max((folder / "migrations").iterdir())
    shutil.copy(newest, folder / "migrations" / HOSTILE)
    scene.execute("production", "INSERT INTO migrations_meta (name, executed_at) VALUES (%s, now())", [HOSTILE])
    scene.execute("production", f"CREATE DATABASE {LEFT}")
    note = render_description(Description("20240109t000000abcd", "failed", note=HOSTILE))
    scene.execute("production", sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(LEFT), sql.Literal(note)))
    yield folder
    scene.execute("production", f"DROP DATABASE {LEFT}")
    scene.execute("production", "DELETE FROM migrations_meta WHERE name = %s", [HOSTILE])


@pytest.mark.parametrize("core", ["newest", "oldest"])
def test_nothing_of_it_is_executed(scene: Scene, checkout: Path, tmp_path: Path, oldest: str, core: str) -> None:
    program, scene.program = scene.program, oldest if core == "oldest" else scene.program
    evil = tmp_path / "evil"
    known = scene.variables("production")
    options = {key: value for key, value in known["rollback_engine_options"].items() if key != "manifest"}
    play = {
        "environment": {"EVIL": str(evil)},
        "production": {"rollback_project_dir": str(checkout), "rollback_engine_options": options},
    }
    try:
        planned = scene.play("env=production", "--check", OVERRIDE, **play)
        (checkout / "migrations" / HOSTILE).unlink()
        refused = scene.play("env=production", OVERRIDE, **play)
        looked = scene.play("env=production", playbook="restore.yml", **play)
        status = scene.play("env=production", playbook="playbooks/status.yml", **play)
    finally:
        scene.program = program
    assert (planned.exit_code, refused.exit_code, looked.exit_code, status.exit_code) == (0, 2, 0, 0), planned.output
    assert "Migrations to revert, newest first: 20240109-{{ lookup" in planned.said
    report = (refused.folders[0] / "report.md").read_text()
    for text in (planned.said, refused.said, report):
        assert "{{ lookup('pipe', 'touch $EVIL') }}" in text
    for outcome in (planned, refused, looked, status):
        assert "\x1b" not in outcome.output
    assert not evil.exists()
