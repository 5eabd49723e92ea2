# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What whoever is called can do, told from what M(balcon.rollback.rollback_status) saw; and whether what he asks fits.

Nothing is decided here for a person: where two ways are open, both are named with what each of them costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import Refused
from .names import check_run_id
from .run_states import BEFORE_SWAP
from .status import UNFINISHED, UNKNOWN, is_good
from .typed import sql_name
from .unfinished import GO_FORWARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Status = Mapping[str, Any]

WAYS = ("look", "run", "backup", "tables")

DECISIONS = ("open_original", "swap_back", "finish")
"""What is done with a run: before its swap, after it, and where what was written since is kept."""

LATEST_GOOD, BEFORE_ROLLBACK = "latest_good", "before_rollback"
"""What C(to) takes: the newest backup that is proven good, and the newest one with the schema that was rehearsed."""

_UNTOUCHED = "Nothing was touched."


class Request(NamedTuple):
    """What was asked for on the command line; empty where it was not.

    Attributes:
        run: a run to go back from, or to finish.
        backup: a backup by its name.
        to: `LATEST_GOOD` or `BEFORE_ROLLBACK`.
        tables: names of tables to recover.
        accept_loss: go back although rows were written since.
        keep_written: with C(run), keep what is there now, and end the run.
    """

    run: str = ""
    backup: str = ""
    to: str = ""
    tables: tuple[str, ...] = ()
    accept_loss: bool = False
    keep_written: bool = False

    @property
    def way(self) -> str:
        """Return one of `WAYS`."""
        if self.tables:
            return "tables"
        if self.run:
            return "run"
        return "backup" if self.backup or self.to else "look"


class Step(NamedTuple):
    """One thing that can be done next: what it does, what it costs, and the extra variables to type."""

    what: str
    cost: str
    variables: str

    def line(self, command: str) -> str:
        """Return it as a line for a person."""
        return f"{self.what}. {self.cost} Type: {command}{' ' if self.variables else ''}{self.variables}"


class Plan(NamedTuple):
    """What will be done.

    Attributes:
        way: one of `WAYS`.
        decision: with C(run), one of `DECISIONS`; otherwise empty.
        run_id: the run to undo or to finish, or empty.
        backup: the backup to restore; empty for the newest one that is good.
        lines: what will be done, for a person.
    """

    way: str
    decision: str
    run_id: str
    backup: str
    lines: list[str]


def advise(status: Status, command: str) -> list[str]:
    """Return what can be done now, one line each, the first choice first.

    Args:
        status: what rollback_status returned.
        command: what to type, as far as it is the same for all: ``ansible-playbook restore.yml -e env=production``.
    """
    return [line if isinstance(line, str) else line.line(command) for line in _ways_on(status)]


def choose(status: Status, request: Request, command: str) -> Plan:
    """Return what will be done for a request.

    Raises:
        Refused: it names more than one way, something that is not there, or a run that is still at work.
    """
    _check_one_way(request, command)
    if request.way == "look":
        return Plan("look", "", "", "", ["Nothing was asked for, so nothing is changed."])
    _check_reachable(status, command)
    if request.way == "run":
        return _plan_of_run(status, request, command)
    _check_no_open_run(status, command)
    if request.way == "tables":
        line = f"Recover the tables {', '.join(request.tables)} from a backup."
        return Plan("tables", "", "", request.backup, [line])
    return _plan_of_backup(status, request, command)


