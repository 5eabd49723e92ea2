# Copyright: (c) 2026, the balcon.rollback authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that is safe by the way it is built: text is escaped unless it was built here."""

from __future__ import annotations

import unicodedata
from html import escape

_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_VOID = ("meta", "br", "rect", "line", "path")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def visible(text: object) -> str:
    """Return a text in which nothing hides: line ends become spaces, control and format characters are spelt out.

    A name may hold a right-to-left override or a zero-width space, and so look like another one.
    """
    return "".join(map(_visible_character, str(text)))


def _visible_character(character: str) -> str:
    if character in "\n\r\t":
        return " "
    hidden = unicodedata.category(character) in _INVISIBLE
    return f"\\u{{{ord(character):x}}}" if hidden else character


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """Build an element.

    Args:
        name: its name, never data.
        children: `Markup` stays as it is, anything else is text; None is left out.
        attributes: a trailing underscore is left off, others become dashes; None leaves the attribute out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{given}>") if name in ("meta", "br") else Markup(f"<{name}{given}/>")
    return Markup(f"<{name}{given}>{joined(*children)}</{name}>")


def joined(*children: object) -> Markup:
    """Put children behind each other."""
    return Markup("".join(_rendered(child) for child in children if child is not None))


def _rendered(child: object) -> str:
    return child if isinstance(child, Markup) else escape(visible(child))


def table(
    headings: list[str], rows: list[list[object]], *, numbers: tuple[int, ...] = (), tight: tuple[int, ...] = ()
) -> Markup:
    """Build a table.

    Args:
        headings: of its columns.
        rows: their cells.
        numbers: the columns that hold numbers, by place.
        tight: the columns whose cells stay on one line.
    """
    classes = {**dict.fromkeys(tight, "tight"), **dict.fromkeys(numbers, "number")}

    def cells(kind: str, row: list[object]) -> Markup:
        return joined(*(element(kind, cell, class_=classes.get(place)) for place, cell in enumerate(row)))

    head = element("thead", element("tr", cells("th", list(headings))))
    body = element("tbody", *(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body), class_="scrolls")


def bullets(entries: list[object], class_: str | None = None) -> Markup:
    """Build a list."""
    return element("ul", *(element("li", entry) for entry in entries), class_=class_)
