# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scratch database shows of a migration: seen in the catalogue and in the rows, whatever the text says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Tuple

from .catalogue import Catalogue, canonical_catalogue, change_between, describe
from .migration_findings import Finding
from .migration_text import MigrationText

MOST_LINES = 6
"""Differences that a message names; the rest is counted."""

Place = Tuple[int, int]
"""A column by the OID of its table and its number in it: it survives a change of name."""


@dataclass(frozen=True)
class Column:
    """A column as the server stores it."""

    table: str
    name: str
    type: str
    not_null: bool = False
    has_value: bool = False

    @property
    def identity(self) -> str:
        """Return how findings call it."""
        return f"{self.table}.{self.name}"


@dataclass(frozen=True)
class Table:
    """A table as the server stores it; C(file) is another one after the table was written anew."""

    name: str
    file: int
    rows: Optional[int] = None
    contents: Optional[str] = None


@dataclass(frozen=True)
class Snapshot:
    """A scratch database at one moment.

    Attributes:
        catalogue: without the state table.
        tables: by OID.
        columns: by place.
    """

    catalogue: Catalogue = field(default_factory=dict)
    tables: Mapping[int, Table] = field(default_factory=dict)
    columns: Mapping[Place, Column] = field(default_factory=dict)

    def by_name(self) -> dict[str, Table]:
        """Return the tables by name."""
        return {table.name: table for table in self.tables.values()}


