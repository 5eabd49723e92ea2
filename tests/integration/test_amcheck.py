# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""amcheck finds what no query shows. The embedded servers come without it, so that this runs on Debian's server."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "postgresql-15"]
HAS_IT = "/usr/share/postgresql/*/extension/amcheck.control"


def servers() -> list[Path]:
    """The programs of installed servers that have amcheck, the newest last."""
    found = sorted(Path("/").glob(HAS_IT.lstrip("/")))
    folders = [Path("/usr/lib/postgresql") / path.parents[1].name / "bin" for path in found]
    return [folder for folder in folders if (folder / "initdb").exists()]


def programs() -> Path:
    """Find the server, or install it where that is allowed."""
    if not servers() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    if not servers():
        pytest.skip("No PostgreSQL with amcheck is installed, and it could not be: apt-get install postgresql-15")
    return servers()[-1]


@pytest.fixture(scope="module")
def debian() -> Iterator[Any]:
    """A server with amcheck, and ways to stop, damage and start it: ``(url, folder, pg_ctl)``."""
    bin_dir = programs()
    folder = Path(tempfile.mkdtemp(prefix="balcon-rollback-amcheck-"))
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(folder, account.pw_uid, account.pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [str(bin_dir / program), *arguments], check=True, cwd=folder, timeout=60, user=account.pw_uid,
            group=account.pw_gid, extra_groups=[] if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )  # fmt: skip

    data = folder / "data"
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"

    def pg_ctl(action: str) -> None:
        run("pg_ctl", "-D", str(data), "-w", "-m", "fast", *(["-o", options] if action == "start" else []), action)

    run("initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    pg_ctl("start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres", data, pg_ctl
    finally:
        pg_ctl("stop")
        shutil.rmtree(folder, ignore_errors=True)


def execute(url: str, statement: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_damaged_index_is_found(debian: Any, run_module: Any) -> None:
    url, data, pg_ctl = debian
    execute(url, "CREATE TABLE users (id int PRIMARY KEY, email text); CREATE INDEX users_email ON users (email)")
    execute(url, "INSERT INTO users SELECT i, 'u' || i FROM generate_series(1, 5000) AS i")
    amcheck = {"name": "amcheck", "done": False}
    before = run_module("db_assess", database_url=url)
    assert not before["failed"], before
    (check,) = [each for each in before["checks"] if each["name"] == "amcheck"]
    assert {**check, "reason": ""} == {**amcheck, "reason": ""}
    assert "CREATE EXTENSION amcheck" in check["reason"]

    execute(url, "CREATE EXTENSION amcheck")
    sound = run_module("db_assess", database_url=url)
    assert (sound["clean"], sound["findings"]) == (True, [])
    assert [each["done"] for each in sound["checks"] if each["name"] == "amcheck"] == [True]

    ((path,),) = execute(url, "SELECT pg_relation_filepath('users_email')")
    execute(url, "CHECKPOINT")
    pg_ctl("stop")
    with (data / path).open("r+b") as file:
        file.seek(8192 + 8192 - 400)  # the keys of the first leaf
        file.write(b"\x7a" * 200)
    pg_ctl("start")
    damaged = run_module("db_assess", database_url=url)
    assert not damaged["failed"], damaged
    broken = [(each["check"], each["object"]) for each in damaged["findings"] if each["severity"] == "broken"]
    assert broken == [("amcheck", "public.users_email")], damaged["lines"]
    assert not damaged["clean"]
