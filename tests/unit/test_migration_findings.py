# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings: what a comment allows, how grave they are, and how they are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_findings import (
    Finding,
    apply_allowances,
    count,
    graded,
    merge,
    passes,
    read_allowances,
    summary,
    text_lines,
    workflow_commands,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_rules import RULES, severities
from ansible_collections.balcon.rollback.plugins.module_utils._domain.sql_text import Comment

NAME = "1.ts"
FILES = {NAME: "backend/migrations/1.ts"}
DROP = Finding("drop-table", NAME, "a is dropped, with all its rows.", 5, "a")
REASON = "check-migrations: allow drop-table, because its rows were moved to b by migration 12"


def allowed(comment: str, line: int, *findings: Finding) -> list[Finding]:
    allowances = read_allowances([Comment(comment, line)], {6: 5}, [5, 6, 9])
    return apply_allowances(findings, allowances, NAME)


@pytest.mark.parametrize("line", [4, 5, 2], ids=["above", "same line", "far above"])
def test_a_comment_with_a_reason_allows(line: int) -> None:
    (finding,) = allowed(REASON, line, DROP)
    assert finding.reason == "its rows were moved to b by migration 12"


def test_it_covers_the_whole_statement() -> None:
    inside = Finding("drop-table", NAME, "b is dropped.", 6, "b")
    assert [bool(each.reason) for each in allowed(REASON, 4, DROP, inside)] == [True, True]


def test_it_covers_no_other_statement_and_no_other_rule() -> None:
    elsewhere = Finding("drop-table", NAME, "c is dropped.", 9, "c")
    other = Finding("rename", NAME, "a becomes b.", 5, "a")
    found = allowed(REASON, 4, DROP, elsewhere, other)
    assert [(each.line, each.rule, bool(each.reason)) for each in found] == [
        (5, "drop-table", True),
        (9, "drop-table", False),
        (5, "rename", False),
    ]


def test_what_belongs_to_the_whole_file_is_allowed_from_anywhere() -> None:
    seen = Finding("drop-table", NAME, "a is gone.", 0, "a", "scratch")
    assert allowed(REASON, 9, seen)[0].reason


@pytest.mark.parametrize("reason", ["", ",", ", ok", " because of ABC"])
def test_a_reason_is_needed(reason: str) -> None:
    found = allowed(f"check-migrations: allow drop-table{reason}", 4, DROP)
    assert [(each.rule, each.reason) for each in found] == [("drop-table", ""), ("allowed-without-reason", "")]


@pytest.mark.parametrize("rule", ["drop-tables", "manifest-differs", "up-fails"])
def test_only_rules_that_may_be_allowed(rule: str) -> None:
    finding = Finding(rule if rule in RULES else "drop-table", NAME, "It is so.", 5)
    found = allowed(f"check-migrations: allow {rule}, because we have always done it", 4, finding)
    assert [(each.rule, each.reason) for each in found] == [(finding.rule, ""), ("allowed-unknown", "")]


def test_a_comment_for_nothing_is_said() -> None:
    assert [each.rule for each in allowed(REASON, 4)] == ["allowed-for-nothing"]


def test_what_was_read_and_seen_is_one_finding() -> None:
    seen = Finding("drop-table", NAME, "a is gone, with its 3 rows.", 0, "A", "scratch")
    (finding,) = merge([DROP, seen])
    assert (finding.line, finding.evidence) == (5, "both")
    assert len(merge([DROP, Finding("drop-table", "2.ts", "a", 5, "a"), Finding("rename", NAME, "a", 5, "a")])) == 3


def test_severities() -> None:
    grades = severities({"drop-table": "warning", "rename": "off"})
    done = graded([Finding("rename", NAME, "x", 1), DROP], grades)
    assert [(each.rule, each.severity) for each in done] == [("drop-table", "warning")]
    assert passes(count(done), "error")
    assert not passes(count(done), "warning")


@pytest.mark.parametrize("wishes", [{"drop-tables": "off"}, {"drop-table": "fatal"}, {"drop-table": False}])
def test_wrong_wishes_are_refused(wishes: dict[str, object]) -> None:
    with pytest.raises(Refused, match="There is no rule"):
        severities(wishes)


def test_what_is_allowed_does_not_fail() -> None:
    counts = count(graded(allowed(REASON, 4, DROP), severities({})))
    assert counts == {"error": 0, "warning": 0, "note": 0, "allowed": 1}
    assert passes(counts, "warning")
    assert summary(counts, 1) == "1 migration: 0 errors, 0 warnings, 0 notes, 1 allowed"


def test_text() -> None:
    (line,) = text_lines(graded([DROP], severities({})), FILES)
    assert line.startswith("backend/migrations/1.ts:5: error: drop-table: a is dropped, with all its rows. ")
    assert 'Runbook: "Never drop tables in migrations without data migration plan".' in line
    (line,) = text_lines(graded(allowed(REASON, 4, DROP), severities({})), FILES)
    assert line.endswith("Because: its rows were moved to b by migration 12")


def test_github_commands_cannot_be_broken_out_of() -> None:
    hostile = Finding("drop-table", "x:1,y.ts", "100% of a\n::set-env name=PATH::/tmp\r is dropped", 0, "a")
    (line,) = workflow_commands(graded([hostile], severities({})), {"x:1,y.ts": "m/x:1,y%.ts"})
    assert line.startswith("::error file=m/x%3A1%2Cy%25.ts,line=1,title=drop-table::100%25 of a ::set-env")
    assert "\n" not in line
    assert "\r" not in line


def test_github_says_nothing_of_what_is_allowed() -> None:
    assert workflow_commands(graded(allowed(REASON, 4, DROP), severities({})), FILES) == []
    assert workflow_commands(graded([Finding("update-everything", NAME, "x", 3)], severities({})), FILES)[0].startswith(
        "::notice file=backend/migrations/1.ts,line=3,"
    )


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_what_to_do(rule: str) -> None:
    assert RULES[rule].remedy.endswith(".")
    assert len(RULES[rule].remedy) > 10


def test_the_documentation_lists_every_rule() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "check-migrations.md").read_text()
    listed = re.findall(r"^\| `([a-z-]+)` \| (error|warning|note) \|", text, re.MULTILINE)
    assert listed == [(name, rule.severity) for name, rule in RULES.items()]


def test_a_finding_is_told_with_its_remedy_and_its_file() -> None:
    told = DROP.as_dict(FILES)
    assert (told["rule"], told["file"], told["line"]) == ("drop-table", FILES[NAME], 5)
    assert told["remedy"] == RULES["drop-table"].remedy


def test_what_was_read_twice_on_one_line_is_one() -> None:
    assert merge([DROP, DROP]) == [DROP]


def test_a_comment_that_allows_nothing_is_no_allowance() -> None:
    assert allowed("the rows were moved before", 4, DROP) == [DROP]
