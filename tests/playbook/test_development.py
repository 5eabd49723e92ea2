# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""env=development: the same playbook on the developer's SQLite file, with the real backend and its Sequelize."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import pytest
from web_server import reply, web_server

from ansible_collections.balcon.rollback.tests.playbook.development import DATABASE, Development
from ansible_collections.balcon.rollback.tests.playbook.scene import question_of

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome

NEWEST = "20240107000000-add-project-priority.ts"

CASCADE = """
import { DataTypes } from 'sequelize';
import type { MigrationParams } from '../src/migrator.ts';

export async function up({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.addColumn('%(table)s', 'colour', { type: DataTypes.STRING(20), allowNull: true });
}

export async function down({ context: queryInterface }: MigrationParams): Promise<void> {
  await queryInterface.removeColumn('%(table)s', 'colour');
}
"""


def events(outcome: Outcome) -> list[dict[str, Any]]:
    """The journal of a run."""
    return [json.loads(line) for line in (outcome.folders[-1] / "journal.jsonl").read_text().splitlines()]


@pytest.fixture
def developer(tmp_path: Path) -> Development:
    """A developer's machine with a filled database."""
    development = Development(tmp_path)
    development.set()
    return development


def test_the_story(developer: Development) -> None:
    names, projects = developer.applied(), developer.rows("SELECT * FROM projects ORDER BY id")
    before = developer.digest()

    checked = developer.play("env=development", "--check")
    assert (checked.exit_code, checked.folders) == (0, []), checked.output
    assert f"Migrations to revert, newest first: {NEWEST}" in checked.said
    assert (developer.beside(), developer.digest()) == ([], before)

    unsaid = developer.play("env=development")
    assert "was not confirmed" in unsaid.said
    assert developer.digest() == before

    done = developer.ask(DATABASE, "env=development", "reason=it was the wrong column")
    assert done.exit_code == 0, done.output
    assert f"Migrations to revert, newest first: {NEWEST}" in question_of(done)
    assert developer.applied() == names[:-1]
    assert developer.rows("SELECT * FROM projects ORDER BY id") == [row[:-1] for row in projects]
    (record,) = done.records
    assert (record["outcome"], record["environment"], record["database"]) == ("rolled_back", "development", DATABASE)
    assert record["loss"] == {"tables": [], "columns": ["main.projects.priority"], "rows": 40}
    assert record["backup_id"]
    assert record["window_seconds"] > 0
    report = (done.folders[0] / "report.md").read_text()
    assert "Production" not in report.split("### Actions")[0]
    kept = [name for name in developer.beside() if name.endswith(done.folders[0].name)]
    assert kept == [f"{DATABASE}__before_{done.folders[0].name}"]

    developer.npm("migrate")  # the developer mends the migration and goes on
    assert developer.applied() == names


def test_remove_column_that_empties_another_table(developer: Development) -> None:
    """Facts, 4: exit 0, and the rows of a table that was never named are gone."""
    name = "20240108000000-colour.ts"
    developer.add_migration(name, CASCADE % {"table": "projects"})
    files = developer.rows("SELECT count(*) FROM project_files")
    assert files > [(0,)]
    before = developer.digest()
    outcome = developer.play("env=development", f"confirm={DATABASE}", "rollback_round_trip=false")
    assert outcome.exit_code != 0
    assert "main.project_files has 0 rows" in outcome.said, outcome.output
    assert [record["outcome"] for record in outcome.records] == ["restored"]
    assert developer.rows("SELECT count(*) FROM project_files") == files
    assert (developer.digest(), developer.applied()[-1]) == (before, name)
    run = outcome.folders[0].name
    failed = developer.path.with_name(f"{DATABASE}__failed_{run}")
    assert developer.rows("SELECT count(*) FROM project_files", failed) == [(0,)]


