# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found in migrations: where, how grave, what a comment allows, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .migration_rules import ERROR, NOTE, OFF, RULES, SEVERITIES, WARNING
from .sql_text import Comment

_ALLOW = re.compile(r"check-migrations:\s*allow\s+(?P<rule>[\w-]+)(?P<reason>.*)", re.IGNORECASE | re.DOTALL)

_COMMANDS = {ERROR: "error", WARNING: "warning", NOTE: "notice"}
"""GitHub's workflow commands."""

_LEAST_REASON = 8
"""Letters: "ok" and "legacy" are no reasons."""


@dataclass(frozen=True)
class Finding:
    """Something that was found.

    Attributes:
        rule: a name of `migration_rules.RULES`.
        migration: the migration's name.
        message: what is wrong, one sentence.
        line: where it stands in the file; 0 where it belongs to the file as a whole.
        subject: the table or column, to tell whether two findings are the same.
        evidence: C(text) was read in the file, C(scratch) was seen on the scratch database, C(both).
        severity: as the team has it.
        reason: why it is allowed, from the comment that allows it.
    """

    rule: str
    migration: str
    message: str
    line: int = 0
    subject: str = ""
    evidence: str = "text"
    severity: str = ""
    reason: str = ""

    def as_dict(self, files: Mapping[str, str]) -> dict[str, Any]:
        """Return everything as modules return it, with the rule's remedy and the file's path."""
        rule = RULES[self.rule]
        extra = {"file": files.get(self.migration, ""), "remedy": rule.remedy, "runbook": rule.runbook}
        return {**asdict(self), **extra}


@dataclass(frozen=True)
class Allowance:
    """A comment that lets one rule pass, at one place of a file."""

    rule: str
    reason: str
    line: int
    covers: frozenset[int] = field(default_factory=frozenset)


def read_allowances(comments: Sequence[Comment], starts: Mapping[int, int], lines: Iterable[int]) -> list[Allowance]:
    """Return what the comments of a file allow.

    A comment is about the statement on its own line, or else about the next one.

    Args:
        comments: of the file.
        starts: by the line of an operation, the line on which its statement begins.
        lines: the lines of all operations.
    """
    by_start: dict[int, set[int]] = {}
    for line in lines:
        by_start.setdefault(starts.get(line, line), set()).update((line, starts.get(line, line)))
    found = []
    for comment in comments:
        match = _ALLOW.search(comment.text)
        if match:
            reason = re.sub(r"^[\s,:;–—-]*(?:because\b)?\s*", "", match["reason"]).strip()
            covered = _covered(comment.line, by_start)
            found.append(Allowance(match["rule"].lower(), " ".join(reason.split()), comment.line, covered))
    return found


def _covered(line: int, by_start: Mapping[int, set[int]]) -> frozenset[int]:
    same = [start for start, lines in by_start.items() if start == line or line in lines]
    after = sorted(start for start in by_start if start > line)
    chosen = same or after[:1]
    return frozenset(each for start in chosen for each in by_start[start])


def apply_allowances(findings: Sequence[Finding], allowances: Sequence[Allowance], migration: str) -> list[Finding]:
    """Mark the findings of one migration that a comment allows, and judge the comments themselves.

    A finding that belongs to no line is allowed from anywhere in the file.
    """
    judged = [_judge_allowance(each, migration) for each in allowances]
    sound = [each for each, complaint in zip(allowances, judged) if complaint is None]
    used: set[Allowance] = set()
    marked = []
    for finding in findings:
        allowed = next((each for each in sound if _covers(each, finding)), None)
        used |= {allowed} if allowed else set()
        marked.append(replace(finding, reason=allowed.reason) if allowed else finding)
    idle = [
        Finding("allowed-for-nothing", migration, f"{each.rule} is allowed here, and was not found.", each.line)
        for each in sound
        if each not in used
    ]
    return [*marked, *(complaint for complaint in judged if complaint), *idle]


