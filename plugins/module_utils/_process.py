# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of others: started in a session of their own, ended with everything that they started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from ._domain.errors import Failed, Refused
from ._domain.secrets import scrub

if TYPE_CHECKING:
    from types import TracebackType

POLL_SECONDS = 0.005
GONE_WITHIN_SECONDS = 10.0
TAIL_CHARACTERS = 4000

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BUFFER_BYTES = 64 * 1024
_CUT_BYTES = 16 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_PR_SET_CHILD_SUBREAPER = 36


class Finished(NamedTuple):
    """How a program ended.

    ``exit_code`` is negative for a signal, and None when the program was ended because it took too long; ``seconds`` is
    its own time; ``output_tail`` the end of what it printed, secrets taken out; ``ended`` how many processes it had
    left behind, and were ended.
    """

    exit_code: int | None
    seconds: float
    output_tail: str
    ended: int


def base_environment(environment: Mapping[str, str], home: str, *folders: str) -> dict[str, str]:
    """Build an environment from nothing but what the inventory gives: nothing of our own is inherited.

    Args:
        environment: the inventory's variables; they win over every default.
        home: the home folder, so that no ``~/.npmrc`` or ``~/.pgpass`` has a say.
        folders: put in front of C(PATH), empty ones left out.
    """
    path = [folder for folder in folders if folder] + [environment.get("PATH") or _DEFAULT_PATH]
    defaults = {"HOME": home, "LANG": "C.UTF-8"}
    return {**defaults, **environment, "PATH": os.pathsep.join(path)}


def account_home() -> str:
    """Return the home folder of the account that we run as, for commands that keep their login there."""
    import pwd

    return pwd.getpwuid(os.geteuid()).pw_dir


