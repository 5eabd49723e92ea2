# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input, given as a person gives it: a clear error that says what to do, and nothing touched."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg2 import sql
from stage import DATABASES, ROLE

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools import (
    find_client_tools,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.evidence import seal
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run
from ansible_collections.balcon.rollback.tests.playbook.scene import HOSTS

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.tests.playbook.scene import Outcome, Scene, Variables
    from tests.conftest import ModuleRunner

PRODUCTION = DATABASES["production"]
NEWEST = "20240107000000-add-project-priority.ts"
EMPTY_DOWN = "20240103000000-normalise-emails.ts"
BEFORE_EMPTY_DOWN = "20240102000000-add-user-fields.ts"
OTHER_RUN = "20261123t091500b4e8"
MIGRATIONS = "SELECT name FROM migrations_meta ORDER BY name DESC"
ASK = ("env=production", "reason=a test")
CONFIRM = f"confirm={PRODUCTION}"


def assert_no_run(outcome: Outcome, *words: str) -> None:
    """It ended before a run was begun, and says why and what to do."""
    assert outcome.exit_code != 0, outcome.output
    missing = [word for word in (*words, "Nothing was touched") if word not in outcome.said]
    assert not missing, f"{missing} in:\n{outcome.output}"
    assert outcome.folders == []


def assert_refused(outcome: Outcome, *words: str, became: str = "refused") -> None:
    """The run was refused; its record says why, what was not touched, and what to do."""
    assert outcome.exit_code != 0, outcome.output
    (record,) = outcome.records
    assert record["outcome"] == became, outcome.output
    assert record["window_seconds"] == 0
    text = " ".join(record["error"][part] for part in ("message", "untouched", "remedy"))
    missing = [word for word in words if word not in text or word not in outcome.said]
    assert not missing, f"{missing} in:\n{text}\n{outcome.output}"
    assert "touched" in text, text
    assert record["error"]["remedy"] or "Start again" in text


# -- the request ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "typed",
    [
        pytest.param([], id="missing"),
        pytest.param(["env="], id="empty"),
        pytest.param(["env=stagin"], id="unknown"),
        pytest.param(["env=all"], id="all"),
        pytest.param(["env=sta*"], id="wildcard"),
        pytest.param(["env=staging:production"], id="two groups"),
        pytest.param(['{"env": ["staging", "production"]}'], id="list"),
        pytest.param(["env=shop-production"], id="host"),
    ],
)
def test_env_that_does_not_name_exactly_one_environment(scene: Scene, typed: list[str]) -> None:
    assert_no_run(scene.play(*typed), "env must name exactly one environment", "-e env=staging")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("kind", "url"), [("production", None), ("staging", "")], ids=["missing", "empty"])
def test_host_without_database_url(scene: Scene, kind: str, url: str | None) -> None:
    """An inventory that reads an environment variable which is not set gets an empty one."""
    outcome = scene.play(f"env={kind}", CONFIRM, **{kind: {"rollback_database_url": url}})
    assert_no_run(outcome, f"The group {kind} of the inventory", "rollback_database_url", "inventories/example")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(["--tags", "migrate_down"], id="tags"),
        pytest.param(["--tags", "all,migrate_down"], id="tags with all"),
        pytest.param(["--skip-tags", "gate"], id="skip-tags"),
        pytest.param(["--limit", HOSTS["production"]], id="limit"),
    ],
)
def test_a_part_of_the_playbook(scene: Scene, typed: list[str]) -> None:
    assert_no_run(scene.play(*ASK, CONFIRM, *typed), "--tags preflight", "ansible-playbook rollback.yml -e env=")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "typed",
    [
        pytest.param(["--skip-tags", "always"], id="without the request"),
        pytest.param(["--skip-tags", "always,preflight"], id="without request and gate"),
        pytest.param(
            [
                "--start-at-task",
                "Close | maintenance mode on; the database takes no connections; the keeper watches over it",
            ],
            id="start-at-task",
        ),
    ],
)
def test_a_start_past_the_checks(scene: Scene, typed: list[str]) -> None:
    outcome = scene.play(*ASK, CONFIRM, *typed)
    assert_no_run(outcome, "The request was not checked", "ansible-playbook rollback.yml -e env=production")


# -- the databases --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_wrong_password(scene: Scene) -> None:
    url = scene.url("production", password="not-this-one")
    outcome = scene.play(*ASK, production={"rollback_database_url": url})
    assert_refused(outcome, "password authentication failed", ROLE, "Check the URL in the inventory")
    assert "not-this-one" not in outcome.output


