# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An SQLite database: its file, those beside it, and the ways in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from ..._domain.errors import Failed, Refused, RollbackError
from ..._domain.names import derived_name, parse_derived_name
from .holders import describe_holders, find_holders

try:
    import sqlite3
except ImportError:
    sqlite3 = None  # type: ignore[assignment]  # some builds of Python leave it out; see require_sqlite

BUSY_SECONDS = 5.0
"""How long a lock of somebody else is waited for."""

COMPANIONS = ("-journal", "-wal", "-shm")
"""What SQLite keeps beside a file. It finds them by name: one left behind would be applied to whatever comes next."""

_OLDEST = (3, 26, 0)


class Identity(NamedTuple):
    """What makes a file this one and no other, whatever path leads to it."""

    system_identifier: str
    oid: int


def require_sqlite() -> None:
    """Say what is missing where this Python cannot open SQLite files.

    Raises:
        Failed: the module C(sqlite3) is missing, or SQLite is too old.
    """
    version = getattr(sqlite3, "sqlite_version_info", None)
    if version is None or version < _OLDEST:
        found = "is missing" if version is None else f"is of SQLite {version}, older than 3.26"
        raise Failed(
            f"The library sqlite3 of the Python that Ansible uses on this host {found}.",
            untouched="Nothing was touched.",
            remedy="Set ansible_python_interpreter to a Python with sqlite3 (on Debian: libpython3-stdlib has it).",
        )


class DatabaseFile:
    """The file behind a C(sqlite:) URL.

    Args:
        database_url: C(sqlite:./file), relative to C(project_dir), or C(sqlite:///file), absolute.
        project_dir: the project's folder, for relative paths.

    Raises:
        Refused: the URL names no file, or a relative one without a project folder.
    """

    def __init__(self, database_url: str, project_dir: str | None) -> None:
        require_sqlite()
        given = database_url[len("sqlite:") :]
        if given.startswith("//"):
            given = given[2:] if given.startswith("///") else ""
        if not given or given.startswith(":memory:") or "?" in given or "\0" in given or given.endswith("/"):
            raise _no_file()
        if not Path(given).is_absolute() and not project_dir:
            raise Refused(
                "The database URL names a file by a relative path, and no project folder is set for it to start from.",
                untouched="Nothing was touched.",
                remedy="Set rollback_project_dir (project_dir of the module), or write it in full: sqlite:///srv/app.db",
            )
        # SQLite keeps its companions beside the file that a link leads to, and a rename must not replace the link.
        self.path = Path(os.path.realpath(Path(project_dir or "/") / given))
        self.database = self.path.name
        self._slashes = "//" if database_url.startswith("sqlite://") else ""

    def derived(self, purpose: str, run_id: str) -> Path:
        """Return the path of a file that a run makes beside this one."""
        return self.path.with_name(derived_name(self.database, purpose, run_id))

    def named(self, name: str | None) -> Path:
        """Return the path of this file, or of one of those that runs made beside it.

        Raises:
            Refused: it is none of these.
        """
        if name in (None, self.database):
            return self.path
        if name and parse_derived_name(name) and Path(name).name == name:
            return self.path.with_name(name)
        raise Refused(
            f"{name!r} is neither {self.database} nor the name of a file that a run made beside it.",
            untouched="Nothing was touched.",
            remedy="Name the file alone, without its folder, as db_clone returned it.",
        )

    def url(self, path: Path) -> str:
        """Return the URL of a file beside this one, in the manner of the one that was given, with its whole path."""
        return f"sqlite:{self._slashes}{path}"

    def identity(self, path: Path | None = None) -> Identity:
        """Return what tells this file from every other one.

        Raises:
            Refused: there is no such file.
        """
        check_file(path or self.path)
        status = (path or self.path).stat()
        return Identity(f"device {status.st_dev}", status.st_ino)


def _no_file() -> Refused:
    return Refused(
        "The database URL names no SQLite file.",
        untouched="Nothing was touched.",
        remedy="Write it as sqlite:./file.sqlite, relative to rollback_project_dir, or as sqlite:///srv/file.sqlite, "
        "without parameters.",
    )


def check_file(path: Path) -> None:
    """Check that there is a file that may be read.

    Raises:
        Refused: there is none, it is no file, or it may not be read.
    """
    if path.is_file() and os.access(path, os.R_OK):
        return
    why = "cannot be read" if path.is_file() else "is not a file" if path.exists() else "does not exist"
    raise Refused(
        f"The SQLite file {path} {why}.",
        untouched="Nothing was touched.",
        remedy="Check the path in rollback_database_url; a relative one starts from rollback_project_dir.",
    )


@contextmanager
def connect(path: Path, *, write: bool = False, busy_seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """Open a file that is there, outside of any transaction, and always close it.

    Args:
        path: the file.
        write: may anything be changed?
        busy_seconds: how long locks of others are waited for.

    Raises:
        Refused: it is not there, is no database, or is locked.
        Failed: SQLite found something else wrong.
    """
    check_file(path)
    with translated(path):
        # "rw" for reading too: only then SQLite can undo what a killed writer left, and clear its own files away.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None, timeout=busy_seconds
        )
        try:
            if not write:
                connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT count(*) FROM sqlite_master")
            yield connection
        finally:
            connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite says into what a person can act on."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: Exception) -> RollbackError:
    said = str(error)
    if "locked" in said:
        holders = find_holders(path)
        return Refused(
            f"{path} is locked: another program is in the middle of a change, or keeps it to itself ({said}).",
            untouched="It was not changed.",
            remedy=f"End what holds it, then start again. {describe_holders(holders)}",
            holders=[holder._asdict() for holder in holders or []],
        )
    if "not a database" in said:
        return Refused(
            f"{path} is not an SQLite database, or is encrypted ({said}).",
            untouched="It was not changed.",
            remedy="Check the path in rollback_database_url: file -s tells what it is.",
        )
    if "full" in said:
        return Failed(
            f"There is no room left where {path} lies ({said}).",
            untouched="The database itself was not changed; what was begun beside it is removed.",
            remedy=f"Make room, then start again: df -h '{path.parent}'",
        )
    if "malformed" in said:
        return Failed(
            f"{path} is damaged: {said}.",
            untouched="It was not changed.",
            remedy="Restore the newest backup beside it (db_restore), and look at both with PRAGMA integrity_check.",
        )
    if "unable to open" in said or "readonly" in said:
        return Refused(
            f"{path} cannot be opened for this ({said}).",
            untouched="It was not changed.",
            remedy=f"The account needs write access to the file and its folder: ls -ld '{path.parent}' '{path}'",
        )
    return Failed(f"SQLite said of {path}: {said}", remedy="Read the message, then the journal of the run.")
