# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database holds, and what changed in it."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from exchanged_values import CREATE, EXCHANGE, TABLES
from psycopg2 import sql
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._domain.catalogue import canonical, change_between
from ansible_collections.balcon.rollback.plugins.module_utils._domain.fingerprint import compare

SHOP = (Path(__file__).parent / "shop.sql").read_text()


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    return database


@pytest.fixture
def file_copy(shop: Any) -> str:
    """A file copy of the shop."""
    name = f"{shop.name}__copy"
    shop.execute(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(*map(sql.Identifier, (name, shop.name))),
        url=shop.admin_url,
    )
    return name


@pytest.fixture
def restored_copy(shop: Any, tmp_path: Path) -> str:
    """A copy of the shop by dump and restore."""
    name = f"{shop.name}__restored"
    shop.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)), url=shop.admin_url)
    programs, dump = shop.server.bin_dir, tmp_path / "dump"
    subprocess.run([programs / "pg_dump", "-Fc", "-f", dump, shop.url], check=True)
    subprocess.run([programs / "pg_restore", "-e", "-d", shop.url_of(name), dump], check=True)
    return name


@pytest.fixture
def fingerprint(run_module: Any, shop: Any) -> Any:
    """Takes a fingerprint through the module; ``database`` names another one on the server."""

    def take(**options: Any) -> dict[str, Any]:
        result = run_module("db_fingerprint", database_url=shop.url, admin_url=shop.admin_url, **options)
        assert not result["failed"], result
        return dict(result)

    return take


def test_file_copy_is_equal_by_record(fingerprint: Any, shop: Any, file_copy: str) -> None:
    before = fingerprint()["fingerprint"]
    after = fingerprint(database=file_copy, compare_to=before)
    assert (after["equal"], after["proof"], after["changed"]) == (True, "contents", False)
    assert after["fingerprint"]["catalogue_hash"] == before["catalogue_hash"]
    assert after["fingerprint"]["large_objects"]["count"] == 2
    assert after["fingerprint"]["tables"]["public.parent"]["rows"] == 1, "rows of child were counted for its parent"


def test_restored_copy_is_equal_by_text(fingerprint: Any, restored_copy: str) -> None:
    before = fingerprint(method="text")["fingerprint"]
    after = fingerprint(method="text", database=restored_copy, compare_to=before)
    assert after["differences"] == []
    assert after["canonical_change"] == {"added": {}, "removed": {}, "altered": {}}


CHANGES = [
    "ALTER TABLE users ADD CHECK (status <> ALL (ARRAY['x', 'y']))",
    "ALTER TABLE users DROP COLUMN price, ADD COLUMN c int DEFAULT 3 CHECK (c IN (1, 3))",
    "DROP VIEW v; DROP TRIGGER t ON users; ALTER TABLE users ALTER status TYPE varchar(30)",
    "DROP TABLE part; DROP INDEX users_active; ALTER TABLE orders RENAME note TO remark",
    "ALTER TYPE mood ADD VALUE 'great'; ALTER DOMAIN zip DROP CONSTRAINT zip_check",
]


def test_changes_are_the_same_on_a_file_copy_and_on_a_restored_copy(
    shop: Any, file_copy: str, restored_copy: str
) -> None:
    """PostgreSQL prints CHECK (status IN (…)) of a varchar otherwise after a restore, and then otherwise still."""
    server, held = Server(shop.url), {}
    for name in (file_copy, restored_copy):
        held[name] = take_fingerprint(server, name, contents="none")
    assert held[file_copy]["catalogue"] != held[restored_copy]["catalogue"]
    for statement in CHANGES:
        changes = []
        for name in (file_copy, restored_copy):
            for part in statement.split(";"):
                shop.execute(part, url=shop.url_of(name))
            before, held[name] = held[name], take_fingerprint(server, name, contents="none")
            changes.append(canonical(change_between(before["catalogue"], held[name]["catalogue"])))
        assert changes[0] == changes[1], statement
        assert any(changes[0].values()), statement