@pytest.mark.usefixtures("untouched")
def test_database_that_is_absent(scene: Scene) -> None:
    url = scene.url("production", database="Shop_Production")
    outcome = scene.play(*ASK, production={"rollback_database_url": url})
    assert_refused(outcome, "There is no database 'Shop_Production'", "capitals and spaces count")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_stagings_url_that_is_productions(scene: Scene, host: str) -> None:
    url = scene.url("production").replace("127.0.0.1", host)
    outcome = scene.play("env=staging", staging={"rollback_database_url": url})
    assert_refused(outcome, "lead to the same database", PRODUCTION, "rollback_database_url of the staging host")


@pytest.mark.usefixtures("untouched")
def test_encryption_that_the_server_does_not_have(scene: Scene) -> None:
    url = scene.url("production") + "?sslmode=require"
    outcome = scene.play(*ASK, production={"rollback_database_url": url})
    assert_refused(outcome, "server does not support SSL", "Do not lower sslmode")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("password", ["p@ss", "p%ss"])
def test_password_that_is_not_percent_encoded(scene: Scene, password: str) -> None:
    """`%40` and its like, done right, are in the password of every other test."""
    url = scene.url("production", password="X").replace(":X@", f":{password}@")
    outcome = scene.play(*ASK, production={"rollback_database_url": url})
    assert_refused(outcome, "@ is %40")
    assert password not in outcome.output


# -- what stands in the way on the server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blocked(scene: Scene) -> Outcome:
    """One run that meets everything at once: it names everything in one message."""
    before = scene.snapshot()
    reporting = scene.cluster("production").url("reporting", "reporting", PRODUCTION)
    scene.execute("production", "CREATE ROLE reporting LOGIN PASSWORD 'reporting'")
    try:
        with (
            scene.session("production"),
            scene.session("production", url=reporting),
            _logical_slot(scene),
            _prepared_transaction(scene),  # after the slot, whose creation would wait for it
        ):
            outcome = scene.play(*ASK, CONFIRM, production={"rollback_free_bytes": 1000})
    finally:
        scene.execute("production", "DROP ROLE reporting")
    assert scene.snapshot() == before
    return outcome


@contextlib.contextmanager
def _prepared_transaction(scene: Scene) -> Iterator[None]:
    scene.execute("production", "BEGIN; CREATE TABLE half (id int); PREPARE TRANSACTION 'left over'")
    try:
        yield
    finally:
        scene.execute("production", "ROLLBACK PREPARED 'left over'")


@contextlib.contextmanager
def _logical_slot(scene: Scene) -> Iterator[None]:
    scene.execute("production", "SELECT pg_create_logical_replication_slot('shipping', 'pgoutput')")
    try:
        yield
    finally:
        scene.execute("production", "SELECT pg_drop_replication_slot('shipping')")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("role postgres", "may not be ended by role shop", "a superuser"), id="superuser's session"),
        pytest.param(("role reporting", "GRANT pg_signal_backend"), id="session without pg_signal_backend"),
        pytest.param(("prepared transaction 'left over'", "ROLLBACK PREPARED 'left over'"), id="prepared transaction"),
        pytest.param(("slot shipping (inactive)", "pg_drop_replication_slot('shipping')"), id="logical slot"),
        pytest.param(("1,000 are free (given)", "Make room"), id="disk"),
    ],
)
def test_something_in_the_way(blocked: Outcome, words: tuple[str, ...]) -> None:
    assert_refused(blocked, *words)


@pytest.fixture
def other_run(scene: Scene, run_module: ModuleRunner, tmp_path: Path) -> Iterator[str]:
    """Another controller's run, which has production closed; its keeper lives."""
    tmp_path.chmod(0o700)
    run = Run(tmp_path, OTHER_RUN)
    run.create()
    for phase in ("preflight", "gate", "back_up"):
        run.record(phase, "passed")
    arguments: Variables = {
        "database_url": scene.url("production"),
        "state_dir": str(tmp_path),
        "run_id": OTHER_RUN,
        "phase": "close",
    }
    assert not run_module("db_access", state="closed", **arguments)["failed"]
    try:
        yield OTHER_RUN
    finally:
        run_module("db_swap", state="original", **arguments)


def test_another_run_under_way(scene: Scene, other_run: str) -> None:
    before = _descriptions(scene)
    assert_refused(scene.play(*ASK, CONFIRM), other_run, " on ", "under way", "lease lasts", "Wait until it has ended")
    assert _descriptions(scene) == before


