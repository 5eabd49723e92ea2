# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trying the application on a throwaway clone, with its traffic to the outside turned off."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from ._database.dialect import is_sqlite
from ._database.postgresql.clone import clone_of_run, drop_derived_database
from ._database.postgresql.connection import Server
from ._database.postgresql.run_state import Heartbeat
from ._domain.errors import Failed, Refused
from ._domain.names import derived_name
from ._domain.plan import state_differences
from ._migrations import make_engine
from ._migrations.targets import check_made_by_run
from ._migrations.tool import Tool
from ._migrations.witness import Witness, witness
from ._probe import make_endpoints, probe_until
from ._process import Finished, Program, check_finished, private_home, run_program

if TYPE_CHECKING:
    from ._migrations import Engine

_CLOSED = "http://127.0.0.1:9"
"""The discard port: nobody listens there."""

OUTBOUND_OFF = {
    "OUTBOUND_DISABLED": "true",
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), _CLOSED),
    "NO_PROXY": "localhost,127.0.0.1,::1",
    "no_proxy": "localhost,127.0.0.1,::1",
    "NODE_USE_ENV_PROXY": "1",
}

_REMEDY = "The older release does not work with the rolled-back schema. Repeat it by hand on a copy of the database."


class Watcher(Protocol):
    """Looks who is connected to the clone."""

    def look(self) -> None:
        """Look once."""

    def saw_session(self) -> bool:
        """Tell whether somebody was connected."""

    def wait_until_gone(self) -> int:
        """See that nobody is connected any more."""


class Runner(Protocol):
    """A migration tool that is pointed at the clone, and knows its environment."""

    engine: Engine
    session_name: str

    def state(self) -> list[str]:
        """Return what the clone's state table lists."""

    def environment(self, home: str) -> dict[str, str]:
        """Return the environment of commands."""

    def secrets(self) -> list[str]:
        """Return what must not be read in their output."""


class Ground(Protocol):
    """Where the application is tried: a clone that is made and dropped again."""

    clone: str

    def tool(self, engine: Engine, environment: Mapping[str, object]) -> Runner:
        """Return the migration tool for the clone."""

    def make(self) -> float:
        """Make the clone; return the seconds."""

    def drop(self) -> bool:
        """Drop the clone, where it is there."""

    def heartbeat(self) -> AbstractContextManager[Any]:
        """Renew the run's lease meanwhile."""

    def witness(self, session_name: str) -> AbstractContextManager[Watcher]:
        """Watch the clone."""


class PostgresqlGround:
    """A clone of the run's candidate or rehearsal, on the same server.

    Args:
        params: the parameters of M(balcon.rollback.release_trial).

    Raises:
        Refused: the database was not made by this run.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._run_id: str = params["run_id"]
        self._server = Server(params["database_url"], params["admin_url"])
        self._source: str = params["database"] or derived_name(self._server.database, "candidate", self._run_id)
        self._role = check_made_by_run(self._server, self._source, self._run_id, ("candidate", "rehearsal")).role
        self.clone = derived_name(self._server.database, "trial", self._run_id)

    def tool(self, engine: Engine, environment: Mapping[str, object]) -> Tool:
        """Return the migration tool for the clone."""
        return Tool(engine, self._server, self.clone, environment)

    def make(self) -> float:
        """Make the clone; return the seconds."""
        return clone_of_run(self._server, self._source, "trial", self._run_id).seconds

    def drop(self) -> bool:
        """Drop the clone, sessions included."""
        return drop_derived_database(self._server, self.clone, self._run_id)

    def heartbeat(self) -> Heartbeat:
        """Renew the run's lease, where the source is its candidate."""
        return Heartbeat(self._server, self._run_id if self._role == "candidate" else None)

    def witness(self, session_name: str) -> AbstractContextManager[Witness]:
        """Watch the clone through the server."""
        return witness(self._server, self.clone, session_name)


