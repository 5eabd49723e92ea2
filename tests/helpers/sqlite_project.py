# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small npm project on an SQLite file, whose tool can be told to misbehave; and the steps of a run on that file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from npm_project import BACKEND, node_folder

NAMES = ("1-users.js", "2-phone.js", "3-orders.js")

_TOOL = r"""
'use strict';
const fs = require('fs');
const path = require('path');
const { DatabaseSync } = require('node:sqlite');
const [verb] = process.argv.slice(2);
const mischief = verb === 'status' ? undefined : process.env.MISCHIEF;
const url = mischief === 'stray' ? process.env.STRAY_URL : process.env.DATABASE_URL;
if (mischief === 'nothing') process.exit(0);
const db = new DatabaseSync(url.replace(/^sqlite:(\/\/(?=\/))?/, ''), { timeout: 200 });
db.exec('PRAGMA foreign_keys = ON');
const names = db.prepare('SELECT name FROM migrations_meta ORDER BY name').all().map((row) => row.name);
const files = fs.readdirSync(path.join(__dirname, 'migrations')).sort();
const run = (name, way) => require(path.join(__dirname, 'migrations', name))[way](db);
if (verb === 'status') console.log({ executed: names });
if (verb === 'down') {
  const name = mischief === 'wrong' ? names.at(-2) : names.at(-1);
  run(name, 'down');
  if (mischief === 'fail') throw new Error('the second statement failed');
  db.prepare('DELETE FROM migrations_meta WHERE name = ?').run(name);
}
if (verb === 'up') for (const name of files.filter((file) => !names.includes(file))) {
  run(name, 'up');
  db.prepare("INSERT INTO migrations_meta VALUES (?, datetime('now'))").run(name);
}
db.close();
"""

_MIGRATION = "module.exports = {{ up: (db) => {{ db.exec({up!r}); }}, down: (db) => {{ db.exec({down!r}); }} }};\n"

_SQL = {
    "1-users.js": (
        "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE); "
        "CREATE TABLE files (id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE)",
        "DROP TABLE files; DROP TABLE users",
    ),
    "2-phone.js": ("ALTER TABLE users ADD COLUMN phone TEXT", "ALTER TABLE users DROP COLUMN phone"),
    "3-orders.js": ("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)", "DROP TABLE orders"),
}


