# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No write is lost unsaid: what was written between two looks, and what a backup does not hold."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.written import (
    back_lines,
    check_loss_may_be,
    lost_lines,
    lost_since,
    written_between,
    written_lines,
)


def fingerprint(objects: int = 0, **tables: tuple[int, str]) -> dict[str, Any]:
    return {
        "tables": {
            f"public.{name}": {"rows": rows, "contents": contents, "counters": None}
            for name, (rows, contents) in tables.items()
        },
        "sequences": {"public.s": {"last_value": objects}},
        "large_objects": {"count": objects, "contents": "0"},
    }


@pytest.mark.parametrize(
    ("then", "now", "lines"),
    [
        (fingerprint(a=(1, "x")), fingerprint(a=(1, "x")), []),
        (fingerprint(a=(1, "x")), fingerprint(a=(3, "y")), ["public.a (2 rows more)"]),
        (fingerprint(a=(3, "x")), fingerprint(a=(1, "y")), ["public.a (2 rows fewer)"]),
        (fingerprint(a=(3, "x")), fingerprint(a=(3, "y")), ["public.a (rows changed, 3 as before)"]),
        (fingerprint(), fingerprint(b=(3, "y")), ["public.b (written to)"]),
        (fingerprint(0), fingerprint(1), ["large objects (1 rows more)"]),
    ],
)
def test_what_was_written(then: dict[str, Any], now: dict[str, Any], lines: list[str]) -> None:
    assert written_lines(written_between(then, now)) == lines


def test_a_table_that_is_only_known_by_its_counters_counts_too() -> None:
    then = {**fingerprint(), "tables": {"public.a": {"rows": None, "contents": None, "counters": {"inserted": 1}}}}
    now = {**fingerprint(), "tables": {"public.a": {"rows": None, "contents": None, "counters": {"inserted": 2}}}}
    assert written_lines(written_between(then, now)) == ["public.a (written to)"]


def compared(name: str, extra: int | None, changed: int | None = 0) -> dict[str, Any]:
    return {"name": name, "extra": extra, "changed": changed, "missing": 7}


def test_what_would_be_lost() -> None:
    lost = lost_since([compared("a", 1, 2), compared("b", 0), compared("c", 5), compared("d", None, None)])
    assert [entry["name"] for entry in lost["tables"]] == ["c", "a"]
    assert (lost["rows"], lost["changed"], lost["unknown"]) == (6, 2, ["d"])
    assert lost_lines({**lost, "source": "backup x"}) == [
        "c: 5 rows are not in backup x, 0 rows go back to older values",
        "a: 1 rows are not in backup x, 2 rows go back to older values",
        "d: it cannot be told which rows would be lost",
    ]


def test_nothing_and_not_known_are_told_apart() -> None:
    assert lost_lines(lost_since([]))[0].startswith("Nothing:")
    assert lost_lines(lost_since([], known=False))[0].startswith("It cannot be told")


def test_columns_that_only_the_database_has_are_lost() -> None:
    columns = [
        {"name": "phone", "live": "text", "other": None},
        {"name": "nickname", "live": None, "other": "text"},
        {"name": "age", "live": "integer", "other": "bigint"},
    ]
    lost = lost_since([{**compared("public.users", 0), "columns": columns}, compared("public.orders", 0)])
    assert lost["columns"] == ["public.users.phone"]
    assert lost_lines({**lost, "source": "backup x"}) == [
        "public.users.phone: the column, and what it holds, is not in backup x"
    ]


NOTHING, SOME = lost_since([compared("a", 0)]), lost_since([compared("a", 2)])
COLUMN = lost_since([{**compared("a", 0), "columns": [{"name": "b", "live": "text", "other": None}]}])
UNREADABLE, UNKNOWN = lost_since([compared("a", None)]), lost_since([], known=False)


@pytest.mark.parametrize(
    ("lost", "accepted", "asked", "words"),
    [
        (NOTHING, False, False, None),
        (SOME, False, True, None),
        (SOME, True, False, "nobody can be asked"),
        (SOME, False, False, "2 rows would be lost"),
        (COLUMN, False, True, None),
        (COLUMN, True, False, "1 columns would be gone: a.b: the column"),
        (UNREADABLE, False, True, "a could not be compared"),
        (UNREADABLE, True, True, None),
        (UNKNOWN, False, True, "shop could not be compared"),
        (UNKNOWN, True, True, None),
    ],
)
def test_the_gate(lost: dict[str, Any], accepted: bool, asked: bool, words: str | None) -> None:
    if words is None:
        check_loss_may_be("shop", lost, accepted=accepted, asked=asked)
        return
    with pytest.raises(Refused, match=words) as refused:
        check_loss_may_be("shop", lost, accepted=accepted, asked=asked)
    assert "shop was not touched" in refused.value.untouched


def test_what_could_not_be_compared_is_not_called_nothing_to_come_back() -> None:
    gone = {"name": "orders", "missing": 2, "columns": [{"name": "city", "live": None, "other": "text"}]}
    assert back_lines([gone]) == ["orders: 2 rows that are not there now", "orders.city: the column"]
    assert back_lines([{"name": "orders", "missing": 0, "columns": []}]) == ["No row that is not there now"]
    assert back_lines([{"name": "users", "missing": None}]) == ["users: it cannot be told which rows come back"]
    assert back_lines(None) == ["It cannot be told: the database could not be compared"]
