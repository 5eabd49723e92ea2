# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed while production is closed: the keeper opens it again, unaltered, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg2
import pytest
from ledger import lost_writes, read_writes
from stage import COMMENT, DATABASES
from writers import REFERENCE_PREFIX, SqlWriter, keep_writing

from ansible_collections.balcon.rollback.plugins.module_utils._run import Run, read_events
from ansible_collections.balcon.rollback.tests.playbook.scene import kill_everything, kill_group

if TYPE_CHECKING:
    import subprocess

    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

PRODUCTION = DATABASES["production"]
ASK = ("env=production", f"confirm={PRODUCTION}", "rollback_lease_seconds=8")
NEWEST = "20240107000000-add-project-priority.ts"


@pytest.fixture(scope="module")
def slow_checkout(scene: Scene) -> Path:
    """The rehearsed release, with a tool that does its work and then does not end."""
    assert scene.play("env=staging").exit_code == 0
    checkout = scene.stage.folder / "releases" / "slow"
    shutil.copytree(scene.checkout, checkout, symlinks=True)
    package = json.loads((checkout / "package.json").read_text())
    package["scripts"]["migrate:down"] += " && sleep 60"
    (checkout / "package.json").write_text(json.dumps(package))
    return checkout


@pytest.fixture
def writer(scene: Scene, tmp_path: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """A user who writes under the public name; the function ends that, and tells what became of the writes."""
    log, over = tmp_path / "writes.jsonl", threading.Event()

    def titles() -> Iterator[None]:
        while not over.is_set():
            yield None

    def write() -> None:
        with log.open("w") as file:
            keep_writing(SqlWriter(scene.url("production")), file, titles())

    def end() -> dict[str, Any]:
        tried = len(read_writes(log))
        scene.wait(lambda: any(write.acknowledged for write in read_writes(log)[tried:]), "a write goes through again")
        over.set()
        thread.join()
        writes = read_writes(log)
        return {"writes": writes, "lost": lost_writes(writes, _written(scene), frozenset())}

    thread = threading.Thread(target=write)
    thread.start()
    scene.wait(lambda: any(write.acknowledged for write in read_writes(log)), "the writer's first write")
    yield end
    over.set()
    thread.join()


def _written(scene: Scene) -> dict[str, dict[str, Any]]:
    with scene.session("production") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM projects WHERE starts_with(client_reference, %s)", [REFERENCE_PREFIX])
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row["client_reference"]: row for row in rows}


def kill_controller(process: subprocess.Popen[str]) -> None:
    """End ansible-playbook only, as somebody does who types kill -9; Ansible's workers have sessions of their own."""
    kill_group(process)


def is_open(scene: Scene) -> bool:
    statement = "SELECT datallowconn FROM pg_database WHERE datname = %s"
    rows = scene.execute("production", statement, [PRODUCTION], database="postgres")
    return rows == [(True,)]


def tool_has_done_its_work(scene: Scene) -> bool:
    """Whether the candidate's state table does not list the newest migration any more."""
    candidates = scene.execute(
        "production", "SELECT datname FROM pg_database WHERE datname LIKE '%\\_\\_candidate\\_%'", database="postgres"
    )
    with contextlib.suppress(psycopg2.OperationalError):
        return bool(candidates) and not scene.execute(
            "production", "SELECT name FROM migrations_meta WHERE name = %s", [NEWEST], database=candidates[0][0]
        )
    return False


