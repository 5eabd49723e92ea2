# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server has room for copies of a database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..._driver import one_row

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

ROOM_FOR_A_COPY = 1.2
"""How many times its size a copy needs: the copy, and what the migration writes into it."""

_IDENTIFIER_BYTES = 8


class Disk(NamedTuple):
    """Room that is needed and there.

    Attributes:
        needed_bytes: for the copies that are alive at the same time; None where the size is not known.
        free_bytes: None where it could not be told.
        source: ``given`` by the operator, ``measured`` on this machine, or ``unknown``.
    """

    needed_bytes: int | None
    free_bytes: int | None
    source: str

    @property
    def lacks(self) -> bool:
        """It is known that there is too little."""
        return None not in (self.needed_bytes, self.free_bytes) and self.free_bytes < self.needed_bytes  # type: ignore[operator]


def read_disk(cursor: Cursor, database: str, size_bytes: int | None, copies: int, given: int | None) -> Disk:
    """Compare what copies of a database need with what is free.

    Args:
        cursor: anywhere on the server.
        database: its name.
        size_bytes: its size.
        copies: how many copies are alive at the same time.
        given: what the operator says is free, in bytes, or None.
    """
    needed = None if size_bytes is None else int(size_bytes * ROOM_FOR_A_COPY * copies)
    if given is not None:
        return Disk(needed, given, "given")
    free = _measure(cursor, database)
    return Disk(needed, free, "unknown" if free is None else "measured")


def _measure(cursor: Cursor, database: str) -> int | None:
    """Return the free bytes where the database lies, if that is proven to be on this machine."""
    cursor.execute("SELECT pg_has_role('pg_read_all_settings', 'USAGE')")
    if not one_row(cursor)[0]:
        return None
    cursor.execute(
        "SELECT current_setting('data_directory'), (SELECT system_identifier FROM pg_control_system()), "
        "(SELECT pg_tablespace_location(dattablespace) FROM pg_database WHERE datname = %s)",
        [database],
    )
    folder, system_identifier, tablespace = one_row(cursor)
    try:
        if not _is_this_server(Path(folder), system_identifier):
            return None
        statistics = os.statvfs(tablespace or folder)
    except OSError:
        return None
    return statistics.f_bavail * statistics.f_frsize


def _is_this_server(folder: Path, system_identifier: int) -> bool:
    """Tell by the file that holds the server's identifier: the same path may be there on another machine too."""
    with (folder / "global" / "pg_control").open("rb") as file:
        start = file.read(_IDENTIFIER_BYTES)
    return system_identifier % 2**64 in (int.from_bytes(start, "little"), int.from_bytes(start, "big"))