DATA = [
    ("UPDATE users SET raw = '{\"a\":1}' WHERE id = 7", "contents of table public.users"),
    ("UPDATE users SET iv = '1 day' WHERE id = 8", "contents of table public.users"),
    ("UPDATE users SET profile = '{\"a\": 9.0}' WHERE id = 9", "contents of table public.users"),
    ("UPDATE users SET d = '-0' WHERE id = 10; UPDATE child SET b = b + 1", "contents of table public.child"),
    ("UPDATE users SET feeling = 'sad' WHERE id = 7", "contents of table public.users"),
    ("DELETE FROM child WHERE a = 2", "Table public.child has 1 rows, it had 2."),
    ("UPDATE part_2 SET v = 'w' WHERE id = 400", "contents of table public.part_2"),
    ("UPDATE fast SET a = 2", "contents of table public.fast"),
    ("SELECT setval('users_id_seq', 499)", "Sequence public.users_id_seq stands at 499, it stood at 500."),
    ("SELECT lo_put(oid, 0, 'x') FROM pg_largeobject_metadata LIMIT 1", "contents of large objects"),
    ("SELECT lo_create(0)", "There are 3 large objects, there were 2."),
    ("DELETE FROM orders; DELETE FROM users WHERE id = 1; REFRESH MATERIALIZED VIEW mv", "public.users has 499"),
]


def test_every_kind_of_change_is_seen(shop: Any, file_copy: str) -> None:
    server = Server(shop.url)
    before = take_fingerprint(server, file_copy)
    for statement, difference in DATA:
        for part in statement.split("; "):
            shop.execute(part, url=shop.url_of(file_copy))
        after = take_fingerprint(server, file_copy, since=before)
        differences = compare(before, after)
        assert any(difference in line for line in differences), (statement, differences)
        before = after


def test_order_of_rows_does_not_count_but_repetition_does(fingerprint: Any, shop: Any) -> None:
    def contents() -> Any:
        return fingerprint()["fingerprint"]["tables"]["public.nopk"]

    shop.execute("CREATE TABLE nopk (a int); INSERT INTO nopk VALUES (1), (1), (2)")
    before = contents()
    shop.execute("TRUNCATE nopk; INSERT INTO nopk VALUES (2), (1), (1)")
    assert contents() == before
    shop.execute("TRUNCATE nopk; INSERT INTO nopk VALUES (2), (2), (1)")
    assert contents()["contents"] != before["contents"]


@pytest.mark.parametrize("method", ["record", "text"])
def test_values_that_rows_exchange_are_seen(fingerprint: Any, shop: Any, file_copy: str, method: str) -> None:
    for name in (shop.name, file_copy):
        shop.execute(CREATE, url=shop.url_of(name))
    before = fingerprint(method=method)["fingerprint"]
    assert fingerprint(method=method, database=file_copy, compare_to=before)["equal"]
    shop.execute(EXCHANGE, url=shop.url_of(file_copy))
    after = fingerprint(method=method, database=file_copy, compare_to=before)
    seen = {table for table in TABLES if f"public.{table} " in f"{after['differences']} "}
    assert seen == set(TABLES)


@pytest.mark.parametrize("method", ["record", "text"])
def test_a_cast_of_an_enum_to_text_hides_no_change(fingerprint: Any, shop: Any, method: str) -> None:
    """The owner of a type may give it a cast that makes all its values the same text."""
    shop.execute("CREATE TYPE feeling AS ENUM ('fine', 'sad'); CREATE TABLE people (mood feeling)")
    shop.execute("INSERT INTO people VALUES ('fine')")
    shop.execute("CREATE FUNCTION told(feeling) RETURNS text IMMUTABLE LANGUAGE sql RETURN 'a mood'")
    shop.execute("CREATE CAST (feeling AS text) WITH FUNCTION told(feeling)")
    before = fingerprint(method=method)["fingerprint"]
    shop.execute("UPDATE people SET mood = 'sad'")
    assert not fingerprint(method=method, compare_to=before)["equal"]