def _descriptions(scene: Scene) -> list[Any]:
    statement = "SELECT datname, oid, datallowconn, shobj_description(oid, 'pg_database') FROM pg_database ORDER BY 2"
    return scene.execute("production", statement, database="postgres")


# -- the migrations --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["steps=8"], ["steps is 8, but only 7 migrations are applied", "from 1 to 7"]),
        (["steps=0"], ["steps must be a whole number of at least 1", "-e steps=2"]),
        (['{"steps": 0}'], ["steps must be a whole number of at least 1", "-e steps=2"]),
        (["steps=-1"], ["steps must be a whole number of at least 1", "-e steps=2"]),
        (["steps=two"], ["steps must be a whole number of at least 1", "-e steps=2"]),
        (["steps=2", f"target={EMPTY_DOWN}"], ["Both steps (2) and target", "Give one"]),
        (["target=20240199000000-never.ts"], ["is not applied", NEWEST, "exactly as the state table has it"]),
        ([f"target={NEWEST}"], ["There is nothing to revert", "name the one before it"]),
    ],
    ids=["larger", "zero", "zero as a number", "negative", "no number", "both", "not applied", "the last one"],
)
def test_steps_and_target(scene: Scene, typed: list[str], words: list[str]) -> None:
    assert_refused(scene.play(*ASK, CONFIRM, *typed), *words)


@pytest.fixture(scope="module")
def damaged(scene: Scene) -> Iterator[Outcome]:
    """One run whose checkout has everything wrong at once: it names everything in one message."""
    before = scene.snapshot()
    checkout = scene.stage.folder / "releases" / "damaged"
    shutil.copytree(scene.checkout, checkout, symlinks=True)
    migrations = checkout / "migrations"
    (migrations / "20240101000000-initial-schema.ts").unlink()
    changed = migrations / "20240105000000-index-project-owner.ts"
    changed.write_text(changed.read_text() + "\n// mended in a hurry\n")
    without = migrations / "20240106000000-widen-project-title.ts"
    without.write_text("export async function up(): Promise<void> {\n  await Promise.resolve();\n}\n")
    arguments = [f"target={BEFORE_EMPTY_DOWN}"]
    outcome = scene.play(*ASK, CONFIRM, *arguments, production={"rollback_project_dir": str(checkout)})
    assert scene.snapshot() == before
    yield outcome
    shutil.rmtree(checkout)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("20240105000000-index-project-owner.ts", "manifest"), id="changed since the manifest"),
        pytest.param(("20240101000000-initial-schema.ts", "is applied, but"), id="missing on disk"),
        pytest.param(("20240106000000-widen-project-title.ts", "has no down()"), id="down missing"),
        pytest.param((EMPTY_DOWN, "has an empty down()"), id="down empty"),
    ],
)
def test_migration_files(damaged: Outcome, words: tuple[str, ...]) -> None:
    assert_refused(damaged, *words)


# -- the evidence ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rehearsed(scene: Scene) -> Path:
    """The evidence of a real rehearsal of the newest migration."""
    before = scene.snapshot()
    outcome = scene.play("env=staging")
    assert outcome.exit_code == 0, outcome.output
    assert scene.snapshot() == before
    (path,) = (scene.state_dir("production") / "evidence").glob("*.json")
    return path


@pytest.fixture
def evidence(rehearsed: Path) -> Iterator[Callable[..., None]]:
    """Change the evidence of the rehearsal, for this test."""
    text = rehearsed.read_text()

    def change(key: str | None = None, **fields: Any) -> None:
        content = {**json.loads(text), **fields}
        if key:
            content = seal({k: v for k, v in content.items() if k not in ("content_hash", "signature")}, key)
        rehearsed.write_text(json.dumps(content))

    yield change
    rehearsed.write_text(text)


REHEARSE = "ansible-playbook rollback.yml -e env=staging"


@pytest.mark.usefixtures("untouched")
def test_evidence_that_has_expired(scene: Scene, evidence: Callable[..., None]) -> None:
    yesterday = datetime.now(UTC) - timedelta(hours=25)
    evidence(scene.stage.secret("signing_key"), created_at=yesterday.isoformat())
    assert_refused(scene.play(*ASK, CONFIRM), "it is 25.0 hours old", "rollback_evidence_max_age", REHEARSE)


