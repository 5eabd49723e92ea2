# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions on a database that were opened before it closed, and go on reading it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from copy import copy
from typing import TYPE_CHECKING

from .connection import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection as Connection

JOBS = 2
"""How many of them read at the same time; one more exports the snapshot."""


class _Inside(Server):
    """A server that hands out sessions on one database which were opened before it closed."""

    def __init__(self, server: Server, connections: list[Connection]) -> None:  # super has nothing to do: it is a copy
        vars(self).update(vars(copy(server)))
        self._free = connections

    @contextmanager
    def connect(
        self, database: str | None = None, *, autocommit: bool = False, only_system_names: bool = False
    ) -> Iterator[Connection]:
        """Lend one of the sessions, and take it back with no transaction open."""
        if database not in (None, self.database):
            with super().connect(database, autocommit=autocommit, only_system_names=only_system_names) as connection:
                yield connection
            return
        connection = self._free.pop()
        try:
            yield connection
        finally:
            connection.rollback()
            self._free.append(connection)


@contextmanager
def inside(server: Server, sessions: int = JOBS + 1) -> Iterator[tuple[Server, list[int]]]:
    """Open sessions on the server's database, to go on reading it when it is closed.

    Args:
        server: the server.
        sessions: how many; a fingerprint takes one more than it has jobs.

    Yields:
        The server as seen from inside, and the pids of its sessions.
    """
    with ExitStack() as stack:
        connections = [stack.enter_context(server.connect(only_system_names=True)) for _number in range(sessions)]
        yield _Inside(server, connections), [connection.info.backend_pid for connection in connections]