def without_table(catalogue: Catalogue, identity: str) -> Catalogue:
    """Return a catalogue without one table and what belongs to it."""
    return {
        kind: {
            name: attributes
            for name, attributes in objects.items()
            if identity not in (name if kind == "tables" else None, attributes.get("table"))
            and not str(attributes.get("owned_by", "")).startswith(f"{identity}.")
        }
        for kind, objects in catalogue.items()
    }


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return how the schema differs, one line for each object."""
    return describe(change_between(canonical_catalogue(before.catalogue), canonical_catalogue(after.catalogue)))


def judge_up(name: str, before: Snapshot, after: Snapshot) -> list[Finding]:
    """Find what a way up has done to what was there before it.

    Args:
        name: the migration's name.
        before: the database before it.
        after: the database after it.
    """
    seen = (*_tables_up(before, after), *_columns_up(before, after))
    return [Finding(rule, name, message, 0, subject, "scratch") for rule, subject, message in seen]


def _tables_up(before: Snapshot, after: Snapshot) -> Iterator[tuple[str, str, str]]:
    for oid, old in before.tables.items():
        new = after.tables.get(oid)
        if new is None:
            yield "drop-table", old.name, f"{old.name} is gone, with its {_rows(old.rows)}."
            continue
        if new.name != old.name:
            yield "rename", old.name, f"{old.name} became {new.name}."
        if new.rows != old.rows:
            yield "rows-changed", new.name, f"{new.name} had {_rows(old.rows)}, and has {_rows(new.rows)}."
        elif new.file != old.file:
            yield "table-rewrite", new.name, f"PostgreSQL wrote the whole table {new.name} anew."


def _columns_up(before: Snapshot, after: Snapshot) -> Iterator[tuple[str, str, str]]:
    names = {(place[0], column.name) for place, column in after.columns.items()}
    for place, old in before.columns.items():
        new = after.columns.get(place)
        if new is None:
            if place[0] in after.tables and (place[0], old.name) not in names:
                yield "drop-column", old.identity, f"{old.identity} ({old.type}) is gone."
        elif new.name != old.name:
            replaced = any(each.identity == new.identity for each in before.columns.values())
            yield from [("rename", old.identity, f"{old.identity} became {new.name}.")] * (not replaced)
        elif is_narrower(old.type, new.type):
            yield "narrowing-type", old.identity, f"{old.identity} was {old.type}, and is {new.type}."
    for place, new in after.columns.items():
        fresh = place not in before.columns and new.identity not in {each.identity for each in before.columns.values()}
        # Where there were rows, it was filled before it was set NOT NULL: otherwise it would have failed.
        unproven = place[0] in before.tables and not before.tables[place[0]].rows
        if fresh and unproven and new.not_null and not new.has_value:
            message = f"{new.identity} came in NOT NULL and without a default, into a table without rows."
            yield "not-null-without-default", new.identity, message


def judge_down(name: str, before: Snapshot, after: Snapshot) -> list[Finding]:
    """Find what the way back has not brought back.

    Args:
        name: the migration's name.
        before: the database before the way up.
        after: the database after the way back.
    """
    found = []
    lines = differences(before, after)
    if lines:
        message = f"After its way back the schema is another one than before it: {_listed(lines)}."
        found.append(Finding("down-leaves-change", name, message, evidence="scratch"))
    now = after.by_name()
    for old in before.tables.values():
        new = now.get(old.name)
        if new is None:
            continue
        if new.rows != old.rows:
            message = f"{old.name} had {_rows(old.rows)}, and has {_rows(new.rows)} after the way back."
            found.append(Finding("rows-after-down", name, message, 0, old.name, "scratch"))
        elif new.contents != old.contents and not _columns_differ(old.name, before, after):
            message = f"The way back has not brought back the values of {old.name}."
            found.append(Finding("values-after-down", name, message, 0, old.name, "scratch"))
    return found


def judge_again(name: str, first: Snapshot, second: Snapshot) -> list[Finding]:
    """Find what a second way up has done otherwise than the first."""
    lines = differences(first, second)
    now = second.by_name()
    lines += [
        f"{table.name} had {_rows(table.rows)}, and has {_rows(now[table.name].rows)}"
        for table in first.tables.values()
        if table.name in now and now[table.name].rows != table.rows
    ]
    if not lines:
        return []
    message = f"Applied a second time, it comes to something else: {_listed(lines)}."
    return [Finding("up-again-differs", name, message, evidence="scratch")]


def refuted(findings: Sequence[Finding], text: MigrationText, before: Snapshot, after: Snapshot) -> list[Finding]:
    """Leave out the rewrites that were read in the text, and that the scratch database shows did not happen.

    PostgreSQL decides by the types, not by the rows, so that an empty table shows it as well.
    """
    kept = {
        new.name for oid, new in after.tables.items() if oid in before.tables and before.tables[oid].file == new.file
    }
    innocent = {each.line for each in text.up.operations if each.kind == "alter_type" and each.table in kept}
    return [each for each in findings if each.rule != "table-rewrite" or each.line not in innocent]


_LENGTH = re.compile(
    r"(?P<type>[a-z ]+?)(?: ?\((?P<size>\d+)(?:,(?P<scale>-?\d+))?\))?(?P<rest>(?: with(?:out)? time zone)?)"
)

_ORDER = (("smallint", "integer", "bigint"), ("real", "double precision"))

_LOSSY = {
    ("timestamp with time zone", "timestamp without time zone"),
    ("timestamp without time zone", "date"),
    ("timestamp with time zone", "date"),
    ("numeric", "integer"),
    ("numeric", "bigint"),
    ("numeric", "smallint"),
    ("double precision", "integer"),
    ("double precision", "bigint"),
    ("jsonb", "text"),
}  # fmt: skip


def is_narrower(old: str, new: str) -> bool:
    """Tell whether a type holds less than another: values may be cut, or refused.

    Args:
        old: a type as PostgreSQL prints it, C(character varying(50)).
        new: the type that takes its place.
    """
    if old == new:
        return False
    was, size, scale = _parsed(old)
    now, new_size, new_scale = _parsed(new)
    if any(was in order and now in order and order.index(now) < order.index(was) for order in _ORDER):
        return True
    texts = ("text", "character varying", "character")
    if (was in texts and now in texts) or was == now:
        whole, new_whole = _whole(was, size, scale), _whole(now, new_size, new_scale)
        return new_whole < whole or _behind(now, new_size, new_scale) < _behind(was, size, scale)
    if was in texts:
        return True
    return (was, now) in _LOSSY


def _whole(kind: str, size: int | None, scale: int | None) -> float:
    """Return how many characters or digits before the point fit."""
    if kind == "character" and size is None:
        return 1
    return float("inf") if size is None else size - (scale or 0)


def _behind(kind: str, size: int | None, scale: int | None) -> float:
    """Return how many digits behind the point fit."""
    return float("inf") if size is None and kind != "character" else scale or 0


def _parsed(name: str) -> tuple[str, int | None, int | None]:
    match = _LENGTH.fullmatch(name)
    if match is None:
        return name, None, None
    size, scale = (int(match[key]) if match[key] else None for key in ("size", "scale"))
    return match["type"] + match["rest"], size, scale


def _columns_differ(table: str, before: Snapshot, after: Snapshot) -> bool:
    return _columns_of(table, before) != _columns_of(table, after)


def _columns_of(table: str, snapshot: Snapshot) -> set[Any]:
    return {(column.name, column.type) for column in snapshot.columns.values() if column.table == table}


def _rows(rows: int | None) -> str:
    return "rows that were not counted" if rows is None else f"{rows} row{'s' if rows != 1 else ''}"


def _listed(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - MOST_LINES} more" if len(lines) > MOST_LINES else ""
    return "; ".join(lines[:MOST_LINES]) + more
