# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Risky operations, found in TypeScript by TypeScript's own parser, in JavaScript, and in SQL files."""

from __future__ import annotations

from pathlib import Path

import pytest
from npm_project import BACKEND, node_folder

from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_files import MigrationFile
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_lint import (
    judge_edited,
    judge_files,
    judge_manifest,
    judge_order,
    judge_text,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_text import MigrationText
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.operation_parser import (
    prove_sql_downs,
    read_texts,
)

Rules = list[tuple[str, int]]

UP = "export async function up({ context: q }) {\n%s\n}\nexport async function down({ context: q }) { await q.x(); }"
DOWN = "export async function up({ context: q }) {\n%s\n}\nexport async function down({ context: q }) {\n%s\n}"
COUNTED = "  await q.sequelize.query('SELECT COUNT(*) FROM a');\n%s"


def up(text: str) -> str:
    return UP % (COUNTED % text)


CALLS: dict[str, tuple[str, Rules]] = {
    "not-null.ts": (
        up("  await q.addColumn('a', 'b', { type: DataTypes.STRING(50), allowNull: false });"),
        [("not-null-without-default", 3)],
    ),
    "nullable.ts": (up("  await q.addColumn('a', 'b', { type: DataTypes.STRING, allowNull: true });"), []),
    "with-default.ts": (up("  await q.addColumn('a', 'b', { type: X, allowNull: false, defaultValue: 3 });"), []),
    "only-a-type.ts": (up("  await q.addColumn('a', 'b', DataTypes.STRING);"), []),
    "constant.ts": (
        "const table = 'a';\nconst column = { type: DataTypes.INTEGER, allowNull: false };\n"
        + up("  await q.addColumn(table, 'b', column);"),
        [("not-null-without-default", 5)],
    ),
    "spread.ts": (
        "const base = { allowNull: false };\n" + up("  await q.addColumn('a', 'b', { type: X, ...base });"),
        [("not-null-without-default", 4)],
    ),
    "uuid-of-sequelize.ts": (
        up("  await q.addColumn('a', 'b', { type: X, allowNull: false, defaultValue: DataTypes.UUIDV4 });"),
        [("not-null-without-default", 3)],
    ),
    "random-default.ts": (
        up("  await q.addColumn('a', 'b', { type: X, defaultValue: Sequelize.fn('gen_random_uuid') });"),
        [("table-rewrite", 3)],
    ),
    "unique.ts": (up("  await q.addColumn('a', 'b', { type: X, unique: true });"), [("unique-constraint", 3)]),
    "drop-column.ts": (up("  await q.removeColumn('a', 'b');"), [("drop-column", 3), ("rebuild-on-sqlite", 3)]),
    "drop-table.ts": (up("  await q.dropTable({ tableName: 'a', schema: 'public' });"), [("drop-table", 3)]),
    "drop-all.ts": (up("  await q.dropAllTables();"), [("drop-table", 3)]),
    "change.ts": (
        up("  await q.changeColumn('a', 'b', { type: DataTypes.STRING(20), allowNull: false });"),
        [("table-rewrite", 3), ("set-not-null", 3), ("rebuild-on-sqlite", 3)],
    ),
    "rename.ts": (
        up("  await q.renameColumn('a', 'b', 'c');\n  await q.renameTable('d', 'e');"),
        [("rename", 3), ("rename", 4)],
    ),
    "index.ts": (up("  await q.addIndex('a', ['b'], { name: 'i' });"), [("index-not-concurrent", 3)]),
    "index-concurrently.ts": (up("  await q.addIndex('a', { fields: ['b'], concurrently: true });"), []),
    "drop-index.js": (up("  await q.removeIndex('a', 'i');"), [("drop-index-not-concurrent", 3)]),
    "foreign-key.ts": (
        up("  await q.addConstraint('a', { type: 'foreign key', fields: ['b'], references: {} });"),
        [("constraint-validated", 3)],
    ),
    "unique-key.ts": (
        up("  await q.addConstraint('a', { type: 'unique', fields: ['b'] });"),
        [("unique-constraint", 3)],
    ),
    "using-index.ts": (up("  await q.sequelize.query('ALTER TABLE a ADD CONSTRAINT f UNIQUE USING INDEX i');"), []),
    "bulk-delete.ts": (up("  await q.bulkDelete('a', {});"), [("delete-everything", 3)]),
    "bulk-delete-some.ts": (up("  await q.bulkDelete('a', { b: 1 });"), []),
    "raw.ts": (
        up("  await q.sequelize.query(`\n    ALTER TABLE a\n    ADD COLUMN b int NOT NULL;\n    DROP TABLE c`);"),
        [("not-null-without-default", 4), ("drop-table", 6)],
    ),
    "tagged.ts": (up("  await sql`DROP TABLE c`;"), [("drop-table", 3)]),
    "raw-object.ts": (
        up("  await q.sequelize.query({ query: 'TRUNCATE a', values: [] });"),
        [("delete-everything", 3)],
    ),
    "joined.ts": (up("  await q.sequelize.query('DROP ' +\n    'TABLE ' + name);"), [("drop-table", 3)]),
    "computed.ts": (up("  await q.sequelize.query(statements[0]);"), [("unread", 3)]),
    "helper.ts": (
        up("  await change(q);") + "\nasync function change(q) { await q.dropTable('a'); }",
        [("drop-table", 6)],
    ),
    "helper-of-down.ts": (
        DOWN % (COUNTED % "  await q.createTable('a', {});", "  await undo(q);")
        + "\nasync function undo(q) { await q.dropTable('a'); await q.dropTable('b'); }",
        [("down-drops-more", 8)],
    ),
    "method.ts": (
        "export class M {\n  async up(q) { await q.query('SELECT count(*) FROM a'); await this.go(q); }\n"
        "  async down(q) { await q.x(); }\n  async go(q) { await q.query('DROP TABLE a'); }\n}",
        [("drop-table", 4)],
    ),
    "nobody-calls-it.ts": (
        up("") + "\nexport const go = async (q) => { await q.dropTable('a'); };",
        [("drop-table", 6)],
    ),
    "fresh-table.ts": (
        up(
            "  await q.createTable('n', { id: X });\n  await q.addIndex('n', ['b']);\n"
            "  await q.addColumn('n', 'c', { type: X, allowNull: false });\n  await q.bulkDelete('n', {});"
        ),
        [],
    ),
    "replaced.ts": (
        up(
            "  await q.sequelize.query('ALTER TABLE a ADD COLUMN c2 int');\n"
            "  await q.sequelize.query('ALTER TABLE a DROP COLUMN c');\n"
            "  await q.sequelize.query('ALTER TABLE a RENAME COLUMN c2 TO c');"
        ),
        [],
    ),
    "proven-not-null.ts": (
        up(
            "  await q.sequelize.query('ALTER TABLE a ADD CONSTRAINT k CHECK (b IS NOT NULL) NOT VALID');\n"
            "  await q.sequelize.query('ALTER TABLE a VALIDATE CONSTRAINT k');\n"
            "  await q.sequelize.query('ALTER TABLE a ALTER COLUMN b SET NOT NULL');"
        ),
        [],
    ),
    "not-counted.ts": (UP % "  await q.addColumn('a', 'b', X);", [("row-count-check", 2)]),
    "in-text.ts": (up("  console.log('DROP TABLE a'); // await q.dropTable('a')\n  /* q.dropTable('b') */"), []),
    "down-of-its-own.ts": (
        DOWN
        % (
            COUNTED
            % "  await q.createTable('a', {});\n  await q.addColumn('b', 'c', X);\n  await q.renameTable('d', 'e');",
            "  await q.dropTable('a');\n  await q.removeColumn('b', 'c');\n  await q.renameTable('e', 'd');",
        ),
        [("rename", 5), ("rebuild-on-sqlite", 9)],
    ),
    "down-of-others.ts": (
        DOWN
        % (
            COUNTED % "  if (!(await q.tableExists('a'))) await q.createTable('a', {});",
            "  await q.dropTable('a');\n  await q.sequelize.query('ALTER TABLE b DROP COLUMN c');\n"
            "  await q.sequelize.query('DELETE FROM d');",
        ),
        [("down-drops-more", 6), ("down-drops-more", 7), ("down-drops-more", 8)],
    ),
    "down-restores.ts": (
        DOWN
        % (
            COUNTED % "  await q.sequelize.query('CREATE TABLE IF NOT EXISTS a (id int)');",
            "  await q.sequelize.query('DROP TABLE a');\n  await q.addIndex('b', ['c']);",
        ),
        [("down-drops-more", 6)],
    ),
    "broken.ts": ("export async function up( {{{", [("unread", 0)]),
}

SQL: dict[str, tuple[str, Rules]] = {
    "dbmate.sql": (
        "-- migrate:up\nSELECT count(*) FROM a;\nDROP TABLE a;\n-- migrate:down\nCREATE TABLE a (id int);",
        [("drop-table", 3)],
    ),
    "node-pg.sql": (
        "-- Up Migration\nSELECT count(*) FROM a;\nCREATE INDEX i ON a (b);\n-- Down Migration\nDROP INDEX i;",
        [("index-not-concurrent", 3)],
    ),
    "goose.sql": (
        "-- +goose Up\nCREATE TABLE a (id int);\n-- +goose Down\nDROP TABLE a;\nDROP TABLE b;",
        [("down-drops-more", 5)],
    ),
    "no-down.sql": ("CREATE TABLE a (id int);", []),
    "empty-down.sql": ("CREATE TABLE a (id int);\n-- migrate:down\n-- nothing", []),
    "beside.up.sql": ("ALTER TABLE a ADD b int NOT NULL;", [("not-null-without-default", 1), ("row-count-check", 1)]),
}

SQL_DOWNS = {
    "dbmate.sql": "proven",
    "node-pg.sql": "proven",
    "goose.sql": "proven",
    "no-down.sql": "missing",
    "empty-down.sql": "empty",
    "beside.up.sql": "proven",
}

ALL = {**CALLS, **SQL}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MigrationText]:
    folder = tmp_path_factory.mktemp("migrations")
    for name, (text, _rules) in ALL.items():
        (folder / name).write_text(text)
    (folder / "beside.down.sql").write_text("ALTER TABLE a DROP COLUMN b;")
    return read_texts({name: folder / name for name in ALL}, BACKEND, node_folder())