def test_remove_column_that_loses_a_constraint(developer: Development) -> None:
    """Nothing refers to project_files, so that no row is lost; what the rebuilt table lost is found all the same."""
    developer.execute("CREATE UNIQUE INDEX one_name ON project_files (project_id, name)")
    developer.add_migration("20240108000000-colour.ts", CASCADE % {"table": "project_files"})
    before = developer.digest()
    outcome = developer.play("env=development", f"confirm={DATABASE}")
    assert outcome.exit_code != 0
    assert "does not lead back to the schema" in outcome.said, outcome.output
    assert "one_name" in outcome.said
    assert developer.digest() == before


def test_open_in_another_program(developer: Development) -> None:
    hold = f"import sqlite3; c = sqlite3.connect({str(developer.path)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        holder.stdout.readline()
        outcome = developer.play("env=development", f"confirm={DATABASE}")
        holder.communicate("\n")
    assert outcome.exit_code != 0
    assert f"process {holder.pid}" in outcome.said, outcome.output
    assert developer.beside() == []


def test_a_migration_that_is_applied_again_when_maintenance_mode_ends(developer: Development) -> None:
    names = developer.applied()
    again = developer.folder / "again.sh"
    words = {**developer.environment(), "DATABASE_URL": f"sqlite:./{DATABASE}", "HOME": str(developer.folder)}
    exported = "".join(f"export {name}={quote(value)}\n" for name, value in words.items())
    again.write_text(f"{exported}cd {quote(str(developer.project))} && npm run --silent migrate\n")
    maintenance = {"provider": "command", "command": {"on": ["true"], "off": ["sh", str(again)]}}
    outcome = developer.play("env=development", f"confirm={DATABASE}", rollback_maintenance=maintenance)
    assert outcome.exit_code != 0, outcome.output
    (record,) = outcome.records
    assert record["outcome"] == "failed"
    assert f"applied {NEWEST} again when it was started" in record["error"]["message"]
    assert f"Nothing was restored: {DATABASE} is open, with {NEWEST} applied" in outcome.said
    assert not [event for event in events(outcome) if event["action"] == "close the database again"]
    assert developer.applied() == names
    before = developer.path.with_name(f"{DATABASE}__before_{record['run_id']}")
    assert developer.rows("SELECT name FROM migrations_meta ORDER BY 1", before) == [(name,) for name in names]


def test_an_alarm_of_the_watch_closes_no_file(developer: Development) -> None:
    older, names = developer.folder / "older", developer.applied()
    asked = count(1)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        well = not older.exists() or next(asked) == 1  # the first question after it is that of reopening
        (reply("well") if well else reply("no such column", 500))(handler)

    with web_server(answer) as server:
        outcome = developer.play(
            "env=development",
            f"confirm={DATABASE}",
            rollback_release={"commands": {"stop": ["true"], "older": ["touch", str(older)], "newer": ["true"]}},
            rollback_endpoints=[{"name": "shop", "url": server.url, "contains": "well"}],
            rollback_watch_seconds=6,
            rollback_watch_interval=1,
            rollback_watch={"baseline_seconds": 0, "on_alarm": "closed"},
        )
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[-1]["outcome"] == "rolled_back"
    watch = [event["data"]["watch"] for event in events(outcome) if "watch" in event["data"]]
    assert [seen["alarm"] for seen in watch] == [True]
    assert developer.applied() == names[:-1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollback_kind": None}, "its rollback_kind says nothing, which counts as production"),
        ({"rollback_kind": "staging"}, "its rollback_kind says staging"),
        ({"rollback_database_url": "postgresql://a@b/c"}, "has a database that is no SQLite file"),
        ({"rollback_database_url": "sqlite:./nothing.sqlite"}, "nothing.sqlite does not exist"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    developer = Development(tmp_path)
    developer.project.mkdir()
    developer.state_dir.mkdir(mode=0o700)
    sqlite3.connect(developer.path).close()
    outcome = developer.play("env=development", f"confirm={DATABASE}", **changes)
    assert outcome.exit_code != 0
    assert said in outcome.said, outcome.output
    assert developer.beside() == []
