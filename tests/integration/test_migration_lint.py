# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Round trips of real migrations on scratch databases of a real server."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from npm_project import BACKEND, TOOL, NpmProject, node_folder
from psycopg2 import sql

if TYPE_CHECKING:
    from conftest import Database  # type: ignore[import-not-found]  # pytest's own

    from tests.conftest import ModuleRunner

ENVIRONMENT = {"NODE_ENV": "test", "JWT_SECRET": "a secret of the tests, longer than most"}
STATE = "CREATE TABLE IF NOT EXISTS migrations_meta (name text PRIMARY KEY, executed_at timestamptz NOT NULL)"
SEED = "INSERT INTO users SELECT n FROM generate_series(1, 50) n"

KNOWN = {
    ("20240101000000-initial-schema.ts", "down-drops-more", 33, "text"),
    ("20240101000000-initial-schema.ts", "down-drops-more", 34, "text"),
    ("20240103000000-normalise-emails.ts", "down-empty", 0, "text"),
    ("20240103000000-normalise-emails.ts", "values-after-down", 0, "scratch"),
    ("20240105000000-index-project-owner.ts", "index-not-concurrent", 4, "text"),
    ("20240106000000-widen-project-title.ts", "down-fails-on-new-rows", 0, "scratch"),
}
"""What its README says of the example backend's migrations, found by itself; notes are left out."""


class Project(NpmProject):
    """A small project whose tool makes its state table itself, and whose migrations a test writes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        begin = "  const { rows }"
        (folder / "tool.cjs").write_text(TOOL.replace(begin, f"  await client.query('{STATE}');\n{begin}", 1))

    def add(self, name: str, up: str, down: str) -> None:
        """Write a migration of two SQL texts."""
        text = f"module.exports = {{\n  up: async (client) => {{\n    await client.query(`{up}`);\n  }},\n"
        self.write_migration(
            f"{name}.js", text + f"  down: async (client) => {{\n    await client.query(`{down}`);\n  }},\n}};\n"
        )


class Scene:
    """A project, and a database beside which scratch databases are made; whatever happens, none is left."""

    def __init__(self, run_module: ModuleRunner, database: Database, folder: Path) -> None:
        self._run_module = run_module
        self.database = database
        self.project = Project(folder)

    def arguments(self, **more: Any) -> dict[str, Any]:
        """The module's arguments; all but new migrations are released."""
        return {
            "engine_options": self.project.options(),
            "scratch_url": self.database.url,
            "since": "3-orders.js",
            "output": "none",
            **more,
        }

    def lint(self, **more: Any) -> dict[str, Any]:
        """Check the project."""
        arguments = {key: value for key, value in self.arguments(**more).items() if value is not None}
        result = self._run_module("migration_lint", **arguments)
        assert self.database.relatives() == [self.database.name]
        return result

    def rules(self, **more: Any) -> dict[str, str]:
        """The errors and warnings of a check, and on what evidence each is."""
        result = self.lint(**more)
        assert not result["failed"], result["msg"]
        return {each["rule"]: each["evidence"] for each in result["findings"] if each["severity"] != "note"}


@pytest.fixture
def scene(run_module: ModuleRunner, database: Database, tmp_path: Path) -> Scene:
    run_module.secrets.add(database.password)
    return Scene(run_module, database, tmp_path / "project")


