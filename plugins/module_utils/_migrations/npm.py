# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine npm: a project's own npm scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._domain.errors import Refused
from .._domain.migration_files import MigrationFile
from . import Engine
from .down_parser import prove_downs
from .state_table import make_state_table

DEFAULT_SCRIPTS = {"down": "migrate:down", "up": "migrate", "status": "migrate:status"}

QUIET = {
    "NO_COLOR": "1",
    "NO_UPDATE_NOTIFIER": "1",
    "npm_config_audit": "false",
    "npm_config_fund": "false",
    "npm_config_logs_max": "0",
    "npm_config_offline": "true",
    "npm_config_update_notifier": "false",
}


class NpmEngine(Engine):
    """A project whose migrations are run by npm scripts.

    Args:
        options: C(engine_options) of M(balcon.rollback.migration_info).

    Raises:
        Refused: an option is missing or wrong.
    """

    authority_variable = "NODE_EXTRA_CA_CERTS"

    def __init__(self, options: Mapping[str, Any]) -> None:
        if not options.get("project_dir"):
            raise Refused(
                "The engine npm needs project_dir, the folder with the project's package.json.",
                untouched="Nothing was touched.",
                remedy="Set project_dir of rollback_engine_options.",
            )
        self.folder = Path(options["project_dir"])
        self.state_table = make_state_table(options)
        self.url_variable = options.get("url_variable") or "DATABASE_URL"
        self.path_folder = options.get("node_path") or ""
        self.defaults = QUIET
        manifest = options.get("manifest")
        self.manifest = self.folder / manifest if manifest else None
        self.migrations = self.folder / (options.get("migrations_dir") or "migrations")
        self._extension = options.get("extension") or ""
        self._pattern = options.get("pattern") or "*"
        self._scripts = {**DEFAULT_SCRIPTS, **(options.get("scripts") or {})}

    def check(self) -> None:
        """Check the folder, its package.json, its installed packages and its migrations.

        Raises:
            Refused: one is missing.
        """
        self._package()
        if not (self.folder / "node_modules").is_dir():
            raise _missing(f"{self.folder} has no node_modules", "Install the project's packages there: npm ci")
        if not self.migrations.is_dir():
            raise _missing(
                f"There is no folder {self.migrations} with migrations",
                "Set migrations_dir of rollback_engine_options, relative to project_dir.",
            )

    def command(self, verb: str) -> list[str]:
        """Return C(npm run) with the script for a verb.

        Raises:
            Refused: package.json has no such script.
        """
        script = self._scripts.get(verb, "")
        scripts = self._package().get("scripts") or {}
        if script not in scripts:
            raise _missing(
                f"{self.folder / 'package.json'} has no script {script or verb!r}; it has "
                f"{', '.join(sorted(scripts)) or 'none'}",
                f"Set scripts.{verb} of rollback_engine_options to the name of the script.",
            )
        return ["npm", "run", "--silent", script]

    def has_command(self, verb: str) -> bool:
        """Tell whether package.json has the script for a verb."""
        return self._scripts.get(verb, "") in (self._package().get("scripts") or {})

    def available(self) -> dict[str, Path]:
        """Return the files in the folder of migrations, sorted by name; the name loses C(extension)."""
        found: dict[str, Path] = {}
        for path in sorted(self.migrations.glob(self._pattern), key=lambda entry: entry.name):
            wanted = path.is_file() and not path.name.startswith(".") and not path.name.endswith(".d.ts")
            if wanted and path.name.endswith(self._extension):
                found[path.name[: len(path.name) - len(self._extension)]] = path
        return found

    def prove_downs(self, files: Sequence[MigrationFile]) -> dict[str, tuple[str, str]]:
        """Parse the files with the TypeScript of the project's own packages."""
        return prove_downs(files, self.folder, self.path_folder)

    def _package(self) -> dict[str, Any]:
        path = self.folder / "package.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise _missing(f"There is no {path}", "Set project_dir of rollback_engine_options.") from None
        except (OSError, ValueError) as error:
            raise _missing(f"{path} cannot be read: {error}", "Check the project's checkout.") from None
        return content if isinstance(content, dict) else {}


def _missing(fact: str, remedy: str) -> Refused:
    return Refused(f"{fact}.", untouched="Nothing was touched.", remedy=remedy)
