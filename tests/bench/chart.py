# Copyright (c) 2026, balcon.rollback contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture of the largest size: each of ours beside its peer, as bars on a scale of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.reach import Line

WIDTH = 960
ROW = 66
TOP = 84
LEFT = 24
BAR_LEFT = 410
BAR_WIDTH = 340
BAR = 15

_STYLE = """
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e }
  .ours { fill: #0969da } .peer { fill: #afb8c1 }
  .no { fill: #bc4c00 } .rule { stroke: #d1d9e0 }
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
  .title { font-size: 18px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117 } .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .ours { fill: #4493f8 }
    .peer { fill: #59636e } .no { fill: #f0883e } .rule { stroke: #3d444d }
  }
"""


def draw(found: Sequence[Line], title: str, below: str) -> str:
    """Return the chart as SVG; it follows the reader's light or dark scheme.

    Args:
        found: the lines; those with a peer are drawn, of the largest size.
        title: over it.
        below: the machine and the day, in one line.
    """
    largest = max((line.size for line in found), default=0)
    drawn = [line for line in found if line.other is not None and line.size == largest]
    height = TOP + ROW * len(drawn) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f' aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>',
        _text(LEFT, 34, f"{title}: {largest:,} MB", "ink title"),
        _text(LEFT, 58, "Blue: this collection. Grey: what a person would take instead. Shorter is faster.", "soft"),
    ]
    for number, line in enumerate(drawn):
        parts += _row(line, TOP + number * ROW)
    parts += [_text(LEFT, height - 12, below, "soft"), "</svg>"]
    return "\n".join(parts) + "\n"


def _row(line: Line, top: int) -> Iterator[str]:
    longest = max(line.ours, line.other or 0.0) or 1.0
    verdict, kind = ("reached", "soft") if line.reached else ("not reached", "no")
    yield f'<line class="rule" x1="{LEFT}" x2="{WIDTH - LEFT}" y1="{top - 4}" y2="{top - 4}"/>'
    yield _text(LEFT, top + 18, line.what, "ink")
    yield _text(LEFT, top + 40, f"beside {line.peer}", "soft")
    for place, (seconds, name) in enumerate(((line.ours, "ours"), (line.other or 0.0, "peer"))):
        width, y = max(2.0, BAR_WIDTH * seconds / longest), top + 8 + place * (BAR + 6)
        yield f'<rect class="{name}" x="{BAR_LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>'
        yield _text(BAR_LEFT + width + 6, y + 12, f"{seconds:.2f} {line.unit}", "ink")
    yield _text(WIDTH - LEFT, top + 20, line.goal, "soft", end=True)
    yield _text(WIDTH - LEFT, top + 41, verdict, kind, end=True)


def _text(x: float, y: float, text: str, kind: str, *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}"{anchor}>{escape(text)}</text>'