def _covers(allowance: Allowance, finding: Finding) -> bool:
    if allowance.rule != finding.rule or not RULES[finding.rule].may_be_allowed:
        return False
    return not finding.line or finding.line in allowance.covers


def _judge_allowance(allowance: Allowance, migration: str) -> Finding | None:
    if allowance.rule not in RULES or not RULES[allowance.rule].may_be_allowed:
        what = "cannot be allowed" if allowance.rule in RULES else "is no rule"
        return Finding("allowed-unknown", migration, f"{allowance.rule} {what}.", allowance.line)
    if sum(each.isalpha() for each in allowance.reason) < _LEAST_REASON:
        return Finding(
            "allowed-without-reason", migration, f"{allowance.rule} is allowed without a reason.", allowance.line
        )
    return None


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """Make one of what was both read and seen, and of what was read twice on one line."""
    merged: dict[tuple[str, str, str], Finding] = {}
    for finding in findings:
        key = (finding.migration, finding.rule, finding.subject.lower() or f"{finding.line} {finding.message}")
        known = merged.get(key)
        if known is None:
            merged[key] = finding
        elif known.evidence != finding.evidence:
            merged[key] = replace(known, evidence="both", line=known.line or finding.line)
    return list(merged.values())


def graded(findings: Iterable[Finding], grades: Mapping[str, str]) -> list[Finding]:
    """Give findings their severities, leave out what is turned off, and sort them by migration, line and gravity."""
    kept = [replace(finding, severity=grades[finding.rule]) for finding in findings if grades[finding.rule] != OFF]
    return sorted(kept, key=lambda each: (each.migration, each.line, SEVERITIES.index(each.severity), each.rule))


def text_lines(findings: Sequence[Finding], files: Mapping[str, str]) -> list[str]:
    """Return findings for a person and for editors: C(file:line: severity: rule: what. What to do.)."""
    return [
        f"{_place(finding, files)}: {finding.severity}: {finding.rule}: {_told(finding)}"
        for finding in findings
        if not finding.reason
    ] + [
        f"{_place(finding, files)}: allowed: {finding.rule}: {finding.message} Because: {finding.reason}"
        for finding in findings
        if finding.reason
    ]


def workflow_commands(findings: Sequence[Finding], files: Mapping[str, str]) -> list[str]:
    """Return findings as workflow commands of GitHub; what is allowed is left out."""
    return [
        f"::{_COMMANDS[finding.severity]} file={_property(files.get(finding.migration, ''))},"
        f"line={max(1, finding.line)},title={_property(finding.rule)}::{_data(_told(finding))}"
        for finding in findings
        if not finding.reason
    ]


def count(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many of each severity there are, and how many are allowed."""
    open_ = [finding for finding in findings if not finding.reason]
    counts = {severity: sum(each.severity == severity for each in open_) for severity in (ERROR, WARNING, NOTE)}
    return {**counts, "allowed": len(findings) - len(open_)}


def passes(counts: Mapping[str, int], fail_on: str) -> bool:
    """Tell whether there is nothing as grave as C(fail_on)."""
    return not any(counts[severity] for severity in SEVERITIES[: SEVERITIES.index(fail_on) + 1])


def summary(counts: Mapping[str, int], migrations: int) -> str:
    """Return the last line of the output."""
    parts = [f"{counts[key]} {key}{'s' if counts[key] != 1 else ''}" for key in (ERROR, WARNING, NOTE)]
    return f"{migrations} migration{'s' if migrations != 1 else ''}: {', '.join(parts)}, {counts['allowed']} allowed"


def _place(finding: Finding, files: Mapping[str, str]) -> str:
    return f"{files.get(finding.migration) or finding.migration}:{max(1, finding.line)}"


def _told(finding: Finding) -> str:
    rule = RULES[finding.rule]
    seen = {"scratch": " (Seen on the scratch database.)", "both": " (Read, and seen on the scratch database.)"}
    runbook = f' Runbook: "{rule.runbook}".' if rule.runbook else ""
    return " ".join(f"{finding.message}{seen.get(finding.evidence, '')} {rule.remedy}{runbook}".split())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
