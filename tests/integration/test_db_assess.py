# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is damaged in a database, on databases that are damaged for this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg2 import sql

SHOP = (Path(__file__).parent / "shop.sql").read_text()


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def backup(run_module: Any, shop: Any, folder: Path) -> str:
    """A backup of the shop."""
    result = run_module(
        "db_backup",
        database_url=shop.url,
        admin_url=shop.admin_url,
        backup_dir=str(folder),
        client_path=[str(shop.server.bin_dir)],
        checkpoint=False,
    )
    assert not result["failed"], result
    return str(result["backup_id"])


@pytest.fixture
def assess(run_module: Any, shop: Any, folder: Path) -> Any:
    """Assesses through the module, as superuser where it says so."""

    def run(*, url: str | None = None, **options: Any) -> dict[str, Any]:
        result = run_module("db_assess", database_url=url or shop.url, backup_dir=str(folder), **options)
        assert not result["failed"], result
        return dict(result)

    return run


def found(result: dict[str, Any], check: str) -> list[tuple[str, str, Any]]:
    return [(each["severity"], each["object"], each["rows"]) for each in result["findings"] if each["check"] == check]


def check(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in result["checks"] if each["name"] == name)


def test_sound_database_is_clean_and_the_same_as_its_backup(assess: Any, shop: Any, backup: str) -> None:
    result = assess(backup=backup)
    assert result["findings"] == []
    assert (result["clean"], result["changed"], result["backup_id"]) == (True, False, backup)
    assert {table["contents"] for table in result["tables"]} == {"same"}
    users = next(table for table in result["tables"] if table["name"] == "public.users")
    assert (users["rows"], users["rows_then"]) == (500, 500)
    assert check(result, "contents")["done"]
    assert result["lines"][0] == f"{shop.name}: nothing is broken, 0 to look at, 0 to note."


def test_daily_life_is_only_noted(assess: Any, shop: Any, backup: str) -> None:
    shop.execute("INSERT INTO users (email) VALUES ('new'); UPDATE orders SET note = 'x' WHERE id = 1")
    shop.execute("CREATE TABLE fresh (a int); ALTER TABLE parent ADD COLUMN c int")
    result = assess(backup=backup)
    assert result["clean"]
    assert {each["severity"] for each in result["findings"]} == {"note"}
    assert ("note", "public.users", 1) in found(result, "contents")
    assert ("note", "public.orders", None) in found(result, "contents")
    contents = {table["name"]: table["contents"] for table in result["tables"]}
    assert (contents["public.fresh"], contents["public.parent"], contents["public.child"]) == (
        "new", "not compared", "not compared",
    )  # fmt: skip
    assert any("public.fresh added" in each["message"] for each in result["findings"] if each["check"] == "schema")


def test_tables_that_are_gone_or_emptied_are_suspect(assess: Any, shop: Any, backup: str) -> None:
    shop.execute("TRUNCATE orders; DROP TABLE fast")
    result = assess(backup=backup)
    assert result["clean"]
    assert [each for each in found(result, "contents") if each[0] == "suspect"] == [
        ("suspect", "public.fast", -1),
        ("suspect", "public.orders", -1000),
    ]


def test_rows_without_a_parent_are_broken(assess: Any, shop: Any) -> None:
    shop.execute(
        "SET session_replication_role = replica; DELETE FROM users WHERE id <= 3; "
        "INSERT INTO orders (user_id) VALUES (NULL)",
        url=shop.superuser_url,
    )
    result = assess()
    assert found(result, "foreign keys") == [("broken", "public.orders", 6)]
    assert not result["clean"]
    assert "BROKEN" in result["lines"][0]


