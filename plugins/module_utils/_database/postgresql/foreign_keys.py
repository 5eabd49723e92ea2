# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign keys as the catalogue has them, and the question which rows have no parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_FOREIGN_KEYS = """
SELECT format('%I', k.conname), format('%I.%I', cn.nspname, c.relname), c.relkind = 'p',
  format('%I.%I', pn.nspname, p.relname), p.relkind = 'p', k.confmatchtype = 'f', k.confdeltype, k.confupdtype,
  k.convalidated, coalesce((to_jsonb(k) ->> 'conperiod')::boolean, false),
  coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true),
  (SELECT jsonb_agg(jsonb_build_object('child', format('%I', ca.attname), 'parent', format('%I', pa.attname),
      'operator', format('OPERATOR(%I.%s)', n.nspname, o.oprname),
      'collation', CASE WHEN ca.attcollation <> pa.attcollation AND pa.attcollation <> 0
        THEN (SELECT format('COLLATE %I.%I', ln.nspname, l.collname) FROM pg_collation l
          JOIN pg_namespace ln ON ln.oid = l.collnamespace WHERE l.oid = pa.attcollation) END) ORDER BY pair.place)
    FROM unnest(k.conkey, k.confkey, k.conpfeqop) WITH ORDINALITY AS pair(child, parent, operator, place)
    JOIN pg_attribute ca ON ca.attrelid = k.conrelid AND ca.attnum = pair.child
    JOIN pg_attribute pa ON pa.attrelid = k.confrelid AND pa.attnum = pair.parent
    JOIN pg_operator o ON o.oid = pair.operator JOIN pg_namespace n ON n.oid = o.oprnamespace),
  pg_get_constraintdef(k.oid)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND c.relpersistence <> 't'
ORDER BY 2, 1
"""


class ForeignKey(NamedTuple):
    """A foreign key; names are quoted."""

    name: str
    child: str
    child_partitioned: bool
    parent: str
    parent_partitioned: bool
    match_full: bool
    on_delete: str
    on_update: str
    validated: bool
    temporal: bool
    enforced: bool
    columns: list[dict[str, Any]]
    definition: str

    @property
    def can_be_checked(self) -> bool:
        """Tell whether its rows have to have parents, and equality says which."""
        return self.validated and self.enforced and not self.temporal


def read_foreign_keys(cursor: Cursor) -> list[ForeignKey]:
    """Return all foreign keys of a database, those of partitioned tables once."""
    cursor.execute(_FOREIGN_KEYS)
    return [ForeignKey(*row) for row in cursor.fetchall()]


def orphans_query(key: ForeignKey) -> str:
    """Return the query for the number of rows without a parent, by the rules of PostgreSQL's own check.

    Rows whose key is null, or under MATCH SIMPLE null in part, need no parent (RI_Initial_Check in ri_triggers.c).
    """
    child = f"{'' if key.child_partitioned else 'ONLY '}{key.child}"
    parent = f"{'' if key.parent_partitioned else 'ONLY '}{key.parent}"
    wanted = (" OR " if key.match_full else " AND ").join(f"child_.{pair['child']} IS NOT NULL" for pair in key.columns)
    equal = " AND ".join(
        f"parent_.{pair['parent']} {pair['operator']} child_.{pair['child']} {pair['collation'] or ''}"
        for pair in key.columns
    )
    return (
        f"SELECT count(*) FROM {child} AS child_ WHERE ({wanted}) "  # noqa: S608  # quoted by the server
        f"AND NOT EXISTS (SELECT FROM {parent} AS parent_ WHERE {equal})"
    )
