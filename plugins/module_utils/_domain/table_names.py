# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables as a person names them, found among those that are there."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from .catalogue import split_identity, unquote
from .errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def plain(identity: str) -> str:
    """Return an identity without its quotes, and without the schema C(public): as a person would type it."""
    schema, name = split_identity(identity)
    return unquote(name) if schema == "public" else f"{unquote(schema)}.{unquote(name)}"


def choose_tables(
    wanted: Sequence[str], identities: Iterable[str], *, groups: Mapping[str, Sequence[str]], where: str
) -> list[str]:
    """Return the tables that were asked for, each once, in the order asked; all where none was named.

    Args:
        wanted: names, quoted or not; without a schema they are of C(public).
        identities: the quoted names of all tables that hold rows.
        groups: the quoted names of partitioned tables, and the tables that hold their rows.
        where: where the tables were looked for, for the message.

    Raises:
        Refused: there is no such table; names that are nearly the same are in the message.
    """
    known = {name: [name] for name in identities}
    known.update({name: list(parts) for name, parts in groups.items()})
    if not wanted:
        return sorted(identity for identity, parts in known.items() if parts == [identity])
    by_plain_name = {plain(identity): identity for identity in known}
    chosen: list[str] = []
    for name in wanted:
        found = (
            known.get(name) or known.get(f"public.{name}") or known.get(by_plain_name.get(_without_public(name), ""))
        )
        if found is None:
            raise _no_such_table(name, sorted(by_plain_name), where)
        chosen += [table for table in found if table not in chosen]
    return chosen


def _without_public(name: str) -> str:
    schema, dot, table = name.partition(".")
    return table if dot and schema == "public" else name


def _no_such_table(name: str, known: list[str], where: str) -> Refused:
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known[:20]) or 'none'}."
    return Refused(
        f"There is no table {name!r} in {where}.",
        untouched="Nothing was changed.",
        remedy=f"{hint} Capitals count; a table outside the schema public is named with its schema.",
        table=name,
        near=near,
    )
