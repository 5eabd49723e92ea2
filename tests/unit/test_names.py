# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused
from ansible_collections.balcon.rollback.plugins.module_utils._domain.names import (
    MAXIMUM_NAME_BYTES,
    PURPOSES,
    check_run_id,
    derived_name,
    new_run_id,
    parse_derived_name,
)

RUN_ID = "20261123t081500a3f9"
NAMES = ["shop", "Shop", "a b", 'quo"te', "50%", "ü" * 31, "n" * 63, "日本" * 10, "__candidate_", "x\ny"]


def test_a_run_is_named_by_its_start() -> None:
    start = datetime(2026, 11, 23, 8, 15, tzinfo=UTC)
    assert new_run_id(start, "a3f9ffff") == RUN_ID


@pytest.mark.parametrize("text", ["", "../../etc", f"{RUN_ID}; DROP", f"{RUN_ID}\n", RUN_ID.upper(), RUN_ID[:-1]])
def test_what_is_no_run_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="is not the name of a run"):
        check_run_id(text)


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("name", NAMES)
def test_a_derived_name_fits_and_tells_purpose_and_run(name: str, purpose: str) -> None:
    derived = derived_name(name, purpose, RUN_ID)
    assert len(derived.encode()) <= 63
    parts = parse_derived_name(derived)
    assert parts
    assert (parts.purpose, parts.run_id) == (purpose, RUN_ID)


def test_a_short_name_is_kept_whole() -> None:
    assert derived_name("shop", "candidate", RUN_ID) == f"shop__candidate_{RUN_ID}"


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = {derived_name("n" * 62 + last, "candidate", RUN_ID) for last in "ab"}
    assert len(names) == 2


@pytest.mark.parametrize("name", ["shop", "shop__candidate_", f"shop__backup_{RUN_ID}", f"__candidate_{RUN_ID}"])
def test_other_names_are_nobodys(name: str) -> None:
    assert parse_derived_name(name) is None


def test_an_unknown_purpose_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="backup"):
        derived_name("shop", "backup", RUN_ID)


ANY_NAME = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=63)


@given(database=ANY_NAME, purpose=st.sampled_from(PURPOSES))
def test_a_derived_name_says_what_it_was_made_from(database: str, purpose: str) -> None:
    """As much of it as fits, in whole characters; and the name of a name is taken apart from its end."""
    name = derived_name(database, purpose, RUN_ID)
    parts = parse_derived_name(name)
    assert parts is not None
    short = len(database.encode()) + len(name) - len(parts.stem) <= MAXIMUM_NAME_BYTES
    if short:
        assert parts.stem == database
    else:
        stem, _underscore, digest = parts.stem.rpartition("_")
        assert database.startswith(stem)
        assert len(digest) == 6
    again = derived_name(name, "failed", "20261123t091500b4e8")
    assert parse_derived_name(again) is not None
    assert again != name
