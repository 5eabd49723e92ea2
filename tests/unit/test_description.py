# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.description import (
    KEY,
    Description,
    parse_description,
    render_description,
)


def test_what_is_written_is_read() -> None:
    description = Description(
        "run", "original", "closed", "2026", 120, "It's ours; ü", "note", {"counts": {"1": [1, 2, 3]}}
    )
    assert parse_description(render_description(description)) == description


def test_a_description_inside_a_description_survives() -> None:
    inner = render_description(Description("one", "restored"))
    outer = parse_description(render_description(Description("two", "original", original_comment=inner)))
    assert outer
    assert outer.original_comment == inner


@pytest.mark.parametrize(
    "comment",
    [
        None,
        "",
        "our shop",
        "7",
        "null",
        "[]",
        "{}",
        f'{{"{KEY}": 7}}',
        f'{{"{KEY}": {{}}}}',
        f'{{"{KEY}": {{"x": 1}}}}',
        f'{{"{KEY}": {{"run_id": 5, "role": "original"}}}}',
        f'{{"{KEY}": {{"run_id": "one", "role": "original", "state": ["closed"]}}}}',
        f'{{"{KEY}": {{"run_id": "one", "role": "original", "lease_seconds": "x"}}}}',
        f'{{"{KEY}": {{"run_id": "one", "role": "original", "lease_seconds": true}}}}',
        f'{{"{KEY}": {{"run_id": "one", "role": "original", "original_comment": 7}}}}',
        f'{{"{KEY}": {{"run_id": "one", "role": "original", "data": []}}}}',
        "[" * 100_000,
    ],
)
def test_a_persons_comment_is_none(comment: str | None) -> None:
    assert parse_description(comment) is None
