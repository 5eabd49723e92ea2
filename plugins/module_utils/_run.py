# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run's folder and its journal, on disk."""

from __future__ import annotations

import fcntl
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

from ._domain.errors import Refused, RollbackError
from ._domain.journal import is_by_keeper, next_event, read_journal, render_event
from ._domain.names import check_run_id
from ._domain.readable import readable_line
from ._trusted import NotTrusted, open_trusted, read_trusted, reason_against

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

    from ._domain.journal import Event

Result = TypeVar("Result")

_RESTORING = "restore"

_ROOM_BYTES = 64 * 1024
"""What must fit beside a journal before a step begins: its event, and a fingerprint."""


def utc_now() -> str:
    """Return the present time as UTC ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def check_private_folder(folder: Path, *, may_be_link: bool = True) -> None:
    """Check that a folder is there, and that nobody but its owner, who is us, can read it.

    Args:
        folder: the folder.
        may_be_link: a link of ours, or of root, may stand in its place: to a larger disk, for example.

    Raises:
        Refused: it is missing, somebody else's, open to others, or a link that is not trusted.
    """
    try:
        link, status = folder.lstat(), folder.stat()
    except FileNotFoundError:
        raise Refused(
            f"The state folder {folder} does not exist.",
            untouched="Nothing was touched.",
            remedy=f"Create it for the account that runs the tools: install -d -m 0700 {quote(str(folder))}",
        ) from None
    if status.st_uid != os.geteuid():
        raise Refused(
            f"The state folder {folder} belongs to somebody else (user {status.st_uid}, and this is {os.geteuid()}).",
            untouched="Nothing was touched.",
            remedy="Let the account that runs the tools own it, or set another rollback_state_dir.",
        )
    if status.st_mode & 0o077:
        raise Refused(
            f"The state folder {folder} can be read by others (mode {status.st_mode & 0o777:04o}).",
            untouched="Nothing was touched.",
            remedy=f"It holds backups of production: chmod 0700 {quote(str(folder))}",
        )
    if not stat.S_ISDIR(status.st_mode):
        raise Refused(
            f"{folder} cannot be read: it is not a folder.",
            untouched="Nothing was touched.",
            remedy="Look at what stands there, and move it away.",
        )
    if stat.S_ISLNK(link.st_mode) and not (may_be_link and link.st_uid in (os.geteuid(), 0)):
        raise NotTrusted(folder, reason_against(link))


def _lines(text: str) -> list[str]:
    """Split at line feeds only: text in an event may hold other characters that Python takes for line ends."""
    lines = text.split("\n")
    return lines[:-1] if not lines[-1] else lines


def read_events(journal: Path) -> list[Event]:
    """Read a journal's file and prove its chain.

    Raises:
        OSError: it is missing, or cannot be read.
        NotTrusted: somebody else may have written it.
        JournalBroken: it was edited or cut.
    """
    return read_journal(_lines(read_trusted(journal).decode(errors="replace")))


def append_event(journal: Path, event: Event) -> None:
    """Append one event to a journal that is there, and bring it to the disk before returning."""
    with os.fdopen(open_trusted(journal, os.O_RDWR), "r+", encoding="utf-8", errors="replace") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        events = read_journal(_lines(file.read()))
        file.write(render_event(next_event(events[-1] if events else None, event)) + "\n")
        file.flush()
        os.fsync(file.fileno())


class Run:
    """One run's folder, ``<state folder>/runs/<run>``.

    Args:
        state_dir: the host's C(rollback_state_dir).
        run_id: the run's name.
    """

    def __init__(self, state_dir: str | Path, run_id: str) -> None:
        self.run_id = check_run_id(run_id)
        self.state_dir = Path(state_dir)
        self.folder = self.state_dir / "runs" / self.run_id
        self.journal = self.folder / "journal.jsonl"

    def create(self) -> None:
        """Create the run's folder and an empty journal, mode 0700 and 0600."""
        check_private_folder(self.state_dir)
        self.folder.parent.mkdir(mode=0o700, exist_ok=True)
        check_private_folder(self.folder.parent, may_be_link=False)
        self.folder.mkdir(mode=0o700)
        os.close(os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def check(self) -> None:
        """Check that the state folder and the run's, where it is there, are private to us.

        Raises:
            Refused: one of them is not.
        """
        check_private_folder(self.state_dir)
        for folder in (self.folder.parent, self.folder):
            if os.path.lexists(folder):
                check_private_folder(folder, may_be_link=False)

    def events(self) -> list[Event]:
        """Read the journal and prove its chain.

        Raises:
            Refused: there is no such run here, or somebody else may have written its journal.
            JournalBroken: the journal was edited or cut.
        """
        self.check()
        try:
            return read_events(self.journal)
        except FileNotFoundError:
            raise Refused(
                f"Run {self.run_id} has no journal in {self.state_dir}.",
                untouched="This step changed nothing.",
                remedy="Start the whole run with 'ansible-playbook rollback.yml -e env=…'; steps cannot be run alone.",
            ) from None

    def kind(self) -> str:
        """Return what the run is, as its first event says: rehearsal, rollback, restore or drill."""
        return str(self.events()[0]["data"].get("kind", ""))

    def owner(self) -> dict[str, str]:
        """Return who runs it, as the database is to say: C(executed_by), and C(host), where its tools run."""
        return {"executed_by": str(self.events()[0]["data"].get("executed_by", "")), "host": platform.node()}

    def passed_phases(self) -> set[str]:
        """Return the phases of which the last event says ok, and that hold no refusal or failure."""
        events = self.events()
        bad = {event["phase"] for event in events if event["outcome"] != "ok"}
        return {event["phase"] for event in events} - bad

    def record(self, phase: str, action: str, **event: Any) -> None:
        """Append one event and bring it to the disk before returning.

        Args:
            phase: one of `run_states.PHASES`.
            action: what was done, in a few words.
            event: C(outcome) (ok, refused, failed; default ok), C(at), C(seconds), C(changed), C(data).
        """
        self.check()
        complete = {"at": utc_now(), "seconds": 0.0, "outcome": "ok", "changed": False, "data": {}, **event}
        append_event(self.journal, {"run_id": self.run_id, "phase": phase, "action": action, **complete})

    def check_can_record(self) -> None:
        """Check, before anything is done, that it could be written down afterwards.

        Raises:
            Refused: the journal is missing, or nothing can be written beside it.
            JournalBroken: it was edited or cut.
        """
        self.events()
        probe = self.folder / f".room-{os.getpid()}"
        try:
            os.close(os.open(self.journal, os.O_RDWR))
            with os.fdopen(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(bytes(_ROOM_BYTES))
        except OSError as error:
            raise Refused(
                f"Nothing can be written down in the folder of run {self.run_id}: {error.strerror}.",
                untouched="This step changed nothing.",
                remedy=f"Make room in {self.folder}, or let the account that runs the tools write there; then start a "
                "new run.",
            ) from None
        finally:
            with suppress(OSError):
                probe.unlink()

    @contextmanager
    def step(self, phase: str, action: str) -> Iterator[dict[str, Any]]:
        """Do one step and record it, whether it succeeds, is refused or fails; not begun where it cannot be recorded.

        Yields:
            A dictionary: what is put in becomes the event's C(data), but for the key C(changed), which becomes the
            event's own (default true). Never put a secret in.
        """
        self.check_can_record()
        with _told_to(lambda event: self.record(phase, action, **event)) as data:
            try:
                yield data
            except RollbackError as error:
                error.message = self._ended_by_keeper() + error.message
                raise

    def _ended_by_keeper(self) -> str:
        """Say what the keeper did with this run, which explains whatever fails afterwards; empty where nothing."""
        actions: list[str] = []
        with suppress(RollbackError, OSError):
            actions = [event["action"] for event in self.events() if is_by_keeper(event)]
        return f"Run {self.run_id} had given no sign of life, and {actions[-1]}. " if actions else ""


@contextmanager
def _told_to(record: Callable[[dict[str, Any]], None]) -> Iterator[dict[str, Any]]:
    """Do one step, and hand over what the journal is to say of it, however it ends."""
    at, start = utc_now(), time.monotonic()
    data: dict[str, Any] = {}
    error: BaseException | None = None
    try:
        yield data
    except BaseException as raised:
        error = raised
        raise
    finally:
        record(_event(at, start, data, error))


def _event(at: str, start: float, data: dict[str, Any], error: BaseException | None) -> dict[str, Any]:
    """Return what the journal says of a step that has ended, well or with an error."""
    changed = bool(data.pop("changed", True))
    outcome, failure = "ok", {}
    if isinstance(error, RollbackError):
        outcome, failure = error.kind, {"error": error.as_dict()}
    elif error is not None:
        outcome, failure = "failed", {"error": {"kind": "failed", "message": str(error).strip(), "remedy": ""}}
    seconds = round(time.monotonic() - start, 3)
    return {"at": at, "seconds": seconds, "outcome": outcome, "changed": changed, "data": {**data, **failure}}


def environment_of(run: Run) -> str:
    """Return the environment as a run's journal has it, for a command to type."""
    try:
        return str(run.events()[0]["data"]["environment"])
    except (RollbackError, OSError, LookupError):
        return "<environment>"


def do_and_record_if_possible(module: AnsibleModule, action: str, work: Callable[[dict[str, Any]], Result]) -> Result:
    """Do a step that may not depend on its own record, like the emergency restore, and warn where that failed.

    Args:
        module: a module whose arguments include `_argspec.RUN`, with a run.
        action: what is done, as for `module_step`.
        work: does it; it gets the dictionary that `Run.step` yields.

    Returns:
        What C(work) returned.
    """
    at, start = utc_now(), time.monotonic()
    data: dict[str, Any] = {}
    try:
        result = work(data)
    except Exception as error:
        _record_or_warn(module, action, _event(at, start, data, error))
        raise
    _record_or_warn(module, action, _event(at, start, data, None))
    return result


def _record_or_warn(module: AnsibleModule, action: str, event: dict[str, Any]) -> None:
    try:
        Run(module.params["state_dir"], module.params["run_id"]).record(module.params["phase"], action, **event)
    except (RollbackError, OSError) as error:
        told = f"What was done could not be recorded in the journal of run {module.params['run_id']}: {error}"
        module.warn(readable_line(told))


@contextmanager
def module_step(module: AnsibleModule, action: str) -> Iterator[dict[str, Any]]:
    """Do a module's one step, recorded in the journal of the run that the arguments name.

    Without C(run_id), and in check mode, nothing is recorded. What puts things right after a failure, the phase
    C(restore), is done even where it cannot be recorded: then the module warns.

    Args:
        module: a module whose arguments include `_argspec.RUN`.
        action: what is done, in a few words, as the report shows it.
    """
    if module.check_mode or not module.params["run_id"]:
        yield {}
        return
    if module.params["phase"] == _RESTORING:
        with _told_to(lambda event: _record_or_warn(module, action, event)) as data:
            yield data
        return
    with Run(module.params["state_dir"], module.params["run_id"]).step(module.params["phase"], action) as data:
        yield data


def write_private_file(path: Path, text: str) -> bool:
    """Put a file in place whole or not at all, mode 0600; tell whether its content is another one than before."""
    if _holds(path, text):
        return False
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)  # of a killed writer, or put there by somebody else: never written through
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return True


def _holds(path: Path, text: str) -> bool:
    """Tell whether a file that only we can have written holds a text already."""
    try:
        return read_trusted(path) == text.encode()
    except (OSError, NotTrusted):
        return False