@pytest.mark.usefixtures("untouched", "rehearsed")
def test_evidence_of_another_plan(scene: Scene) -> None:
    assert_refused(scene.play(*ASK, CONFIRM, "steps=2"), "Nobody has rehearsed this plan", NEWEST, REHEARSE)


@pytest.mark.usefixtures("untouched", "rehearsed")
def test_evidence_of_another_schema(scene: Scene) -> None:
    scene.execute("production", "CREATE INDEX in_a_hurry ON projects (budget)")
    try:
        outcome = scene.play(*ASK, CONFIRM)
    finally:
        scene.execute("production", "DROP INDEX in_a_hurry")
    assert_refused(outcome, "production's schema has changed since it was rehearsed", REHEARSE)


@pytest.mark.usefixtures("untouched")
def test_evidence_that_was_edited(scene: Scene, evidence: Callable[..., None]) -> None:
    evidence(loss={"tables": [], "columns": [], "rows": 0})
    assert_refused(scene.play(*ASK, CONFIRM), "it was edited after it was written", REHEARSE)


@pytest.mark.usefixtures("untouched")
def test_evidence_that_somebody_else_sealed(scene: Scene, evidence: Callable[..., None]) -> None:
    evidence("somebody else's key", loss={"tables": [], "columns": [], "rows": 0})
    assert_refused(scene.play(*ASK, CONFIRM), "its signature is not by this rollback_signing_key", REHEARSE)


# -- the tool host ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untouched")
def test_state_folder_that_others_can_read(scene: Scene) -> None:
    folder = scene.state_dir("production")
    folder.chmod(0o755)
    try:
        outcome = scene.play(*ASK, CONFIRM)
    finally:
        folder.chmod(0o700)
    assert_no_run(outcome, f"The state folder {folder} can be read by others (mode 0755)", "chmod 0700")


@pytest.mark.usefixtures("untouched", "rehearsed")
def test_no_pg_dump_that_is_new_enough(scene: Scene) -> None:
    with contextlib.suppress(Refused):
        pytest.skip(f"this machine has one: {find_client_tools(160000).folder}")
    outcome = scene.play(*ASK, CONFIRM, production={"rollback_client_path": []})
    words = ("No pg_dump and pg_restore of PostgreSQL 16 or later", "postgresql-client-16", "rollback_client_path")
    assert_refused(outcome, *words)


@pytest.mark.usefixtures("untouched", "rehearsed")
@pytest.mark.parametrize("typed", [[], ["confirm=shop"]], ids=["nothing", "another name"])
def test_not_confirmed_and_no_terminal(scene: Scene, typed: list[str]) -> None:
    outcome = scene.play(*ASK, *typed)
    words = ("The rollback was not confirmed", PRODUCTION, f"-e confirm={PRODUCTION}")
    assert_refused(outcome, *words, became="aborted")


# -- names that are unusual, and must work ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("""Shop "Mitte"'s 100% a=b""", id="capitals, quotes, spaces"),
        pytest.param("Ä" * 31 + "x", id="63 bytes"),
    ],
)
def test_unusual_names_work(scene: Scene, name: str) -> None:
    identifier, template = sql.Identifier(name), sql.Identifier(PRODUCTION)
    scene.execute("production", sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER shop").format(identifier, template),
                  database="postgres")  # fmt: skip
    before = scene.contents("production", name)
    try:
        outcome = scene.play(
            json.dumps({"env": "production", "confirm": name, "rollback_rehearse": "auto"}),
            production={"rollback_database_url": scene.url("production", database=name)},
        )  # fmt: skip
        assert outcome.exit_code == 0, outcome.output
        rehearsal, rollback = outcome.records
        assert [rehearsal["outcome"], rollback["outcome"]] == ["rehearsed", "rolled_back"]
        assert rollback["database"] == name
        after = scene.contents("production", name)
        assert after["state"] == before["state"][:-1]
        assert after["rows"]["users"] == before["rows"]["users"]
        kept = derived_name(name, "before", rollback["run_id"])
        scene.execute("production", sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(sql.Identifier(kept)))
        assert scene.contents("production", kept) == before
    finally:
        _drop_beside(scene, name)


def _drop_beside(scene: Scene, name: str) -> None:
    """Drop a database and what a run made beside it."""
    known = "SELECT datname FROM pg_database WHERE datname <> ALL(%s) AND NOT datistemplate"
    for (database,) in scene.execute("production", known, [[PRODUCTION, "postgres"]], database="postgres"):
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        scene.execute("production", statement, database="postgres")
