# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage of the demo: two PostgreSQL servers, a shop with its releases, and what the inventory reads about them.

Everything lies in one folder, in which only this user can read anything::

    .demo/inventory.json   what inventories/demo reads: ports and paths
    .demo/secrets.json     what it reads as well: URLs, keys
    .demo/platform/        which release runs (see deploy.py)
    .demo/releases/        checkouts of the backend
    .demo/servers/         the two clusters
    .demo/state/           journals, evidence, backups of the two hosts
    .demo/logs/            of the API, the writers, and each act's whole output
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

import psycopg2
from deploy import Platform
from embedded_postgresql import Cluster
from psycopg2 import sql
from service import Service, write_private

POSTGRESQL = 16
RELEASES = ("1.2.0", "1.1.0", "1.0.0")
USERS = 200
PROJECTS = 210_000
ROLE = "shop"
KINDS = ("production", "staging")
DATABASES = {"production": "shop_production", "staging": "shop_staging"}
COMMENT = "The shop's projects. Ask the backend team."

# Root's servers run as another account, which must get to its data; it can list and read nothing on the way.
_WAY_THROUGH = 0o711 if os.geteuid() == 0 else 0o700

_PROJECT = Path(__file__).resolve().parents[2]
_BACKEND = _PROJECT / "examples" / "backend"
_SPECIAL_CHARACTERS = "@:/?#[]%&='\" "  # all that a URL, a shell and a connection string could trip over


class StageError(RuntimeError):
    """The stage could not be set; the message says what failed and where to look."""


