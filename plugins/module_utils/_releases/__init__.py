# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switching the application's release: one small interface, one file a way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .._domain.errors import Refused
from .commands import CommandWay
from .git import GitWay
from .interface import Way
from .railway import RailwayWay


def ways(params: Mapping[str, Any], remembered: Mapping[str, Any]) -> list[Way]:
    """Return the ways that the inventory gives, in the order in which they are gone.

    Args:
        params: the parameters of M(balcon.rollback.app_release).
        remembered: what earlier switches of this run left in its journal, see `Way.memory`.

    Raises:
        Refused: none is given.
    """
    kinds: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Way]] = {
        "git": GitWay,
        "railway": RailwayWay,
        "commands": CommandWay,
    }
    found = [kind(params, remembered) for name, kind in kinds.items() if params.get(name)]
    if found:
        return found
    raise Refused(
        "Nothing says how the application's release is switched.",
        untouched="The release was not touched.",
        remedy="Give commands, git or railway in rollback_release; inventories/example shows each.",
    )
