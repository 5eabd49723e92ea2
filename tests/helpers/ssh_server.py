# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real sshd on a free loopback port, with keys of its own: the way from a controller to a host."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SSHD = "/usr/sbin/sshd"
INSTALL = ["apt-get", "install", "-y", "--no-install-recommends", "openssh-server", "openssh-client"]

_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
"""


class SshServer(NamedTuple):
    """A running server, and what Ansible is told to reach it."""

    process: subprocess.Popen[bytes]
    variables: dict[str, str]


@contextlib.contextmanager
def ssh_server() -> Iterator[SshServer]:
    """Run an sshd that lets in whoever runs the tests; skips where there is none and none can be installed."""
    if not Path(SSHD).exists() and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(INSTALL, check=False, capture_output=True, timeout=240)
    if not Path(SSHD).exists():
        pytest.skip("No sshd is installed, and it could not be: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as root, sshd wants a folder to lock its child into
    with tempfile.TemporaryDirectory(prefix="balcon-ssh-") as folder, _running(Path(folder)) as server:
        yield server


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[SshServer]:
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = folder / "sshd_config"
    configuration.write_text(_CONFIGURATION.format(port=port, folder=folder))
    process = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", configuration], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(port, process)
        _check_account(port, folder)
        yield SshServer(
            process,
            {
                "ansible_connection": "ssh",
                "ansible_host": "127.0.0.1",
                "ansible_port": str(port),
                "ansible_user": getpass.getuser(),
                "ansible_ssh_private_key_file": str(folder / "user"),
                "ansible_ssh_args": f"-o ControlMaster=auto -o ControlPersist=2s -o ControlPath={folder}/%n",
                "ansible_ssh_common_args": (
                    "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
                ),
            },
        )
    finally:
        process.terminate()
        process.wait(timeout=20)


def _check_account(port: int, folder: Path) -> None:
    """Skip where this machine lets the account of the tests in by no key: one without any password counts as locked."""
    known = [
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
    ]
    command = ["ssh", *known, "-p", str(port), "-i", str(folder / "user"), f"{getpass.getuser()}@127.0.0.1", "true"]
    tried = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    if tried.returncode != 0:
        pytest.skip(f"sshd does not let {getpass.getuser()} in by a key: {tried.stderr.strip()}")


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError("sshd does not start")
        time.sleep(0.02)
