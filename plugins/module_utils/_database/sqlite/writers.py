# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping others out of a file: writers while it is copied, everybody while it changes its name.

The kernel drops a process's locks on a file when the process closes I(any) descriptor of that file. So nothing here
opens and closes the file while a lock is held: one descriptor is opened before the connection, and closed after it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..._domain.errors import Refused
from .database_file import COMPANIONS, connect
from .holders import describe_holders, find_holders

if TYPE_CHECKING:
    import sqlite3

_TRIES = 5


class Held(NamedTuple):
    """A file that others are kept out of.

    Attributes:
        connection: the one that keeps them out.
        descriptor: for reading and marking the file itself.
        journal_mode: the mode that the file had.
    """

    connection: sqlite3.Connection
    descriptor: int
    journal_mode: str


@contextmanager
def writers_wait(path: Path) -> Iterator[Held]:
    """Let nobody write into a file, readers go on; everything that was written is in the file itself.

    Raises:
        Refused: somebody else keeps it to himself, or is in the middle of a change.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        with connect(path, write=True) as connection:
            mode = _begin_with_empty_log(connection, path)
            try:
                yield Held(connection, descriptor, mode)
            finally:
                connection.execute("ROLLBACK")
    finally:
        os.close(descriptor)


def _begin_with_empty_log(connection: sqlite3.Connection, path: Path) -> str:
    for _try in range(_TRIES):
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        if mode == "wal":
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        if _size(path, "-wal") == 0:
            return mode
        connection.execute("ROLLBACK")
    raise Refused(
        f"The write-ahead log of {path} does not become empty: others write or read all the time.",
        untouched="Nothing was changed.",
        remedy=f"End them for a moment, then start again. {describe_holders(find_holders(path))}",
    )


@contextmanager
def everyone_out(path: Path, *, look_for_holders: bool = True) -> Iterator[Held]:
    """Let nobody read or write a file, and see that no process has it open; it has no companion then.

    A file in WAL mode leaves it, which takes that nobody else is connected; it goes back where the file still has its
    name at the end.

    Args:
        path: the file.
        look_for_holders: refuse where another process has it open, even one that does nothing.

    Raises:
        Refused: somebody is in it.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        with connect(path, write=True) as connection:
            mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
            try:
                if mode == "wal":
                    connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("BEGIN EXCLUSIVE")
                if look_for_holders:
                    check_nobody_holds(path)
                _remove_companions(path)
                yield Held(connection, descriptor, mode)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if mode == "wal" and _is_still(path, descriptor):
                    connection.execute("PRAGMA journal_mode = WAL")
    finally:
        os.close(descriptor)


def check_nobody_holds(path: Path) -> None:
    """Check that no other process has a file open.

    Raises:
        Refused: one has; the message names it.
    """
    holders = find_holders(path)
    if holders:
        raise Refused(
            f"{path.name} is open in other programs, which would go on with the file as it was: "
            f"{'; '.join(map(str, holders))}.",
            untouched=f"{path} was not changed.",
            remedy="End them (the development server, an editor, a database browser), then start again; or give "
            "rollback_release with a command 'stop', then the run does it.",
            holders=[holder._asdict() for holder in holders],
        )


def _remove_companions(path: Path) -> None:
    """Remove what SQLite keeps beside a file: nothing of it is needed under an exclusive lock.

    Raises:
        Refused: there is a write-ahead log that holds something.
    """
    if _size(path, "-wal"):
        raise Refused(
            f"{path}-wal holds something, although nobody may be writing.",
            untouched=f"{path} was not changed.",
            remedy=f"Look at who writes: {describe_holders(find_holders(path))} Then start again.",
        )
    for companion in COMPANIONS:
        Path(f"{path}{companion}").unlink(missing_ok=True)


def _size(path: Path, companion: str) -> int:
    try:
        return Path(f"{path}{companion}").stat().st_size
    except FileNotFoundError:
        return 0


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell by its identity whether a path leads to an open file; never opens it."""
    opened = os.fstat(descriptor)
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    return (opened.st_dev, opened.st_ino) == (named.st_dev, named.st_ino)
