# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real playbook on real servers: two clusters, the example backend, an inventory, and what can be seen afterwards.

It is the demo's stage without its API: production may keep its release, and a test says in the inventory or on the
command line what is wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pexpect
import psycopg2
from embedded_postgresql import Cluster, Setting
from stage import DATABASES, KINDS, RELEASES, Stage

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 200
FOLDERS = "balcon-rollback-playbook-"
SETTINGS: dict[str, Setting] = {
    "fsync": False,
    "max_connections": 60,
    "max_prepared_transactions": 5,
    "shared_buffers": "64MB",
    "wal_level": "logical",
}
HOSTS = {"production": "shop-production", "staging": "shop-staging"}

Variables = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one call of ansible-playbook came to.

    Args:
        exit_code: of ansible-playbook.
        output: all of it.
        records: the ``run.json`` of every run that it began, in the order of their begin.
        folders: of these runs.
    """

    exit_code: int
    output: str
    records: list[dict[str, Any]]
    folders: list[Path]

    @property
    def said(self) -> str:
        """The output without its line breaks: YAML wraps long messages."""
        return " ".join(self.output.split())


class Scene:
    """Two clusters with the shop's databases, and a checkout of its newest release.

    Args:
        folder: an empty private folder.
        projects: how many rows the largest table of production has.
    """

    def __init__(self, folder: Path, projects: int = 500) -> None:
        self.stage = Stage(folder)
        self._projects = projects
        self.program = playbook_program()
        self._numbers = count(1)

    # -- setting it -------------------------------------------------------------------------------------------------

    def set(self) -> None:
        """Start both servers, and fill both databases by the backend's own commands."""
        self.stage.make_folders()
        for kind in KINDS:
            self.cluster(kind).create()
            self.cluster(kind).start(settings=SETTINGS)
        self.stage.start_servers()
        self.stage.run_tool("release", ["node", "scripts/make-release.mjs", RELEASES[0], str(self.checkout)])
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._fill, KINDS))

    def _fill(self, kind: str) -> None:
        environment = self.stage.tool_environment(kind)
        seed = ["--", "--users", "20", "--projects", str(self._projects)]
        self.stage.run_tool("fill", ["npm", "run", "--silent", "migrate"], self.checkout, environment)
        self.stage.run_tool("fill", ["npm", "run", "--silent", "seed", *seed], self.checkout, environment)

    # -- what there is ----------------------------------------------------------------------------------------------

    @property
    def checkout(self) -> Path:
        """The newest release, which holds the migrations."""
        return self.stage.folder / "releases" / RELEASES[0]

    @property
    def maintenance_file(self) -> Path:
        """Production's maintenance flag."""
        return self.stage.folder / "platform" / "maintenance"

    def state_dir(self, kind: str) -> Path:
        """The state folder of the host of an environment."""
        return self.stage.state_dir(kind)

    def url(self, kind: str, **parts: str) -> str:
        """The URL of an environment's database, or one that differs from it in user, password or database."""
        known = psycopg2.extensions.parse_dsn(self.stage.secret(f"{kind}_url"))
        user, password, database = (
            parts.get(name, known[key])
            for name, key in (("user", "user"), ("password", "password"), ("database", "dbname"))
        )
        return self.stage.cluster(kind).url(user, password, database)

    def execute(self, kind: str, statement: Any, values: Any = None, *, database: str | None = None) -> list[Any]:
        """Run SQL as the superuser of an environment's server, in its database unless another is named."""
        with self.session(kind, database) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def session(self, kind: str, database: str | None = None, url: str | None = None) -> Iterator[Any]:
        """Open a session in autocommit mode, the superuser's unless a URL is given; closed at the end."""
        url = url or self.cluster(kind).superuser_url(database or DATABASES[kind])
        connection = psycopg2.connect(url, options="-c statement_timeout=60s")
        connection.autocommit = True
        try:
            yield connection
        finally:
            connection.close()

    def cluster(self, kind: str) -> Cluster:
        """The server of an environment."""
        return self.stage.cluster(kind)

    def snapshot(self) -> Variables:
        """Everything that a refused run must leave as it was: databases, their contents, the flag, our sessions."""
        return {**{kind: self._server(kind) for kind in KINDS}, "maintenance": self.maintenance_file.exists()}

    def _server(self, kind: str) -> Variables:
        databases = self.execute(
            kind,
            "SELECT datname, oid::bigint, pg_get_userbyid(datdba), datallowconn, datconnlimit, datacl::text,"
            " shobj_description(oid, 'pg_database') FROM pg_database ORDER BY oid",
        )
        ours = self.execute(
            kind,
            "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'balcon.rollback%%'"
            " UNION ALL SELECT locktype FROM pg_locks WHERE locktype = 'advisory'",
        )
        return {"databases": databases, "shop": self.contents(kind), "ours": ours}

    def sessions(self, kind: str) -> list[Any]:
        """Our sessions on an environment's server."""
        return self.execute(
            kind, "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'balcon.rollback%%'"
        )

    def contents(self, kind: str, database: str | None = None) -> Variables:
        """The state table of a database, its columns and a hash over each table's rows."""
        state = self.execute(kind, "SELECT name, executed_at::text FROM migrations_meta ORDER BY 1", database=database)
        columns = self.execute(
            kind,
            "SELECT attrelid::regclass::text, attname, atttypid::regtype::text, atttypmod, attnotnull"
            " FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace"
            " AND attnum > 0 AND NOT attisdropped ORDER BY 1, attnum",
            database=database,
        )
        rows = {
            table: self.execute(
                kind, f"SELECT count(*), sum(hashtextextended(t::text, 0)) FROM {table} t", database=database
            )
            for table in ("users", "projects", "project_files")
        }
        return {"state": state, "columns": columns, "rows": rows}

    # -- the inventory and the playbook -----------------------------------------------------------------------------

    def variables(self, kind: str) -> Variables:
        """The inventory's variables of a host, as a team would write them."""
        common = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "rollback_kind": kind,
            "rollback_database_url": self.url(kind),
            "rollback_state_dir": str(self.state_dir(kind)),
            "rollback_client_path": [str(self.cluster(kind).bin_dir)],
            "rollback_signing_key": self.stage.secret("signing_key"),
            "rollback_project_dir": str(self.checkout),
            "rollback_engine_options": {"table": "migrations_meta", "manifest": "migration-manifest.json"},
            "rollback_environment": {
                "PATH": self.stage.tool_environment(kind)["PATH"],
                "NODE_ENV": kind,
                "JWT_SECRET": self.stage.secret("jwt_secret"),
            },
        }
        if kind == "staging":
            return common
        return {
            **common,
            "rollback_keep_release": True,
            "rollback_maintenance": {"provider": "file", "file": {"path": str(self.maintenance_file)}},
            "rollback_watch_seconds": 0,
        }

    def inventory(self, changes: Mapping[str, Variables]) -> Path:
        """Write an inventory whose hosts differ from a sound one; a variable that is to be None is left out."""
        groups = {}
        for kind in KINDS:
            variables = {**self.variables(kind), **changes.get(kind, {})}
            host = {name: value for name, value in variables.items() if value is not None}
            groups[kind] = {"hosts": {HOSTS[kind]: host}}
        path = self.stage.folder / f"inventory-{next(self._numbers)}.yml"
        path.touch(mode=0o600)
        path.write_text(json.dumps({"all": {"children": groups}}))
        return path

    def start(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        playbook: str = "rollback.yml",
        **changes: Variables,
    ) -> subprocess.Popen[str]:
        """Start ``ansible-playbook rollback.yml`` with some arguments, without a terminal, in a session of its own.

        Args:
            arguments: what a person would type; ``name=value`` or a JSON object is an extra variable.
            environment: more environment variables.
            playbook: its path in the project.
            changes: for ``production`` or ``staging``: the variables of the inventory that differ.
        """
        return subprocess.Popen(
            [self.program, *self._typed(arguments, playbook, changes)],
            cwd=PROJECT,
            env={**clean_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )

    def _typed(self, arguments: Sequence[str], playbook: str, changes: Mapping[str, Variables]) -> list[str]:
        words = [part for word in arguments for part in (["-e", word] if _is_variable(word) else [word])]
        return ["-i", str(self.inventory(changes)), playbook, *words]

    def play(self, *arguments: str, **options: Any) -> Outcome:
        """Run the playbook to its end; the arguments are those of `start`."""
        before = set(self.runs())
        process = self.start(*arguments, **options)
        try:
            output, _none = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            kill_group(process)
        return self._outcome(process.returncode, output, before)

    def ask(self, answer: str, *arguments: str, playbook: str = "rollback.yml", **changes: Variables) -> Outcome:
        """Run the playbook at a terminal, as a person does, and type an answer when it asks."""
        before = set(self.runs())
        exit_code, output = at_terminal(answer, self._typed(arguments, playbook, changes))
        return self._outcome(exit_code, output, before)

    def _outcome(self, exit_code: int, output: str, before: Iterable[Path]) -> Outcome:
        new = sorted(set(self.runs()).difference(before), key=lambda folder: folder.name)
        records = [json.loads((folder / "run.json").read_text()) for folder in new if (folder / "run.json").exists()]
        return Outcome(exit_code, output, records, new)

    def runs(self) -> list[Path]:
        """The folders of all runs on both hosts."""
        return [folder for kind in KINDS for folder in (self.state_dir(kind) / "runs").glob("*")]

    def go_back(self, run_id: str) -> None:
        """Put production back as it was before a run that has ended, and drop the result: for the next test."""
        name = DATABASES["production"]
        for statement in (
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
            f"DROP DATABASE {name} WITH (FORCE)",
            f'ALTER DATABASE "{name}__before_{run_id}" RENAME TO {name}',
            f"COMMENT ON DATABASE {name} IS NULL",
            f"ALTER DATABASE {name} ALLOW_CONNECTIONS true",
        ):
            self.execute("production", statement, database="postgres")

    # -- what stands for a run that is under way --------------------------------------------------------------------

    def wait(self, condition: Callable[[], object], what: str, deadline: float = 90.0) -> None:
        """Wait for something that happens elsewhere; the deadline is for a broken world only."""
        end = time.monotonic() + deadline
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"Not within {deadline:g} seconds: {what}")
            time.sleep(0.02)


