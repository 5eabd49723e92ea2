# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a call of Sequelize's query interface does, by its arguments as they were parsed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.interface_calls import read_call

FN: dict[str, Any] = {"$call": "Sequelize.fn", "arguments": ["now"]}
STRING = {"$call": "DataTypes.STRING", "arguments": [50, {"binary": True}]}

CALLS: dict[str, tuple[str, list[Any], list[tuple[str, str, str, str, set[str]]]]] = {
    "a name that was not resolved": ("dropTable", [{"$name": "table"}], [("drop_table", "table", "", "", set())]),
    "nothing at all": ("dropTable", [], [("drop_table", "a value", "", "", set())]),
    "a schema": ("dropTable", [{"tableName": "a", "schema": "s"}], [("drop_table", "s.a", "", "", set())]),
    "public": ("renameTable", ["public.a", "b"], [("rename_table", "a", "", "b", set())]),
    "a type with arguments": (
        "addColumn",
        ["a", "b", {"type": STRING, "allowNull": False, "defaultValue": FN}],
        [("add_column", "a", "b", "STRING(50)", {"not_null", "default"})],
    ),
    "a type by its name": (
        "addColumn",
        ["a", "b", {"$name": "DataTypes.TEXT"}],
        [("add_column", "a", "b", "TEXT", set())],
    ),
    "a type as text": ("addColumn", ["a", "b", "TEXT"], [("add_column", "a", "b", "TEXT", set())]),
    "a key that numbers itself": (
        "addColumn",
        ["a", "b", {"type": "INTEGER", "autoIncrement": True, "primaryKey": True, "references": {"model": "c"}}],
        [("add_column", "a", "b", "INTEGER", {"not_null", "default", "computed", "references"})],
    ),
    "a type alone changes": (
        "changeColumn",
        ["a", "b", "TEXT"],
        [("alter_type", "a", "b", "TEXT", {"rebuilds_on_sqlite"})],
    ),
    "an index by its columns": ("removeIndex", ["a", ["b"]], [("drop_index", "a", "", "['b']", set())]),
    "an index, concurrently": (
        "removeIndex",
        ["a", "i", {"concurrently": True}],
        [("drop_index", "a", "", "i", {"concurrently"})],
    ),
    "rows put in": ("bulkInsert", ["a", []], [("write_rows", "a", "", "bulkInsert", {"where"})]),
    "every row changed": ("bulkUpdate", ["a", {"b": 1}], [("write_rows", "a", "", "bulkUpdate", set())]),
    "some rows changed": ("bulkUpdate", ["a", {}, {"c": 1}], [("write_rows", "a", "", "bulkUpdate", {"where"})]),
    "a query that was not resolved": ("query", [{"$code": "sql()"}], [("unread", "", "", "sql()", set())]),
    "no query": ("query", [], [("unread", "", "", "a value", set())]),
    "a query that is an object": ("query", [{"x": 1}], [("unread", "", "", "an object", set())]),
    "something else": ("authenticate", [], []),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("conditional", [False, True])
def test_calls(name: str, conditional: bool) -> None:
    method, arguments, expected = CALLS[name]
    call = {"method": method, "arguments": arguments, "line": 3, "text_line": 3, "conditional": conditional}
    read = [(each.kind, each.table, each.column, each.what, set(each.flags)) for each in read_call(call)]
    more = {"conditional"} if conditional else set()
    assert read == [(*start, flags | more) for *start, flags in expected]
