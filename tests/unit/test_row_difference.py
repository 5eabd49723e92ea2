# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows of two databases told apart by hashes."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.row_difference import (
    MAXIMUM_BUCKETS,
    Bucket,
    Difference,
    Row,
    bucket_mask,
    compare_rows,
    differing_buckets,
)

SMALL = st.integers(min_value=-5, max_value=5)


def stream(rows: list[tuple[int, int]]) -> list[Row]:
    return [Row(key, contents, 1) for key, contents in sorted(rows)]


@given(st.dictionaries(SMALL, SMALL), st.dictionaries(SMALL, SMALL))
def test_rows_with_a_key(live: dict[int, int], other: dict[int, int]) -> None:
    found = compare_rows(stream(list(live.items())), stream(list(other.items())))
    assert found == Difference(
        missing=len(other.keys() - live.keys()),
        extra=len(live.keys() - other.keys()),
        changed=sum(live[key] != other[key] for key in live.keys() & other.keys()),
    )


@given(st.lists(SMALL), st.lists(SMALL))
def test_rows_without_a_key_are_a_multiset(live: list[int], other: list[int]) -> None:
    mine, theirs = Counter(live), Counter(other)
    found = compare_rows(
        [Row(value, value, number) for value, number in sorted(mine.items())],
        [Row(value, value, number) for value, number in sorted(theirs.items())],
    )
    assert found == Difference(missing=(theirs - mine).total(), extra=(mine - theirs).total(), changed=0)


def test_only_buckets_that_differ_are_looked_at() -> None:
    same = Bucket(2, "5")
    live = {1: same, 2: Bucket(1, "7"), 3: same}
    other = {1: same, 2: Bucket(1, "8"), 4: same}
    assert differing_buckets(live, other) == [2, 3, 4]


def test_number_of_buckets_follows_the_rows_and_is_bounded() -> None:
    assert [bucket_mask(rows) for rows in (0, 16, 17, 1000, 10**9)] == [0, 0, 1, 63, MAXIMUM_BUCKETS - 1]


def test_a_difference_is_one_where_anything_differs() -> None:
    assert not Difference()
    assert Difference(extra=1)
    assert compare_rows([], []) == Difference()


def test_rows_of_one_key_are_matched_by_their_contents() -> None:
    live, other = [Row(1, 1, 1), Row(1, 2, 1)], [Row(1, 2, 1), Row(1, 3, 1), Row(1, 4, 2)]
    assert compare_rows(live, other) == Difference(missing=2, extra=0, changed=1)
