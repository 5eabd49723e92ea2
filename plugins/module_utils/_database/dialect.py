# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which database a URL leads to: the one place that chooses between PostgreSQL and SQLite.

A module does its work through `in_dialect`; what it does on SQLite stands under the module's name in `sqlite.steps`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    Work = Callable[[AnsibleModule], Mapping[str, Any]]

SQLITE = "sqlite:"

RECORDED = {"stopped": "stop_release", "older": "release"}
"""Steps of a run that a switch of the application's release takes."""


def is_sqlite(database_url: str) -> bool:
    """Tell whether a URL names an SQLite file."""
    return database_url.startswith(SQLITE)


def in_dialect(module: AnsibleModule, name: str, postgresql: Work) -> Mapping[str, Any]:
    """Do a module's work in the dialect of its C(database_url).

    Args:
        module: a module whose arguments include `_argspec.DATABASE`.
        name: the module's name.
        postgresql: its work on PostgreSQL.
    """
    if not is_sqlite(module.params["database_url"]):
        return postgresql(module)
    from .sqlite.steps import do_step

    return do_step(module, name)


class Window:
    """The run that has a database in its window, as far as a switch of the application's release asks for it.

    Args:
        params: a module's parameters, with those of `_argspec.DATABASE` and `_argspec.RUN`.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._params = params
        self._sqlite = is_sqlite(params["database_url"])

    def check_release(self, wish: str) -> None:
        """Check that the release may be switched now, see `_domain.release.check_release`.

        Raises:
            Refused: the state of the run does not allow it, or another run is open.
        """
        from .._domain.release import check_release

        params = self._params
        if self._sqlite:
            from .sqlite.database_file import DatabaseFile
            from .sqlite.run_state import locked as locked_file

            file = DatabaseFile(params["database_url"], params["project_dir"])
            with locked_file(file) as description:
                check_release(wish, params["run_id"], file.database, description)
            return
        from .postgresql.connection import Server
        from .postgresql.run_state import locked

        server = Server(params["database_url"], params["admin_url"])
        with locked(server) as (_cursor, description):
            check_release(wish, params["run_id"], server.database, description)

    def note_release(self, wish: str) -> None:
        """Put on record, in the run's state, that the newer release is being stopped, or that the older one is healthy.

        Raises:
            Refused: the run is not in the state that allows it, or its lease has run out.
        """
        params = self._params
        if wish not in RECORDED or not params["run_id"]:
            return
        if self._sqlite:
            from .sqlite.database_file import DatabaseFile
            from .sqlite.run_state import advance as advance_file

            file = DatabaseFile(params["database_url"], params["project_dir"])
            advance_file(file, params["run_id"], RECORDED[wish])
            return
        from .postgresql.connection import Server
        from .postgresql.run_state import advance

        advance(Server(params["database_url"], params["admin_url"]), params["run_id"], RECORDED[wish])

    def heartbeat(self) -> AbstractContextManager[Any]:
        """Renew the run's lease while something long works; an SQLite file is open meanwhile, and has none to lose."""
        if self._sqlite:
            from contextlib import ExitStack

            return ExitStack()
        from .postgresql.connection import Server
        from .postgresql.run_state import Heartbeat

        params = self._params
        return Heartbeat(Server(params["database_url"], params["admin_url"]), params["run_id"])
