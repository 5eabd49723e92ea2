# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The candidate of a rollback that failed, opened for a moment so that it can be dumped for study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..._domain.names import derived_name
from .clone import check_made_by
from .relatives import admit
from .sessions import end_sessions

if TYPE_CHECKING:
    from .connection import Server


@contextmanager
def opened_for_study(server: Server, run_id: str) -> Iterator[Server]:
    """Open a run's failed candidate, and close it again however that ends.

    Args:
        server: the server, with the public name of the database.
        run_id: the run that failed.

    Yields:
        The same server, with the failed candidate as its database.

    Raises:
        Refused: this run left no such database.
    """
    name = derived_name(server.database, "failed", run_id)
    with server.admin() as connection, connection.cursor() as cursor:
        check_made_by(cursor, server, name, run_id, ("failed",))
        admit(cursor, name, True)
        try:
            yield server.beside(name)
        finally:
            admit(cursor, name, False)
            end_sessions(cursor, name)
