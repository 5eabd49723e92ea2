# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""release_trial, with a real application on a throwaway clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from npm_project import BACKEND, NpmProject, RunOfTest, node_folder

APPLICATION = """
const http = require('http');
const { Client } = require('pg');
const client = new Client({ connectionString: process.env.DATABASE_URL });
client.connect().then(async () => {
  if (process.env.MIGRATES) await client.query("INSERT INTO migrations_meta VALUES ('9-new.js', now())");
  if (process.env.ENDS) process.exit(5);
  await client.query('CREATE TABLE touched ()');
  http.createServer(async (request, response) => {
    const { rows } = await client.query('SELECT current_database() AS name');
    response.end(JSON.stringify({ ok: true, database: rows[0].name, outbound: process.env.OUTBOUND_DISABLED }));
  }).listen(Number(process.env.PORT), '127.0.0.1');
});
"""

TEST = """
const { Client } = require('pg');
const client = new Client({ connectionString: process.env.DATABASE_URL });
client.connect().then(() => client.query('SELECT count(*) FROM ' + process.argv[2])).then(
  (result) => { console.log('counted', process.env.DATABASE_URL); return client.end(); },
  (error) => { console.log(error.message); process.exit(1); });
"""


class Scene:
    """A candidate with one migration reverted, and an application to try on it."""

    def __init__(self, folder: Path, database: Any, run_module: Any) -> None:
        self.project = NpmProject(folder / "project")
        self.project.apply(database, 2)
        (self.project.folder / "app.js").write_text(APPLICATION)
        (self.project.folder / "test.js").write_text(TEST)
        self.run = RunOfTest(folder / "state", database)
        self.candidate = self.run.make("candidate")
        self.run.enter("migrated")
        self.database = database
        self.run_module = run_module

    def attempt(self, **arguments: Any) -> dict[str, Any]:
        given = {
            "database_url": self.database.url,
            "engine_options": self.project.options(),
            "environment": {"PATH": f"{node_folder()}:/usr/bin:/bin"},
            "tests": [{"name": "smoke", "command": ["node", "test.js", "users"]}],
            "start": ["node", "app.js"],
            "endpoints": [
                {"name": "deep", "url": "http://127.0.0.1:{port}/", "json": {"ok": True, "outbound": "true"}}
            ],
            "expect_applied": self.project.names[:2],
            "deadline": 15,
            **self.run.arguments("verify"),
            **arguments,
        }
        return self.run_module("release_trial", **given)

    def nothing_is_left(self) -> bool:
        touched = self.candidate.execute("SELECT FROM pg_class WHERE relname = 'touched'")
        return not touched and self.database.relatives() == sorted([self.database.name, self.candidate.name])


@pytest.fixture
def scene(tmp_path: Path, database: Any, run_module: Any) -> Scene:
    return Scene(tmp_path, database, run_module)


def test_well(scene: Scene) -> None:
    checked = scene.attempt(check_mode=True)
    assert checked["tests"] == []
    for _time in range(2):
        result = scene.attempt()
        assert not result["changed"]
        assert result["healthy"]
        assert result["session_seen"]
        assert [(test["name"], test["exit_code"]) for test in result["tests"]] == [("smoke", 0)]
        assert "counted ********" in result["tests"][0]["output_tail"]
        assert result["applied"] == scene.project.names[:2]
        assert scene.nothing_is_left()


def test_application_that_uses_another_database(scene: Scene) -> None:
    server = (
        "require('http').createServer((q, a) => a.end('{\"ok\": true}')).listen(Number(process.env.PORT), '127.0.0.1');"
    )
    (scene.project.folder / "app.js").write_text(server)
    endpoints = [{"name": "deep", "url": "http://127.0.0.1:{port}/", "json": {"ok": True}}]
    result = scene.attempt(endpoints=endpoints, tests=[])
    assert "no session of it was seen there" in result["msg"]
    assert scene.nothing_is_left()


def test_test_that_fails(scene: Scene) -> None:
    result = scene.attempt(tests=[{"name": "smoke", "command": ["node", "test.js", "missing"]}])
    assert 'relation "missing" does not exist' in result["msg"]
    assert scene.nothing_is_left()


def test_application_that_is_not_healthy(scene: Scene) -> None:
    endpoints = [{"name": "deep", "url": "http://127.0.0.1:{port}/", "json": {"ok": False}}]
    result = scene.attempt(endpoints=endpoints, deadline=2)
    assert "ok is true, expected false" in result["msg"]
    assert scene.nothing_is_left()


def test_application_that_ends(scene: Scene) -> None:
    result = scene.attempt(environment={"PATH": f"{node_folder()}:/usr/bin:/bin", "ENDS": "1"})
    assert "ended by itself with exit code 5" in result["msg"]
    assert scene.nothing_is_left()


def test_application_that_migrates(scene: Scene) -> None:
    result = scene.attempt(environment={"PATH": f"{node_folder()}:/usr/bin:/bin", "MIGRATES": "1"})
    assert "9-new.js is applied, which was not expected" in result["msg"]
    assert scene.nothing_is_left()


def test_other_databases_are_refused(scene: Scene) -> None:
    assert scene.attempt(database=scene.database.name)["error"]["kind"] == "refused"


def test_the_real_backend(scene: Scene, tmp_path: Path, database: Any, run_module: Any) -> None:
    database.execute("DROP TABLE migrations_meta, users")
    run = RunOfTest(tmp_path / "other", database)
    rehearsal = run.make("rehearsal")
    options = {"project_dir": str(BACKEND), "manifest": "migration-manifest.json", "node_path": node_folder()}
    rehearsal.execute("CREATE TABLE migrations_meta (name varchar(255) PRIMARY KEY, executed_at timestamptz NOT NULL)")
    common = {
        "database_url": database.url,
        "engine_options": options,
        "environment": {"NODE_ENV": "test", "JWT_SECRET": "a-long-secret-of-the-backend"},
        **run.arguments("rehearse"),
    }
    run_module.secrets.add("a-long-secret-of-the-backend")
    up = run_module("migrate_up", **common)
    assert not up["failed"], up["msg"]
    newest = up["state_after"][-1]
    down = run_module("migrate_down", database=rehearsal.name, plan=[newest], **common)
    assert not down["failed"], down["msg"]
    assert newest not in down["state_after"]
    result = run_module(
        "release_trial",
        database=rehearsal.name,
        start=["npm", "run", "--silent", "start"],
        endpoints=[
            {
                "name": "deep",
                "url": "http://127.0.0.1:{port}/api/health/deep",
                "status": [200, 500],
                "json": {"migrations.pending": 1},
            }
        ],
        expect_applied=down["state_after"],
        **common,
    )
    assert not result["failed"], result["msg"]
    assert result["session_seen"]
