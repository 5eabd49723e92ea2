# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges migrations by their files: ways back, manifest, order, and what their text does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from .migration_files import EMPTY, MISSING, NOT_PROVEN, MigrationFile
from .migration_findings import Finding
from .migration_text import MigrationText
from .operations import Operation, Way

_DATA_KINDS = ("write_rows", "delete_rows", "add_column", "drop_column", "alter_type", "set_not_null")
"""Operations that the runbook wants row counts before and after."""


def judge_files(files: Sequence[MigrationFile], hashes: Mapping[str, str] | None) -> list[Finding]:
    """Judge whether each migration has a way back, and whether the manifest is in step.

    Args:
        files: the migrations to judge.
        hashes: the manifest, or None where there is none.
    """
    return [finding for file in files for finding in (*_judge_down(file), *_judge_hash(file, hashes))]


def _judge_down(file: MigrationFile) -> Iterator[Finding]:
    rules = {MISSING: "down-missing", EMPTY: "down-empty", NOT_PROVEN: "down-not-proven"}
    said = {
        MISSING: "It has no way back",
        EMPTY: "Its way back does nothing",
        NOT_PROVEN: "That it has a way back was not proven",
    }
    if file.down in rules:
        yield Finding(rules[file.down], file.name, f"{said[file.down]}: {file.reason}.")


def _judge_hash(file: MigrationFile, hashes: Mapping[str, str] | None) -> Iterator[Finding]:
    if hashes is None or file.manifest_ok:
        return
    if not file.manifest_sha256:
        yield Finding("manifest-missing", file.name, "The manifest does not list it.")
    else:
        yield Finding(
            "manifest-differs",
            file.name,
            f"Its SHA-256 begins {file.sha256[:12]}, and the manifest says {file.manifest_sha256[:12]}.",
        )


def judge_manifest(names: Sequence[str], hashes: Mapping[str, str] | None) -> list[Finding]:
    """Find what the manifest lists and no file is there for.

    Args:
        names: of all migrations on disk, and of their files.
        hashes: the manifest, or None where there is none.
    """
    return [
        Finding("manifest-orphan", name, "The manifest lists it, and there is no such file.")
        for name in sorted(set(hashes or {}) - set(names))
    ]


def judge_order(names: Sequence[str], released: Sequence[str]) -> list[Finding]:
    """Find new migrations that sort before one that is released.

    Args:
        names: the new ones.
        released: those that were there before.
    """
    last = max(released, default="")
    return [
        Finding("out-of-order", name, f"It sorts before {last}, which is released already.")
        for name in names
        if name < last
    ]


def judge_edited(changed: Mapping[str, str]) -> list[Finding]:
    """Judge released migrations that were touched.

    Args:
        changed: what happened to each, in a word: C(changed), C(removed).
    """
    return [Finding("edited", name, f"It is released already, and was {what}.") for name, what in changed.items()]


def judge_text(name: str, text: MigrationText) -> list[Finding]:
    """Judge what a migration does, by its text.

    Args:
        name: the migration's name.
        text: what was read.
    """
    if text.unread:
        return [Finding("unread", name, f"Its text could not be read: {text.unread}.")]
    found = [*_judge_up(name, text.up), *_judge_both_ways(name, text), *_judge_down_way(name, text)]
    return sorted(found, key=lambda finding: finding.line)


def _judge_up(name: str, way: Way) -> Iterator[Finding]:
    fresh = way.tables("create_table")
    for operation in way.operations:
        if operation.table in fresh and operation.table and operation.kind != "create_table":
            continue
        for rule, message in _findings_of(operation, way):
            # A table is written anew as a whole, and so the scratch database tells it.
            subject = operation.table if rule == "table-rewrite" else operation.subject
            yield Finding(rule, name, message, operation.line, subject)
    changed = [each for each in way.operations if each.kind in _DATA_KINDS and each.table not in fresh]
    if changed and not way.tables("count_rows"):
        first = changed[0]
        message = f"It changes {first.subject} and does not compare the number of rows before and after."
        yield Finding("row-count-check", name, message, first.line, first.table)


def _findings_of(operation: Operation, way: Way) -> Iterator[tuple[str, str]]:
    what = operation.subject
    if operation.kind == "add_column":
        yield from _of_column(operation)
    elif operation.kind == "add_constraint":
        yield from _of_constraint(operation)
    elif operation.kind == "drop_column" and not _is_replaced(operation, way):
        yield "drop-column", f"{what} is dropped, with everything that is in it."
    elif operation.kind == "rename_column" and (operation.table, operation.what) not in way.columns("drop_column"):
        yield "rename", f"{what} becomes {operation.what}."
    elif operation.kind == "set_not_null" and not _is_proven(operation, way):
        yield "set-not-null", f"{what} is set NOT NULL, and the whole table is read under an exclusive lock."
    elif operation.kind in _SIMPLE and not operation.flags & {"concurrently", "where"}:
        rule, text = _SIMPLE[operation.kind]
        yield rule, text.format(what=what, words=operation.what)


