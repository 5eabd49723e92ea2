# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that only we can have written: looked at before they are believed.

What is written is private (see `_run.write_private_file`); what is read back may have been put there by somebody else.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ._domain.errors import Refused

_WRITING_BY_OTHERS = 0o022


class NotTrusted(Refused):
    """A file or folder may have been written by somebody else."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not trusted: {reason}.",
            untouched="This step changed nothing.",
            remedy=f"Find out who did that, and when. If its content is yours: chown {os.geteuid()} '{path}'; "
            f"chmod go-w '{path}'; a link is to be replaced by the file itself.",
            path=str(path),
        )
        self.reason = reason


def reason_against(status: os.stat_result) -> str:
    """Return why somebody else may have written what this is the status of; empty where nobody can have.

    Root's files are trusted: root could write ours as well.
    """
    if stat.S_ISLNK(status.st_mode):
        return "it is a link"
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to somebody else (user {status.st_uid}, and this is {os.geteuid()})"
    if status.st_mode & _WRITING_BY_OTHERS:
        return f"others can write to it (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def check_trusted_folder(folder: Path) -> None:
    """Check that nobody else can put files into a folder, or take some away.

    Raises:
        OSError: it cannot be looked at.
        NotTrusted: somebody else can.
    """
    reason = reason_against(folder.stat())
    if reason:
        raise NotTrusted(folder, reason)


def open_trusted(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file that only we can have written, and no other.

    The file that was looked at is the one that is opened: nobody can exchange it in between.

    Args:
        path: its path. A link is refused, wherever it leads; a pipe does not keep us waiting.
        flags: of C(open(2)).

    Returns:
        Its descriptor.

    Raises:
        OSError: it is missing, or cannot be opened.
        NotTrusted: somebody else may have written it.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotTrusted(path, "it is a link") from None
        raise
    status = os.fstat(descriptor)
    reason = reason_against(status)
    if not reason and not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL, "It is not a file", str(path))
    if reason:
        os.close(descriptor)
        raise NotTrusted(path, reason)
    return descriptor


def read_trusted(path: Path) -> bytes:
    """Return the content of a file that only we can have written; see `open_trusted`."""
    with os.fdopen(open_trusted(path), "rb") as file:
        return file.read()
