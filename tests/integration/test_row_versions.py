# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which tables are hashed again, and of which the versions of the rows prove that nothing was written to them."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint

TABLE = "public.boxes"
SWAPPED = "ALTER TABLE boxes RENAME TO third; ALTER TABLE crates RENAME TO boxes; ALTER TABLE third RENAME TO crates"
EXCHANGED = "ALTER TABLE boxes RENAME a TO c; ALTER TABLE boxes RENAME b TO a; ALTER TABLE boxes RENAME c TO b"
WRITTEN = {
    "updated": "UPDATE boxes SET a = 'z' WHERE id = 1",
    "updated to what it was": "UPDATE boxes SET a = a",
    "one for another": "DELETE FROM boxes WHERE id = 1; INSERT INTO boxes VALUES (1, 'a', 'b')",
    "one gone": "DELETE FROM boxes WHERE id = 1",
    "one more": "INSERT INTO boxes VALUES (4, 'a', 'b')",
    "emptied and filled": "CREATE TABLE kept AS TABLE boxes; TRUNCATE boxes; INSERT INTO boxes SELECT * FROM kept",
    "made anew": "CREATE TABLE kept AS TABLE boxes; DROP TABLE boxes; ALTER TABLE kept RENAME TO boxes",
    "another table of as many rows": SWAPPED,
    "columns exchanged": EXCHANGED,
    "another type without a rewrite": "ALTER TABLE boxes ALTER a TYPE varchar",
    "another type": "ALTER TABLE boxes ALTER id TYPE bigint",
    "written anew as a whole": "VACUUM FULL boxes",
    "one column more": "ALTER TABLE boxes ADD d int DEFAULT 5",
    "one column less": "ALTER TABLE boxes DROP b",
}
NOT_WRITTEN = {
    "nothing": "SELECT",
    "frozen": "VACUUM (FREEZE, ANALYZE) boxes",
    "another table": "INSERT INTO crates VALUES (4, 'a', 'b')",
    "an index": "CREATE INDEX ON boxes (a)",
    "a default": "ALTER TABLE boxes ALTER a SET DEFAULT 'q'",
    "a name that was taken back": "ALTER TABLE boxes RENAME TO crated; ALTER TABLE crated RENAME TO boxes",
    "rolled back": "BEGIN; UPDATE boxes SET a = 'z'; ROLLBACK",
}


@pytest.fixture
def boxes(database: Any) -> Any:
    for name in ("boxes", "crates"):
        database.execute(
            f"CREATE TABLE {name} (id int, a text, b text);"
            f"INSERT INTO {name} SELECT i, '{name}' || i, i FROM generate_series(1, 3) i"
        )
    return database


def take_falsified(server: Server, **how: Any) -> dict[str, Any]:
    """Take a fingerprint that is true but for one table: where it is not hashed again, the wrong sum comes back."""
    before = take_fingerprint(server, **how)
    before["tables"][TABLE]["contents"] = "42"
    return before


@pytest.mark.parametrize("statement", WRITTEN.values(), ids=WRITTEN)
def test_what_was_written_to_is_hashed_again(boxes: Any, statement: str) -> None:
    server = Server(boxes.url)
    before = take_falsified(server)
    for part in statement.split("; "):
        boxes.execute(part)
    read = take_fingerprint(server, since=before)["tables"][TABLE]
    assert read == take_fingerprint(server)["tables"][TABLE]
    assert read["contents"] != "42"


@pytest.mark.parametrize("statement", NOT_WRITTEN.values(), ids=NOT_WRITTEN)
def test_what_was_not_written_to_is_not_hashed_again(boxes: Any, statement: str) -> None:
    server = Server(boxes.url)
    before = take_falsified(server)
    with contextlib.closing(psycopg2.connect(boxes.url)) as connection:
        connection.autocommit = True
        for part in statement.split("; "):
            connection.cursor().execute(part)
    assert take_fingerprint(server, since=before)["tables"][TABLE] == before["tables"][TABLE]


def test_only_the_columns_that_are_read_count(boxes: Any) -> None:
    """As in a rollback that takes a column away, which is left out before and after."""
    server = Server(boxes.url)
    skipped = {"boxes": ["b"]}
    before = take_falsified(server, skip_columns=skipped)
    boxes.execute("ALTER TABLE boxes DROP b")
    after = take_fingerprint(server, since=before, skip_columns=skipped)
    assert after["tables"][TABLE] == before["tables"][TABLE]
    everything = take_fingerprint(server, since=after)
    assert everything["tables"][TABLE] == before["tables"][TABLE], "all columns that are left were read"


@pytest.mark.parametrize("savepoint", ["SELECT", "SAVEPOINT deeper"])
def test_what_was_open_at_the_first_reading_is_hashed_again(boxes: Any, savepoint: str) -> None:
    """A transaction may be older than the snapshot, and yet end after it."""
    server = Server(boxes.url)
    with contextlib.closing(psycopg2.connect(boxes.url)) as writer, writer.cursor() as cursor:
        cursor.execute("CREATE TABLE first (id int)")  # the transaction has its number
        cursor.execute(savepoint)
        cursor.execute("UPDATE boxes SET a = 'z' WHERE id = 1")
        boxes.execute("INSERT INTO crates VALUES (4, 'a', 'b')")  # one that began later, and ends before
        before = take_falsified(server)
        writer.commit()
    assert take_fingerprint(server, since=before)["tables"][TABLE]["contents"] != "42"


def test_another_database_is_hashed(boxes: Any) -> None:
    """Of a file copy the rows have the same versions; that it is a true copy is what the hash is for."""
    copy = f"{boxes.name}__copy"
    before = take_falsified(Server(boxes.url))
    boxes.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{boxes.name}" STRATEGY FILE_COPY', url=boxes.admin_url)
    after = take_fingerprint(Server(boxes.url), copy, since=before)
    assert after["tables"][TABLE]["contents"] != "42"


def test_text_is_hashed_always(boxes: Any) -> None:
    server = Server(boxes.url)
    before = take_falsified(server, method="text")
    assert take_fingerprint(server, method="text", since=before)["tables"][TABLE]["contents"] != "42"
    assert "versions" not in before


def test_a_reading_from_before_a_restart_proves_nothing(boxes: Any) -> None:
    server = Server(boxes.url)
    before = take_falsified(server)
    before["versions"]["of"] = "1970-01-01 00:00:00+00 5"
    assert take_fingerprint(server, since=before)["tables"][TABLE]["contents"] != "42"


def test_a_reading_from_long_ago_proves_nothing(boxes: Any) -> None:
    server = Server(boxes.url)
    before = take_falsified(server)
    before["versions"]["transaction"] -= 2**31
    assert take_fingerprint(server, since=before)["tables"][TABLE]["contents"] != "42"
