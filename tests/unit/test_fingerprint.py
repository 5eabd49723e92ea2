# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing what databases hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.database_comparison import (
    as_result,
    compare_fingerprints,
    without_catalogue,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.fingerprint import (
    compare,
    compare_restored,
    extension_differences,
    fingerprint_hash,
    proof_of,
    rows_by_table,
    rows_total,
    tables_changed,
    tables_only_counted,
    weakest,
)


def table(rows: int | None = 3, contents: str | None = "77", **more: Any) -> dict[str, Any]:
    return {"rows": rows, "contents": contents, "columns": ["a"], "counters": None, "proof": "contents", **more}


def fingerprint(**more: Any) -> dict[str, Any]:
    return {
        "catalogue": {"tables": {"public.t": {"owner": "shop"}}},
        "catalogue_hash": "0",
        "method": "record",
        "counters_since": "now",
        "tables": {"public.t": table()},
        "sequences": {"public.s": {"last_value": 5, "is_called": True}},
        "large_objects": {"count": 1, "contents": "5"},
        "materialised_views": {"public.m": {"rows": 2, "populated": True}},
        **more,
    }


COUNTED = {"inserted": 1, "updated": 0, "deleted": 0, "file": 1}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("tables", "public.t", "rows"), 2, "Table public.t has 2 rows, it had 3."),
        (("tables", "public.t", "contents"), "78", "The contents of table public.t changed (3 rows, as before)."),
        (("tables", "public.t", "columns"), ["a", "b"], "prove nothing"),
        (("method",), "text", "prove nothing"),
        (("tables",), {}, "Table public.t is missing in the later one."),
        (("sequences", "public.s", "last_value"), 4, "Sequence public.s stands at 4, it stood at 5."),
        (("sequences", "public.s", "is_called"), False, "5 (not yet used)"),
        (("large_objects", "count"), 2, "There are 2 large objects, there were 1."),
        (("large_objects", "contents"), "6", "contents of large objects changed"),
        (("materialised_views", "public.m", "rows"), 3, "has 3 rows, it had 2."),
    ],
)
def test_each_difference_is_named(path: tuple[str, ...], value: Any, said: str) -> None:
    before, after = fingerprint(), copy.deepcopy(fingerprint())
    part: Any = after
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    differences = compare(before, after)
    assert len(differences) == 1
    assert said in differences[0]


def test_equal() -> None:
    assert compare(fingerprint(), fingerprint()) == []


def test_what_the_change_explains_is_no_difference() -> None:
    before = fingerprint()
    after = fingerprint(catalogue={}, tables={})
    assert compare(before, after) == []


DROPPED: dict[str, Any] = {
    "added": {},
    "removed": {"columns": {"public.t.b": {"table": "public.t", "type": "integer"}}},
    "altered": {},
}


def test_a_table_that_the_change_touches_is_counted_where_its_columns_differ() -> None:
    before = fingerprint(tables={"public.t": table(columns=["a", "b"]), "public.u": table()})
    after = fingerprint(tables={"public.t": table(contents="5"), "public.u": table()})
    assert compare(before, after, DROPPED) == []
    assert tables_only_counted(before, after, DROPPED) == ["public.t"]
    assert tables_changed(before, after, DROPPED) == []
    after["tables"]["public.t"]["rows"] = 2
    assert compare(before, after, DROPPED) == ["Table public.t has 2 rows, it had 3."]
    assert tables_changed(before, after, DROPPED) == ["public.t"]


def test_a_table_that_the_change_touches_is_proven_over_the_same_columns() -> None:
    before, after = fingerprint(), fingerprint(tables={"public.t": table(contents="5")})
    assert compare(before, after, DROPPED) == ["The contents of table public.t changed (3 rows, as before)."]
    assert tables_only_counted(before, after, DROPPED) == []
    assert tables_changed(before, after, DROPPED) == ["public.t"]


def test_nothing_was_read_and_nothing_is_proven() -> None:
    assert proof_of(fingerprint(tables={})) == "none"


