# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows differ between two databases."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from exchanged_values import CREATE, EXCHANGE, TABLES
from psycopg2 import sql

SHOP = (Path(__file__).parent / "shop.sql").read_text()
ODD = '"Odd ""Table.Na%me{}"'


END_SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    return database


@pytest.fixture
def other(shop: Any, tmp_path: Path, run_module: Any) -> str:
    """The shop, restored from a backup of it."""
    (tmp_path / "backups").mkdir(mode=0o700)
    options: dict[str, Any] = {
        "database_url": shop.url,
        "admin_url": shop.admin_url,
        "backup_dir": str(tmp_path / "backups"),
        "client_path": [str(shop.server.bin_dir)],
    }
    backup = run_module("db_backup", checkpoint=False, **options)
    restored = run_module("db_restore", backup=backup["backup_id"], name=f"{shop.name}__other", **options)
    assert not restored["failed"], restored
    return str(restored["name"])


@pytest.fixture
def compare(run_module: Any, shop: Any, other: str) -> Any:
    """Compares through the module."""

    def run(**options: Any) -> dict[str, Any]:
        return dict(
            run_module(
                "db_compare", **{"database_url": shop.url, "admin_url": shop.admin_url, "other": other, **options}
            )
        )

    return run


def by_name(result: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    assert not result["failed"], result
    return {table["name"]: (table["missing"], table["extra"], table["changed"]) for table in result["tables"]}


def test_restored_copy_is_the_same(compare: Any) -> None:
    result = compare()
    assert set(by_name(result).values()) == {(0, 0, 0)}
    assert {table["name"] for table in result["tables"] if table["key"]} == {"public.users", "public.orders"}
    assert (result["changed"], result["lost_rows"], result["large_objects"]) == (False, 0, "same")
    assert len(result["lines"]) == 1


def test_rows_are_told_apart_by_key(compare: Any, shop: Any, other: str) -> None:
    shop.execute("INSERT INTO users (email) SELECT 'new' || i FROM generate_series(1, 3) AS i")
    shop.execute("UPDATE users SET feeling = 'sad' WHERE feeling = 'happy' AND id <= 30")
    shop.execute("UPDATE users SET price = 1.10 WHERE id = 1")
    shop.execute("DELETE FROM orders WHERE id <= 7")
    result = compare()
    assert by_name(result)["public.users"] == (0, 3, 10)
    assert by_name(result)["public.orders"] == (7, 0, 0)
    assert result["lost_rows"] == 13
    assert result["lines"][0] == f"users: 3 rows only in {shop.name}; 10 rows with other contents"
    assert f"orders: 7 rows only in {other}" in result["lines"]


def test_repetitions_count_where_there_is_no_key(compare: Any, shop: Any) -> None:
    shop.execute(f"INSERT INTO {ODD} VALUES (2, E'\\\\.', NULL), (9, NULL, NULL)")
    shop.execute(f'DELETE FROM {ODD} WHERE "a b" = 1')
    shop.execute("INSERT INTO nocols SELECT FROM generate_series(1, 2)")
    result = compare(tables=['Odd "Table.Na%me{}', "public.nocols"])
    assert by_name(result) == {f"public.{ODD}": (1, 2, 0), "public.nocols": (0, 2, 0)}
    assert {table["how"] for table in result["tables"]} == {"whole rows, no key"}
    assert result["large_objects"] is None


@pytest.mark.parametrize("keyed", [True, False], ids=["by-key", "whole-rows"])
def test_values_that_rows_exchange_are_seen(compare: Any, shop: Any, other: str, keyed: bool) -> None:
    for url in (shop.url, shop.url_of(other)):
        shop.execute(CREATE, url=url)
    if not keyed:
        for table in TABLES:
            shop.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey")
    assert set(by_name(compare(tables=list(TABLES))).values()) == {(0, 0, 0)}
    shop.execute(EXCHANGE)
    rows = {f"public.{table}": int(rows) for table, rows in TABLES.items()}
    wanted = {table: (0, 0, number) if keyed else (number, number, 0) for table, number in rows.items()}
    assert by_name(compare(tables=list(TABLES))) == wanted


def test_partitioned_table_stands_for_its_partitions(compare: Any, shop: Any) -> None:
    shop.execute("DELETE FROM part WHERE id = 1")
    assert by_name(compare(tables=["part"])) == {"public.part_1": (1, 0, 0), "public.part_2": (0, 0, 0)}


def test_columns_that_differ_are_named_and_the_others_compared(compare: Any, shop: Any) -> None:
    shop.execute("DROP VIEW v; ALTER TABLE users DROP COLUMN tags, DROP COLUMN full_name, ADD nickname text")
    shop.execute("ALTER TABLE users ALTER COLUMN email TYPE varchar(12) USING left(email, 12)")
    result = compare(tables=["users"])
    (table,) = result["tables"]
    assert table["same_columns"] is False
    assert {column["name"]: (column["live"], column["other"]) for column in table["columns"]} == {
        "tags": (None, "text[]"),
        "nickname": ("text", None),
        "email": ("character varying(12)", "character varying(255)"),
    }
    # u1@example.com and all others have more than 12 characters.
    assert (table["missing"], table["extra"], table["changed"]) == (0, 0, 500)


def test_wider_type_with_the_same_values_is_no_change(compare: Any, shop: Any) -> None:
    shop.execute("ALTER TABLE orders ALTER COLUMN user_id TYPE bigint")
    (table,) = compare(tables=["orders"])["tables"]
    assert (table["same_columns"], table["changed"], table["extra"]) == (False, 0, 0)


def test_tables_that_only_one_has(compare: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE fresh AS SELECT i FROM generate_series(1, 4) AS i; DROP TABLE child")
    result = compare()
    assert by_name(result)["public.fresh"] == (0, 4, 0)
    assert by_name(result)["public.child"] == (2, 0, 0)
    assert {table["name"]: table["only_in"] for table in result["tables"] if table["only_in"]} == {
        "public.fresh": "live",
        "public.child": "other",
    }


def test_large_objects_are_compared(compare: Any, shop: Any) -> None:
    shop.execute("SELECT lo_put(oid, 0, 'H') FROM pg_largeobject_metadata")
    assert compare()["large_objects"] == "different"


def test_table_that_does_not_exist(compare: Any, other: str) -> None:
    result = compare(tables=["user"])
    assert result["failed"]
    assert "There is no table 'user'" in result["msg"]
    assert "Did you mean users?" in result["msg"]
    assert "There is no database" in compare(other=f"{other}_not")["msg"]


def test_closed_database_is_only_read_through_the_door(compare: Any, shop: Any, other: str) -> None:
    """Under writers that never stop trying, what they were told is written before the comparison is in it."""
    written: list[int] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            try:
                connection = psycopg2.connect(shop.url)
                connection.autocommit = True
                with connection.cursor() as cursor:
                    while not stop.is_set():  # whoever slips in goes on writing until he is shown out
                        cursor.execute("INSERT INTO orders (user_id) VALUES (1)")
                        written.append(1)
            except psycopg2.Error:
                continue

    closing = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(shop.name))
    threads = [threading.Thread(target=write) for _number in range(3)]
    for thread in threads:
        thread.start()
    try:
        shop.execute(closing, url=shop.admin_url)
        shop.execute(END_SESSIONS, [shop.name], url=shop.admin_url)
        assert "is closed" in compare(tables=["orders"])["msg"]
        assert "is closed" in compare(tables=["orders"], through_closed=True, check_mode=True)["msg"]
        for _round in range(3):
            (table,) = compare(tables=["orders"], through_closed=True)["tables"]
            inside = shop.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [shop.name], url=shop.admin_url)
            assert inside == [], "somebody who slipped in is still there"
            assert table["extra"] >= len(written)
            assert table["extra"] - len(written) <= len(threads), "more than the ones that were cut off unacknowledged"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    (is_open,) = shop.execute(
        "SELECT datallowconn FROM pg_database WHERE datname = %s", [shop.name], url=shop.admin_url
    )
    assert is_open == (False,)


def test_memory_stays_small_and_every_bucket_is_found(compare: Any, shop: Any, other: str) -> None:
    """Enough rows for many buckets; single rows in some of them differ."""
    for url in (shop.url, shop.url_of(other)):
        shop.execute(
            "CREATE TABLE many AS SELECT i::bigint AS id, 'row ' || i AS t FROM generate_series(1, 50000) i", url=url
        )
        shop.execute("ALTER TABLE many ADD PRIMARY KEY (id); ANALYZE many", url=url)
    shop.execute("UPDATE many SET t = 'x' WHERE id % 1000 = 0; DELETE FROM many WHERE id % 1000 = 1")
    shop.execute("INSERT INTO many SELECT -i, 'new' FROM generate_series(1, 20) AS i")
    (table,) = compare(tables=["many"])["tables"]
    assert (table["missing"], table["extra"], table["changed"], table["key"]) == (50, 20, 50, ["id"])
