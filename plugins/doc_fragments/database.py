# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  database_url:
    description:
      - The URL under which the application knows its database, C(postgresql://user:password@host:port/name), with
        special characters percent-encoded.
      - It is read by libpq's own parser; every parameter that libpq knows may be appended, C(?sslmode=require) for
        example.
      - What the URL leaves open (host, sslmode, password …) is taken from libpq's environment variables, for the client
        tools and the migration tool as well. With an C(sslmode) of V(require), V(verify-ca) or V(verify-full) the
        migration tool gets C(PGSSLMODE) and C(PGSSLROOTCERT) too, and is ended when it connects in plain text.
      - Or an SQLite file, C(sqlite:./file), relative to O(project_dir), or C(sqlite:///file) with its whole path. It is
        for development; modules that have no meaning for a file refuse it.
    type: str
    required: true
  admin_url:
    description:
      - The direct way to the same server, past a connection pooler. Without it, O(database_url) is direct.
      - Its database, by default V(postgres), is where a run's lock is held. All controllers must name the same one.
    type: str
  project_dir:
    description: The project's folder, where the relative path of an SQLite file starts. PostgreSQL does not need it.
    type: path
requirements:
  - psycopg2, for PostgreSQL
"""
