# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform of the demo: it knows two releases of the shop's API, and runs one of them.

    python examples/demo/deploy.py .demo/platform status|stop|older|newer|settle

``newer`` is the release that ran before the rollback, ``older`` the one to go back to. They keep these names until
``settle`` makes the one that runs the newer one, so that each command can be given twice: it is what
`rollback_release` asks of a platform.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import Service, write_private


class DeployError(RuntimeError):
    """The platform cannot do what it was told; the message says why."""


@dataclass(frozen=True)
class Platform:
    """One API, its releases, and which of them runs.

    Args:
        folder: holds ``api.json`` (how to start it; secret, as its environment holds the database's password) and
            ``releases.json`` (which one is the newer, which one the older, which one runs).
    """

    folder: Path

    @property
    def service(self) -> Service:
        """The API's process."""
        return Service(self.folder / "api.pid.json")

    def install(self, api: dict[str, Any], checkouts: list[Path]) -> None:
        """Set the platform up; starts nothing.

        Args:
            api: ``command``, ``environment`` and ``log``.
            checkouts: of all releases, newest first.
        """
        write_private(self.folder / "api.json", json.dumps(api))
        self._remember({"checkouts": [str(checkout) for checkout in checkouts], "newer": 0, "runs": None})

    def checkout(self, name: str) -> Path:
        """Return the checkout of ``newer`` or ``older``.

        Raises:
            DeployError: there is none that old.
        """
        releases = self._releases()
        index = releases["newer"] + (name == "older")
        if index >= len(releases["checkouts"]):
            raise DeployError("There is no older release: run 'make demo' to begin again with the newest one.")
        return Path(releases["checkouts"][index])

    def runs(self) -> str | None:
        """Return ``newer`` or ``older``, or None when the API does not run."""
        known: str | None = self._releases()["runs"]
        return known if self.service.pid() is not None else None

    def deploy(self, name: str) -> bool:
        """Have one release run, and no other; return whether that changed anything."""
        checkout = self.checkout(name)
        if self.runs() == name:
            return False
        self.stop()
        api = json.loads((self.folder / "api.json").read_text())
        self._remember({**self._releases(), "runs": name})
        self.service.start(api["command"], folder=checkout, environment=api["environment"], log=Path(api["log"]))
        return True

    def stop(self) -> bool:
        """Stop the API; return whether it ran."""
        return self.service.stop()

    def settle(self) -> bool:
        """Take the release that runs for the newer one from now on; return whether that changed anything."""
        if self.runs() != "older":
            return False
        releases = self._releases()
        self._remember({**releases, "newer": releases["newer"] + 1, "runs": "newer"})
        return True

    def _releases(self) -> dict[str, Any]:
        try:
            releases: dict[str, Any] = json.loads((self.folder / "releases.json").read_text())
        except FileNotFoundError:
            raise DeployError(f"There is no platform in {self.folder}: start it with 'make demo'.") from None
        return releases

    def _remember(self, releases: dict[str, Any]) -> None:
        """Write the releases down, with their folders by name for the inventory to read."""
        checkouts, newer = releases["checkouts"], releases["newer"]
        names = {"newer_checkout": checkouts[newer], "older_checkout": (checkouts[newer + 1 :] or [""])[0]}
        write_private(self.folder / "releases.json", json.dumps({**releases, **names}, indent=2) + "\n")


def main(arguments: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Run one of two releases of the demo's API.")
    parser.add_argument("folder", type=Path, help=".demo/platform")
    parser.add_argument("command", choices=["status", "stop", "older", "newer", "settle"])
    given = parser.parse_args(arguments)
    platform = Platform(given.folder.resolve())
    try:
        if given.command in ("older", "newer"):
            platform.deploy(given.command)
        elif given.command != "status":
            getattr(platform, given.command)()
        name = platform.runs()
        print(f"{name}: {platform.checkout(name).name}" if name else "stopped")
    except (DeployError, OSError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
