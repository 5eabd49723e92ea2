# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The emergency restore at several sizes, beside the runbook's own commands.

What is measured ends when a client that asks all the time is answered by production's own database, in a new session
under the public name. It begins with the decision: where the playbook restores, the end of the step that failed, from
the run's journal; where the module is started alone, its start.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from embedded_postgresql import HOST, Cluster
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import close_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone import clone_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import advance
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name, new_run_id
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from tests.bench.figures import BenchError, event_end, medians, say, table

OWNER = "shop"
LEASE_SECONDS = 3600
EMPTY_BYTES = 8 * 1024**2
ROW_BYTES = 500
MODULE = "ansible_collections.balcon.rollback.plugins.modules.db_swap"

PLAYBOOK = {False: "the playbook's handler, before the swap", True: "the playbook's handler, after the swap"}
ALONE = {False: "the module alone, before the swap", True: "the module alone, after the swap"}
ITSELF = {False: "of it the restore itself, before the swap", True: "of it the restore itself, after the swap"}
DUMP = "the runbook's pg_dump > file (taken before)"
RUNBOOK = "the runbook's psql < file, fresh database"
ACTUAL = "megabytes"


@dataclass(frozen=True)
class Bench:
    """Where the restores are measured.

    Args:
        project: the checkout.
        folder: for state, dumps and logs.
        cluster: a running server.
        password: of the role that owns production.
        database: production's name, one for each size.
    """

    project: Path
    folder: Path
    cluster: Cluster
    password: str
    database: str = ""

    @property
    def url(self) -> str:
        """Production, as its owner."""
        return self.cluster.url(OWNER, self.password, self.database)

    @property
    def environment(self) -> dict[str, str]:
        """Of programs that are started: nothing of Ansible's or PostgreSQL's that could change what they do."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
        path = f"{Path(sys.executable).parent}:{self.cluster.bin_dir}:{kept.get('PATH', '/usr/bin:/bin')}"
        return {**kept, "PATH": path, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(self.project / "collections")}

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


def measure_restores(project: Path, folder: Path, version: int, sizes: list[int], repeat: int) -> dict[str, Any]:
    """Measure every figure at every size.

    Args:
        project: the checkout.
        folder: a folder for it all; it stays, the server goes.
        version: PostgreSQL's.
        sizes: in MB.
        repeat: how often.

    Returns:
        ``postgresql``, and by size ``samples`` and ``medians`` in seconds.
    """
    say(f"\nEmergency restore, PostgreSQL {version}: {', '.join(f'{size} MB' for size in sizes)}")
    cluster = Cluster(folder / "server", version, "bench")
    try:
        cluster.create()
        cluster.start(settings={"max_wal_size": "2GB", "maintenance_work_mem": "128MB"})
        bench = Bench(project, folder, cluster, secrets.token_hex(12))
        bench.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{bench.password}'")
        return {"postgresql": version, "sizes": _measure_sizes(bench, sizes, repeat)}
    finally:
        cluster.destroy()


def _measure_sizes(bench: Bench, sizes: list[int], repeat: int) -> dict[str, Any]:
    """Take turns between the sizes, so that all of them meet the same machine."""
    measured: dict[str, dict[str, Any]] = {}
    for size in sizes:
        begin = time.monotonic()
        actual = _fill(replace(bench, database=f"shop_{size}"), size)
        measured[str(size)] = {ACTUAL: actual, "samples": {}}
        say(f"  {actual} MB filled in {time.monotonic() - begin:.1f} s")
    for number in range(repeat):
        for size in sizes:
            begin, found = time.monotonic(), measured[str(size)]
            for name, seconds in _take(replace(bench, database=f"shop_{size}")):
                found["samples"].setdefault(name, []).append(round(seconds, 3))
            say(f"  {found[ACTUAL]} MB, {number + 1} of {repeat}: {time.monotonic() - begin:.0f} s")
    return {size: {**found, "medians": medians(found["samples"])} for size, found in measured.items()}


def _fill(bench: Bench, megabytes: int) -> int:
    """Make production, about this large; return how many MB it has."""
    bench.execute(f"CREATE DATABASE {bench.database} OWNER {OWNER}")
    rows = (megabytes * 1024**2 - EMPTY_BYTES) // ROW_BYTES
    for statement in (
        f"SET ROLE {OWNER}; CREATE TABLE projects (id bigint PRIMARY KEY, owner_id int NOT NULL, title text NOT NULL,"
        " body text NOT NULL, created_at timestamptz NOT NULL);"
        " INSERT INTO projects SELECT i, i % 997, 'Balcony ' || i,"
        " (SELECT string_agg(md5((i * 12 + part)::text), '') FROM generate_series(1, 12) AS part), now()"
        f" FROM generate_series(1, {rows}) AS i; CREATE INDEX ON projects (owner_id)",
        "VACUUM ANALYZE projects",
        "CHECKPOINT",
    ):
        bench.execute(statement, bench.database)
    ((size,),) = bench.execute(f"SELECT pg_database_size('{bench.database}')")
    return round(size / 1024**2)


def _take(bench: Bench) -> Iterator[tuple[str, float]]:
    """Take each figure once."""
    with _client(bench) as log:
        for swapped in (False, True):
            yield PLAYBOOK[swapped], _playbook_restores(bench, log, swapped)
            alone, itself = _module_restores(bench, log, swapped)
            yield from ((ALONE[swapped], alone), (ITSELF[swapped], itself))
    yield from _runbook(bench)


@contextlib.contextmanager
def _client(bench: Bench) -> Iterator[Path]:
    """Let the client ask all the time; give the file where it notes what it was answered."""
    log = bench.folder / "client.jsonl"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("client.py"))],
            env={**bench.environment, "BENCH_URL": bench.url},
            stdout=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def _playbook_restores(bench: Bench, log: Path, swapped: bool) -> float:
    original = _oid(bench)
    run = _run_in_window(bench, swapped)
    variables = bench.folder / "variables.json"
    variables.write_text(
        json.dumps({
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            "rollback_database_url": bench.url, "rollback_state_dir": str(run.state_dir),
            "rollback_run": {"run_id": run.run_id, "folder": str(run.folder)}, "bench_swap": swapped,
            "rollback_client_path": [str(bench.cluster.bin_dir)],
        })
    )  # fmt: skip
    output = bench.folder / "playbook.log"
    with output.open("w") as file:
        playbook = str(Path(__file__).with_name("restore.yml"))
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            "shop,",
            "-e",
            f"@{variables}",
            playbook,
        ]
        environment = {**bench.environment, "ANSIBLE_CONFIG": str(bench.project / "ansible.cfg")}
        subprocess.run(command, cwd=bench.project, env=environment, stdout=file, stderr=file, check=False)
    failed = [event for event in run.events() if event["outcome"] == "failed"]
    if len(failed) != 1:
        raise BenchError(f"the playbook was to fail at one step: {output.read_text()[-3000:]}")
    seconds = _answered(log, original, event_end(failed[0])) - event_end(failed[0])
    _drop_failed(bench, run)
    return seconds


def _module_restores(bench: Bench, log: Path, swapped: bool) -> tuple[float, float]:
    """Return the seconds until a new client is answered, and those of the restore as the run's journal has it."""
    original = _oid(bench)
    run = _run_in_window(bench, swapped)
    server = Server(bench.url)
    if swapped:
        swap_in(server, run.run_id)
    arguments = {"database_url": bench.url, "run_id": run.run_id, "state_dir": str(run.state_dir)}
    decision = time.time()
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "phase": "restore", "state": "original"}}),
        env=bench.environment, cwd=bench.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"the module did not restore: {done.stdout}{done.stderr}")
    seconds = _answered(log, original, decision) - decision
    _drop_failed(bench, run)
    return seconds, float(run.events()[-1]["data"]["restore_seconds"])


