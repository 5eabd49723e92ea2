# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue's change, and its canonical form."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.catalogue import (
    canonical,
    canonical_catalogue,
    canonical_expression,
    catalogue_hash,
    change_between,
    columns_touched,
    compare_changes,
    describe,
    is_empty,
    loss,
    roles_in,
    split_identity,
    without_rights,
)

BEFORE: dict[str, Any] = {
    "tables": {"public.users": {"owner": "shop"}, "public.orders": {"owner": "shop"}},
    "columns": {
        "public.users.id": {"table": "public.users", "type": "integer"},
        "public.users.name": {"table": "public.users", "type": "text"},
        "public.orders.id": {"table": "public.orders", "type": "integer"},
    },
    "constraints": {"public.orders.orders_pkey": {"table": "public.orders", "definition": "PRIMARY KEY (id)"}},
}
AFTER: dict[str, Any] = {
    "tables": {"public.users": {"owner": "other"}},
    "columns": {"public.users.id": {"table": "public.users", "type": "bigint", "default": "(0)::bigint"}},
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "CHECK (((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((status)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
        ),
        ("(n = ANY ((ARRAY[1, 2])::numeric[]))", "(n = ANY (ARRAY[(1)::numeric, (2)::numeric]))"),
        ("('x'::timestamp(3) with time zone)", "'x'"),
        ("(a)::double precision[]", "a"),
        ('a::public."odd type"(3)', "a"),
        ("( a  +  b )", "(a + b)"),
        ("lower((email)::text)", "lower(email)"),
        ("((a IS NULL))", "(a IS NULL)"),
    ],
)
def test_expressions_that_say_the_same(one: str, other: str) -> None:
    assert canonical_expression(one) == canonical_expression(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("((a + b) * c)", "(a + (b * c))"),
        ("'a::text'", "'a'"),
        ("' ( a ) '", "'(a)'"),
        ("f(a)", "fa"),
        ("(a = 1)", "(a = 2)"),
        ('"A" > 1', "a > 1"),
        ("a[1]", "a(1)"),
        ("NOT (a OR b)", "NOT a OR b"),
        ("x = ANY (ARRAY['a', 'b'])", "x = ANY (ARRAY['b', 'a'])"),
    ],
)
def test_expressions_that_do_not_say_the_same(one: str, other: str) -> None:
    assert canonical_expression(one) != canonical_expression(other)


def test_change_and_canonical_change() -> None:
    change = change_between(BEFORE, AFTER)
    assert change["altered"]["columns"]["public.users.id"]["type"] == {"before": "integer", "after": "bigint"}
    assert canonical(change) == {
        "added": {},
        "removed": {
            "columns": ["public.orders.id", "public.users.name"],
            "constraints": ["public.orders.orders_pkey"],
            "tables": ["public.orders"],
        },
        "altered": {
            "columns": {"public.users.id": {"type": "bigint", "default": "0"}},
            "tables": {"public.users": {"owner": "other"}},
        },
    }
    assert is_empty(change_between(BEFORE, BEFORE))


def test_privileges_are_compared_by_what_was_given_and_taken() -> None:
    """Who may do what differs between staging and production; what a migration changes of it must not."""

    def change(before: list[str] | None, after: list[str] | None) -> Any:
        tables = [{"tables": {"public.users": {"owner": "shop", "acl": acl}}} for acl in (before, after)]
        return canonical(change_between(*tables))

    given = {"tables": {"public.users": {"acl": {"added": ["auditor=SELECT"], "removed": []}}}}
    assert change(["app=SELECT"], ["app=SELECT", "auditor=SELECT"])["altered"] == given
    assert change(None, ["auditor=SELECT"])["altered"] == given
    taken = change(["app=SELECT"], None)["altered"]["tables"]["public.users"]["acl"]
    assert taken == {"added": [], "removed": ["app=SELECT"]}
    assert is_empty(change(["app=SELECT"], ["app=SELECT"]))
    nothing = canonical(change_between({}, {}))
    assert compare_changes(nothing, change(None, ["auditor=SELECT"]))[0].startswith("not expected: table public.users")


