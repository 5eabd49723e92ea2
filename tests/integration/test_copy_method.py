# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the files of a copy are made: shared where server and file system can, and the result says which."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from copy_on_write import Unavailable, copy_on_write
from embedded_postgresql import Cluster
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.copy_method import copy_files

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database

MEGABYTE = 1024**2


def test_the_result_says_how_the_files_were_copied(
    database: Database, run_module: ModuleRunner, tmp_path: Path
) -> None:
    window = Window(database.url, tmp_path, run_module)
    window.advance_to("closed")
    made = window.module("db_clone", purpose="candidate")
    assert made["file_copy_method"] == ("clone" if database.server.version >= 18 else "copy")
    assert window.module("db_clone", purpose="candidate")["file_copy_method"] is None


@pytest.mark.newest_server
def test_where_the_files_cannot_be_shared_they_are_copied(database: Database) -> None:
    tried: list[str] = []
    with database.session() as connection, connection.cursor() as cursor:

        def create() -> None:
            cursor.execute("SHOW file_copy_method")
            tried.append(cursor.fetchall()[0][0])
            if tried[-1] == "clone":
                cursor.execute("DO $$ BEGIN RAISE 'could not clone file: Operation not supported' "
                               "USING ERRCODE = 'internal_error'; END $$")  # fmt: skip

        assert copy_files(cursor, create) == "copy"
    assert tried == ["clone", "copy"]


@pytest.mark.newest_server
def test_another_error_is_no_reason_to_copy_again(database: Database) -> None:
    tried: list[int] = []
    with database.session() as connection, connection.cursor() as cursor:

        def create() -> None:
            tried.append(1)
            cursor.execute("DO $$ BEGIN RAISE 'No space left on device' USING ERRCODE = 'disk_full'; END $$")

        with pytest.raises(psycopg2.errors.DiskFull):
            copy_files(cursor, create)
    assert tried == [1]


def used(folder: Path) -> int:
    os.sync()
    room = os.statvfs(folder)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


@pytest.fixture
def shared_blocks() -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(copy_on_write(1200))
        except Unavailable as error:
            pytest.skip(str(error))
        yield folder


def test_a_copy_on_xfs_takes_no_room(shared_blocks: Path, run_module: ModuleRunner, tmp_path: Path) -> None:
    cluster = Cluster(shared_blocks / "server", 18, "copy-on-write")
    cluster.create()
    try:
        cluster.start(settings={"max_wal_size": "200MB"})
        connection = psycopg2.connect(cluster.superuser_url())
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        window = Window(cluster.superuser_url("shop"), tmp_path, run_module)
        with psycopg2.connect(cluster.superuser_url("shop")) as filling, filling.cursor() as rows:
            rows.execute("CREATE TABLE items AS SELECT n, repeat('x', 800) FROM generate_series(1, 100000) AS n")
        filling.close()
        cursor.execute("CHECKPOINT")
        window.advance_to("closed")
        before = used(shared_blocks)
        made = window.module("db_clone", purpose="candidate")
        assert made["file_copy_method"] == "clone"
        assert made["bytes"] > 80 * MEGABYTE
        assert used(shared_blocks) - before < 60 * MEGABYTE  # new write-ahead log at most
        connection.close()
    finally:
        cluster.destroy()