def _run_in_window(bench: Bench, verified: bool) -> Run:
    """Return a run that has closed production and made its candidate; and has verified it, or not."""
    state_dir = bench.folder / "state"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    run = Run(state_dir, new_run_id(datetime.now(UTC), secrets.token_hex(2)))
    run.create()
    for phase in ("preflight", "gate", "back_up"):
        run.record(phase, "passed")
    server = Server(bench.url)
    close_database(server, run.run_id, LEASE_SECONDS)
    clone_candidate(server, run.run_id)
    for step in ("begin_migration", "end_migration", "verify") if verified else ():
        advance(server, run.run_id, step)
    return run


def _answered(log: Path, database: str, decision: float, patience: float = 10.0) -> float:
    """Return when the client was first answered by a database after the decision."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        for line in log.read_text().split("\n")[:-1]:
            answer = json.loads(line)
            if answer["at"] > decision and answer["database"] == database:
                return float(answer["at"])
        time.sleep(0.02)
    raise BenchError(f"the client was not answered by production again: {log.read_text()[-1000:]}")


def _oid(bench: Bench) -> str:
    ((oid,),) = bench.execute(f"SELECT oid::text FROM pg_database WHERE datname = '{bench.database}'")
    return str(oid)


def _drop_failed(bench: Bench, run: Run) -> None:
    name = sql.Identifier(derived_name(bench.database, "failed", run.run_id))
    bench.execute(sql.SQL("DROP DATABASE {}").format(name))


def _runbook(bench: Bench) -> Iterator[tuple[str, float]]:
    """Do what the runbook says by hand: a dump as SQL, and the same read into a fresh database."""
    file, fresh = bench.folder / "production.sql", f"{bench.database}_fresh"
    server = {"PGHOST": HOST, "PGPORT": str(bench.cluster.port), "PGUSER": OWNER, "PGPASSWORD": bench.password}
    environment = {**bench.environment, **server}
    try:
        begin = time.monotonic()
        with file.open("w") as output:
            subprocess.run(["pg_dump", bench.database], env=environment, stdout=output, check=True)
        yield DUMP, time.monotonic() - begin
        begin = time.monotonic()
        subprocess.run(["psql", "-q", "-c", f"CREATE DATABASE {fresh}", "postgres"], env=environment, check=True)
        with file.open() as dump:
            subprocess.run(["psql", "-q", fresh], env=environment, stdin=dump, stdout=subprocess.DEVNULL, check=True)
        psycopg2.connect(bench.cluster.url(OWNER, bench.password, fresh)).close()
        yield RUNBOOK, time.monotonic() - begin
    finally:
        bench.execute(f"DROP DATABASE IF EXISTS {fresh} WITH (FORCE)")
        file.unlink(missing_ok=True)


def restore_lines(figures: dict[str, Any]) -> list[str]:
    """Return the table of the restores: by size, the largest in relation to the smallest, and the runbook to ours."""
    sizes = list(figures["sizes"].values())
    rows = [["from the decision to a new client answered", *(f"{size[ACTUAL]} MB" for size in sizes), "large / small"]]
    by_size: list[dict[str, float]] = [size["medians"] for size in sizes]
    rows += [
        [name, *(f"{each[name]:.2f}" for each in by_size), f"{by_size[-1][name] / by_size[0][name]:.1f}"]
        for name in by_size[0]
    ]
    ratios = [f"{each[RUNBOOK] / each[PLAYBOOK[False]]:.1f}" for each in by_size]
    rows.append(["the runbook's restore / the playbook's", *ratios, ""])
    return table(f"Emergency restore (PostgreSQL {figures['postgresql']})", rows)
