# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Empties a database inside a transaction, so that a dump can be restored into it.

Everything goes that a dump would make again, whatever a migration has made of it: newer objects that depend on older
ones are what C(pg_restore --clean) fails at. What lies in no schema stays: extensions, publications, the schema
C(public), the database's own privileges and settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from psycopg2.extensions import cursor as Cursor

_BATCH = 100

_DEFAULTS = """
WITH kinds(letter, word, everybody) AS (VALUES ('r', 'TABLES', NULL), ('S', 'SEQUENCES', NULL), ('n', 'SCHEMAS', NULL),
  ('L', 'LARGE OBJECTS', NULL), ('f', 'ROUTINES', 'EXECUTE'), ('T', 'TYPES', 'USAGE')
), defaults AS (
  SELECT d.oid, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s', pg_get_userbyid(d.defaclrole),
    ' IN SCHEMA ' || quote_ident(n.nspname)) AS head, k.word, k.everybody, d.defaclacl, d.defaclrole,
    n.oid IS NULL AS is_global
  FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace JOIN kinds k ON k.letter = d.defaclobjtype
)
SELECT statement FROM (
  SELECT DISTINCT oid, 1 AS place, format('%s REVOKE ALL ON %s FROM %s', head, word,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) AS statement
  FROM defaults, aclexplode(defaclacl)
  UNION ALL
  SELECT oid, 2, format('%s GRANT ALL ON %s TO %I', head, word, pg_get_userbyid(defaclrole)) FROM defaults
  WHERE is_global
  UNION ALL
  SELECT oid, 3, format('%s GRANT %s ON %s TO PUBLIC', head, everybody, word) FROM defaults
  WHERE is_global AND everybody IS NOT NULL
) statements ORDER BY oid, place
"""
# PostgreSQL forgets an entry that is equal to what is built in (SetDefaultACL), or of a schema and empty.

_OBJECTS = """
WITH members AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), ours AS (
  SELECT oid, nspname, nspname <> 'public' AND (2615, oid) NOT IN (SELECT classid, objid FROM members)
    AND oid NOT IN (SELECT extnamespace FROM pg_extension) AS goes
  FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), kept AS (
  SELECT oid, nspname FROM ours WHERE NOT goes
)
SELECT statement FROM (
  SELECT 1 AS place, oid, format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) AS statement FROM ours WHERE goes
  UNION ALL
  SELECT 2, c.oid, format('DROP %s IF EXISTS %I.%I CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW'
    WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
    n.nspname, c.relname)
  FROM pg_class c JOIN kept n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND (1259, c.oid) NOT IN (SELECT classid, objid FROM members)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'i')
  UNION ALL
  SELECT 3, p.oid, format('DROP ROUTINE IF EXISTS %s CASCADE', p.oid::regprocedure)
  FROM pg_proc p JOIN kept n ON n.oid = p.pronamespace
  WHERE (1255, p.oid) NOT IN (SELECT classid, objid FROM members)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1255 AND d.objid = p.oid AND d.deptype = 'i')
  UNION ALL
  SELECT 4, t.oid, format('DROP %s IF EXISTS %I.%I CASCADE', CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
    n.nspname, t.typname)
  FROM pg_type t JOIN kept n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
  WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') AND (t.typrelid = 0 OR c.relkind = 'c')
    AND NOT EXISTS (SELECT FROM pg_type element WHERE element.typarray = t.oid)
    AND (1247, t.oid) NOT IN (SELECT classid, objid FROM members)
  UNION ALL
  SELECT 5, o.oid, format('DROP OPERATOR IF EXISTS %s CASCADE', o.oid::regoperator)
  FROM pg_operator o JOIN kept n ON n.oid = o.oprnamespace
  WHERE (2617, o.oid) NOT IN (SELECT classid, objid FROM members)
  UNION ALL
  SELECT 6, f.oid, format('DROP OPERATOR FAMILY IF EXISTS %I.%I USING %I CASCADE', n.nspname, f.opfname, a.amname)
  FROM pg_opfamily f JOIN kept n ON n.oid = f.opfnamespace JOIN pg_am a ON a.oid = f.opfmethod
  WHERE (2753, f.oid) NOT IN (SELECT classid, objid FROM members)
  UNION ALL
  SELECT 7, c.oid, format('DROP COLLATION IF EXISTS %I.%I CASCADE', n.nspname, c.collname)
  FROM pg_collation c JOIN kept n ON n.oid = c.collnamespace
  WHERE (3456, c.oid) NOT IN (SELECT classid, objid FROM members)
  UNION ALL
  SELECT 8, c.oid, format('DROP TEXT SEARCH CONFIGURATION IF EXISTS %I.%I CASCADE', n.nspname, c.cfgname)
  FROM pg_ts_config c JOIN kept n ON n.oid = c.cfgnamespace
  WHERE (3602, c.oid) NOT IN (SELECT classid, objid FROM members)
  UNION ALL
  SELECT 9, d.oid, format('DROP TEXT SEARCH DICTIONARY IF EXISTS %I.%I CASCADE', n.nspname, d.dictname)
  FROM pg_ts_dict d JOIN kept n ON n.oid = d.dictnamespace
  WHERE (3600, d.oid) NOT IN (SELECT classid, objid FROM members)
) statements ORDER BY place, oid DESC
"""
# Newest first: what was made later depends on what was there before, rather than the other way round.

_NEW_EXTENSIONS = """
SELECT format('DROP EXTENSION IF EXISTS %%I CASCADE', extname) FROM pg_extension WHERE format('%%I', extname) <> ALL(%s)
"""


def empty(cursor: Cursor, extensions: Collection[str]) -> int:
    """Drop everything that a dump of this database would make again.

    Args:
        cursor: in the database, in a transaction, with `reading.PINNED` settings.
        extensions: the quoted names of those that stay; others were made by the migrations that are taken back.

    Returns:
        How many things were dropped by name, their dependants aside.
    """
    statements = [*_read(cursor, _DEFAULTS)]
    cursor.execute(_NEW_EXTENSIONS, [list(extensions)])
    statements += [statement for (statement,) in cursor.fetchall()]
    statements += _read(cursor, _OBJECTS)
    for start in range(0, len(statements), _BATCH):
        cursor.execute("; ".join(statements[start : start + _BATCH]))
    return len(statements)


def kept_schemas(cursor: Cursor) -> list[str]:
    """Return the names of schemas that `empty` does not drop, C(public) aside: those that hold an extension."""
    return _read(
        cursor,
        "SELECT DISTINCT nspname FROM pg_namespace n JOIN pg_extension e ON e.extnamespace = n.oid "
        "WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')",
    )


def _read(cursor: Cursor, query: str) -> list[str]:
    cursor.execute(query)
    return [statement for (statement,) in cursor.fetchall()]
