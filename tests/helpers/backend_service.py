# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The example backend as a process that tests and release switches start, stop and talk to.

    python tests/helpers/backend_service.py FOLDER stop
    python tests/helpers/backend_service.py FOLDER CHECKOUT

Everything stands in FOLDER: C(api.json) holds its environment, which has the database's password.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "demo"))
from service import Service, write_private

COMMAND = ["node", "--import", "tsx", "src/server.ts"]
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Backend:
    """The backend on a port of its own.

    Args:
        folder: an existing private folder.
    """

    folder: Path

    @classmethod
    def install(cls, folder: Path, environment: dict[str, str]) -> Backend:
        """Choose a port, and remember the environment; starts nothing."""
        folder.mkdir(mode=0o700, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        write_private(folder / "api.json", json.dumps({**environment, "HOST": "127.0.0.1", "PORT": port}))
        return cls(folder)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._environment()['PORT']}"

    def start(self, checkout: Path, **variables: str) -> None:
        """Have one release run, and no other; with more variables than its environment has."""
        self.stop()
        environment = {**self._environment(), **variables}
        Service(self.folder / "pid.json").start(
            COMMAND, folder=checkout, environment=environment, log=self.folder / "api.log"
        )
        self.wait()

    def stop(self) -> None:
        """End it."""
        Service(self.folder / "pid.json").stop()

    def wait(self) -> None:
        """Wait until it answers; one that ended is said with the end of its log."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.ask("/api/health")
            except (URLError, ConnectionError):
                if time.monotonic() > deadline or Service(self.folder / "pid.json").pid() is None:
                    raise RuntimeError((self.folder / "api.log").read_text()[-2000:]) from None
                time.sleep(0.05)
            else:
                return

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask it, or have it write; an answer with an error's status is raised."""
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + path, data=data, headers=headers)  # noqa: S310  # our own
        with build_opener(ProxyHandler({})).open(request, timeout=5) as response:
            content: dict[str, Any] = json.load(response)
        return content

    def switch(self, *arguments: str) -> list[str]:
        """The command that does to it what C(arguments) say."""
        return [sys.executable, str(Path(__file__).resolve()), str(self.folder), *arguments]

    def _environment(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.folder / "api.json").read_text())
        return content


def main(folder: str, what: str, *then: str) -> None:
    """Do what the command line says; C(then) is the title of a project that somebody creates right afterwards."""
    backend = Backend(Path(folder))
    if what == "stop":
        backend.stop()
        return
    backend.start(Path(what))
    for title in then:
        backend.ask("/api/projects", {"title": title})


if __name__ == "__main__":
    main(*sys.argv[1:])
