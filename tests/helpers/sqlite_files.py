# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run on an SQLite file without Ansible: its state is written, not reached step by step."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

from sqlite_project import SqliteProject

from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.candidate import make_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.database_file import DatabaseFile
from ansible_collections.balcon.rollback.plugins.module_utils._database.sqlite.run_state import (
    advance,
    lease_end,
    write_description,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description

RUN = "20261123t081500a3f9"

_STALE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0.2)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
print(connection.execute("SELECT count(*) FROM users").fetchone(), flush=True)
sys.stdin.readline()
try:
    connection.execute("INSERT INTO users (email) VALUES ('stale')")
    print("written", flush=True)
except sqlite3.OperationalError as error:
    print(error, flush=True)
"""

_KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
os.kill(os.getpid(), signal.SIGKILL)
"""

HALF_WRITTEN = (
    "PRAGMA cache_size = 1",
    "BEGIN",
    "UPDATE users SET email = 'half ' || id",
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
    " INSERT INTO users (email) SELECT hex(randomblob(1000)) FROM n",
)
"""A transaction that is larger than its cache: pages of it are in the file before it is committed."""


def killed_after(path: Path, *statements: str) -> None:
    """Let another process do something to a file, and kill it before it can close the file."""
    arguments = [sys.executable, "-c", _KILLED, str(path), *statements]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def digest(path: Path) -> str:
    """The hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def public_file(project: SqliteProject) -> DatabaseFile:
    """The file of a project, as the collection sees it."""
    return DatabaseFile(project.url, str(project.folder))


def taken(project: SqliteProject, lease_seconds: float = 60) -> DatabaseFile:
    """The file of a project, which the run has taken."""
    file = public_file(project)
    write_description(file.path, Description(RUN, "original", "closed", lease_end(lease_seconds), 60))
    return file


def verified(project: SqliteProject) -> DatabaseFile:
    """The same with a candidate on which the plan ran, and which was verified."""
    file = taken(project)
    make_candidate(file, RUN)
    for step in ("begin_migration", "end_migration", "verify"):
        advance(file, RUN, step)
    with project.session(file.derived("candidate", RUN)) as connection:
        connection.executescript("DROP TABLE orders; DELETE FROM migrations_meta WHERE name LIKE '3%'")
    return file


class Stale:
    """Another process that is connected to a file, has read from it, and does nothing until it is told to write."""

    def __init__(self, path: Path, journal_mode: str) -> None:
        arguments = [sys.executable, "-c", _STALE, str(path), journal_mode]
        self._process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stdout.readline() == "(3,)\n"

    def write(self) -> str:
        """Let it write a row; return "written", or what SQLite said."""
        return self._process.communicate("\n", timeout=60)[0].strip()

    def end(self) -> None:
        """End it, in whatever state it is."""
        self._process.kill()
        self._process.communicate()
