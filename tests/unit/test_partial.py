# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rollback that stopped in the middle, described against both known states."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.catalogue import canonical, change_between
from ansible_collections.balcon.rollback.plugins.module_utils._domain.partial import describe_partial, sentence


def column(table: str, kind: str = "text") -> dict[str, str]:
    return {"table": f"public.{table}", "type": kind}


BEFORE: dict[str, Any] = {
    "tables": {"public.users": {"owner": "shop"}, "public.projects": {"owner": "shop"}},
    "columns": {
        "public.users.email": column("users"),
        "public.users.phone": column("users"),
        "public.projects.title": column("projects", "character varying(200)"),
        "public.projects.subtitle": column("projects"),
    },
    "indexes": {"public.users_phone": {"table": "public.users", "definition": "CREATE INDEX users_phone ON users"}},
}


def without(catalogue: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    changed = deepcopy(catalogue)
    del changed[kind][name]
    return changed


USERS_REVERTED = without(without(BEFORE, "columns", "public.users.phone"), "indexes", "public.users_phone")
AFTER = without(USERS_REVERTED, "columns", "public.projects.subtitle")
AFTER["columns"]["public.projects.title"]["type"] = "character varying(80)"
REHEARSED = canonical(change_between(BEFORE, AFTER))


def test_users_reverted_projects_not() -> None:
    partial = describe_partial(BEFORE, USERS_REVERTED, REHEARSED)
    assert partial["state"] == "partial"
    assert partial["tables"] == {"public.users": "reverted", "public.projects": "not reverted"}
    assert "users reverted, projects not." in partial["lines"][0]
    assert partial["missing"] == [
        "columns: public.projects.title altered",
        "columns: public.projects.subtitle removed",
    ]
    assert partial["unexpected"] == []


def test_a_table_can_be_half_way() -> None:
    now = without(USERS_REVERTED, "columns", "public.projects.subtitle")
    partial = describe_partial(BEFORE, now, REHEARSED)
    assert partial["tables"] == {"public.users": "reverted", "public.projects": "reverted in part"}


@pytest.mark.parametrize(
    ("now", "rehearsed", "state"),
    [
        (BEFORE, REHEARSED, "as before"),
        (BEFORE, None, "as before"),
        (AFTER, REHEARSED, "reverted"),
        (USERS_REVERTED, REHEARSED, "partial"),
        (USERS_REVERTED, None, "other"),
        (without(BEFORE, "columns", "public.users.email"), REHEARSED, "other"),
        (without(AFTER, "columns", "public.users.email"), REHEARSED, "partial"),
    ],
)
def test_the_state(now: dict[str, Any], rehearsed: Any, state: str) -> None:
    assert describe_partial(BEFORE, now, rehearsed)["state"] == state


def test_what_was_done_otherwise_is_named() -> None:
    now = deepcopy(BEFORE)
    now["columns"]["public.projects.title"]["type"] = "text"
    partial = describe_partial(BEFORE, now, REHEARSED)
    assert partial["tables"]["public.projects"] == "changed otherwise"
    assert partial["unexpected"] == ["columns: public.projects.title altered"]
    assert any("type was character varying(200), is text" in line for line in partial["lines"])


def test_a_table_that_a_rehearsal_adds_is_known_by_what_belongs_to_it() -> None:
    added = deepcopy(BEFORE)
    added["tables"]["public.archive"] = {}
    added["columns"]["public.archive.id"] = {"table": "public.archive", "type": "integer"}
    rehearsed = canonical(change_between(BEFORE, added))
    assert describe_partial(BEFORE, USERS_REVERTED, rehearsed)["tables"]["public.archive"] == "not reverted"


def test_the_sentence() -> None:
    assert sentence({"public.users": "reverted", "public.projects": "not reverted"}) == "users reverted, projects not"
    assert sentence({"public.a": "not reverted"}) == "a not reverted"
    assert sentence({"shop.a": "reverted in part", "public.b": "changed otherwise"}) == (
        "shop.a reverted in part, b changed otherwise"
    )


def test_contents_are_never_called_proven() -> None:
    for now in (BEFORE, AFTER, USERS_REVERTED):
        assert "Contents are not judged" in describe_partial(BEFORE, now, REHEARSED)["lines"][0]
