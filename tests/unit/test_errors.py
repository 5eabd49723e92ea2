# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the parts of an error become sentences."""

from __future__ import annotations

import pytest

from ansible_collections.balcon.rollback.plugins.module_utils._domain.errors import Refused


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("It failed", "It failed. Nothing was touched. Type: ls -l"),
        ("It failed.", "It failed. Nothing was touched. Type: ls -l"),
        ('FATAL: no password for user "shop"', 'FATAL: no password for user "shop". Nothing was touched. Type: ls -l'),
        ("Is it there?", "Is it there? Nothing was touched. Type: ls -l"),
    ],
)
def test_each_part_ends_before_the_next_begins(message: str, text: str) -> None:
    assert Refused(message, untouched="Nothing was touched", remedy="Type: ls -l").text() == text


def test_what_is_not_said_gets_no_stop() -> None:
    assert Refused("It failed.", remedy="Type: ls -l").text() == "It failed. Type: ls -l"