def test_foreign_keys_of_every_kind(assess: Any, shop: Any) -> None:
    """Several columns, MATCH FULL, partitions on both sides, types that differ, one that was never validated."""
    shop.execute(
        "CREATE TABLE p2 (a int, b bigint, PRIMARY KEY (a, b)) PARTITION BY LIST (a);"
        "CREATE TABLE p2_1 PARTITION OF p2 FOR VALUES IN (1); CREATE TABLE p2_2 PARTITION OF p2 DEFAULT;"
        "CREATE TABLE c2 (x smallint, y int, FOREIGN KEY (x, y) REFERENCES p2 MATCH FULL) PARTITION BY LIST (x);"
        "CREATE TABLE c2_1 PARTITION OF c2 DEFAULT;"
        "CREATE TABLE c3 (x int, y int, FOREIGN KEY (x, y) REFERENCES p2);"
        "CREATE TABLE c4 (x int); INSERT INTO c4 VALUES (99);"
        "ALTER TABLE c4 ADD CONSTRAINT c4_fk FOREIGN KEY (x) REFERENCES users NOT VALID;"
        "INSERT INTO p2 VALUES (1, 1), (2, 2);"
    )
    shop.execute(
        "SET session_replication_role = replica; INSERT INTO c2 VALUES (1, 1), (2, 2), (3, 3), (NULL, NULL), (4, NULL);"
        "INSERT INTO c3 VALUES (1, 1), (3, 3), (NULL, 7), (4, NULL)",
        url=shop.superuser_url,
    )
    result = assess()
    assert found(result, "foreign keys") == [("broken", "public.c2", 2), ("broken", "public.c3", 1)]
    assert "c4_fk" in check(result, "foreign keys")["reason"]


def test_sequences_behind_their_columns(assess: Any, shop: Any) -> None:
    shop.execute("INSERT INTO users (id, email) VALUES (501, 'by hand'); CREATE SEQUENCE down INCREMENT -1")
    shop.execute("CREATE TABLE d (i bigint DEFAULT nextval('down')); INSERT INTO d VALUES (-1)")
    shop.execute("SELECT setval('orders_id_seq', 1000, false)")
    result = assess()
    assert [each[1] for each in found(result, "sequences")] == [
        "public.down",
        "public.orders_id_seq",
        "public.users_id_seq",
    ]
    assert result["clean"], "a sequence behind its column is not damage"
    message = next(each["message"] for each in result["findings"] if each["object"] == "public.users_id_seq")
    shop.execute(message.partition("Set it on: ")[2])
    assert "public.users_id_seq" not in [each[1] for each in found(assess(), "sequences")]


def test_invalid_index(assess: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE twice AS SELECT 1 AS a FROM generate_series(1, 2)")
    with pytest.raises(Exception, match="could not create unique index"):
        shop.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON twice (a)")
    assert found(assess(), "indexes") == [("suspect", "public.half", None)]


def damage(shop: Any, table: str, page: int) -> None:
    """Write nonsense over the header of a page, as a disk might; nobody has the page in memory meanwhile."""
    shop.execute("CHECKPOINT", url=shop.superuser_url)
    ((path,),) = shop.execute("SELECT pg_relation_filepath(%s)", [table])
    shop.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(shop.name)), url=shop.admin_url
    )
    shop.server.stop()
    with (shop.server.data_dir / path).open("r+b") as file:
        file.seek(page * 8192)
        file.write(b"\xff" * 64)
    shop.server.start()
    shop.execute(
        sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(shop.name)), url=shop.admin_url
    )


def test_damaged_page_is_found_and_the_other_tables_are_read(
    assess: Any, run_module: Any, shop: Any, backup: str
) -> None:
    damage(shop, "orders", 1)
    result = assess(backup=backup)
    assert ("broken", "public.orders", None) in found(result, "contents")
    assert not result["clean"]
    contents = {table["name"]: table["contents"] for table in result["tables"]}
    assert contents.pop("public.orders") == "not compared"
    assert set(contents.values()) == {"same"}


def test_what_the_role_may_not_read_is_said(assess: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE theirs (a int)", url=shop.superuser_url)
    result = assess()
    assert found(result, "contents") == [("suspect", "public.theirs", None)]
    assert result["clean"]


def test_budget_leaves_the_contents_of_large_tables(assess: Any, backup: str) -> None:
    result = assess(backup=backup, budget_bytes=100_000)
    contents = {table["name"]: table["contents"] for table in result["tables"]}
    assert contents["public.orders"] == "not compared"
    assert contents["public.fast"] == "same"
    assert not check(result, "contents")["done"]


def test_amcheck_that_is_not_there_is_said(assess: Any) -> None:
    amcheck = check(assess(), "amcheck")
    assert not amcheck["done"]
    assert "not installed on this server" in amcheck["reason"]


def test_backup_of_another_database_is_refused(run_module: Any, shop: Any, folder: Path, backup: str) -> None:
    result = run_module("db_assess", database_url=shop.admin_url, backup_dir=str(folder), backup=backup)
    assert result["failed"]
    assert f"is of the database '{shop.name}', not of 'postgres'" in result["msg"]
