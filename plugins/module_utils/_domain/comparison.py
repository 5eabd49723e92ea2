# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two databases hold, table by table, as it is returned and as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict

from .row_difference import Difference
from .table_names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ComparedTable = Dict[str, Any]
"""C(name); C(missing), C(extra) and C(changed) rows, null where they cannot be told; C(same_columns), with the
C(columns) that differ; C(key); C(how) it was compared; C(only_in), and the C(problem), where there is one."""


def column_differences(
    live: Mapping[str, Mapping[str, Any]], other: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str | None]]:
    """Return the columns that are not of the same type in both, or only in one: C(name), C(live), C(other)."""
    names = [*live, *(name for name in other if name not in live)]
    types = [(name, live.get(name, {}).get("type"), other.get(name, {}).get("type")) for name in names]
    return [{"name": name, "live": mine, "other": theirs} for name, mine, theirs in types if mine != theirs]


def compared(
    name: str, difference: Difference, *, key: Sequence[str], how: str, columns: Sequence[Mapping[str, str | None]] = ()
) -> ComparedTable:
    """Return the entry of a table that could be compared."""
    return {
        "name": name,
        **difference._asdict(),
        "same_columns": not columns,
        "columns": [dict(column) for column in columns],
        "key": list(key),
        "how": how,
        "only_in": None,
        "problem": None,
    }


def only_in_one(name: str, where: str, rows: int) -> ComparedTable:
    """Return the entry of a table that only one has, C(live) or C(other)."""
    difference = Difference(extra=rows) if where == "live" else Difference(missing=rows)
    return {**compared(name, difference, key=(), how="counted"), "same_columns": False, "only_in": where}


def not_compared(name: str, problem: str) -> ComparedTable:
    """Return the entry of a table that could not be read on one side."""
    entry = compared(name, Difference(), key=(), how="not compared")
    return {**entry, "missing": None, "extra": None, "changed": None, "same_columns": None, "problem": problem}


def lost_rows(tables: Iterable[ComparedTable]) -> int:
    """Return the rows that are gone, or gone as they are now, when the other database takes the live one's place."""
    return sum((table["extra"] or 0) + (table["changed"] or 0) for table in tables)


def comparison_lines(tables: Sequence[ComparedTable], live: str, other: str) -> list[str]:
    """Return a comparison as lines for a person, the gravest first; tables that are equal make one line."""
    told = sorted((table for table in tables if _differs(table)), key=_gravity)
    lines = [line for table in told for line in _table_lines(table, live, other)]
    equal = len(tables) - len(told)
    if equal:
        lines.append(f"{equal} {'table is' if equal == 1 else 'tables are'} the same in {live} and {other}.")
    return lines


def _differs(table: ComparedTable) -> bool:
    counts = (table["missing"], table["extra"], table["changed"])
    return any(counts) or None in counts or bool(table["columns"]) or bool(table["only_in"])


def _gravity(table: ComparedTable) -> tuple[int, int, str]:
    return (0 if table["problem"] else 1, -(table["extra"] or 0) - (table["changed"] or 0), str(table["name"]))


def _table_lines(table: ComparedTable, live: str, other: str) -> list[str]:
    name = plain(str(table["name"]))
    if table["problem"]:
        return [f"{name}: not compared, so that what differs in it is not known: {table['problem']}"]
    parts = []
    if table["extra"]:
        parts.append(f"{_rows(table['extra'])} only in {live}")
    if table["changed"]:
        parts.append(f"{_rows(table['changed'])} with other contents")
    if table["missing"]:
        parts.append(f"{_rows(table['missing'])} only in {other}")
    if table["only_in"]:
        parts.append(f"the table is only in {live if table['only_in'] == 'live' else other}")
    parts += [_column(column, live, other) for column in table["columns"]]
    return [f"{name}: {'; '.join(parts)}"]


def _column(column: Mapping[str, Any], live: str, other: str) -> str:
    if column["live"] is None:
        return f"column {column['name']} ({column['other']}) is only in {other}"
    if column["other"] is None:
        return f"column {column['name']} ({column['live']}) is only in {live}"
    return f"column {column['name']} is {column['live']} in {live}, {column['other']} in {other}"


def _rows(number: int) -> str:
    return f"{number} {'row' if number == 1 else 'rows'}"