@pytest.mark.newest_server
def test_the_example_backend(run_module: ModuleRunner, database: Database) -> None:
    run_module.secrets |= {database.password, ENVIRONMENT["JWT_SECRET"]}
    engine = {"project_dir": str(BACKEND), "manifest": "migration-manifest.json", "node_path": node_folder()}
    result = run_module(
        "migration_lint", engine_options=engine, environment=ENVIRONMENT, scratch_url=database.url, output="none"
    )
    found = {
        (each["migration"], each["rule"], each["line"], each["evidence"])
        for each in result["findings"]
        if each["severity"] != "note"
    }
    assert found == KNOWN, "\n".join(result["lines"])
    assert {each["round_trip"] for each in result["migrations"]} == {"proven"}
    assert result["unproven"] == []
    assert not result["passed"]
    assert not result["changed"]
    assert database.relatives() == [database.name]


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "all at once"])
def test_a_sound_migration(scene: Scene, one_by_one: bool) -> None:
    scene.project.add("4-city", "ALTER TABLE users ADD COLUMN city text", "ALTER TABLE users DROP COLUMN city")
    scene.project.add("5-zip", "ALTER TABLE users ADD COLUMN zip text", "ALTER TABLE users DROP COLUMN zip")
    before = sorted(scene.project.folder.rglob("*.js*"))
    scripts = {"up_one": "migrate:one"} if one_by_one else {}
    result = scene.lint(engine_options=scene.project.options(scripts=scripts))
    assert [each["rule"] for each in result["findings"]] == ["row-count-check", "row-count-check"]
    assert [each["round_trip"] for each in result["migrations"]] == ["proven", "proven"]
    assert result["released"] == scene.project.names
    assert result["passed"]
    assert sorted(scene.project.folder.rglob("*.js*")) == before


def test_not_null_without_default_is_read_and_seen(scene: Scene) -> None:
    scene.project.add("4-code", "ALTER TABLE users ADD COLUMN code text NOT NULL", "ALTER TABLE users DROP COLUMN code")
    result = scene.lint()
    failed, read = (each for each in result["findings"] if each["severity"] == "error")
    assert (read["rule"], read["line"]) == ("not-null-without-default", 3)
    assert failed["rule"] == "up-fails"
    assert 'column "code" of relation "users" contains null values' in failed["message"]
    assert result["migrations"][0]["round_trip"] == "failed"


@pytest.mark.newest_server
def test_without_rows_it_would_not_be_seen(scene: Scene) -> None:
    scene.project.add("4-code", "ALTER TABLE users ADD COLUMN code text NOT NULL", "ALTER TABLE users DROP COLUMN code")
    assert scene.rules(fill_rows=0) == {"not-null-without-default": "both"}


NULLABLE_FIRST = """
ALTER TABLE {t} ADD COLUMN code text; SELECT count(*) FROM {t}; UPDATE {t} SET code = 'x' WHERE code IS NULL;
ALTER TABLE {t} ADD CONSTRAINT code_given CHECK (code IS NOT NULL) NOT VALID;
ALTER TABLE {t} VALIDATE CONSTRAINT code_given; ALTER TABLE {t} ALTER COLUMN code SET NOT NULL"""

TABLE = "CREATE TABLE {t} (id int, phone text, body varchar(40) NOT NULL);"

