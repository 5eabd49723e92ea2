# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the rows of a table differ between two databases, told from hashes of keys and rows.

Rows are put into buckets by the hash of their key. Only buckets whose sums differ are looked at row by row, as two
streams that are sorted alike, so that tables of any size need little memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAXIMUM_BUCKETS = 65536

_ROWS_OF_A_BUCKET = 16


class Bucket(NamedTuple):
    """The rows of a bucket: how many, and the sum of their hashes as decimal digits."""

    rows: int
    contents: str


class Row(NamedTuple):
    """Rows that are all the same: the hash of their key, the hash of all they hold, and how many there are."""

    key: int
    contents: int
    number: int


class Difference(NamedTuple):
    """How many rows are only in the other database, only in the live one, and in both but with other contents."""

    missing: int = 0
    extra: int = 0
    changed: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return any(self)


def bucket_mask(estimated_rows: float) -> int:
    """Return the mask that makes a bucket's number of a hash: about 16 rows to a bucket, at most 65,536 buckets."""
    buckets = 1
    while buckets < MAXIMUM_BUCKETS and buckets * _ROWS_OF_A_BUCKET < estimated_rows:
        buckets *= 2
    return buckets - 1


def differing_buckets(live: Mapping[int, Bucket], other: Mapping[int, Bucket]) -> list[int]:
    """Return the numbers of the buckets that do not hold the same in both."""
    return sorted(number for number in set(live) | set(other) if live.get(number) != other.get(number))


def compare_rows(live: Iterable[Row], other: Iterable[Row]) -> Difference:
    """Compare two streams of rows, both sorted by key and contents.

    Rows of one key are matched by their contents first; what is left on both sides changed, what is left on one side
    is missing or extra. A table without a key has its contents for a key, so that nothing in it counts as changed.
    """
    missing = extra = changed = 0
    for mine, theirs in _by_key(live, other):
        only_mine = sum(max(0, count - theirs.get(contents, 0)) for contents, count in mine.items())
        only_theirs = sum(max(0, count - mine.get(contents, 0)) for contents, count in theirs.items())
        both = min(only_mine, only_theirs)
        changed += both
        extra += only_mine - both
        missing += only_theirs - both
    return Difference(missing, extra, changed)


def _by_key(live: Iterable[Row], other: Iterable[Row]) -> Iterator[tuple[dict[int, int], dict[int, int]]]:
    """Merge the streams; give the rows of each key on both sides, as numbers by contents."""
    left, right = _groups(live), _groups(other)
    mine, theirs = next(left, None), next(right, None)
    while mine or theirs:
        if theirs is None or (mine is not None and mine[0] < theirs[0]):
            yield (mine or (0, {}))[1], {}
            mine = next(left, None)
        elif mine is None or theirs[0] < mine[0]:
            yield {}, theirs[1]
            theirs = next(right, None)
        else:
            yield mine[1], theirs[1]
            mine, theirs = next(left, None), next(right, None)


def _groups(rows: Iterable[Row]) -> Iterator[tuple[int, dict[int, int]]]:
    key: int | None = None
    contents: dict[int, int] = {}
    for row in rows:
        if row.key != key:
            if key is not None:
                yield key, contents
            key, contents = row.key, {}
        contents[row.contents] = contents.get(row.contents, 0) + row.number
    if key is not None:
        yield key, contents