@contextlib.contextmanager
def private_home() -> Iterator[str]:
    """Make an empty home folder for a program, and remove it at the end."""
    folder = tempfile.mkdtemp(prefix="balcon-rollback-home-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Program:
    """A running program and everything that it started.

    Used as a context manager: at its end the program and all its descendants are gone, also those that have moved to
    another process group or session (on Linux: orphans are handed to us, and found by their parents).

    Args:
        arguments: the argument list; the first is looked up in C(environment)'s C(PATH).
        environment: the whole environment.
        folder: the working folder.
        secrets: what must not be read in its output.

    Raises:
        Refused: it cannot be started.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: str,
        secrets: Iterable[str] = (),
    ) -> None:
        self.name = Path(arguments[0]).name
        self._secrets = list(secrets)
        self._siblings = _adopt_orphans()
        self._started = time.monotonic()
        self._process = _start(arguments, environment, folder, subprocess.PIPE)
        self._output = bytearray()
        self._cut = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        """Return the running program."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End everything that still runs."""
        self.end()

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while the program runs."""
        return self._process.poll()

    def wait(self, timeout: float, each: Callable[[], object] | None = None) -> Finished:
        """Wait for the program, end what it leaves behind, and say how it went.

        Args:
            timeout: seconds; after them the program is ended.
            each: called every few milliseconds while it runs; what it raises ends the program.
        """
        try:
            while self.exit_code is None and time.monotonic() - self._started < timeout:
                if each:
                    each()
                time.sleep(POLL_SECONDS)
            exit_code, seconds = self.exit_code, time.monotonic() - self._started
        finally:
            ended = self.end()
        return Finished(exit_code, round(seconds, 3), self.tail(), ended)

    def end(self, grace: float = 1.0) -> int:
        """End the program and all its descendants, and see that they are gone.

        Args:
            grace: seconds between asking the program to end and ending it; descendants that it has left behind are
                not asked.

        Returns:
            How many were still running.

        Raises:
            Failed: some cannot be ended.
        """
        running = self._members()
        if self.exit_code is None:
            self._signal(running, signal.SIGTERM)
            _until(lambda: self.exit_code is not None and not self._members(), grace)
        if not _until(self._kill, GONE_WITHIN_SECONDS):
            raise Failed(
                f"{self.name} left processes that cannot be ended: {', '.join(map(str, sorted(self._members())))}.",
                remedy=(
                    "They may still hold sessions in the database. Find out what they wait for (a disk?) and"
                    " end them as root before anything else is done with this database."
                ),
            )
        self._reader.join(timeout=1)
        return len(running)

    def tail(self) -> str:
        """Return the end of what was printed, secrets taken out."""
        return readable_tail(bytes(self._output), self._secrets, cut=self._cut)

    def _kill(self) -> bool:
        members = self._members()
        self._signal(members, signal.SIGKILL)
        return self.exit_code is not None and not members

    def _signal(self, members: set[int], number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.exit_code is None or members:
                os.killpg(self._process.pid, number)
        for member in members:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member, number)

    def _members(self) -> set[int]:
        return _descendants(self._process.pid, self._siblings)

    def _read(self) -> None:
        with cast("IO[bytes]", self._process.stdout) as stream:
            for chunk in iter(lambda: os.read(stream.fileno(), _BUFFER_BYTES), b""):
                self._output += chunk
                if len(self._output) > 2 * _BUFFER_BYTES:
                    del self._output[:-_BUFFER_BYTES]
                    self._cut = True


def run_program(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    timeout: float,
    secrets: Iterable[str] = (),
    each: Callable[[], object] | None = None,
) -> Finished:
    """Run a program to its end, and end everything that it leaves behind. See `Program`."""
    with Program(arguments, environment=environment, folder=folder, secrets=secrets) as program:
        return program.wait(timeout, each)


def run_switch(
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: str,
    timeout: float,
    secrets: Iterable[str] = (),
    standard_input: bytes = b"",
) -> Finished:
    """Run a command that may leave something running on purpose, such as one that starts a service.

    What it leaves running keeps its standard output: it should send it somewhere itself.

    Args:
        arguments: the argument list.
        environment: the whole environment.
        folder: the working folder.
        timeout: seconds; after them the command and its process group are ended.
        secrets: what must not be read in its output.
        standard_input: what it can read there; nothing, by default.

    Raises:
        Refused: it cannot be started.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as to_read:
        to_read.write(standard_input)
        to_read.seek(0)
        process = _start(arguments, environment, folder, output, to_read if standard_input else subprocess.DEVNULL)
        if not _until(lambda: process.poll() is not None, timeout):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return Finished(None, round(time.monotonic() - started, 3), _file_tail(output, secrets), 1)
        return Finished(process.returncode, round(time.monotonic() - started, 3), _file_tail(output, secrets), 0)


def check_finished(finished: Finished, what: str, timeout: float, remedy: str) -> None:
    """Check that a program ended well; its exit code alone proves nothing, but a bad one is enough.

    Args:
        finished: how it ended.
        what: how the message calls it.
        timeout: seconds that it had.
        remedy: what to do next.

    Raises:
        Failed: it did not; the message holds the end of its output.
    """
    if finished.exit_code == 0:
        return
    if finished.exit_code is None:
        how = f"did not end within {timeout:g} s and was ended, with everything it had started"
    elif finished.exit_code < 0:
        how = f"was ended by signal {-finished.exit_code}"
    else:
        how = f"failed with exit code {finished.exit_code}"
    last = " | ".join(finished.output_tail.strip().splitlines()[-5:])
    raise Failed(
        f"{what} {how}. {f'It said: {last}' if last else 'It printed nothing.'}",
        remedy=remedy,
        exit_code=finished.exit_code,
        output_tail=finished.output_tail,
    )


def readable_tail(output: bytes, secrets: Iterable[str], *, cut: bool = False) -> str:
    """Return the end of an output as text: colours and secrets taken out.

    Args:
        output: what was kept of it.
        secrets: what must not be read.
        cut: its beginning is missing, and may be the second half of a secret: some of it is thrown away.
    """
    text = scrub(_ANSI.sub("", output.decode("utf-8", errors="replace")), secrets)
    return (text[_CUT_BYTES:] if cut else text)[-TAIL_CHARACTERS:]


def _start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: str,
    output: int | IO[bytes],
    standard_input: int | IO[bytes] = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    program = shutil.which(arguments[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise Refused(
            f"There is no program {arguments[0]!r} in the PATH of the environment that it would be started with.",
            untouched="Nothing was started.",
            remedy="Name it by its full path, or add its folder to PATH in the environment of the inventory.",
        )
    try:
        return subprocess.Popen(
            [program, *arguments[1:]],
            stdin=standard_input,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise Refused(
            f"{arguments[0]!r} cannot be started in {folder}: {error.strerror}.",
            untouched="Nothing was started.",
            remedy="Check the folder, the program, and the rights of the account that runs the tools.",
        ) from None


def _file_tail(output: IO[bytes], secrets: Iterable[str]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _BUFFER_BYTES))
    return readable_tail(output.read(), secrets, cut=size > _BUFFER_BYTES)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class _Process(NamedTuple):
    parent: int
    group: int
    session: int
    zombie: bool


def _adopt_orphans() -> set[int]:
    """Have orphaned descendants handed to us (Linux), and return the children that we have already."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    return {pid for pid, process in _processes().items() if process.parent == os.getpid()}


def _descendants(leader: int, siblings: set[int]) -> set[int]:
    """Return a program's living processes: its group and session, its descendants, and orphans handed to us."""
    processes = _processes()
    members = {pid for pid, process in processes.items() if leader in (pid, process.group, process.session)}
    members |= {pid for pid, process in processes.items() if process.parent == os.getpid() and pid not in siblings}
    grown = True
    while grown:
        more = {pid for pid, process in processes.items() if process.parent in members} - members
        grown = bool(more)
        members |= more
    _reap({pid for pid in members if processes[pid].zombie and pid != leader})
    return {pid for pid in members if not processes[pid].zombie}


def _reap(zombies: Iterable[int]) -> None:
    for pid in zombies:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _processes() -> dict[int, _Process]:
    """Return all processes of this machine; empty where there is no ``/proc``."""
    found: dict[int, _Process] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    found[int(entry.name)] = _read_process(entry)
    return found


def _read_process(folder: Path) -> _Process:
    content = (folder / "stat").read_bytes()
    # The name of the program, in brackets, may itself hold brackets and spaces.
    state, parent, group, session = content.rpartition(b")")[2].split()[:4]
    return _Process(int(parent), int(group), int(session), state in (b"Z", b"X"))
