# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a database holds, as numbers: rows and contents of tables, sequences, large objects, materialised views.

A fingerprint is a dictionary:

- C(catalogue) and C(catalogue_hash): see `catalogue`.
- C(tables): ``{identity: {rows, contents, counters, columns, proof}}``. C(contents) is the sum of the hashes of all
  rows as decimal digits, so that order does not count but every repetition does; C(columns) are those that went in.
- C(sequences): ``{identity: {last_value, is_called}}``; C(large_objects): ``{count, contents}``;
  C(materialised_views): ``{identity: {rows, populated}}``; C(skipped): ``{identity: reason}``.
- C(method): C(record) or C(text), see `METHODS`; C(counters_since): what must be equal for counters to mean anything.

How much two fingerprints prove is named by one of `PROOFS`.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Dict

from . import catalogue as catalogues
from .catalogue import (
    PLACEMENT,
    Catalogue,
    Change,
    canonical_catalogue,
    change_between,
    columns_touched,
    describe,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Fingerprint = Dict[str, Any]

PROOFS = ("contents", "counters", "counts", "none")
"""From every byte of every row, over the server's own counters of changes, and numbers of rows, to nothing."""

METHODS = ("record", "text")
"""C(record) hashes the values as they are stored, and only compares databases of one server, one a file copy of the
other: the hash of an enum holds its OID. C(text) hashes what a client would be shown, and holds across a restore."""


def weakest(proofs: Iterable[str]) -> str:
    """Return the proof of the whole: that of its weakest part, C(contents) where there is none."""
    return max(proofs, key=PROOFS.index, default=PROOFS[0])


def proof_of(fingerprint: Fingerprint) -> str:
    """Return how much a fingerprint proves: the proof of its weakest table, C(none) where no table was read."""
    return weakest(table["proof"] for table in fingerprint["tables"].values()) if fingerprint["tables"] else "none"


def rows_total(fingerprint: Fingerprint) -> int:
    """Return the number of rows in all tables whose rows were counted."""
    return sum(table["rows"] or 0 for table in fingerprint["tables"].values())


def rows_by_table(fingerprint: Fingerprint) -> dict[str, int | None]:
    """Return the rows of each table, None where they were not counted."""
    return {name: table["rows"] for name, table in fingerprint["tables"].items()}


def fingerprint_hash(fingerprint: Fingerprint) -> str:
    """Return the SHA-256 of all that a fingerprint says of a database, as hexadecimal digits."""
    parts = ("catalogue_hash", "method", "tables", "sequences", "large_objects", "materialised_views")
    text = json.dumps({part: fingerprint[part] for part in parts}, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def compare(before: Fingerprint, after: Fingerprint, change: Change | None = None) -> list[str]:
    """Return what differs in rows and contents, outside what a change of the catalogue explains.

    Args:
        before: the earlier fingerprint.
        after: the later one, taken with the same method and the same columns left out.
        change: the change of the catalogue between them; by default computed from the two.

    Returns:
        One sentence for each difference; empty where everything that the change does not touch is unchanged.
    """
    explained = change if change is not None else change_between(before["catalogue"], after["catalogue"])
    return [
        *_table_differences(before, after, explained),
        *_sequence_differences(before, after, explained),
        *_large_object_differences(before["large_objects"], after["large_objects"]),
        *_view_differences(before, after, explained),
    ]


def tables_changed(before: Fingerprint, after: Fingerprint, change: Change) -> list[str]:
    """Return the tables whose rows or contents differ, those left out that the change adds or removes."""
    both = set(before["tables"]) & set(after["tables"])
    return [name for name in sorted(both) if any(_differences_of(name, before, after, change))]


def tables_only_counted(before: Fingerprint, after: Fingerprint, change: Change) -> list[str]:
    """Return the tables whose contents were hashed over other columns, because the change touches them.

    Of these only the number of rows is compared; name their columns in C(skip_columns) on both sides to prove the rest.
    """
    both = set(before["tables"]) & set(after["tables"]) & set(columns_touched(change))
    return [name for name in sorted(both) if before["tables"][name]["columns"] != after["tables"][name]["columns"]]


def compare_restored(
    original: Fingerprint,
    restored: Fingerprint,
    *,
    sequences_until: Mapping[str, Any] | None = None,
    rights: bool = True,
    across_servers: bool = False,
) -> list[str]:
    """Return what differs between a database and a copy that was made of it by dump and restore.

    Args:
        original: the original's fingerprint, of the dump's snapshot, by method C(text).
        restored: the copy's.
        sequences_until: the original's sequences after the dump. Sequences belong to no snapshot: the dump holds a
            position between the two.
        rights: compare owners and privileges too; no, where the restore had to leave them out.
        across_servers: leave out where things lie, the extensions' versions and publications, which belong to a
            server. Versions that differ are in `extension_differences`.

    Returns:
        One sentence for each difference; empty where the copy is true. The rows of materialised views are not
        compared: a restore fills them anew from the tables.
    """
    before, after = (_comparable(part["catalogue"], rights, across_servers) for part in (original, restored))
    return [
        *(f"Schema: {line}." for line in describe(change_between(before, after))),
        *_table_differences(original, restored, _NOTHING),
        *_restored_sequence_differences(original["sequences"], restored["sequences"], sequences_until or {}),
        *_large_object_differences(original["large_objects"], restored["large_objects"]),
    ]


def extension_differences(original: Fingerprint, restored: Fingerprint) -> list[str]:
    """Return in which versions the extensions of two databases differ."""
    here, there = (part["catalogue"].get("extensions", {}) for part in (original, restored))
    return [
        f"Extension {name} has version {here[name].get('version')} in the original, {there[name].get('version')} here."
        for name in sorted(set(here) & set(there))
        if here[name].get("version") != there[name].get("version")
    ]


_NOTHING: Change = {"added": {}, "removed": {}, "altered": {}}


def _comparable(catalogue: Catalogue, rights: bool, across_servers: bool) -> Catalogue:
    kept = catalogue if rights else catalogues.without_rights(catalogue)
    if across_servers:
        kept = without(kept, PLACEMENT, ("publications",))
        kept = {**kept, "extensions": {name: {} for name in kept.get("extensions", {})}}
    return canonical_catalogue(kept)


def _table_differences(before: Fingerprint, after: Fingerprint, change: Change) -> Iterator[str]:
    removed, added = change["removed"].get("tables", {}), change["added"].get("tables", {})
    for name in sorted(set(before["tables"]) | set(after["tables"])):
        old, new = before["tables"].get(name), after["tables"].get(name)
        if old is None:
            if name not in added:
                yield f"Table {name} is only in the later one."
        elif new is None:
            if name not in removed:
                yield f"Table {name} is missing in the later one."
        else:
            yield from _differences_of(name, before, after, change)


def _differences_of(name: str, before: Fingerprint, after: Fingerprint, change: Change) -> Iterator[str]:
    old, new = before["tables"][name], after["tables"][name]
    if name in columns_touched(change) and old["columns"] != new["columns"]:
        old, new = {**old, "contents": None, "counters": None}, {**new, "contents": None, "counters": None}
    counters_hold = before.get("counters_since") == after.get("counters_since")
    yield from _one_table(name, old, new, before["method"] == after["method"], counters_hold)


def _one_table(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], same_method: bool, counters_hold: bool
) -> Iterator[str]:
    if None not in (old["rows"], new["rows"]) and old["rows"] != new["rows"]:
        yield f"Table {name} has {new['rows']} rows, it had {old['rows']}."
    elif None not in (old["contents"], new["contents"]):
        if not same_method or old["columns"] != new["columns"]:
            yield (
                f"The contents of table {name} were hashed by another method or over other columns, so that they prove "
                "nothing: name the columns that the plan touches in skip_columns, before and after it."
            )
        elif old["contents"] != new["contents"]:
            yield f"The contents of table {name} changed ({new['rows']} rows, as before)."
    elif None not in (old["counters"], new["counters"]):
        if not counters_hold:
            yield f"The counters of table {name} prove nothing: they were reset, or the server was restarted."
        elif old["counters"] != new["counters"]:
            yield f"The counters of table {name} changed: {_counted(old['counters'], new['counters'])}."


def _counted(old: Mapping[str, int], new: Mapping[str, int]) -> str:
    changes = [f"{new[key] - old[key]} {key}" for key in ("inserted", "updated", "deleted") if new[key] != old[key]]
    return ", ".join(changes) or "the table was emptied or written anew as a whole"


def _sequence_differences(before: Fingerprint, after: Fingerprint, change: Change) -> Iterator[str]:
    new = after["sequences"]
    explained = {**change["removed"].get("sequences", {}), **change["added"].get("sequences", {})}
    for name, position in sorted(before["sequences"].items()):
        if name not in explained and new.get(name) != position:
            yield f"Sequence {name} stands at {_position(new.get(name))}, it stood at {_position(position)}."


def _restored_sequence_differences(
    original: Mapping[str, Any], restored: Mapping[str, Any], until: Mapping[str, Any]
) -> Iterator[str]:
    for name, position in sorted(original.items()):
        found, last = restored.get(name), until.get(name, position)
        if not _is_between(found, position, last):
            yield f"Sequence {name} stands at {_position(found)} in the copy, at {_position(position)} in the original."


def _is_between(found: Any, first: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    if found is None:
        return False
    if first == last:
        return bool(found == first)
    low, high = sorted([first["last_value"], last["last_value"]])
    return bool(low <= found["last_value"] <= high)


def _position(position: Mapping[str, Any] | None) -> str:
    if position is None:
        return "nothing (it is missing)"
    return f"{position['last_value']}{'' if position['is_called'] else ' (not yet used)'}"


def _large_object_differences(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    if old is None or new is None:
        return
    if old["count"] != new["count"]:
        yield f"There are {new['count']} large objects, there were {old['count']}."
    elif None not in (old["contents"], new["contents"]) and old["contents"] != new["contents"]:
        yield f"The contents of large objects changed ({new['count']}, as before)."


def _view_differences(before: Fingerprint, after: Fingerprint, change: Change) -> Iterator[str]:
    new = after["materialised_views"]
    touched = {
        *change["removed"].get("materialised_views", {}),
        *change["altered"].get("materialised_views", {}),
    }
    for name, view in sorted(before["materialised_views"].items()):
        if name not in touched and new.get(name) != view:
            rows = "is missing" if name not in new else f"has {new[name]['rows']} rows"
            yield f"Materialised view {name} {rows}, it had {view['rows']}."
