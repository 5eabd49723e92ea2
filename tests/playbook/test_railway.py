# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback of a service on a platform like Railway, with the example backend as what is deployed there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from backend_service import Backend
from railway_platform import FOREIGN_TOKEN, TOKEN, Deployment, Platform, connection, railway_platform
from stage import DATABASES, RELEASES

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene, Variables

NAME = DATABASES["production"]
SAID_IN = (".json", ".jsonl", ".md", ".log")
STATE = "SELECT name FROM migrations_meta ORDER BY name"


class Service:
    """The backend as the platform deploys it: an image is a release, and what runs knows the variables of its time."""

    def __init__(self, scene: Scene, folder: Path, platform: Platform) -> None:
        self.platform = platform
        self._releases = scene.stage.folder / "releases"
        older = self._releases / RELEASES[1]
        if not older.exists():
            scene.stage.run_tool("release", ["node", "scripts/make-release.mjs", RELEASES[1], str(older)])
        environment = {**scene.stage.tool_environment("production"), "MIGRATE_ON_START": "true"}
        self.backend = Backend.install(folder, environment)
        platform.deploy(RELEASES[1])
        platform.application = self._run
        platform.deploy(RELEASES[0])
        platform.calls.clear()

    def _run(self, deployment: Deployment | None) -> None:
        self.backend.stop()
        if deployment:
            maintenance = deployment.variables.get("MAINTENANCE_MODE", "false")
            self.backend.start(self._releases / deployment.image, MAINTENANCE_MODE=maintenance)

    def variables(self, token: str = TOKEN) -> Variables:
        """What the inventory says of it."""
        railway = connection(self.platform, token)
        health = f"{self.backend.url}/api/health"
        release: Variables = {
            "railway": {**railway, "older_deployment": "deployment-1"},
            "gone": [{"name": "newer release", "url": health, "json": {"release": RELEASES[0]}}],
            "healthy": [{"name": "own door", "url": health, "json": {"release": RELEASES[1]}}],
        }
        maintenance: Variables = {
            "provider": "railway",
            "railway": railway,
            "probe": {"url": health, "json": {"maintenance": True}},
            "deadline": 30,
        }
        return {
            "rollback_keep_release": False,
            "rollback_release": release,
            "rollback_maintenance": maintenance,
            "rollback_endpoints": [{"name": "deep", "url": f"{health}/deep", "json": {"ok": True}}],
        }


@pytest.fixture
def service(scene: Scene, tmp_path: Path) -> Iterator[Service]:
    with railway_platform() as platform:
        service = Service(scene, tmp_path / "backend", platform)
        yield service
        platform.application = lambda _deployment: None
        service.backend.stop()


@pytest.mark.usefixtures("untouched")
def test_token_of_another_project(scene: Scene, service: Service) -> None:
    before = dict(service.platform.variables)
    for check in ([], ["--check"]):
        outcome = scene.play("env=production", *check, production=service.variables(FOREIGN_TOKEN))
        assert outcome.exit_code != 0
        assert "belongs to project project-of-others, and the inventory names project-shop" in outcome.said
        assert FOREIGN_TOKEN not in outcome.output
        assert [run["outcome"] for run in outcome.records] == ([] if check else ["refused"])
    assert service.platform.variables == before
    assert set(service.platform.calls) == {"projectToken"}
    assert len(service.platform.deployments) == len(RELEASES[:2])


def test_rollback(scene: Scene, service: Service) -> None:
    before = scene.execute("production", STATE)
    words = ["env=production", "rollback_rehearse=auto", "reason=a test", f"confirm={NAME}"]
    outcome = scene.play(*words, production=service.variables())
    assert outcome.exit_code == 0, outcome.output
    run = outcome.records[-1]
    assert run["outcome"] == "rolled_back"
    assert scene.execute("production", STATE) == before[:-1]
    running = service.platform.active
    assert [deployment.image for deployment in running] == [RELEASES[1]]
    assert service.platform.variables["MAINTENANCE_MODE"] == running[0].variables["MAINTENANCE_MODE"] == "false"
    changes = [call for call in service.platform.calls if call[:10] == "deployment" and call != "deployment"]
    assert changes == ["deploymentRedeploy", "deploymentStop", "deploymentRedeploy", "deploymentRedeploy"]
    _check_no_secret(scene, outcome.output)
    scene.go_back(run["run_id"])
    assert scene.execute("production", STATE) == before


def _check_no_secret(scene: Scene, output: str) -> None:
    files = [path for path in scene.state_dir("production").rglob("*") if path.suffix in SAID_IN]
    written = [path.read_text() for path in files]
    assert not any(TOKEN in text for text in [output, *written])
