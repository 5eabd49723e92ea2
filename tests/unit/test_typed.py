# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.typed import sql_name, sql_text


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("shop", '"shop"'),
        ('Shop "one"', '"Shop ""one"""'),
        ("back\\slash", '"back\\slash"'),
        ("two\nlines\\", 'U&"two\\000Alines\\\\"'),
        ("turned\u202eround", 'U&"turned\\202Eround"'),
        ("\U000e0001", 'U&"\\+0E0001"'),
    ],
)
def test_names(name: str, typed: str) -> None:
    assert sql_name(name) == typed


def test_texts() -> None:
    assert sql_text(None) == "NULL"
    assert sql_text("it's\t<b>") == "U&'it''s\\0009<b>'"
    assert sql_text("it's") == "'it''s'"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_what_is_typed_is_one_visible_line_and_means_the_name(name: str) -> None:
    typed = sql_name(name)
    assert typed.isprintable()
    body = typed.removeprefix("U&")[1:-1].replace('""', '"')
    if typed.startswith("U&"):
        body = re.sub(r"\\(?:\+([0-9A-F]{6})|([0-9A-F]{4})|\\)", unescaped, body)
    assert body == name


def unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1] or match[2], 16)) if match[1] or match[2] else "\\"
