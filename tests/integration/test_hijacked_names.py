# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that may create functions where we look has none of them run with our rights.

A function in C(public) whose arguments fit better than those of PostgreSQL's own is taken before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg2
import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.reading import reading
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_lock import (
    run_lock_holder,
    take_run_lock,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._migrations.state_table import make_state_table

if TYPE_CHECKING:
    from tests.integration.conftest import Database

TRAP = """
CREATE FUNCTION public.trap(text, integer) RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'executed as %', current_user; END $$;
CREATE OPERATOR public.|| (LEFTARG = text, RIGHTARG = integer, FUNCTION = public.trap);
CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'executed as %', current_user; END $$;
"""
REMOVAL = """
DROP OPERATOR public.|| (text, integer);
DROP FUNCTION public.trap(text, integer), public.format(text, name, name);
"""


@pytest.fixture
def trapped(database: Database) -> Iterator[Database]:
    """Traps in the database, and in the one from which it is worked on."""
    places = (database.superuser_url, database.server.superuser_url())
    for url in places:
        with database.session(url) as session, session.cursor() as cursor:
            cursor.execute(TRAP)
    yield database
    for url in places:
        with database.session(url) as session, session.cursor() as cursor:
            cursor.execute(REMOVAL)


def test_the_traps_work(trapped: Database) -> None:
    """A test with traps that nobody could fall into would prove nothing."""
    for statement in ("SELECT 'pid '::text || 7", "SELECT format('%I.%I', nspname, nspname) FROM pg_namespace"):
        with trapped.session() as session, session.cursor() as cursor, pytest.raises(psycopg2.Error, match="executed"):
            cursor.execute(statement)


def test_nobody_falls_into_them(trapped: Database) -> None:
    server = Server(trapped.url)
    with server.admin() as connection, connection.cursor() as cursor:
        assert take_run_lock(cursor, server.database)
        with server.admin() as other, other.cursor() as asking:
            assert "pid" in str(run_lock_holder(asking, server.database))
    with reading(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'pid '::text || 7")
        assert cursor.fetchall() == [("pid 7",)]
    with trapped.session() as session, session.cursor() as cursor:
        cursor.execute("CREATE TABLE old_migrations (name text)")
    with pytest.raises(Refused, match=r"It has: public\.old_migrations"):
        make_state_table({"table": "migrations_meta", "schema": "public"}).read(server)
