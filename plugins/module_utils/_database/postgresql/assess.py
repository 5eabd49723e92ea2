# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assesses a database: reads all of it, and asks the server what contradicts itself."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._domain.assessment import (
    Finding,
    OwnedSequence,
    Refusal,
    assessment_lines,
    finding,
    is_clean,
    judge_foreign_key,
    judge_index,
    judge_sequence,
    judge_table,
    not_read,
)
from ..._domain.catalogue import canonical_catalogue, change_between, describe, unquote, without_rights
from ..._domain.errors import Failed
from ..._driver import one_row, psycopg2
from .amcheck import Amcheck, plan_amcheck
from .catalogue import read_catalogue
from .contents import Table, in_parallel, list_tables, rows_query
from .foreign_keys import ForeignKey, orphans_query, read_foreign_keys
from .reading import export_snapshot, reading

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection
    from psycopg2.extensions import cursor as Cursor

    from ..._domain.fingerprint import Fingerprint
    from .connection import Server

    Row = Sequence[Any]

_SEQUENCES = """
SELECT DISTINCT format('%I.%I', sn.nspname, s.relname), format('%I.%I', tn.nspname, t.relname), t.relkind = 'p',
  format('%I', a.attname), q.seqincrement
FROM pg_class s JOIN pg_namespace sn ON sn.oid = s.relnamespace JOIN pg_sequence q ON q.seqrelid = s.oid
JOIN (
  SELECT objid AS sequence, refobjid AS relation, refobjsubid AS number FROM pg_depend
  WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
  UNION SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid = 0
) used ON used.sequence = s.oid
JOIN pg_class t ON t.oid = used.relation JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = used.number
WHERE s.relkind = 'S' AND t.relkind IN ('r', 'p') AND t.relpersistence <> 't' AND NOT q.seqcycle
  AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) ORDER BY 1, 2
"""

_INVALID_INDEXES = """
SELECT format('%I.%I', n.nspname, c.relname), format('%I.%I', tn.nspname, t.relname) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
WHERE NOT (i.indisvalid AND i.indisready) AND c.relpersistence <> 't' ORDER BY 1
"""

_STATISTICS = """
SELECT format('%I.%I', schemaname, relname), n_live_tup, n_dead_tup FROM pg_stat_user_tables
"""

_CHECKSUMS = """
SELECT coalesce(checksum_failures, 0), checksum_last_failure::text FROM pg_stat_database
WHERE datname = current_database()
"""


class Question(NamedTuple):
    """One thing to ask the server: the statement, and how its only row is judged."""

    check: str
    what: str
    statement: str
    judge: Callable[[Row], list[Finding]]