def test_counters() -> None:
    def counted(**more: Any) -> dict[str, Any]:
        held = table(None, None, proof="counters", counters={**COUNTED, **more})
        return fingerprint(tables={"public.t": held})

    assert compare(counted(), counted()) == []
    assert "1 updated" in compare(counted(), counted(updated=1))[0]
    assert "as a whole" in compare(counted(), counted(file=2))[0]
    assert "prove nothing" in compare(counted(), {**counted(), "counters_since": "later"})[0]
    assert proof_of(counted()) == "counters"


def test_restored_copy() -> None:
    original = fingerprint(method="text")
    restored = {**fingerprint(method="text"), "materialised_views": {}}
    assert compare_restored(original, restored) == []
    restored["catalogue"] = {"tables": {"public.t": {"owner": "other"}}}
    assert len(compare_restored(original, restored)) == 1
    assert compare_restored(original, restored, rights=False) == []


@pytest.mark.parametrize(("position", "good"), [(4, False), (5, True), (7, True), (9, True), (10, False)])
def test_sequence_moved_while_it_was_dumped(position: int, good: bool) -> None:
    original = fingerprint(method="text")
    restored = fingerprint(method="text", sequences={"public.s": {"last_value": position, "is_called": True}})
    until = {"public.s": {"last_value": 9, "is_called": True}}
    assert (compare_restored(original, restored, sequences_until=until) == []) is good


def test_extension_versions_are_said_but_no_difference_across_servers() -> None:
    original = fingerprint(method="text", catalogue={"extensions": {"x": {"version": "1.0"}}})
    copied = fingerprint(method="text", catalogue={"extensions": {"x": {"version": "1.1"}}})
    assert compare_restored(original, copied, across_servers=True) == []
    assert len(compare_restored(original, copied)) == 1
    assert "1.0" in extension_differences(original, copied)[0]


def test_proofs_and_sums() -> None:
    assert weakest([]) == "contents"
    assert weakest(["contents", "counts", "counters"]) == "counts"
    assert rows_total(fingerprint(tables={"a": table(2), "b": table(None)})) == 2
    assert fingerprint_hash(fingerprint()) == fingerprint_hash(copy.deepcopy(fingerprint()))
    assert fingerprint_hash(fingerprint()) != fingerprint_hash(fingerprint(tables={}))


def test_a_table_that_only_one_side_has_is_named_unless_the_change_explains_it() -> None:
    without, empty = fingerprint(tables={}), fingerprint()
    without["catalogue"] = empty["catalogue"]  # the rows could be read on one side alone
    assert "Table public.t is only in the later one." in compare(without, empty)
    assert "Table public.t is missing in the later one." in compare(empty, without)


def test_rows_by_table() -> None:
    found = fingerprint(tables={"public.t": table(), "public.secret": table(rows=None)})
    assert rows_by_table(found) == {"public.t": 3, "public.secret": None}


def test_a_sequence_that_is_missing_in_a_copy_is_named() -> None:
    original, restored = fingerprint(), fingerprint(sequences={})
    said = " ".join(compare_restored(original, restored))
    assert "Sequence public.s stands at nothing (it is missing) in the copy, at 5 in the original." in said


def test_large_objects_that_were_read_on_one_side_alone_prove_nothing() -> None:
    original, restored = fingerprint(), fingerprint(large_objects=None)
    assert compare(original, restored) == compare(original, original)


def test_a_new_table_is_explained_by_the_change_that_made_it() -> None:
    before = fingerprint()
    catalogue = {"tables": {**before["catalogue"]["tables"], "public.n": {"owner": "shop"}}}
    after = fingerprint(catalogue=catalogue, tables={**before["tables"], "public.n": table()})
    comparison = compare_fingerprints(before, after)
    assert comparison.differences == []
    assert not comparison.equal
    assert compare_fingerprints(before, before).equal


def test_what_is_returned_of_a_comparison() -> None:
    before, after = fingerprint(), fingerprint(tables={"public.t": table(rows=4, contents="78")})
    alone = as_result(before, None)
    assert set(alone) == {"fingerprint", "proof"}
    told = as_result(after, compare_fingerprints(before, after))
    assert (told["equal"], told["tables_changed"]) == (False, ["public.t"])
    assert "catalogue" not in without_catalogue(told)["fingerprint"]
    assert "catalogue" in told["fingerprint"]