class Trial:
    """One try of the application on a clone.

    Args:
        params: the parameters of M(balcon.rollback.release_trial).

    Raises:
        Refused: the database was not made by this run, or an option is missing.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.run_id: str = params["run_id"]
        self.ground = self.find_ground()
        self.clone = self.ground.clone
        self.endpoints = params["endpoints"] or []
        if params["start"] and not self.endpoints:
            raise Refused(
                "The application is to be started, but there is no endpoint that could show that it works.",
                untouched="Nothing was started.",
                remedy="Give endpoints, or leave start out.",
            )
        given = {name: str(value) for name, value in (params["environment"] or {}).items()}
        engine = make_engine(params["engine"], params["engine_options"])
        self.tool = self.ground.tool(engine, {**given, **OUTBOUND_OFF})
        self.command_seconds = 0.0
        self.session_seen = False

    def find_ground(self) -> Ground:
        """Find what is to be cloned.

        Raises:
            Refused: it was not made by this run.
        """
        if is_sqlite(self.params["database_url"]):
            from ._database.sqlite.trial import SqliteGround

            return SqliteGround(self.params)
        return PostgresqlGround(self.params)

    def run(self) -> dict[str, Any]:
        """Clone, test, start, probe, read the state again, end everything, drop the clone.

        Raises:
            Refused: the clone cannot be made.
            Failed: a test failed, the application did not start or answer, or the state is not what it should be.
        """
        start = time.monotonic()
        with self.ground.heartbeat():
            self.ground.drop()
            clone_seconds = self.ground.make()
            try:
                tests, outcome, applied = self._try()
            finally:
                self.ground.drop()
        return {
            "tests": tests,
            "healthy": outcome["healthy"],
            "endpoints": outcome["endpoints"],
            "applied": applied,
            "session_seen": self.session_seen,
            "clone_seconds": clone_seconds,
            "command_seconds": round(self.command_seconds, 3),
            "seconds": round(time.monotonic() - start, 3),
        }

    def _try(self) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
        with self.ground.witness(self.tool.session_name) as watching, private_home() as home:
            tests = [self._test(test, home, watching) for test in self.params["tests"] or []]
            outcome = self._application(home, watching)
            watching.wait_until_gone()
            self.session_seen = watching.saw_session()
        self._check_session()
        applied = self.tool.state()
        problems = state_differences(applied, self.params["expect_applied"], [])
        if problems:
            raise Failed(
                f"After the application was started, the clone is no longer rolled back: {' '.join(problems)}",
                remedy=(
                    "The release that was tried applies migrations when it starts. Put the older release in"
                    " place (rollback_release), which does not know them."
                ),
                applied=applied,
            )
        return tests, outcome, applied

    def _check_session(self) -> None:
        if self.params["start"] and not self.session_seen:
            raise Failed(
                f"The application was started for {self.clone}, and no session of it was seen there: it proved "
                "nothing, and may have used another database.",
                untouched="The swap was not made.",
                remedy=f"Let it take its database from {self.tool.engine.url_variable} alone: look for a .env file or "
                "a configuration that comes first.",
            )

    def _test(self, test: Mapping[str, Any], home: str, watching: Watcher) -> dict[str, Any]:
        finished = run_program(
            test["command"],
            environment=self.tool.environment(home),
            folder=test.get("chdir") or self.params["chdir"] or str(self.tool.engine.folder),
            timeout=self.params["timeout"],
            secrets=self.tool.secrets(),
            each=watching.look,
        )
        self.command_seconds += finished.seconds
        check_finished(finished, f"The test {test['name']!r} on a throwaway clone", self.params["timeout"], _REMEDY)
        return {
            "name": test["name"],
            "seconds": finished.seconds,
            "exit_code": finished.exit_code,
            "output_tail": finished.output_tail,
        }

    def _application(self, home: str, watching: Watcher) -> dict[str, Any]:
        if not self.params["start"]:
            return {"healthy": None, "endpoints": []}
        port = str(free_port())
        endpoints = make_endpoints(with_port(self.endpoints, port))
        environment = {**self.tool.environment(home), self.params["port_variable"]: port}
        folder = self.params["chdir"] or str(self.tool.engine.folder)
        start = time.monotonic()
        secrets = self.tool.secrets()
        with Program(self.params["start"], environment=environment, folder=folder, secrets=secrets) as program:
            outcome = probe_until(
                endpoints,
                timeout=self.params["probe_timeout"],
                deadline=self.params["deadline"],
                stop=lambda: self._look(watching) or program.exit_code is not None,
            )
            exit_code = program.exit_code
            self._look(watching)
            program.end()
            self.command_seconds += time.monotonic() - start
            self._check_application(outcome, Finished(exit_code, 0.0, program.tail(), 0))
        return outcome

    @staticmethod
    def _look(watching: Watcher) -> bool:
        watching.look()
        return False

    def _check_application(self, outcome: Mapping[str, Any], finished: Finished) -> None:
        if outcome["healthy"] and finished.exit_code is None:
            return
        bad = "; ".join(f"{each['name']}: {each['reason']}" for each in outcome["endpoints"] if not each["healthy"])
        ended = f"it ended by itself with exit code {finished.exit_code}" if finished.exit_code is not None else ""
        last = " | ".join(finished.output_tail.strip().splitlines()[-5:]) or "nothing"
        raise Failed(
            f"The application, started on a throwaway clone, is not healthy after {outcome['seconds']:g} s: "
            f"{'; '.join(filter(None, (ended, bad)))}. It said: {last}",
            remedy=_REMEDY,
            endpoints=outcome["endpoints"],
            output_tail=finished.output_tail,
        )


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def with_port(endpoints: Sequence[Mapping[str, Any]], port: str) -> list[dict[str, Any]]:
    """Put the port into the endpoints' URLs, where they say C({port})."""
    return [{**endpoint, "url": str(endpoint["url"]).replace("{port}", port)} for endpoint in endpoints]
