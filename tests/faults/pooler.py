# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PgBouncer on a free loopback port, in front of one database."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

PGBOUNCER = "/usr/sbin/pgbouncer"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "pgbouncer"]

_CONFIGURATION = """
[databases]
{dbname} = host={host} port={port} dbname={dbname}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = session
default_pool_size = 20
server_login_retry = 1
server_reset_query =
ignore_startup_parameters = options
server_idle_timeout = 1
logfile = {folder}/pgbouncer.log
"""


def can_be_had() -> str:
    """Say why there is no PgBouncer here, or nothing; root installs it where that is possible."""
    if not Path(PGBOUNCER).exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    return "" if Path(PGBOUNCER).exists() else "no PgBouncer is installed, and none can be: apt-get install pgbouncer"


@contextlib.contextmanager
def pooler(server: Mapping[str, str]) -> Iterator[str]:
    """Run one in front of a database, with libpq's parameters; yields the URL that leads through it."""
    with tempfile.TemporaryDirectory(prefix="balcon-rollback-pooler-") as folder, _running(Path(folder), server) as url:
        yield url


@contextlib.contextmanager
def _running(folder: Path, server: Mapping[str, str]) -> Iterator[str]:
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own = free.getsockname()[1]
    password = server["password"].replace('"', '""')
    files = {
        "pgbouncer.ini": _CONFIGURATION.format(**server, own=own, folder=folder),
        "users.txt": f'"{server["user"]}" "{password}"\n',
    }
    for name, text in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
        os.chown(folder / name, account.pw_uid, account.pw_gid)
    os.chown(folder, account.pw_uid, account.pw_gid)
    process = subprocess.Popen(
        [PGBOUNCER, folder / "pgbouncer.ini"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, user=account.pw_uid, group=account.pw_gid,
        extra_groups=[] if os.geteuid() == 0 else None,
    )  # fmt: skip
    try:
        _wait_for(own, process, folder)
        user, name = quote(server["user"], safe=""), quote(server["dbname"], safe="")
        yield f"postgresql://{user}:{quote(server['password'], safe='')}@127.0.0.1:{own}/{name}"
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    log = folder / "pgbouncer.log"
    raise RuntimeError(f"PgBouncer does not start: {log.read_text()[-2000:] if log.exists() else process.returncode}")
