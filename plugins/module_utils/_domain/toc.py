# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses, from a dump's table of contents, what belongs to a table.

A line of the list is C(2462; 2606 16406 CONSTRAINT public users users_pkey shop): two numbers of the catalogue,
what it is, the schema, a tag and the owner. Names in it are not quoted, so that a line is only taken where all of it is
what the catalogue of the backup leads to expect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .catalogue import roles_in, split_identity, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .catalogue import Catalogue

_LINE = re.compile(r"\d+; \d+ \d+ (?P<entry>.+)")

_OF_A_TABLE = {"constraints": "CONSTRAINT", "triggers": "TRIGGER", "policies": "POLICY", "rules": "RULE"}


def choose_lines(toc: str, entries: Iterable[str], catalogue: Catalogue) -> list[str]:
    """Return the lines of a table of contents that are one of these entries, in the dump's own order.

    Args:
        toc: as C(pg_restore --list) prints it.
        entries: what, schema and tag, as `entries_of` gives them.
        catalogue: of the backup: its roles are the owners that there can be.
    """
    owners = {name for names in roles_in(catalogue).values() for name in names}
    wanted = {f"{_one_line(entry)} {_one_line(owner)}" for entry in entries for owner in owners}
    lines = []
    for line in toc.splitlines():
        match = _LINE.fullmatch(line)
        if match and match["entry"] in wanted:
            lines.append(line)
    return lines


def data_entry(table: str) -> str:
    """Return the entry of a table's rows."""
    schema, name = _plain(table)
    return f"TABLE DATA {schema} {name}"


def pre_entries(table: str, catalogue: Catalogue) -> Iterator[str]:
    """Return what must be there before a table's rows: itself, its sequences, defaults, and their comments."""
    schema, name = _plain(table)
    yield f"TABLE {schema} {name}"
    for sequence in owned_sequences(table, catalogue):
        place, tag = _plain(sequence)
        yield from (f"SEQUENCE {place} {tag}", f"SEQUENCE OWNED BY {place} {tag}", f"SEQUENCE SET {place} {tag}")
    for column, attributes in catalogue.get("columns", {}).items():
        if attributes["table"] == table:
            yield f"DEFAULT {schema} {name} {unquote(split_identity(column)[1])}"


def post_entries(table: str, catalogue: Catalogue) -> Iterator[str]:
    """Return what comes after a table's rows: keys, indexes, triggers, rules, policies, privileges, comments."""
    schema, name = _plain(table)
    yield f"ROW SECURITY {schema} {name}"
    for kind, word in _OF_A_TABLE.items():
        for identity, attributes in catalogue.get(kind, {}).items():
            if attributes["table"] == table:
                part = split_identity(identity)[1]
                foreign = str(attributes.get("definition", "")).startswith("FOREIGN KEY")
                yield f"{'FK ' if foreign else ''}{word} {schema} {name} {unquote(part)}"
                yield from _both(f"COMMENT {schema} {word}", part, " ON ", split_identity(table)[1])
    for index, attributes in catalogue.get("indexes", {}).items():
        if attributes["table"] == table:
            yield f"INDEX {schema} {_plain(index)[1]}"
            yield from _both(f"COMMENT {schema} INDEX", split_identity(index)[1])
    for statistics, attributes in catalogue.get("statistics", {}).items():
        if str(attributes["definition"]).endswith(f" FROM {table}"):
            yield f"STATISTICS {' '.join(_plain(statistics))}"
    yield from _described(table, catalogue)


def foreign_keys_to(table: str, catalogue: Catalogue) -> dict[str, Mapping[str, Any]]:
    """Return the foreign keys of other tables that refer to a table."""
    pattern = re.compile(rf"FOREIGN KEY \(.*\) REFERENCES {re.escape(table)}\(", re.DOTALL)
    return {
        identity: attributes
        for identity, attributes in catalogue.get("constraints", {}).items()
        if attributes["table"] != table and pattern.match(str(attributes["definition"]))
    }


def owned_sequences(table: str, catalogue: Catalogue) -> list[str]:
    """Return the sequences that belong to a table's columns."""
    return [
        name
        for name, attributes in catalogue.get("sequences", {}).items()
        if attributes.get("owned_by") and split_identity(str(attributes["owned_by"]))[0] == table
    ]


def part_of(table: str, catalogue: Catalogue) -> Catalogue:
    """Return the part of a catalogue that belongs to a table."""
    part: Catalogue = {"tables": {table: catalogue["tables"][table]}} if table in catalogue.get("tables", {}) else {}
    for kind in ("columns", "indexes", *_OF_A_TABLE):
        part[kind] = {
            name: attributes for name, attributes in catalogue.get(kind, {}).items() if attributes["table"] == table
        }
    part["sequences"] = {name: catalogue["sequences"][name] for name in owned_sequences(table, catalogue)}
    return part


def script_body(script: str) -> str:
    """Return a script of C(pg_restore) without its head, which sets the session up, and without commands of psql."""
    start = script.find("\n--\n-- Name: ")
    body = script[start:] if start >= 0 else ""
    return "\n".join(line for line in body.split("\n") if not line.startswith("\\unrestrict "))


def _described(table: str, catalogue: Catalogue) -> Iterator[str]:
    schema, _name = _plain(table)
    quoted = split_identity(table)[1]
    columns = [split_identity(name)[1] for name, each in catalogue.get("columns", {}).items() if each["table"] == table]
    for what in ("COMMENT", "ACL"):
        yield from _both(f"{what} {schema} TABLE", quoted)
        for column in columns:
            yield from _both(f"{what} {schema} COLUMN", quoted, ".", column)
        for sequence in owned_sequences(table, catalogue):
            yield from _both(f"{what} {_plain(sequence)[0]} SEQUENCE", split_identity(sequence)[1])


def _both(start: str, first: str, between: str = "", second: str = "") -> Iterator[str]:
    """Return an entry whose tag may be quoted or not: that differs between kinds and versions."""
    yield f"{start} {first}{between}{second}"
    yield f"{start} {unquote(first)}{between}{unquote(second)}"


def _plain(identity: str) -> tuple[str, str]:
    schema, name = split_identity(identity)
    return unquote(schema), unquote(name)


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]", " ", text)
