# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads operations out of calls of Sequelize's query interface, and out of the SQL that is given to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .operations import DOWN, UP, Operation, Way
from .sql_operations import read_operations
from .sql_text import read_statements

if TYPE_CHECKING:
    Call = Mapping[str, Any]
"""C(method), C(arguments) as data, C(owner) (the function it is in), C(conditional), C(line), C(text_line)."""

_UUIDS = ("UUIDV1", "UUIDV4")


def read_ways(calls: Sequence[Call], uses: Sequence[Sequence[str]]) -> dict[str, Way]:
    """Return what a migration does on its way up and on its way down.

    What is done in a function that both use counts for both. What neither is seen to use counts for the way up: better
    one finding too many than one too few.

    Args:
        calls: the calls of its file, in the order of the text.
        uses: pairs of names of functions: the first calls the second.
    """
    reached = {direction: _reached(direction, uses) for direction in (UP, DOWN)}
    reached[UP] |= {str(call["owner"]) for call in calls} - reached[DOWN]
    return {
        direction: Way(tuple(each for call in calls if call["owner"] in owners for each in read_call(call)))
        for direction, owners in reached.items()
    }


def _reached(start: str, uses: Sequence[Sequence[str]]) -> set[str]:
    reached, grown = {start}, True
    while grown:
        more = {used for user, used in uses if user in reached} - reached - {UP, DOWN}
        grown = bool(more)
        reached |= more
    return reached


def read_call(call: Call) -> list[Operation]:
    """Return what one call does."""
    arguments = list(call["arguments"])
    reader = _READERS.get(call["method"])
    operations = list(reader(arguments, int(call["line"]))) if reader else []
    if call["method"] == "query":
        operations = _query(arguments, call)
    if not call["conditional"]:
        return operations
    return [_with(operation, "conditional") for operation in operations]


def _with(operation: Operation, flag: str) -> Operation:
    return Operation(
        operation.kind, operation.line, operation.table, operation.column, operation.what, operation.flags | {flag}
    )


def _query(arguments: list[Any], call: Call) -> list[Operation]:
    text = arguments[0] if arguments else None
    if isinstance(text, Mapping) and isinstance(text.get("query"), str):
        text = text["query"]
    if not isinstance(text, str):
        return [Operation("unread", int(call["line"]), what=_spelled(text))]
    return read_operations(read_statements(text, int(call["text_line"]))[0])


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("$name") or value.get("$call") or value.get("$code") or "an object")
    return "a value" if value is None else str(value)


def _table(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get("tableName"), str):
        schema = value.get("schema")
        prefix = f"{schema}." if isinstance(schema, str) and schema != "public" else ""
        return prefix + str(value["tableName"])
    if not isinstance(value, str):
        return _spelled(value)
    return value[len("public.") :] if value.startswith("public.") else value


def _at(arguments: Sequence[Any], index: int) -> Any:
    return arguments[index] if index < len(arguments) else None


def _options(arguments: Sequence[Any], index: int) -> Mapping[str, Any]:
    value = _at(arguments, index)
    return value if isinstance(value, Mapping) else {}


def _type(attribute: Any) -> str:
    """Return a column's type as it is written: C(DataTypes.STRING(50)) is C(STRING(50))."""
    kind = attribute.get("type", attribute) if isinstance(attribute, Mapping) else attribute
    if isinstance(kind, Mapping):
        name = str(kind.get("$name") or kind.get("$call") or "").rpartition(".")[2]
        inner = ", ".join(str(each) for each in kind.get("arguments", []) if isinstance(each, (str, int, float)))
        return f"{name}({inner})" if inner else name
    return str(kind)


def _column_flags(attribute: Any) -> Iterator[str]:
    if not isinstance(attribute, Mapping):
        return
    if attribute.get("allowNull") is False or attribute.get("primaryKey") is True:
        yield "not_null"
    if attribute.get("defaultValue") is not None:
        yield "default"
        if _is_volatile(attribute["defaultValue"]):
            yield "volatile_default"
    if attribute.get("autoIncrement") is True:
        yield from ("default", "computed", "not_null")
    if attribute.get("unique"):
        yield "unique"
    if attribute.get("references"):
        yield "references"


def _is_volatile(default: Any) -> bool:
    if not isinstance(default, Mapping):
        return False
    text = " ".join(str(each) for each in default.get("arguments", []))
    # A UUID of DataTypes is made by Sequelize for its own inserts, and is no default of the column.
    return any(word in text.lower() for word in ("random", "uuid", "nextval", "clock_timestamp"))


