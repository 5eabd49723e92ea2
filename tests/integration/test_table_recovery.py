# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of single tables put back from a backup; whatever would lose something is refused."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from exchanged_values import CREATE, EXCHANGE, TABLES
from window import wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.table_write import writing
from ansible_collections.balcon.rollback.plugins.module_utils._domain.catalogue import canonical_catalogue
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused

SHOP = (Path(__file__).parent / "shop.sql").read_text()
ODD = '"Odd ""Table.Na%me{}"'
MORE = f"""
CREATE TABLE twins (a int, b text); INSERT INTO twins VALUES (1, 'x'), (1, 'x'), (2, NULL);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.note := ''touched''; RETURN NEW; END';
CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
COMMENT ON COLUMN orders.note IS 'free text'; COMMENT ON CONSTRAINT orders_pkey ON orders IS 'the key';
CREATE INDEX "Odd Index" ON {ODD} ("a b"); GRANT SELECT ("C") ON {ODD} TO PUBLIC;
GRANT UPDATE (status) ON users TO PUBLIC; GRANT USAGE ON SEQUENCE users_id_seq TO PUBLIC;
"""


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    database.execute(MORE)
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def back_up(run_module: Any, shop: Any, folder: Path) -> Any:
    """Makes a backup of the shop and returns its name."""

    def make() -> str:
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

    return make


@pytest.fixture
def backup(back_up: Any) -> str:
    return str(back_up())


