# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of real databases, and everything that may go wrong with them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

SHOP = (Path(__file__).parent / "shop.sql").read_text()
KEY = "a signing key / with % signs"


@pytest.fixture
def shop(database: Any) -> Any:
    """A database with one of everything."""
    database.execute(SHOP)
    return database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A private folder for backups."""
    backups = tmp_path / "backups"
    backups.mkdir(mode=0o700)
    return backups


@pytest.fixture
def arguments(shop: Any, folder: Path) -> dict[str, Any]:
    return {
        "database_url": shop.url,
        "admin_url": shop.admin_url,
        "backup_dir": str(folder),
        "client_path": [str(shop.server.bin_dir)],
    }


def run_options(tmp_path: Path) -> dict[str, str]:
    """A run's options, with its folder and an empty journal."""
    state, run_id = tmp_path / "state", "20261123t081500a3f9"
    (state / "runs" / run_id).mkdir(parents=True)
    for place in (state, state / "runs", state / "runs" / run_id):
        place.chmod(0o700)
    journal = state / "runs" / run_id / "journal.jsonl"
    journal.touch(mode=0o600)
    return {"run_id": run_id, "state_dir": str(state), "phase": "back_up"}


def test_backup_is_complete_private_and_verified(run_module: Any, arguments: Any, folder: Path) -> None:
    result = run_module("db_backup", **arguments)
    assert not result["failed"], result
    assert (result["changed"], result["verified"], result["signed"]) == (True, "read", False)
    assert result["rows_total"] == 1910
    manifest = json.loads(Path(result["manifest"]).read_text())
    tables = manifest["fingerprint"]["tables"]
    assert tables["public.users"]["rows"] == 500
    assert tables['public."Odd ""Table.Na%me{}"']["rows"] == 3
    assert tables["public.nocols"]["rows"] == 3
    assert "public.part" not in tables
    assert manifest["database"]["name"] == arguments["database_url"].rsplit("/", 1)[1]
    for path in [Path(result["path"]), *Path(result["path"]).rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert sorted(path.name for path in folder.iterdir()) == [result["backup_id"]]


def test_four_times(run_module: Any, arguments: Any, tmp_path: Path) -> None:
    options = {**arguments, **run_options(tmp_path)}
    backups = Path(arguments["backup_dir"])
    foreseen = run_module("db_backup", check_mode=True, **options)
    assert foreseen["changed"]
    assert not list(backups.iterdir())
    made = run_module("db_backup", **options)
    assert made["changed"]
    assert made["backup_id"] == foreseen["backup_id"]
    assert not run_module("db_backup", check_mode=True, **options)["changed"]
    again = run_module("db_backup", **options)
    assert not again["changed"]
    assert again["fingerprint_hash"] == made["fingerprint_hash"]
    journal = (tmp_path / "state" / "runs" / options["run_id"] / "journal.jsonl").read_text()
    assert made["backup_id"] in journal


def test_a_folder_in_its_place_that_is_no_backup(run_module: Any, arguments: Any, tmp_path: Path) -> None:
    options = {**arguments, **run_options(tmp_path)}
    place = Path(run_module("db_backup", check_mode=True, **options)["path"])
    place.mkdir(mode=0o700)
    for check_mode in (True, False):
        refused = run_module("db_backup", check_mode=check_mode, **options)
        assert f"there is no manifest in {place}" in refused["msg"]
    assert list(place.iterdir()) == []


def test_verified_by_restore_leaves_no_scratch_database(run_module: Any, arguments: Any, shop: Any) -> None:
    result = run_module("db_backup", verify="restore", signing_key=KEY, **arguments)
    assert not result["failed"], result
    assert (result["verified"], result["signed"]) == ("restore", True)
    assert KEY not in Path(result["manifest"]).read_text()
    assert shop.relatives() == [shop.name]


def test_manifest_and_dump_are_of_one_snapshot(run_module: Any, arguments: Any, shop: Any) -> None:
    """Rows are added all the time while the backup is made; its manifest must still match its dump."""
    shop.execute("CREATE TABLE busy (id bigint GENERATED ALWAYS AS IDENTITY)")
    with shop.session() as connection, connection.cursor() as cursor:
        process = run_module.start("db_backup", verify="restore", **arguments)
        while process.poll() is None:
            cursor.execute("INSERT INTO busy DEFAULT VALUES")
    output, errors = process.communicate()
    result = run_module.result("db_backup", output, errors, process.returncode)
    assert not result["failed"], result
    held = json.loads(Path(result["manifest"]).read_text())["fingerprint"]["tables"]["public.busy"]["rows"]
    assert held < shop.execute("SELECT count(*) FROM busy")[0][0]


def fake_tool(folder: Path, tool: str, real: Path, body: str) -> str:
    """A folder of client tools of which one misbehaves."""
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        script = f'case "$*" in *format=d*|*data-only*) {body};; esac' if name == tool else ""
        (folder / name).write_text(
            f'#!/bin/sh\nreal={real}/{name}\n[ "$1" = --version ] && exec "$real" "$@"\n{script}\nexec "$real" "$@"\n'
        )
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("tool", "body", "said"),
    [
        ("pg_dump", '"$real" "$@"; exit 1', "exit code 1"),
        ("pg_dump", "exec sleep 60", "did not end within 2 seconds"),
        ("pg_restore", '"$real" "$@" | sed "/u77@example/d"; exit 0', "499 rows in the dump, 500"),
        ("pg_restore", '"$real" "$@" | head -c 3000; exit 0', "in the middle of table"),
    ],
)
def test_failed_backup_leaves_nothing(  # noqa: PLR0917  # fixtures and parameters
    run_module: Any, arguments: Any, shop: Any, folder: Path, tmp_path: Path, tool: str, body: str, said: str
) -> None:
    arguments["client_path"] = [fake_tool(tmp_path / "tools", tool, shop.server.bin_dir, body)]
    result = run_module("db_backup", deadline=2 if "sleep" in body else 60, **arguments)
    assert result["failed"]
    assert said in result["msg"]
    assert not list(folder.iterdir())


