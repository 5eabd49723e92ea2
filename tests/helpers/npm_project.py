# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small npm project with migrations of its own, whose tool can be told to misbehave; and a run's databases."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    render_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name, new_run_id
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

if TYPE_CHECKING:
    from conftest import Database  # type: ignore[import-not-found]  # pytest's own

PROJECT = Path(__file__).resolve().parents[2]
BACKEND = PROJECT / "examples" / "backend"

MIGRATIONS = ("1-users", "2-phone", "3-orders")

TOOL = r"""
'use strict';
const fs = require('fs');
const path = require('path');
const { spawn } = require('child_process');
const { Client } = require('pg');
const [verb] = process.argv.slice(2);
const mischief = verb === 'status' ? process.env.MISCHIEF_STATUS : process.env.MISCHIEF;
const url = mischief === 'stray' ? process.env.STRAY_URL : process.env.DATABASE_URL;

async function main() {
  if (mischief === 'nothing') return;
  if (mischief?.startsWith('print')) console.log(process.env.DATABASE_URL, encodeURIComponent(process.env.DATABASE_URL),
    JSON.stringify(process.env), Buffer.from('x' + process.env.DATABASE_URL).toString('base64'),
    process.env.JWT_SECRET);
  const client = new Client({ connectionString: url });
  await client.connect();
  if (mischief === 'stray' && verb !== 'status') await client.query('SELECT pg_sleep(20)'); // until it is ended
  const { rows } = await client.query('SELECT name FROM migrations_meta ORDER BY name');
  const names = rows.map((row) => row.name);
  const files = fs.readdirSync(path.join(__dirname, 'migrations')).sort();
  if (verb === 'status') console.log({ executed: names });
  if (verb === 'down') await down(client, mischief === 'wrong' ? names.at(-2) : names.at(-1));
  if (verb === 'up') for (const name of files.filter((file) => !names.includes(file))) await up(client, name);
  if (verb === 'one') await up(client, files.find((file) => !names.includes(file)));
  if (mischief === 'fail' || mischief === 'print-and-fail') throw new Error('the second statement failed');
  if (mischief === 'also') {
    const other = new Client({ connectionString: process.env.STRAY_URL, application_name: 'somebody' });
    await other.connect();
    await other.query("DELETE FROM migrations_meta WHERE name LIKE '3%'");
    await other.end();
  }
  await client.end();
  if (mischief === 'linger') {
    const hold = `const { Client } = require('pg');
      const c = new Client({ connectionString: process.env.DATABASE_URL });
      c.connect().then(() => { require('fs').writeFileSync(process.env.LINGER_FILE, String(process.pid)); });
      setInterval(() => {}, 1000);`;
    spawn(process.execPath, ['-e', hold], { detached: true, stdio: 'ignore', cwd: __dirname }).unref();
    while (!fs.existsSync(process.env.LINGER_FILE)) await new Promise((done) => setTimeout(done, 10));
  }
  if (mischief === 'hang') setInterval(() => {}, 1000);
}

async function down(client, name) {
  await require(path.join(__dirname, 'migrations', name)).down(client);
  await client.query('DELETE FROM migrations_meta WHERE name = $1', [name]);
  console.log(`reverted ${name}`);
}

async function up(client, name) {
  await require(path.join(__dirname, 'migrations', name)).up(client);
  await client.query('INSERT INTO migrations_meta VALUES ($1, now())', [name]);
  console.log(`migrated ${name}`);
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
"""

_MIGRATION = """
module.exports = {{
  up: async (client) => {{ await client.query({up!r}); }},
  down: async (client) => {{ await client.query({down!r}); }},
}};
"""

_SQL = {
    "1-users": ("CREATE TABLE users (id int PRIMARY KEY)", "DROP TABLE users"),
    "2-phone": ("ALTER TABLE users ADD COLUMN phone text", "ALTER TABLE users DROP COLUMN phone"),
    "3-orders": ("CREATE TABLE orders (id int)", "DROP TABLE orders"),
}


def node_folder() -> str:
    """The folder with node and npm, of the environment that the tests run in."""
    node = shutil.which("node")
    assert node, "the tests need node: run them with 'make unit' or 'make integration'"
    return str(Path(node).parent)


