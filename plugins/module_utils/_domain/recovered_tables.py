# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the rows of a backup can go into a table as it is now, and in which order tables are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import Refused
from .table_names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MODES = ("compare", "insert_missing", "replace", "clean_up")

WRITING = ("insert_missing", "replace")


class ColumnMap(NamedTuple):
    """How the columns of a backup go into a table; names are quoted.

    Attributes:
        columns: those that are written, with their type now.
        as_text: those of another type than in the backup: each value must read the same in the new type.
        gone: those that the table has no more.
        unfilled: those that the backup does not know, and that take no row without a value.
    """

    columns: dict[str, str]
    as_text: dict[str, str]
    gone: tuple[str, ...]
    unfilled: tuple[str, ...]


def map_columns(live: Mapping[str, Mapping[str, Any]], backup: Mapping[str, Mapping[str, Any]]) -> ColumnMap:
    """Map the stored columns of a table in a backup to those that the table has now."""
    columns = {name: str(live[name]["type"]) for name in backup if name in live}
    return ColumnMap(
        columns,
        {name: str(backup[name]["type"]) for name, kind in columns.items() if kind != backup[name]["type"]},
        tuple(name for name in backup if name not in live),
        tuple(name for name, now in live.items() if name not in backup and now["not_null"] and not now["default"]),
    )


def check_columns(table: str, mapped: ColumnMap, *, inserts: int) -> None:
    """Check that nothing of the rows would be left behind, and that rows can be inserted at all.

    Raises:
        Refused: a column of the backup is gone, or a new one takes no row without a value.
    """
    name = plain(table)
    if mapped.gone:
        raise Refused(
            f"The rows of {name} in the backup have columns that the table has no more: {', '.join(mapped.gone)}. "
            "Their values would be left behind.",
            untouched="Nothing was written.",
            remedy="Give the table the columns back first (take the migration back, or ALTER TABLE … ADD COLUMN), or "
            "restore the whole backup beside with db_restore and choose by hand.",
            table=table,
            columns=list(mapped.gone),
        )
    if mapped.unfilled and inserts:
        raise Refused(
            f"{inserts} rows of the backup cannot be put into {name}: the backup knows nothing of "
            f"{', '.join(mapped.unfilled)}, which must have a value (NOT NULL) and has no default.",
            untouched="Nothing was written.",
            remedy="Take the migration back first; or make the column nullable, or give it a default: "
            f"ALTER TABLE {table} ALTER COLUMN {mapped.unfilled[0]} SET DEFAULT …",
            table=table,
            columns=list(mapped.unfilled),
        )


def unfit(table: str, column: str, kind: str, past: str, rows: int) -> Refused:
    """Return the refusal of values that a column does not hold as they were."""
    return Refused(
        f"{rows} values of {plain(table)}.{column} in the backup do not fit: the column is {kind} now, and was {past}.",
        untouched="Nothing was written.",
        remedy=f"Give the column its type back first: take the migration back, or ALTER TABLE {table} ALTER COLUMN "
        f"{column} TYPE {past}",
        table=table,
        column=column,
    )


def parents_first(tables: Sequence[str], references: Iterable[tuple[str, str]]) -> list[str]:
    """Order tables so that each comes after those that it refers to; in a circle, in the order given.

    Args:
        tables: the tables.
        references: pairs of a table and the one that it refers to.
    """
    pairs = list(references)
    wanted = {table: {parent for child, parent in pairs if child == table and parent != table} for table in tables}
    ordered: list[str] = []
    while len(ordered) < len(tables):
        left = [table for table in tables if table not in ordered]
        free = [table for table in left if not (wanted[table] & set(left))]
        ordered += free or left[:1]
    return ordered