@dataclass(frozen=True)
class Stage:
    """The folder with everything that the demo made.

    Args:
        folder: ``.demo``; it need not exist.
        releases: of the backend, newest first; the newest one runs.
        projects: how many rows production gets.
        ignore_maintenance: whether the API is told to, as an application without such a switch would.
    """

    folder: Path
    releases: tuple[str, ...] = RELEASES
    projects: int = PROJECTS
    ignore_maintenance: bool = True

    @property
    def platform(self) -> Platform:
        """What runs the API."""
        return Platform(self.folder / "platform")

    @property
    def this_process(self) -> Service:
        """The demo's own process, while it is played."""
        return Service(self.folder / "demo.pid.json")

    @property
    def playbook(self) -> Service:
        """The playbook that the demo has called, while it runs."""
        return Service(self.folder / "playbook.pid.json")

    @property
    def logs(self) -> Path:
        """The folder of all logs."""
        return self.folder / "logs"

    @property
    def inventory_file(self) -> Path:
        """What the inventory reads; there as long as the demo runs."""
        return self.folder / "inventory.json"

    @property
    def secrets_file(self) -> Path:
        """The URLs and keys."""
        return self.folder / "secrets.json"

    def state_dir(self, kind: str) -> Path:
        """Return the state folder of the host of an environment."""
        return self.folder / "state" / kind

    def cluster(self, kind: str) -> Cluster:
        """Return the server of an environment."""
        return Cluster(self.folder / "servers" / kind, version=POSTGRESQL, name=f"demo-{kind}")

    def secret(self, name: str) -> str:
        """Return one of the URLs and keys."""
        value: str = json.loads(self.secrets_file.read_text())[name]
        return value

    # -- taking it down ---------------------------------------------------------------------------------------------

    def stop(self) -> list[str]:
        """Stop what runs; return the names of what did."""
        self.inventory_file.unlink(missing_ok=True)
        stopped = ["a playbook that was left alone"] if self.playbook.stop() else []
        stopped += ["the API"] if self.platform.stop() else []
        for kind in KINDS:
            cluster = self.cluster(kind)
            if cluster.running:
                cluster.stop()
                stopped.append(f"the {kind} server")
        return stopped

    def clear(self) -> None:
        """End what runs, in whatever state it is, and remove everything but what belongs to this very process."""
        self._check_folder()
        self.playbook.stop()
        self.platform.stop()
        for kind in KINDS:
            self.cluster(kind).destroy()
        for entry in self.folder.iterdir():
            if entry in (self.folder / "lock", self.this_process.pid_file):
                continue
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def _check_folder(self) -> None:
        status = self.folder.lstat()
        if self.folder.is_symlink() or status.st_uid != os.geteuid():
            raise StageError(
                f"{self.folder} belongs to another user, or is a link: remove it as the user who ran the demo before"
                " ('make clean')."
            )
        self.folder.chmod(_WAY_THROUGH)  # what an earlier umask or a copy left

    # -- setting it up ----------------------------------------------------------------------------------------------

    def make_folders(self) -> None:
        """Make the folders, readable by this user only."""
        for name in ("platform", "releases", "servers", "state", "logs", "state/production", "state/staging"):
            (self.folder / name).mkdir(mode=0o700)
        self.folder.chmod(_WAY_THROUGH)
        (self.folder / "servers").chmod(_WAY_THROUGH)

    def start_servers(self) -> None:
        """Make and start both clusters, with the application's role and an empty database on each."""
        both = {kind: self.cluster(kind) for kind in KINDS}
        with ThreadPoolExecutor() as pool:
            list(pool.map(_start_server, both.values()))
        passwords = {kind: secrets.token_urlsafe(9) + _SPECIAL_CHARACTERS for kind in KINDS}
        keep: dict[str, str] = {"jwt_secret": secrets.token_urlsafe(24), "signing_key": secrets.token_urlsafe(24)}
        for kind, cluster in both.items():
            _create_database(cluster, DATABASES[kind], passwords[kind])
            keep[f"{kind}_url"] = cluster.url(ROLE, passwords[kind], DATABASES[kind])
        keep["token"] = _token("user1@example.test", keep["jwt_secret"])
        write_private(self.secrets_file, json.dumps(keep, indent=2) + "\n")

    def make_releases(self) -> None:
        """Make the checkouts of the three releases."""
        for release in self.releases:
            self.run_tool("release", ["node", "scripts/make-release.mjs", release, str(self._release(release))])

    def fill_databases(self) -> None:
        """Migrate both databases by the newest release's own command, and fill them by its own as well."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._fill_database, KINDS))

    def start_api(self) -> None:
        """Start the newest release as production's API, and wait until it answers."""
        port = _free_port()
        self._write_inventory(port)
        environment = {
            **self.tool_environment("production"),
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "MIGRATE_ON_START": "true",  # as the backend that this one is modelled on
            "IGNORE_MAINTENANCE": str(self.ignore_maintenance).lower(),
            "MAINTENANCE_FILE": str(self.folder / "platform" / "maintenance"),
        }
        command = [_program("node"), "--import", "tsx", "src/server.ts"]
        log = self.logs / "api.log"
        self.platform.install(
            {"command": command, "environment": environment, "log": str(log)},
            [self._release(release) for release in self.releases],
        )
        self.platform.deploy("newer")
        _wait_for_health(f"http://127.0.0.1:{port}/api/health/deep", log)

    def tool_environment(self, kind: str) -> dict[str, str]:
        """Return the whole environment of the backend's commands for one environment's database."""
        return {
            "PATH": _path(),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "NODE_ENV": kind,
            "JWT_SECRET": self.secret("jwt_secret"),
            "DATABASE_URL": self.secret(f"{kind}_url"),
        }

    def run_tool(
        self, name: str, command: list[str], folder: Path = _BACKEND, environment: dict[str, str] | None = None
    ) -> None:
        """Run one of the backend's commands, with its output in a log.

        Raises:
            StageError: it failed.
        """
        log = self.logs / f"{name}.log"
        with log.open("a") as output:
            ended = subprocess.run(
                [_program(command[0]), *command[1:]],
                cwd=folder,
                env=environment or {"PATH": _path(), "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if ended.returncode != 0:
            raise StageError(f"'{' '.join(command[:4])}' failed; the end of {log}:\n{_tail(log)}")

    def _release(self, version: str) -> Path:
        return self.folder / "releases" / version

    def _fill_database(self, kind: str) -> None:
        checkout, environment = self._release(self.releases[0]), self.tool_environment(kind)
        rows = (USERS, self.projects) if kind == "production" else (20, 200)
        seed = ["--users", str(rows[0]), "--projects", str(rows[1])]
        self.run_tool(f"fill-{kind}", ["npm", "run", "--silent", "migrate"], checkout, environment)
        self.run_tool(f"fill-{kind}", ["npm", "run", "--silent", "seed", "--", *seed], checkout, environment)

    def _write_inventory(self, api_port: int) -> None:
        """Write what the inventory reads; no secret is in it."""
        production = self.cluster("production")
        known: dict[str, Any] = {
            "api_port": api_port,
            "python": sys.executable,
            "path": _path(),
            "client_path": [str(production.bin_dir)],
            "project": str(_PROJECT),
            "databases": {kind: {"host": "127.0.0.1", "port": self.cluster(kind).port} for kind in KINDS},
        }
        write_private(self.inventory_file, json.dumps(known, indent=2) + "\n")


def _start_server(cluster: Cluster) -> None:
    cluster.create()
    cluster.start(settings={"max_wal_size": "2GB", "maintenance_work_mem": "128MB", "max_connections": 60})


def _create_database(cluster: Cluster, database: str, password: str) -> None:
    """Create the application's role, with the rights that docs/privileges.md recommends, and its empty database."""
    cluster.run_script(_PROJECT / "docs" / "privileges.sql", database=database, owner=ROLE, measure="yes")
    connection = psycopg2.connect(cluster.superuser_url())
    connection.autocommit = True
    role, name = sql.Identifier(ROLE), sql.Identifier(database)
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password)))
        cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(COMMENT)))
    connection.close()


def _token(email: str, secret: str, hours: int = 24) -> str:
    """Return a bearer token for a user, as the backend signs them (HS256), good for as long as a person may play."""
    parts = ({"alg": "HS256", "typ": "JWT"}, {"email": email, "exp": int(time.time()) + hours * 3600})
    text = ".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{text}.{_base64url(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _path() -> str:
    """The search path of the backend's commands: where node and npm are, then the system's."""
    folders = [str(_PROJECT / ".venv" / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"]
    return ":".join(dict.fromkeys(folders))


def _program(name: str) -> str:
    found = shutil.which(name, path=_path())
    if found is None:
        raise StageError(f"{name} is not installed: run 'make setup'.")
    return found


def _free_port() -> int:
    """Return a free port below those that the kernel hands out: it must still be free when the API starts again."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    raise StageError("No free port found between 20000 and 32000.")


def _wait_for_health(url: str, log: Path, patience: float = 30.0) -> None:
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with opener.open(url, timeout=5) as answer:
                if json.load(answer).get("ok") is True:
                    return
        except (OSError, ValueError):
            time.sleep(0.1)
    raise StageError(f"The API does not answer at {url}; the end of {log}:\n{_tail(log)}")


def _tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(there is no log)"