@pytest.mark.parametrize("method", ["record", "text"])
def test_a_number_of_which_only_the_upper_half_changes_is_seen(fingerprint: Any, shop: Any, method: str) -> None:
    """The server's own hash joins the halves of a bigint by "exclusive or": 1 and 2^32 have the same one."""
    shop.execute("CREATE TABLE numbers (n bigint); INSERT INTO numbers VALUES (1), (-1)")
    before = fingerprint(method=method)["fingerprint"]
    for value, old in ((4294967296, 1), (-4294967297, -1)):
        shop.execute("UPDATE numbers SET n = %s WHERE n = %s", [value, old])
        after = fingerprint(method=method, compare_to=before)
        assert not after["equal"], value
        before = after["fingerprint"]


@pytest.mark.parametrize("method", ["record", "text"])
@pytest.mark.parametrize(
    ("one", "other"), [("5", "-5"), ("1", "10000"), ("1.0", "1.00"), ("NaN", "1e400"), ("0", None)]
)
def test_a_numeric_is_what_is_written(fingerprint: Any, shop: Any, method: str, one: str, other: str | None) -> None:
    """The server's own hash of it knows no sign and no scale, and its last bits are those of the number's weight."""
    shop.execute("CREATE TABLE priced (price numeric)")
    shop.execute("INSERT INTO priced VALUES (%s)", [one])
    before = fingerprint(method=method)["fingerprint"]
    shop.execute("UPDATE priced SET price = %s", [other])
    assert not fingerprint(method=method, compare_to=before)["equal"]


def test_budget_reads_the_small_and_counts_the_big(fingerprint: Any, shop: Any, file_copy: str) -> None:
    before = fingerprint(database=file_copy, budget_bytes=60000)
    proofs = {name: table["proof"] for name, table in before["fingerprint"]["tables"].items()}
    assert proofs["public.orders"] == "counters"
    assert proofs["public.child"] == "contents"
    assert before["proof"] == "counters"
    shop.execute("UPDATE orders SET note = 'changed' WHERE id = 1", url=shop.url_of(file_copy))
    after = fingerprint(database=file_copy, budget_bytes=60000, compare_to=before["fingerprint"])
    assert after["differences"] == ["The counters of table public.orders changed: 1 updated."]


def test_counters_see_a_table_that_was_emptied(fingerprint: Any, shop: Any) -> None:
    before = fingerprint(contents="counters")["fingerprint"]
    shop.execute("TRUNCATE orders")
    after = fingerprint(contents="counters", compare_to=before)
    assert any("public.orders" in line for line in after["differences"])


def test_without_counting_rows_are_counted(fingerprint: Any, shop: Any) -> None:
    shop.execute(sql.SQL("ALTER DATABASE {} SET track_counts TO off").format(sql.Identifier(shop.name)),
                 url=shop.superuser_url)  # fmt: skip
    result = fingerprint(contents="counters")
    assert result["proof"] == "counts"
    assert result["fingerprint"]["tables"]["public.users"]["rows"] == 500


def test_skipped_columns_and_tables(fingerprint: Any, shop: Any, file_copy: str) -> None:
    options = {"skip_columns": {"users": ["price"]}, "skip_tables": ["orders"], "database": file_copy}
    before = fingerprint(**options)["fingerprint"]
    assert before["skipped"] == {"public.orders": "left out by skip_tables"}
    shop.execute("ALTER TABLE users DROP COLUMN price", url=shop.url_of(file_copy))
    shop.execute("DELETE FROM orders", url=shop.url_of(file_copy))
    after = fingerprint(**options, compare_to=before)
    assert after["differences"] == []
    assert after["canonical_change"]["removed"] == {"columns": ["public.users.price"]}


