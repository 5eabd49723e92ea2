# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups restored into new databases; damaged ones are never restored silently."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from embedded_postgresql import VERSIONS, Cluster

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.backup import read_backup
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.client_tools import only_refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.manifest import BackupNotTrusted

SHOP = (Path(__file__).parent / "shop.sql").read_text()
KEY = "a signing key"
FLIPS = 40


@pytest.fixture
def shop(database: Any) -> Any:
    database.execute(SHOP)
    return database


@pytest.fixture
def arguments(shop: Any, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "backups").mkdir(mode=0o700)
    return {
        "database_url": shop.url,
        "admin_url": shop.admin_url,
        "backup_dir": str(tmp_path / "backups"),
        "client_path": [str(shop.server.bin_dir)],
    }


@pytest.fixture
def backup(run_module: Any, arguments: Any) -> Path:
    """A signed backup."""
    result = run_module("db_backup", signing_key=KEY, checkpoint=False, **arguments)
    assert not result["failed"], result
    return Path(result["path"])


def test_four_times(run_module: Any, arguments: Any, shop: Any, backup: Path) -> None:
    options = {**arguments, "backup": backup.name, "name": f"{shop.name}__again", "signing_key": KEY}
    foreseen = run_module("db_restore", check_mode=True, **options)
    assert not foreseen["failed"], foreseen
    assert (foreseen["changed"], foreseen["verified"]) == (True, False)
    assert shop.relatives() == [shop.name]
    made = run_module("db_restore", **options)
    assert not made["failed"], made
    assert (made["changed"], made["verified"], made["signature"]) == (True, True, "good")
    assert made["left_out"] == []
    assert shop.execute("SELECT count(*) FROM users", url=shop.url_of(options["name"])) == [(500,)]
    assert not run_module("db_restore", check_mode=True, **options)["changed"]
    again = run_module("db_restore", **options)
    assert (again["changed"], again["verified"]) == (False, True)


def test_what_belongs_to_the_database_comes_back(run_module: Any, arguments: Any, shop: Any) -> None:
    for statement in (
        "ALTER DATABASE {} SET work_mem TO '7MB'",
        'ALTER DATABASE {} SET search_path TO public, "Other"',
        "ALTER DATABASE {} CONNECTION LIMIT 42",
        "COMMENT ON DATABASE {} IS 'the shop'",
        "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        "GRANT CONNECT ON DATABASE {} TO pg_monitor",
    ):
        shop.execute(statement.format(f'"{shop.name}"'))
    backup = run_module("db_backup", **arguments)
    restored = run_module("db_restore", backup=backup["backup_id"], name=f"{shop.name}__again", **arguments)
    assert not restored["failed"], restored
    query = (
        "SELECT pg_get_userbyid(datdba), datconnlimit, "
        "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), "
        "encoding, datcollate, datctype, (SELECT "
        "array_agg(x ORDER BY x) FROM pg_db_role_setting s, unnest(setconfig) x WHERE setdatabase = d.oid) "
        "FROM pg_database d WHERE datname = %s"
    )
    rows = [shop.execute(query, [name], url=shop.admin_url) for name in (shop.name, restored["name"])]
    assert rows[0] == rows[1]
    comment = shop.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
        [restored["name"]],
        url=shop.admin_url,
    )[0][0]
    description = json.loads(comment)["balcon.rollback"]
    assert (description["role"], description["original_comment"]) == ("restored", "the shop")