_SIMPLE = {
    "drop_table": ("drop-table", "{what} is dropped, with all its rows."),
    "rename_table": ("rename", "{what} becomes {words}."),
    "alter_type": ("table-rewrite", "The type of {what} becomes {words}; PostgreSQL may write the whole table anew."),
    "create_index": ("index-not-concurrent", "An index is made on {what} without CONCURRENTLY."),
    "drop_index": ("drop-index-not-concurrent", "Index {words} is dropped without CONCURRENTLY."),
    "delete_rows": ("delete-everything", "All rows of {what} are deleted ({words})."),
    "write_rows": ("update-everything", "All rows of {what} are updated in one statement."),
    "rewrite": ("table-rewrite", "{what}: {words} writes the whole table anew."),
    "lock": ("exclusive-lock", "{words} on {what} locks everybody out."),
    "add_enum_value": ("enum-value", "Enum {words} gets another value."),
    "unread": ("unread", "What {words} holds is known only when it runs."),
}


def _of_column(operation: Operation) -> Iterator[tuple[str, str]]:
    what = operation.subject
    if operation.has("not_null") and not operation.has("default"):
        yield (
            "not-null-without-default",
            f"{what} is added NOT NULL and without a default: it fails as soon as the table has a row.",
        )
    if operation.has("volatile_default") or operation.has("computed"):
        yield "table-rewrite", f"{what} is added with a value for every row, and the whole table is written anew."
    if operation.has("unique") or operation.has("primary_key"):
        yield "unique-constraint", f"{what} is added with an index that is built while everybody waits."


def _of_constraint(operation: Operation) -> Iterator[tuple[str, str]]:
    what = operation.what.upper() or "A constraint"
    if operation.what in ("unique", "primary key", "exclude"):
        if not operation.has("using_index"):
            yield (
                "unique-constraint",
                f"{what} is added to {operation.table}, and its index built while everybody waits.",
            )
    elif not operation.has("not_valid"):
        yield "constraint-validated", f"{what} is added to {operation.table} and checked at once, for every row."


def _is_replaced(operation: Operation, way: Way) -> bool:
    """Tell whether another column takes the name of a dropped one, which was copied into it."""
    return any(
        each.kind == "rename_column" and (each.table, each.what) == (operation.table, operation.column)
        for each in way.operations
    )


def _is_proven(operation: Operation, way: Way) -> bool:
    """Tell whether a validated constraint saves PostgreSQL reading the table for SET NOT NULL."""
    before = [each for each in way.operations if each.line <= operation.line and each.table == operation.table]
    return any(each.kind == "validate" for each in before) or any(
        each.has("proves_not_null") and each.column == operation.column and not each.has("not_valid") for each in before
    )


def _judge_both_ways(name: str, text: MigrationText) -> Iterator[Finding]:
    for operation in (*text.up.operations, *text.down.operations):
        if operation.has("rebuilds_on_sqlite"):
            message = f"{operation.subject} is changed through Sequelize's own method."
            yield Finding("rebuild-on-sqlite", name, message, operation.line, f"{operation.subject} {operation.kind}")


def _judge_down_way(name: str, text: MigrationText) -> Iterator[Finding]:
    """Find what the way back destroys although the way up may not have made it."""
    made = {each.table for each in text.up.operations if each.kind == "create_table" and not each.has("conditional")}
    made |= {each.what for each in text.up.operations if each.kind == "rename_table"}
    columns = text.up.columns("add_column")
    columns |= {(each.table, each.what) for each in text.up.operations if each.kind == "rename_column"}
    columns |= {(each.table, each.column) for each in text.up.operations if each.kind == "alter_type"}
    for each in text.down.operations:
        message = ""
        if each.kind == "drop_table" and each.table not in made | text.down.tables("create_table"):
            message = f"Its way back drops {each.subject}, which its way up may not have made."
        elif each.kind == "drop_column" and _is_foreign(each, made, columns, text):
            message = f"Its way back drops {each.subject}, which its way up has not added."
        elif each.kind == "delete_rows" and not each.has("where") and each.table not in made:
            message = f"Its way back deletes all rows of {each.subject}."
        if message:
            yield Finding("down-drops-more", name, message, each.line, each.subject)


def _is_foreign(operation: Operation, made: set[str], columns: set[tuple[str, str]], text: MigrationText) -> bool:
    here = (operation.table, operation.column)
    known = operation.table in made or here in columns or here in text.down.columns("add_column")
    return not known and not _is_replaced(operation, text.down)
