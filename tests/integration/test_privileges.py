# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recommended roles do everything; each right that is taken away is missed by name, before anything is touched."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from psycopg2 import sql
from window import Window

from ansible_collections.balcon.rollback.tests.integration.conftest import PRIVILEGES

if TYPE_CHECKING:
    from tests.integration.conftest import Database

PASSWORD = "an0ther p@ss/word"


class Shop:
    """A database as docs/privileges.sql makes it, with its two roles and a third one that reports."""

    def __init__(self, database: Database, run_module: Any, state_dir: Path) -> None:
        mark = secrets.token_hex(3)
        self.application, self.reporter = f"shop_{mark}", f"reporter_{mark}"
        self.database = replace(database, name=f"shop_{mark}", owner=f"owner_{mark}", password=PASSWORD)
        self.run_module = run_module
        run_module.secrets.add(PASSWORD)
        for _time in range(2):  # the second time changes nothing
            names = {"database": self.name, "owner": self.database.owner, "application": self.application}
            database.server.run_script(PRIVILEGES, **names)
        self.superuser("CREATE ROLE {reporter} LOGIN; GRANT CONNECT ON DATABASE {name} TO {reporter}")
        for role in (self.database.owner, self.application, self.reporter):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD))
            database.execute(statement, url=database.server.superuser_url())
        self.database.execute("CREATE TABLE users (id serial PRIMARY KEY, email text)")
        self.database.execute("INSERT INTO users (email) SELECT 'u' || i FROM generate_series(1, 20) AS i")
        self.window = Window(self.database.url, state_dir, run_module)

    @property
    def name(self) -> str:
        return self.database.name

    def superuser(self, statement: str, *, inside: bool = False) -> list[tuple[Any, ...]]:
        """Run SQL as the superuser; names of the scene stand in braces."""
        known = {
            "name": self.name, "owner": self.database.owner,
            "application": self.application, "reporter": self.reporter,
        }  # fmt: skip
        names = {key: sql.Identifier(value) for key, value in known.items()}
        url = self.database.server.superuser_url(self.name if inside else "postgres")
        return self.database.execute(sql.SQL(statement).format(**names), url=url)

    def url(self, role: str) -> str:
        return self.database.server.url(role, PASSWORD, self.name)

    def remove(self) -> None:
        for name in self._relatives():
            statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self.database.execute(statement, url=self.database.server.superuser_url())
        self.superuser("DROP OWNED BY {owner}, {application}, {reporter}")
        self.superuser("DROP ROLE {owner}, {application}, {reporter}")

    def _relatives(self) -> list[str]:
        rows = self.superuser("SELECT datname FROM pg_database")
        return [name for (name,) in rows if name.startswith(self.name)]

    def server(self) -> list[tuple[Any, ...]]:
        """What a refused step leaves as it was."""
        return self.superuser(
            "SELECT datname, datallowconn, datdba, datacl::text, shobj_description(oid, 'pg_database') "
            "FROM pg_database ORDER BY 1"
        )


@pytest.fixture
def shop(database: Database, run_module: Any, tmp_path: Path) -> Iterator[Shop]:
    (tmp_path / "state").mkdir(mode=0o700)
    shop = Shop(database, run_module, tmp_path / "state")
    yield shop
    shop.remove()


def test_they_are_enough(shop: Shop) -> None:
    """A whole run, while the application is at work; and the application has no right of the owner's."""
    window, client = shop.window, {"client_path": [str(shop.database.server.bin_dir)]}
    information = window.module("db_info", free_bytes=10**12)
    assert information["blockers"] == []
    assert information["rights"] == {
        "user": shop.database.owner, "owner": True, "superuser": False, "create_database": True,
        "signal_backend": False, "connect_admin": True,
    }  # fmt: skip
    with shop.database.session(shop.url(shop.application)) as application, application.cursor() as cursor:
        cursor.execute("INSERT INTO users (email) VALUES ('new')")
        for forbidden in ("DROP TABLE users", "CREATE TABLE more ()", 'CREATE DATABASE "another"', "TRUNCATE users"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)
        backup = window.module("db_backup", verify="restore", phase="back_up", **client)
        assert not backup["failed"], backup["msg"]
        assert "pg_checkpoint" in backup["checkpoint"]
        window.pass_gate()
        closed = window.module("db_access", state="closed", phase="close")
        assert not closed["failed"], closed["msg"]
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT")
    for name, arguments in (
        ("db_clone", {"purpose": "candidate", "phase": "candidate"}),
        ("db_swap", {"state": "candidate"}),
        ("db_swap", {"state": "original"}),
    ):
        if arguments == {"state": "candidate"}:
            window.advance_to("verified")
        result = window.module(name, **arguments)
        assert not result["failed"], result["msg"]
    assert shop.database.execute("SELECT count(*) FROM users", url=shop.url(shop.application)) == [(21,)]
    refused = shop.run_module("db_info", database_url=shop.url(shop.application), free_bytes=10**12)
    assert {"owner", "create_database"} <= {blocker["kind"] for blocker in refused["blockers"]}


