# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidate of a rollback that failed is dumped for study, and closed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from window import Window

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.restore import restore_original

if TYPE_CHECKING:
    from tests.conftest import ModuleRunner
    from tests.integration.conftest import Database


@pytest.fixture
def window(database: Database, run_module: ModuleRunner, tmp_path: Path) -> Window:
    database.execute("CREATE TABLE items (n int PRIMARY KEY)")
    database.execute("INSERT INTO items VALUES (1), (2)")
    return Window(database.url, tmp_path, run_module).pass_gate()


def test_it_is_dumped_and_closed_again(window: Window, database: Database) -> None:
    window.advance_to("migrating")
    database.execute("DELETE FROM items WHERE n = 2", url=database.url_of(window.name("candidate")))
    restore_original(window.server, window.run.run_id)
    options = {
        "failed_candidate": True,
        "backup_dir": str(window.run.folder),
        "client_path": [str(database.server.bin_dir)],
        "phase": "restore",
    }
    assert window.module("db_backup", **options, check_mode=True)["changed"] is True
    dumped = window.module("db_backup", **options)
    assert not dumped["failed"], dumped
    assert (dumped["changed"], dumped["rows_total"]) == (True, 1)
    assert Path(dumped["manifest"]).parent.parent == window.run.folder
    assert window.is_open(window.name("failed")) is False
    assert window.module("db_backup", **options)["changed"] is False
    assert window.is_open() is True
    assert "backup_id" not in window.run.events()[-1]["data"]


def test_without_one_nothing_is_opened(window: Window, database: Database) -> None:
    refused = window.module(
        "db_backup",
        failed_candidate=True,
        backup_dir=str(window.run.folder),
        client_path=[str(database.server.bin_dir)],
    )
    assert refused["error"]["kind"] == "refused"
    assert database.relatives() == [database.name]
