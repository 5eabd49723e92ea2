# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fingerprint of an SQLite file sees: every kind of object, every row, and nothing that is not there."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.fingerprint import (
    new_violations,
    take_fingerprint,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.database_comparison import compare_fingerprints

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE, age INTEGER
  DEFAULT 18 CHECK (age > 0), parent INTEGER REFERENCES users (id) ON DELETE CASCADE);
CREATE TABLE "Odd Table" ("a b" TEXT, "order" BLOB, PRIMARY KEY ("a b")) WITHOUT ROWID;
CREATE INDEX by_age ON users (age DESC) WHERE age > 20;
CREATE VIEW adults AS SELECT * FROM users WHERE age >= 18;
CREATE TRIGGER no_delete BEFORE DELETE ON users BEGIN SELECT RAISE(ABORT, 'no'); END;
INSERT INTO users (email, age) VALUES ('a', 30), ('b', 40);
INSERT INTO "Odd Table" VALUES ('x', x'00ff'), ('y', NULL);
"""


def changed(path: Path, sql: str) -> Any:
    """Compare a file before and after some SQL."""
    before = take_fingerprint(path)
    connection = sqlite3.connect(path)
    connection.executescript(sql)
    connection.close()
    after = take_fingerprint(path)
    comparison = compare_fingerprints(before, after)
    return comparison._replace(differences=[*comparison.differences, *new_violations(before, after)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    connection = sqlite3.connect(tmp_path / "app.sqlite")
    connection.executescript(SCHEMA)
    connection.close()
    return tmp_path / "app.sqlite"


def test_nothing_changed(path: Path) -> None:
    comparison = changed(path, "VACUUM; ANALYZE; REINDEX")
    assert comparison.equal, (comparison.description, comparison.differences)
    assert comparison.proof == "contents"


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("DROP INDEX by_age", "index main.by_age removed"),
        ("DROP VIEW adults", "view main.adults removed"),
        ("DROP TRIGGER no_delete", "trigger main.users.no_delete removed"),
        ("CREATE UNIQUE INDEX one ON users (age)", "index main.one added"),
        ("ALTER TABLE users ADD COLUMN phone TEXT NOT NULL DEFAULT ''", "column main.users.phone added (TEXT)"),
        ("PRAGMA user_version = 7", "setting user_version: value was 0, is 7"),
        ('DROP TABLE "Odd Table"', 'table main."Odd Table" removed'),
    ],
)
def test_an_object_changed(path: Path, sql: str, line: str) -> None:
    description = changed(path, sql).description
    assert len(description) == 1
    assert description[0].startswith(line)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("age INTEGER DEFAULT 18, parent INTEGER REFERENCES users (id) ON DELETE CASCADE", ["users.age: checks was"]),
        ("age INTEGER DEFAULT 18 CHECK (age > 0), parent INTEGER REFERENCES users (id)", ["foreign_key_parent: def"]),
        ("age INTEGER CHECK (age > 0), parent INTEGER REFERENCES users (id) ON DELETE CASCADE", ["default was 18"]),
        ("age TEXT DEFAULT 18 CHECK (age > 0), parent INTEGER REFERENCES users (id) ON DELETE CASCADE", ["type was"]),
    ],
)  # fmt: skip
def test_a_table_built_anew(path: Path, text: str, lines: list[str]) -> None:
    rebuilt = f"""
        PRAGMA legacy_alter_table = ON; DROP VIEW adults;
        CREATE TABLE fresh (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT NOT NULL UNIQUE COLLATE NOCASE, {text});
        INSERT INTO fresh SELECT * FROM users; DROP TABLE users; ALTER TABLE fresh RENAME TO users;
        CREATE INDEX by_age ON users (age DESC) WHERE age > 20;
        CREATE VIEW adults AS SELECT * FROM users WHERE age >= 18;
        CREATE TRIGGER no_delete BEFORE DELETE ON users BEGIN SELECT RAISE(ABORT, 'no'); END;
    """
    description = changed(path, rebuilt).description
    assert len(description) == len(lines)
    assert all(line in said for line, said in zip(lines, description, strict=True)), description


def test_what_a_rebuilt_table_loses(path: Path) -> None:
    rebuilt = """
        PRAGMA legacy_alter_table = ON; DROP VIEW adults;
        CREATE TABLE fresh (id INTEGER PRIMARY KEY, email TEXT, age INTEGER, parent INTEGER);
        INSERT INTO fresh SELECT * FROM users; DROP TABLE users; ALTER TABLE fresh RENAME TO users;
    """
    said = "\n".join(changed(path, rebuilt).description)
    for lost in (
        "unique_email removed",
        "foreign_key_parent removed",
        "by_age removed",
        "no_delete removed",
        "not null was true",
        "collation was NOCASE",
        "autoincrement was true",
        "sequence main.users removed",
    ):
        assert lost in said  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE users SET age = '30' || 'x' WHERE id = 1", "The contents of table main.users changed"),
        ("UPDATE users SET age = age + 1", "The contents of table main.users changed"),
        ('UPDATE "Odd Table" SET "order" = \'\' WHERE "order" IS NULL', 'The contents of table main."Odd Table"'),
        ("DROP TRIGGER no_delete; DELETE FROM users WHERE id = 2", "Table main.users has 1 rows, it had 2"),
        ("UPDATE sqlite_sequence SET seq = 1", "Sequence main.users stands at 1, it stood at 2"),
        ("PRAGMA foreign_keys = OFF; UPDATE users SET parent = 99 WHERE id = 1", "refer to a row that is not there"),
    ],
)
def test_contents_changed(path: Path, sql: str, said: str) -> None:
    assert any(said in difference for difference in changed(path, sql).differences)


def test_the_order_of_rows_and_columns_does_not_count(path: Path, tmp_path: Path) -> None:
    before = take_fingerprint(path)
    connection = sqlite3.connect(path)
    connection.executescript(
        'CREATE TABLE fresh ("order" BLOB, "a b" TEXT, PRIMARY KEY ("a b")) WITHOUT ROWID;'
        'INSERT INTO fresh SELECT "order", "a b" FROM "Odd Table" ORDER BY 1 DESC; DROP TABLE "Odd Table";'
        'ALTER TABLE fresh RENAME TO "Odd Table"'
    )
    connection.close()
    assert compare_fingerprints(before, take_fingerprint(path)).equal


def test_text_that_is_none_and_virtual_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(
        "CREATE VIRTUAL TABLE found USING fts5(body); INSERT INTO found VALUES ('words');"
        "INSERT INTO users (email) VALUES (CAST(x'ff00fe' AS TEXT)), ('with' || char(0) || 'nothing')"
    )
    connection.close()
    fingerprint = take_fingerprint(path)
    assert fingerprint["skipped"] == {"main.found": "a virtual table; the tables in which it keeps its rows are read"}
    assert fingerprint["tables"]["main.found_content"]["rows"] == 1
    assert changed(path, "UPDATE users SET email = CAST(x'ff00ff' AS TEXT) WHERE id = 3").differences
    assert changed(path, "INSERT INTO found VALUES ('more')").differences


def test_columns_and_tables_left_out(path: Path) -> None:
    left_out = take_fingerprint(path, skip_columns={"main.users": ["age"]}, skip_tables=["Odd Table"])
    assert left_out["tables"]["main.users"]["columns"] == ["email", "id", "parent"]
    assert list(left_out["tables"]) == ["main.users"]
    connection = sqlite3.connect(path)
    connection.execute("UPDATE users SET age = 99")
    connection.commit()
    connection.close()
    again = take_fingerprint(path, skip_columns={"users": ["age"]}, skip_tables=['main."Odd Table"'])
    assert again["tables"] == left_out["tables"]
