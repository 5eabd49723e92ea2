# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first hundred bytes of an SQLite file: telling contents apart, and keeping writers out of a kept file.

A connection that was opened before a file was renamed goes on with the renamed file. SQLite notices that only where it
keeps its journal in a file; in C(journal_mode=MEMORY) or C(OFF) it does not. So a kept file gets a I(write version)
that no SQLite knows, with which it can only be read, and another change counter, so that what others remember of it is
read again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_CHUNK = 1024 * 1024
_VERSIONS = 18
_COUNTER = 24
_MARK_BYTES = 10
"""Write version, read version, four bytes that never change here, and the change counter: one write."""

_READ_ONLY = 3
_OF_THE_WAY = ((18, 20), (24, 28), (40, 44), (92, 100))
"""What SQLite writes when only the journal's mode changes, or into a copy: versions, counters of changes and of schema
changes, its own version. Whatever changes rows or schema changes other bytes, too."""


def contents_digest(descriptor: int) -> str:
    """Return the SHA-256 of an open file, without what the journal's mode alone changes, as hexadecimal digits.

    Everything must be in the file itself, and nobody may write meanwhile.
    """
    digest = hashlib.sha256()
    position = 0
    while True:
        chunk = os.pread(descriptor, _CHUNK, position)
        if not chunk:
            return digest.hexdigest()
        digest.update(_masked(chunk) if position == 0 else chunk)
        position += len(chunk)


def file_digest(path: Path) -> str:
    """Return the same of a file that no connection of this process is in the middle of using."""
    with path.open("rb", buffering=0) as file:
        return contents_digest(file.fileno())


def is_marked(path: Path) -> bool:
    """Tell whether a file was marked by `mark_read_only`."""
    with path.open("rb") as file:
        return file.read(_VERSIONS + 1)[_VERSIONS:] == bytes([_READ_ONLY])


def mark_read_only(descriptor: int) -> str:
    """Let nobody write into an open file any more; return what was there, for `unmark`, as hexadecimal digits."""
    before = os.pread(descriptor, _MARK_BYTES, _VERSIONS)
    if len(before) == _MARK_BYTES and before[0] != _READ_ONLY:
        counter = int.from_bytes(before[-4:], "big")
        marked = bytes([_READ_ONLY]) + before[1:-4] + ((counter + 1) % 2**32).to_bytes(4, "big")
        os.pwrite(descriptor, marked, _VERSIONS)
        os.fsync(descriptor)
    return before.hex()


def unmark(path: Path, before: str) -> None:
    """Let a file be written again, with the bytes that were there before.

    Args:
        path: the file.
        before: what `mark_read_only` returned, or "": then the write version becomes the read version.
    """
    with path.open("r+b", buffering=0) as file:
        now = os.pread(file.fileno(), _MARK_BYTES, _VERSIONS)
        if len(now) == _MARK_BYTES and now[0] == _READ_ONLY:
            os.pwrite(file.fileno(), bytes.fromhex(before) or now[1:2], _VERSIONS)
            os.fsync(file.fileno())


def _masked(chunk: bytes) -> bytes:
    masked = bytearray(chunk)
    for start, end in _OF_THE_WAY:
        masked[start : min(end, len(masked))] = bytes(max(0, min(end, len(masked)) - start))
    return bytes(masked)
