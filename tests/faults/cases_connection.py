# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that are lost: controller to target (a real sshd), target to database (sessions ended, a proxy cut)."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from ssh_server import SSHD, SshServer, ssh_server

from . import processes
from .case import AFTER, BEFORE, HELD, LEASE, Act, Case, NotHere
from .moments import BEFORE_THE_SWAP, INSIDE, START, inside
from .trial import Trial

CUT_SECONDS = 4.0
SEVERAL = 6

# -- sessions that are ended ----------------------------------------------------------------------------------------


def _sessions_ended_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            trial.end_our_sessions()

    return fault


def _sessions_ended_all_the_time(trial: Trial) -> None:
    """End every session of ours again and again, from the candidate on, until that has hit several."""
    trial.playbook.go()
    ended = 0
    while ended < SEVERAL and trial.playbook.process.poll() is None:
        ended += trial.end_our_sessions()
        time.sleep(0.05)


# -- a proxy that is cut --------------------------------------------------------------------------------------------


class Proxy:
    """A TCP proxy on the loopback address in front of a port; it can be cut, and healed."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cut = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serve until the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join()
            self._close_all()
            self._listener.close()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._cut.set()

    def heal(self) -> None:
        """Take connections again."""
        self._cut.clear()

    def _serve(self) -> None:
        while not self._over.is_set():
            if self._cut.is_set():
                self._close_all()
            known = {end: other for pair in self._pairs for end, other in (pair, pair[::-1])}
            readable = select.select([self._listener, *known], [], [], 0.05)[0]
            for end in readable:
                if end is self._listener:
                    self._accept()
                else:
                    self._pass_on(end, known[end])

    def _accept(self) -> None:
        client = self._listener.accept()[0]
        if self._cut.is_set():
            client.close()
            return
        with contextlib.suppress(OSError):
            self._pairs.append((client, socket.create_connection(("127.0.0.1", self._target), timeout=5)))
            return
        client.close()

    def _pass_on(self, end: socket.socket, other: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(65536)
            other.sendall(data)
        if not data:
            self._close(lambda pair: end in pair)

    def _close_all(self) -> None:
        self._close(lambda _pair: True)

    def _close(self, wanted: object) -> None:
        for pair in [pair for pair in self._pairs if callable(wanted) and wanted(pair)]:
            self._pairs.remove(pair)
            for end in pair:
                end.close()


_PROXIES: dict[Path, Proxy] = {}


def _behind_proxy(trial: Trial) -> None:
    cluster = trial.ground.scene.cluster("production")
    proxy = trial.endings.enter_context(Proxy(cluster.port).running())
    url = trial.ground.scene.url("production").replace(f":{cluster.port}/", f":{proxy.port}/")
    trial.changes["production"]["rollback_database_url"] = url
    _PROXIES[trial.folder] = proxy


def _cut_at_start(trial: Trial) -> None:
    """Cut the way to the database before a phase, for good as far as the run can tell; heal it when that is over."""
    proxy = _PROXIES[trial.folder]
    proxy.cut()
    trial.playbook.wait()
    proxy.heal()


def _cut_for_a_moment_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with contextlib.suppress(psycopg2.Error), inside(trial, INSIDE[phase]):
            _PROXIES[trial.folder].cut()
            time.sleep(CUT_SECONDS)
            _PROXIES[trial.folder].heal()

    return fault


# -- ssh ------------------------------------------------------------------------------------------------------------

_SERVERS: dict[Path, SshServer] = {}


def _sshd_can_be_had() -> str:
    there = Path(SSHD).exists() or (os.geteuid() == 0 and shutil.which("apt-get"))
    return "" if there else "no sshd is installed, and none can be: apt-get install openssh-server"


def _through_ssh(trial: Trial) -> None:
    try:
        server = trial.endings.enter_context(ssh_server())
    except pytest.skip.Exception as skipped:
        raise NotHere(str(skipped)) from None
    trial.changes["production"].update(server.variables)
    _SERVERS[trial.folder] = server


def _through_ssh_to(phase: str) -> Act:
    def prepare(trial: Trial) -> None:
        _through_ssh(trial)
        INSIDE[phase].prepare(trial)

    return prepare


def _drop_ssh(trial: Trial) -> None:
    """End sshd and the processes of all its connections; what runs on the host goes on, with nobody to talk to."""
    server = _SERVERS[trial.folder].process
    connections = [member for member in processes.family(server.pid) if "sshd" in member.program]
    processes.kill(connections)


def _drop_ssh_in(phase: str) -> Act:
    def fault(trial: Trial) -> None:
        with inside(trial, INSIDE[phase]):
            _drop_ssh(trial)

    return fault


CASES: list[Case] = [
    *(
        Case(
            f"sessions-ended-in-{phase.replace('_', '-')}",
            f"pg_terminate_backend of ours, {phase.replace('_', ' ')}: {INSIDE[phase].words}",
            (BEFORE,) if phase in BEFORE_THE_SWAP else (BEFORE, HELD),
            _sessions_ended_in(phase),
            INSIDE[phase].prepare,
            stand=INSIDE[phase].stand,
        )
        for phase in ("back_up", "candidate", "verify", "swap", "reopen")
    ),
    Case(
        "sessions-ended-in-migrate-down", "pg_terminate_backend of ours while the tool works", (BEFORE, AFTER),
        _sessions_ended_in("migrate_down"), INSIDE["migrate_down"].prepare, stand=START["migrate_down"],
    ),
    Case(
        "sessions-ended-all-the-time", f"{SEVERAL} sessions of ours ended, from the candidate on",
        (BEFORE, AFTER),
        _sessions_ended_all_the_time, stand=START["candidate"], lease=LEASE,
    ),
    *(
        Case(
            f"proxy-cut-at-{phase.replace('_', '-')}", f"target to database cut before {phase}, until the run is over",
            (BEFORE,), _cut_at_start, _behind_proxy, stand=START[phase], lease=LEASE,
        )
        for phase in ("close", "candidate", "verify", "swap")
    ),
    Case(
        "proxy-cut-after-the-swap", "target to database cut after the swap, until the run is over",
        (AFTER, BEFORE, HELD),
        _cut_at_start, _behind_proxy, stand=START["reopen"], lease=LEASE,
    ),
    Case(
        "proxy-cut-for-a-moment", f"target to database cut for {CUT_SECONDS:g} s inside verify", (BEFORE,),
        _cut_for_a_moment_in("verify"), _behind_proxy, stand=START["verify"],
    ),
    *(
        Case(
            f"ssh-dropped-in-{phase.replace('_', '-')}",
            f"controller to target, {phase.replace('_', ' ')}: {INSIDE[phase].words}",
            {"swap": (BEFORE, AFTER), "reopen": (AFTER,)}.get(phase, (BEFORE,)), _drop_ssh_in(phase),
            _through_ssh_to(phase),
            stand=INSIDE[phase].stand, lease=LEASE, needs=_sshd_can_be_had,
        )
        for phase in ("back_up", "close", "migrate_down", "swap", "reopen")
    ),
]  # fmt: skip
