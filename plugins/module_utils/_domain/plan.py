# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: which migrations are reverted, in which order, and what each step must leave behind."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .errors import Failed, Refused

if TYPE_CHECKING:
    from typing import NoReturn

_UNTOUCHED = "Nothing was touched."


def make_plan(applied: Sequence[str], steps: object = None, target: str | None = None) -> list[str]:
    """Choose the migrations to revert.

    Args:
        applied: what the state table holds, oldest first.
        steps: how many to revert: a positive whole number, or its text; None or "" is 1 where no target is given.
        target: the last migration that stays; None or "" is: by steps.

    Returns:
        The names, newest first.

    Raises:
        Refused: nothing is applied, the wish cannot be met, or it is not clear what is wished for.
    """
    if target and _given(steps):
        raise Refused(
            f"Both steps ({steps}) and target ({target!r}) were given, and they may mean different migrations.",
            untouched=_UNTOUCHED,
            remedy="Give one: -e steps=2 reverts the last two; -e target=NAME reverts everything after NAME.",
        )
    if not applied:
        raise Refused(
            "There is nothing to revert: the state table lists no applied migration.",
            untouched=_UNTOUCHED,
            remedy=("Check that the URL leads to the database you mean, and that table and schema are the engine's."),
        )
    count = _steps_after(applied, target) if target else _steps(steps, len(applied), "applied", applied[-1])
    return list(reversed(applied[-count:]))


def make_up_plan(pending: Sequence[str], steps: object = None, target: str | None = None) -> list[str]:
    """Choose the migrations to apply.

    Args:
        pending: migrations that are on disk and not applied, oldest first.
        steps: how many to apply; None or "" is all of them where no target is given.
        target: the last migration to apply.

    Returns:
        The names, oldest first; empty when nothing is pending and nothing in particular was asked for.

    Raises:
        Refused: the wish cannot be met.
    """
    if target and _given(steps):
        raise Refused(
            f"Both steps ({steps}) and target ({target!r}) were given, and they may mean different migrations.",
            untouched=_UNTOUCHED,
            remedy="Give one of them, or neither: then everything that is pending is applied.",
        )
    if target:
        if target not in pending:
            _refuse_unknown(target, pending, "pending")
        return list(pending[: list(pending).index(target) + 1])
    if not _given(steps):
        return list(pending)
    return list(pending[: _steps(steps, len(pending), "pending", pending[-1] if pending else "none")])


