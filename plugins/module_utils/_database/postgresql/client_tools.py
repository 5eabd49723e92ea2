# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own client tools: where they are, what they can do, and running them with a deadline and no secrets."""

from __future__ import annotations

import fcntl
import glob
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from ..._domain.errors import Failed, Refused
from ..._domain.secrets import scrub

if TYPE_CHECKING:
    from .connection import Server

USUAL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql*/bin",
    "/opt/postgresql*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
"""Where Debian, Red Hat, PostgreSQL's own build, hand-made installations and Homebrew put the tools."""

_WANTED = ("pg_dump", "pg_restore")

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?")

_NEWER_SETTINGS = {"transaction_timeout": 17}
"""What C(pg_restore) sets for its sessions on whatever server, by the major version from which on it does."""

_SETTING_REFUSED = re.compile(r"^Command was: SET (\w+) = [^\n]*;$", re.MULTILINE)

_ERROR = "error: "
"""What C(pg_restore) writes before each message, by itself: its jobs may write something else between."""

_ENDED = "pg_restore: warning: errors ignored on restore: "

_TAIL_CHARACTERS = 2000

_F_SETPIPE_SZ = 1031
"""Linux's number of that operation; Python knows it from 3.10 on."""

_PIPE_BYTES = 1024 * 1024

_PATIENCE = 20
"""Seconds for a question that a tool answers without connecting."""


class ClientTools(NamedTuple):
    """A folder that has C(pg_dump) and C(pg_restore) of one version."""

    folder: str
    version: int
    """As a number, like the server's: 160014."""

    @property
    def major(self) -> int:
        """Return the major version: 16."""
        return self.version // 10000

    def path(self, name: str) -> str:
        """Return the path of a tool."""
        return str(Path(self.folder) / name)


class CompressionChoice(NamedTuple):
    """A compression: its name, and the argument of C(pg_dump)."""

    name: str
    argument: str


def find_client_tools(server_version: int, folders: Sequence[str] = (), *, preferred_major: int = 0) -> ClientTools:
    """Find the tools for a server: of its own major version, or of the oldest one that is newer.

    Args:
        server_version: of the server that is dumped, as a number: 160014.
        folders: where to look first; then C(PATH), then `USUAL_FOLDERS`.
        preferred_major: the major version of the server to restore on, when it is another one.

    Raises:
        Refused: there are none, or they are all older than the server: such a C(pg_dump) refuses.
    """
    major = server_version // 10000
    found = [tools for folder in _places(folders) if (tools := _tools_in(folder))]
    fitting = [tools for tools in found if tools.major >= max(major, preferred_major)]
    if fitting:
        oldest = min(tools.major for tools in fitting)
        return next(tools for tools in fitting if tools.major == oldest)
    versions = sorted({tools.major for tools in found})
    needed = max(major, preferred_major)
    raise Refused(
        f"No pg_dump and pg_restore of PostgreSQL {needed} or later were found on this host "
        f"(found: {', '.join(map(str, versions)) or 'none'}); an older pg_dump refuses the server.",
        untouched="Nothing was touched.",
        remedy=f"Install the client tools, on Debian 'apt-get install postgresql-client-{needed}', "
        "or name the folder that has them in rollback_client_path.",
        found=versions,
        needed=needed,
    )


