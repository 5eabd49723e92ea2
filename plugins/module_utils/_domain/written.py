# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was written to a database between two fingerprints of it, and what would be lost by replacing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .fingerprint import Fingerprint

_SEEN_BY = ("rows", "contents", "counters")


def written_between(then: Fingerprint, now: Fingerprint) -> list[dict[str, Any]]:
    """Return the tables that were written to, by name.

    Sequences are not looked at: they move without a row.

    Returns:
        C(name), and C(rows_then) and C(rows_now), null where the table was not there or its rows were not counted.
    """
    before, after = then["tables"], now["tables"]
    written = [
        {"name": name, "rows_then": _rows(before, name), "rows_now": _rows(after, name)}
        for name in sorted(set(before) | set(after))
        if _shown(before.get(name)) != _shown(after.get(name))
    ]
    if then["large_objects"] != now["large_objects"]:
        counts = [(part["large_objects"] or {}).get("count") for part in (then, now)]
        written.append({"name": "large objects", "rows_then": counts[0], "rows_now": counts[1]})
    return written


def written_lines(written: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return one line for each table that was written to."""
    return [f"{entry['name']} ({_difference(entry['rows_then'], entry['rows_now'])})" for entry in written]


def lost_since(compared: Sequence[Mapping[str, Any]], *, known: bool = True) -> dict[str, Any]:
    """Return what would not be there any more if a copy took a database's place.

    Args:
        compared: C(tables) of M(balcon.rollback.db_compare): C(extra) rows are only in the database, C(changed) ones
            have other contents there, C(missing) ones are only in the copy.
        known: whether they could be compared at all.

    Returns:
        C(tables), those that lose anything, with C(name), C(rows) and C(changed), the gravest first; C(rows) and
        C(changed) in all; C(columns) that only the database has, by table and name; C(unknown), what could not be
        compared; C(known).
    """
    unknown = [str(table["name"]) for table in compared if table.get("extra") is None]
    tables = [
        {"name": str(table["name"]), "rows": int(table["extra"]), "changed": int(table.get("changed") or 0)}
        for table in compared
        if table.get("extra") or (table.get("extra") is not None and table.get("changed"))
    ]
    return {
        "tables": sorted(tables, key=lambda entry: (-int(str(entry["rows"])), str(entry["name"]))),
        "rows": sum(int(str(entry["rows"])) for entry in tables),
        "changed": sum(int(str(entry["changed"])) for entry in tables),
        "columns": [
            f"{table['name']}.{column['name']}"
            for table in compared
            for column in table.get("columns") or []
            if column["other"] is None
        ],
        "unknown": unknown,
        "known": known,
    }


def check_loss_may_be(database: str, lost: Mapping[str, Any], *, accepted: bool, asked: bool) -> None:
    """Check that a restore may go on to the question, knowing what would be lost.

    Args:
        database: its name.
        lost: what `lost_since` returned.
        accepted: a person has taken it on himself not to know.
        asked: somebody is asked, or has named the database beforehand.

    Raises:
        Refused: it cannot be told what would be lost, or nobody would hear it.
    """
    if (lost["unknown"] or not lost["known"]) and not accepted:
        what = ", ".join(lost["unknown"]) or database
        reason = f" ({str(lost['problem']).rstrip('.')})" if lost.get("problem") else ""
        raise Refused(
            f"It cannot be told which rows would be lost: {what} could not be compared with "
            f"{lost.get('source') or 'the backup'}{reason}.",
            untouched=f"{database} was not touched.",
            remedy="If the database is too damaged to be read, and you take that on yourself, add -e accept_loss=true: "
            "it is kept all the same, closed, as it is.",
            lost_since=dict(lost),
        )
    if (lost["rows"] or lost["changed"] or lost.get("columns")) and not asked:
        raise Refused(
            f"{lost['rows']} rows would be lost, {lost['changed']} would go back to older values, and "
            f"{len(lost.get('columns', []))} columns would be gone: "
            f"{'; '.join(lost_lines(lost))}. Under a job controller nobody can be asked.",
            untouched=f"{database} was not touched.",
            remedy=f"If that is what you want, pass -e confirm={database}",
            lost_since=dict(lost),
        )


def lost_lines(lost: Mapping[str, Any]) -> list[str]:
    """Return for a person what would be lost, one line for each table."""
    source = lost.get("source") or "the backup"
    lines = [
        f"{entry['name']}: {entry['rows']} rows are not in {source}, {entry['changed']} rows go back to older values"
        for entry in lost["tables"]
    ]
    if not lost["known"]:
        return [f"It cannot be told: the database could not be compared with {source}"]
    lines += [f"{name}: the column, and what it holds, is not in {source}" for name in lost.get("columns", [])]
    lines += [f"{name}: it cannot be told which rows would be lost" for name in lost["unknown"]]
    return lines or [f"Nothing: every row of now is in {source} as it is"]


def back_lines(compared: Sequence[Mapping[str, Any]] | None) -> list[str]:
    """Return for a person the rows and columns that a restore brings back, one line for each table.

    Args:
        compared: the tables that C(db_compare) returned; None where they could not be compared.
    """
    if compared is None:
        return ["It cannot be told: the database could not be compared"]
    unknown = [
        f"{table['name']}: it cannot be told which rows come back"
        for table in compared
        if table.get("missing", 0) is None
    ]
    rows = [
        f"{table['name']}: {table['missing']} rows that are not there now" for table in compared if table.get("missing")
    ]
    columns = [
        f"{table['name']}.{column['name']}: the column"
        for table in compared
        for column in table.get("columns") or []
        if column["live"] is None
    ]
    return rows + columns + unknown or ["No row that is not there now"]


def _shown(table: Mapping[str, Any] | None) -> list[Any] | None:
    return [table[name] for name in _SEEN_BY] if table else None


def _rows(tables: Mapping[str, Mapping[str, Any]], name: str) -> int | None:
    rows = tables[name]["rows"] if name in tables else None
    return None if rows is None else int(rows)


def _difference(then: int | None, now: int | None) -> str:
    if then is None or now is None:
        return "written to"
    if then == now:
        return f"rows changed, {now} as before"
    return f"{abs(now - then)} rows {'more' if now > then else 'fewer'}"
