# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that the demo and the tests stand on."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import embedded_postgresql
import psycopg2
import pytest
from embedded_postgresql import VERSIONS, Cluster, ClusterError


@pytest.fixture(scope="module", params=VERSIONS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One cluster of each version for the whole file; each test finds it as `running` left it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        cluster = Cluster(Path(folder) / "a folder's name, with signs", request.param, "trial")
        yield cluster
        cluster.destroy()


@pytest.fixture
def running(cluster: Cluster) -> Cluster:
    cluster.create()
    cluster.start(settings={"fsync": False, "shared_buffers": "16MB"})
    return cluster


def ask(cluster: Cluster, question: str) -> str:
    connection = psycopg2.connect(cluster.superuser_url())
    try:
        with connection.cursor() as cursor:
            cursor.execute(question)
            row = cursor.fetchone()
            assert row
            return str(row[0])
    finally:
        connection.close()


def test_runs_the_version_asked_for(running: Cluster) -> None:
    assert running.running
    assert ask(running, "SHOW server_version").startswith(str(running.version))
    assert ask(running, "SHOW server_encoding") == "UTF8"
    assert ask(running, "SHOW data_checksums") == "on"


def test_keeps_port_data_and_settings_over_a_crash(running: Cluster) -> None:
    port = running.port
    connection = psycopg2.connect(running.superuser_url())
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer; CHECKPOINT")
    connection.close()
    running.stop("immediate")
    assert not running.running
    running.create()
    running.start()
    assert running.port == port
    assert ask(running, "SELECT answer FROM kept") == "42"
    assert ask(running, "SHOW fsync") == "off"


def test_can_be_stopped_by_another_process(running: Cluster) -> None:
    program = (
        "import sys; from pathlib import Path; from embedded_postgresql import Cluster;"
        "Cluster(Path(sys.argv[1]), int(sys.argv[2]), 'trial').stop()"
    )
    subprocess.run(
        [sys.executable, "-c", program, running.folder, str(running.version)],
        check=True,
        cwd=Path(embedded_postgresql.__file__).parent,
    )
    assert not running.running
    running.stop()


def test_has_left_the_process_group_that_ctrl_c_goes_to(running: Cluster) -> None:
    postmaster = int((running.data_dir / "postmaster.pid").read_text().split()[0])
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    own = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    group, session = fields[2], fields[3]
    assert (group, session) != (own[2], own[3])
    assert session != own[3]


def test_lets_nobody_in_without_the_password(running: Cluster) -> None:
    assert stat.S_IMODE(running.password_file.stat().st_mode) == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(running.url("postgres", "wrong", "postgres"))


def test_takes_another_port_when_its_own_is_gone(running: Cluster) -> None:
    running.stop()
    with socket.create_server((embedded_postgresql.HOST, running.port)) as squatter:
        taken = squatter.getsockname()[1]
        with pytest.raises(ClusterError, match="taken by another program"):
            running.start(port=taken)
        running.start()
        assert running.port != taken


def test_says_why_it_does_not_start(running: Cluster) -> None:
    running.stop()
    with pytest.raises(ClusterError, match="max_connections"):
        running.start(settings={"max_connections": "plenty"})
    running.start(settings={})


@pytest.mark.parametrize("version", VERSIONS)
def test_says_what_to_do_first(version: int, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "none", version, "none")
    assert not cluster.running
    with pytest.raises(ClusterError, match=r"call create\(\) first"):
        cluster.start()


def test_leaves_nothing_behind(running: Cluster) -> None:
    data = running.data_dir
    running.destroy()
    assert not data.exists()
    assert not running.folder.exists()
    running.destroy()


def test_refuses_a_version_that_it_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="There is no embedded PostgreSQL 9"):
        Cluster(tmp_path, 9, "old")


def test_encodes_urls(running: Cluster) -> None:
    url = running.url("us/er", "p@ss :/%", "a b")
    assert url == f"postgresql://us%2Fer:p%40ss%20%3A%2F%25@127.0.0.1:{running.port}/a%20b"


def test_uses_a_runtime_folder_only_when_it_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid = tmp_path / "laid"
    laid.symlink_to(tmp_path)
    monkeypatch.setattr(embedded_postgresql, "_runtime_path", lambda: laid)
    with pytest.raises(ClusterError, match="was not made by this user"):
        embedded_postgresql._runtime_folder()
