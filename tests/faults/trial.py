# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One case while it is played: what a fault can wait for, and what it can do harm with."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
from writers import SqlWriter

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    Description,
    parse_description,
)

from ..playbook.scene import clean_environment, playbook_program
from . import processes
from .ground import PRODUCTION, Ground
from .users import Users

CALLBACKS = Path(__file__).resolve().parent / "callbacks"
DEADLINE_SECONDS = 600
PATIENCE_SECONDS = 300.0
"""For a broken world only; on a busy machine a playbook takes minutes to get to its window."""

OURS = "application_name LIKE 'balcon.rollback%%'"

Variables = dict[str, Any]


class Playbook:
    """A playbook that was started.

    Attributes:
        process: ansible-playbook; it leads a session of its own.
        output: the file with everything that it prints.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: Path, stand: Path) -> None:
        self.process = process
        self.output = output
        self._stand = stand

    @property
    def said(self) -> str:
        """What it has printed, without line breaks: YAML wraps long messages."""
        return " ".join(self.output.read_text(errors="replace").split())

    def stand(self, task: str, deadline: float = PATIENCE_SECONDS) -> None:
        """Let it go on to the first task whose name begins so, and wait until it stands before that."""
        (self._stand / "hold").write_text(task)
        self.wait_until_it_stands(deadline)

    def wait_until_it_stands(self, deadline: float = PATIENCE_SECONDS) -> None:
        """Wait until it stands before the task that it was told to."""
        wanted, now = (self._stand / "hold").read_text(), self._stand / "now"
        until(
            lambda: now.exists() and now.read_text().startswith(wanted),
            f"the playbook stands before {wanted!r}",
            deadline,
            over=lambda: self.process.poll() is not None,
        )

    def go(self) -> None:
        """Let it go on."""
        (self._stand / "hold").unlink(missing_ok=True)

    def wait(self) -> int:
        """Wait for its end; return its exit code."""
        self.go()
        return self.process.wait(DEADLINE_SECONDS)

    def module(self) -> list[processes.Process]:
        """Wait for the module that it runs now, and return its processes."""
        until(
            lambda: processes.modules_below(self.process.pid),
            "a module runs",
            over=lambda: self.process.poll() is not None,
        )
        return processes.modules_below(self.process.pid)

    def below(self, program: str, deadline: float = PATIENCE_SECONDS) -> list[processes.Process]:
        """Wait for a program that it, or a module of it, has started, and return its processes."""
        found: list[processes.Process] = []

        def look() -> bool:
            found[:] = [process for process in processes.family(self.process.pid) if process.runs(program)]
            return bool(found)

        until(look, f"{program} runs", deadline, over=lambda: self.process.poll() is not None)
        return found

    # -- harm -------------------------------------------------------------------------------------------------------

    def kill_controller(self) -> None:
        """Kill ansible-playbook and its workers, as somebody does who types kill -9; a module runs on."""
        ansible = [member for member in processes.family(self.process.pid) if _is_ansible(member)]
        processes.kill(ansible)
        self.process.wait()

    def kill_module(self) -> None:
        """Kill the module that runs now, and nothing else."""
        processes.kill(self.module())

    def kill_everything(self) -> None:
        """Kill ansible-playbook and all below it: workers, module, migration tool."""
        processes.kill(processes.family(self.process.pid))
        self.process.wait()


def _is_ansible(process: processes.Process) -> bool:
    return any("ansible_playbook.py" in word for word in process.words)


class Trial:
    """A case on its ground.

    Attributes:
        folder: everything of this case: inventory, state folders, checkout.
        ground: the servers.
        changes: variables of the inventory that differ, for ``production`` and ``staging``.
        users: those who write.
        playbooks: all that were started, the first one first.
    """

    def __init__(self, ground: Ground, folder: Path, lease: int) -> None:
        self.ground = ground
        self.folder = folder
        self.changes: dict[str, Variables] = {"production": {"rollback_lease_seconds": lease}, "staging": {}}
        self.playbooks: list[Playbook] = []
        self.checkout = folder / "checkout"
        self.endings = contextlib.ExitStack()
        folder.mkdir(mode=0o700)
        for kind in ("production", "staging"):
            self.state_dir(kind).mkdir(mode=0o700)
        shutil.copytree(ground.scene.state_dir("production") / "evidence", self.state_dir() / "evidence")
        shutil.copytree(ground.scene.checkout, self.checkout, symlinks=True)
        self.users = Users(ground.scene.url("production"))

    @property
    def playbook(self) -> Playbook:
        """The one that was started first: the fault is for it."""
        return self.playbooks[0]

    def state_dir(self, kind: str = "production") -> Path:
        """Return the state folder of a host."""
        return self.folder / f"state-{kind}"

    def run_folder(self) -> Path:
        """Return the folder of the first run of production that has one."""
        return min((self.state_dir() / "runs").iterdir(), key=lambda entry: entry.name)

    def run_id(self) -> str:
        """Return the first run's name."""
        return self.run_folder().name

    # -- setting it -------------------------------------------------------------------------------------------------

    def set_script(self, name: str, command: str) -> None:
        """Replace a script of the project's package.json; ``{original}`` in it is what stood there before.

        The rehearsed files stay what they are: package.json is not among them.
        """
        package = json.loads((self.checkout / "package.json").read_text())
        package["scripts"][name] = command.replace("{original}", package["scripts"][name])
        (self.checkout / "package.json").write_text(json.dumps(package))

    def flag(self, name: str) -> Path:
        """Return a file that a script and a fault can tell each other something by."""
        return self.folder / f"flag-{name}"

    def variables(self, kind: str) -> Variables:
        """Return a host's variables."""
        own = {"rollback_state_dir": str(self.state_dir(kind)), "rollback_project_dir": str(self.checkout)}
        known = {**self.ground.scene.variables(kind), **own, **self.changes[kind]}
        return {name: value for name, value in known.items() if value is not None}

    def start(self, *arguments: str, environment: str = "production", stand: str = "", playbook: str = "") -> Playbook:
        """Start a playbook, by default ``rollback.yml -e env=production`` with the confirmation.

        Args:
            arguments: more that is typed; a word with C(=) is an extra variable.
            environment: ``production`` or ``staging``.
            stand: it is to stand before the first task whose name begins so.
            playbook: another one.
        """
        number = len(self.playbooks) + 1
        place = self.folder / f"playbook-{number}"
        place.mkdir(mode=0o700)
        inventory = place / "inventory.yml"
        hosts = {kind: {"hosts": {f"shop-{kind}": self.variables(kind)}} for kind in ("production", "staging")}
        inventory.touch(mode=0o600)
        inventory.write_text(json.dumps({"all": {"children": hosts}}))
        if stand:
            (place / "hold").write_text(stand)
        extra = [f"env={environment}", *([f"confirm={PRODUCTION}"] * (environment == "production"))]
        words = [part for word in (*extra, *arguments) for part in (["-e", word] if _is_variable(word) else [word])]
        with (place / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [playbook_program(), "-i", str(inventory), playbook or "rollback.yml", *words],
                cwd=self.ground.product,
                env={
                    **clean_environment(),
                    "ANSIBLE_CONFIG": str(self.ground.product / "ansible.cfg"),
                    "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
                    "ANSIBLE_CALLBACKS_ENABLED": "stand",
                    "FAULTS_STAND": str(place),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.playbooks.append(Playbook(process, place / "output.txt", place))
        return self.playbooks[-1]

    def start_task(self, module: str, **options: Any) -> Playbook:
        """Start a playbook with one task on production's host, as somebody does who helps himself."""
        path = self.folder / f"task-{len(self.playbooks) + 1}.yml"
        play = {"hosts": "shop-production", "gather_facts": False, "tasks": [{module: options}]}
        path.write_text(json.dumps([play]))
        return self.start(playbook=str(path))

    # -- looking ----------------------------------------------------------------------------------------------------

    def description(self) -> Description | None:
        """Return what production says of itself."""
        rows = self.ground.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [PRODUCTION]
        )
        return parse_description(rows[0][0]) if rows else None

    def state(self) -> str:
        """Return the state of the run that is open on production; empty where none is."""
        description = self.description()
        return description.state if description else ""

    def wait_for_lease(self) -> None:
        """Wait until the lease of the run that is open on production has run out, by the server's clock."""
        description = self.description()
        if description and description.lease_until:
            lease, statement = description.lease_until, "SELECT clock_timestamp() > %s::timestamptz"
            until(lambda: self.ground.execute(statement, [lease])[0][0], "the lease has run out")

    def is_open(self) -> bool:
        """Tell whether production's name is there and takes connections."""
        return bool(self.ground.databases().get(PRODUCTION))

    def candidate(self) -> str:
        """Return the name of the run's candidate."""
        (name,) = (name for name in self.ground.databases() if "__candidate_" in name)
        return name

    def sessions(self, where: str = OURS) -> list[tuple[int, str]]:
        """Return pid and name of the collection's sessions on production's server."""
        return self.ground.execute(f"SELECT pid, application_name FROM pg_stat_activity WHERE {where}")

    def keepers(self) -> list[processes.Process]:
        """Return the processes of the keepers of this case's runs."""
        return processes.keepers(self.folder)

    def waiting(self, query: str) -> bool:
        """Tell whether a session waits for a lock with a query that begins so."""
        return bool(self.sessions(f"wait_event_type = 'Lock' AND query ILIKE '{query}%%'"))

    # -- harm -------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def stopped_backend(self, database: str = PRODUCTION) -> Iterator[int]:
        """Open a user's session whose server process does not answer, so that nobody can end it until the end."""
        with self.ground.scene.session(
            "production", url=self.ground.scene.url("production", database=database)
        ) as session:
            backend = session.info.backend_pid
            processes.kill([processes.processes()[backend]], signal.SIGSTOP)
            try:
                yield backend
            finally:
                processes.kill(
                    [found for pid, found in processes.processes().items() if pid == backend], signal.SIGCONT
                )

    def crash_server(self) -> None:
        """Stop production's server as a crash does, and start it again."""
        cluster = self.ground.scene.cluster("production")
        cluster.stop("immediate")
        cluster.start(port=cluster.port)

    def end_our_sessions(self) -> int:
        """End every session of the collection on production's server; return how many there were."""
        return len(self.ground.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"))

    # -- its end ----------------------------------------------------------------------------------------------------

    def settle(self, patience: float) -> None:
        """Wait until nobody of ours is left who could still act; where that does not come, the checks say so."""
        with contextlib.suppress(TimeoutError, psycopg2.Error):
            until(lambda: not processes.of_folder(self.folder) and not self.sessions(), "nobody is left", patience)

    def close(self) -> None:
        """End everything of this case, also what should not be left."""
        self.endings.close()
        self.users.end()
        processes.kill(processes.of_folder(self.folder))
        for playbook in self.playbooks:
            playbook.process.wait()

    def write_once(self) -> str:
        """Write as a new user under the public name; return what went wrong, or nothing."""
        try:
            values = {"title": "The last one", "subtitle": "after the fault", "budget": 1}
            SqlWriter(self.ground.scene.url("production")).write("faults-last", values)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what the user sees
            return str(error)
        return ""


def _is_variable(word: str) -> bool:
    return word[0] == "{" or ("=" in word and word[0] != "-")


def until(
    condition: Callable[[], object],
    what: str,
    deadline: float = PATIENCE_SECONDS,
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Wait for something that happens elsewhere; the deadline is for a broken world only.

    Args:
        condition: what is waited for.
        what: in words.
        deadline: seconds.
        over: tells that it can never come any more.

    Raises:
        TimeoutError: it did not come.
    """
    end = time.monotonic() + deadline
    while not condition():
        if over() and not condition():
            raise TimeoutError(f"it can never be any more: {what}")
        if time.monotonic() > end:
            raise TimeoutError(f"not within {deadline:g} seconds: {what}")
        time.sleep(0.01)
