# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal that masks its copy and leaves staging with it, switched on as a person types it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stage import DATABASES

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

PHONES = "SELECT count(*) FROM users WHERE phone IS NOT NULL"


def test_staging_gets_the_masked_copy(scene: Scene, tmp_path: Path) -> None:
    masking = tmp_path / "masking.sql"
    masking.write_text("UPDATE users SET phone = NULL;\n")
    production = scene.execute("production", PHONES)
    typed = (f"rollback_masking={masking}", "rollback_refresh_staging=true")
    outcome = scene.play("env=staging", *typed)
    assert [record["outcome"] for record in outcome.records] == ["rehearsed"], outcome.output
    assert scene.execute("staging", PHONES) == [(0,)]
    assert scene.execute("staging", "SELECT count(*) FROM projects") == scene.execute(
        "production", "SELECT count(*) FROM projects"
    )
    assert scene.execute("production", PHONES) == production != [(0,)]
    databases = scene.execute("staging", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_%'")
    (run,) = outcome.folders
    assert databases == [(f"{DATABASES['staging']}__before_{run.name}",)]
