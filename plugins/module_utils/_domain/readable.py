# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text of others on a terminal: a name of the database, or what a tool printed, may hold what steers one."""

from __future__ import annotations

INSTEAD = "?"


def readable_line(text: str) -> str:
    """Return a text as one line, in which nothing moves a cursor, colours, or turns the direction of writing."""
    return "".join(letter if letter.isprintable() else INSTEAD for letter in text)


def readable(text: str) -> str:
    """Return a text of any lines, of which each is as `readable_line` says."""
    return "\n".join(readable_line(line.replace("\t", " ")) for line in text.split("\n"))