@pytest.mark.parametrize("name", ALL)
def test_rules(texts: dict[str, MigrationText], name: str) -> None:
    found = judge_text(name, texts[name])
    assert sorted((finding.rule, finding.line) for finding in found) == sorted(ALL[name][1])


def test_ways_back_of_sql(texts: dict[str, MigrationText]) -> None:
    assert {name: verdict for name, (verdict, _reason) in prove_sql_downs(texts).items()} == SQL_DOWNS


def test_without_a_parser_nothing_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "1.ts").write_text(CALLS["drop-table.ts"][0])
    texts = read_texts({"1.ts": tmp_path / "1.ts"}, tmp_path, node_folder())
    (finding,) = judge_text("1.ts", texts["1.ts"])
    assert finding.rule == "unread"
    assert "typescript" in finding.message


def test_files() -> None:
    files = [
        MigrationFile("1.ts", "/1.ts", "aa", "aa", "proven", ""),
        MigrationFile("2.ts", "/2.ts", "aa", "bb", "missing", "it exports no down"),
        MigrationFile("3.ts", "/3.ts", "aa", "", "empty", "it is empty"),
        MigrationFile("4.ts", "/4.ts", "aa", "aa", "not_proven", "it is elsewhere"),
    ]
    hashes = {"1.ts": "aa", "2.ts": "bb", "4.ts": "aa", "0.ts": "cc"}
    assert [(finding.migration, finding.rule) for finding in judge_files(files, hashes)] == [
        ("2.ts", "down-missing"),
        ("2.ts", "manifest-differs"),
        ("3.ts", "down-empty"),
        ("3.ts", "manifest-missing"),
        ("4.ts", "down-not-proven"),
    ]
    assert [finding.rule for finding in judge_files(files[:3], None)] == ["down-missing", "down-empty"]
    assert [each.migration for each in judge_manifest([file.name for file in files], hashes)] == ["0.ts"]
    assert judge_manifest(["1.ts"], None) == []


def test_order_and_edits() -> None:
    (late,) = judge_order(["20240105-b.ts", "20240110-c.ts"], ["20240101-a.ts", "20240107-z.ts"])
    assert (late.migration, late.rule) == ("20240105-b.ts", "out-of-order")
    assert judge_order(["1.ts"], []) == []
    (edited,) = judge_edited({"1.ts": "removed"})
    assert (edited.rule, "was removed" in edited.message) == ("edited", True)
