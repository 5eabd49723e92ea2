# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations that misbehave in the window, though their rehearsal went well: the original is open again, unaltered.

The rehearsed files are what they were; the command that reverts does something else this time, as one does whose data,
network or environment differ from the rehearsal's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .case import AFTER, BEFORE, Act, Case, nothing
from .saying import says

if TYPE_CHECKING:
    from .trial import Trial

NEWEST, SECOND = "20240107000000-add-project-priority.ts", "20240106000000-widen-project-title.ts"
DROP, DELETE = "ALTER TABLE projects DROP COLUMN priority", f"DELETE FROM migrations_meta WHERE name = '{NEWEST}'"
UNCHANGED, OTHERWISE = "the state table did not change", "did not change as it was rehearsed"

_PROGRAM = """
import fs from 'node:fs';
import pg from 'pg';
const [file, ...then] = process.argv.slice(2);
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
client.on('error', () => undefined);
await client.connect();
for (const statement of fs.readFileSync(file, 'utf8').split(';')) await client.query(statement);
if (then.includes('leave')) process.exit(0);
if (then.includes('stay')) await new Promise((resolve) => setTimeout(resolve, 600_000));
await client.end();
"""
"""Runs the statements of a file where the tool is told to work; then ends, leaves without a word, or stays."""


def runs(*statements: str, command: str = "{sql}") -> Act:
    """Return an act that lets the command which reverts run SQL.

    Args:
        statements: the SQL.
        command: the script; C({sql}) is what runs the SQL, C({original}) the true command.
    """

    def prepare(trial: Trial) -> None:
        (trial.checkout / "hostile.mjs").write_text(_PROGRAM)
        (trial.checkout / "hostile.sql").write_text(";\n".join(statements))
        trial.set_script("migrate:down", command.replace("{sql}", "node hostile.mjs hostile.sql"))

    return prepare


def _impatient(trial: Trial) -> None:
    """No step may take longer than the window that was allowed."""
    runs("SELECT pg_sleep(600)")(trial)
    trial.changes["production"]["rollback_max_window"] = 30


def _case(
    name: str, what: str, prepare: Act, *said: str, ends: tuple[str, ...] = (BEFORE,), code: int | None = None
) -> Case:
    return Case(f"down-{name}", f"migrate down: it {what}", ends, nothing, prepare, says(*said, code=code))


CASES: list[Case] = [
    _case("hangs", "hangs in a statement", _impatient, "did not end within 30"),
    _case(
        "kills-its-backend",
        "ends its own session half-way",
        runs(DROP, "SELECT pg_terminate_backend(pg_backend_pid())"),
        NEWEST,
        "exit code 1",
    ),
    _case("does-nothing", "exits 0 having done nothing", runs("SELECT 1"), UNCHANGED),
    _case(
        "reverts-another",
        "reverts the wrong migration",
        runs("ALTER TABLE projects DROP COLUMN subtitle", f"DELETE FROM migrations_meta WHERE name = '{SECOND}'"),
        f"{SECOND} went away",
    ),
    _case("half-finishes", "fails after the first half", runs(DROP, command="{sql} && exit 3"), "exit code 3"),
    _case("half-finishes-well", "exits 0 after the first half", runs(DROP), UNCHANGED),
    _case("deletes-the-row-alone", "takes the row away and leaves the column", runs(DELETE), OTHERWISE),
    _case(
        "leaves-a-transaction",
        "ends with its transaction open",
        runs("BEGIN", DROP, DELETE, command="{sql} leave"),
        UNCHANGED,
    ),
    _case(
        "leaves-a-session",
        "leaves a process behind with an open transaction",
        runs("BEGIN", DROP, DELETE, command="setsid {sql} stay > /dev/null 2>&1 & sleep 2"),
        UNCHANGED,
    ),
    _case(
        "leaves-a-locker",
        "reverts, and leaves a process that holds a lock",
        runs("BEGIN", "LOCK TABLE users", command="{original} && (setsid {sql} stay > /dev/null 2>&1 & sleep 1)"),
        ends=(AFTER,),
        code=0,
    ),
    _case(
        "leaves-a-writer",
        "leaves a process that writes later",
        runs(
            "SELECT pg_sleep(4)",
            "UPDATE users SET email = 'x' || email",
            command="{original} && (setsid {sql} > /dev/null 2>&1 & sleep 1)",
        ),
        ends=(AFTER,),
        code=0,
    ),
    _case(
        "writes-elsewhere",
        "writes to a table outside the plan",
        runs(
            "UPDATE users SET email = upper(email) WHERE id = (SELECT min(id) FROM users)",
            command="{original} && {sql}",
        ),
        OTHERWISE,
    ),
    _case(
        "drops-elsewhere",
        "drops a table outside the plan",
        runs("DROP TABLE project_files", command="{original} && {sql}"),
        OTHERWISE,
    ),
    _case(
        "grants-elsewhere",
        "gives a stranger a privilege",
        runs("GRANT SELECT ON users TO auditor", command="{original} && {sql}"),
        OTHERWISE,
    ),
    _case(
        "applies-again",
        "applies again what it reverted",
        runs("SELECT 1", command="{original} && npm run --silent migrate"),
        UNCHANGED,
    ),
]
