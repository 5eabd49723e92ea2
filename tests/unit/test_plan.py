# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan, and what each step of it must leave behind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Failed, Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.plan import (
    check_not_applied_again,
    check_plan_is_last,
    check_step,
    make_plan,
    make_up_plan,
    pending_migrations,
    plan_id,
    state_differences,
)

APPLIED = ["1", "2", "3"]
NAMES = st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("steps", "target", "plan"),
    [
        (None, None, ["3"]),
        ("", "", ["3"]),
        (1, None, ["3"]),
        ("2", None, ["3", "2"]),
        (" 3 ", None, ["3", "2", "1"]),
        (None, "1", ["3", "2"]),
        ("", "2", ["3"]),
    ],
)
def test_plans(steps: object, target: str | None, plan: list[str]) -> None:
    assert make_plan(APPLIED, steps, target) == plan


@pytest.mark.parametrize("steps", [0, "0", -1, "-1", "two", "1.5", 1.5, "1e1", "١", True, "9" * 30, "1; DROP", "00"])
def test_steps_that_are_no_number_of_steps(steps: object) -> None:
    with pytest.raises(Refused, match="whole number"):
        make_plan(APPLIED, steps)


def test_wishes_that_cannot_be_met() -> None:
    with pytest.raises(Refused, match="only 3 migrations are applied"):
        make_plan(APPLIED, 4)
    with pytest.raises(Refused, match="only 1 migration is applied"):
        make_plan(["1"], 2)
    with pytest.raises(Refused, match="not applied"):
        make_plan(APPLIED, target="4")
    with pytest.raises(Refused, match="last applied"):
        make_plan(APPLIED, target="3")
    with pytest.raises(Refused, match="Both"):
        make_plan(APPLIED, 1, "1")
    with pytest.raises(Refused, match="lists no applied"):
        make_plan([], 1)


@given(NAMES, st.data())
def test_target_and_steps_mean_the_same(applied: list[str], data: st.DataObject) -> None:
    steps = data.draw(st.integers(1, len(applied)))
    plan = make_plan(applied, steps)
    assert [*applied[: len(applied) - steps], *reversed(plan)] == applied
    check_plan_is_last(applied, plan)
    if steps < len(applied):
        assert make_plan(applied, target=applied[-steps - 1]) == plan


def test_plans_that_are_not_the_last() -> None:
    for plan in ([], ["2"], ["2", "3"], ["3", "1"], ["3", "2", "1", "0"]):
        with pytest.raises(Refused):
            check_plan_is_last(APPLIED, plan)


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (["1", "2", "3"], "did not change"),
        (["1", "3"], "2 went away"),
        (["1"], "2, 3 went away"),
        (["1", "2", "4"], "3 went away and 4 came in"),
        (["1", "2", "2"], "3 went away"),
    ],
)
def test_steps_that_did_something_else(after: list[str], said: str) -> None:
    with pytest.raises(Failed, match=said):
        check_step(APPLIED, after, "3")


def test_steps_that_did_what_they_should() -> None:
    check_step(APPLIED, ["1", "2"], "3")
    check_step(["1", "2"], APPLIED, "3", "up")
    with pytest.raises(Failed, match="should have been applied"):
        check_step(APPLIED, ["1", "2"], "3", "up")


def test_up() -> None:
    assert pending_migrations(["1"], ["1", "2", "3"]) == ["2", "3"]
    assert make_up_plan(["2", "3"]) == ["2", "3"]
    assert make_up_plan([]) == []
    assert make_up_plan(["2", "3"], "1") == ["2"]
    assert make_up_plan(["2", "3"], target="3") == ["2", "3"]
    for steps, target in (("3", None), ("0", None), (None, "1"), ("1", "2")):
        with pytest.raises(Refused):
            make_up_plan(["2", "3"], steps, target)


def test_plan_id_tells_files_and_order() -> None:
    one = plan_id(["2", "1"], {"1": "aa", "2": "bb"})
    assert len(one) == 16
    assert one == plan_id(["2", "1"], {"2": "bb", "1": "aa", "0": "cc"})
    others = [plan_id(["1", "2"], {"1": "aa", "2": "bb"}), plan_id(["2", "1"], {"1": "aa", "2": "bc"})]
    assert one not in [*others, plan_id(["2"], {"2": "bb"}), plan_id(["2", "1"], {})]


def test_state_differences() -> None:
    assert state_differences(APPLIED, None, []) == []
    assert state_differences(APPLIED, ["3", "2", "1"], ["4"]) == []
    assert state_differences(APPLIED, None, ["3"]) == ["3 is applied, but it must stay rolled back."]
    assert len(state_differences(APPLIED, ["1", "2", "4"], ["3"])) == 2
    assert len(state_differences([], [], [])) == 0
    assert len(state_differences(["1"], [], [])) == 1


def test_applied_again() -> None:
    check_not_applied_again("shop", ["1", "2"], ["3"])
    with pytest.raises(Failed, match="The application applied 3 again when it was started") as caught:
        check_not_applied_again("shop", ["1", "2", "3"], ["3"])
    assert caught.value.details["reapplied"] == ["3"]
    with pytest.raises(Failed, match="applied 3, 2 again"):
        check_not_applied_again("shop", APPLIED, ["3", "2"])


WISHES = st.none() | st.integers(-1, 10) | st.text("0123456789 -x", max_size=3)


@given(
    applied=st.lists(st.text("abc", min_size=1, max_size=2), unique=True, max_size=6),
    steps=WISHES,
    target=st.none() | st.text("abc", max_size=2),
)
def test_a_plan_is_the_last_migrations_or_is_refused(applied: list[str], steps: object, target: str | None) -> None:
    """Whatever is asked for: the steps of the plan, one by one, are the only thing that the state tables let pass."""
    try:
        plan = make_plan(applied, steps, target)
    except Refused:
        return
    assert plan
    check_plan_is_last(applied, plan)
    if target:
        assert applied[-len(plan) - 1] == target
    left = list(applied)
    for name in plan:
        assert left[-1] == name
        check_step(left, left[:-1], name)
        left.pop()
    assert pending_migrations(left, applied) == list(reversed(plan))


@given(before=NAMES, after=st.lists(st.sampled_from("abcdefgh"), max_size=8), data=st.data())
def test_a_step_passes_only_where_its_migration_alone_went_away(
    before: list[str], after: list[str], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(before))
    left = [each for each in before if each != name]
    after = data.draw(st.sampled_from([after, left, before, [*left, "something new"], [*left, *left[:1]], left[1:]]))
    right = sorted([*after, name]) == sorted(before)
    if right:
        check_step(before, after, name)
        check_step(after, before, name, "up")
        return
    with pytest.raises(Failed):
        check_step(before, after, name)


@given(
    first=st.lists(st.tuples(st.text(max_size=3), st.text("01", max_size=2)), max_size=3),
    second=st.lists(st.tuples(st.text(max_size=3), st.text("01", max_size=2)), max_size=3),
)
def test_two_plans_share_a_name_only_where_they_are_the_same(
    first: list[tuple[str, str]], second: list[tuple[str, str]]
) -> None:
    def named(plan: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], str]:
        sha256s = dict(plan)
        return [(name, sha256s[name]) for name, _sha256 in plan], plan_id([name for name, _sha256 in plan], sha256s)

    (one, one_id), (other, other_id) = named(first), named(second)
    assert (one == other) is (one_id == other_id)
