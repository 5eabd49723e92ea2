# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shop's database of a wanted size: five tables with keys, indexes, an enum, texts, amounts and times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from psycopg2 import sql

from tests.bench.figures import say

if TYPE_CHECKING:
    from tests.bench.place import Place

ROWS_OF_A_MEGABYTE = 1150
"""Projects of which, with all that hangs on them, the plain dump has about one MB."""

_SCHEMA = """
CREATE TYPE stage AS ENUM ('draft', 'offered', 'built', 'paid');
CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE, name text NOT NULL,
  created_at timestamptz NOT NULL);
CREATE TABLE projects (id bigint PRIMARY KEY, owner_id bigint NOT NULL, stage stage NOT NULL, title text NOT NULL,
  body text NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE quotes (id bigint PRIMARY KEY, project_id bigint NOT NULL, amount numeric(12, 2) NOT NULL, note text);
CREATE TABLE orders (id bigint PRIMARY KEY, quote_id bigint NOT NULL, placed_at timestamptz NOT NULL,
  total numeric(12, 2) NOT NULL, paid boolean NOT NULL);
CREATE TABLE items (id bigint PRIMARY KEY, order_id bigint NOT NULL, sku text NOT NULL, quantity int NOT NULL,
  price numeric(10, 2) NOT NULL);
"""

_ROWS = (
    "INSERT INTO users SELECT i, 'user' || i || '@example.test', 'User ' || i, now()"
    " FROM generate_series(1, {users}) i",
    "INSERT INTO projects SELECT i, 1 + i % {users}, (enum_range(NULL::stage))[1 + i % 4], 'Balcony ' || i,"
    " (SELECT string_agg(md5((i * 12 + part)::text), ' ') FROM generate_series(1, 12) AS part),"
    " timestamptz '2026-01-01 00:00Z' + i * interval '7 s' FROM generate_series(1, {projects}) i",
    "INSERT INTO quotes SELECT i, 1 + i / 2, (i % 99991) * 1.07, md5(i::text)"
    " FROM generate_series(1, 2 * {projects} - 1) i",
    "INSERT INTO orders SELECT i, i, timestamptz '2026-02-01 00:00Z' + i * interval '3 s', (i % 99991) * 1.07,"
    " i % 3 = 0 FROM generate_series(1, {projects}) i",
    "INSERT INTO items SELECT i, 1 + i / 4, 'SKU-' || i % 4999, 1 + i % 7, (i % 997) * 1.19"
    " FROM generate_series(1, 4 * {projects} - 1) i",
)

_INDEXES = (
    "ALTER TABLE projects ADD FOREIGN KEY (owner_id) REFERENCES users",
    "ALTER TABLE quotes ADD FOREIGN KEY (project_id) REFERENCES projects",
    "ALTER TABLE orders ADD FOREIGN KEY (quote_id) REFERENCES quotes",
    "ALTER TABLE items ADD FOREIGN KEY (order_id) REFERENCES orders",
    "CREATE INDEX ON projects (owner_id)",
    "CREATE INDEX ON projects (created_at)",
    "CREATE INDEX ON quotes (project_id)",
    "CREATE INDEX ON orders (quote_id)",
    "CREATE INDEX ON orders (placed_at)",
    "CREATE INDEX ON items (order_id)",
)


def fill(place: Place, megabytes: int) -> int:
    """Make a shop whose plain dump has about so many MB; return how many MB the database itself has.

    Args:
        place: with the database's name.
        megabytes: of the plain dump, which is what the runbook's own commands write and read.
    """
    begin = time.monotonic()
    place.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (place.database, place.owner))))
    projects = megabytes * ROWS_OF_A_MEGABYTE
    rows = [statement.format(users=max(100, projects // 50), projects=projects) for statement in _ROWS]
    place.execute(f"SET ROLE {place.owner}; SET synchronous_commit = off; {_SCHEMA}", place.database)
    for statement in (*rows, *_INDEXES):
        place.execute(f"SET ROLE {place.owner}; SET maintenance_work_mem = '256MB'; {statement}", place.database)
    place.execute("VACUUM ANALYZE", place.database)
    place.execute("CHECKPOINT")
    ((size,),) = place.execute(f"SELECT pg_database_size('{place.database}')")
    actual = round(size / 1024**2)
    say(f"  {megabytes} MB as a plain dump, {actual} MB as a database: filled in {time.monotonic() - begin:.1f} s")
    return actual
