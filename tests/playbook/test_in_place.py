# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback in place, by the real playbook: refused, failed and brought back, and gone through; the slot stays."""

from __future__ import annotations

import json
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ledger import lost_writes, read_writes
from stage import DATABASES, ROLE
from writers import REFERENCE_PREFIX, SqlWriter, keep_writing

from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Scene

PRODUCTION = DATABASES["production"]
APPLICATION = "shop_app"
SLOT = "warehouse"
ASK = ("env=production", f"confirm={PRODUCTION}")
NEWEST = "20240107000000-add-project-priority.ts"


@pytest.fixture(scope="module")
def application(scene: Scene) -> str:
    """The URL of an application that only has its tables, beside an owner that may make no database."""
    password = secrets.token_hex(8)
    for statement in (
        f"CREATE ROLE {APPLICATION} LOGIN PASSWORD '{password}'",
        f"ALTER ROLE {ROLE} NOCREATEDB",
        f"GRANT pg_signal_backend TO {ROLE}",
        f"GRANT USAGE ON SCHEMA public TO {APPLICATION}",
        f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {APPLICATION}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION}",
        f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')",
    ):
        scene.execute("production", statement)
    assert scene.play("env=staging").exit_code == 0
    return scene.url("production", user=APPLICATION, password=password)


@pytest.fixture
def writer(scene: Scene, application: str, tmp_path: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    """The application writes all the time; the function ends that, and tells what became of the writes."""
    log, over = tmp_path / "writes.jsonl", threading.Event()

    def titles() -> Iterator[None]:
        while not over.is_set():
            yield None

    def write() -> None:
        with log.open("w") as file:
            keep_writing(SqlWriter(application), file, titles())

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


def in_place(**more: Any) -> dict[str, Any]:
    return {"rollback_method": "in_place", "rollback_application_roles": [APPLICATION], **more}


def properties(scene: Scene) -> list[Any]:
    statement = (
        "SELECT oid::bigint, pg_get_userbyid(datdba), datallowconn, datconnlimit,"
        " ARRAY(SELECT unnest(coalesce(datacl, acldefault('d', datdba)))::text ORDER BY 1),"
        " shobj_description(oid, 'pg_database'),"
        " (SELECT array_agg(slot_name) FROM pg_replication_slots WHERE database = datname)"
        " FROM pg_database WHERE datname = %s"
    )
    return scene.execute("production", statement, [PRODUCTION], database="postgres")


def state(scene: Scene) -> list[str]:
    return [name for name, _at in scene.contents("production")["state"]]


@pytest.mark.usefixtures("application")
def test_it_is_offered_and_never_chosen(scene: Scene, untouched: None) -> None:
    outcome = scene.play(*ASK)
    assert outcome.exit_code != 0
    assert "rollback_method: in_place" in outcome.said
    owner = scene.play(*ASK, production=in_place(rollback_application_roles=[ROLE]))
    assert owner.exit_code != 0
    assert f"The application's role {ROLE} owns {PRODUCTION}" in owner.said


def test_a_failure_comes_back_with_every_write(
    scene: Scene, application: str, writer: Callable[[], dict[str, Any]]
) -> None:
    """The tool does its work on production itself, and then fails."""
    before, schema = properties(scene), scene.contents("production")
    checkout = scene.stage.folder / "releases" / "failing"
    shutil.copytree(scene.checkout, checkout, symlinks=True)
    package = json.loads((checkout / "package.json").read_text())
    package["scripts"]["migrate:down"] += " && false"
    (checkout / "package.json").write_text(json.dumps(package))

    outcome = scene.play(*ASK, production=in_place(rollback_project_dir=str(checkout)))
    assert outcome.exit_code != 0
    assert outcome.records[0]["outcome"] == "restored", outcome.output
    assert outcome.records[0]["method"] == "in_place"
    assert "Method: IN PLACE" in outcome.said
    written = writer()
    assert written["lost"] == []
    assert any(not write.acknowledged for write in written["writes"])
    assert properties(scene) == before
    after = scene.contents("production")
    assert (after["state"], after["columns"]) == (schema["state"], schema["columns"])
    assert after["rows"]["users"] == schema["rows"]["users"]
    events = Run(scene.state_dir("production"), outcome.folders[0].name).events()  # proves the chain of hashes
    assert [event["data"].get("restored_from") for event in events if event["data"].get("restored")] == [
        "restore_point"
    ]
    assert not scene.maintenance_file.exists()
    assert scene.sessions("production") == []


def test_it_goes_through(scene: Scene, application: str, writer: Callable[[], dict[str, Any]]) -> None:
    before = properties(scene)
    outcome = scene.play(*ASK, production=in_place())
    assert outcome.exit_code == 0, outcome.output
    assert outcome.records[0]["outcome"] == "rolled_back"
    assert NEWEST not in state(scene)
    assert properties(scene) == before
    assert writer()["lost"] == []
    report = (outcome.folders[0] / "report.md").read_text()
    assert "**Method:** in place" in report
    assert "Rolled back, in place" in report