def _check_one_way(request: Request, command: str) -> None:
    asked = [
        name for name, given in (("run", request.run), ("backup", request.backup), ("to", request.to)) if given
    ]  # fmt: skip
    if len(asked) > 1 or (request.tables and (request.run or request.to)):
        named = [*asked, *(["tables"] if request.tables else [])]
        raise Refused(
            f"{' and '.join(named)} were given: they are different ways, and only one can be gone.",
            untouched=_UNTOUCHED,
            remedy="Name one of them; tables go alone, or with -e backup=<its name>. What each would do is said by: "
            f"{command}",
        )
    if request.to and request.to not in (LATEST_GOOD, BEFORE_ROLLBACK):
        raise Refused(
            f"to={request.to} is not known.",
            untouched=_UNTOUCHED,
            remedy=f"It takes {LATEST_GOOD} or {BEFORE_ROLLBACK}; a backup is named by -e backup=<its name>.",
        )
    if request.keep_written and (request.accept_loss or request.way != "run"):
        raise Refused(
            "keep_written keeps what is there now, and only goes with run, without accept_loss.",
            untouched=_UNTOUCHED,
            remedy=f"Decide for one of the two. What each would do is said by: {command}",
        )


def _check_reachable(status: Status, command: str) -> None:
    if not status["database"]["reachable"]:
        raise Refused(
            f"The server of {status['database']['name']} cannot be reached: {_problem(status)}.",
            untouched=_UNTOUCHED,
            remedy="Start the server, or mend the way to it (URL, network, password); then look again: " + command,
        )
    if not status["database"]["exists"]:
        raise Refused(
            f"There is no database {status['database']['name']!r} on the server.",
            untouched=_UNTOUCHED,
            remedy=_missing(status),
        )


def _missing(status: Status) -> str:
    """Say what to do about a database that was dropped or renamed."""
    name = sql_name(status["database"]["name"])
    return (
        "Check the name in the URL: capitals and spaces count. If somebody dropped or renamed it, look at what is left "
        f"of it beside (playbooks/status.yml), and give it its name back: ALTER DATABASE … RENAME TO {name}; or "
        "restore a backup under another name with the db_restore module, and rename that."
    )


def _check_no_open_run(status: Status, command: str) -> None:
    open_run = status.get("open_run")
    if open_run:
        raise Refused(
            f"Run {open_run['run_id']}{open_run.get('owner', '')} is open on the database (state {open_run['state']}): "
            "its end comes first.",
            untouched=_UNTOUCHED,
            remedy=f"Bring the original back first: {command} -e run={open_run['run_id']}",
            other_run=open_run["run_id"],
        )


def _plan_of_backup(status: Status, request: Request, command: str) -> Plan:
    known = [backup["backup_id"] for backup in _of_database(status)]
    if request.backup and request.backup not in {backup["backup_id"] for backup in status["backups"]}:
        raise Refused(
            f"There is no backup {request.backup!r}.",
            untouched=_UNTOUCHED,
            remedy=f"There are: {', '.join(known)}." if known else "There is none at all in the folder of backups.",
        )
    if not known and not request.backup:
        raise Refused(
            "There is no backup to restore.",
            untouched=_UNTOUCHED,
            remedy="Look for one elsewhere (another tool host, the provider's own snapshots), and put its folder into "
            "the folder backups of the state folder.",
        )
    if request.backup:
        first = f"Restore backup {request.backup} beside the database, prove it, and let it take the database's place"
    elif request.to == LATEST_GOOD:
        first = "Restore the newest backup that is proven good, by its verification and not by its date"
    else:
        first = "Restore the newest good backup that has the schema of before the rollback, as it was rehearsed"
    return Plan(
        "backup",
        "",
        "",
        request.backup,
        [f"{first}.", "Say, before anything is swapped, which rows of now would not be there any more.",
         "Keep the present database, closed, as <database>__before_<run>."],
    )  # fmt: skip


