# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was read of one migration's text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .operations import DOWN, UP, Way
from .sql_text import Comment


@dataclass(frozen=True)
class MigrationText:
    """A migration as its file says it.

    Attributes:
        ways: what it does, by C(up) and C(down).
        comments: its comments, with their last lines.
        starts: by the line of an operation, the line on which the statement of the program begins that it is in.
        unread: why its text could not be read; empty where it was.
        sql_down: for SQL files, the verdict on their way back, and the reason; empty for programs.
    """

    ways: Mapping[str, Way] = field(default_factory=dict)
    comments: tuple[Comment, ...] = ()
    starts: Mapping[int, int] = field(default_factory=dict)
    unread: str = ""
    sql_down: tuple[str, str] | tuple[()] = ()

    @property
    def up(self) -> Way:
        """Return its way up."""
        return self.ways.get(UP, Way())

    @property
    def down(self) -> Way:
        """Return its way back."""
        return self.ways.get(DOWN, Way())
