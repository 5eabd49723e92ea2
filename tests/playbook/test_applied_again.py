# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The application applies the migration again at its start: the run notices, closes again, and says exactly that."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest
from backend_service import Backend
from stage import DATABASES, RELEASES
from web_server import reply, web_server

if TYPE_CHECKING:
    from pathlib import Path

    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene

NAME = DATABASES["production"]
MIGRATION = "20240107000000-add-project-priority.ts"
WRITTEN = "SELECT count(*) FROM projects WHERE title = 'acknowledged'"


@pytest.fixture
def backend(scene: Scene, tmp_path: Path) -> Iterator[Backend]:
    """The backend, and afterwards production as it was before."""
    environment = {**scene.stage.tool_environment("production"), "MIGRATE_ON_START": "true"}
    backend = Backend.install(tmp_path / "backend", environment)
    yield backend
    backend.stop()


@pytest.fixture
def older(scene: Scene) -> Path:
    """A checkout of the release before the migration."""
    checkout: Path = scene.stage.folder / "releases" / RELEASES[1]
    if not checkout.exists():
        scene.stage.run_tool("release", ["node", "scripts/make-release.mjs", RELEASES[1], str(checkout)])
    return checkout


def roll_back(scene: Scene, **production: Any) -> Outcome:
    words = ["env=production", "rollback_rehearse=auto", "reason=a test", f"confirm={NAME}"]
    if any((scene.state_dir("production") / "evidence").glob("*")):
        del words[1]  # an earlier story has rehearsed it, and production is again what it was
    return scene.play(*words, production={"rollback_keep_release": False, **production})


def put_back(scene: Scene, run_id: str) -> None:
    """Go back by the way that the run printed, and see that it leads there."""
    commands = next(text for text in _closing(scene, run_id) if text)["go_back"]
    for statement in commands.removeprefix("BEGIN; ").removesuffix(" COMMIT;").split("; "):
        scene.execute("production", statement.rstrip(";"), database="postgres")


def _closing(scene: Scene, run_id: str) -> list[dict[str, str]]:
    journal = scene.state_dir("production") / "runs" / run_id / "journal.jsonl"
    events = [json.loads(line)["data"] for line in journal.read_text().splitlines()]
    return [event.get("commands") or event.get("error", {}).get("commands") or {} for event in reversed(events)]


def databases(scene: Scene) -> dict[str, bool]:
    rows = scene.execute(
        "production", "SELECT datname, datallowconn FROM pg_database WHERE datname ~ '^shop_prod'", database="postgres"
    )
    return dict(rows)


def check_closed_and_kept(scene: Scene, outcome: Outcome) -> str:
    """Check what both stories end with; return the run."""
    run = outcome.records[-1]
    assert outcome.exit_code != 0, outcome.output
    assert run["outcome"] == "failed", outcome.output
    assert f"The application applied {MIGRATION} again when it was started" in run["error"]["message"]
    assert f"applied {MIGRATION} again when it was started" in outcome.said
    before = f"{NAME}__before_{run['run_id']}"
    assert databases(scene)[NAME] is False
    assert databases(scene)[before] is False
    assert f'ALTER DATABASE "{NAME}" ALLOW_CONNECTIONS true' in outcome.said.replace("\\", "")
    assert "The rollback itself stands" not in outcome.said
    return str(run["run_id"])


def test_at_the_start_of_what_is_called_the_older_release(scene: Scene, backend: Backend) -> None:
    before = scene.contents("production")
    newer = backend.switch(str(scene.checkout))
    release = {
        "commands": {
            "stop": backend.switch("stop"),
            "older": backend.switch(str(scene.checkout), "acknowledged"),  # the mistake: it is the newer one
            "newer": newer,
        },
        "healthy": [{"name": "own door", "url": f"{backend.url}/api/health", "json": {"status": "ok"}}],
    }
    backend.start(scene.checkout)
    outcome = roll_back(scene, rollback_release=release)
    run_id = check_closed_and_kept(scene, outcome)
    assert "rows were written to it since the swap: " in outcome.said
    backend.stop()
    put_back(scene, run_id)
    assert scene.contents("production") == before
    assert scene.execute("production", WRITTEN, database=_opened(scene, f"{NAME}__failed_{run_id}")) == [(1,)]
    _drop_relatives(scene)


def test_when_maintenance_mode_ends(scene: Scene, backend: Backend, older: Path) -> None:
    before = scene.contents("production")
    flag = str(scene.maintenance_file)
    release = {
        "commands": {
            "stop": backend.switch("stop"),
            "older": backend.switch(str(older)),
            "newer": backend.switch(str(scene.checkout)),
        },
        "gone": [{"name": "newer release", "url": f"{backend.url}/api/health"}],
        "healthy": [{"name": "own door", "url": f"{backend.url}/api/health", "json": {"release": RELEASES[1]}}],
    }
    maintenance = {
        "provider": "command",
        "command": {
            "on": ["touch", flag],
            # A platform that deploys what it was last given, as when a variable is set there.
            "off": [["rm", "-f", flag], backend.switch(str(scene.checkout), "acknowledged")],
        },
    }
    backend.start(scene.checkout)
    outcome = roll_back(scene, rollback_release=release, rollback_maintenance=maintenance)
    run_id = check_closed_and_kept(scene, outcome)
    assert "is closed until a person decides" in outcome.said
    backend.stop()
    again = scene.play("env=production")
    assert again.exit_code != 0
    assert run_id in again.said
    put_back(scene, run_id)
    assert scene.contents("production") == before
    assert scene.execute("production", WRITTEN, database=_opened(scene, f"{NAME}__failed_{run_id}")) == [(1,)]
    _drop_relatives(scene)


def test_during_the_watch(scene: Scene) -> None:
    """Somebody deploys the newer release while the endpoints are watched: nothing is closed, and nothing is hidden."""
    asked = itertools.count(1)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        reverted = not scene.execute("production", "SELECT 1 FROM migrations_meta WHERE name = %s", [MIGRATION])
        if reverted and next(asked) == 2:  # the first question after the plan is that of reopening
            scene.execute("production", "INSERT INTO migrations_meta VALUES (%s, now())", [MIGRATION])
        reply("fine")(handler)

    with web_server(answer) as server:
        watched = {"rollback_watch_seconds": 3, "rollback_watch_interval": 1}
        endpoints = [{"name": "front end", "url": server.url}]
        outcome = roll_back(scene, rollback_keep_release=True, rollback_endpoints=endpoints, **watched)
    run = outcome.records[-1]
    assert outcome.exit_code != 0
    assert run["outcome"] == "failed"
    assert f"applied {MIGRATION} again when it was started" in run["error"]["message"]
    assert f"Nothing was restored: {NAME} is open, with {MIGRATION} applied" in outcome.said
    assert databases(scene)[NAME] is True
    scene.go_back(run["run_id"])


def _opened(scene: Scene, database: str) -> str:
    scene.execute("production", f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true', database="postgres")
    return database


def _drop_relatives(scene: Scene) -> None:
    for name in databases(scene):
        if name != NAME:
            scene.execute("production", f'DROP DATABASE "{name}" WITH (FORCE)', database="postgres")
