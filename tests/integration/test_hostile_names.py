# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that break out of quotes, options, lines, formats, templates and pages, through all that takes a name."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from npm_project import NpmProject
from psycopg2 import sql
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._domain.status import drop_command

ROLE = "--role=\"o'wn\n%s{{7*7}}<b>\\$;"
SCHEMA = "--schema=\"s'\n%(x)s{{7*7}}<script>\\"
TABLE = "-t \"t'\n%s {} {{7*7}}<img src=x onerror=alert(1)>\\;--"
COLUMN = "\"c'\n%s{{7*7}}</td><script>\\$$,)--"
MIGRATION = "3 --help\n\"'%s{{7*7}}<script>$(id).js"
FOLDER = "--clean \"f'\n%s{{7*7}} <b>$(id);\\"
DOWN = "module.exports = { down: async (client) => { await client.query('SELECT 1'); } };"
HOSTILE_ROWS = [(1, "\\.\n--\n'; DROP TABLE x; --"), (2, "\\restrict x"), (3, None)]


def quoted(*names: str) -> sql.Composed:
    return sql.SQL(".").join(map(sql.Identifier, names))


@dataclass(frozen=True)
class Hostile:
    """A database of a role, both with hostile names, in a state folder with one; and ways to work on it."""

    database: Any
    window: Window
    folder: Path
    run_module: Any

    @property
    def table(self) -> str:
        return f"{self._quoted(SCHEMA)}.{self._quoted(TABLE)}"

    def _quoted(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def module(self, module: str, /, **arguments: Any) -> dict[str, Any]:
        """Run a module, which must end well."""
        given = {**self.window.arguments, "admin_url": self.database.admin_url, **arguments}
        result = dict(self.run_module(module, **given))
        assert not result["failed"], (module, result)
        return result

    def rows(self, name: str | None = None) -> list[tuple[Any, ...]]:
        return list(
            self.database.execute(
                sql.SQL("SELECT id, {} FROM {} ORDER BY 1").format(sql.Identifier(COLUMN), quoted(SCHEMA, TABLE)),
                url=self.database.url_of(name or self.database.name),
            )
        )


@pytest.fixture
def hostile(database: Any, tmp_path: Path, run_module: Any) -> Iterator[Hostile]:
    role = f"{ROLE}{secrets.token_hex(3)}"
    name = f"{database.name[5:]}\"h'\n%s{{{{7*7}}}}<b>=&;-$"
    password = "p'\"\\ %s\n{{7*7}}"
    run_module.secrets.add(password)
    superuser = database.server.superuser_url()
    new = replace(database, name=name, password=password, owner=role)
    made = map(sql.Identifier, (name, role))
    create_role = sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD {}")
    database.execute(create_role.format(sql.Identifier(role), sql.Literal(password)), url=superuser)
    database.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*made), url=superuser)
    new.execute(sql.SQL("CREATE SCHEMA {}").format(quoted(SCHEMA)))
    new.execute(
        sql.SQL("CREATE TABLE {} (id int PRIMARY KEY, {} text DEFAULT '{{{{7*7}}}}')").format(
            quoted(SCHEMA, TABLE), quoted(COLUMN)
        )
    )
    for row in HOSTILE_ROWS:
        literals = sql.SQL(", ").join(map(sql.Literal, row))
        new.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(quoted(SCHEMA, TABLE), literals))
    comment = sql.Literal("it's {{7*7}} <b>\n\"%s")
    new.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), comment), url=new.admin_url)
    folder = tmp_path / FOLDER
    folder.mkdir(mode=0o700)
    try:
        yield Hostile(new, Window(new.url, folder, run_module), folder, run_module)
    finally:
        for relative in new.relatives():
            database.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(relative)), url=superuser)
        database.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)), url=superuser)


def client(hostile: Hostile) -> dict[str, Any]:
    return {"client_path": [str(hostile.database.server.bin_dir)]}