def at_terminal(answer: str, arguments: list[str]) -> tuple[int, str]:
    """Run ansible-playbook at a terminal, type an answer when it asks, and return its exit code and what is seen."""
    terminal = pexpect.spawn(
        playbook_program(),
        arguments,
        cwd=str(PROJECT),
        env=clean_environment(),
        timeout=DEADLINE_SECONDS,
        dimensions=(50, 200),
        encoding="utf-8",
        codec_errors="replace",
    )
    seen = io.StringIO()
    terminal.logfile_read = seen
    try:
        terminal.expect_exact("to go on:")
        terminal.sendline(answer)
        terminal.expect_exact(pexpect.EOF)
    finally:
        terminal.close(force=True)
    return terminal.exitstatus, seen.getvalue().replace("\r\n", "\n")


def question_of(outcome: Outcome) -> list[str]:
    """Return the lines of the question that was asked at a terminal."""
    lines = outcome.output.splitlines()
    end = lines.index("Type the name of the database to go on:")
    begin = max(place for place, line in enumerate(lines[:end]) if line.startswith("TASK "))
    return lines[begin + 2 : end]


def kill_group(process: subprocess.Popen[str]) -> None:
    """End a playbook with everything in its process group, at once and without asking; then wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def kill_everything(process: subprocess.Popen[str]) -> None:
    """End ansible-playbook and all that it started and is still below it: workers, the module, the migration tool."""
    family = _descendants(process.pid)
    for pid in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    kill_group(process)


def _descendants(pid: int) -> list[int]:
    """The processes below one, itself first. The keeper is not among them: it has nobody above it any more."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def _is_variable(word: str) -> bool:
    return word[0] == "{" or ("=" in word and word[0] != "-")


def playbook_program() -> str:
    """Return the program that stands for ansible-playbook; what it is for is said there."""
    return str(PROJECT / "tests" / "helpers" / "ansible_playbook.py")


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would make Ansible or PostgreSQL's tools act otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/bin:/bin')}"
    ansible = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return {**kept, **ansible, "PATH": path, "LC_ALL": "C.UTF-8"}
