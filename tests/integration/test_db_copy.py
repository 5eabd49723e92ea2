# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies by dump and restore, while the source is in use."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name

SHOP = (Path(__file__).parent / "shop.sql").read_text()
RUN_ID = "20261123t081500a3f9"


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    return database


@pytest.fixture
def arguments(shop: Any, tmp_path: Path) -> dict[str, Any]:
    """A copy within one server; that another one works the same is what db_copy's identity check is for."""
    state = tmp_path / "state"
    (state / "runs" / RUN_ID).mkdir(parents=True)
    for place in (state, state / "runs", state / "runs" / RUN_ID):
        place.chmod(0o700)
    (state / "runs" / RUN_ID / "journal.jsonl").touch(mode=0o600)
    return {
        "source_url": shop.url,
        "source_admin_url": shop.admin_url,
        "database_url": shop.url,
        "admin_url": shop.admin_url,
        "client_path": [str(shop.server.bin_dir)],
        "run_id": RUN_ID,
        "state_dir": str(state),
        "phase": "rehearse",
    }


def comment(shop: Any, name: str) -> dict[str, Any]:
    text = shop.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [name], url=shop.admin_url
    )[0][0]
    return dict(json.loads(text)["balcon.rollback"])


def test_four_times(run_module: Any, arguments: Any, shop: Any, tmp_path: Path) -> None:
    name = derived_name(shop.name, "rehearsal", RUN_ID)
    foreseen = run_module("db_copy", check_mode=True, **arguments)
    assert (foreseen["failed"], foreseen["changed"], foreseen["name"]) == (False, True, name)
    assert shop.relatives() == [shop.name]
    made = run_module("db_copy", save_as="source.json", **arguments)
    assert not made["failed"], made
    assert (made["changed"], made["verified"], made["left_out"]) == (True, True, [])
    assert made["rows_total"] == 1910
    assert shop.relatives() == [shop.name, name]
    description = comment(shop, name)
    assert (description["run_id"], description["role"], description["data"]["complete"]) == (RUN_ID, "rehearsal", True)
    saved = Path(made["path"])
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    held = json.loads(saved.read_text())
    assert held["catalogue_hash"] == made["source_fingerprint"]["catalogue_hash"]
    assert "public.users" in held["catalogue"]["tables"]
    assert sorted(path.name for path in saved.parent.iterdir()) == ["journal.jsonl", "source.json"]
    assert not run_module("db_copy", check_mode=True, **arguments)["changed"]
    again = run_module("db_copy", **arguments)
    assert (again["changed"], again["verified"]) == (False, True)


def test_settings_come_along_and_everybody_stays_out(run_module: Any, arguments: Any, shop: Any) -> None:
    shop.execute(f"ALTER DATABASE \"{shop.name}\" SET work_mem TO '7MB'")
    shop.execute(f"COMMENT ON DATABASE \"{shop.name}\" IS 'the shop'")
    made = run_module("db_copy", **arguments)
    assert not made["failed"], made
    assert shop.execute("SHOW work_mem", url=shop.url_of(made["name"])) == [("7MB",)]
    assert comment(shop, made["name"])["original_comment"] == "the shop"
    privileges = shop.execute(
        "SELECT grantee FROM pg_database, aclexplode(datacl) WHERE datname = %s AND privilege_type = 'CONNECT'",
        [made["name"]],
        url=shop.admin_url,
    )
    assert (0,) not in privileges


def test_busy_source(run_module: Any, arguments: Any, shop: Any) -> None:
    """Rows are added all the time; the copy is what the source was in one moment."""
    shop.execute("CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY)")
    with shop.session() as connection, connection.cursor() as cursor:
        process = run_module.start("db_copy", **arguments)
        while process.poll() is None:
            cursor.execute("INSERT INTO busy DEFAULT VALUES")
    output, errors = process.communicate()
    result = run_module.result("db_copy", output, errors, process.returncode)
    assert not result["failed"], result
    copied = shop.execute("SELECT count(*) FROM busy", url=shop.url_of(result["name"]))[0][0]
    assert copied == result["source_fingerprint"]["tables"]["public.busy"]["rows"]
    assert copied < shop.execute("SELECT count(*) FROM busy")[0][0]


def test_source_is_never_the_target(run_module: Any, arguments: Any, shop: Any) -> None:
    result = run_module("db_copy", name=shop.name, **arguments)
    assert result["failed"]
    assert "would be the source itself" in result["msg"]
    assert shop.execute("SELECT count(*) FROM users") == [(500,)]


def test_database_that_is_there_is_refused(run_module: Any, arguments: Any, shop: Any) -> None:
    name = f"{shop.name}__mine"
    shop.execute(f'CREATE DATABASE "{name}"', url=shop.admin_url)
    result = run_module("db_copy", name=name, **arguments)
    assert result["failed"]
    assert "There is a database" in result["msg"]


def test_odd_names(run_module: Any, arguments: Any, shop: Any) -> None:
    name = f'{shop.name} O\'Neil "=" % \\ é'
    result = run_module("db_copy", name=name, **arguments)
    assert not result["failed"], result
    assert shop.execute("SELECT count(*) FROM users", url=shop.url_of(name)) == [(500,)]


def test_false_copy_is_found_and_dropped(run_module: Any, arguments: Any, shop: Any, tmp_path: Path) -> None:
    """pg_restore says that all is well, but one value is another one."""
    tools, real = tmp_path / "tools", shop.server.bin_dir
    tools.mkdir()
    (tools / "pg_dump").symlink_to(real / "pg_dump")
    (tools / "pg_restore").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_restore --version\n'
        f'{real}/pg_restore "$@" && exec {real}/psql -qc "UPDATE users SET price = 1.10 WHERE price = 2.20"\n'
    )
    (tools / "pg_restore").chmod(0o755)
    result = run_module("db_copy", **{**arguments, "client_path": [str(tools)]})
    assert result["failed"]
    assert "The contents of table public.users changed" in result["msg"]
    assert shop.relatives() == [shop.name]
    assert not list((Path(arguments["state_dir"]) / "runs" / RUN_ID).glob("copy-*"))


def test_policy_of_a_role_that_is_missing_is_refused(run_module: Any, arguments: Any, shop: Any) -> None:
    """Roles belong to a server; here one is made to be missing by dropping nothing: the check reads the catalogue."""
    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.fresh_database import (
        choose_rights,
    )
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused

    server = Server(shop.url, shop.admin_url)
    with pytest.raises(Refused, match="nobody_here"):
        choose_rights(server, {"policies": {"public.t.p": {"roles": ["nobody_here"]}}})
    rights = choose_rights(server, {"tables": {"public.t": {"owner": "stranger", "acl": ["stranger=SELECT"]}}})
    assert rights.arguments() == ["--no-owner", "--no-privileges"]
