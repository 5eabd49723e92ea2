# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rehearsal's fresh copy: masked, kept pristine, and put in the place of staging's own database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg2 import sql


@pytest.fixture
def rehearsal(run_module: Any, database: Any, tmp_path: Path) -> dict[str, Any]:
    """A run of kind rehearsal on a staging database, and a source with two users."""
    state_dir = tmp_path / "state"
    state_dir.mkdir(mode=0o700)
    database.execute("CREATE TABLE old (id int)")
    database.execute(
        sql.SQL("COMMENT ON DATABASE {} IS 'ask the backend team'").format(sql.Identifier(database.name)),
        url=database.admin_url,
    )
    source = f"{database.name}_source"
    database.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(source)), url=database.admin_url)
    database.execute("CREATE TABLE users (id int PRIMARY KEY, email text)", url=database.url_of(source))
    database.execute(
        "INSERT INTO users VALUES (1, 'a@example.test'), (2, 'b@example.test')", url=database.url_of(source)
    )
    started = run_module(
        "run_journal",
        state="started",
        state_dir=str(state_dir),
        kind="rehearsal",
        environment="staging",
        database=database.name,
    )
    run = {"run_id": started["run_id"], "state_dir": str(state_dir), "phase": "rehearse"}
    return {
        "database_url": database.url,
        "source_url": database.url_of(source),
        "client_path": [str(database.server.bin_dir)],
        **run,
    }


def copy(run_module: Any, rehearsal: dict[str, Any], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = run_module("db_copy", **rehearsal, **more)
    return result


def test_the_pristine_copy_takes_the_place_of_staging(
    run_module: Any, database: Any, rehearsal: dict[str, Any]
) -> None:
    copied = copy(run_module, rehearsal)
    assert not copied["failed"], copied
    arguments = {key: value for key, value in rehearsal.items() if key not in ("source_url", "client_path")}
    kept = run_module("db_clone", purpose="restored", source=copied["name"], **arguments)
    database.execute("DELETE FROM users", url=database.url_of(copied["name"]))  # what the plan does afterwards
    refused = run_module("db_swap", check_mode=True, state="restored", **arguments)
    assert (refused["changed"], database.relatives().count(refused["before"])) == (True, 0)
    assert run_module("db_swap", state="restored", **arguments)["changed"] is True
    again = run_module("db_swap", state="restored", **arguments)
    assert (again["failed"], again["changed"]) == (False, False)
    assert database.execute("SELECT count(*) FROM users") == [(2,)]
    before, comment = database.execute(
        "SELECT datallowconn, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        [again["before"]],
        url=database.admin_url,
    )[0]
    assert before is False
    assert "ask the backend team" in comment
    own = database.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        [database.name],
        url=database.admin_url,
    )
    assert own == [("ask the backend team",)]
    assert kept["name"] not in database.relatives()


def test_without_a_copy_staging_is_left_alone(run_module: Any, database: Any, rehearsal: dict[str, Any]) -> None:
    arguments = {key: value for key, value in rehearsal.items() if key not in ("source_url", "client_path")}
    refused = run_module("db_swap", state="restored", **arguments)
    assert refused["error"]["kind"] == "refused"
    assert database.execute("SELECT count(*) FROM old") == [(0,)]


def test_only_a_rehearsal_may_replace(run_module: Any, database: Any, rehearsal: dict[str, Any]) -> None:
    started = run_module(
        "run_journal",
        state="started",
        state_dir=rehearsal["state_dir"],
        kind="rollback",
        environment="production",
        database=database.name,
    )
    refused = run_module(
        "db_swap",
        state="restored",
        database_url=database.url,
        run_id=started["run_id"],
        state_dir=rehearsal["state_dir"],
        phase="rehearse",
    )
    assert "only a rehearsal replaces" in refused["msg"]


def test_masking_is_run_on_the_copy(run_module: Any, database: Any, rehearsal: dict[str, Any], tmp_path: Path) -> None:
    masking = tmp_path / "masking.sql"
    masking.write_text("UPDATE users SET email = 'user' || id || '@invalid'; -- 100% of them\n")
    copied = copy(run_module, rehearsal, masking_sql=str(masking))
    assert not copied["failed"], copied
    emails = database.execute("SELECT email FROM users ORDER BY id", url=database.url_of(copied["name"]))
    assert emails == [("user1@invalid",), ("user2@invalid",)]
    assert database.execute("SELECT email FROM users WHERE id = 1", url=rehearsal["source_url"]) == [
        ("a@example.test",)
    ]


def test_a_copy_that_could_not_be_masked_is_dropped(
    run_module: Any, database: Any, rehearsal: dict[str, Any], tmp_path: Path
) -> None:
    masking = tmp_path / "masking.sql"
    masking.write_text("UPDATE users SET email = 'x'; UPDATE nobody SET email = 'x';")
    failed = copy(run_module, rehearsal, masking_sql=str(masking))
    assert "masking SQL failed" in failed["msg"]
    assert not [name for name in database.relatives() if "rehearsal" in name]
    missing = copy(run_module, rehearsal, masking_sql=str(tmp_path / "missing.sql"))
    assert "cannot be used" in missing["msg"]
