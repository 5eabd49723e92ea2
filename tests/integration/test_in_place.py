# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolling back in place: the roles as a team sets them up, a logical slot that stays, and the way back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.properties import read_grants
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import advance
from ansible_collections.balcon.rollback.plugins.module_utils._domain.fingerprint import compare_restored

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

SHOP = """
CREATE SCHEMA billing;
CREATE TYPE public.status AS ENUM ('new', 'paid');
CREATE DOMAIN public.euro AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TABLE public.users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE public.orders (id serial PRIMARY KEY, user_id bigint NOT NULL REFERENCES public.users, state public.status
  DEFAULT 'new', total public.euro, note text);
CREATE TABLE billing.invoices (n int, day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE billing.invoices_2026 PARTITION OF billing.invoices FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX ON public.orders (state) WHERE state = 'new';
CREATE VIEW public.open_orders AS SELECT id, user_id, total FROM public.orders WHERE state = 'new';
CREATE MATERIALIZED VIEW billing.totals AS SELECT user_id, sum(total) AS total FROM public.orders GROUP BY 1;
CREATE FUNCTION public.total_of(bigint) RETURNS numeric LANGUAGE sql AS
  'SELECT sum(total) FROM public.orders WHERE user_id = $1';
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := coalesce(NEW.note, ''-''); RETURN
  NEW; END';
CREATE TRIGGER stamp BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.stamp();
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON public.users USING (true);
CREATE PUBLICATION warehouse FOR TABLE public.orders;
COMMENT ON TABLE public.orders IS 'it''s 100 % ours; DROP TABLE users; --';
INSERT INTO public.users (name) SELECT 'user ' || n FROM generate_series(1, 200) n;
INSERT INTO public.orders (user_id, total, note) SELECT 1 + n % 200, n, E'a\\\\b\\nline \\t' || n FROM
  generate_series(1, 1000) n;
INSERT INTO billing.invoices SELECT n, '2026-05-01' FROM generate_series(1, 50) n;
REFRESH MATERIALIZED VIEW billing.totals;
"""

DOWN = """
DROP VIEW public.open_orders;
DROP FUNCTION public.stamp() CASCADE;
ALTER TABLE public.orders DROP COLUMN note;
ALTER TYPE public.status ADD VALUE 'lost';
CREATE TABLE public.newer (order_id int REFERENCES public.orders, state public.status DEFAULT 'new');
CREATE VIEW public.newer_view AS SELECT o.id, total_of(o.user_id) FROM public.orders o JOIN public.newer n ON true;
CREATE SCHEMA later;
CREATE FUNCTION later.f(public.orders) RETURNS int LANGUAGE sql AS 'SELECT $1.id';
DELETE FROM public.orders WHERE id > 500;
UPDATE public.users SET name = 'nobody ' || id WHERE id = 3;
"""


