# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that migrations are held to before they are merged: how grave each is, why, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .errors import Refused

ERROR, WARNING, NOTE, OFF = "error", "warning", "note", "off"

SEVERITIES = (ERROR, WARNING, NOTE, OFF)
"""The gravest first."""

NEVER_TABLES = "Never drop tables in migrations without data migration plan"
NULLABLE_FIRST = "Always add columns as nullable first, populate data, then add constraint"
ALWAYS_DOWN = "Always include down() method"
COUNT_ROWS = "Include row count verification"
APP_WORKS = "Test rollback: verify application still works"
TEST_FIRST = "Test migrations in development: up, down, up again"


class Rule(NamedTuple):
    """A rule.

    Attributes:
        severity: `ERROR`, `WARNING` or `NOTE`, unless the team says otherwise.
        remedy: what to write instead.
        runbook: the sentence of the rollback procedures that it comes from, or "".
        may_be_allowed: whether a comment with a reason lets it pass.
    """

    severity: str
    remedy: str
    runbook: str = ""
    may_be_allowed: bool = True


RULES: dict[str, Rule] = {
    # -- files
    "down-missing": Rule(ERROR, "Write the down() that takes it back, and see it work.", ALWAYS_DOWN),
    "down-empty": Rule(
        ERROR,
        "Write what takes it back. If nothing can, keep what it needs, the old values in a column of their own.",
        ALWAYS_DOWN,
    ),
    "down-not-proven": Rule(WARNING, "Let the file itself export a down() that the parser can read.", ALWAYS_DOWN),
    "manifest-missing": Rule(ERROR, "Make the manifest again with the project's manifest script.", "", False),
    "manifest-differs": Rule(
        ERROR,
        "Make the manifest again, if nobody has applied the migration yet; otherwise take the change back and write a"
        " new migration.",
        "",
        False,
    ),
    "manifest-orphan": Rule(ERROR, "Bring the file back, or make the manifest again.", "", False),
    "edited": Rule(
        ERROR,
        "Take the change back: databases that have applied it will not apply it again. Write a new migration.",
        "",
        False,
    ),
    "out-of-order": Rule(
        ERROR,
        "Give it a name that sorts behind the last one: tools take the greatest name for the last, and would revert"
        " another one first.",
        "",
        False,
    ),
    "unread": Rule(WARNING, "Write SQL as plain text, so that it can be read before it is run."),
    # -- data
    "not-null-without-default": Rule(
        ERROR,
        "Add the column as nullable, fill it, and add the constraint in a later step: CHECK (… IS NOT NULL) NOT VALID,"
        " VALIDATE CONSTRAINT, SET NOT NULL.",
        NULLABLE_FIRST,
    ),
    "drop-table": Rule(
        ERROR,
        "Rename the table first and drop it some releases later, or say where its rows went.",
        NEVER_TABLES,
    ),
    "drop-column": Rule(
        ERROR,
        "Stop using the column in one release and drop it in a later one, or say where its values went.",
        NEVER_TABLES,
    ),
    "narrowing-type": Rule(
        ERROR,
        "Add a column of the new type, copy what fits, decide on what does not, and change over.",
        "Changed VARCHAR(50) to VARCHAR(20), truncating data",
    ),
    "delete-everything": Rule(
        ERROR,
        "Say which rows (WHERE …), and keep a copy of them that down() can bring back.",
        NEVER_TABLES,
    ),
    "down-drops-more": Rule(
        ERROR,
        "Let down() drop only what its own up() has made: a table that was there before would be destroyed.",
        ALWAYS_DOWN,
    ),
    "row-count-check": Rule(NOTE, "Count the rows before and after, and throw when the numbers differ.", COUNT_ROWS),
    # -- locks
    "index-not-concurrent": Rule(
        WARNING,
        "CREATE INDEX CONCURRENTLY, in a migration of its own and outside a transaction; writes wait otherwise.",
    ),
    "drop-index-not-concurrent": Rule(WARNING, "DROP INDEX CONCURRENTLY, outside a transaction."),
    "constraint-validated": Rule(
        WARNING,
        "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a statement of its own: writes wait for the whole"
        " check otherwise.",
    ),
    "unique-constraint": Rule(
        WARNING,
        "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX; nobody reads or writes otherwise.",
    ),
    "set-not-null": Rule(
        WARNING,
        "First CHECK (… IS NOT NULL) NOT VALID and VALIDATE CONSTRAINT: SET NOT NULL then need not read the table while"
        " everybody waits.",
        NULLABLE_FIRST,
    ),
    "table-rewrite": Rule(
        WARNING,
        "Add a new column, fill it in batches, and change over: everybody waits while the whole table is written.",
    ),
    "exclusive-lock": Rule(
        WARNING, "Do it outside a migration, or in its CONCURRENTLY form: everybody waits meanwhile."
    ),
    "update-everything": Rule(NOTE, "On a large table, update in batches: every row is locked and written anew."),
    "rename": Rule(
        WARNING,
        "Add the new name beside the old one, change over, and remove the old one later: the release that runs, and the"
        " one that a rollback brings back, use the old name.",
    ),
    "enum-value": Rule(WARNING, "A value of an enum cannot be removed again: down() needs a new type, or a CHECK."),
    "rebuild-on-sqlite": Rule(
        NOTE,
        "On SQLite, Sequelize rebuilds the whole table for this, empties tables that refer to it with ON DELETE CASCADE"
        " and loses UNIQUE and indexes: write ALTER TABLE … DROP COLUMN as plain SQL there.",
    ),
    # -- the round trip
    "up-fails": Rule(ERROR, "Mend up(); everything after it was not tried.", TEST_FIRST, False),
    "down-fails": Rule(ERROR, "Mend down().", TEST_FIRST, False),
    "up-again-fails": Rule(ERROR, "Let down() remove everything that up() has made.", TEST_FIRST, False),
    "down-leaves-change": Rule(ERROR, "Let down() bring back exactly what was there before.", TEST_FIRST),
    "up-again-differs": Rule(ERROR, "Let up() do the same each time.", TEST_FIRST),
    "rows-changed": Rule(ERROR, "Find out which statement adds or removes rows. If that is meant, say so.", COUNT_ROWS),
    "rows-after-down": Rule(ERROR, "down() must not lose rows: copy them before they are dropped.", COUNT_ROWS),
    "values-after-down": Rule(
        WARNING, "Keep the old values until the release is proven, so that down() can bring them back.", NEVER_TABLES
    ),
    "down-fails-on-new-rows": Rule(
        WARNING,
        "Let down() deal with rows that only the newer release could write (longer values, nulls), or check before the"
        " first step that there are none.",
        TEST_FIRST,
    ),
    "app-fails-after-up": Rule(ERROR, "Mend the application or the migration: they belong together.", APP_WORKS),
    "app-fails-after-down": Rule(
        ERROR,
        "Let the application work without the migration as well, or say which release has to take its place.",
        APP_WORKS,
    ),
    # -- comments
    "allowed-without-reason": Rule(
        ERROR, "Write why after the rule: 'check-migrations: allow RULE, because …'.", "", False
    ),
    "allowed-unknown": Rule(WARNING, "Name a rule of the list in docs/check-migrations.md.", "", False),
    "allowed-for-nothing": Rule(NOTE, "Remove the comment.", "", False),
}


def severities(wishes: Mapping[str, object]) -> dict[str, str]:
    """Return how grave each rule is, as the team wishes.

    Args:
        wishes: severities by rule, for those that differ.

    Raises:
        Refused: there is no such rule or severity, or one is to be turned off that cannot be.
    """
    for name, severity in wishes.items():
        if name not in RULES or severity not in SEVERITIES:
            raise Refused(
                f"There is no rule {name!r} with severity {severity!r}.",
                untouched="Nothing was checked.",
                remedy=f"Rules: {', '.join(RULES)}. Severities: {', '.join(SEVERITIES)}, in quotes: YAML reads off as"
                " false.",
            )
    return {name: str(wishes.get(name, rule.severity)) for name, rule in RULES.items()}
