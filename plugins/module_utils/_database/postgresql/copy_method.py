# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the server copies files: by reading and writing them, or by a system call that can share their blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._driver import psycopg2

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg2.extensions import cursor as Cursor

COPY = "copy"
CLONE = "clone"

_CAN_CLONE = "SELECT FROM pg_catalog.pg_settings WHERE name = 'file_copy_method' AND %s = ANY (enumvals)"


def copy_files(cursor: Cursor, create: Callable[[], None]) -> str:
    """Run what copies a database, by cloning where this server can (PostgreSQL 18), else by copying.

    On a file system with copy on write (XFS, btrfs, ZFS, APFS) a clone shares the blocks of the original: it takes no
    time and no room until one of both is written to. On others the same system call copies inside the kernel, or says
    that it cannot; then the files are read and written.

    Args:
        cursor: of the session that copies.
        create: makes the copy; what it began is gone when it raises.

    Returns:
        C(clone) or C(copy).
    """
    cursor.execute(_CAN_CLONE, [CLONE])
    if not cursor.rowcount:
        create()
        return COPY
    cursor.execute("SET file_copy_method = clone")
    try:
        create()
    except psycopg2.errors.InternalError_:  # the server has no code of its own for what the file system cannot do
        cursor.execute("SET file_copy_method = copy")
        create()
        return COPY
    return CLONE