class Shop:
    """A database as a team sets it up: an owner without CREATEDB, and an application that only has its tables.

    Args:
        database: a fresh one; it is given to a new owner.
        window: the run.
    """

    def __init__(self, database: Database, run_module: ModuleRunner, state_dir: Path) -> None:
        self.database = database
        self.password = secrets.token_hex(8)
        self.owner, self.application = f"{database.name}_owner", f"{database.name}_app"
        run_module.secrets.add(self.password)
        for role, options in ((self.owner, "NOCREATEDB"), (self.application, "")):
            self.superuser(f"CREATE ROLE {role} LOGIN {options} PASSWORD '{self.password}'")
        self.superuser(f"GRANT pg_signal_backend TO {self.owner}")
        self.superuser(f"ALTER DATABASE {database.name} OWNER TO {self.owner}")
        self.superuser(f"REVOKE CONNECT, TEMPORARY ON DATABASE {database.name} FROM PUBLIC")
        self.superuser(f"GRANT CONNECT ON DATABASE {database.name} TO {self.application}")
        self.superuser(f"COMMENT ON DATABASE {database.name} IS 'ours'")
        self.as_owner(SHOP)
        for schema in ("public", "billing"):
            self.as_owner(
                f"GRANT USAGE ON SCHEMA {schema} TO {self.application};"
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {self.application};"
                f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {self.application};"
                f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT ON TABLES TO {self.application}"
            )
        self.as_owner("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        self.window = Window(self.url(self.owner), state_dir, run_module).pass_gate()

    def url(self, role: str) -> str:
        """The database, as a role of the team's."""
        return self.database.server.url(role, self.password, self.database.name)

    def superuser(self, statement: str) -> list[Any]:
        """Run SQL as the superuser, in the database."""
        return self.database.execute(statement, url=self.database.superuser_url)

    def as_owner(self, statement: str) -> list[Any]:
        """Run SQL as the owner."""
        return self.database.execute(statement, url=self.url(self.owner))

    def insert(self) -> None:
        """Write as the application does."""
        statement = "INSERT INTO public.orders (user_id, total) VALUES (1, 1)"
        self.database.execute(statement, url=self.url(self.application))

    def close(self, **options: Any) -> dict[str, Any]:
        """Close the database by privilege."""
        roles = [self.application]
        arguments = {"state": "closed", "method": "in_place", "application_roles": roles, "phase": "close", **options}
        return self.window.module("db_access", **arguments)

    def keep(self) -> dict[str, Any]:
        """Keep the restore point."""
        folder = str(self.database.server.bin_dir)
        return self.window.module("db_restore_point", phase="candidate", client_path=[folder])

    def restore(self, **options: Any) -> dict[str, Any]:
        """Call the emergency restore."""
        folder = str(self.database.server.bin_dir)
        return self.window.module("db_swap", state="original", client_path=[folder], phase="restore", **options)

    def migrate(self, statements: str = DOWN) -> None:
        """Do on the database itself what a migration would."""
        advance(self.window.server, self.window.run.run_id, "begin_in_place")
        self.as_owner(statements)

    def verify(self) -> None:
        """Say that the migrated database was verified."""
        for step in ("end_migration", "verify"):
            advance(self.window.server, self.window.run.run_id, step)

    def properties(self) -> list[Any]:
        """What must be as it was: OID, owner, comment, whether anybody gets in, and all privileges."""
        rows = self.database.execute(
            "SELECT oid::bigint, pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'), datallowconn,"
            " datconnlimit FROM pg_database WHERE datname = %s",
            [self.database.name],
            url=self.database.admin_url,
        )
        with self.window.server.admin() as connection, connection.cursor() as cursor:
            return [*rows, read_grants(cursor, self.database.name)]

    def fingerprint(self) -> dict[str, Any]:
        """Schema and contents."""
        return take_fingerprint(self.window.server, method="text")

    def drop_roles(self) -> None:
        """Remove the roles, once the database is gone."""
        for role in (self.owner, self.application):
            self.database.execute(f"DROP ROLE {role}", url=self.database.server.superuser_url("postgres"))


@pytest.fixture
def shop(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(database, run_module, tmp_path)
    yield shop
    name = database.name
    admin = database.server.superuser_url("postgres")
    slots = database.execute("SELECT slot_name FROM pg_replication_slots WHERE database = %s", [name], url=admin)
    for (slot,) in slots:
        database.execute("SELECT pg_drop_replication_slot(%s)", [slot], url=admin)
    database.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", url=admin)
    shop.drop_roles()


def unlike(shop: Shop, before: dict[str, Any]) -> list[str]:
    return compare_restored(before, shop.fingerprint())


def test_a_run_in_place_goes_through(shop: Shop) -> None:
    shop.superuser("SELECT pg_create_logical_replication_slot('warehouse_slot_' || current_database(), 'pgoutput')")
    before = shop.properties()
    with shop.database.session(shop.url(shop.application)) as session:
        closed = shop.close()
        assert not closed["failed"], closed
        assert closed["sessions_ended"] == 1
        with pytest.raises(psycopg2.Error), session.cursor() as cursor:
            cursor.execute("SELECT 1")
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        shop.insert()
    refused = shop.window.module("migrate_down", plan=["x"], phase="migrate_down", database=shop.database.name)
    assert refused["failed"]

    kept = shop.keep()
    assert not kept["failed"], kept
    assert (kept["name"], kept["locks"] > 0) == (shop.database.name, True)
    assert not shop.keep()["changed"]
    shop.migrate()
    shop.verify()
    opened = shop.window.module("db_swap", state="candidate")
    assert not opened["failed"], opened
    shop.insert()
    assert not shop.window.module("db_access", state="open")["failed"]
    assert shop.properties() == before
    assert shop.superuser("SELECT count(*) FROM public.newer") == [(0,)]
    slots = shop.superuser("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")
    assert len(slots) == 1


def test_the_way_back_is_whole(shop: Shop) -> None:
    """Newer objects that depend on older ones, dropped columns, changed rows: all of it is as it was."""
    properties, before = shop.properties(), shop.fingerprint()
    assert not shop.close()["failed"]
    kept = shop.keep()
    assert not kept["failed"], kept
    shop.migrate()
    assert unlike(shop, before)
    restored = shop.restore()
    assert not restored["failed"], restored
    assert restored["restored_from"] == "restore_point"
    assert unlike(shop, before) == []
    assert shop.properties() == properties
    shop.insert()
