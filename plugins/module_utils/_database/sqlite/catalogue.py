# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of an SQLite database, in the form of `_domain.catalogue`: identities begin with C(main)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._domain.sqlite_schema import ColumnText, TableText, normalised, parse_table, quote_identifier, sql_identifier

if TYPE_CHECKING:
    import sqlite3

    from ..._domain.catalogue import Attributes, Catalogue

_SETTINGS = ("user_version", "application_id", "encoding", "page_size", "auto_vacuum")

_GENERATED = {2: "virtual", 3: "stored"}

_OF_A_TABLE = ("columns", "constraints", "indexes")


def table_identity(name: str) -> str:
    """Return the identity of a table."""
    return f"main.{quote_identifier(name)}"


def read_catalogue(connection: sqlite3.Connection) -> Catalogue:
    """Read the catalogue, in the transaction that is open on the connection; attributes that are null are left out."""
    catalogue: Catalogue = {"settings": {name: {"value": _pragma(connection, name)} for name in _SETTINGS}}
    rows = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    ).fetchall()
    for kind, name, table, sql in rows:
        if kind == "table":
            _add_table(connection, catalogue, name, sql or "")
        elif kind == "view":
            _add(catalogue, "views", table_identity(name), {"definition": normalised(sql)})
        elif kind == "trigger":
            attributes = {"table": table_identity(table), "definition": normalised(sql)}
            _add(catalogue, "triggers", f"{table_identity(table)}.{quote_identifier(name)}", attributes)
    return catalogue


def is_virtual(sql: str) -> bool:
    """Tell whether a table's text is that of a virtual table, whose rows are a module's."""
    return normalised(sql).upper().startswith("CREATE VIRTUAL")


def _add_table(connection: sqlite3.Connection, catalogue: Catalogue, name: str, sql: str) -> None:
    identity = table_identity(name)
    if is_virtual(sql):
        _add(catalogue, "tables", identity, {"virtual": normalised(sql)})
        return
    text = parse_table(name, sql)
    options = {"options": text.options or None, "checks": text.checks or None}
    _add(catalogue, "tables", identity, {**options, "autoincrement": text.autoincrement or None})
    if text.autoincrement:
        _add(catalogue, "sequences", identity, {"table": identity})
    _add_columns(connection, catalogue, name, text)
    _add_foreign_keys(connection, catalogue, name)
    _add_indexes(connection, catalogue, name)


def _add_columns(connection: sqlite3.Connection, catalogue: Catalogue, name: str, text: TableText) -> None:
    identity = table_identity(name)
    key: dict[int, str] = {}
    for row in connection.execute(f"PRAGMA table_xinfo({sql_identifier(name)})"):
        _number, column, kind, not_null, default, place, hidden = row
        said = text.columns.get(column, ColumnText())
        attributes = {
            "table": identity,
            "type": kind,
            "not_null": bool(not_null) or None,
            "default": normalised(default) if default is not None else None,
            "generated": _GENERATED.get(hidden),
            "expression": said.expression,
            "collation": said.collation,
            "checks": said.checks or None,
        }
        _add(catalogue, "columns", f"{identity}.{quote_identifier(column)}", attributes)
        if place:
            key[place] = column
    if key:
        columns = ", ".join(quote_identifier(key[place]) for place in sorted(key))
        primary = {"table": identity, "definition": f"PRIMARY KEY ({columns})"}
        _add(catalogue, "constraints", f"{identity}.primary_key", primary)


def _add_foreign_keys(connection: sqlite3.Connection, catalogue: Catalogue, name: str) -> None:
    identity = table_identity(name)
    keys: dict[int, list[Any]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({sql_identifier(name)})"):
        keys.setdefault(row[0], []).append(row)
    for rows in keys.values():
        rows.sort(key=lambda row: row[1])
        parent, updated, deleted = rows[0][2], rows[0][5], rows[0][6]
        columns = [quote_identifier(row[3]) for row in rows]
        theirs = [quote_identifier(row[4]) for row in rows if row[4] is not None]
        definition = f"FOREIGN KEY ({', '.join(columns)}) REFERENCES {quote_identifier(parent)}"
        definition += f" ({', '.join(theirs)})" if theirs else ""
        definition += f" ON UPDATE {updated}" if updated != "NO ACTION" else ""
        definition += f" ON DELETE {deleted}" if deleted != "NO ACTION" else ""
        _add_numbered(catalogue, f"{identity}.foreign_key_{'_'.join(row[3] for row in rows)}", identity, definition)


def _add_indexes(connection: sqlite3.Connection, catalogue: Catalogue, name: str) -> None:
    identity = table_identity(name)
    for row in connection.execute(f"PRAGMA index_list({sql_identifier(name)})").fetchall():
        _number, index, _unique, origin, _partial = row
        if origin == "u":
            columns = _index_columns(connection, index)
            name_of_it = f"{identity}.unique_{'_'.join(columns)}"
            _add_numbered(
                catalogue, name_of_it, identity, f"UNIQUE ({', '.join(quote_identifier(column) for column in columns)})"
            )
        elif origin == "c":
            sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", [index]).fetchone()[0]
            attributes = {"table": identity, "definition": normalised(sql)}
            _add(catalogue, "indexes", table_identity(index), attributes)


def _index_columns(connection: sqlite3.Connection, index: str) -> list[str]:
    return [str(row[2]) for row in connection.execute(f"PRAGMA index_info({sql_identifier(index)})")]


def _add_numbered(catalogue: Catalogue, identity: str, table: str, definition: str) -> None:
    """Add a constraint that SQLite gives no name; the same one twice gets a number."""
    known = catalogue.get("constraints", {})
    schema, _dot, last = identity.rpartition(".")
    name = f"{schema}.{quote_identifier(last)}"
    number = 2
    while name in known:
        name, number = f"{schema}.{quote_identifier(f'{last}_{number}')}", number + 1
    _add(catalogue, "constraints", name, {"table": table, "definition": definition})


def _add(catalogue: Catalogue, kind: str, identity: str, attributes: Attributes) -> None:
    kept = {key: value for key, value in attributes.items() if value is not None}
    catalogue.setdefault(kind, {})[identity] = kept


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]
