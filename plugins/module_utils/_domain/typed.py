# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL that a person is to type: names and texts that survive being shown on one line, whatever they hold."""

from __future__ import annotations

_FOUR_DIGITS = 0xFFFF


def sql_name(name: str) -> str:
    """Return a quoted identifier; with Unicode escapes where a character of it cannot be seen, or ends the line."""
    return _quoted(name, '"')


def sql_text(text: str | None) -> str:
    """Return a quoted string, or C(NULL), by the same rule; for servers with C(standard_conforming_strings)."""
    return "NULL" if text is None else _quoted(text, "'")


def _quoted(text: str, quote: str) -> str:
    doubled = text.replace(quote, quote * 2)
    if text.isprintable():
        return f"{quote}{doubled}{quote}"
    return f"U&{quote}{''.join(map(_escaped, doubled))}{quote}"


def _escaped(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return f"\\{code:04X}" if code <= _FOUR_DIGITS else f"\\+{code:06X}"
