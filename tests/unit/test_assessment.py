# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is broken, what is suspect, and what is only worth a note."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.assessment import (
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


def table(rows: int | None = 3, contents: str | None = "7", columns: Any = ("a",)) -> dict[str, Any]:
    return {"rows": rows, "contents": contents, "columns": list(columns) if columns else None}


@pytest.mark.parametrize(
    ("now", "then", "contents", "severities"),
    [
        (table(), table(), "same", []),
        (table(contents="8"), table(), "different", ["note"]),
        (table(rows=4), table(), "different", ["note"]),
        (table(rows=0), table(), "different", ["suspect"]),
        (None, table(), "gone", ["suspect"]),
        (table(), None, "new", ["note"]),
        (table(rows=None), table(), "not compared", []),
        (table(contents=None, columns=None), table(), "not compared", []),
        (table(columns=["a", "b"]), table(), "not compared", []),
    ],
)
def test_table_against_a_backup(now: Any, then: Any, contents: str, severities: list[str]) -> None:
    verdict, found = judge_table("public.t", now, then)
    assert (verdict, [each["severity"] for each in found]) == (contents, severities)


@pytest.mark.parametrize(
    ("code", "severity"),
    [("XX001", "broken"), ("XX000", "broken"), ("58030", "broken"), ("22021", "broken"), ("42501", "suspect"),
     ("55P03", "suspect"), ("57014", "suspect")],
)  # fmt: skip
def test_errors_are_judged_by_their_class(code: str, severity: str) -> None:
    assert not_read("contents", "public.t", Refusal("no", code))["severity"] == severity


@pytest.mark.parametrize(
    ("last", "called", "step", "highest", "lowest", "behind"),
    [
        (5, True, 1, 5, 1, False),
        (5, True, 1, 6, 1, True),
        (6, False, 1, 5, 1, False),
        (5, False, 1, 5, 1, True),
        (-5, True, -1, -1, -5, False),
        (-5, True, -1, -1, -6, True),
        (1, False, 1, None, None, False),
    ],
)
def test_sequences(last: int, called: bool, step: int, highest: int | None, lowest: int | None, behind: bool) -> None:
    found = judge_sequence(OwnedSequence("public.s", "public.t.id", last, called, step, highest, lowest))
    assert bool(found) is behind


def test_only_what_is_broken_makes_it_unclean() -> None:
    suspect = [finding("sequences", "suspect", "s", "behind"), finding("contents", "note", "t", "more rows")]
    broken = judge_foreign_key("fk", "public.orders", "public.users", 2)
    assert is_clean(suspect)
    assert not is_clean([*suspect, *broken])
    assert judge_foreign_key("fk", "public.orders", "public.users", 0) == []


def test_lines_begin_with_the_gravest_and_end_with_what_was_not_looked_at() -> None:
    findings = [finding("contents", "note", "t", "more"), *judge_foreign_key("fk", "public.o", "public.u", 1)]
    lines = assessment_lines("shop", findings, [{"name": "amcheck", "done": False, "reason": "not there"}])
    assert lines[0] == "shop: 1 BROKEN, 0 to look at, 1 to note."
    assert lines[1].startswith("broken: o: 1 row has no parent in u")
    assert lines[-1] == "not looked at: amcheck: not there"


def test_an_index_that_is_not_valid_comes_with_the_statement_that_builds_it_again() -> None:
    found = judge_index('public."by Name"', "public.users")
    assert found["severity"] == "suspect"
    assert 'REINDEX INDEX CONCURRENTLY public."by Name";' in found["message"]


def test_a_long_assessment_says_how_much_more_there_is() -> None:
    findings = [finding("contents", "note", f"t{number}", f"t{number} is new.") for number in range(100)]
    lines = assessment_lines("shop", findings, [])
    assert lines[0] == "shop: nothing is broken, 0 to look at, 100 to note."
    shown = len(lines) - 2
    assert 0 < shown < 100
    assert lines[-1] == f"and {100 - shown} more."