class _Answers:
    """The questions that nobody has asked yet, and the findings of all sessions."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self.findings: list[Finding] = []
        self._unasked: queue.SimpleQueue[Question] = queue.SimpleQueue()
        for question in questions:
            self._unasked.put(question)

    def work_off(self, connection: Connection) -> None:
        """Ask one question after the other, until there are no more.

        Raises:
            Failed: the server ended the session over one of them.
        """
        with connection.cursor() as cursor:
            while True:
                try:
                    question = self._unasked.get_nowait()
                except queue.Empty:
                    return
                self._ask(connection, cursor, question)

    def _ask(self, connection: Connection, cursor: Cursor, question: Question) -> None:
        cursor.execute("SAVEPOINT question")
        try:
            cursor.execute(question.statement)
            found = question.judge(one_row(cursor))
        except psycopg2.Error as error:
            if connection.closed:
                raise self._lost(question, str(error).strip()) from None
            found = [not_read(question.check, question.what, Refusal(str(error).strip(), error.pgcode or "XX000"))]
            cursor.execute("ROLLBACK TO SAVEPOINT question")
        self.findings += found
        cursor.execute("RELEASE SAVEPOINT question")

    def _lost(self, question: Question, said: str) -> Failed:
        return Failed(
            f"The server ended the session while it looked at {question.what} ({question.check}): {said}. A damaged "
            "page can do that to a server.",
            untouched="The database was only read.",
            remedy="Read the server's log, and restore: ansible-playbook playbooks/restore.yml -e env=… -e "
            "to=latest_good",
            object=question.what,
            findings=self.findings,
        )


def assess_database(
    server: Server,
    database: str,
    *,
    then: Fingerprint | None = None,
    budget_bytes: int | None = None,
    jobs: int = 2,
) -> dict[str, Any]:
    """Assess a database; see the module db_assess for what is returned.

    Args:
        server: the server.
        database: its name.
        then: the fingerprint of a backup, by method C(text), to compare with.
        budget_bytes: read the contents of so many bytes of tables at most, the smallest first; of the others only
            count the rows.
        jobs: sessions that read at the same time.

    Raises:
        Refused: nobody is let into the database.
    """
    with reading(server, database) as connection, connection.cursor() as cursor:
        snapshot = export_snapshot(connection)
        listed = list_tables(cursor, method="text", skip_columns={}, skip_tables=())
        deep = _within(listed.tables, budget_bytes)
        amcheck = plan_amcheck(cursor, deep)
        keys = read_foreign_keys(cursor)
        held: dict[str, dict[str, Any]] = {}
        questions = [
            *(_contents_question(table, table.identity in deep, held) for table in listed.tables),
            *_foreign_key_questions(keys),
            *_sequence_questions(cursor),
            *_amcheck_questions(amcheck),
        ]
        answers = _Answers(questions)
        _ask_all(server, database, snapshot, answers, jobs)
        findings = [*answers.findings, *_from_catalogue(cursor)]
        tables, differences = _against(held, then, _statistics(cursor), [table.identity for table in listed.tables])
        schema = _schema_findings(connection, then) if then else []
        checks = _checks(listed.tables, deep, amcheck, keys, then)
    findings += [*differences, *schema]
    return {
        "clean": is_clean(findings),
        "findings": sorted(findings, key=lambda each: (each["check"], each["object"])),
        "tables": tables,
        "checks": checks,
        "lines": assessment_lines(database, findings, checks),
    }


def _ask_all(server: Server, database: str, snapshot: str, answers: _Answers, jobs: int) -> None:
    def work() -> None:
        with reading(server, database, snapshot) as connection:
            answers.work_off(connection)

    in_parallel([work] * max(1, jobs))


def _within(tables: Sequence[Table], budget_bytes: int | None) -> set[str]:
    left = float("inf") if budget_bytes is None else float(budget_bytes)
    chosen = set()
    for table in sorted(tables, key=lambda table: table.bytes):
        left -= table.bytes
        if left >= 0:
            chosen.add(table.identity)
    return chosen


def _contents_question(table: Table, deep: bool, held: dict[str, dict[str, Any]]) -> Question:
    columns = [unquote(name) for name in table.columns] if deep else None

    def judge(row: Row) -> list[Finding]:
        held[table.identity] = {"rows": row[0], "contents": row[1], "columns": columns}
        return []

    return Question("contents", table.identity, rows_query(table, "contents" if deep else "counts", "text"), judge)


def _foreign_key_questions(keys: Iterable[ForeignKey]) -> list[Question]:
    return [
        Question(
            "foreign keys",
            key.child,
            orphans_query(key),
            lambda row, key=key: judge_foreign_key(key.name, key.child, key.parent, row[0]),  # type: ignore[misc]
        )
        for key in keys
        if key.can_be_checked
    ]


def _sequence_questions(cursor: Cursor) -> list[Question]:
    """Ask what each column has reached in our snapshot, and where its sequence stands now, which can only be later."""
    questions = []
    for name, table, partitioned, column, increment in sequences_of_columns(cursor):
        source = f"{'' if partitioned else 'ONLY '}{table}"
        statement = (
            f"SELECT last_value, is_called, (SELECT max({column}) FROM {source}), "  # noqa: S608  # quoted by the server
            f"(SELECT min({column}) FROM {source}) FROM {name}"
        )

        def judge(
            row: Row, name: str = name, column: str = f"{table}.{column}", step: int = increment
        ) -> list[Finding]:
            return judge_sequence(OwnedSequence(name, column, row[0], row[1], step, row[2], row[3]))

        questions.append(Question("sequences", name, statement, judge))
    return questions


def sequences_of_columns(cursor: Cursor) -> list[tuple[str, str, bool, str, int]]:
    """Return the sequences that columns take their values from, but those that begin again: the sequence, the table,
    whether that is partitioned, the column, and the increment.
    """
    cursor.execute(_SEQUENCES)
    return list(cursor.fetchall())


def _amcheck_questions(amcheck: Amcheck) -> list[Question]:
    heaps = [
        Question("amcheck", table, statement, lambda row, table=table: _judge_heap(table, row))  # type: ignore[misc]
        for table, statement in amcheck.heaps.items()
    ]
    indexes = [Question("amcheck", index, statement, lambda _row: []) for index, statement in amcheck.indexes.items()]
    return heaps + indexes


def _judge_heap(table: str, row: Row) -> list[Finding]:
    number, first = row
    message = f"{table} is damaged in {number} places, the first: {first}"
    return [finding("amcheck", "broken", table, message, number)] if number else []


def _from_catalogue(cursor: Cursor) -> list[Finding]:
    cursor.execute(_INVALID_INDEXES)
    findings = [judge_index(index, table) for index, table in cursor.fetchall()]
    cursor.execute(_CHECKSUMS)
    failures, last = one_row(cursor)
    if failures:
        message = f"The server counted {failures} pages whose checksum was wrong, the last at {last}."
        findings.append(finding("checksums", "suspect", "the database", message))
    return findings


def _statistics(cursor: Cursor) -> dict[str, tuple[int, int]]:
    cursor.execute(_STATISTICS)
    return {name: (live, dead) for name, live, dead in cursor.fetchall()}


def _against(
    held: dict[str, dict[str, Any]], then: Fingerprint | None, statistics: dict[str, tuple[int, int]], names: list[str]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """Return what is said of each table, and how it differs from the backup."""
    past: dict[str, Any] = then["tables"] if then else {}
    unread = {"rows": None, "contents": None, "columns": None}
    tables, findings = [], []
    for name in sorted({*names, *past}):
        now = held.get(name, unread) if name in names else None
        contents, found = judge_table(name, now, past.get(name)) if then else ("not compared", [])
        live, dead = statistics.get(name, (None, None))
        rows, rows_then = (now or unread)["rows"], past.get(name, unread)["rows"]
        tables.append(
            {"name": name, "rows": rows, "rows_then": rows_then, "live": live, "dead": dead, "contents": contents}
        )
        findings += found
    return tables, findings


def _schema_findings(connection: Connection, then: Fingerprint) -> list[Finding]:
    before, now = (
        canonical_catalogue(without_rights(part)) for part in (then["catalogue"], read_catalogue(connection))
    )
    return [
        finding("schema", "note", "the schema", f"since the backup: {line}")
        for line in describe(change_between(before, now))
    ]


def _checks(
    tables: Sequence[Table],
    deep: set[str],
    amcheck: Amcheck,
    keys: Sequence[ForeignKey],
    then: Fingerprint | None,
) -> list[dict[str, Any]]:
    """Say of each check whether it was done as a whole, and why not."""
    shallow = len(tables) - len(deep)
    unchecked = [key.name for key in keys if not key.can_be_checked]
    reasons = {
        "statistics": "",
        "contents": f"{shallow} tables are beyond budget_bytes: only their rows were counted" if shallow else "",
        "backup": "" if then else "no backup was given to compare with",
        "foreign keys": f"not enforced, not validated or temporal: {', '.join(unchecked)}" if unchecked else "",
        "sequences": "",
        "indexes": "",
        "amcheck": amcheck.reason,
    }
    return [{"name": name, "done": not reason, "reason": reason} for name, reason in reasons.items()]
