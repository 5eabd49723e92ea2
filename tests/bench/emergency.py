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
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import close_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone import clone_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import advance
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name, new_run_id
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from tests.bench.figures import BenchError, event_end, medians, say, table
from tests.bench.place import MODULES, Place, running, shell
from tests.bench.shop import fill

LEASE_SECONDS = 3600

PLAYBOOK = {False: "the playbook's handler, before the swap", True: "the playbook's handler, after the swap"}
ALONE = {False: "the module alone, before the swap", True: "the module alone, after the swap"}
ITSELF = {False: "of it the restore itself, before the swap", True: "of it the restore itself, after the swap"}
DUMP = "the runbook's pg_dump > file (taken before)"
RUNBOOK = "the runbook's psql < file, fresh database"
ACTUAL = "megabytes"


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
    with running(project, folder, version, "restores") as place:
        return {"postgresql": version, "sizes": _measure_sizes(place, sizes, repeat)}


def _measure_sizes(place: Place, sizes: list[int], repeat: int) -> dict[str, Any]:
    """Take turns between the sizes, so that all of them meet the same machine."""
    measured: dict[str, dict[str, Any]] = {}
    for size in sizes:
        fill(replace(place, database=f"shop_{size}"), size)
        measured[str(size)] = {ACTUAL: size, "samples": {}}
    for number in range(repeat):
        for size in sizes:
            begin, found = time.monotonic(), measured[str(size)]
            for name, seconds in _take(replace(place, database=f"shop_{size}")):
                found["samples"].setdefault(name, []).append(round(seconds, 3))
            say(f"  {found[ACTUAL]} MB, {number + 1} of {repeat}: {time.monotonic() - begin:.0f} s")
    return {size: {**found, "medians": medians(found["samples"])} for size, found in measured.items()}


def _take(place: Place) -> Iterator[tuple[str, float]]:
    """Take each figure once."""
    with _client(place) as log:
        for swapped in (False, True):
            yield PLAYBOOK[swapped], _playbook_restores(place, log, swapped)
            alone, itself = _module_restores(place, log, swapped)
            yield from ((ALONE[swapped], alone), (ITSELF[swapped], itself))
    yield from _runbook(place)


@contextlib.contextmanager
def _client(place: Place) -> Iterator[Path]:
    """Let the client ask all the time; give the file where it notes what it was answered."""
    log = place.folder / "client.jsonl"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("client.py"))],
            env={**place.environment, "BENCH_URL": place.url},
            stdout=output,
            start_new_session=True,
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def _playbook_restores(place: Place, log: Path, swapped: bool) -> float:
    original = _oid(place)
    run = _run_in_window(place, swapped)
    variables = place.folder / "variables.json"
    variables.write_text(
        json.dumps({
            "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
            "rollback_database_url": place.url, "rollback_state_dir": str(run.state_dir),
            "rollback_run": {"run_id": run.run_id, "folder": str(run.folder)}, "bench_swap": swapped,
            "rollback_client_path": [str(place.cluster.bin_dir)],
        })
    )  # fmt: skip
    output = place.folder / "playbook.log"
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
        environment = {**place.environment, "ANSIBLE_CONFIG": str(place.project / "ansible.cfg")}
        subprocess.run(command, cwd=place.project, env=environment, stdout=file, stderr=file, check=False)
    failed = [event for event in run.events() if event["outcome"] == "failed"]
    if len(failed) != 1:
        raise BenchError(f"the playbook was to fail at one step: {output.read_text()[-3000:]}")
    seconds = _answered(log, original, event_end(failed[0])) - event_end(failed[0])
    _drop_failed(place, run)
    return seconds


def _module_restores(place: Place, log: Path, swapped: bool) -> tuple[float, float]:
    """Return the seconds until a new client is answered, and those of the restore as the run's journal has it."""
    original = _oid(place)
    run = _run_in_window(place, swapped)
    server = Server(place.url)
    if swapped:
        swap_in(server, run.run_id)
    arguments = {"database_url": place.url, "run_id": run.run_id, "state_dir": str(run.state_dir)}
    decision = time.time()
    done = subprocess.run(
        [sys.executable, "-m", f"{MODULES}.db_swap"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "phase": "restore", "state": "original"}}),
        env=place.environment, cwd=place.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise BenchError(f"the module did not restore: {done.stdout}{done.stderr}")
    seconds = _answered(log, original, decision) - decision
    _drop_failed(place, run)
    return seconds, float(run.events()[-1]["data"]["restore_seconds"])


def _run_in_window(place: Place, verified: bool) -> Run:
    """Return a run that has closed production and made its candidate; and has verified it, or not."""
    state_dir = place.folder / "state"
    state_dir.mkdir(mode=0o700, exist_ok=True)
    run = Run(state_dir, new_run_id(datetime.now(UTC), secrets.token_hex(2)))
    run.create()
    for phase in ("preflight", "gate", "back_up"):
        run.record(phase, "passed")
    server = Server(place.url)
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


def _oid(place: Place) -> str:
    ((oid,),) = place.execute(f"SELECT oid::text FROM pg_database WHERE datname = '{place.database}'")
    return str(oid)


def _drop_failed(place: Place, run: Run) -> None:
    name = sql.Identifier(derived_name(place.database, "failed", run.run_id))
    place.execute(sql.SQL("DROP DATABASE {}").format(name))


def _runbook(place: Place) -> Iterator[tuple[str, float]]:
    """Do what the runbook says by hand: a dump as SQL, and the same read into a fresh database."""
    fresh = f"{place.database}_fresh"
    yield DUMP, shell(place, 'pg_dump "$1" > production.sql', place.database).seconds
    place.execute("CHECKPOINT")
    with place.fresh(fresh):
        seconds = shell(place, 'psql -q -d "$1" < production.sql > /dev/null', fresh).seconds
        begin = time.monotonic()
        psycopg2.connect(place.url_of(fresh)).close()
        yield RUNBOOK, seconds + time.monotonic() - begin
    (place.folder / "production.sql").unlink()


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
