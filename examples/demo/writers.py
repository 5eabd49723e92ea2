# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two users of production who do not stop: one posts through its API, one writes straight to PostgreSQL.

    python examples/demo/writers.py api|sql .demo

Each keeps a log of every write, a line of JSON per write, flushed before the next one is tried. After a refusal it
connects again at once. A line on standard input is the title of the next project; the end of standard input ends it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import psycopg2
import psycopg2.extensions
from ledger import Write, read_writes

WRITES_PER_SECOND = 30
PATIENCE_SECONDS = 10
WRITERS = ("api", "sql")
REFERENCE_PREFIX = "demo-"

Values = dict[str, Any]


class RefusedWrite(Exception):
    """A write that nobody acknowledged."""


class WriterSilent(RuntimeError):
    """A writer should be heard and is not; the message says where to look."""


class ApiWriter:
    """Posts projects to the API, on one connection that is kept.

    Args:
        port: the API's, on the loopback address.
    """

    name = "api"

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)

    def write(self, reference: str, values: Values) -> Values:
        """Post one project; return the columns that the API acknowledged.

        Raises:
            RefusedWrite: it did not answer 201.
        """
        body = json.dumps({"client_reference": reference, "priority": 1, **values})
        try:
            self._connection.request("POST", "/api/projects", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RefusedWrite(type(error).__name__) from error
        if answer.status != http.client.CREATED:
            raise RefusedWrite(f"HTTP {answer.status}")
        row = json.loads(content)
        return {column: row[column] for column in ("id", "title", "subtitle", "budget", "priority") if column in row}


class SqlWriter:
    """Inserts projects, and changes one of its own now and then, under the database's public name.

    Args:
        url: the database's.
    """

    name = "sql"

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def write(self, reference: str, values: Values) -> Values:
        """Insert a project, or change the one of that reference; return the columns that were committed.

        Raises:
            RefusedWrite: the database did not acknowledge the commit.
        """
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    self._url, connect_timeout=PATIENCE_SECONDS, application_name="balcon demo writer",
                    options=f"-c statement_timeout={PATIENCE_SECONDS * 1000}",
                )  # fmt: skip
            with self._connection.cursor() as cursor:
                done = self._change(cursor, reference, values)
            self._connection.commit()
        except psycopg2.Error as error:
            self._disconnect()
            raise RefusedWrite(str(error).strip().splitlines()[0] if str(error).strip() else "no answer") from error
        if not done:
            raise RefusedWrite("the row is not there")
        return values

    def _change(self, cursor: psycopg2.extensions.cursor, reference: str, values: Values) -> bool:
        if "title" in values:
            cursor.execute(
                "INSERT INTO projects (owner_id, client_reference, title, subtitle, budget, created_at)"
                " SELECT min(id), %s, %s, %s, %s, now() FROM users",
                (reference, values["title"], values["subtitle"], values["budget"]),
            )
        else:
            cursor.execute("UPDATE projects SET budget = %s WHERE client_reference = %s", (values["budget"], reference))
        return bool(cursor.rowcount == 1)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def planned_writes(name: str, titles: Iterator[str | None]) -> Iterator[tuple[str, Values]]:
    """Yield reference and columns of one write after the other, without end.

    Args:
        name: the writer's; the SQL writer changes an earlier row at every fifth write.
        titles: a title that somebody asked for, or None.
    """
    number = 0
    for title in titles:
        number += 1
        if name == SqlWriter.name and number % 5 == 0 and title is None:
            yield f"{REFERENCE_PREFIX}{name}-{number - 4}", {"budget": number}
            continue
        values = {"title": title or f"Balcony {number}", "subtitle": f"written by {name}", "budget": number}
        yield f"{REFERENCE_PREFIX}{name}-{number}", values


def asked_titles(source: TextIO) -> Iterator[str | None]:
    """Yield a line that has come in, or None when there is none; ends when the source does."""
    while True:
        if not select.select([source], [], [], 0)[0]:
            yield None
            continue
        line = source.readline()
        if not line:
            return
        yield line.strip()


def keep_writing(writer: ApiWriter | SqlWriter, log: TextIO, titles: Iterator[str | None]) -> None:
    """Write steadily and log every write, until the titles end."""
    begin, ticks = time.monotonic(), 0
    for reference, values in planned_writes(writer.name, titles):
        try:
            write = Write(0, reference, writer.write(reference, values), acknowledged=True)
        except RefusedWrite as refusal:
            write = Write(0, reference, values, acknowledged=False, error=str(refusal))
        log.write(json.dumps({**vars(write), "clock": time.monotonic()}) + "\n")
        log.flush()
        # A write that took long is not made up for: the pace is a pause between writes, not a quota.
        ticks = max(ticks + 1, int((time.monotonic() - begin) * WRITES_PER_SECOND))
        time.sleep(max(0.0, begin + ticks / WRITES_PER_SECOND - time.monotonic()))


@dataclass
class Writers:
    """Both writers, as the demo starts and ends them, and what they noted.

    Args:
        folder: the demo's.
    """

    folder: Path
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)

    def start(self) -> None:
        """Start both, each in a session of its own: Ctrl-C is for the demo, which then ends them."""
        for name in WRITERS:
            with (self.folder / "logs" / f"writer-{name}.log").open("a") as complaints:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, __file__, name, str(self.folder)],
                    stdin=subprocess.PIPE, stdout=complaints, stderr=complaints, text=True, start_new_session=True,
                )  # fmt: skip

    def ask(self, name: str, title: str) -> None:
        """Have one of them write a project with this title next."""
        pipe = self.processes[name].stdin
        if pipe is not None:
            pipe.write(title + "\n")
            pipe.flush()

    def stop(self) -> None:
        """Let each end its last write, and end it."""
        for process in self.processes.values():
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def writes(self, name: str) -> list[Write]:
        """Return what a writer noted up to now."""
        return read_writes(self._log(name))

    def wait_for(
        self, wanted: Callable[[Write], bool], names: tuple[str, ...] = WRITERS, *, seconds: float = 20
    ) -> None:
        """Wait until each of these writers has had a write of that kind acknowledged.

        Raises:
            WriterSilent: one of them has not, for so many seconds.
        """
        deadline = time.monotonic() + seconds
        missing = list(names)
        while missing:
            missing = [name for name in missing if not any(w.acknowledged and wanted(w) for w in self.writes(name))]
            if missing and time.monotonic() > deadline:
                raise WriterSilent(f"The {missing[0]} writer gets nothing acknowledged: see {self._log(missing[0])}.")
            time.sleep(0.1)

    def _log(self, name: str) -> Path:
        return writer_log(self.folder, name)


def writer_log(folder: Path, name: str) -> Path:
    """Return where a writer notes its writes."""
    return folder / "logs" / f"writer-{name}.jsonl"


def main(arguments: list[str]) -> int:
    """Be one of the two writers; return the exit code."""
    name, folder = arguments[0], Path(arguments[1])
    inventory = json.loads((folder / "inventory.json").read_text())
    secret = json.loads((folder / "secrets.json").read_text())
    writer: ApiWriter | SqlWriter
    writer = ApiWriter(inventory["api_port"]) if name == ApiWriter.name else SqlWriter(secret["production_url"])
    with writer_log(folder, name).open("a", encoding="utf-8") as log:
        keep_writing(writer, log, asked_titles(sys.stdin))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