def choose_compression(tools: ClientTools, wanted: str, *, fastest: bool = False) -> CompressionChoice:
    """Choose a compression that this build of the tools has.

    Args:
        tools: the tools.
        wanted: C(auto), C(lz4), C(zstd), C(gzip) or C(none). C(auto) takes lz4, else zstd, else gzip.
        fastest: with C(auto), take none instead of gzip, which is slower than writing the data as it is.

    Raises:
        Refused: it was asked for by name, and this build does not have it.
    """
    last = CompressionChoice("none", "-Z0") if fastest else CompressionChoice("gzip", "-Z1")
    if wanted == "auto":
        names = ("lz4",) if fastest else ("lz4", "zstd")
        return next((CompressionChoice(name, f"-Z{name}") for name in names if _has_compression(tools, name)), last)
    if wanted in ("lz4", "zstd") and not _has_compression(tools, wanted):
        raise Refused(
            f"{tools.path('pg_dump')} (PostgreSQL {tools.major}) was built without {wanted}.",
            untouched="Nothing was touched.",
            remedy="Set compression to auto, which takes the best that is there, or install a build that has it.",
        )
    arguments = {"none": "-Z0", "gzip": "-Z1"}
    return CompressionChoice(wanted, arguments.get(wanted, f"-Z{wanted}"))