def test_what_a_killed_backup_left_is_removed(run_module: Any, arguments: Any, folder: Path) -> None:
    (folder / ".partial-shop-20261123t081500a3f9" / "dump").mkdir(parents=True)
    assert not run_module("db_backup", **arguments)["failed"]
    assert not list(folder.glob(".partial-*"))


def test_password_is_never_in_an_argument_list(run_module: Any, arguments: Any, shop: Any, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    tools = fake_tool(tmp_path / "tools", "pg_dump", shop.server.bin_dir, f'echo "$@" >>{seen}')
    assert not run_module("db_backup", **{**arguments, "client_path": [tools]})["failed"]
    assert "snapshot" in seen.read_text()
    assert shop.password not in seen.read_text()


def test_hidden_rows_are_an_error(run_module: Any, arguments: Any, shop: Any, folder: Path) -> None:
    """A policy that binds the owner too would hide rows from the backup."""
    shop.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    result = run_module("db_backup", **arguments)
    assert result["failed"]
    assert result["error"]["kind"] == "refused"
    assert "row-level security" in result["msg"]
    assert not list(folder.iterdir())


def test_tools_older_than_the_server_are_refused(
    run_module: Any, arguments: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (old / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 9.6.1'\n")
        (old / name).chmod(0o755)
    usual = "ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools.USUAL_FOLDERS"
    monkeypatch.setattr(usual, ())
    from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql import client_tools
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused

    monkeypatch.setenv("PATH", str(old))
    with pytest.raises(Refused, match=r"found: 9.*older pg_dump refuses"):
        client_tools.find_client_tools(160000)
    assert os.environ["PATH"] == str(old)


def test_compression_that_is_not_built_in_is_refused(run_module: Any, arguments: Any, folder: Path) -> None:
    result = run_module("db_backup", compression="zstd", **arguments)
    assert result["failed"]
    assert "built without zstd" in result["msg"]
    assert not list(folder.iterdir())


def test_folder_that_others_can_read_is_refused(run_module: Any, arguments: Any, folder: Path) -> None:
    folder.chmod(0o755)
    result = run_module("db_backup", **arguments)
    assert result["failed"]
    assert "can be read by others" in result["msg"]
