# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sample of what ``tests/faults/corruption.py`` does by the thousand."""

from __future__ import annotations

from ansible_collections.balcon.rollback.tests.faults import corrupting


def test_damaged_backups_are_never_restored_silently() -> None:
    found = list(corrupting.rows(damages=240, after_the_check=8, seed=7))
    assert {"gzip", "none"} <= {row.compression for row in found}
    assert corrupting.reported(found)
