# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows of a backup may go into a table as it is now, and what of a dump belongs to a table."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.recovered_tables import (
    check_columns,
    map_columns,
    parents_first,
    unfit,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.table_names import choose_tables, plain
from ansible_collections.balcon.rollback.plugins.module_utils._domain.toc import (
    choose_lines,
    data_entry,
    foreign_keys_to,
    part_of,
    post_entries,
    pre_entries,
    script_body,
)


def column(kind: str = "text", **more: Any) -> dict[str, Any]:
    return {"type": kind, "not_null": False, "default": False, **more}


def test_columns_are_mapped_by_name() -> None:
    live = {"a": column(), "b": column("varchar(20)"), "new": column(not_null=True)}
    mapped = map_columns(live, {"a": column(), "b": column("varchar(50)"), "old": column()})
    assert mapped.columns == {"a": "text", "b": "varchar(20)"}
    assert (mapped.as_text, mapped.gone, mapped.unfilled) == ({"b": "varchar(50)"}, ("old",), ("new",))


def test_rows_never_lose_a_column_and_are_never_put_where_they_cannot_be() -> None:
    with pytest.raises(Refused, match="has no more: old"):
        check_columns("public.t", map_columns({}, {"old": column()}), inserts=0)
    needed = map_columns({"new": column(not_null=True)}, {})
    check_columns("public.t", needed, inserts=0)
    with pytest.raises(Refused, match="has no default"):
        check_columns("public.t", needed, inserts=1)
    check_columns("public.t", map_columns({"new": column(not_null=True, default=True)}, {}), inserts=1)


def test_parents_come_first_and_circles_end() -> None:
    assert parents_first(["c", "b", "a"], [("c", "b"), ("b", "a"), ("a", "a")]) == ["a", "b", "c"]
    assert sorted(parents_first(["a", "b"], [("a", "b"), ("b", "a")])) == ["a", "b"]


NAMES = ["public.users", 'public."Odd ""T"', "other.users"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("users", ["public.users"]),
        ("public.users", ["public.users"]),
        ("other.users", ["other.users"]),
        ('Odd "T', ['public."Odd ""T"']),
        ('"Odd ""T"', ['public."Odd ""T"']),
        ("part", ["public.p1", "public.p2"]),
    ],
)
def test_tables_are_found_as_people_name_them(typed: str, found: list[str]) -> None:
    groups = {"public.part": ["public.p1", "public.p2"]}
    assert choose_tables([typed, typed], NAMES, groups=groups, where="shop") == found


def test_table_that_is_not_there() -> None:
    with pytest.raises(Refused) as refused:
        choose_tables(["user"], NAMES, groups={}, where="shop")
    assert "Did you mean users" in refused.value.text()
    assert [plain(name) for name in NAMES] == ["users", 'Odd "T', "other.users"]


CATALOGUE: dict[str, Any] = {
    "tables": {"public.users": {"owner": "shop"}, "public.users_old": {"owner": "shop"}},
    "columns": {"public.users.id": {"table": "public.users"}},
    "sequences": {"public.users_id_seq": {"owned_by": "public.users.id", "owner": "shop"}},
    "constraints": {
        "public.users.users_pkey": {"table": "public.users", "definition": "PRIMARY KEY (id)"},
        "public.o.fk": {"table": "public.o", "definition": "FOREIGN KEY (u) REFERENCES public.users(id)"},
        "public.o.no": {"table": "public.o", "definition": "FOREIGN KEY (u) REFERENCES public.users_old(id)"},
    },
}
TOC = """;
; Archive
216; 1259 16395 TABLE public users shop
217; 1259 16396 TABLE public users_old shop
218; 1259 16396 TABLE public users shop shop
215; 1259 16394 SEQUENCE public users_id_seq shop
2453; 2604 16398 DEFAULT public users id shop
2462; 2606 16406 CONSTRAINT public users users_pkey shop
2624; 0 16395 TABLE DATA public users shop
"""


