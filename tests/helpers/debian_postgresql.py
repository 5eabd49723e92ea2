# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's PostgreSQL, for what the embedded servers were built without: TLS, lz4, zstd and the extensions."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = "postgresql-15"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", PACKAGE]
PROGRAMS = "/usr/lib/postgresql/*/bin/initdb"


def programs() -> Path:
    """Return the folder of the newest installed server's programs; install one where that is allowed, else skip."""
    if not sorted(Path("/").glob(PROGRAMS.lstrip("/"))) and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    found = sorted(Path("/").glob(PROGRAMS.lstrip("/")), key=lambda path: int(path.parents[1].name))
    if not found:
        pytest.skip(f"No PostgreSQL of the system is installed, and it could not be: apt-get install {PACKAGE}")
    return found[-1].parent


class DebianServer:
    """A server of the system's PostgreSQL on a free loopback port; as root, it runs as nobody.

    Args:
        folder: an empty folder, which the server's account is given.
        settings: of the server, as C(postgres -c) takes them.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        self.bin_dir = programs()
        self.folder = folder
        self.data = folder / "data"
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.own(folder)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        given = [f"port={self.port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", *settings]
        self._options = " ".join(f"-c {setting}" for setting in given)
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def own(self, path: Path) -> None:
        """Give a file or folder to the server's account."""
        os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the programs as the server's account."""
        subprocess.run(
            [str(self.bin_dir / program), *arguments], check=True, cwd=self.folder, timeout=60,
            user=self._account.pw_uid, group=self._account.pw_gid, extra_groups=[] if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    def pg_ctl(self, action: str) -> None:
        """Start, stop or reload it."""
        start = ["-o", self._options, "-l", str(self.folder / "log")] if action == "start" else []
        how = [] if action == "reload" else ["-w"]
        self.run("pg_ctl", "-D", str(self.data), *how, *(["-m", "fast"] if action == "stop" else []), *start, action)


@contextmanager
def debian_server(settings: Sequence[str] = ()) -> Iterator[DebianServer]:
    """Make a server; whoever uses it starts it. It is gone at the end."""
    programs()
    folder = Path(tempfile.mkdtemp(prefix="balcon-rollback-debian-"))
    server = DebianServer(folder, settings)
    try:
        yield server
    finally:
        if (server.data / "postmaster.pid").exists():
            server.pg_ctl("stop")
        shutil.rmtree(folder, ignore_errors=True)
