# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in its window, for tests: its folder, its journal, and its steps up to a state."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.access import close_database
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.clone import clone_candidate
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.connection import Server
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.relatives import admits
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.run_state import (
    advance,
    locked,
    read_comment,
)
from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.swap import swap_in
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import derived_name
from ansible_collections.balcon.rollback.plugins.module_utils._run import Run

if TYPE_CHECKING:
    from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description
    from tests.conftest import ModuleRunner

RUN_ID = "20261123t081500a3f9"
OTHER_RUN_ID = "20261123t091500b4e8"
GATE = ("preflight", "gate", "back_up")


class Window:
    """A run on a database.

    Args:
        url: the database, as its owner.
        state_dir: an empty private folder.
        run_module: runs a module of the collection.
        run_id: the run's name.
    """

    def __init__(self, url: str, state_dir: Path, run_module: ModuleRunner, run_id: str = RUN_ID) -> None:
        self.server = Server(url)
        self.run = Run(state_dir, run_id)
        self._run_module = run_module
        self._url = url
        state_dir.chmod(0o700)
        self.run.create()

    @property
    def arguments(self) -> dict[str, str]:
        """What every module of a run is given."""
        return {
            "database_url": self._url,
            "run_id": self.run.run_id,
            "state_dir": str(self.run.state_dir),
            "phase": "reopen",
        }

    def pass_gate(self) -> Window:
        """Let the journal show what closing takes."""
        for phase in GATE:
            self.run.record(phase, "passed")
        return self

    def module(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a module for this run."""
        return self._run_module(name, **{**self.arguments, **arguments})

    def advance_to(self, state: str, lease_seconds: int = 120) -> None:
        """Take the steps of the window up to a state, without keeper and journal."""
        steps: Mapping[str, Callable[[], object]] = {
            "closed": lambda: close_database(self.server, self.run.run_id, lease_seconds),
            "candidate": lambda: clone_candidate(self.server, self.run.run_id),
            "migrating": lambda: advance(self.server, self.run.run_id, "begin_migration"),
            "migrated": lambda: advance(self.server, self.run.run_id, "end_migration"),
            "verified": lambda: advance(self.server, self.run.run_id, "verify"),
            "swapped": lambda: swap_in(self.server, self.run.run_id),
        }
        names = list(steps)
        now = self.description()
        done = names.index(now.state) + 1 if now and now.state else 0
        for name in names[done : names.index(state) + 1]:
            steps[name]()

    def start(self, name: str, **arguments: Any) -> subprocess.Popen[str]:
        """Start a module for this run, for tests that kill it."""
        return self._run_module.start(name, **{**self.arguments, **arguments})

    def name(self, purpose: str) -> str:
        """Return the name of a database that this run makes."""
        return derived_name(self.server.database, purpose, self.run.run_id)

    def description(self, database: str | None = None) -> Description | None:
        """Return what a database says of itself."""
        with locked(self.server, database) as (_cursor, description):
            return description

    def comment(self, database: str | None = None) -> str | None:
        """Return a database's comment."""
        with self.server.admin() as connection, connection.cursor() as cursor:
            return read_comment(cursor, database or self.server.database)

    def is_open(self, database: str | None = None) -> bool | None:
        """Tell whether a database lets sessions in; None where there is none."""
        with self.server.admin() as connection, connection.cursor() as cursor:
            return admits(cursor, database or self.server.database)


def wait_until(condition: Callable[[], object], what: str, deadline: float = 60.0) -> None:
    """Wait for something that happens elsewhere; the deadline is for a broken world only."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"Not within {deadline:g} seconds: {what}")
        time.sleep(0.02)