def test_only_what_belongs_to_a_table_is_taken_from_a_dump() -> None:
    lines = choose_lines(TOC, pre_entries("public.users", CATALOGUE), CATALOGUE)
    assert [line.partition(" ")[0] for line in lines] == ["216;", "215;", "2453;"]
    lines = choose_lines(TOC, post_entries("public.users", CATALOGUE), CATALOGUE)
    assert [line.partition(" ")[0] for line in lines] == ["2462;"]
    assert list(foreign_keys_to("public.users", CATALOGUE)) == ["public.o.fk"]


def test_script_loses_its_head_and_the_commands_of_psql() -> None:
    script = "\\restrict x\nSET a = 1;\n\n--\n-- Name: t; Type: TABLE\n--\n\nCREATE TABLE t ();\n\n\\unrestrict x\n"
    body = script_body(script)
    assert "CREATE TABLE t ();" in body
    assert "SET" not in body
    assert "restrict" not in body
    assert script_body("SET a = 1;\n") == ""


OWNED: dict[str, Any] = {
    "tables": {"public.users": {"owner": "shop"}, "public.teams": {"owner": "shop"}},
    "columns": {
        "public.users.id": {"table": "public.users"},
        'public.users."Full Name"': {"table": "public.users"},
        "public.teams.id": {"table": "public.teams"},
    },
    "sequences": {
        "public.users_id_seq": {"owner": "shop", "owned_by": "public.users.id"},
        "public.teams_id_seq": {"owner": "shop", "owned_by": "public.teams.id"},
        "public.free": {"owner": "shop", "owned_by": None},
    },
    "indexes": {"public.by_name": {"table": "public.users"}, "public.by_team": {"table": "public.teams"}},
    "constraints": {
        "public.users.users_pkey": {"table": "public.users", "definition": "PRIMARY KEY (id)"},
        "public.teams.teams_pkey": {"table": "public.teams", "definition": "PRIMARY KEY (id)"},
        "public.users.team": {"table": "public.users", "definition": "FOREIGN KEY (team) REFERENCES public.teams(id)"},
    },
    "statistics": {
        "public.s": {"definition": "CREATE STATISTICS public.s ON a, b FROM public.users"},
        "public.t": {"definition": "CREATE STATISTICS public.t ON a, b FROM public.teams"},
    },
}


def test_a_table_comes_with_its_own_sequences_indexes_and_statistics_alone() -> None:
    before = list(pre_entries("public.users", OWNED))
    assert {"TABLE public users", "SEQUENCE public users_id_seq", "DEFAULT public users Full Name"} <= set(before)
    assert not any("teams" in entry or "free" in entry for entry in before)
    after = list(post_entries("public.users", OWNED))
    expected = {"INDEX public by_name", "STATISTICS public s", "FK CONSTRAINT public users team"}
    assert expected <= set(after)
    assert "ACL public SEQUENCE users_id_seq" in after
    assert not any("by_team" in entry or entry == "STATISTICS public t" for entry in after)
    assert data_entry('public."Odd T"') == "TABLE DATA public Odd T"


def test_the_part_of_a_catalogue_that_belongs_to_a_table() -> None:
    part = part_of("public.users", OWNED)
    assert list(part["tables"]) == ["public.users"]
    assert list(part["columns"]) == ["public.users.id", 'public.users."Full Name"']
    assert list(part["sequences"]) == ["public.users_id_seq"]
    assert list(part["indexes"]) == ["public.by_name"]
    assert list(part["constraints"]) == ["public.users.users_pkey", "public.users.team"]
    assert "tables" not in part_of("public.gone", OWNED)


def test_values_that_do_not_fit_are_refused_with_the_way_back() -> None:
    refusal = unfit("public.users", "age", "smallint", "integer", 7)
    assert "7 values of users.age" in refusal.message
    assert refusal.remedy.endswith("ALTER TABLE public.users ALTER COLUMN age TYPE integer")


def test_a_partitioned_table_means_its_parts() -> None:
    groups = {"public.sales": ["public.sales_1", "public.sales_2"]}
    parts = ["public.sales_1", "public.sales_2", "public.users"]
    assert choose_tables(["sales"], parts, groups=groups, where="the backup") == ["public.sales_1", "public.sales_2"]
    assert choose_tables([], parts, groups=groups, where="the backup") == parts
