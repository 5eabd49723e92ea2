# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows for a scratch database: an empty table hides most of what a migration can break."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional, Tuple

LONG = 300
"""Characters of a text without a limit, in a row that is to be as large as it may be."""


@dataclass(frozen=True)
class Field:
    """A column that a row needs a value for.

    Attributes:
        name: quoted.
        type: as PostgreSQL prints it, of a domain its base type.
        category: of C(pg_type.typcategory): C(N) number, C(S) text, C(B) boolean, C(D) date, C(E) enum, C(A) array …
        length: of text, how many characters fit, or None.
        digits: of C(numeric), digits before and behind the point, or None.
        nullable: whether it takes a null.
        has_default: whether PostgreSQL fills it.
        target: the table and column that it refers to, quoted, or None.
        labels: of an enum.
    """

    name: str
    type: str
    category: str
    length: Optional[int] = None
    digits: Optional[Tuple[int, int]] = None
    nullable: bool = True
    has_default: bool = False
    target: Optional[Tuple[str, str]] = None
    labels: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Fillable:
    """A table to be filled: its quoted name, and its columns."""

    name: str
    fields: tuple[Field, ...]

    def needs(self) -> set[str]:
        """Return the tables that must have rows before this one can have any."""
        return {each.target[0] for each in self.fields if each.target and not each.nullable} - {self.name}


def insert_statement(table: Fillable, number: int, *, largest: bool) -> str:
    """Return the statement that adds one row.

    Every second row has nulls and defaults where it may.

    Args:
        table: the table.
        number: of the row, from 1; values are made from it, so that they differ from row to row.
        largest: make values as long as they may be.
    """
    spare = number % 2 == 0
    chosen = [
        (each.name, _value(each, number, table.name, largest=largest))
        for each in table.fields
        if not (each.has_default and (spare or _is_key(each))) and not (each.nullable and spare)
    ]
    if not chosen:
        return f"INSERT INTO {table.name} DEFAULT VALUES"  # quoted by the server
    names, values = ", ".join(name for name, _value in chosen), ", ".join(value for _name, value in chosen)
    return f"INSERT INTO {table.name} ({names}) VALUES ({values})"  # noqa: S608  # quoted by the server


def in_order(tables: Sequence[Fillable], filled: set[str]) -> list[Fillable]:
    """Return the tables in an order in which each can refer to rows of those before it; circles come last."""
    left, order, there = list(tables), [], set(filled)
    while left:
        ready = [table for table in left if table.needs() <= there] or left
        order += ready
        there |= {table.name for table in ready}
        left = [table for table in left if table not in ready]
    return order


def _is_key(field: Field) -> bool:
    """Tell whether PostgreSQL had better number it itself: a sequence would run into what we wrote."""
    return field.category == "N" and field.target is None


def _value(field: Field, number: int, table: str, *, largest: bool) -> str:
    if field.target:
        other, column = field.target
        if other == table and field.nullable:
            return "NULL"
        rows = f"(SELECT count(*) FROM {other})"  # noqa: S608  # quoted by the server
        return f"(SELECT {column} FROM {other} ORDER BY ctid OFFSET {number - 1} % greatest(1, {rows}) LIMIT 1)"  # noqa: S608
    if field.category == "S":
        return _quoted(_text(field.length, number, largest=largest))
    if field.category == "N":
        return _number(field, number)
    return _other(field, number)


def _text(length: int | None, number: int, *, largest: bool) -> str:
    """Return a text with capitals and small letters, which differs from row to row as far as there is room."""
    room = length if length is not None else LONG
    text = f"{number}Aa"
    if largest:
        text = text + "Xy" * room
    return text[:room]


def _number(field: Field, number: int) -> str:
    if field.digits and field.digits[0] <= len(str(number)):
        return str(number % 10) if field.digits[0] > 0 else "0"
    return str(number)


def _other(field: Field, number: int) -> str:
    fixed = {
        "B": "true" if number % 2 else "false",
        "D": f"timestamp '2024-01-01 12:00:00' + interval '{number} hours'",
        "T": f"interval '{number} hours'",
        "A": "'{}'",
        "R": "'empty'",
        "I": f"'10.0.0.{number % 250 + 1}'",
        "V": "B'1'",
    }
    if field.labels:
        return _quoted(field.labels[number % len(field.labels)])
    by_type = {
        "uuid": f"md5('{number}')::uuid",
        "json": "'{}'",
        "jsonb": "'{}'",
        "bytea": f"'\\x{number:04x}'",
        "xml": "'<a/>'",
        "time without time zone": "'12:00'",
        "time with time zone": "'12:00+00'",
    }
    return by_type.get(field.type) or fixed.get(field.category) or "NULL"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