def newer_settings(tools: ClientTools, server: Server) -> list[str]:
    """Return the settings that this C(pg_restore) sets and the server to restore on is too old to know.

    Each of them is an error that stops a restore with C(--exit-on-error): leave that out, and say in
    `RunningTool.wait` that these errors, and no others, may be passed over.
    """
    known = {name: since for name, since in _NEWER_SETTINGS.items() if since <= tools.major}
    if not known:
        return []
    with server.admin() as connection:
        return [name for name, since in known.items() if connection.server_version // 10000 < since]


def connection_argument(database: str) -> str:
    """Return C(pg_restore)'s argument for a database: its quoted name.

    A bare name that holds an equals sign would be read as connection parameters.
    """
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"--dbname=dbname='{quoted}'"


def tool_environment(
    server: Server, database: str | None = None, settings: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the whole environment of a tool: where to find programs, and how to connect; nothing of ours beyond that.

    Args:
        server: the server.
        database: its name; by default the one of the URL.
        settings: settings of its sessions; a pooler refuses them.
    """
    connection = server.environment(database)
    options = [connection["PGOPTIONS"]] if connection.get("PGOPTIONS") else []
    options += [f"-c {name}={value}" for name, value in (settings or {}).items()]
    if options:
        connection["PGOPTIONS"] = " ".join(options)
    return {**_base_environment(), **connection}


def _widen(pipe: IO[bytes]) -> None:
    """Let the tool work ahead while we pass on what it printed; a system that does not allow it is only slower."""
    with suppress(OSError):
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)


class RunningTool:
    """A tool that was started, in a process group of its own.

    Args:
        tools: where it is.
        name: C(pg_dump) or C(pg_restore).
        arguments: its arguments; never a secret.
        environment: as `tool_environment` returns it.
        deadline: seconds after which it is ended; C(pg_restore) itself waits for locks for ever.
        output: read its standard output through C(output), instead of throwing it away.
    """

    def __init__(
        self,
        tools: ClientTools,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        deadline: float,
        output: bool = False,
    ) -> None:
        self.name = name
        self._end = time.monotonic() + deadline
        self._deadline = deadline
        self._environment = dict(environment or _base_environment())
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._process = subprocess.Popen(
            [tools.path(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if output else subprocess.DEVNULL,
            stderr=self._errors,
            env=self._environment,
            start_new_session=True,
        )
        if self._process.stdout:
            _widen(self._process.stdout)

    @property
    def output(self) -> IO[bytes]:
        """Return its standard output, which was asked for."""
        if self._process.stdout is None:
            raise ValueError(self.name)
        return self._process.stdout

    @property
    def is_late(self) -> bool:
        """Tell whether its deadline has passed; whoever reads C(output) looks from time to time."""
        return time.monotonic() > self._end

    def wait(self, unknown_settings: Sequence[str] = ()) -> None:
        """Wait until it has ended well.

        Args:
            unknown_settings: as `newer_settings` returned them; that the server refused these is well.

        Raises:
            Failed: it did not end well, or not in time; then its whole process group is gone.
        """
        try:
            code = self._process.wait(timeout=max(0.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"did not end within {self._deadline:.0f} seconds, and was ended") from None
        if code != 0 and not (code == 1 and unknown_settings and only_refused(self._said(), unknown_settings)):
            raise self._failed(f"ended with exit code {code}")

    def kill(self) -> None:
        """End it and everything that it started, and see it gone."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Let go of its files; end it if it still runs."""
        self.kill()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()

    def _failed(self, how: str) -> Failed:
        said = scrub(self._said(), [self._environment.get("PGPASSWORD", "")])[-_TAIL_CHARACTERS:]
        return Failed(
            f"{self.name} {how}{': ' + said if said else '.'}",
            remedy=_remedy(said),
            tool=self.name,
        )


def only_refused(said: str, settings: Sequence[str]) -> bool:
    """Tell whether all that went wrong in a restore is that the server does not know some settings.

    The server's own words may be in any language; C(pg_restore)'s are English, since it runs with the locale C.

    Args:
        said: what C(pg_restore) printed. At its end it counts errors, but not those of its jobs.
        settings: their names.
    """
    refused = [name for name in _SETTING_REFUSED.findall(said) if name in settings]
    return _ENDED in said and len(refused) == said.count(_ERROR)


@contextmanager
def running(
    tools: ClientTools,
    name: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    deadline: float,
    output: bool = False,
) -> Iterator[RunningTool]:
    """Start a tool; whatever happens, it is gone at the end. See `RunningTool` for the arguments."""
    tool = RunningTool(tools, name, arguments, environment=environment, deadline=deadline, output=output)
    try:
        yield tool
    finally:
        tool.close()


def _remedy(said: str) -> str:
    if "unsupported startup parameter" in said:
        return "A pooler is in the way: set rollback_admin_url to the direct way to the server."
    if "SSL support is not compiled in" in said:
        return "These tools speak no TLS: name a folder with a build that does in rollback_client_path."
    if "No space left" in said:
        return "Make room on the disk that is full, then start again."
    if "lock" in said:
        return "Another session holds a lock that this needs; look at pg_locks, end it or wait, then start again."
    return "Read the tool's message, mend the reason, then start again."


def _base_environment() -> dict[str, str]:
    base = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": os.environ.get("HOME", "/")}
    return {**base, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _places(folders: Sequence[str]) -> list[str]:
    usual = [place for pattern in USUAL_FOLDERS for place in sorted(glob.glob(pattern))]  # noqa: PTH207  # absolute
    on_path = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    return list(dict.fromkeys([*folders, *on_path, *usual]))


def _tools_in(folder: str) -> ClientTools | None:
    """Return the tools in a folder; Debian's wrapper is passed over, since it chooses a version by rules of its own."""
    programs = [Path(folder) / name for name in _WANTED]
    if not all(os.access(program, os.X_OK) and program.resolve().name == program.name for program in programs):
        return None
    versions = {_version_of(program) for program in programs}
    version = versions.pop() if len(versions) == 1 else None
    return ClientTools(folder, version) if version else None


def _version_of(program: Path) -> int | None:
    match = _VERSION.search(_ask(str(program), "--version") or "")
    return int(match[1]) * 10000 + int(match[2] or 0) if match else None


def _ask(program: str, *arguments: str, folder: str = "/") -> str | None:
    """Return what a program prints within a few seconds, or None where it does not run or does not end."""
    try:
        completed = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=_PATIENCE,
            cwd=folder,
            env=_base_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return completed.stdout


def _has_compression(tools: ClientTools, name: str) -> bool:
    """Ask the tool: it says what it was not built with before it connects or writes anything.

    Before PostgreSQL 16, pg_dump knows no compression by name (release notes of 16).
    """
    if tools.major < 16:  # noqa: PLR2004
        return False
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"--compress={name}", "-Fd", "-f", "dump", f"--dbname=host='{folder}'"]
        said = _ask(tools.path("pg_dump"), *arguments, folder=folder)
    return said is not None and "compress" not in said
