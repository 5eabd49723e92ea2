# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two databases, table by table, as a person reads it before deciding which one stays."""

from __future__ import annotations

from ansible_collections.balcon.rollback.plugins.module_utils._domain.comparison import (
    column_differences,
    compared,
    comparison_lines,
    lost_rows,
    not_compared,
    only_in_one,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.row_difference import Difference

COLUMNS = column_differences(
    {"id": {"type": "integer"}, "age": {"type": "bigint"}, "new": {"type": "text"}},
    {"id": {"type": "integer"}, "age": {"type": "smallint"}, "old": {"type": "date"}},
)
TABLES = [
    compared("public.same", Difference(), key=["id"], how="rows"),
    compared("public.also", Difference(), key=["id"], how="rows"),
    compared("public.users", Difference(missing=1, extra=2, changed=3), key=["id"], how="rows"),
    compared("public.odd", Difference(), key=["id"], how="rows", columns=COLUMNS),
    only_in_one("public.new", "live", 9),
    only_in_one("public.gone", "other", 1),
    not_compared("public.secret", "permission denied"),
]


def test_the_gravest_comes_first_and_what_is_the_same_is_one_line() -> None:
    assert comparison_lines(TABLES, "shop", "the backup") == [
        "secret: not compared, so that what differs in it is not known: permission denied",
        "new: 9 rows only in shop; the table is only in shop",
        "users: 2 rows only in shop; 3 rows with other contents; 1 row only in the backup",
        "gone: 1 row only in the backup; the table is only in the backup",
        "odd: column age is bigint in shop, smallint in the backup; column new (text) is only in shop; "
        "column old (date) is only in the backup",
        "2 tables are the same in shop and the backup.",
    ]


def test_one_table_that_is_the_same() -> None:
    assert comparison_lines(TABLES[:1], "shop", "the backup") == ["1 table is the same in shop and the backup."]
    assert comparison_lines(TABLES[4:5], "shop", "the backup") == [
        "new: 9 rows only in shop; the table is only in shop"
    ]


def test_rows_that_would_be_gone() -> None:
    assert lost_rows(TABLES) == 2 + 3 + 9