STORIES: dict[str, tuple[str, str, dict[str, str]]] = {
    "nullable first, as the runbook says": (NULLABLE_FIRST, "ALTER TABLE {t} DROP COLUMN code", {}),
    "a table is dropped, and made again empty": (
        "DROP TABLE {t}",
        TABLE,
        {"drop-table": "both", "rows-after-down": "scratch"},
    ),
    "a column is dropped, and made again empty": (
        "ALTER TABLE {t} DROP COLUMN phone",
        "ALTER TABLE {t} ADD COLUMN phone text",
        {"drop-column": "both", "values-after-down": "scratch"},
    ),
    "a type is narrowed": (
        "ALTER TABLE {t} ALTER COLUMN phone TYPE varchar(20)",
        "ALTER TABLE {t} ALTER COLUMN phone TYPE text",
        {"narrowing-type": "scratch", "table-rewrite": "both"},
    ),
    "a type is widened, which rewrites nothing": (
        "ALTER TABLE {t} ALTER COLUMN body TYPE varchar(80)",
        "ALTER TABLE {t} ALTER COLUMN body TYPE varchar(40)",
        {"down-fails-on-new-rows": "scratch"},
    ),
    "every row gets a value of its own": (
        "ALTER TABLE {t} ADD COLUMN key uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE {t} DROP COLUMN key",
        {"table-rewrite": "both"},
    ),
    "an index stays": (
        "ALTER TABLE {t} ADD COLUMN city text; CREATE INDEX {t}_phones ON {t} (phone)",
        "ALTER TABLE {t} DROP COLUMN city",
        {"index-not-concurrent": "text", "down-leaves-change": "scratch", "up-again-fails": "scratch"},
    ),
    "an enum stays": (
        "CREATE TYPE {t}_mood AS ENUM ('fine'); ALTER TABLE {t} ADD COLUMN mood {t}_mood",
        "ALTER TABLE {t} DROP COLUMN mood",
        {"down-leaves-change": "scratch", "up-again-fails": "scratch"},
    ),
    "rows come in and stay": (
        "INSERT INTO {t} VALUES (1000, 'x', 'y')",
        "UPDATE {t} SET id = id WHERE false",
        {"rows-changed": "scratch", "rows-after-down": "scratch", "up-again-differs": "scratch"},
    ),
    "rows are lost": (
        "DELETE FROM {t}",
        "INSERT INTO {t} VALUES (1, 'x', 'y')",
        {"delete-everything": "text", "rows-changed": "scratch", "rows-after-down": "scratch"},
    ),
    "the way back fails": (
        "ALTER TABLE {t} ADD COLUMN city text",
        "ALTER TABLE {t} DROP COLUMN town",
        {"down-drops-more": "text", "down-fails": "scratch"},
    ),
    "the way back does something else": (
        "ALTER TABLE {t} ADD COLUMN city text",
        "SELECT 1",
        {"down-leaves-change": "scratch", "up-again-fails": "scratch"},
    ),
    "a name is changed": (
        "ALTER TABLE {t} RENAME TO {t}_sales",
        "ALTER TABLE {t}_sales RENAME TO {t}",
        {"rename": "both"},
    ),
    "nulls that the older release does not know": (
        "ALTER TABLE {t} ALTER COLUMN body DROP NOT NULL",
        "ALTER TABLE {t} ALTER COLUMN body SET NOT NULL",
        {"down-fails-on-new-rows": "scratch"},
    ),
    "what only the database can tell": (
        "DO $$ BEGIN EXECUTE format('ALTER TABLE %I DROP COLUMN phone', '{t}'); END $$",
        "ALTER TABLE {t} ADD COLUMN phone text",
        {"unread": "text", "drop-column": "scratch", "values-after-down": "scratch"},
    ),
}


@pytest.mark.newest_server
@pytest.mark.parametrize("part", range(3))
def test_stories(scene: Scene, part: int) -> None:
    """Each migration has a table of its own, so that a third of them is tried in one check."""
    told = {story: STORIES[story] for story in list(STORIES)[part::3]}
    tables = {story: f"t{number:02}" for number, story in enumerate(told)}
    scene.project.add("3-x", "".join(TABLE.replace("{t}", table) for table in tables.values()), "SELECT 1")
    for story, (up, down, _expected) in told.items():
        table = tables[story]
        scene.project.add(f"4-{table}", up.replace("{t}", table), down.replace("{t}", table))
    found: dict[str, dict[str, str]] = {story: {} for story in told}
    stories = {f"4-{table}.js": story for story, table in tables.items()}
    for each in scene.lint(since="3-x.js")["findings"]:
        if each["severity"] != "note":
            found[stories[each["migration"]]][each["rule"]] = each["evidence"]
    assert found == {story: expected for story, (_up, _down, expected) in told.items()}


@pytest.mark.newest_server
def test_a_reason_lets_it_pass(scene: Scene) -> None:
    scene.project.add("4-new", "ALTER TABLE users DROP COLUMN phone", "ALTER TABLE users ADD COLUMN phone text")
    file = scene.project.folder / "migrations" / "4-new.js"
    comment = "    // check-migrations: allow drop-column, because nobody has used it since release 1.1\n    await"
    scene.project.write_migration("4-new.js", file.read_text().replace("    await", comment, 1))
    result = scene.lint()
    assert result["passed"]
    assert [(each["rule"], each["reason"]) for each in result["allowed"]] == [
        ("drop-column", "nobody has used it since release 1.1")
    ]


