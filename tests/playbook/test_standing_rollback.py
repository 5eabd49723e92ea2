# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure after the run is closed on the server: the rollback stands, and the newer release stays away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stage import COMMENT, DATABASES

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

STATE = "SELECT name FROM migrations_meta ORDER BY name"


def fail_although_rolled_back(scene: Scene, changes: dict[str, Any]) -> Any:
    """Roll back with other variables of production: the run fails, and the migration is taken back all the same."""
    before = scene.execute("production", STATE)
    outcome = scene.play(
        "env=production",
        "rollback_rehearse=auto",
        "reason=a test",
        f"confirm={DATABASES['production']}",
        production=changes,
    )
    assert outcome.exit_code != 0, outcome.output
    assert scene.execute("production", STATE) == before[:-1]
    return outcome


def test_the_newer_release_does_not_come_back(scene: Scene, tmp_path: Path) -> None:
    touched = {name: tmp_path / name for name in ("stop", "older", "newer")}
    changes = {
        "rollback_keep_release": False,
        "rollback_release": {"commands": {name: ["touch", str(path)] for name, path in touched.items()}},
        "rollback_endpoints": [{"name": "public door", "url": "http://127.0.0.1:9/"}],
    }
    outcome = fail_although_rolled_back(scene, changes)
    assert {name for name, path in touched.items() if path.exists()} == {"stop", "older"}
    assert "public door" in outcome.said
    assert "The rollback itself stands" in outcome.said
    assert not scene.maintenance_file.exists()


def test_maintenance_mode_that_cannot_be_turned_off(scene: Scene, tmp_path: Path) -> None:
    """The run is closed on the server all the same, and nothing is taken back."""
    newer = tmp_path / "newer"
    commands = {"stop": ["true"], "older": ["true"], "newer": ["touch", str(newer)]}
    maintenance = {"provider": "command", "command": {"on": ["true"], "off": ["false"]}}
    changes = {
        "rollback_keep_release": False,
        "rollback_release": {"commands": commands},
        "rollback_maintenance": maintenance,
    }
    outcome = fail_although_rolled_back(scene, changes)
    assert not newer.exists()
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    assert scene.execute("production", comment) == [(COMMENT,)]
    assert outcome.records[-1]["outcome"] == "failed"
    scene.wait(lambda: not scene.sessions("production"), "the keeper is gone")
