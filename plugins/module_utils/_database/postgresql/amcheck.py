# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own check of indexes and heaps, where the extension amcheck is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..._driver import one_row

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_FUNCTIONS = """
SELECT (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = 'amcheck'),
  (SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'amcheck'),
  coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
    AND d.classid = 'pg_proc'::regclass JOIN pg_extension e ON e.oid = d.refobjid
    WHERE e.extname = 'amcheck' AND p.proname = 'bt_index_check' AND p.pronargs = 2), false),
  coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid
    AND d.classid = 'pg_proc'::regclass JOIN pg_extension e ON e.oid = d.refobjid
    WHERE e.extname = 'amcheck' AND p.proname = 'verify_heapam'), false)
"""

_INDEXES = """
SELECT format('%I.%I', n.nspname, c.relname), c.oid::bigint, format('%I.%I', tn.nspname, t.relname)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND i.indisready AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY pg_relation_size(t.oid) DESC, 1
"""

_HEAPS = """
SELECT format('%I.%I', n.nspname, c.relname), c.oid::bigint FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam
WHERE c.relkind IN ('r', 'm') AND a.amname = 'heap' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY pg_relation_size(c.oid) DESC, 1
"""


class Amcheck(NamedTuple):
    """What can be asked of amcheck: the quoted statements by object, and why something cannot, empty where it can."""

    indexes: dict[str, str]
    heaps: dict[str, str]
    reason: str


def plan_amcheck(cursor: Cursor, within_budget: set[str]) -> Amcheck:
    """Find out what amcheck can look at here.

    Args:
        cursor: in the database.
        within_budget: tables of which every row may be looked up in each of its indexes; of the others only the
            structure of the indexes is checked.
    """
    cursor.execute(_FUNCTIONS)
    schema, available, may_indexes, may_heaps = one_row(cursor)
    if schema is None:
        return Amcheck({}, {}, _missing(available))
    quoted = '"' + schema.replace('"', '""') + '"'
    indexes, heaps = {}, {}
    if may_indexes:
        cursor.execute(_INDEXES)
        for index, oid, table in cursor.fetchall():
            deep = "true" if table in within_budget else "false"
            indexes[index] = f"SELECT {quoted}.bt_index_check({oid}::regclass, {deep})"
    if may_heaps:
        cursor.execute(_HEAPS)
        for table, oid in cursor.fetchall():
            heaps[table] = (
                f"SELECT count(*), min(format('block %s: %s', blkno, msg)) "  # noqa: S608  # numbers and a quoted name
                f"FROM {quoted}.verify_heapam({oid}::regclass, check_toast => true)"
            )
    lacking = [name for name, may in (("bt_index_check", may_indexes), ("verify_heapam", may_heaps)) if not may]
    reason = f"this role may not execute {' and '.join(lacking)}: GRANT EXECUTE, or use a superuser's URL"
    return Amcheck(indexes, heaps, reason if lacking else "")


def _missing(available: bool) -> str:
    if available:
        return "the extension is not in this database: CREATE EXTENSION amcheck, as a superuser"
    return (
        "the extension is not installed on this server (Debian has it in the server's own package, others in contrib)"
    )
