# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables whose rows exchange the values of one column: each column then holds what it held, and each row another value.

The hash of a record is linear in the hashes of its columns, up to where it overflows: a sum of it over all rows sees an
exchange by luck. So many tables leave no room for luck.
"""

from __future__ import annotations

from typing import LiteralString

TABLES: dict[LiteralString, LiteralString] = {
    f"{name}_{number}": rows
    for name, rows in (("pair", "2"), ("ten", "10"))
    for number in ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12")
}
"""The tables by name, and their rows."""

CREATE: LiteralString = "".join(
    f"CREATE TABLE {table} AS SELECT id, id * 37 + hashtext('{table}') % 1000 AS value, 'same' AS note "
    f"FROM generate_series(1, {rows}) AS id; ALTER TABLE {table} ADD PRIMARY KEY (id); "
    for table, rows in TABLES.items()
)

EXCHANGE: LiteralString = "".join(
    f"UPDATE {table} AS row_ SET value = other.value FROM {table} AS other WHERE other.id = row_.id % {rows} + 1; "
    for table, rows in TABLES.items()
)
"""Gives each row the value of the next one, and the last the first one's."""
