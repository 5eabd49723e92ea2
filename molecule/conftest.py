# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' checks share: the stage as the run left it, read from the servers and from the files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import psycopg2
import pytest
from stage import DATABASES, KINDS, Stage
from testinfra.host import Host

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description, parse_description

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Run:
    """A run, as its folder tells it."""

    folder: Path

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        record: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return record

    @property
    def report(self) -> str:
        """The text of ``report.md``."""
        return (self.folder / "report.md").read_text()

    @property
    def journal(self) -> list[dict[str, Any]]:
        """All events."""
        return [json.loads(line) for line in (self.folder / "journal.jsonl").read_text().splitlines()]

    def event(self, action: str) -> dict[str, Any]:
        """The one event of an action."""
        (event,) = [event for event in self.journal if event["action"] == action]
        return event


@dataclass(frozen=True)
class Scene:
    """The stage, with what the checks ask of it."""

    stage: Stage

    def runs(self, kind: str) -> list[Run]:
        """All runs on an environment's host, oldest first."""
        return [Run(folder) for folder in sorted((self.stage.state_dir(kind) / "runs").iterdir())]

    def evidence(self) -> dict[str, Any]:
        """What the only rehearsal proved."""
        (path,) = (self.stage.state_dir("production") / "evidence").iterdir()
        evidence: dict[str, Any] = json.loads(path.read_text())
        return evidence

    def query(self, statement: str, *values: object, database: str = DATABASES["production"]) -> Rows:
        """Ask a database of production's server, as its superuser."""
        return self._query(self.stage.cluster("production").superuser_url(database), statement, values)

    def databases(self, kind: str) -> set[str]:
        """The names of all databases of a server that are not PostgreSQL's own."""
        url = self.stage.cluster(kind).superuser_url()
        rows = self._query(url, "SELECT datname FROM pg_database WHERE datname <> 'postgres' AND NOT datistemplate", ())
        return {name for (name,) in rows}

    def database(self, name: str) -> tuple[int, bool, Description | None]:
        """A database's OID, whether it is open, and what it says of itself."""
        ((oid, is_open, comment),) = self.query(
            "SELECT oid::bigint, datallowconn, shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = %s", name, database="postgres",
        )  # fmt: skip
        return oid, is_open, parse_description(comment)

    def traces(self) -> Rows:
        """What no run may leave on production's server: its sessions and its locks."""
        return self.query(
            "SELECT application_name, 'session' FROM pg_stat_activity WHERE application_name LIKE 'balcon.rollback%%'"
            " UNION ALL SELECT objid::text, 'lock' FROM pg_locks WHERE locktype = 'advisory'",
            database="postgres",
        )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask production's API, and return the JSON of its answer."""
        port = json.loads(self.stage.inventory_file.read_text())["api_port"]
        request = Request(
            f"http://127.0.0.1:{port}{path}",
            data=json.dumps(body).encode() if body else None,
            headers={"Content-Type": "application/json"},
        )
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def secrets(self) -> set[str]:
        """Everything that may stand in no file of the state folders."""
        kept = json.loads(self.stage.secrets_file.read_text())
        passwords = {psycopg2.extensions.parse_dsn(kept[f"{kind}_url"])["password"] for kind in KINDS}
        return passwords | set(kept.values())

    @staticmethod
    def _query(url: str, statement: str, values: tuple[object, ...]) -> Rows:
        connection = psycopg2.connect(url, connect_timeout=10)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def scene() -> Scene:
    """The stage of this scenario."""
    return Scene(Stage(Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "stage"))


@pytest.fixture
def state_is_private(host: Host, scene: Scene) -> Callable[[], str]:
    """Lists what others could read in the state folders; empty is good."""

    def look() -> str:
        folder = scene.stage.folder / "state"
        assert host.file(str(folder)).mode == 0o700
        found = host.run("find %s -type d ! -perm 700 -o ! -type d ! -perm 600", str(folder))
        assert found.rc == 0, found.stderr
        return str(found.stdout)

    return look
