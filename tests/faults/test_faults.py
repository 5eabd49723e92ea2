# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ten of the faults: those that cost least and prove most. All of them: make faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ansible_collections.balcon.rollback.tests.faults import playing
from ansible_collections.balcon.rollback.tests.faults.ground import Ground, ground
from ansible_collections.balcon.rollback.tests.faults.protections import PROTECTIONS, copy_product, take_out

TEN = (
    "controller-killed-in-migrate-down",
    "nobody-left-state-folder-lost",
    "lease-over-keeper-dead",
    "module-killed-in-candidate",
    "module-killed-in-reopen",
    "server-crash-in-verify",
    "sessions-ended-in-verify",
    "down-half-finishes-well",
    "journal-edited-at-close",
    "evidence-edited",
)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.mark.parametrize("name", TEN)
def test_nothing_is_lost(prepared: Ground, name: str) -> None:
    (case,) = playing.choose(playing.all_cases(), [name])
    row = playing.play(prepared, case)
    assert row.problems == {}, row.line
    assert row.lost == 0
    assert row.acknowledged > 0


def test_every_protection_stands_where_it_is_said_to_stand(tmp_path_factory: pytest.TempPathFactory) -> None:
    names = {case.name for case in playing.all_cases()}
    for protection in PROTECTIONS.values():
        copy = tmp_path_factory.mktemp("copy")
        copy_product(copy)
        take_out(copy, protection)
        assert names.issuperset(protection.cases)
