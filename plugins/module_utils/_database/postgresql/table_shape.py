# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of tables: columns, key, and whether hashing a value proves the value, across databases of one server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .contents import SAFE_TYPES

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

_SHAPES = """
SELECT format('%%I.%%I', n.nspname, c.relname), c.oid::bigint, greatest(c.reltuples, 0)::float8,
  coalesce(pg_table_size(c.oid), 0)::bigint, pg_get_userbyid(c.relowner),
  (SELECT jsonb_agg(jsonb_build_object('name', format('%%I', a.attname), 'type', format_type(a.atttypid, a.atttypmod),
      'safe', a.atttypid = ANY (%(safe)s::regtype[]) AND coalesce(l.collisdeterministic, true),
      'generated', a.attgenerated <> '', 'identity', nullif(a.attidentity, ''), 'not_null', a.attnotnull,
      'default', a.atthasdef OR a.attidentity <> '') ORDER BY a.attnum)
    FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT jsonb_agg(format('%%I', a.attname) ORDER BY k.position)
    FROM (SELECT i.indkey, i.indnkeyatts FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
        AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS (
          SELECT FROM pg_attribute n WHERE n.attrelid = c.oid AND NOT n.attnotnull
          AND n.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]))
        ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) best,
      unnest((best.indkey::smallint[])[0:best.indnkeyatts - 1]) WITH ORDINALITY AS k(number, position)
    JOIN pg_attribute a ON a.attnum = k.number WHERE a.attrelid = c.oid),
  CASE WHEN c.relispartition THEN (SELECT jsonb_agg(format('%%I.%%I', an.nspname, ac.relname))
    FROM pg_partition_ancestors(c.oid) p JOIN pg_class ac ON ac.oid = p.relid JOIN pg_namespace an
    ON an.oid = ac.relnamespace WHERE ac.oid <> c.oid) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 1259 AND d.objid = c.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class Shape:
    """What a table that holds rows looks like.

    Attributes:
        identity: schema and name, quoted.
        oid: its OID.
        estimated_rows: as the planner has it; 0 where it was never analysed.
        bytes: its size with TOAST, without indexes.
        owner: its owner.
        columns: in their order, by quoted name: C(type), C(safe) (equal hash means equal value, in any database of this
            server), C(generated), C(identity), C(not_null), C(default).
        key: the quoted columns of its primary key, or of the smallest unique index over columns that are never null;
            empty where it has none.
        ancestors: the partitioned tables that it is a part of.
    """

    identity: str
    oid: int
    estimated_rows: float
    bytes: int
    owner: str
    columns: dict[str, dict[str, Any]]
    key: tuple[str, ...]
    ancestors: tuple[str, ...]

    @property
    def stored(self) -> dict[str, dict[str, Any]]:
        """Return the columns that are not computed from others."""
        return {name: column for name, column in self.columns.items() if not column["generated"]}


def read_shapes(cursor: Cursor) -> dict[str, Shape]:
    """Return the shapes of all tables that hold rows: ordinary tables and partitions, not those of extensions.

    Args:
        cursor: of a session of `reading.reading`.
    """
    # An enum's hash holds its OID, which is another one in every database but a file copy: it goes through text.
    cursor.execute(_SHAPES, {"safe": list(SAFE_TYPES)})
    shapes = {}
    for identity, oid, rows, size, owner, columns, key, ancestors in cursor.fetchall():
        by_name = {column.pop("name"): column for column in columns or []}
        shapes[identity] = Shape(identity, oid, rows, size, owner, by_name, tuple(key or ()), tuple(ancestors or ()))
    return shapes


def partitions(*shapes: dict[str, Shape]) -> dict[str, list[str]]:
    """Return, by partitioned table, the tables that hold its rows, in any of the databases."""
    groups: dict[str, list[str]] = {}
    for shape in (shape for part in shapes for shape in part.values()):
        for ancestor in shape.ancestors:
            if shape.identity not in groups.setdefault(ancestor, []):
                groups[ancestor].append(shape.identity)
    return {name: sorted(parts) for name, parts in groups.items()}