TAKEN = {
    "CREATEDB": ("ALTER ROLE {owner} NOCREATEDB", "create_database", "ALTER ROLE {owner} CREATEDB"),
    "ownership": ("ALTER DATABASE {name} OWNER TO {reporter}", "owner", "GRANT <owner> TO {owner}"),
    "the application's sessions": ("REVOKE {application} FROM {owner}", "session", "GRANT pg_signal_backend TO"),
    "another role's sessions": ("", "session", "GRANT pg_signal_backend TO"),
    "a setting": ("ALTER DATABASE {name} SET log_statement TO 'all'", "properties", "a role that may set it"),
    "privileges": (
        "GRANT CREATE ON DATABASE {name} TO {reporter} WITH GRANT OPTION; SET ROLE {reporter};"
        " GRANT CREATE ON DATABASE {name} TO {application}",
        "properties",
        "a role that may set it",
    ),
}


@pytest.mark.parametrize("right", TAKEN)
def test_a_right_that_is_missing_blocks_by_name(shop: Shop, right: str) -> None:
    """Said by the look, and by the step that would close the database."""
    statement, kind, remedy = TAKEN[right]
    if statement:
        shop.superuser(statement)
    role = {"session": shop.application if "application" in right else shop.reporter}.get(kind)
    before = shop.server()
    shop.window.pass_gate()
    with shop.database.session(shop.url(role)) if role else nullcontext():
        found = {each["kind"]: each for each in shop.window.module("db_info", free_bytes=10**12)["blockers"]}
        closed = shop.window.module("db_access", state="closed", phase="close")
    names = {"owner": shop.database.owner, "application": shop.application, "name": shop.name}
    assert set(found) == {kind}
    assert remedy.format(**names) in found[kind]["remedy"]
    assert closed["failed"]
    assert (role or shop.database.owner if kind != "properties" else "Give rollback_admin_url") in closed["msg"]
    assert shop.server() == before
    assert shop.window.description() is None


UNREACHABLE = {
    "the maintenance database": (
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC", "Cannot connect to database 'postgres'", "db_info",
    ),
    "the database": (
        "REVOKE ALL ON DATABASE {name} FROM {owner}, {application}",
        "permission denied for database",
        "db_backup",
    ),
    "a table": (
        "ALTER TABLE users OWNER TO {reporter}; REVOKE ALL ON users FROM {application}",
        "public.users cannot be read as a whole",
        "db_backup",
    ),
    "rows": (
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY",
        "public.users cannot be read as a whole",
        "db_backup",
    ),
    "a schema": (
        "CREATE SCHEMA secret; CREATE TABLE secret.kept ()", "permission denied for schema secret", "db_backup",
    ),
}  # fmt: skip


@pytest.mark.newest_server
@pytest.mark.parametrize("right", UNREACHABLE)
def test_a_right_to_look_that_is_missing_is_named(shop: Shop, right: str) -> None:
    """By the first step that needs it; there is no backup then, and nothing was touched."""
    statement, reason, module = UNREACHABLE[right]
    shop.superuser(statement, inside=module == "db_backup" and "DATABASE" not in statement)
    before = shop.server()
    try:
        client = {"client_path": [str(shop.database.server.bin_dir)]} if module == "db_backup" else {}
        result = shop.window.module(module, phase="preflight", **client)
        assert shop.server() == before
    finally:
        shop.superuser("GRANT CONNECT ON DATABASE postgres TO PUBLIC")
    assert result["failed"]
    assert result["error"]["kind"] == "refused"
    assert reason in result["msg"]
    assert [
        entry for entry in (shop.window.run.state_dir / "backups").glob("*") if not entry.name.startswith(".")
    ] == []
