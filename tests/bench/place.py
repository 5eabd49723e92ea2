# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where something is measured: a server, a database on it, and how modules and other programs are run there."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
from embedded_postgresql import HOST, Cluster, Setting
from psycopg2 import sql

from tests.bench.figures import BenchError

OWNER = "shop"
MODULES = "ansible_collections.balcon.rollback.plugins.modules"
SETTINGS: Mapping[str, Setting] = {"max_wal_size": "2GB", "maintenance_work_mem": "128MB"}
"""Of every server here: what a tuned small server has, for ours and for the peers."""


@dataclass(frozen=True)
class Place:
    """A database on a running server.

    Args:
        project: the checkout.
        folder: for state, dumps and logs.
        cluster: a running server.
        password: of the role that owns the database.
        database: its name.
    """

    project: Path
    folder: Path
    cluster: Cluster
    password: str
    database: str = ""
    owner: str = OWNER

    @property
    def url(self) -> str:
        """The database, as its owner."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """Another database on the same server, as the same role."""
        return self.cluster.url(self.owner, self.password, database)

    @property
    def environment(self) -> dict[str, str]:
        """Of programs that are started: nothing of Ansible's or PostgreSQL's that could change what they do."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
        path = f"{Path(sys.executable).parent}:{self.cluster.bin_dir}:{kept.get('PATH', '/usr/bin:/bin')}"
        return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(self.project / "collections")}

    @property
    def connected(self) -> dict[str, str]:
        """The same, with the way to the server for PostgreSQL's own programs."""
        server = {"PGHOST": HOST, "PGPORT": str(self.cluster.port), "PGUSER": self.owner, "PGPASSWORD": self.password}
        return {**self.environment, **server}

    def execute(self, statement: str | sql.Composable, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as superuser; return its rows."""
        connection = psycopg2.connect(self.cluster.superuser_url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[str]:
        """Give an empty database of that name, owned by the role; dropped at the end."""
        self.drop(name)
        self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (name, self.owner))))
        try:
            yield name
        finally:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Drop a database with its sessions, if it is there."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


class Ended(NamedTuple):
    """What a program came to: seconds, the most memory that one process of it had (MB), and what it printed."""

    seconds: float
    megabytes: float
    output: str


@contextlib.contextmanager
def running(project: Path, folder: Path, version: int, name: str) -> Iterator[Place]:
    """Give a running server with the role that owns databases; it is gone at the end."""
    cluster = Cluster(folder / name, version, name)
    try:
        cluster.create()
        cluster.start(settings=SETTINGS)
        place = Place(project, folder, cluster, secrets.token_hex(12))
        place.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{place.password}'")
        yield place
    finally:
        cluster.destroy()


def run(command: list[str], environment: Mapping[str, str], folder: Path, text: str = "") -> Ended:
    """Run a program to its end.

    Memory is the kernel's own count of the largest process among the program and those that it waited for.

    Raises:
        BenchError: it failed.
    """
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as output,
        tempfile.TemporaryFile("w+") as errors,
    ):
        given.write(text)
        given.seek(0)
        begin = time.monotonic()
        process = subprocess.Popen(
            command, stdin=given, stdout=output, stderr=errors, cwd=folder, env=dict(environment)
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            raise BenchError(f"{' '.join(command[:4])} failed: {output.read()[-3000:]}{errors.read()[-3000:]}")
        return Ended(seconds, usage.ru_maxrss / 1024, output.read())


def shell(place: Place, script: str, *arguments: str) -> Ended:
    """Run a line of the runbook's kind as it would be typed, in bash with ``pipefail``."""
    command = ["bash", "-c", f"set -o pipefail; {script}", "bash", *arguments]
    return run(command, place.connected, place.folder)


def module(place: Place, called: str, /, **arguments: Any) -> tuple[Ended, dict[str, Any]]:
    """Run a module as a program, from its start to its end; return what it printed as well."""
    given = {"database_url": place.url, **arguments}
    ended = run(
        [sys.executable, "-m", f"{MODULES}.{called}"],
        place.environment,
        place.folder,
        json.dumps({"ANSIBLE_MODULE_ARGS": given}),
    )
    return ended, json.loads(ended.output)