def test_everything_after_a_failed_way_up_is_not_tried(scene: Scene) -> None:
    scene.project.add("4-new", "ALTER TABLE nothing ADD COLUMN x int", "ALTER TABLE nothing DROP COLUMN x")
    scene.project.add("5-new", "ALTER TABLE users ADD COLUMN x int", "ALTER TABLE users DROP COLUMN x")
    result = scene.lint()
    assert [each["round_trip"] for each in result["migrations"]] == ["failed", "not tried"]


def test_a_failure_of_released_migrations_is_named(scene: Scene) -> None:
    scene.project.add("2-x", "ALTER TABLE nothing ADD COLUMN x int", "ALTER TABLE nothing DROP COLUMN x")
    scene.project.add("4-new", "ALTER TABLE users ADD COLUMN x int", "ALTER TABLE users DROP COLUMN x")
    result = scene.lint()
    (finding,) = (each for each in result["findings"] if each["severity"] == "error")
    assert (finding["rule"], finding["migration"]) == ("up-fails", "2-x.js")


@pytest.mark.newest_server
def test_a_seed_of_the_project(scene: Scene) -> None:
    scene.project.add("4-new", "CREATE UNIQUE INDEX one ON users ((true))", "DROP INDEX one")
    script = f"""const {{ Client }} = require('pg');
      const c = new Client({{ connectionString: process.env.DATABASE_URL }});
      c.connect().then(() => c.query('{SEED}')).then(() => c.end());"""
    (scene.project.folder / "seed.cjs").write_text(script)
    assert "index-not-concurrent" in scene.rules(fill_rows=0)
    node = str(Path(node_folder()) / "node")
    found = scene.rules(fill_rows=0, seed=[node, "seed.cjs"])
    assert found == {"index-not-concurrent": "text", "up-fails": "scratch"}


@pytest.mark.newest_server
def test_the_application_works_after_each_step(scene: Scene) -> None:
    scene.project.add("4-new", "ALTER TABLE users ADD COLUMN city text", "ALTER TABLE users DROP COLUMN city")
    script = """const { Client } = require('pg');
      const c = new Client({ connectionString: process.env.DATABASE_URL });
      c.connect().then(() => c.query(`SELECT ${process.argv[2]} FROM users`)).then(() => c.end());"""
    (scene.project.folder / "works.cjs").write_text(script)
    verify = [str(Path(node_folder()) / "node"), "works.cjs"]
    assert scene.rules(verify=[*verify, "id"]) == {}
    assert scene.rules(verify=[*verify, "city"]) == {"app-fails-after-down": "scratch"}
    assert scene.rules(verify=[*verify, "town"]) == {"app-fails-after-up": "scratch", "app-fails-after-down": "scratch"}


@pytest.mark.newest_server
def test_a_table_that_cannot_be_filled_is_said(scene: Scene) -> None:
    scene.project.add("3-x", "CREATE TABLE codes (code text NOT NULL CHECK (code ~ '^[0-9]{13}$'))", "DROP TABLE codes")
    scene.project.add("4-new", "ALTER TABLE codes ADD COLUMN x int", "ALTER TABLE codes DROP COLUMN x")
    (sentence,) = scene.lint(since="3-x.js")["unproven"]
    assert "public.codes was empty" in sentence
    assert "violates check constraint" in sentence


