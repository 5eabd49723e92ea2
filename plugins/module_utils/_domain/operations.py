# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a migration does, as operations: the same for SQL and for calls of a query interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import FrozenSet

UP, DOWN = "up", "down"


@dataclass(frozen=True)
class Operation:
    """One thing that a migration does to the database.

    Attributes:
        kind: what: C(create_table), C(drop_table), C(rename_table), C(add_column), C(drop_column), C(rename_column),
            C(alter_type), C(set_not_null), C(add_constraint), C(validate), C(create_index), C(drop_index),
            C(delete_rows), C(write_rows), C(count_rows), C(rewrite), C(lock), C(add_enum_value), C(unread).
        line: where it stands in the file.
        table: the table, without the schema C(public); empty where it is not known.
        column: the column, if it is about one.
        what: the type of a column, of a constraint, or the words of a statement.
        flags: C(not_null), C(default), C(volatile_default), C(computed), C(unique), C(primary_key), C(references),
            C(concurrently), C(not_valid), C(using_index), C(where), C(conditional), C(rebuilds_on_sqlite),
            C(proves_not_null).
    """

    kind: str
    line: int
    table: str = ""
    column: str = ""
    what: str = ""
    flags: FrozenSet[str] = frozenset()

    def has(self, flag: str) -> bool:
        """Tell whether it has a flag."""
        return flag in self.flags

    @property
    def subject(self) -> str:
        """What it is about, for a person."""
        return ".".join(part for part in (self.table, self.column) if part) or self.what or "the database"


@dataclass(frozen=True)
class Way:
    """One direction of a migration, as it was read.

    Attributes:
        operations: what it does, in the order of the text.
    """

    operations: tuple[Operation, ...] = ()

    def tables(self, kind: str) -> set[str]:
        """Return the tables of the operations of one kind."""
        return {operation.table for operation in self.operations if operation.kind == kind}

    def columns(self, kind: str) -> set[tuple[str, str]]:
        """Return the columns of the operations of one kind, each with its table."""
        return {(operation.table, operation.column) for operation in self.operations if operation.kind == kind}
