# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the watch reads an application's log: one file a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .command import CommandLog
from .file import FileLog
from .railway import RailwayLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .interface import Log


def open_log(options: Mapping[str, Any], interval: float) -> Log:
    """Begin to read a log, from now on.

    Args:
        options: C(provider) and the provider's own, as M(balcon.rollback.app_watch) documents them.
        interval: seconds between two looks.

    Raises:
        Refused: the options cannot be used; what happens to the log itself is a note, never an error.
    """
    provider = options["provider"]
    if provider == "file":
        return FileLog(options["file"]["path"])
    if provider == "command":
        return CommandLog(options["command"])
    return RailwayLog(options["railway"], interval)
