# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scratch database shows, and rows to fill it with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.filling import (
    Field,
    Fillable,
    in_order,
    insert_statement,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_evidence import (
    Column,
    Snapshot,
    Table,
    is_narrower,
    judge_again,
    judge_down,
    judge_up,
    refuted,
    without_table,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_findings import Finding
from ansible_collections.balcon.rollback.plugins.module_utils._domain.migration_text import MigrationText
from ansible_collections.balcon.rollback.plugins.module_utils._domain.operations import Operation, Way

USERS = Table("users", 100, 3, "777")
NAME = Column("users", "name", "character varying(50)", not_null=True)
BEFORE = Snapshot(
    {"tables": {"public.users": {"kind": "table"}}},
    {1: USERS, 2: Table("teams", 200, 2, "5"), 3: Table("empty", 300, 0, "0")},
    {(1, 1): Column("users", "id", "integer", True, True), (1, 2): NAME},
)


def after(**changes: Any) -> Snapshot:
    """Before, with changes; a table that is None is gone."""
    if "tables" in changes:
        changes["tables"] = {oid: table for oid, table in changes["tables"].items() if table}
    return replace(BEFORE, **changes)


def columns(**changed: Column | None) -> dict[tuple[int, int], Column]:
    """The columns of before, with some of the table of users changed, added or gone, by their number."""
    everything = {**BEFORE.columns, **{(1, int(number[1:])): column for number, column in changed.items()}}
    return {place: column for place, column in everything.items() if column}


UPS: dict[str, tuple[Snapshot, list[tuple[str, str]]]] = {
    "nothing": (BEFORE, []),
    "table gone": (after(tables={**BEFORE.tables, 2: None}), [("drop-table", "teams")]),
    "made anew under its name": (
        after(tables={**BEFORE.tables, 2: None, 9: Table("teams", 200, 2, "5")}),
        [("drop-table", "teams")],
    ),
    "table renamed": (after(tables={**BEFORE.tables, 2: Table("groups", 200, 2, "5")}), [("rename", "teams")]),
    "rows more": (after(tables={**BEFORE.tables, 1: replace(USERS, rows=4)}), [("rows-changed", "users")]),
    "rows gone, file too": (
        after(tables={**BEFORE.tables, 1: replace(USERS, rows=0, file=9)}),
        [("rows-changed", "users")],
    ),
    "written anew": (after(tables={**BEFORE.tables, 1: replace(USERS, file=9)}), [("table-rewrite", "users")]),
    "values changed": (after(tables={**BEFORE.tables, 1: replace(USERS, contents="1")}), []),
    "column gone": (after(columns=columns(_2=None)), [("drop-column", "users.name")]),
    "column renamed": (after(columns=columns(_2=replace(NAME, name="title"))), [("rename", "users.name")]),
    "column replaced by a copy": (after(columns=columns(_2=None, _3=NAME)), []),
    "narrower": (
        after(columns=columns(_2=replace(NAME, type="character varying(20)"))),
        [("narrowing-type", "users.name")],
    ),
    "wider": (after(columns=columns(_2=replace(NAME, type="text"))), []),
    "new column, null": (after(columns=columns(_3=Column("users", "code", "text"))), []),
    "new column, default": (after(columns=columns(_3=Column("users", "code", "text", True, True))), []),
    "new column, not null, filled before that": (after(columns=columns(_3=Column("users", "code", "text", True))), []),
    "new column, not null, in an empty table": (
        after(columns={**BEFORE.columns, (3, 1): Column("empty", "code", "text", True)}),
        [("not-null-without-default", "empty.code")],
    ),
    "new table": (after(columns={**BEFORE.columns, (9, 1): Column("new", "id", "integer", True)}), []),
}


@pytest.mark.parametrize("name", UPS)
def test_ways_up(name: str) -> None:
    found = judge_up("1.ts", BEFORE, UPS[name][0])
    assert [(each.rule, each.subject) for each in found] == UPS[name][1]
    assert all(each.evidence == "scratch" for each in found)


DOWNS: dict[str, tuple[Snapshot, list[str]]] = {
    "as before": (BEFORE, []),
    "an index stays": (
        after(catalogue={**BEFORE.catalogue, "indexes": {"public.i": {"table": "public.users"}}}),
        ["down-leaves-change"],
    ),
    "a table is gone": (after(catalogue={}, tables={**BEFORE.tables, 1: None}), ["down-leaves-change"]),
    "made again, empty": (after(tables={**BEFORE.tables, 1: Table("users", 9, 0, "0")}), ["rows-after-down"]),
    "values are gone": (after(tables={**BEFORE.tables, 1: replace(USERS, contents="1")}), ["values-after-down"]),
    "other columns": (
        after(tables={**BEFORE.tables, 1: replace(USERS, contents="1")}, columns=columns(_2=None)),
        [],
    ),
}


@pytest.mark.parametrize("name", DOWNS)
def test_ways_back(name: str) -> None:
    assert [each.rule for each in judge_down("1.ts", BEFORE, DOWNS[name][0])] == DOWNS[name][1]


def test_a_second_way_up() -> None:
    assert judge_again("1.ts", BEFORE, BEFORE) == []
    (doubled,) = judge_again("1.ts", BEFORE, after(tables={**BEFORE.tables, 1: replace(USERS, rows=6)}))
    assert (doubled.rule, "users had 3 rows, and has 6 rows" in doubled.message) == ("up-again-differs", True)
    (other,) = judge_again("1.ts", BEFORE, after(catalogue={"types": {"public.mood": {"kind": "enum"}}}))
    assert other.rule == "up-again-differs"


def test_a_long_list_is_cut() -> None:
    many = {"types": {f"public.t{number}": {"kind": "enum"} for number in range(10)}}
    (finding,) = judge_down("1.ts", BEFORE, after(catalogue={**BEFORE.catalogue, **many}))
    assert finding.message.endswith("; and 4 more.")


def test_a_rewrite_that_did_not_happen_is_taken_back() -> None:
    text = MigrationText({"up": Way((Operation("alter_type", 5, "users", "name", "text"),))})
    findings = [Finding("table-rewrite", "1.ts", "users", 5, "users.name"), Finding("rename", "1.ts", "x", 5, "x")]
    assert [each.rule for each in refuted(findings, text, BEFORE, BEFORE)] == ["rename"]
    rewritten = after(tables={**BEFORE.tables, 1: replace(USERS, file=9)})
    assert refuted(findings, text, BEFORE, rewritten) == findings


def test_the_state_table_is_left_out() -> None:
    catalogue: Any = {
        "tables": {"public.meta": {"kind": "table"}, "public.meta2": {"kind": "table"}},
        "columns": {"public.meta.name": {"table": "public.meta"}, "public.meta2.name": {"table": "public.meta2"}},
        "sequences": {"public.meta_id_seq": {"owned_by": "public.meta.id"}},
    }
    assert without_table(catalogue, "public.meta") == {
        "tables": {"public.meta2": {"kind": "table"}},
        "columns": {"public.meta2.name": {"table": "public.meta2"}},
        "sequences": {},
    }


NARROWER = [
    ("character varying(50)", "character varying(20)", True),
    ("character varying(20)", "character varying(50)", False),
    ("character varying(50)", "text", False),
    ("text", "character varying(50)", True),
    ("character varying", "character varying(50)", True),
    ("text", "integer", True),
    ("integer", "text", False),
    ("bigint", "integer", True),
    ("integer", "bigint", False),
    ("smallint", "integer", False),
    ("double precision", "real", True),
    ("numeric(12,2)", "numeric(10,2)", True),
    ("numeric(12,2)", "numeric(12,4)", True),
    ("numeric(12,2)", "numeric(14,4)", False),
    ("numeric(12,4)", "numeric(12,2)", True),
    ("numeric", "numeric(12,2)", True),
    ("numeric(12,2)", "numeric", False),
    ("numeric(12,2)", "integer", True),
    ("timestamp with time zone", "timestamp without time zone", True),
    ("timestamp(6) with time zone", "timestamp(0) with time zone", True),
    ("timestamp without time zone", "date", True),
    ("date", "timestamp without time zone", False),
    ("character(4)", "character varying(4)", False),
    ("mood", "mood2", False),
    ("text[]", "text[]", False),
]


@pytest.mark.parametrize(("old", "new", "narrower"), NARROWER)
def test_narrower(old: str, new: str, narrower: bool) -> None:
    assert is_narrower(old, new) is narrower


def number(name: str, **more: Any) -> Field:
    return Field(name, "integer", "N", **more)


def test_rows_with_values_and_rows_with_nulls() -> None:
    table = Fillable(
        "public.users",
        (
            number("id", nullable=False, has_default=True),
            Field("name", "character varying", "S", length=4, nullable=False),
            Field("note", "text", "S"),
            number("team", target=("public.teams", "id"), nullable=False),
            number("boss", target=("public.users", "id")),
            Field("mood", "mood", "E", nullable=False, labels=("it's", "b")),
        ),
    )
    first = insert_statement(table, 1, largest=False)
    assert first == (
        "INSERT INTO public.users (name, note, team, boss, mood) VALUES ('1Aa', '1Aa', (SELECT id FROM public.teams"
        " ORDER BY ctid OFFSET 0 % greatest(1, (SELECT count(*) FROM public.teams)) LIMIT 1), NULL, 'b')"
    )
    second = insert_statement(table, 2, largest=True)
    assert second.startswith("INSERT INTO public.users (name, team, mood) VALUES ('2AaX', ")
    assert second.endswith("'it''s')")
    assert insert_statement(Fillable("a", (number("id", has_default=True),)), 1, largest=False) == (
        "INSERT INTO a DEFAULT VALUES"
    )


def test_tables_are_filled_after_those_that_they_refer_to() -> None:
    teams = Fillable("teams", ())
    users = Fillable("users", (number("team", target=("teams", "id"), nullable=False),))
    files = Fillable("files", (number("owner", target=("users", "id"), nullable=False), number("x")))
    itself = Fillable("itself", (number("parent", target=("itself", "id"), nullable=False),))
    assert [table.name for table in in_order([files, users, itself, teams], set())] == [
        "itself",
        "teams",
        "users",
        "files",
    ]
    circle = Fillable("circle", (number("x", target=("loop", "id"), nullable=False),))
    loop = Fillable("loop", (number("x", target=("circle", "id"), nullable=False),))
    assert in_order([circle, loop], set()) == [circle, loop]
    assert in_order([files], {"users"}) == [files]


@pytest.mark.parametrize(
    ("field", "written"),
    [
        (Field("c", "uuid", "U"), "md5('1')::uuid"),
        (Field("c", "jsonb", "U"), "'{}'"),
        (Field("c", "bytea", "U"), "'\\x0001'"),
        (Field("c", "boolean", "B"), "true"),
        (Field("c", "date", "D"), "timestamp '2024-01-01 12:00:00' + interval '1 hours'"),
        (Field("c", "time without time zone", "D"), "'12:00'"),
        (Field("c", "interval", "T"), "interval '1 hours'"),
        (Field("c", "inet", "I"), "'10.0.0.2'"),
        (Field("c", "integer[]", "A"), "'{}'"),
        (Field("c", "mood", "E", labels=("sad", "it's fine")), "'it''s fine'"),
        (Field("c", "something of an extension", "U"), "NULL"),
        (Field("c", "numeric", "N", digits=(0, 2)), "0"),
        (Field("c", "numeric", "N", digits=(1, 0)), "1"),
        (Field("c", "numeric", "N", digits=(5, 2)), "1"),
        (Field("parent", "integer", "N", target=("t", "id")), "NULL"),
        (Field("c", "character varying(3)", "S", length=3), "'1Aa'"),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
def test_a_value_for_every_type(field: Field, written: str) -> None:
    assert (
        insert_statement(Fillable("t", (field,)), 1, largest=False)
        == f"INSERT INTO t ({field.name}) VALUES ({written})"
    )


def test_a_column_that_refers_to_another_table_takes_what_is_there() -> None:
    field = Field("team", "integer", "N", nullable=False, target=("teams", "id"))
    assert "(SELECT id FROM teams ORDER BY ctid OFFSET 0 % greatest(1," in insert_statement(
        Fillable("users", (field,)), 1, largest=False
    )


def test_a_character_without_a_length_holds_one() -> None:
    assert is_narrower("character varying(3)", "character")
    assert not is_narrower("character", "character varying(3)")