class SqliteProject:
    """A project with three migrations, all applied to a file with a few rows."""

    def __init__(self, folder: Path, *, journal_mode: str = "delete") -> None:
        self.folder = folder
        (folder / "migrations").mkdir(parents=True)
        (folder / "node_modules").symlink_to(BACKEND / "node_modules")
        (folder / "tool.cjs").write_text(_TOOL)
        verbs = {"migrate": "up", "migrate:down": "down", "migrate:status": "status"}
        commands = {name: f"node tool.cjs {verb}" for name, verb in verbs.items()}
        (folder / "package.json").write_text(json.dumps({"name": "small", "private": True, "scripts": commands}))
        for name, (up, down) in _SQL.items():
            self.write_migration(name, up, down)
        self.path = folder / "app.sqlite"
        self.url = "sqlite:./app.sqlite"
        with self.session() as connection:
            connection.execute(f"PRAGMA journal_mode = {journal_mode}")
            connection.execute("CREATE TABLE migrations_meta (name TEXT PRIMARY KEY, executed_at TEXT NOT NULL)")
            for name, (up, _down) in _SQL.items():
                connection.executescript(up)
                connection.execute("INSERT INTO migrations_meta VALUES (?, datetime('now'))", [name])
            connection.executescript(
                "INSERT INTO users (email, phone) VALUES ('anna', '1'), ('ben', '2'), ('cem', NULL), ('gone', NULL);"
                "DELETE FROM users WHERE email = 'gone';"
                "INSERT INTO files (user_id) VALUES (1), (1), (2); INSERT INTO orders (item) VALUES ('brick');"
            )

    def write_migration(self, name: str, up: str, down: str) -> None:
        """Write a migration, and the manifest anew."""
        (self.folder / "migrations" / name).write_text(_MIGRATION.format(up=up, down=down))
        entries = [
            {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted((self.folder / "migrations").iterdir())
        ]
        (self.folder / "manifest.json").write_text(json.dumps(entries))

    def add_migration(self, name: str, up: str, down: str) -> None:
        """Write a migration and apply it."""
        self.write_migration(name, up, down)
        with self.session() as connection:
            connection.executescript(up)
            connection.execute("INSERT INTO migrations_meta VALUES (?, datetime('now'))", [name])

    @contextlib.contextmanager
    def session(self, path: Path | None = None) -> Iterator[sqlite3.Connection]:
        """A connection in autocommit mode; closed at the end."""
        connection = sqlite3.connect(path or self.path, isolation_level=None, timeout=0.2)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection
        finally:
            connection.close()

    def rows(self, query: str, path: Path | None = None) -> list[Any]:
        """What a query returns."""
        with self.session(path) as connection:
            return connection.execute(query).fetchall()

    def dump(self, path: Path | None = None) -> list[str]:
        """Everything that is in it, as SQL."""
        with self.session(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return list(connection.iterdump())

    def applied(self, path: Path | None = None) -> list[str]:
        """What the state table lists."""
        return [name for (name,) in self.rows("SELECT name FROM migrations_meta ORDER BY 1", path)]

    def options(self) -> dict[str, Any]:
        """The modules' option engine_options."""
        return {"project_dir": str(self.folder), "manifest": "manifest.json", "node_path": node_folder()}

    def beside(self) -> list[str]:
        """The names of everything that lies beside the file and bears its name."""
        return sorted(path.name for path in self.folder.iterdir() if "app.sqlite" in path.name)


class SqliteRun:
    """A run on the file of a project, step by step, as the playbook does it."""

    def __init__(self, folder: Path, project: SqliteProject, run_module: Any, environment: str = "development") -> None:
        self.project = project
        self.run_module = run_module
        self.state_dir = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        started = {"state": "started", "state_dir": str(folder), "kind": "rollback", "environment": environment}
        self.id = str(run_module("run_journal", **started, database="app.sqlite")["run_id"])

    def path(self, purpose: str) -> Path:
        """The path of a file that the run makes."""
        return self.project.folder / f"app.sqlite__{purpose}_{self.id}"

    def call(self, module: str, phase: str, **arguments: Any) -> dict[str, Any]:
        """Run a module as a step of the run."""
        of_run = {"run_id": self.id, "state_dir": str(self.state_dir), "phase": phase}
        common = {"database_url": self.project.url, "project_dir": str(self.project.folder)}
        result: dict[str, Any] = self.run_module(module, **{**common, **of_run, **arguments})
        return result

    def done(self, module: str, phase: str, **arguments: Any) -> dict[str, Any]:
        """Run a module, which must succeed."""
        result = self.call(module, phase, **arguments)
        assert not result["failed"], result["msg"]
        return result

    def back_up(self) -> dict[str, Any]:
        """Look at the file, and back it up."""
        self.done("db_info", "preflight", refuse=True)
        return self.done("db_backup", "back_up")

    def begin(self) -> None:
        """Back up, take the file, make the candidate."""
        self.back_up()
        self.done("db_access", "close", state="closed")
        self.candidate()

    def candidate(self, *tables: str) -> dict[str, Any]:
        """Make the candidate; rows of these tables may change."""
        contents = {"skip_tables": ["main.migrations_meta", *tables]}
        how = {"purpose": "candidate", "fingerprint": True, "contents": contents, "save_as": "before.json"}
        return self.done("db_clone", "candidate", **how)

    def down(self, *plan: str, **environment: str) -> dict[str, Any]:
        """Run the plan on the candidate."""
        tool = {"engine_options": self.project.options(), "environment": environment}
        return self.call("migrate_down", "migrate_down", plan=list(plan or ("3-orders.js",)), **tool)

    def verify(self, *tables: str) -> dict[str, Any]:
        """Prove the candidate."""
        skip = ["main.migrations_meta", *tables]
        how = {"database": self.path("candidate").name, "compare_to": "before.json", "skip_tables": skip}
        return self.call("db_fingerprint", "verify", **how)

    def verified(self, *plan: str) -> None:
        """Come as far as a verified candidate."""
        self.begin()
        down = self.down(*plan)
        assert not down["failed"], down["msg"]
        verified = self.verify()
        assert not verified["failed"], verified["msg"]

    def swap(self, **arguments: Any) -> dict[str, Any]:
        """Swap the candidate in."""
        return self.call("db_swap", "reopen", state="candidate", **arguments)

    def restore(self, **arguments: Any) -> dict[str, Any]:
        """Bring back what was there before."""
        return self.call("db_swap", "restore", state="original", **arguments)

    def finish(self) -> dict[str, Any]:
        """End the run."""
        return self.call("db_access", "reopen", state="open")