def plan_id(plan: Sequence[str], sha256s: Mapping[str, str]) -> str:
    """Name a plan by its content: the same migrations, in the same order, from the same files.

    Args:
        plan: names, in the order of the work.
        sha256s: the SHA-256 of each migration's file, as hexadecimal digits; a missing file counts as "".

    Returns:
        16 hexadecimal digits.
    """
    content = json.dumps([[name, sha256s.get(name, "")] for name in plan], separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def check_plan_is_last(applied: Sequence[str], plan: Sequence[str]) -> None:
    """Check that a plan names exactly the last applied migrations, newest first.

    Raises:
        Refused: the database is in another state than the plan was made for.
    """
    last = list(reversed(applied[-len(plan) :])) if plan else []
    if not plan or last != list(plan):
        raise Refused(
            f"The plan ({', '.join(plan) or 'empty'}) is not what was applied last here "
            f"({', '.join(last) or 'nothing'}, newest first).",
            untouched="No migration was reverted.",
            remedy=("The database changed since the plan was made: start the whole run again, with a new rehearsal."),
            plan=list(plan),
            last_applied=last,
        )


def check_step(before: Sequence[str], after: Sequence[str], name: str, direction: str = "down") -> None:
    """Check by the state table that one step did what it should have done, and nothing else.

    Args:
        before: what the table listed before the step, oldest first.
        after: what it lists now.
        name: the migration that this step was for.
        direction: ``down``: the name must be gone; ``up``: it must be there.

    Raises:
        Failed: the table says otherwise; the message names the difference.
    """
    gone, new = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    expected = ([name], []) if direction == "down" else ([], [name])
    if (gone, new) == expected and len(after) == len(set(after)):
        return
    verb = "reverted" if direction == "down" else "applied"
    if not gone and not new:
        fact = "the state table did not change"
    else:
        changes = [f"{', '.join(gone)} went away"] if gone else []
        changes += [f"{', '.join(new)} came in"] if new else []
        fact = f"in the state table {' and '.join(changes)}"
    raise Failed(
        f"{name} should have been {verb}, but {fact}, whatever the tool said.",
        remedy=(
            "Do not go on from here: this database is to be thrown away, or restored. Run the tool by hand on"
            " a copy to see what it does."
        ),
        expected=name,
        gone=gone,
        new=new,
    )


def pending_migrations(applied: Sequence[str], available: Sequence[str]) -> list[str]:
    """Return the migrations on disk that are not applied, in the order of the files."""
    known = set(applied)
    return [name for name in available if name not in known]


def state_differences(
    applied: Sequence[str], expect_applied: Sequence[str] | None, expect_reverted: Sequence[str]
) -> list[str]:
    """Say how the state table differs from what is expected; one sentence for each difference.

    Args:
        applied: what the state table lists.
        expect_applied: everything that it must list, in any order; None is: not asked.
        expect_reverted: what it must not list.
    """
    there = set(applied)
    back = [name for name in expect_reverted if name in there]
    problems = [f"{name} is applied, but it must stay rolled back." for name in back]
    if expect_applied is not None:
        expected = set(expect_applied)
        problems += [f"{name} is not applied, but it should be." for name in sorted(expected - there)]
        problems += [
            f"{name} is applied, which was not expected." for name in sorted(there - expected) if name not in back
        ]
    return problems


def check_not_applied_again(database: str, applied: Sequence[str], reverted: Sequence[str]) -> None:
    """Check, after the application was started, that it did not apply again what was rolled back.

    Args:
        database: the name of the database, for the message.
        applied: what the state table lists.
        reverted: what was rolled back.

    Raises:
        Failed: it did; C(reapplied) in the error names what.
    """
    again = [name for name in reverted if name in set(applied)]
    if again:
        raise Failed(
            f"The application applied {', '.join(again)} again when it was started: the state table of {database} lists"
            f" {'it' if len(again) == 1 else 'them'} after the rollback. The release that was started still holds"
            f" {'that migration' if len(again) == 1 else 'these migrations'}, and applies at its start what is"
            " pending.",
            untouched="What was written meanwhile is kept.",
            remedy=(
                "Find out which release answers now, and correct rollback_release, so that 'older' is the release"
                " before the migration. With the newer release in place, every start takes the rollback back."
            ),
            reapplied=again,
        )


def _given(steps: object) -> bool:
    return steps is not None and steps != ""


def _steps(steps: object, available: int, word: str, last: str) -> int:
    text = "1" if not _given(steps) else str(steps).strip()
    if isinstance(steps, bool) or not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise Refused(
            f"steps must be a whole number of at least 1, not {steps!r}.",
            untouched=_UNTOUCHED,
            remedy=(
                "Give the number of migrations, for example -e steps=2, or name the one that stays: -e target=NAME."
            ),
        )
    if int(text) > available:
        raise Refused(
            f"steps is {text}, but only {available} migration{'s are' if available != 1 else ' is'} {word} "
            f"(last: {last}).",
            untouched=_UNTOUCHED,
            remedy=f"Give a number from 1 to {available}.",
            steps=int(text),
            available=available,
        )
    return int(text)


def _steps_after(applied: Sequence[str], target: str) -> int:
    if target not in applied:
        _refuse_unknown(target, applied, "applied")
    count = len(applied) - 1 - list(applied).index(target)
    if count == 0:
        raise Refused(
            f"There is nothing to revert: the target {target!r} is the last applied migration.",
            untouched=_UNTOUCHED,
            remedy="The target is the migration that stays. To revert it too, name the one before it.",
        )
    return count


def _refuse_unknown(target: str, names: Sequence[str], word: str) -> NoReturn:
    listed = ", ".join(names[-5:]) or "none"
    raise Refused(
        f"The target {target!r} is not {word}. The last that are: {listed}.",
        untouched=_UNTOUCHED,
        remedy="Give a name exactly as the state table has it, with its extension.",
        target=target,
    )
