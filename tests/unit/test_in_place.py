# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a rollback in place, and the steps that a run takes in it."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import Description
from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.in_place import (
    OFFER,
    Role,
    check_restore_point,
    is_in_place,
    role_problems,
    room_for_locks,
    sort_entries,
    with_offer,
)
from ansible_collections.balcon.rollback.plugins.module_utils._domain.run_states import STATES, check_step
from ansible_collections.balcon.rollback.plugins.module_utils._domain.wording import outcome_sentence

RUN = "20261123t081500a3f9"
NOBODY = Role("app", can_login=True, superuser=False, member=False, connects=False)
OWNER = Role("owner", can_login=True, superuser=False, member=True, connects=True)
ROLES = {role.name: role for role in (NOBODY, OWNER, NOBODY._replace(name="root", superuser=True))}


def problems(application: list[str], ours: str = "owner", **more: Role) -> list[tuple[str, str]]:
    return [(each.kind, each.name) for each in role_problems("shop", ours, application, {**ROLES, **more})]


def test_the_application_is_kept_out_where_it_has_nothing_of_the_owner() -> None:
    assert problems(["app"]) == []


@pytest.mark.parametrize(
    ("application", "expected"),
    [
        ([], [("application_roles", "shop")]),
        (["gone"], [("application_roles", "gone")]),
        (["owner"], [("application_role", "owner")]),
        (["app", "root"], [("application_role", "root")]),
    ],
)
def test_whoever_stays_in_is_named(application: list[str], expected: list[tuple[str, str]]) -> None:
    assert problems(application) == expected


def test_a_member_of_the_owner_stays_in_too() -> None:
    """One that may become the owner is no application's role; one that has its rights stays, if it can log in."""
    member = NOBODY._replace(name="group", member=True)
    assert problems(["group"], group=member) == [("application_role", "group")]
    assert problems(["app"], group=member) == []
    other = member._replace(connects=True)
    assert problems(["app"], group=other) == [("role_stays", "group")]
    assert problems(["app"], group=other._replace(can_login=False)) == []
    assert problems(["app"], "group", group=other) == [("role_stays", "owner")]


TOC = """;
; Archive created at 2026-11-23
4; 2615 16389 SCHEMA - billing shop
2; 3079 16390 EXTENSION - citext\x20
3400; 0 0 COMMENT - EXTENSION citext\x20
220; 1259 16393 TABLE public users shop
3395; 0 16393 TABLE DATA public users shop
3402; 0 0 SEQUENCE SET public users_id_seq shop
3230; 2606 16399 CONSTRAINT public users users_pkey shop
3389; 6104 16500 PUBLICATION - warehouse shop
3390; 6106 16501 PUBLICATION TABLE public warehouse users shop
"""


def test_what_is_never_emptied_is_not_restored() -> None:
    entries = sort_entries(TOC)
    assert [line.split(" ", 3)[3] for line in entries.rows] == ["TABLE DATA public users shop"]
    assert [line.split(" ", 3)[3] for line in entries.sequences] == ["SEQUENCE SET public users_id_seq shop"]
    kinds = [line.split(" ", 3)[3].split(" ")[0] for line in entries.schema]
    assert kinds == ["SCHEMA", "EXTENSION", "TABLE", "CONSTRAINT", "PUBLICATION"]
    assert not any("PUBLICATION - " in line or "COMMENT - " in line for line in entries.schema)


def test_a_schema_that_holds_an_extension_is_not_made_again() -> None:
    assert not any("SCHEMA - billing " in line for line in sort_entries(TOC, ["billing"]).schema)


def test_a_transaction_of_all_objects_needs_room_in_the_table_of_locks() -> None:
    assert room_for_locks(5000, 6400)
    assert not room_for_locks(5200, 6400)


def test_the_other_method_is_offered_where_it_would_do() -> None:
    assert with_offer("create_database", "Ask.") == f"Ask. {OFFER}"
    assert with_offer("prepared_transaction", "End it.") == "End it."


def described(state: str, **data: object) -> Description:
    return Description(run_id=RUN, role="original", state=state, data={"method": "in_place", **data})


def test_nothing_is_migrated_without_a_restore_point() -> None:
    with pytest.raises(Refused, match="kept no restore point"):
        check_restore_point(RUN, "shop", described("closed"))
    with pytest.raises(Refused, match="kept no restore point"):
        check_restore_point(RUN, "shop", None)
    check_restore_point(RUN, "shop", described("closed", restore_point={"path": "/backups/shop"}))


def test_only_the_original_of_such_a_run_is_worked_on() -> None:
    assert is_in_place(described("closed"))
    assert not is_in_place(Description(run_id=RUN, role="original", state="closed"))
    assert not is_in_place(Description(run_id=RUN, role="candidate", data={"method": "in_place"}))
    assert not is_in_place(None)


@pytest.mark.parametrize(
    ("step", "state", "leads_to"),
    [
        ("keep_restore_point", "closed", "closed"),
        ("begin_in_place", "closed", "migrating"),
        ("open_in_place", "verified", "swapped"),
    ],
)
def test_each_step_begins_in_one_state(step: str, state: str, leads_to: str) -> None:
    for each in STATES:
        if each == state:
            assert check_step(step, RUN, "shop", described(each)) == leads_to
            continue
        with pytest.raises(Refused):
            check_step(step, RUN, "shop", described(each))


def test_the_report_does_not_say_that_production_was_never_altered() -> None:
    run = {"environment": "production", "kind": "rollback", "outcome": "restored"}
    assert "never altered" in outcome_sentence(run)
    assert "never altered" not in outcome_sentence({**run, "method": "in_place"})
