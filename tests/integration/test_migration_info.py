# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""migration_info, against real servers and TypeScript's own parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from npm_project import BACKEND, NpmProject, RunOfTest, node_folder


@pytest.fixture
def project(tmp_path: Path, database: Any) -> NpmProject:
    project = NpmProject(tmp_path / "project")
    project.apply(database)
    return project


@pytest.fixture
def info(project: NpmProject, database: Any, run_module: Any) -> Any:
    def read(**arguments: Any) -> dict[str, Any]:
        given = {"database_url": database.url, "engine_options": project.options(), **arguments}
        return run_module("migration_info", **given)

    return read


def test_state_plan_and_files(info: Any, project: NpmProject, database: Any) -> None:
    database.execute("DELETE FROM migrations_meta WHERE name = '3-orders.js'")
    result = info(steps="2")
    assert not result["changed"]
    assert result["applied"] == ["1-users.js", "2-phone.js"]
    assert result["pending"] == ["3-orders.js"]
    assert result["plan"] == ["2-phone.js", "1-users.js"]
    assert result["problems"] == result["unproven"] == []
    newest = result["migrations"]["2-phone.js"]
    assert newest["on_disk"]
    assert newest["manifest_ok"]
    assert newest["down"] == "proven"
    assert result["state_table"] == {"schema": "public", "table": "migrations_meta", "name_column": "name", "rows": 2}
    assert info(steps="1")["plan_id"] != result["plan_id"] == info(target="", steps=2, check_mode=True)["plan_id"]


def test_everything_that_forbids_the_plan_in_one_message(info: Any, project: NpmProject) -> None:
    folder = project.folder / "migrations"
    (folder / "1-users.js").unlink()
    (folder / "2-phone.js").write_text("module.exports.down = async () => { /* nothing */ };")
    (folder / "3-orders.js").write_text("module.exports.up = async () => {};")
    result = info(steps="2", refuse=True)
    assert result["error"]["kind"] == "refused"
    assert len(result["error"]["problems"]) == 5
    for part in ("1-users.js is applied, but its file", "2-phone.js was changed", "3-orders.js has no down()"):
        assert part in result["msg"]
    assert len(info(steps="2")["problems"]) == 5


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"steps": "0"}, "whole number"),
        ({"steps": "4"}, "only 3"),
        ({"target": "9.js"}, "not applied"),
        ({"target": "3-orders.js"}, "nothing"),
    ],
)
def test_impossible_wishes(info: Any, wish: dict[str, str], said: str) -> None:
    result = info(**wish, refuse=True)
    assert result["error"]["kind"] == "refused"
    assert said in result["msg"]


def test_expectations_look_at_nothing_but_the_state(info: Any, project: NpmProject) -> None:
    (project.folder / "migrations" / "1-users.js").unlink()
    result = info(expect_reverted=["3-orders.js"])
    assert result["problems"] == ["3-orders.js is applied, but it must stay rolled back."]
    assert info(expect_applied=project.names)["problems"] == []
    assert info(expect_applied=project.names[:2], refuse=True)["failed"]


def test_applied_again_after_a_start(info: Any, project: NpmProject) -> None:
    assert not info(expect_reverted=["4-none.js"], after_start=True).get("failed")
    result = info(expect_reverted=["3-orders.js"], after_start=True)
    assert result["error"]["kind"] == "failed"
    assert result["error"]["reapplied"] == ["3-orders.js"]
    assert "The application applied 3-orders.js again when it was started" in result["msg"]


def test_table_order_and_names_that_need_quoting(info: Any, project: NpmProject, database: Any) -> None:
    database.execute('CREATE SCHEMA "My Schema"')
    database.execute('CREATE TABLE "My Schema"."Sequelize""Meta" ("the name" text, "at" int)')
    database.execute("""INSERT INTO "My Schema"."Sequelize""Meta" VALUES ('1-users', 2), ('2-phone', 1)""")
    options = {"schema": "My Schema", "table": 'Sequelize"Meta', "name_column": "the name", "extension": ".js"}
    assert info(engine_options=project.options(**options))["plan"] == ["2-phone"]
    by_column = project.options(**options, order="column", order_column="at")
    result = info(engine_options=by_column)
    assert result["plan"] == ["1-users"]
    assert result["problems"] == []


def test_names_are_ordered_as_javascript_does(info: Any, project: NpmProject, database: Any) -> None:
    database.execute("INSERT INTO migrations_meta VALUES ('Z.js', now()), ('a.js', now())")
    assert info()["applied"] == [*project.names, "Z.js", "a.js"]


def test_missing_table_names_what_is_there(info: Any, project: NpmProject, run_module: Any) -> None:
    result = info(engine_options=project.options(table="SequelizeMeta"))
    assert "no state table public.SequelizeMeta" in result["msg"]
    assert "public.migrations_meta" in result["msg"]
    assert "has no column" in info(engine_options=project.options(name_column="id"))["msg"]


@pytest.mark.parametrize("what", ["manifest.json", "package.json", "migrations", "node_modules"])
def test_project_that_is_not_complete(info: Any, project: NpmProject, what: str) -> None:
    path = project.folder / what
    path.rename(path.with_name("elsewhere"))
    assert info()["error"]["kind"] == "refused"


def test_no_parser_is_not_proven(info: Any, project: NpmProject) -> None:
    (project.folder / "node_modules").unlink()
    (project.folder / "node_modules").mkdir()
    result = info()
    assert result["migrations"]["3-orders.js"]["down"] == "not_proven"
    assert "no typescript" in result["unproven"][0]
    assert result["problems"] == []


def test_the_event_in_the_journal(info: Any, database: Any, tmp_path: Path) -> None:
    run = RunOfTest(tmp_path / "state", database)
    result = info(**run.arguments("preflight"))
    event = run.run.events()[-1]
    assert (event["phase"], event["changed"]) == ("preflight", False)
    assert event["data"]["plan_id"] == result["plan_id"]


def test_the_real_backend(database: Any, run_module: Any) -> None:
    names = sorted(path.name for path in (BACKEND / "migrations").iterdir())
    database.execute("CREATE TABLE migrations_meta (name text PRIMARY KEY, executed_at timestamptz)")
    database.execute("INSERT INTO migrations_meta SELECT unnest(%s), now()", [names])
    options = {"project_dir": str(BACKEND), "manifest": "migration-manifest.json", "node_path": node_folder()}
    result = run_module("migration_info", database_url=database.url, engine_options=options, steps=len(names))
    empty = [name for name, file in result["migrations"].items() if file["down"] == "empty"]
    assert empty == ["20240103000000-normalise-emails.ts"]
    assert len(result["problems"]) == 1