def _plan_of_run(status: Status, request: Request, command: str) -> Plan:
    run_id = check_run_id(request.run)
    open_run = status.get("open_run")
    if open_run and open_run["run_id"] != run_id:
        raise Refused(
            f"Run {open_run['run_id']}{open_run.get('owner', '')} is open on the database, not run {run_id}.",
            untouched=_UNTOUCHED,
            remedy=f"Type: {command} -e run={open_run['run_id']}",
            other_run=open_run["run_id"],
        )
    if not open_run:
        return _plan_of_ended_run(status, request, command)
    if is_at_work(status):
        raise Refused(
            f"Run {run_id}{open_run.get('owner', '')} is still at work (state {open_run['state']}, its lease lasts "
            f"until {open_run['lease_until']}).",
            untouched=_UNTOUCHED,
            remedy="Let it end by itself: it restores the original when a step fails, and its keeper does when it "
            f"dies. When the lease has run out, type again: {command} -e run={run_id}",
            lease_until=open_run["lease_until"],
        )
    if open_run["state"] in BEFORE_SWAP:
        if request.keep_written:
            raise Refused(
                f"Run {run_id} has swapped nothing in yet (state {open_run['state']}): there is nothing to keep.",
                untouched=_UNTOUCHED,
                remedy=f"Open the original again, nothing is lost: {command} -e run={run_id}",
            )
        return Plan("run", "open_original", run_id, "", ["Open the original again, as it is. Nothing is lost."])
    if request.keep_written:
        return Plan("run", "finish", run_id, "", ["Keep the database as it is now, open it, and end the run."])
    if open_run.get("decision") == GO_FORWARD and not request.accept_loss:
        line = "The release that belongs to the database is on record: end the run with what it brought."
        back = f"To go back to before it instead: {command} -e run={run_id} -e accept_loss=true"
        return Plan("run", "finish", run_id, "", [line, back])
    loss = "Rows written since stay only in <database>__failed_<run>." if request.accept_loss else (
        "Only where nothing was written since the swap."
    )  # fmt: skip
    return Plan("run", "swap_back", run_id, "", [f"Swap the database of before run {run_id} back in. {loss}"])


def _plan_of_ended_run(status: Status, request: Request, command: str) -> Plan:
    run_id = request.run
    before = _of_run(status, "before", run_id)
    if before is None:
        kept = [database["run_id"] for database in _kept(status)]
        raise Refused(
            f"Run {run_id} is not open, and no database of before it is kept.",
            untouched=_UNTOUCHED,
            remedy=f"Runs to go back from: {', '.join(kept)}." if kept
            else f"A backup is what is left: {command} -e to={LATEST_GOOD}",
        )  # fmt: skip
    if request.keep_written:
        raise Refused(
            f"Run {run_id} has ended: what is there now is kept already.",
            untouched=_UNTOUCHED,
            remedy="Nothing needs to be done.",
        )
    if not request.accept_loss:
        raise Refused(
            f"Run {run_id} has ended, and production has been written to since: going back to {before['name']} leaves "
            "those rows only in the database that is set aside.",
            untouched=_UNTOUCHED,
            remedy=f"If that is what you want, say so: {command} -e run={run_id} -e accept_loss=true",
        )
    line = f"Swap {before['name']} back in; the present database is kept, closed, as <database>__failed_{run_id}."
    return Plan("run", "swap_back", run_id, "", [line])


def is_at_work(status: Status) -> bool:
    """Tell whether the open run may still be going on: its lease lasts, and its records do not say that it ended."""
    open_run = status["open_run"]
    if not open_run["lease_until"]:  # held until a person decides: nothing is at work, and no lease will ever run out
        return False
    ended = {run["run_id"] for run in status["runs"] if run["outcome"] not in (UNFINISHED, UNKNOWN)}
    return not open_run["lease_expired"] and open_run["run_id"] not in ended


def _ways_on(status: Status) -> Iterator[str | Step]:
    if not status["database"]["reachable"]:
        yield f"The server cannot be reached: {_problem(status)}. Start it, or mend the way to it, first."
        return
    if not status["database"]["exists"]:
        yield f"There is no database {status['database']['name']!r} on the server. {_missing(status)}"
        return
    if status.get("open_run"):
        yield from _for_open_run(status)
        return
    if not status["database"]["open"]:
        name = sql_name(status["database"]["name"])
        yield (
            "The database is closed, and no run is open: somebody closed it by hand. To open it, type in psql, in "
            f"another database: ALTER DATABASE {name} ALLOW_CONNECTIONS true;"
        )
    else:
        yield "The database is open and no run is open on it. If the application works, nothing needs to be done."
    yield from _for_kept(status)
    yield from _for_backups(status)