@pytest.fixture
def recover(run_module: Any, shop: Any, folder: Path, backup: str, tmp_path: Path) -> Any:
    """Recovers through the module; nothing of it may stay behind but what the test says."""

    def run(tables: list[str], mode: str = "compare", may_leave: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        arguments = {
            "database_url": shop.url,
            "admin_url": shop.admin_url,
            "backup_dir": str(folder),
            "backup": backup,
            "client_path": [str(shop.server.bin_dir)],
            "keep_dir": str(tmp_path / "kept"),
            **options,
        }
        result = dict(run_module("table_recovery", tables=tables, mode=mode, **arguments))
        if not options.get("keep_scratch"):
            assert shop.relatives() == [shop.name, *may_leave]
        return result

    return run


def ok(result: dict[str, Any]) -> dict[str, Any]:
    assert not result["failed"], result
    return result


def contents(shop: Any, *tables: str) -> list[Any]:
    """What tables hold, rows sorted as text."""
    return [
        shop.execute(f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} AS t")
        for table in tables
    ]


def written(result: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {table["name"]: (table["inserted"], table["updated"], table["deleted"]) for table in ok(result)["tables"]}


DAMAGE = (
    "DELETE FROM users WHERE id BETWEEN 11 AND 13; UPDATE users SET status = 'gone', price = NULL WHERE id <= 5;"
    "INSERT INTO users (email) VALUES ('extra'); DELETE FROM orders WHERE id <= 20;"
)


def test_compare_shows_and_changes_nothing(recover: Any, shop: Any, backup: str) -> None:
    shop.execute(DAMAGE)
    before = contents(shop, "users", "orders")
    result = ok(recover(["users", "orders"]))
    assert not result["changed"]
    found = {table["name"]: (table["missing"], table["extra"], table["changed"]) for table in result["tables"]}
    # Orders of the three users went with them, ON DELETE CASCADE: three more than the twenty.
    assert found == {"public.users": (3, 1, 5), "public.orders": (23, 0, 0)}
    assert f"only in backup {backup}" in " ".join(result["lines"])
    assert contents(shop, "users", "orders") == before


def test_replace_four_times(recover: Any, shop: Any) -> None:
    was = contents(shop, "users", "orders")
    shop.execute(DAMAGE)
    foreseen = ok(recover(["users", "orders"], "replace", check_mode=True))
    assert foreseen["changed"]
    assert contents(shop, "users", "orders") != was
    result = recover(["users", "orders"], "replace")
    assert written(result) == {"public.users": (3, 5, 1), "public.orders": (23, 0, 0)}
    assert result["changed"]
    assert contents(shop, "users", "orders") == was
    assert not ok(recover(["users", "orders"], "replace", check_mode=True))["changed"]
    again = recover(["users", "orders"], "replace")
    assert (again["changed"], set(written(again).values())) == (False, {(0, 0, 0)})


def in_psql(shop: Any, commands: str) -> None:
    program = [shop.server.bin_dir / "psql", "-X", "-v", "ON_ERROR_STOP=1", shop.url]
    subprocess.run(program, input=commands, text=True, check=True)


def test_what_is_overwritten_is_kept_and_can_be_put_back(recover: Any, shop: Any, tmp_path: Path) -> None:
    shop.execute("UPDATE twins SET b = 'new' WHERE a = 2; UPDATE users SET price = -id WHERE id <= 7")
    shop.execute(
        "INSERT INTO users (id, email, price) VALUES (900, 'new', 9); UPDATE orders SET note = id WHERE id < 4"
    )
    lost = contents(shop, "users", "orders")
    result = ok(recover(["users", "orders"], "replace"))
    assert {kept["table"]: kept["rows"] for kept in result["kept"]} == {"public.users": 8, "public.orders": 3}
    for path in (Path(kept["path"]) for kept in result["kept"]):
        assert path.parent == tmp_path / "kept"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert contents(shop, "users", "orders") != lost
    # Rows of the same key are there: what is kept comes beside them, a table of its own for each.
    merged = [
        "UPDATE users SET price = kept.price FROM kept_0 AS kept WHERE kept.id = users.id;",
        "INSERT INTO users (id, email, status, price, at) SELECT id, email, status, price, at FROM kept_0 "
        "ON CONFLICT DO NOTHING;",
        "ALTER TABLE orders DISABLE TRIGGER touched;",
        "UPDATE orders SET note = kept.note FROM kept_1 AS kept WHERE kept.id = orders.id;",
    ]
    in_psql(shop, "\n".join([kept["put_back"] for kept in result["kept"]] + merged))
    assert contents(shop, "users", "orders") == lost


def test_rows_that_only_the_database_had_are_put_back_as_they_were(recover: Any, shop: Any, tmp_path: Path) -> None:
    shop.execute("ALTER TABLE orders DISABLE TRIGGER touched; INSERT INTO orders (user_id, note) VALUES (1, 'a\tb\\c')")
    shop.execute("INSERT INTO twins VALUES (1, 'x'), (3, NULL)")
    lost = contents(shop, "orders", "twins")
    result = ok(recover(["orders", "twins"], "replace", keep_dir=str(tmp_path / "the shop's")))
    assert written(result) == {"public.orders": (0, 0, 1), "public.twins": (0, 0, 2)}
    in_psql(shop, "\n".join(kept["put_back"] for kept in result["kept"]))
    assert contents(shop, "orders", "twins") == lost


def test_what_is_kept_is_not_overwritten_by_the_next_call(recover: Any, shop: Any) -> None:
    files: dict[str, bytes] = {}
    for price in (-1, -2):
        shop.execute(f"UPDATE users SET price = {price} WHERE id <= 7")
        (kept,) = ok(recover(["users"], "replace"))["kept"]
        assert kept["path"] not in files
        files[kept["path"]] = Path(kept["path"]).read_bytes()
        assert hashlib.sha256(files[kept["path"]]).hexdigest() == kept["sha256"]
    assert {path: Path(path).read_bytes() for path in files} == files


def test_values_that_rows_exchange_come_back(recover: Any, shop: Any, back_up: Any) -> None:
    shop.execute(CREATE)
    backup = back_up()
    was = contents(shop, *TABLES)
    shop.execute(EXCHANGE)
    result = recover(list(TABLES), "replace", backup=backup)
    assert written(result) == {f"public.{table}": (0, int(rows), 0) for table, rows in TABLES.items()}
    assert contents(shop, *TABLES) == was


def test_rows_that_cannot_be_kept_are_not_overwritten(recover: Any, shop: Any) -> None:
    shop.execute("UPDATE users SET price = 0 WHERE id = 1")
    before = contents(shop, "users")
    result = recover(["users"], "replace", keep_dir="/dev/full/kept")
    assert "cannot be kept" in result["msg"]
    assert contents(shop, "users") == before
    assert "no place to keep them" in recover(["users"], "replace", keep_dir=None)["msg"]


def test_insert_missing_leaves_what_is_there(recover: Any, shop: Any) -> None:
    shop.execute(DAMAGE)
    result = recover(["users", "orders"], "insert_missing")
    assert written(result) == {"public.users": (3, 0, 0), "public.orders": (23, 0, 0)}
    assert result["kept"] == []
    assert shop.execute("SELECT count(*), count(*) FILTER (WHERE price IS NULL) FROM users") == [(501, 6)]
    assert not recover(["users", "orders"], "insert_missing")["changed"]


def test_repetitions_and_odd_names(recover: Any, shop: Any) -> None:
    was = contents(shop, "twins", ODD, "nocols")
    shop.execute(f"INSERT INTO twins VALUES (1, 'x'), (3, 'y'); DELETE FROM {ODD}; INSERT INTO nocols SELECT")
    result = recover(["twins", 'Odd "Table.Na%me{}', "nocols"], "replace")
    assert written(result) == {"public.twins": (0, 0, 2), f"public.{ODD}": (3, 0, 0), "public.nocols": (0, 0, 1)}
    assert contents(shop, "twins", ODD, "nocols") == was


def test_partitions(recover: Any, shop: Any) -> None:
    was = contents(shop, "part")
    shop.execute("UPDATE part SET v = 'w' WHERE id % 7 = 0; DELETE FROM part WHERE id % 7 = 1")
    ok(recover(["part"], "replace"))
    assert contents(shop, "part") == was


def test_triggers_do_not_fire_and_are_as_they_were(recover: Any, shop: Any) -> None:
    shop.execute(
        "ALTER TABLE orders ENABLE ALWAYS TRIGGER touched; CREATE TRIGGER off AFTER DELETE ON orders "
        "FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE orders DISABLE TRIGGER off"
    )
    was = contents(shop, "orders")
    shop.execute("UPDATE orders SET note = 'other' WHERE id <= 3; DELETE FROM orders WHERE id = 4")
    result = ok(recover(["orders"], "replace"))
    assert result["triggers_off"] == ["touched of orders"]
    assert contents(shop, "orders") == was
    states = shop.execute(
        "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'orders'::regclass AND NOT tgisinternal"
    )
    assert dict(states) == {"touched": "A", "off": "D"}


def test_sequences_are_set_on_and_never_back(recover: Any, shop: Any) -> None:
    shop.execute("DELETE FROM users WHERE id > 490; SELECT setval('users_id_seq', 3)")
    result = ok(recover(["users"], "insert_missing"))
    assert result["sequences_set"] == ["public.users_id_seq"]
    assert shop.execute("SELECT nextval('users_id_seq')") == [(501,)]
    shop.execute("SELECT setval('users_id_seq', 9000); DELETE FROM users WHERE id = 1")
    assert ok(recover(["users"], "insert_missing"))["sequences_set"] == []
    assert shop.execute("SELECT nextval('users_id_seq')") == [(9001,)]


def test_rows_of_other_tables_are_never_taken_along(recover: Any, shop: Any) -> None:
    """Deleting the extra user would delete its orders, ON DELETE CASCADE."""
    shop.execute("INSERT INTO users (id, email) VALUES (900, 'new'); INSERT INTO orders (user_id) VALUES (900), (900)")
    before = contents(shop, "users", "orders")
    result = recover(["users"], "replace")
    assert result["failed"]
    assert "2 of orders" in result["msg"]
    assert contents(shop, "users", "orders") == before
    assert written(recover(["users", "orders"], "replace")) == {"public.users": (0, 0, 1), "public.orders": (0, 0, 2)}


@pytest.mark.parametrize("action", ["SET NULL", "SET DEFAULT", "CASCADE"])
def test_what_a_new_foreign_key_would_take_from_named_tables_is_not_lost(
    recover: Any, shop: Any, back_up: Any, action: str
) -> None:
    """The column came after the backup: what it holds is nowhere else, and in the rest of it no row differs."""
    shop.execute("CREATE TABLE coupons (id int PRIMARY KEY, code text); INSERT INTO coupons VALUES (1, 'a'), (2, 'b')")
    backup = back_up()
    shop.execute(f"ALTER TABLE orders ADD COLUMN coupon int REFERENCES coupons ON DELETE {action}")
    shop.execute("INSERT INTO coupons VALUES (3, 'c'); UPDATE coupons SET code = 'x' WHERE id = 1")
    shop.execute("ALTER TABLE orders DISABLE TRIGGER touched; UPDATE orders SET coupon = 1 + id % 3 WHERE id <= 30")
    before = contents(shop, "coupons", "orders")
    for tables in (["coupons", "orders"], ["orders", "coupons"]):
        result = recover(tables, "replace", backup=backup)
        assert result["failed"]
        assert result["error"]["kind"] == "refused"
        assert "ON DELETE or ON UPDATE of a foreign key" in result["msg"]
        assert "rolled back" in result["msg"]
        assert contents(shop, "coupons", "orders") == before
    shop.execute("UPDATE orders SET coupon = 2 WHERE coupon = 3")
    result = recover(["coupons", "orders"], "replace", backup=backup)
    assert written(result) == {"public.coupons": (0, 1, 1), "public.orders": (0, 0, 0)}


@pytest.mark.parametrize("action", ["SET NULL", "CASCADE"])
def test_what_a_new_foreign_key_to_itself_would_take_from_a_table_is_not_lost(
    recover: Any, shop: Any, action: str
) -> None:
    shop.execute(f"ALTER TABLE users ADD COLUMN manager int REFERENCES users ON DELETE {action}")
    shop.execute("INSERT INTO users (id, email) VALUES (900, 'new'); UPDATE users SET manager = 900 WHERE id IN (5, 6)")
    before = contents(shop, "users", "orders")
    result = recover(["users", "orders"], "replace")
    assert result["failed"]
    assert result["error"]["kind"] == "refused"
    assert "ON DELETE or ON UPDATE of a foreign key" in result["msg"]
    assert "rolled back" in result["msg"]
    assert contents(shop, "users", "orders") == before
    shop.execute("UPDATE users SET manager = 7 WHERE manager = 900; UPDATE users SET manager = 900 WHERE id = 900")
    assert written(recover(["users", "orders"], "replace"))["public.users"] == (0, 0, 1)


def test_tables_with_foreign_keys_are_replaced_together(recover: Any, shop: Any, back_up: Any) -> None:
    shop.execute("CREATE TABLE coupons (id int PRIMARY KEY, better int REFERENCES coupons ON DELETE SET NULL)")
    shop.execute("INSERT INTO coupons VALUES (1, NULL), (2, 1), (3, 2)")
    shop.execute("ALTER TABLE orders ADD COLUMN coupon int REFERENCES coupons ON DELETE SET NULL ON UPDATE CASCADE")
    shop.execute("ALTER TABLE orders DISABLE TRIGGER touched; UPDATE orders SET coupon = 1 + id % 3 WHERE id <= 30")
    backup = back_up()
    was = contents(shop, "users", "coupons", "orders")
    shop.execute("INSERT INTO coupons VALUES (4, 3); DELETE FROM coupons WHERE id = 3")
    shop.execute("INSERT INTO users (id, email) VALUES (900, 'new'); DELETE FROM users WHERE id = 8")
    shop.execute(
        "INSERT INTO orders (user_id, coupon) VALUES (900, 4), (900, 2); UPDATE users SET price = 0 WHERE id = 9"
    )
    result = recover(["orders", "coupons", "users"], "replace", backup=backup)
    assert written(result) == {
        "public.users": (1, 1, 1),
        "public.coupons": (1, 0, 1),
        "public.orders": (2, 10, 2),
    }
    assert contents(shop, "users", "coupons", "orders") == was


def test_rows_without_their_parents_are_refused(recover: Any, shop: Any) -> None:
    shop.execute("DELETE FROM users WHERE id <= 3")
    before = contents(shop, "users", "orders")
    result = recover(["orders"], "insert_missing")
    assert result["failed"]
    assert "orders_user_id_fkey" in result["msg"]
    assert "Name the other table too" in result["msg"]
    assert contents(shop, "users", "orders") == before


def test_row_that_is_in_the_way_is_named(recover: Any, shop: Any) -> None:
    shop.execute("DELETE FROM users WHERE id = 7; INSERT INTO users (email) VALUES ('u7@example.com')")
    was = recover(["users"], "insert_missing")
    assert was["failed"]
    assert "u7@example.com" in was["msg"]
    assert written(recover(["users"], "replace"))["public.users"] == (1, 0, 1)


def test_column_added_not_null_without_default(recover: Any, shop: Any) -> None:
    """The first scenario of the appendix: the migration put a value into rows that were there; rows are gone."""
    shop.execute("DELETE FROM users WHERE id > 498; ALTER TABLE users ADD COLUMN tax text")
    shop.execute("UPDATE users SET tax = 'none', price = 1; ALTER TABLE users ALTER COLUMN tax SET NOT NULL")
    before = contents(shop, "users")
    result = recover(["users"], "insert_missing")
    assert result["failed"]
    assert "2 rows of the backup cannot be put into users" in result["msg"]
    assert "tax, which must have a value (NOT NULL) and has no default" in result["msg"]
    assert contents(shop, "users") == before
    shop.execute("ALTER TABLE users DROP COLUMN tax")  # the migration is taken back
    ok(recover(["users"], "insert_missing"))
    assert shop.execute("SELECT count(*) FROM users") == [(500,)]


def test_new_column_keeps_its_values(recover: Any, shop: Any) -> None:
    shop.execute("ALTER TABLE users ADD COLUMN nickname text DEFAULT 'new'; UPDATE users SET nickname = 'n' || id")
    shop.execute("UPDATE users SET price = 0 WHERE id = 3; DELETE FROM users WHERE id = 4")
    assert written(recover(["users"], "replace"))["public.users"] == (1, 1, 0)
    assert shop.execute("SELECT id, nickname, price FROM users WHERE id IN (3, 4) ORDER BY id") == [
        (3, "n3", Decimal("3.30")),
        (4, "new", Decimal("4.40")),
    ]


def test_dropped_table_comes_back_whole(recover: Any, shop: Any, run_module: Any) -> None:
    """The second scenario of the appendix, with everything that hung on the tables."""

    def state() -> Any:
        result = run_module("db_fingerprint", database_url=shop.url, method="text")
        return ok(result)["fingerprint"]

    before = state()
    shop.execute(f"DROP VIEW v; DROP MATERIALIZED VIEW mv; DROP TABLE orders, users, {ODD}")
    assert ok(recover(["users"], "replace", check_mode=True))["changed"]
    compared = ok(recover(["users", "orders"]))
    assert {table["name"]: (table["missing"], table["only_in"]) for table in compared["tables"]} == {
        "public.users": (500, "other"),
        "public.orders": (1000, "other"),
    }
    result = recover(["users", "orders", 'Odd "Table.Na%me{}'], "insert_missing")
    assert set(written(result).values()) == {(500, 0, 0), (1000, 0, 0), (3, 0, 0)}
    assert result["left_out"] == ["view public.v is gone too, and was not put back"]
    after = state()
    for kind in ("tables", "columns", "constraints", "indexes", "triggers", "policies", "sequences", "statistics"):
        was, has = (canonical_catalogue(state["catalogue"]).get(kind, {}) for state in (before, after))
        assert has == was, kind
    assert after["tables"] == before["tables"]
    assert after["sequences"] == before["sequences"]


def test_foreign_keys_to_a_dropped_table_come_back(recover: Any, shop: Any) -> None:
    shop.execute("DROP TABLE users CASCADE")
    result = ok(recover(["users"], "insert_missing"))
    assert "view public.v" in " ".join(result["left_out"])
    query = "SELECT convalidated FROM pg_constraint WHERE conname = 'orders_user_id_fkey'"
    assert shop.execute(query) == [(True,)]
    shop.execute("DROP TABLE users CASCADE; INSERT INTO orders (user_id) VALUES (7777)")
    result = ok(recover(["users"], "insert_missing"))
    assert "VALIDATE CONSTRAINT orders_user_id_fkey" in " ".join(result["left_out"])
    assert shop.execute(query) == [(False,)]


def test_child_of_a_missing_parent_does_not_come_back_half(recover: Any, shop: Any) -> None:
    shop.execute("DROP TABLE orders; DELETE FROM users WHERE id = 2")
    result = recover(["orders"], "insert_missing")
    assert result["failed"]
    assert "orders_user_id_fkey" in result["msg"]
    assert shop.execute("SELECT to_regclass('orders')::text") == [(None,)]


def test_shortened_column(recover: Any, shop: Any) -> None:
    """The third scenario of the appendix: values were cut; the type comes back first, then the values."""
    was = contents(shop, "orders")
    shop.execute("DROP TRIGGER touched ON orders; DROP POLICY pol ON orders")
    shop.execute("ALTER TABLE orders ALTER COLUMN note TYPE varchar(20) USING left(note, 20)")
    before = contents(shop, "orders")
    result = recover(["orders"], "replace")
    assert result["failed"]
    assert (
        "1000 values of orders.note in the backup do not fit: the column is character varying(20) now, and was text"
        in (result["msg"])
    )
    assert contents(shop, "orders") == before
    shop.execute("ALTER TABLE orders ALTER COLUMN note TYPE text")
    assert written(recover(["orders"], "replace"))["public.orders"] == (0, 1000, 0)
    assert contents(shop, "orders") == was


def test_other_type_with_room_for_every_value_is_safe(recover: Any, shop: Any) -> None:
    shop.execute("DROP TRIGGER touched ON orders; DROP POLICY pol ON orders")
    shop.execute("ALTER TABLE orders ALTER COLUMN note TYPE varchar(100), ALTER COLUMN user_id TYPE bigint")
    shop.execute("DELETE FROM orders WHERE id <= 5; UPDATE orders SET note = 'x' WHERE id = 6")
    assert written(recover(["orders"], "replace"))["public.orders"] == (5, 1, 0)


def test_column_that_is_gone_is_refused(recover: Any, shop: Any) -> None:
    shop.execute("ALTER TABLE users DROP COLUMN profile; DELETE FROM users WHERE id = 1")
    for check_mode in (True, False):
        result = recover(["users"], "insert_missing", check_mode=check_mode)
        assert result["failed"]
        assert "columns that the table has no more: profile" in result["msg"]
    assert ok(recover(["users"]))["tables"][0]["missing"] == 1


def test_table_that_neither_or_only_one_has(recover: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE fresh (a int)")
    assert "There is no table 'user' in" in recover(["user"])["msg"]
    assert "has no table fresh: it was made before it came" in recover(["fresh"], "replace")["msg"]
    assert "No table was named" in recover([], "replace")["msg"]


def test_dropped_partition_is_refused(recover: Any, shop: Any) -> None:
    shop.execute("DROP TABLE part_1")
    assert "it was a partition" in recover(["part"], "replace")["msg"]


def test_backup_of_another_database_or_server(recover: Any, shop: Any, folder: Path, backup: str) -> None:
    assert "is of the database" in recover(["users"], database_url=shop.admin_url)["msg"]
    path = folder / backup / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["database"]["system_identifier"] = "4711"
    path.write_text(reseal(manifest))
    refused = recover(["users"], "replace")
    assert "on another server" in refused["msg"]
    ok(recover(["users"], "replace", other_server=True))


def reseal(manifest: dict[str, Any]) -> str:
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.manifest import render, seal

    content = {name: value for name, value in manifest.items() if name not in ("digest", "signature", "format")}
    return render(seal(content))


def test_manifest_that_was_edited_or_file_that_was_changed(recover: Any, shop: Any, folder: Path, backup: str) -> None:
    shop.execute("DELETE FROM users WHERE id = 1")
    file = max((folder / backup / "dump").glob("*.dat*"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    file.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    assert "was changed" in recover(["users"], "insert_missing")["msg"]
    file.write_bytes(whole)
    path = folder / backup / "manifest.json"
    path.write_text(path.read_text().replace('"rows": 500', '"rows": 499'))
    assert "edited or damaged" in recover(["users"], "insert_missing")["msg"]


def test_contents_are_proven_even_when_the_files_are_as_they_were(
    recover: Any, shop: Any, folder: Path, backup: str
) -> None:
    path = folder / backup / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["fingerprint"]["tables"]["public.users"]["contents"] = "1"
    path.write_text(reseal(manifest))
    shop.execute("DELETE FROM users WHERE id = 1")
    assert "is not what was backed up" in recover(["users"], "insert_missing")["msg"]
    shop.execute("DROP TABLE users CASCADE")
    result = recover(["users"], "insert_missing")
    assert "is not what was backed up" in result["msg"]
    assert "rolled back" in result["msg"]
    assert shop.execute("SELECT to_regclass('users')::text") == [(None,)]


def test_writers_wait_and_lose_nothing(recover: Any, shop: Any) -> None:
    """Rows written while the tables are recovered are all there afterwards: nothing acknowledged is deleted unseen."""
    shop.execute("DELETE FROM users WHERE id <= 50")
    stop = threading.Event()
    acknowledged: list[int] = []

    def write(number: int) -> None:
        connection = psycopg2.connect(shop.url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            place = 0
            while not stop.is_set():
                place += 1
                cursor.execute("INSERT INTO users (email) VALUES (%s) RETURNING id", [f"w{number}.{place}"])
                acknowledged.extend(row[0] for row in cursor.fetchall())
        connection.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        result = recover(["users"], "insert_missing")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert written(result)["public.users"][0] == 50
    ids = {row[0] for row in shop.execute("SELECT id FROM users")}
    assert set(acknowledged) <= ids
    assert set(range(1, 501)) <= ids


def waiting(shop: Any, event: str) -> list[tuple[int]]:
    """The sessions in the shop that wait for something."""
    query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND %s IN (wait_event, wait_event_type)"
    return list(shop.execute(query, [shop.name, event], url=shop.superuser_url))


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_what_is_committed_while_it_waits_is_seen(recover: Any, shop: Any, isolation: str) -> None:
    shop.execute(f"ALTER DATABASE \"{shop.name}\" SET default_transaction_isolation TO '{isolation}'")
    with ThreadPoolExecutor() as pool, shop.session() as session, session.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO users (id, email) VALUES (900, 'new'); DELETE FROM users WHERE id = 1")
        replacing = pool.submit(recover, ["users", "orders"], "replace")
        wait_until(lambda: waiting(shop, "Lock"), "the tables are waited for")
        cursor.execute("COMMIT")
        result = replacing.result()
    assert written(result) == {"public.users": (1, 0, 1), "public.orders": (2, 0, 0)}
    (kept,) = result["kept"]
    assert kept["rows"] == 1


@contextmanager
def waiting_for_a_standby(shop: Any) -> Iterator[None]:
    """Let commits in the shop, once written, wait for a standby that is not there."""
    shop.execute(f'ALTER DATABASE "{shop.name}" SET synchronous_commit TO on')
    names = "ALTER SYSTEM {} synchronous_standby_names"
    try:
        shop.execute(f"{names.format('SET')} TO 'nobody'", url=shop.server.superuser_url())
        shop.execute("SELECT pg_reload_conf()", url=shop.server.superuser_url())
        yield
    finally:
        shop.execute(names.format("RESET"), url=shop.server.superuser_url())
        shop.execute("SELECT pg_reload_conf()", url=shop.server.superuser_url())
        shop.execute(f'ALTER DATABASE "{shop.name}" RESET synchronous_commit', url=shop.admin_url)


def test_connection_lost_after_the_commit_was_written_is_not_told_as_rolled_back(recover: Any, shop: Any) -> None:
    was = contents(shop, "users")
    shop.execute("UPDATE users SET price = 0 WHERE id = 1")
    with waiting_for_a_standby(shop), ThreadPoolExecutor() as pool:
        replacing = pool.submit(recover, ["users"], "replace")
        wait_until(lambda: waiting(shop, "SyncRep"), "the commit waits")
        shop.execute("SELECT pg_terminate_backend(%s)", waiting(shop, "SyncRep")[0], url=shop.superuser_url)
        result = replacing.result()
    assert result["failed"]
    assert result["error"]["kind"] == "failed"
    assert "Either all of it was written or nothing" in result["msg"]
    assert "rolled back" not in result["msg"]
    assert contents(shop, "users") == was


def test_connection_lost_before_the_commit_was_written_is_told_as_unknown(shop: Any) -> None:
    shop.execute(
        "CREATE FUNCTION rest() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';"
        "CREATE CONSTRAINT TRIGGER rests AFTER INSERT ON twins DEFERRABLE INITIALLY DEFERRED FOR EACH ROW "
        "EXECUTE FUNCTION rest()"
    )
    before = contents(shop, "twins")

    def write() -> None:
        with writing(Server(shop.url)) as connection:
            connection.cursor().execute("INSERT INTO public.twins VALUES (7, 'y')")

    with ThreadPoolExecutor() as pool:
        committing = pool.submit(write)
        wait_until(lambda: waiting(shop, "PgSleep"), "the commit waits")
        shop.execute("SELECT pg_terminate_backend(%s)", waiting(shop, "PgSleep")[0], url=shop.superuser_url)
        with pytest.raises(Failed) as caught:
            committing.result()
    assert "Either all of it was written or nothing" in caught.value.text()
    assert "rolled back" not in caught.value.text()
    assert contents(shop, "twins") == before


def test_constraint_that_is_broken_at_the_commit_is_told_as_rolled_back(recover: Any, shop: Any) -> None:
    shop.execute("ALTER TABLE orders ALTER CONSTRAINT orders_user_id_fkey DEFERRABLE INITIALLY DEFERRED")
    shop.execute("DELETE FROM users WHERE id <= 3")
    before = contents(shop, "users", "orders")
    result = recover(["orders"], "insert_missing")
    assert "orders_user_id_fkey" in result["msg"]
    assert "rolled back" in result["msg"]
    with pytest.raises(Refused, match="orders_user_id_fkey") as caught, writing(Server(shop.url)) as connection:
        connection.cursor().execute("INSERT INTO public.orders (user_id) VALUES (7777)")
    assert "rolled back" in caught.value.untouched
    assert contents(shop, "users", "orders") == before


@pytest.fixture
def run(shop: Any, run_module: Any, tmp_path: Path) -> dict[str, Any]:
    """A run, as a module is given it; rows that are overwritten are kept in its folder."""
    (tmp_path / "state").mkdir(mode=0o700)
    started = run_module(
        "run_journal", state="started", state_dir=str(tmp_path / "state"), kind="restore", environment="production",
        host="here", database=shop.name, reason="", executed_by="me", request={},
    )  # fmt: skip
    return {"run_id": ok(started)["run_id"], "state_dir": str(tmp_path / "state"), "phase": "restore", "keep_dir": None}


def test_scratch_that_cannot_be_dropped_is_named(recover: Any, shop: Any, run: dict[str, Any]) -> None:
    was = contents(shop, "users")
    shop.execute("UPDATE users SET price = 0 WHERE id = 2")
    ok(recover(["users"], keep_scratch=True, **run))
    scratch = f"{shop.name}__trial_{run['run_id']}"
    with shop.session(shop.server.superuser_url(scratch)):
        result = ok(recover(["users"], "replace", may_leave=[scratch], **run))
        assert written(result) == {"public.users": (0, 1, 0)}
        assert result["changed"]
        assert Path(result["kept"][0]["path"]).exists()
        assert f'DROP DATABASE "{scratch}" WITH (FORCE)' in result["lines"][-1]
        assert contents(shop, "users") == was
        # What is refused names what is left, too.
        shop.execute("CREATE RULE nothing AS ON UPDATE TO users DO INSTEAD NOTHING; UPDATE users SET price = 0")
        shop.execute("DELETE FROM orders WHERE id = 1; DELETE FROM users WHERE id = 499")
        result = recover(["users"], "replace", may_leave=[scratch], **run)
        assert "Rewrite rules" in result["msg"]
        assert f'DROP DATABASE "{scratch}" WITH (FORCE)' in result["msg"]
    assert ok(recover([], "clean_up", **run))["changed"]


def test_scratch_is_used_again_and_cleaned_up(recover: Any, shop: Any, run: dict[str, Any], tmp_path: Path) -> None:
    shop.execute("DELETE FROM users WHERE id = 1; UPDATE users SET price = 0 WHERE id = 2")
    ok(recover(["users"], keep_scratch=True, **run))
    scratch = f"{shop.name}__trial_{run['run_id']}"
    assert shop.relatives() == [shop.name, scratch]
    query = "SELECT oid FROM pg_database WHERE datname = %s"
    oid = shop.execute(query, [scratch], url=shop.admin_url)
    ok(recover(["users"], keep_scratch=True, **run))
    assert shop.execute(query, [scratch], url=shop.admin_url) == oid
    result = ok(recover(["users"], "replace", **run))
    assert result["kept"][0]["path"].startswith(f"{tmp_path}/state/runs/{run['run_id']}/kept/")
    ok(recover(["users"], keep_scratch=True, **run))
    assert ok(recover([], "clean_up", **run))["changed"]
    assert not ok(recover([], "clean_up", **run))["changed"]


def test_rule_that_would_interfere_is_refused(recover: Any, shop: Any) -> None:
    shop.execute("CREATE RULE nothing AS ON INSERT TO twins DO INSTEAD NOTHING; DELETE FROM twins")
    assert "Rewrite rules" in recover(["twins"], "insert_missing")["msg"]
