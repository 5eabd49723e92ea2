# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers and fresh databases. A test that takes `server` or `database` runs on every PostgreSQL version.

Under pytest-xdist the tests of one version share a worker, and with it one server.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg2
import pytest
from embedded_postgresql import VERSIONS, Cluster, Setting
from psycopg2 import sql

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection

OWNER = "rollback_owner"
SETTINGS: dict[str, Setting] = {
    "fsync": False,
    "synchronous_commit": False,
    "full_page_writes": False,
    "max_connections": 100,
    "max_prepared_transactions": 5,
    "wal_level": "logical",
    "shared_buffers": "64MB",
}
PRIVILEGES = Path(__file__).resolve().parents[2] / "docs" / "privileges.sql"
FOLDERS = "balcon-rollback-tests-"


@dataclass(frozen=True)
class Database:
    """A fresh database, and the ways into it. Its owner is no superuser, but may create databases and end sessions."""

    server: Cluster
    name: str
    password: str
    owner: str = OWNER

    @property
    def url(self) -> str:
        """The database, as its owner."""
        return self.server.url(self.owner, self.password, self.name)

    @property
    def admin_url(self) -> str:
        """The database ``postgres`` on the same server, as the same role."""
        return self.url_of("postgres")

    @property
    def superuser_url(self) -> str:
        """The database, as superuser."""
        return self.server.superuser_url(self.name)

    def url_of(self, name: str) -> str:
        """Another database on the same server, as the same role."""
        return self.server.url(self.owner, self.password, name)

    @contextlib.contextmanager
    def session(self, url: str | None = None) -> Iterator[Connection]:
        """A session in autocommit mode, the owner's unless another URL is given; closed at the end."""
        connection = psycopg2.connect(url or self.url)
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def execute(
        self, statement: LiteralString | sql.Composable, values: Sequence[Any] | None = None, *, url: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run SQL in a session of its own, as the owner unless another URL is given; return the rows."""
        with self.session(url) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def relatives(self) -> list[str]:
        """The databases whose names begin with this one's: itself, its candidates, what was before."""
        rows = self.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [self.name], url=self.admin_url
        )
        return [name for (name,) in rows]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run whatever uses a server on each version, or on the newest alone where a test says so."""
    if "server" in metafunc.fixturenames:
        versions = [max(VERSIONS)] if metafunc.definition.get_closest_marker("newest_server") else [*VERSIONS]
        parameters = [pytest.param(version, id=f"postgresql-{version}") for version in versions]
        metafunc.parametrize("server", parameters, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A running PostgreSQL server for the whole session, one for each version."""
    _remove_what_killed_runs_left()
    with _running(request.param) as server, _measured_on_the_newest(request.param):
        yield server


@contextlib.contextmanager
def _measured_on_the_newest(version: int) -> Iterator[None]:
    """Measure coverage on one server alone: it costs every module a sixth of a second to begin and to end it."""
    with pytest.MonkeyPatch.context() as environment:
        if version != max(VERSIONS):
            environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield


@pytest.fixture
def other_server(server: Cluster) -> Iterator[Cluster]:
    """Another server of the same version, which must not be reached."""
    with _running(server.version) as other:
        yield other


@contextlib.contextmanager
def _running(version: int) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
    folder.chmod(0o755)  # as root, the server is run by another account
    cluster = Cluster(folder / "server", version, f"tests-{version}")
    try:
        cluster.create()
        cluster.start(settings=SETTINGS)
        yield cluster
    finally:
        cluster.destroy()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def owner_password(server: Cluster) -> str:
    """Make the owner's role as docs/privileges.sql does; its password has all the characters that URLs trip over."""
    password = f"p@ss :/%{secrets.token_hex(8)}"
    server.run_script(PRIVILEGES, database="set_up", owner=OWNER, others="yes")
    with _superuser(server) as cursor:
        cursor.execute(f"ALTER ROLE {OWNER} PASSWORD %s", [password])
    return password


@pytest.fixture
def database(server: Cluster, owner_password: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A fresh database; afterwards it is dropped, with everything whose name begins with its name."""
    database = Database(server, f"shop_{secrets.token_hex(4)}", owner_password)
    if "run_module" in request.fixturenames:
        request.getfixturevalue("run_module").secrets.add(owner_password)
    with _superuser(server) as cursor:
        cursor.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*map(sql.Identifier, (database.name, OWNER))))
    try:
        yield database
    finally:
        _drop_relatives(database)


def _drop_relatives(database: Database) -> None:
    for name in database.relatives():
        with _superuser(database.server) as cursor:
            identifier = sql.Identifier(name)
            cursor.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(identifier))
            cursor.execute("SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", [name])
            for slot, process in cursor.fetchall():
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
                cursor.execute("SELECT pg_drop_replication_slot(%s)", [slot])
            cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name])
            prepared = [gid for (gid,) in cursor.fetchall()]
            cursor.execute(
                "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = %s", [name]
            )
            subscriptions = [subscription for (subscription,) in cursor.fetchall()]
            if prepared or subscriptions:
                cursor.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(identifier))
                _release(database.server, name, prepared, subscriptions)
            cursor.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))


def _release(server: Cluster, name: str, prepared: list[str], subscriptions: list[str]) -> None:
    """Let go of what keeps a database from being dropped."""
    with _superuser(server, name) as cursor:
        for gid in prepared:
            cursor.execute("ROLLBACK PREPARED %s", [gid])
        for subscription in map(sql.Identifier, subscriptions):
            cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(subscription))
            cursor.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(subscription))
            cursor.execute(sql.SQL("DROP SUBSCRIPTION {}").format(subscription))


@contextlib.contextmanager
def _superuser(server: Cluster, database: str = "postgres") -> Iterator[Any]:
    connection = psycopg2.connect(server.superuser_url(database))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def _remove_what_killed_runs_left() -> None:
    """A test run that was killed could not stop its servers; the next one does."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDERS}*-*"):
        process = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if Path("/proc", process).exists() or folder.owner() != Path("/proc/self").owner():
            continue
        for version in VERSIONS:
            with contextlib.suppress(Exception):
                Cluster(folder / "server", version, f"tests-{version}").destroy()
        shutil.rmtree(folder, ignore_errors=True)
