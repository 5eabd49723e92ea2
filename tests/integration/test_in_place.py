# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rolling back in place: the roles as a team sets them up, a logical slot that stays, and the way back."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from window import Window, wait_until

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fingerprint import take_fingerprint
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.in_place_access import close_in_place
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.in_place_blockers import (
    find_in_place_blockers,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.in_place_opening import open_in_place
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.properties import read_grants
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.relatives import admit
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore import restore_original
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import (
    advance,
    lease_end,
    locked,
    write_comment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.unfinished import finish, look
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import render_description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.fingerprint import compare_restored
from ansible_collections.balcon.rollback.plugins.module_utils._domain.in_place import DumpAccess, check_restore_point
from ansible_collections.balcon.rollback.plugins.module_utils._domain.unfinished import Seen, decide

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


FILES = "SELECT array_agg(pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE relkind = 'r'"


def test_nothing_is_restored_where_nothing_differs(shop: Shop) -> None:
    """A down() that failed and took back what it had done: the privileges are given back, and that is all."""
    before = shop.properties()
    files = shop.superuser(FILES)
    assert not shop.close()["failed"]
    assert not shop.keep()["failed"]
    shop.migrate("BEGIN; DROP TABLE public.orders CASCADE; ROLLBACK")
    restored = shop.restore()
    assert (restored["failed"], restored["restored_from"]) == (False, "before_swap"), restored
    assert (
        shop.superuser("SELECT array_agg(pg_relation_filenode(oid) ORDER BY oid) FROM pg_class WHERE relkind = 'r'")
        == files
    )
    assert shop.properties() == before


def test_a_run_that_failed_before_migrating_gives_the_privileges_back(shop: Shop) -> None:
    """And what was never dumped is never migrated."""
    before = shop.properties()
    assert not shop.close()["failed"]
    with pytest.raises(Refused, match="kept no restore point"):
        check_restore_point(shop.window.run.run_id, shop.database.name, shop.window.description())
    with pytest.raises(Refused, match="'open_in_place'"):
        open_in_place(shop.window.server, shop.window.run.run_id)
    restored = restore_original(shop.window.server, shop.window.run.run_id)
    assert restored.restored_from == "before_swap"
    assert shop.properties() == before
    shop.insert()


HOLDS = {"emptied": "--section=pre-data", "half filled": "--data-only", "filled": "--section=post-data"}


def test_killed_at_any_moment_it_is_as_it_was_or_shut(shop: Shop, tmp_path: Path) -> None:
    """The restore is killed when all is dropped, when half is filled, and when only indexes are missing."""
    before, properties = shop.fingerprint(), shop.properties()
    assert not shop.close()["failed"]
    assert not shop.keep()["failed"]
    shop.migrate()
    migrated = shop.fingerprint()
    for moment, argument in HOLDS.items():
        folder = tmp_path / moment.replace(" ", "-")
        stopped = slow_tools(folder, Path(shop.database.server.bin_dir), argument)
        process = shop.window.start("db_swap", state="original", client_path=[str(folder)], phase="restore")
        try:
            wait_until(stopped.exists, f"the restore has {moment}")
            process.kill()
            process.communicate()
        finally:
            os.killpg(int(stopped.read_text()), signal.SIGKILL)
        wait_until(lambda: not sessions_in(shop), "the server has rolled back")
        assert not shop.window.is_open()
        description = shop.window.description()
        assert description
        assert description.state == "migrating"
        with shop.window.server.admin() as connection, connection.cursor() as cursor:
            admit(cursor, shop.database.name, True)  # only the owner has the privilege
        assert unlike(shop, migrated) == []
    restored = shop.restore()
    assert (restored["failed"], restored["restored_from"]) == (False, "restore_point"), restored
    assert unlike(shop, before) == []
    assert shop.properties() == properties


def slow_tools(folder: Path, real: Path, argument: str) -> Path:
    """Make client tools of which pg_restore stops at an argument; return the file that then holds its process."""
    folder.mkdir()
    (folder / "pg_dump").write_text(f'#!/bin/sh\nexec {real}/pg_dump "$@"\n')
    (folder / "pg_restore").write_text(
        f'#!/bin/sh\ncase "$*" in *{argument}*)\necho $$ > {folder}/partial; mv {folder}/partial {folder}/stopped\n'
        f'sleep 60;;\nesac\nexec {real}/pg_restore "$@"\n'
    )
    for tool in ("pg_dump", "pg_restore"):
        (folder / tool).chmod(0o755)
    return folder / "stopped"


def sessions_in(shop: Shop) -> list[Any]:
    statement = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
    return shop.database.execute(statement, [shop.database.name], url=shop.database.admin_url)


@pytest.mark.newest_server
def test_what_was_written_after_opening_is_held_and_kept(shop: Shop) -> None:
    before, properties = shop.fingerprint(), shop.properties()
    assert not shop.close()["failed"]
    assert not shop.keep()["failed"]
    shop.migrate()
    shop.verify()
    assert not shop.window.module("db_swap", state="candidate")["failed"]
    shop.insert()
    written = shop.restore()
    assert written["failed"]
    assert "rows were written to it since the swap: public.orders (1 rows)" in written["msg"]
    assert "accept_loss=true" in written["error"]["commands"]["go_back"]
    assert decide(Seen(shop.database.name, description=shop.window.description(), lease="run_out")).kind == "ask"
    assert not shop.window.is_open()
    restored = shop.restore(accept_loss=True)
    assert (restored["failed"], restored["restored_from"]) == (False, "restore_point"), restored
    assert unlike(shop, before) == []
    assert shop.properties() == properties
    kept = json.loads(next((shop.window.run.state_dir / "backups").glob("*-replaced/manifest.json")).read_text())
    assert kept["fingerprint"]["tables"]["public.orders"]["rows"] == 501


@pytest.mark.newest_server
def test_keeping_what_was_written_opens_it(shop: Shop) -> None:
    properties = shop.properties()
    assert not shop.close()["failed"]
    assert not shop.keep()["failed"]
    shop.migrate()
    shop.verify()
    assert not shop.window.module("db_swap", state="candidate")["failed"]
    shop.insert()
    commands = shop.restore()["error"]["commands"]
    shop.database.execute(commands["keep"], url=shop.database.server.url(shop.owner, shop.password, "postgres"))
    assert shop.properties() == properties
    shop.insert()


@pytest.mark.newest_server
def test_a_restore_point_that_was_damaged_is_not_restored(shop: Shop) -> None:
    assert not shop.close()["failed"]
    kept = shop.keep()
    shop.migrate()
    file = max((Path(kept["restore_point"]) / "dump").iterdir(), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    refused = shop.restore()
    assert refused["failed"]
    assert "The backup cannot be trusted" in refused["msg"]
    assert shop.superuser("SELECT count(*) FROM public.newer") == [(0,)]
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        shop.insert()


@pytest.mark.newest_server
def test_whoever_would_stay_in_is_named(shop: Shop) -> None:
    """And what could not be brought back: everything in one refusal, before anything is touched."""
    name, application, before = shop.database.name, shop.application, shop.properties()
    assert blockers(shop) == set()
    assert ("application_roles", name) in blockers(shop, [])
    assert ("application_roles", "nobody") in blockers(shop, ["nobody"])
    assert ("application_role", shop.owner) in blockers(shop, [shop.owner])
    superuser = shop.superuser("SELECT current_user")[0][0]
    assert ("application_role", superuser) in blockers(shop, [application, superuser])
    with shop.database.session(shop.database.superuser_url), shop.database.session(shop.url(shop.owner)):
        assert [kind for kind, _name in blockers(shop)].count("session_stays") == 2
    shop.superuser(f"GRANT {shop.owner} TO {application}")
    assert {("application_role", application)} <= blockers(shop)
    assert ("role_stays", application) in blockers(shop, [superuser])
    shop.superuser(f"REVOKE {shop.owner} FROM {application}")
    shop.superuser("SELECT lo_create(0); CREATE TABLE public.strange (n int)")
    shop.superuser(f"ALTER TABLE public.strange OWNER TO {application}")
    found = blockers(shop)
    assert {kind for kind, _name in found} == {"large_objects", "object_owner"}
    refused = shop.close()
    assert refused["failed"]
    assert "could not bring back objects that belong to role" in refused["msg"]
    assert shop.properties() == before
    shop.insert()


def blockers(shop: Shop, roles: list[str] | None = None) -> set[tuple[str, str]]:
    with shop.window.server.admin() as connection, connection.cursor() as cursor:
        wanted = [shop.application] if roles is None else roles
        found = find_in_place_blockers(cursor, shop.window.server, None, wanted)
        return {(blocker.kind, blocker.name) for blocker in found}


@pytest.mark.newest_server
def test_the_keeper_brings_back_what_nobody_goes_on_with(shop: Shop) -> None:
    """The controller dies while the database is being migrated in place; a tool of it is still connected."""
    before, properties = shop.fingerprint(), shop.properties()
    closed = shop.close(lease_seconds=30, client_path=[str(shop.database.server.bin_dir)])
    assert not closed["failed"], closed
    assert closed["keeper"]["pid"]
    kept = shop.keep()
    assert not kept["failed"], kept
    shop.migrate()
    with shop.database.session(shop.url(shop.owner)):
        run_out(shop)
        wait_until(lambda: shop.window.description() is None, "the keeper has ended the run")
    assert unlike(shop, before) == []
    assert shop.properties() == properties
    shop.insert()
    wait_until(lambda: "brought the database back" in shop.window.run.events()[-1]["action"], "it is in the journal")


def run_out(shop: Shop) -> None:
    """Let the run's lease be over, by the server's clock."""
    with locked(shop.window.server) as (cursor, description):
        assert description
        over = replace(description, lease_until=lease_end(cursor, -1))
        write_comment(cursor, shop.database.name, render_description(over))


@pytest.mark.newest_server
def test_the_next_run_brings_it_back_or_leaves_it_open(shop: Shop) -> None:
    """With the controller and the keeper dead: migrating, it is brought back; opened and written to, it is left."""
    before, properties = shop.fingerprint(), shop.properties()
    access = DumpAccess(None, [str(shop.database.server.bin_dir)])
    close_in_place(shop.window.server, shop.window.run.run_id, 120, [shop.application])
    assert not shop.keep()["failed"]
    shop.migrate()
    run_out(shop)
    seen = look(shop.window.server)
    decision = decide(seen)
    assert decision.kind == "restore_dump"
    assert finish(shop.window.server, seen, decision, access=access).data["restored_from"] == "restore_point"
    assert unlike(shop, before) == []
    assert shop.properties() == properties

    close_in_place(shop.window.server, shop.window.run.run_id, 120, [shop.application])
    assert not shop.keep()["failed"]
    shop.migrate()
    shop.verify()
    assert not shop.window.module("db_swap", state="candidate")["failed"]
    run_out(shop)
    seen = look(shop.window.server)
    assert decide(seen).kind == "restore_dump"
    shop.insert()
    with pytest.raises(Failed, match="1 rows") as left:
        finish(shop.window.server, seen, decide(seen), access=access)
    assert "It is open" in left.value.untouched
    shop.insert()
    assert decide(look(shop.window.server)).kind == "ask"