def _for_open_run(status: Status) -> Iterator[str | Step]:
    open_run, name = status["open_run"], status["database"]["name"]
    run_id, state = open_run["run_id"], open_run["state"]
    if is_at_work(status):
        yield (
            f"Run {run_id}{open_run.get('owner', '')} is at work (state {state}); its lease lasts until "
            f"{open_run['lease_until']}. Let it end: it restores the original when a step fails, and its keeper does "
            "when it dies. Then look again."
        )
    elif state in BEFORE_SWAP:
        yield Step(
            f"Run {run_id} died before its swap. Open {name} again, unaltered", "Nothing is lost.", f"-e run={run_id}"
        )
    elif open_run.get("decision") == GO_FORWARD:
        yield Step(
            f"Run {run_id} did not end, and the release for {name} is on record. End it with what it brought",
            "Nothing is lost.",
            f"-e run={run_id}",
        )
        yield Step(
            "Or go back to the database of before it",
            "What was written since then stays only in the database that is set aside.",
            f"-e run={run_id} -e accept_loss=true",
        )
    else:
        if open_run.get("held"):
            yield f"Run {run_id} waits for a person, because {open_run['held']}."
        yield Step(
            f"Run {run_id} swapped and did not end. Go back to the database of before it, if nothing was written since",
            "Nothing is lost; where rows were written, it is refused and says which.",
            f"-e run={run_id}",
        )
        yield Step(
            "Or keep what is there now, and end the run",
            "Nothing is lost; what is set aside stays so.",
            f"-e run={run_id} -e keep_written=true",
        )


def _for_kept(status: Status) -> Iterator[Step]:
    for database in _kept(status)[:1]:
        yield Step(
            f"Go back to the database of before run {database['run_id']} ({database['name']})",
            "What was written since then stays only in the database that is set aside.",
            f"-e run={database['run_id']} -e accept_loss=true",
        )


def _for_backups(status: Status) -> Iterator[str | Step]:
    good = [backup for backup in _of_database(status) if is_good(backup)]
    if good:
        newest = good[0]
        yield Step(
            f"Restore the newest backup that is proven good (the first to be tried is {newest['backup_id']}, "
            f"{_age(newest['age_hours'])} old)",
            "What was written since then is kept in <database>__before_<run>; it is said, in rows per table, before "
            "you are asked.",
            f"-e to={LATEST_GOOD}",
        )
        yield Step("Or recover single tables from it", "The others stay as they are.", "-e tables=<names>")
    else:
        yield "There is no backup that can be trusted here. Look for one elsewhere before anything else is tried."
    for backup in status["backups"]:
        if not backup["trusted"]:
            yield f"Backup {backup['backup_id']} cannot be used: {str(backup['problem']).rstrip('.')}."


def _of_database(status: Status) -> list[Mapping[str, Any]]:
    """Return the backups of this database, and those that cannot say whose they are, newest first."""
    name = status["database"]["name"]
    return [backup for backup in status["backups"] if backup["database"] in (name, "")]


def _kept(status: Status) -> Sequence[Mapping[str, Any]]:
    """Return the databases of before a run, the newest run first."""
    kept = [entry for entry in status["databases"] if entry["purpose"] == "before" and not entry["half_made"]]
    return sorted(kept, key=lambda entry: str(entry["run_id"]), reverse=True)


def _of_run(status: Status, purpose: str, run_id: str) -> Mapping[str, Any] | None:
    return next((entry for entry in _kept(status) if (entry["purpose"], entry["run_id"]) == (purpose, run_id)), None)


def _age(hours: float | None) -> str:
    if hours is None:
        return "an unknown time"
    for unit, length in (("days", 24.0), ("hours", 1.0)):
        if hours >= 2 * length:
            return f"{hours / length:.1f} {unit}"
    minutes = round(hours * 60)
    return f"{minutes} {'minute' if minutes == 1 else 'minutes'}"


def _problem(status: Status) -> str:
    return str(next(iter(status["problems"]), "it does not answer")).rstrip(".")