def test_a_whole_run(hostile: Hostile) -> None:
    """Looked at, backed up, copied, swapped in and back, restored, its table recovered, reported."""
    database, window = hostile.database, hostile.window
    begun = {"kind": "rollback", "environment": "production", "database": database.name, "reason": TABLE}
    window.run.record("preflight", "the run begins", data={**begun, "executed_by": COLUMN, "host": ROLE})
    window.run.record("preflight", "plan", data={"plan": [MIGRATION]})
    assert hostile.module("db_info", free_bytes=10**12)["blockers"] == []
    backup = hostile.module("db_backup", verify="restore", checkpoint=False, phase="back_up", **client(hostile))
    assert Path(backup["path"]).parent == hostile.folder / "backups"
    before = hostile.module("db_fingerprint")["fingerprint"]
    assert [table for table in before["tables"] if "onerror" in table]

    window.pass_gate()
    hostile.module("db_access", state="closed", phase="close")
    hostile.module("db_clone", purpose="candidate", phase="candidate")
    assert database.relatives() == sorted([database.name, window.name("candidate")])
    window.advance_to("verified")
    hostile.module("db_swap", state="candidate")
    assert database.relatives() == sorted([database.name, window.name("before")])
    assert hostile.rows() == HOSTILE_ROWS
    hostile.module("db_swap", state="original")
    assert hostile.rows() == HOSTILE_ROWS
    assert window.comment() == "it's {{7*7}} <b>\n\"%s"
    hostile.module("db_fingerprint")

    restored = f"{database.name}__again"
    made = hostile.module("db_restore", backup=backup["backup_id"], name=restored, **client(hostile))
    assert made["verified"]
    assert hostile.rows(restored) == HOSTILE_ROWS

    database.execute(sql.SQL("DELETE FROM {} WHERE id < 3").format(quoted(SCHEMA, TABLE)))
    arguments = {"backup": backup["backup_id"], "keep_dir": str(hostile.folder / "kept"), "tables": [hostile.table]}
    hostile.module(
        "table_recovery",
        mode="insert_missing",
        backup_dir=str(hostile.folder / "backups"),
        **arguments,
        **client(hostile),
    )
    assert hostile.rows() == HOSTILE_ROWS

    record = {"run_id": window.run.run_id, "state_dir": str(hostile.folder)}
    ended = hostile.run_module("run_journal", state="finished", **record)
    assert not ended["failed"], ended
    check_reports(window.run.folder)


def test_the_commands_to_type_are_one_line(hostile: Hostile) -> None:
    """A line feed in a name would cut a command in two, and what is typed first would not be all of it."""
    hostile.window.advance_to("swapped")
    held = hostile.module("db_hold", because="somebody must decide", phase="restore")
    for command in held["commands"].values():
        assert command.isprintable()
    hostile.database.execute(held["commands"]["go_back"], url=hostile.database.admin_url)
    assert hostile.window.comment() == "it's {{7*7}} <b>\n\"%s"
    assert hostile.rows() == HOSTILE_ROWS


def check_reports(folder: Path) -> None:
    """Nothing of a name becomes markup, and none begins a line of its own."""
    page = (folder / "report.html").read_text()
    report = (folder / "report.md").read_text()
    assert "&lt;script&gt;" in page
    assert not [tag for tag in ("<script", "<img", "<b>") if tag in page]
    assert not [line for line in report.split("\n") if line.startswith(("%", "<"))]


def test_migrations(hostile: Hostile, tmp_path: Path) -> None:
    """The file of a migration, its row in a state table of that name, and the way of the tool to that candidate."""
    database, window = hostile.database, hostile.window
    project = NpmProject(tmp_path / "project")
    project.write_migration(MIGRATION, DOWN)
    tool = project.folder / "tool.cjs"
    tool.write_text(
        tool.read_text().replace("'SELECT name FROM migrations_meta ORDER BY name'", "process.env.READ")
        .replace("'DELETE FROM migrations_meta WHERE name = $1'", "process.env.REMOVE")
    )  # fmt: skip
    state, column = quoted(SCHEMA, "state " + TABLE), sql.Identifier(COLUMN)
    statements = {
        "make": sql.SQL("CREATE TABLE {0} ({1} text PRIMARY KEY)"),
        "fill": sql.SQL("INSERT INTO {0} SELECT * FROM unnest({2}::text[])"),
        "read": sql.SQL("SELECT {1} AS name FROM {0} ORDER BY 1"),
        "remove": sql.SQL("DELETE FROM {0} WHERE {1} = $1"),
    }
    names = ["1-users.js", MIGRATION]
    with database.session() as connection:
        text = {key: each.format(state, column, sql.Literal(names)).as_string(connection)
                for key, each in statements.items()}  # fmt: skip
    database.execute(sql.SQL(text["make"]))
    database.execute(sql.SQL(text["fill"]))
    engine = {"schema": SCHEMA, "table": "state " + TABLE, "name_column": COLUMN}
    down = {
        "engine_options": project.options(**engine),
        "environment": {"READ": text["read"], "REMOVE": text["remove"]},
    }
    window.advance_to("candidate")
    done = hostile.module("migrate_down", plan=[MIGRATION], phase="migrate_down", **down)
    assert [done["state_before"], done["state_after"]] == [names, ["1-users.js"]]
    hostile.module("db_swap", state="original")
    failed = window.name("failed")
    assert database.relatives() == sorted([database.name, failed])

    drop = drop_command(failed)
    assert drop.isprintable()
    database.execute(sql.SQL(drop), url=database.admin_url)
    assert database.relatives() == [database.name]
    info = hostile.run_module("migration_info", database_url=database.url, steps=1, **down)
    assert not info["failed"], info
    assert [info["plan"], info["migrations"][MIGRATION]["down"]] == [[MIGRATION], "proven"]
