# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a rollback in place: for whom it is, whom a missing CONNECT keeps out, and what must be kept before.

The plan runs on the database itself, so that what it can be brought back to is a dump, taken when nobody but its owner
was left in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .description import METHODS, method_of
from .errors import Refused

if TYPE_CHECKING:
    from .description import Description

IN_PLACE = METHODS[1]

SOLVED_IN_PLACE = ("create_database", "logical_slot", "collation_version", "version")
"""Kinds of blockers of a candidate that do not stand in the way of a rollback in place."""

OFFER = "Or roll back in place, without a copy: rollback_method: in_place, and read docs/in-place.md first."

UNALTERED = ("closed", "candidate")
"""States in which nothing was migrated yet: the privileges are given back, and that is all."""

_ENTRY = re.compile(r"\d+; \d+ \d+ (?P<entry>.+)")

_KEPT = ("COMMENT - EXTENSION ", "PUBLICATION - ")
"""Entries of a dump of things that stay where they are: they lie in no schema, and are not emptied."""

_ROWS = "TABLE DATA "
_SEQUENCE = "SEQUENCE SET "


class DumpAccess(NamedTuple):
    """How a dump is read: the key of its signature, and folders to look for the client tools in."""

    signing_key: str | None = None
    client_path: Sequence[str] = ()


class Role(NamedTuple):
    """A role of the server, as far as CONNECT is concerned.

    Attributes:
        name: the role.
        can_login: it may connect to a server at all.
        superuser: no privilege keeps it out.
        member: it is the owner of the database, or may become it (SET ROLE).
        connects: it has the owner's own privileges, CONNECT among them.
    """

    name: str
    can_login: bool
    superuser: bool
    member: bool
    connects: bool


class Problem(NamedTuple):
    """Why a database cannot be closed by privilege; the fields of a blocker."""

    kind: str
    name: str
    message: str
    remedy: str


class Entries(NamedTuple):
    """The lines of a dump's table of contents, by when they are restored.

    Attributes:
        schema: everything but rows and positions of sequences, in the dump's own order.
        rows: one line for the rows of each table.
        sequences: the positions of sequences.
    """

    schema: list[str]
    rows: list[str]
    sequences: list[str]


def is_in_place(description: Description | None) -> bool:
    """Tell whether a run works on the database itself."""
    return bool(description and description.role == "original" and method_of(description) == IN_PLACE)


def with_offer(kind: str, remedy: str) -> str:
    """Return a blocker's remedy, with the other method named where it would do."""
    return f"{remedy} {OFFER}" if kind in SOLVED_IN_PLACE else remedy


def role_problems(
    database: str, ours: str, application_roles: Collection[str], roles: Mapping[str, Role]
) -> Iterator[Problem]:
    """Say which roles would stay in a database of which CONNECT was taken away from everybody but its owner.

    Superusers who are not the application's always stay; it is said in the plan, and their sessions are refused.

    Args:
        database: its name, for the messages.
        ours: the role that works here.
        application_roles: those that the inventory names.
        roles: all roles of the server, by name.
    """
    if not application_roles:
        yield Problem(
            "application_roles",
            database,
            f"Nobody said by which roles the application connects to {database}, so that nobody can tell whether a "
            "missing CONNECT keeps it out.",
            "Name them in the inventory: rollback_application_roles: [shop_app].",
        )
    for name in application_roles:
        yield from _application_problems(database, name, roles.get(name))
    for name, role in sorted(roles.items()):
        if role.connects and role.can_login and not role.superuser and name not in {ours, *application_roles}:
            yield Problem(
                "role_stays",
                name,
                f"Role {name} owns {database} or has its owner's privileges, so that it would stay in it.",
                f"Keep it out while you roll back (ALTER ROLE {name} NOLOGIN), or take the owner's role away from it.",
            )


def _application_problems(database: str, name: str, role: Role | None) -> Iterator[Problem]:
    if role is None:
        yield Problem(
            "application_roles",
            name,
            f"There is no role {name} on the server, which rollback_application_roles names.",
            "Write the roles as the server knows them: capitals count.",
        )
        return
    reason = "is a superuser" if role.superuser else f"owns {database}, or may become its owner" if role.member else ""
    if reason:
        yield Problem(
            "application_role",
            name,
            f"The application's role {name} {reason}: no privilege keeps it out.",
            "Let the application connect as a role of its own, with privileges on its tables and nothing else "
            "(docs/in-place.md), or roll back by a candidate (rollback_method: candidate).",
        )


def check_restore_point(run_id: str, database: str, description: Description | None) -> None:
    """Check that what a database can be brought back to was kept before anything is migrated on it.

    Raises:
        Refused: it was not.
    """
    if description is None or not description.data.get("restore_point"):
        raise Refused(
            f"Nothing is migrated on {database} itself: run {run_id} has kept no restore point.",
            untouched="Nothing was migrated.",
            remedy="The steps of the window belong together: start the whole run with 'ansible-playbook rollback.yml "
            "-e env=…'.",
        )


def sort_entries(toc: str, kept_schemas: Iterable[str] = ()) -> Entries:
    """Sort the lines of a table of contents, leaving out what is never emptied.

    Args:
        toc: as C(pg_restore --list) prints it.
        kept_schemas: names of schemas that are not dropped, as they hold an extension.
    """
    kept = (*_KEPT, *(f"SCHEMA - {name} " for name in kept_schemas))
    entries = Entries([], [], [])
    for line in toc.splitlines():
        match = _ENTRY.fullmatch(line)
        entry = match["entry"] if match else ""
        if not entry or entry.startswith(kept):
            continue
        kind = entries.rows if entry.startswith(_ROWS) else entries.sequences
        (kind if entry.startswith((_ROWS, _SEQUENCE)) else entries.schema).append(line)
    return entries


def room_for_locks(needed: int, maximum: int) -> bool:
    """Tell whether a transaction that holds so many locks fits into the server's table of locks.

    Args:
        needed: locks of the transaction.
        maximum: C(max_locks_per_transaction) × (C(max_connections) + C(max_prepared_transactions)).
    """
    return needed <= maximum * 0.8  # others hold locks, too


def description_data(
    *, application_roles: Iterable[str], grants: Iterable[Mapping[str, Any]], system_identifier: str, oid: int
) -> dict[str, Any]:
    """Return what a database says of a run in place: all that it takes to open it as it was."""
    return {
        "method": IN_PLACE,
        "application_roles": list(application_roles),
        "grants": [dict(grant) for grant in grants],
        "system_identifier": system_identifier,
        "oid": oid,
    }
