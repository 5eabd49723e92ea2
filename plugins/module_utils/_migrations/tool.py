# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a migration tool against one database, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._database.postgresql.connection import Server, make_url
from .._domain.errors import Failed
from .._domain.secrets import environment_secrets, url_secrets
from .._driver import psycopg2
from .._process import Finished, base_environment, check_finished, private_home, run_program
from .witness import witness

if TYPE_CHECKING:
    from . import Engine

_REMEDY = (
    "Run the same command by hand on a copy, with the environment of the inventory and nothing else; this"
    " database is not to be used as it is."
)


class Tool:
    """A project's migration tool, pointed at one database.

    Args:
        engine: the migration engine.
        server: the server with that database.
        database: its name.
        environment: the inventory's variables for the tool.
        watched: other servers on which a stray session of the tool would be noticed.
        lock_timeout: seconds that a statement of the tool waits for a lock.
        step_timeout: seconds that one command may take.
    """

    def __init__(
        self,
        engine: Engine,
        server: Server,
        database: str,
        environment: Mapping[str, object],
        *,
        watched: Sequence[Server] = (),
        lock_timeout: float = 5.0,
        step_timeout: float = 600.0,
    ) -> None:
        self.engine = engine
        self.server = server
        self.database = database
        self.session_name = f"balcon.rollback tool {secrets.token_hex(6)}"
        self.command_seconds = 0.0
        self._given = {name: str(value) for name, value in environment.items()}
        self._watched = watched
        self._lock_timeout = lock_timeout
        self._step_timeout = step_timeout

    def state(self) -> list[str]:
        """Return what the state table of the database lists, oldest first."""
        return self.engine.state_table.read(self.server, self.database)

    def run(self, verb: str) -> Finished:
        """Run one command to its end; neither its exit code nor its text is believed.

        When this returns, all its processes are gone, and so are its sessions.

        Raises:
            Failed: it could not be started, took too long, failed, or had a session in another database than the
                intended one, or none in the intended one. C(session_seen) in the error of one that failed tells
                whether it had one in the intended database.
        """
        arguments = self.engine.command(verb)
        what = f"The migration tool ({' '.join(arguments)})"
        with witness(self.server, self.database, self.session_name, self._watched) as watching, private_home() as home:
            finished = run_program(
                arguments,
                environment=self.environment(home),
                folder=str(self.engine.folder),
                timeout=self._step_timeout,
                secrets=self.secrets(),
                each=watching.look,
            )
            self.command_seconds = round(self.command_seconds + finished.seconds, 3)
            watching.wait_until_gone()
            seen = watching.saw_session()
        try:
            check_finished(finished, what, self._step_timeout, _REMEDY)
        except Failed as error:
            error.details["session_seen"] = seen
            raise
        if not seen:
            raise self._not_seen(what, finished)
        return finished

    def environment(self, home: str) -> dict[str, str]:
        """Build the environment from nothing but the inventory and the intended URL."""
        mine = {
            self.engine.url_variable: self._url(),
            "PGAPPNAME": self.session_name,
            "PGOPTIONS": self._options(self._given.get("PGOPTIONS", "")),
        }
        given = {**self.engine.defaults, **self._encryption(), **self._given, **mine}
        return base_environment(given, home, self.engine.path_folder)

    def secrets(self) -> list[str]:
        """Return what must not be read in the tool's output."""
        return [*url_secrets(self._url()), *url_secrets(self.server.url()), *environment_secrets(self._given)]

    def _url(self) -> str:
        """Return the intended URL, with our name for its sessions, as many tools override C(PGAPPNAME)."""
        parameters = dict(psycopg2.extensions.parse_dsn(self.server.url(self.database)))
        parameters["application_name"] = self.session_name
        if "options" in parameters:  # in a URL they win over PGOPTIONS
            parameters["options"] = self._options(parameters["options"])
        return make_url(parameters)

    def _encryption(self) -> dict[str, str]:
        """Return what makes a tool encrypt, and check the server, whose configuration takes the URL apart.

        It hands host, user and password to the driver, and sslmode gets lost: node's pg then reads C(PGSSLMODE), and
        knows the authorities of node alone; without them it would connect in plain text.
        """
        settings = self.server.encryption_environment()
        authority, variable = settings.get("PGSSLROOTCERT", ""), self.engine.authority_variable
        return {**settings, **({variable: authority} if variable and authority not in ("", "system") else {})}

    def _options(self, options: str) -> str:
        return f"{options} -c lock_timeout={int(self._lock_timeout * 1000)}".strip()

    def _not_seen(self, what: str, finished: Finished) -> Failed:
        return Failed(
            f"{what} ended, but no session of it was seen in database {self.database!r}: it works on another"
            " one, or on none.",
            remedy=(
                f"It must take its database from {self.engine.url_variable} alone. Look for a .env file or a "
                "configuration file in the project, or set url_variable of rollback_engine_options."
            ),
            output_tail=finished.output_tail,
        )
