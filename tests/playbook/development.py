# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A developer's checkout of the example backend with its SQLite file, and the real playbook on it: no server at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from ansible_collections.balcon.rollback.tests.playbook.scene import (
    DEADLINE_SECONDS,
    PROJECT,
    Outcome,
    at_terminal,
    clean_environment,
    kill_group,
    playbook_program,
)

BACKEND = PROJECT / "examples" / "backend"
HOST = "shop-development"
DATABASE = "enhanced_database.sqlite"


class Development:
    """A developer's machine.

    Args:
        folder: an empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "backend"
        self.path = self.project / DATABASE
        self.state_dir = folder / "state"
        self._numbers = count(1)

    def set(self) -> None:
        """Check the backend out, and fill its database by its own commands."""
        ignored = shutil.ignore_patterns("node_modules", "*.sqlite*")
        shutil.copytree(BACKEND, self.project, ignore=ignored)
        (self.project / "node_modules").symlink_to(BACKEND / "node_modules")
        self.state_dir.mkdir(mode=0o700)
        self.npm("migrate")
        self.npm("seed", "--", "--users", "5", "--projects", "40")

    def npm(self, script: str, *arguments: str) -> None:
        """Run one of the backend's scripts on the file."""
        environment = {**self.environment(), "DATABASE_URL": f"sqlite:./{DATABASE}", "HOME": str(self.folder)}
        done = subprocess.run(
            ["npm", "run", "--silent", script, *arguments],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def environment(self) -> dict[str, str]:
        """What the backend's commands need."""
        path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        return {"PATH": path, "NODE_ENV": "development", "JWT_SECRET": "a-secret-of-the-developer"}

    def add_migration(self, name: str, text: str) -> None:
        """Write a migration and its hash, and apply it."""
        (self.project / "migrations" / name).write_text(text)
        entries = [
            {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            for path in sorted((self.project / "migrations").iterdir())
        ]
        (self.project / "migration-manifest.json").write_text(json.dumps(entries))
        self.npm("migrate")

    def execute(self, statement: str) -> None:
        """Change the file by hand."""
        connection = sqlite3.connect(self.path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    def rows(self, query: str, path: Path | None = None) -> list[Any]:
        """What a query returns."""
        connection = sqlite3.connect(path or self.path)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def applied(self) -> list[str]:
        """What the state table lists."""
        return [name for (name,) in self.rows("SELECT name FROM migrations_meta ORDER BY 1")]

    def digest(self) -> str:
        """The hash of the file's bytes."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def beside(self) -> list[str]:
        """The names of what lies beside the file and bears its name."""
        return sorted(path.name for path in self.project.iterdir() if DATABASE in path.name and path != self.path)

    def play(self, *arguments: str, playbook: str = "rollback.yml", **changes: Any) -> Outcome:
        """Run a playbook with some arguments; the keywords are variables of the host that differ."""
        process = subprocess.Popen(
            [playbook_program(), *self._typed(arguments, playbook, changes)],
            cwd=PROJECT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        before = self._runs()
        try:
            output, _none = process.communicate(timeout=DEADLINE_SECONDS)
        finally:
            kill_group(process)
        return self._outcome(process.returncode, output, before)

    def ask(self, answer: str, *arguments: str, playbook: str = "rollback.yml", **changes: Any) -> Outcome:
        """Run a playbook at a terminal, as a person does, and type an answer when it asks."""
        before = self._runs()
        exit_code, output = at_terminal(answer, self._typed(arguments, playbook, changes))
        return self._outcome(exit_code, output, before)

    def _typed(self, arguments: Sequence[str], playbook: str, changes: dict[str, Any]) -> list[str]:
        words = [part for word in arguments for part in (["-e", word] if not word.startswith("-") else [word])]
        return ["-i", str(self._inventory(changes)), playbook, *words]

    def _runs(self) -> list[Path]:
        return sorted((self.state_dir / "runs").glob("*"))

    def _outcome(self, exit_code: int, output: str, before: list[Path]) -> Outcome:
        new = [folder for folder in self._runs() if folder not in before]
        records = [json.loads((folder / "run.json").read_text()) for folder in new if (folder / "run.json").exists()]
        return Outcome(exit_code, output, records, new)

    def _inventory(self, changes: dict[str, Any]) -> Path:
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "rollback_kind": "development",
            "rollback_database_url": f"sqlite:./{DATABASE}",
            "rollback_state_dir": str(self.state_dir),
            "rollback_project_dir": str(self.project),
            "rollback_engine_options": {"table": "migrations_meta", "manifest": "migration-manifest.json"},
            "rollback_environment": self.environment(),
            "rollback_watch_seconds": 0,
            **changes,
        }
        host = {name: value for name, value in variables.items() if value is not None}
        path = self.folder / f"inventory-{next(self._numbers)}.yml"
        path.write_text(json.dumps({"all": {"children": {"development": {"hosts": {HOST: host}}}}}))
        return path