def test_owners_and_privileges_come_back_for_a_superuser(run_module: Any, arguments: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE theirs (a int)", url=shop.superuser_url)
    shop.execute("GRANT SELECT ON users TO pg_monitor")
    as_superuser = {**arguments, "database_url": shop.superuser_url}
    as_superuser.pop("admin_url")
    backup = run_module("db_backup", **as_superuser)
    restored = run_module("db_restore", backup=backup["backup_id"], name=f"{shop.name}__again", **as_superuser)
    assert not restored["failed"], restored
    assert restored["left_out"] == []
    owner = shop.execute(
        "SELECT tableowner FROM pg_tables WHERE tablename IN ('theirs', 'users') ORDER BY 1",
        url=shop.server.superuser_url(restored["name"]),
    )
    assert owner == [("postgres",), (shop.owner,)]


def test_owners_that_cannot_come_back_are_named(run_module: Any, arguments: Any, shop: Any) -> None:
    shop.execute("CREATE TABLE theirs (a int); GRANT SELECT ON theirs TO PUBLIC", url=shop.superuser_url)
    backup = run_module("db_backup", **arguments)
    restored = run_module("db_restore", backup=backup["backup_id"], name=f"{shop.name}__again", **arguments)
    assert not restored["failed"], restored
    assert restored["left_out"] == ["objects of role postgres now belong to the role that restored them"]


def test_database_that_is_there_is_never_touched(run_module: Any, arguments: Any, shop: Any, backup: Path) -> None:
    result = run_module("db_restore", backup=backup.name, name=shop.name, **arguments)
    assert result["failed"]
    assert "There is a database" in result["msg"]
    assert shop.execute("SELECT count(*) FROM users") == [(500,)]


def damaged(backup: Path, folder: Path, damage: Callable[[Path], None]) -> Path:
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(backup, copy)
    damage(copy)
    return copy


def data_files(backup: Path) -> list[Path]:
    return sorted((backup / "dump").glob("*.dat*"), key=lambda file: (-file.stat().st_size, file.name))


def truncate(backup: Path) -> None:
    file = data_files(backup)[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove(backup: Path) -> None:
    data_files(backup)[0].unlink()


def swap(backup: Path) -> None:
    one, other = data_files(backup)[:2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def add(backup: Path) -> None:
    (backup / "dump" / "9999.dat").write_bytes(b"")


def link(backup: Path) -> None:
    file = data_files(backup)[0]
    file.rename(backup.parent / "elsewhere")
    file.symlink_to(backup.parent / "elsewhere")


def edit_manifest(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["fingerprint"]["tables"]["public.users"]["rows"] = 499
    (backup / "manifest.json").write_text(json.dumps(manifest))


def forge_manifest(backup: Path) -> None:
    """An edit by somebody who computes the digest again; only the signature shows it."""
    file = data_files(backup)[0]
    file.write_bytes(b"")
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"][f"dump/{file.name}"] = {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    content = {key: value for key, value in manifest.items() if key not in ("digest", "signature")}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    manifest["digest"] = hashlib.sha256(text.encode()).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))


def unsign_manifest(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps({**manifest, "signature": None}))


@pytest.mark.parametrize("damage", [truncate, remove, swap, add, link, edit_manifest, forge_manifest, unsign_manifest])
def test_damaged_backup_is_refused(
    run_module: Any, arguments: Any, shop: Any, backup: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path = damaged(backup, tmp_path, damage)
    result = run_module("db_restore", backup=str(path), signing_key=KEY, **arguments)
    assert result["failed"]
    assert "cannot be trusted" in result["msg"]
    assert shop.relatives() == [shop.name]


def test_every_flipped_bit_is_found(backup: Path, tmp_path: Path) -> None:
    generator = random.Random(2026)  # noqa: S311
    files = [file.relative_to(backup) for file in backup.rglob("*") if file.is_file() and file.stat().st_size]
    read_backup(backup)
    for _again in range(FLIPS):
        name, bit = generator.choice(files), generator.randrange(8)

        def flip(copy: Path, name: Path = name, bit: int = bit) -> None:
            content = bytearray((copy / name).read_bytes())
            content[generator.randrange(len(content))] ^= 1 << bit
            (copy / name).write_bytes(content)

        with pytest.raises(BackupNotTrusted):
            read_backup(damaged(backup, tmp_path, flip))


def test_restore_that_loses_rows_is_found_and_dropped(
    run_module: Any, arguments: Any, shop: Any, backup: Path, tmp_path: Path
) -> None:
    """The files are good and pg_restore says all is well, but rows are missing afterwards."""
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shop.server.bin_dir
    (tools / "pg_dump").symlink_to(real / "pg_dump")
    (tools / "pg_restore").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_restore --version\n'
        f'{real}/pg_restore "$@" && exec {real}/psql -qc "DELETE FROM child WHERE a = 2"\n'
    )
    (tools / "pg_restore").chmod(0o755)
    result = run_module("db_restore", backup=backup.name, **{**arguments, "client_path": [str(tools)]})
    assert result["failed"]
    assert "Table public.child has 1 rows, it had 2" in result["msg"]
    assert shop.relatives() == [shop.name]


@pytest.fixture
def newer_tools(shop: Any) -> str:
    """The folder of the newest tools that are here, where the server is older."""
    if shop.server.version == max(VERSIONS):
        pytest.skip("there are no tools here that are newer than this server")
    return str(Cluster(Path("unused"), max(VERSIONS), "unused").bin_dir)


def test_tools_that_are_newer_than_the_server(run_module: Any, arguments: Any, shop: Any, newer_tools: str) -> None:
    """pg_restore sets transaction_timeout from 17 on, which an older server refuses; that is all that goes wrong."""
    arguments = {**arguments, "client_path": [newer_tools]}
    backup = run_module("db_backup", verify="restore", checkpoint=False, **arguments)
    assert not backup["failed"], backup
    restored = run_module("db_restore", backup=backup["backup_id"], name=f"{shop.name}__again", **arguments)
    assert not restored["failed"], restored
    assert restored["verified"]
    shop.execute("DELETE FROM child WHERE a = 2")
    keep = {"keep_dir": str(Path(arguments["backup_dir"]).parent / "kept"), "tables": ["child"]}
    recovered = run_module("table_recovery", backup=backup["backup_id"], mode="insert_missing", **keep, **arguments)
    assert not recovered["failed"], recovered
    assert shop.execute("SELECT count(*) FROM child WHERE a = 2") == [(1,)]


REFUSED = "could not execute query: ERROR:  no such parameter\nCommand was: SET transaction_timeout = 0;\n"
ENDED = "pg_restore: warning: errors ignored on restore: 1\n"


@pytest.mark.parametrize(
    ("said", "well"),
    [
        (f"pg_restore: error: {REFUSED}{ENDED}", True),
        (f"pg_restore: pg_restore: error: error: {REFUSED}{REFUSED}{ENDED}", True),  # two jobs at the same moment
        (f"pg_restore: error: {REFUSED}", False),  # it did not get to its end
        (f"pg_restore: error: {REFUSED}pg_restore: error: could not read: cut\n{ENDED}", False),
        (f"pg_restore: error: {REFUSED.replace('transaction_timeout', 'search_path')}{ENDED}", False),
        ("", False),
    ],
)
def test_what_newer_tools_may_say(said: str, well: bool) -> None:
    assert only_refused(said, ["transaction_timeout"]) is well


def test_newer_tools_with_an_error_of_their_own(
    run_module: Any, arguments: Any, shop: Any, newer_tools: str, tmp_path: Path
) -> None:
    """They do not stop at the first error there; any other one is one all the same."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "pg_dump").symlink_to(f"{newer_tools}/pg_dump")
    (tools / "pg_restore").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {newer_tools}/pg_restore --version\n'
        f'case "$*" in *--dbname=*) psql=1;; esac\n'
        f'[ "$psql" ] && {shop.server.bin_dir}/psql -qc "CREATE VIEW child AS SELECT 1" \n'
        f'exec {newer_tools}/pg_restore "$@"\n'
    )
    (tools / "pg_restore").chmod(0o755)
    backup = run_module("db_backup", checkpoint=False, **{**arguments, "client_path": [newer_tools]})
    refused = run_module("db_restore", backup=backup["backup_id"], **{**arguments, "client_path": [str(tools)]})
    assert "already exists" in refused["msg"]
    assert "dropped again" in refused["msg"]
    assert shop.relatives() == [shop.name]


def test_restore_that_hangs_is_ended_and_dropped(
    run_module: Any, arguments: Any, shop: Any, backup: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    real = shop.server.bin_dir
    (tools / "pg_dump").symlink_to(real / "pg_dump")
    (tools / "pg_restore").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real}/pg_restore --version\nsleep 60\n'
    )
    (tools / "pg_restore").chmod(0o755)
    result = run_module("db_restore", backup=backup.name, deadline=1, **{**arguments, "client_path": [str(tools)]})
    assert result["failed"]
    assert "did not end within 1 seconds" in result["msg"]
    assert "dropped again" in result["msg"]
    assert shop.relatives() == [shop.name]


def test_unknown_backup(run_module: Any, arguments: Any, backup: Path) -> None:
    result = run_module("db_restore", backup="../backups", **arguments)
    assert result["failed"]
    result = run_module("db_restore", backup="nothing", **arguments)
    assert "There is no backup 'nothing'" in result["msg"]
    assert backup.name in result["msg"]
