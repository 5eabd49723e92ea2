# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a rollback that was not done by this collection stopped: described against both states that are known.

Before is the catalogue of a backup made before the rollback; after is that catalogue with the rehearsed change. Only
the catalogue is judged: what a migration did to contents cannot be seen here, and the description says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .catalogue import Catalogue, Change, canonical, change_between, describe, is_empty, split_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Entry = tuple[str, str, str]
    """Action (added, removed, altered), kind and identity."""

STATES = ("as before", "reverted", "partial", "other")
"""Of a database. As the backup; as rehearsed; some of the rehearsed change was made; the change is another one, or
nothing is known of what was rehearsed."""

REVERTED, NOT_REVERTED, HALF_REVERTED, OTHERWISE = "reverted", "not reverted", "reverted in part", "changed otherwise"
"""Of a table."""

_OWN_TABLE = ("tables", "views", "materialised_views")


def describe_partial(before: Catalogue, now: Catalogue, rehearsed: Change | None) -> dict[str, Any]:
    """Describe what a database is now, between two known states.

    Args:
        before: its catalogue before the rollback.
        now: its catalogue now.
        rehearsed: the canonical change of the rehearsal of the plan; None where nothing was rehearsed.

    Returns:
        C(state), one of `STATES`; C(tables), ``{identity: state of the table}``, only those of either change;
        C(missing), what was rehearsed and is not there, and C(unexpected), what is there and was not rehearsed, one
        line each; C(change), what differs from before; C(lines), all of it for a person.
    """
    change = change_between(before, now)
    found = canonical(change)
    wanted = rehearsed or {"added": {}, "removed": {}, "altered": {}}
    owners = {**_tables_of(now), **_tables_of(before), **_tables_of(wanted["added"])}
    expected, made = dict(_entries(wanted)), dict(_entries(found))
    done = {entry for entry, value in expected.items() if entry in made and made[entry] == value}
    missing, unexpected = sorted(set(expected) - done), sorted(set(made) - done)
    tables = _judged(owners, done, missing, unexpected)
    state = _state(is_empty(found), rehearsed is not None, bool(done), bool(missing), bool(unexpected))
    description = {
        "state": state,
        "tables": tables,
        "missing": [_line(entry) for entry in missing],
        "unexpected": [_line(entry) for entry in unexpected] if rehearsed is not None else [],
        "change": describe(change),
    }
    return {**description, "lines": list(_lines(description))}


def sentence(tables: Mapping[str, str]) -> str:
    """Return in one sentence which tables were reverted and which were not: ``users reverted, projects not``."""
    parts: list[str] = []
    for state in (REVERTED, HALF_REVERTED, OTHERWISE, NOT_REVERTED):
        names = sorted(_short(name) for name, found in tables.items() if found == state)
        if names:
            parts.append(f"{', '.join(names)} {state if state != NOT_REVERTED or not parts else 'not'}")
    return ", ".join(parts)


def _short(identity: str) -> str:
    schema, name = split_identity(identity)
    return name if schema == "public" else identity


def _state(unchanged: bool, known: bool, done: bool, missing: bool, unexpected: bool) -> str:
    if unchanged:
        return "as before"
    if not known or not (done or missing):
        return "other"
    if not missing and not unexpected:
        return "reverted"
    return "partial" if done else "other"


def _judged(
    owners: Mapping[tuple[str, str], str], done: set[Entry], missing: list[Entry], unexpected: list[Entry]
) -> dict[str, str]:
    touched: dict[str, set[str]] = {}
    for name, entries in (("done", done), ("missing", missing), ("unexpected", unexpected)):
        for _action, kind, identity in entries:
            touched.setdefault(_table(owners, kind, identity), set()).add(name)
    return {table: _state_of_table(found) for table, found in sorted(touched.items()) if table}


def _state_of_table(found: set[str]) -> str:
    if found == {"done"}:
        return REVERTED
    if found == {"missing"}:
        return NOT_REVERTED
    return HALF_REVERTED if "done" in found else OTHERWISE


def _table(owners: Mapping[tuple[str, str], str], kind: str, identity: str) -> str:
    """Return the table that an object belongs to, or the object itself where it belongs to none."""
    if kind in _OWN_TABLE:
        return identity
    if (kind, identity) in owners:
        return owners[kind, identity]
    return split_identity(identity)[0] if kind == "columns" else identity


def _tables_of(catalogue: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    return {
        (kind, identity): str(attributes["table"])
        for kind, objects in catalogue.items()
        for identity, attributes in objects.items()
        if attributes.get("table")
    }


def _entries(change: Change) -> Iterator[tuple[Entry, Any]]:
    for action, kinds in change.items():
        for kind, objects in kinds.items():
            for identity in objects:
                yield (action, kind, identity), objects[identity] if isinstance(objects, dict) else None


def _line(entry: Entry) -> str:
    action, kind, identity = entry
    return f"{kind.replace('_', ' ')}: {identity} {action}"


def _lines(description: Mapping[str, Any]) -> Iterator[str]:
    state = description["state"]
    if state == "as before":
        yield "The schema is that of before the rollback. Contents are not judged by this."
        return
    if state == "reverted":
        yield "The schema is exactly what the rehearsal came to. Contents are not judged by this."
    elif state == "partial":
        yield f"The rollback stopped in the middle: {sentence(description['tables'])}. Contents are not judged by this."
    else:
        yield "The schema is neither that of before the rollback nor the rehearsed one."
    yield from (f"Rehearsed, and not done: {line}" for line in description["missing"])
    yield from (f"Done, and not rehearsed: {line}" for line in description["unexpected"])
    yield from (f"Differs from before: {line}" for line in description["change"])