class NpmProject:
    """A project with three migrations; its tool reads the URL of its database from the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = [f"{name}.js" for name in MIGRATIONS]
        (folder / "migrations").mkdir(parents=True)
        (folder / "node_modules").symlink_to(BACKEND / "node_modules")
        (folder / "tool.cjs").write_text(TOOL)
        scripts = {"migrate": "up", "migrate:down": "down", "migrate:status": "status", "migrate:one": "one"}
        commands = {name: f"node tool.cjs {verb}" for name, verb in scripts.items()}
        (folder / "package.json").write_text(json.dumps({"name": "small", "private": True, "scripts": commands}))
        for name, (up, down) in _SQL.items():
            self.write_migration(f"{name}.js", _MIGRATION.format(up=up, down=down))

    def write_migration(self, name: str, text: str) -> None:
        """Write a migration, and the manifest anew."""
        (self.folder / "migrations" / name).write_text(text)
        self.write_manifest()

    def write_manifest(self) -> None:
        """Write the manifest of what is on disk."""
        entries = [
            {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted((self.folder / "migrations").iterdir())
        ]
        (self.folder / "manifest.json").write_text(json.dumps(entries))

    def options(self, **more: Any) -> dict[str, Any]:
        """The modules' option engine_options."""
        return {
            "project_dir": str(self.folder),
            "manifest": "manifest.json",
            "node_path": node_folder(),
            "scripts": {"up_one": "migrate:one"},
            **more,
        }

    def apply(self, database: Database, count: int = 3) -> None:
        """Bring a database to the state in which the first migrations are applied."""
        database.execute("CREATE TABLE migrations_meta (name text PRIMARY KEY, executed_at timestamptz NOT NULL)")
        for name in MIGRATIONS[:count]:
            database.execute(_SQL[name][0])
            database.execute("INSERT INTO migrations_meta VALUES (%s, now())", [f"{name}.js"])


class RunOfTest:
    """A run: its folder with a journal, and the databases that it made beside a public one."""

    def __init__(self, folder: Path, database: Database) -> None:
        folder.mkdir(mode=0o700)
        self.database = database
        self.id = new_run_id(datetime.now(UTC), secrets.token_hex(2))
        self.run = Run(folder, self.id)
        self.run.create()

    def arguments(self, phase: str = "migrate_down") -> dict[str, str]:
        """The options of the run that modules take."""
        return {"run_id": self.id, "state_dir": str(self.run.state_dir), "phase": phase}

    def make(self, role: str) -> Database:
        """Copy the database, and have the copy describe itself."""
        name = derived_name(self.database.name, role, self.id)
        template = map(sql.Identifier, (name, self.database.name))
        self.database.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(*template), url=self.database.admin_url
        )
        self.describe(name, role)
        return type(self.database)(self.database.server, name, self.database.password)

    def describe(self, name: str, role: str, state: str = "", lease_seconds: int = 60) -> None:
        """Write a database's description."""
        lease = self.database.execute(
            "SELECT to_char(now() AT TIME ZONE 'UTC' + make_interval(secs => %s), 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00')",
            [lease_seconds],
            url=self.database.admin_url,
        )[0][0]
        text = render_description(
            Description(self.id, role, state, lease if state else "", lease_seconds if state else 0)
        )
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(text))
        self.database.execute(comment, url=self.database.admin_url)

    def enter(self, state: str) -> None:
        """Bring the public database's run into a state of the window."""
        self.describe(self.database.name, "original", state)

    def state(self) -> str:
        """The state in which the public database says its run is."""
        return str(self._description().get("state", ""))

    def data(self) -> dict[str, Any]:
        """What else the public database says of its run."""
        return dict(self._description()["data"])

    def _description(self) -> dict[str, Any]:
        comment = self.database.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [self.database.name],
            url=self.database.admin_url,
        )[0][0]
        return dict(json.loads(comment)["balcon.rollback"]) if comment else {}


def applied(database: Database) -> list[str]:
    """What the state table of a database lists."""
    return [name for (name,) in database.execute("SELECT name FROM migrations_meta ORDER BY 1")]