def test_only_read_without_a_scratch_database_and_in_check_mode(scene: Scene) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    for more in ({"scratch_url": None}, {"check_mode": True}):
        result = scene.lint(**more)
        assert not result["scratch"]["done"]
        assert result["unproven"] == [result["scratch"]["reason"]]
        assert [each["rule"] for each in result["findings"]] == ["drop-table"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"scratch_url": "sqlite:./x.sqlite"}, "proven on PostgreSQL only"),
        ({"since": "9-none.js"}, "is not on disk"),
        ({"base": "main"}, "Both since and base"),
        ({"rules": {"no-such-rule": "off"}}, "There is no rule 'no-such-rule'"),
        ({"report": "/nowhere/at/all.json"}, "cannot be written"),
    ],
    ids=["sqlite", "since", "both", "rule", "report"],
)
def test_refusals(scene: Scene, more: dict[str, Any], words: str) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    result = scene.lint(**more)
    assert result["failed"]
    assert result["error"]["kind"] == "refused"
    assert words in result["msg"]


def test_never_on_a_server_of_production(scene: Scene) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    result = scene.lint(never_urls=["", scene.database.url_of("production").replace("postgresql:", "postgres:")])
    assert result["error"]["kind"] == "refused"
    assert "the server of an environment" in result["msg"]


def test_a_role_that_may_not_create_databases(scene: Scene) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    scene.database.execute("ALTER ROLE rollback_owner NOCREATEDB", url=scene.database.superuser_url)
    try:
        result = scene.lint()
    finally:
        scene.database.execute("ALTER ROLE rollback_owner CREATEDB", url=scene.database.superuser_url)
    assert result["error"]["kind"] == "refused"
    assert "needs CREATEDB" in result["msg"]


def test_a_tool_that_goes_elsewhere(scene: Scene) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    other = scene.database.url_of("postgres")
    result = scene.lint(since=None, environment={"MISCHIEF": "stray", "STRAY_URL": other})
    failed = next(each for each in result["findings"] if each["rule"] == "up-fails")
    assert "'postgres' instead of" in failed["message"]


@pytest.fixture(params=["another database", "another server"])
def elsewhere(scene: Scene, request: pytest.FixtureRequest) -> str:
    """The URL of a database with which the check has nothing to do."""
    if request.param == "another server":
        other: str = request.getfixturevalue("other_server").superuser_url()
        return other
    name = f"{scene.database.name}_other"
    scene.database.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)), url=scene.database.admin_url)
    return scene.database.url_of(name)


@pytest.mark.parametrize("scripts", [{"up_one": "migrate:one"}, {}], ids=["one by one", "all at once"])
def test_a_tool_that_goes_elsewhere_is_ended_before_it_migrates(
    scene: Scene, run_module: ModuleRunner, elsewhere: str, scripts: dict[str, str]
) -> None:
    before = scene.database.relatives()
    environment = {"MISCHIEF": "stray", "MISCHIEF_STATUS": "stray", "STRAY_URL": elsewhere}
    options = scene.project.options(scripts=scripts)
    result = run_module(
        "migration_lint", **scene.arguments(engine_options=options, since=None, environment=environment)
    )
    assert result["error"]["kind"] == "failed", result
    assert "instead of" in result["msg"] or "no session of it was seen" in result["msg"]
    assert scene.database.execute("SELECT to_regclass('users')", url=elsewhere) == [(None,)]
    assert scene.database.relatives() == before


@pytest.mark.newest_server
def test_a_status_command_that_fails_shows_where_the_tool_goes_all_the_same(scene: Scene) -> None:
    scene.project.add("4-city", "ALTER TABLE users ADD COLUMN city text", "ALTER TABLE users DROP COLUMN city")
    result = scene.lint(environment={"MISCHIEF_STATUS": "fail"})
    assert [each["round_trip"] for each in result["migrations"]] == ["proven"]
    assert result["unproven"] == []


@pytest.mark.newest_server
def test_without_a_status_command_it_is_said_what_that_leaves_open(scene: Scene) -> None:
    scene.project.add("4-city", "ALTER TABLE users ADD COLUMN city text", "ALTER TABLE users DROP COLUMN city")
    scripts = {"up_one": "migrate:one", "status": "no-such-script"}
    result = scene.lint(engine_options=scene.project.options(scripts=scripts))
    assert [each["round_trip"] for each in result["migrations"]] == ["proven"]
    (sentence,) = result["unproven"]
    assert "no status command" in sentence


