# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Round trips of real migrations on scratch databases of a real server."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from npm_project import BACKEND, node_folder

if TYPE_CHECKING:
    from conftest import Database  # type: ignore[import-not-found]  # pytest's own

    from tests.conftest import ModuleRunner

ENVIRONMENT = {"NODE_ENV": "test", "JWT_SECRET": "a secret of the tests, longer than most"}


def options(folder: Path = BACKEND, **more: Any) -> dict[str, Any]:
    return {"project_dir": str(folder), "manifest": "migration-manifest.json", "node_path": node_folder(), **more}


def test_the_example(run_module: ModuleRunner, database: Database) -> None:
    result = run_module(
        "migration_lint", engine_options=options(), environment=ENVIRONMENT, scratch_url=database.url, output="none"
    )
    print("\n".join(result.get("lines", [])))
    print(result.get("unproven"), result.get("seconds"), result.get("msg"), result.get("migrations"))
    assert 0