def test_foreign_tables_are_named_and_event_triggers_are_seen(fingerprint: Any, shop: Any) -> None:
    before = fingerprint(contents="none")["fingerprint"]
    for statement in (
        "CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
        "CREATE EVENT TRIGGER watch ON sql_drop EXECUTE FUNCTION public.watch()",
        "CREATE FOREIGN DATA WRAPPER nowhere",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere",
        "CREATE FOREIGN TABLE far (a int) SERVER nowhere",
    ):
        shop.execute(statement, url=shop.superuser_url)
    after = fingerprint(contents="counts", compare_to=before)
    assert list(after["fingerprint"]["event_triggers"]) == ["watch"]
    assert "event_triggers" in after["change"]["added"]
    assert after["fingerprint"]["skipped"] == {"public.far": "a foreign table: its rows are on another server"}


def test_expected_change_passes_and_another_fails(
    run_module: Any, fingerprint: Any, shop: Any, file_copy: str, tmp_path: Path
) -> None:
    saved = tmp_path / "before.json"
    before = fingerprint(database=file_copy, skip_columns={"users": ["price"]}, save_as=str(saved))
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    held = json.loads(saved.read_text())
    assert "public.users" in held.pop("catalogue")["tables"]
    assert held == before["fingerprint"]
    shop.execute("ALTER TABLE users DROP COLUMN price", url=shop.url_of(file_copy))
    options = {
        "database_url": shop.url,
        "database": file_copy,
        "compare_to": str(saved),
        "skip_columns": {"users": ["price"]},
    }
    expected = {"added": {}, "removed": {"columns": ["public.users.price"]}, "altered": {}}
    assert not run_module("db_fingerprint", expect_change=expected, **options)["failed"]
    nothing: dict[str, Any] = {"added": {}, "removed": {}, "altered": {}}
    result = run_module("db_fingerprint", expect_change=nothing, **options)
    assert result["failed"]
    assert "not expected: column public.users.price removed" in result["msg"]
    shop.execute("DELETE FROM child", url=shop.url_of(file_copy))
    result = run_module("db_fingerprint", expect_change=expected, **options)
    assert "Table public.child has 0 rows, it had 2" in result["msg"]


def test_verify_refuses_a_database_that_is_no_candidate(run_module: Any, shop: Any, tmp_path: Path) -> None:
    run_id, state = "20261123t081500a3f9", tmp_path / "state"
    (state / "runs" / run_id).mkdir(parents=True)
    for place in (state, state / "runs", state / "runs" / run_id):
        place.chmod(0o700)
    (state / "runs" / run_id / "journal.jsonl").touch(mode=0o600)
    result = run_module(
        "db_fingerprint",
        database_url=shop.url,
        admin_url=shop.admin_url,
        run_id=run_id,
        state_dir=str(state),
        phase="verify",
        compare_to={"catalogue": {}},
        expect_change={"added": {}, "removed": {}, "altered": {}},
    )
    assert result["failed"]
    assert "is not the candidate of run" in result["msg"]


def test_values_that_rows_exchange_keep_a_candidate_from_being_verified(
    run_module: Any, shop: Any, tmp_path: Path
) -> None:
    shop.execute(CREATE)
    window = Window(shop.url, tmp_path, run_module).pass_gate()
    window.advance_to("candidate")
    candidate = window.name("candidate")
    saved = window.module("db_fingerprint", phase="close", database=candidate, save_as="before.json")
    assert not saved["failed"], saved
    window.advance_to("migrated")
    nothing: dict[str, Any] = {"added": {}, "removed": {}, "altered": {}}
    options = {"phase": "verify", "database": candidate, "compare_to": "before.json", "expect_change": nothing}
    shop.execute(EXCHANGE, url=shop.url_of(candidate))
    result = window.module("db_fingerprint", **options)
    assert result["failed"]
    assert len(result["error"]["differences"]) == len(TABLES)
    assert all("contents of table public." in line for line in result["error"]["differences"])
    description = window.description()
    assert description
    assert description.state == "migrated"


def test_table_that_cannot_be_read_is_named(run_module: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE theirs (a int)", url=shop.superuser_url)
    result = run_module("db_fingerprint", database_url=shop.url)
    assert result["failed"]
    assert "Table public.theirs cannot be read as a whole" in result["msg"]