@pytest.mark.newest_server
def test_the_copy_of_a_project_cannot_be_read_by_others(scene: Scene) -> None:
    scene.project.add("4-city", "ALTER TABLE users ADD COLUMN city text", "ALTER TABLE users DROP COLUMN city")
    scene.project.folder.chmod(0o755)
    # Whoever may not go through a folder reads nothing below it; the folder of all temporary files is everybody's.
    closed = "const fs = require('fs'); const path = require('path');\n" + (
        "const copy = process.cwd(); const shared = path.resolve(require('os').tmpdir());\n"
        "let folder = copy, open = true;\n"
        "for (; folder !== shared && folder !== '/'; folder = path.dirname(folder))"
        " if (!(fs.statSync(folder).mode & 0o77)) open = false;\n"
        "console.log(copy); process.exit(open || copy === process.argv[2] ? 1 : 0);"
    )
    script = scene.project.folder / "closed.cjs"
    script.write_text(closed)
    node = str(Path(node_folder()) / "node")
    verify = [node, "closed.cjs", str(scene.project.folder)]
    assert scene.rules(engine_options=scene.project.options(scripts={}), verify=verify) == {}


def test_secrets_that_the_tool_prints_are_taken_out(scene: Scene) -> None:
    scene.project.add("4-new", "DROP TABLE orders", "CREATE TABLE orders (id int)")
    result = scene.lint(environment={**ENVIRONMENT, "MISCHIEF": "print-and-fail"}, since=None)
    assert ENVIRONMENT["JWT_SECRET"] not in json.dumps(result)
    assert any(each["rule"] == "up-fails" for each in result["findings"])


def test_a_cancelled_check_leaves_nothing(scene: Scene, run_module: ModuleRunner) -> None:
    scene.project.add("4-new", "SELECT pg_sleep(60)", "DROP TABLE orders")
    process = run_module.start("migration_lint", **scene.arguments(since="3-orders.js"))
    end = time.monotonic() + 60
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(60)%%' AND pid <> pg_backend_pid()"
    while not scene.database.execute(sleeping, url=scene.database.superuser_url)[0][0]:
        assert time.monotonic() < end, "the migration was never begun"
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert scene.database.relatives() == [scene.database.name]


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.test", "-c", "init.defaultBranch=main")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_what_a_branch_adds_and_changes(scene: Scene, tmp_path: Path) -> None:
    folder = scene.project.folder
    git(folder, "init")
    git(folder, "add", "migrations", "manifest.json")
    git(folder, "commit", "-m", "released")
    scene.project.add("2-between", "SELECT 1", "SELECT 1")
    (folder / "migrations" / "1-users.js").unlink()
    scene.project.add("3-orders", "CREATE TABLE orders (id bigint)", "DROP TABLE orders")
    report = tmp_path / "report.json"
    result = scene.lint(since=None, base="main", scratch_url=None, report=str(report))
    found = {(each["migration"], each["rule"], each["file"]) for each in result["findings"]}
    assert found == {
        ("1-users.js", "edited", "manifest.json"),
        ("3-orders.js", "edited", "migrations/3-orders.js"),
        ("2-between.js", "out-of-order", "migrations/2-between.js"),
    }
    assert [each["name"] for each in result["migrations"]] == ["2-between.js"]
    document = json.loads(report.read_text())
    assert document["counts"] == {"error": 3, "warning": 0, "note": 0, "allowed": 0}
    assert document["findings"] == result["findings"]


def test_a_branch_that_git_does_not_know(scene: Scene) -> None:
    result = scene.lint(since=None, base="origin/none", scratch_url=None)
    assert result["error"]["kind"] == "refused"
    assert "git could not tell" in result["msg"]
    assert "fetch-depth" in result["msg"]
