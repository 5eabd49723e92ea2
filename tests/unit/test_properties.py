# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._database.postgresql.properties import (
    Grant,
    Properties,
    Setting,
    in_granting_order,
    setting_items,
)


@pytest.mark.parametrize(
    ("name", "value", "items"),
    [
        ("search_path", '"$user", public', ["$user", "public"]),
        ("Search_Path", '"Odd, ""path""", x', ['Odd, "path"', "x"]),
        ("search_path", "public", ["public"]),
        ("search_path", '""', [""]),
        ("search_path", "", [""]),
        ("temp_tablespaces", "a,b , c", ["a", "b", "c"]),
        ("application_name", '"one", two', ['"one", two']),
    ],
)
def test_a_setting_is_taken_apart_as_it_has_to_be_set(name: str, value: str, items: list[str]) -> None:
    assert setting_items(name, value) == items


def test_everybody_has_a_privilege_before_granting_it_on() -> None:
    third = Grant("b", "c", "CONNECT", grantable=False)
    second = Grant("a", "b", "CONNECT", grantable=True)
    first = Grant("owner", "a", "CONNECT", grantable=True)
    assert in_granting_order("owner", [third, second, first]) == [first, second, third]


def test_a_grantor_without_the_privilege_comes_last_and_is_not_lost() -> None:
    stray = Grant("nobody", "c", "CREATE", grantable=False)
    assert in_granting_order("owner", [stray]) == [stray]


def test_properties_survive_json() -> None:
    grants = (Grant("owner", None, "CONNECT", grantable=False),)
    properties = Properties("owner", -1, False, "pg_default", "ours", grants, (Setting(None, "work_mem", "7MB"),))
    assert Properties.from_dict(json.loads(json.dumps(properties.to_dict()))) == properties