def _add_column(arguments: list[Any], line: int) -> Iterator[Operation]:
    attribute = _at(arguments, 2)
    flags = set(_column_flags(attribute))
    default = attribute.get("defaultValue") if isinstance(attribute, Mapping) else None
    if isinstance(default, Mapping) and str(default.get("$name", "")).rpartition(".")[2] in _UUIDS:
        flags.discard("default")
    yield Operation(
        "add_column", line, _table(_at(arguments, 0)), str(_at(arguments, 1)), _type(attribute), frozenset(flags)
    )


def _remove_column(arguments: list[Any], line: int) -> Iterator[Operation]:
    flags = frozenset({"rebuilds_on_sqlite"})
    yield Operation("drop_column", line, _table(_at(arguments, 0)), str(_at(arguments, 1)), flags=flags)


def _change_column(arguments: list[Any], line: int) -> Iterator[Operation]:
    table, column, attribute = _table(_at(arguments, 0)), str(_at(arguments, 1)), _at(arguments, 2)
    yield Operation("alter_type", line, table, column, _type(attribute), frozenset({"rebuilds_on_sqlite"}))
    if isinstance(attribute, Mapping) and attribute.get("allowNull") is False:
        yield Operation("set_not_null", line, table, column)


def _rename_column(arguments: list[Any], line: int) -> Iterator[Operation]:
    yield Operation("rename_column", line, _table(_at(arguments, 0)), str(_at(arguments, 1)), str(_at(arguments, 2)))


def _create_table(arguments: list[Any], line: int) -> Iterator[Operation]:
    yield Operation("create_table", line, _table(_at(arguments, 0)))


def _drop_table(arguments: list[Any], line: int) -> Iterator[Operation]:
    yield Operation("drop_table", line, _table(_at(arguments, 0)))


def _drop_all(_arguments: list[Any], line: int) -> Iterator[Operation]:
    yield Operation("drop_table", line, what="every table")


def _rename_table(arguments: list[Any], line: int) -> Iterator[Operation]:
    yield Operation("rename_table", line, _table(_at(arguments, 0)), what=_table(_at(arguments, 1)))


def _add_index(arguments: list[Any], line: int) -> Iterator[Operation]:
    options = {**_options(arguments, 1), **_options(arguments, 2)}
    flags = frozenset({"concurrently"} if options.get("concurrently") is True else ())
    name = options.get("name")
    yield Operation(
        "create_index", line, _table(_at(arguments, 0)), what=name if isinstance(name, str) else "", flags=flags
    )


def _remove_index(arguments: list[Any], line: int) -> Iterator[Operation]:
    flags = frozenset({"concurrently"} if _options(arguments, 2).get("concurrently") is True else ())
    yield Operation("drop_index", line, _table(_at(arguments, 0)), what=_spelled(_at(arguments, 1)), flags=flags)


def _add_constraint(arguments: list[Any], line: int) -> Iterator[Operation]:
    options = {**_options(arguments, 1), **_options(arguments, 2)}
    kind = str(options.get("type", "")).lower()
    yield Operation("add_constraint", line, _table(_at(arguments, 0)), what=kind)


def _bulk_delete(arguments: list[Any], line: int) -> Iterator[Operation]:
    where = _at(arguments, 1)
    flags = frozenset({"where"} if where else ())
    yield Operation("delete_rows", line, _table(_at(arguments, 0)), what="bulkDelete", flags=flags)


def _bulk_insert(arguments: list[Any], line: int) -> Iterator[Operation]:
    flags = frozenset({"where"})
    yield Operation("write_rows", line, _table(_at(arguments, 0)), what="bulkInsert", flags=flags)


def _bulk_update(arguments: list[Any], line: int) -> Iterator[Operation]:
    flags = frozenset({"where"} if _at(arguments, 2) else ())
    yield Operation("write_rows", line, _table(_at(arguments, 0)), what="bulkUpdate", flags=flags)


_READERS: dict[str, Callable[[list[Any], int], Iterator[Operation]]] = {
    "addColumn": _add_column,
    "removeColumn": _remove_column,
    "changeColumn": _change_column,
    "renameColumn": _rename_column,
    "createTable": _create_table,
    "dropTable": _drop_table,
    "dropAllTables": _drop_all,
    "dropSchema": _drop_all,
    "dropAllSchemas": _drop_all,
    "renameTable": _rename_table,
    "addIndex": _add_index,
    "removeIndex": _remove_index,
    "addConstraint": _add_constraint,
    "bulkDelete": _bulk_delete,
    "bulkInsert": _bulk_insert,
    "bulkUpdate": _bulk_update,
}