def test_privileges_of_what_is_to_come_are_compared_too() -> None:
    entry = {"shop * r": {"owner": "shop", "acl": ["auditor=SELECT"]}}
    added = canonical(change_between({"default_privileges": {}}, {"default_privileges": entry}))
    assert added["added"] == {"default_privileges": entry}
    table = {"tables": {"public.users": {"owner": "shop", "acl": ["auditor=SELECT"], "kind": "r"}}}
    assert canonical(change_between({}, table))["added"] == {"tables": {"public.users": {"kind": "r"}}}


def test_alteration_that_only_prints_otherwise_is_none() -> None:
    """ALTER TYPE makes PostgreSQL print the constraints of the table anew, on a database that never was restored."""
    before = {"constraints": {"c": {"definition": "CHECK ((a = ANY ((ARRAY['x'::character varying])::text[])))"}}}
    after = {"constraints": {"c": {"definition": "CHECK ((a = ANY (ARRAY[('x'::character varying)::text])))"}}}
    change = change_between(before, after)
    assert not is_empty(change)
    assert is_empty(canonical(change))
    assert canonical_catalogue(before) == canonical_catalogue(after)


def test_body_of_a_function_is_compared_as_written() -> None:
    before = {"functions": {"f()": {"definition": "SELECT (1)"}}}
    after = {"functions": {"f()": {"definition": "SELECT 1"}}}
    assert canonical(change_between(before, after))["altered"]


def test_description_does_not_repeat_what_belongs_to_a_removed_table() -> None:
    lines = describe(change_between(BEFORE, AFTER))
    assert lines[:2] == ["table public.orders removed", "column public.users.name removed (text)"]
    assert not any("orders_pkey" in line for line in lines)


def test_loss_counts_each_table_once() -> None:
    rows = {"public.users": 10, "public.orders": 5}
    assert loss(change_between(BEFORE, AFTER), rows) == {
        "tables": ["public.orders"],
        "columns": ["public.users.name"],
        "rows": 15,
    }


def test_columns_touched() -> None:
    assert columns_touched(change_between(BEFORE, AFTER)) == {"public.orders": ["id"], "public.users": ["id", "name"]}


def test_changes_that_differ_are_named() -> None:
    found = canonical(change_between(BEFORE, AFTER))
    assert compare_changes(found, found) == []
    expected = {**found, "removed": {"tables": ["public.gone"]}}
    lines = compare_changes(expected, found)
    assert "expected and missing: table public.gone removed" in lines
    assert "not expected: table public.orders removed" in lines


def test_rights() -> None:
    catalogue: dict[str, dict[str, dict[str, Any]]] = {
        "tables": {"t": {"owner": "shop", "acl": ["PUBLIC=SELECT", "a=b=SELECT"], "kind": "table"}},
        "policies": {"t.p": {"roles": ["PUBLIC", "reader"]}},
        "default_privileges": {"shop": {"owner": "shop", "acl": ["x=SELECT"]}},
    }
    assert roles_in(catalogue) == {"owner": {"shop"}, "acl": {"a=b", "x"}, "roles": {"reader"}}
    assert without_rights(catalogue) == {"tables": {"t": {"kind": "table"}}, "policies": {"t.p": {}}}


def test_hash_depends_on_content_not_on_order() -> None:
    assert catalogue_hash({"a": {}, "b": {}}) == catalogue_hash({"b": {}, "a": {}})
    assert catalogue_hash({"a": {"x": {"y": 1}}}) != catalogue_hash({"a": {"x": {"y": 2}}})


def test_identity_with_dots_in_quotes() -> None:
    assert split_identity('public."a.""b".c') == ('public."a.""b"', "c")


def test_a_list_of_expressions_is_compared_without_casts_that_mean_nothing() -> None:
    def catalogue(value: str) -> dict[str, Any]:
        return {"constraints": {"public.t.c": {"table": "public.t", "definition": [value]}}}

    written, read_back = catalogue("CHECK ((a = 'x'::text))"), catalogue("CHECK (a = 'x'::text)")
    assert canonical_catalogue(written) == canonical_catalogue(read_back)
    assert canonical_catalogue(written) != canonical_catalogue(catalogue("CHECK (a = 'y'::text)"))