def identity(scene: Scene) -> list[Any]:
    statement = (
        "SELECT oid::bigint, pg_get_userbyid(datdba), datallowconn, datconnlimit,"
        " ARRAY(SELECT unnest(coalesce(datacl, acldefault('d', datdba)))::text ORDER BY 1),"
        " shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    )
    return scene.execute("production", statement, [PRODUCTION], database="postgres")


def ours(scene: Scene) -> list[Any]:
    """The sessions and locks of runs."""
    return scene.execute(
        "production",
        "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'balcon.rollback%%'"
        " UNION ALL SELECT locktype FROM pg_locks WHERE locktype = 'advisory'",
        database="postgres",
    )


def left_databases(scene: Scene) -> dict[str, bool]:
    """The databases that runs left, and whether they take connections."""
    statement = "SELECT datname, datallowconn FROM pg_database WHERE starts_with(datname, %s)"
    return dict(scene.execute("production", statement, [f"{PRODUCTION}__"], database="postgres"))


class Death(NamedTuple):
    """How a run is killed.

    Attributes:
        moment: tells whether it is time.
        kill: does it.
        state: the state in which the run is then.
        left: what kinds of databases stay, closed, for study.
    """

    moment: Callable[[Scene], bool]
    kill: Callable[[subprocess.Popen[str]], None]
    state: str
    left: tuple[str, ...]


DEATHS = [
    pytest.param(
        Death(lambda scene: not is_open(scene), kill_controller, "closed", ()), id="the controller, just closed"
    ),
    pytest.param(Death(tool_has_done_its_work, kill_everything, "migrating", ("failed",)), id="everything, migrating"),
]


@pytest.mark.parametrize("death", DEATHS)
def test_production_is_open_again_unaltered(
    scene: Scene, slow_checkout: Path, writer: Callable[[], dict[str, Any]], death: Death
) -> None:
    before, schema = identity(scene), scene.contents("production")
    process = scene.start(*ASK, production={"rollback_project_dir": str(slow_checkout)})
    try:
        scene.wait(lambda: death.moment(scene), f"the run is {death.state}")
        death.kill(process)
    finally:
        kill_group(process)
    scene.wait(lambda: is_open(scene), "production is open again")
    scene.wait(lambda: not ours(scene), "the keeper is gone")

    written = writer()
    assert written["lost"] == []
    assert any(not write.acknowledged for write in written["writes"])
    assert identity(scene) == before
    assert before[0][-1] == COMMENT
    after = scene.contents("production")
    assert (after["state"], after["columns"]) == (schema["state"], schema["columns"])
    assert after["rows"]["users"] == schema["rows"]["users"]
    assert not scene.maintenance_file.exists()

    folder = max((scene.state_dir("production") / "runs").iterdir(), key=lambda entry: entry.name)
    events = Run(scene.state_dir("production"), folder.name).events()  # proves the chain of hashes
    assert events[-1]["action"] == "the keeper opened the original again"
    assert f"gave no sign of life in state {death.state}" in events[-1]["data"]["reason"]
    databases = {name: admits for name, admits in left_databases(scene).items() if folder.name in name}
    assert databases == {f"{PRODUCTION}__{purpose}_{folder.name}": False for purpose in death.left}


def end_keeper(scene: Scene) -> Path:
    """Kill the keeper of the newest run, and its supervisor; return the run's folder."""
    folder = max((scene.state_dir("production") / "runs").iterdir(), key=lambda entry: entry.name)
    (closed,) = [event for event in read_events(folder / "journal.jsonl") if event["data"].get("keeper")]
    for who in ("supervisor", "pid"):
        os.kill(closed["data"]["keeper"][who], signal.SIGKILL)
    return folder


def test_nobody_and_nothing_of_the_run_is_left(
    scene: Scene, slow_checkout: Path, writer: Callable[[], dict[str, Any]]
) -> None:
    """Controller, tool, keeper and the run's records are gone: the next run opens the original, and goes through."""
    before = identity(scene)
    process = scene.start(*ASK, production={"rollback_project_dir": str(slow_checkout)})
    try:
        scene.wait(lambda: tool_has_done_its_work(scene), "the run is migrating")
        kill_everything(process)
    finally:
        kill_group(process)
    folder = end_keeper(scene)
    shutil.rmtree(folder)

    at_work = scene.play("env=production", f"confirm={PRODUCTION}")
    if at_work.exit_code:  # it was quicker than the lease
        assert f"Run {folder.name} of " in at_work.said
        assert "its lease lasts until" in at_work.said
        assert not is_open(scene)
    scene.wait(lambda: at_work.exit_code == 0 or has_run_out(scene), "the lease has run out")
    looked = scene.play("env=production", "--tags", "preflight")
    assert (looked.exit_code == 0) == is_open(scene)
    outcome = at_work if at_work.exit_code == 0 else scene.play("env=production", f"confirm={PRODUCTION}")
    assert outcome.exit_code == 0, outcome.output
    (record,) = outcome.records
    assert record["outcome"] == "rolled_back"
    assert writer()["lost"] == []
    assert [row[1:] for row in identity(scene)] == [row[1:] for row in before]
    assert left_databases(scene)[f"{PRODUCTION}__failed_{folder.name}"] is False
    scene.go_back(record["run_id"])


def has_run_out(scene: Scene) -> bool:
    """Whether the lease in the comment is over, by the server's clock."""
    (comment,) = scene.execute(
        "production",
        "SELECT (shobj_description(oid, 'pg_database')::json #>> '{balcon.rollback,lease_until}')::timestamptz < now()"
        " FROM pg_database WHERE datname = %s",
        [PRODUCTION],
        database="postgres",
    )
    return comment == (True,)


@pytest.mark.usefixtures("slow_checkout")
def test_the_next_run_goes_through(scene: Scene) -> None:
    """After runs that were killed; nobody has to clean up first."""
    assert all(not admits for admits in left_databases(scene).values())
    (oid, *properties) = identity(scene)[0]
    outcome = scene.play(*ASK)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[0]["outcome"] == "rolled_back"
    (new_oid, *new_properties) = identity(scene)[0]
    assert new_oid != oid
    assert new_properties == properties
    assert NEWEST not in [name for name, _at in scene.contents("production")["state"]]
