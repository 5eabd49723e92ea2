# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What SQL does, read from its text."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.sql_operations import read_operations
from ansible_collections.balcon.rollback.plugins.module_utils._domain.sql_text import read_statements

Read = tuple[str, str, str, str, set[str]]

STATEMENTS: dict[str, list[Read]] = {
    "CREATE TABLE IF NOT EXISTS public.users (id int, name text NOT NULL)": [
        ("create_table", "users", "", "", {"conditional"})
    ],
    'create unlogged table "Odd;Name" (id int)': [("create_table", "Odd;Name", "", "", set())],
    "DROP TABLE IF EXISTS a, shop.b CASCADE": [
        ("drop_table", "a", "", "", set()),
        ("drop_table", "shop.b", "", "", set()),
    ],
    "DROP SCHEMA shop CASCADE": [("drop_table", "", "", "schema shop", set())],
    "ALTER TABLE users ADD COLUMN code varchar(20) NOT NULL": [
        ("add_column", "users", "code", "varchar(20)", {"not_null"})
    ],
    "ALTER TABLE users ADD code numeric(10, 2) NOT NULL DEFAULT 0": [
        ("add_column", "users", "code", "numeric(10, 2)", {"not_null", "default"})
    ],
    "ALTER TABLE ONLY users ADD COLUMN IF NOT EXISTS id uuid DEFAULT gen_random_uuid()": [
        ("add_column", "users", "id", "uuid", {"default", "volatile_default"})
    ],
    "ALTER TABLE users ADD COLUMN n bigserial": [
        ("add_column", "users", "n", "bigserial", {"not_null", "default", "computed"})
    ],
    "ALTER TABLE users ADD COLUMN full_name text GENERATED ALWAYS AS (a || b) STORED": [
        ("add_column", "users", "full_name", "text", {"default", "computed"})
    ],
    "ALTER TABLE users ADD COLUMN a int, DROP COLUMN b, ALTER COLUMN c TYPE varchar(20) USING left(c, 20)": [
        ("add_column", "users", "a", "int", set()),
        ("drop_column", "users", "b", "", set()),
        ("alter_type", "users", "c", "varchar(20)", set()),
    ],
    "ALTER TABLE users ADD COLUMN team int REFERENCES teams (id), ADD UNIQUE (a, b)": [
        ("add_column", "users", "team", "int", {"references"}),
        ("add_constraint", "users", "", "unique", set()),
    ],
    "ALTER TABLE users ALTER name SET DATA TYPE text": [("alter_type", "users", "name", "text", set())],
    "ALTER TABLE users ALTER COLUMN name SET NOT NULL": [("set_not_null", "users", "name", "", set())],
    "ALTER TABLE users ALTER COLUMN name DROP NOT NULL, ALTER COLUMN name SET DEFAULT 'x'": [],
    "ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (b) REFERENCES c (id) NOT VALID": [
        ("add_constraint", "a", "", "foreign key", {"not_valid"})
    ],
    "ALTER TABLE a ADD CONSTRAINT f CHECK (b IS NOT NULL) NOT VALID": [
        ("add_constraint", "a", "b", "check", {"not_valid", "proves_not_null"})
    ],
    "ALTER TABLE a VALIDATE CONSTRAINT f": [("validate", "a", "", "f", set())],
    "ALTER TABLE a ADD CONSTRAINT f PRIMARY KEY USING INDEX i": [
        ("add_constraint", "a", "", "primary key", {"using_index"})
    ],
    "ALTER TABLE a DROP CONSTRAINT f": [],
    "ALTER TABLE a RENAME TO b": [("rename_table", "a", "", "b", set())],
    "ALTER TABLE a RENAME COLUMN b TO c": [("rename_column", "a", "b", "c", set())],
    "ALTER TABLE a RENAME CONSTRAINT b TO c": [],
    "ALTER TABLE a SET UNLOGGED": [("rewrite", "a", "", "SET UNLOGGED", set())],
    "ALTER TABLE a SET (fillfactor = 70)": [],
    "ALTER TYPE mood ADD VALUE 'fine'": [("add_enum_value", "", "", "mood", set())],
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON ONLY a (lower(b))": [
        ("create_index", "a", "", "i", {"concurrently"})
    ],
    "CREATE INDEX ON shop.a USING gin (b)": [("create_index", "shop.a", "", "", set())],
    "DROP INDEX CONCURRENTLY i, j": [
        ("drop_index", "", "", "i", {"concurrently"}),
        ("drop_index", "", "", "j", {"concurrently"}),
    ],
    "TRUNCATE TABLE a, b": [
        ("delete_rows", "a", "", "TRUNCATE", set()),
        ("delete_rows", "b", "", "TRUNCATE", set()),
    ],
    "DELETE FROM a": [("delete_rows", "a", "", "DELETE", set())],
    "DELETE FROM a WHERE b": [("delete_rows", "a", "", "DELETE", {"where"})],
    "UPDATE a SET b = 'where'": [("write_rows", "a", "", "UPDATE", set())],
    "WITH old AS (SELECT 1) UPDATE a SET b = 1": [("write_rows", "", "", "UPDATE", {"where"})],
    "SELECT COUNT(*) AS count FROM users": [("count_rows", "", "", "", set())],
    "LOCK TABLE a IN EXCLUSIVE MODE": [("lock", "a", "", "LOCK TABLE", set())],
    "VACUUM (FULL) a": [("lock", "", "", "VACUUM FULL", set())],
    "REINDEX TABLE CONCURRENTLY a": [],
    "REFRESH MATERIALIZED VIEW v": [("lock", "v", "", "REFRESH MATERIALIZED VIEW", set())],
    "DO $$ BEGIN IF true THEN DROP TABLE a; END IF; EXECUTE 'DROP TABLE b'; END $$": [
        ("drop_table", "a", "", "", set()),
        ("drop_table", "b", "", "", set()),
    ],
    "DO $x$ BEGIN EXECUTE format('DROP TABLE %I', n); END $x$": [("unread", "", "", "EXECUTE", set())],
    "SELECT name FROM a": [],
    "INSERT INTO a (b) VALUES (1)": [("write_rows", "a", "", "INSERT", {"where"})],
    "UPDATE ONLY a SET b = 1 WHERE c": [("write_rows", "a", "", "UPDATE", {"where"})],
    "DELETE FROM ONLY a WHERE b": [("delete_rows", "a", "", "DELETE", {"where"})],
    "WITH a AS (SELECT 1) SELECT * FROM a": [],
    "ALTER TYPE mood RENAME VALUE 'fine' TO 'good'": [],
    "VACUUM a": [],
    "ALTER TABLE a SET SCHEMA b": [("rename_table", "a", "", "b.a", set())],
    "ALTER TABLE a ADD CONSTRAINT": [],
    "ALTER TABLE a ADD CONSTRAINT c NOT NULL b NOT VALID": [("add_constraint", "a", "b", "not null", {"not_valid"})],
    "ALTER TABLE a OWNER TO b": [],
    "DROP TABLE 'a'": [("drop_table", "", "", "", set())],
    "CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION f()": [],
    "DO LANGUAGE plpgsql $$ BEGIN EXECUTE FUNCTION; END $$": [],
    "${…} users": [("unread", "", "", "${…}", set())],
    "ALTER TABLE ${…} ADD COLUMN a int NOT NULL": [("add_column", "${…}", "a", "int", {"not_null"})],
    "-- DROP TABLE a\n/* DROP /* TABLE */ b; */ SELECT 'DROP TABLE c; ' || $$DROP TABLE d;$$": [],
    "/* a /* b */; DROP TABLE c; */": [],
    "SELECT $$a; DROP TABLE b;$$; DROP TABLE c": [("drop_table", "c", "", "", set())],
    "COMMENT ON TABLE a IS 'DROP TABLE b'": [],
    "ALTER TABLE": [],
    "'": [],
    "": [],
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements(text: str) -> None:
    operations = read_operations(read_statements(text)[0])
    read = [(each.kind, each.table, each.column, each.what, set(each.flags)) for each in operations]
    if text == "ALTER TABLE":
        assert all(not table for _kind, table, *_rest in read)
    else:
        assert read == STATEMENTS[text]


def test_lines_and_comments() -> None:
    text = "-- first\nSELECT 1; /* second\n third */\n\nDROP TABLE a;\nDELETE\nFROM b -- fourth"
    statements, comments = read_statements(text, line=10)
    assert [statement.line for statement in statements] == [11, 14, 15]
    assert [(comment.line, comment.text) for comment in comments] == [
        (10, "first"),
        (12, "second\n third"),
        (16, "fourth"),
    ]


def test_a_comment_or_body_without_an_end_goes_to_the_end() -> None:
    statements, comments = read_statements("SELECT 1; /* never closed\nDROP TABLE a;")
    assert len(statements) == 1
    assert "DROP TABLE" in comments[0].text
    assert read_operations(read_statements("DO $$ BEGIN DROP TABLE a;")[0])[0].table == "a"
